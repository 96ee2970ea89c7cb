"""Flightradar24's playback: one flight with identity, airports and track in a JSON."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import (
    Field,
    Format,
    FormatError,
    Head,
    Options,
    convert_points,
)
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
_FIELDS = {name: Field(name) for name in _IDENTITY} | {
    "timestamp": Field("timestamp"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "groundspeed": Field("speed"),
    "vertical_rate": Field("verticalspeed"),
    "track": Field("heading"),
    "onground": Field("onground"),
}


def _recognize(head: Head) -> bool:
    return head.kind == "json" and head.has("result", "response", "flight")


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    flight = _find(read_json(path), "result", "response", "data", "flight")
    track = _find(flight, "track")
    if not isinstance(track, list):
        raise FormatError("no track in result.response.data.flight")
    points = pd.DataFrame(
        {
            "timestamp": [_find(point, "timestamp") for point in track],
            "latitude": [_find(point, "latitude") for point in track],
            "longitude": [_find(point, "longitude") for point in track],
            "altitude": [_find(point, "altitude", "feet") for point in track],
            "speed": [_find(point, "speed", "kts") for point in track],
            "verticalspeed": [_find(point, "verticalSpeed", "fpm") for point in track],
            "heading": [_find(point, "heading") for point in track],
        }
    )
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
    recognize=_recognize,
    read=_read,
)
