"""Messages of BaseStation (SBS-1), as sent by dump1090 and other receivers on port 30003."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Options
from trajlib.importers.formats.fields import convert_points, find_texts, same_names
from trajlib.importers.formats.tables import parse_csv, read_texts

_NAMES = (
    "message type session aircraft icao24 flight date time date_logged time_logged callsign "
    "altitude groundspeed track latitude longitude vertical_rate squawk alert emergency spi "
    "onground"
)
_COLUMNS = _NAMES.split()
_LINE = re.compile(r"MSG,[1-8],[^,]*,[^,]*,[0-9A-Fa-f]{6},")

_CARRIED = ["callsign", "groundspeed", "track", "vertical_rate"]  # in separate messages
_FIELDS = same_names(
    *("icao24", "timestamp", "latitude", "longitude", "altitude", "onground"), *_CARRIED
)


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    texts = find_texts(_FIELDS) | {"date", "time", "onground"}
    latest = pd.DataFrame(columns=["icao24", *_CARRIED])
    dated = False
    for text in read_texts(path):
        batch = parse_csv(text.encode(), _COLUMNS, _COLUMNS, texts)
        batch = pd.concat([latest, batch[batch["message"] == "MSG"]], ignore_index=True)
        dated |= batch["date"].notna().any()
        batch[_CARRIED] = batch.groupby("icao24")[_CARRIED].ffill()
        latest = batch.drop_duplicates("icao24", keep="last")[["icao24", *_CARRIED]]
        moment = batch["date"].str.replace("/", "-") + "T" + batch["time"]
        ground = batch["onground"].replace("-1", "1")
        yield convert_points(batch.assign(timestamp=moment, onground=ground), _FIELDS)
    if not dated:
        raise FormatError("its messages have no times: record them with date and time")


FORMAT = Format(
    name="sbs",
    title="BaseStation messages of a receiver (dump1090, port 30003)",
    needs="the messages as received; airports are inferred",
    recognize=lambda head: any(map(_LINE.match, head.lines[:100])),  # others may come first
    read=_read,
    splittable=True,
)
