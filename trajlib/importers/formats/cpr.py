"""Correlated position reports of EUROCONTROL's Network Manager."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, Options, convert_points, find_texts, same_names
from trajlib.importers.formats.tables import parse_csv, read_texts

_NAMES = (
    "message flight_id received timestamp block record area node callsign origin destination "
    "off_block position altitude service squawk groundspeed track rate mode plan icao24 end"
)
_COLUMNS = _NAMES.split()
_LINE = re.compile(r"(?m)^\d+;\d+;\d\d/\d\d/\d\d [\d:]+;(.*;)\d{6}N? ?[NS] ?\d{7}[EW];")
_IDENTITY = ("flight_id", "icao24", "callsign", "origin", "destination")
_UNITS = {"latitude": "dms", "longitude": "dms", "altitude": "FL", "track": "dms"}
_FIELDS = same_names(*_IDENTITY, "timestamp", "groundspeed", **_UNITS)


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    for text in read_texts(path):
        batch = parse_csv(text.encode(), _COLUMNS, _COLUMNS, find_texts(_FIELDS), ";").astype(
            {"timestamp": "str"}
        )
        position = batch["position"].astype("str").str.split(" ", expand=True)
        times = pd.to_datetime(batch["timestamp"], format="%y/%m/%d %H:%M:%S", errors="coerce")
        batch = batch.assign(timestamp=times, latitude=position[0], longitude=position[1])
        yield convert_points(batch, _FIELDS)


FORMAT = Format(
    name="cpr",
    title="EUROCONTROL CPR, correlated position reports",
    needs="the archived messages",
    attribution="EUROCONTROL, correlated position reports",
    recognize=lambda head: bool(_LINE.search("\n".join(head.lines[:20]))),
    read=_read,
    splittable=True,
)
