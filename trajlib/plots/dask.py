"""What Dask would do, what it did and what it would take: graph, tasks and costs."""

from collections import Counter, defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from dask.core import get_dependencies, toposort
from dask.utils import key_split
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, GREY, INK, WIDTH, series_styles, styled

__all__ = ["plot_costs", "plot_graph", "plot_tasks"]


@styled
def plot_graph(collection) -> Figure:
    """Draw what Dask would run for a collection: a dot a task, a line from each to what needs it.

    Tasks run from the bottom to the top; each stands above everything that it waits for.

    >>> import dask.array as da
    >>> figure = plot_graph(da.ones(1_000, chunks=100).mean())
    >>> [text.get_text() for text in figure.axes[0].texts][0]
    'ones_like × 10'
    """
    graph = dict(collection.__dask_graph__())
    needs = {key: get_dependencies(graph, key) for key in toposort(graph)}
    layers = _stack_layers(needs)
    places = _place_tasks(needs, layers)
    figure, ax = plt.subplots(figsize=(WIDTH, 0.4 + 0.65 * len(layers)))
    edges = [(places[one], places[key]) for key, found in needs.items() for one in found]
    ax.add_collection(LineCollection(edges, colors=GREY, linewidths=0.8, zorder=1))
    for height, layer in enumerate(layers):
        dots = np.array([places[key] for key in layer])
        ax.scatter(*dots.T, s=110, color=COLORS[height % 4], edgecolor="white", zorder=2)
        counts = Counter(key_split(key) for key in layer)
        names = ", ".join(f"{name} × {count}" for name, count in counts.items())
        ax.text(-0.03, height, names, ha="right", va="center", color=INK)
    ax.set(ylim=(-0.5, len(layers) - 0.5), xlim=(-0.02, 1.02))
    ax.set_axis_off()
    return figure


@styled
def plot_tasks(tasks: pd.DataFrame) -> Figure:
    """Draw which worker did what and when: a row a worker, a bar a task, thin where it waits.

    Workers have numbers and no address, so that the figure may leave the machine.

    Parameters
    ----------
    tasks
        ``worker`` (number), ``task``, ``action``, ``start`` and ``stop`` [s], a row for each thing
        done. ``compute`` is drawn in the colour of its task; all else is a transfer of data.

    >>> row = {"worker": 1, "task": "read", "action": "compute", "start": 0.0, "stop": 2.0}
    >>> figure = plot_tasks(pd.DataFrame([row, row | {"worker": 2, "start": 1.0}]))
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['worker 1', 'worker 2']
    """
    workers = sorted(tasks["worker"].unique())
    kinds = tasks["task"].where(tasks["action"] == "compute", "moving data")
    names = [*dict.fromkeys(kinds[tasks["action"] == "compute"]), "moving data"]
    colors = {name: COLORS[at % len(COLORS)] for at, name in enumerate(names)}
    figure, ax = plt.subplots(figsize=(WIDTH, 1.1 + 0.45 * len(workers)))
    ordered = tasks.assign(kind=pd.Categorical(kinds, names, ordered=True))
    for (kind, worker), own in ordered.groupby(["kind", "worker"], observed=True):
        bars = list(zip(own["start"], own["stop"] - own["start"], strict=True))
        row, height = workers.index(worker), 0.4 if kind == "moving data" else 0.8
        label = kind if kind not in ax.get_legend_handles_labels()[1] else None
        span = (row - height / 2, height)
        ax.broken_barh(bars, span, color=colors[kind], edgecolor="white", label=label, lw=0.4)
    ax.set_yticks(range(len(workers)), [f"worker {worker}" for worker in workers])
    ax.set(xlabel="time since the call [s]", ylim=(len(workers) - 0.5, -0.5))
    ax.set_xlim(left=min(0.0, tasks["start"].min()))
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=len(names))
    return figure


@styled
def plot_costs(costs: pd.DataFrame) -> Figure:
    """Draw how long each archive takes on how many workers, with what the model is unsure of.

    Parameters
    ----------
    costs
        ``archive``, ``workers``, and ``all`` with ``low`` and ``high`` [s]. A grey line is what it
        would take if workers had nothing to wait for: their own part, ``work`` [s].

    >>> row = {"archive": "1 TB", "workers": 1, "all": 9.0, "low": 8.0, "high": 10.0}
    >>> figure = plot_costs(pd.DataFrame([row | {"work": 8.5}]))
    >>> figure.axes[0].get_xscale()
    'log'
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4.2))
    styles = series_styles(costs["archive"].unique(), markers=True)
    for archive, own in costs.groupby("archive", sort=False):
        look = styles[archive]
        ax.fill_between(own["workers"], own["low"], own["high"], color=look["color"], alpha=0.2)
        ax.plot(own["workers"], own["work"], color=GREY, linewidth=0.8, zorder=1)
        ax.plot(own["workers"], own["all"], label=archive, **look)
    ax.set(xscale="log", yscale="log", xlabel="workers", ylabel="time")
    marks = {"1 s": 1, "1 min": 60, "1 h": 3_600, "1 day": 86_400, "30 days": 30 * 86_400}
    low, high = costs[["all", "work"]].min().min(), costs["high"].max()
    shown = {name: mark for name, mark in marks.items() if low / 10 <= mark <= high * 10}
    ax.set_yticks(list(shown.values()), list(shown))
    ax.set_xticks(costs["workers"].unique(), [f"{n:,.0f}" for n in costs["workers"].unique()])
    ax.minorticks_off()
    ax.legend(title="archive")
    return figure


def _stack_layers(needs: dict) -> list[list]:
    """Return the tasks in layers: each one above the highest of those that it needs."""
    heights: dict = {}
    layers: defaultdict[int, list] = defaultdict(list)
    for key, found in needs.items():
        heights[key] = 1 + max((heights[one] for one in found), default=-1)
        layers[heights[key]].append(key)
    return [layers[height] for height in sorted(layers)]


def _place_tasks(needs: dict, layers: list[list]) -> dict:
    """Return x and y of each task: its layer's tasks evenly apart, near those that they need."""
    places: dict = {}
    for height, layer in enumerate(layers):
        if height:
            layer = sorted(layer, key=lambda key: np.mean([places[one][0] for one in needs[key]]))
        for rank, key in enumerate(layer):
            places[key] = ((rank + 0.5) / len(layer), height)
    return places
