"""The index of an archive: one row per file, updated by size and time of change."""

import difflib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from errno import EACCES, EPERM, EROFS
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.layout import find_columns, split_line
from trajlib.archive.plans import FOLDER as PLANS
from trajlib.archive.reading import (
    UNREADABLE,
    FlightError,
    parse_ends,
    read_flight,
    read_gzip,
    read_repaired,
    reason,
    to_utf8,
)
from trajlib.archive.repairs import IDENTITIES, REPAIRS, describe_repairs
from trajlib.archive.storage import (
    format_location,
    is_folder,
    is_remote,
    list_objects,
    open_file,
    refuse_outage,
    replacing,
    resolve,
)
from trajlib.archive.values import parse_times, strip_texts
from trajlib.cluster import current_client, run_blocks
from trajlib.geodesy import distance, find_airport, locate_airport
from trajlib.schema import IDENTITY, REQUIRED

__all__ = [
    "FRAGMENTS",
    "UNSAVED",
    "build_index",
    "count_incomplete",
    "default_index_path",
    "dialect_of",
    "find_pair",
    "list_files",
    "read_head_tail",
    "read_rejections",
    "read_repairs",
    "record_findings",
    "select_flights",
]

FRAGMENTS = "fragments/"  # folder of an archive in which an import keeps fragments
UNSAVED = ("archive", "rejections_file", "strict", "incomplete")  # columns that are not saved
_FILE = {"path": "str", "size": "int64", "mtime": "int64"}
_FINDINGS = {"rejected": "str", "repairs": "str"}
_POSITIONS = ("latitude_first", "longitude_first", "latitude_last", "longitude_last")
_FACTS = (*IDENTITY, "start", "end", *_POSITIONS, "rejected")
_ENDINGS = (".csv", ".csv.gz")
_SYSTEM = {"__MACOSX", "__pycache__", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
_SYSTEM |= {"@eaDir", "#recycle", "#snapshot"}  # of network disks
_DAY = pd.Timedelta(1, "D")
_STREAMS = 32  # objects read at once, since each request takes tens of milliseconds
_HEAD, _TAIL = 4096, 1024  # bytes that hold a header and a line, and a last line
_BATCH = 500  # files per block: a file takes milliseconds on shared storage, as a task does
_CLOSE = 50  # files per block when files are parsed
_FAR = 30.0  # NM from its airport within which a complete flight begins or ends
_FRAGMENT = "a fragment: its points show traffic and wind, but are no trajectory"
# doubts after which the whole file is read
_SEVERAL = "several flights"
_NUL = "the file holds NUL bytes"
_CUT_FIRST, _CUT_LAST = (
    f"the {which} line is cut, or has more fields than the header" for which in ("first", "last")
)


def build_index(
    archive: str | Path, output: str | Path | None = None, *, strict: bool | None = None
) -> pd.DataFrame:
    """Return the index of an archive, reading only files that are new or changed.

    Hidden files and folders are ignored. Of files with the same samples one is used.

    Parameters
    ----------
    archive
        Folder of flight CSVs (``.csv``, ``.csv.gz``), in any sub-folders but ``plans/``.
    output
        Parquet file that keeps the index. By default ``NAME.index.parquet`` beside the archive
        ``NAME``, or in the folder ``interim`` beside ``raw`` when the archive is in ``raw``.
    strict
        Reject flights that need a repair. The default is the setting in columns.toml, or the
        environment variable ``TRAJLIB_STRICT``.

    Returns
    -------
    DataFrame
        One row per file, ordered by ``path`` (relative to the archive): ``size`` [bytes],
        ``mtime`` [ns], the identity of the flight, ``start`` and ``end`` (UTC), first and last
        position [deg], ``rejected`` (the reason, or null), ``fragment`` and ``copy`` (whether it
        is rejected as a fragment, or because it has the samples of another file), and ``repairs``
        (the repairs and their numbers of samples, null if not known, see `read_repairs`). An
        airport that has two codes in the archive gets the more frequent one.
        Not saved are ``incomplete`` (how far from its airports an incomplete flight begins or
        ends, else null), the absolute paths of the archive (``archive``) and of the table with the
        findings of full reads (``rejections_file``), and ``strict``.

    Raises
    ------
    FileNotFoundError
        When the archive is not a folder, or holds no CSV.
    """
    output = str(output or default_index_path(archive))
    files = list_files(archive)
    dialect = read_dialect(archive)
    if strict is None:
        strict = dialect.strict or bool(os.environ.get("TRAJLIB_STRICT"))
    dialect = replace(dialect, strict=strict)
    index = _read_table(output, dialect, ["repairs", "fragment", "copy"])
    if index is None or not files.equals(index[list(_FILE)]):
        index = _update(archive, files, index, dialect)
        _write_index(index, output, dialect)
    rejections = f"{output.removesuffix('.index.parquet')}.rejections.parquet"
    paths = {"archive": resolve(archive), "rejections_file": resolve(rejections)}
    index = _unify_airports(index.assign(**paths, strict=strict))
    recorded = _read_recorded(index).dropna(subset="repairs")
    recorded = index[[*_FILE]].merge(recorded, how="left", on=[*_FILE])["repairs"]
    repairs = index["repairs"].fillna(recorded).astype("str")
    return index.assign(repairs=repairs, incomplete=_describe_ends(index))


def read_rejections(index: pd.DataFrame) -> pd.DataFrame:
    """Return why files of an index are rejected, as far as any run has read them.

    Returns
    -------
    DataFrame
        Indexed by ``path``, one row per file: ``rejected`` (the reason) and ``seen_in``, either
        ``ends`` (the first and last lines, read for the index) or ``full read``. A file that has
        changed since its full read counts as valid until it is read again.
    """
    ends = index.loc[index["rejected"].notna(), ["path", "rejected"]].assign(seen_in="ends")
    recorded = _read_recorded(index).dropna(subset="rejected").merge(index[[*_FILE]], on=[*_FILE])
    recorded = recorded.loc[~recorded["path"].isin(ends["path"]), ["path", "rejected"]]
    both = pd.concat([ends, recorded.assign(seen_in="full read")])
    return both.sort_values("path").set_index("path")


def read_repairs(index: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of repaired samples by flight, as far as any run has read them.

    Returns
    -------
    DataFrame
        Numbers of samples: one row per repaired flight, indexed by ``path``, and one column for
        each of `trajlib.archive.repairs.REPAIRS` that occurs.

    >>> text = "2 samples without a time left out"
    >>> read_repairs(pd.DataFrame({"path": ["a.csv"], "repairs": [text]})).reset_index()
        path  no_time
    0  a.csv        2
    """
    texts = index.dropna(subset="repairs").set_index("path")["repairs"]
    counts = {name: texts.str.extract(rf"(\d+) {text}")[0] for name, text in REPAIRS.items()}
    table = pd.DataFrame(counts, index=texts.index).astype(float).fillna(0).astype("int64")
    return table.loc[:, table.any()]


def record_findings(flights: pd.DataFrame, findings: Mapping[str, Mapping[str, str]]) -> None:
    """Add the findings of full reads to the table beside the index; the index is not changed.

    Parameters
    ----------
    flights
        Rows of an index, or some of its columns: ``path``, ``size``, ``mtime``, ``rejected`` and
        those in `UNSAVED`. Rows of a store, and files that the index rejects, are left out.
    findings
        By ``path``: ``rejected`` (the reason) or ``repairs``, as in the index.
    """
    if "store" in flights or not {"rejected", "rejections_file"} <= {*flights}:
        return
    chosen = flights["rejected"].isna() & flights["path"].isin(list(findings))
    if not chosen.any():
        return
    rows = flights.loc[chosen, [*_FILE]]
    for name in _FINDINGS:
        rows[name] = [findings[path].get(name) for path in rows["path"]]
    old = _read_recorded(flights)
    table = pd.concat([old, rows.astype(_FINDINGS)]).drop_duplicates("path", keep="last")
    table = table.sort_values("path", ignore_index=True)
    if not table.equals(old):
        _write_index(table, flights["rejections_file"].iloc[0], dialect_of(flights))


def dialect_of(flights: pd.DataFrame) -> Dialect:
    """Return the dialect with which the rows of an index were read."""
    strict = "strict" in flights and bool(flights["strict"].iloc[0])
    return replace(read_dialect(flights["archive"].iloc[0]), strict=strict)


def _read_recorded(flights: pd.DataFrame) -> pd.DataFrame:
    table = _read_table(flights["rejections_file"].iloc[0], dialect_of(flights), _FINDINGS)
    if table is None:
        table = pd.DataFrame(columns=[*_FILE, *_FINDINGS])
    return table.astype(_FILE | _FINDINGS)


def default_index_path(archive: str | Path) -> str | Path:
    """Return the default path of the index of an archive.

    >>> default_index_path("data/raw/sample").as_posix()
    'data/interim/sample.index.parquet'
    >>> default_index_path("s3://flights/2016")
    's3://flights/2016.index.parquet'
    """
    if is_remote(archive):
        return f"{resolve(archive)}.index.parquet"
    archive = Path(archive)
    if not {"", ".."}.isdisjoint((archive.name, archive.parent.name)):  # such as "." or "sample"
        archive = Path(os.path.abspath(archive))  # noqa: PTH100, as links keep their name
    raw = archive.parent
    folder = raw.parent / "interim" if raw.name == "raw" else raw
    return folder / f"{archive.name}.index.parquet"


def find_pair(index: pd.DataFrame, origin: str, destination: str) -> tuple[str, str]:
    """Return the codes that an index uses for two airports, given by ICAO or IATA codes.

    Raises
    ------
    ValueError
        When both codes are of the same airport.

    >>> find_pair(pd.DataFrame({"origin": ["SFO"], "destination": ["LAX"]}), "ksfo", "KLAX")
    ('SFO', 'LAX')
    """
    codes = pd.unique(index[["origin", "destination"]].to_numpy().ravel())
    names: dict = {}
    for code in codes[pd.notna(codes)]:
        names.setdefault(locate_airport(code), code)
    pair = [code.strip().upper() for code in (origin, destination)]
    pair = [code if code in codes else names.get(locate_airport(code), code) for code in pair]
    if locate_airport(pair[0]) == locate_airport(pair[1]):
        raise ValueError(
            f"{origin} → {destination}: a city pair needs two airports; a flight back to where it "
            "began is a flight, but of no pair"
        )
    return pair[0], pair[1]


def select_flights(
    index: pd.DataFrame, origin: str, destination: str, *, incomplete: bool | None = None
) -> pd.DataFrame:
    """Return the usable rows of one city pair, in the order of ``path``.

    Parameters
    ----------
    index
        As returned by `build_index`.
    origin, destination
        Airports by ICAO or IATA code.
    incomplete
        Keep flights that begin or end far from these airports, so that their departure or arrival
        is missing. By default only if the environment variable ``TRAJLIB_INCOMPLETE`` is set.

    Raises
    ------
    ValueError
        When the archive holds no usable flight of the pair; the nearest pairs are named.
    """
    usable = index[index["rejected"].isna()]
    if incomplete is None:
        incomplete = bool(os.environ.get("TRAJLIB_INCOMPLETE"))
    pair = find_pair(usable, origin, destination)
    rows = _of_pair(usable, pair)
    if rows.empty:
        unusable = _of_pair(index, find_pair(index, origin, destination))
        if len(unusable):
            reason = unusable["rejected"].mode()[0]
            fragment = unusable.loc[unusable["rejected"] == reason, "fragment"].all()
            hint = "; --max-gap and --max-reach of the import decide" if fragment else ""
            raise ValueError(
                f"no usable flight {origin} → {destination}: {len(unusable):,} are rejected, most "
                f"of them as {reason}{hint}"
            )
        raise ValueError(
            f"no usable flight {origin} → {destination} among {len(index):,} files; "
            f"the nearest pairs there are: {', '.join(_nearest_pairs(usable, *pair))}"
        )
    for code in pair:
        find_airport(code)  # raises an error if its position is unknown
    if "incomplete" in rows and not incomplete:
        complete = rows[rows["incomplete"].isna()]
        if complete.empty:
            raise ValueError(
                f"all {len(rows)} flights {origin} → {destination} begin or end more than "
                f"{_FAR:.0f} NM from their airports, such as {rows['path'].iloc[0]}: "
                f"{rows['incomplete'].iloc[0]}"
            )
        rows = complete
    return rows.sort_values("path", ignore_index=True)


def count_incomplete(index: pd.DataFrame, origin: str, destination: str) -> int:
    """Return the number of usable flights of a pair that begin or end far from its airports."""
    rows = index[index["rejected"].isna() & index["incomplete"].notna()]
    return len(_of_pair(rows, find_pair(index, origin, destination)))


def _of_pair(index: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return index[(index["origin"] == pair[0]) & (index["destination"] == pair[1])]


def list_files(archive: str | Path) -> pd.DataFrame:
    """Return path, size [bytes] and mtime [ns] of every CSV below a folder, ordered by path.

    Links are followed, each folder once. Files that cannot be reached are listed with size -1.
    Hidden files and folders (``.ipynb_checkpoints``, ``.Trash-0``) are ignored.
    """
    if not is_folder(archive):
        raise FileNotFoundError(
            f"no archive at {format_location(archive)}: expected a folder of flight CSVs, such as "
            "python -m trajlib simulate or import makes"
        )
    if is_remote(archive):
        rows = sorted(row for row in list_objects(archive) if _is_member(row[0]))
    else:
        status = Path(archive).stat()
        rows = sorted(_walk(str(archive), "", {(status.st_dev, status.st_ino)}))
    rows = [row for row in rows if not row[0].startswith(f"{PLANS}/")]
    if not rows:
        raise FileNotFoundError(
            f"the archive {format_location(archive)} is empty: no .csv or .csv.gz in it; "
            "python -m trajlib import makes an archive of other files"
        )
    return pd.DataFrame(rows, columns=list(_FILE)).astype(_FILE)


def _is_member(path: str, *, is_folder: bool = False) -> bool:
    parts = path.split("/")
    hidden = any(part.startswith((".", "~$")) or part in _SYSTEM for part in parts if part)
    return not hidden and (is_folder or path.lower().endswith(_ENDINGS))


def _walk(folder: str, prefix: str, seen: set) -> Iterator[tuple[str, int, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        yield prefix, -1, 0
        return
    folders = []
    for entry in entries:
        is_below = entry.is_dir()
        if not _is_member(entry.name, is_folder=is_below):
            continue
        try:
            entry.name.encode()  # a table can only hold names in UTF-8
            status = entry.stat()
        except (OSError, UnicodeEncodeError):
            yield prefix + entry.name.encode(errors="backslashreplace").decode(), -1, 0
            continue
        if is_below:
            key = (status.st_dev, status.st_ino)
            folders.append((entry.is_symlink(), entry.name, entry.path, key))
        else:
            yield prefix + entry.name, status.st_size, status.st_mtime_ns
    for _, name, path, key in sorted(folders):  # real folders before links to them
        if key not in seen:
            seen.add(key)
            yield from _walk(path, f"{prefix}{name}/", seen)


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


def _read_table(path: str, dialect: Dialect, columns: Collection[str]) -> pd.DataFrame | None:
    """Return a saved table; None if there is none with the same dialect and these columns."""
    try:
        with open_file(path) as file:  # opened once: another run may replace the file
            table = pq.read_table(file)
    except FileNotFoundError:
        return None
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is damaged: delete it, and it is made again") from error
    fingerprint = (table.schema.metadata or {}).get(b"dialect")
    if fingerprint is None:
        raise ValueError(f"{path} is another table than an index: give --output another name")
    if fingerprint != dialect.fingerprint().encode() or not {*columns} <= {*table.column_names}:
        return None
    return table.to_pandas()


def _write_index(index: pd.DataFrame, path: str, dialect: Dialect) -> None:
    table = pa.Table.from_pandas(index, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"dialect": dialect.fingerprint()}
    try:
        with replacing(path) as temporary:
            pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    except OSError as error:
        if error.errno not in (EACCES, EPERM, EROFS):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: the index cannot be kept here; give another place by --output",
            path,
        ) from error


def _update(
    archive: str | Path, files: pd.DataFrame, old: pd.DataFrame | None, dialect: Dialect
) -> pd.DataFrame:
    unchanged = files.merge(files.head(0) if old is None else old, on=[*_FILE])
    new = files[~files["path"].isin(unchanged["path"])].reset_index(drop=True)
    index = pd.concat([new, _read_facts(archive, new, dialect)], axis=1)
    if len(unchanged):
        index = pd.concat([unchanged, index]).sort_values("path", ignore_index=True)
    return _reject_copies(resolve(archive), index, dialect)


def _reject_copies(root: str, index: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    """Reject files with the same samples as another file; the one with the shortest name stays."""
    index = index.assign(rejected=index["rejected"].mask(index["copy"]), copy=False)
    facts = [*IDENTITY, "start", "end", *_POSITIONS]
    usable = index[index["rejected"].isna()]
    similar = usable[usable.duplicated(facts, keep=False)]
    if similar.empty:
        return index
    order = similar.assign(length=similar["path"].str.len()).sort_values(["length", "path"])["path"]
    digests = order.map(partial(_digest, root, dialect))
    first = order.groupby(digests).transform("first")
    originals = first[(first != order) & digests.notna()]
    index.loc[originals.index, "rejected"] = "the same samples as " + originals
    index.loc[originals.index, "copy"] = True
    return index


def _digest(root: str, dialect: Dialect, path: str) -> str | None:
    # of the samples: the same flight may have been saved again by another program
    try:
        flight = read_flight(f"{root}/{path}", REQUIRED, dialect=dialect)
    except FlightError:
        return None
    hashes = pd.util.hash_pandas_object(flight[list(REQUIRED)], index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()


def _unify_airports(index: pd.DataFrame) -> pd.DataFrame:
    """Return an index in which each airport has one code, its most frequent one in the archive."""
    codes = pd.concat([index["origin"], index["destination"]]).dropna()
    counts = codes.groupby(codes).size().sort_values(ascending=False, kind="stable")
    names: dict = {}
    chosen = {code: names.setdefault(locate_airport(code), code.upper()) for code in counts.index}
    return index.assign(
        origin=index["origin"].replace(chosen), destination=index["destination"].replace(chosen)
    )


def _describe_ends(index: pd.DataFrame) -> pd.Series:
    """Return a text on how far from its airports a flight begins or ends, null if near them."""
    text = pd.Series(None, index.index, dtype="str")
    for name, end, verb in (("destination", "last", "ends"), ("origin", "first", "begins")):
        miles = _distance_from(index, name, end)
        distances = miles.map(" {:,.0f} NM from ".format).astype("str")
        description = verb + distances + index[name].fillna("")
        text = text.mask(miles > _FAR, description)
    return text


def _distance_from(index: pd.DataFrame, airport: str, end: str) -> pd.Series:
    """Return the distance [NM] of first or last positions from an airport, NaN if not known."""
    positions = {code: locate_airport(code) for code in index[airport].dropna().unique()}
    positions = {code: value for code, value in positions.items() if isinstance(value, tuple)}
    lat = index[airport].map({code: value[0] for code, value in positions.items()}).astype(float)
    lon = index[airport].map({code: value[1] for code, value in positions.items()}).astype(float)
    flown = index[f"latitude_{end}"], index[f"longitude_{end}"]
    return pd.Series(distance(lat, lon, *flown), index.index)


def _read_facts(archive: str | Path, files: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
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
    doubtful = facts["rejected"].notna() | (_describe_ends(facts).notna() & ~kept_apart)
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


def _nearest_pairs(index: pd.DataFrame, origin: str, destination: str) -> list[str]:
    counts = index.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    names = {f"{o} → {d}": f"{o} → {d} ({n})" for (o, d), n in counts.items()}
    close = difflib.get_close_matches(f"{origin} → {destination}", names, n=3, cutoff=0.3)
    return [names[name] for name in close or list(names)[:3]] or ["none"]
