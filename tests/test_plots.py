"""Figures: their content, and no side effects of drawing."""

import os
import subprocess
import sys
from io import BytesIO

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.path import Path

from trajlib.plots.basemap import read_borders, read_land
from trajlib.plots.dask import plot_graph
from trajlib.plots.flights import plot_profiles, split_flights
from trajlib.plots.maps import (
    bounds_around,
    plot_archive,
    plot_pair_matrix,
    plot_routes,
    plot_tracks,
)
from trajlib.plots.style import WIDTH, add_legend, styled

SPAIN = (-10.0, 35.0, 5.0, 44.5)


def _trajectories(count: int) -> xr.Dataset:
    fraction = np.linspace(0, 1, 11)
    offset = np.linspace(-0.3, 0.3, count)[:, None]
    columns = {
        "latitude": 40.5 + 0.8 * fraction + offset * np.sin(np.pi * fraction),
        "longitude": -3.6 + 5.7 * fraction + 0 * offset,
        "altitude": 33_000 * np.sin(np.pi * fraction) + 0 * offset,
        "groundspeed": 450 * np.sin(np.pi * (0.1 + 0.8 * fraction)) + 0 * offset,
        "duration": 3_000 * fraction + 100 * offset,
        "distance": 270 * fraction + 0 * offset,
    }
    paths = [f"LEMD-LEBL/flight{number}.csv" for number in range(count)]
    return xr.Dataset(
        {name: (("path", "fraction"), values) for name, values in columns.items()},
        coords={"path": paths, "fraction": fraction},
    )


def _index() -> pd.DataFrame:
    ends = [("LEMD", "LEBL")] * 5 + [("LEBL", "LEMD")] * 2 + [("LEMD", "LEPA")] + [("XXXX", "LEMD")]
    index = pd.DataFrame(ends, columns=["origin", "destination"])
    return index.assign(rejected=[None] * 4 + ["damaged"] + [None] * 4)


def _on_land(lon: float, lat: float, bounds) -> bool:
    rings = [ring for polygon in read_land(bounds) for ring in polygon]
    return sum(Path(ring).contains_point((lon, lat)) for ring in rings) % 2 == 1


def test_a_saved_picture_does_not_follow_settings_of_the_user(tmp_path):
    figure = styled(lambda: plt.figure(figsize=(2, 1)))()
    with plt.rc_context({"savefig.dpi": 20}):
        figure.savefig(tmp_path / "a.png")
    assert plt.imread(tmp_path / "a.png").shape[:2] == (144, 288)


def _is_drawn(figure) -> bool:
    page = BytesIO()
    figure.savefig(page, dpi=20)
    page.seek(0)
    return bool((plt.imread(page)[..., :3] < 1).any())


@pytest.mark.parametrize(
    ("lon", "lat", "bounds", "land"),
    [
        (-3.7, 40.4, SPAIN, True),
        (-3.7, 40.4, (-6.0, 40.0, -3.0, 41.0), True),
        (3.5, 41.0, SPAIN, False),
        (50.0, 42.0, (40.0, 35.0, 60.0, 50.0), False),  # the Caspian Sea, a hole in the land
        (100.0, 70.0, (-180.0, -60.0, 180.0, 85.0), True),  # Siberia goes on beyond 180°
        (-260.0, 70.0, (-300.0, -60.0, 60.0, 85.0), True),
        (0.0, -85.0, (-180.0, -90.0, 180.0, 0.0), True),  # Antarctica closes at the pole
    ],
)
def test_the_base_map_distinguishes_land_from_sea(lon, lat, bounds, land):
    assert _on_land(lon, lat, bounds) is land


def test_land_is_clipped_to_the_bounds():
    points = np.concatenate([ring for polygon in read_land(SPAIN) for ring in polygon])
    assert (points >= (-10, 35)).all()
    assert (points <= (5, 44.5)).all()


def test_borders_are_those_of_the_countries_shown():
    assert read_borders((-8.0, 39.0, -6.0, 42.0))
    assert not read_borders((-1.0, 39.0, 0.0, 41.0))


@pytest.mark.slow
def test_drawing_a_figure_keeps_interactive_mode_in_a_notebook(tmp_path):
    lines = "import matplotlib.pyplot as plt", "from trajlib.plots.style import styled"
    code = "\n".join([*lines, "styled(plt.figure)()", "print(plt.isinteractive())"])
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    inline |= {"IPYTHONDIR": str(tmp_path)}
    command = [sys.executable, "-m", "IPython", "-c", code]
    result = subprocess.run(
        command, env=os.environ | inline, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["True"]


@pytest.mark.parametrize("count", [1, 6, 300])
def test_maps_and_profiles_are_drawn_for_any_number_of_flights(count):
    trajectories = _trajectories(count)
    mean = trajectories.mean("path")
    assert _is_drawn(plot_routes(trajectories, mean=mean, airports=["LEMD", "BCN"]))
    assert _is_drawn(plot_profiles(trajectories, against="fraction", mean=mean))


def test_a_single_flight_needs_no_path():
    flight = _trajectories(1).isel(path=0, drop=True)
    assert _is_drawn(plot_routes(flight))
    assert _is_drawn(plot_profiles(flight.to_dataframe(), against="distance"))


def test_a_dataset_and_its_dataframe_hold_the_same_lines():
    trajectories = _trajectories(3)
    a = split_flights(trajectories, "duration", "altitude")
    b = split_flights(trajectories.to_dataframe(), "duration", "altitude")
    assert list(a) == list(b)
    assert all(np.array_equal(a[path], b[path]) for path in a)


def test_each_flight_has_a_line_over_the_fractions_that_ends_with_the_flight():
    trajectories = _trajectories(2)
    trajectories["altitude"][1, -3:] = np.nan
    first, second = split_flights(trajectories, "fraction", "altitude").values()
    assert first[:, 0].tolist() == trajectories["fraction"].to_numpy().tolist()
    assert first[:, 1].tolist() == trajectories["altitude"][0].to_numpy().tolist()
    assert second.tolist() == first[:-3].tolist()


def test_axes_carry_symbol_and_unit():
    axes = plot_profiles(_trajectories(2), against="duration").axes
    assert axes[0].get_ylabel() == "altitude $H_p$ [ft]"
    assert axes[1].get_xlabel() == "time since the first sample [min]"


def test_altitudes_have_separators_of_thousands():
    axis = plot_profiles(_trajectories(2)).axes[0].yaxis
    assert "[ft]" in axis.get_label_text()
    assert "30,000" in [label.get_text() for label in axis.get_ticklabels()]


def test_a_column_that_the_flights_lack_has_no_panel():
    assert len(plot_profiles(_trajectories(2), columns=("altitude", "mach")).axes) == 1


def test_the_archive_map_counts_usable_flights_between_known_airports():
    figure = plot_archive(_index())
    assert figure.axes[0].get_title(loc="left") == "7 flights on 2 routes"
    assert {text.get_text() for text in figure.axes[0].texts} == {"LEMD", "LEBL", "LEPA"}


def test_an_archive_without_a_route_is_refused():
    for plot in (plot_archive, plot_pair_matrix):
        with pytest.raises(ValueError, match="no usable flight"):
            plot(_index().assign(rejected="damaged"))
    with pytest.raises(ValueError, match="no flight between two known airports"):
        plot_archive(_index().assign(origin="XXXX"))


def test_a_route_over_the_date_line_is_one_line():
    index = pd.DataFrame({"origin": ["SFO"], "destination": ["NRT"], "rejected": [None]})
    route = plot_archive(index).axes[0].collections[1].get_paths()[0].vertices
    assert np.abs(np.diff(route[:, 0])).max() < 10


def test_the_pair_matrix_holds_every_usable_flight():
    texts = plot_pair_matrix(_index(), named=1).axes[0].texts
    assert sorted(text.get_text() for text in texts) == ["3", "5"]


def test_a_map_is_wider_than_its_points():
    assert bounds_around(np.array([(2.0, 41.0)])) == (1.9, 40.9, 2.1, 41.1)


def test_the_task_graph_has_a_dot_for_each_task():
    figure = plot_graph(da.ones(1_000, chunks=100).mean())
    dots = sum(len(drawn.get_offsets()) for drawn in figure.axes[0].collections[1:])
    assert dots == 10 + 10 + 3 + 1


def test_drawing_changes_no_setting_and_leaves_no_figure():
    before = dict(plt.rcParams)
    plot_profiles(_trajectories(2))
    assert dict(plt.rcParams) == before
    assert not plt.get_fignums()


def test_a_title_makes_room_for_itself_and_a_legend():
    def draw():
        figure = plt.figure()
        figure.subplots().plot([1, 2], label="line")
        figure.legend(loc="outside upper left")
        return figure

    def top(figure):
        figure.draw_without_rendering()
        return figure.axes[0].get_position().y1

    plain, titled = styled(draw)(), styled(draw)(title="a finding")
    assert top(titled) < top(plain)
    assert titled.legends[0].get_title().get_text() == "a finding"


def test_a_legend_with_long_labels_stays_inside_the_figure():
    def lines_of(label, width=9):
        figure, ax = plt.subplots(figsize=(width, 4), layout="constrained")
        for n in range(4):
            ax.plot([n, n], label=f"{label} {n}")
        height = add_legend(figure, ax, columns=4)
        figure.draw_without_rendering()
        extent = figure.legends[0].get_window_extent()
        plt.close(figure)
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert height == pytest.approx(extent.height / figure.dpi, abs=0.05)
        return round(height / 0.2)

    long = "a label of a line " * 5
    assert [lines_of("short"), lines_of(long), lines_of(long, 5)] == [1, 4, 8]


@pytest.mark.parametrize("width", [WIDTH, 4.2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("south", [0, 5])  # degrees, of a narrower or a higher map
def test_a_map_stays_inside_its_figure_with_its_labels_and_below_its_legend(width, groups, south):
    line = np.array([[-3.56, 40.47 - south], [1.0, 41.2], [2.5, 41.4], [2.08, 41.3]])
    clusters = pd.Series({"a": 0, "b": -1})
    names = {group: f"{group} % fly along a route, at some place" for group in range(groups)}
    figure = plot_tracks(
        {"a": line, "b": line + 0.1},
        ("LEMD", "LEBL"),
        clusters=clusters,
        names=names,
        plans=[line],
        width=width,
        title="Where flights fly",
    )
    figure.draw_without_rendering()
    extent, legend = figure.axes[0].get_tightbbox(), figure.legends[0].get_window_extent()
    assert min(extent.x0, extent.y0) >= 0
    assert extent.x1 <= figure.bbox.width
    assert extent.y1 <= legend.y0
