"""SFO Museum's open flight records: points.parquet and flights.parquet, or a clone of GeoJSON."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import convert_points, same_names
from trajlib.importers.formats.tables import point_reader, read_head, read_json
from trajlib.schema import IDENTITY

ATTRIBUTION = (
    "SFO Museum's open flight records (github.com/sfomuseum-data), derived from the SWIM feed of "
    "the Federal Aviation Administration, published under the Community Data License Agreement, "
    "Permissive, Version 1.0 (CDLA-Permissive-1.0)"
)
SPACING = 30.0  # s: closer points come from two radars that disagree
_POINTS = ("flight_id", "timestamp", "latitude", "longitude", "altitude", "groundspeed")
_FIELDS = same_names(*_POINTS)
_TRACK_FIELDS = same_names(*_POINTS, *IDENTITY)


def _recognize(head: Head) -> bool:
    if set(head.columns) != set(_POINTS):
        return False
    beside = head.path.with_name("flights.parquet")
    return beside.is_file() and read_head(beside).has("flight_id", *IDENTITY, "date")


def _recognize_geojson(head: Head) -> bool:
    return head.kind == "json" and (b'"swim:' in head.data or b'"flysfo:' in head.data)


def _drop_absent_speeds(batch: pd.DataFrame) -> pd.DataFrame:
    speed = pd.to_numeric(batch["groundspeed"], errors="coerce")
    return batch.assign(groundspeed=speed.where(speed != 0))  # the feed has 0 for missing values


def _read_geojson(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    """Yield the points of a track; its identity is in the file ID.geojson beside it."""
    number = re.fullmatch(r"(\d+)-alt-swim-path\.geojson", path.name)
    if not number or (options.wanted is not None and number[1] not in options.wanted):
        return
    track = read_json(path)
    try:
        properties, geometry = track["properties"], track["geometry"]
        lines = geometry["coordinates"]
        if geometry["type"] != "LineString":  # cut at the antimeridian
            lines = [*itertools.chain.from_iterable(lines)]
        points = pd.DataFrame(
            {
                "flight_id": number[1],
                "timestamp": properties["swim:timestamps"],
                "longitude": [position[0] for position in lines],
                "latitude": [position[1] for position in lines],
                # in hundreds of feet; C and T mark assigned levels
                "altitude": [text.rstrip("CT") for text in properties["swim:altitudes"]],
                "groundspeed": properties["swim:speeds"],
            }
        )
        record = read_json(path.with_name(f"{number[1]}.geojson"))["properties"]
        identity = _identify(record)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise FormatError(f"its record or its points cannot be read: {error!r}") from error
    hundreds = pd.to_numeric(points["altitude"], errors="coerce")
    points = _drop_absent_speeds(points.assign(altitude=hundreds * 100))
    yield convert_points(points.assign(**identity), _TRACK_FIELDS)


def _identify(record: dict) -> dict[str, str | None]:
    origin, destination = record["flysfo:journey"].split("-")
    # from 2020 on the number carries the airline's IATA code: UA2617, B62535
    number = record["flysfo:flight_number"].removeprefix(record["flysfo:airline"])
    return {
        "callsign": record["icao:airline"] + number,
        "operator": record["icao:airline"],
        "aircraft_type": record.get("icao:aircraft") or None,
        "registration": record.get("swim:tail_number") or None,
        "origin": origin,
        "destination": destination,
    }


FORMAT = Format(
    name="sfomuseum",
    title="SFO Museum's flight records (points.parquet and flights.parquet)",
    needs="both files in one folder",
    recognize=_recognize,
    read=point_reader(_FIELDS, _drop_absent_speeds),
    attribution=ATTRIBUTION,
    spacing=SPACING,
)
GEOJSON = Format(
    name="sfomuseum-geojson",
    title="SFO Museum's flight records (clone of sfomuseum-data-flights-YYYY-MM)",
    needs="the clone: data/…/ID.geojson and data/…/ID-alt-swim-path.geojson",
    recognize=_recognize_geojson,
    read=_read_geojson,
    attribution=ATTRIBUTION,
    spacing=SPACING,
)
