"""GPX of satellite receivers and flight bags: a flight for each track."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import (
    Field,
    Format,
    FormatError,
    Options,
    convert_points,
    key_by_file,
)
from trajlib.importers.formats.tables import name_flight, read_texts

_FIELDS = {
    "flight_id": Field("flight"),
    "timestamp": Field("time"),
    "latitude": Field("lat"),
    "longitude": Field("lon"),
    "altitude": Field("ele", unit="m"),
}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    # without an XML parser, since expanded entities can have any size
    text = "".join(read_texts(path))
    tracks = re.findall(r"<trk\b.*?</trk>", text, re.DOTALL)
    dated = False
    for number, track in enumerate(tracks):
        starts = pd.Series(re.findall(r"<trkpt\b.*?(?=<trkpt\b|</trkseg>)", track, re.DOTALL))
        points = pd.DataFrame(index=starts.index)
        for name in ("lat", "lon"):
            points[name] = starts.str.extract(rf"^<trkpt[^>]*\b{name}\s*=\s*[\"']([^\"']*)")[0]
        for name in ("ele", "time"):
            points[name] = starts.str.extract(rf"<{name}>\s*([^<]*?)\s*</{name}>")[0]
        dated |= points["time"].notna().any()
        name = name_flight(path, options)
        flight = name if len(tracks) == 1 else f"{name}-{number + 1}"
        if len(points):
            points = convert_points(points.assign(flight=flight), _FIELDS)
            yield key_by_file(points, flight)
    if not dated:
        raise FormatError("no times: a track needs the time of each point, <trkpt> with <time>")


FORMAT = Format(
    name="gpx",
    title="GPX of satellite receivers and flight bags",
    needs="one track a flight, with times",
    recognize=lambda head: b"<gpx" in head.data[:2000],
    read=_read,
)
