"""The pages of a report in a browser, on paper and with a screen reader."""

from base64 import b64decode
from importlib.resources import files

import pytest
from chromium import CHROMIUM, Page

from trajlib.report.comparison import compare_reports, read_report
from trajlib.report.html import render_comparison

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")

# pages with different content: tables, the explorer, code, a map
NAMES = ["index", "comparison", "claims", "data", "models", "glossary"]
NAMES += ["02_normalization", "10_limits.explorer", "04_models", "07_prediction"]
# The handle of Bokeh's slider has no name, and Bokeh has no option for one.
AUDIT = """axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations
    .filter(each => !each.nodes.every(node => node.html.includes("noUi-handle")))
    .filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => [each.id, each.nodes.length, each.nodes[0].html]))"""


@pytest.fixture(scope="module")
def folder(made):
    report = read_report(made[1])
    page = made[1].parent / "comparison.html"
    page.write_text(render_comparison(compare_reports(report, report)), "utf-8")
    return made[1]


@pytest.fixture(scope="module", params=NAMES)
def page(request, folder):
    folder = folder.parent if request.param == "comparison" else folder
    with Page(folder / f"{request.param}.html", width=1280) as page:
        page.wait("document.readyState == 'complete'")
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, scheme):
    page.show(width=1280, scheme=scheme)
    page.run(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8") + ";0")
    assert page.run(AUDIT) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_its_window(page, width):
    page.show(width=width, scheme="light")
    assert page.run("document.documentElement.scrollWidth") <= width


def test_no_script_fails_and_nothing_is_loaded(page):
    methods = [event["method"] for event in page.events]
    assert "Runtime.exceptionThrown" not in methods
    urls = [e["params"]["request"]["url"] for e in page.events if "WillBeSent" in e["method"]]
    assert all(url.startswith(("file:", "data:", "blob:")) for url in urls)


def test_a_page_can_be_printed(page):
    printed = b64decode(page.call("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF")
