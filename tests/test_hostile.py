"""Harmful names and texts in an archive, from its index to the page that shows them."""

import os

import pandas as pd
import pytest

from trajlib import build_index, map_flights, select_flights, store_flights
from trajlib.archive.index import read_rejections
from trajlib.report.html import render_explorer, render_notebook
from trajlib.report.redaction import machine_rules
from trajlib.report.stages import Stage, run_stage

SENT = "Network.requestWillBeSent"
SCRIPT = "</script><script>hacked=1</script><img src=x onerror=hacked=1>"
CALLSIGNS = {
    "<img src=x onerror=hacked=1>": SCRIPT,
    "=1+1": "=HYPERLINK(1+1)",
    "$_{$": r"$\frac{$",
    "new\nline": "![x](http://192.0.2.1/x.png)",
    "dots..": "../../x",
    "plain": "IBE1",
}
LINES = [f"2016-01-01T06:{m:02}:00Z,{40.5 + m / 100},{m / 10 - 3.5},{100 * m}" for m in range(60)]
CELLS = [
    "from pathlib import Path\nimport numpy as np\nfrom bokeh.io import output_notebook, show",
    "from IPython.display import Markdown, display",
    "from trajlib import build_index, map_flights, select_flights, store_flights",
    "from trajlib.trajectories import normalization",
    "from trajlib.plots.explorer import BOKEHJS, explore_flights",
    "from trajlib.plots.flights import plot_profiles",
    "from trajlib.plots.maps import plot_pair_matrix",
    "index = build_index(archive, '../index.parquet')\ndisplay(index)\nprint(list(index['path']))",
    "store = store_flights(select_flights(index, origin, 'LEBL'), '../store')\ndisplay(store)",
    "Markdown('\\n\\n'.join(store['callsign'].dropna()))",
    "plot_pair_matrix(index)",
    "trajectories = normalization.normalize_flights(store, 'time', np.linspace(0, 1, 21))",
    "plot_profiles(trajectories.isel(path=slice(6)), against='duration')",
    "output_notebook(BOKEHJS)\nshow(explore_flights(trajectories, store))",
    "map_flights(store.iloc[:1], lambda flight: 1 / 0)",
]


def write(path, callsign, lines=LINES, origin="LEMD"):
    header = "timestamp,latitude,longitude,altitude,callsign,registration,origin,destination"
    identity = f'"{callsign}","{callsign}",{origin},LEBL'
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 (its name is of bytes)
        file.write("\n".join([header, *(f"{line},{identity}" for line in lines), ""]))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "<b>archive"
    folder.mkdir()
    for name, callsign in CALLSIGNS.items():
        write(folder / f"{name}.csv", callsign)
    write(folder / "elsewhere.csv", "x", origin="$_{$")
    write(os.fsencode(folder) + b"/\xff.csv", "IBE2")
    write(folder / "long.csv", "x" * 1_000_000)
    longer = [*LINES[:30], LINES[30].replace("40.8", "4" + "<" * 1_000_000), *LINES[31:]]
    write(folder / "longer.csv", "IBE3", longer)
    (folder / "columns.toml").write_text(f'title = "{SCRIPT}"', "utf-8")
    return folder


@pytest.fixture(scope="module")
def pages(archive, tmp_path_factory):
    """The page of a notebook that shows all texts of the archive, and that of its explorer."""
    pytest.importorskip("websocket", reason="websocket-client, which drives Chromium, is missing")
    from chromium import CHROMIUM, Page

    folder = tmp_path_factory.mktemp("page")
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    for name, text in render(archive, folder).items():
        (folder / name).write_text(text, "utf-8")
    with Page(folder / "page.html") as page, Page(folder / "explorer.html") as explorer:
        explorer.wait("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        yield {"page": page, "explorer": explorer}


def render(archive, folder):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = new_notebook(metadata={"kernelspec": kernel})
    nb.cells = [new_code_cell("archive: str = ''  # folder\norigin: str = 'LEMD'  # airport")]
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.cells += [new_code_cell(cell) for cell in CELLS]
    (folder / "notebooks").mkdir()
    nbformat.write(nb, folder / "notebooks/01_all.ipynb")
    stage = Stage(folder / "notebooks/01_all.ipynb", {"archive": str(archive)})
    rules = machine_rules(folder, [archive])
    result = run_stage(
        stage, folder, key="key", processed=folder, rules=rules, env={"BOKEH_RESOURCES": "inline"}
    )
    assert "ZeroDivisionError" in result["failure"]  # from the last cell only
    stage = {"name": "01_all", "title": "All", "status": "failed", **result}
    report = {"pair": "LEMD → LEBL", "stages": [stage]}
    executed = nbformat.read(folder / "01_all.ipynb", 4)
    return {
        "page.html": render_notebook(executed, report, stage),
        "explorer.html": render_explorer(executed, report, stage),
    }


def test_every_file_is_read_or_rejected_with_a_short_reason(archive, tmp_path):
    index = build_index(archive, tmp_path / "index.parquet")
    assert len(index) == len(CALLSIGNS) + 4
    rows = select_flights(index, "LEMD", "LEBL")
    store = store_flights(rows, tmp_path / "store")
    callsigns = store.dropna(subset="part").set_index("path")["callsign"]
    assert callsigns.to_dict() == {f"{name}.csv": callsign for name, callsign in CALLSIGNS.items()}
    rejections = read_rejections(index)["rejected"]
    assert set(rejections.index) == {"long.csv", "longer.csv", "\\udcff.csv"}
    assert rejections.str.len().max() < 300
    assert len(map_flights(store, len)) == len(CALLSIGNS)
    pd.testing.assert_frame_equal(build_index(archive, tmp_path / "index.parquet"), index)
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.parquet",
        "index.parquet.rejections.parquet",
        "store",
    }


@pytest.mark.slow  # opens a browser
@pytest.mark.parametrize("name", ["page", "explorer"])
def test_hostile_text_is_not_executed(pages, name):
    page = pages[name]
    assert page.run("typeof hacked") == "undefined"
    urls = [e["params"]["request"]["url"] for e in page.events if e.get("method") == SENT]
    assert len(urls) >= 1
    assert all(url.startswith(("file:", "data:", "blob:")) for url in urls)
    assert page.run("document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0


@pytest.mark.slow  # opens a browser
def test_hostile_text_is_shown(pages):
    text = pages["page"].run("document.body.innerText")
    for part in ("<img src=x onerror=hacked=1>.csv", "=HYPERLINK(1+1)", "../../x", r"\frac{"):
        assert part in text
