"""How good predictions are: splits by day, baselines, errors, R², skill and its interval.

Predictions have the form of the targets: a row for each ``path`` and ``fraction``, a column for
each target. Whatever is measured here is measured on flights of days held out from training.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from trajlib.features import local_start
from trajlib.geodesy import distance

__all__ = [
    "average_by_phase",
    "interval_by_day",
    "local_days",
    "measure_errors",
    "predict_baseline",
    "score_targets",
    "skill",
    "split_by_day",
    "squared_errors",
]

Split = tuple[pd.Index, pd.Index]  # paths of the flights to train on, and of those held out


def local_days(flights: pd.DataFrame) -> pd.Series:
    """Return the day of each flight's first sample in its origin's time zone, by path."""
    return local_start(flights).dt.normalize().rename("day")


def split_by_day(days: pd.Series, folds: int = 4, *, seed: int = 0) -> list[Split]:
    """Return splits that hold out whole days, every day once.

    Flights of one day share its wind and its runways: a random split would train on the day
    that it is tested on, and would put a repeated flight on both sides.

    Parameters
    ----------
    days
        The day of each flight, by path, as of :func:`local_days`.
    folds
        Parts that the days fall into; each is held out from training on the rest.

    Raises
    ------
    ValueError
        When there are fewer days than folds, or fewer than ten flights a fold.

    >>> days = pd.Series([1, 1, 2, 2] * 5, index=[f"{n:02}.csv" for n in range(20)])
    >>> [(len(train), len(held_out)) for train, held_out in split_by_day(days, 2)]
    [(10, 10), (10, 10)]
    """
    if days.nunique() < folds or len(days) < 10 * folds:
        raise ValueError(
            f"{len(days)} flights on {days.nunique()} local days are too few to split by day: "
            f"expected {10 * folds} flights or more on {folds} days or more for {folds} folds"
        )
    folded = GroupKFold(folds, shuffle=True, random_state=seed).split(days, groups=days)
    return [(days.index[train], days.index[held_out]) for train, held_out in folded]


def predict_baseline(
    targets: pd.DataFrame, splits: list[Split], statistic: str = "mean"
) -> pd.DataFrame:
    """Return the mean (or ``median``) trajectory of each split's training flights as prediction.

    The same for every held-out flight of a split, at each fraction.
    """
    paths = targets.index.get_level_values("path")
    predictions = []
    for train, held_out in splits:
        mean = targets[paths.isin(train)].groupby(level="fraction").agg(statistic)
        rows = targets.index[paths.isin(held_out)]
        values = mean.loc[rows.get_level_values("fraction")]
        predictions.append(values.set_axis(rows))
    return pd.concat(predictions).sort_index()


def measure_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return the absolute errors of predictions, in the units that people fly in.

    Returns
    -------
    DataFrame
        A row for each path and fraction predicted: ``horizontal`` [NM], the geodesic between
        predicted and flown position; ``altitude`` [ft]; ``time`` [s], of the duration;
        ``distance`` [NM], of the distance flown.
    """
    flown = targets.loc[predictions.index]
    ends = (table[name] for table in (predictions, flown) for name in ("latitude", "longitude"))
    off = (predictions - flown).abs()
    return pd.DataFrame(
        {
            "horizontal": distance(*ends),
            "altitude": off["altitude"],
            "time": off["duration"],
            "distance": off["distance"],
        }
    )


def squared_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return the squared error of each target, the norm in which the forests are trained."""
    return (predictions - targets.loc[predictions.index]) ** 2


def score_targets(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return R² of each target (columns) at each fraction (rows).

    One less the squared error over the held-out flights' own spread at that fraction: 0 for
    their mean, 1 for perfection. NaN where they do not differ.
    """
    flown = targets.loc[predictions.index]
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

    Pooled over all rows, or at each value of the index level ``by``; never a mean of ratios.

    >>> skill(pd.DataFrame({"altitude": [1.0, 2.0]}), pd.DataFrame({"altitude": [5.0, 1.0]}))
    altitude    0.5
    dtype: float64
    """
    if by is None:
        return 1 - errors.sum() / baseline.sum()
    return 1 - errors.groupby(level=by).sum() / baseline.groupby(level=by).sum().replace(0, np.nan)


def interval_by_day(
    errors: pd.DataFrame,
    baseline: pd.DataFrame,
    days: pd.Series,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the skill of each column and its bootstrap interval over held-out days.

    Days are drawn with replacement, all flights of a day together, because they share their
    wind and their runways. The interval is of these models: how they would differ had other
    days been trained on is not in it.

    Returns
    -------
    DataFrame
        A row for each column of ``errors``: ``skill``, ``low``, ``high``.
    """
    day = days.loc[errors.index.get_level_values("path")].to_numpy()
    sums, reference = (table.groupby(day).sum().to_numpy() for table in (errors, baseline))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    skills = 1 - (drawn @ sums) / (drawn @ reference)
    low, high = np.quantile(skills, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame({"skill": skill(errors, baseline), "low": low, "high": high})
