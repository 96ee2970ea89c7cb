"""Flight recorders: seconds since the start, or the flights of contrail models in SI units."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import AIRCRAFT, match_columns
from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import Field, convert_points, same_names
from trajlib.importers.formats.tables import name_flight, point_reader, read_table

_FIELDS = same_names("flight_id", "timestamp", "mach", "roll", "pitch") | {
    "latitude": Field("lat", "latitude"),
    "longitude": Field("lon", "longitude"),
    "altitude": Field("alt", "altitude"),
    "geoaltitude": Field("alt_gnss"),
    "groundspeed": Field("gs"),
    "track": Field("trk", "track"),
    "heading": Field("hdg", "heading"),
    "vertical_rate": Field("roc"),
    "true_airspeed": Field("tas"),
    "calibrated_airspeed": Field("cas", "ias"),
    "temperature": Field("sat", unit="degC"),
}
_SI_NAMES = ("flight_id", "aircraft_type", "latitude", "longitude", "fuel_flow")
_SI_UNITS = {"altitude": "m", "groundspeed": "m/s", "true_airspeed": "m/s"}
_SI = same_names(*_SI_NAMES, **_SI_UNITS) | {
    "timestamp": Field("time"),
    "mass": Field("aircraft_mass"),
    "mach": Field("mach_number"),
    "temperature": Field("air_temperature"),
    "pressure": Field("air_pressure"),
    "wind_u": Field("eastward_wind", unit="m/s"),
    "wind_v": Field("northward_wind", unit="m/s"),
}
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)(?:[T_-]?(\d\d)[-_.h:]?(\d\d))?")


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    wanted = {name for field in _FIELDS.values() for name in field.names} | {"ts"}
    flight, start = name_flight(path, options), _find_start(path)
    for batch in read_table(path, wanted):
        seconds = pd.to_numeric(batch["ts"], errors="coerce")
        if seconds.max() < 1e8:  # not since 1970
            if start is None:
                raise FormatError(
                    "times count seconds since the start, and no date is known: put it into the "
                    "file's name, as in flight_2024-05-31.csv"
                )
            seconds = seconds + start
        numbers = batch.apply(pd.to_numeric, errors="coerce")
        no_fix = numbers["lat"].eq(0) & numbers["lon"].eq(0)  # before the receiver has a fix
        yield convert_points(batch[~no_fix].assign(timestamp=seconds, flight_id=flight), _FIELDS)


def _find_start(path: Path) -> float | None:
    """Return the date, and time if there is one, of a file's name [s since 1970]."""
    for match in _DATE.finditer(path.name):
        year, month, day, hour, minute = (int(part or 0) for part in match.groups())
        try:
            return pd.Timestamp(year, month, day, hour, minute, tz="UTC").timestamp()
        except ValueError:
            continue
    return None


def _has_identity(head: Head) -> bool:
    fields = match_columns(head.names, Dialect()).fields
    return not {"flight_id", "callsign", *AIRCRAFT}.isdisjoint(fields)


FORMAT = Format(
    name="recorder",
    title="flight recorders with seconds since the start (CSV: ts, lat, lon, alt, ...)",
    needs="the date in the file's name, as in flight_2024-05-31.csv; alt in ft, speeds in kt",
    recognize=lambda head: head.has("ts", "lat", "lon", "alt") and not _has_identity(head),
    read=_read,
)
SI = Format(
    name="recorder-si",
    title="flights with mass in SI units (CSV or Parquet: altitude in m, true_airspeed in m/s)",
    needs="the table, one flight or more by flight_id",
    recognize=lambda head: head.has(
        "time", "latitude", "longitude", "altitude", "true_airspeed", "aircraft_mass"
    ),
    read=point_reader(_SI),
)
