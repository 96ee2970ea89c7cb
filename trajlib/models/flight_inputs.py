"""Flights to predict, as people give them: a description, a table, or a CSV of samples."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.pairs import FARTHEST_END
from trajlib.archive.reading import FlightError, read_flight
from trajlib.archive.storage import exists, is_remote, resolve
from trajlib.archive.values import find_operator
from trajlib.features.targets import TARGETS
from trajlib.geodesy import distance, find_airport, locate_airport, unwrap_longitude
from trajlib.models.saved_models import SavedModel
from trajlib.trajectories.normalization import resample_flight
from trajlib.trajectories.progress import PROGRESS

DESCRIPTION = ("callsign", "operator", "aircraft_type")
_ENDS = ("origin", "destination")
_ARRIVED = 15.0  # NM from the destination within which a record counts as complete
_YEARS = (1900, 2200)
_TIME_FORMS = (
    "2016-03-05T07:00 (UTC), 2016-03-05T07:00+01:00, 'tomorrow 07:00', 'today 07:00' or 'now'; "
    "add ' local' for the local time of the origin, or the offset where the clocks change"
)


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
) -> pd.DataFrame:
    """Return a flight without a file as a row of an index.

    By default the operator is that of the callsign, see `trajlib.archive.values.find_operator`.
    Callsigns are in capitals.

    >>> start = pd.Timestamp("2016-03-01 08:00", tz="UTC")
    >>> build_flight_row(("LEMD", "LEBL"), start, callsign="IBE1234")["operator"].item()
    'IBE'
    """
    callsign = callsign and callsign.upper()
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
    return pd.DataFrame([row])


def load_flight_table(path: str | Path, pair: tuple[str, str]) -> pd.DataFrame:
    """Return the flights that a CSV lists, one per line, as rows of an index.

    Parameters
    ----------
    path
        CSV with a column ``time`` (see `parse_time`) and any of ``callsign``, ``operator``,
        ``aircraft_type``, ``origin`` and ``destination``. Other columns are ignored.
    pair
        Origin and destination of all flights.

    Raises
    ------
    ValueError
        When the file is no CSV, has no flight or no column ``time``, a time cannot be read, or a
        flight is of another pair; the message names the line.
    """
    try:
        table = pd.read_csv(path, dtype=str, skip_blank_lines=False)
    except ValueError as error:  # also of an empty file, another encoding or cut lines
        raise ValueError(f"{path} is no CSV that can be read: {error}") from error
    table.columns = table.columns.str.strip()
    table = table.apply(lambda column: column.str.strip()).astype(object)
    table = table.replace({"": None, float("nan"): None})
    table = table.set_axis(table.index + 2).dropna(how="all")  # numbers of lines
    if table.empty:
        raise ValueError(f"{path}: no flight below the header")
    if "time" not in table:
        raise ValueError(
            f"{path}: expected a column time, and any of {', '.join(DESCRIPTION)}; it has "
            + ", ".join(table.columns)
        )
    names = [f"{path}, line {line}" for line in table.index]
    table = table.reset_index(drop=True)
    starts = []
    for name, row in zip(names, table.to_dict("records"), strict=True):
        _check_airports(name, row, pair)
        try:
            starts.append(parse_time(row["time"] or "", pair[0]))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    rows = table.reindex(columns=list(DESCRIPTION)).astype(object)
    rows["callsign"] = rows["callsign"].map(str.upper, "ignore")
    rows["operator"] = rows["operator"].fillna(rows["callsign"].map(find_operator, "ignore"))
    rows = rows.astype(object)
    rows = rows.where(rows.notna(), None).assign(path=names, start=pd.DatetimeIndex(starts))
    return rows.assign(origin=pair[0], destination=pair[1], rejected=None, archive=None)


def load_flight(
    path: str | Path, pair: tuple[str, str], minutes: float = 0.0, **given: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the flight of a CSV as a row of an index, and the raw samples of its first minutes.

    Later samples are not used; at 0 minutes only the first one is. The ``columns.toml`` of the
    nearest folder above the file describes its columns.

    Parameters
    ----------
    pair
        Origin and destination of the flight.
    given
        Callsign, operator or aircraft type that apply instead of those in the CSV.

    Raises
    ------
    ValueError
        When the CSV, or its folder, names another pair of airports than the given one.
    """
    df = _read(path, minutes or None)
    since = (df["timestamp"] - df["timestamp"].iloc[0]).dt.total_seconds()
    samples = df[since <= 60 * minutes]
    identity = samples.iloc[0].reindex([*DESCRIPTION, *_ENDS]).dropna().to_dict()
    archive, name = _find_archive(path)
    from_path = read_dialect(archive).identity(name)
    identity |= {name: text for name, text in from_path.items() if text}
    _check_airports(path, identity, pair)
    description = {name: identity[name] for name in DESCRIPTION if name in identity} | given
    row = build_flight_row(pair, df["timestamp"].iloc[0], **description)
    return row.assign(path=name, archive=resolve(archive)), samples


def check_take_off(path: str | Path, samples: pd.DataFrame, origin: str) -> None:
    """Raise a ValueError where the samples begin far from the origin, without the take-off."""
    first = samples.iloc[0]
    start = find_airport(origin).position
    miles = float(distance(first["latitude"], first["longitude"], *start))
    if miles > FARTHEST_END:
        raise ValueError(
            f"{path}: it begins {miles:,.0f} NM from {origin}, so the time of take-off is not in "
            f"it; expected a first sample within {FARTHEST_END:.0f} NM"
        )


def load_flown(path: str | Path, saved: SavedModel) -> pd.DataFrame:
    """Return the trajectory in a CSV at the fractions of a saved model."""
    df = _read(path)
    origin, destination = saved.card["pair"].split("-")
    progress = PROGRESS[saved.card["by"]](df, origin, destination)
    fractions = saved.card["schema"]["fractions"]
    flown = resample_flight(df, progress, fractions, columns=TARGETS)
    if fractions[-1] == 1.0 and _has_arrived(df, destination):
        flown.loc[1.0] = df[list(flown)].iloc[-1]
    centre = find_airport(origin).longitude  # as in training
    return flown.assign(longitude=unwrap_longitude(flown["longitude"], centre))


def minutes_in_air(path: str | Path, destination: str) -> float | None:
    """Return how long the flight of a CSV has been in the air [min]; None if it has arrived."""
    df = _read(path)
    return None if _has_arrived(df, destination) else df["duration"].iloc[-1] / 60


def _has_arrived(df: pd.DataFrame, destination: str) -> bool:
    latitude, longitude = df[["latitude", "longitude"]].iloc[-1]
    end = find_airport(destination).position
    return bool(distance(latitude, longitude, *end) <= _ARRIVED)


def _check_airports(name: object, identity: Mapping, pair: tuple[str, str]) -> None:
    for side, code in zip(_ENDS, pair, strict=True):
        given = identity.get(side) or code
        if locate_airport(given) != locate_airport(code):
            raise ValueError(f"{name}: its {side} is {given}, expected {code}")


def _find_archive(csv: str | Path) -> tuple[Path, str]:
    """Return the archive of a CSV, and the path of the CSV in it.

    It is the nearest folder above with a ``columns.toml``, else the folder of the CSV.
    """
    path = Path(csv) if is_remote(csv) else Path(csv).absolute()
    parents = path.parents[:-2] if is_remote(csv) else path.parents  # up to the bucket
    archive = next((folder for folder in parents if exists(folder / "columns.toml")), parents[0])
    return archive, path.relative_to(archive).as_posix()


def _read(path: str | Path, minutes: float | None = None) -> pd.DataFrame:
    archive, _ = _find_archive(path)
    try:
        return read_flight(path, dialect=read_dialect(archive), minutes=minutes)
    except FlightError as error:
        raise FlightError(f"{path}: {error}") from error
