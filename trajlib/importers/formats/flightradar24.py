"""Flightradar24's web download: one aircraft's positions in a CSV."""

from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format
from trajlib.importers.formats.tables import point_reader

_FIELDS = {
    "callsign": Field("callsign"),
    "timestamp": Field("timestamp", "utc"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "groundspeed": Field("speed"),
    "track": Field("direction"),
    "onground": Field("onground"),
}


def _prepare(batch: pd.DataFrame, path: Path) -> pd.DataFrame:
    position = batch["position"].astype("str").str.split(",", expand=True, n=1)
    return mark_ground(batch.assign(latitude=position[0], longitude=position.reindex([1], axis=1)))


def mark_ground(batch: pd.DataFrame) -> pd.DataFrame:
    """Return a table without altitudes of 0 ft, which only mean on the ground."""
    altitude = pd.to_numeric(batch["altitude"], errors="coerce")
    return batch.assign(altitude=altitude.where(altitude != 0), onground=altitude == 0)


FORMAT = Format(
    name="flightradar24",
    title="Flightradar24, web download (CSV)",
    needs="a flight's CSV from its playback page; airports are inferred",
    attribution="Flightradar24",
    recognize=lambda head: head.has("timestamp", "position", "altitude", "speed", "direction"),
    read=point_reader(_FIELDS, _prepare, extra=["position"]),
)
