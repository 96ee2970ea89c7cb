import ast
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
IMPORTED_AS = {"scikit-learn": "sklearn", "jupyter-client": "jupyter_client"}
PART_OF = {"llvmlite": "numba"}
NOT_IMPORTED = {  # used without an import in trajlib
    "jupyterlab": "the lab itself",
    "dask-labextension": "by the lab",
}


def name_of(requirement):
    return Requirement(requirement).name.lower().replace("_", "-")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def declared(project):
    return {name_of(line) for line in project["dependencies"]}


@pytest.fixture(scope="module")
def tests_need(project):
    return {name_of(line) for line in project["optional-dependencies"]["test"]}


@pytest.fixture(scope="module")
def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines]


def test_the_lock_holds_every_declared_package(declared, tests_need, locked):
    assert declared | tests_need <= {name_of(str(requirement)) for requirement in locked}


def test_the_lock_has_exact_versions_and_no_urls(locked):
    for requirement in locked:
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier))
        assert requirement.url is None


def test_conda_gets_the_same_packages(declared, tests_need):
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (from_pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    names = [entry for entry in dependencies if isinstance(entry, str)] + from_pip
    packages = {name_of(entry) for entry in names if entry not in ("pip", "-e .")}
    assert packages - {"python"} == declared | tests_need


def test_conda_gets_the_same_python(project):
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{project['requires-python']}" in dependencies


def test_every_import_is_declared_and_every_declared_package_is_imported(declared, project):
    imported = {name for path in (ROOT / "trajlib").rglob("*.py") for name in imports_of(path)}
    extras = project["optional-dependencies"]
    extra = {name_of(line).replace("-", "_") for line in extras["search"] + extras["archives"]}
    assert extra <= imported
    foreign = imported - set(sys.stdlib_module_names) - {"trajlib", *PART_OF, *extra}
    expected = {IMPORTED_AS.get(name, name) for name in declared - set(NOT_IMPORTED)}
    assert foreign == expected


def test_every_dependency_has_a_line_of_reason():
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    assert all(re.search(r'",\s+# \w', line) for line in listed.splitlines())


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_a_wheel_brings_the_notebooks_and_the_templates(tmp_path, monkeypatch):
    from flit_core.buildapi import build_wheel

    monkeypatch.chdir(ROOT)
    names = ZipFile(tmp_path / build_wheel(tmp_path)).namelist()
    notebooks = {path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert {name.rpartition("/")[2] for name in names if name.endswith(".ipynb")} == notebooks
    assert "trajlib/report/templates/style.css" in names
    assert "trajlib/plots/explorer.js" in names


@pytest.mark.slow
def test_an_installed_wheel_makes_a_report_outside_of_the_repository(
    tmp_path, tiny_archive, monkeypatch
):
    from flit_core.buildapi import build_wheel

    monkeypatch.chdir(ROOT)
    wheel = build_wheel(tmp_path)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    (site,) = environment.glob("lib/python*/site-packages")
    ZipFile(tmp_path / wheel).extractall(site)
    # other packages come from this environment, in which trajlib is installed differently
    packages = Path(pytest.__file__).parent.parent
    (site / "others.pth").write_text(str(packages))
    command = ["-m", "trajlib", "report", "--archive", str(tiny_archive)]
    command += ["--stage", "00_dask_tour"]
    done = subprocess.run(
        [environment / "bin" / "python", *command],
        cwd=tmp_path,
        env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (page,) = (tmp_path / "reports").glob("*/index.html")
    assert "Glossary" in page.read_text("utf-8")
