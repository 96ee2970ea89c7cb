"""Saved models: a joint model with calibrated intervals, and the prediction of a trajectory.

A saved model is a folder with two files. ``model.skops`` has the joint model and the models of the
quantiles of its errors, without pickle, which could run code when it is read. ``card.json`` has
its training data, predictors, coverage and intervals.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NotRequired, TypedDict
from unittest.mock import patch
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd
from scipy import special
from sklearn import __version__ as sklearn_version
from sklearn.pipeline import Pipeline

from trajlib.archive.storage import replacing
from trajlib.estimate import format_percent
from trajlib.features.feature_sets import check_no_leakage, prediction_minutes
from trajlib.features.plan_features import add_reference, locate_plan, subtract_reference
from trajlib.features.targets import TARGETS, keep_unflown, match_flights
from trajlib.geodesy import find_regions
from trajlib.models.adaptive_intervals import (
    Calibration,
    build_bases,
    calibrate,
    fit_apart,
    fit_crossed,
    measure_errors_ahead,
    place_band,
    place_intervals,
    predict_quantiles,
)
from trajlib.models.estimators import text_columns
from trajlib.models.prediction_intervals import check_level, is_few_to_calibrate, split_days
from trajlib.models.training import predict_joint, select_fold, stack_targets, widen_targets
from trajlib.trajectories.normalization import courses

# By default skops imports all modules of scikit-learn, and pytest, to trust all estimators, and
# looks for the module of each universal function, which takes as long as a prediction. Instead the
# types of our models are listed.
with (
    patch("sklearn.utils.all_estimators", return_value=[]),
    patch.object(np, "__dir__", list),
    patch.object(special, "__dir__", list, create=True),
):
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

TRUSTED = [  # types in a saved model that skops does not trust by default
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.compose._target.TransformedTargetRegressor",
    "sklearn.ensemble._forest.ExtraTreesRegressor",
    "sklearn.ensemble._forest.RandomForestRegressor",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
    "sklearn.impute._base.SimpleImputer",
    "sklearn.linear_model._ridge.Ridge",
    "sklearn.multioutput.MultiOutputRegressor",
    "sklearn.neighbors._regression.KNeighborsRegressor",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._encoders.OneHotEncoder",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
    "sklearn.tree._classes.DecisionTreeRegressor",
    "sklearn.tree._classes.ExtraTreeRegressor",
    "sklearn.tree._tree.Tree",
    "trajlib.models.estimators.BoostedTrees",
    "trajlib.models.estimators.text_columns",
]
_SCHEMA = 7  # version of the card, increased when older cards cannot be read correctly
_LOWEST = -1500.0  # ft, below all airports


class Schema(TypedDict):
    """What goes into a model, and comes out of it."""

    version: int
    predictors: dict[str, str]  # text or number
    targets: list[str]
    fractions: list[float]


class Days(TypedDict):
    """Flights of training or calibration, and their local days."""

    flights: int
    days: int
    first: str  # as 2016-01-31
    last: str


class Card(TypedDict):
    """The description of a saved model."""

    schema: Schema
    feature_set: str
    level: float  # intended coverage of the intervals
    deviations: bool  # whether deviations from filed plans are predicted
    pair: NotRequired[str]  # as LEMD-LEBL
    by: NotRequired[str]  # progress of the fractions
    data: NotRequired[str]  # as returned by `fingerprint_flights`
    other_traffic: NotRequired[int]  # flights of other pairs used for the predictors
    scores: NotRequired[dict[str, dict[str, float]]]  # coverage by split and target
    lowest: NotRequired[dict[str, dict[str, list[float]]]]  # of these, and at which fraction
    against_naive: NotRequired[dict[str, float]]  # arrival's interval score, by split; 1 is equal
    training: Days
    calibration: Days
    seed: int | None
    categories: dict[str, list[str]]  # of each predictor that is a text
    hours: list[int]  # training flights by local hour of their beginning
    highest: float  # ft, of the training flights
    usual: dict[str, list[float]]  # median positions [deg] at the fractions
    median: dict[str, list[float]]  # of the training flights, by target, as they were learned
    methods: dict[str, str]  # of the intervals, by column of errors
    intervals: dict[str, dict[str, list[float]]]  # offsets at the fractions, by column and side
    band: dict[str, dict[str, list[float]]]
    band_factor: float
    versions: dict[str, str]
    sha256: NotRequired[str]  # of the file with the model


@dataclass(frozen=True)
class SavedModel:
    """A trained joint model and its card.

    Attributes
    ----------
    model
        Trained pipeline.
    card
        Its description, as saved in ``card.json``.
    quantile_models
        As returned by `fit_quantiles`; None if no interval needs them.
    """

    model: Pipeline
    card: Card
    quantile_models: dict | None = None


def train_model(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    *,
    feature_set: str,
    level: float = 0.9,
    seed: int | None = 0,
    deviations: bool = False,
    **facts: object,
) -> SavedModel:
    """Return a joint model trained on some days, with intervals calibrated on others.

    Parameters
    ----------
    model
        Untrained, as returned by `trajlib.models.estimators.build_model`.
    predictors, targets
        Tables from `trajlib.features`; flights that do not reach every fraction are omitted. A
        model of airborne flights has the fractions that more than half of them have ahead.
    days
        The local day of each flight, by path; flights without one are omitted. Three
        in four days are used for training, the others to calibrate the intervals and the band. With
        few flights or days, all days are used for both: models of four fifths of the days predict
        the other fifth, and these errors calibrate.
    seed
        Seed of the order of days.
    deviations
        Train on the deviations of flights from their filed plans, with the predictors
        `trajlib.features.plan_features.PLAN`. Targets must then be by route, and ``pair`` be given.
    facts
        Further entries of the `Card`: ``pair``, ``by``, ``data``, ``scores``, ``lowest``,
        ``against_naive``, ``other_traffic``.

    Raises
    ------
    ValueError
        When the level is no share between 0 and 1, a predictor is not in the feature set, or there
        are too few days.
    """
    check_level(level)
    check_no_leakage(predictors, feature_set)
    predictors = predictors[predictors.index.isin(days.index)]
    targets, unflown = keep_ahead(targets, predictors, feature_set)
    learned, reference = targets, None
    if deviations:
        reference = locate_plan(predictors, targets.index, *str(facts["pair"]).split("-"))
        learned = subtract_reference(targets, reference)
    wide = widen_targets(learned)
    wide = wide.loc[wide.index.intersection(predictors.index, sort=False)]
    train, held_out = split_days(days[wide.index], (0.75, 0.25), seed=seed)
    to_errors = functools.partial(measure_errors_ahead, unflown=unflown, reference=reference)
    options = {"model": model, "days": days, "to_errors": to_errors, "seed": seed}
    if is_few_to_calibrate(days[wide.index]):
        train = calibrating = wide.index
        fit = fit_crossed(select_fold(predictors, wide, train, held_out[:0]), **options)
    else:
        calibrating = held_out
        fold = select_fold(predictors, wide, train, held_out)
        fit = fit_apart(fold, level=level, **options)
    calibration = calibrate(fit.errors, fit.bases, days, level, seed)
    card: Any = {
        "schema": {
            "version": _SCHEMA,
            "predictors": _find_kinds(predictors, {}),
            "targets": list(targets),
            "fractions": [float(fraction) for fraction in targets.index.unique("fraction")],
        },
        "feature_set": feature_set,
        "level": level,
        "deviations": deviations,
        **facts,
        "training": _describe_days(days[train]),
        "calibration": _describe_days(days[calibrating]),
        "seed": seed,
        **_describe_training(predictors.loc[train], targets),
        "median": {name: fit.median[name].tolist() for name in targets},
        **_describe_calibration(calibration),
        "versions": {
            "scikit-learn": sklearn_version,
            "lightgbm": version("lightgbm"),
            "skops": skops.__version__,
        },
    }
    uses_quantiles = "quantile" in calibration.methods.values()
    return SavedModel(fit.model, card, fit.quantile_models if uses_quantiles else None)


def save_model(saved: SavedModel, folder: str | Path) -> None:
    """Write a model and its card, which contains the digests of both files."""
    folder = Path(folder)
    models = {"joint": saved.model, "quantiles": saved.quantile_models}
    blob = skops.io.dumps(models, compression=ZIP_DEFLATED, compresslevel=1)
    card: dict[str, Any] = {**saved.card, "sha256": hashlib.sha256(blob).hexdigest()}
    card["card_sha256"] = _digest(card)
    with replacing(folder / "model.skops") as temporary:
        temporary.write_bytes(blob)
    with replacing(folder / "card.json") as temporary:
        temporary.write_text(_write_card(card), "utf-8")


def load_model(folder: str | Path) -> SavedModel:
    """Return a saved model, after checking that its files are unchanged.

    Raises
    ------
    ValueError
        When a file was changed, contains a type that is not trusted, or was saved by another
        version of trajlib or scikit-learn.
    OSError
        When a file is missing.
    """
    folder = Path(folder)
    changed = f"{folder.name}/card.json was changed since it was saved"
    try:
        text = (folder / "card.json").read_text("utf-8")
        card = json.loads(text)
    except ValueError as error:  # not text, or not JSON
        raise ValueError(changed) from error
    if _write_card(card) != text or card.pop("card_sha256", None) != _digest(card):
        raise ValueError(changed)
    schema = card.get("schema", {})
    if schema.get("version") != _SCHEMA or schema.get("targets") != list(TARGETS):
        raise ValueError(f"{folder} was saved by another version of trajlib; {_train_again(card)}")
    saved_with = card["versions"]["scikit-learn"]
    if saved_with != sklearn_version:
        raise ValueError(
            f"{folder} was saved with scikit-learn {saved_with}, this is {sklearn_version}; "
            + _train_again(card)
        )
    check_no_leakage(schema["predictors"], card["feature_set"])
    blob = (folder / "model.skops").read_bytes()
    if hashlib.sha256(blob).hexdigest() != card["sha256"]:
        raise ValueError(f"{folder.name}/model.skops is not the file that its card describes")
    try:
        models = skops.io.loads(blob, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder.name}/model.skops is refused: {reason}") from error
    return SavedModel(models["joint"], card, models["quantiles"])


def predict_trajectory(saved: SavedModel, predictors: pd.DataFrame) -> pd.DataFrame:
    """Return the predicted trajectory of one flight, its intervals and its band.

    Parameters
    ----------
    predictors
        One row, with the columns used in training.

    Returns
    -------
    DataFrame
        Indexed by ``fraction``, see `predict_trajectories`. For an airborne flight, only the
        fractions ahead of it.

    Raises
    ------
    ValueError
        When the columns or their types differ from those in training, or the flight has passed
        every fraction.
    """
    table = predict_trajectories(saved, predictors).droplevel("path")
    reached = predictors.filter(regex=r"^progress_at_\d+$").max(axis=1).fillna(0.0).iloc[0]
    if reached >= table.index[-1]:
        raise ValueError(
            f"the flight has passed {format_percent(table.index[-1])}: nothing is left to predict"
        )
    return table[table.index > reached]


def predict_trajectories(saved: SavedModel, predictors: pd.DataFrame) -> pd.DataFrame:
    """Return the predicted trajectories of flights, their intervals and their bands.

    Parameters
    ----------
    predictors
        One row per flight, with the columns used in training.

    Returns
    -------
    DataFrame
        Indexed by ``path`` and ``fraction``: the targets, ``<target>_low`` and
        ``<target>_high``, the position also as ``along`` and ``cross`` [NM] from the predicted
        one; ``<name>_band_low`` and ``<name>_band_high``, which cover the whole trajectory in all
        of ``BAND``; ``course`` [deg]. Times and distances are limited to 0 or more, altitudes to
        the range from the lowest airports to the ceiling of the aircraft type (or, if unknown, the
        highest training flight).

    Raises
    ------
    ValueError
        When the columns or their types differ from those in training.
    """
    schema = saved.card["schema"]
    kinds = _find_kinds(predictors, schema["predictors"])
    if kinds != schema["predictors"]:
        raise ValueError(f"predictors {kinds}, expected {schema['predictors']}")
    names = [None, "fraction"]
    columns = pd.MultiIndex.from_product([schema["targets"], schema["fractions"]], names=names)
    predicted = predict_joint(saved.model, predictors, columns)
    table, reference = stack_targets(predicted), None
    if saved.card["deviations"]:
        reference = locate_plan(predictors, table.index, *saved.card["pair"].split("-"))
        table = add_reference(table, reference)
    table["course"] = courses(table)
    calibration = _read_calibration(saved.card)
    median = pd.Series(
        np.concatenate([saved.card["median"][n] for n in schema["targets"]]), columns
    )
    quantiles = predict_quantiles(saved.quantile_models, predictors, schema["fractions"])
    to_errors = functools.partial(measure_errors_ahead, reference=reference)
    bases = build_bases(quantiles, predicted, median, to_errors)
    for end, compute_offsets in (("", place_intervals), ("_band", place_band)):
        for (name, side), offsets in compute_offsets(calibration, bases, table.index).items():
            centre = table[name] if name in TARGETS else 0.0
            table[f"{name}{end}_{side}"] = centre + offsets
    not_negative = [name for name in table if name.startswith(("duration", "distance"))]
    table[not_negative] = table[not_negative].clip(lower=0)
    heights = [name for name in table if name.startswith("altitude")]
    ceilings = predictors["aircraft_type"].map(_find_ceiling).fillna(saved.card["highest"])
    ceilings = ceilings.reindex(table.index.get_level_values("path")).set_axis(table.index)
    table[heights] = table[heights].clip(lower=_LOWEST).clip(upper=ceilings, axis=0)
    return table


def to_geojson(trajectory: pd.DataFrame, flown: pd.DataFrame | None = None) -> dict:
    """Return a predicted trajectory as GeoJSON: the line, and the regions of the position.

    Parameters
    ----------
    trajectory
        As returned by `predict_trajectory`.
    flown
        Longitude and latitude by fraction, where known.

    Returns
    -------
    dict
        A FeatureCollection in degrees: ``predicted``, a LineString with the numbers of each point
        as properties; ``interval`` and ``band``, MultiPolygons; ``flown``, a LineString.
    """
    numbers = {name: trajectory[name].round(5).tolist() for name in trajectory}
    numbers["fraction"] = trajectory.index.tolist()
    features = [_feature("predicted", "LineString", _line(trajectory), numbers)]
    for name, end in (("interval", ""), ("band", "_band")):
        rings = [np.vstack([ring, ring[:1]]) for ring in find_regions(trajectory, end)]
        polygons = [[ring.round(5).tolist()] for ring in rings]
        features.append(_feature(name, "MultiPolygon", polygons, {}))
    if flown is not None:
        features.append(_feature("flown", "LineString", _line(flown.dropna()), {}))
    return {"type": "FeatureCollection", "features": features}


def fingerprint_flights(flights: pd.DataFrame) -> str:
    """Return a digest of the paths and sizes of the training files of a model."""
    files = flights[["path", "size"]].sort_values("path").to_json(orient="values")
    return hashlib.sha256(files.encode()).hexdigest()


def keep_ahead(
    targets: pd.DataFrame, predictors: pd.DataFrame, feature_set: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the targets at fractions that most flights have ahead, with and without flown ones.

    At other fractions too few flights are left for training and calibration.
    """
    targets = targets[match_flights(targets.index, predictors.index)]
    fractions = targets.index.unique("fraction")
    unflown = keep_unflown(targets, fractions, prediction_minutes(feature_set))
    return targets.loc[unflown.index], unflown


@functools.cache
def _find_ceiling(aircraft_type: str) -> float:
    """Return the ceiling [ft] of an ICAO type, NaN if OpenAP does not have it."""
    from openap import prop  # imports scipy.signal, which takes a second

    try:
        return prop.aircraft(aircraft_type, use_synonym=True)["ceiling"] / 0.3048
    except (ValueError, AttributeError):
        return np.nan


def _train_again(card: Mapping) -> str:
    origin, _, destination = str(card.get("pair", "ORIGIN-DESTINATION")).partition("-")
    return (
        "train it again: python -m trajlib report --archive ARCHIVE "
        f"--origin {origin} --destination {destination} --stage 07_prediction"
    )


def _find_kinds(predictors: pd.DataFrame, expected: Mapping[str, str]) -> dict[str, str]:
    """Return ``text`` or ``number`` for each predictor; the expected kind if all are missing."""
    text = set(text_columns(predictors))
    kinds = {name: "text" if name in text else "number" for name in predictors}
    for name in predictors.columns[predictors.isna().all()]:
        kinds[name] = expected.get(name, kinds[name])
    return kinds


def _describe_days(days: pd.Series) -> Days:
    return {
        "flights": len(days),
        "days": int(days.nunique()),
        "first": f"{days.min():%Y-%m-%d}",
        "last": f"{days.max():%Y-%m-%d}",
    }


def _describe_training(training: pd.DataFrame, targets: pd.DataFrame) -> dict:
    hours = training["hour"].astype(int).value_counts().reindex(range(24), fill_value=0)
    trained = match_flights(targets.index, training.index)
    positions = targets.loc[trained, ["latitude", "longitude"]]
    return {
        "categories": {
            name: sorted(training[name].dropna().unique().tolist())
            for name in text_columns(training)
        },
        "hours": hours.tolist(),
        "highest": float(targets["altitude"].max()),
        "usual": positions.groupby(level="fraction").median().round(5).to_dict("list"),
    }


def _describe_calibration(calibration: Calibration) -> dict:
    return {
        "methods": calibration.methods,
        "intervals": _to_lists(calibration.offsets),
        "band": _to_lists(calibration.band_offsets),
        "band_factor": calibration.band_factor,
    }


def _to_lists(offsets: pd.DataFrame) -> dict:
    names = offsets.columns.unique(0)
    return {n: {s: offsets[n, s].tolist() for s in ("low", "high")} for n in names}


def _read_calibration(card: Card) -> Calibration:
    fractions = pd.Index(card["schema"]["fractions"], name="fraction")
    offsets, band_offsets = (
        pd.concat({name: pd.DataFrame(sides, fractions) for name, sides in part.items()}, axis=1)
        for part in (card["intervals"], card["band"])
    )
    return Calibration(card["methods"], offsets, band_offsets, card["band_factor"])


def _write_card(card: Mapping) -> str:
    return json.dumps(card, indent=1)


def _digest(card: Mapping) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _line(trajectory: pd.DataFrame) -> list[list[float]]:
    return trajectory[["longitude", "latitude"]].round(5).to_numpy().tolist()


def _feature(name: str, kind: str, coordinates: list, numbers: dict) -> dict:
    return {
        "type": "Feature",
        "properties": {"name": name, **numbers},
        "geometry": {"type": kind, "coordinates": coordinates},
    }
