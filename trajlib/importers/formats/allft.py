"""EUROCONTROL's ALL_FT+ of NEST and DDR2: a flight a line, as filed and as flown."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, Options, convert_points, same_names
from trajlib.importers.formats.tables import read_texts

_LINE = re.compile(r"[A-Z0-9]{4};[A-Z0-9]{4};[^;]*;[^;]*;[^;]*;\d{14};[^;]*;")
# time, flight level and position of a point; its name, route and distances are left out
_POINT = re.compile(r"(\d{14}):[^: ]*:[^: ]*:(-?\d+):[^ ;]*?(\d{6}[NS])(\d{7}[EW])")
_IDENTITY = {  # numbers of its fields
    "origin": 0,
    "destination": 1,
    "callsign": 2,
    "aircraft_type": 4,
    "flight_id": 6,
    "registration": 57,
}
_PROFILES = {"flight": 113, "plan": 85}  # ctfmAllFtPointProfile and ftfmAllFtPointProfile
_FIELDS = same_names(*_IDENTITY, "timestamp", latitude="dms", longitude="dms", altitude="FL")


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    profile = _PROFILES[options.kind]
    names = [*_IDENTITY, "timestamp", "altitude", "latitude", "longitude"]
    for text in read_texts(path):
        rows: list[list[str]] = []
        for line in filter(_LINE.match, text.splitlines()):
            fields = line.split(";")
            if len(fields) > profile:
                identity = [fields[number] for number in _IDENTITY.values()]
                rows += [[*identity, *point] for point in _POINT.findall(fields[profile])]
        batch = pd.DataFrame(rows, columns=names, dtype="str")
        times = pd.to_datetime(batch["timestamp"], format="%Y%m%d%H%M%S", errors="coerce")
        yield convert_points(batch.assign(timestamp=times), _FIELDS)


FORMAT = Format(
    name="allft",
    title="ALL_FT+ of EUROCONTROL's NEST and DDR2 (flown and filed)",
    needs="the .ALL_FT+, packed or not; import --plans reads the filed routes",
    attribution="EUROCONTROL, NEST and DDR2",
    recognize=lambda head: any(map(_LINE.match, head.lines[:5])),
    read=_read,
    splittable=True,
)
