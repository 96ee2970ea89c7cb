"""Correlations of variables, with correlated ones side by side."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, leaves_list

from trajlib.plots.style import DIVERGING, GREY, INK, WIDTH, styled
from trajlib.schema import label

_MOST_NUMBERED = 20  # columns up to which numbers are written in the cells


@styled
def plot_correlations(
    correlation: pd.DataFrame, hierarchy: np.ndarray, *, threshold: float = 0.9
) -> Figure:
    """Draw correlations as a heat map, ordered and bracketed by a hierarchy of the columns.

    The hierarchy is SciPy's linkage of the columns, its distance 1 - abs(r). A line marks the
    threshold of abs(r): columns joined to the right of it are a group.
    """
    size = len(correlation)
    height = 1.2 + 0.28 * max(size, 8)
    figure, (tree, heat) = plt.subplots(
        1, 2, figsize=(WIDTH, height), gridspec_kw={"width_ratios": (1, 4)}
    )
    order = leaves_list(hierarchy)
    _draw_hierarchy(tree, hierarchy, threshold)
    values = correlation.to_numpy()[np.ix_(order, order)]
    numbered = size <= _MOST_NUMBERED
    signs = np.where(values < 0, "\N{MINUS SIGN}", "")  # readable in grey prints
    names = [label(column).split(" [")[0] for column in correlation.columns[order]]
    sns.heatmap(
        values, ax=heat, cmap=DIVERGING, vmin=-1, vmax=1, xticklabels=names, yticklabels=names,
        annot=values if numbered else signs, fmt=".2f" if numbered else "",
        annot_kws={"fontsize": 6.5}, linewidths=0.5, cbar_kws={"label": "correlation r"},
    )  # fmt: skip
    heat.tick_params(axis="x", rotation=90)
    heat.tick_params(axis="y", rotation=0)
    return figure


def _draw_hierarchy(ax: Axes, hierarchy: np.ndarray, threshold: float) -> None:
    dendrogram(hierarchy, orientation="left", ax=ax, no_labels=True, link_color_func=lambda _: INK)
    ax.invert_yaxis()  # the first column on top, as in the heat map
    ax.axvline(1 - threshold, color=GREY, linestyle=(0, (3, 2)))
    ticks = np.array([0, 0.5, 1])
    ax.set(xlim=(1, 0), xticks=ticks, xticklabels=1 - ticks, xlabel="|r| at which they join")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
