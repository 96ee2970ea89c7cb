"""Figures of scores and errors of predictions at each fraction of a flight."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trajlib.labels import (
    QUANTITIES,
    display_feature_set,
    display_model,
    display_quantity,
    shorten_feature_set,
)
from trajlib.plots.style import (
    COLORS,
    GREY,
    INK,
    PALE,
    WIDTH,
    add_legend,
    series_styles,
    show_percent,
    styled,
)
from trajlib.schema import label

_MAIN = ("horizontal", "altitude", "time")
_TIMES = "prediction time [min since the first sample]"
_BASELINES = 3  # number of the best baselines shown with a model


@styled
def plot_scores(
    scores: pd.DataFrame, *, degenerate: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Draw R² of each target over the fractions, a line for each model.

    Rows of (model, fraction), a column for each target. The ``degenerate`` targets of a model,
    which are equivalent to a predictor, are grey.
    """
    figure, axs = _panels(len(scores.columns))
    floor = np.clip(np.floor(scores.min(axis=None) * 10) / 10, -0.5, -0.1)
    for ax, target in zip(axs, scores, strict=False):
        grey = [model for model, targets in (degenerate or {}).items() if target in targets]
        _draw_models(ax, scores[target], grey)
        ax.axhline(0, color=GREY, linewidth=0.8)
        name = label(target).split(" [")[0]
        ax.set(title=f"{name} (grey: degenerate)" if grey else name, ylim=(floor, 1.02))
    figure.supylabel("R²")
    _finish(figure, axs[0])
    return figure


@styled
def plot_errors(errors: pd.DataFrame, *, of: str = "the total duration") -> Figure:
    """Draw the mean absolute error over the fractions of a progress, a line for each model.

    Rows of (model, fraction), columns as in :func:`trajlib.evaluation.metrics.measure_errors`.
    """
    figure, axs = _panels(len(errors.columns))
    for ax, name in zip(axs, errors, strict=False):
        _draw_models(ax, errors[name] / QUANTITIES[name].divisor, [])
        ax.set(title=_title(name), ylim=(0, None))
    _finish(figure, axs[0], of)
    return figure


@styled
def plot_skills(table: pd.DataFrame, errors: Sequence[str] = _MAIN) -> Figure:
    """Draw the skill of each model and its interval for each feature set.

    A triangle marks a skill below the axis. Rows of (feature_set, model, error), columns ``skill``,
    ``low`` and ``high``.
    """
    figure, axs = _panels(len(errors))
    figure.set_figheight(3.6)
    models = table.index.unique("model")
    feature_set = table.index.unique("feature_set")
    hidden = False
    for ax, error in zip(axs, errors, strict=True):
        of_error = table.xs(error, level="error")
        floor = max(-0.5, min(-0.1, of_error["low"].min()))
        for number, (model, style) in enumerate(series_styles(models, markers=True).items()):
            line = of_error.xs(model, level="model").reindex(feature_set)
            x = np.arange(len(line)) + 0.6 * (number / max(1, len(models) - 1) - 0.5)
            sides = [line["skill"] - line["low"], line["high"] - line["skill"]]
            ax.errorbar(x, line["skill"], sides, label=model, **style | {"linestyle": ""})
            below = x[line["skill"] < floor]
            if below.size:  # an empty line that is not clipped would leave the layout no room
                hidden = True
                ax.plot(below, np.full(len(below), floor), "v", color=style["color"], clip_on=False)
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.set_xticks(
            range(len(feature_set)), list(map(shorten_feature_set, feature_set)), rotation=30
        )
        ax.set_xlabel(_TIMES)
        ax.set(title=display_quantity(error), ylim=(floor, 1.02))
    figure.supylabel("skill (▼: below the axis)" if hidden else "skill")
    add_legend(figure, axs[0])
    return figure


@styled
def plot_model_errors(table: pd.DataFrame) -> Figure:
    """Draw the error of each model with each feature set as a dot with its interval.

    Rows as in `trajlib.evaluation.experiments.Experiment.tabulate`. The best baseline on the same
    flights and fractions is a grey bar.
    """
    sets = list(table["feature_set"].unique())
    styles = series_styles(table.loc[table["kind"] == "model", "name"].unique(), markers=True)
    size = (WIDTH, 1.3 + 0.17 * len(sets) * (1 + len(styles)))
    figure, axs = plt.subplots(1, len(_MAIN), sharey=True, figsize=size)
    for ax, quantity in zip(axs, _MAIN, strict=True):
        of_quantity = table[table["quantity"] == quantity]
        baselines = of_quantity[of_quantity["kind"] != "model"]
        best = baselines.groupby("feature_set")["error"].min().reindex(sets)
        ax.barh(range(len(sets)), best, height=0.8, color=PALE, label="best baseline", zorder=0)
        for number, (model, style) in enumerate(styles.items()):
            rows = of_quantity[of_quantity["name"] == model].set_index("feature_set").reindex(sets)
            y = np.arange(len(sets)) + 0.6 * ((number + 0.5) / len(styles) - 0.5)
            sides = [rows["error"] - rows["low"], rows["high"] - rows["error"]]
            ax.errorbar(rows["error"], y, xerr=sides, label=model, **style | {"linestyle": ""})
        ax.set_yticks(range(len(sets)), list(map(display_feature_set, sets)))
        ax.set(title=_title(quantity), xlim=(0, None))
        ax.grid(visible=False, axis="y")
    axs[0].invert_yaxis()
    figure.supxlabel("mean absolute error")
    add_legend(figure, axs[0])
    return figure


@styled
def plot_baselines(table: pd.DataFrame) -> Figure:
    """Draw the errors of models and baselines of one feature set as bars, the smallest on top.

    Rows as in `trajlib.evaluation.experiments.Experiment.tabulate`; models are dark.
    """
    size = (WIDTH, 0.9 + 0.24 * table["name"].nunique())
    figure, axs = plt.subplots(1, len(_MAIN), figsize=size)
    for ax, quantity in zip(axs, _MAIN, strict=True):
        rows = table[table["quantity"] == quantity].sort_values("error")
        colors = [COLORS[0] if kind == "model" else GREY for kind in rows["kind"]]
        sides = [rows["error"] - rows["low"], rows["high"] - rows["error"]]
        ax.barh(
            rows["name"].map(display_model), rows["error"], xerr=sides, color=colors, ecolor=INK
        )
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set(title=_title(quantity), xlim=(0, None))
    figure.supxlabel("mean absolute error")
    return figure


@styled
def plot_look_ahead(table: pd.DataFrame) -> Figure:
    """Draw errors and their intervals over the minutes ahead, a line for each model and baseline.

    Rows as in `trajlib.evaluation.experiments.Experiment.tabulate`, of one feature set, with a
    column ``minutes ahead``; a panel for each ``quantity``.
    """
    quantities = table["quantity"].unique()
    figure, axs = _panels(len(quantities))
    for ax, quantity in zip(axs, quantities, strict=True):
        of_quantity = table[table["quantity"] == quantity]
        _draw_intervals(ax, of_quantity, "minutes ahead", ("error", "low", "high"))
        ax.set(title=_title(quantity), ylim=(0, None))
    figure.supxlabel("minutes ahead of the prediction time")
    add_legend(figure, axs[0])
    return figure


@styled
def plot_arrivals(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw the mean and the 95th percentile of arrival errors at each prediction time.

    Rows as in `trajlib.evaluation.arrivals.score_arrivals`, those of the named models and
    baselines.
    """
    rows = table.reset_index()
    rows = rows[rows["name"].isin(names)]
    order = list(rows["feature_set"].unique())
    rows = rows.assign(position=rows["feature_set"].map(order.index))
    parts = {
        "mean absolute error [min]": ("mae", "low", "high"),
        "95th percentile of the error [min]": ("p95", "p95_low", "p95_high"),
    }
    figure, axs = _panels(len(parts))
    for ax, (title, columns) in zip(axs, parts.items(), strict=True):
        _draw_intervals(ax, rows, "position", columns)
        ax.set_xticks(range(len(order)), list(map(shorten_feature_set, order)))
        ax.set(title=title, xlabel=_TIMES, ylim=(0, None))
    add_legend(figure, axs[0])
    return figure


@styled
def plot_arrival_errors(table: pd.DataFrame, model: str, *, width: float = WIDTH) -> Figure:
    """Draw the mean absolute error of the arrival against the prediction time.

    The table has ``feature_set``, ``kind``, ``name``, ``mae``, ``low`` and ``high`` [min], the
    feature sets in order of their prediction times. The model is drawn with its interval, the best
    three baselines and the mean of all flights without. The width of the figure is in inches.
    """
    order = list(table["feature_set"].unique())
    baselines = table[table["kind"] != "model"].groupby("name")["mae"].mean().sort_values()
    names = [model, *baselines.index[:_BASELINES]]
    if "mean" in baselines and "mean" not in names:
        names.append("mean")
    figure, ax = plt.subplots(figsize=(width, 3.6))
    for name, style in series_styles(names, markers=True).items():
        rows = table[table["name"] == name].drop_duplicates("feature_set").set_index("feature_set")
        rows = rows.reindex(order)
        labels = {model: f"model ({display_model(name)})", "mean": "average flight (mean)"}
        text = labels.get(name, name)
        ax.plot(range(len(order)), rows["mae"], label=text, **style)
        if name == model:
            band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
            ax.fill_between(range(len(order)), rows["low"], rows["high"], **band)
    ax.set_xticks(range(len(order)), list(map(shorten_feature_set, order)))
    ax.set(xlabel=_TIMES, ylabel="mean arrival error [min]", ylim=(0, None))
    ax.margins(x=0.08)  # so that the first label does not reach below the axis
    add_legend(figure, ax, columns=1 if width < WIDTH else 2)
    return figure


@styled
def plot_groups(table: pd.DataFrame, errors: Sequence[str]) -> Figure:
    """Draw the skill and its interval of groups of flights, a panel for each error.

    Rows of (by, group, error), columns ``skill``, ``low`` and ``high``.
    """
    names = table.index.droplevel("error").unique()
    figure, axs = plt.subplots(
        1, len(errors), sharey=True, squeeze=False, figsize=(WIDTH, 0.8 + 0.24 * len(names))
    )
    for ax, error in zip(axs.flat, errors, strict=True):
        rows = table.xs(error, level="error").reindex(names)
        sides = [rows["skill"] - rows["low"], rows["high"] - rows["skill"]]
        ax.errorbar(rows["skill"], range(len(names)), xerr=sides, fmt="o", color=COLORS[0])
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.set_yticks(range(len(names)), [f"{by}: {group}" for by, group in names])
        ax.set(title=display_quantity(error))
    axs.flat[0].invert_yaxis()
    figure.supxlabel("skill against the mean trajectory")
    return figure


def _title(quantity: str) -> str:
    display = QUANTITIES[quantity]
    return f"{display.label} error [{display.unit}]"


def _draw_intervals(ax: Axes, table: pd.DataFrame, x: str, columns: tuple[str, str, str]) -> None:
    value, low, high = columns
    for name, style in series_styles(table["name"].unique(), markers=True).items():
        line = table[table["name"] == name]
        ax.plot(line[x], line[value], label=name, **style)
        ax.fill_between(line[x], line[low], line[high], color=style["color"], alpha=0.12, lw=0)


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


def _finish(figure: Figure, ax: Axes, of: str = "the total duration") -> None:
    figure.supxlabel(f"% of {of}")
    show_percent(figure.axes)
    add_legend(figure, ax)
