"""Propose the ``columns.toml`` of an archive from the first lines of a few files."""

import csv
import re
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import parse_dialect
from trajlib.archive.index import list_files, read_head_tail
from trajlib.archive.reading import LATEST, FlightError, find_fields
from trajlib.archive.storage import resolve
from trajlib.geodesy import find_airport
from trajlib.schema import COLUMNS, IDENTITY

__all__ = ["suggest_dialect"]

_FILES = 5  # that are looked into
# names in use elsewhere, in lower case, and the units that they come in where not the schema's
_ALIASES = {
    "timestamp": "time datetime date_time utc epoch",
    "latitude": "lat",
    "longitude": "lon lng long",
    "altitude": "alt baroaltitude:m baro_altitude:m pressure_altitude hp",
    "geoaltitude": "geoaltitude:m geo_altitude:m gnss_altitude height",
    "groundspeed": "gs ground_speed velocity:m/s speed",
    "vertical_rate": "vertrate:m/s vertical_speed roc rocd vs",
    "track": "heading_true course trk cog",
    "true_airspeed": "tas",
    "calibrated_airspeed": "cas",
    "mach": "mach_number",
    "temperature": "temp oat sat",
    "callsign": "ident flight flight_number",
    "operator": "airline carrier",
    "aircraft_type": "type typecode actype aircraft",
    "registration": "reg tail tail_number",
    "origin": "adep departure dep from",
    "destination": "ades arrival arr to dest",
}


def suggest_dialect(archive: str | Path) -> str:
    """Return the text of a ``columns.toml`` for an archive, with comments on what is missing.

    It looks at names, delimiter, decimals, the form of the times and airports in the paths. What
    it proposes is a start: units in particular are those that the names usually come with.

    Raises
    ------
    FileNotFoundError
        When the archive is not a folder, or holds no CSV.
    """
    files = list_files(archive).head(_FILES)
    paths = files["path"]
    lines = _first_lines(archive, files)
    delimiter = max(",;\t|", key=lines[0].count)
    names = [name.strip() for name in next(csv.reader(lines[:1], delimiter=delimiter))]
    sample = pd.DataFrame(list(csv.reader(lines[1:-1], delimiter=delimiter)), dtype="str")
    sample = sample.reindex(columns=range(len(names))).set_axis(names, axis=1)
    proposal = "\n".join([*_manner(delimiter, sample, paths), *_columns(names, sample)]) + "\n"
    return proposal + _missing(lines[0], proposal)


def _first_lines(archive: str | Path, files: pd.DataFrame) -> list[str]:
    for path, size in zip(files["path"], files["size"], strict=True):
        try:
            head, _ = read_head_tail(f"{resolve(archive)}/{path}", size)
        except (OSError, EOFError, FlightError):
            continue
        lines = head.decode("utf-8-sig", errors="replace").splitlines()[:20]
        if len(lines) > 1:
            return lines
    raise ValueError(f"none of the first {len(files)} files of {archive} holds a line of samples")


def _manner(delimiter: str, sample: pd.DataFrame, paths: pd.Series) -> list[str]:
    told = [] if delimiter == "," else [f"delimiter = {delimiter!r}".replace("'", '"')]
    if delimiter != "," and _any_match(sample, r"-?\d+,\d+"):
        told.append('decimal = ","')
    pattern = re.compile(r"(?P<origin>[A-Z]{3,4})[-_](?P<destination>[A-Z]{3,4})")
    if paths.map(lambda path: _joins_airports(pattern.search(path))).all():
        told.append(f"path = '{pattern.pattern}'")
    return told


def _any_match(sample: pd.DataFrame, pattern: str) -> bool:
    return any(sample[name].str.fullmatch(pattern).any() for name in sample)


def _joins_airports(found: re.Match | None) -> bool:
    try:
        return found is not None and all(map(find_airport, found.groups()))
    except ValueError:
        return False


def _columns(names: list[str], sample: pd.DataFrame) -> list[str]:
    told = ["", "[columns]"]
    for column, aliases in _ALIASES.items():
        if column in names and column != "timestamp":
            continue
        units = dict(alias.partition(":")[::2] for alias in aliases.split())
        for name in names:
            if name == column or name.lower() in units:
                told.append(_entry(column, name, units.get(name.lower(), ""), sample[name]))
                break
    return [line for line in told if line is not None]


def _entry(column: str, name: str, unit: str, values: pd.Series) -> str | None:
    extra = {"unit": unit} if unit else {}
    if column == "timestamp":
        numbers = pd.to_numeric(values, errors="coerce")
        if (numbers > LATEST).any():
            return f"# {name} counts no seconds since 1970: divide it, as milliseconds by 1,000"
        if numbers.notna().any():
            extra["format"] = "unix"
    if name == column and not extra:
        return None
    fields = ", ".join(f'{key} = "{text}"' for key, text in ({"column": name} | extra).items())
    return f"{column} = {{ {fields} }}"


def _missing(header: str, proposal: str) -> str:
    dialect = parse_dialect(proposal)
    try:
        _, fields = find_fields(header.encode(), dialect)
    except FlightError as error:
        return f"# still to be told: {error}\n"
    unknown = [name for name in IDENTITY[-2:] if name not in fields and name not in dialect.path]
    absent = [f"# nothing tells the {name}" for name in unknown]
    return "\n".join([*absent, f"# {len(fields)} of {len(COLUMNS)} columns are understood", ""])
