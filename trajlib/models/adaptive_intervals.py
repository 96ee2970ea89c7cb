"""Intervals whose width depends on the flight, and levels that follow the days.

Conformalised quantile regression (Romano, Patterson and Candès 2019): quantiles of the errors of
a model are predicted for each flight, by LightGBM, and then widened or narrowed until they hold
as many calibration flights as they promise. Adaptive conformal inference (Gibbs and Candès 2021)
changes the level from day to day by the coverage of the days before.

Every interval holds by itself. Where several are shown together, all of them hold less often:
they are not corrected for multiplicity. Only the band of whole trajectories is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.features.targets import match_flights
from trajlib.models.estimators import BoostedTrees, build_encoder
from trajlib.models.prediction_intervals import (
    calibrate_band,
    calibrate_intervals,
    expand_intervals,
    is_few,
    score_intervals,
    split_days,
    widen_to_band,
)

__all__ = [
    "BAND",
    "METHODS",
    "Calibration",
    "adapt_coverage",
    "calibrate",
    "fit_quantiles",
    "hold_out_errors",
    "place_band",
    "place_intervals",
    "predict_quantiles",
]

METHODS = ("constant width", "quantile")
BAND = ["along", "cross", "altitude", "duration"]
_ADAPTIVE = (*BAND, "latitude", "longitude")
_SIDES = ("low", "high")
_KNOTS = 8  # fractions at which quantiles are learned; they are interpolated in between
_FEWEST = 100  # training flights, below which no quantiles are learned
_RATE = 0.01  # of adaptation, for each flight of a day
_LEVELS = (0.5, 0.999)  # between which the level adapts


@dataclass(frozen=True)
class Calibration:
    """How far intervals reach from a prediction, as calibration flights require.

    Attributes
    ----------
    methods
        One of ``METHODS`` for each column of errors.
    offsets
        By fraction, columns of (column, ``low`` or ``high``): what is added to the quantiles, or
        for a constant width to the prediction.
    band_offsets
        The same, of the days on which ``band_factor`` was not measured.
    band_factor
        By which intervals grow to hold whole trajectories.
    """

    methods: dict[str, str]
    offsets: pd.DataFrame
    band_offsets: pd.DataFrame
    band_factor: float


def hold_out_errors(
    model: Pipeline,
    predictors: pd.DataFrame,
    wide: pd.DataFrame,
    days: pd.Series,
    to_errors: Callable[[pd.DataFrame], pd.DataFrame],
    *,
    seed: int | None = 0,
) -> pd.DataFrame | None:
    """Return errors of flights by models that were trained on the other half of the days.

    Parameters
    ----------
    model
        Untrained joint model.
    predictors, wide
        Of training flights, ``wide`` as of `trajlib.models.training.widen_targets`.
    days
        The local day of each flight, by path.
    to_errors
        Makes errors from predictions in the form of ``wide``.

    Returns
    -------
    DataFrame
        As of `signed_errors`; None where there are too few flights or days to learn from.
    """
    days = days[wide.index]
    if len(wide) < _FEWEST or is_few(days):
        return None
    halves = split_days(days, (0.5, 0.5), seed=seed)
    parts = []
    for train, held_out in (halves, halves[::-1]):
        trained = clone(model).fit(predictors.loc[train], wide.loc[train])
        predicted = trained.predict(predictors.loc[held_out])
        parts.append(to_errors(pd.DataFrame(predicted, held_out, wide.columns)))
    return pd.concat(parts)


def fit_quantiles(
    errors: pd.DataFrame | None,
    predictors: pd.DataFrame,
    *,
    level: float = 0.9,
    trees: int = 60,
    seed: int = 0,
) -> dict | None:
    """Return models of the quantiles of errors, of each column at some of the fractions.

    Parameters
    ----------
    errors
        Of held-out flights, as of `hold_out_errors`; None gives None.
    predictors
        By path.
    level
        Between the quantiles.

    Returns
    -------
    dict
        ``encoder``, ``columns``, ``fractions``, and ``regressors``, one for each fraction, of
        the lower quantiles of all columns and then the upper ones.
    """
    if errors is None:
        return None
    fractions = errors.index.unique("fraction").sort_values()
    positions = np.linspace(0, len(fractions) - 1, min(_KNOTS, len(fractions))).round().astype(int)
    encoder = build_encoder()
    encoded = encoder.fit_transform(predictors.loc[errors.index.unique("path")])
    table = pd.DataFrame(encoded, errors.index.unique("path"))
    columns = [name for name in _ADAPTIVE if name in errors]
    alphas = [(1 - level) / 2] * len(columns) + [(1 + level) / 2] * len(columns)
    regressors = []
    for fraction in fractions[positions]:
        here = errors.xs(fraction, level="fraction")[columns]
        regressor = BoostedTrees(objective="quantile", alphas=alphas, trees=trees, seed=seed)
        both = np.hstack([here.to_numpy()] * 2)
        regressors.append(regressor.fit(table.loc[here.index].to_numpy(), both))
    return {
        "encoder": encoder,
        "columns": columns,
        "fractions": fractions[positions].tolist(),
        "regressors": regressors,
    }


def predict_quantiles(
    quantile_models: Mapping | None, predictors: pd.DataFrame, fractions: Iterable[float]
) -> pd.DataFrame:
    """Return the quantiles of the errors of flights, at all fractions.

    Parameters
    ----------
    quantile_models
        As of `fit_quantiles`; where it is None, and in columns that it does not have, quantiles
        are 0.

    Returns
    -------
    DataFrame
        By path and fraction, columns of (column, ``low`` or ``high``).
    """
    fractions = np.asarray(list(fractions), float)
    rows = pd.MultiIndex.from_product([predictors.index, fractions], names=["path", "fraction"])
    if quantile_models is None:
        return pd.DataFrame(index=rows, columns=pd.MultiIndex.from_product([[], _SIDES]))
    encoded = quantile_models["encoder"].transform(predictors)
    knots = np.asarray(quantile_models["fractions"])
    weights = np.array([np.interp(fractions, knots, unit) for unit in np.eye(len(knots))])
    at_knots = np.array([each.predict(encoded) for each in quantile_models["regressors"]])
    values = np.einsum("kpc,kf->pfc", at_knots, weights).reshape(len(rows), -1)
    columns = [(name, side) for side in _SIDES for name in quantile_models["columns"]]
    return pd.DataFrame(values, rows, pd.MultiIndex.from_tuples(columns))


def calibrate(
    errors: pd.DataFrame,
    quantiles: pd.DataFrame,
    days: pd.Series,
    level: float,
    seed: int | None,
    *,
    method: str | None = None,
) -> Calibration:
    """Return the intervals and the band that calibration flights require.

    For each column the method is chosen that has the lesser interval score where either half of
    the days calibrates it for the other half. The band is made of the intervals of one half,
    grown until they hold the flights of the other; of a single day the same flights serve for
    both.

    Parameters
    ----------
    errors
        Of calibration flights, as of `signed_errors`.
    quantiles
        Of at least the same rows, as of `predict_quantiles`.
    days
        The local day of each flight, by path.
    method
        For all columns that have quantiles; by default it is chosen.
    """
    quantiles = quantiles.loc[errors.index]
    paths = errors.index.unique("path")
    if days[paths].nunique() < 2:
        first = second = errors
    else:
        halves = split_days(days[paths], (0.5, 0.5), seed=seed)
        first, second = (errors[match_flights(errors.index, half)] for half in halves)
    adaptive = quantiles.columns.unique(0)
    methods = dict.fromkeys(errors, METHODS[0])
    if method is None and len(adaptive):
        methods |= _choose_methods(first[adaptive], second[adaptive], quantiles, level)
    elif method is not None:
        methods |= dict.fromkeys(adaptive, method)
    base = _select_base(quantiles, methods)
    narrow = calibrate_intervals(first, level, base=base)
    few = days if is_few(days[paths]) else None
    placed = expand_intervals(narrow, second.index, base)
    factor = calibrate_band(second[BAND], placed, level, days=few)
    offsets = calibrate_intervals(errors, level, days=days, base=base)
    return Calibration(methods, offsets, narrow, factor)


def place_intervals(
    calibration: Calibration, quantiles: pd.DataFrame, rows: pd.MultiIndex | None = None
) -> pd.DataFrame:
    """Return the intervals of errors of each flight, columns of (column, ``low`` or ``high``).

    Parameters
    ----------
    quantiles
        As of `predict_quantiles`.
    rows
        Paths and fractions; by default those of ``quantiles``.
    """
    rows = quantiles.index if rows is None else rows
    base = _select_base(quantiles, calibration.methods)
    return _hold_prediction(expand_intervals(calibration.offsets, rows, base))


def place_band(
    calibration: Calibration, quantiles: pd.DataFrame, rows: pd.MultiIndex | None = None
) -> pd.DataFrame:
    """Return the band of whole trajectories, in the form of `place_intervals`."""
    rows = quantiles.index if rows is None else rows
    base = _select_base(quantiles, calibration.methods)
    placed = expand_intervals(calibration.band_offsets, rows, base)
    return _hold_prediction(widen_to_band(placed, calibration.band_factor)[BAND])


def adapt_coverage(
    errors: pd.DataFrame,
    quantiles: pd.DataFrame,
    calibration: pd.Index,
    days: pd.Series,
    *,
    methods: Mapping[str, str],
    level: float = 0.9,
    rate: float = _RATE,
) -> pd.DataFrame:
    """Return which intervals held, with a fixed level and with one that follows the days.

    Days are gone through in their order. With the adaptive level, each day is added to the
    calibration after it has passed. After a day on which fewer intervals held than promised the
    next day's are taken at a higher level, and after one on which more did at a lower: by
    ``rate`` times the difference for each flight of the day.

    Parameters
    ----------
    errors, quantiles
        Of the calibration flights and of later ones, as of `calibrate`.
    calibration
        Paths of the flights that calibrate at first.
    days
        The local day of each flight, by path.
    methods
        One of ``METHODS`` for each column, chosen on earlier days.

    Returns
    -------
    DataFrame
        By path and ``column``, for the later flights: the shares of fractions at which the
        interval held, ``fixed`` and ``adaptive``, and the adaptive ``level``.
    """
    base = _select_base(quantiles.loc[errors.index], methods)
    names = list(errors)
    scores = _conformity(errors, base).unstack("fraction")[names]  # noqa: PD010
    known = scores.index.isin(calibration)
    later = days[scores.index[~known]].sort_values(kind="stable")
    values = scores.to_numpy()
    owner = scores.columns.get_level_values(0)
    masks = {name: owner == name for name in names}
    parts = []
    sample = values[known]
    first = sample
    levels = dict.fromkeys(names, level)
    for _, day in later.groupby(later, sort=True):
        today = values[scores.index.get_indexer(day.index)]
        for name, mask in masks.items():
            table: dict[str, float | np.ndarray] = {"level": levels[name]}
            for label, used, share in (("fixed", first, level), ("adaptive", sample, levels[name])):
                table[label] = _share_inside(today[:, mask], used[:, mask], share)
            part = pd.DataFrame(table, day.index)
            parts.append(pd.concat({name: part}, names=["column"]).swaplevel())
            held = part["adaptive"].mean()
            if np.isfinite(held):
                step = rate * len(day) * (level - held)
                levels[name] = float(np.clip(levels[name] + step, *_LEVELS))
        sample = np.vstack([sample, today])
    return pd.concat(parts)[["fixed", "adaptive", "level"]].rename_axis(["path", "column"])


def _choose_methods(
    first: pd.DataFrame, second: pd.DataFrame, quantiles: pd.DataFrame, level: float
) -> dict[str, str]:
    scores = {}
    for method in METHODS:
        base = _select_base(quantiles, dict.fromkeys(first, method))
        parts = []
        for fitted, scored in ((first, second), (second, first)):
            offsets = calibrate_intervals(fitted, level, base=base)
            placed = expand_intervals(offsets, scored.index, base)
            parts.append(score_intervals(scored, placed, level)["score"])
        scores[method] = pd.concat(parts).groupby(level="target").mean()
    return pd.DataFrame(scores).idxmin(axis=1).to_dict()


def _select_base(quantiles: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """Return the quantiles of the columns whose method they are."""
    names = [name for name in quantiles.columns.unique(0) if methods[name] == METHODS[1]]
    return quantiles[names]


def _hold_prediction(intervals: pd.DataFrame) -> pd.DataFrame:
    """Return intervals of errors widened where they would leave the prediction out."""
    held = intervals.copy()
    low = held.columns.get_level_values(1) == "low"
    held.loc[:, low] = held.loc[:, low].clip(upper=0)
    held.loc[:, ~low] = held.loc[:, ~low].clip(lower=0)
    return held


def _conformity(errors: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Return how far errors are outside of their base; below 0 inside of it."""
    outside = {}
    for name in errors:
        low, high = (base[name, side] for side in _SIDES) if name in base else (0.0, 0.0)
        outside[name] = np.maximum(low - errors[name], errors[name] - high)
    return pd.DataFrame(outside, errors.index)


def _share_inside(scores: np.ndarray, sample: np.ndarray, level: float) -> np.ndarray:
    """Return the share of fractions (columns) at which each flight is inside, missing for none."""
    count = np.isfinite(sample).sum(axis=0)
    rank = np.minimum(np.ceil((count + 1) * level).astype(int), count)
    ordered = np.sort(sample, axis=0)  # missing values come last
    limits = np.take_along_axis(ordered, np.maximum(rank - 1, 0)[None], axis=0)[0]
    inside = np.where(np.isfinite(scores), scores <= limits, np.nan)
    total = np.isfinite(scores).sum(axis=1)
    held = np.nansum(inside, axis=1)
    return np.divide(held, total, out=np.full(len(scores), np.nan), where=total > 0)
