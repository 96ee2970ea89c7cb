"""Tracks of FlightAware's AeroAPI: one flight a file, altitudes in hundreds of feet."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Options, same_names
from trajlib.importers.formats.tables import name_flight, point_reader

_NAMES = ("timestamp", "latitude", "longitude", "groundspeed")
_FIELDS = same_names(*_NAMES, altitude="100 ft") | {
    "flight_id": Field("fa_flight_id"),
    "callsign": Field("ident"),
    "track": Field("heading"),
}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    def identify(batch: pd.DataFrame) -> pd.DataFrame:
        ids = batch["fa_flight_id"].astype("str").where(batch["fa_flight_id"].notna())
        ident = ids.str.extract(r"^([A-Z]{2,3}\d\w*)-")[0]
        return batch.assign(fa_flight_id=ids.fillna(name_flight(path, options)), ident=ident)

    yield from point_reader(_FIELDS, identify)(path, options)


FORMAT = Format(
    name="flightaware",
    title="FlightAware, tracks of AeroAPI (JSON or CSV)",
    needs="one file a flight; airports are inferred",
    attribution="FlightAware",
    recognize=lambda head: head.has(
        "fa_flight_id", "timestamp", "latitude", "longitude", "altitude", "groundspeed"
    ),
    read=_read,
)
