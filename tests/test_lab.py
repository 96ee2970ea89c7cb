"""The lab as `make lab` opens it, and the first hour of docs/first-hour.md, in a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from chromium import CHROMIUM, Page

ROOT = Path(__file__).parent.parent
RUN = "jupyterapp.commands.execute"
CELLS = "jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.toJSON())"

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


def open_notebook(lab, name):
    lab.run(f"{RUN}('docmanager:open', {{path: '{name}'}}).then(() => 0)")
    lab.wait("jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel != null")


def run_all(lab):
    lab.run(f"window.done = null; {RUN}('notebook:run-all-cells').then(ok => done = String(ok)); 0")
    assert lab.wait("done", seconds=120) == "true", outputs_of(lab, "error")
    assert outputs_of(lab, "error") == []


def add_cell(lab, source):
    """Write code in a new cell at the end, run it, and return what it shows."""
    widget = "jupyterapp.shell.currentWidget.content"
    lab.run(f"{widget}.activeCellIndex = {widget}.widgets.length - 1; 0")
    lab.run(f"{RUN}('notebook:insert-cell-below').then(() => 0)")
    lab.run(f"{widget}.activeCell.model.sharedModel.setSource({json.dumps(source)}); 0")
    lab.run(f"{RUN}('notebook:run-cell').then(() => 0)")
    return lab.run(CELLS)[-1]["outputs"]


def outputs_of(lab, kind):
    outputs = [o for cell in lab.run(CELLS) for o in cell.get("outputs", [])]
    return [o for o in outputs if o["output_type"] == kind or kind in o.get("data", ())]


def test_the_lab_opens_on_a_page_that_says_where_to_begin(lab):
    title = lab.wait("document.querySelector('.jp-MarkdownViewer h1')?.textContent", seconds=300)
    assert title.startswith("Where to begin")
    assert lab.wait("document.querySelector('.jp-MarkdownViewer a[href*=\"01_index\"]') != null")


def test_run_all_runs_to_the_end_with_its_plots_drawn(lab):
    open_notebook(lab, "01_index.ipynb")
    run_all(lab)
    assert len(outputs_of(lab, "image/png")) >= 3


def test_the_dask_panes_show_the_notebooks_own_cluster(lab):
    (address,) = {
        text
        for output in [add_cell(lab, "print(client.dashboard_link)")]
        for text in [output[0]["text"].strip().removesuffix("/status")]
    }
    lab.run("jupyterapp.shell.activateById('dask-dashboard-launcher'); 0")
    lab.wait("document.querySelector('.dask-URLInput button') != null")
    lab.run("document.querySelector('.dask-URLInput button').click(); 0")
    found = lab.wait("document.querySelector('.dask-URLInput input').value")
    assert found.removesuffix("/status") == address
    stream = "[...document.querySelectorAll('.dask-DashboardListing-item button')]"
    stream += ".find(each => /task stream/i.test(each.textContent))"
    lab.wait(f"{stream} != null && !{stream}.disabled")
    lab.run(f"{stream}.click(); 0")
    lab.wait("document.querySelector('.dask-DaskDashboard-widget iframe') != null")
    answers = wait_for_answers(lab, f"{address}/individual-task-stream")
    assert 200 in answers
    open_notebook(lab, "01_index.ipynb")


def wait_for_answers(lab, address):
    def answers():
        told = [e["params"]["response"] for e in lab.events if "responseReceived" in e["method"]]
        return [each["status"] for each in told if each["url"].startswith(address)]

    end = time.monotonic() + 30
    while not answers() and time.monotonic() < end:
        lab.run("0")
        time.sleep(0.1)
    return answers()


def test_the_first_hour_can_be_walked_to_a_notebook_that_joins_the_batch(lab, desk):
    text = (ROOT / "docs" / "first-hour.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"^    python (-m trajlib report .*)$", text, re.MULTILINE)
    change_pair(lab, "LEMG")
    run_all(lab)
    assert "LEMD → LEMG" in lab.run(CELLS)[-2]["outputs"][0]["data"]["text/markdown"]
    change_pair(lab, "LEBL")
    save_as(lab, "09_climb.ipynb")
    delete_below(lab, "store_flights(")
    run_all(lab)
    shown = [add_cell(lab, block) for block in blocks]
    assert outputs_of(lab, "error") == []
    assert [any("image/png" in o.get("data", ()) for o in each) for each in shown].count(True) == 2
    lab.run(f"{RUN}('docmanager:save').then(() => 0)")
    told = subprocess.run(
        [sys.executable, *command.split()], cwd=desk, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    page = (desk / "reports" / "LEMD-LEBL" / "index.html").read_text("utf-8")
    assert "median time to 20,000 ft" in page
    made = nbformat.read(desk / "reports" / "LEMD-LEBL" / "09_climb.ipynb", 4)
    assert "measure_climb" in nbformat.writes(made)


def change_pair(lab, destination):
    source = lab.run(f"{CELLS}.find(cell => cell.metadata.tags?.includes('parameters')).source")
    changed = re.sub(r'destination: str = "\w+"', f'destination: str = "{destination}"', source)
    assert changed != source
    cell = "jupyterapp.shell.currentWidget.content.widgets"
    cell += ".find(cell => cell.model.getMetadata('tags')?.includes('parameters'))"
    lab.run(f"{cell}.model.sharedModel.setSource({json.dumps(changed)}); 0")


def save_as(lab, name):
    lab.run(f"{RUN}('docmanager:save-as'); 0")
    lab.wait("document.querySelector('.jp-Dialog input') != null")
    lab.run(f"document.querySelector('.jp-Dialog input').value = '{name}'; 0")
    lab.run("document.querySelector('.jp-Dialog .jp-mod-accept').click(); 0")
    lab.wait(f"jupyterapp.shell.currentWidget.context.path == '{name}'")


def delete_below(lab, text):
    cells = [cell["source"] for cell in lab.run(CELLS)]
    last = max(at for at, source in enumerate(cells) if text in source)
    widget = "jupyterapp.shell.currentWidget.content"
    model = f"{widget}.model.sharedModel"
    lab.run(f"{model}.deleteCellRange({last + 1}, {model}.cells.length); 0")
