"""The formats from which flights are imported, by publisher or kind of file."""

import json
import re
from pathlib import Path

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import find_missing, match_columns
from trajlib.importers.formats import (
    eurocontrol,
    flightradar24,
    garmin,
    generic,
    iagos,
    iff,
    igc,
    interfaces,
    markup,
    nmea,
    opensky,
    readsb,
    recorders,
    sbs,
    sfomuseum,
    tfms,
)
from trajlib.importers.formats.base import Format, FormatError, Head
from trajlib.importers.formats.tables import read_head
from trajlib.schema import COLUMNS, REQUIRED

# specific formats before general ones
FORMATS = (
    opensky.FORMAT,
    opensky.ANSWERS,
    sfomuseum.FORMAT,
    sfomuseum.GEOJSON,
    eurocontrol.RESEARCH,
    eurocontrol.SO6,
    eurocontrol.ALLFT,
    flightradar24.FORMAT,
    flightradar24.GRANULAR,
    flightradar24.PLAYBACK,
    flightradar24.FEED,
    interfaces.FLIGHTAWARE,
    flightradar24.POSITIONS,
    generic.PRU,
    eurocontrol.CPR,
    readsb.FORMAT,
    readsb.SNAPSHOTS,
    interfaces.AIRLABS,
    interfaces.AVIATIONSTACK,
    sbs.FORMAT,
    iff.FORMAT,
    tfms.FORMAT,
    tfms.PLANS,
    garmin.FORMAT,
    recorders.FORMAT,
    recorders.SI,
    interfaces.SPIRE,
    iagos.FORMAT,
    igc.FORMAT,
    markup.KML,
    markup.GPX,
    nmea.FORMAT,
    generic.PRC,
    generic.TRAFFIC,
    generic.LISTS,
    generic.FORMAT,
    generic.FLIGHTS,
)

_OTHERS = {  # contents that are known and cannot be read, and what to do
    # binary, with times in front of the messages, and extended squitters in any text
    rb"\A\x1a[1-4]|(?:\A|\n)@[0-9a-fA-F]{12}(?:[0-9a-fA-F]{14}){1,2};"
    rb"|(?<![0-9a-zA-Z])8[c-fC-F][0-9a-fA-F]{26}(?![0-9a-zA-Z])": (
        "messages of Mode S that are not decoded: decode them first, as with dump1090 (port 30003, "
        "or aircraft.json) or traffic"
    ),
    rb"\ASQLite format 3\x00": (
        "a database of SQLite: export its table of positions as CSV, as by "
        "sqlite3 -header -csv FILE 'SELECT * FROM positions' > positions.csv"
    ),
    rb"\A(?:CDF[\x01\x02\x05]|\x89HDF\r\n|MATLAB \d)": (
        "NetCDF, HDF5 or MATLAB: write the variables as CSV, a row each time, with "
        "timestamp,latitude,longitude,altitude, as by xarray or scipy.io.loadmat"
    ),
    rb"\A\s*<\?xml|\A\s*<[a-zA-Z][\w:-]*[\s>]": (
        "XML of an unknown kind: only KML and GPX are read, so write the positions as CSV, with "
        "timestamp,latitude,longitude,altitude and a flight_id"
    ),
    rb"\A[A-Z0-9]{4};[A-Z0-9]{4};[^;\n]*;[^;\n]*;(?:[^;\n]*;){40}": (
        "a list of flights without points (exp2): take the so6 or the ALL_FT+ of the same day"
    ),
    rb"\A\d+ \w+ \d{9,10}\.\d+ \d{9,10}\.\d+ ": (
        "crossings of sectors without positions (t5): take the so6 or the ALL_FT+ of the same day"
    ),
}
_DEFAULT = Dialect()
_UNKNOWN = '"?"'  # in a draft, the name of a column
_HINT = (
    '  # in ft; in another unit { column = "?", unit = "m" }, or unit = "FL" for hundreds of feet'
)


def recognize_format(path: str | Path, dialect: Dialect = _DEFAULT) -> Format:
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
    if head.path.name == dialect.many.get("flights"):
        return generic.FLIGHTS
    if generic.recognize_points(head, dialect):
        return generic.FORMAT
    for candidate in FORMATS:
        if candidate.recognize(head):
            return candidate
    raise FormatError(_explain(head, dialect))


def _name_other(head: Head) -> str | None:
    """Return why a file cannot be read if its content is of one of the other known kinds."""
    reasons = (text for pattern, text in _OTHERS.items() if re.search(pattern, head.data[:4000]))
    return next(reasons, None)


def _explain(head: Head, dialect: Dialect) -> str:
    """Return why a file is in none of the formats, and what to do."""
    if reason := _name_other(head):
        return reason
    if len(head.names) < 2:
        unknown = "no known format: neither a header nor a content that is known"
        return unknown if head.data.strip() else "the file is empty"
    if not _has_header(head):
        return (
            "no header: its first line holds values. Write a line with the names of the columns "
            "above it, as timestamp,latitude,longitude,altitude"
        )
    if reason := generic.explain_names(head, dialect):
        return reason
    if _measures(head) and not any("lat" in name or "position" in name for name in head.columns):
        return (
            f"no positions: none of its columns {', '.join(head.names)[:100]} is known as latitude "
            "or longitude, without which there is no trajectory; a columns.toml can name them"
        )
    missing = find_missing(match_columns(head.names, dialect).fields)
    absent = f", none of them {' or '.join(missing)}" if len(missing) < len(REQUIRED) else ""
    remedy = "a columns.toml beside the files gives them their meaning"
    if dialect.names:
        remedy = "the columns.toml beside the files does not name them"
    return f"no known format: its columns are {', '.join(head.names)[:100]}{absent}; {remedy}"


def _has_header(head: Head) -> bool:
    filled = [name for name in head.names if name.strip()]
    values = sum(bool(re.fullmatch(r"[-+\d.:/TZ ]+", name)) for name in filled)
    return 2 * values < len(filled)


def _measures(head: Head) -> bool:
    words = ("alti", "alt_", "speed", "spd", "mach")
    return any(name.startswith(words) or name.endswith(words) for name in head.columns)


def draft_columns(path: str | Path) -> str | None:
    """Return a columns.toml to complete, for a table whose columns are not known.

    It is None where no columns.toml would help: without a header, if the required columns are
    known, or if the file cannot be opened.
    """
    try:
        head = read_head(Path(path))
    except FormatError:
        return None
    if _name_other(head):
        return None
    layout = match_columns(head.names, _DEFAULT)
    fields, missing = layout.fields, find_missing(layout.fields)
    if len(head.names) < 2 or not _has_header(head) or not missing:
        return None
    unknown = [name for number, name in enumerate(head.names) if number not in fields.values()]
    names = {name: json.dumps(head.names[number]) for name, number in fields.items()}
    height = names.pop("geoaltitude", None) if "altitude" in missing else None  # in no known unit
    lines = [f"# not known: {', '.join(unknown)}", "[columns]"]
    wanted = [name for name in REQUIRED if name in missing or name in names]
    for name in dict.fromkeys([*wanted, *(name for name in names if name in COLUMNS)]):
        unit = f', unit = "{layout.unit_names[name]}"' if name in layout.unit_names else ""
        entry = names.get(name, _UNKNOWN)
        if name == "altitude" and height:
            entry, unit = height, ', unit = "?"'
        hint = _HINT if name == "altitude" and entry == _UNKNOWN else ""
        lines.append(
            f"{name} = {{ column = {entry}{unit} }}" if unit else f"{name} = {entry}{hint}"
        )
    return "\n".join([*lines, "", "[import]", *_draft_import(names)])


def _draft_import(names: dict[str, str]) -> list[str]:
    """Return the lines of the table import, given the columns that are known, in quotes."""
    lines = [
        f"{key} = {names[key]}"
        for key in ("date", "position", "onground", "icao24")
        if key in names
    ]
    if "date" not in names:
        lines.append('# date = "?"  # column of the date, if timestamp has only the time of day')
    aircraft = names.get("icao24") or names.get("registration")
    if "flight_id" in names or aircraft is None:
        lines.append(f"flight_id = {names.get('flight_id', _UNKNOWN)}")
    else:
        lines.append(f'# flight_id = "?"  # not needed: {aircraft} identifies the aircraft')
    lines.append('# flights = "?"  # file of a second table with one row a flight, if there is one')
    return lines


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
