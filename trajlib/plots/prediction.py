"""Figures of a predicted trajectory and its uncertainty, and of clusters of trajectories."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from trajlib.geodesy import distance, find_airport, find_regions, unwrap_longitude
from trajlib.labels import display_cluster, display_feature_set, display_quantity
from trajlib.plots.basemap import Bounds
from trajlib.plots.maps import airport_positions, bounds_around, draw_map, mark_airports
from trajlib.plots.style import (
    COLORS,
    GREY,
    INK,
    WIDTH,
    add_legend,
    cluster_colors,
    series_styles,
    show_percent,
    styled,
)
from trajlib.schema import label

_BAND, _INTERVAL = "#cdd3d9", "#a9c9e6"  # opaque: regions overlap
_MOST = 200  # flights drawn of each cluster
_REFERENCES = (
    {"color": COLORS[3], "linewidth": 3.0, "alpha": 0.7},
    {"color": COLORS[2], "linewidth": 1.6, "linestyle": ":"},
)
_SCALES = {
    "altitude": (1, label("altitude")),
    "duration": (60, "time since the first sample [min]"),
}


@styled
def plot_trajectory(
    trajectory: pd.DataFrame,
    *,
    flown: pd.DataFrame | None = None,
    track: pd.DataFrame | None = None,
    usual: pd.DataFrame | None = None,
    plan: pd.DataFrame | None = None,
    airports: Sequence[str] = (),
) -> Figure:
    """Draw a predicted trajectory from above, its altitude and its time, with their uncertainty.

    The band of whole flights is drawn only where it fits the axes.

    Parameters
    ----------
    trajectory
        As returned by `trajlib.models.saved_models.predict_trajectory`.
    flown
        Targets by fraction, where known.
    track
        Positions flown, for the map; by default those of ``flown``.
    usual, plan
        Positions of the usual track and of the flight plan, where known.
    airports
        Codes to mark.
    """
    figure, axs = plt.subplot_mosaic(
        [["map", "altitude"], ["map", "duration"]], figsize=(WIDTH, 5.0), width_ratios=[1.25, 1]
    )
    interval, band = find_regions(trajectory), find_regions(trajectory, "_band")
    centre = trajectory["longitude"].iloc[0]
    references = {"usual track": usual, "flight plan": plan}
    lines = {
        name: line.assign(longitude=unwrap_longitude(line["longitude"], centre))
        for name, line in references.items()
        if line is not None and len(line)
    }
    points = [*interval, airport_positions(airports, centre)]
    points += [line[["longitude", "latitude"]].to_numpy() for line in lines.values()]
    ax = axs["map"]
    bounds = bounds_around(np.concatenate(points))
    draw_map(ax, bounds)
    if all(_fits(shape, bounds) for shape in band):
        ax.add_collection(PolyCollection(band, facecolor=_BAND, edgecolor="none"))
    ax.add_collection(PolyCollection(interval, facecolor=_INTERVAL, edgecolor="none"))
    for (name, line), look in zip(lines.items(), _REFERENCES, strict=False):
        ax.plot(line["longitude"], line["latitude"], label=name, **look)
    _draw_lines(ax, trajectory, flown if track is None else None, "longitude", "latitude")
    if track is not None:
        ax.plot(track["longitude"], track["latitude"], color=COLORS[1], linestyle="--")
    mark_airports(ax, airports)
    for name in ("altitude", "duration"):
        _draw_side(axs[name], trajectory, flown, name)
    axs["duration"].set_xlabel(f"% of the route{_measure_route(airports)}")
    show_percent((axs["altitude"], axs["duration"]))
    add_legend(figure, axs["altitude"], axs["duration"], ax, columns=6)
    return figure


@styled
def plot_coverage(scores: pd.DataFrame, level: float) -> Figure:
    """Draw the coverage of intervals at each fraction, a panel for each target.

    Rows of (feature_set, target, fraction) with a column ``coverage``: a line for each feature
    set, and one for the intended level.
    """
    targets = scores.index.unique("target")
    lowest = min(max(0.0, 2 * level - 1.2), scores["coverage"].min())
    rows = -(-len(targets) // 4)
    size = (WIDTH, 0.6 + 1.9 * rows)
    figure, axs = plt.subplots(rows, 4, sharey=True, figsize=size, squeeze=False)
    for ax in axs.flat[len(targets) :]:
        ax.remove()
    for ax, target in zip(axs.flat, targets, strict=False):
        table = scores["coverage"].xs(target, level="target")
        for name, style in series_styles(scores.index.unique("feature_set")).items():
            line = table.xs(name, level="feature_set")
            ax.plot(line, label=display_feature_set(name), **style)
        ax.axhline(level, color=GREY, linewidth=0.8)
        ax.set(title=display_quantity(target), ylim=(lowest, 1.0))
    figure.supxlabel("% of the route")
    figure.supylabel("coverage")
    show_percent(figure.axes)
    add_legend(figure, axs.flat[0])
    return figure


@styled
def plot_coverage_by_month(
    by_flight: pd.DataFrame, days: pd.Series, level: float, *, columns: Sequence[str]
) -> Figure:
    """Draw the coverage of intervals in each month, with a fixed and an adaptive level.

    If the flights span fewer than three months, in each week.

    Parameters
    ----------
    by_flight
        Coverage by path and ``column``, in the columns ``fixed`` and ``adaptive``.
    days
        The local day of each flight, by path.
    level
        The intended coverage.
    columns
        Columns shown, a panel for each.
    """
    flown = days.loc[by_flight.index.get_level_values("path")]
    unit, frequency, form = "month", "M", "%Y-%m"
    if flown.dt.to_period("M").nunique() < 3:
        unit, frequency, form = "week", "W", "%d %b %Y"
    starts = flown.dt.to_period(frequency).dt.start_time
    keys = [starts.to_numpy(), by_flight.index.get_level_values("column")]
    shares = by_flight[["fixed", "adaptive"]].groupby(keys).mean()
    lowest = min(shares.loc[(slice(None), list(columns)), :].min(axis=None), level)
    figure, axs = plt.subplots(1, len(columns), sharey=True, figsize=(WIDTH, 2.8), squeeze=False)
    for ax, column in zip(axs.flat, columns, strict=True):
        table = shares.xs(column, level="column")
        for name, style in series_styles(("fixed", "adaptive"), markers=True).items():
            ax.plot(range(len(table)), table[name], label=f"{name} level", **style)
        ax.axhline(level, color=GREY, linewidth=0.8)
        ax.set_xticks(range(len(table)), table.index.strftime(form), rotation=60)
        ax.set(title=display_quantity(column), ylim=(max(0.0, lowest - 0.05), 1.0))
    figure.supxlabel(unit)
    figure.supylabel("coverage")
    add_legend(figure, axs.flat[0])
    return figure


@styled
def plot_route_clusters(
    targets: pd.DataFrame, clusters: pd.Series, *, airports: Sequence[str] = ()
) -> Figure:
    """Draw trajectories in the colour of their cluster, from above and from the side.

    ``targets`` are by path and fraction, clusters by path; -1 means no cluster, drawn first and in
    grey. The first 200 flights of each cluster are drawn.
    """
    figure, (above, side) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), width_ratios=[1.2, 1])
    points = targets.loc[list(clusters.index), ["longitude", "latitude"]].to_numpy()
    centre = np.nanmedian(points[:, 0])
    points = np.concatenate([points, airport_positions(airports, centre)])
    draw_map(above, bounds_around(points[np.isfinite(points).all(axis=1)]))
    names = sorted(clusters.unique())
    colors = cluster_colors(names)
    for name in names:
        paths = clusters.index[clusters == name]
        look = {"color": colors[name], "lw": 0.6, "alpha": 0.35}
        for path in paths[:_MOST]:
            line = targets.loc[path]
            above.plot(line["longitude"], line["latitude"], **look)
            side.plot(line.index, line["altitude"], **look)
        text = f"{display_cluster(name)} ({len(paths)})"
        above.plot([], [], color=colors[name], lw=2, label=text)
    mark_airports(above, airports)
    side.set(xlabel=f"% of the route{_measure_route(airports)}", ylabel=label("altitude"))
    show_percent([side])
    add_legend(figure, above, columns=4)
    return figure


def _measure_route(airports: Sequence[str]) -> str:
    """Return the direct distance between two airports, for an axis label."""
    if len(airports) != 2:
        return ""
    first, last = (find_airport(code) for code in airports)
    return f" ({distance(*first.position, *last.position):,.0f} NM)"


def _draw_side(ax: Axes, trajectory: pd.DataFrame, flown: pd.DataFrame | None, name: str) -> None:
    divisor, axis_label = _SCALES[name]
    scaled = trajectory.filter(regex=rf"^{name}(_|$)") / divisor
    scaled_flown = None if flown is None else flown[[name]] / divisor
    shown = pd.concat([scaled[[name, f"{name}_low", f"{name}_high"]], scaled_flown])
    low, high = shown.min(axis=None), shown.max(axis=None)
    margin = 0.1 * (high - low)
    bounds = (max(0, low - margin), high + margin)
    for end, color, text in (
        ("_band", _BAND, "band for the whole flight"),
        ("", _INTERVAL, "interval at each fraction"),
    ):
        low, high = (scaled[f"{name}{end}_{side}"] for side in ("low", "high"))
        if not end or high.max() <= bounds[1]:
            ax.fill_between(scaled.index, low, high, color=color, lw=0, label=text)
    _draw_lines(ax, scaled, scaled_flown, "fraction", name)
    ax.set(ylabel=axis_label, ylim=bounds)
    ax.yaxis.set_major_formatter("{x:,.0f}")


def _fits(shape: np.ndarray, bounds: Bounds) -> bool:
    west, south, east, north = bounds
    return bool((shape >= (west, south)).all() and (shape <= (east, north)).all())


def _draw_lines(
    ax: Axes, trajectory: pd.DataFrame, flown: pd.DataFrame | None, x: str, y: str
) -> None:
    line = trajectory.reset_index()
    ax.plot(line[x], line[y], color=COLORS[0], label="predicted")
    if flown is None:
        return
    earlier = flown[flown.index < trajectory.index[0]].reset_index()
    if len(earlier):  # of a flight that is airborne
        ax.plot(earlier[x], earlier[y], color=INK, label="flown before")
    later = flown[flown.index >= trajectory.index[0]].reset_index()
    ax.plot(later[x], later[y], color=COLORS[1], linestyle="--", label="flown")
