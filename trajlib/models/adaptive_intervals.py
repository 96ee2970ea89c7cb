"""Intervals with a width that depends on the flight, and levels that adapt from day to day.

Conformalised quantile regression (Romano, Patterson and Candès 2019): quantiles of the errors of
a model are predicted for each flight, by LightGBM, and then widened or narrowed until they cover
the intended share of calibration flights. Adaptive conformal inference (Gibbs and Candès 2021)
changes the level from day to day, depending on the coverage of the previous days.

The coverage applies to each interval alone. Several intervals together cover less, as they are not
corrected for multiplicity; only the band of whole trajectories is.

From flights to intervals, with what each table is indexed by (rows × columns; a column of errors is
a target, ``along`` or ``cross``; a side is ``low`` or ``high``; a base is what an interval is made
of, by one of ``METHODS``, before it is calibrated):

1. `widen_targets`: targets (path, fraction) × target → path × (target, fraction), for a `Fold`.
2. `fit_apart`, or `fit_crossed` where days are few: the fold → a `Fit` with the model, errors
   (path, fraction) × column and bases (path, fraction) × (method, column, side).
3. `calibrate`: errors and bases → a `Calibration` with offsets fraction × (column, side).
4. `place_intervals` and `place_band`: the calibration and bases of other flights → intervals of
   their errors (path, fraction) × (column, side).
5. `trajlib.models.prediction_intervals.score_intervals`: errors and intervals → (column, fraction)
   × coverage, width and score.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.features.plan_features import add_reference
from trajlib.features.targets import match_flights
from trajlib.models.estimators import BoostedTrees, build_encoder
from trajlib.models.prediction_intervals import (
    calibrate_band,
    calibrate_intervals,
    conservative_level,
    expand_intervals,
    is_few,
    signed_errors,
    split_days,
    subtract_base,
    widen_to_band,
)
from trajlib.models.training import Fold, predict_joint, stack_targets

METHODS = ("constant width", "around the median", "quantile")
BAND = ["along", "cross", "altitude", "duration"]
_ADAPTIVE = (*BAND, "latitude", "longitude", "distance")
_SIDES = ("low", "high")
_KNOTS = 12  # fractions at which quantiles are learned; others are interpolated
_FEWEST = 100  # training flights needed to learn quantiles
_FOLDS = 5  # of the days, where the same flights train and calibrate, or choose a method
_RATE = 0.01  # of adaptation, for each flight of a day
_LEVELS = (0.5, 0.999)  # limits of the adaptive level


@dataclass(frozen=True)
class Fit:
    """A trained joint model, and errors of flights that it was not trained on.

    Attributes
    ----------
    model
        Trained pipeline.
    quantile_models
        As returned by `fit_quantiles`; None if there are too few flights to learn quantiles.
    median
        Median of the training flights, by (target, fraction).
    errors
        As returned by `signed_errors`.
    bases
        As returned by `build_bases`, for at least the rows of the errors.
    """

    model: Pipeline
    quantile_models: dict | None
    median: pd.Series
    errors: pd.DataFrame
    bases: pd.DataFrame


@dataclass(frozen=True)
class Calibration:
    """The extent of intervals around a prediction, from calibration flights.

    Attributes
    ----------
    methods
        One of ``METHODS`` for each column of errors.
    offsets
        By fraction, columns of (column, ``low`` or ``high``): values to add to the base of the
        method, which for a constant width is the prediction.
    band_offsets
        The same for the band, from the days on which ``band_factor`` was not measured.
    band_factor
        Factor by which intervals are widened to cover whole trajectories.
    """

    methods: dict[str, str]
    offsets: pd.DataFrame
    band_offsets: pd.DataFrame
    band_factor: float


def fit_apart(
    fold: Fold,
    *,
    model: Pipeline,
    days: pd.Series,
    to_errors: Callable[..., pd.DataFrame],
    level: float,
    seed: int | None = 0,
) -> Fit:
    """Train a joint model on a joint fold, and return it with the errors of the held-out flights.

    ``to_errors`` is `measure_errors_ahead` without its first parameters, and ``level`` the share of
    errors between the quantiles; the other parameters are those of `predict_apart`.
    """
    wide = fold.targets
    quantile_models = None
    if len(wide) >= _FEWEST and not is_few(days[wide.index]):
        some = wide.loc[:, _choose_knots(wide.columns)]
        learned = to_errors(predict_apart(model, fold.predictors, some, days, seed=seed))
        quantile_models = fit_quantiles(learned, fold.predictors, level=level, seed=seed or 0)
    trained = clone(model).fit(fold.predictors, wide)
    predicted, median = predict_joint(trained, fold.held_out, wide.columns), wide.median()
    quantiles = predict_quantiles(quantile_models, fold.held_out, wide.columns.unique("fraction"))
    bases = build_bases(quantiles, predicted, median, to_errors)
    return Fit(trained, quantile_models, median, to_errors(predicted), bases)


def fit_crossed(
    fold: Fold,
    *,
    model: Pipeline,
    days: pd.Series,
    to_errors: Callable[..., pd.DataFrame],
    seed: int | None = 0,
) -> Fit:
    """Train a joint model, and return it with the errors of training and held-out flights.

    Each training flight is predicted by a model that was trained on other days. No quantiles are
    learned. There may be no held-out flights; parameters are those of `fit_apart`.
    """
    wide = fold.targets
    parts = [predict_apart(model, fold.predictors, wide, days, folds=_FOLDS, seed=seed)]
    trained = clone(model).fit(fold.predictors, wide)
    if len(fold.held_out):
        parts.append(predict_joint(trained, fold.held_out, wide.columns))
    predicted, median = pd.concat(parts), wide.median()
    bases = build_bases(None, predicted, median, to_errors)
    return Fit(trained, None, median, to_errors(predicted), bases)


def measure_errors_ahead(
    predicted: pd.DataFrame,
    flown: pd.DataFrame | None = None,
    *,
    unflown: pd.DataFrame | None = None,
    reference: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the errors of a joint model, in the form of `signed_errors`, as far as known.

    Parameters
    ----------
    predicted
        In the form of `trajlib.models.training.widen_targets`.
    flown
        What the predictions are compared with, in the same form; by default ``unflown``.
    unflown
        Targets that were not flown at the prediction time.
    reference
        Filed plans, if deviations from them are predicted, as returned by `locate_plan`.
    """
    tables = [stack_targets(table) for table in (predicted, flown) if table is not None]
    if reference is not None:
        tables = [add_reference(table, reference) for table in tables]
    actual = unflown if flown is None else tables[1]
    return signed_errors(tables[0], actual).dropna()


def build_bases(
    quantiles: pd.DataFrame | None,
    predicted: pd.DataFrame,
    median: pd.Series,
    to_errors: Callable[..., pd.DataFrame],
) -> pd.DataFrame:
    """Return what intervals are made of: columns of (method, column, ``low`` or ``high``).

    An interval around the median does not depend on the prediction, which is better where flights
    choose between routes that cannot be predicted. A constant width around the prediction has no
    columns, as its base is 0.

    Parameters
    ----------
    quantiles
        As returned by `predict_quantiles`, or None.
    predicted
        Predictions of a joint model, in the form of `trajlib.models.training.widen_targets`.
    median
        Median of the training flights, by (target, fraction).
    to_errors
        As for `fit_apart`.
    """
    usual = pd.DataFrame(np.tile(median, (len(predicted), 1)), predicted.index, predicted.columns)
    from_median = to_errors(predicted, usual)
    both_sides = pd.concat(dict.fromkeys(_SIDES, from_median), axis=1).swaplevel(axis=1)
    parts = {"around the median": both_sides}
    if quantiles is not None:
        parts["quantile"] = quantiles
    return pd.concat(parts, axis=1)


def predict_apart(
    model: Pipeline,
    predictors: pd.DataFrame,
    wide: pd.DataFrame,
    days: pd.Series,
    *,
    folds: int = 2,
    seed: int | None = 0,
) -> pd.DataFrame:
    """Return predictions of flights, each by a model that was trained on other days.

    Parameters
    ----------
    model
        Untrained joint model.
    predictors, wide
        Training flights, ``wide`` as returned by `trajlib.models.training.widen_targets`.
    days
        The local day of each flight, by path.
    folds
        Number of parts of the days, each predicted by a model of the others; at most one per day.
    seed
        Seed of the order of days.
    """
    days = days[wide.index]
    folds = min(folds, days.nunique())
    parts = []
    for held_out in split_days(days, (1 / folds,) * folds, seed=seed)[::-1]:
        train = wide.index.difference(held_out, sort=False)
        trained = clone(model).fit(predictors.loc[train], wide.loc[train])
        parts.append(predict_joint(trained, predictors.loc[held_out], wide.columns))
    return pd.concat(parts)


def fit_quantiles(
    errors: pd.DataFrame,
    predictors: pd.DataFrame,
    *,
    level: float = 0.9,
    trees: int = 30,
    seed: int = 0,
) -> dict:
    """Return models of the quantiles of errors, for each column at each fraction.

    ``errors`` are of flights that were held out, and ``level`` is the share of them between the
    quantiles. The result has ``encoder``, ``columns``, ``fractions``, and ``regressors``, one for
    each fraction, of the lower quantiles of all columns and then the upper ones.
    """
    fractions = errors.index.unique("fraction").sort_values()
    paths = errors.index.unique("path")
    encoder = build_encoder()
    table = pd.DataFrame(encoder.fit_transform(predictors.loc[paths]), paths)
    columns = [name for name in _ADAPTIVE if name in errors]
    alphas = [(1 - level) / 2] * len(columns) + [(1 + level) / 2] * len(columns)
    regressors = []
    for fraction in fractions:
        at_fraction = errors.xs(fraction, level="fraction")[columns]
        regressor = BoostedTrees(objective="quantile", alphas=alphas, trees=trees, seed=seed)
        both_sides = np.hstack([at_fraction.to_numpy()] * 2)
        regressors.append(regressor.fit(table.loc[at_fraction.index].to_numpy(), both_sides))
    return {
        "encoder": encoder,
        "columns": columns,
        "fractions": fractions.tolist(),
        "regressors": regressors,
    }


def predict_quantiles(
    quantile_models: Mapping | None, predictors: pd.DataFrame, fractions: Iterable[float]
) -> pd.DataFrame | None:
    """Return the quantiles of the errors of flights, at all fractions.

    They are None without models of quantiles, as returned by `fit_quantiles`.
    """
    if quantile_models is None:
        return None
    fractions = np.asarray(list(fractions), float)
    rows = pd.MultiIndex.from_product([predictors.index, fractions], names=["path", "fraction"])
    encoded = quantile_models["encoder"].transform(predictors)
    knots = np.asarray(quantile_models["fractions"])
    weights = np.array([np.interp(fractions, knots, unit) for unit in np.eye(len(knots))])
    at_knots = np.array([model.predict(encoded) for model in quantile_models["regressors"]])
    values = np.einsum("kpc,kf->pfc", at_knots, weights).reshape(len(rows), -1)
    columns = [(name, side) for side in _SIDES for name in quantile_models["columns"]]
    return pd.DataFrame(values, rows, pd.MultiIndex.from_tuples(columns))


def calibrate(
    errors: pd.DataFrame,
    bases: pd.DataFrame,
    days: pd.Series,
    level: float,
    seed: int | None,
    *,
    method: str | None = None,
) -> Calibration:
    """Return the intervals and the band for given calibration flights.

    For each column the method with the smallest interval score is chosen, where four fifths of the
    days calibrate it for the other fifth. The band is made of the intervals of half of the days,
    widened until they cover the flights of the other half. With a single day the width is constant,
    and the same flights are used twice.

    Parameters
    ----------
    errors
        Of calibration flights, as returned by `signed_errors`.
    bases
        As returned by `build_bases`, with at least these rows.
    days
        The local day of each flight, by path.
    method
        Method for all columns that have a base of it; chosen by default.
    """
    days = days[errors.index.unique("path")]
    first = second = errors
    if days.nunique() >= 2:
        halves = split_days(days, (0.5, 0.5), seed=seed)
        first, second = (errors[match_flights(errors.index, half)] for half in halves)
    methods = dict.fromkeys(errors, method or "constant width")
    if method is None and days.nunique() >= 2:
        methods = _choose_methods(errors, bases, days, level, seed)
    base = _select_base(bases, methods)
    narrow = calibrate_intervals(first, level, base=base)
    placed = expand_intervals(narrow, second.index, base)
    level = conservative_level(level, days)
    factor = calibrate_band(second[BAND], placed, level)
    offsets = calibrate_intervals(errors, level, base=base)
    return Calibration(methods, offsets, narrow, factor)


def place_intervals(
    calibration: Calibration, bases: pd.DataFrame, rows: pd.MultiIndex
) -> pd.DataFrame:
    """Return the intervals of errors at rows of path and fraction, which the bases contain."""
    base = _select_base(bases, calibration.methods)
    return _include_prediction(expand_intervals(calibration.offsets, rows, base))


def place_band(calibration: Calibration, bases: pd.DataFrame, rows: pd.MultiIndex) -> pd.DataFrame:
    """Return the band of whole trajectories, in the form of `place_intervals`."""
    base = _select_base(bases, calibration.methods)
    placed = expand_intervals(calibration.band_offsets, rows, base)
    return _include_prediction(widen_to_band(placed, calibration.band_factor)[BAND])


def adapt_coverage(
    errors: pd.DataFrame,
    bases: pd.DataFrame,
    calibration: pd.Index,
    days: pd.Series,
    *,
    methods: Mapping[str, str],
    level: float = 0.9,
) -> pd.DataFrame:
    """Return the coverage of intervals with a fixed level and with an adaptive one.

    Days are processed in order. With the adaptive level, each day is added to the calibration
    afterwards. If a day's coverage is below the intended one, the level rises for the next day; if
    it is above, the level falls: by 1 % of the difference for each flight of the day.

    Parameters
    ----------
    errors, bases, days
        Of calibration flights and later ones, as for `calibrate`.
    calibration
        Paths of the first calibration flights.
    methods
        One of ``METHODS`` for each column, chosen on earlier days.

    Returns
    -------
    DataFrame
        By path and ``column``, for the later flights: the shares of fractions inside the interval,
        ``fixed`` and ``adaptive``, and the adaptive ``level``.
    """
    low, high = subtract_base(errors, _select_base(bases, methods))
    fixed_level = conservative_level(level, days[days.index.isin(calibration)])
    parts = []
    for name in errors:
        signed = errors[name].unstack("fraction")  # noqa: PD010
        # how far errors are outside of their base, by side, flight and fraction; what is on the
        # other side of the prediction is inside, as intervals include it
        sides = (-low[name], high[name])
        outside = np.stack([side.unstack("fraction").to_numpy() for side in sides])  # noqa: PD010
        beyond = np.stack([signed.to_numpy() < 0, signed.to_numpy() > 0])
        position = pd.Series(range(len(signed)), signed.index)
        calibrating = signed.index.isin(calibration)
        first = sample = outside[:, calibrating]
        adaptive = level
        later = days[signed.index[~calibrating]].sort_values(kind="stable")
        for _, day in later.groupby(later):
            rows = position[day.index].to_numpy()
            today = outside[:, rows], beyond[:, rows]
            part = pd.DataFrame(
                {
                    "column": name,
                    "fixed": _share_inside(*today, first, fixed_level),
                    "adaptive": _share_inside(*today, sample, adaptive),
                    "level": adaptive,
                },
                day.index,
            )
            coverage = part["adaptive"].mean()
            if np.isfinite(coverage):
                step = _RATE * len(day) * (level - coverage)
                adaptive = float(np.clip(adaptive + step, *_LEVELS))
            sample = np.concatenate([sample, today[0]], axis=1)
            parts.append(part)
    return pd.concat(parts).rename_axis("path").set_index("column", append=True)


def _choose_methods(
    errors: pd.DataFrame, bases: pd.DataFrame, days: pd.Series, level: float, seed: int | None
) -> dict[str, str]:
    folds = min(_FOLDS, days.nunique())
    parts = split_days(days, (1 / folds,) * folds, seed=seed)
    flown = _to_array(errors)
    paths = errors.index.unique("path")
    total = {}
    for method in METHODS:
        base = _select_base(bases, dict.fromkeys(errors, method)).loc[errors.index]
        low, high = (_to_array(base.xs(side, axis=1, level=1)[list(errors)]) for side in _SIDES)
        outside = np.stack([low - flown, flown - high])
        score = np.full(flown.shape, np.nan)
        for part in parts:
            rows = paths.isin(part)
            limits = _find_limits(outside[:, ~rows], level)
            lowest = np.minimum(low[rows] - limits[0], 0)  # an interval includes the prediction
            highest = np.maximum(high[rows] + limits[1], 0)
            missed = np.maximum(0, np.maximum(lowest - flown[rows], flown[rows] - highest))
            score[rows] = highest - lowest + 2 / (1 - level) * missed
        total[method] = np.nansum(score, axis=(0, 2))
    return pd.DataFrame(total, list(errors)).idxmin(axis=1).to_dict()


def _to_array(table: pd.DataFrame) -> np.ndarray:
    """Return a table by path and fraction as an array of (path, column, fraction)."""
    wide = table.unstack("fraction", sort=False)  # noqa: PD010
    return wide.to_numpy(float).reshape(len(wide), len(table.columns), -1)


def _find_limits(outside: np.ndarray, level: float) -> np.ndarray:
    """Return how far intervals reach beyond their base, as `calibrate_intervals` does.

    ``outside`` has how far errors are outside of their base, by side, flight and anything else.
    """
    count = np.isfinite(outside).sum(axis=1, keepdims=True)
    rank = np.minimum(np.ceil((count + 1) * (1 + level) / 2).astype(int), count)
    ordered = np.sort(outside, axis=1)  # missing values come last
    return np.take_along_axis(ordered, np.maximum(rank - 1, 0), axis=1)


def _select_base(bases: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """Return the base of each column's method, 0 where there is none."""
    columns = [(method, name, side) for name, method in methods.items() for side in _SIDES]
    return bases.reindex(columns=columns, fill_value=0.0).droplevel(0, axis=1)


def _include_prediction(intervals: pd.DataFrame) -> pd.DataFrame:
    """Return intervals of errors, widened where they would exclude the prediction."""
    is_low = intervals.columns.get_level_values(1) == "low"
    return intervals.clip(np.where(is_low, -np.inf, 0), np.where(is_low, 0, np.inf), axis=1)


def _choose_knots(columns: pd.MultiIndex) -> np.ndarray:
    """Return which columns of (target, fraction) have the fractions of quantiles."""
    fractions = columns.unique("fraction")
    positions = np.linspace(0, len(fractions) - 1, min(_KNOTS, len(fractions))).round().astype(int)
    return columns.get_level_values("fraction").isin(fractions[positions])


def _share_inside(
    outside: np.ndarray, beyond: np.ndarray, sample: np.ndarray, level: float
) -> np.ndarray:
    """Return the share of fractions at which each flight is inside its interval, NaN without any.

    ``outside`` has how far errors are outside of their base, by side, flight and fraction, and
    ``beyond`` whether they are on that side of the prediction. The limit of each side is that of
    `calibrate_intervals` for the errors in ``sample``.
    """
    limits = _find_limits(sample, level)
    finite = np.isfinite(outside).all(axis=0)
    inside = (~beyond | (outside <= limits)).all(axis=0) & finite
    total = finite.sum(axis=1)
    covered = inside.sum(axis=1)
    return np.divide(covered, total, out=np.full(len(finite), np.nan), where=total > 0)
