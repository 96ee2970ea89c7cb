"""Errors of predictions in NM, ft and seconds, R², and skill against a baseline.

Predictions have the form of the targets: one row per flight (``path``) and fraction or minute, one
column per target.
"""

import numpy as np
import pandas as pd

from trajlib.geodesy import along_cross_track, distance
from trajlib.trajectories.normalization import courses

_OF_TARGETS = {"altitude": "altitude", "duration": "time", "distance": "distance"}


def measure_errors(
    predictions: pd.DataFrame, targets: pd.DataFrame, *, course: pd.Series | None = None
) -> pd.DataFrame:
    """Return the absolute errors of predictions.

    Parameters
    ----------
    predictions, targets
        By path and fraction; ``predictions`` may have only some of the rows.
    course
        Course flown [deg] at each row of the targets. Needed if the targets are too far apart to
        compute it. It is not the predicted course, so that along and across have the same meaning
        for every prediction.

    Returns
    -------
    DataFrame
        For each row of the predictions: ``horizontal`` [NM], the geodesic between predicted and
        flown position, and its components ``along`` and ``cross`` the course flown (missing with
        a single fraction and no course); ``altitude`` [ft]; ``time``
        [s], of the duration; ``distance`` [NM], of the distance flown.
    """
    flown = targets.reindex(predictions.index)
    if course is None:
        course = flown_courses(flown)
    predicted = predictions["latitude"], predictions["longitude"]
    actual = flown["latitude"], flown["longitude"]
    along, cross = along_cross_track(*predicted, *actual, course.reindex(flown.index))
    horizontal = distance(*predicted, *actual)
    errors = {"horizontal": horizontal, "along": np.abs(along), "cross": np.abs(cross)}
    difference = (predictions - flown).abs()
    errors |= {error: difference[name] for name, error in _OF_TARGETS.items() if name in difference}
    return pd.DataFrame(errors, predictions.index)


def flown_courses(targets: pd.DataFrame) -> pd.Series:
    """Return the course [deg] at each row; missing if each flight has a single row."""
    several = len(targets.index.unique(1)) > 1
    return pd.Series(courses(targets) if several else np.nan, targets.index, name="course")


def squared_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return the squared error of each target, which forests minimise in training."""
    return (predictions - targets.reindex(predictions.index)) ** 2


def score_targets(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return R² of each target (columns) at each fraction (rows).

    1 - squared error / spread of the held-out flights there; missing if they do not differ.
    """
    flown = targets.reindex(predictions.index)
    spread = (flown - flown.groupby(level="fraction").transform("mean")) ** 2
    errors, spread = keep_common(squared_errors(predictions, targets), spread)
    sums, spreads = (table.groupby(level="fraction").sum() for table in (errors, spread))
    return 1 - sums / spreads.replace(0, np.nan)


def average_by_phase(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean scores of each target in mid-flight and near the ends of the flight.

    Mid-flight means fractions from 40 to 60 %, the ends are up to 10 % and from 90 %.

    >>> rows = pd.Index([0.1, 0.2, 0.5, 0.6, 0.9], name="fraction")
    >>> average_by_phase(pd.DataFrame({"altitude": [1, 9, 3, 5, 2]}, rows))["altitude"].to_dict()
    {'mid-flight': 4.0, 'ends': 1.5}
    """
    fraction = scores.index.get_level_values("fraction")
    parts = [(fraction >= 0.4) & (fraction <= 0.6), (fraction <= 0.1) | (fraction >= 0.9)]
    means = [scores[part].mean() for part in parts]
    return pd.DataFrame(means, ["mid-flight", "ends"])


def skill(errors: pd.DataFrame, baseline: pd.DataFrame) -> pd.Series:
    """Return 1 - Σ error / Σ error of the baseline, for each column.

    Errors are pooled over all rows that both have; ratios are never averaged.

    >>> skill(pd.DataFrame({"altitude": [1.0, 2.0]}), pd.DataFrame({"altitude": [5.0, 1.0]}))
    altitude    0.5
    dtype: float64
    """
    errors, baseline = keep_common(errors, baseline)
    return 1 - errors.sum() / baseline.sum()


def measure_tails(errors: pd.DataFrame, days: pd.Series) -> pd.DataFrame:
    """Return ``mean``, ``p95``, and the mean of the ``worst day``, for each error.

    The worst day has the largest mean error among days with three flights or more, if there are
    such days; ``day`` is its date.
    """
    day = days.reindex(errors.index.get_level_values("path"))
    means = errors.groupby(day.to_numpy()).mean()
    flights = days.reindex(errors.index.unique("path")).value_counts()[means.index]
    means = means[flights >= min(3, flights.max())].dropna(axis=1, how="all")
    table = pd.DataFrame({"mean": errors.mean(), "p95": errors.quantile(0.95)})
    return table.join(pd.DataFrame({"worst day": means.max(), "day": means.idxmax()}))


def keep_common(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two tables with the columns of the first, missing where either is missing."""
    common = one.notna().to_numpy(bool) & other[list(one)].notna().to_numpy(bool)
    return one.where(common), other[list(one)].where(common)
