"""The SFO Museum's open flight records: who flew, and the surveillance points of each flight.

Read from a folder with ``flights.parquet`` and ``points.parquet``, or from a clone of one of the
repositories ``sfomuseum-data-flights-YYYY-MM``: GeoJSON, derived from the FAA's SWIM feed.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.archive.reading import FlightError

__all__ = ["ATTRIBUTION", "read_flights", "read_points"]

ATTRIBUTION = (
    "SFO Museum's open flight records (github.com/sfomuseum-data), derived from the SWIM feed of "
    "the Federal Aviation Administration, published under the Community Data License Agreement, "
    "Permissive, Version 1.0 (CDLA-Permissive-1.0)"
)
_FLIGHT = (
    "flight_id",
    "callsign",
    "operator",
    "aircraft_type",
    "registration",
    "origin",
    "destination",
    "date",
)
_POINT = ("timestamp", "latitude", "longitude", "altitude", "groundspeed")


def read_flights(source: str | Path) -> pd.DataFrame:
    """Return who flew: one row a flight, ordered by ``flight_id``.

    Returns
    -------
    DataFrame
        ``flight_id`` (unique), ``callsign operator aircraft_type registration``, ``origin`` and
        ``destination`` (IATA), ``date`` (local), ``rejected`` where the record cannot be read, and
        for a clone ``file``, the record below the source.

    Raises
    ------
    FileNotFoundError
        When the source is neither of the two.
    """
    source = Path(source)
    if (source / "flights.parquet").exists() and (source / "points.parquet").exists():
        flights = pd.read_parquet(source / "flights.parquet", columns=list(_FLIGHT))
        return flights.assign(rejected=None).sort_values("flight_id", ignore_index=True)
    files = [path.relative_to(source).as_posix() for path in source.glob("data/**/*[0-9].geojson")]
    if not files:
        raise FileNotFoundError(
            f"no flights in {source}: expected flights.parquet and points.parquet, "
            "or data/**/ID.geojson as in a clone of sfomuseum-data-flights-YYYY-MM"
        )
    flights = pd.DataFrame([_read_record(source / file) for file in files]).assign(file=files)
    return flights.sort_values("flight_id", ignore_index=True)


def read_points(source: str | Path, flights: pd.DataFrame) -> Callable[[int], pd.DataFrame]:
    """Return a function that gives the points of one of these flights by its ``flight_id``.

    The points are as reported, in order of time: ``timestamp`` (UTC), ``latitude``,
    ``longitude`` [deg], ``altitude`` [ft, may be missing], ``groundspeed`` [kt]. The function
    raises a FlightError where there are none, or the file is damaged.
    """
    source = Path(source)
    if "file" in flights:
        records = flights.set_index("flight_id")["file"]
        return lambda flight_id: _read_track(source / records[flight_id])
    ids = flights["flight_id"].tolist()
    columns = ["flight_id", *_POINT]
    points = pd.read_parquet(
        source / "points.parquet", columns=columns, filters=[("flight_id", "in", ids)]
    )
    groups = dict(list(points.groupby("flight_id")[list(_POINT)]))
    return lambda flight_id: _in_order(groups.get(flight_id, points.iloc[:0]))


def _read_record(path: Path) -> dict:
    record = dict.fromkeys((*_FLIGHT, "rejected")) | {"flight_id": int(path.stem)}
    record |= {"origin": "?", "destination": "?"}
    try:
        told = json.loads(path.read_bytes())["properties"]
        origin, destination = told["flysfo:journey"].split("-")
        # from 2020 on the number carries the airline's IATA code: UA2617, B62535
        number = told["flysfo:flight_number"].removeprefix(told["flysfo:airline"])
        return record | {
            "callsign": told["icao:airline"] + number,
            "operator": told["icao:airline"],
            "aircraft_type": told.get("icao:aircraft") or None,
            "registration": told.get("swim:tail_number") or None,
            "origin": origin,
            "destination": destination,
            "date": told["flysfo:date"],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return record | {"rejected": "its record cannot be read"}


def _read_track(record: Path) -> pd.DataFrame:
    path = record.with_name(f"{record.stem}-alt-swim-path.geojson")
    if not path.exists():
        raise FlightError("no points")
    try:
        feature = json.loads(path.read_bytes())
        told, geometry = feature["properties"], feature["geometry"]
        lines = geometry["coordinates"]
        if geometry["type"] == "LineString":
            lines = [lines]  # a flight over the antimeridian is a MultiLineString, cut there
        points = pd.DataFrame(np.concatenate(lines), columns=["longitude", "latitude"])
        return _in_order(
            points.assign(
                timestamp=pd.to_datetime(told["swim:timestamps"], unit="s", utc=True),
                altitude=_altitudes(told["swim:altitudes"]),
                groundspeed=np.asarray(told["swim:speeds"], float),
            )[list(_POINT)]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FlightError("its points cannot be read") from error


def _altitudes(texts: list[str]) -> np.ndarray:
    """Return altitudes [ft] of texts in hundreds of feet; the suffixes C and T tell of levels.

    >>> _altitudes(["007", "370C", "110T", ""])
    array([  700., 37000., 11000.,    nan])
    """
    digits = [text.rstrip("CT") for text in texts]
    return np.array([float(text) * 100 if text else np.nan for text in digits])


def _in_order(points: pd.DataFrame) -> pd.DataFrame:
    if points.empty:
        raise FlightError("no points")
    return points.sort_values("timestamp", kind="stable", ignore_index=True)
