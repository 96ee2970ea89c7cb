"""Dispersion over the fractions of progress, and the kinds of progress compared."""

import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from trajlib.labels import QUANTITIES
from trajlib.plots.flights import draw_tracks, split_flights
from trajlib.plots.style import COLORS, INK, WIDTH, add_legend, series_styles, show_percent, styled
from trajlib.schema import label


@styled
def plot_dispersion(
    dispersion: pd.DataFrame,
    *,
    interval: pd.DataFrame | None = None,
    axis: str = "% of progress",
    noise: float | None = None,
) -> Figure:
    """Draw the dispersion at each fraction, a line for each progress.

    Parameters
    ----------
    dispersion
        Rows of (by, fraction), or of fractions alone, as in
        `trajlib.trajectories.dispersion.dispersion`.
    interval
        Its confidence interval, as in `trajlib.evaluation.bootstrap.interval_dispersion`.
    axis
        Label of the axis; if it begins with ``%``, fractions are shown in per cent.
    noise
        Error of a position in the data [NM], drawn under the horizontal dispersion.
    """
    present = [name for name in QUANTITIES if name in dispersion]
    figure, axs = plt.subplots(-(-len(present) // 3), 3, sharex=True, figsize=(WIDTH, 5.2))
    for ax, name in zip(axs.flat, present, strict=False):
        quantity = QUANTITIES[name]
        ends = None if interval is None else interval[name] / quantity.divisor
        _draw_lines(ax, dispersion[name] / quantity.divisor, ends)
        ax.set(title=f"{quantity.label} σ [{quantity.unit}]", ylim=(0, None))
        ax.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")  # remaining distances are negative
    if axis.startswith("%"):
        show_percent(figure.axes)
    for ax in axs.flat[len(present) :]:
        ax.remove()
    if noise is not None:
        axs.flat[0].axhline(noise, color=INK, linestyle=":", label="noise of the data")
    figure.supxlabel(axis)
    add_legend(figure, axs.flat[0])
    return figure


@styled
def plot_progress(progress: pd.DataFrame) -> Figure:
    """Draw the kinds of progress of flights, one column each, against the share of their duration.

    The index of ``progress`` is (path, share of the duration).
    """
    figure, axs = plt.subplots(1, len(progress.columns), sharey=True, figsize=(WIDTH, 3.0))
    for ax, name in zip(axs, progress, strict=True):
        for _, line in progress[name].groupby("path"):
            ax.plot(line.index.get_level_values(-1), line, linewidth=1)
        ax.set(title=name, xlabel="% of the duration")
    axs[0].set_ylabel("progress")
    show_percent(axs)
    return figure


@styled
def plot_normalized(trajectories: xr.Dataset, mean: xr.Dataset) -> Figure:
    """Draw the altitude of the same flights against each kind of progress, and the means on top.

    Both have dimensions (by, fraction), the trajectories also ``path``.
    """
    kinds = trajectories.indexes["by"]
    figure, axs = plt.subplots(1, len(kinds), sharey=True, figsize=(WIDTH, 3.2))
    for ax, by in zip(axs, kinds, strict=True):
        draw_tracks(ax, split_flights(trajectories.sel(by=by), "fraction", "altitude"))
        ax.plot(mean["fraction"], mean["altitude"].sel(by=by), color=COLORS[1], lw=2, label="mean")
        ax.set(title=by, xlabel="% of progress", xlim=(0, 1))
    show_percent(axs)
    axs[0].set_ylabel(label("altitude"))
    axs[0].legend(loc="lower center")
    return figure


def _draw_lines(ax: plt.Axes, values: pd.Series, ends: pd.Series | None) -> None:
    if values.index.nlevels == 1:
        values = pd.concat({"": values}, names=["by"])
        ends = None if ends is None else pd.concat({"": ends}, names=["by"])
    for by, style in series_styles(values.index.unique("by")).items():
        line = values.xs(by, level="by")
        ax.plot(line, label=by, **style)
        if ends is not None:
            low, high = (ends.xs((by, q), level=("by", "quantile")) for q in (0.025, 0.975))
            ax.fill_between(line.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
