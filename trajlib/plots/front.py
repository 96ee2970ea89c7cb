"""The two figures of the front page of a report."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trajlib.plots.maps import (
    airport_positions,
    bounds_around,
    draw_map,
    map_size,
    mark_airports,
    unwrap_line,
)
from trajlib.plots.style import (
    COLORS,
    GREY,
    INK,
    WIDTH,
    cluster_colors,
    label_feature_set,
    series_styles,
    styled,
)

__all__ = ["plot_arrival_errors", "plot_tracks"]

_BESIDE = 6.0  # in, width of a map below which the legend is beside it
_BASELINES = 3  # number of the best baselines shown with the model


@styled
def plot_tracks(
    tracks: Mapping[str, np.ndarray],
    airports: Sequence[str],
    *,
    clusters: pd.Series | None = None,
    names: Mapping[int, str] | None = None,
    plans: Sequence[np.ndarray] = (),
    width: float = WIDTH,
) -> Figure:
    """Draw the tracks of many flights over land, in the colours of their route clusters.

    Parameters
    ----------
    tracks, plans
        Tracks by path, and filed routes: arrays (n, 2) of longitude and latitude [deg].
    airports
        Codes of origin and destination.
    clusters
        Number of the cluster by path; -1 and missing flights are grey.
    names
        Names of the clusters, for the legend; clusters without a name are grey.
    width
        Of the figure [in].
    """
    ends = airport_positions(airports)
    # continuous across the antimeridian
    tracks = {path: unwrap_line(line, ends[0, 0]) for path, line in tracks.items()}
    ends = unwrap_line(ends, ends[0, 0])
    bounds = bounds_around(np.concatenate([*tracks.values(), ends]))
    names = names or {}
    columns = 2 if width == WIDTH else 1
    wide, high = map_size(bounds, width)
    beside = columns == 2 and wide < _BESIDE  # the legend has room beside a map of north and south
    if not beside:
        high += 0.2 * (len(names) + 1) / columns  # of the legend
    figure, ax = plt.subplots(figsize=(width, high))
    draw_map(ax, bounds)
    alpha = float(np.clip(20 / max(len(tracks), 1), 0.08, 0.6))
    colors = cluster_colors(names)
    for path, line in tracks.items():
        number = -1 if clusters is None else clusters.get(path, -1)
        color = COLORS[0] if clusters is None else colors.get(number, GREY)
        ax.plot(*line.T, color=color, linewidth=0.9, alpha=alpha, solid_capstyle="round")
    for number, name in names.items():
        ax.plot([], [], color=colors.get(number, GREY), linewidth=2, label=name)
    for number, plan in enumerate(plans):
        line = unwrap_line(plan, ends[0, 0])
        label = None if number else "filed plans"
        ax.plot(*line.T, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    mark_airports(ax, airports)
    if names or len(plans):
        if beside:
            ax.set_anchor("W")
            ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
        else:
            figure.legend(loc="outside upper left", ncols=columns)
    return figure


@styled
def plot_arrival_errors(table: pd.DataFrame, model: str, *, width: float = WIDTH) -> Figure:
    """Draw the mean absolute error of the arrival against the prediction time.

    The table has ``feature_set``, ``kind``, ``name``, ``mae``, ``low`` and ``high`` [min], the
    feature sets in order of their prediction times. The model is drawn with its interval, and the
    best three baselines without. The width of the figure is in inches.
    """
    order = list(table["feature_set"].unique())
    baselines = table[table["kind"] != "model"].groupby("name")["mae"].mean().sort_values()
    names = [model, *baselines.index[:_BASELINES]]
    figure, ax = plt.subplots(figsize=(width, 3.6))
    for name, style in series_styles(names, markers=True).items():
        rows = table[table["name"] == name].drop_duplicates("feature_set").set_index("feature_set")
        rows = rows.reindex(order)
        label = f"model ({name})" if name == model else name
        ax.plot(range(len(order)), rows["mae"], label=label, **style)
        if name == model:
            band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
            ax.fill_between(range(len(order)), rows["low"], rows["high"], **band)
    narrow = width < WIDTH
    ticks = [label_feature_set(name).replace(" ", "\n" if narrow else " ") for name in order]
    ax.set_xticks(range(len(order)), ticks)
    ax.set(xlabel="prediction time", ylabel="mean arrival error [min]", ylim=(0, None))
    ax.margins(x=0.08)  # so that the first label does not reach below the axis
    figure.legend(loc="outside upper left", ncols=1 if narrow else 2)
    return figure
