"""NASA's Integrated Flight Format, as in the Sherlock data warehouse: radar tracks of the FAA."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Options, convert_points, find_texts
from trajlib.importers.formats.tables import name_flight, parse_csv, read_texts

_SHARED = "record time flight beacon cid source message ident category "
_TRACK = (_SHARED + "latitude longitude level significance x y z speed course rate").split()
_HEADER = (_SHARED + "type filed_origin filed_destination operation origin destination").split()
_LINE = re.compile(
    r"3,\d{9,10}\.\d+,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,\d*,-?\d+\.\d+,-?\d+\.\d+,"
)
_FIELDS = {
    "flight_id": Field("flight"),
    "callsign": Field("ident"),
    "aircraft_type": Field("type"),
    "origin": Field("origin"),  # found from the track by NASA; the filed ones may be fixes
    "destination": Field("destination"),
    "timestamp": Field("time"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("level", unit="100 ft"),
    "groundspeed": Field("speed"),
    "track": Field("course"),
    "vertical_rate": Field("rate"),
}
_TEXTS = find_texts(_FIELDS) | {"beacon"}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    headers = [_parse(text, "2", _HEADER) for text in read_texts(path)]
    flights = pd.concat(headers).drop_duplicates("flight", keep="last").set_index("flight")
    flights = flights[["type", "origin", "destination"]]
    name = name_flight(path, options)
    for text in read_texts(path):
        batch = _parse(text, "3", _TRACK).join(flights, on="flight")
        batch = batch.assign(
            flight=name + "-" + batch["flight"],
            ident=batch["ident"].where(batch["ident"] != batch["beacon"]),
        )
        yield convert_points(batch, _FIELDS)


def _parse(text: str, record: str, names: list[str]) -> pd.DataFrame:
    """Return the first fields of the records of one type."""
    lines = re.findall(rf"(?m)^{record},(?:[^,\n]*,){{{len(names) - 2}}}[^,\n]*", text)
    return parse_csv("\n".join(lines).encode(), names, names, _TEXTS) if lines else _empty(names)


def _empty(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=names, dtype="str")


FORMAT = Format(
    name="iff",
    title="NASA's Integrated Flight Format (IFF) of Sherlock",
    needs="the CSV of a facility and day; airports are those found by NASA, or inferred",
    attribution="NASA's Sherlock data warehouse",
    recognize=lambda head: any(map(_LINE.match, head.lines[:500])),
    read=_read,
)
