"""Read files as streams, lines and tables, in batches and with bounded memory."""

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from trajlib.importers.formats.base import FormatError, Head, Options, number_repeats
from trajlib.importers.formats.documents import (
    find_columns,
    find_records,
    holds_records,
    is_position,
    parse_beginning,
)
from trajlib.importers.formats.fields import Field, convert_points, find_texts
from trajlib.importers.formats.packed import (
    DAMAGE,
    PackedError,
    is_compressed,
    open_source,
    refuse_damage,
)

BATCH = 200_000  # rows at most
_BLOCK = 16 << 20  # bytes of text parsed at once
_PART = 16 << 10  # bytes read at once; so many are lost if a compressed file is truncated
_HEAD = 64 << 10  # bytes used to recognise a format
_LARGEST = 64 << 20  # bytes of a JSON parsed as a whole, which needs ten times the memory
_MISSING = ["", "N/A", "NA", "n/a", "nan", "NaN", "-", "\\N", "NULL", "null", "None", "ground"]
_OF_COLUMNS = re.compile(rb'\s*\{\s*"[^"]+"\s*:\s*\{')
# pickles of protocol 2 and later, and of earlier ones written by pandas
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[a-z_.]+\n[A-Za-z_]+\n|\(lp0|\(dp0|ccopy_reg\n")


def read_head(path: Path) -> Head:
    """Return the beginning of a file.

    Raises
    ------
    FormatError
        When the file is a pickle, or cannot be read.
    """
    path = Path(path)
    with refuse_damage(), open_source(path) as stream:
        data = _decode(stream).read(_HEAD)
    if _PICKLE.match(data):
        raise FormatError(
            "a pickle, which runs code when it is read: save the flights as Parquet instead"
        )
    if data.startswith((b"PAR1", b"ARROW1", b"FEA1")):
        with path.open("rb") as file:
            packed = file.read(4) != data[:4]
        if packed and is_compressed(path):
            raise FormatError("Parquet or Feather that is compressed as a whole: unpack it first")
        if packed:
            raise PackedError("an archive of one Parquet or Feather file: unpack it first")
        with refuse_damage():
            columns, _ = _open_columnar(path)
        return Head(path, data, "columnar", tuple(columns))
    if data.lstrip()[:1] in (b"{", b"["):
        keys = dict.fromkeys(re.findall(r'"([^"\\]{1,60})"\s*:', _to_text(data)))
        return Head(path, data, "json", _json_names(path, data), keys=tuple(keys))
    names, delimiter, skip = _find_header(data)
    return Head(path, data, "text", names, delimiter, skip, _find_decimal(data, delimiter))


def read_table(
    path: Path,
    wanted: Collection[str],
    *,
    texts: Collection[str] = (),
    head: Head | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the wanted columns of a CSV, Parquet, Feather or JSON table, in batches.

    Parameters
    ----------
    wanted
        Names of columns in lower case; columns missing in the table are absent from the result.
    texts
        Wanted columns that are identifiers, which may look like numbers.
    head
        The file's beginning, if already read.

    Raises
    ------
    FormatError
        When the file is damaged, or too large for its format.
    """
    head = head or read_head(path)
    with refuse_damage():
        if head.kind == "columnar":
            yield from _read_columnar(head, wanted)
        elif head.kind == "json":
            yield from _read_records(head, wanted)
        else:
            with open_source(path) as stream:
                for block in read_blocks(_decode(stream), skip=head.skip + 1):
                    yield parse_csv(
                        block, head.columns, wanted, texts, head.delimiter, head.decimal
                    )


def read_blocks(stream: IO[bytes], *, skip: int = 0, end: bytes = b"\n") -> Iterator[bytes]:
    """Yield a text in blocks of whole lines, without its first lines.

    Raises
    ------
    FormatError
        When a line is longer than a block.
    """
    remainder, old_lines = b"", False
    for number, piece in enumerate(_read_pieces(stream)):
        old_lines |= number == 0 and b"\r" in piece and b"\n" not in piece  # of old Macintoshes
        piece = piece.replace(b"\r", b"\n") if old_lines else piece
        cut = piece.rfind(end) + 1
        block = remainder + piece[:cut] if cut else b""
        remainder = piece[cut:] if cut else remainder + piece
        if len(remainder) > _BLOCK:
            raise FormatError(f"a line is longer than {_BLOCK >> 20} MiB")
        while skip and block:
            block = block.partition(b"\n")[2]
            skip -= 1
        if block:
            yield block
    if remainder and not skip:
        yield remainder


def read_texts(path: Path) -> Iterator[str]:
    """Yield a text in blocks of whole lines; blocks that are not UTF-8 are read as cp1252."""
    with refuse_damage(), open_source(path) as stream:
        for block in read_blocks(_decode(stream)):
            yield _to_text(block)


def point_reader(
    fields: dict[str, Field], prepare: Callable | None = None, extra: Collection[str] = ()
) -> Callable[[Path, Options], Iterator[pd.DataFrame]]:
    """Return the function ``read`` of a format that is a table with these columns.

    Parameters
    ----------
    fields
        The columns of the table.
    prepare
        Called with a batch of the table before the conversion.
    extra
        Other columns that ``prepare`` needs.
    """
    wanted = {name for field in fields.values() for name in field.names} | {*extra}
    texts = find_texts(fields)

    def read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
        rows, count = 0, 0
        for batch in read_table(path, wanted, texts=texts):
            points = convert_points(prepare(batch) if prepare else batch, fields)
            rows, count = rows + len(batch), count + len(points)
            yield points
        if rows and not count:
            raise FormatError(f"none of {rows:,} rows has both a time and a position")

    return read


def name_flight(path: Path, options: Options) -> str:
    """Return an identifier for the flight of a file with one flight: its path below the source."""
    folders = path.parent.relative_to(options.root).parts if options.root else ()
    return "-".join([*folders, path.name.partition(".")[0]])


def convert_flights(
    path: Path, options: Options, flights: Sequence[pd.DataFrame], fields: dict[str, Field]
) -> Iterator[pd.DataFrame]:
    """Yield the points of flights named after their file, with numbers if it holds several."""
    name = name_flight(path, options)
    for number, points in enumerate(flights, 1):
        flight = name if len(flights) == 1 else f"{name}-{number}"
        points = convert_points(points.assign(flight_id=flight), fields)
        yield points.assign(key=f"file:{flight}")  # of which the points may be several flights


def parse_csv(
    block: bytes,
    columns: Sequence[str],
    wanted: Collection[str],
    texts: Collection[str] = (),
    delimiter: str = ",",
    decimal: str = ".",
) -> pd.DataFrame:
    """Return the wanted columns of lines of a CSV, as numbers if all values are numbers.

    Lines with too few fields are filled, those with too many are cut; both are put at the end.
    """
    names = number_repeats(columns)
    include = [name for name in names if name in wanted]
    ragged: list[str] = []
    convert = pa.csv.ConvertOptions(
        include_columns=include,
        null_values=_MISSING,
        strings_can_be_null=True,
        decimal_point=decimal,
        column_types={name: pa.string() for name in include if name in texts},
    )

    def collect(row: pa.csv.InvalidRow) -> str:
        ragged.append(row.text)
        return "skip"

    read = partial(
        pa.csv.read_csv,
        read_options=pa.csv.ReadOptions(column_names=names, use_threads=False),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=collect),
        convert_options=convert,
    )
    try:
        table = read(pa.BufferReader(block))
        legible = not any(pa.types.is_binary(kind) for kind in table.schema.types)
    except pa.ArrowInvalid:
        legible = False
    if not legible:  # bytes that are not UTF-8
        ragged.clear()
        table = read(pa.BufferReader(_to_text(block).encode()))
    if not ragged:
        return table.to_pandas()
    rows = [
        (fields + [""] * len(names))[: len(names)]
        for fields in csv.reader(ragged, delimiter=delimiter)
    ]
    others = pd.DataFrame(rows, columns=names, dtype="str")[include]
    return pd.concat([table.to_pandas(), others.replace(_MISSING, None)], ignore_index=True)


def read_json(path: Path) -> Any:
    """Return a JSON as a whole; of several documents, one a line, a list.

    Raises
    ------
    FormatError
        When it is damaged, larger than 64 MiB, or not JSON.
    """
    with refuse_damage(), open_source(path) as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise FormatError(
            f"a JSON of more than {_LARGEST >> 20} MiB, which has to be read as a whole: "
            "save it as Parquet, or as one record a line"
        )
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        lines = data.strip().splitlines()
        if "Extra data" in str(error) and len(lines) > 1:
            return [_parse_document(line) for line in lines if line.strip()]
        raise FormatError(f"no JSON: {str(error)[:100]}") from error


def _parse_document(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"a line is no JSON: {str(error)[:100]}") from error


def _read_pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in pieces; of a truncated file, also the part before the error."""
    parts, size = [], 0
    # a file is read at once
    step = _BLOCK if isinstance(getattr(stream, "raw", None), io.FileIO) else _PART
    try:
        while part := stream.read(step):
            parts.append(part)
            size += len(part)
            if size >= _BLOCK:
                yield b"".join(parts)
                parts, size = [], 0
    except DAMAGE:
        yield b"".join(parts)
        raise
    yield b"".join(parts)


def _decode(stream: IO[bytes]) -> IO[bytes]:
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
        return data.decode("cp1252", errors="replace")


def _open_columnar(path: Path) -> tuple[list[str], Callable]:
    """Return the columns of a Parquet or Feather file, and a function that yields its batches."""
    with Path(path).open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    if not parquet:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        return reader.schema.names, lambda columns: (batch.select(columns) for batch in batches)
    file = pa.parquet.ParquetFile(path)
    if file.metadata.num_rows > path.stat().st_size:  # each row needs some bytes
        raise FormatError(
            f"promises {file.metadata.num_rows:,} rows in {path.stat().st_size:,} bytes"
        )
    return file.schema_arrow.names, lambda columns: file.iter_batches(BATCH, columns=columns)


def _read_columnar(head: Head, wanted: Collection[str]) -> Iterator[pd.DataFrame]:
    _, batches = _open_columnar(head.path)
    names = dict(zip(head.names, head.columns, strict=True))
    names = {name: column for name, column in names.items() if column in wanted}
    for batch in batches(list(names)):
        for start in range(0, batch.num_rows, BATCH):
            yield batch.slice(start, BATCH).to_pandas(ignore_metadata=True).rename(columns=names)


def _json_names(path: Path, data: bytes) -> tuple[str, ...]:
    """Return the names in the first records of a JSON, or in an object of columns."""
    if _is_of_columns(data):
        columns = read_json(path)
        return tuple(columns) if isinstance(columns, dict) else ()
    names = _list_names(parse_beginning(_to_text(data)))
    if b'"Feature"' in data and len(data) == _HEAD and "timestamp" not in find_columns(names):
        names = _list_names(read_json(path))  # times may follow the positions
    return names


def _list_names(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(find_records(value))))


def _read_records(head: Head, wanted: Collection[str]) -> Iterator[pd.DataFrame]:
    """Yield batches of a JSON: records in an array, one per line or in objects, or columns."""
    if _is_of_columns(head.data):
        tables = iter([pd.DataFrame(read_json(head.path))])
    elif not _is_nested(parse_beginning(_to_text(head.data))):
        tables = _read_flat_records(head)
    elif _is_of_lines(head.data):
        tables = _read_lines(head)
    else:
        tables = iter([pd.DataFrame([*find_records(read_json(head.path))])])
    for df in tables:
        df.columns = number_repeats([str(name).strip().lower() for name in df])
        yield df[[name for name in df if name in wanted]]


def _read_lines(head: Head) -> Iterator[pd.DataFrame]:
    for text in read_texts(head.path):
        documents = [_parse_document(line.encode()) for line in text.splitlines() if line.strip()]
        yield pd.DataFrame([*find_records(documents)])


def _is_of_lines(data: bytes) -> bool:
    """Return whether a JSON has one document a line."""
    first, _, rest = data.lstrip().partition(b"\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _is_nested(value: Any) -> bool:
    """Return whether the records of a JSON hold others, objects or columns."""
    records = value if isinstance(value, list) else [value]
    return any(isinstance(record, dict) and holds_records(record) for record in records)


def _read_flat_records(head: Head) -> Iterator[pd.DataFrame]:
    with open_source(head.path) as stream:
        end = b"}" if head.data.lstrip().startswith(b"[") else b"\n"
        for block in read_blocks(_decode(stream), end=end):
            lines = re.sub(rb"\}\s*,?\s*\{", b"}\n{", block.strip().strip(b"[], \r\n"))
            if lines:
                yield _parse_records(lines)


def _is_of_columns(data: bytes) -> bool:
    """Return whether a JSON is an object of columns, each an object of its values."""
    if not _OF_COLUMNS.match(data) or re.search(rb"\[\s*\{", data):  # with records
        return False
    columns = parse_beginning(_to_text(data))
    parts = [*columns.values()] if isinstance(columns, dict) else []
    scalars = all(isinstance(part, dict) and not _holds_parts(part) for part in parts)
    return bool(parts) and scalars and not is_position(parts[0])


def _holds_parts(record: dict) -> bool:
    return any(isinstance(value, dict | list) for value in record.values())


def _parse_records(lines: bytes) -> pd.DataFrame:
    try:
        return pa.json.read_json(io.BytesIO(lines)).to_pandas()
    except pa.ArrowInvalid:  # numbers in some records and texts in others
        try:
            return pd.DataFrame([json.loads(line) for line in lines.split(b"\n")])
        except (ValueError, RecursionError) as error:
            raise FormatError(f"no JSON of records: {str(error)[:100]}") from error


def _find_decimal(data: bytes, delimiter: str) -> str:
    fields = re.split(rf"[{re.escape(delimiter)}\n]", _to_text(data)) if delimiter != "," else []
    points, commas = (
        sum(re.fullmatch(rf"-?\d+{mark}\d+", field.strip()) is not None for field in fields)
        for mark in (r"\.", ",")
    )
    return "," if commas > points else "."


def _find_header(data: bytes) -> tuple[tuple[str, ...], str, int]:
    """Return the names of a CSV's columns, its delimiter, and the lines before the header."""
    delimiter = ""
    lines = _to_text(data).splitlines()[:100]
    for skip, line in enumerate(lines[:10]):
        if "Lcl Date" in line and "Lcl Time" in line:  # Garmin: below a line of units
            return tuple(line.split(",")), ",", skip
    for skip, line in enumerate(lines):
        if match := re.fullmatch(r'"?sep=(.)"?', line.strip()):
            delimiter = match[1]
        elif line.strip() and not line.lstrip().startswith(("#", "//", "%", "+-")):
            delimiter = delimiter or max(",;\t|", key=line.count)
            names = next(csv.reader([line], delimiter=delimiter), [])
            return tuple(names), delimiter, skip
    return (), ",", 0
