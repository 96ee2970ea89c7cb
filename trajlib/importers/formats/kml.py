"""KML of Flightradar24, FlightAware and flight bags: flights as gx:Track, or dated points."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import (
    Format,
    FormatError,
    Options,
    convert_points,
    key_by_file,
    same_names,
)
from trajlib.importers.formats.tables import name_flight, read_texts

_NAMES = ("flight_id", "callsign", "timestamp", "latitude", "longitude")
_FIELDS = same_names(*_NAMES, altitude="m")
_DATED = re.compile(
    r"<TimeStamp>\s*<when>([^<]*)</when>.*?<Point>.*?<coordinates>([^<]*)</coordinates>", re.DOTALL
)


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    # without an XML parser, since expanded entities can have any size
    text = "".join(read_texts(path))
    placemarks = re.findall(r"<Placemark\b.*?</Placemark>", text, re.DOTALL)
    tracks = [part for part in placemarks if "<gx:Track" in part]
    flights = [_read_track(track) for track in tracks]
    dated = [match.groups() for part in placemarks for match in _DATED.finditer(part)]
    if dated and not flights:
        flights = [([when for when, _ in dated], [position.split(",") for _, position in dated])]
    if not flights:
        raise FormatError("no times: neither a gx:Track nor points with a TimeStamp")
    name = re.search(r"<name>(?:FlightAware\W+|\w+/)?([A-Z]{2,3}\d\w{0,4})\b", text)
    for number, (when, coordinates) in enumerate(flights):
        points = pd.DataFrame([position[:3] for position in coordinates]).reindex(columns=range(3))
        points.columns = ["longitude", "latitude", "altitude"]
        flight = name_flight(path, options)
        flight = flight if len(flights) == 1 else f"{flight}-{number + 1}"
        callsign = name[1] if name and len(flights) == 1 else None
        points = points.assign(timestamp=when, flight_id=flight, callsign=callsign)
        yield key_by_file(convert_points(points, _FIELDS), flight)


def _read_track(text: str) -> tuple[list[str], list[list[str]]]:
    """Return the times and the coordinates of a placemark, whose track may be in parts."""
    when = re.findall(r"<when>([^<]*)</when>", text)
    coordinates = re.findall(r"<gx:coord>([^<]*)</gx:coord>", text)
    if len(when) != len(coordinates):
        raise FormatError(f"{len(when)} times and {len(coordinates)} positions in the gx:Track")
    return when, [position.split() for position in coordinates]


FORMAT = Format(
    name="kml",
    title="KML of Flightradar24, FlightAware and flight bags (gx:Track, or points with times)",
    needs="one file a flight, or one gx:Track a flight",
    recognize=lambda head: b"<kml" in head.data[:2000],
    read=_read,
)
