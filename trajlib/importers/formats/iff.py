"""IFF of NASA's Sherlock: records of flights (2), track points (3) and plans (4) of radars."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, Options
from trajlib.importers.formats.fields import convert_points, find_texts, same_names
from trajlib.importers.formats.tables import name_flight, parse_csv, read_texts

_COMMON = "kind timestamp key beacon cid source message callsign category "
_POINT = (
    "latitude longitude altitude significance accuracy_1 accuracy_2 accuracy_3 groundspeed track "
    "vertical_rate qualifier indicator status leader scratch_pad warning assigned facility sector "
    "receiving receiving_sector controller primary subset symbol ads operation airport "
    "radar_track return icao24"
)
_FLIGHT = "aircraft_type fix_from fix_to operation origin destination"
_POINTS, _FLIGHTS = (_COMMON + _POINT).split(), (_COMMON + _FLIGHT).split()
_IDENTITY = ["aircraft_type", "origin", "destination"]
_LINE = re.compile(r"3,\d{9,10}(\.\d*)?,(?:[^,]*,){7}-?\d+\.\d+,-?\d+\.\d+,")
_FIELDS = same_names(
    *("flight_id", "icao24", "callsign", *_IDENTITY, "timestamp", "latitude", "longitude"),
    *("groundspeed", "track", "vertical_rate"),
    altitude="FL",
)
_UNKNOWN = {
    "groundspeed": -99,
    "track": -99,
    "vertical_rate": -99999,
    "icao24": "000000",
    "aircraft_type": "?",
}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    file = name_flight(path, options)  # keys are unique within a file
    flights = pd.DataFrame(columns=_FLIGHTS)
    for text in read_texts(path):
        lines = text.splitlines(keepends=True)
        points = _parse(lines, _POINTS)
        flights = pd.concat([flights, _parse(lines, _FLIGHTS)]).drop_duplicates("key", keep="last")
        points = points.merge(flights[["key", *_IDENTITY]], on="key", how="left")
        points = points.replace({name: {text: None} for name, text in _UNKNOWN.items()})
        named = points["callsign"].str.contains("[A-Z]", na=False)  # or the number of the track
        points["callsign"] = points["callsign"].where(named)
        yield convert_points(points.assign(flight_id=f"{file}-" + points["key"]), _FIELDS)


def _parse(lines: list[str], names: list[str]) -> pd.DataFrame:
    kind = "3," if names is _POINTS else "2,"
    text = "".join(line for line in lines if line.startswith(kind))
    if not text:
        return pd.DataFrame(columns=names)
    return parse_csv(text.encode(), names, names, find_texts(_FIELDS) | {"key"})


FORMAT = Format(
    name="iff",
    title="IFF of NASA's Sherlock (radar tracks of the FAA)",
    needs="the file; airports that it does not name are inferred",
    recognize=lambda head: any(map(_LINE.match, head.lines[:100])),
    read=_read,
)
