"""Positions in separate files from the flights: the exports of Flightradar24 and of the PRU."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Head, Options
from trajlib.importers.formats.flightradar24 import mark_ground
from trajlib.importers.formats.tables import name_flight, point_reader

_FIELDS = {
    "flight_id": Field("flight_id"),
    "timestamp": Field("snapshot_id", "event_time"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "groundspeed": Field("speed"),
    "vertical_rate": Field("vert_speed"),
    "track": Field("heading"),
    "onground": Field("onground"),
}


def _recognize(head: Head) -> bool:
    points = head.has("latitude", "longitude", "altitude", "speed")
    return points and (head.has("snapshot_id") or head.has("flight_id", "event_time"))


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    named = re.match(r"\d{8}_(\w+)", path.name)  # YYYYMMDD_ID.csv
    flight = named[1] if named else name_flight(path, options)

    def prepare(batch: pd.DataFrame, path: Path) -> pd.DataFrame:
        return mark_ground(batch if "flight_id" in batch else batch.assign(flight_id=flight))

    yield from point_reader(_FIELDS, prepare)(path, options)


FORMAT = Format(
    name="positions",
    title="positions and flights apart (exports of Flightradar24 and the PRU, CSV)",
    needs="files YYYYMMDD_ID.csv, and in the same folder the flights by flight_id",
    recognize=_recognize,
    read=_read,
)
