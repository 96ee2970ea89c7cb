"""Commands and examples of README, CONTRIBUTING and the first hour."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from matplotlib.figure import Figure

from trajlib.archive.dialect import parse_dialect
from trajlib.archive.reading import read_flight
from trajlib.cli import main
from trajlib.report.stages import find_stages, match_parameters
from trajlib.schema import COLUMNS

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/first-hour.md")
MAKE = ("install", "report", "test", "lab", "bench", "check")


def blocks_of(document, language):
    text = (ROOT / document).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands_of(document):
    text = (ROOT / document).read_text("utf-8")
    lines = re.findall(
        r"^    ((?:make|git|python -m trajlib|\.venv/bin/\S+) ?.*)$", text, re.MULTILINE
    )
    return [line.split(" #")[0].strip() for line in lines]


def commands_with(text):
    return list(dict.fromkeys(c for d in DOCUMENTS for c in commands_of(d) if text in c))


@pytest.fixture(scope="module")
def workspace(tiny_archive, made, tmp_path_factory):
    """A folder with a tiny version of all files in the documented commands."""
    workspace = tmp_path_factory.mktemp("desk")
    (workspace / "data" / "raw").mkdir(parents=True)
    for name in ("mine", "sample"):
        (workspace / "data" / "raw" / name).symlink_to(tiny_archive)
    (workspace / "data" / "processed").symlink_to(made[1].parent.parent / "data" / "processed")
    shutil.copy(next((tiny_archive / "LEMD-LEBL").glob("*.csv")), workspace / "FLIGHT.csv")
    (workspace / "reports").mkdir()
    for pair in ("LEMD-LEBL", "SFO-LAX"):
        shutil.copytree(made[1], workspace / "reports" / pair)
    return workspace


def run_in(folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, shlex.split(command)[3:])
    return result.exit_code, result.output


COMMANDS = [c for text in ("predict", "compare", "index") for c in commands_with(f"trajlib {text}")]


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_predict_compare_and_index_commands_work(command, workspace, monkeypatch):
    status, output = run_in(workspace, monkeypatch, command)
    assert status == 0, output


@pytest.mark.parametrize("command", commands_with("trajlib report"))
def test_documented_report_commands_work(command, workspace, tmp_path, monkeypatch, write_notebook):
    write_notebook("notebooks/12_climb.ipynb", "1 + 1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(workspace / "data" / "raw")
    if "SFO" in command:  # needs flights from the network
        arguments = shlex.split(command)
        parameters = {
            arguments[number + 1]: arguments[number + 2]
            for number, argument in enumerate(arguments)
            if argument == "-p"
        }
        match_parameters(find_stages(ROOT / "notebooks"), {}, parameters)
        command += " --help"
    status, output = run_in(tmp_path, monkeypatch, command)
    assert status == 0, output


@pytest.mark.parametrize("command", [c for name in MAKE for c in commands_with(f"make {name}")])
def test_documented_make_targets_exist(command):
    result = subprocess.run(
        [*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_targets_of_the_makefile_are_those_of_its_help():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (targets,) = re.findall(r"^.PHONY: (.+)$", makefile, re.MULTILINE)
    documented = re.findall(r"make ([a-z-]+)", listed.stdout)
    assert {*documented} == {*targets.split()}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900


def test_every_command_is_of_a_kind_that_is_tested():
    tested = ("trajlib predict", "compare", "trajlib index", "trajlib report", "trajlib import")
    tested += ("git clone", "pre-commit install", *(f"make {name}" for name in MAKE))
    for command in commands_with(""):
        assert any(text in command for text in tested), command


def test_the_examples_of_the_readme_run(workspace, client, monkeypatch):
    monkeypatch.chdir(workspace)
    names = {}
    for block in blocks_of("README.md", "python"):
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["top"]) == len(names["study"].usable)


@pytest.mark.slow
def test_the_examples_of_the_first_hour_run_and_begin_with_a_picture(
    tiny_archive, client, tmp_path, monkeypatch
):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "sample").symlink_to(tiny_archive)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    first, *others = blocks_of("docs/first-hour.md", "python")
    names = {}
    *lines, last = first.strip().split("\n")
    exec(compile("\n".join(lines), "first-hour.md", "exec"), names)
    assert isinstance(eval(last, names), Figure)
    for block in others:
        exec(compile(block, "first-hour.md", "exec"), names)
    study = names["study"]
    assert len(names["climbs"]) == len(study.usable)
    assert names["median"] in (study.results / "climb.summary.json").read_text()


def test_the_columns_of_the_contract_are_those_of_the_schema():
    text = (ROOT / "data" / "README.md").read_text("utf-8")
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE)
    documented = {name: map(str.strip, rest.split("|")) for name, rest in lines if name in COLUMNS}
    assert list(documented) == list(COLUMNS)
    for name, (symbol, unit, group, decimals, description) in documented.items():
        column = COLUMNS[name]
        assert (symbol, unit, group) == (column.symbol, column.unit, column.group)
        assert (int(decimals or 0), description) == (column.decimals, column.description)


CHECKS = {
    "features.feature_sets": "'mach_median' in feature_sets.aggregate_flight("
    "pd.DataFrame({'mach': [0.1, 0.3]}))",
    "models.estimators": "estimators.build_model('tree')[-1].regressor.min_samples_leaf == 5",
    "trajectories.progress": "'origin' in progress.PROGRESS",
}


@pytest.mark.slow
def test_the_changes_shown_in_contributing_apply_and_work(tmp_path):
    shutil.copytree(ROOT / "trajlib", tmp_path / "trajlib", ignore=shutil.ignore_patterns("__py*"))
    for number, block in enumerate(blocks_of("CONTRIBUTING.md", "diff")):
        (tmp_path / f"{number}.diff").write_text(block)
        command = ["git", "apply", "--unsafe-paths", "-C1", f"{number}.diff"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    code = "import pandas as pd\n"
    for module, check in CHECKS.items():
        package, name = module.split(".")
        code += f"from trajlib.{package} import {name}\nassert {check}\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_the_citation_is_of_this_version_and_licence():
    import trajlib

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'version = "{cited["version"]}"' in pyproject
    assert cited["license"] in (ROOT / "LICENSE").read_text("utf-8")
    assert cited["title"] == trajlib.__name__


def test_links_between_documents_lead_to_files():
    others = ("docs/cluster.md", "data/README.md", "benchmarks/README.md")
    others += ("notebooks/README.md", "CHANGELOG.md", "SECURITY.md")
    for document in (*DOCUMENTS, *others):
        folder = (ROOT / document).parent
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / document).read_text("utf-8")):
            assert (folder / link).exists(), f"{document}: {link}"


def test_the_example_dialects_read_opensky_and_traffic(tmp_path):
    dialects = [parse_dialect(text) for text in blocks_of("data/README.md", "toml")]
    opensky = next(dialect for dialect in dialects if dialect.names.get("track") == "heading")
    path = tmp_path / "a.csv"
    head = "time,icao24,lat,lon,velocity,heading,vertrate,callsign,baroaltitude,geoaltitude"
    rows = [f"{1451628900 + s},34508a,40.00{s},-3.5,100,90,5,IBE1,3048,6096" for s in range(9)]
    path.write_text("\n".join([head, *rows, ""]))
    row = read_flight(path, dialect=opensky).iloc[-1]
    assert row[["altitude", "geoaltitude", "track"]].round(6).tolist() == [10_000, 20_000, 90]
    assert row["groundspeed"] == pytest.approx(194.384, abs=1e-3)
    traffic = next(dialect for dialect in dialects if dialect.names.get("mach") == "Mach")
    head = "timestamp,latitude,longitude,altitude,TAS,CAS,Mach,heading"
    rows = [f"2016-01-01 06:15:0{s}+00:00,40.00{s},-3.5,30000,450,280,0.78,90" for s in range(9)]
    path.write_text("\n".join([head, *rows, ""]))
    row = read_flight(path, dialect=traffic).iloc[-1]
    assert row[["true_airspeed", "mach", "heading"]].tolist() == [450, 0.78, 90]


def test_the_start_page_of_the_lab_links_every_stage():
    text = (ROOT / "notebooks/README.md").read_text("utf-8")
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        assert f"({path.name})" in text


def test_links_of_the_start_page_open_from_the_root_of_the_lab():
    root = ROOT / "notebooks"
    for link in re.findall(r"\]\(([^)#]+)\)", (root / "README.md").read_text("utf-8")):
        assert "/" not in link
        assert (root / link).is_file()


def test_pre_commit_lints_and_formats_and_leaves_notebooks_as_they_are(tmp_path):
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    entries = [hook["entry"] for repo in settings["repos"] for hook in repo["hooks"]]
    assert [" ".join(entry.split()[:2]) for entry in entries[:2]] == [
        ".venv/bin/ruff check",
        ".venv/bin/ruff format",
    ]
    strip = entries[2].removeprefix(".venv/bin/").split()
    copies = [Path(shutil.copy(path, tmp_path)) for path in (ROOT / "notebooks").glob("*.ipynb")]
    subprocess.run([sys.executable, "-m", *strip, *copies], check=True)
    for copy in copies:
        assert copy.read_bytes() == (ROOT / "notebooks" / copy.name).read_bytes(), copy.name
