"""Flightradar24: downloads of its pages, positions apart from flights, all messages, playback."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import Field, convert_points, same_names
from trajlib.importers.formats.tables import (
    name_flight,
    point_reader,
    read_head,
    read_json,
    read_texts,
)

_SHARED = same_names("timestamp", "latitude", "longitude", "altitude", "onground")
_SHARED |= {"groundspeed": Field("speed")}
_WEB = _SHARED | {
    "callsign": Field("callsign"),
    "timestamp": Field("timestamp", "utc"),
    "track": Field("direction"),
}
_FEED_NAMES = (
    "icao24 latitude longitude track altitude groundspeed squawk radar aircraft_type registration "
    "timestamp origin destination number onground vertical_rate callsign"
)
_FEED_COLUMNS = _FEED_NAMES.split()
_FEED_OTHERS = ("squawk", "radar", "number")
_FEED = same_names(*(name for name in _FEED_COLUMNS if name not in _FEED_OTHERS))
_POSITIONS = _SHARED | {
    "flight_id": Field("flight_id"),
    "timestamp": Field("snapshot_id", "event_time"),
    "vertical_rate": Field("vert_speed"),
    "track": Field("heading"),
}
_GRANULAR = _SHARED | {
    "icao24": Field("hex"),
    "callsign": Field("callsign"),
    "geoaltitude": Field("GPSA"),
    "track": Field("track"),
    "vertical_rate": Field("vspeed"),
    "true_airspeed": Field("TAS"),
    "calibrated_airspeed": Field("IAS"),
    "mach": Field("MACH"),
    "heading": Field("HDG"),
    "roll": Field("ROLL"),
    "temperature": Field("OAT", unit="degC"),
}
_REPORTED = ("GPSA", "TAS", "IAS", "HDG", "ROLL", "OAT")
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
_PLAYBACK = same_names(*_IDENTITY, *_POINT, "onground")


def _mark_ground(batch: pd.DataFrame) -> pd.DataFrame:
    """Return a table without altitudes of 0 ft, which only mean on the ground."""
    altitude = pd.to_numeric(batch["altitude"], errors="coerce")
    return batch.assign(altitude=altitude.where(altitude != 0), onground=altitude == 0)


def _split_position(batch: pd.DataFrame) -> pd.DataFrame:
    position = batch["position"].astype("str").str.split(",", expand=True, n=1)
    return _mark_ground(batch.assign(latitude=position[0], longitude=position.reindex([1], axis=1)))


def _recognize_positions(head: Head) -> bool:
    points = head.has("latitude", "longitude", "altitude", "speed")
    return points and (head.has("snapshot_id") or head.has("flight_id", "event_time"))


def _read_positions(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    named = re.match(r"\d{8}_(\w+)", path.name)  # YYYYMMDD_ID.csv
    flight = named[1] if named else name_flight(path, options)

    def prepare(batch: pd.DataFrame) -> pd.DataFrame:
        return _mark_ground(batch if "flight_id" in batch else batch.assign(flight_id=flight))

    yield from point_reader(_POSITIONS, prepare)(path, options)


def _read_messages(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    names = [name for name in read_head(path).columns if name]
    for text in read_texts(path):
        lines = pd.Series(text.splitlines())
        lines = lines[lines.str.startswith(("1", "2"))].reset_index(drop=True)
        fields = lines.str.split(",", n=len(names), expand=True).iloc[:, : len(names)]
        batch = fields.set_axis(names[: fields.shape[1]], axis=1).reindex(columns=names)
        for name in _REPORTED:
            batch[name] = lines.str.extract(rf",{name}:(-?[\d.]+)")[0]
        batch["MACH"] = lines.str.extract(r",MACH:(0?\.\d+|1\.\d+)")[0]  # also given in 1/1000
        moment = batch["network_time"].str.extract(r"(.*)Z(\.\d+)?")
        batch["timestamp"] = moment[0] + moment[1].fillna("")
        batch["onground"] = batch["on_ground"].map({"A": False, "G": True, "0": False, "1": True})
        batch["latitude"] = batch["latitude"].where(batch["no_position"] != "N", np.nan)
        yield convert_points(batch, _GRANULAR)


def _read_playback(path: Path, options: Options) -> Iterator[pd.DataFrame]:
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
        yield convert_points(_mark_ground(points).assign(**identity), _PLAYBACK)


def _read_feed(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    answers = read_json(path)
    rows = []
    for answer in answers if isinstance(answers, list) else [answers]:
        lists = [part for part in answer.values() if isinstance(part, list)]
        rows += [
            part[:17] for part in lists if len(part) >= 17 and isinstance(part[1], int | float)
        ]
    yield convert_points(_mark_ground(pd.DataFrame(rows, columns=_FEED_COLUMNS)), _FEED)


def _find(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


FORMAT = Format(
    name="flightradar24",
    title="Flightradar24, web download (CSV)",
    needs="a flight's CSV from its playback page; airports are inferred",
    attribution="Flightradar24",
    recognize=lambda head: head.has("timestamp", "position", "altitude", "speed", "direction"),
    read=point_reader(_WEB, _split_position, extra=["position"]),
)
POSITIONS = Format(
    name="positions",
    title="positions and flights apart (exports of Flightradar24 and the PRU, CSV)",
    needs="files YYYYMMDD_ID.csv, and in the same folder the flights by flight_id",
    recognize=_recognize_positions,
    read=_read_positions,
)
GRANULAR = Format(
    name="flightradar24-granular",
    title="Flightradar24, granular data (CSV)",
    needs="the CSV; airports are inferred",
    attribution="Flightradar24",
    recognize=lambda head: head.has(
        "network_time", "receiver_time", "hex", "latitude", "longitude"
    ),
    read=_read_messages,
)
PLAYBACK = Format(
    name="flightradar24-playback",
    title="Flightradar24, playback (JSON)",
    needs="the JSON; it names the airports",
    attribution="Flightradar24",
    recognize=lambda head: head.kind == "json" and head.has("result", "response", "flight"),
    read=_read_playback,
)
FEED = Format(
    name="flightradar24-feed",
    title="Flightradar24, all aircraft of its map at a moment (JSON)",
    needs="files of one answer, or of one a line, several a flight",
    attribution="Flightradar24",
    recognize=lambda head: head.kind == "json" and head.has("full_count", "version"),
    read=_read_feed,
    splittable=True,
)
