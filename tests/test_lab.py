"""The lab as `make lab` opens it, in a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from chromium import CHROMIUM, Page

ROOT = Path(__file__).parent.parent

# TRAJLIB_LAB=1 runs all notebooks, which takes long
NAMES = [path.stem for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
NAMES = NAMES if os.environ.get("TRAJLIB_LAB") else ["01_index"]
OPEN = """(async () => {
    const {commands, shell} = window.jupyterapp;
    const panel = await commands.execute("docmanager:open", {path: "NAME.ipynb"});
    await panel.context.ready;
    await panel.sessionContext.ready;
    shell.activateById(panel.id);
    window.panel = panel;
    window.ran = null;
    commands.execute("notebook:run-all-cells").then(() => { window.ran = "done"; });
})()"""
OUTPUTS = """[...window.panel.content.model.cells].filter(cell => cell.type === "code").flatMap(
    cell => cell.outputs.toJSON().map(out => [out.output_type, Object.keys(out.data || {}),
        out.ename ? out.ename + ": " + out.evalue : out.name === "stderr" ? out.text : ""]))"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def workspace(tiny_archive, tmp_path_factory):
    """A folder with the notebooks, and the tiny archive where the sample would be."""
    workspace = tmp_path_factory.mktemp("lab")
    (workspace / "data" / "raw").mkdir(parents=True)
    (workspace / "data" / "raw" / "sample").symlink_to(tiny_archive)
    (workspace / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("[0R]*"):
        shutil.copy(path, workspace / "notebooks")
    return workspace


@pytest.fixture(scope="module")
def lab(workspace):
    """The page that `make lab` opens, in a lab with separate settings and runtime files."""
    result = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True)
    (line,) = re.findall(r".*jupyter lab notebooks .*(?:\\\n.*)*", result.stdout)
    variables = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    variables += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    env = os.environ | {name: str(workspace / "jupyter" / name) for name in variables}
    options = "--no-browser --allow-root --port=0 --ip=127.0.0.1 --expose-app-in-browser"
    command = line.replace(".venv/bin/python", f"exec {sys.executable}") + f" {options}"
    with (workspace / "log").open("w") as log:
        server = subprocess.Popen(command, shell=True, cwd=workspace, env=env, stderr=log)
    try:
        with Page(find_address(workspace, server), width=1280) as page:
            yield page
    finally:
        server.terminate()
        server.wait(timeout=30)


def find_address(workspace, server):
    end = time.monotonic() + 60
    while not (files := list((workspace / "jupyter").glob("*/jpserver-*.json"))):
        assert server.poll() is None and time.monotonic() < end, (workspace / "log").read_text()
        time.sleep(0.1)
    server_info = json.loads(files[0].read_text())
    return f"{server_info['url']}?token={server_info['token']}"


@pytest.mark.slow
def test_the_lab_opens_on_a_page_for_the_first_steps(lab):
    title = lab.wait("document.querySelector('.jp-MarkdownViewer h1')?.textContent", seconds=300)
    assert title.startswith("Where to begin")
    assert lab.wait("document.querySelector('.jp-MarkdownViewer a[href*=\"01_index\"]') != null")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_run_from_its_top_to_its_end_without_an_error(lab, workspace, name):
    lab.run(OPEN.replace("NAME", name))
    assert lab.wait("window.ran", seconds=600) == "done"
    outputs = lab.run(OUTPUTS)
    assert [text for _, _, text in outputs if text] == []
    shown = {form for _, forms, _ in outputs for form in forms}
    assert "image/png" in shown or name == "00_dask_tour"
    if name == "10_limits":
        assert "application/vnd.bokehjs_exec.v0+json" in shown
        check_selection(lab)
    if name == NAMES[0]:
        check_dashboard(lab)
        check_permissions(workspace / "data")
    lab.run("window.panel.sessionContext.shutdown()")


def check_selection(lab):
    """Choose one flight in the explorer's table: its other parts follow, without the kernel."""
    lab.run("window.panel.content.scrollToItem(window.panel.content.widgets.length - 1)")
    named = "Bokeh.documents.map(d => d.get_model_by_name('NAME')).find(m => m)"
    lab.wait(f"window.Bokeh && {named.replace('NAME', 'flights')} != null")
    lab.run(f"{named.replace('NAME', 'flights')}.selected.indices = [2]")
    assert lab.wait(f"{named.replace('NAME', 'counted')}.text.includes('1 selected')")
    assert lab.run(f"{named.replace('NAME', 'cloud')}.selected.indices") == [2]


def check_dashboard(lab):
    """Open the panes of Dask: they show the cluster of the notebook, and its dashboard answers."""
    dashboard = lab.run("jupyterapp.commands.execute('dask:populate-dashboard-url')")
    lab.wait("jupyterapp.commands.isEnabled('dask:launch-layout')")
    lab.run("jupyterapp.commands.execute('dask:launch-layout')")
    lab.wait("document.querySelectorAll('iframe').length === 3")
    for pane in lab.run("[...document.querySelectorAll('iframe')].map(frame => frame.src)"):
        assert pane.startswith(f"{dashboard}individual-")
        with urllib.request.urlopen(pane, timeout=60) as answer:
            assert "Bokeh" in answer.read().decode()


def check_permissions(data):
    """No other user may open what the notebook wrote, nor its folders."""
    for folder in (data / "interim", data / "processed"):
        assert {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))} == {0}
