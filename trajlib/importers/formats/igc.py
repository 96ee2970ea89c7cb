"""IGC files of gliders' recorders."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import same_names
from trajlib.importers.formats.tables import convert_flights, read_texts

# time, latitude, longitude, validity, pressure altitude and GNSS altitude
_FIX = (
    r"^B(\d{2})(\d{2})(\d{2})(\d{2})(\d{5})([NS])(\d{3})(\d{5})([EW])"
    r"([AV])(-\d{4}|\d{5})(-\d{4}|\d{5})"
)
_DATE = re.compile(r"(?m)^H[FOP]DTE(?:DATE)?:?\s*(\d{2})(\d{2})(\d{2})")
_NAMES = ("flight_id", "registration", "timestamp", "latitude", "longitude")
_FIELDS = same_names(*_NAMES, altitude="m", geoaltitude="m")


def _recognize(head: Head) -> bool:
    text = "\n".join(head.lines)
    dated, fixed = _DATE.search(text), re.search(f"(?m){_FIX}", text)
    return bool(dated and fixed) or bool(text.startswith("A") and (dated or fixed))


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    text = "".join(read_texts(path))
    date = _DATE.search(text)
    if not date:
        raise FormatError("no date: a line HFDTE with day, month and year is missing")
    day = pd.to_datetime("".join(date.groups()), format="%d%m%y", utc=True)
    fixes = pd.Series(text.splitlines()).str.extract(_FIX).dropna()
    number = fixes.drop(columns=[5, 8, 9]).astype(float)
    seconds = number[0] * 3600 + number[1] * 60 + number[2]
    midnights = (seconds.diff() < -43200).cumsum()
    sensor = number[10].ne(0).any()  # without a sensor all are 0
    pilot = re.search(r"(?m)^HFGID[^:\n]*:[ \t]*([\w-]+)", text)
    points = pd.DataFrame(
        {
            "registration": pilot[1] if pilot else None,
            "timestamp": day + pd.to_timedelta(seconds + 86400 * midnights, unit="s"),
            "latitude": (number[3] + number[4] / 60000) * np.where(fixes[5] == "S", -1, 1),
            "longitude": (number[6] + number[7] / 60000) * np.where(fixes[8] == "W", -1, 1),
            "geoaltitude": number[11].where(fixes[9] == "A"),
        }
    )
    # phones have no sensor: as in GPX, the height is the altitude
    points["altitude"] = number[10] if sensor else points["geoaltitude"]
    yield from convert_flights(path, options, [points], _FIELDS)


FORMAT = Format(
    name="igc",
    title="IGC files of gliders' recorders",
    needs="one file a flight",
    recognize=_recognize,
    read=_read,
)
