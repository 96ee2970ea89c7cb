"""Map of filed plans, and of where flights leave them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from trajlib.plots.maps import airport_positions, bounds_around, draw_map, map_size, mark_airports
from trajlib.plots.style import INK, styled

_MOST = 60.0  # NM saved or lost at the ends of the colour scale


@styled
def plot_departures(
    plans: pd.DataFrame,
    flown: pd.DataFrame,
    departures: pd.DataFrame,
    *,
    airports: Sequence[str] = (),
) -> Figure:
    """Draw the filed routes, and the parts of flights off them, coloured by the distance saved.

    ``plans`` and ``flown`` have ``latitude``, ``longitude`` [deg] by path and fraction.
    ``departures`` has, by path and part, the fractions ``start`` and ``end``, and ``saved`` [NM].
    """
    routes = [_line(table) for _, table in plans.groupby(level="path")]
    routes = [np.array(route) for route in {tuple(map(tuple, line.round(3))) for line in routes}]
    parts = [
        _line(flown.loc[path].loc[row["start"] : row["end"]])
        for (path, _), row in departures.iterrows()
    ]
    ends = airport_positions(airports, flown["longitude"].median())
    bounds = bounds_around(np.concatenate([*routes, *parts, ends]))
    figure, ax = plt.subplots(figsize=map_size(bounds))
    draw_map(ax, bounds)
    most = float(np.clip(departures["saved"].abs().max(), 1, _MOST)) if len(departures) else 1.0
    drawn = LineCollection(
        parts, array=departures["saved"], cmap="PuOr", norm=TwoSlopeNorm(0, -most, most), lw=0.8
    )
    ax.add_collection(drawn)
    ax.add_collection(LineCollection(routes, colors=INK, lw=0.9, linestyles="--", label="filed"))
    figure.colorbar(drawn, ax=ax, label="shorter than the plan [NM]", pad=0.01, shrink=0.8)
    ax.legend(loc="best")
    mark_airports(ax, airports)
    return figure


def _line(table: pd.DataFrame) -> np.ndarray:
    return table[["longitude", "latitude"]].dropna().to_numpy()
