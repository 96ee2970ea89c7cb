"""Shared fixtures: the tiny archive, a cluster, and notebooks made for a test."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from unittest.mock import Mock, patch
from urllib.request import Request, urlopen

import nbformat
import pytest
from distributed import Client
from hypothesis import settings
from machines import ALONE, SMALL, STORE, wait_until
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

# compilation and imports are slow; every run draws other examples
settings.register_profile("trajlib", deadline=None, max_examples=30)
settings.load_profile("trajlib")
# as in a worker: the threads of parallel tests would wait for each other
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("DASK_SCHEDULER_ADDRESS", None)  # of a cluster of the user


def common(tmp_path_factory, name):
    """Return a folder shared by all processes of the suite, and whether this one made it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    try:
        folder.mkdir()
    except FileExistsError:
        return folder, False
    return folder, True


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory):
    """60 simulated flights, nearly 50 of them LEMD → LEBL, and one file that is damaged."""
    from trajlib.simulation.simulate import simulate_archive

    folder, first = common(tmp_path_factory, "data")
    archive = folder / "raw" / "tiny"
    damaged = archive / "damaged.csv"
    if first:
        simulate_archive(archive, flights=60, seed=1)
        damaged.write_text("timestamp,latitude\n2016-01-01T")
    wait_until(damaged.exists)
    return archive


@pytest.fixture(scope="session")
def client():
    """A local cluster of two workers."""
    from trajlib import connect

    with connect(workers=2) as client:
        yield client
        client.cluster.close()


@pytest.fixture
def in_this_process(monkeypatch):
    """Ignore a client of other tests."""
    monkeypatch.setattr(Client, "current", Mock(side_effect=ValueError("no client")))


@pytest.fixture(scope="module")
def server():
    """An object store on loopback, with its address in the environment."""
    moto = pytest.importorskip("moto.server", reason="moto, a simulated object store, is missing")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # remove objects of an earlier store in this process
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (STORE | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture(scope="session")
def alone():
    """Return a command prefix that leaves only loopback as a network, or []."""
    if not all(map(shutil.which, ("unshare", "ip"))):
        return []
    trial = subprocess.run([*ALONE, "true"], check=False, capture_output=True)
    return [] if trial.returncode else ALONE


@pytest.fixture(scope="session", autouse=True)
def making(request, tmp_path_factory):
    """Start the tiny archive's report if a test needs it, in parallel to other tests."""
    if not any("made" in getattr(t, "fixturenames", ()) for t in request.session.items):
        yield None
        return
    folder, first = common(tmp_path_factory, "made")
    if not first:
        yield folder
        return
    tiny_archive, alone = map(request.getfixturevalue, ("tiny_archive", "alone"))
    command = f"-m trajlib report --archive {tiny_archive} --origin LEMD --destination LEBL"
    command += f" --data {folder}/data --output {folder}/reports"
    command += f" {SMALL} -p models ['forest','lightgbm']"
    arguments = [*alone, sys.executable, *command.split(), "--aggregate-only"]
    script = (
        f'"$@" >{folder}/out 2>{folder}/err; echo $? >{folder}/part; mv {folder}/part {folder}/code'
    )
    root = Path(__file__).parent.parent
    process = subprocess.Popen(["sh", "-c", script, "sh", *arguments], cwd=root)
    yield folder
    process.wait()


@pytest.fixture(scope="session")
def made(making):
    """Return the tiny archive's report: the finished command and the report's folder."""
    wait_until((making / "code").exists, seconds=900)
    code, *outputs = [(making / name).read_text() for name in ("code", "out", "err")]
    return subprocess.CompletedProcess("report", int(code), *outputs), making / "reports/LEMD-LEBL"


def pytest_collection_modifyitems(items):
    """Mark tests that need a whole report as slow, and run them last."""
    waiting = {test.path for test in items if "made" in getattr(test, "fixturenames", ())}
    for test in items:
        if "made" in getattr(test, "fixturenames", ()):
            test.add_marker(pytest.mark.slow)
    items.sort(key=lambda test: test.path in waiting)


def run_cells(nb, folder, env):
    """Run the code of a notebook as `trajlib.report.kernel.run_cells` does, without a kernel."""
    names = {}
    with chdir(folder), patch.dict(os.environ, env):
        for position, cell in enumerate(nb.cells):
            try:
                exec(cell.source if cell.cell_type == "code" else "", names)
            except Exception as error:
                name, text = type(error).__name__, str(error)
                cell.outputs = [new_output("error", ename=name, evalue=text, traceback=[name])]
                return f"{name}: {text}", position
    return None, len(nb.cells) - 1


@pytest.fixture
def no_kernel(monkeypatch):
    """Run notebooks in this process: a kernel takes seconds to start."""
    monkeypatch.setattr("trajlib.report.kernel.run_cells", run_cells)


@pytest.fixture
def write_notebook(tmp_path):
    """Write a notebook below ``tmp_path``; a cell is Markdown where it begins with ``#``."""

    def write(path, *cells, parameters="origin: str = 'LEMD'  # airport"):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nb = new_notebook(metadata={"kernelspec": kernel})
        texts = ["# A stage", parameters, *cells]
        for text in texts:
            is_markdown = text.startswith("#")
            nb.cells.append(new_markdown_cell(text) if is_markdown else new_code_cell(text))
        nb.cells[1].metadata["tags"] = ["parameters"]
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, path)
        return path

    return write
