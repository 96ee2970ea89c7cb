"""Correlated position reports of EUROCONTROL's Network Manager."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Options, convert_points, find_texts
from trajlib.importers.formats.tables import parse_csv, read_texts

_NAMES = (
    "message flight received time block record area node callsign origin destination "
    "off_block position level service squawk speed track rate mode plan address end"
)
_COLUMNS = _NAMES.split()
_LINE = re.compile(r"(?m)^\d+;\d+;\d\d/\d\d/\d\d [\d:]+;(.*;)\d{6}N? ?[NS] ?\d{7}[EW];")
_FIELDS = {
    "flight_id": Field("flight"),
    "icao24": Field("address"),
    "callsign": Field("callsign"),
    "origin": Field("origin"),
    "destination": Field("destination"),
    "timestamp": Field("time"),
    "latitude": Field("latitude", unit="dms"),
    "longitude": Field("longitude", unit="dms"),
    "altitude": Field("level", unit="FL"),
    "groundspeed": Field("speed"),
    "track": Field("track", unit="dms"),
}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    for text in read_texts(path):
        batch = parse_csv(text.encode(), _COLUMNS, _COLUMNS, find_texts(_FIELDS), ";").astype(
            {"time": "str"}
        )
        position = batch["position"].astype("str").str.split(" ", expand=True)
        times = pd.to_datetime(batch["time"], format="%y/%m/%d %H:%M:%S", errors="coerce")
        batch = batch.assign(time=times, latitude=position[0], longitude=position[1])
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
