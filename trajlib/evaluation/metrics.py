"""How good predictions are: splits, errors, R², skill and its interval, and what it hides.

Predictions have the form of the targets: a row for each ``path`` and ``fraction``, a column for
each target. Whatever is measured here is measured on flights of days held out from training.
"""

import numpy as np
import pandas as pd

from trajlib.geodesy import along_cross_track, distance
from trajlib.trajectories.normalization import courses

__all__ = [
    "average_by_phase",
    "flown_courses",
    "measure_errors",
    "measure_tails",
    "score_targets",
    "skill",
    "squared_errors",
]


def measure_errors(
    predictions: pd.DataFrame, targets: pd.DataFrame, *, course: pd.Series | None = None
) -> pd.DataFrame:
    """Return the absolute errors of predictions, in the units that people fly in.

    Parameters
    ----------
    predictions, targets
        By path and fraction; ``predictions`` may have some of the rows alone.
    course
        Flown [deg] at each row of the targets, where these are too far apart to tell it. It is
        the flown one, so that along and across mean the same for every prediction.

    Returns
    -------
    DataFrame
        A row for each path and fraction predicted: ``horizontal`` [NM], the geodesic between
        predicted and flown position, and its parts ``along`` and ``cross`` the course flown
        (missing where there is one fraction alone); ``altitude`` [ft]; ``time`` [s], of the
        duration; ``distance`` [NM], of the distance flown.
    """
    flown = targets.reindex(predictions.index)
    if course is None:
        course = flown_courses(flown)
    ends = [table[name] for table in (predictions, flown) for name in ("latitude", "longitude")]
    along, cross = along_cross_track(*ends, course.reindex(flown.index))
    errors = {"horizontal": distance(*ends), "along": np.abs(along), "cross": np.abs(cross)}
    off = (predictions - flown).abs()
    named = {"altitude": "altitude", "duration": "time", "distance": "distance"}
    errors |= {named[name]: off[name] for name in named if name in off}
    return pd.DataFrame(errors, predictions.index)


def flown_courses(targets: pd.DataFrame) -> pd.Series:
    """Return the course [deg] at each path and fraction; missing where there is one fraction."""
    told = len(targets.index.unique("fraction")) > 1
    return pd.Series(courses(targets) if told else np.nan, targets.index, name="course")


def squared_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return the squared error of each target, the norm in which the forests are trained."""
    return (predictions - targets.reindex(predictions.index)) ** 2


def score_targets(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return R² of each target (columns) at each fraction (rows).

    One less the squared error over the held-out flights' own spread at that fraction: 0 for
    their mean, 1 for perfection. NaN where they do not differ.
    """
    flown = targets.reindex(predictions.index)
    spread = (flown - flown.groupby(level="fraction").transform("mean")) ** 2
    return skill(squared_errors(predictions, targets), spread, by="fraction")


def average_by_phase(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of scores in mid-flight and near the ends of the flight, of each target.

    Mid-flight are the fractions from 40 to 60 %, the ends those to 10 % and from 90 %.

    >>> rows = pd.Index([0.1, 0.2, 0.5, 0.6, 0.9], name="fraction")
    >>> average_by_phase(pd.DataFrame({"altitude": [1, 9, 3, 5, 2]}, rows))["altitude"].to_dict()
    {'mid-flight': 4.0, 'ends': 1.5}
    """
    fraction = scores.index.get_level_values("fraction")
    parts = [(fraction >= 0.4) & (fraction <= 0.6), (fraction <= 0.1) | (fraction >= 0.9)]
    means = [scores[part].mean() for part in parts]
    return pd.DataFrame(means, ["mid-flight", "ends"])


def skill(
    errors: pd.DataFrame, baseline: pd.DataFrame, *, by: str | None = None
) -> pd.Series | pd.DataFrame:
    """Return one less the sum of errors over the sum of the baseline's, for each column.

    Pooled over all rows that both have, or at each value of the index level ``by``; never a mean
    of ratios.

    >>> skill(pd.DataFrame({"altitude": [1.0, 2.0]}), pd.DataFrame({"altitude": [5.0, 1.0]}))
    altitude    0.5
    dtype: float64
    """
    errors, baseline = _known_in_both(errors, baseline)
    if by is None:
        return 1 - errors.sum() / baseline.sum()
    return 1 - errors.groupby(level=by).sum() / baseline.groupby(level=by).sum().replace(0, np.nan)


def measure_tails(errors: pd.DataFrame, days: pd.Series) -> pd.DataFrame:
    """Return what a mean hides: ``mean``, ``p95``, and the mean of the ``worst day``, by error.

    The worst day is the one of the largest mean error, among days of three flights or more where
    there are such; ``day`` says which.
    """
    day = days.reindex(errors.index.get_level_values("path"))
    means = errors.groupby(day.to_numpy()).mean()
    flights = errors.groupby(day.to_numpy()).apply(lambda part: part.index.unique("path").size)
    means = means[flights >= min(3, flights.max())].dropna(axis=1, how="all")
    table = pd.DataFrame({"mean": errors.mean(), "p95": errors.quantile(0.95)})
    return table.join(pd.DataFrame({"worst day": means.max(), "day": means.idxmax()}))


def _known_in_both(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    known = one.notna().to_numpy() & other[list(one)].notna().to_numpy()
    return one.where(known), other[list(one)].where(known)
