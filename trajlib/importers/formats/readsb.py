"""Traces of readsb and tar1090, as published by adsb.lol and ADS-B Exchange."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import (
    Field,
    Format,
    FormatError,
    Options,
    convert_points,
    find_wind,
)
from trajlib.importers.formats.tables import read_json

_NAMES = "seconds latitude longitude altitude speed track flags rate state source geo"
_POINT = _NAMES.split()
_FIELDS = {
    "icao24": Field("icao"),
    "callsign": Field("flight"),
    "registration": Field("r"),
    "aircraft_type": Field("t"),
    "timestamp": Field("timestamp"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "geoaltitude": Field("geo"),
    "groundspeed": Field("speed"),
    "track": Field("track"),
    "heading": Field("true_heading"),
    "vertical_rate": Field("rate"),
    "calibrated_airspeed": Field("ias"),
    "roll": Field("roll"),
    "true_airspeed": Field("tas"),
    "mach": Field("mach"),
    "temperature": Field("oat", unit="degC"),
    "wind_u": Field("wind_u"),
    "wind_v": Field("wind_v"),
    "onground": Field("onground"),
    "new_leg": Field("new_leg"),
}
_STATE = ("flight", "true_heading", "tas", "mach", "oat", "wd", "ws")


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    aircraft = read_json(path)
    if not isinstance(aircraft, dict):
        raise FormatError("no object of an aircraft")
    start, trace = aircraft.get("timestamp"), aircraft.get("trace")
    if not isinstance(start, int | float) or not isinstance(trace, list):
        raise FormatError("no timestamp or no trace")
    if not trace:
        return
    width = len(_POINT)
    rows = [[*point, *[None] * width][:width] for point in trace if isinstance(point, list)]
    points = pd.DataFrame(rows, columns=_POINT)
    for name in _STATE:
        points[name] = [
            state.get(name) if isinstance(state, dict) else None for state in points["state"]
        ]
    flags = pd.to_numeric(points["flags"], errors="coerce").fillna(0).astype(int)
    ground = points["altitude"].astype("str") == "ground"
    altitude = pd.to_numeric(points["altitude"], errors="coerce")
    speed, direction = (pd.to_numeric(points[name], errors="coerce") for name in ("ws", "wd"))
    points = points.assign(
        timestamp=start + pd.to_numeric(points["seconds"], errors="coerce"),
        altitude=altitude.where(flags & 8 == 0),  # the others are geometric
        geo=points["geo"].fillna(altitude.where(flags & 8 != 0)),
        flight=points["flight"].ffill(),  # given every few points
        **find_wind(speed, direction),
        onground=ground,
        new_leg=flags & 2 != 0,
        **{name: aircraft.get(name) for name in ("icao", "r", "t")},
    )
    yield convert_points(points, _FIELDS)


FORMAT = Format(
    name="readsb",
    title="traces of readsb, tar1090, adsb.lol and ADS-B Exchange (JSON)",
    needs="trace_full_*.json, gzipped or not; airports are inferred",
    recognize=lambda head: head.kind == "json" and head.has("icao", "timestamp", "trace"),
    read=_read,
    splittable=True,
)
