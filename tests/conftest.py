"""What the tests share: the tiny archive, a cluster, and notebooks made for a test."""

import os

import nbformat
import pytest
from hypothesis import settings
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
