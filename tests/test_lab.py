"""The lab as `make lab` opens it, in a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chromium import CHROMIUM, Page

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def desk(tiny_archive, tmp_path_factory):
    """A folder with two notebooks, and the tiny archive where the sample would be."""
    desk = tmp_path_factory.mktemp("lab")
    (desk / "data" / "raw").mkdir(parents=True)
    (desk / "data" / "raw" / "sample").symlink_to(tiny_archive)
    (desk / "notebooks").mkdir()
    for name in ("README.md", "01_index.ipynb"):
        shutil.copy(ROOT / "notebooks" / name, desk / "notebooks")
    return desk


@pytest.fixture(scope="module")
def lab(desk):
    """The page that `make lab` opens, in a lab whose settings and running files are its own."""
    told = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True)
    (line,) = re.findall(r"jupyter lab notebooks (.*(?:\\\n.*)*)", told.stdout)
    places = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    places += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    env = os.environ | {name: str(desk / "jupyter" / name) for name in places}
    options = "--no-browser --allow-root --port=0 --ip=127.0.0.1 --expose-app-in-browser"
    command = f"exec {sys.executable} -m jupyter lab notebooks {line} {options}"
    with (desk / "log").open("w") as log:
        env |= {"BOKEH_RESOURCES": "inline"}
        server = subprocess.Popen(command, shell=True, cwd=desk, env=env, stderr=log)
    try:
        with Page(find_address(desk, server), width=1280) as page:
            yield page
    finally:
        server.terminate()
        server.wait(timeout=30)


def find_address(desk, server):
    end = time.monotonic() + 60
    while not (found := list((desk / "jupyter").glob("*/jpserver-*.json"))):
        assert server.poll() is None and time.monotonic() < end, (desk / "log").read_text()
        time.sleep(0.1)
    told = json.loads(found[0].read_text())
    return f"{told['url']}?token={told['token']}"


def test_the_lab_opens_on_a_page_that_says_where_to_begin(lab):
    title = lab.wait("document.querySelector('.jp-MarkdownViewer h1')?.textContent", seconds=300)
    assert title.startswith("Where to begin")
    assert lab.wait("document.querySelector('.jp-MarkdownViewer a[href*=\"01_index\"]') != null")
