"""Flight points of EUROCONTROL's Aviation Data Repository for Research, one month per file."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Options
from trajlib.importers.formats.tables import point_reader

_FIELDS = {
    "flight_id": Field("ectrl id"),
    "timestamp": Field("time over"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("flight level", unit="FL"),
}


def _parse_times(batch: pd.DataFrame) -> pd.DataFrame:
    times = batch["time over"].astype("str")
    return batch.assign(
        **{"time over": pd.to_datetime(times, format="%d-%m-%Y %H:%M:%S", errors="coerce")}
    )


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    # filed and actual points have the same columns, and differ only in the name of the file
    other = "filed" if options.kind == "flight" else "actual"
    if other not in path.name.lower():
        yield from point_reader(_FIELDS, _parse_times)(path, options)


FORMAT = Format(
    name="eurocontrol",
    title="EUROCONTROL's R&D archive, flight points (CSV)",
    needs="Flight_Points_Actual_*, beside it Flights_*; Flight_Points_Filed_* are the plans",
    attribution="EUROCONTROL's aviation data for research",
    recognize=lambda head: head.has(
        "ectrl id", "time over", "flight level", "latitude", "longitude"
    ),
    read=_read,
    splittable=True,
)
