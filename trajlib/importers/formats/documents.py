"""Records in JSON documents: nested objects, records within others, columns as lists, GeoJSON."""

import itertools
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import FlightError, match_columns
from trajlib.schema import NUMERIC

_DEFAULT = Dialect()
_DEEPEST = 8  # objects within objects
_FIRST = 100  # records that show whether there are positions
_COLUMNS = 3  # lists of one length that are taken for the columns of a table
_MOMENTS = {"timestamp", "date", "clock"}
_TIMES = {"timestamp", "clock"}
_PLACES = {"latitude", "position"}
_STALE = "lastPosition"  # of readsb, where an aircraft was more than a minute ago
_FLIGHT = re.compile(r"(?i)(^|\.)flight\.(icao|iata)(_?number)?$")
_MEASURED = {*NUMERIC, *_MOMENTS, "position", "onground"}
_IDENTITIES = {"callsign", "registration", "icao24", "hex", "flight_id", "typecode"}
_AIRPORT = re.compile(r"(?i)(^|\.)(dep|arr|origin|dest|airport|adep|ades|from|to\b|home|receiver)")


def parse_beginning(text: str) -> Any:
    """Return the JSON whose beginning a text is, as far as it goes; a list of those of lines.

    >>> parse_beginning('{"a": [{"b": 1, "c": 2}, {"b": 3, "c')
    {'a': [{'b': 1, 'c': 2}, {'b': 3}]}
    """
    documents = [*_read_documents(text)]
    if documents:
        return documents if len(documents) > 1 else documents[0]
    closing: list[str] = []
    end, rest = 0, ""
    for match in re.finditer(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[\]{},]', text, re.DOTALL):
        token = match[0]
        if token in ("[", "{"):
            closing.append("]" if token == "[" else "}")
        elif token in ("]", "}") and closing:
            closing.pop()
            end, rest = match.end(), "".join(reversed(closing))
        elif token == ",":
            end, rest = match.start(), "".join(reversed(closing))
    try:
        return json.loads(text[:end] + rest)
    except (ValueError, RecursionError):
        return None


def _read_documents(text: str) -> Iterator[Any]:
    end = 0
    while start := re.compile(r"\s*(?=[\[{])").match(text, end):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start.end())
        except (ValueError, RecursionError):
            return
        yield value


def find_records(value: Any, outer: dict | None = None) -> Iterator[dict]:
    """Yield the innermost records of a JSON, each with the values of those around it.

    A value in an object of a record has the names of both, as ``live.altitude``. For what is
    measured, and for identities, the last name suffices where it is the only one of the record and
    the object is no airport. What a record has itself is not taken from around it, by any name. A
    time around records is not theirs: it is named ``around.time``, as is a type, which may be that
    of the list. Records within one that has a time and a position are not read.

    >>> [*find_records({"id": "a", "track": [{"t": 1, "at": {"lat": 2, "lon": 3}}]})]
    [{'id': 'a', 't': 1, 'lat': 2, 'lon': 3}]
    """
    outer = outer or {}
    for record in _list_records(value) or [value]:
        if not isinstance(record, dict):
            continue
        if record.get("type") == "Feature":
            yield from _read_feature(record, outer)
            continue
        if _is_point(record):
            yield _combine(outer, _flatten(record))
            continue
        inner = [*_list_inner(record)]
        inner = [part for part in inner if _may_have_points(part)] or inner  # not those of images
        values = _combine(outer, _flatten(record, short=not inner))
        around = {_name_around(name): value for name, value in values.items()} if inner else {}
        for part in inner:
            yield from find_records(part, around)
        if not inner:
            yield from _read_columns(record, values)


@lru_cache(10_000)
def find_columns(names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of each known column among names; empty if they are ambiguous."""
    try:
        return match_columns(names, _DEFAULT).fields
    except FlightError:
        return {}


def holds_records(record: dict) -> bool:
    """Return whether a record holds others, an object, or columns as lists."""
    values = [*record.values()]
    inner = any(isinstance(value, dict) or _list_records(value) for value in values)
    return inner or _is_table(record)


def _is_table(record: dict) -> bool:
    return {"columns", "data"} <= {*record} or len(_list_columns(record)) >= _COLUMNS


def is_position(names: Any) -> bool:
    """Return whether there is a latitude, or a position, among names."""
    return bool(_PLACES & {*find_columns(tuple(map(str, names)))})


def _is_point(record: dict) -> bool:
    """Return whether a record has a time and a position, or has them in objects of an altitude."""
    values = tuple(name for name, value in record.items() if not isinstance(value, dict | list))
    columns = {*find_columns(values)}
    if _PLACES & columns and _TIMES & columns:
        return True
    whole = {*find_columns(tuple(_flatten(record)))}
    return bool(_PLACES & whole and _TIMES & whole and "altitude" in whole)


@lru_cache(10_000)
def _name_around(name: str) -> str:
    """Return the name that a value has in the records within its own."""
    refused = name in ("type", "now") or _TIMES & {*find_columns((name,))}
    return f"around.{name}" if refused else name


def _list_records(value: Any) -> list:
    """Return the records of a list, or of an object of records by their names."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return value
    if isinstance(value, dict) and len(value) > 1:
        parts = [*value.values()]
        if all(isinstance(part, dict) and is_position(part) for part in parts):
            return [] if any(map(_AIRPORT.match, value)) else parts
    return []


def _may_have_points(records: list) -> bool:
    """Return whether one of the first records has a position, or others in it."""
    parts = [record for record in records[:_FIRST] if isinstance(record, dict)]
    return any(is_position(_flatten(part)) or _holds_parts(part) for part in parts)


def _holds_parts(record: dict) -> bool:
    return record.get("type") == "Feature" or any(_list_inner(record)) or _is_table(record)


def _list_inner(record: dict, depth: int = 0) -> Iterator[list]:
    """Yield the lists of records in a record and its objects."""
    for value in record.values():
        if records := _list_records(value):
            yield records
        elif isinstance(value, dict) and depth < _DEEPEST:
            yield from _list_inner(value, depth + 1)


def _combine(outer: dict, inner: dict) -> dict:
    """Return the values of a record, and those around it that it does not have itself."""
    if not outer:
        return inner
    kept = _list_kept(tuple(outer), tuple(inner))
    return {name: outer[name] for name in kept} | inner


@lru_cache(10_000)
def _list_kept(outer: tuple[str, ...], inner: tuple[str, ...]) -> list[str]:
    columns = {column for name in inner for column in find_columns((name,))}
    return [name for name in outer if not columns & {*find_columns((name,))}]


def _flatten(record: dict, *, short: bool = True) -> dict:
    """Return the values of a record and of the objects in it, measured ones by short names."""
    values = dict(_list_values(record, "", 0))
    if all("." not in name for name in values):
        return values
    names = _shorten(tuple(values), short)
    return {names[name]: value for name, value in values.items()}


def _list_values(record: dict, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if name == _STALE:
            continue
        if isinstance(value, dict) and depth < _DEEPEST and not _list_records(value):
            yield from _list_values(value, f"{prefix}{name}.", depth + 1)
        elif not isinstance(value, dict | list):
            yield f"{prefix}{name}", value


@lru_cache(10_000)
def _shorten(names: tuple[str, ...], measured: bool) -> dict[str, str]:
    last = {name: name.rpartition(".")[2] for name in names}
    others = [last[name] for name in names if not _AIRPORT.search(name.rpartition(".")[0])]
    short = {}
    for name in names:
        word = last[name]
        is_column = word.lower() in _IDENTITIES
        is_column |= measured and bool({*find_columns((word,))} & _MEASURED)
        alone = others.count(word) == 1 and not _AIRPORT.search(name.rpartition(".")[0])
        short[name] = word if is_column and alone else name
    numbers = [name for name in names if _FLIGHT.search(name)]
    if numbers and "callsign" not in short.values():  # before a number without the airline
        short[min(numbers, key=lambda name: "iata" in name.lower())] = "callsign"
    return short


def _read_columns(record: dict, values: dict) -> Iterator[dict]:
    """Yield the values of a record, or the rows if it holds the columns of a table as lists."""
    if isinstance(record.get("columns"), list) and isinstance(record.get("data"), list):
        rows = [row for row in record["data"] if isinstance(row, list)]
        yield from (
            values | dict(zip(map(str, record["columns"]), row, strict=False)) for row in rows
        )
        return
    lists = _list_columns(record)
    if len(lists) < _COLUMNS:
        yield values
        return
    names = [_name_singular(name) for name in lists]
    for row in zip(*lists.values(), strict=True):
        yield values | dict(zip(names, row, strict=True))


def _list_columns(record: dict) -> dict[str, list]:
    """Return the lists of a record that have the greatest length of its lists."""
    lists = {name: part for name, part in record.items() if isinstance(part, list)}
    length = max((len(part) for part in lists.values()), default=0)
    return {name: part for name, part in lists.items() if len(part) == length > 1}


def _read_feature(feature: dict, outer: dict) -> Iterator[dict]:
    """Yield the points of a feature of GeoJSON, with its properties."""
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    positions = _list_positions(feature.get("geometry"))
    values = _combine(outer, _flatten(properties))
    lists = {_name_singular(n): part for n, part in _list_lists(properties, len(positions))}
    columns = find_columns((*values, *lists))
    if len(positions) > 1:  # one time is not that of all points
        values = {n: v for n, v in values.items() if not {*find_columns((n,))} & _MOMENTS}
    if "altitude" not in columns:
        lists["altitude (m)"] = [p[2] if len(p) > 2 else None for p in positions]
    if any(map(_is_moment, positions)) and not {*find_columns((*values, *lists))} & _MOMENTS:
        lists["timestamp"] = [p[3] if _is_moment(p) else None for p in positions]
    for number, position in enumerate(positions):
        row = {name: part[number] for name, part in lists.items()}
        yield values | row | {"longitude": position[0], "latitude": position[1]}


def _list_positions(geometry: Any) -> list[list]:
    """Return the positions of a point, or of a line, which may be in parts."""
    if not isinstance(geometry, dict) or not isinstance(geometry.get("coordinates"), list):
        return []
    kind, positions = geometry.get("type"), geometry["coordinates"]
    if kind == "Point":
        positions = [positions]
    elif kind == "MultiLineString":
        positions = [*itertools.chain.from_iterable(p for p in positions if isinstance(p, list))]
    elif kind not in ("LineString", "MultiPoint"):
        return []
    return [p for p in positions if isinstance(p, list) and len(p) >= 2]


def _is_moment(position: list) -> bool:
    """Return whether a position has a time since 1970 as its fourth value."""
    return len(position) > 3 and isinstance(position[3], int | float) and position[3] > 1e8


def _list_lists(record: dict, length: int) -> Iterator[tuple[str, list]]:
    """Yield the lists of a length, which may be in parts, in a record and its objects."""
    for name, value in record.items():
        if isinstance(value, list) and len(_join(value)) == length:
            yield name, _join(value)
        elif isinstance(value, dict):
            yield from _list_lists(value, length)


def _join(parts: list) -> list:
    return [
        *itertools.chain.from_iterable(part if isinstance(part, list) else [part] for part in parts)
    ]


def _name_singular(name: str) -> str:
    """Return the name of a column of values, as ``time`` for ``coordTimes``."""
    single = re.sub(r"(?i)^(.*:|coord)", "", name)
    single = single[:-1] if single.endswith("s") else single
    return single if find_columns((single,)) and not find_columns((name,)) else name
