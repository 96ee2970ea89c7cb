import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from unittest.mock import Mock

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from trajlib.cli import main

COMMANDS = ("simulate", "import", "index", "report", "compare", "predict")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in ``tmp_path``; return its exit status and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


@pytest.fixture
def archive(tmp_path):
    """Write an archive of three flights and return its folder."""
    lines = [f"2016-01-01T06:{m:02}:00Z,40.5,{m / 10},100,LEMD,LEBL" for m in range(60)]
    text = "\n".join(["timestamp,latitude,longitude,altitude,origin,destination", *lines, ""])
    folder = tmp_path / "data" / "raw" / "few"
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / f"{name}.csv").write_text(text)
    return folder


def report(archive, origin="LEMD", destination="LEBL"):
    return ("report", "--archive", archive, "--origin", origin, "--destination", destination)


@pytest.mark.parametrize("words", [(), *((command,) for command in COMMANDS)])
def test_help_is_everywhere(run, words):
    status, said = run(*words, "--help")
    assert status == 0
    assert said.startswith("Usage:")


def test_help_names_every_command_and_the_exit_statuses(run):
    _, said = run("--help")
    for part in (*COMMANDS, "Exit status: 0", "1 when", "2 when", "130 when"):
        assert part in said
    listed = said.split("Commands:")[1]
    assert "..." not in listed  # each says what it does in less than a line


def test_the_module_and_the_script_are_the_same_command():
    for words in ([sys.executable, "-m", "trajlib"], [f"{sys.prefix}/bin/trajlib"]):
        told = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
        assert "version 0." in told.stdout


def test_a_simulation_that_was_cut_short_leaves_no_columns_file(tmp_path, monkeypatch):
    from trajlib.simulation import simulate as simulation

    archive = tmp_path / "sample"
    archive.mkdir()
    for left_by_an_earlier_one in ("columns.toml", "a.csv"):
        (archive / left_by_an_earlier_one).touch()
    ground_truth = pd.DataFrame({"x": [1]}, index=pd.Index(["a.csv"], name="path"))
    ground_truth.to_parquet(archive / "ground_truth.parquet")
    monkeypatch.setattr(simulation, "current_client", lambda: None)
    monkeypatch.setattr(simulation, "_write_batch", fail)
    with pytest.raises(KeyboardInterrupt):
        simulation.simulate_archive(archive, flights=1, seed=1)
    assert not (archive / "columns.toml").exists()


def fail(*_, **__):
    raise KeyboardInterrupt


def test_an_index_is_made_beside_and_summed_up(run, archive, tmp_path):
    status, said = run("index", archive)
    assert (status, said.strip()) == (0, f"{archive}: 3 files, 1 city pairs, 0 set aside")
    assert (tmp_path / "data/interim/few.index.parquet").exists()


def test_an_index_is_told_as_json_to_a_script(run, archive):
    status, said = run("index", archive, "--json")
    assert status == 0
    told = json.loads(said)
    assert (told["files"], told["rejected"]) == (3, 0)
    assert told["pairs"] == [{"origin": "LEMD", "destination": "LEBL", "files": 3}]


def test_a_dialect_is_suggested_and_nothing_written(run, archive, tmp_path):
    status, said = run("index", archive, "--suggest")
    assert status == 0
    assert "# 6 of " in said
    assert not (tmp_path / "data/interim").exists()


def test_what_a_user_can_mend_is_told_in_a_line(run, archive, tmp_path, write_notebook):
    write_notebook("notebooks/01_a.ipynb")
    (tmp_path / "empty").mkdir()
    told = {
        "no archive at nowhere": ("index", "nowhere"),
        "the archive empty is empty": report("empty"),
        "no usable flight LEMD → LEVC": report(archive, destination="LEVC"),
        "the nearest pairs there are: LEMD → LEBL": report(archive, origin="LEMX"),
        "3 usable flights LEMD → LEBL, expected 40 or more": report(archive),
        "3 usable flights LEMD → LEBL, expected 20": (*report(archive), "--stage", "01_a"),
    }
    for text, words in told.items():
        status, said = run(*words)
        assert status == 1
        assert text in said
        assert said.splitlines()[-1].startswith("Error: ")


def test_what_was_not_understood_ends_with_2_before_anything_runs(
    run, archive, tmp_path, write_notebook
):
    write_notebook("notebooks/01_a.ipynb")
    assert run("index", archive, "--suggest", "--json")[0] == 2
    told = {
        "no stage 'b'; there are 01_a": ("--stage", "b"),
        "no stage has a parameter 'x'": ("-p", "x", "1"),
        "parameter origin has an option of its own": ("-p", "origin", "SFO"),
        "No such option": ("--no-such-option",),
        "no numbered notebook": ("--notebooks", "elsewhere"),
    }
    for text, words in told.items():
        status, said = run(*report(archive), *words)
        assert status == 2
        assert text in said
    assert not (tmp_path / "reports").exists()


def test_what_stopped_is_told_of_the_stages_asked_for(run, archive, write_notebook, monkeypatch):
    for number in range(20):
        shutil.copy(archive / "a.csv", archive / f"{number}.csv")
    for name in ("01_a", "02_b"):
        write_notebook(f"notebooks/{name}.ipynb")
    failed = [{"name": "01_a", "failure": "long ago"}, {"name": "02_b", "failure": "just now"}]
    made = {"whole": False, "stages": failed}
    monkeypatch.setattr("trajlib.report.build.make_report", lambda *_, **__: made)
    monkeypatch.setattr("trajlib.cli._connected", lambda _: nullcontext(Mock()))
    status, said = run(*report(archive), "--stage", "02_b")
    assert status == 1
    assert "just now" in said
    assert "long ago" not in said


STARTED = "from pathlib import Path\nPath('started').touch()"
BUSY = "from time import sleep\nfrom trajlib import connect\nclient = connect()\n"
BUSY += "futures = client.map(sleep, [600, 601])"


def test_ctrl_c_stops_all_that_a_report_started_and_leaves_no_half(
    archive, tmp_path, write_notebook
):
    for number in range(40):
        shutil.copy(archive / "a.csv", archive / f"{number}.csv")
    write_notebook("notebooks/01_a.ipynb", BUSY, STARTED, "client.gather(futures)")
    command = [sys.executable, "-m", "trajlib", *report(archive)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored behind an &
    )
    wait_for(tmp_path / "notebooks/started", process)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3  # two workers and the notebook's kernel
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said, wrong = process.communicate(timeout=120)
    assert process.returncode == 130, wrong
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert wrong.strip() == "stopped; the same command goes on from what is whole"
    assert "01_a" in said
    assert not list((tmp_path / "reports").rglob("*.*"))
    assert not list((tmp_path / "data").rglob(".*.ipynb"))


def wait_for(path, process):
    end = time.monotonic() + 300
    while not path.exists() and process.poll() is None:
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.1)
    assert path.exists(), process.communicate()
