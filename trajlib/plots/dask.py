"""The task graph of a Dask collection."""

from collections import Counter, defaultdict

import matplotlib.pyplot as plt
import numpy as np
from dask.core import get_dependencies, toposort
from dask.utils import key_split
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, GREY, INK, WIDTH, styled


@styled
def plot_graph(collection) -> Figure:
    """Draw the tasks of a collection as dots, and lines from each to the tasks that need it.

    Tasks run from the bottom to the top; each is above all tasks that it depends on.

    >>> import dask.array as da
    >>> figure = plot_graph(da.ones(1_000, chunks=100).mean())
    >>> [text.get_text() for text in figure.axes[0].texts][0]
    'ones_like × 10'
    """
    graph = dict(collection.__dask_graph__())
    needs = {key: get_dependencies(graph, key) for key in toposort(graph)}
    layers = _stack_layers(needs)
    positions = _position_tasks(needs, layers)
    figure, ax = plt.subplots(figsize=(WIDTH, 0.4 + 0.65 * len(layers)))
    edges = [(positions[n], positions[key]) for key, needed in needs.items() for n in needed]
    ax.add_collection(LineCollection(edges, colors=GREY, linewidths=0.8, zorder=1))
    for height, layer in enumerate(layers):
        dots = np.array([positions[key] for key in layer])
        ax.scatter(*dots.T, s=110, color=COLORS[height % 4], edgecolor="white", zorder=2)
        counts = Counter(key_split(key) for key in layer)
        names = ", ".join(f"{name} × {count}" for name, count in counts.items())
        ax.text(-0.03, height, names, ha="right", va="center", color=INK)
    ax.set(ylim=(-0.5, len(layers) - 0.5), xlim=(-0.02, 1.02))
    ax.set_axis_off()
    return figure


def _stack_layers(needs: dict) -> list[list]:
    """Return the tasks in layers, each task one layer above the highest that it needs."""
    heights: dict = {}
    layers: defaultdict[int, list] = defaultdict(list)
    for key, needed in needs.items():
        heights[key] = 1 + max((heights[n] for n in needed), default=-1)
        layers[heights[key]].append(key)
    return [layers[height] for height in sorted(layers)]


def _position_tasks(needs: dict, layers: list[list]) -> dict:
    """Return x and y of each task: evenly spaced within a layer, near the tasks that it needs."""
    positions: dict = {}
    for height, layer in enumerate(layers):
        if height:
            layer = sorted(layer, key=lambda key: np.mean([positions[n][0] for n in needs[key]]))
        for rank, key in enumerate(layer):
            positions[key] = ((rank + 0.5) / len(layer), height)
    return positions
