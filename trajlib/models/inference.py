"""One flight as a question: described, or by a CSV cut at a moment, with what earlier ones tell."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.reading import read_flight
from trajlib.archive.storage import exists, is_remote, resolve
from trajlib.features import feature_sets as features
from trajlib.features.airborne import (
    keep_measured,
    locate_points,
    measure_other_traffic,
    measure_points,
)
from trajlib.features.recent_traffic import HISTORY, collect_recent_traffic
from trajlib.features.targets import TARGETS
from trajlib.models.saved_models import SavedModel
from trajlib.trajectories.normalization import resample_flight
from trajlib.trajectories.progress import PROGRESS

__all__ = [
    "build_flight_predictors",
    "build_flight_row",
    "list_warnings",
    "load_flown",
    "load_samples_until",
    "open_store",
]

_NAMES = ("callsign", "operator", "aircraft_type")
_ENDS = ("origin", "destination")
_OLD = 180.0  # s; points come about once a minute
_RECENT = 500  # flights before one, among which are all that what is recent can come from


def build_flight_row(
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
    >>> build_flight_row(("LEMD", "LEBL"), start, callsign="IBE1234")["operator"].item()
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
        "rejected": None,
    }
    if csv is not None:
        archive = find_archive(csv)
        row |= {"path": _find_name(csv, archive), "archive": resolve(archive)}
    return pd.DataFrame([row])


def load_samples_until(
    path: str | Path, minutes: float | None = None, *, pair: tuple[str, str] | None = None
) -> tuple[pd.DataFrame, dict]:
    """Return the raw samples of a CSV's first minutes, and the identity that they tell.

    Nothing after the cut is in either; without minutes nothing after the first sample. The
    ``columns.toml`` of the nearest folder above the file says how it is to be read.

    Raises
    ------
    ValueError
        When the CSV, or its place, tells another pair of airports than the one that is asked for.
    """
    df = _read(path)
    since = (df["timestamp"] - df["timestamp"].iloc[0]).dt.total_seconds()
    known = df[since <= 60 * (minutes or 0)]
    names = [name for name in (*_NAMES, *_ENDS) if name in df]
    identity = {name: known[name].iloc[0] for name in names if pd.notna(known[name].iloc[0])}
    archive = find_archive(path)
    told = read_dialect(archive).identity(_find_name(path, archive))
    identity |= {name: text for name, text in told.items() if text}
    for name, code in zip(_ENDS, pair or (), strict=False):
        if identity.get(name, code) != code:
            raise ValueError(f"{path}: its {name} is {identity[name]}, and {code} was asked for")
    return known, {name: identity[name] for name in _NAMES if name in identity}


def load_flown(path: str | Path, saved: SavedModel) -> pd.DataFrame:
    """Return the trajectory that a CSV tells, at the fractions of a saved model."""
    df = _read(path)
    progress = PROGRESS[saved.card["by"]](df, *saved.card["pair"].split("-"))
    fractions = saved.card["schema"]["fractions"]
    return resample_flight(df, progress, fractions, columns=TARGETS)


def build_flight_predictors(
    flight: pd.DataFrame,
    feature_set: str,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    samples: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the predictors of one flight, as `predictors` does of many.

    Parameters
    ----------
    flight
        As of `build_flight_row`.
    feature_set
        ``planned``, ``at_takeoff`` or ``airborne_m``.
    past
        Flights of the city pair, rows of its store. Those that began later, and this flight
        itself, are left aside. Without any, what earlier flights tell is missing.
    traffic
        Rows of an index, whose flights of other pairs tell of the runways and of the wind.
    samples
        Of the flight, as of `load_samples_until`; what is later than the moment is not looked at.

    Raises
    ------
    ValueError
        When a flight in flight has no samples.
    """
    known = features.build_predictors(flight, "planned")
    if feature_set == "planned":
        return known
    known = known.join(_recall(flight, past, traffic))
    if feature_set == "at_takeoff":
        return known
    if samples is None:
        raise ValueError(f"what is known {feature_set} is in samples of the flight: there are none")
    so_far = samples[samples["duration"] <= 60 * features.prediction_minutes(feature_set)]
    points = pd.concat({flight["path"].item(): keep_measured(so_far)}, names=["path"])
    return features.join_state(known, locate_points(points, flight), feature_set)


def open_store(folder: str | Path) -> pd.DataFrame | None:
    """Return the flights of a store that was written before, None where there is none."""
    table = Path(folder) / "flights.parquet"
    return (
        pd.read_parquet(table).assign(store=str(table.parent.resolve())) if table.exists() else None
    )


def list_warnings(
    saved: SavedModel, predictors: pd.DataFrame, pair: str, *, traffic: bool = True
) -> list[str]:
    """Return, in sentences, what of a flight the model never saw and what it then does.

    Without ``traffic``, flights of other pairs were not asked.
    """
    return [
        *_unknown_pair(saved, pair),
        *_unknown_words(saved, predictors),
        *_missing(predictors),
        *([] if traffic else _unasked(saved)),
    ]


def find_archive(path: str | Path) -> Path:
    """Return the nearest folder above a CSV that has a ``columns.toml``, else the CSV's own."""
    above = _place(path).parents
    above = above[:-2] if is_remote(path) else above  # a bucket is in no folder
    return next((folder for folder in above if exists(folder / "columns.toml")), above[0])


def _find_name(path: str | Path, archive: Path) -> str:
    return _place(path).relative_to(archive).as_posix()


def _place(path: str | Path) -> Path:
    return Path(path) if is_remote(path) else Path(path).absolute()


def _unknown_pair(saved: SavedModel, pair: str) -> Iterator[str]:
    known = saved.card["pair"]
    if pair != known:
        yield (
            f"The model knows {known} only: it predicts what the flight would do there, which "
            f"says nothing of {pair}."
        )


def _unknown_words(saved: SavedModel, predictors: pd.DataFrame) -> Iterator[str]:
    row = predictors.iloc[0]
    for name, known in saved.card["known"].items():
        word, value = name.replace("_", " "), row[name]
        if not isinstance(value, str):
            yield f"The {word} is not told: the model goes by the other predictors."
        elif value not in known:
            yield (
                f"The {word} {value} was in no flight trained on "
                f"(there are {', '.join(sorted(known)) or 'none'}): the model takes it for none of "
                "these, goes by the other predictors, and its intervals may be too narrow."
            )


def _missing(predictors: pd.DataFrame) -> Iterator[str]:
    told = {
        "recent_": "what flights before this one did on the way",
        "callsign_": "what this flight number did before",
    }
    for prefix, what in told.items():
        own = predictors[[name for name in predictors if name.startswith(prefix)]]
        if own.size and own.isna().all(axis=None):
            yield f"No archive tells {what}: the model goes by the other predictors."
    for name, age in predictors.filter(regex=r"^age_at_\d+$").iloc[0].items():
        if not age <= _OLD:
            yield (
                f"At {name.removeprefix('age_at_')} min the last point measured is "
                + (f"{age:.0f} s old: what it did since is not known." if age > 0 else "missing.")
            )


def _unasked(saved: SavedModel) -> Iterator[str]:
    others = saved.card.get("others", 0)
    if others and saved.card["feature_set"] != "planned":
        yield (
            f"{others:,} flights of other pairs told the model of runways and wind: without the "
            "archive they are not asked."
        )


def _read(path: str | Path) -> pd.DataFrame:
    return read_flight(path, dialect=read_dialect(find_archive(path)))


def _recall(
    flight: pd.DataFrame, past: pd.DataFrame | None, traffic: pd.DataFrame | None
) -> pd.DataFrame:
    row = flight.iloc[0]
    if past is not None:
        past = past[past["rejected"].isna() & (past["start"] < row["start"])]
        past = past[past["path"] != row["path"]].sort_values("start", kind="stable")
        same = past["callsign"] == row["callsign"]
        past = past[same | (past["start"].rank(ascending=False, method="first") <= _RECENT)]
    if past is None or past.empty:
        return pd.DataFrame(float("nan"), [row["path"]], list(HISTORY))
    points = measure_points(past)
    around = measure_other_traffic(flight, traffic)
    both = pd.concat([past, flight.astype({"start": past["start"].dtype})], ignore_index=True)
    return collect_recent_traffic(both, points, around).loc[[row["path"]]]
