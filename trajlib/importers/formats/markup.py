"""Tracks in XML: GPX of satellite receivers, KML of Flightradar24 and FlightAware, flight bags."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Options
from trajlib.importers.formats.fields import Field, same_names
from trajlib.importers.formats.tables import convert_flights, read_texts

_GPX = {
    "flight_id": Field("flight_id"),
    "timestamp": Field("time"),
    "latitude": Field("lat"),
    "longitude": Field("lon"),
    "altitude": Field("ele", unit="m"),
}
_NAMES = ("flight_id", "callsign", "timestamp", "latitude", "longitude")
_KML = same_names(*_NAMES, altitude="m")
_DATED = re.compile(
    r"<TimeStamp>\s*<when>([^<]*)</when>.*?<Point>.*?<coordinates>([^<]*)</coordinates>", re.DOTALL
)

# both are read without an XML parser, since expanded entities can have any size


def _read_xml(path: Path) -> str:
    """Return a document without the prefix of its root; tracks of KML 2.3 become those of 2.2."""
    text = "".join(read_texts(path))
    if root := re.search(r"<([\w.-]+:)(?:gpx|kml)\b", text):
        text = re.sub(rf"<(/?){re.escape(root[1])}", r"<\1", text)
    return re.sub(r"<(/?)(?=(?:Track|coord)\b)", r"<\1gx:", text)


def _read_gpx(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    text = _read_xml(path)
    flights = []
    for track in re.findall(r"<trk\b.*?</trk>", text, re.DOTALL):
        starts = pd.Series(re.findall(r"<trkpt\b.*?(?=<trkpt\b|</trkseg>)", track, re.DOTALL))
        points = pd.DataFrame(index=starts.index)
        for name in ("lat", "lon"):
            points[name] = starts.str.extract(rf"^<trkpt[^>]*\b{name}\s*=\s*[\"']([^\"']*)")[0]
        for name in ("ele", "time"):
            points[name] = starts.str.extract(rf"<{name}>\s*([^<]*?)\s*</{name}>")[0]
        flights.append(points)
    if not any(points["time"].notna().any() for points in flights):
        raise FormatError("no times: a track needs the time of each point, <trkpt> with <time>")
    yield from convert_flights(path, options, flights, _GPX)


def _read_kml(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    text = _read_xml(path)
    placemarks = re.findall(r"<Placemark\b.*?</Placemark>", text, re.DOTALL)
    tracks = [_read_track(part) for part in placemarks if "<gx:Track" in part]
    dated = [match.groups() for part in placemarks for match in _DATED.finditer(part)]
    if dated and not tracks:
        tracks = [([when for when, _ in dated], [position.split(",") for _, position in dated])]
    if not tracks:
        raise FormatError("no times: neither a gx:Track nor points with a TimeStamp")
    name = re.search(r"<name>(?:FlightAware\W+|\w+/)?([A-Z]{2,3}\d\w{0,4})\b", text)
    callsign = name[1] if name and len(tracks) == 1 else None
    flights = []
    for when, coordinates in tracks:
        points = pd.DataFrame([position[:3] for position in coordinates]).reindex(columns=range(3))
        points.columns = ["longitude", "latitude", "altitude"]
        flights.append(points.assign(timestamp=when, callsign=callsign))
    yield from convert_flights(path, options, flights, _KML)


def _read_track(text: str) -> tuple[list[str], list[list[str]]]:
    """Return the times and the coordinates of a placemark, whose track may be in parts."""
    when = re.findall(r"<when>([^<]*)</when>", text)
    coordinates = re.findall(r"<gx:coord>([^<]*)</gx:coord>", text)
    if len(when) != len(coordinates):
        raise FormatError(f"{len(when)} times and {len(coordinates)} positions in the gx:Track")
    return when, [position.split() for position in coordinates]


KML = Format(
    name="kml",
    title="KML of Flightradar24, FlightAware and flight bags (gx:Track, or points with times)",
    needs="one file a flight, or one gx:Track a flight",
    recognize=lambda head: bool(re.search(rb"<([\w.-]+:)?kml\b", head.data[:2000])),
    read=_read_kml,
)
GPX = Format(
    name="gpx",
    title="GPX of satellite receivers and flight bags",
    needs="one track a flight, with times",
    recognize=lambda head: bool(re.search(rb"<([\w.-]+:)?gpx\b", head.data[:2000])),
    read=_read_gpx,
)
