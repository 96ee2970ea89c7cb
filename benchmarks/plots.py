"""Figures of the scaling notebook: tasks on workers, and costs."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, GREY, WIDTH, series_styles, styled

__all__ = ["plot_costs", "plot_tasks"]


@styled
def plot_tasks(tasks: pd.DataFrame) -> Figure:
    """Draw the tasks of each worker over time, with thin bars for moving data.

    Workers are shown by number, not by address, so that the figure can be shared.

    Parameters
    ----------
    tasks
        ``worker`` (number), ``task``, ``action``, ``start`` and ``stop`` [s], one row per
        action. ``compute`` has the colour of its task; all other actions are transfers of data.

    >>> row = {"worker": 1, "task": "read", "action": "compute", "start": 0.0, "stop": 2.0}
    >>> figure = plot_tasks(pd.DataFrame([row, row | {"worker": 2, "start": 1.0}]))
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['worker 1', 'worker 2']
    """
    workers = sorted(tasks["worker"].unique())
    kinds = tasks["task"].where(tasks["action"] == "compute", "moving data")
    names = [*dict.fromkeys(kinds[tasks["action"] == "compute"]), "moving data"]
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(names)}
    figure, ax = plt.subplots(figsize=(WIDTH, 1.1 + 0.45 * len(workers)))
    ordered = tasks.assign(kind=pd.Categorical(kinds, names, ordered=True))
    for (kind, worker), rows in ordered.groupby(["kind", "worker"], observed=True):
        bars = list(zip(rows["start"], rows["stop"] - rows["start"], strict=True))
        line, height = workers.index(worker), 0.4 if kind == "moving data" else 0.8
        label = kind if kind not in ax.get_legend_handles_labels()[1] else None
        span = (line - height / 2, height)
        ax.broken_barh(bars, span, color=colors[kind], edgecolor="white", label=label, lw=0.4)
    ax.set_yticks(range(len(workers)), [f"worker {worker}" for worker in workers])
    ax.set(xlabel="time since the call [s]", ylim=(len(workers) - 0.5, -0.5))
    ax.set_xlim(left=min(0.0, tasks["start"].min()))
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=len(names))
    return figure


@styled
def plot_costs(costs: pd.DataFrame) -> Figure:
    """Draw the time for each archive over the number of workers, with the model's interval.

    Parameters
    ----------
    costs
        ``archive``, ``workers``, and ``all`` with ``low`` and ``high`` [s]. A grey line shows
        ``work`` [s], the time without any waiting of workers.

    >>> row = {"archive": "1 TB", "workers": 1, "all": 9.0, "low": 8.0, "high": 10.0}
    >>> figure = plot_costs(pd.DataFrame([row | {"work": 8.5}]))
    >>> figure.axes[0].get_xscale()
    'log'
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4.2))
    styles = series_styles(costs["archive"].unique(), markers=True)
    for archive, rows in costs.groupby("archive", sort=False):
        style = styles[archive]
        ax.fill_between(rows["workers"], rows["low"], rows["high"], color=style["color"], alpha=0.2)
        ax.plot(rows["workers"], rows["work"], color=GREY, linewidth=0.8, zorder=1)
        ax.plot(rows["workers"], rows["all"], label=archive, **style)
    ax.set(xscale="log", yscale="log", xlabel="workers", ylabel="time")
    marks = {"1 s": 1, "1 min": 60, "1 h": 3_600, "1 day": 86_400, "30 days": 30 * 86_400}
    low, high = costs[["all", "work"]].min().min(), costs["high"].max()
    shown = {name: mark for name, mark in marks.items() if low / 10 <= mark <= high * 10}
    ax.set_yticks(list(shown.values()), list(shown))
    ax.set_xticks(costs["workers"].unique(), [f"{n:,.0f}" for n in costs["workers"].unique()])
    ax.minorticks_off()
    ax.legend(title="archive")
    return figure
