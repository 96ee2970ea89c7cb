"""An archive's index: one row a file, brought up to date by size and time of change."""

import difflib
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import ConvertOptions

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.plans import FOLDER as PLANS
from trajlib.archive.reading import (
    FlightError,
    find_fields,
    parse_times,
    read_gzip,
    reason,
    split_line,
)
from trajlib.archive.storage import (
    is_folder,
    is_remote,
    list_objects,
    open_file,
    refuse_outage,
    replacing,
    resolve,
)
from trajlib.cluster import current_client, gather
from trajlib.schema import IDENTITY, REQUIRED

__all__ = [
    "build_index",
    "read_head_tail",
    "read_rejections",
    "record_rejections",
    "select_flights",
]

_FILE = {"path": "str", "size": "int64", "mtime": "int64"}
_POSITIONS = ("latitude_first", "longitude_first", "latitude_last", "longitude_last")
_FACTS = (*IDENTITY, "start", "end", *_POSITIONS, "rejected")
_ENDINGS = (".csv", ".csv.gz")
_STREAMS = 32  # objects read at once, as each takes tens of milliseconds to answer
_NULLS = ConvertOptions().null_values  # what a full read takes for missing
_HEAD, _TAIL = 4096, 1024  # bytes that hold a header and a line, and a last line
_BATCH = 500  # files a task: one takes milliseconds on shared storage, as a task itself does


def build_index(archive: str | Path, output: str | Path | None = None) -> pd.DataFrame:
    """Return the index of an archive, reading only files that are new or changed.

    Parameters
    ----------
    archive
        Folder of flight CSVs (``.csv``, ``.csv.gz``), in any sub-folders but ``plans/``.
    output
        Parquet file that keeps the index. By default ``NAME.index.parquet`` beside the archive
        ``NAME``, or in the folder ``interim`` beside ``raw`` when the archive stands in ``raw``.

    Returns
    -------
    DataFrame
        One row a file, in the order of ``path``, which is relative to the archive: ``size``
        [bytes], ``mtime`` [ns], the identity of the flight, ``start`` and ``end`` (UTC), first
        and last position [deg], ``rejected`` (the reason that the file is set aside, or null)
        and, never saved, the absolute paths of the folder (``archive``) and of the table of
        what full reads show (``rejections_file``, see `read_rejections`).

    Raises
    ------
    FileNotFoundError
        When the archive is not a folder, or holds no CSV.
    """
    output = str(output or default_index_path(archive))
    files, dialect = list_files(archive), read_dialect(archive)
    old = _read_index(output, dialect)
    if old is None or not files.equals(old[list(_FILE)]):
        index = _update(archive, files, old, dialect)
        _write_index(index, output, dialect)
    else:
        index = old
    rejections = f"{output.removesuffix('.index.parquet')}.rejections.parquet"
    return index.assign(archive=resolve(archive), rejections_file=resolve(rejections))


def read_rejections(index: pd.DataFrame) -> pd.DataFrame:
    """Return what is wrong with the files of an index, as far as any run has read them.

    Returns
    -------
    DataFrame
        Indexed by ``path``, one row a file: ``rejected``, the reason it is set aside, and
        ``seen_in``, its ``ends`` (the index's own look) or a ``full read``. A file that has
        changed since its full read is sound until it is read again.
    """
    ends = index.loc[index["rejected"].notna(), ["path", "rejected"]].assign(seen_in="ends")
    known = _read_recorded(index).merge(index[[*_FILE]], on=[*_FILE])
    known = known.loc[~known["path"].isin(ends["path"]), ["path", "rejected"]]
    both = pd.concat([ends, known.assign(seen_in="full read")])
    return both.sort_values("path").set_index("path")


def record_rejections(flights: pd.DataFrame, rejections: Mapping[str, str]) -> None:
    """Add what a full read has shown to the table beside the index; the index stays as it is.

    Parameters
    ----------
    flights
        Rows of an index, or some of its columns: ``path``, ``size``, ``mtime``, ``archive`` and
        ``rejections_file``.
    rejections
        Reason by ``path``, of files whose ends gave none.
    """
    if not rejections or "rejections_file" not in flights:
        return
    rows = flights.loc[flights["path"].isin(list(rejections)), [*_FILE]]
    rows = rows.assign(rejected=rows["path"].map(rejections))
    old = _read_recorded(flights)
    table = pd.concat([old, rows]).drop_duplicates("path", keep="last")
    table = table.sort_values("path", ignore_index=True)
    if not table.equals(old):
        dialect = read_dialect(flights["archive"].iloc[0])
        _write_index(table, flights["rejections_file"].iloc[0], dialect)


def _read_recorded(flights: pd.DataFrame) -> pd.DataFrame:
    dialect = read_dialect(flights["archive"].iloc[0])
    table = _read_index(flights["rejections_file"].iloc[0], dialect)
    return pd.DataFrame(columns=[*_FILE, "rejected"]).astype(_FILE) if table is None else table


def default_index_path(archive: str | Path) -> str | Path:
    """Return where the index of an archive is kept unless another place is asked for.

    >>> default_index_path("data/raw/sample").as_posix()
    'data/interim/sample.index.parquet'
    >>> default_index_path("s3://flights/2016")
    's3://flights/2016.index.parquet'
    """
    if is_remote(archive):
        return f"{resolve(archive)}.index.parquet"
    archive = Path(archive)
    raw = archive.parent
    folder = raw.parent / "interim" if raw.name == "raw" else raw
    return folder / f"{archive.name}.index.parquet"


def select_flights(index: pd.DataFrame, origin: str, destination: str) -> pd.DataFrame:
    """Return the usable rows of one city pair, in the order of ``path``.

    Raises
    ------
    ValueError
        When the archive holds no usable flight of the pair; the nearest pairs are named.
    """
    usable = index[index["rejected"].isna()]
    rows = usable[(usable["origin"] == origin) & (usable["destination"] == destination)]
    if rows.empty:
        raise ValueError(
            f"no usable flight {origin} → {destination} among {len(index):,} files; "
            f"the nearest pairs there are: {', '.join(_nearest_pairs(usable, origin, destination))}"
        )
    return rows.sort_values("path", ignore_index=True)


def list_files(archive: str | Path) -> pd.DataFrame:
    """Return path, size [bytes] and mtime [ns] of every CSV below a folder, ordered by path.

    Links are followed, each folder once; what cannot be reached is listed with size -1.
    """
    if not is_folder(archive):
        raise FileNotFoundError(
            f"no archive at {archive}: expected a folder of flight CSVs, such as "
            "python -m trajlib simulate or import makes"
        )
    if is_remote(archive):
        rows = sorted(row for row in list_objects(archive) if row[0].endswith(_ENDINGS))
    else:
        status = Path(archive).stat()
        rows = sorted(_walk(str(archive), "", {(status.st_dev, status.st_ino)}))
    rows = [row for row in rows if not row[0].startswith(f"{PLANS}/")]
    if not rows:
        raise FileNotFoundError(f"the archive {archive} is empty: no .csv or .csv.gz in it")
    return pd.DataFrame(rows, columns=list(_FILE)).astype(_FILE)


def _walk(folder: str, prefix: str, seen: set) -> Iterator[tuple[str, int, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        yield prefix, -1, 0
        return
    folders = []
    for entry in entries:
        is_below = entry.is_dir()
        if not is_below and not entry.name.endswith(_ENDINGS):
            continue
        try:
            entry.name.encode()  # or no table can hold it
            status = entry.stat()
        except (OSError, UnicodeEncodeError):
            yield prefix + entry.name.encode(errors="backslashreplace").decode(), -1, 0
            continue
        if is_below:
            key = (status.st_dev, status.st_ino)
            folders.append((entry.is_symlink(), entry.name, entry.path, key))
        else:
            yield prefix + entry.name, status.st_size, status.st_mtime_ns
    for _, name, path, key in sorted(folders):  # a folder keeps its own name before a link's
        if key not in seen:
            seen.add(key)
            yield from _walk(path, f"{prefix}{name}/", seen)


def read_ends(path: str, size: int, dialect: Dialect) -> tuple:
    """Return what the first and the last bytes of a CSV tell, as texts or None.

    The identity columns, ``timestamp`` first and last, latitude and longitude first, the same
    last, and what is wrong with the file.
    """
    try:
        header, first, last = _end_lines(*read_head_tail(path, size))
        count, fields = find_fields(header, dialect)
        first, last = split_line(first, dialect.delimiter), split_line(last, dialect.delimiter)
        if len(first) != count or len(last) != count:
            which = "first" if len(first) != count else "last"
            raise FlightError(f"the {which} line is cut, or has more fields than the header")
    except (OSError, EOFError, FlightError, zlib.error) as error:
        refuse_outage(error, path)
        return (None,) * (len(_FACTS) - 1) + (reason(error),)
    time, lat, lon = (fields[name] for name in REQUIRED[:3])
    texts = [first[fields[name]] if name in fields else None for name in IDENTITY]
    return (*texts, first[time], last[time], first[lat], first[lon], last[lat], last[lon], None)


def read_head_tail(path: str, size: int) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a CSV, unpacked, as many as hold its end lines.

    Raises
    ------
    FlightError
        When the size says that the file cannot be reached, or it unpacks to too much.
    """
    if size < 0:
        raise FlightError("a broken link, a folder that may not be opened, or a name not in UTF-8")
    if path.endswith(".gz"):
        data = read_gzip(path)
        return data[:_HEAD], data[-_TAIL:]
    if path.startswith("s3://"):
        with open_file(path) as file:
            head = file.read_at(min(size, _HEAD), 0)
            return head, head if size <= _HEAD else file.read_at(_TAIL, size - _TAIL)
    # a file object costs as much as the reads; a pipe is not waited for, and cannot be read so
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        head = os.pread(file, _HEAD, 0)
        return head, head if size <= _HEAD else os.pread(file, _TAIL, size - _TAIL)
    finally:
        os.close(file)


def _end_lines(head: bytes, tail: bytes) -> tuple[bytes, bytes, bytes]:
    if not head.strip():
        raise FlightError("the file is empty")
    if b"\0" in head or b"\0" in tail:
        raise FlightError("the file holds NUL bytes")
    header, _, rest = head.partition(b"\n")
    first, _, rest = rest.partition(b"\n")
    if not first.strip() or not rest.strip():
        if len(head) == _HEAD:
            raise FlightError(f"the header and the first line are longer than {_HEAD} bytes")
        raise FlightError(f"{int(bool(first.strip()))} samples, expected 2 or more")
    last = tail.rstrip(b"\r\n").rpartition(b"\n")[2]
    return header, first.rstrip(b"\r"), last.rstrip(b"\r")


def _read_index(path: str, dialect: Dialect) -> pd.DataFrame | None:
    try:
        with open_file(path) as file:  # opened once: another run may put a new one in its place
            table = pq.read_table(file)
    except FileNotFoundError:
        return None
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is damaged: delete it, and it is made again") from error
    told = (table.schema.metadata or {}).get(b"dialect")
    if told is None:
        raise ValueError(f"{path} is another table than an index: give --output another name")
    return table.to_pandas() if told == dialect.fingerprint().encode() else None


def _write_index(index: pd.DataFrame, path: str, dialect: Dialect) -> None:
    table = pa.Table.from_pandas(index, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"dialect": dialect.fingerprint()}
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")


def _update(
    archive: str | Path, files: pd.DataFrame, old: pd.DataFrame | None, dialect: Dialect
) -> pd.DataFrame:
    if old is None:
        return pd.concat([files, _read_facts(archive, files, dialect)], axis=1)
    merged = files.merge(old, how="left", on=list(_FILE), indicator=True)
    fresh = (merged["_merge"] == "left_only").to_numpy()
    new = files[fresh].reset_index(drop=True)
    new = pd.concat([new, _read_facts(archive, new, dialect)], axis=1)
    kept = merged[~fresh].drop(columns="_merge")
    return pd.concat([kept, new]).sort_values("path", ignore_index=True) if len(kept) else new


def _read_facts(archive: str | Path, files: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    rows = _read_all_ends(resolve(archive), files, dialect)
    facts = pd.DataFrame(rows, columns=_FACTS, dtype="str")
    for name in ("start", "end"):
        facts[name] = parse_times(facts[name], dialect)
    for name in _POSITIONS:
        facts[name] = _to_degrees(facts[name], dialect)
    for name in IDENTITY:
        facts[name] = facts[name].str.strip()
        facts[name] = facts[name].mask(facts[name].isin(_NULLS))
    if dialect.constants or dialect.path:
        told = pd.DataFrame([dialect.identity(path) for path in files["path"]], dtype="str")
        facts = facts.assign(**{name: told[name].fillna(facts[name]) for name in told})
    return facts.assign(rejected=_first_rejection(facts))


def _read_all_ends(root: str, files: pd.DataFrame, dialect: Dialect) -> list[tuple]:
    # A local disk answers faster than tasks are sent; storage that workers elsewhere share waits.
    client = current_client()
    if client is None or client.cluster is not None or len(files) <= _BATCH:
        return _read_batch(root, files, dialect)
    batches = [files.iloc[at : at + _BATCH] for at in range(0, len(files), _BATCH)]
    futures = [client.submit(_read_batch, root, b, dialect, pure=False) for b in batches]
    return [row for batch in gather(client, futures) for row in batch]


def _read_batch(root: str, files: pd.DataFrame, dialect: Dialect) -> list[tuple]:
    paths = [f"{root}/{path}" for path in files["path"]]
    asked = paths, files["size"], repeat(dialect)
    if not is_remote(root):
        return list(map(read_ends, *asked))
    with ThreadPoolExecutor(_STREAMS) as streams:
        return list(streams.map(read_ends, *asked))


def _to_degrees(texts: pd.Series, dialect: Dialect) -> pd.Series:
    if dialect.decimal != ".":
        texts = texts.str.replace(dialect.decimal, ".")
    factor, offset = dialect.units.get(str(texts.name).rpartition("_")[0], (1.0, 0.0))
    return pd.to_numeric(texts, errors="coerce") * factor + offset


def _first_rejection(facts: pd.DataFrame) -> pd.Series:
    tests = {
        "timestamp of the first or last sample is not a time": facts[["start", "end"]]
        .isna()
        .any(axis=1),
        "time does not grow from the first to the last sample": facts["end"] <= facts["start"],
        "first or last position is missing": facts[list(_POSITIONS)].isna().any(axis=1),
        "first or last position is not on the Earth": _off_earth(facts),
    }
    reason = facts["rejected"]
    for text, failed in tests.items():
        reason = reason.mask(reason.isna() & failed, text)
    return reason


def _off_earth(facts: pd.DataFrame) -> np.ndarray:
    positions = facts[list(_POSITIONS)].to_numpy()
    return (np.abs(positions) > [90, 180, 90, 180]).any(axis=1)


def _nearest_pairs(index: pd.DataFrame, origin: str, destination: str) -> list[str]:
    counts = index.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    names = {f"{o} → {d}": f"{o} → {d} ({n})" for (o, d), n in counts.items()}
    close = difflib.get_close_matches(f"{origin} → {destination}", names, n=3, cutoff=0.3)
    return [names[name] for name in close or list(names)[:3]] or ["none"]
