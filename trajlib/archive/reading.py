"""One flight of an archive, read from its CSV or written to one."""

import gzip
import io
import os
import zlib
from collections.abc import Sequence
from csv import Error as CSVError
from csv import reader
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from trajlib.archive.dialect import Dialect
from trajlib.archive.parser import PADDING, SKIP, TIME, count_lines, parse_fields
from trajlib.archive.storage import is_remote, open_file, refuse_outage
from trajlib.geodesy import distance
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC, REQUIRED

__all__ = [
    "LATEST",
    "FlightError",
    "find_fields",
    "parse_times",
    "read_flight",
    "read_gzip",
    "reason",
    "split_line",
    "write_flight",
]

_LARGEST = 256 << 20  # bytes; a day at 1 s with 40 columns has 40 MB
_LONGEST = 200  # characters of a reason
_ZONE = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"  # how a time of ISO 8601 tells its zone
LATEST = 4102444800  # s since 1970, the year 2100: what is later is no second
_DEFAULT = Dialect()


class FlightError(ValueError):
    """A file does not hold a flight; the message is the reason it is set aside for."""


def read_flight(
    path: str | Path, columns: Sequence[str] | None = None, *, dialect: Dialect = _DEFAULT
) -> pd.DataFrame:
    """Return the flight of one CSV, with the schema's columns in the schema's order.

    Parameters
    ----------
    path
        A ``.csv`` or ``.csv.gz`` with a header line.
    columns
        Names wanted; those that the file lacks, or has no value of, are absent from the result.
        All by default. ``duration`` [s] is always that of the times; ``distance`` [NM] is
        computed where it, or a value of it, is missing.
    dialect
        The archive's names, units and manner of writing.

    Returns
    -------
    DataFrame
        One row a sample; numbers as float64 in the schema's units, ``timestamp`` in UTC.

    Raises
    ------
    FlightError
        When the file does not hold a flight, with the reason; no other error.
    """
    wanted = [name for name in COLUMNS if columns is None or name in columns]
    try:
        data = _read_bytes(path)
        texts = [name for name in wanted if name in IDENTITY]
        told = [name for name in wanted if name != "duration"]
        parsed = None if texts else _parse_plain(data, told, dialect)
        values, times, identity = parsed or _parse_any(data, told, dialect)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        refuse_outage(error, path)
        raise FlightError(reason(error)) from error
    _check(values, times)
    return _frame(wanted, values, times, identity)


def write_flight(df: pd.DataFrame, path: str | Path) -> None:
    """Write one flight as CSV, numbers rounded to the schema's decimals, times as ISO 8601 UTC."""
    decimals = {name: COLUMNS[name].decimals for name in df if name in NUMERIC}
    floats = [name for name in decimals if df[name].dtype == float]  # rounded faster one by one
    rounded = dict(df.drop(columns=floats).round(decimals))
    rounded |= {name: df[name].to_numpy().round(decimals[name]) for name in floats}
    table = pa.Table.from_pandas(pd.DataFrame({n: rounded[n] for n in df}), preserve_index=False)
    times = pc.strftime(table["timestamp"].cast(pa.timestamp("s", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    table = table.set_column(table.schema.get_field_index("timestamp"), "timestamp", times)
    try:
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    except pa.ArrowInvalid:  # a text holds a comma, a quote or a line break
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))


def find_fields(header: bytes, dialect: Dialect) -> tuple[int, dict[str, int]]:
    """Return how many fields a header has, and at which of them the schema's columns stand.

    Raises
    ------
    FlightError
        When a required column is missing, or one of the schema's stands there twice.
    """
    return _find_fields(header, dialect.delimiter, dialect.header)


def split_line(line: bytes, delimiter: str) -> list[str]:
    """Return the fields of one line; bytes that are not UTF-8 are taken for Latin-1.

    Raises
    ------
    FlightError
        When the line is quoted as no CSV is.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(reader([text], delimiter=delimiter), [])
    except CSVError as error:
        raise FlightError(reason(error)) from error


def parse_times(texts: pd.Series, dialect: Dialect) -> pd.Series:
    """Return texts as times in UTC, to the millisecond; NaT where one is not a time."""
    if dialect.time_format == "unix":
        numbers = pd.to_numeric(texts, errors="coerce")
        numbers = numbers.where(numbers.between(0, LATEST))  # or milliseconds would be taken
        times = pd.to_datetime(numbers, unit="s", utc=True, errors="coerce")
    else:
        form = {"ISO 8601": "ISO8601"}.get(dialect.time_format, dialect.time_format)
        parse = partial(pd.to_datetime, format=form, errors="coerce")
        if dialect.timezone == "UTC":
            times = parse(texts, utc=True)
        else:  # of those that do not tell theirs
            if form == "ISO8601":
                zoned = texts.str.contains(_ZONE, na=False)
            else:
                zoned = pd.Series("%z" in form.lower(), texts.index)
            local = parse(texts[~zoned]).dt
            local = local.tz_localize(dialect.timezone, ambiguous="NaT", nonexistent="NaT").dt
            times = pd.concat([parse(texts[zoned], utc=True), local.tz_convert("UTC")])
            times = times.reindex(texts.index)
    return times.dt.tz_convert("UTC").astype("datetime64[ms, UTC]")


def read_gzip(path: str | Path) -> bytes:
    """Return what a gzip file holds, refusing more than a flight can be.

    Raises
    ------
    FlightError
        When it unpacks to more than 256 MiB.
    """
    with open_file(path) as packed, gzip.open(packed) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise FlightError(f"larger than {_LARGEST >> 20} MiB, which no flight is")
    return data


def reason(error: Exception) -> str:
    """Return what an error says in one line, without the path that the system adds.

    What it quotes of a file may be a megabyte, and is cut.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _read_bytes(path: str | Path) -> np.ndarray:
    """Return a file's bytes, and the padding that the parser asks for."""
    if str(path).endswith(".gz"):
        return np.frombuffer(read_gzip(path) + bytes(PADDING), np.uint8)
    remote = is_remote(path)
    with open_file(path) if remote else Path(path).open("rb", buffering=0) as file:
        size = file.size() if remote else os.fstat(file.fileno()).st_size
        if size > _LARGEST:
            raise FlightError(f"larger than {_LARGEST >> 20} MiB, which no flight is")
        data = np.empty(size + PADDING, np.uint8)
        data[size:] = 0
        if file.readinto(memoryview(data)[:size]) != size:
            raise FlightError("the file shrank while it was read")
    return data


@cache
def _find_fields(header: bytes, delimiter: str, theirs: tuple[str, ...]) -> tuple[int, dict]:
    names = split_line(header.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf"), delimiter)
    names = [name.strip() for name in names]
    ours = dict(zip(COLUMNS, theirs, strict=True))
    if names == [""]:
        raise FlightError("the file is empty, or has no header")
    missing = [ours[name] or name for name in REQUIRED if ours[name] not in names]
    if missing:
        raise FlightError(f"columns missing: {', '.join(missing)}")
    twice = [name for name in theirs if names.count(name) > 1]
    if twice:
        raise FlightError(f"columns twice in the header: {', '.join(twice)}")
    return len(names), {name: names.index(their) for name, their in ours.items() if their in names}


def _parse_plain(data: np.ndarray, wanted: list[str], dialect: Dialect) -> tuple | None:
    if (dialect.delimiter, dialect.decimal, dialect.time_format) != (",", ".", "ISO 8601"):
        return None
    header, end = _header(data), len(data) - PADDING
    count, fields = find_fields(header, dialect)
    slots = np.full(count, SKIP, dtype=np.int64)
    numbers = [name for name in fields if name in NUMERIC and (name in wanted or name in REQUIRED)]
    slots[[fields[name] for name in numbers]] = np.arange(len(numbers))
    slots[fields["timestamp"]] = TIME
    lines = count_lines(data, len(header), end)
    values, times = np.empty((len(numbers), lines)), np.empty(lines, dtype=np.int64)
    if parse_fields(data, len(header), end, slots, values, times) != lines:
        return None
    return _convert(numbers, values, dialect), times, {}


def _header(data: np.ndarray) -> bytes:
    head = data[:65536].tobytes()
    text = head if b"\n" in head else data[:-PADDING].tobytes()
    return b"".join(text.partition(b"\n")[:2])


def _parse_any(padded: np.ndarray, wanted: list[str], dialect: Dialect) -> tuple:
    data = padded[:-PADDING].tobytes()
    count, fields = find_fields(_header(padded), dialect)
    include = [name for name in fields if name in wanted or name in REQUIRED]
    kinds = {"number": pa.float64(), "text": pa.string(), "time": pa.string()}
    names = [f"field {at}" for at in range(count)]
    for name in include:
        names[fields[name]] = name
    table = csv.read_csv(
        io.BytesIO(data),
        csv.ReadOptions(
            use_threads=False, encoding=_encoding(data), column_names=names, skip_rows=1
        ),
        csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=b'"' in data),
        csv.ConvertOptions(
            include_columns=include,
            column_types={name: kinds[COLUMNS[name].kind] for name in include},
            strings_can_be_null=True,
            decimal_point=dialect.decimal,
        ),
    )
    times = parse_times(table["timestamp"].to_pandas(), dialect)
    if times.isna().any():
        raise FlightError(f"timestamp is missing or not a time in {times.isna().sum()} samples")
    numbers = [name for name in include if name in NUMERIC]
    values = np.array([table[name].to_numpy() for name in numbers])
    values[np.isinf(values)] = np.nan  # no quantity of a flight is infinite: it is missing
    identity = {n: table[n].to_pandas().str.strip() for n in include if n in IDENTITY}
    return _convert(numbers, values, dialect), times.astype("int64").to_numpy(), identity


def _encoding(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _convert(names: list[str], values: np.ndarray, dialect: Dialect) -> dict[str, np.ndarray]:
    converted = dict(zip(names, values, strict=True))
    for name, (factor, offset) in dialect.units.items():
        if name in converted:
            converted[name] = converted[name] * factor + offset
    return converted


def _check(values: dict[str, np.ndarray], times: np.ndarray) -> None:
    if len(times) < 2:
        raise FlightError(f"{len(times)} samples, expected 2 or more")
    for name in REQUIRED[1:]:
        bad = ~np.isfinite(values[name])
        if bad.any():
            raise FlightError(f"{name} is missing or not finite in {bad.sum()} samples")
    steps = np.diff(times)
    if (steps <= 0).any():
        word = "repeat" if (steps >= 0).all() else "go backwards"
        raise FlightError(f"timestamps {word} after sample {np.argmax(steps <= 0) + 1}")
    if (np.abs(values["latitude"]) > 90).any() or (np.abs(values["longitude"]) > 180).any():
        raise FlightError("a position is not on the Earth")


def _frame(wanted: list[str], values: dict, times: np.ndarray, identity: dict) -> pd.DataFrame:
    values["duration"] = (times - times[0]) / 1000
    if "distance" in wanted and np.isnan(values.get("distance", np.nan)).any():
        values["distance"] = _distance_flown(values["latitude"], values["longitude"])
    numbers = [n for n in wanted if n in values and not np.isnan(values[n]).all()]
    block = np.array([values[name] for name in numbers]).reshape(len(numbers), len(times))
    df = pd.DataFrame(block.T, columns=numbers, copy=False)
    if "timestamp" in wanted:
        df.insert(0, "timestamp", pd.DatetimeIndex(times.view("M8[ms]"), tz="UTC"))
    for at, (name, texts) in enumerate(identity.items()):
        df.insert(at, name, texts)
    return df


def _distance_flown(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    steps = distance(lat[:-1], lon[:-1], lat[1:], lon[1:])
    return np.concatenate([[0.0], np.cumsum(steps)])
