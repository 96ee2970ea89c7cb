import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "trajlib"
NOTEBOOKS, MAKEFILE = PACKAGE.parent / "notebooks", PACKAGE.parent / "Makefile"

# What a module may import of ours, and with it what those may import: down this table, never up.
MAY_IMPORT = {
    "schema": set(),
    "geodesy": set(),
    "cluster": set(),
    "parser": set(),
    "redaction": set(),
    "pages": set(),
    "comparison": set(),
    "terminal": set(),
    "storage": {"cluster"},
    "dialect": {"schema", "storage"},
    "archive": {"dialect", "geodesy", "parser", "schema", "storage"},
    "index": {"archive", "cluster"},
    "suggestion": {"index"},
    "flights": {"cluster", "index"},
    "sources": {"archive", "cluster"},
    "progress": {"geodesy", "schema"},
    "normalization": {"flights", "progress"},
    "phases": {"geodesy"},
    "correlations": {"flights"},
    "wind": {"geodesy"},
    "history": {"wind"},
    "in_flight": {"flights", "history"},
    "features": {"in_flight", "normalization", "phases"},
    "models": {"features"},
    "intervals": {"geodesy"},
    "scores": {"features", "intervals"},
    "baselines": {"scores"},
    "trials": {"baselines", "models", "summary"},
    "importance": {"models", "correlations"},
    "search": {"models", "scores"},
    "routes": {"models"},
    "prediction": {"models", "intervals", "scores"},
    "inquiry": {"prediction"},
    "scaling": {"flights", "models"},
    "plots": {"schema", "geodesy"},
    "summary": {"storage"},
    "stages": {"summary", "redaction"},
    "report": {"dialect", "stages", "pages"},
}
FACES = {"__init__", "__main__"}  # may import all
DRAWING = {"matplotlib", "seaborn", "bokeh"}


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reach(module):
    below = MAY_IMPORT[module]
    return below.union(*(reach(each) for each in below))


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_is_in_the_table():
    assert {module_of(path) for path in FILES} - FACES <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_stands_below_it(path):
    module = module_of(path)
    if module in FACES:
        return
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("trajlib.")}
    assert ours - {module} <= reach(module)


def test_only_plots_draw():
    drawing = {
        module_of(path)
        for path in FILES
        for name in imports_of(path)
        if name.split(".")[0] in DRAWING
    }
    assert drawing == {"plots"}


def test_nothing_is_called_utils_or_config():
    assert not {module_of(path) for path in FILES} & {"utils", "config", "helpers", "common"}


def test_every_public_name_is_used_by_a_notebook_the_package_or_the_installation():
    codes = [path.read_text("utf-8") for path in FILES if path.stem != "__init__"]
    codes += [cell for path in NOTEBOOKS.glob("*.ipynb") for cell in code_of(path)]
    used = set().union(*map(names_in, codes), re.findall(r"\w+", MAKEFILE.read_text("utf-8")))
    public = {f"{path.stem}.{name}" for path in FILES for name in public_names(path)}
    assert {name for name in public if name.split(".")[1] not in used} == set()


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    told = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", str(PACKAGE.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout


def names_in(code):
    nodes = list(ast.walk(ast.parse(code)))
    loads = (node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Load))
    names = {node.id for node in loads if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return names | {node.name for node in nodes if isinstance(node, ast.alias)}


def code_of(path):
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def public_names(path):
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from ast.literal_eval(node.value)
