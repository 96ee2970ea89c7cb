"""State vectors of the OpenSky Network: tables of an hour, and the answers of its interface."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import Field, convert_points, same_names
from trajlib.importers.formats.tables import point_reader, read_json

_FIELDS = same_names("icao24", "callsign", "onground", geoaltitude="m") | {
    "timestamp": Field("time", "timestamp"),
    "latitude": Field("lat"),
    "longitude": Field("lon"),
    "altitude": Field("baroaltitude", unit="m"),
    "groundspeed": Field("velocity", unit="m/s"),
    "track": Field("heading"),
    "vertical_rate": Field("vertrate", unit="m/s"),
    "position_time": Field("lastposupdate"),
}
_NAMES = (  # of a state; the timestamp is that of the position
    "icao24 callsign country timestamp last_contact longitude latitude altitude onground "
    "groundspeed track vertical_rate sensors geoaltitude"
)
_STATE = _NAMES.split()
_WAYPOINT = ["timestamp", "latitude", "longitude", "altitude", "track", "onground"]
_UNITS = {"altitude": "m", "geoaltitude": "m", "groundspeed": "m/s", "vertical_rate": "m/s"}
_ANSWER = same_names("icao24", "callsign", *_WAYPOINT, **_UNITS)


def _read_answers(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    answers = read_json(path)
    tables = []
    for answer in answers if isinstance(answers, list) else [answers]:
        rows, names = answer.get("path"), _WAYPOINT
        if "states" in answer:
            rows, names = answer["states"], _STATE
        if rows is not None and not isinstance(rows, list):
            raise FormatError("neither states nor the path of an aircraft")
        table = pd.DataFrame([row[: len(names)] for row in rows or []], columns=names)
        identity = {n: answer[n] for n in ("icao24", "callsign") if n in answer}
        tables.append(table.astype(object).assign(**identity))
    if tables:
        yield convert_points(pd.concat(tables, ignore_index=True).infer_objects(), _ANSWER)


def _recognize(head: Head) -> bool:
    if "baroaltitude" not in head.columns and any(n.startswith("alt") for n in head.columns):
        return False  # its altitude would be left out
    return head.has("icao24", "lat", "lon") and bool(
        {"baroaltitude", "velocity", "vertrate", "lastposupdate"} & set(head.columns)
    )


FORMAT = Format(
    name="opensky",
    title="OpenSky state vectors (CSV or Parquet)",
    needs="files of state vectors, any number of hours; airports are inferred",
    attribution="The OpenSky Network (opensky-network.org)",
    recognize=_recognize,
    read=point_reader(_FIELDS),
    splittable=True,
)
ANSWERS = Format(
    name="opensky-json",
    title="answers of OpenSky's interface: states or the track of an aircraft (JSON)",
    needs="files of one answer, or of one a line; airports are inferred",
    attribution="The OpenSky Network (opensky-network.org)",
    recognize=lambda head: (
        head.kind == "json"
        and (head.has("time", "states") or head.has("icao24", "starttime", "path"))
    ),
    read=_read_answers,
    splittable=True,
)
