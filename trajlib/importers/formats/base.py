"""What the formats share: the beginning of a file, tables in batches, and conversion to points."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet

from trajlib.archive.dialect import Dialect, find_conversion
from trajlib.schema import COLUMNS, IDENTITY, REQUIRED

__all__ = [
    "Field",
    "Format",
    "FormatError",
    "Head",
    "Options",
    "convert_flights",
    "convert_points",
    "convert_table",
    "convert_times",
    "open_source",
    "parse_csv",
    "read_blocks",
    "read_head",
    "read_json",
    "read_lines",
    "read_table",
]

BATCH = 500_000  # rows at most
_BLOCK = 16 << 20  # bytes of text parsed at once
_HEAD = 64 << 10  # bytes that a format is recognised by
_LARGEST = 256 << 20  # bytes of a JSON that is parsed as a whole
_UNPACKED = 16 << 30  # bytes at most of a file unpacked to disk
_MISSING = ["", "N/A", "NA", "n/a", "nan", "NaN", "-", "\\N", "NULL", "null", "None", "ground"]
_TRUE = {"true", "t", "1", "1.0", "yes"}
_FALSE = {"false", "f", "0", "0.0", "no"}
_OF_COLUMNS = re.compile(rb'\s*\{\s*"[^"]+"\s*:\s*\{')
_TEXTS = ("flight_id", "icao24", *IDENTITY)
_ARCHIVES = {b"7z\xbc\xaf\x27\x1c": "7z", b"PK\x03\x04": "zip"}
_COMPRESSIONS = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(file, "zstd"),
}
# pickles of protocol 2 and later, and of the earlier ones that pandas could write
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[a-z_.]+\n[A-Za-z_]+\n|\(lp0|\(dp0|ccopy_reg\n")


class FormatError(ValueError):
    """A file cannot be read; the message is the reason."""


@dataclass(frozen=True)
class Options:
    """How a file is to be read.

    Attributes
    ----------
    dialect
        A ``columns.toml`` that names columns and units, for the generic format.
    kind
        ``flight`` for what was flown, ``plan`` for what was filed.
    members
        The other files of the source, among which a format may look for its second table.
    """

    dialect: Dialect | None = None
    kind: str = "flight"
    members: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Head:
    """The beginning of a file, by which its format is recognised.

    Attributes
    ----------
    path
        The file.
    data
        Its first 64 KiB, decompressed.
    kind
        ``parquet``, ``feather``, ``json`` or ``text``.
    names
        Names of the columns as they are written; empty where there is no header.
    delimiter
        Between the fields of a text.
    skip
        Lines before the header: comments, and the ``sep=;`` of a spreadsheet.
    """

    path: Path
    data: bytes
    kind: str
    names: tuple[str, ...] = ()
    delimiter: str = ","
    skip: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, stripped and in lower case."""
        return tuple(name.strip().lower() for name in self.names)

    @property
    def lines(self) -> list[str]:
        """The first lines of a text."""
        return self.data.decode("utf-8", errors="replace").splitlines()

    def has(self, *columns: str) -> bool:
        """Return whether all of these columns are there."""
        return set(columns) <= set(self.columns)


@dataclass(frozen=True)
class Format:
    """A format that flights come in.

    Attributes
    ----------
    name, title
        What ``--format`` takes, and what the format is.
    needs
        What a user has to provide, for ``--formats``.
    recognize
        Whether a file with this beginning is of the format.
    read
        Yields points in the schema's units; None for a table that has identities only.
    read_identities
        Returns a table with one row a flight by ``flight_id``, to be joined with the points.
    joins
        The formats whose points the identities belong to.
    splittable
        Whether a flight may go on in another file.
    attribution
        What a publisher of the data asks to be named as, with the licence.
    """

    name: str
    title: str
    needs: str
    recognize: Callable[[Head], bool]
    read: Callable[[Path, Options], Iterator[pd.DataFrame]] | None
    read_identities: Callable[[Path, Options], pd.DataFrame] | None = None
    joins: tuple[str, ...] = ()
    splittable: bool = False
    attribution: str = ""


@dataclass(frozen=True)
class Field:
    """A column of a format: its names in lower case, the first one there counts, and its unit."""

    names: tuple[str, ...]
    unit: str

    def __init__(self, *names: str, unit: str = "") -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "unit", unit)


@contextmanager
def open_source(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed; gzip, bzip2, xz, Zstandard, zip, 7z and tar.

    Raises
    ------
    FormatError
        When an archive holds more than one file of data, or another archive.
    """
    with Path(path).open("rb") as file:
        stream = _decompress(file)
        if stream is file:
            with _open_member(file) as member:
                yield member
        else:
            yield _refuse_archive(stream)


def read_head(path: Path) -> Head:
    """Return the beginning of a file.

    Raises
    ------
    FormatError
        When the file is a pickle, or cannot be read.
    """
    path = Path(path)
    try:
        with open_source(path) as stream:
            data = _decode(stream).read(_HEAD)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError) as error:
        raise FormatError(f"cannot be read: {error}") from error
    if _PICKLE.match(data):
        raise FormatError(
            "a pickle, which runs code when it is read: save the flights as Parquet instead"
        )
    if data.startswith(b"PAR1"):
        return Head(path, data, "parquet", _schema_names(path))
    if data.startswith((b"ARROW1", b"FEA1")):
        return Head(path, data, "feather", _schema_names(path))
    if data.lstrip()[:1] in (b"{", b"["):
        return Head(path, data, "json", _json_names(path, data))
    return Head(path, data, "text", *_find_header(data))


def read_table(
    path: Path, wanted: Collection[str], *, head: Head | None = None, decimal: str = "."
) -> Iterator[pd.DataFrame]:
    """Yield the columns wanted of a CSV, Parquet, Feather or JSON table, in batches.

    Parameters
    ----------
    wanted
        Names of columns in lower case; those that the table lacks are absent from the result.
    head
        The file's beginning, where it was read already.
    decimal
        Between the digits of a number of a CSV.

    Raises
    ------
    FormatError
        When the file is damaged, or larger than its format is read in bounded memory.
    """
    head = head or read_head(path)
    try:
        if head.kind in ("parquet", "feather"):
            yield from _read_columnar(head, wanted)
        elif head.kind == "json":
            yield from _read_records(head, wanted)
        else:
            with open_source(path) as stream:
                for block in read_blocks(_decode(stream), skip=head.skip + 1):
                    yield parse_csv(block, head.columns, wanted, head.delimiter, decimal)
    except (OSError, EOFError, pa.ArrowException, lzma.LZMAError) as error:
        raise FormatError(f"cannot be read: {str(error)[:200]}") from error


def read_blocks(stream: BinaryIO, *, skip: int = 0, end: bytes = b"\n") -> Iterator[bytes]:
    """Yield a text in blocks of whole lines, without its first lines.

    Raises
    ------
    FormatError
        When a line is longer than a block.
    """
    rest = b""
    while block := stream.read(_BLOCK):
        block = rest + block
        cut = block.rfind(end) + 1
        rest = block[cut:]
        if len(rest) > _BLOCK:
            raise FormatError(f"a line is longer than {_BLOCK >> 20} MiB")
        block = block[:cut]
        while skip and block:
            block = block.partition(b"\n")[2]
            skip -= 1
        if block:
            yield block
    if rest and not skip:
        yield rest


def read_lines(path: Path) -> Iterator[list[str]]:
    """Yield the lines of a text, some at once; bytes that are not UTF-8 are taken for Latin-1."""
    with open_source(path) as stream:
        for block in read_blocks(_decode(stream)):
            yield _to_text(block).splitlines()


def parse_csv(
    block: bytes,
    columns: Collection[str],
    wanted: Collection[str],
    delimiter: str = ",",
    decimal: str = ".",
) -> pd.DataFrame:
    """Return the columns wanted of some lines of a CSV; numbers where all of a column are.

    Lines with too few or too many fields are left out.
    """
    names = _unique(columns)
    include = [name for name in names if name in wanted]
    options = {
        "parse_options": pa.csv.ParseOptions(
            delimiter=delimiter, invalid_row_handler=lambda row: "skip"
        ),
        "read_options": pa.csv.ReadOptions(column_names=names, use_threads=False),
    }
    convert = {
        "include_columns": include,
        "null_values": _MISSING,
        "strings_can_be_null": True,
        "decimal_point": decimal,
    }
    texts = {name: pa.string() for name in include if name in _KEPT_AS_TEXT}
    try:
        table = pa.csv.read_csv(
            io.BytesIO(block),
            **options,
            convert_options=pa.csv.ConvertOptions(**convert, column_types=texts),
        )
    except pa.ArrowInvalid:  # bytes that are not UTF-8
        data = io.BytesIO(block.decode("latin-1").encode())
        table = pa.csv.read_csv(
            data, **options, convert_options=pa.csv.ConvertOptions(**convert, column_types=texts)
        )
    return table.to_pandas()


# identifiers made of digits, and times that have to stay as they are written
_KEPT_AS_TEXT = frozenset({"icao24", "hex", "callsign", "flight_id", "registration", "squawk"})


def read_json(path: Path) -> object:
    """Return a JSON as a whole.

    Raises
    ------
    FormatError
        When it is larger than 256 MiB, or no JSON.
    """
    with open_source(path) as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise FormatError(f"a JSON of more than {_LARGEST >> 20} MiB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"no JSON: {str(error)[:100]}") from error


def convert_points(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return the points of a table: the schema's columns and units, every point with a position.

    Parameters
    ----------
    df
        A table with columns in lower case.
    fields
        For a column of the result, where it stands in the table and in which unit.
    """
    points = convert_table(df, fields)
    for name in REQUIRED:
        if name not in points:  # of the messages of a receiver a batch may hold no position
            points[name] = pd.NaT if name == "timestamp" else np.nan
    located = points["latitude"].abs().le(90) & points["longitude"].abs().le(360)
    points = points[located & points["timestamp"].notna()].reset_index(drop=True)
    east = points["longitude"]
    return points.assign(longitude=east.where(east.abs() <= 180, (east + 180) % 360 - 180))


def convert_flights(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return the identities of a table, one row a flight."""
    flights = convert_table(df, fields)
    return flights.dropna(subset="flight_id").drop_duplicates("flight_id", ignore_index=True)


def convert_table(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return a table with the schema's columns and units; what its source lacks is absent."""
    columns = {}
    for name, field in fields.items():
        source = next((their for their in field.names if their in df), None)
        if source is not None:
            columns[name] = _convert_column(name, df[source], field.unit)
    return pd.DataFrame(columns, index=df.index)


def convert_times(values: pd.Series) -> pd.Series:
    """Return times in UTC, to the millisecond; NaT where one is none.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, by their size;
    times without a zone are in UTC.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").astype("datetime64[ms, UTC]")
    if values.dtype.kind == "M":
        return values.dt.tz_localize("UTC").astype("datetime64[ms, UTC]")
    if not pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.isna().all():
            times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
            return times.astype("datetime64[ms, UTC]")
        values = numbers
    numbers = values.to_numpy(float, na_value=np.nan)
    milliseconds = np.full(len(numbers), np.nan)
    for power in (0, 3, 6, 9):
        scaled = numbers / 10.0**power
        # from March 1973 to 2100; the four ranges do not overlap
        here = (scaled > 1e8) & (scaled < 4.1024448e9)
        milliseconds[here] = np.round(scaled[here] * 1000)
    times = pd.to_datetime(pd.Series(milliseconds, values.index), unit="ms", utc=True)
    return times.astype("datetime64[ms, UTC]")


def _convert_column(name: str, values: pd.Series, unit: str) -> pd.Series:
    if name in _TEXTS:
        return _to_texts(values, name)
    if name in ("timestamp", "position_time"):
        return convert_times(values)
    if name == "onground":
        return _to_booleans(values)
    numbers = _to_numbers(values)
    if unit and unit != COLUMNS[name].unit:
        factor, offset = find_conversion(name, unit)
        numbers = numbers * factor + offset
    return numbers


def _to_numbers(values: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_numeric(values.astype("str").str.strip(), errors="coerce")
    numbers = values.astype("float64")
    return numbers.where(np.isfinite(numbers))


def _to_texts(values: pd.Series, name: str) -> pd.Series:
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # an integer column with gaps
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    texts = values.astype("str").str.strip()
    texts = texts.mask(values.isna() | texts.isin(["", "nan", "None", "<NA>"]))
    if name == "icao24":
        return texts.str.lower()
    return texts.str.upper() if name in ("aircraft_type", "origin", "destination") else texts


def _to_booleans(values: pd.Series) -> pd.Series:
    texts = values.astype("str").str.strip().str.lower()
    result = pd.Series(pd.NA, values.index, dtype="boolean")
    result[texts.isin(_TRUE)] = True
    result[texts.isin(_FALSE)] = False
    return result


def _decompress(file: BinaryIO) -> BinaryIO:
    start = file.read(8)
    file.seek(0)
    for magic, opener in _COMPRESSIONS.items():
        if start.startswith(magic):
            return io.BufferedReader(opener(file)) if magic != b"\x28\xb5\x2f\xfd" else opener(file)
    return file


def _refuse_archive(stream: BinaryIO) -> BinaryIO:
    start = stream.peek(512)[:512] if hasattr(stream, "peek") else b""
    packed = any(start.startswith(magic) for magic in (*_ARCHIVES, *_COMPRESSIONS))
    if packed or start[257:262] == b"ustar":
        raise FormatError("an archive within an archive: unpack it first")
    return stream


@contextmanager
def _open_member(file: BinaryIO) -> Iterator[BinaryIO]:
    """Open the one file of data in an archive, or the file itself where it is none."""
    start = file.read(512)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            with archive.open(_only_member(names)) as member:
                yield _refuse_archive(io.BufferedReader(member))
    elif start[257:262] == b"ustar":
        with tarfile.open(fileobj=file, mode="r:") as archive:
            names = [entry.name for entry in archive.getmembers() if entry.isfile()]
            # the hours that OpenSky publishes are each a gzip in a tar
            with archive.extractfile(_only_member(names)) as member:
                yield _refuse_archive(io.BufferedReader(_decompress(member)))
    elif start.startswith(b"7z\xbc\xaf\x27\x1c"):
        with _open_7z(file) as member:
            yield _refuse_archive(member)
    else:
        yield file


def _only_member(names: list[str]) -> str:
    about = re.compile(r"(?i)(^|/)(readme|license|licence|\.|__macosx)")
    data = [name for name in names if not about.search(name)]
    if len(data) != 1:
        raise FormatError(f"an archive of {len(data)} files, expected one: unpack it first")
    return data[0]


@contextmanager
def _open_7z(file: BinaryIO) -> Iterator[BinaryIO]:
    try:
        import py7zr
    except ImportError as error:
        raise FormatError("a 7z archive: install py7zr to read it, or unpack it first") from error
    with py7zr.SevenZipFile(file) as archive, tempfile.TemporaryDirectory() as folder:
        entries = [entry for entry in archive.list() if not entry.is_directory]
        name = _only_member([entry.filename for entry in entries])
        if sum(entry.uncompressed for entry in entries) > _UNPACKED:
            raise FormatError(f"unpacks to more than {_UNPACKED >> 30} GiB")
        archive.extract(folder, targets=[name])
        with (Path(folder) / name).open("rb") as member:
            yield member


def _decode(stream: BinaryIO) -> BinaryIO:
    """Return the stream in UTF-8 and without a byte order mark."""
    start = stream.peek(4)[:4] if hasattr(stream, "peek") else b""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return codecs.EncodedFile(stream, "utf-8", "utf-16")
    if start.startswith(b"\xef\xbb\xbf"):
        stream.read(3)
    return stream


def _to_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _schema_names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(_open_columnar(path)[0])
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"cannot be read: {str(error)[:200]}") from error


def _open_columnar(path: Path) -> tuple[list[str], Callable]:
    """Return the columns of a Parquet or Feather file, and a function that yields its batches."""
    with Path(path).open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    if not parquet:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        return reader.schema.names, lambda columns: (batch.select(columns) for batch in batches)
    file = pa.parquet.ParquetFile(path)
    if file.metadata.num_rows > path.stat().st_size:  # times and positions take bytes
        raise FormatError(
            f"promises {file.metadata.num_rows:,} rows in {path.stat().st_size:,} bytes"
        )
    return file.schema_arrow.names, lambda columns: file.iter_batches(BATCH, columns=columns)


def _read_columnar(head: Head, wanted: Collection[str]) -> Iterator[pd.DataFrame]:
    _, batches = _open_columnar(head.path)
    names = dict(zip(head.names, _unique(head.columns), strict=True))
    names = {theirs: ours for theirs, ours in names.items() if ours in wanted}
    for batch in batches(list(names)):
        for start in range(0, batch.num_rows, BATCH):
            yield batch.slice(start, BATCH).to_pandas().rename(columns=names)


def _json_names(path: Path, data: bytes) -> tuple[str, ...]:
    """Return the names in the first records of a JSON, or those of an object of columns."""
    if not _OF_COLUMNS.match(data):
        return tuple(dict.fromkeys(re.findall(r'"([^"\\]{1,60})"\s*:', _to_text(data))))
    names, size = {}, 0
    with open_source(path) as stream:
        while (block := stream.read(_BLOCK)) and size < _LARGEST:
            names |= dict.fromkeys(re.findall(rb'"([^"\\]{1,60})"\s*:\s*\{', block))
            size += len(block)
    return tuple(_to_text(name) for name in names)


def _read_records(head: Head, wanted: Collection[str]) -> Iterator[pd.DataFrame]:
    """Yield batches of a JSON: an array of flat records, one a line, or an object of columns."""
    if _OF_COLUMNS.match(head.data):
        df = _lower(pd.DataFrame(read_json(head.path)))
        yield df[[name for name in df if name in wanted]]
        return
    with open_source(head.path) as stream:
        for block in read_blocks(_decode(stream), end=b"}"):
            lines = re.sub(rb"\}\s*,?\s*\{", b"}\n{", block.strip().strip(b"[], \r\n"))
            if lines:
                df = _lower(_parse_records(lines))
                yield df[[name for name in df if name in wanted]]


def _parse_records(lines: bytes) -> pd.DataFrame:
    try:
        return pa.json.read_json(io.BytesIO(lines)).to_pandas()
    except pa.ArrowInvalid:  # a number in one record and a text in another
        try:
            return pd.DataFrame([json.loads(line) for line in lines.split(b"\n")])
        except (ValueError, RecursionError) as error:
            raise FormatError(f"no JSON of records: {str(error)[:100]}") from error


def _lower(df: pd.DataFrame) -> pd.DataFrame:
    return df.set_axis(_unique([str(name).strip().lower() for name in df]), axis=1)


def _unique(names: Collection[str]) -> list[str]:
    """Return names of which those that repeat, or are empty, are numbered."""
    seen: set[str] = set()
    result = []
    for index, name in enumerate(names):
        result.append(name if name and name not in seen else f"{name} #{index}")
        seen.add(name)
    return result


def _find_header(data: bytes) -> tuple[tuple[str, ...], str, int]:
    """Return the names of a CSV's columns, its delimiter, and the lines before the header."""
    delimiter = ""
    for skip, line in enumerate(_to_text(data).splitlines()[:100]):
        if match := re.fullmatch(r'"?sep=(.)"?', line.strip()):
            delimiter = match[1]
        elif line.strip() and not line.lstrip().startswith(("#", "//", "%")):
            delimiter = delimiter or max(",;\t|", key=line.count)
            names = next(csv.reader([line], delimiter=delimiter), [])
            return tuple(names), delimiter, skip
    return (), ",", 0
