"""Coverage, width and interval score of prediction intervals on days that did not make them."""

import functools
from collections.abc import Mapping, Sequence

import pandas as pd
from sklearn.pipeline import Pipeline

from trajlib.evaluation.baselines import predict_baseline
from trajlib.features.feature_sets import check_no_leakage
from trajlib.models.prediction_intervals import (
    calibrate_intervals,
    interval_bounds,
    scale_errors,
    signed_errors,
    split_days,
)
from trajlib.models.saved_models import (
    BAND,
    calibrate,
    keep_ahead,
    predict_joint,
    select_flights,
)
from trajlib.models.training import submit_splits, widen_targets

__all__ = [
    "TOLERANCE",
    "is_far_from_nominal",
    "measure_coverage",
    "measure_joint_coverage",
    "score_intervals",
]

TOLERANCE = 0.05  # of coverage; beyond it a page marks it


def is_far_from_nominal(coverage: pd.Series, level: float) -> pd.Series:
    """Return whether measured coverages differ from the nominal one by more than ``TOLERANCE``.

    >>> is_far_from_nominal(pd.Series([0.55, 0.87, 0.99]), 0.9).tolist()
    [True, False, True]
    """
    return (coverage - level).abs() > TOLERANCE


def measure_coverage(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    *,
    feature_set: str,
    seeds: Mapping[str, int | None],
    level: float = 0.9,
) -> tuple[pd.DataFrame, pd.Series]:
    """Return how good intervals and band are on days that neither trained nor calibrated them.

    Three days in five train, one in five calibrates, and one in five is scored. What a flight
    had flown at the prediction time is not scored.

    Parameters
    ----------
    seeds
        By a name of the split, the seed of the order of days; None takes them in order of time.

    Returns
    -------
    tuple
        `score_intervals` by ``split`` and ``interval``: ``conformal``, and ``naive``, the
        quantiles of all earlier flights around their median; and the share of flights that the
        band holds whole, by split.
    """
    check_no_leakage(predictors, feature_set)
    predictors = predictors[predictors.index.isin(days.index)]
    targets, unflown = keep_ahead(targets, predictors, feature_set)
    paths = widen_targets(targets).index.intersection(predictors.index, sort=False)
    parts = {name: split_days(days[paths], seed=seed) for name, seed in seeds.items()}
    splits = [(train, rest.append(scored)) for train, rest, scored in parts.values()]
    train = functools.partial(predict_joint, model)
    wait = submit_splits(train, predictors, targets, splits, joint=True)
    naive = {
        name: _calibrate_naive(targets, unflown, part, level, days) for name, part in parts.items()
    }
    scores, whole = {}, {}
    for (name, part), (_, predicted) in zip(parts.items(), wait(), strict=True):
        errors = signed_errors(predicted, unflown).dropna()
        intervals, band = calibrate(select_flights(errors, part[1]), days, level, seeds[name])
        scored = select_flights(errors, part[2])
        whole[name] = measure_joint_coverage(scored[BAND], band)
        scores[name, "conformal"] = score_intervals(scored, intervals, level)
        scores[name, "naive"] = score_intervals(*naive[name], level)
    return pd.concat(scores, names=["split", "interval"]), pd.Series(whole)


def score_intervals(
    errors: pd.DataFrame, intervals: pd.DataFrame, level: float = 0.9
) -> pd.DataFrame:
    """Return coverage, width and interval score of each target at each fraction.

    The score is the width plus 2 / (1 - level) times the distance by which a flight is outside
    (Winkler 1972; see Gneiting and Raftery 2007), in the target's unit; the less the better.

    Returns
    -------
    DataFrame
        Indexed by ``target`` and ``fraction``: ``coverage``, ``width``, ``score``.
    """
    low, high = (interval_bounds(intervals, side, errors) for side in ("low", "high"))
    width = high - low
    outside = (low - errors).clip(lower=0) + (errors - high).clip(lower=0)
    tables = {"coverage": (outside == 0).astype(float), "width": width}
    tables["score"] = width + 2 / (1 - level) * outside
    means = [table.groupby(level="fraction").mean().T.stack() for table in tables.values()]  # noqa: PD013
    scores = pd.concat(means, axis=1, keys=list(tables))
    return scores.rename_axis(["target", "fraction"])


def measure_joint_coverage(errors: pd.DataFrame, band: pd.DataFrame) -> float:
    """Return the share of flights inside a band at all fractions and in all columns of errors."""
    inside = scale_errors(errors, band) <= 1 + 1e-9  # the band's edge is one of its flights
    return float(inside.groupby(level="path").all().all(axis=1).mean())


def _calibrate_naive(
    targets: pd.DataFrame,
    unflown: pd.DataFrame,
    parts: Sequence[pd.Index],
    level: float,
    days: pd.Series,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the errors of scored flights around the median, and the naive intervals."""
    earlier, scored = parts[0].append(parts[1]), parts[2]
    median = predict_baseline(targets, [(earlier, earlier.append(scored))], "median")
    errors = signed_errors(median, unflown).dropna()
    intervals = calibrate_intervals(select_flights(errors, earlier), level, days=days)
    return select_flights(errors, scored), intervals
