"""EUROCONTROL's formats: the R&D archive, so6 and ALL_FT+ of NEST and DDR2, and CPR messages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, Options
from trajlib.importers.formats.fields import Field, convert_points, find_texts, same_names
from trajlib.importers.formats.tables import parse_csv, point_reader, read_texts

_RESEARCH = same_names("latitude", "longitude") | {
    "flight_id": Field("ectrl id"),
    "timestamp": Field("time over"),
    "altitude": Field("flight level", unit="FL"),
}

_SO6_NAMES = (
    "segment origin destination aircraft_type time_begin time_end altitude_begin altitude_end "
    "status callsign date_begin date_end latitude_begin longitude_begin latitude_end "
    "longitude_end flight_id sequence length parity"
)
_SO6_COLUMNS = _SO6_NAMES.split()
_SO6_LINE = re.compile(
    r"\S+ +\S+ +\S+ +\S+ +\d{1,6} +\d{1,6} +-?\d+ +-?\d+ +\S+ +\S+ +\d{6} +\d{6} "
)
_SO6_KIND = re.compile(r"(?<![a-z])m[13](?![a-z0-9])")  # in the name of a file
_SO6_IDENTITY = ["flight_id", "callsign", "aircraft_type", "origin", "destination"]
_SO6_UNITS = {"latitude": "arcmin", "longitude": "arcmin", "altitude": "FL"}
_SO6 = same_names(*_SO6_IDENTITY, "timestamp", **_SO6_UNITS)

_ALLFT_LINE = re.compile(r"[A-Z0-9]{4};[A-Z0-9]{4};[^;]*;[^;]*;[^;]*;\d{14};[^;]*;")
# time, flight level and position of a point; its name, route and distances are left out
_ALLFT_POINT = re.compile(r"(\d{14}):[^: ]*:[^: ]*:(-?\d+):[^ ;]*?(\d{6}[NS])(\d{7}[EW])")
_ALLFT_IDENTITY = {  # numbers of its fields
    "origin": 0,
    "destination": 1,
    "callsign": 2,
    "aircraft_type": 4,
    "flight_id": 6,
    "registration": 57,
}
_ALLFT_PROFILES = {"flight": 113, "plan": 85}  # ctfmAllFtPointProfile and ftfmAllFtPointProfile
_ALLFT = same_names(*_ALLFT_IDENTITY, "timestamp", latitude="dms", longitude="dms", altitude="FL")

_CPR_NAMES = (
    "message flight_id received timestamp block record area node callsign origin destination "
    "off_block position altitude service squawk groundspeed track rate mode plan icao24 end"
)
_CPR_COLUMNS = _CPR_NAMES.split()
_CPR_LINE = re.compile(r"(?m)^\d+;\d+;\d\d/\d\d/\d\d [\d:]+;(.*;)\d{6}N? ?[NS] ?\d{7}[EW];")
_CPR_IDENTITY = ("flight_id", "icao24", "callsign", "origin", "destination")
_CPR_UNITS = {"latitude": "dms", "longitude": "dms", "altitude": "FL", "track": "dms"}
_CPR = same_names(*_CPR_IDENTITY, "timestamp", "groundspeed", **_CPR_UNITS)


def _parse_times(batch: pd.DataFrame) -> pd.DataFrame:
    times = batch["time over"].astype("str")
    return batch.assign(
        **{"time over": pd.to_datetime(times, format="%d-%m-%Y %H:%M:%S", errors="coerce")}
    )


def _read_research(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    # filed and actual points have the same columns, and differ only in the name of the file
    other = "filed" if options.kind == "flight" else "actual"
    if other not in path.name.lower():
        yield from point_reader(_RESEARCH, _parse_times)(path, options)


def _read_so6(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    other = "m1" if options.kind == "flight" else "m3"
    if other in _SO6_KIND.findall(path.name.lower())[-1:]:
        return
    for text in read_texts(path):
        lines = re.sub(r"[ \t]+(?=\n|$)", "", re.sub(r" {2,}", " ", text))
        segments = parse_csv(lines.encode(), _SO6_COLUMNS, _SO6_COLUMNS, find_texts(_SO6), " ")
        ends = pd.concat([_end(segments, "begin"), _end(segments, "end")]).sort_index(kind="stable")
        # a segment begins at the end of the previous one
        yield convert_points(ends.drop_duplicates(ignore_index=True), _SO6)


def _end(segments: pd.DataFrame, which: str) -> pd.DataFrame:
    clock = pd.to_numeric(segments[f"time_{which}"], errors="coerce")
    seconds = clock // 10000 * 3600 + clock // 100 % 100 * 60 + clock % 100
    dates = segments[f"date_{which}"].astype("str").str.zfill(6)
    days = pd.to_datetime(dates, format="%y%m%d", errors="coerce").astype("datetime64[ms]")
    return segments[_SO6_IDENTITY].assign(
        timestamp=days + pd.to_timedelta(seconds, unit="s"),
        **{name: segments[f"{name}_{which}"] for name in _SO6_UNITS},
    )


def _read_allft(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    profile = _ALLFT_PROFILES[options.kind]
    names = [*_ALLFT_IDENTITY, "timestamp", "altitude", "latitude", "longitude"]
    for text in read_texts(path):
        rows: list[list[str]] = []
        for line in filter(_ALLFT_LINE.match, text.splitlines()):
            fields = line.split(";")
            if len(fields) > profile:
                identity = [fields[number] for number in _ALLFT_IDENTITY.values()]
                rows += [[*identity, *point] for point in _ALLFT_POINT.findall(fields[profile])]
        batch = pd.DataFrame(rows, columns=names, dtype="str")
        times = pd.to_datetime(batch["timestamp"], format="%Y%m%d%H%M%S", errors="coerce")
        yield convert_points(batch.assign(timestamp=times), _ALLFT)


def _read_cpr(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    texts = find_texts(_CPR) | {"timestamp"}
    for text in read_texts(path):
        batch = parse_csv(text.encode(), _CPR_COLUMNS, _CPR_COLUMNS, texts, ";")
        position = batch["position"].astype("str").str.split(" ", expand=True)
        times = pd.to_datetime(batch["timestamp"], format="%y/%m/%d %H:%M:%S", errors="coerce")
        batch = batch.assign(timestamp=times, latitude=position[0], longitude=position[1])
        yield convert_points(batch, _CPR)


RESEARCH = Format(
    name="eurocontrol",
    title="EUROCONTROL's R&D archive, flight points (CSV)",
    needs="Flight_Points_Actual_*, beside it Flights_*; Flight_Points_Filed_* are the plans",
    attribution="EUROCONTROL's aviation data for research",
    recognize=lambda head: head.has(
        "ectrl id", "time over", "flight level", "latitude", "longitude"
    ),
    read=_read_research,
    splittable=True,
)
SO6 = Format(
    name="so6",
    title="so6 of EUROCONTROL's NEST and DDR2 (m3 flown, m1 filed)",
    needs="the .so6, or its .7z (with py7zr installed); m1 is read as plans",
    attribution="EUROCONTROL, NEST and DDR2",
    recognize=lambda head: bool(head.lines and _SO6_LINE.match(head.lines[0])),
    read=_read_so6,
    splittable=True,
)
ALLFT = Format(
    name="allft",
    title="ALL_FT+ of EUROCONTROL's NEST and DDR2 (flown and filed)",
    needs="the .ALL_FT+, packed or not; import --plans reads the filed routes",
    attribution="EUROCONTROL, NEST and DDR2",
    recognize=lambda head: any(map(_ALLFT_LINE.match, head.lines[:5])),
    read=_read_allft,
    splittable=True,
)
CPR = Format(
    name="cpr",
    title="EUROCONTROL CPR, correlated position reports",
    needs="the archived messages",
    attribution="EUROCONTROL, correlated position reports",
    recognize=lambda head: bool(_CPR_LINE.search("\n".join(head.lines[:20]))),
    read=_read_cpr,
    splittable=True,
)
