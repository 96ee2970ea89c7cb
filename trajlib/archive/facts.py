"""Read the facts of flight files for the index: from their first and last lines if possible."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import find_columns, split_line
from trajlib.archive.listing import FRAGMENTS
from trajlib.archive.pairs import describe_ends
from trajlib.archive.reading import (
    UNREADABLE,
    FlightError,
    parse_ends,
    read_gzip,
    read_repaired,
    reason,
    to_utf8,
)
from trajlib.archive.repairs import IDENTITIES, describe_repairs
from trajlib.archive.storage import is_remote, open_file, refuse_outage, resolve
from trajlib.archive.values import parse_times, strip_texts
from trajlib.cluster import current_client, run_blocks
from trajlib.schema import IDENTITY, REQUIRED

_POSITIONS = ("latitude_first", "longitude_first", "latitude_last", "longitude_last")
ENDS = ("start", "end", *_POSITIONS)  # columns on the first and the last sample
_FACTS = (*IDENTITY, *ENDS, "rejected")
_FRAGMENT = "a fragment: its points show traffic and wind, but are no trajectory"
_DAY = pd.Timedelta(1, "D")
_STREAMS = 32  # objects read at once, since each request takes tens of milliseconds
_HEAD, _TAIL = 4096, 1024  # bytes that hold a header and a line, and a last line
_BATCH = 500  # files per block: a file takes milliseconds on shared storage, as a task does
_CLOSE = 50  # files per block when files are parsed
# doubts after which the whole file is read
_SEVERAL = "several flights"
_NUL = "the file holds NUL bytes"
_CUT_FIRST, _CUT_LAST = (
    f"the {which} line is cut, or has more fields than the header" for which in ("first", "last")
)


def read_facts(archive: str | Path, files: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    """Return the columns of the index for the files listed by `list_files`.

    A file whose first and last lines are doubtful, or far from its airports, is read in full.
    """
    root = resolve(archive)
    facts = pd.DataFrame(_read_all_ends(root, files, dialect), columns=_FACTS, dtype="str")
    for name in ("start", "end"):
        facts[name] = parse_times(facts[name], dialect)
    for name in _POSITIONS:
        facts[name] = _to_degrees(facts[name], dialect)
    for name in IDENTITY:
        facts[name] = strip_texts(facts[name])
    facts = facts.assign(
        rejected=_first_rejection(facts), repairs=pd.Series(None, facts.index, "str")
    )
    facts = _set_identity(facts, files, dialect)
    kept_apart = files["path"].str.startswith(FRAGMENTS)  # far from their airports, if any
    doubtful = facts["rejected"].notna() | (describe_ends(facts).notna() & ~kept_apart)
    if doubtful.any():
        read_closely = partial(_read_closely, root, dialect)
        in_process = doubtful.sum() <= _CLOSE
        chosen = files.assign(rejected=facts["rejected"])[doubtful.to_numpy()]
        blocks = [read_closely(chosen)] if in_process else run_blocks(read_closely, chosen, _CLOSE)
        corrected = pd.DataFrame([row for block in blocks for row in block], index=chosen.index)
        facts[doubtful] = corrected.reindex(columns=facts.columns).astype(facts.dtypes)
        facts = _set_identity(facts, files, dialect)
    fragment = kept_apart & facts["rejected"].isna()
    rejected = facts["rejected"].mask(fragment, _FRAGMENT)
    return facts.assign(rejected=rejected, fragment=fragment, copy=False)


def _set_identity(facts: pd.DataFrame, files: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    if not dialect.constants and not dialect.path:
        return facts
    identity = pd.DataFrame([dialect.identity(path) for path in files["path"]], dtype="str")
    return facts.assign(**{name: identity[name].fillna(facts[name]) for name in identity})


def _read_all_ends(root: str, files: pd.DataFrame, dialect: Dialect) -> list[tuple]:
    # Reading a local disk is faster than sending tasks; shared storage of a cluster is slower.
    client = current_client()
    if client is None or client.cluster is not None or len(files) <= _BATCH:
        return _read_batch(root, dialect, files)
    batches = run_blocks(partial(_read_batch, root, dialect), files, _BATCH)
    return [row for batch in batches for row in batch]


def _read_batch(root: str, dialect: Dialect, files: pd.DataFrame) -> list[tuple]:
    paths = [f"{root}/{path}" for path in files["path"]]
    arguments = paths, files["size"], repeat(dialect)
    if not is_remote(root):
        return list(map(read_ends, *arguments))
    with ThreadPoolExecutor(_STREAMS) as streams:
        return list(streams.map(read_ends, *arguments))


def read_ends(path: str, size: int, dialect: Dialect) -> tuple:
    """Return the fields of the first and the last line of a CSV, as texts or None.

    The identity columns, ``timestamp`` first and last, latitude and longitude first, then last,
    and the reason why the file is doubtful.
    """
    try:
        header, first, last = _end_lines(*read_head_tail(path, size))
        layout = find_columns(header, dialect)
        begin, end = split_line(first, dialect.delimiter), split_line(last, dialect.delimiter)
        if len(begin) != layout.count or len(end) != layout.count:
            raise FlightError(_CUT_FIRST if len(begin) != layout.count else _CUT_LAST)
    except UNREADABLE as error:
        refuse_outage(error, path)
        return (None,) * (len(_FACTS) - 1) + (reason(error),)
    fields = layout.fields
    time, lat, lon = (fields[name] for name in REQUIRED[:3])
    texts = [begin[fields[n]].strip() or end[fields[n]] if n in fields else None for n in IDENTITY]
    same = all(begin[fields[n]] == end[fields[n]] for n in IDENTITIES if n in fields)
    doubt = None if same else _SEVERAL
    return (*texts, begin[time], end[time], begin[lat], begin[lon], end[lat], end[lon], doubt)


def read_head_tail(path: str, size: int) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a CSV, unpacked, enough for its first and last lines.

    Raises
    ------
    FlightError
        When the file cannot be reached (size -1), or is too large when unpacked.
    """
    if size < 0:
        raise FlightError("a broken link, a folder that may not be opened, or a name not in UTF-8")
    if path.endswith(".gz"):
        data = to_utf8(read_gzip(path))
        return data[:_HEAD], data[-_TAIL:]
    if is_remote(path):
        remote: Any
        with open_file(path) as remote:
            head = remote.read_at(min(size, _HEAD), 0)
            return head, head if size <= _HEAD else remote.read_at(_TAIL, size - _TAIL)
    # without a file object, which costs as much as the reads; not blocking, in case of a pipe
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
        raise FlightError(_NUL)
    header, _, rest = head.partition(b"\n")
    first, _, rest = rest.partition(b"\n")
    if not first.strip() or not rest.strip():
        if len(head) == _HEAD:
            raise FlightError(f"the header and the first line are longer than {_HEAD} bytes")
        raise FlightError(f"{int(bool(first.strip()))} samples, expected 2 or more")
    last = tail.rstrip(b"\r\n").rpartition(b"\n")[2]
    return header, first.rstrip(b"\r"), last.rstrip(b"\r")


def _to_degrees(texts: pd.Series, dialect: Dialect) -> pd.Series:
    if dialect.decimal != ".":
        texts = texts.str.replace(dialect.decimal, ".")
    factor, offset = dialect.units.get(str(texts.name).rpartition("_")[0], (1.0, 0.0))
    return pd.to_numeric(texts, errors="coerce") * factor + offset


def _first_rejection(facts: pd.DataFrame) -> pd.Series:
    start, end, positions = facts["start"], facts["end"], facts[list(_POSITIONS)]
    off_earth = (positions.abs() > [90, 180, 90, 180]).any(axis=1)
    tests = {
        "timestamp of the first or last sample is not a time": start.isna() | end.isna(),
        "time does not grow from the first to the last sample": end <= start,
        "first and last sample are more than a day apart": end - start > _DAY,
        "first or last position is missing": positions.isna().any(axis=1),
        "first or last position is not on the Earth": off_earth,
    }
    reason = facts["rejected"]
    for text, failed in tests.items():
        reason = reason.mask(reason.isna() & failed, text)
    return reason


def _read_closely(root: str, dialect: Dialect, files: pd.DataFrame) -> list[dict]:
    """Return the facts of files whose first and last lines are in another form, or are doubtful.

    First both ends are parsed as a flight; if they are not enough, the whole file is.
    """
    rows = []
    for path, size, doubt in files[["path", "size", "rejected"]].itertuples(index=False):
        try:
            facts = _parse_ends(f"{root}/{path}", size, dialect) if size > _HEAD + _TAIL else None
            facts = facts or _parse_whole(f"{root}/{path}", size, dialect)
        except UNREADABLE as error:
            refuse_outage(error, root)
            # arrow's message quotes the line, but does not say what is wrong with it
            is_vague = isinstance(error.__cause__, pa.ArrowInvalid)
            is_clear = doubt in (_NUL, _CUT_FIRST, _CUT_LAST)
            facts = {"rejected": doubt if is_vague and is_clear else reason(error)}
        rows.append(facts)
    return rows


def _parse_ends(path: str, size: int, dialect: Dialect) -> dict | None:
    head, tail = read_head_tail(path, size)
    lines = head[: head.rfind(b"\n") + 1] + tail.partition(b"\n")[2]
    samples = parse_ends(lines, dialect, path.rpartition("/")[2])
    facts = None if samples is None else _gather_facts(samples)
    return None if facts is None or facts["end"] - facts["start"] > _DAY else facts


def _parse_whole(path: str, size: int, dialect: Dialect) -> dict:
    if size <= 0:
        _end_lines(*read_head_tail(path, size))  # raises an error with the reason
    flight, repairs = read_repaired(path, [*IDENTITY, *REQUIRED], dialect=dialect)
    return _gather_facts(flight) | {"repairs": describe_repairs(repairs)}


def _gather_facts(flight: pd.DataFrame) -> dict:
    ends = flight.iloc[[0, -1]]
    facts = dict(zip(_POSITIONS, ends[["latitude", "longitude"]].to_numpy().ravel(), strict=True))
    facts["start"], facts["end"] = ends["timestamp"]
    for name in IDENTITY:
        filled = flight[name].dropna().tolist() if name in flight else []
        facts[name] = filled[0] if filled else None
    return facts
