"""EUROCONTROL's so6: segments of flights, m1 as last filed and m3 as flown."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, Options, convert_points, find_texts, same_names
from trajlib.importers.formats.tables import parse_csv, read_texts

_NAMES = (
    "segment origin destination aircraft_type time_begin time_end altitude_begin altitude_end "
    "status callsign date_begin date_end latitude_begin longitude_begin latitude_end "
    "longitude_end flight_id sequence length parity"
)
_COLUMNS = _NAMES.split()
_LINE = re.compile(r"\S+ +\S+ +\S+ +\S+ +\d{1,6} +\d{1,6} +-?\d+ +-?\d+ +\S+ +\S+ +\d{6} +\d{6} ")
_IDENTITY = ["flight_id", "callsign", "aircraft_type", "origin", "destination"]
_UNITS = {"latitude": "arcmin", "longitude": "arcmin", "altitude": "FL"}
_FIELDS = same_names(*_IDENTITY, "timestamp", **_UNITS)


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    other = "_m1." if options.kind == "flight" else "_m3."
    if other in path.name.lower():
        return
    for text in read_texts(path):
        lines = re.sub(r"[ \t]+(?=\n|$)", "", re.sub(r" {2,}", " ", text))
        segments = parse_csv(lines.encode(), _COLUMNS, _COLUMNS, find_texts(_FIELDS), " ")
        ends = pd.concat([_end(segments, "begin"), _end(segments, "end")]).sort_index(kind="stable")
        # a segment begins at the end of the previous one
        yield convert_points(ends.drop_duplicates(ignore_index=True), _FIELDS)


def _end(segments: pd.DataFrame, which: str) -> pd.DataFrame:
    clock = pd.to_numeric(segments[f"time_{which}"], errors="coerce")
    seconds = clock // 10000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    dates = segments[f"date_{which}"].astype("str").str.zfill(6)
    days = pd.to_datetime(dates, format="%y%m%d", errors="coerce").astype("datetime64[ms]")
    return segments[_IDENTITY].assign(
        timestamp=days + pd.to_timedelta(seconds, unit="s"),
        **{name: segments[f"{name}_{which}"] for name in _UNITS},
    )


FORMAT = Format(
    name="so6",
    title="so6 of EUROCONTROL's NEST and DDR2 (m3 flown, m1 filed)",
    needs="the .so6, or its .7z (with py7zr installed); m1 is read as plans",
    attribution="EUROCONTROL, NEST and DDR2",
    recognize=lambda head: bool(head.lines and _LINE.match(head.lines[0])),
    read=_read,
    splittable=True,
)
