"""Figures of how good predictions are at each fraction of a flight."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajlib.plots.style import GREY, INK, WIDTH, series_styles, styled
from trajlib.schema import label

__all__ = ["plot_errors", "plot_scores", "plot_skills"]

_ERRORS = {
    "horizontal": "horizontal error [NM]",
    "along": "along-track error [NM]",
    "cross": "cross-track error [NM]",
    "altitude": "altitude error [ft]",
    "time": "time error [s]",
    "distance": "distance error [NM]",
}


@styled
def plot_scores(
    scores: pd.DataFrame, *, degenerate: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Draw R² of each target over the fractions, a line for each model.

    Parameters
    ----------
    scores
        Rows of (model, fraction), a column for each target.
    degenerate
        Targets that are a predictor in disguise, by model: drawn in grey, and named as such.
    """
    figure, axs = _panels(len(scores.columns))
    for ax, target in zip(axs, scores, strict=False):
        grey = [model for model, targets in (degenerate or {}).items() if target in targets]
        _draw_models(ax, scores[target], grey)
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.set(title=label(target), ylim=(_floor(scores), 1.02))
    figure.supylabel("R²", fontsize=9)
    _finish(figure, axs[0])
    return figure


@styled
def plot_errors(errors: pd.DataFrame, *, of: str = "the total duration") -> Figure:
    """Draw the mean absolute error over the fractions of a progress, a line for each model.

    Rows of (model, fraction), columns as of :func:`trajlib.evaluation.metrics.measure_errors`.
    """
    figure, axs = _panels(len(errors.columns))
    for ax, name in zip(axs, errors, strict=False):
        _draw_models(ax, errors[name], [])
        ax.set(title=_ERRORS[name], ylim=(0, None))
    _finish(figure, axs[0], of)
    return figure


@styled
def plot_skills(
    table: pd.DataFrame, errors: Sequence[str] = ("horizontal", "altitude", "time")
) -> Figure:
    """Draw the skill of each model and its interval, from one feature_set to the next.

    Rows of (feature_set, model, error), columns ``skill``, ``low`` and ``high``.
    """
    figure, axs = _panels(len(errors))
    models = table.index.unique("model")
    feature_set = table.index.unique("feature_set")
    for ax, error in zip(axs, errors, strict=True):
        here = table.xs(error, level="error")
        for at, (model, style) in enumerate(series_styles(models, markers=True).items()):
            line = here.xs(model, level="model").reindex(feature_set)
            place = np.arange(len(line)) + 0.6 * (at / max(1, len(models) - 1) - 0.5)
            sides = [line["skill"] - line["low"], line["high"] - line["skill"]]
            ax.errorbar(place, line["skill"], sides, label=model, **style | {"linestyle": ""})
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.set_xticks(range(len(feature_set)), [name.replace("_", " ") for name in feature_set])
        ax.tick_params(axis="x", rotation=60)
        floor = max(-0.5, min(-0.1, here["low"].min()))
        ax.set(title=_ERRORS[error].partition(" error")[0], ylim=(floor, 1.02))
    figure.supylabel("skill against the mean trajectory", fontsize=9)
    handles, names = axs[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names))
    return figure


def _panels(count: int) -> tuple[Figure, np.ndarray]:
    rows = -(-count // 3) if count != 4 else 2
    columns = -(-count // rows)
    figure, axs = plt.subplots(rows, columns, squeeze=False, figsize=(WIDTH, 0.6 + 2.4 * rows))
    for ax in axs.flat[count:]:
        ax.remove()
    return figure, axs.flat[:count]


def _draw_models(ax: Axes, values: pd.Series, grey: Sequence[str]) -> None:
    for model, style in series_styles(values.index.unique("model"), markers=True).items():
        degenerate = model in grey
        look = style | ({"color": GREY, "alpha": 0.6} if degenerate else {})
        ax.plot(values[model], label=model, **look)
        if degenerate:
            where = {"transform": ax.transAxes, "ha": "center", "va": "center"}
            ax.text(0.5, 0.5, "degenerate:\na predictor in disguise", color=INK, **where)


def _floor(scores: pd.DataFrame) -> float:
    return float(np.clip(np.floor(scores.min(axis=None) * 10) / 10, -0.5, -0.1))


def _finish(figure: Figure, ax: Axes, of: str = "the total duration") -> None:
    figure.supxlabel(f"fraction of {of}", fontsize=9)
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names))
