"""The formats from which flights are imported, one module each."""

import re
from pathlib import Path

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import find_missing, match_columns
from trajlib.importers.formats import (
    cpr,
    eurocontrol,
    flightaware,
    flightradar24,
    flightradar24_granular,
    flightradar24_playback,
    garmin,
    generic,
    gpx,
    iagos,
    igc,
    kml,
    opensky,
    positions,
    readsb,
    recorders,
    sbs,
    sfomuseum,
    so6,
    spire,
    tfms,
)
from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.tables import read_head
from trajlib.schema import REQUIRED

__all__ = [
    "FORMATS",
    "Format",
    "FormatError",
    "Head",
    "Options",
    "describe_formats",
    "find_format",
    "recognize_format",
]

# specific formats before general ones
FORMATS = (
    opensky.FORMAT,
    opensky.ANSWERS,
    sfomuseum.FORMAT,
    sfomuseum.GEOJSON,
    eurocontrol.FORMAT,
    so6.FORMAT,
    flightradar24.FORMAT,
    flightradar24_granular.FORMAT,
    flightradar24_playback.FORMAT,
    flightaware.FORMAT,
    positions.FORMAT,
    generic.PRU,
    cpr.FORMAT,
    readsb.FORMAT,
    readsb.SNAPSHOTS,
    sbs.FORMAT,
    tfms.FORMAT,
    tfms.PLANS,
    garmin.FORMAT,
    recorders.FORMAT,
    recorders.SI,
    spire.FORMAT,
    iagos.FORMAT,
    igc.FORMAT,
    kml.FORMAT,
    gpx.FORMAT,
    generic.PRC,
    generic.TRAFFIC,
    generic.LISTS,
    generic.FORMAT,
    generic.FLIGHTS,
)


def recognize_format(path: str | Path, dialect: Dialect | None = None) -> Format:
    """Return the format of a file, recognised by its content.

    Parameters
    ----------
    path
        The file.
    dialect
        The columns.toml of the source, used for files that have its columns.

    Raises
    ------
    FormatError
        When it is none of `FORMATS`, or cannot be used, with the reason.
    """
    head = read_head(Path(path))
    if dialect is not None and generic.recognize_flights(head, dialect):
        return generic.FLIGHTS
    if dialect is not None and generic.recognize_points(head, dialect):
        return generic.FORMAT
    for candidate in FORMATS:
        if candidate.recognize(head):
            return candidate
    if len(head.names) < 2:
        raise FormatError("no known format: neither a header nor a content that is known")
    filled = [name for name in head.names if name.strip()]
    if 2 * sum(bool(re.fullmatch(r"[-+\d.:/TZ ]+", name)) for name in filled) >= len(filled):
        raise FormatError(
            "no header: its first line holds values. Write a line with the names of the columns "
            "above it, as timestamp,latitude,longitude,altitude"
        )
    if _measures(head) and not any("lat" in name or "position" in name for name in head.columns):
        raise FormatError("no positions: without latitude and longitude there is no trajectory")
    missing = find_missing(match_columns(head.names, Dialect()).fields)
    absent = f", none of them {' or '.join(missing)}" if len(missing) < len(REQUIRED) else ""
    raise FormatError(
        f"no known format: its columns are {', '.join(head.names)[:100]}{absent}; a columns.toml "
        "gives them their meaning, and `python -m trajlib import --formats` lists the formats"
    )


def _measures(head: Head) -> bool:
    words = ("alti", "alt_", "speed", "spd", "mach")
    return any(name.startswith(words) or name.endswith(words) for name in head.columns)


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises
    ------
    FormatError
        When there is no such format.
    """
    formats = {entry.name: entry for entry in FORMATS}
    if name not in formats:
        raise FormatError(f"no format {name!r}; there are {', '.join(formats)}")
    return formats[name]


def describe_formats() -> str:
    """Return the list of formats and what each needs, as text."""
    lines = []
    for entry in FORMATS:
        lines += [f"{entry.name:<24}{entry.title}", f"{'':<24}needs {entry.needs}"]
    return "\n".join(lines)
