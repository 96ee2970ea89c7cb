"""Figures of what each predictor is worth."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, GREY, SEQUENTIAL, WIDTH, styled

__all__ = ["plot_importance", "plot_ranking"]

_UNITS = {"impurity": "impurity importance, share of 1", "permutation": "skill lost when permuted"}


@styled
def plot_importance(importance: pd.DataFrame, measure: str, *, top: int = 10) -> Figure:
    """Draw the predictors that are worth most, by fraction, as a heat map.

    Parameters
    ----------
    importance
        As `trajlib.importance.measure_importance` returns it.
    measure
        ``impurity`` or ``permutation``.
    top
        Predictors shown: those of the largest mean over fractions, the largest on top.
    """
    table = importance.pivot_table(measure, "predictor", "fraction")
    order = table.mean(axis=1).sort_values(ascending=False, kind="stable").index[:top]
    figure, ax = plt.subplots(figsize=(WIDTH, 1.2 + 0.28 * len(order)))
    sns.heatmap(
        table.loc[order].clip(lower=0), ax=ax, cmap=SEQUENTIAL, vmin=0, linewidths=0.5,
        cbar_kws={"label": _UNITS[measure]},
    )  # fmt: skip
    names = [f"{fraction:.0%}" for fraction in table]
    ax.set_xticks([at + 0.5 for at in range(len(names))], names, rotation=0)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="fraction of the total duration", ylabel="")
    return figure


@styled
def plot_ranking(ranking: pd.DataFrame, *, marked: Sequence[str] = (), top: int = 10) -> Figure:
    """Draw the ten most important predictors by either measure, side by side.

    Parameters
    ----------
    ranking
        As `trajlib.importance.rank_predictors` returns it.
    marked
        Predictors that stand out in colour.
    """
    figure, axs = plt.subplots(1, 2, figsize=(WIDTH, 0.9 + 0.25 * top))
    for ax, measure in zip(axs, _UNITS, strict=True):
        best = ranking[measure].sort_values(ascending=False, kind="stable").head(top)
        colors = [COLORS[1] if name in marked else COLORS[0] for name in best.index]
        ax.barh(best.index, best, color=colors)
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(_UNITS[measure])
    return figure
