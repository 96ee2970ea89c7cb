"""Figures of the importance of predictors."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from trajlib.labels import display_name
from trajlib.plots.style import COLORS, GREY, WIDTH, sequential_colormap, styled

_TOP = 10  # predictors shown
_LINE = 56  # characters in a line of a predictor's name
_UNITS = {
    "impurity": "impurity importance",
    "permutation": "skill lost when permuted",
    "shap": "SHAP [σ of target]",
}


@styled
def plot_importance(importance: pd.DataFrame, *, of: str = "route progress") -> Figure:
    """Draw the importance of ten predictors at each fraction ``of`` a progress.

    They have the largest mean permutation importance. There is a heat map for each measure that
    `trajlib.evaluation.importance.measure_importance` returns, and for a column ``shap`` if any.
    """
    measures = [name for name in _UNITS if name in importance]
    mean = importance["permutation"].groupby("predictor").mean()
    order = mean.sort_values(ascending=False, kind="stable").index[:_TOP]
    names = [textwrap.fill(display_name(name), _LINE) for name in order]
    row = 0.1 + 0.15 * max(name.count("\n") + 1 for name in names)
    figure, axs = plt.subplots(
        1, len(measures), figsize=(WIDTH, 1.4 + row * len(order)), sharey=True, squeeze=False
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
        percent = [f"{100 * fraction:.0f}" for fraction in table]
        ax.set_xticks([i + 0.5 for i in range(len(percent))], percent)
        ax.set_yticks([i + 0.5 for i in range(len(order))], names)
        ax.set_ylim(len(order), 0)  # the largest on top
        ax.tick_params(axis="y", left=False)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
    figure.supxlabel(f"% of {of}")
    return figure


@styled
def plot_ranking(ranking: pd.DataFrame, *, marked: Sequence[str] = ()) -> Figure:
    """Draw the ten most important predictors by either measure, the ``marked`` in another colour.

    ``ranking`` is as returned by `trajlib.evaluation.importance.rank_predictors`.
    """
    tops = {
        measure: ranking[measure].sort_values(ascending=False, kind="stable").head(_TOP)
        for measure in ("impurity", "permutation")
    }
    wrapped = {
        measure: [textwrap.fill(display_name(name), _LINE // 2) for name in best.index]
        for measure, best in tops.items()
    }
    lines = max(name.count("\n") + 1 for names in wrapped.values() for name in names)
    figure, axs = plt.subplots(1, 2, figsize=(WIDTH, 0.9 + (0.1 + 0.15 * lines) * _TOP))
    for ax, (measure, best) in zip(axs, tops.items(), strict=True):
        colors = [COLORS[1] if name in marked else COLORS[0] for name in best.index]
        names = wrapped[measure]
        ax.barh(names, best, color=colors)
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(_UNITS[measure])
    return figure
