"""A linked explorer of a city pair's flights, in one page that works offline."""

from collections.abc import Sequence
from math import ceil, isnan
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.events import RangesUpdate
from bokeh.layouts import column, gridplot, row
from bokeh.models import (
    CDSView,
    Column,
    ColumnDataSource,
    CustomJS,
    DataTable,
    Div,
    GridPlot,
    IndexFilter,
    Plot,
    RangeSlider,
    SaveTool,
    Select,
    Slider,
    Span,
    TableColumn,
)
from bokeh.resources import Resources

from trajlib.geodesy import find_airport
from trajlib.plots.basemap import Bounds
from trajlib.plots.maps import bounds_around
from trajlib.plots.panels import build_sources, draw_map_panel, draw_profile_panel
from trajlib.plots.style import format_cluster

__all__ = ["BOKEHJS", "explore_flights"]

# For bokeh.io.output_notebook: the parts of BokehJS that the explorer needs, from local files.
BOKEHJS = Resources(mode="inline", components=["bokeh", "bokeh-widgets", "bokeh-tables"])

_SCRIPT = Path(__file__).with_name("explorer.js")
_DECIMALS = {"longitude": 3, "latitude": 3, "altitude": 0, "groundspeed": 0, "duration": 0}
_IDENTITY = ("callsign", "operator", "aircraft_type", "registration", "start", "weekday", "cluster")
_FILTERS = ("operator", "aircraft_type", "weekday", "cluster")
_STEPS = 21
_TITLES = {"aircraft_type": "type", "start": "start (UTC)", "path": "file"}
_TITLES |= {"hour": "take-off [local hour]", "error": "position error [NM]"}
_WIDTHS = {"start": 120, "path": 260, "error": 120}  # px, of the table's columns
# On a narrow screen filters, map and profiles are stacked.
_WRAPPING = {"styles": {"flex-wrap": "wrap"}, "sizing_mode": "stretch_width"}
_HELP = (
    "Click or tap a line for the flights that pass there, or draw a box over the dots: map, "
    "profiles and table show the same selection. Shift adds to it, Esc clears it. Darker is more "
    "flights; the cross is the mean of the flights shown, the ellipse two standard deviations."
)


def explore_flights(
    trajectories: xr.Dataset,
    flights: pd.DataFrame | None = None,
    *,
    airports: Sequence[str] = (),
) -> Column:
    """Return map, altitude and speed against progress, and a table of the flights, linked.

    A selection in one of them applies to all. Filters and slider work in the page itself, without
    a server. With BokehJS inline, a page of 5,000 flights takes about 6 MB.

    Parameters
    ----------
    trajectories
        ``latitude``, ``longitude`` [deg], ``altitude`` [ft], ``duration`` [s] and perhaps
        ``groundspeed`` [kt] over (path, fraction); 21 fractions are shown.
    flights
        Any of callsign, operator, aircraft_type, registration, start (UTC), cluster (-1 for none)
        and error [NM] by ``path``. By default the coordinates of ``trajectories``.
    airports
        ICAO or IATA codes to mark, the origin first; its time zone determines the weekday.

    >>> names = ("longitude", "latitude", "altitude", "duration")
    >>> lines = {name: (("path", "fraction"), [[1.0, 2.0]]) for name in names}
    >>> trajectories = xr.Dataset(lines, {"path": ["a.csv"], "fraction": [0.0, 1.0]})
    >>> sorted(plot.name for plot in explore_flights(trajectories).select({"type": Plot}))
    ['altitude', 'map']
    """
    trajectories = _choose_fractions(trajectories).transpose("path", "fraction")
    timezone = find_airport(airports[0]).timezone if airports else "UTC"
    identity = _describe_flights(trajectories, flights, timezone)
    sources = build_sources(identity.to_dict("list") | _list_lines(trajectories))
    view = CDSView(filter=IndexFilter(list(range(len(identity)))))
    positions = np.column_stack(
        [trajectories[n].to_numpy().ravel() for n in ("longitude", "latitude")]
    )
    home = bounds_around(positions)
    panels = [draw_map_panel(sources, view, home, airports)]
    shown = [name for name in ("altitude", "groundspeed") if name in trajectories]
    for name in shown:
        values = trajectories[name].to_numpy()
        panels.append(draw_profile_panel(sources, view, name, values, len(shown)))
    widgets = _build_widgets(identity, trajectories)
    _link(sources, view, panels, widgets, trajectories, home)
    return column(
        Div(text=_HELP, sizing_mode="stretch_width"),
        row(*widgets["filters"].values(), *widgets["ranges"].values(), **_WRAPPING),
        row(widgets["slider"], widgets["counted"], widgets["spread"], **_WRAPPING),
        _arrange(*(panel["plot"] for panel in panels)),
        _build_table(sources["flights"], view, identity),
        sizing_mode="stretch_width",
    )


def _arrange(map_plot: Plot, *profiles: Plot) -> GridPlot:
    """Return the plots under one toolbar, profiles beside the map on wide pages."""
    profile_column = column(*profiles, sizing_mode="stretch_width", styles={"flex": "1 1 320px"})
    plots = [[row(map_plot, profile_column, **_WRAPPING)]]
    options = {"toolbar_location": "above", "toolbar_options": {"logo": None}}
    grid = gridplot(plots, sizing_mode="stretch_width", **options)
    for tool in grid.toolbar.tools:
        if isinstance(tool, SaveTool):
            tool.filename = "flights"  # otherwise the browser asks for a name
    return grid


def _choose_fractions(trajectories: xr.Dataset) -> xr.Dataset:
    """Return the fractions nearest to every fifth per cent that any flight reaches."""
    reached = trajectories.dropna("fraction", how="all", subset=["latitude"])
    wanted = np.linspace(0, 1, _STEPS)
    return reached.sel(fraction=wanted, method="nearest").drop_duplicates("fraction")


def _describe_flights(
    trajectories: xr.Dataset, flights: pd.DataFrame | None, timezone: str
) -> pd.DataFrame:
    """Return texts, hour and error to show for each flight, in the order of the trajectories."""
    paths = trajectories.indexes["path"]
    if flights is None:
        facts = pd.DataFrame(
            {name: coord.to_numpy() for name, coord in trajectories["path"].coords.items()}, paths
        )
    else:
        facts = (flights if "path" not in flights else flights.set_index("path")).loc[paths]
    numbers = pd.DataFrame(index=paths)
    if "start" in facts:
        start = pd.to_datetime(facts["start"], utc=True)
        local = start.dt.tz_convert(timezone)
        numbers["hour"] = (local.dt.hour + local.dt.minute / 60).round(2)
        facts = facts.assign(weekday=local.dt.day_name(), start=start.dt.strftime("%Y-%m-%d %H:%M"))
    if "error" in facts:
        numbers["error"] = facts["error"].astype(float).round(1)
    if "cluster" in facts:
        facts = facts.assign(cluster=facts["cluster"].map(format_cluster, na_action="ignore"))
    texts = facts[[name for name in _IDENTITY if name in facts]].astype(object).fillna("")
    texts = texts.astype(str).replace("", "unknown")
    texts = texts.loc[:, (texts != "unknown").any()]
    return texts.join(numbers).assign(path=paths)


def _list_lines(trajectories: xr.Dataset) -> dict[str, list]:
    """Return a list over the fractions for each flight and column, rounded to visible digits."""
    lines = {"progress": [_per_cent(trajectories)] * trajectories.sizes["path"]}
    for name, decimals in _DECIMALS.items():
        if name in trajectories:
            lines[name] = trajectories[name].to_numpy().round(decimals).tolist()
            if decimals == 0:  # 33000 is shorter than 33000.0
                lines[name] = [[v if isnan(v) else int(v) for v in line] for line in lines[name]]
    return lines


def _per_cent(trajectories: xr.Dataset) -> list[float]:
    shares = (100 * trajectories["fraction"].to_numpy()).round(1)
    return [int(share) if share == int(share) else share for share in shares.tolist()]


def _build_widgets(identity: pd.DataFrame, trajectories: xr.Dataset) -> dict:
    filters = {name: _build_filter(identity[name]) for name in _FILTERS if name in identity}
    ranges = {}
    if "hour" in identity:
        ranges["hour"] = _build_range("hour", 24)
    if "error" in identity and identity["error"].notna().any():
        ranges["error"] = _build_range("error", ceil(identity["error"].max()))
    last = trajectories.sizes["fraction"] - 1
    options = {"show_value": False, "step": 1, "width": 280, "margin": (5, 15, 5, 5)}
    slider = Slider(
        name="progress", title="progress", start=0, end=last, value=last // 2, **options
    )
    return {
        "filters": filters,
        "ranges": ranges,
        "slider": slider,
        "counted": Div(name="counted", width=270),
        "spread": Div(name="spread"),
    }


def _build_range(name: str, highest: int) -> RangeSlider:
    highest = max(1, highest)
    options = {"step": 1 if highest >= 20 else 0.5, "width": 200, "margin": (5, 15, 5, 15)}
    return RangeSlider(
        name=name, title=_TITLES[name], start=0, end=highest, value=(0, highest), **options
    )


def _build_filter(values: pd.Series) -> Select:
    """Return a selection of the values of a column, the most frequent first."""
    counts = values.value_counts()
    options = [("", "all"), *((value, f"{value} ({count:,})") for value, count in counts.items())]
    title = _TITLES.get(values.name, values.name)
    return Select(name=values.name, title=title, value="", options=options, width=125)


def _build_table(source: ColumnDataSource, view: CDSView, identity: pd.DataFrame) -> DataTable:
    columns = [
        TableColumn(field=name, title=_TITLES.get(name, name), width=_WIDTHS.get(name, 80))
        for name in identity
        if name != "hour"
    ]
    return DataTable(
        source=source,
        view=view,
        columns=columns,
        index_position=None,
        reorderable=False,
        autosize_mode="none",
        sizing_mode="stretch_width",
        height=260,
        name="table",
    )


def _link(
    sources: dict,
    view: CDSView,
    panels: list[dict],
    widgets: dict,
    trajectories: xr.Dataset,
    home: Bounds,
) -> None:
    """Run the script when filters, slider, selection or ranges of the panels change."""
    plots = [panel["plot"] for panel in panels]
    script = CustomJS.from_file(
        _SCRIPT,
        **sources,
        **widgets,
        shown=view.filter,
        map=plots[0],
        home=home,
        panels=panels,
        marks=[profile.select_one(Span) for profile in plots[1:]],
        columns=[name for name in _DECIMALS if name in trajectories],
        fractions=_per_cent(trajectories),
    )
    for select in widgets["filters"].values():
        select.js_on_change("value", script)
    for slider in (*widgets["ranges"].values(), widgets["slider"]):
        slider.js_on_change("value", script)
    for name in ("flights", "cloud"):
        sources[name].selected.js_on_change("indices", script)
    for plot in plots:
        plot.js_on_event(RangesUpdate, script)
        plot.js_on_change("inner_width", script)  # also after the first layout
