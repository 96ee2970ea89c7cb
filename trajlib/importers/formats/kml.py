"""KML of FlightAware: one flight as a gx:Track."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, FormatError, Options, convert_points
from trajlib.importers.formats.tables import name_flight, read_texts

_FIELDS = {
    "flight_id": Field("flight"),
    "callsign": Field("callsign"),
    "timestamp": Field("when"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude", unit="m"),
}


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    # without an XML parser, since expanded entities can have any size
    text = "".join(read_texts(path))
    track = re.search(r"<gx:Track\b.*?</gx:Track>", text, re.DOTALL)
    when = re.findall(r"<when>([^<]*)</when>", track[0] if track else "")
    coordinates = re.findall(r"<gx:coord>([^<]*)</gx:coord>", track[0] if track else "")
    if len(when) != len(coordinates):
        raise FormatError(f"{len(when)} times and {len(coordinates)} positions in the gx:Track")
    points = pd.DataFrame([text.split()[:3] for text in coordinates]).reindex(columns=range(3))
    points.columns = ["longitude", "latitude", "altitude"]
    name = re.search(r"<name>(?:FlightAware\W+)?([A-Z]{2,3}\d\w{0,4})\b", text)
    yield convert_points(
        points.assign(
            when=when, flight=name_flight(path, options), callsign=name[1] if name else None
        ),
        _FIELDS,
    )


FORMAT = Format(
    name="kml",
    title="FlightAware KML (gx:Track)",
    needs="one file a flight",
    recognize=lambda head: b"<kml" in head.data[:2000] and b"<gx:Track" in head.data,
    read=_read,
)
