"""The explorer in a browser: opened from disk, without a network."""

import re
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bokeh.embed import file_html
from bokeh.resources import INLINE

from trajlib.plots.explorer import explore_flights
from trajlib.trajectories.dispersion import dispersion

HOSTILE = '</script><script>hacked=1</script><img src=x onerror="hacked=2">'
STEPS = np.linspace(0, 1, 101)


def _trajectories(count: int) -> xr.Dataset:
    rng = np.random.default_rng(0)
    side, start = rng.normal(0, 0.1, (2, count, 1))
    columns = {
        "latitude": 40.5 + 0.8 * STEPS + side * np.sin(np.pi * STEPS),
        "longitude": -3.6 + 5.7 * STEPS + 0.1 * start,
        "altitude": (33_000 + 1_000 * side) * np.sin(np.pi * STEPS),
        "groundspeed": 450 * np.sin(np.pi * (0.1 + 0.8 * STEPS)) + 100 * side,
        "duration": 3_000 * STEPS * (1 + side),
        "distance": 270 * STEPS * (1 + side),
    }
    paths = [f"LEMD-LEBL/{number}.csv" for number in range(count)]
    ds = xr.Dataset(
        {name: (("path", "fraction"), values) for name, values in columns.items()},
        coords={"path": paths, "fraction": STEPS},
    )
    ds["longitude"][:, 0] = np.nan  # no flight reaches the first fraction, and one not the last
    ds["latitude"][:, 0] = np.nan
    ds["latitude"][0, -1] = np.nan
    return ds


def _identity(count: int) -> pd.DataFrame:
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "path": [f"LEMD-LEBL/{number}.csv" for number in numbers],
            "callsign": [f"IBE{number}" for number in numbers[:-1]] + [HOSTILE],
            "operator": ["VLG" if number % 4 else "IBE" for number in numbers[:-1]] + [HOSTILE],
            "aircraft_type": [None, *["A320"] * (count - 1)],
            "start": pd.Timestamp("2016-01-01 23:30", tz="UTC") + pd.to_timedelta(numbers, "h"),
            "cluster": [*numbers[:-1] % 3 - 1.0, np.nan],
            "error": [*numbers[:-1] / 10, np.nan],
        }
    )


def _page(count: int) -> str:
    explorer = explore_flights(_trajectories(count), _identity(count), airports=["LEMD", "LEBL"])
    return file_html(explorer, INLINE, title="LEMD-LEBL")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("websocket", reason="websocket-client, which drives Chromium, is missing")
    from chromium import CHROMIUM, Page

    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(_page(200), encoding="utf-8")
    with Page(path) as page:
        page.wait("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        page.run(_SCRIPT)
        yield page


# Bokeh's widgets are in shadow roots, which querySelectorAll does not enter.
_SCRIPT = """
window.views = (name) =>
  [...Bokeh.index.query(({model}) => model.name === name || model.type === name)]
window.text = (name) => views(name).flatMap(({shadow_el}) => [...shadow_el.children])
  .map((element) => element.matches("style") ? "" : element.textContent).join("")
window.all = (selector, root = document) => [...root.querySelectorAll(selector),
  ...[...root.querySelectorAll("*")].flatMap((e) => all(selector, e.shadowRoot ?? new Document()))]
window.middle = (element) => {
  const {x, y, width, height} = element.getBoundingClientRect()
  return [x + width / 2, y + height / 2]
}
window.place = (name, x, y) => {
  const [{el, frame}] = views(name)
  const {left, top} = el.getBoundingClientRect()
  return [left + frame.x_scale.compute(x), top + frame.y_scale.compute(y)]
}
window.column = (number) => all(".slick-row").map((row) => row.children[number].textContent)
window.choose = (name, value) => {
  const select = all(`select[name=${name}]`)[0]
  select.selectedIndex = [...select.options].findIndex(({text}) => text.startsWith(value))
  select.dispatchEvent(new Event("change"))
}
window.model = (name) => Bokeh.documents[0].get_model_by_name(name)
null
"""


@pytest.fixture
def fresh(page):
    """The page with nothing selected and every flight shown."""
    for name in ("operator", "aircraft_type", "weekday", "cluster"):
        _choose(page, name, "all")
    for name in ("hour", "error"):
        page.run(f"(({{start, end}}) => model('{name}').value = [start, end])(model('{name}'))")
    page.run("model('flights').selected.indices = []")
    page.wait("text('counted') === '200 of 200 flights shown, 0 selected'")
    return page


def _selected(page) -> int:
    return int(re.search(r"(\d+) selected", page.run("text('counted')"))[1])


@pytest.mark.slow
def test_a_page_of_5000_flights_stays_below_8_mb():
    assert len(_page(5_000).encode()) < 8e6


@pytest.mark.slow
def test_the_page_opens_without_requests_or_errors(page):
    page.wait("text('counted') === '200 of 200 flights shown, 0 selected'")
    urls = [
        e["params"]["request"]["url"] for e in page.events if e["method"].endswith("WillBeSent")
    ]
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [e for e in page.events if e["method"] == "Runtime.exceptionThrown"] == []


@pytest.mark.slow
def test_a_row_picked_in_the_table_is_picked_on_the_map(fresh):
    fresh.click(*fresh.run("middle(all('.slick-row')[2].firstChild)"))
    fresh.wait("text('counted').endsWith(' 1 selected')")
    assert fresh.run("model('cloud').selected.indices") == [2]


@pytest.mark.slow
def test_a_click_on_the_map_picks_the_flights_that_pass_there(fresh):
    fresh.click(*fresh.run("place('map', -3.6 + 5.7 * 0.9, 40.5 + 0.8 * 0.9)"))
    fresh.wait("!text('counted').endsWith(' 0 selected')")
    assert fresh.run("all('.slick-cell.selected').length") > 0


@pytest.mark.slow
def test_a_box_picks_the_flights_that_are_in_it(fresh):
    fresh.click(*fresh.run("middle(all('.bk-tool-icon-box-select')[0])"))
    fresh.drag(*fresh.run("[place('altitude', 40, 33_005), place('altitude', 60, 34_500)]"))
    fresh.wait("!text('counted').endsWith(' 0 selected')")
    inside = (_trajectories(200)["altitude"].sel(fraction=0.5) > 33_005).sum()
    assert abs(_selected(fresh) - int(inside)) <= 2  # one pixel of tolerance


@pytest.mark.slow
def test_pointing_at_a_line_shows_the_flight(fresh):
    fresh.mouse("Moved", *fresh.run("place('altitude', 20, 10_000)"))
    x, y = fresh.run("place('altitude', 50, 33_000)")
    fresh.mouse("Moved", x, y)
    tooltip = fresh.wait("text('Tooltip')")
    assert re.search(r"(IBE\d+ · (IBE|VLG)|<script>).* · A320 · 2016-01-", tooltip)


@pytest.mark.slow
def test_a_filter_applies_to_every_part(fresh):
    _choose(fresh, "operator", "IBE")
    fresh.wait("text('counted').startsWith('50 of 200')")
    assert set(fresh.run("column(1)")) == {"IBE"}


@pytest.mark.slow
def test_two_filters_show_flights_that_pass_both(fresh):
    _choose(fresh, "operator", "VLG")
    _choose(fresh, "weekday", "Saturday")
    fresh.wait("text('counted').startsWith('36 of 200')")  # 23:30 UTC is Saturday in Madrid
    assert set(fresh.run("column(4)")) == {"Saturday"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cluster", "count"), [("no cluster", 67), ("cluster 1", 66), ("unknown", 1)]
)
def test_flights_are_filtered_by_cluster_and_by_no_cluster(fresh, cluster, count):
    _choose(fresh, "cluster", cluster)
    fresh.wait(f"text('counted').startsWith('{count} of 200')")
    assert set(fresh.run("column(5)")) == {cluster}


@pytest.mark.slow
def test_flights_are_chosen_by_local_hour_of_take_off(fresh):
    fresh.run("model('hour').value = [0, 1]")  # 23:30 UTC is half past midnight in Madrid
    fresh.wait("text('counted').startsWith('9 of 200')")
    assert {text[-5:] for text in fresh.run("column(3)")} == {"23:30"}


@pytest.mark.slow
def test_flights_are_chosen_by_error_and_those_without_one_are_left_out(fresh):
    fresh.run("model('error').value = [19, 20]")
    fresh.wait("text('counted').startsWith('9 of 200')")
    assert min(map(float, fresh.run("column(6)"))) == 19.0


@pytest.mark.slow
def test_the_slider_moves_the_cloud_and_measures_its_dispersion(fresh):
    before = fresh.run("text('spread')")
    start = fresh.run("middle(all('.noUi-handle').at(-1))")
    fresh.drag(start, (start[0] + 84, start[1]))
    fresh.wait(f"text('spread') !== {before!r}")
    share, along, cross, altitude, time = map(
        float, re.findall(r"[\d.]+", fresh.run("text('spread')"))
    )
    expected = dispersion(_trajectories(200)).loc[share / 100]
    assert (along, cross) == pytest.approx((expected["along"], expected["cross"]), abs=0.1)
    assert altitude == pytest.approx(expected["altitude"], rel=0.01, abs=1)
    assert time == pytest.approx(expected["time"] / 60, abs=0.1)
    assert fresh.run("model('cloud').data.progress[0]") == share


@pytest.mark.slow
def test_the_ellipse_holds_two_standard_deviations_around_the_mean_of_those_shown(fresh):
    _choose(fresh, "operator", "IBE")
    fresh.run("model('progress').value = 12")
    fresh.wait("model('now').data.progress[0] === 60")
    shown = _trajectories(200).sel(path=_identity(200).query("operator == 'IBE'")["path"].tolist())
    for name in ("longitude", "latitude"):
        values = shown[name].sel(fraction=0.6, method="nearest").to_numpy()
        ellipse = np.array(fresh.run(f"[...model('ellipse').data.{name}]"))
        assert fresh.run(f"model('now').data.{name}[0]") == pytest.approx(values.mean(), abs=0.001)
        assert np.ptp(ellipse) / 2 == pytest.approx(2 * values.std(), abs=0.002)


@pytest.mark.slow
def test_reset_shows_what_was_shown_at_first(fresh):
    start = "model('map').x_range.start"
    before = fresh.run(start)
    x, y = fresh.run("place('map', -0.7, 40.9)")
    fresh.mouse("Wheel", x, y, deltaX=0, deltaY=-300)
    fresh.wait(f"{start} > {before}")
    fresh.click(*fresh.run("middle(all('.bk-tool-icon-reset')[0])"))
    fresh.wait(f"{start} === {before}")


@pytest.mark.slow
def test_save_gives_a_picture_without_a_network(fresh, tmp_path):
    fresh.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    fresh.click(*fresh.run("middle(all('.bk-tool-icon-save')[0])"))
    end = time.monotonic() + 30
    while not (saved := list(tmp_path.glob("*.png"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert saved[0].read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_density_follows_the_zoom(fresh):
    start = "model('map').x_range.start"
    before = fresh.run(start)
    x, y = fresh.run("place('map', -0.7, 40.9)")
    fresh.mouse("Wheel", x, y, deltaX=0, deltaY=-300)
    fresh.wait(f"{start} > {before}")
    fresh.wait(f"model('density of map').data.x[0] === {start}")


@pytest.mark.slow
def test_many_flights_are_drawn_as_density_and_few_as_lines(fresh):
    for count, crowded in ((150, True), (5, False)):
        fresh.run(f"model('flights').selected.indices = [...Array({count}).keys()]")
        fresh.wait(f"text('counted').endsWith(' {count} selected')")
        assert (fresh.run("model('crowd of map').data.dw[0]") > 0) == crowded
        drawn = "views('map')[0].model.renderers.map((r) => r.selection_glyph?.xs?.field)"
        assert ("longitude" in fresh.run(drawn)) != crowded


@pytest.mark.slow
def test_an_empty_selection_draws_no_density(fresh):
    _choose(fresh, "operator", HOSTILE)
    _choose(fresh, "cluster", "cluster 1")
    fresh.wait("text('counted').startsWith('0 of 200')")
    assert fresh.run("model('density of map').data.dw[0]") == 0  # a density would be of one colour


@pytest.mark.slow
def test_filters_and_slider_are_in_view_on_a_narrow_screen(fresh):
    narrow = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    fresh.call("Emulation.setDeviceMetricsOverride", **narrow)
    right = "[...all('select'), all('.noUi-base')[0]].map((e) => e.getBoundingClientRect().right)"
    fresh.wait(f"innerWidth === 400 && Math.max(...{right}) <= 400")
    fresh.call("Emulation.clearDeviceMetricsOverride")
    fresh.wait("innerWidth > 400")


@pytest.mark.slow
def test_text_of_an_archive_stays_text(fresh):
    _choose(fresh, "operator", HOSTILE)
    fresh.wait("text('counted').startsWith('1 of 200')")
    assert fresh.run("column(0)") == [HOSTILE]
    fresh.click(*fresh.run("middle(all('.slick-row')[0].firstChild)"))
    fresh.mouse("Moved", *fresh.run("place('altitude', 50, 33_000)"))
    assert fresh.run("all('img').length") == 0
    assert fresh.run("window.hacked ?? null") is None


def _choose(page, name: str, value: str) -> None:
    page.run(f"choose({name!r}, {value!r})")
