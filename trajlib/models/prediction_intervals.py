"""Intervals around predictions that hold what they promise: split conformal prediction.

Errors of flights that neither trained the model nor are asked about say how wide an interval has
to be (Papadopoulos et al. 2002, "Inductive confidence machines for regression"). It holds for
flights exchangeable with those: days of other seasons are not, so coverage forward in time is
measured beside that on blocked days.
"""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.spatial import ConvexHull

from trajlib.geodesy import along_cross_track, offset
from trajlib.trajectories.normalization import courses

__all__ = [
    "calibrate_band",
    "calibrate_intervals",
    "find_regions",
    "signed_errors",
    "split_days",
    "widen_to_band",
]


def signed_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return what was flown less what was predicted.

    Parameters
    ----------
    predictions, targets
        By path and fraction, latitude and longitude [deg] among the columns.

    Returns
    -------
    DataFrame
        As ``predictions``, with ``along`` and ``cross`` [NM] before it: how far ahead, and how
        far to the right of the predicted course, the flight was.
    """
    flown = targets.loc[predictions.index]
    where = [flown["latitude"], flown["longitude"]]
    where += [predictions["latitude"], predictions["longitude"], courses(predictions)]
    along, cross = along_cross_track(*where)
    errors = (flown - predictions)[list(predictions)]
    errors.insert(0, "along", along)
    errors.insert(1, "cross", cross)
    return errors


def split_days(
    days: pd.Series, shares: tuple[float, ...] = (0.6, 0.2, 0.2), *, seed: int | None = 0
) -> list[pd.Index]:
    """Return paths in parts of whole days: to train on, to calibrate, and to ask about.

    Parameters
    ----------
    days
        The day of each flight, by path.
    shares
        Of the days, in each part.
    seed
        Of the days' order; None keeps that of time, so that the last part is the future.

    >>> days = pd.Series([1, 1, 2, 3, 4, 5], list("abcdef"))
    >>> [list(part) for part in split_days(days, seed=None)]
    [['a', 'b', 'c', 'd'], ['e'], ['f']]
    """
    order = np.sort(days.unique())
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    ends = np.round(np.cumsum(shares) * len(order)).astype(int)
    if len(order) < len(shares) or np.any(np.diff([0, *ends]) < 1):
        raise ValueError(f"{len(order)} days are too few for {len(shares)} parts")
    return [days.index[days.isin(part)] for part in np.split(order, ends[:-1])]


def calibrate_intervals(errors: pd.DataFrame, level: float = 0.9) -> pd.DataFrame:
    """Return how far flights are below and above their predictions, at each fraction.

    Parameters
    ----------
    errors
        Of calibration flights, as of `signed_errors`; not each needs every fraction.
    level
        Share of future flights that an interval shall hold. Each side leaves out half the rest,
        by the rank ⌈(n + 1) (1 + level) / 2⌉, so that n flights promise no less than it; too few
        for that rank, at 0.9 fewer than 19, can promise no more than their largest error does.

    Returns
    -------
    DataFrame
        A row for each fraction, columns of (target, ``low`` or ``high``).
    """
    sides = {
        "low": -_outermost(-errors, (1 + level) / 2),
        "high": _outermost(errors, (1 + level) / 2),
    }
    return pd.concat(sides, axis=1).swaplevel(axis=1).sort_index(axis=1)


def calibrate_band(errors: pd.DataFrame, intervals: pd.DataFrame, level: float = 0.9) -> float:
    """Return the factor by which intervals must grow to hold whole trajectories.

    Parameters
    ----------
    errors
        Of calibration flights other than those that the intervals are of; of the targets that
        are to be held all at once.

    Returns
    -------
    float
        The largest error of a flight, in halves of the interval around its middle, that a share
        ``level`` of the flights stays below.
    """
    worst = _scaled(errors, intervals).groupby(level="path").max().max(axis=1)
    return float(_ranked(worst.to_numpy(), level))


def widen_to_band(intervals: pd.DataFrame, factor: float) -> pd.DataFrame:
    """Return intervals grown around their middle by a factor."""
    low, high = (intervals.xs(side, axis=1, level=1) for side in ("low", "high"))
    middle, half = (low + high) / 2, factor * (high - low) / 2
    sides = {"low": middle - half, "high": middle + half}
    return pd.concat(sides, axis=1).swaplevel(axis=1).sort_index(axis=1)


def find_regions(trajectory: pd.DataFrame, end: str = "") -> list[np.ndarray]:
    """Return where a flight may be from each fraction to the next.

    Parameters
    ----------
    trajectory
        By fraction: latitude, longitude and ``course`` [deg], and ``along<end>_low`` and
        ``_high`` and those of ``cross`` [NM].

    Returns
    -------
    list
        Arrays (n, 2) of longitude and latitude, each a convex polygon around both boxes.
    """
    corners = [(a, c) for a in ("low", "high") for c in ("low", "high")]
    where = [trajectory[name] for name in ("latitude", "longitude", "course")]
    boxes = [
        offset(*where, trajectory[f"along{end}_{a}"], trajectory[f"cross{end}_{c}"])
        for a, c in corners
    ]
    points = np.array([np.column_stack([lon, lat]) for lat, lon in boxes]).swapaxes(0, 1)
    both = [np.concatenate(pair) for pair in pairwise(points)]
    return [pair[ConvexHull(pair).vertices] for pair in both]


def _outermost(errors: pd.DataFrame, share: float) -> pd.DataFrame:
    parts = errors.groupby(level="fraction")
    ranked = {fraction: _ranked(part.to_numpy(), share) for fraction, part in parts}
    table = pd.DataFrame.from_dict(ranked, orient="index", columns=errors.columns)
    return table.rename_axis("fraction")


def _ranked(values: np.ndarray, share: float) -> np.ndarray:
    rank = min(math.ceil((len(values) + 1) * share), len(values))
    return np.partition(values, rank - 1, axis=0)[rank - 1]


def _scaled(errors: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    low, high = (_at(intervals, side, errors) for side in ("low", "high"))
    half = ((high - low) / 2).clip(lower=1e-9)  # where flights do not differ
    return (errors - (low + high) / 2).abs() / half


def _at(intervals: pd.DataFrame, side: str, errors: pd.DataFrame) -> pd.DataFrame:
    bounds = intervals.xs(side, axis=1, level=1)[list(errors)]
    return bounds.loc[errors.index.get_level_values("fraction")].set_axis(errors.index)
