"""An archive of flight CSVs: its files, and one flight read or written."""

import gzip
import os
import tomllib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from csv import reader
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkstemp

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from trajlib.geodesy import distance
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC, REQUIRED

__all__ = ["Dialect", "FlightError", "read_dialect", "read_flight", "write_flight"]

_HEAD, _TAIL = 4096, 1024  # bytes that hold a header and a line, and a last line


class FlightError(ValueError):
    """A file does not hold a flight; the message is the reason it is set aside for."""


@dataclass(frozen=True)
class Dialect:
    """What an archive says of itself in the ``columns.toml`` of its root folder.

    ``title`` and ``source`` are shown in reports; ``simulated`` labels flights that are no
    evidence; ``modelled`` names the columns that a model computed from the others.
    """

    title: str = ""
    source: str = ""
    simulated: bool = False
    modelled: frozenset[str] = field(default=frozenset())


def read_dialect(archive: str | Path) -> Dialect:
    """Return the dialect of an archive: its ``columns.toml``, or the defaults without one."""
    path = Path(archive) / "columns.toml"
    if not path.exists():
        return Dialect()
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    told["modelled"] = frozenset(told.get("modelled", ()))
    return Dialect(**told)


def read_flight(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the flight of one CSV, with the schema's columns in the schema's order.

    Parameters
    ----------
    path
        A ``.csv`` or ``.csv.gz`` with a header line.
    columns
        Names wanted; those that the file lacks are absent from the result. All by default.
        ``duration`` [s] and ``distance`` [NM] are computed where they are wanted and lacking.

    Returns
    -------
    DataFrame
        One row a sample; numbers as float64 in the schema's units, ``timestamp`` in UTC.

    Raises
    ------
    FlightError
        When the file does not hold a flight, with the reason.
    """
    wanted = [name for name in COLUMNS if columns is None or name in columns]
    table = _parse(Path(path), {*wanted, *REQUIRED})
    df = table.to_pandas(ignore_metadata=True)
    check_flight(df)
    if "duration" in wanted and "duration" not in df:
        df["duration"] = (df["timestamp"] - df["timestamp"].iloc[0]).dt.total_seconds()
    if "distance" in wanted and "distance" not in df:
        df["distance"] = _distance_flown(df)
    return df[[name for name in wanted if name in df]]


def write_flight(df: pd.DataFrame, path: str | Path) -> None:
    """Write one flight as CSV, numbers rounded to the schema's decimals, times as ISO 8601 UTC."""
    rounded = df.round({name: COLUMNS[name].decimals for name in df if name in NUMERIC})
    table = pa.Table.from_pandas(rounded, preserve_index=False)
    times = pc.strftime(table["timestamp"].cast(pa.timestamp("s", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    table = table.set_column(table.schema.get_field_index("timestamp"), "timestamp", times)
    try:
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    except pa.ArrowInvalid:  # a text holds a comma, a quote or a line break
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))


def read_ends(path: str, size: int) -> tuple:
    """Return what the first bytes and the last ones of a CSV tell, as texts or None.

    The identity columns, ``timestamp`` first and last, latitude and longitude first, the same
    last, and what is wrong with the file.
    """
    try:
        head, tail = _read_head_tail(path, size)
        header, first, last = _end_lines(head, tail)
        count, identity, sample = _find_columns(header)
        first, last = _split(first), _split(last)
        if len(first) != count or len(last) != count:
            which = "first" if len(first) != count else "last"
            raise FlightError(f"the {which} line is cut, or has more fields than the header")
    except FlightError as error:
        return (None,) * 12 + (str(error),)
    time, lat, lon = sample
    texts = (first[at] or None if at is not None else None for at in identity)
    return (*texts, first[time], last[time], first[lat], first[lon], last[lat], last[lon], None)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; its file takes the name ``path`` once it is whole.

    The file is readable by its owner alone. After an error it is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_flight(df: pd.DataFrame) -> None:
    """Raise a FlightError unless samples are two or more, in order, complete and on the Earth."""
    if len(df) < 2:
        raise FlightError(f"{len(df)} samples, expected 2 or more")
    for name in REQUIRED[1:]:
        if not np.isfinite(df[name].to_numpy()).all():
            raise FlightError(f"{name} is missing or not finite in some samples")
    if df["timestamp"].isna().any():
        raise FlightError("timestamp is missing in some samples")
    if not (df["timestamp"].diff().iloc[1:] > pd.Timedelta(0)).all():
        raise FlightError("timestamps do not increase")
    if (df["latitude"].abs() > 90).any() or (df["longitude"].abs() > 180).any():
        raise FlightError("a position is not on the Earth")


def _read_head_tail(path: str, size: int) -> tuple[bytes, bytes]:
    if size < 0:
        raise FlightError("the link is broken")
    try:
        if path.endswith(".gz"):
            data = gzip.decompress(Path(path).read_bytes())
            return data[:_HEAD], data[-_TAIL:]
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path costs as much as the read)
            head = file.read(_HEAD)
            if size <= _HEAD:
                return head, head
            file.seek(size - _TAIL)
            return head, file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise FlightError(_reason(error)) from error


def _end_lines(head: bytes, tail: bytes) -> tuple[bytes, bytes, bytes]:
    if not head.strip():
        raise FlightError("the file is empty")
    if b"\0" in head or b"\0" in tail:
        raise FlightError("the file holds NUL bytes")
    header, _, rest = head.partition(b"\n")
    first, _, rest = rest.partition(b"\n")
    if not first.strip():
        raise FlightError("no line after the header")
    if not rest.strip():
        raise FlightError("one sample, expected 2 or more")
    last = tail.rstrip(b"\r\n").rpartition(b"\n")[2]
    return header, first.rstrip(b"\r"), last.rstrip(b"\r")


@cache
def _find_columns(header: bytes) -> tuple[int, list[int | None], list[int]]:
    names = _split(header.rstrip(b"\r").removeprefix(b"\xef\xbb\xbf"))
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise FlightError(f"columns missing: {', '.join(missing)}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise FlightError(f"columns twice in the header: {', '.join(twice)}")
    identity = [names.index(name) if name in names else None for name in IDENTITY]
    return len(names), identity, [names.index(name) for name in REQUIRED[:3]]


def _split(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    return next(reader([text]), []) if '"' in text else text.split(",")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


def _parse(path: Path, wanted: set[str]) -> pa.Table:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        header = next(reader([data[: data.find(b"\n")].decode("utf-8-sig").strip()]), [])
        return csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False),
            convert_options=_convert_options(header, wanted),
        )
    except FlightError:
        raise
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException) as error:
        raise FlightError(_reason(error)) from error


def _convert_options(header: list[str], wanted: set[str]) -> csv.ConvertOptions:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise FlightError(f"columns missing: {', '.join(missing)}")
    include = [name for name in COLUMNS if name in header and name in wanted]
    types = {"number": pa.float64(), "text": pa.string(), "time": pa.timestamp("ms", "UTC")}
    return csv.ConvertOptions(
        include_columns=include,
        column_types={name: types[COLUMNS[name].kind] for name in include},
        strings_can_be_null=True,
    )


def _distance_flown(df: pd.DataFrame) -> np.ndarray:
    lat, lon = df["latitude"].to_numpy(), df["longitude"].to_numpy()
    steps = distance(lat[:-1], lon[:-1], lat[1:], lon[1:])
    return np.concatenate([[0.0], np.cumsum(steps)])
