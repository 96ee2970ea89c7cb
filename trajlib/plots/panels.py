"""The panels of the explorer: a map and profiles of data that its script provides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from bokeh.models import (
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    LogColorMapper,
    Plot,
    Range1d,
    Span,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from trajlib.plots.basemap import Bounds, read_borders, read_land
from trajlib.plots.maps import airport_positions
from trajlib.plots.style import COLORS, GREY, INK, LAND, PALE, SEA, SEQUENTIAL
from trajlib.schema import COLUMNS

__all__ = ["build_sources", "draw_map_panel", "draw_profile_panel"]

Sources = dict[str, ColumnDataSource]

_DRAWN = ("progress", "longitude", "latitude", "altitude", "groundspeed", "duration")
_IDENTITY = ("callsign", "operator", "aircraft_type", "start")
_TOOLS = "pan,wheel_zoom,box_zoom,reset,save"
_HEIGHT = 440  # px, of the map
_SELECTED = "#dfa0aa", COLORS[1], "#5c1420"  # from few to many selected flights in a pixel


def build_sources(flights: dict[str, list]) -> Sources:
    """Return a source with one row per flight, and those that the script fills from it.

    ``cloud`` holds the position of each flight at the slider's fraction, ``now`` that of the mean.
    """
    empty: dict[str, list] = {name: [] for name in _DRAWN}
    cloud = {name: [0] * len(flights["path"]) for name in _DRAWN}
    flights = flights | {"nothing": [[]] * len(flights["path"])}
    sources = {"flights": flights, "cloud": cloud, "mean": empty, "now": empty, "ellipse": empty}
    return {name: ColumnDataSource(data, name=name) for name, data in sources.items()}


def draw_map_panel(
    sources: Sources, view: CDSView, bounds: Bounds, airports: Sequence[str]
) -> dict:
    """Return the map around bounds [deg], in a dictionary with its parts for the script."""
    west, south, east, north = limits = _widen(bounds)
    plot = figure(
        name="map",
        height=_HEIGHT,
        min_width=280,
        sizing_mode="stretch_width",
        styles={"flex": "2 1 420px"},
        x_range=Range1d(bounds[0], bounds[2], bounds=(west, east)),
        y_range=Range1d(bounds[1], bounds[3], bounds=(south, north)),
        x_axis_label=_axis_label("longitude"),
        y_axis_label=_axis_label("latitude"),
        tools=_TOOLS,
    )
    _apply_style(plot)
    plot.background_fill_color = SEA
    plot.grid.visible = False
    _draw_land(plot, limits)
    panel = _draw_flights(plot, sources, view, "longitude", "latitude")
    shape = {"fill_alpha": 0, "line_color": INK, "line_width": 1.5}
    plot.patch("longitude", "latitude", source=sources["ellipse"], **shape)
    _mark_airports(plot, airports)
    return panel


def draw_profile_panel(
    sources: Sources, view: CDSView, name: str, values: np.ndarray, panels: int
) -> dict:
    """Return the profile of a column against progress, in a dictionary with its parts.

    It has a mark at the slider's fraction. The ``panels`` profiles together are as high as the map.
    """
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    pad = 0.05 * (high - low or 1)
    plot = figure(
        name=name,
        min_border_left=65,
        min_width=280,
        height=_HEIGHT // panels,
        sizing_mode="stretch_width",
        x_range=Range1d(0, 100, bounds=(0, 100)),
        y_range=Range1d(low - pad, high + pad),
        x_axis_label="progress [%]",
        y_axis_label=_axis_label(name),
        tools=_TOOLS,
    )
    _apply_style(plot)
    plot.yaxis.formatter.use_scientific = False
    mark = Span(location=0, dimension="height", line_color=INK, line_width=1, line_dash="dotted")
    plot.add_layout(mark)
    return _draw_flights(plot, sources, view, "progress", name)


def _apply_style(plot: Plot) -> None:
    """Apply the style to a plot, without a theme, which would apply to the whole page."""
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


def _draw_flights(plot: Plot, sources: Sources, view: CDSView, x: str, y: str) -> dict:
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
    shown = [name for name in _IDENTITY if name in lines.data_source.data] or ["path"]
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
    wide = high = max(east - west, north - south)
    return west - wide, max(south - high, -90.0), east + wide, min(north + high, 90.0)


def _axis_label(name: str) -> str:
    """Return name and unit; the labels of the schema contain formulae for matplotlib."""
    return f"{name} [{COLUMNS[name].unit}]"
