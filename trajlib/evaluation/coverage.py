"""Coverage, width and interval score of prediction intervals on other days."""

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from sklearn.pipeline import Pipeline

from trajlib.evaluation.baselines import predict_baseline
from trajlib.features.targets import match_flights
from trajlib.models.adaptive_intervals import (
    BAND,
    METHODS,
    Fit,
    adapt_coverage,
    calibrate,
    fit_apart,
    fit_crossed,
    measure_errors_ahead,
    place_band,
    place_intervals,
)
from trajlib.models.prediction_intervals import (
    calibrate_intervals,
    check_level,
    conservative_level,
    expand_intervals,
    is_few_to_calibrate,
    scale_errors,
    score_intervals,
    signed_errors,
    split_days,
)
from trajlib.models.saved_models import keep_ahead
from trajlib.models.training import Fold, submit_splits, widen_targets


@dataclass(frozen=True)
class Coverage:
    """The quality of intervals on held-out days.

    Attributes
    ----------
    scores
        As returned by `score_intervals`, by ``split`` and ``interval``: ``chosen``, with the method
        chosen on calibration days; each of ``METHODS`` for all columns; and ``naive``, the
        quantiles of all earlier flights around their median.
    whole
        The share of whole flights inside the band, by split.
    methods
        The method of each column of errors that was chosen most often, by split.
    by_flight
        As returned by `adapt_coverage`, by ``split``, for splits in order of time; None without
        any.
    """

    scores: pd.DataFrame
    whole: pd.Series
    methods: pd.DataFrame
    by_flight: pd.DataFrame | None


def measure_coverage(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    *,
    feature_set: str,
    seeds: Mapping[str, int | None],
    level: float = 0.9,
    turns: int = 1,
) -> Coverage:
    """Return the quality of intervals and band on days not used for training or calibration.

    Three days in five are for training, one for calibration and one for scoring. If one in five is
    too few to calibrate with, four in five are for training, and the errors of models that were
    trained on other days calibrate. Fractions that a flight had passed at the prediction time are
    not scored.

    Parameters
    ----------
    seeds
        Seed of the order of days by name of a split; None keeps the order of time.
    turns
        How many fifths of the days in random order are scored in turn, from 1 to 5, each with
        models of its own.

    Raises
    ------
    ValueError
        When the level is no share between 0 and 1, or a predictor is not in the feature set.
    """
    check_level(level)
    predictors = predictors[predictors.index.isin(days.index)]
    targets, unflown = keep_ahead(targets, predictors, feature_set)
    paths = widen_targets(targets).index.intersection(predictors.index, sort=False)
    parts = {
        (name, turn): split_days(days[paths], seed=seed, turn=turn)
        for name, seed in seeds.items()
        for turn in range(1 if seed is None else turns)
    }
    to_errors = functools.partial(measure_errors_ahead, unflown=unflown)
    options = {"model": model, "days": days, "to_errors": to_errors}
    if is_few_to_calibrate(days[paths]):
        fit = functools.partial(fit_crossed, **options)  # the same flights train and calibrate
        for name, (train, rest, scored) in parts.items():
            parts[name] = [train.append(rest), train.append(rest), scored]
        splits = [(train, scored) for train, _, scored in parts.values()]
    else:
        fit = functools.partial(fit_apart, level=level, **options)
        splits = [(train, rest.append(scored)) for train, rest, scored in parts.values()]
    predict = functools.partial(_predict_errors, fit)
    wait = submit_splits(predict, predictors, targets, splits, feature_set=feature_set, joint=True)
    tested: dict[tuple, list] = defaultdict(list)  # errors and intervals, by split and method
    inside, methods, by_flight = defaultdict(list), defaultdict(list), {}
    for ((split, _), part), (errors, bases) in zip(parts.items(), wait().values(), strict=True):
        placed, chosen, whole = _place(part, errors, bases, days, level, seeds[split])
        placed["naive"] = _calibrate_naive(targets, unflown, part, level, days)
        for method, pair in placed.items():
            tested[split, method].append(pair)
        methods[split].append(chosen)
        inside[split].append(whole)
        if seeds[split] is None:
            by_flight[split] = adapt_coverage(
                errors, bases, part[1], days, methods=chosen, level=level
            )
    scores = {}
    for key, pairs in tested.items():
        scored, intervals = (pd.concat(tables) for tables in zip(*pairs, strict=True))
        scores[key] = score_intervals(scored, intervals, level)
    return Coverage(
        pd.concat(scores, names=["split", "interval"]),
        pd.Series({name: pd.concat(flights).mean() for name, flights in inside.items()}),
        pd.DataFrame({name: pd.DataFrame(each).mode().iloc[0] for name, each in methods.items()}),
        pd.concat(by_flight, names=["split"]) if by_flight else None,
    )


def _place(
    part: Sequence[pd.Index],
    errors: pd.DataFrame,
    bases: pd.DataFrame,
    days: pd.Series,
    level: float,
    seed: int | None,
) -> tuple[dict[str, tuple[pd.DataFrame, pd.DataFrame]], dict[str, str], pd.Series]:
    """Return errors and intervals by method, the chosen methods, and which flights are inside."""
    calibrating, scored = (errors[match_flights(errors.index, paths)] for paths in part[1:])
    fit = functools.partial(calibrate, calibrating, bases, days, level, seed)
    chosen = fit()
    calibrations = {"chosen": chosen} | {method: fit(method=method) for method in METHODS}
    placed = {
        name: (scored, place_intervals(calibration, bases, scored.index))
        for name, calibration in calibrations.items()
    }
    band = place_band(chosen, bases, scored.index)
    inside = scale_errors(scored[BAND], band) <= 1 + 1e-9  # the edge counts as inside
    return placed, chosen.methods, inside.groupby(level="path").all().all(axis=1)


def _predict_errors(fit: Callable[[Fold], Fit], fold: Fold) -> tuple[pd.DataFrame, pd.DataFrame]:
    fitted = fit(fold)  # its models are large, and stay on the worker
    return fitted.errors, fitted.bases


def _calibrate_naive(
    targets: pd.DataFrame,
    unflown: pd.DataFrame,
    parts: Sequence[pd.Index],
    level: float,
    days: pd.Series,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the errors of scored flights around the median, and their naive intervals."""
    earlier, scored = parts[0].union(parts[1], sort=False), parts[2]
    median = predict_baseline(targets, [(earlier, earlier.append(scored))], "median")
    errors = signed_errors(median, unflown).dropna()
    first, last = (errors[match_flights(errors.index, paths)] for paths in (earlier, scored))
    level = conservative_level(level, days[first.index.unique("path")])
    return last, expand_intervals(calibrate_intervals(first, level), last.index)
