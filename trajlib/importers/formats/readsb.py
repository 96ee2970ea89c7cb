"""Traces and snapshots of readsb and tar1090, also from adsb.lol and ADS-B Exchange."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Options
from trajlib.importers.formats.fields import Field, convert_points, find_wind, same_names
from trajlib.importers.formats.tables import point_reader, read_json

_NAMES = (
    "seconds latitude longitude altitude groundspeed track flags vertical_rate state source "
    "geoaltitude"
)
_POINT = _NAMES.split()
_NAMED = ("timestamp", "track", "roll", "mach", "wind_u", "wind_v", "onground", "new_leg")
_FIELDS = same_names(*_NAMED) | {
    "callsign": Field("flight"),
    "registration": Field("r"),
    "aircraft_type": Field("t"),
    "heading": Field("true_heading"),
    "calibrated_airspeed": Field("ias"),
    "true_airspeed": Field("tas"),
    "temperature": Field("oat", unit="degC"),
}
_TRACE = {"icao24": Field("icao")} | _FIELDS
_TRACE |= same_names(
    "latitude", "longitude", "altitude", "geoaltitude", "groundspeed", "vertical_rate"
)
_SNAPSHOT = _FIELDS | {
    "icao24": Field("hex"),
    "latitude": Field("lat"),
    "longitude": Field("lon"),
    "altitude": Field("alt_baro", "altitude"),
    "geoaltitude": Field("alt_geom"),
    "groundspeed": Field("gs", "speed"),
    "vertical_rate": Field("baro_rate", "vert_rate"),
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
    states = [state if isinstance(state, dict) else {} for state in points["state"]]
    points = points.join(pd.DataFrame(states, columns=_STATE))
    flags = pd.to_numeric(points["flags"], errors="coerce").fillna(0).astype(int)
    ground = points["altitude"].astype("str") == "ground"
    altitude = pd.to_numeric(points["altitude"], errors="coerce")
    speed, direction = (pd.to_numeric(points[name], errors="coerce") for name in ("ws", "wd"))
    points = points.assign(
        timestamp=start + pd.to_numeric(points["seconds"], errors="coerce"),
        altitude=altitude.where(flags & 8 == 0),  # the others are geometric
        geoaltitude=points["geoaltitude"].fillna(altitude.where(flags & 8 != 0)),
        flight=points["flight"].ffill(),  # given every few points
        **find_wind(speed, direction),
        onground=ground,
        new_leg=flags & 2 != 0,
        **{name: aircraft.get(name) for name in ("icao", "r", "t")},
    )
    yield convert_points(points, _TRACE)


def _date_positions(batch: pd.DataFrame) -> pd.DataFrame:
    names = ("around.now", "now", "seen_pos", "wd", "ws", "alt_baro", "altitude")
    batch = batch.reindex(columns=[*dict.fromkeys([*batch, *names])])
    file_time, aircraft_time, age, direction, speed = (
        pd.to_numeric(batch[name], errors="coerce")
        for name in ("around.now", "now", "seen_pos", "wd", "ws")
    )
    now = aircraft_time.fillna(file_time)
    ground = batch["alt_baro"].fillna(batch["altitude"]).astype("str") == "ground"
    return batch.assign(
        timestamp=now.where(now < 1e11, now / 1000) - age.fillna(0),  # interfaces give ms
        onground=ground,
        **find_wind(speed, direction),
    )


FORMAT = Format(
    name="readsb",
    title="traces of readsb, tar1090, adsb.lol and ADS-B Exchange (JSON)",
    needs="trace_full_*.json, gzipped or not; airports are inferred",
    recognize=lambda head: head.kind == "json" and head.has("icao", "timestamp", "trace"),
    read=_read,
    splittable=True,
)
SNAPSHOTS = Format(
    name="readsb-snapshots",
    title="snapshots of all aircraft by readsb, tar1090, dump1090 and ADS-B Exchange (JSON)",
    needs="files as aircraft.json or history_0.json; airports are inferred",
    recognize=lambda head: (
        head.kind == "json"
        and head.has("now")
        and (head.has("aircraft") or head.has("ac") or head.has("hex", "lat", "lon"))
    ),
    read=point_reader(
        _SNAPSHOT, _date_positions, extra=("around.now", "now", "seen_pos", "wd", "ws")
    ),
    splittable=True,
)
