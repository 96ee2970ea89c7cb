import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "trajlib"

# Each package imports only from those before it. `plots` imports only the first four;
# `simulation` and `importers` make archives.
LAYERS = (
    "schema",
    "labels",
    "estimate",
    "geodesy",
    "compiled",
    "cluster",
    "archive",
    "simulation",
    "importers",
    "trajectories",
    "features",
    "models",
    "evaluation",
    "plots",
    "report",
    "cli",
)
NOT_FOR = {
    "plots": set(LAYERS) - {"schema", "labels", "estimate", "geodesy", "plots"},
    "trajectories": {"simulation", "importers"},
    "features": {"simulation", "importers"},
    "models": {"simulation", "importers"},
    "evaluation": {"simulation", "importers"},
}
FACES = {"__init__", "__main__"}
DRAWING = {"matplotlib", "seaborn", "bokeh"}


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def modules_imported(path):
    names = {name_of(file) for file in FILES}
    modules = set()
    for name in imports_of(path):
        module = name if name in names else name.rpartition(".")[0]
        if module in names and module != name_of(path) and module.count(".") > 0:
            modules.add(module)
    return modules


def module_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_package_has_a_layer():
    assert {module_of(path) for path in FILES} - FACES == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_imports_only_those_before_it(path):
    package = module_of(path)
    if package in FACES:
        return
    imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("trajlib.")}
    allowed = set(LAYERS[: LAYERS.index(package) + 1]) - NOT_FOR.get(package, set())
    assert imported <= allowed


def test_no_module_imports_itself_in_a_circle():
    imports = {name_of(path): modules_imported(path) for path in FILES}
    TopologicalSorter(imports).prepare()  # raises CycleError


def test_only_plots_draw():
    drawing = {
        module_of(path)
        for path in FILES
        for name in imports_of(path)
        if name.split(".")[0] in DRAWING
    }
    assert drawing == {"plots"}


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_passes(command):
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", str(PACKAGE.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
