"""A linked explorer of a city pair's flights, in one page that works offline."""

from collections.abc import Sequence
from math import ceil, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from bokeh.events import RangesUpdate
from bokeh.layouts import column, gridplot, row
from bokeh.models import (
    BoxSelectTool,
    CDSView,
    Column,
    ColumnDataSource,
    CustomJS,
    DataTable,
    Div,
    GlyphRenderer,
    GridPlot,
    HoverTool,
    IndexFilter,
    LogColorMapper,
    Plot,
    Range1d,
    RangeSlider,
    SaveTool,
    Select,
    Slider,
    Span,
    TableColumn,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

from trajlib.geodesy import find_airport
from trajlib.labels import display_cluster
from trajlib.plots.basemap import Bounds, read_borders, read_land
from trajlib.plots.maps import airport_positions, bounds_around
from trajlib.plots.style import COLORS, GREY, INK, LAND, PALE, SEA, SEQUENTIAL
from trajlib.schema import COLUMNS

# For bokeh.io.output_notebook: the parts of BokehJS that the explorer needs, from local files.
BOKEHJS = Resources(mode="inline", components=["bokeh", "bokeh-widgets", "bokeh-tables"])

_Sources = dict[str, ColumnDataSource]
_SCRIPT = Path(__file__).with_name("explorer.js")
_DECIMALS = {"longitude": 3, "latitude": 3, "altitude": 0, "groundspeed": 0, "duration": 0}
_IDENTITY = ("callsign", "operator", "aircraft_type", "registration", "start", "weekday", "cluster")
_FILTERS = ("operator", "aircraft_type", "weekday", "cluster")
_TOOLTIP = ("callsign", "operator", "aircraft_type", "start")
_DRAWN = ("progress", *_DECIMALS)
_STEPS = 21
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"
_HEIGHT = 440  # px, of the map
_SELECTED = "#dfa0aa", COLORS[1], "#5c1420"  # from few to many selected flights in a pixel
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
    trajectories: xr.Dataset, flights: pd.DataFrame | None = None, *, airports: Sequence[str] = ()
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
    sources = _build_sources(identity.to_dict("list") | _list_lines(trajectories))
    view = CDSView(filter=IndexFilter(list(range(len(identity)))))
    sides = [trajectories[name].to_numpy().ravel() for name in ("longitude", "latitude")]
    home = bounds_around(np.column_stack(sides))
    panels = [_draw_map(sources, view, home, airports)]
    shown = [name for name in ("altitude", "groundspeed") if name in trajectories]
    for name in shown:
        values = trajectories[name].to_numpy()
        panels.append(_draw_profile(sources, view, name, values, len(shown)))
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
        facts = trajectories["path"].coords.to_dataset().to_dataframe()
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
        facts = facts.assign(cluster=facts["cluster"].map(display_cluster, na_action="ignore"))
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


def _build_sources(flights: dict[str, list]) -> _Sources:
    """Return a source with one row per flight, and those that the script fills from it.

    ``cloud`` holds the position of each flight at the slider's fraction, ``now`` that of the mean.
    """
    empty: dict[str, list] = {name: [] for name in _DRAWN}
    cloud = {name: [0] * len(flights["path"]) for name in _DRAWN}
    flights = flights | {"nothing": [[]] * len(flights["path"])}
    sources = {"flights": flights, "cloud": cloud, "mean": empty, "now": empty, "ellipse": empty}
    return {name: ColumnDataSource(data, name=name) for name, data in sources.items()}


def _draw_map(sources: _Sources, view: CDSView, bounds: Bounds, airports: Sequence[str]) -> dict:
    """Return the map around bounds [deg], in a dictionary with its parts for the script."""
    west, south, east, north = limits = _widen(bounds)
    plot = _create_plot(
        name="map",
        height=_HEIGHT,
        styles={"flex": "2 1 420px"},
        x_range=Range1d(bounds[0], bounds[2], bounds=(west, east)),
        y_range=Range1d(bounds[1], bounds[3], bounds=(south, north)),
        x_axis_label=_axis_label("longitude"),
        y_axis_label=_axis_label("latitude"),
    )
    plot.background_fill_color = SEA
    plot.grid.visible = False
    _draw_land(plot, limits)
    panel = _draw_flights(plot, sources, view, "longitude", "latitude")
    shape = {"fill_alpha": 0, "line_color": INK, "line_width": 1.5}
    plot.patch("longitude", "latitude", source=sources["ellipse"], **shape)
    _mark_airports(plot, airports)
    return panel


def _draw_profile(
    sources: _Sources, view: CDSView, name: str, values: np.ndarray, panels: int
) -> dict:
    """Return the profile of a column against progress, in a dictionary with its parts.

    It has a mark at the slider's fraction. The ``panels`` profiles together are as high as the map.
    """
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    pad = 0.05 * (high - low or 1)
    plot = _create_plot(
        name=name,
        min_border_left=65,
        height=_HEIGHT // panels,
        x_range=Range1d(0, 100, bounds=(0, 100)),
        y_range=Range1d(low - pad, high + pad),
        x_axis_label="progress [%]",
        y_axis_label=_axis_label(name),
    )
    plot.yaxis.formatter.use_scientific = False
    mark = Span(location=0, dimension="height", line_color=INK, line_width=1, line_dash="dotted")
    plot.add_layout(mark)
    return _draw_flights(plot, sources, view, "progress", name)


def _create_plot(**options: Any) -> Plot:
    """Return an empty plot in our style, without a theme, which would apply to the whole page."""
    plot = figure(min_width=280, sizing_mode="stretch_width", tools=_TOOLS, **options)
    plot.update(outline_line_color=None, border_fill_color="white")
    for grid in plot.grid:
        grid.grid_line_color = PALE
    for axis in plot.axis:
        axis.update(
            axis_label_text_color=INK,
            axis_label_text_font_size="12px",
            axis_label_text_font_style="normal",
            axis_line_color=GREY,
            major_label_text_color=INK,
            major_tick_in=0,
            major_tick_line_color=GREY,
            minor_tick_line_color=None,
        )
    return plot


def _draw_flights(plot: Plot, sources: _Sources, view: CDSView, x: str, y: str) -> dict:
    """Draw densities, selected flights, cloud and mean; return what the script needs for them.

    Lines of flights that are not selected have no colour and only serve for pointing at them: the
    density shows all of them much faster. During a selection these lines are drawn from an empty
    column (``nothing``). So are the lines of many selected flights, which are shown as a density.
    """
    image = _draw_density(plot, f"density of {plot.name}", sns.color_palette(SEQUENTIAL, 64))
    selected_image = _draw_density(plot, f"crowd of {plot.name}", sns.blend_palette(_SELECTED, 64))
    lines = plot.multi_line(x, y, source=sources["flights"], view=view, line_color=None)
    lines.nonselection_glyph = lines.glyph.clone(xs="nothing", ys="nothing")
    lines.selection_glyph = lines.glyph.clone(line_color=COLORS[1], line_width=2)
    lines.hover_glyph = lines.glyph.clone(line_color=INK, line_width=2.5)
    cloud = plot.scatter(
        x,
        y,
        source=sources["cloud"],
        view=view,
        size=4,
        fill_color=COLORS[3],
        line_color=None,
        fill_alpha=0.6,
        selection_color=COLORS[1],
        selection_fill_alpha=1,
        nonselection_fill_alpha=0.3,
    )
    plot.line(x, y, source=sources["mean"], line_color=INK, line_width=1.5, line_dash="dashed")
    plot.scatter(x, y, source=sources["now"], marker="cross", size=14, line_color=INK, line_width=2)
    _add_tools(plot, lines, cloud)
    picked = lines.selection_glyph
    return {"plot": plot, "image": image, "crowd": selected_image, "picked": picked, "x": x, "y": y}


def _draw_density(plot: Plot, name: str, palette: Any) -> ColumnDataSource:
    """Draw an image of counts, empty until the script fills its source, which is returned."""
    pixel = np.ones((1, 1), dtype=np.float32)
    empty = {"x": [0], "y": [0], "dw": [0], "dh": [0], "image": [pixel]}
    image = ColumnDataSource(empty, name=name)
    mapper = LogColorMapper(palette=palette.as_hex(), low=1, low_color="#00000000")
    plot.image("image", source=image, x="x", y="y", dw="dw", dh="dh", color_mapper=mapper)
    return image


def _add_tools(plot: Plot, lines: GlyphRenderer, cloud: GlyphRenderer) -> None:
    shown = [name for name in _TOOLTIP if name in lines.data_source.data] or ["path"]
    tooltips = " · ".join(f"@{name}" for name in shown)
    plot.add_tools(
        TapTool(renderers=[lines, cloud]),
        BoxSelectTool(renderers=[cloud]),
        HoverTool(renderers=[lines], tooltips=tooltips, line_policy="interp", limit=3),
    )
    plot.toolbar.active_scroll = plot.select_one(WheelZoomTool)


def _draw_land(plot: Plot, bounds: Bounds) -> None:
    polygons = read_land(bounds, steps=4000)
    x, y = ([[[ring[:, side] for ring in rings]] for rings in polygons] for side in (0, 1))
    plot.multi_polygons(x, y, fill_color=LAND, line_color=None)
    borders = read_borders(bounds, steps=4000)
    xs, ys = ([line[:, side] for line in borders] for side in (0, 1))
    plot.multi_line(xs, ys, line_color=GREY, line_width=0.6, line_alpha=0.6)


def _mark_airports(plot: Plot, codes: Sequence[str]) -> None:
    centre = (plot.x_range.start + plot.x_range.end) / 2
    lon, lat = airport_positions(codes, centre).T.tolist()
    plot.scatter(lon, lat, size=7, fill_color="white", line_color=INK, line_width=1.5)
    style: dict[str, Any] = {"text_font_size": "11px", "text_color": INK, "y_offset": -5}
    style |= {"background_fill_color": "white", "background_fill_alpha": 0.7}
    for x, y, code in zip(lon, lat, codes, strict=True):
        offset, align = (-7, "right") if x > centre else (7, "left")  # inside the map
        plot.text(x, y, text=[code], x_offset=offset, text_align=align, **style)


def _widen(bounds: Bounds) -> Bounds:
    """Return bounds extended on each side by their size, as limits for panning."""
    west, south, east, north = bounds
    side = max(east - west, north - south)
    return west - side, max(south - side, -90.0), east + side, min(north + side, 90.0)


def _axis_label(name: str) -> str:
    """Return name and unit; the labels of the schema contain formulae for matplotlib."""
    return f"{name} [{COLUMNS[name].unit}]"


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
    sources: _Sources,
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
