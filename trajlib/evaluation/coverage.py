"""evaluation.coverage."""

import functools
from collections.abc import Mapping, Sequence

import pandas as pd
from sklearn.pipeline import Pipeline

from trajlib.evaluation.baselines import predict_baseline
from trajlib.features.feature_sets import check_no_leakage
from trajlib.models.prediction_intervals import (
    _at,
    _scaled,
    calibrate_intervals,
    signed_errors,
    split_days,
)
from trajlib.models.saved_models import BAND, _calibrate, _of, _often_ahead, _predict
from trajlib.models.training import submit_splits, widen_targets

__all__ = ["measure_coverage", "measure_joint_coverage", "score_intervals"]


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
    """Return what intervals and band are worth on days that neither trained nor calibrated them.

    Three days in five train, one in five calibrates, of one in five it is asked; nothing that a
    flight had flown already at the moment of feature_set.

    Parameters
    ----------
    seeds
        By a name, of the days' order; None takes them in order of time.

    Returns
    -------
    tuple
        `score_intervals` by ``split`` (the names) and ``interval``: ``conformal``, and ``naive``,
        the quantiles of all earlier flights around their median; and the share of flights that
        the band holds whole, by name.
    """
    check_no_leakage(predictors, feature_set)
    predictors = predictors[predictors.index.isin(days.index)]
    targets, ahead = _often_ahead(targets, predictors, feature_set)
    paths = widen_targets(targets).index.intersection(predictors.index, sort=False)
    parts = {name: split_days(days[paths], seed=seed) for name, seed in seeds.items()}
    splits = [(train, rest.append(asked)) for train, rest, asked in parts.values()]
    work = functools.partial(_predict, model)
    training = submit_splits(work, predictors, targets, splits, joint=True)
    naive = {name: _try_naive(targets, ahead, part, level) for name, part in parts.items()}
    results = training()
    scores, whole = {}, {}
    for (name, part), (_, predicted) in zip(parts.items(), results, strict=True):
        own = signed_errors(predicted, ahead).dropna()
        calibrated = _of(own, part[1])
        intervals, band = _calibrate(calibrated, days, level, seeds[name])
        errors = _of(own, part[2])
        whole[name] = measure_joint_coverage(errors[BAND], band)
        simple, others = naive[name]
        for kind, asked in {"conformal": (errors, intervals), "naive": (others, simple)}.items():
            scores[name, kind] = score_intervals(*asked, level)
    return pd.concat(scores, names=["split", "interval"]), pd.Series(whole)


def _try_naive(
    targets: pd.DataFrame, ahead: pd.DataFrame, parts: Sequence[pd.Index], level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    earlier, asked = parts[0].append(parts[1]), parts[2]
    median = predict_baseline(targets, [(earlier, earlier.append(asked))], "median")
    errors = signed_errors(median, ahead).dropna()
    return calibrate_intervals(_of(errors, earlier), level), _of(errors, asked)


def score_intervals(
    errors: pd.DataFrame, intervals: pd.DataFrame, level: float = 0.9
) -> pd.DataFrame:
    """Return coverage, width and interval score of each target at each fraction.

    The score is the width, and 2 / (1 - level) times what a flight is outside (Winkler 1972; see
    Gneiting and Raftery 2007): the less the better, in the target's unit.

    Returns
    -------
    DataFrame
        Indexed by ``target`` and ``fraction``: ``coverage``, ``width``, ``score``.
    """
    low, high = (_at(intervals, side, errors) for side in ("low", "high"))
    width = high - low
    outside = (low - errors).clip(lower=0) + (errors - high).clip(lower=0)
    tables = {"coverage": (outside == 0).astype(float), "width": width}
    tables["score"] = width + 2 / (1 - level) * outside
    means = [table.groupby(level="fraction").mean().T.stack() for table in tables.values()]  # noqa: PD013
    scores = pd.concat(means, axis=1, keys=list(tables))
    return scores.rename_axis(["target", "fraction"])


def measure_joint_coverage(errors: pd.DataFrame, band: pd.DataFrame) -> float:
    """Return the share of flights inside a band at all fractions and in all columns of errors."""
    inside = _scaled(errors, band) <= 1 + 1e-9  # the band's edge is one of its flights
    return float(inside.groupby(level="path").all().all(axis=1).mean())
