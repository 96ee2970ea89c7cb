"""Inference: features and prediction for given flights, described or read from a CSV."""

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.plans import select_plans
from trajlib.archive.reading import read_flight
from trajlib.archive.storage import exists, is_remote, resolve
from trajlib.archive.store import derived_path, save_derived
from trajlib.archive.values import find_operator
from trajlib.cluster import current_client
from trajlib.estimate import count
from trajlib.features import feature_sets as features
from trajlib.features.airborne import (
    keep_measured,
    load_other_traffic,
    locate_points,
    measure_points,
)
from trajlib.features.recent_traffic import (
    HISTORY,
    OLDEST,
    collect_recent_traffic,
    select_recent,
)
from trajlib.features.targets import TARGETS, match_flights
from trajlib.features.wind import to_nanoseconds
from trajlib.geodesy import distance, find_airport, locate_airport, unwrap_longitude
from trajlib.models.prediction_intervals import MIN_DAYS, TOLERANCE
from trajlib.models.saved_models import SavedModel, predict_trajectories, predict_trajectory
from trajlib.trajectories.normalization import resample_flight
from trajlib.trajectories.progress import PROGRESS

__all__ = [
    "FlightPrediction",
    "build_flight_predictors",
    "build_flight_row",
    "choose_feature_set",
    "has_recent_flights",
    "list_warnings",
    "load_flight_table",
    "load_flown",
    "load_samples_until",
    "minutes_in_air",
    "open_store",
    "parse_time",
    "predict_flight",
    "predict_flights",
]

_IDENTITY = ("callsign", "operator", "aircraft_type")
_ENDS = ("origin", "destination")
_OLD = 180.0  # s; points usually come about once a minute
_SLACK = 31  # days before and after the training data without a warning
_RARE_HOUR = 0.005  # share of the training flights within an hour before or after
_ARRIVED = 15.0  # NM from the destination within which a record counts as complete
_YEARS = (1900, 2200)
_SPLITS = {  # in words, the days on which a model was scored
    "random days": "held-out days, drawn at random from the whole period",
    "forward in time": "the last days, with a model of the days before",
}
_CALENDAR = {  # of categories, the order in which they are named
    "month": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
}
_TIME_FORMS = (
    "2016-03-05T07:00 (UTC), 2016-03-05T07:00+01:00, 'tomorrow 07:00', 'today 07:00' or 'now'; "
    "add ' local' for the local time of the origin"
)


@dataclass(frozen=True)
class FlightPrediction:
    """The prediction of one flight.

    Attributes
    ----------
    flight
        Row of the flight, as returned by `build_flight_row`.
    trajectory
        As returned by `predict_trajectory`; its last row is the end of the flight.
    feature_set
        Feature set of the model.
    level
        Coverage of the intervals.
    warnings
        Sentences about limits of the prediction, as returned by `list_warnings`.
    usual
        Median positions of the training flights, by fraction.
    plan
        Waypoints of the filed plan that was used; None without one.
    """

    flight: pd.Series
    trajectory: pd.DataFrame
    feature_set: str
    level: float
    warnings: list[str]
    usual: pd.DataFrame
    plan: pd.DataFrame | None = None

    @property
    def arrival(self) -> dict[str, pd.Timestamp]:
        """Arrival of the flight (UTC): ``time``, ``low`` and ``high``."""
        end = self.trajectory.iloc[-1]
        columns = {"time": "duration", "low": "duration_low", "high": "duration_high"}
        return {
            name: self.flight["start"] + pd.Timedelta(end[column], "s")
            for name, column in columns.items()
        }

    def describe(self) -> list[str]:
        """Return the prediction in sentences: the flight, its take-off and its arrival."""
        flight, arrival = self.flight, self.arrival
        start, end = (find_airport(flight[side]).timezone for side in _ENDS)
        names = [flight[name] for name in ("callsign", "aircraft_type") if flight[name]]
        names.append(f"{flight['origin']} → {flight['destination']}")
        day = f"{flight['start']:%A %d %B %Y}".replace(" 0", " ")
        minutes = self.trajectory.iloc[-1] / 60
        return [
            f"{', '.join(names)}, {day} (UTC)",
            f"take-off {_clock(flight['start'], start)}, in the air",
            f"arrival  {_clock(arrival['time'], end)}, {self.level:.0%} between "
            f"{arrival['low']:%H:%M} and {arrival['high']:%H:%M} UTC",
            f"         {minutes['duration']:.1f} min after take-off "
            f"({minutes['duration_low']:.1f} to {minutes['duration_high']:.1f})",
        ]

    def _repr_markdown_(self) -> str:
        lines = self.describe() + [f"*{line}*" for line in self.warnings]
        return "  \n".join(lines)


def parse_time(text: str, origin: str, *, now: pd.Timestamp | None = None) -> pd.Timestamp:
    """Return a time given in words or as ISO 8601, in UTC.

    Parameters
    ----------
    text
        As ``2016-03-05T07:00``, ``tomorrow 07:00``, ``today 07:00`` or ``now``; UTC unless it
        ends with an offset or with `` local``, the local time of the origin.
    origin
        Airport code.
    now
        By default the current time.

    Raises
    ------
    ValueError
        When the text is none of these; the message lists the forms.

    >>> now = pd.Timestamp("2026-11-28T12:00Z")
    >>> print(parse_time("tomorrow 07:00 local", "LEMD", now=now))
    2026-11-29 06:00:00+00:00
    """
    now = pd.Timestamp.now("UTC").floor("s") if now is None else now
    words = text.strip().lower().split()
    local = words[-1:] == ["local"]
    zone = find_airport(origin).timezone if local else "UTC"
    words = words[:-1] if local else words
    days = {"today": 0, "tomorrow": 1}
    try:
        if words == ["now"]:
            return now
        if len(words) == 2 and words[0] in days:
            day = now.tz_convert(zone).normalize().tz_localize(None)
            clock = dt.time.fromisoformat(words[1].zfill(5))
            time = pd.Timestamp.combine(day + pd.Timedelta(days[words[0]], "D"), clock)
        else:
            time = pd.Timestamp.fromisoformat(" ".join(words).upper())
        time = time if time.tzinfo else time.tz_localize(zone)
        if not _YEARS[0] <= time.year < _YEARS[1]:
            raise ValueError
        return time.tz_convert("UTC")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is not a time that can be used; expected {_TIME_FORMS}"
        ) from error


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

    By default the operator is that of the callsign, see `trajlib.archive.values.find_operator`.

    >>> start = pd.Timestamp("2016-03-01 08:00", tz="UTC")
    >>> build_flight_row(("LEMD", "LEBL"), start, callsign="IBE1234")["operator"].item()
    'IBE'
    """
    row = {
        "path": callsign or "flight",
        "archive": None,
        "origin": pair[0],
        "destination": pair[1],
        "callsign": callsign,
        "operator": operator or find_operator(callsign or ""),
        "aircraft_type": aircraft_type,
        "start": start.tz_convert("UTC"),
        "rejected": None,
    }
    if csv is not None:
        archive, row["path"] = _find_archive(csv)
        row["archive"] = resolve(archive)
    return pd.DataFrame([row])


def load_flight_table(path: str | Path, pair: tuple[str, str]) -> pd.DataFrame:
    """Return the flights that a CSV lists, one per line, as rows of an index.

    Parameters
    ----------
    path
        CSV with a column ``time`` (see `parse_time`) and any of ``callsign``, ``operator`` and
        ``aircraft_type``. Other columns are ignored.
    pair
        Origin and destination of all flights.

    Raises
    ------
    ValueError
        When the file is no CSV, has no flight or no column ``time``, or a time cannot be read;
        the message names the line.
    """
    try:
        table = pd.read_csv(path, dtype=str).replace({float("nan"): None})
    except ValueError as error:  # also of an empty file, another encoding or cut lines
        raise ValueError(f"{path} is no CSV that can be read: {error}") from error
    if table.empty:
        raise ValueError(f"{path}: no flight below the header")
    if "time" not in table:
        raise ValueError(
            f"{path}: expected a column time, and any of {', '.join(_IDENTITY)}; it has "
            + ", ".join(table.columns)
        )
    names = [f"{path}, line {line}" for line in range(2, len(table) + 2)]
    starts = []
    for name, text in zip(names, table["time"], strict=True):
        try:
            starts.append(parse_time(text or "", pair[0]))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    rows = table.reindex(columns=list(_IDENTITY)).astype(object)
    rows["operator"] = rows["operator"].fillna(rows["callsign"].map(find_operator, "ignore"))
    rows = rows.where(rows.notna(), None).assign(path=names, start=pd.DatetimeIndex(starts))
    return rows.assign(origin=pair[0], destination=pair[1], rejected=None, archive=None)


def load_samples_until(
    path: str | Path, minutes: float | None = None, *, pair: tuple[str, str] | None = None
) -> tuple[pd.DataFrame, dict]:
    """Return the raw samples of a CSV's first minutes, and the identity in them.

    Later samples are not used; without minutes only the first sample is. The ``columns.toml`` of
    the nearest folder above the file describes its columns.

    Raises
    ------
    ValueError
        When the CSV, or its folder, names another pair of airports than the given one.
    """
    df = _read(path, minutes or None)
    since = (df["timestamp"] - df["timestamp"].iloc[0]).dt.total_seconds()
    samples = df[since <= 60 * (minutes or 0)]
    identity = samples.iloc[0].reindex([*_IDENTITY, *_ENDS]).dropna().to_dict()
    archive, name = _find_archive(path)
    from_path = read_dialect(archive).identity(name)
    identity |= {name: text for name, text in from_path.items() if text}
    for name, code in zip(_ENDS, pair or (), strict=False):
        if locate_airport(identity.get(name, code)) != locate_airport(code):
            raise ValueError(f"{path}: its {name} is {identity[name]}, expected {code}")
    return samples, {name: identity[name] for name in _IDENTITY if name in identity}


def load_flown(path: str | Path, saved: SavedModel) -> pd.DataFrame:
    """Return the trajectory in a CSV at the fractions of a saved model."""
    df = _read(path)
    origin, destination = saved.card["pair"].split("-")
    progress = PROGRESS[saved.card["by"]](df, origin, destination)
    fractions = saved.card["schema"]["fractions"]
    flown = resample_flight(df, progress, fractions, columns=TARGETS)
    if fractions[-1] == 1.0 and minutes_in_air(path, destination) is None:
        flown.loc[1.0] = df[list(flown)].iloc[-1]
    centre = find_airport(origin).longitude  # as in training
    return flown.assign(longitude=unwrap_longitude(flown["longitude"], centre))


def minutes_in_air(path: str | Path, destination: str) -> float | None:
    """Return how long the flight of a CSV has been in the air [min]; None if it has arrived."""
    last = _read(path)[["duration", "latitude", "longitude"]].iloc[-1]
    end = find_airport(destination).position
    miles = distance(last["latitude"], last["longitude"], *end)
    return last["duration"] / 60 if miles > _ARRIVED else None


def has_recent_flights(past: pd.DataFrame | None, starts: pd.Series) -> pd.Series:
    """Return for each take-off whether a flight of the pair had landed in the week before.

    Without one, nothing is known about recent traffic. The model ``planned`` then predicts better
    than ``at_takeoff``, which has seen few such flights in training.

    Parameters
    ----------
    past
        Flights of the city pair, rows of its store; None without any.
    starts
        Times of take-off (UTC).
    """
    if past is None:
        return pd.Series(False, starts.index)
    landed = np.sort(to_nanoseconds(past.loc[past["rejected"].isna(), "end"].dropna()))
    week = pd.Timedelta(OLDEST, "h").value
    moments = to_nanoseconds(starts)
    earlier, older = (np.searchsorted(landed, each) for each in (moments, moments - week))
    return pd.Series(earlier > older, starts.index)


def choose_feature_set(
    past: pd.DataFrame | None, start: pd.Timestamp, minutes: float | None = None
) -> str:
    """Return the feature set to predict a flight from, some minutes after its take-off."""
    if minutes:
        return f"airborne_{minutes:g}"
    recent = has_recent_flights(past, pd.Series([start])).item()
    return "at_takeoff" if recent else "planned"


def build_flight_predictors(
    flights: pd.DataFrame,
    feature_set: str,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    samples: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the predictors of given flights, as `build_predictors` does for an archive.

    Parameters
    ----------
    flights
        As returned by `build_flight_row` or `load_flight_table`.
    feature_set
        ``planned``, ``at_takeoff`` or ``airborne_m``.
    past
        Flights of the city pair, rows of its store. Later flights and the given flights themselves
        are not used. Without any, recent traffic is missing.
    traffic
        Rows of an index; flights of other pairs contribute to runways and wind.
    samples
        Samples of a single flight, as returned by `load_samples_until`; samples after the
        prediction time are not used.
    plans
        Filed flight plans, as returned by `trajlib.archive.plans.read_plans`; the last one filed
        by the prediction time is used. By default there are no predictors from plans.

    Raises
    ------
    ValueError
        When an airborne flight has no samples.
    """
    predictors = features.build_predictors(flights, "planned")
    if feature_set != "planned":
        predictors = predictors.join(_collect_history(flights, past, traffic))
    if feature_set not in ("planned", "at_takeoff"):
        if samples is None:
            raise ValueError(
                f"the predictors {feature_set} need samples of the flight: give its CSV"
            )
        so_far = samples[samples["duration"] <= 60 * features.prediction_minutes(feature_set)]
        points = pd.concat({flights["path"].item(): keep_measured(so_far)}, names=["path"])
        predictors = features.join_state(predictors, locate_points(points, flights), feature_set)
    if plans is not None:
        predictors = features.join_plans(predictors, plans, flights, feature_set)
    return predictors


def predict_flight(
    saved: SavedModel,
    flight: pd.DataFrame,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    samples: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
) -> FlightPrediction:
    """Return the prediction of one flight by a saved model.

    Parameters
    ----------
    flight, past, traffic, samples, plans
        As for `build_flight_predictors`.
    """
    feature_set = saved.card["feature_set"]
    predictors = build_flight_predictors(
        flight, feature_set, past=past, traffic=traffic, samples=samples, plans=plans
    )
    (warnings,) = _list_warnings_by_flight(saved, flight, predictors, past, traffic)
    waypoints = None
    if plans is not None:
        waypoints = select_plans(plans, flight, minutes=features.prediction_minutes(feature_set))
    return FlightPrediction(
        flight.iloc[0],
        predict_trajectory(saved, predictors),
        feature_set,
        saved.card["level"],
        warnings,
        usual=pd.DataFrame(saved.card["usual"]),
        plan=waypoints,
    )


def predict_flights(
    saved: SavedModel,
    flights: pd.DataFrame,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the arrivals of many flights, in the rows of the given table.

    Parameters
    ----------
    flights
        As returned by `load_flight_table`.
    past, traffic, plans
        As for `build_flight_predictors`.

    Returns
    -------
    DataFrame
        Identity; ``takeoff``, ``arrival``, ``arrival_low`` and ``arrival_high`` (UTC),
        ``takeoff_local`` and ``arrival_local``; ``minutes`` from take-off to arrival with
        ``minutes_low`` and ``minutes_high``; and ``warnings``, as one text.
    """
    predictors = build_flight_predictors(
        flights, saved.card["feature_set"], past=past, traffic=traffic, plans=plans
    )
    ends = predict_trajectories(saved, predictors).groupby(level="path", sort=False).tail(1)
    ends = ends.droplevel("fraction").loc[flights["path"]]
    table = flights[[*_IDENTITY, *_ENDS]].assign(takeoff=flights["start"].dt.floor("s"))
    for side in ("", "_low", "_high"):
        seconds = ends[f"duration{side}"].to_numpy()
        table[f"arrival{side}"] = table["takeoff"] + pd.to_timedelta(seconds.round(), "s")
        table[f"minutes{side}"] = (seconds / 60).round(1)
    for name, side in {"takeoff": "origin", "arrival": "destination"}.items():
        zone = find_airport(flights[side].iloc[0]).timezone
        table[f"{name}_local"] = table[name].dt.tz_convert(zone).dt.tz_localize(None)
    warnings = _list_warnings_by_flight(saved, flights, predictors, past, traffic)
    return table.assign(warnings=[" ".join(sentences) for sentences in warnings])


def open_store(folder: str | Path) -> pd.DataFrame | None:
    """Return the flights of an existing store, None if there is none."""
    table = Path(folder) / "flights.parquet"
    if not table.exists():
        return None
    return pd.read_parquet(table).assign(store=str(table.parent.resolve()))


def list_warnings(
    saved: SavedModel,
    row: Mapping[str, Any],
    pair: str,
    *,
    start: pd.Timestamp | None = None,
    traffic: bool = True,
    callsign: bool = True,
    recent: bool | None = None,
) -> list[str]:
    """Return warnings, as sentences, about a flight that differs from the training data.

    Parameters
    ----------
    row
        Predictors of the flight, by name.
    pair, start
        As ``LEMD-LEBL``, and the take-off (UTC).
    traffic, callsign, recent
        Whether flights of other pairs were used, the callsign is known, and a flight of the pair
        landed in the week before; the last by default if predictors of recent traffic have a value.
    """
    card = saved.card
    warnings = []
    if pair != card["pair"]:
        warnings.append(
            f"The model was trained on {card['pair']} only: it predicts the flight as if it flew "
            f"there, which is no prediction for {pair}."
        )
    warnings += _warn_calibration(card)
    if start is not None:
        warnings += _warn_date(card["training"], start)
    warnings += _warn_hour(card["hours"], int(row["hour"]))
    warnings += _warn_categories(card["categories"], row)
    warnings += _warn_missing(row, callsign=callsign, recent=recent)
    others = card.get("other_traffic", 0)
    if others and not traffic and card["feature_set"] != "planned":
        warnings.append(
            f"The model was trained with {count(others, 'flight')} of other pairs, for runways and "
            "wind; without --archive they are not used here."
        )
    return warnings


def _find_archive(csv: str | Path) -> tuple[Path, str]:
    """Return the archive of a CSV, and the path of the CSV in it.

    It is the nearest folder above with a ``columns.toml``, else the folder of the CSV.
    """
    path = Path(csv) if is_remote(csv) else Path(csv).absolute()
    parents = path.parents[:-2] if is_remote(csv) else path.parents  # up to the bucket
    archive = next((folder for folder in parents if exists(folder / "columns.toml")), parents[0])
    return archive, path.relative_to(archive).as_posix()


def _clock(time: pd.Timestamp, zone: str) -> str:
    return f"{time:%H:%M} UTC ({time.tz_convert(zone):%H:%M} local)"


def _read(path: str | Path, minutes: float | None = None) -> pd.DataFrame:
    archive, _ = _find_archive(path)
    return read_flight(path, dialect=read_dialect(archive), minutes=minutes)


def _list_warnings_by_flight(
    saved: SavedModel,
    flights: pd.DataFrame,
    predictors: pd.DataFrame,
    past: pd.DataFrame | None,
    traffic: pd.DataFrame | None,
) -> list[list[str]]:
    recent = None if past is None else has_recent_flights(past, flights["start"])
    rows = predictors.to_dict("index")
    return [
        list_warnings(
            saved,
            rows[flight.path],
            f"{flight.origin}-{flight.destination}",
            start=flight.start,
            traffic=traffic is not None,
            callsign=bool(flight.callsign),
            recent=flight.recent,
        )
        for flight in flights.assign(recent=recent).itertuples()
    ]


def _collect_history(
    flights: pd.DataFrame, past: pd.DataFrame | None, traffic: pd.DataFrame | None
) -> pd.DataFrame:
    paths = flights["path"].tolist()
    missing = pd.DataFrame(float("nan"), paths, list(HISTORY))
    if past is None:
        return missing
    recent = select_recent(past[~past["path"].isin(paths)], flights)
    if recent.empty:
        return missing
    points = _load_points(recent)
    around = load_other_traffic(flights, traffic)
    rows = pd.concat([recent, flights.astype({"start": past["start"].dtype})], ignore_index=True)
    return collect_recent_traffic(rows, points, around).loc[paths]


def _load_points(recent: pd.DataFrame) -> pd.DataFrame:
    """Return the measured points of recent flights.

    The points of all flights of a store are saved beside it, once there is a cluster to measure
    them, or once most of them are needed.
    """
    if "store" not in recent or is_remote(recent["store"].iloc[0]):
        return measure_points(recent)
    folder = Path(recent["store"].iloc[0])
    stored = open_store(folder)
    if stored is None:
        return measure_points(recent)
    usable = stored[stored["rejected"].isna()]
    names = usable[["path", "part"]].to_json(orient="values")
    file = derived_path(folder, "points", names)
    if file.exists():
        points = pd.read_parquet(file)
    elif current_client() is None and len(recent) < len(usable) / 2:
        return measure_points(recent)
    else:
        points = measure_points(usable)
        save_derived(points, file)
    return points[match_flights(points.index, pd.Index(recent["path"]))]


def _warn_calibration(card: Mapping) -> Iterator[str]:
    days = card["calibration"]["days"]
    if days < MIN_DAYS:
        yield (
            f"The intervals were calibrated on {days} days only, expected {MIN_DAYS} or more: they "
            "are widened to the largest errors of those days and may still be too narrow."
        )
    level = card["level"]
    for split, coverages in card.get("scores", {}).items():
        coverage = coverages["arrival"]
        if abs(coverage - level) > TOLERANCE:
            yield (
                f"On {_SPLITS.get(split, split)}, {coverage:.0%} of the flights arrived within "
                f"their {level:.0%} interval."
            )


def _warn_date(training: Mapping, start: pd.Timestamp) -> Iterator[str]:
    first, last = (pd.Timestamp(training[name], tz="UTC") for name in ("first", "last"))
    slack = pd.Timedelta(_SLACK, "D")
    if not first - slack <= start <= last + slack:
        days = (start - last).days if start > last else (first - start).days
        side = "after the last" if start > last else "before the first"
        span = f"{days / 365.25:.0f} years" if days > 730 else count(days, "day")
        yield (
            f"The date {start:%Y-%m-%d} is {span} {side} training day ({training['first']} to "
            f"{training['last']}): routes, procedures and fleet may differ."
        )


def _warn_hour(counts: list[int], hour: int) -> Iterator[str]:
    near = sum(counts[(hour + shift) % 24] for shift in (-1, 0, 1))
    if near <= _RARE_HOUR * sum(counts):
        yield (
            f"{near or 'None'} of the {sum(counts):,} training flights began within an hour of "
            f"{hour:02}:00 local time: the model goes by flights of other hours."
        )


def _warn_categories(categories: Mapping[str, list[str]], row: Mapping[str, Any]) -> Iterator[str]:
    for name, trained in categories.items():
        word, value = name.replace("_", " "), row[name]
        if not isinstance(value, str):
            yield f"The {word} is not given: the model uses the other predictors."
        elif value not in trained:
            order = _CALENDAR.get(name)
            trained = sorted(trained, key=order.index if order else None)
            yield (
                f"The {word} {value} was in no training flight "
                f"(there are {', '.join(trained) or 'none'}): the model uses the other "
                "predictors, and its intervals may be too narrow."
            )


def _warn_missing(row: Mapping[str, Any], *, callsign: bool, recent: bool | None) -> Iterator[str]:
    if recent is False or (recent is None and _lacks(row, "recent_")):
        yield (
            "No flight of the pair in the week before is in the archive: recent traffic is "
            "unknown, and the prediction goes by what else is known."
        )
    if callsign and _lacks(row, "callsign_"):
        yield (
            "No flight of the same callsign in the year before is in the archive: the model uses "
            "the other predictors."
        )
    for name, age in row.items():
        if name.startswith("age_at_") and not age <= _OLD:
            minutes = name.removeprefix("age_at_")
            state = f"{age:.0f} s old" if age > 0 else "missing"
            yield f"At {minutes} min the last measured point is {state}."


def _lacks(row: Mapping[str, Any], prefix: str) -> bool:
    """Return whether there are predictors with this prefix, and none has a value."""
    values = [value for name, value in row.items() if name.startswith(prefix)]
    return bool(values) and all(math.isnan(value) for value in values)
