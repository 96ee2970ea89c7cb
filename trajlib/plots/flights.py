"""Profiles of one flight, ten, or all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from trajlib.plots.style import COLORS, WIDTH, sequential_colormap, series_styles, styled
from trajlib.schema import label

if TYPE_CHECKING:
    import xarray as xr

Flights: TypeAlias = "xr.Dataset | pd.DataFrame"
_GRID = 300, 500  # rows and columns of a density


@styled
def plot_profiles(
    flights: Flights,
    *,
    against: str = "duration",
    columns: Sequence[str] = ("altitude", "groundspeed"),
    mean: "xr.Dataset | None" = None,
) -> Figure:
    """Draw columns of one flight, ten, or all against time, distance or progress.

    Parameters
    ----------
    flights
        Columns over (path, fraction), or a DataFrame of samples with a level ``path`` in its
        index; without ``path`` it is a single flight.
    against, columns
        The column on the x axis, such as ``duration``, and those of the panels from top to bottom;
        columns missing in the flights are omitted.
    mean
        Mean trajectory over (fraction), drawn on top.
    """
    present = [name for name in columns if name in flights]
    figure, axs = plt.subplots(
        len(present), sharex=True, squeeze=False, figsize=(WIDTH, 0.6 + 2.3 * len(present))
    )
    scale = 60 if against == "duration" else 1  # s in a minute
    for ax, name in zip(axs[:, 0], present, strict=True):
        lines = split_flights(flights, against, name)
        draw_tracks(ax, {path: line / (scale, 1) for path, line in lines.items()})
        if mean is not None:
            ax.plot(mean[against] / scale, mean[name], color=COLORS[1], lw=2, label="mean")
        ax.set_ylabel(label(name))
    axs[-1, 0].set_xlabel("time since the first sample [min]" if scale > 1 else label(against))
    if axs[0, 0].get_legend_handles_labels()[0]:
        axs[0, 0].legend(ncols=3, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def split_flights(flights: Flights, x: str, y: str) -> dict[str, np.ndarray]:
    """Return each flight's line of y over x as an array (samples, 2), by its path.

    >>> df = pd.DataFrame({"duration": [0, 1, 0, 1], "altitude": [0, 5, 0, 9]})
    >>> df.index = pd.Index(["a", "a", "b", "b"], name="path")
    >>> split_flights(df, "duration", "altitude")["b"].tolist()
    [[0, 0], [1, 9]]
    """
    if not isinstance(flights, pd.DataFrame):
        import xarray as xr

        y_values, x_values = xr.broadcast(flights[y], flights[x])  # y may have one value per flight
        lines = np.stack([x_values.to_numpy(), y_values.to_numpy()], axis=-1)
        paths = np.atleast_1d(flights.get("path", "")).astype(str)
        finite = (line[np.isfinite(line).all(axis=1)] for line in lines.reshape(len(paths), -1, 2))
        return dict(zip(paths, finite, strict=True))
    flat = flights if x in flights else flights.reset_index(x)
    if "path" not in flat.index.names:
        return {str(flights.attrs.get("path", "")): flat[[x, y]].to_numpy()}
    groups = flat.groupby(level="path", sort=False)
    return {path: flight[[x, y]].to_numpy() for path, flight in groups}


def draw_tracks(ax: Axes, lines: dict[str, np.ndarray]) -> None:
    """Draw lines of flights: up to six in different colours, up to 200 thin, else their density.

    >>> figure, ax = plt.subplots()
    >>> draw_tracks(ax, {"a.csv": np.array([(0.0, 0.0), (1.0, 2.0)])})
    >>> [line.get_label() for line in ax.lines]
    ['a']
    >>> plt.close(figure)
    """
    if len(lines) <= 6:
        for path, style in series_styles(lines).items():
            ax.plot(*lines[path].T, label=_name(path), **style)
    elif len(lines) <= 200:
        alpha = float(np.clip(12 / len(lines), 0.1, 0.7))
        thin = LineCollection(list(lines.values()), colors=COLORS[0], linewidths=0.8, alpha=alpha)
        ax.add_collection(thin)
        ax.autoscale_view()
    else:
        _draw_density(ax, list(lines.values()))


def count_flights(lines: Sequence[np.ndarray], low: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return how many of the lines cross each cell of a grid of 500 columns and 300 rows.

    ``low`` is the grid's first corner and ``size`` its extent, both (x, y). Each line counts at
    most once per cell.

    >>> lines = [np.array([(0, 0), (1, 1)]), np.array([(0, 0), (1, 0)])]
    >>> counts = count_flights(lines, np.array([0, 0]), np.array([1, 1]))
    >>> int(counts[0, 0]), int(counts[0, -1]), int(counts[-1, -1]), int(counts[-1, 0])
    (2, 1, 1, 0)
    """
    rows, columns = _GRID
    counts = np.zeros(rows * columns, dtype=int)
    for line in lines:
        cells = (line - low) / size * (columns - 1, rows - 1)
        along = np.concatenate([[0], np.cumsum(np.abs(np.diff(cells, axis=0)).max(axis=1))])
        steps = np.arange(0, along[-1] + 0.5, 0.5)
        column, row = (np.interp(steps, along, side).round().astype(int) for side in cells.T)
        counts[np.unique(row * columns + column)] += 1
    return counts.reshape(_GRID)


def _draw_density(ax: Axes, lines: list[np.ndarray]) -> None:
    """Draw the number of flights in each cell, on a logarithmic scale."""
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    counts = count_flights(lines, low, high - low)
    image = ax.imshow(
        np.ma.masked_equal(counts, 0),
        cmap=sequential_colormap(),
        norm=LogNorm(1, counts.max()),
        extent=(low[0], high[0], low[1], high[1]),
        aspect=ax.get_aspect(),
        origin="lower",
        interpolation="nearest",
        zorder=1.5,  # above the grid, below lines
    )
    ax.figure.colorbar(image, ax=ax, label="flights", format="{x:,.0f}", pad=0.01, shrink=0.8)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".")[0].replace("$", r"\$")  # not a formula
