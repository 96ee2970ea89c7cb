"""Intervals with a width that depends on the flight, and levels that adapt from day to day.

Conformalised quantile regression (Romano, Patterson and Candès 2019): quantiles of the errors of
a model are predicted for each flight, by LightGBM, and then widened or narrowed until they cover
the intended share of calibration flights. Adaptive conformal inference (Gibbs and Candès 2021)
changes the level from day to day, depending on the coverage of the previous days.

The coverage applies to each interval alone. Several intervals together cover less, as they are not
corrected for multiplicity; only the band of whole trajectories is.

From flights to intervals, with what each table is indexed by (rows × columns; a column of errors is
a target, ``along`` or ``cross``; a side is ``low`` or ``high``):

1. `widen_targets`: targets (path, fraction) × target → path × (target, fraction), for a `Fold`.
2. `fit_apart`, or `fit_crossed` where days are few: the fold → a `Fit` with the model, errors
   (path, fraction) × column and their predicted quantiles (path, fraction) × (column, side).
3. `calibrate`: errors and quantiles → a `Calibration` with offsets fraction × (column, side).
4. `place_intervals` and `place_band`: the calibration and quantiles of other flights → intervals of
   their errors (path, fraction) × (column, side).
5. `score_intervals`: errors and intervals → (column, fraction) × coverage, width and score.
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
    score_intervals,
    signed_errors,
    split_days,
    subtract_base,
    widen_to_band,
)
from trajlib.models.training import Fold, predict_joint, stack_targets

METHODS = ("constant width", "quantile")
BAND = ["along", "cross", "altitude", "duration"]
_ADAPTIVE = (*BAND, "latitude", "longitude", "distance")
_SIDES = ("low", "high")
_KNOTS = 12  # fractions at which quantiles are learned; others are interpolated
_FEWEST = 100  # training flights needed to learn quantiles
_FOLDS = 5  # of the days, where the same flights train and calibrate
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
    errors
        As returned by `signed_errors`.
    quantiles
        As returned by `predict_quantiles`, for at least the rows of the errors.
    """

    model: Pipeline
    quantile_models: dict | None
    errors: pd.DataFrame
    quantiles: pd.DataFrame


@dataclass(frozen=True)
class Calibration:
    """The extent of intervals around a prediction, from calibration flights.

    Attributes
    ----------
    methods
        One of ``METHODS`` for each column of errors.
    offsets
        By fraction, columns of (column, ``low`` or ``high``): values to add to the quantiles, or
        for a constant width to the prediction.
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
    to_errors: Callable[[pd.DataFrame], pd.DataFrame],
    level: float,
    seed: int | None = 0,
) -> Fit:
    """Train a joint model on a joint fold, and return it with the errors of the held-out flights.

    ``level`` is the share of errors between the quantiles; the other parameters are those of
    `hold_out_errors`.
    """
    wide = fold.targets
    quantile_models = None
    if len(wide) >= _FEWEST and not is_few(days[wide.index]):
        learned = hold_out_errors(model, fold.predictors, wide, days, to_errors, seed=seed)
        quantile_models = fit_quantiles(learned, fold.predictors, level=level, seed=seed or 0)
    trained = clone(model).fit(fold.predictors, wide)
    errors = to_errors(predict_joint(trained, fold.held_out, wide.columns))
    fractions = wide.columns.unique("fraction")
    quantiles = predict_quantiles(quantile_models, fold.held_out, fractions)
    return Fit(trained, quantile_models, errors, quantiles)


def fit_crossed(
    fold: Fold,
    *,
    model: Pipeline,
    days: pd.Series,
    to_errors: Callable[[pd.DataFrame], pd.DataFrame],
    seed: int | None = 0,
) -> Fit:
    """Train a joint model, and return it with the errors of training and held-out flights.

    Each training flight is predicted by a model that was trained on other days. No quantiles are
    learned. There may be no held-out flights; parameters are those of `fit_apart`.
    """
    wide = fold.targets
    parts = [
        hold_out_errors(model, fold.predictors, wide, days, to_errors, folds=_FOLDS, seed=seed)
    ]
    trained = clone(model).fit(fold.predictors, wide)
    if len(fold.held_out):
        parts.append(to_errors(predict_joint(trained, fold.held_out, wide.columns)))
    flights = pd.concat([fold.predictors, fold.held_out])
    quantiles = predict_quantiles(None, flights, wide.columns.unique("fraction"))
    return Fit(trained, None, pd.concat(parts), quantiles)


def measure_unflown(
    predicted: pd.DataFrame, *, unflown: pd.DataFrame, reference: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the errors of a joint model, in the form of `signed_errors`, as far as known.

    Parameters
    ----------
    predicted
        In the form of `trajlib.models.training.widen_targets`.
    unflown
        Targets that were not flown at the prediction time.
    reference
        Filed plans, if deviations from them are predicted, as returned by `locate_plan`.
    """
    table = stack_targets(predicted)
    table = table if reference is None else add_reference(table, reference)
    return signed_errors(table, unflown).dropna()


def hold_out_errors(
    model: Pipeline,
    predictors: pd.DataFrame,
    wide: pd.DataFrame,
    days: pd.Series,
    to_errors: Callable[[pd.DataFrame], pd.DataFrame],
    *,
    folds: int = 2,
    seed: int | None = 0,
) -> pd.DataFrame:
    """Return errors of flights, each predicted by a model that was trained on other days.

    Parameters
    ----------
    model
        Untrained joint model.
    predictors, wide
        Training flights, ``wide`` as returned by `trajlib.models.training.widen_targets`.
    days
        The local day of each flight, by path.
    to_errors
        Computes errors, as `signed_errors` does, from predictions in the form of ``wide``.
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
        parts.append(to_errors(predict_joint(trained, predictors.loc[held_out], wide.columns)))
    return pd.concat(parts)


def fit_quantiles(
    errors: pd.DataFrame,
    predictors: pd.DataFrame,
    *,
    level: float = 0.9,
    trees: int = 30,
    seed: int = 0,
) -> dict:
    """Return models of the quantiles of errors, for each column at some of the fractions.

    ``errors`` are those of `hold_out_errors`, and ``level`` is the share of them between the
    quantiles. The result has ``encoder``, ``columns``, ``fractions``, and ``regressors``, one for
    each fraction, of the lower quantiles of all columns and then the upper ones.
    """
    fractions = errors.index.unique("fraction").sort_values()
    positions = np.linspace(0, len(fractions) - 1, min(_KNOTS, len(fractions))).round().astype(int)
    paths = errors.index.unique("path")
    encoder = build_encoder()
    table = pd.DataFrame(encoder.fit_transform(predictors.loc[paths]), paths)
    columns = [name for name in _ADAPTIVE if name in errors]
    alphas = [(1 - level) / 2] * len(columns) + [(1 + level) / 2] * len(columns)
    regressors = []
    for fraction in fractions[positions]:
        at_fraction = errors.xs(fraction, level="fraction")[columns]
        regressor = BoostedTrees(objective="quantile", alphas=alphas, trees=trees, seed=seed)
        both_sides = np.hstack([at_fraction.to_numpy()] * 2)
        regressors.append(regressor.fit(table.loc[at_fraction.index].to_numpy(), both_sides))
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

    There are no columns without models of quantiles, as returned by `fit_quantiles`. In absent
    columns a quantile counts as 0.
    """
    fractions = np.asarray(list(fractions), float)
    rows = pd.MultiIndex.from_product([predictors.index, fractions], names=["path", "fraction"])
    if quantile_models is None:
        return pd.DataFrame(index=rows, columns=pd.MultiIndex.from_product([[], _SIDES]))
    encoded = quantile_models["encoder"].transform(predictors)
    knots = np.asarray(quantile_models["fractions"])
    weights = np.array([np.interp(fractions, knots, unit) for unit in np.eye(len(knots))])
    at_knots = np.array([model.predict(encoded) for model in quantile_models["regressors"]])
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
    """Return the intervals and the band for given calibration flights.

    For each column the method with the smaller interval score is chosen, where each half of the
    days calibrates it for the other half. The band is made of the intervals of one half, widened
    until they cover the flights of the other. With a single day the same flights are used twice.

    Parameters
    ----------
    errors
        Of calibration flights, as returned by `signed_errors`.
    quantiles
        As returned by `predict_quantiles`, with at least these rows.
    days
        The local day of each flight, by path.
    method
        Method for all columns that have quantiles; chosen by default.
    """
    days = days[errors.index.unique("path")]
    first = second = errors
    if days.nunique() >= 2:
        halves = split_days(days, (0.5, 0.5), seed=seed)
        first, second = (errors[match_flights(errors.index, half)] for half in halves)
    adaptive = quantiles.columns.unique(0)
    methods = dict.fromkeys(errors, "constant width")
    if method is not None:
        methods |= dict.fromkeys(adaptive, method)
    elif len(adaptive):
        methods |= _choose_methods(first[adaptive], second[adaptive], quantiles, level)
    base = _select_base(quantiles, methods)
    narrow = calibrate_intervals(first, level, base=base)
    placed = expand_intervals(narrow, second.index, base)
    level = conservative_level(level, days)
    factor = calibrate_band(second[BAND], placed, level)
    offsets = calibrate_intervals(errors, level, base=base)
    return Calibration(methods, offsets, narrow, factor)


def place_intervals(
    calibration: Calibration, quantiles: pd.DataFrame, rows: pd.MultiIndex
) -> pd.DataFrame:
    """Return the intervals of errors at rows of path and fraction, which the quantiles contain."""
    base = _select_base(quantiles, calibration.methods)
    return _include_prediction(expand_intervals(calibration.offsets, rows, base))


def place_band(
    calibration: Calibration, quantiles: pd.DataFrame, rows: pd.MultiIndex
) -> pd.DataFrame:
    """Return the band of whole trajectories, in the form of `place_intervals`."""
    base = _select_base(quantiles, calibration.methods)
    placed = expand_intervals(calibration.band_offsets, rows, base)
    return _include_prediction(widen_to_band(placed, calibration.band_factor)[BAND])


def adapt_coverage(
    errors: pd.DataFrame,
    quantiles: pd.DataFrame,
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
    errors, quantiles, days
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
    low, high = subtract_base(errors, _select_base(quantiles, methods))
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
    """Return the quantiles of the columns that use the method ``quantile``, 0 in the others."""
    names = [name for name in quantiles.columns.unique(0) if methods[name] == "quantile"]
    columns = pd.MultiIndex.from_product([methods, _SIDES])
    return quantiles[names].reindex(columns=columns, fill_value=0.0)


def _include_prediction(intervals: pd.DataFrame) -> pd.DataFrame:
    """Return intervals of errors, widened where they would exclude the prediction."""
    is_low = intervals.columns.get_level_values(1) == "low"
    return intervals.clip(np.where(is_low, -np.inf, 0), np.where(is_low, 0, np.inf), axis=1)


def _share_inside(
    outside: np.ndarray, beyond: np.ndarray, sample: np.ndarray, level: float
) -> np.ndarray:
    """Return the share of fractions at which each flight is inside its interval, NaN without any.

    ``outside`` has how far errors are outside of their base, by side, flight and fraction, and
    ``beyond`` whether they are on that side of the prediction. The limit of each side is that of
    `calibrate_intervals` for the errors in ``sample``.
    """
    count = np.isfinite(sample).sum(axis=1)
    rank = np.minimum(np.ceil((count + 1) * (1 + level) / 2).astype(int), count)
    ordered = np.sort(sample, axis=1)  # missing values come last
    limits = np.take_along_axis(ordered, np.maximum(rank - 1, 0)[:, None], axis=1)
    finite = np.isfinite(outside).all(axis=0)
    inside = (~beyond | (outside <= limits)).all(axis=0) & finite
    total = finite.sum(axis=1)
    covered = inside.sum(axis=1)
    return np.divide(covered, total, out=np.full(len(finite), np.nan), where=total > 0)
