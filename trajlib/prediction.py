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
from sklearn.pipeline import Pipeline

from trajlib.archive import read_flight, replacing
from trajlib.dialect import read_dialect
from trajlib.features import TARGETS, check_knowledge
from trajlib.intervals import (
    calibrate_band,
    calibrate_intervals,
    courses,
    find_regions,
    hold_whole,
    score_intervals,
    signed_errors,
    split_days,
    widen_to_band,
)
from trajlib.models import predict_held_out, stack_targets, text_columns, widen_targets
from trajlib.normalization import resample_flight
from trajlib.progress import PROGRESS
from trajlib.scores import predict_baseline

__all__ = [
    "SavedModel",
    "describe_flight",
    "describe_unknown",
    "fingerprint_flights",
    "load_model",
    "predict_trajectory",
    "read_flown",
    "read_start",
    "save_model",
    "to_geojson",
    "train_model",
    "try_intervals",
]

TRUSTED = [  # all that is in a saved model beyond what skops trusts by itself
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMRegressor",
    "sklearn.tree._tree.Tree",
    "trajlib.models.text_columns",
]
BAND = ["along", "cross", "altitude", "duration"]
_SCHEMA = 1  # of the card; changes when a card of another form would be misread


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
    knowledge: str,
    level: float = 0.9,
    seed: int | None = 0,
    **facts: object,
) -> SavedModel:
    """Return a joint model trained on some days, its intervals calibrated on others.

    Parameters
    ----------
    model
        Untrained, as of `trajlib.models.build_model`.
    predictors, targets
        As of `trajlib.features`; flights that do not reach every fraction are left out.
    days
        The local day of each flight, by path. Three in five are trained on, one in five widens
        the intervals to a band, one in five calibrates both; ``seed`` says which.
    facts
        What the card shall tell besides: ``pair``, ``by``, ``scores``, ``flights``.

    Raises
    ------
    ValueError
        When a predictor is outside the knowledge, or there are too few days.
    """
    check_knowledge(predictors, knowledge)
    wide = widen_targets(targets)
    wide = wide.loc[wide.index.intersection(predictors.index, sort=False)]
    parts = split_days(days[wide.index], seed=seed)
    trained = model.fit(predictors.loc[parts[0]], wide.loc[parts[0]])
    errors = [_errors_of(trained, predictors.loc[part], wide.loc[part]) for part in parts[1:]]
    intervals = calibrate_intervals(pd.concat(errors), level)
    half = calibrate_intervals(errors[0], level)
    factor = calibrate_band(errors[1][BAND], half, level)
    names = ("trained on", "calibrated on", "and the band on")
    told = zip(names, parts, strict=True)
    card = {
        "schema": _schema(predictors, targets),
        "knowledge": knowledge,
        "level": level,
        **facts,
        "split": {name: _describe_days(days[part]) for name, part in told} | {"seed": seed},
        "known": _known(predictors.loc[parts[0]]),
        "intervals": _to_lists(intervals),
        "band": _to_lists(widen_to_band(half, factor)[BAND]),
        "versions": {"scikit-learn": sklearn_version, "skops": skops.__version__},
    }
    return SavedModel(trained, card)


def try_intervals(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    *,
    knowledge: str,
    level: float = 0.9,
    seed: int | None = 0,
) -> tuple[pd.DataFrame, float]:
    """Return what intervals and band are worth on days that neither trained nor calibrated them.

    Parameters
    ----------
    seed
        Of the days trained on, calibrated on and asked about; None takes them in order of time.

    Returns
    -------
    tuple
        `score_intervals` by ``interval``: ``conformal``, and ``naive``, the quantiles of the
        training flights around their median; and the share of flights that the band holds whole.
    """
    train, calibrate, asked = split_days(days[predictors.index], seed=seed)
    split = [(train, calibrate.append(asked))]
    predicted = predict_held_out(model, predictors, targets, split, knowledge=knowledge, joint=True)
    median = predict_baseline(targets, [(train, train.append(asked))], "median")
    own, naive = (signed_errors(table, targets).dropna() for table in (predicted, median))
    of, base = (table.index.get_level_values("path") for table in (own, naive))
    halves = split_days(days[calibrate], (0.5, 0.5), seed=seed)
    first, second = (own[of.isin(half)] for half in halves)
    errors = own[of.isin(asked)]
    half = calibrate_intervals(first, level)
    band = widen_to_band(half, calibrate_band(second[BAND], half, level))
    intervals = calibrate_intervals(own[of.isin(calibrate)], level)
    simple = calibrate_intervals(naive[base.isin(train)], level)
    scores = {
        "conformal": score_intervals(errors, intervals, level),
        "naive": score_intervals(naive[base.isin(asked)], simple, level),
    }
    return pd.concat(scores, names=["interval"]), hold_whole(errors[BAND], band)


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
    text = (folder / "card.json").read_text("utf-8")
    card = json.loads(text)
    if _write_card(card) != text or card.pop("card_sha256", None) != _digest(card):
        raise ValueError(f"{folder.name}/card.json was changed since it was saved")
    if card["schema"]["version"] != _SCHEMA or card["schema"]["targets"] != list(TARGETS):
        raise ValueError(f"{folder.name} was saved with another schema; train it again")
    version = card["versions"]["scikit-learn"]
    if version != sklearn_version:
        raise ValueError(
            f"{folder.name} was saved with scikit-learn {version}, here it is {sklearn_version}; "
            "train it again"
        )
    check_knowledge(card["schema"]["predictors"], card["knowledge"])
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

    Raises
    ------
    ValueError
        When the columns or their kinds are others than those trained with.
    """
    schema = saved.card["schema"]
    given = _kinds(predictors, schema["predictors"])
    if given != schema["predictors"]:
        raise ValueError(f"predictors {given}, expected {schema['predictors']}")
    columns = pd.MultiIndex.from_product([schema["targets"], schema["fractions"]])
    columns = columns.set_names([None, "fraction"])
    wide = pd.DataFrame(saved.model.predict(predictors), predictors.index, columns)
    stacked = stack_targets(wide)
    table = stacked.droplevel("path")
    table["course"] = courses(stacked)
    for end, key in (("", "intervals"), ("_band", "band")):
        for name, sides in saved.card[key].items():
            centre = table[name] if name in TARGETS else 0.0
            for side, offsets in sides.items():
                table[f"{name}{end}_{side}"] = centre + np.array(offsets)
    least = [name for name in table if name.startswith(("duration", "distance"))]
    table[least] = table[least].clip(lower=0)
    return table


def describe_unknown(saved: SavedModel, predictors: pd.DataFrame, pair: str) -> list[str]:
    """Return, in sentences, what of a flight the model never saw and what it then does."""
    told = []
    if pair != saved.card["pair"]:
        told.append(
            f"The model knows {saved.card['pair']} only: for {pair} it predicts the trajectory "
            f"that the flight would have there, which says nothing of {pair}."
        )
    for name, value in predictors.iloc[0].items():
        known = saved.card["known"].get(name)
        if known is None or value in known:
            continue
        word = name.replace("_", " ")
        said = f"The {word} {value} was" if isinstance(value, str) else f"The {word} is unknown, as"
        if not isinstance(value, str):
            told.append(f"{said} nothing tells it: the model goes by the other predictors.")
            continue
        told.append(
            f"{said} in no flight trained on (there are {', '.join(sorted(known))}): the model "
            "takes it for none of these, goes by the other predictors, and its intervals may "
            "be too narrow."
        )
    return told


def describe_flight(
    pair: tuple[str, str],
    start: pd.Timestamp,
    *,
    callsign: str | None = None,
    operator: str | None = None,
    aircraft_type: str | None = None,
    csv: str | Path | None = None,
) -> pd.DataFrame:
    """Return a flight, with or without a file, as a row of an index.

    The operator is by default the letters that the callsign begins with.

    >>> start = pd.Timestamp("2016-03-01 08:00", tz="UTC")
    >>> describe_flight(("LEMD", "LEBL"), start, callsign="IBE1234")["operator"].item()
    'IBE'
    """
    if operator is None and callsign:
        operator = callsign[:3] if callsign[:3].isalpha() else callsign[:2]
    row = {
        "path": callsign or "flight",
        "archive": None,
        "origin": pair[0],
        "destination": pair[1],
        "callsign": callsign,
        "operator": operator,
        "aircraft_type": aircraft_type,
        "start": start.tz_convert("UTC"),
        "problem": None,
    }
    if csv is not None:
        archive = find_archive(csv)
        row |= {"path": str(Path(csv).absolute().relative_to(archive)), "archive": str(archive)}
    return pd.DataFrame([row])


def read_start(path: str | Path, minutes: float | None = None) -> tuple[pd.DataFrame, dict]:
    """Return the raw samples of a CSV's first minutes, and the identity that they tell.

    Nothing after the cut is in either; without minutes nothing after the first sample. The
    ``columns.toml`` of the nearest folder above the file says how it is to be read.
    """
    df = _read(path)
    since = (df["timestamp"] - df["timestamp"].iloc[0]).dt.total_seconds()
    known = df[since <= 60 * (minutes or 0)]
    names = [name for name in ("callsign", "operator", "aircraft_type") if name in df]
    identity = {name: known[name].iloc[0] for name in names if pd.notna(known[name].iloc[0])}
    return known, identity


def read_flown(path: str | Path, saved: SavedModel) -> pd.DataFrame:
    """Return the trajectory that a CSV tells, at the fractions of a saved model."""
    df = _read(path).select_dtypes("number")
    progress = PROGRESS[saved.card["by"]](df, *saved.card["pair"].split("-"))
    names = [name for name in TARGETS if name in df]
    return resample_flight(df[names], progress, saved.card["schema"]["fractions"])


def find_archive(path: str | Path) -> Path:
    """Return the nearest folder above a CSV that has a ``columns.toml``, else the CSV's own."""
    above = Path(path).absolute().parents
    return next((folder for folder in above if (folder / "columns.toml").exists()), above[0])


def _read(path: str | Path) -> pd.DataFrame:
    told = [
        folder for folder in Path(path).absolute().parents if (folder / "columns.toml").exists()
    ]
    return read_flight(path, dialect=read_dialect(told[0] if told else Path(path).parent))


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


def _errors_of(model: Pipeline, predictors: pd.DataFrame, wide: pd.DataFrame) -> pd.DataFrame:
    predicted = pd.DataFrame(model.predict(predictors), wide.index, wide.columns)
    return signed_errors(stack_targets(predicted), stack_targets(wide))


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
