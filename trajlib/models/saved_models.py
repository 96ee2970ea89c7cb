"""A saved model and a flight in, a predicted trajectory with its intervals out.

A saved model is a folder of two files: ``model.skops``, the joint model without pickle, which
would run what it reads; and ``card.json``, which says what it was trained on, what it may be
given, how good it is and how wide its intervals are.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd
import skops.io
from sklearn import __version__ as sklearn_version
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.archive.storage import replacing
from trajlib.features.feature_sets import check_no_leakage, prediction_minutes
from trajlib.features.targets import TARGETS, keep_unflown, match_flights
from trajlib.models.estimators import text_columns
from trajlib.models.prediction_intervals import (
    calibrate_band,
    calibrate_intervals,
    find_regions,
    signed_errors,
    split_days,
    widen_to_band,
)
from trajlib.models.training import stack_targets, widen_targets
from trajlib.trajectories.normalization import courses

__all__ = [
    "SavedModel",
    "fingerprint_flights",
    "load_model",
    "predict_trajectory",
    "save_model",
    "to_geojson",
    "train_model",
]

TRUSTED = [  # all that is in a saved model beyond what skops trusts by itself
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMRegressor",
    "sklearn.tree._tree.Tree",
    "trajlib.models.estimators.text_columns",
]
BAND = ["along", "cross", "altitude", "duration"]
_SCHEMA = 2  # of the card; changes when a card of another form would be misread
_LOWEST = -1500.0  # ft; no airport lies so low


class SavedModel(NamedTuple):
    """A trained joint model and its card."""

    model: Pipeline
    card: dict


def train_model(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    *,
    feature_set: str,
    level: float = 0.9,
    seed: int | None = 0,
    **facts: object,
) -> SavedModel:
    """Return a joint model trained on some days, its intervals calibrated on others.

    Parameters
    ----------
    model
        Untrained, as of `trajlib.models.estimators.build_model`.
    predictors, targets
        As of `trajlib.features`; flights that do not reach every fraction are left out. A model
        of flights under way has the fractions that more than half of them have still ahead.
    days
        The local day of each flight, by path; flights without one are left out. Three in four
        are trained on, the others make the intervals and widen them to a band; ``seed`` says
        which.
    facts
        What the card shall tell besides: ``pair``, ``by``, ``scores``, and how many flights of
        other pairs, ``others``, told of runways and wind.

    Raises
    ------
    ValueError
        When a predictor is outside the feature_set, or there are too few days.
    """
    check_no_leakage(predictors, feature_set)
    predictors = predictors[predictors.index.isin(days.index)]
    targets, asked = _often_ahead(targets, predictors, feature_set)
    wide = widen_targets(targets)
    wide = wide.loc[wide.index.intersection(predictors.index, sort=False)]
    train, held_out = split_days(days[wide.index], (0.75, 0.25), seed=seed)
    trained, predicted = _fit(
        model, predictors.loc[train], wide.loc[train], predictors.loc[held_out]
    )
    errors = signed_errors(predicted, asked).dropna()
    intervals, band = _calibrate(errors, days, level, seed)
    parts = {"trained on": train, "calibrated on": held_out}
    card = {
        "schema": _schema(predictors, targets),
        "feature_set": feature_set,
        "level": level,
        **facts,
        "split": {name: _describe_days(days[part]) for name, part in parts.items()}
        | {"seed": seed},
        "known": _known(predictors.loc[train]),
        "intervals": _to_lists(intervals),
        "band": _to_lists(band),
        "versions": {"scikit-learn": sklearn_version, "skops": skops.__version__},
    }
    return SavedModel(trained, card)


def save_model(saved: SavedModel, folder: str | Path) -> None:
    """Write a model and its card; the card holds the digests of the model's file and its own."""
    folder = Path(folder)
    blob = skops.io.dumps(saved.model, compression=ZIP_DEFLATED)
    card = {**saved.card, "sha256": hashlib.sha256(blob).hexdigest()}
    card["card_sha256"] = _digest(card)
    with replacing(folder / "model.skops") as temporary:
        temporary.write_bytes(blob)
    with replacing(folder / "card.json") as temporary:
        temporary.write_text(_write_card(card), "utf-8")


def load_model(folder: str | Path) -> SavedModel:
    """Return a saved model, once it is certain that it is the one that its card tells of.

    Raises
    ------
    ValueError
        When a file was changed since it was saved, holds a type that is not trusted, or was made
        by another version of the card's schema or of scikit-learn.
    OSError
        When a file is not there.
    """
    folder = Path(folder)
    changed = f"{folder.name}/card.json was changed since it was saved"
    try:
        text = (folder / "card.json").read_text("utf-8")
        card = json.loads(text)
    except ValueError as error:  # no longer text, or no JSON
        raise ValueError(changed) from error
    if _write_card(card) != text or card.pop("card_sha256", None) != _digest(card):
        raise ValueError(changed)
    if card["schema"]["version"] != _SCHEMA or card["schema"]["targets"] != list(TARGETS):
        raise ValueError(f"{folder.name} was saved with another schema; train it again")
    version = card["versions"]["scikit-learn"]
    if version != sklearn_version:
        raise ValueError(
            f"{folder.name} was saved with scikit-learn {version}, here it is {sklearn_version}; "
            "train it again"
        )
    check_no_leakage(card["schema"]["predictors"], card["feature_set"])
    blob = (folder / "model.skops").read_bytes()
    if hashlib.sha256(blob).hexdigest() != card["sha256"]:
        raise ValueError(f"{folder.name}/model.skops is not the file that its card tells of")
    foreign = set(skops.io.get_untrusted_types(file=io.BytesIO(blob))) - set(TRUSTED)
    if foreign:
        raise ValueError(f"{folder.name}/model.skops holds {', '.join(sorted(foreign))}: refused")
    return SavedModel(skops.io.loads(blob, trusted=TRUSTED), card)


def predict_trajectory(saved: SavedModel, predictors: pd.DataFrame) -> pd.DataFrame:
    """Return the predicted trajectory of one flight, its intervals and its band.

    Parameters
    ----------
    predictors
        One row, the columns that the model was trained with.

    Returns
    -------
    DataFrame
        Indexed by ``fraction``: the targets, ``<target>_low`` and ``<target>_high``, the position
        also as ``along`` and ``cross`` [NM] from the predicted one, and ``<name>_band_low`` and
        ``_band_high``, which hold the whole trajectory in all of ``BAND``. ``course`` [deg].
        No time and no distance is below 0, no altitude below any airport's.
        Of a flight under way, the fractions that it has still ahead.

    Raises
    ------
    ValueError
        When the columns or their kinds are others than those trained with, or the flight has
        passed every fraction.
    """
    schema = saved.card["schema"]
    given = _kinds(predictors, schema["predictors"])
    if given != schema["predictors"]:
        raise ValueError(f"predictors {given}, expected {schema['predictors']}")
    columns = pd.MultiIndex.from_product([schema["targets"], schema["fractions"]])
    columns = columns.set_names([None, "fraction"])
    wide = pd.DataFrame(saved.model.predict(predictors), predictors.index, columns)
    stacked = stack_targets(wide)
    reached = predictors.filter(regex=r"^progress_at_\d+$").max(axis=1).fillna(0.0).iloc[0]
    table = stacked.droplevel("path")
    table["course"] = courses(stacked)
    for end, key in (("", "intervals"), ("_band", "band")):
        for name, sides in saved.card[key].items():
            centre = table[name] if name in TARGETS else 0.0
            for side, offsets in sides.items():
                table[f"{name}{end}_{side}"] = centre + np.array(offsets)
    least = [name for name in table if name.startswith(("duration", "distance"))]
    table[least] = table[least].clip(lower=0)
    heights = [name for name in table if name.startswith("altitude")]
    table[heights] = table[heights].clip(lower=_LOWEST)
    if reached >= table.index[-1]:
        raise ValueError(f"the flight has passed {table.index[-1]:.0%}: nothing is left to predict")
    return table[table.index > reached]


def to_geojson(trajectory: pd.DataFrame, flown: pd.DataFrame | None = None) -> dict:
    """Return a predicted trajectory as GeoJSON: the line, and where the position may be.

    Parameters
    ----------
    trajectory
        As of `predict_trajectory`.
    flown
        Longitude and latitude by fraction, where known.

    Returns
    -------
    dict
        A FeatureCollection: ``predicted`` a LineString, each point's numbers among its
        properties, ``interval`` and ``band`` MultiPolygons, ``flown`` a LineString. Degrees.
    """
    numbers = {name: trajectory[name].round(5).tolist() for name in trajectory}
    numbers["fraction"] = trajectory.index.tolist()
    features = [_feature("predicted", "LineString", _line(trajectory), numbers)]
    for name, end in (("interval", ""), ("band", "_band")):
        rings = find_regions(trajectory, end)
        closed = [[[*map(list, ring.round(5)), list(ring[0].round(5))]] for ring in rings]
        features.append(_feature(name, "MultiPolygon", closed, {}))
    if flown is not None:
        features.append(_feature("flown", "LineString", _line(flown.dropna()), {}))
    return {"type": "FeatureCollection", "features": features}


def fingerprint_flights(flights: pd.DataFrame) -> str:
    """Return a digest of the paths and sizes of the files that a model was trained on."""
    files = flights[["path", "size"]].sort_values("path").to_json(orient="values")
    return hashlib.sha256(files.encode()).hexdigest()


def _often_ahead(
    targets: pd.DataFrame, predictors: pd.DataFrame, feature_set: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    # at fractions that most flights have passed too few are left to learn and to calibrate from
    targets = targets[match_flights(targets.index, predictors.index)]
    fractions = targets.index.unique("fraction")
    asked = keep_unflown(targets, fractions, prediction_minutes(feature_set))
    return targets.loc[asked.index], asked


def _fit(
    model: Pipeline, predictors: pd.DataFrame, wide: pd.DataFrame, asked: pd.DataFrame
) -> tuple[Pipeline, pd.DataFrame]:
    trained = clone(model).fit(predictors, wide)
    return trained, stack_targets(pd.DataFrame(trained.predict(asked), asked.index, wide.columns))


def _predict(
    model: Pipeline,
    predictors: pd.DataFrame,
    wide: pd.DataFrame,
    asked: pd.DataFrame,
    _: pd.DataFrame,
) -> pd.DataFrame:
    return _fit(model, predictors, wide, asked)[1]


def _calibrate(
    errors: pd.DataFrame, days: pd.Series, level: float, seed: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    # the band grows intervals of one half of the days until they hold flights of the other
    paths = errors.index.unique("path")
    first, second = (_of(errors, half) for half in split_days(days[paths], (0.5, 0.5), seed=seed))
    narrow = calibrate_intervals(first, level)
    factor = calibrate_band(second[BAND], narrow, level)
    return calibrate_intervals(errors, level), widen_to_band(narrow, factor)[BAND]


def _of(errors: pd.DataFrame, paths: pd.Index) -> pd.DataFrame:
    return errors[match_flights(errors.index, paths)]


def _schema(predictors: pd.DataFrame, targets: pd.DataFrame) -> dict:
    return {
        "version": _SCHEMA,
        "predictors": _kinds(predictors, list(predictors)),
        "targets": list(targets),
        "fractions": [float(at) for at in targets.index.unique("fraction")],
    }


def _kinds(predictors: pd.DataFrame, expected: Sequence[str] | Mapping[str, str]) -> dict:
    # a text that is missing has no kind of its own in a single row
    text = set(text_columns(predictors))
    kinds = {name: "text" if name in text else "number" for name in predictors}
    if isinstance(expected, Mapping):
        missing = predictors.columns[predictors.isna().all()]
        kinds |= {name: expected.get(name, kinds[name]) for name in missing}
    return kinds


def _known(predictors: pd.DataFrame) -> dict[str, list[str]]:
    names = text_columns(predictors)
    return {name: sorted(predictors[name].dropna().unique().tolist()) for name in names}


def _describe_days(days: pd.Series) -> dict:
    return {
        "flights": len(days),
        "days": int(days.nunique()),
        "first": f"{days.min():%Y-%m-%d}",
        "last": f"{days.max():%Y-%m-%d}",
    }


def _to_lists(intervals: pd.DataFrame) -> dict:
    names = intervals.columns.unique(0)
    return {n: {s: intervals[n, s].tolist() for s in ("low", "high")} for n in names}


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
