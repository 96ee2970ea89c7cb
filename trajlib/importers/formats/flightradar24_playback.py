"""Flightradar24's playback: one flight with identity, airports and track in a JSON."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, FormatError, Options, convert_points
from trajlib.importers.formats.flightradar24 import mark_ground
from trajlib.importers.formats.tables import read_json

_IDENTITY = {
    "flight_id": ("identification", "id"),
    "callsign": ("identification", "callsign"),
    "icao24": ("aircraft", "identification", "modes"),
    "registration": ("aircraft", "identification", "registration"),
    "aircraft_type": ("aircraft", "model", "code"),
    "operator": ("airline", "code", "icao"),
    "origin": ("airport", "origin", "code", "icao"),
    "destination": ("airport", "destination", "code", "icao"),
}
_POINT = {
    "timestamp": ("timestamp",),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "altitude": ("altitude", "feet"),
    "groundspeed": ("speed", "kts"),
    "vertical_rate": ("verticalSpeed", "fpm"),
    "track": ("heading",),
}
_FIELDS = {name: Field(name) for name in (*_IDENTITY, *_POINT, "onground")}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    flight = _find(read_json(path), "result", "response", "data", "flight")
    track = _find(flight, "track")
    if not isinstance(track, list):
        raise FormatError("no track in result.response.data.flight")
    points = pd.DataFrame()
    for name, keys in _POINT.items():
        points[name] = [_find(point, *keys) for point in track]
    identity = {name: _find(flight, *keys) for name, keys in _IDENTITY.items()}
    identity = {name: text for name, text in identity.items() if isinstance(text, str)}
    if len(points):
        yield convert_points(mark_ground(points).assign(**identity), _FIELDS)


def _find(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


FORMAT = Format(
    name="flightradar24-playback",
    title="Flightradar24, playback (JSON)",
    needs="the JSON; it names the airports",
    attribution="Flightradar24",
    recognize=lambda head: head.kind == "json" and head.has("result", "response", "flight"),
    read=_read,
)
