"""Figures of the importance of predictors."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, GREY, WIDTH, sequential_colormap, styled

__all__ = ["plot_importance", "plot_ranking"]

_UNITS = {
    "impurity": "impurity importance, share of 1",
    "permutation": "skill lost when permuted",
    "shap": "mean contribution, spreads",
}


@styled
def plot_importance(
    importance: pd.DataFrame, *, of: str = "route progress", top: int = 10
) -> Figure:
    """Draw the importance of the top predictors by fraction, a heat map for each measure.

    Parameters
    ----------
    importance
        As returned by `measure_importance`, optionally with a column ``shap``.
    of
        The quantity of which the fractions are, for the axis label.
    top
        Number of predictors shown, by mean permutation importance, the largest on top.
    """
    measures = [name for name in _UNITS if name in importance]
    mean = importance["permutation"].groupby("predictor").mean()
    order = mean.sort_values(ascending=False, kind="stable").index[:top]
    figure, axs = plt.subplots(
        1, len(measures), figsize=(WIDTH, 1.4 + 0.26 * len(order)), sharey=True, squeeze=False
    )
    for ax, measure in zip(axs.flat, measures, strict=True):
        table = importance[measure].unstack("fraction").loc[order]  # noqa: PD010
        mesh = ax.pcolormesh(
            table.clip(lower=0),
            cmap=sequential_colormap(),
            vmin=0,
            edgecolors="white",
            linewidth=0.5,
        )
        bar = figure.colorbar(mesh, ax=ax, location="top", aspect=12, pad=0.02)
        bar.set_label(_UNITS[measure])
        bar.outline.set_visible(False)
        names = [f"{100 * fraction:.0f}" for fraction in table]
        ax.set_xticks([i + 0.5 for i in range(len(names))], names)
        ax.set_yticks([i + 0.5 for i in range(len(order))], order)
        ax.set_ylim(len(order), 0)  # the largest on top
        ax.tick_params(axis="y", left=False)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    figure.supxlabel(f"% of {of}", fontsize=9)
    return figure


@styled
def plot_ranking(ranking: pd.DataFrame, *, marked: Sequence[str] = (), top: int = 10) -> Figure:
    """Draw the ten most important predictors by either measure, side by side.

    Parameters
    ----------
    ranking
        As returned by `trajlib.evaluation.importance.rank_predictors`.
    marked
        Predictors drawn in another colour.
    """
    figure, axs = plt.subplots(1, 2, figsize=(WIDTH, 0.9 + 0.25 * top))
    for ax, measure in zip(axs, ("impurity", "permutation"), strict=True):
        best = ranking[measure].sort_values(ascending=False, kind="stable").head(top)
        colors = [COLORS[1] if name in marked else COLORS[0] for name in best.index]
        ax.barh(best.index, best, color=colors)
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(_UNITS[measure])
    return figure
