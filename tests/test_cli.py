import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from trajlib.cli import main

ROOT = str(Path(__file__).parent.parent)
COMMANDS = ("simulate", "import", "index", "report", "compare", "predict")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in ``tmp_path`` without a cluster; return exit status and output."""
    monkeypatch.chdir(tmp_path)
    for module in ("archives", "reports"):
        monkeypatch.setattr(f"trajlib.cli.{module}.connected", lambda *_: nullcontext(Mock()))

    def run(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


@pytest.fixture
def archive(tmp_path):
    """Write an archive of three flights and return its folder."""
    folder = tmp_path / "data" / "raw" / "few"
    folder.mkdir(parents=True)
    for height, name in enumerate("abc", start=1):
        (folder / f"{name}.csv").write_text(write_flight(height))
    return folder


def write_flight(height, day=1):
    """Return a flight from Madrid to Barcelona, different for each height."""
    rows = [f"{m:02}:00Z,40.9,{m / 10 - 3.6:.1f},{30_000 + height},LEMD,LEBL" for m in range(60)]
    lines = [f"2016-01-{day:02}T06:{row}" for row in rows]
    return "\n".join(["timestamp,latitude,longitude,altitude,origin,destination", *lines, ""])


PAIR = ("--origin", "LEMD", "--destination", "LEBL")


def report(archive, origin="LEMD", destination="LEBL"):
    return ("report", "--archive", archive, "--origin", origin, "--destination", destination)


@pytest.mark.parametrize("arguments", [(), *((command,) for command in COMMANDS)])
def test_every_command_has_help(run, arguments):
    status, output = run(*arguments, "--help")
    assert status == 0
    assert output.startswith("Usage:")


def test_help_lists_every_command_with_a_whole_description(run):
    listed = run("--help")[1].split("Commands:")[1]
    assert all(command in listed for command in COMMANDS)
    assert "..." not in listed  # marks a truncated description


def test_the_module_and_the_script_are_the_same_command():
    for command in ([sys.executable, "-m", "trajlib"], [f"{sys.prefix}/bin/trajlib"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert f"version {version('trajlib')}" in done.stdout


def test_a_simulation_that_was_cut_short_leaves_no_columns_file(tmp_path, monkeypatch):
    from trajlib.simulation import simulate as simulation

    archive = tmp_path / "sample"
    archive.mkdir()
    for name in ("columns.toml", "a.csv"):
        (archive / name).touch()
    ground_truth = pd.DataFrame({"x": [1]}, index=pd.Index(["a.csv"], name="path"))
    ground_truth.to_parquet(archive / "ground_truth.parquet")
    monkeypatch.setattr(simulation, "run_blocks", fail)
    with pytest.raises(KeyboardInterrupt):
        simulation.simulate_archive(archive, flights=1, seed=1)
    assert not (archive / "columns.toml").exists()


def fail(*_, **__):
    raise KeyboardInterrupt


def test_a_suggested_command_names_the_folder_of_tables(run):
    predict = ("predict", *PAIR, "--time", "2016-03-05T07:00")
    assert "--stage 07_prediction" in run(*predict)[1]
    assert "--data" not in run(*predict)[1]
    assert "--destination LEBL --data 'my tables'" in run(*predict, "--data", "my tables")[1]


def test_the_index_command_writes_the_index_and_prints_a_summary(run, archive, tmp_path):
    status, output = run("index", archive)
    assert status == 0
    assert output.splitlines()[0] == f"{archive}: 3 files, 1 city pair, 0 rejected"
    assert "3  LEMD → LEBL" in output
    assert (tmp_path / "data/interim/few.index.parquet").exists()


def test_an_index_is_printed_as_json_for_a_script(run, archive):
    status, output = run("index", archive, "--json")
    assert status == 0
    content = json.loads(output)
    assert (content["files"], content["rejected"]) == (3, 0)
    assert content["pairs"] == [{"origin": "LEMD", "destination": "LEBL", "files": 3}]


def test_an_index_counts_why_files_were_rejected(run, archive):
    (archive / "d.csv").write_text("")
    assert "1  the file is empty" in run("index", archive)[1]
    counts = json.loads(run("index", archive, "--json")[1])
    assert counts["rejected_by_reason"] == {"the file is empty": 1}


def test_a_report_without_a_pair_uses_the_pair_with_most_flights(
    run, archive, write_notebook, monkeypatch
):
    for number in range(45):
        text = write_flight(9 + number, day=1 + number % 9)
        (archive / f"{number}.csv").write_text(text)
        (archive / f"circuit{number}.csv").write_text(text.replace("LEBL", "LEMD"))
        (archive / f"other{number}.csv").write_text(text.replace("LEBL", "ZZZZ"))
    write_notebook("notebooks/01_a.ipynb")
    made = {"whole": True, "stages": [], "front": {"models": []}}
    made["parameters"] = {"origin": "LEMD", "destination": "LEBL"}
    monkeypatch.setattr("trajlib.report.build.make_report", lambda *_, **__: made)
    monkeypatch.setattr("trajlib.report.front.answer", lambda _: "45 flights.")
    status, output = run("report", "--archive", archive)
    assert status == 0
    assert "LEMD → LEBL is the pair with most flights" in output
    assert "reports/LEMD-LEBL/index.html" in output


def test_an_archive_without_a_pair_to_score_names_its_largest_pairs(run, archive, write_notebook):
    write_notebook("notebooks/01_a.ipynb")
    status, output = run("report", "--archive", archive)
    assert status == 1
    assert "those with most: LEMD → LEBL (3)" in output
    assert run("report", "--archive", archive, "--origin", "LEMD")[0] == 2


def test_flights_of_one_day_are_refused_before_any_stage_runs(
    run, archive, write_notebook, monkeypatch
):
    for number in range(45):
        (archive / f"{number}.csv").write_text(write_flight(9 + number))
    write_notebook("notebooks/01_a.ipynb")
    monkeypatch.setattr("trajlib.report.build.make_report", fail)
    status, output = run(*report(archive))
    assert status == 1
    assert "are of one day" in output
    write_notebook("notebooks/07_prediction.ipynb")
    status, output = run(*report(archive), "--stage", "07_prediction")
    assert status == 1
    assert "07_prediction needs flights on 5 days or more" in output
    assert "are on 1" in output


@pytest.mark.parametrize("time", ["soon", "9999-12-31T23:00", "0001-01-01", "2016-13-01", ""])
def test_an_invalid_time_is_refused_with_the_expected_form(run, time):
    status, output = run("predict", *PAIR, "--time", time)
    assert status == 1
    assert "--time" in output
    assert "2016-03-05T07:00" in output


@pytest.mark.parametrize("option", ["--data", "--output"])
def test_a_folder_that_cannot_be_written_to_is_named_with_its_option(
    run, archive, write_notebook, monkeypatch, option
):
    write_notebook("notebooks/01_a.ipynb")
    locked = archive.parent / "locked"
    locked.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: "locked" not in str(path))
    status, output = run(*report(archive), option, locked / "below")
    assert status == 1
    assert f"cannot be written to: choose a folder by {option}" in output


def test_an_index_beside_a_folder_that_cannot_be_written_to_names_the_option(
    run, archive, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    assert "choose a folder by --output" in run("index", archive)[1]


def run_process(*arguments, **options):
    command = [sys.executable, "-m", "trajlib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.mark.slow
def test_a_console_that_is_not_unicode_gets_what_it_can_show(archive, tmp_path):
    env = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": ROOT}
    done = run_process("index", archive, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LEMD ? LEBL" in done.stdout
    (archive / "→.csv").write_text("")
    odd = archive.rename(archive.with_name("odd→"))
    done = run_process("index", odd, "--json", env=env, cwd=tmp_path)
    content = json.loads(done.stdout)
    assert content["files"] == 4
    assert content["archive"].endswith("odd→")


@pytest.mark.slow
def test_a_closed_standard_output_is_no_traceback(archive, tmp_path):
    for arguments in (["index", archive, "--json"], ["--help"]):
        command = [sys.executable, "-m", "trajlib", *map(str, arguments)]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        done = subprocess.run(closed, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert "Traceback" not in done.stderr
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    command = [sys.executable, "-m", "trajlib", "index", str(archive)]
    done = subprocess.run(
        command, cwd=tmp_path, stdout=reader.stdin, stderr=subprocess.PIPE, text=True
    )
    assert done.stderr == ""


@pytest.mark.slow
def test_a_wrong_command_prints_the_usage(tmp_path):
    done = run_process("index", cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT})
    assert done.stderr.startswith("Usage: python -m trajlib index [OPTIONS] ARCHIVE")


NOBODY = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
# allows reading the interpreter and the project in another user's home
NOBODY += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


@pytest.fixture(scope="module")
def nobody():
    """Return the prefix of a command that runs it as a user without a name and a home."""
    allowed = shutil.which("setpriv") and not subprocess.run([*NOBODY, "true"]).returncode
    return NOBODY if allowed else pytest.skip("only root may run a process as another user")


@pytest.mark.slow
@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/no/such/home"}])
def test_a_user_without_a_name_or_a_home_makes_a_report(nobody, archive, write_notebook, home):
    for number in range(20):
        (archive / f"{number}.csv").write_text(write_flight(9 + number))
    write_notebook("notebooks/01_a.ipynb", "import matplotlib.pyplot as plt", "plt.plot([1, 2])")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        copy = shutil.copytree(archive, f"{folder}/raw/few")
        shutil.copytree(archive.parents[2] / "notebooks", f"{folder}/notebooks")
        for path in Path(folder).rglob("*"):
            path.chmod(0o777)  # earlier commands in this process have set a umask of 077
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "TMPDIR": folder, **home}
        folders = [f"--{name}={folder}/{name}" for name in ("data", "output", "notebooks")]
        words = [*report(copy), "--stage", "01_a", *folders]
        for arguments in (["--help"], words):
            command = [*nobody, sys.executable, "-m", "trajlib", *arguments]
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""
        assert Path(folder, "output/LEMD-LEBL/index.html").exists()


SETTINGS = {
    ".config/matplotlib/matplotlibrc": "text.usetex: True\nbackend: TkAgg\nfigure.figsize: 40, 2\n",
    ".config/dask/dask.yaml": "dataframe:\n  backend: cudf\nscheduler: synchronous\n",
    ".ipython/profile_default/startup/00.py": "raise SystemExit('a file of the user ran')\n",
    ".jupyter/jupyter_config.py": "raise ValueError('a file of the user ran')\n",
    ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "display_name": ""}',
}


@pytest.mark.slow
def test_a_report_is_made_with_odd_paths_a_plain_locale_and_user_settings(tiny_archive, tmp_path):
    folder = tmp_path / "odd #%3F?&'\"<b>é日本 [a]*{b}$HOME;`x` ~ \\n\t"
    for name, text in SETTINGS.items():
        file = folder / "home" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    copy = shutil.copytree(tiny_archive, folder / "raw" / "ti*ny")
    first = next(copy.rglob("*.csv"))
    first.rename(first.with_name("x" * 251 + ".csv"))
    env = {name: text for name, text in os.environ.items() if name in ("PATH", "TMPDIR")}
    env |= {"HOME": str(folder / "home"), "LC_ALL": "C"}
    env |= {"PYTHONPATH": ROOT, "MPLBACKEND": "TkAgg", "DASK_DATAFRAME__CONVERT_STRING": "false"}
    options = ["--stage", "00_dask_tour", "--data", folder / "da ta", "--output", folder / "out"]
    done = run_process(*report(copy), *options, env=env, cwd=Path(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert (folder / "out/LEMD-LEBL/00_dask_tour.html").exists()


def test_a_dialect_is_suggested_and_nothing_written(run, archive, tmp_path):
    status, output = run("index", archive, "--suggest")
    assert status == 0
    assert "# 6 of " in output
    assert not (tmp_path / "data/interim").exists()


def test_an_error_that_a_user_can_correct_is_one_line(run, archive, tmp_path, write_notebook):
    write_notebook("notebooks/01_a.ipynb")
    (tmp_path / "empty").mkdir()
    messages = {
        "no archive at nowhere": ("index", "nowhere"),
        "the archive empty is empty": report("empty"),
        "no usable flight LEMD → LEVC": report(archive, destination="LEVC"),
        "the nearest pairs there are: LEMD → LEBL": report(archive, origin="LEMG"),
        "3 usable flights LEMD → LEBL, expected 40 or more": report(archive),
        "3 usable flights LEMD → LEBL, expected 20": (*report(archive), "--stage", "01_a"),
    }
    for text, arguments in messages.items():
        status, output = run(*arguments)
        assert status == 1
        assert text in output
        assert output.splitlines()[-1].startswith("Error: ")


def test_a_wrong_option_exits_with_2_before_anything_runs(run, archive, tmp_path, write_notebook):
    write_notebook("notebooks/01_a.ipynb")
    assert run("index", archive, "--suggest", "--json")[0] == 2
    messages = {
        "no stage 'b'; there are 01_a": ("--stage", "b"),
        "--origin: ": ("--origin", "ZZZZ"),
        "LEBL and LEBL are one airport": ("--origin", "LEBL"),
        "LEBL and BCN are one airport": ("--origin", "lebl", "--destination", "bcn"),
        "no stage has a parameter 'x'": ("-p", "x", "1"),
        "parameter origin is set by an option": ("-p", "origin", "SFO"),
        "No such option": ("--no-such-option",),
        "no numbered notebook": ("--notebooks", "elsewhere"),
    }
    for text, options in messages.items():
        status, output = run(*report(archive), *options)
        assert status == 2
        assert text in output
    assert not (tmp_path / "reports").exists()


def test_only_failures_of_requested_stages_are_printed(run, archive, write_notebook, monkeypatch):
    for number in range(20):
        (archive / f"{number}.csv").write_text(write_flight(9 + number))
    for name in ("01_a", "02_b"):
        write_notebook(f"notebooks/{name}.ipynb")
    failed = [{"name": "01_a", "failure": "long ago"}, {"name": "02_b", "failure": "just now"}]
    made = {"whole": False, "stages": failed}
    monkeypatch.setattr("trajlib.report.build.make_report", lambda *_, **__: made)
    status, output = run(*report(archive), "--stage", "02_b")
    assert status == 1
    assert "just now" in output
    assert "long ago" not in output


STARTED = "from pathlib import Path\nPath('started').touch()"
BUSY = "from time import sleep\nfrom trajlib import connect\nclient = connect()\n"
BUSY += "futures = client.map(sleep, [600, 601])"


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_of_a_report_and_leaves_no_partial_file(
    archive, tmp_path, write_notebook
):
    for number in range(40):
        (archive / f"{number}.csv").write_text(write_flight(9 + number))
    write_notebook("notebooks/01_a.ipynb", BUSY, STARTED, "client.gather(futures)")
    command = [sys.executable, "-m", "trajlib", *report(archive), "--stage", "01_a"]
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
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert errors.strip() == "stopped; the same command continues from what is finished"
    assert "01_a" in output
    assert not list((tmp_path / "reports").rglob("*.*"))
    assert not list((tmp_path / "data").rglob(".*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("children", [1, 3])
def test_ctrl_c_while_the_cluster_starts_is_one_sentence(tmp_path, children):
    command = [sys.executable, "-m", "trajlib", "simulate", "sample", "--flights", "300"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while len(psutil.Process(process.pid).children(recursive=True)) < children:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert errors.strip() == "stopped; the same command continues from what is finished"


def wait_for(path, process):
    end = time.monotonic() + 300
    while not path.exists() and process.poll() is None:
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.1)
    assert path.exists(), process.communicate()
