"""Sentences of satellite receivers (NMEA 0183), as loggers of gliders and light aircraft keep."""

import operator
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Options
from trajlib.importers.formats.fields import convert_points, same_names
from trajlib.importers.formats.tables import name_flight, read_texts

_NUMBER = r"(\d*\.?\d*)"
_PLACE = rf"{_NUMBER},([NS]),{_NUMBER},([EW])"
_FIX = rf"\$..RMC,(\d{{6}}\.?\d*),A,{_PLACE},{_NUMBER},{_NUMBER},(\d{{6}}),"
_HEIGHT = r"\$..GGA,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,[1-9],[^,]*,[^,]*,(-?[\d.]+),M,"
_PRESSURE = r"\$PGRMZ,(-?\d+),f,"
_SUM = re.compile(r"\$(.*)\*([0-9A-Fa-f]{2})\s*$")
_TIME = r"\$..(?:RMC|GGA),(\d{6}\.?\d*),"
_UNITS = {"latitude": "dms", "longitude": "dms", "geoaltitude": "m"}
_FIELDS = same_names("flight_id", "timestamp", "altitude", "groundspeed", "track", **_UNITS)


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    texts = "".join(read_texts(path)).splitlines()
    lines = pd.Series([text for text in texts if _is_intact(text)], dtype="str")
    fixes = lines.str.extract(_FIX)
    times = lines.str.extract(_TIME)[0].ffill()
    moments = times.ne(times.shift()).cumsum()  # sentences of one moment follow each other
    height, pressure = (
        pd.to_numeric(lines.str.extract(pattern)[0]).groupby(moments).transform("first")
        for pattern in (_HEIGHT, _PRESSURE)
    )
    # without a sensor the height is taken, as in GPX
    altitude = pressure if pressure.notna().any() else height / 0.3048
    fixes = fixes.assign(geoaltitude=height, altitude=altitude).dropna(subset=[0, 7])
    if fixes.empty:
        raise FormatError("no date: sentences RMC with a valid fix and checksum are missing")
    moments = fixes[7] + " " + fixes[0].str[:6]
    times = pd.to_datetime(moments, format="%d%m%y %H%M%S", utc=True, errors="coerce")
    parts = pd.to_numeric("0" + fixes[0].str[6:], errors="coerce").fillna(0)
    points = fixes.assign(
        flight_id=name_flight(path, options),
        timestamp=times + pd.to_timedelta(parts, unit="s"),
        latitude=fixes[1] + fixes[2],
        longitude=fixes[3] + fixes[4],
        groundspeed=fixes[5],
        track=fixes[6],
    )
    yield convert_points(points, _FIELDS)


def _is_intact(sentence: str) -> bool:
    """Return whether a sentence has the checksum that it gives, or gives none."""
    match = _SUM.search(sentence)
    return match is None or reduce(operator.xor, match[1].encode(), 0) == int(match[2], 16)


FORMAT = Format(
    name="nmea",
    title="NMEA sentences of satellite receivers (RMC, with GGA and PGRMZ)",
    needs="the log, one flight a file",
    recognize=lambda head: any(re.match(r"\$..(RMC|GGA),", line) for line in head.lines[:200]),
    read=_read,
)
