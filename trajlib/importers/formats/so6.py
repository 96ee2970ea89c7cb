"""EUROCONTROL's so6: segments of flights, m1 as last filed and m3 as flown."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Options, convert_points, find_texts
from trajlib.importers.formats.tables import parse_csv, read_texts

_NAMES = (
    "segment origin destination type time_begin time_end fl_begin fl_end status callsign "
    "date_begin date_end lat_begin lon_begin lat_end lon_end flight_id sequence length parity"
)
_COLUMNS = _NAMES.split()
_LINE = re.compile(r"\S+ +\S+ +\S+ +\S+ +\d{1,6} +\d{1,6} +-?\d+ +-?\d+ +\S+ +\S+ +\d{6} +\d{6} ")
_FIELDS = {
    "flight_id": Field("flight_id"),
    "callsign": Field("callsign"),
    "aircraft_type": Field("type"),
    "origin": Field("origin"),
    "destination": Field("destination"),
    "timestamp": Field("timestamp"),
    "latitude": Field("lat", unit="arcmin"),
    "longitude": Field("lon", unit="arcmin"),
    "altitude": Field("fl", unit="FL"),
}


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
    identity = segments[["flight_id", "callsign", "type", "origin", "destination"]]
    return identity.assign(
        timestamp=days + pd.to_timedelta(seconds, unit="s"),
        **{name: segments[f"{name}_{which}"] for name in ("lat", "lon", "fl")},
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
