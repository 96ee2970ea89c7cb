"""State vectors of the OpenSky Network: all aircraft of an hour in one file."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Head, Options, convert_points, read_table

FIELDS = {
    "timestamp": Field("time"),
    "icao24": Field("icao24"),
    "latitude": Field("lat"),
    "longitude": Field("lon"),
    "altitude": Field("baroaltitude", unit="m"),
    "geoaltitude": Field("geoaltitude", unit="m"),
    "groundspeed": Field("velocity", unit="m/s"),
    "track": Field("heading"),
    "vertical_rate": Field("vertrate", unit="m/s"),
    "callsign": Field("callsign"),
    "onground": Field("onground"),
    "position_time": Field("lastposupdate"),
}


def _recognize(head: Head) -> bool:
    return head.has("time", "icao24", "lat", "lon") and bool(
        {"baroaltitude", "velocity", "vertrate", "lastposupdate"} & set(head.columns)
    )


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    wanted = {name for field in FIELDS.values() for name in field.names}
    for batch in read_table(path, wanted):
        yield convert_points(batch, FIELDS)


FORMAT = Format(
    name="opensky",
    title="OpenSky state vectors (CSV or Parquet)",
    needs="files of state vectors, any number of hours; airports are inferred",
    recognize=_recognize,
    read=_read,
    splittable=True,
)
