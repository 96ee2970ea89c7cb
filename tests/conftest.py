"""What the tests share: the tiny archive, a cluster, and notebooks made for a test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import settings
from machines import ALONE
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

settings.register_profile("trajlib", deadline=None)  # compilers and imports warm up
settings.load_profile("trajlib")
os.environ["OMP_NUM_THREADS"] = (
    "1"  # as in a worker: threads of two tests would wait for each other
)
os.environ.pop("DASK_SCHEDULER_ADDRESS", None)  # a cluster of the user's is not for tests


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory):
    """60 simulated flights, nearly 50 of them LEMD → LEBL, and one file that is damaged."""
    from trajlib.sources.simulation import simulate_archive

    archive = tmp_path_factory.mktemp("data") / "raw" / "tiny"
    simulate_archive(archive, flights=60, seed=1)
    (archive / "damaged.csv").write_text("timestamp,latitude\n2016-01-01T")
    return archive


@pytest.fixture(scope="session")
def client():
    """A local cluster of two workers."""
    from trajlib import connect

    with connect(workers=2) as client:
        yield client
        client.cluster.close()


@pytest.fixture(scope="session")
def alone():
    """Words that run a command where there is no network but loopback, or none."""
    here = all(map(shutil.which, ("unshare", "ip")))
    can = here and not subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode
    return ALONE if can else []


@pytest.fixture(scope="session")
def made(tiny_archive, tmp_path_factory, alone):
    """Make the tiny archive's report; return the finished command and the report's folder."""
    place = tmp_path_factory.mktemp("made")
    command = f"-m trajlib report --archive {tiny_archive} --origin LEMD --destination LEBL"
    command += f" --data {place}/data --output {place}/reports"
    # enough for every line to run, and for a minute
    command += " -p trees 5 -p draws 50 -p folds 2 -p steps 2 -p models ['forest','lightgbm']"
    words = [*alone, sys.executable, *command.split(), "--aggregate-only"]
    root = Path(__file__).parent.parent
    told = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    return told, place / "reports" / "LEMD-LEBL"


@pytest.fixture
def write_notebook(tmp_path):
    """Write a notebook below ``tmp_path``; a cell is Markdown where it begins with ``#``."""

    def write(path, *cells, parameters="origin: str = 'LEMD'  # airport"):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nb = new_notebook(metadata={"kernelspec": kernel})
        texts = ["# A stage", parameters, *cells]
        make = [new_markdown_cell if text.startswith("#") else new_code_cell for text in texts]
        nb.cells = [each(text) for each, text in zip(make, texts, strict=True)]
        nb.cells[1].metadata["tags"] = ["parameters"]
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, path)
        return path

    return write
