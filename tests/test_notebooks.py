import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from papermill import inspect_notebook

from trajlib import build_index

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHARED = {
    "archive": "archive: str = '../data/raw/sample'  # folder of flight CSVs",
    "origin": "origin: str = 'LEMD'  # airport of departure, ICAO or IATA code",
    "destination": "destination: str = 'LEBL'  # airport of arrival, ICAO or IATA code",
    "data": "data: str = '../data'  # folder of what is computed: interim/ and processed/",
}
PARAMETER = re.compile(r"\w+: (str|int|float|bool|list(\[\w+\])?) = .+  # \w.*")
MACHINE = r"/(?:tmp|home|root|usr|var|opt|work|mnt)/|127\.0\.0\.1|localhost|(?:tcp|tls)://"
SINGLE = (
    r"read_flights\(|plot_(routes|profiles|progress|clusters|prediction|trajectory|normalized)\("
    r"|explore_"
)
BEYOND = "http://192.0.2.1/x.png"
SENT = "Network.requestWillBeSent"
UGLY = (
    r"Warning\b|Traceback|KeyboardInterrupt|at 0x[0-9a-f]+|&lt;(?:Axes|Figure|[\w.]+ object)|\d%\|"
)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path, kind=None):
    return [c for c in nbformat.read(path, 4).cells if kind in (None, c.cell_type)]


@each_notebook
def test_a_notebook_is_committed_without_outputs(path):
    for cell in cells_of(path, "code"):
        assert not cell.outputs
        assert cell.execution_count is None


@each_notebook
def test_a_notebook_has_one_parameters_cell_that_papermill_reads_whole(path):
    tagged = [c for c in cells_of(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    lines = tagged[0].source.splitlines()
    assert all(PARAMETER.fullmatch(line) for line in lines)
    assert [line.split(":")[0] for line in lines] == list(inspect_notebook(str(path)))


@each_notebook
def test_parameters_that_notebooks_share_are_the_same_in_all(path):
    (cell,) = [c for c in cells_of(path) if "parameters" in c.metadata.get("tags", [])]
    lines = {line.split(":")[0]: line.replace('"', "'") for line in cell.source.splitlines()}
    assert {name: lines.get(name) for name in SHARED} == SHARED


@each_notebook
def test_cells_tagged_aggregate_show_no_single_flight(path):
    tagged = [c for c in cells_of(path, "code") if "aggregate" in c.metadata.get("tags", [])]
    assert not [cell.source for cell in tagged if re.search(SINGLE, cell.source)]


@each_notebook
def test_a_notebook_saves_its_summary_where_the_report_looks_for_it(path):
    *_, last = cells_of(path, "code")
    assert re.search(rf'save_summary\([^)]*"{path.stem.partition("_")[2]}"', last.source)


@each_notebook
def test_a_notebook_is_the_same_file_however_often_it_is_written(path):
    nb = nbformat.read(path, 4)
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    assert set(nb.metadata) <= {"kernelspec", "language_info"}
    assert nb.metadata.kernelspec.name == "python3"
    assert not re.search(MACHINE, path.read_text("utf-8"))


@pytest.fixture(scope="module")
def report(made):
    return json.loads((made[1] / "report.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def pages(made):
    return {path.name: path.read_text("utf-8") for path in made[1].glob("*.html")}


def test_the_report_of_the_tiny_archive_is_whole(made, report):
    result, folder = made
    assert result.returncode == 0, result.stdout + result.stderr
    assert report["whole"]
    ran = [path.stem for path in NOTEBOOKS]
    assert [stage["name"] for stage in report["stages"]] == ran
    assert all(stage["headline"] for stage in report["stages"])
    assert f"{folder}/index.html" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("next: python -m trajlib predict")


def test_the_report_needs_no_network_but_loopback(made, alone):
    if not alone:
        pytest.skip("a network of loopback alone needs root, unshare and ip")
    code = "import socket; print(*(name for _, name in socket.if_nameindex()))"
    result = subprocess.run([*alone, sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout == b"lo\n"
    assert made[0].returncode == 0, made[0].stderr


@pytest.fixture(scope="module")
def shared(made):
    return made[1].with_name(f"{made[1].name}-aggregate")


def test_the_shared_report_has_no_callsign_registration_file_or_position(
    made, shared, tiny_archive
):
    index = build_index(tiny_archive).dropna(subset="callsign")
    names = {Path(path).stem for path in index["path"]}
    names |= {*index["callsign"], *index["registration"].dropna()}
    assert len(names) > 100
    for folder, expected in ((made[1], True), (shared, False)):
        text = "\n".join(drop_images(path) for path in folder.glob("*.*") if path.suffix != ".png")
        south, north = index[["latitude_first", "latitude_last"]].stack().agg(["min", "max"])
        numbers = map(float, re.findall(r"(?<![\d.])\d\d\.\d{4,}", text))
        assert any(name in text for name in names) == expected
        assert any(south <= number <= north for number in numbers) == expected


def test_the_shared_report_keeps_headlines_and_aggregate_figures(shared, report):
    shared_report = json.loads((shared / "report.json").read_text("utf-8"))
    for stage, shared_stage in zip(report["stages"], shared_report["stages"], strict=True):
        assert shared_stage["headline"] == stage["headline"]
        page = (shared / f"{stage['name']}.html").read_text("utf-8")
        assert '<img src="data:image/png' in page
        assert stage["name"] != "02_normalization" or "Left out here" in page


def test_the_shared_report_has_no_script(shared):
    for page in shared.glob("*.html"):
        assert "<script" not in page.read_text("utf-8"), page.name


def test_no_page_requests_anything_but_its_own_file(made, shared, tmp_path):
    pytest.importorskip("websocket", reason="websocket-client, which drives Chromium, is missing")
    from chromium import CHROMIUM, Page

    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    outside = tmp_path / "outside.html"
    outside.write_text(f"<img src='{BEYOND}'>")
    with Page(outside) as page:
        for path in (outside, *made[1].glob("*.html"), *shared.glob("*.html")):
            page.events.clear()
            page.call("Page.navigate", url=path.as_uri())
            page.wait(f"document.readyState == 'complete' && location == '{path.as_uri()}'")
            page.run("new Promise(done => setTimeout(done, 300))")  # for requests of scripts
            urls = [e["params"]["request"]["url"] for e in page.events if e.get("method") == SENT]
            urls = {url for url in urls if not url.startswith(("data:", "blob:"))}
            expected = {path.as_uri()}
            if path == outside:  # a request to the network is seen
                expected.add(BEYOND)
            assert urls == expected, path.name


def test_the_front_page_holds_every_claim_of_the_talk(report):
    claims = [claim["claim"] for stage in report["stages"] for claim in stage["claims"]]
    for word in ("disperse", "correlated", "0.9", "important"):
        assert any(word in claim for claim in claims), word


def test_the_damaged_file_is_counted(report):
    assert report["data"]["rejected"] == "1"


def test_no_file_of_the_report_names_the_machine(made, tiny_archive):
    for path in made[1].glob("*.*"):
        if path.suffix != ".png":
            text = without_scripts(path) if path.suffix == ".ipynb" else path.read_text("utf-8")
            assert not around(f"{MACHINE}|{tiny_archive}", drop_scripts(text)), path.name


def test_no_page_shows_a_warning_a_progress_bar_or_an_objects_address(pages):
    for name, page in pages.items():
        assert not around(UGLY, drop_scripts(page)), name
        assert '<pre class="text"' not in page, name  # what Python prints of an object


def test_no_table_shows_a_number_of_ten_digits_or_a_missing_one(pages):
    for name, page in pages.items():
        for value in re.findall(r"<td[^>]*>([^<]*)</td>", drop_scripts(page)):
            assert value not in ("NaN", "None", "NaT", "<NA>"), name
            assert not re.fullmatch(r"-?\d*\.\d{7,}", value), (name, value)


def test_every_link_has_a_target(pages):
    for name, page in pages.items():
        for link in re.findall(r'href="([^"]*)"', drop_scripts(page)):
            if link.startswith("https://"):  # of the talk, the sources of data and licences
                continue
            file, _, anchor = link.partition("#")
            target = pages[file or name]
            assert not anchor or f'id="{anchor}"' in target


def test_pages_are_smaller_than_8_mb(pages):
    assert max(len(page.encode()) for page in pages.values()) < 8_000_000


def around(pattern, text):
    return [text[max(0, m.start() - 80) : m.end() + 80] for m in re.finditer(pattern, text)]


def drop_images(path):
    text = path.read_text("utf-8")
    return re.sub(r';base64,[^"]*|"image/png": "[^"]*"', "", text)


def drop_scripts(text):
    return re.sub(r"<(script|style)>.*?</\1>|;base64,[^\"]*", "", text, flags=re.DOTALL)


def without_scripts(path):
    nb = nbformat.read(path, 4)
    for output in (output for cell in nb.cells for output in cell.get("outputs", [])):
        for kind in ("application/javascript", "image/png"):
            output.get("data", {}).pop(kind, None)
    return nbformat.writes(nb)


@pytest.mark.slow
def test_the_tour_reads_an_archive_with_another_dialect(tmp_path):
    folder = tmp_path / "raw" / "theirs" / "LEMD-LEBL"
    folder.mkdir(parents=True)
    (folder.parent / "columns.toml").write_text(
        "delimiter = ';'\ndecimal = ','\npath = '(?P<origin>\\w+)-(?P<destination>\\w+)/'\n"
        "[columns]\ntimestamp = {column = 'time', format = '%d/%m/%Y %H:%M:%S'}\n"
        "altitude = {column = 'height', unit = 'm'}\n"
    )
    header = "time;latitude;longitude;height"
    texts = []
    for day in (13, 14, 15):
        degrees = [f"{(m - 35) / 10:.1f}".replace(".", ",") for m in range(60)]
        lines = [f"{day}/01/2016 06:{m:02}:00;40,9;{degrees[m]};{9000 + m},5" for m in range(60)]
        texts.append("\n".join([header, *lines, ""]))
    (folder / "a.csv").write_text(texts[0])
    (folder / "b.csv").write_text(texts[1])
    (folder / "c.csv.gz").write_bytes(gzip.compress(texts[2].encode()))
    made, source = tmp_path / "made.ipynb", NOTEBOOKS[0]
    parameters = {"archive": str(folder.parent), "data": str(tmp_path)}
    papermill.execute_notebook(source, made, parameters, cwd=source.parent, progress_bar=False)
    outputs = [out for cell in cells_of(made, "code") for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "stream"]
    assert any("**180 rows**" in str(out) for out in outputs)
