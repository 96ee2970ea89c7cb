"""Find the code of this package that a notebook depends on."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def digest_code(cells: Iterable[str]) -> str:
    """Return a digest of the modules that code cells import, directly or indirectly.

    Docstrings, comments and layout do not change it. Files next to a module that it names, such as
    JavaScript, are included.
    """
    waiting = [path for cell in cells for path in _find_imports(parse_cell(cell))]
    modules: dict[Path, tuple[str, list[Path], list[Path]]] = {}
    while waiting:
        path = waiting.pop()
        if path not in modules:
            modules[path] = _read_module(path)
            waiting += modules[path][1]
    digest = hashlib.sha256()
    for _, (text, _, files) in sorted(modules.items()):
        digest.update(text.encode())
        for file in files:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def parse_cell(source: str) -> ast.Module:
    """Return the syntax tree of a code cell without the lines that only IPython understands.

    Raises
    ------
    SyntaxError
        When the rest is not Python.
    """
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n")]
    return ast.parse("\n".join(lines))


@cache
def _read_module(path: Path) -> tuple[str, list[Path], list[Path]]:
    tree = ast.parse(path.read_text("utf-8"))
    imports = _find_imports(tree)
    strings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = {entry.name for entry in path.parent.iterdir() if entry.suffix != ".py"}
    files = [path.with_name(name) for name in sorted(strings & names)]
    return ast.dump(_DropDocstrings().visit(tree)), imports, [f for f in files if f.is_file()]


class _DropDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _find_imports(tree: ast.AST) -> list[Path]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [path for name in names for path in _find_files(name)]


def _find_files(name: str) -> list[Path]:
    """Return the files that run when a dotted name, of a module or in a module, is imported."""
    first, *parts = name.split(".")
    if first != _PACKAGE.name:
        return []
    folder, files = _PACKAGE, [_PACKAGE / "__init__.py"]
    for part in parts:
        folder = folder / part
        files += [folder / "__init__.py", folder.with_suffix(".py")]
    return [path for path in files if path.is_file()]
