"""Prediction intervals by split conformal prediction.

The errors of flights that were not used in training determine the width of an interval
(Papadopoulos et al. 2002, "Inductive confidence machines for regression"). The coverage holds for
flights exchangeable with these. Days of other seasons are not exchangeable, so the coverage forward
in time is measured as well as that on blocked days. The steps from flights to intervals are listed
in `trajlib.models.adaptive_intervals`.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from trajlib.geodesy import along_cross_track
from trajlib.trajectories.normalization import courses

_FEWEST = 50  # flights to calibrate intervals with
MIN_DAYS = 10  # for calibration, since flights of one day are not independent
TOLERANCE = 0.05  # of coverage; larger differences are marked on pages


def is_far_from_nominal(coverage: Any, level: float) -> Any:
    """Return whether a coverage, or each of several, is far from the nominal one.

    It is, if it differs by more than ``TOLERANCE``. Differences are rounded to
    a tenth of a percentage point, as they are shown.

    >>> is_far_from_nominal(pd.Series([0.55, 0.87, 0.95, 0.99]), 0.9).tolist()
    [True, False, False, True]
    """
    return np.round(np.abs(coverage - level), 3) > TOLERANCE


def signed_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return flown - predicted.

    Parameters
    ----------
    predictions, targets
        By path and fraction, latitude and longitude [deg] among the columns.

    Returns
    -------
    DataFrame
        As ``predictions``, with two more columns first: ``along`` and ``cross`` [NM], the offset of
        the flight ahead and to the right of the predicted position, on the predicted course.
    """
    flown = targets.loc[predictions.index]
    along, cross = along_cross_track(
        flown["latitude"],
        flown["longitude"],
        predictions["latitude"],
        predictions["longitude"],
        courses(predictions),
    )
    errors = (flown - predictions)[list(predictions)]
    errors.insert(0, "along", along)
    errors.insert(1, "cross", cross)
    return errors


def split_days(
    days: pd.Series,
    shares: tuple[float, ...] = (0.6, 0.2, 0.2),
    *,
    seed: int | None = 0,
    turn: int = 0,
) -> list[pd.Index]:
    """Return the paths of flights in parts of whole days, for training, calibration and scoring.

    Parameters
    ----------
    days
        The day of each flight, by path.
    shares
        Share of the days in each part.
    seed
        Seed of the order of days; None keeps the order of time, so that the last part is latest.
    turn
        How often the order is turned by the size of the last part, which then has other days.

    >>> days = pd.Series([1, 1, 2, 3, 4, 5], list("abcdef"))
    >>> [list(part) for part in split_days(days, seed=None)]
    [['a', 'b', 'c', 'd'], ['e'], ['f']]
    """
    order = np.sort(days.unique())
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    order = np.roll(order, round(turn * shares[-1] * len(order)))
    ends = np.round(np.cumsum(shares) * len(order)).astype(int)
    if len(order) < len(shares) or np.any(np.diff([0, *ends]) < 1):
        raise ValueError(f"{len(order)} days are too few for {len(shares)} parts")
    return [days.index[days.isin(part)] for part in np.split(order, ends[:-1])]


def calibrate_intervals(
    errors: pd.DataFrame,
    level: float = 0.9,
    *,
    base: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the intervals of errors at each fraction.

    Parameters
    ----------
    errors
        Errors of calibration flights, as returned by `signed_errors`; fractions may be missing.
    level
        Intended coverage of future flights. Each side excludes half of the rest, by the rank
        ⌈(n + 1) (1 + level) / 2⌉ of n flights. If that rank exceeds n (at 0.9 for fewer than 19
        flights), the largest error is used.
    base
        Quantiles for at least the same rows, columns of (target, ``low`` or ``high``), that are
        subtracted from the errors; 0 by default.

    Returns
    -------
    DataFrame
        One row per fraction, columns of (target, ``low`` or ``high``), to be added to the base.
    """
    share = (1 + level) / 2
    low, high = subtract_base(errors, base)
    return _join_sides(-_outermost(-low, share), _outermost(high, share))


def subtract_base(errors: pd.DataFrame, base: pd.DataFrame | None) -> list[pd.DataFrame]:
    """Return errors minus the lower and minus the upper side of a base."""
    if base is None:
        return [errors, errors]
    base = base.loc[errors.index]
    return [errors - base.xs(side, axis=1, level=1) for side in ("low", "high")]


def expand_intervals(
    intervals: pd.DataFrame, rows: pd.MultiIndex, base: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the intervals of each row: those of its fraction plus its base.

    Parameters
    ----------
    intervals
        By fraction, as returned by `calibrate_intervals`.
    rows
        Paths and fractions.
    base
        As for `calibrate_intervals`, with at least these rows.
    """
    expanded = intervals.loc[rows.get_level_values("fraction")].set_axis(rows)
    return expanded if base is None else expanded + base.loc[rows, expanded.columns]


def calibrate_band(errors: pd.DataFrame, intervals: pd.DataFrame, level: float = 0.9) -> float:
    """Return the factor by which intervals are widened to cover whole trajectories.

    It is the quantile ``level`` of the largest error of each flight, measured from the middle of
    the interval in units of half its width.

    Parameters
    ----------
    errors
        Of calibration flights not used for the intervals, with the targets to be covered together.
    intervals
        By fraction, or for the same rows.
    """
    worst = scale_errors(errors, intervals).groupby(level="path").max().max(axis=1)
    return float(_ranked(worst.to_numpy(), level))


def widen_to_band(intervals: pd.DataFrame, factor: float) -> pd.DataFrame:
    """Return intervals widened around their middle by a factor."""
    low, high = (intervals.xs(side, axis=1, level=1) for side in ("low", "high"))
    middle, half = (low + high) / 2, factor * (high - low) / 2
    return _join_sides(middle - half, middle + half)


def scale_errors(errors: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """Return the distance of errors from the middle of the interval, in units of half its width."""
    low, high = _bounds(intervals, errors)
    half = ((high - low) / 2).clip(lower=1e-9)  # in case all flights are equal
    return (errors - (low + high) / 2).abs() / half


def score_intervals(
    errors: pd.DataFrame, intervals: pd.DataFrame, level: float = 0.9
) -> pd.DataFrame:
    """Return coverage, width and interval score of each target at each fraction.

    The score is the width plus 2 / (1 - level) times the distance of a flight from the interval
    (Winkler 1972; see Gneiting and Raftery 2007), in the target's unit; smaller is better.

    Parameters
    ----------
    errors
        Errors by path and fraction.
    intervals
        Intervals for the same rows, or by fraction.

    Returns
    -------
    DataFrame
        Indexed by ``target`` and ``fraction``: ``coverage``, ``width``, ``score``, the mean
        absolute ``error`` and the number of ``flights``.
    """
    low, high = _bounds(intervals, errors)
    width = high - low
    outside = (low - errors).clip(lower=0) + (errors - high).clip(lower=0)
    tables = {"coverage": (outside == 0).astype(float), "width": width}
    tables["score"] = width + 2 / (1 - level) * outside
    tables["error"] = errors.abs()
    means = [table.groupby(level="fraction").mean().T.stack() for table in tables.values()]  # noqa: PD013
    scores = pd.concat(means, axis=1, keys=list(tables))
    scores["flights"] = errors.groupby(level="fraction").count().T.stack()  # noqa: PD013
    return scores.rename_axis(["target", "fraction"])


def is_few(days: pd.Series) -> bool:
    """Return whether there are too few days for independent evidence."""
    return days.nunique() < MIN_DAYS


def is_few_to_calibrate(days: pd.Series) -> bool:
    """Return whether a fifth of the flights, with their days, is too few to calibrate intervals.

    The largest few errors of fewer than 50 flights determine the width of a 90 % interval.
    """
    return days.nunique() < 5 * MIN_DAYS or len(days) < 5 * _FEWEST


def check_level(level: float) -> None:
    """Raise a ValueError unless a level is a share between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"the level is {level:g}, expected a share between 0 and 1, such as 0.9")


def conservative_level(level: float, days: pd.Series) -> float:
    """Return the level to calibrate at: 1 on few days, which widens to the largest errors."""
    return 1.0 if is_few(days) else level


def _join_sides(low: pd.DataFrame, high: pd.DataFrame) -> pd.DataFrame:
    sides = {"low": low, "high": high}
    return pd.concat(sides, axis=1).swaplevel(axis=1).sort_index(axis=1)


def _bounds(intervals: pd.DataFrame, errors: pd.DataFrame) -> list[pd.DataFrame]:
    """Return both sides of the intervals, by fraction or by row, at each row of errors."""
    by_fraction = intervals.index.nlevels == 1
    placed = (
        expand_intervals(intervals, errors.index) if by_fraction else intervals.loc[errors.index]
    )
    return [placed.xs(side, axis=1, level=1)[list(errors)] for side in ("low", "high")]


def _outermost(errors: pd.DataFrame, share: float) -> pd.DataFrame:
    parts = errors.groupby(level="fraction")
    ranked = {fraction: _ranked(part.to_numpy(), share) for fraction, part in parts}
    table = pd.DataFrame.from_dict(ranked, orient="index", columns=errors.columns)
    return table.rename_axis("fraction")


def _ranked(values: np.ndarray, share: float) -> np.ndarray:
    rank = min(math.ceil((len(values) + 1) * share), len(values))
    return np.partition(values, rank - 1, axis=0)[rank - 1]
