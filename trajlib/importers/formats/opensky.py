"""State vectors of the OpenSky Network: all aircraft of an hour in one file."""

from trajlib.importers.formats.base import Field, Format, Head
from trajlib.importers.formats.tables import point_reader

_FIELDS = {
    "timestamp": Field("time", "timestamp"),
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
    return head.has("icao24", "lat", "lon") and bool(
        {"baroaltitude", "velocity", "vertrate", "lastposupdate"} & set(head.columns)
    )


FORMAT = Format(
    name="opensky",
    title="OpenSky state vectors (CSV or Parquet)",
    needs="files of state vectors, any number of hours; airports are inferred",
    recognize=_recognize,
    read=point_reader(_FIELDS),
    splittable=True,
)
