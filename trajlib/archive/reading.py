"""Read one flight from a CSV, or write it to one."""

import gzip
import io
import os
import zlib
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.internals import create_dataframe_from_blocks
from pyarrow import csv

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import MISSING, FlightError, Layout, find_columns, find_layout
from trajlib.archive.parser import PADDING, SAME, SKIP, TIME, find_ends, parse_fields
from trajlib.archive.repairs import (
    IDENTITIES,
    NO_TIME,
    check_identities,
    check_units,
    repair_samples,
)
from trajlib.archive.storage import is_remote, open_file, refuse_outage
from trajlib.archive.values import (
    find_times,
    orient_positions,
    parse_numbers,
    parse_times,
    split_positions,
)
from trajlib.geodesy import distance
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC, REQUIRED

_LARGEST = 256 << 20  # bytes; a day at 1 s with 40 columns has 40 MB
_TOO_LARGE = (
    f"larger than {_LARGEST >> 20} MiB, which no flight is; of a file of many flights "
    "python -m trajlib import makes an archive"
)
_LONGEST = 400  # characters of a reason
UNREADABLE = (OSError, EOFError, FlightError, zlib.error)  # raised by files that cannot be read
_CHECKED = {*REQUIRED, *IDENTITIES, "groundspeed", "vertical_rate"}  # read whether wanted or not
_NULLS = sorted(
    {*csv.ConvertOptions().null_values, *MISSING}
    | {text.upper() for text in MISSING}
    | {text.capitalize() for text in MISSING}
)
_DEFAULT = Dialect()
_EPOCH = pd.DatetimeIndex(np.zeros(1, "M8[ms]"), dtype=pd.DatetimeTZDtype("ms", "UTC")).array


class _Samples(NamedTuple):
    names: list[str]  # of the numbers: the wanted ones in order, then those needed for checks
    numbers: np.ndarray  # of shape (names, samples)
    times: np.ndarray  # ms since 1970, NO_TIME if missing
    texts: dict[str, pd.Series]
    confirmed: frozenset[str]  # columns whose unit is not checked again

    def rows(self) -> dict[str, np.ndarray]:
        return dict(zip(self.names, self.numbers, strict=True))

    def take(self, indices: np.ndarray) -> "_Samples":
        texts = {n: text.iloc[indices].reset_index(drop=True) for n, text in self.texts.items()}
        return self._replace(
            numbers=self.numbers[:, indices], times=self.times[indices], texts=texts
        )


def read_flight(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    dialect: Dialect = _DEFAULT,
    minutes: float | None = None,
) -> pd.DataFrame:
    """Return the flight of one CSV, with the schema's columns in the schema's order.

    Parameters
    ----------
    path
        A ``.csv`` or ``.csv.gz`` with a header line.
    columns
        Names to read, by default all; columns without any value in the file are absent from the
        result. ``duration`` [s] is always computed from the times, ``distance`` [NM] if it or one
        of its values is missing.
    dialect
        The archive's names, units and format, and whether repairs are allowed. Anything that it
        does not give is recognised if it is unambiguous.
    minutes
        Use only the samples up to so long after the first one; later samples have no influence,
        not even on repairs. All by default.

    Returns
    -------
    DataFrame
        One row per sample; numbers as float64 in the schema's units, ``timestamp`` in UTC.

    Raises
    ------
    FlightError
        When the file does not hold one flight, with the reason; no other error is raised.
    """
    return read_repaired(path, columns, dialect=dialect, minutes=minutes)[0]


def read_repaired(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    dialect: Dialect = _DEFAULT,
    minutes: float | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return a flight as `read_flight` does, and its numbers of repaired samples.

    Numbers are by the names of `trajlib.archive.repairs.REPAIRS`, without those that are 0.
    """
    selected = COLUMNS.keys() if columns is None else {*columns}
    wanted = [name for name in COLUMNS if name in selected]
    try:
        return _parse_flight(read_bytes(path), wanted, dialect, Path(path).name, minutes)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        refuse_outage(error, path)
        raise FlightError(reason(error)) from error


def _parse_flight(
    data: np.ndarray, wanted: list[str], dialect: Dialect, name: str, minutes: float | None
) -> tuple[pd.DataFrame, dict[str, int]]:
    samples = _parse_plain(data, wanted, dialect)
    if samples is None:
        samples = _parse_any(data[:-PADDING].tobytes(), wanted, dialect, name)
    if minutes is not None:
        times = samples.times
        start = times[times != NO_TIME].min(initial=np.iinfo(np.int64).max)
        samples = samples.take(np.flatnonzero(times <= start + 60_000 * minutes))
    check_identities(samples.texts, samples.times)
    indices, repairs = repair_samples(samples.rows(), samples.times, strict=dialect.strict)
    if indices is not None:
        samples = samples.take(indices)
    given = {*dialect.units, *samples.confirmed}
    check_units(samples.rows(), samples.times, given, dialect.names)
    return _frame(wanted, samples), repairs


def parse_ends(data: bytes, dialect: Dialect, name: str) -> pd.DataFrame | None:
    """Return the samples at both ends of a file, None if one of them is doubtful."""
    wanted = [*IDENTITY, *REQUIRED]
    try:
        samples = _parse_any(to_utf8(data), wanted, dialect, name)
        check_identities(samples.texts, samples.times)
    except (FlightError, pa.ArrowException):
        return None
    times = samples.times
    steps = np.diff(times)
    if not len(steps) or (times == NO_TIME).any() or not ((steps > 0).all() or (steps < 0).all()):
        return None
    numbers = samples.numbers[[samples.names.index(name) for name in REQUIRED[1:]]]
    if not np.isfinite(numbers).all() or (np.abs(numbers[:2]) > [[90], [180]]).any():
        return None
    df = _frame(wanted, samples)
    return df if steps[0] > 0 else df[::-1]


def write_flight(df: pd.DataFrame, path: str | Path) -> None:
    """Write one flight as CSV, numbers rounded to the schema's decimals, times as ISO 8601 UTC."""
    decimals = {name: COLUMNS[name].decimals for name in df if name in NUMERIC}
    table = pa.Table.from_pandas(df.round(decimals), preserve_index=False)
    times = pc.strftime(table["timestamp"].cast(pa.timestamp("s", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    table = table.set_column(table.schema.get_field_index("timestamp"), "timestamp", times)
    try:
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    except pa.ArrowInvalid:  # a text holds a comma, a quote or a line break
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))


def read_gzip(path: str | Path) -> bytes:
    """Return the content of a gzip file, refusing files too large for one flight.

    Raises
    ------
    FlightError
        When the unpacked content is larger than 256 MiB.
    """
    with open_file(path) as packed, gzip.open(packed) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise FlightError(_TOO_LARGE)
    return data


def reason(error: Exception) -> str:
    """Return the message of an error in one line, without the path that the system adds.

    Long messages are cut, as a quoted part of a file may have a megabyte.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def read_bytes(path: str | Path) -> np.ndarray:
    """Return a file's bytes followed by padding for the parser; UTF-16 is converted to UTF-8."""
    if str(path).endswith(".gz"):
        return _pad(read_gzip(path))
    remote = is_remote(path)
    file: Any
    with open_file(path) if remote else open(path, "rb", 0, opener=_open_at_once) as file:
        size = file.size() if remote else os.fstat(file.fileno()).st_size
        if size > _LARGEST:
            raise FlightError(_TOO_LARGE)
        data = np.empty(size + PADDING, np.uint8)
        data[size:] = 0
        if file.readinto(data[:size].data) != size:
            raise FlightError("the file shrank while it was read")
    return data if find_utf16(data[:4].tobytes()) is None else _pad(data[:-PADDING].tobytes())


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # do not wait on a pipe


def _pad(data: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(to_utf8(data) + bytes(PADDING)), np.uint8)  # writable


def to_utf8(data: bytes) -> bytes:
    """Return a text in UTF-16 as UTF-8, any other unchanged."""
    encoding = find_utf16(data[:4])
    if encoding is None:
        return data
    return data.decode(encoding, errors="replace").encode().removeprefix(b"\xef\xbb\xbf")


def find_utf16(start: bytes) -> str | None:
    """Return which UTF-16 encoding a text with these first four bytes has, None for any other."""
    if start.startswith(b"\xff\xfe") or (start[1::2] == b"\0\0" and b"\0" not in start[::2]):
        return "utf-16-le"
    if start.startswith(b"\xfe\xff") or (start[::2] == b"\0\0" and b"\0" not in start[1::2]):
        return "utf-16-be"
    return None


def _parse_plain(data: np.ndarray, wanted: list[str], dialect: Dialect) -> _Samples | None:
    if (dialect.delimiter, dialect.decimal, dialect.time_format) != (",", ".", "ISO 8601"):
        return None
    if not {*IDENTITY}.isdisjoint(wanted):
        return None
    header, end = _header(data), len(data) - PADDING
    try:
        layout = find_columns(header, dialect)
    except FlightError:
        return None
    ends = np.empty(end - len(header) + PADDING, np.int32)
    count, lines = find_ends(data, len(header), end, ends)
    if count < 0 or count != lines * layout.count:
        return None
    names, absent, slots = _find_slots(layout, tuple(wanted))
    values, times = np.empty((len(names), lines)), np.empty(lines, np.int64)
    values[absent] = np.nan
    if not parse_fields(data, ends, slots, values, times):
        return None
    return _convert(_Samples(names, values, times, {}, layout.confirmed), layout.units)


@cache
def _find_slots(layout: Layout, wanted: tuple[str, ...]) -> tuple[list[str], list[int], np.ndarray]:
    """Return the numbers to read, the rows of those not in the file, and the row of each field."""
    fields = layout.fields
    names = _order(fields, wanted)
    slots = np.full(layout.count, SKIP, np.int64)
    slots[fields["timestamp"]] = TIME
    slots[[fields[name] for name in IDENTITIES if name in fields]] = SAME
    for row, name in enumerate(names):
        if name in fields and name != "duration":  # computed from the times
            slots[fields[name]] = row
    return names, [row for row, name in enumerate(names) if name not in fields], slots


def _order(fields: Collection[str], wanted: Sequence[str]) -> list[str]:
    """Return the wanted numbers in order, then those needed for checks."""
    present = {*fields, "duration", "distance"}
    names = [name for name in wanted if name in NUMERIC and name in present]
    return names + [n for n in fields if n in NUMERIC and n not in names and _is_read(n, wanted)]


def _is_read(name: str, wanted: Sequence[str]) -> bool:
    return name != "duration" and (name in wanted or name in _CHECKED)


def _header(data: np.ndarray) -> bytes:
    head = data[:65536].tobytes()
    text = head if b"\n" in head else data[:-PADDING].tobytes()
    return b"".join(text.partition(b"\n")[:2])


def _parse_any(data: bytes, wanted: list[str], dialect: Dialect, name: str) -> _Samples:
    head = data[:65536] if b"\n" in data[:65536] else data
    layout = find_layout(head, dialect)
    if layout.plain:
        try:
            return _parse_typed(data, layout, wanted, dialect)
        except (FlightError, pa.ArrowInvalid):
            layout = find_layout(head, dialect, closely=True)  # in another form
    return _parse_texts(data, layout, wanted, dialect, name)


def _read_table(data: bytes, layout: Layout, fields: dict[int, pa.DataType]) -> pa.Table:
    names = [str(i) for i in range(layout.count)]
    return csv.read_csv(
        io.BytesIO(data),
        csv.ReadOptions(
            use_threads=False,
            encoding=_encoding(data),
            column_names=names,
            skip_rows=layout.skip,
        ),
        csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=b'"' in data),
        csv.ConvertOptions(
            include_columns=[str(i) for i in fields],
            column_types={str(i): kind for i, kind in fields.items()},
            null_values=_NULLS,
            strings_can_be_null=True,
            decimal_point=layout.decimal,
        ),
    )


def _parse_typed(data: bytes, layout: Layout, wanted: list[str], dialect: Dialect) -> _Samples:
    fields = {name: i for name, i in layout.fields.items() if _is_read(name, wanted)}
    numbers = [name for name in fields if name in NUMERIC]
    kinds = {i: pa.float64() if name in numbers else pa.string() for name, i in fields.items()}
    table = _read_table(data, layout, kinds)
    times = parse_times(table[str(fields["timestamp"])].to_pandas(), dialect)
    if times.isna().any():
        raise FlightError(f"timestamp is missing or not a time in {times.isna().sum()} samples")
    columns = {name: table[str(fields[name])].to_numpy() for name in numbers}
    identities = [name for name in fields if name in IDENTITY or name in IDENTITIES]
    texts = {name: table[str(fields[name])].to_pandas().str.strip() for name in identities}
    samples = _stack(columns, times, texts, wanted, layout)
    samples.numbers[np.isinf(samples.numbers)] = np.nan  # infinite values are treated as missing
    return _convert(samples, layout.units)


def _stack(
    columns: dict[str, np.ndarray],
    times: pd.Series,
    texts: dict[str, pd.Series],
    wanted: list[str],
    layout: Layout,
) -> _Samples:
    names = _order(columns, wanted)
    missing = np.full(len(times), np.nan)
    numbers = np.array([columns.get(name, missing) for name in names])
    times_ms = times.astype("int64").to_numpy(copy=True)
    return _Samples(names, numbers, times_ms, texts, layout.confirmed)


def _parse_texts(
    data: bytes, layout: Layout, wanted: list[str], dialect: Dialect, name: str
) -> _Samples:
    """Return the samples of a file that is not in the form of the schema."""
    extra = ("date", "clock", "position", "north_south", "east_west")
    fields = {n: i for n, i in layout.fields.items() if _is_read(n, wanted) or n in extra}
    table = _read_table(data, layout, dict.fromkeys(fields.values(), pa.string()))
    texts = {n: table[str(i)].to_pandas().astype("str").str.strip() for n, i in fields.items()}
    if "latitude" not in fields:
        texts |= split_positions(texts["position"])
    columns = {
        n: parse_numbers(texts[n], n, *layout.units.get(n, (1.0, 0.0)), layout.decimal)
        for n in texts
        if n in NUMERIC
    }
    columns |= orient_positions(columns, texts)
    times = find_times(
        texts[layout.time],
        texts.get("date"),
        dialect,
        layout.names[fields[layout.time]],
        f"{layout.comments}\n{name}",
    )
    if times.isna().all():
        example = texts[layout.time].dropna()
        example = f", as {example.iloc[0]!r}" if len(example) else ""
        raise FlightError(f"timestamp is not a time in any sample{example}")
    identity = {n: texts[n] for n in texts if n in IDENTITY or n in IDENTITIES}
    return _stack(columns, times, identity, wanted, layout)


def _encoding(data: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"  # in which any byte is a character


def _convert(samples: _Samples, units: dict[str, tuple[float, float]]) -> _Samples:
    rows = samples.rows()
    for name, (factor, offset) in units.items():
        if name in rows:
            rows[name][:] = rows[name] * factor + offset
    return samples


def _frame(wanted: list[str], samples: _Samples) -> pd.DataFrame:
    names, values, times, texts, _ = samples
    rows = samples.rows()
    if "duration" in rows:
        rows["duration"][:] = (times - times[0]) / 1000
    if "distance" in rows and np.isnan(rows["distance"]).any():
        lat, lon = rows["latitude"], rows["longitude"]
        rows["distance"][0] = 0.0
        rows["distance"][1:] = np.cumsum(distance(lat[:-1], lon[:-1], lat[1:], lon[1:]))
    columns = names[: len({*names} & {*wanted})]  # the wanted ones come first
    values = values[: len(columns)]
    candidates = np.flatnonzero(np.isnan(values[:, 0]))
    if missing := [row for row in candidates if np.isnan(values[row]).all()]:
        values = np.delete(values, missing, axis=0)
        columns = [name for row, name in enumerate(columns) if row not in missing]
    df = build_frame(times if "timestamp" in wanted else None, values, columns)
    for i, name in enumerate(name for name in wanted if name in texts):
        df.insert(i, name, texts[name].to_numpy())
    return df


def build_frame(times: np.ndarray | None, values: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Return a table of times [ms since 1970, UTC] and of numbers of shape (names, samples).

    The numbers are not copied. It is made from blocks, as the usual constructors take longer than
    reading a short flight.
    """
    blocks: list = [(values, np.arange(len(names)))] if names else []
    if times is not None:
        stamps = _EPOCH.repeat(len(times))
        stamps.asi8[:] = times
        blocks = [(values, placement + 1) for values, placement in blocks]
        blocks.append((stamps.reshape(1, -1), np.array([0])))
        names = ["timestamp", *names]
    columns = _column_index(tuple(names)).view()
    return create_dataframe_from_blocks(blocks, pd.RangeIndex(values.shape[1]), columns)


@cache
def _column_index(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)
