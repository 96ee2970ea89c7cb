"""The description of an archive: the ``columns.toml`` in its root folder."""

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from trajlib.archive.storage import exists, open_file
from trajlib.schema import COLUMNS, IDENTITY

# from a unit to the schema's: value * factor + offset
_UNITS = {
    ("m", "ft"): (1 / 0.3048, 0.0),
    ("km", "ft"): (1000 / 0.3048, 0.0),
    ("FL", "ft"): (100.0, 0.0),
    ("100 ft", "ft"): (100.0, 0.0),
    ("km", "NM"): (1 / 1.852, 0.0),
    ("m", "NM"): (1 / 1852, 0.0),
    ("m/s", "kt"): (3600 / 1852, 0.0),
    ("km/h", "kt"): (1 / 1.852, 0.0),
    ("mph", "kt"): (1.609344 / 1.852, 0.0),
    ("NM/s", "kt"): (3600.0, 0.0),
    ("m/s", "ft/min"): (60 / 0.3048, 0.0),
    ("ft/s", "ft/min"): (60.0, 0.0),
    ("rad", "deg"): (57.29577951308232, 0.0),
    ("arcmin", "deg"): (1 / 60, 0.0),
    ("degC", "K"): (1.0, 273.15),
    ("hPa", "Pa"): (100.0, 0.0),
    ("t", "kg"): (1000.0, 0.0),
    ("lb", "kg"): (0.45359237, 0.0),
    ("min", "s"): (60.0, 0.0),
    ("h", "s"): (3600.0, 0.0),
    ("kg/h", "kg/s"): (1 / 3600, 0.0),
}

_KINDS = {  # allowed entries of a columns.toml
    "title": str,
    "source": str,
    "simulated": bool,
    "strict": bool,
    "modelled": list,
    "delimiter": str,
    "decimal": str,
    "path": str,
    "constants": dict,
    "columns": dict,
    "import": dict,
}
_IMPORT = {  # allowed entries of its table import
    "flight_id": str,
    "icao24": str,
    "onground": str,
    "date": str,
    "position": str,
    "flights": str,
    "gap": int,
}
_WORDS = {str: "a text", bool: "true or false", list: "a list", dict: "a table", int: "a number"}


@dataclass(frozen=True)
class Dialect:
    """How to read the CSVs of an archive, and its description for reports.

    Attributes
    ----------
    title, source
        Description of the archive, and its source with the licence.
    simulated
        Whether the flights are simulated, and only test the code.
    strict
        Whether flights that need a repair are rejected.
    modelled
        Columns that a model computed from the others.
    delimiter, decimal
        Delimiter of fields, and decimal mark of numbers.
    time_format
        ``ISO 8601``, ``unix`` (seconds since 1970) or a format of ``strptime``.
    timezone
        IANA name of the time zone of times without a zone.
    names
        The archive's names of columns of the schema, where they differ.
    units
        Factor and offset of columns, for conversion to the schema's unit.
    constants
        Identity of all flights, such as ``origin``.
    path
        Regular expression searched for in a file's path; its named groups are identity columns.
    many
        For the import of files that hold many flights: the columns ``flight_id``, ``icao24``,
        ``onground``, ``date`` (if separate from the time) and ``position`` (latitude
        and longitude in one field), ``flights`` (the file with one row per flight), and
        ``gap`` [s], after which the same aircraft begins another flight.
    """

    title: str = ""
    source: str = ""
    simulated: bool = False
    strict: bool = False
    modelled: frozenset[str] = frozenset()
    delimiter: str = ","
    decimal: str = "."
    time_format: str = "ISO 8601"
    timezone: str = "UTC"
    # dictionaries have no hash; dialects are still compared by them
    names: dict[str, str] = field(default_factory=dict, hash=False)
    units: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    constants: dict[str, str] = field(default_factory=dict, hash=False)
    path: str = ""
    many: dict[str, Any] = field(default_factory=dict, hash=False)

    def name(self, column: str) -> str | None:
        """Return the archive's name of a column of the schema, None if another column has it.

        >>> dialect = Dialect(names={"track": "heading"})
        >>> [dialect.name(column) for column in ("track", "heading", "altitude")]
        ['heading', None, 'altitude']
        """
        taken = column not in self.names and column in self.names.values()
        return None if taken else self.names.get(column, column)

    def identity(self, path: str) -> dict[str, str]:
        r"""Return the identity columns given by constants and a file's path.

        >>> Dialect(path=r"(?P<origin>\w{4})-(?P<destination>\w{4})/").identity("LEMD-LEBL/7.csv")
        {'origin': 'LEMD', 'destination': 'LEBL'}
        """
        match = re.search(self.path, path) if self.path else None
        return self.constants | (match.groupdict() if match else {})

    def fingerprint(self) -> str:
        """Return a digest that changes with any setting that affects reading."""
        fields = (getattr(self, name) for name in self.__dataclass_fields__)
        text = repr([sorted(f) if isinstance(f, frozenset) else f for f in fields])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_dialect(archive: str | Path) -> Dialect:
    """Return the dialect of an archive: its ``columns.toml``, or the defaults without one.

    Raises
    ------
    ValueError
        When the file is not TOML, names a column, unit, zone or key that does not exist, or has
        a value of another kind than is expected.
    """
    path = f"{archive}/columns.toml"
    if not exists(path):
        return Dialect()
    try:
        with open_file(path) as file:
            return parse_dialect(file.read().decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"columns.toml of the archive {Path(archive).name}: {error}") from error


@cache
def parse_dialect(text: str) -> Dialect:
    """Return the dialect that the text of a ``columns.toml`` describes.

    >>> parse_dialect("columns.altitude = {column = 'baroaltitude', unit = 'm'}").name("altitude")
    'baroaltitude'
    """
    settings = tomllib.loads(text)
    for name, value in settings.items():
        _check_kind(name, value)
    many = settings.pop("import", {})
    for name, value in many.items():
        _check_kind(name, value, _IMPORT)
    columns = {name: _entry(name, entry) for name, entry in settings.pop("columns", {}).items()}
    names = {name: entry["column"] for name, entry in columns.items() if "column" in entry}
    shared = sorted({text for text in names.values() if [*names.values()].count(text) > 1})
    if shared:
        raise ValueError(f"more than one column is given as {', '.join(shared)}")
    units = {n: find_conversion(n, e["unit"]) for n, e in columns.items() if "unit" in e}
    time = columns.get("timestamp", {})
    groups = _compile(settings.get("path", "")).groupindex
    wrong = sorted({*settings.get("constants", {}), *groups} - {*IDENTITY})
    if wrong:
        raise ValueError(
            f"not identity columns: {', '.join(wrong)}; they are {', '.join(IDENTITY)}"
        )
    modelled = settings.pop("modelled", [])
    return Dialect(
        **settings,
        names=names,
        units=units,
        many=many,
        time_format=_check_format(time.get("format", "ISO 8601")),
        timezone=_check_zone(time.get("timezone", "UTC")),
        modelled=frozenset(_check_column(name) for name in modelled),
    )


def _check_kind(name: str, value: Any, kinds: dict[str, type] = _KINDS) -> None:
    if name not in kinds:
        raise ValueError(f"unknown key: {name}; there are {', '.join(kinds)}")
    kind = kinds[name]
    fits = type(value) is kind  # a name of its own, as mypy would take value for an object
    if not fits:
        raise ValueError(f"{name} is {value!r}, expected {_WORDS[kind]}")
    if name in ("delimiter", "decimal") and len(value) != 1:
        raise ValueError(f"{name} is {value!r}, expected one character")
    parts = value if kind is list else value.values() if name == "constants" else ()
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{name} is {value!r}, expected {_WORDS[kind]} of texts")


def _compile(path: str) -> re.Pattern:
    try:
        return re.compile(path)
    except re.error as error:
        raise ValueError(f"path is {path!r}, expected a regular expression: {error}") from error


def _check_format(text: str) -> str:
    if text in ("ISO 8601", "unix"):
        return text
    try:
        datetime.strptime(datetime.now(UTC).strftime(text), text)
    except ValueError as error:
        raise ValueError(f"format is {text!r}, expected one of strptime: {error}") from error
    return text


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"timezone is {name!r}, expected one as Europe/Madrid") from error
    return name


def _check_column(name: str) -> str:
    if name not in COLUMNS:
        raise ValueError(f"no column {name!r} in the schema; it has {', '.join(COLUMNS)}")
    return name


def _entry(name: str, entry: object) -> dict:
    _check_column(name)
    entry = {"column": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
        raise ValueError(f"{name} is {entry!r}, expected a name, or a table of texts")
    allowed = {"column", "format", "timezone"} if name == "timestamp" else {"column", "unit"}
    if set(entry) - allowed:
        unknown = ", ".join(sorted(set(entry) - allowed))
        raise ValueError(
            f"{name} has unknown keys: {unknown}; there are {', '.join(sorted(allowed))}"
        )
    return entry


def format_entry(name: str, **entry: str) -> str:
    """Return the line of a ``columns.toml`` that describes a column; empty values are left out.

    >>> format_entry("altitude", column="Lvl", unit="FL")
    'altitude = { column = "Lvl", unit = "FL" }'
    """
    parts = [
        f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in entry.items() if text
    ]
    return f"{name} = {{ {', '.join(parts)} }}"


def find_conversion(name: str, unit: str) -> tuple[float, float]:
    """Return factor and offset to convert a column from a unit to the schema's.

    >>> find_conversion("temperature", "degC")
    (1.0, 273.15)
    """
    target = COLUMNS[name].unit
    if unit == target:
        return 1.0, 0.0
    if (unit, target) not in _UNITS:
        convertible = [target, *(source for source, to in _UNITS if to == target)]
        raise ValueError(
            f"{name}: no conversion of {unit!r} to {target!r}; known are {', '.join(convertible)}"
        )
    return _UNITS[unit, target]
