"""Flights in any format into an archive, in partitions on disk and on the cluster.

Points are read in batches and cut into buckets by aircraft, each bucket is segmented and cleaned
as a whole, and once it is known how many flights begin and end where, its flights are written.
Each step leaves its result in a folder within the archive, from which an interrupted import goes
on. Buckets depend on the source alone, and so does what is written.
"""

import functools
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.index import FRAGMENTS
from trajlib.archive.layout import FlightError
from trajlib.archive.repairs import check_units
from trajlib.archive.storage import replacing
from trajlib.archive.writer import format_lines
from trajlib.cluster import current_client, gather
from trajlib.geodesy import distance, find_airport
from trajlib.importers.airports import infer_airports, measure_ends
from trajlib.importers.cleaning import REPAIRS, Limits, clean_points
from trajlib.importers.formats import Format, FormatError, Options, find_format, recognize_format
from trajlib.importers.resampling import leave_one_out, resample_flight
from trajlib.importers.segmentation import get_seconds, segment_flights, split_tracks
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC

__all__ = ["Criteria", "import_flights", "recognize_sources"]

_ABOUT = re.compile(r"(?i)^(licen[cs]e|readme|\.|_)|(^columns\.toml$)|\.(md|toml|pdf|html?)$")
_UNIT = 64 << 20  # bytes of files that one task reads
_FILES = 500  # files of one task
_ROWS = 500_000  # points written at once
_BUCKET = 400_000  # points that one task segments, estimated by the size of the files
_SIZES = {"text": 80, "json": 60}  # bytes of a point; of what is packed, 10
_KEYS = {"flight_id": "flight", "icao24": "address", "registration": "registration"}
_KEYS |= {"callsign": "callsign"}
_EXACT = ("latitude", "longitude")  # columns that need more than 24 bits
_TEXTS = ("flight_id", "icao24", *IDENTITY)
_SIDES = ("origin", "destination")
_SEGMENTED = (  # columns by which flights are separated
    *("aircraft", "timestamp", "latitude", "longitude", "altitude", "groundspeed"),
    *("onground", "callsign", "new_leg"),
)
_DERIVED = ("duration", "gap", "distance", "vertical_rate", "track")
_APART = 30.0  # NM between two aircraft that share a callsign at least
_FEWEST = 2  # points of a fragment
_OVERLAP = 0.5  # of the shorter of two flights of one callsign, from which one repeats the other
_ERRORS = tuple(name for name in REPAIRS if name not in ("taxi", "too_close"))
_OUTLIERS = ("unreachable", "spoofed", "altitude_spike", "frozen_altitude", "assigned_altitude")


@dataclass(frozen=True)
class Criteria:
    """What a flight must be to count as a trajectory; any other is a fragment.

    Attributes
    ----------
    points
        Points left after cleaning, at least.
    gap
        Time between two points [s], at most.
    reach
        Distance [km] from the airports to the first and the last point, at most.
    repaired
        Share of the points whose position or altitude was taken out, at most; beyond, the flight
        is rejected.
    speed, rate
        What an aircraft can do [kt, ft/min]: faster changes are repaired.
    """

    points: int = 20
    gap: float = 420.0
    reach: float = 15.0
    repaired: float = 0.25
    speed: float = 1000.0
    rate: float = 6000.0


@dataclass(frozen=True)
class _Job:
    """What the steps of one import share."""

    work: Path
    archive: Path
    buckets: int
    criteria: Criteria
    spacing: float
    measured_only: bool
    strict: bool
    origin: str | None
    destination: str | None
    gap: float | None  # s, after which columns.toml begins another flight


def import_flights(
    source: str | Path,
    archive: str | Path,
    *,
    format: str | None = None,
    origin: str | None = None,
    destination: str | None = None,
    measured_only: bool = False,
    strict: bool = False,
    criteria: Criteria = Criteria(),
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Write an archive of the flights of a source, on the cluster if there is one.

    Beside the flights, ``ORIGIN-DESTINATION/NAME.csv``, and the fragments below ``fragments/``,
    the archive holds ``imported.parquet`` and ``rejected.parquet`` (every flight of the source
    with its repairs, and with the reason where it was not written), ``sources.parquet`` (every
    file, what it was taken for, and how many points it had), licences found in the source, and
    ``columns.toml``, which is written last.

    Parameters
    ----------
    source
        A file, or a folder of files in one or several of the formats.
    archive
        Folder to write to. Flights that it already holds are replaced or stay.
    format
        Name of the format of all files; recognised by their content by default.
    origin, destination
        Only flights of this pair; codes as in the source, or ICAO where the source has none.
    measured_only
        Write the points and no second between them: enough for what flights show of traffic and
        wind, too little for trajectories.
    strict
        Reject every flight that needs a repair.
    criteria
        What separates trajectories from fragments.
    report
        Takes a line about each kind of file, and each file that cannot be read.

    Returns
    -------
    DataFrame
        One row a flight found, ordered by ``path``: identity, ``start``, ``end``, ``points``,
        ``kind`` (``flight`` or ``fragment``), ``why`` a fragment is none, a count for each of
        `REPAIRS`, ``repairs``, the names of those made, and ``rejected``, null where the flight
        was written.

    Raises
    ------
    FileNotFoundError
        When the source is not there, or no file of it can be read.
    ValueError
        When the source has no flight of the pair, or the archive's flights are simulated.
    """
    source, archive = Path(source).resolve(), Path(archive).resolve()
    if read_dialect(archive).simulated:
        raise ValueError(f"the flights of {archive} are simulated: real ones need another folder")
    members = list_members(source)
    sources = recognize_sources(source, format)
    for line in _describe_sources(sources):
        report(line)
    readable = sources[sources["refused"].isna()]
    if readable.empty:
        raise FileNotFoundError(f"no file of {source} can be read: {_first_reason(sources)}")
    dialect = read_source_dialect(_root(source))
    options = (format, origin, destination, measured_only, strict, criteria)
    options += (dialect.fingerprint() if dialect else None,)
    work = archive / f".import-{_digest(source, members, options)}"
    work.mkdir(parents=True, exist_ok=True)
    job = _Job(
        work=work,
        archive=archive,
        buckets=_count_buckets(source, readable),
        criteria=criteria,
        spacing=max(find_format(name).spacing for name in readable["format"].unique()),
        measured_only=measured_only,
        strict=strict,
        origin=origin,
        destination=destination,
        gap=dialect.many.get("gap") if dialect else None,
    )
    for line in _read_points(job, source, sources):
        report(line)
    if not sources["points"].any():
        raise FileNotFoundError(f"no file of {source} can be read: {_first_reason(sources)}")
    parts = sorted(work.glob("points-*.arrow"))
    traffic = _run(functools.partial(_segment_bucket, job, parts), range(job.buckets))
    for part in parts:
        part.unlink()  # what has been used makes room for the flights
    total = pd.concat(traffic).groupby(level=0).sum()
    _run(functools.partial(_write_bucket, job, total), range(job.buckets))
    tables = [pd.read_parquet(path) for path in sorted(work.glob("flights-*.parquet"))]
    tables = [table for table in tables if len(table)]
    if not tables:
        raise ValueError(_describe_nothing(source, origin, destination))
    flights = pd.concat(tables).sort_values("path", ignore_index=True)
    flights = _reject_repeats(flights)
    _finish(job, source, flights, sources)
    return flights


def _read_points(job: _Job, source: Path, sources: pd.DataFrame) -> list[str]:
    """Save the points of all files in buckets, count them by file, and return what was damaged."""
    readable = sources[sources["refused"].isna()]
    wanted = _save_identities(job, source, readable)
    units = _list_units(source, readable)
    read = _run(functools.partial(_read_unit, job, source, wanted), list(enumerate(units)))
    read = pd.concat(read).reindex(sources["file"]).reset_index(drop=True)
    sources["points"] = read["points"].fillna(0).astype(int)
    sources["refused"] = sources["refused"].fillna(read["damage"])
    damaged = sources[read["damage"].notna()]
    return [
        f"{row.file}: {row.points:,} points read, then: {row.refused}"
        for row in damaged.itertuples()
    ]


def list_members(source: Path) -> list[Path]:
    """Return the files of a source, without hidden ones, licences and documents."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"no such file or folder: {source}")
    files = [path for path in source.rglob("*") if path.is_file()]
    files = [path for path in files if not _ABOUT.search(path.name)]
    return sorted(path for path in files if not _is_hidden(path.relative_to(source)))


def recognize_sources(source: str | Path, format: str | None = None) -> pd.DataFrame:
    """Return what each file of a source is taken for.

    Returns
    -------
    DataFrame
        ``file``, relative to the source, ``format``, and ``refused``, the reason where the file
        cannot be read.
    """
    source = Path(source).resolve()
    root = _root(source)
    names = [path.relative_to(root).as_posix() for path in list_members(source)]
    if not names:
        raise FileNotFoundError(f"no files in {source}")
    batches = [names[start : start + _FILES] for start in range(0, len(names), _FILES)]
    tables = _run(functools.partial(_recognize_files, root, format), batches)
    return pd.concat(tables, ignore_index=True)


def _root(source: Path) -> Path:
    return source.parent if source.is_file() else source


def _options(source: Path) -> Options:
    return Options(dialect=read_source_dialect(_root(source)), root=_root(source))


def read_source_dialect(root: Path) -> Dialect | None:
    """Return the columns.toml beside a source; None where there is none."""
    return read_dialect(root) if (root / "columns.toml").is_file() else None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _recognize_files(root: Path, format: str | None, names: list[str]) -> pd.DataFrame:
    rows: list[tuple[str, str | None, str | None]] = []
    dialect = read_source_dialect(root)
    for name in names:
        try:
            entry = find_format(format) if format else recognize_format(root / name, dialect)
            rows.append((name, entry.name, None))
        except Exception as error:  # a damaged file makes readers raise errors of any kind
            rows.append((name, None, _describe_error(error)))
    return pd.DataFrame(rows, columns=["file", "format", "refused"], dtype="str")


def _describe_sources(sources: pd.DataFrame) -> Iterator[str]:
    for name, files in sources.groupby("format")["file"]:
        which = files.iloc[0] if len(files) == 1 else f"{len(files):,} files"
        yield f"{which}: {find_format(name).title}"
    refused = sources[sources["refused"].notna()]
    for row in refused.head(10).itertuples():
        yield f"{row.file}: not read: {row.refused}"
    if len(refused) > 10:
        yield f"{len(refused) - 10:,} more files that cannot be read: see sources.parquet"


def _describe_nothing(source: Path, origin: str | None, destination: str | None) -> str:
    pair = f" {origin or '?'} → {destination or '?'}" if origin or destination else ""
    return f"no flight{pair} in {source.name}: expected points with positions in the air"


def _first_reason(sources: pd.DataFrame) -> str:
    row = sources.sort_values("refused", na_position="last", kind="stable").iloc[0]
    reason = row["refused"] if pd.notna(row["refused"]) else "no point has a time and a position"
    return f"{row['file']}: {reason}"


def _digest(source: Path, members: list[Path], options: tuple) -> str:
    digest = hashlib.sha256(repr((str(source), options)).encode())
    for path in members:
        status = path.stat()
        digest.update(repr((str(path), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:12]


def _count_buckets(source: Path, readable: pd.DataFrame) -> int:
    points = 0
    for name in readable["file"]:
        path = _root(source) / name
        packed = path.suffix in (".parquet", ".feather", ".arrow", ".gz", ".xz", ".7z", ".zip")
        points += path.stat().st_size / (10 if packed else 80)
    return int(np.clip(np.ceil(points / _BUCKET), 1, 512))


def _list_units(source: Path, readable: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the files in groups of one format, each for one task to read."""
    root = _root(source)
    sizes = np.array([(root / name).stat().st_size for name in readable["file"]])
    formats = readable["format"].to_numpy()
    begins = [0]
    for number in range(1, len(readable)):
        count, size = number - begins[-1], sizes[begins[-1] : number + 1].sum()
        if count >= _FILES or size > _UNIT or formats[number] != formats[number - 1]:
            begins.append(number)
    return [readable.iloc[start:end] for start, end in itertools.pairwise([*begins, len(readable)])]


def _run(function: Callable, items: Sequence) -> list[Any]:
    client = current_client()
    if client is None:
        return [function(item) for item in items]
    return gather(client, client.map(function, items, pure=False))


def _save_identities(job: _Job, source: Path, readable: pd.DataFrame) -> set[str] | None:
    """Save the second tables of the source; return the ids wanted of them, None for all."""
    names = [name for name in readable["format"].unique() if find_format(name).read_identities]
    rows = readable[readable["format"].isin(names)]
    batches = [rows.iloc[start : start + _FILES] for start in range(0, len(rows), _FILES)]
    tables = _run(functools.partial(_read_identities, source), batches)
    if not tables:
        return None
    table = pd.concat(tables).drop_duplicates("flight_id").astype({"flight_id": "str"})
    with replacing(job.work / "identities.parquet") as temporary:
        table.to_parquet(temporary)
    if job.origin is None and job.destination is None:
        return None
    return set(table.loc[_is_wanted(job, table), "flight_id"])


def _read_identities(source: Path, files: pd.DataFrame) -> pd.DataFrame:
    tables = []
    for row in files.itertuples():
        read = find_format(row.format).read_identities
        if read is not None:
            tables.append(read(_root(source) / row.file, _options(source)))
    return pd.concat(tables, ignore_index=True)


def _is_wanted(job: _Job, flights: pd.DataFrame) -> pd.Series:
    wanted = pd.Series(True, flights.index)
    for side in _SIDES:
        code = getattr(job, side)
        if code is not None:
            wanted &= flights[side].eq(code)
    return wanted


def _read_unit(
    job: _Job, source: Path, wanted: set[str] | None, unit: tuple[int, pd.DataFrame]
) -> pd.DataFrame:
    """Write the points of some files in buckets; return by file their ``points`` and ``damage``."""
    number, files = unit
    done = job.work / f"points-{number:05d}.json"
    if done.exists():
        return _summarize_files(json.loads(done.read_text()))
    counts: dict[str, list] = {}
    batches, rows, part = [], 0, 0
    options = _options(source)
    for row in files.itertuples():
        counts[row.file] = [0, None]
        format = find_format(row.format)
        for batch in _read_file(_root(source) / row.file, format, options, counts[row.file]):
            counts[row.file][0] += len(batch)
            if wanted is not None and "flight_id" in batch:
                batch = batch[batch["flight_id"].isin(wanted)]
            batches.append(_add_key(batch, row.file, format.splittable))
            rows += len(batch)
            if rows >= _ROWS:
                _write_part(job, f"points-{number:05d}-{part:05d}", batches)
                batches, rows, part = [], 0, part + 1
    if rows:
        _write_part(job, f"points-{number:05d}-{part:05d}", batches)
    done.write_text(json.dumps(counts))
    return _summarize_files(counts)


def _summarize_files(counts: dict[str, list]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict(counts, orient="index", columns=["points", "damage"])
    return table.astype({"points": int, "damage": "str"})


def _read_file(path: Path, format: Format, options: Options, count: list) -> Iterator[pd.DataFrame]:
    try:
        yield from format.read(path, options)
    except Exception as error:  # of any kind; what was read before the damage is kept
        count[1] = _describe_error(error)


def _describe_error(error: Exception) -> str:
    text = str(error) if isinstance(error, FormatError | OSError) else repr(error)
    return text[:400]


def _add_key(batch: pd.DataFrame, file: str, splittable: bool) -> pd.DataFrame:
    """Return the points with the ``key`` of their flight, of their aircraft, or of the file."""
    key = pd.Series(pd.NA, batch.index, dtype="str")
    for name, kind in _KEYS.items():
        if name in batch:
            scope = "" if splittable or kind == "flight" else f"{file}:"
            key = key.fillna(f"{kind}:{scope}" + batch[name].astype("str"))
    return batch.assign(key=key.fillna(f"file:{file}"))


def _write_part(job: _Job, name: str, batches: list[pd.DataFrame]) -> None:
    """Write points as an Arrow file with one record batch a bucket."""
    points = pd.concat(batches, ignore_index=True)
    codes, keys = pd.factorize(points["key"])
    buckets = [int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) for key in keys]
    bucket = np.array(buckets, dtype=np.int64)[codes] % job.buckets
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(job.buckets + 1))
    numbers = {name: "float32" for name in points if name in NUMERIC and name not in _EXACT}
    table = pa.Table.from_pandas(points.astype(numbers), preserve_index=False)
    table = table.take(pa.array(order)).combine_chunks()
    with replacing(job.work / f"{name}.arrow") as temporary:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(temporary, table.schema, options=options) as writer:
            for start, end in itertools.pairwise(edges):
                rows = table.slice(start, end - start).combine_chunks()
                empty = pa.RecordBatch.from_pylist([], schema=table.schema)
                writer.write_batch(rows.to_batches()[0] if len(rows) else empty)


def _read_bucket(parts: list[Path], bucket: int) -> pd.DataFrame:
    tables = []
    for part in parts:
        with pa.memory_map(str(part)) as file:
            tables.append(pa.Table.from_batches([pa.ipc.open_file(file).get_batch(bucket)]))
    if not tables:
        return pd.DataFrame()
    points = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    numbers = {name: "float64" for name in points if name in NUMERIC}
    return points.astype(numbers)


def _segment_bucket(job: _Job, parts: list[Path], bucket: int) -> pd.Series:
    """Save the cleaned points and the flights of a bucket; return its airports' traffic."""
    file = job.work / f"segmented-{bucket:04d}.parquet"
    if not file.exists():
        points, flights = _segment_points(job, _read_bucket(parts, bucket))
        with replacing(job.work / f"cleaned-{bucket:04d}.arrow") as temporary:
            points.reset_index(drop=True).to_feather(temporary, compression="lz4")
        with replacing(file) as temporary:
            flights.to_parquet(temporary)
    else:
        flights = pd.read_parquet(file)
    if flights.empty:
        return pd.Series(dtype=float)
    certain = [flights.loc[flights[f"{side}_certain"], f"{side}_inferred"] for side in _SIDES]
    return pd.concat(certain).value_counts()


def _segment_points(job: _Job, points: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if points.empty:
        return points, pd.DataFrame()
    points["aircraft"], keys = pd.factorize(points["key"], sort=True)
    points["disordered"] = _find_disordered(points["aircraft"], points["timestamp"])
    times = points["timestamp"].astype("int64").to_numpy()
    order = np.lexsort((times, points["aircraft"]))  # which keeps the source's order
    slim = points[[name for name in _SEGMENTED if name in points]].take(order)
    kind = keys.str.split(":", n=1).str[0].to_numpy()[slim["aircraft"]]
    flight = _number_flights(job, slim, kind)
    # all columns are put in order once, as the texts take most of the time
    order = order[flight >= 0]
    flight = flight[flight >= 0]
    if not len(flight):
        return points.iloc[:0], pd.DataFrame()
    again = np.lexsort((times[order], flight))
    points = points.take(order[again]).assign(flight=flight[again]).reset_index(drop=True)
    identity = _collect_identity(job, points)
    limits = Limits(
        speed=job.criteria.speed,
        rate=job.criteria.rate,
        tolerance=2.0 if job.spacing else 0.5,
        spacing=job.spacing,
    )
    texts = [name for name in (*_TEXTS, "key", "aircraft") if name in points]
    cleaned, repairs = clean_points(points.drop(columns=texts), limits)
    flights = identity.join(repairs).join(_summarize(cleaned))
    for side in _SIDES:
        inferred = infer_airports(measure_ends(cleaned, side), side).reindex(flights.index)
        flights[f"{side}_inferred"] = inferred["airport"]
        flights[f"{side}_certain"] = inferred["certain"].fillna(False).astype(bool)
    return cleaned, flights


def _find_disordered(aircraft: pd.Series, times: pd.Series) -> pd.Series:
    """Return which points come after a later one of the same aircraft."""
    return times < times.groupby(aircraft).cummax()


def _number_flights(job: _Job, points: pd.DataFrame, kind: np.ndarray) -> np.ndarray:
    flight, count = np.full(len(points), -1), 0
    for kinds in (("flight",), ("address", "registration"), ("callsign", "file")):
        rows = np.flatnonzero(np.isin(kind, kinds))
        if not len(rows):
            continue
        chosen = points.iloc[rows]
        if "callsign" in kinds:  # which two aircraft may share
            aircraft = chosen["aircraft"].to_numpy()
            position = chosen["latitude"].to_numpy(), chosen["longitude"].to_numpy()
            speed = job.criteria.speed
            track = split_tracks(aircraft, get_seconds(chosen), *position, speed, _APART)
            order = np.lexsort((track, aircraft))
            chosen, rows = chosen.iloc[order], rows[order]
            pairs = np.column_stack([aircraft[order], track[order]])
            chosen = chosen.assign(aircraft=np.unique(pairs, axis=0, return_inverse=True)[1])
        numbers = segment_flights(chosen, identified=kinds == ("flight",))
        if "flight" not in kinds:
            numbers = _cut_legs(chosen, numbers, job.gap or np.inf)
        flight[rows] = np.where(numbers >= 0, numbers + count, -1)
        count += numbers.max(initial=-1) + 1
    return flight


def _cut_legs(points: pd.DataFrame, numbers: np.ndarray, gap: float) -> np.ndarray:
    """Return the numbers of flights cut at silences, and where the source marks a new leg."""
    used = np.flatnonzero(numbers >= 0)
    seconds = get_seconds(points)[used]
    begins = np.diff(numbers[used], prepend=-1) != 0
    begins |= np.diff(seconds, prepend=np.inf) > gap
    if "new_leg" in points:
        begins |= points["new_leg"].to_numpy(dtype=float, na_value=0)[used] == 1
    result = numbers.copy()
    result[used] = np.cumsum(begins) - 1
    return result


def _collect_identity(job: _Job, points: pd.DataFrame) -> pd.DataFrame:
    """Return who flew, one row a flight: the commonest text where a flight has several."""
    by_flight = points.groupby("flight")
    table = by_flight[["key"]].first()
    for name in _TEXTS:
        table[name] = by_flight[name].first() if name in points else None
        if name in points:
            counts = by_flight[name].nunique()
            changing = points[points["flight"].isin(counts.index[counts > 1])]
            if len(changing):
                texts = changing.groupby("flight")[name]
                commonest = texts.agg(lambda texts: texts.mode().iloc[0])
                table.loc[commonest.index, name] = commonest
    table = table.astype(dict.fromkeys(_TEXTS, "str"))
    file = job.work / "identities.parquet"
    if not file.exists() or table["flight_id"].isna().all():
        return table
    ids = table["flight_id"].dropna().unique().tolist()
    listed = pd.read_parquet(file, filters=[("flight_id", "in", ids)]).set_index("flight_id")
    for name in listed.columns.intersection(IDENTITY):
        table[name] = table["flight_id"].map(listed[name]).fillna(table[name])
    return table


def _summarize(points: pd.DataFrame) -> pd.DataFrame:
    by_flight = points.groupby("flight")
    step = by_flight["timestamp"].diff().dt.total_seconds()
    return pd.DataFrame(
        {
            "start": by_flight["timestamp"].first(),
            "end": by_flight["timestamp"].last(),
            "points": by_flight.size(),
            "altitudes": by_flight["altitude"].count(),
            "longest_gap": step.groupby(points["flight"]).max(),
        }
    )


def _write_bucket(job: _Job, traffic: pd.Series, bucket: int) -> None:
    """Write the flights of a bucket, and what became of each."""
    file = job.work / f"flights-{bucket:04d}.parquet"
    if file.exists():
        return
    flights = pd.read_parquet(job.work / f"segmented-{bucket:04d}.parquet")
    if flights.empty:
        flights.to_parquet(file)
        return
    points = pd.read_feather(job.work / f"cleaned-{bucket:04d}.arrow")
    flights = _find_airports(flights, points, traffic)
    flights = flights[_is_wanted(job, flights)]
    flights = _judge(job, flights).assign(path=_name_files(flights))
    flights["path"] = flights["path"].where(
        flights["kind"] != "fragment", FRAGMENTS + flights["path"]
    )
    noise = _write_flights(job, flights, points)
    with replacing(job.work / f"noise-{bucket:04d}.parquet") as temporary:
        noise.to_parquet(temporary, index=False)
    with replacing(file) as temporary:
        flights.drop(columns="key").to_parquet(temporary, index=False)
    (job.work / f"cleaned-{bucket:04d}.arrow").unlink()


def _find_airports(flights: pd.DataFrame, points: pd.DataFrame, traffic: pd.Series) -> pd.DataFrame:
    """Return the flights with the airports of the source, checked, or else those inferred."""
    flights = flights.copy()
    # a flight is written from its first altitude to its last, which is where it has to be near
    written = points[points["altitude"].notna()].groupby("flight")[["latitude", "longitude"]]
    edges = {"origin": written.first(), "destination": written.last()}
    for side in _SIDES:
        ends = measure_ends(points, side).reindex(flights.index)
        inferred = infer_airports(ends.dropna(subset="latitude"), side, traffic)
        inferred = inferred.reindex(flights.index)
        given = flights[side]
        flights[f"{side}_from"] = np.where(
            given.notna(), "source", np.where(inferred["airport"].notna(), "inferred", "unknown")
        )
        flights[f"{side}_inferred"] = inferred["airport"]
        flights[f"{side}_nearest"] = inferred["nearest"]
        flights[f"{side}_distance"] = inferred["distance"]
        flights[f"{side}_reason"] = inferred["reason"]
        flights[side] = given.fillna(inferred["airport"])
        codes = flights[side].dropna().unique()
        located = {code: _locate(code) for code in codes}
        airports = np.array([located.get(code, (np.nan, np.nan)) for code in flights[side]])
        airports = airports.reshape(-1, 2)
        edge = edges[side].reindex(flights.index)
        away = distance(edge["latitude"], edge["longitude"], airports[:, 0], airports[:, 1])
        flights[f"{side}_reach"] = away * 1.852
    return flights.drop(columns=[f"{side}_certain" for side in _SIDES])


def _locate(code: str) -> tuple[float, float]:
    try:
        airport = find_airport(code)
    except ValueError:  # a code of the source that no table has
        return np.nan, np.nan
    return airport.latitude, airport.longitude


def _judge(job: _Job, flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights with ``kind``, ``why`` and ``rejected``."""
    criteria = job.criteria
    fragment = pd.Series(pd.NA, flights.index, dtype="str")
    tests = [(flights["altitudes"] < criteria.points, f"fewer than {criteria.points} points")]
    for side, which in zip(_SIDES, ("first", "last"), strict=True):
        far = flights[f"{side}_reach"] > criteria.reach
        tests.append((far, f"{which} point more than {criteria.reach:g} km from the airport"))
    far = flights["longest_gap"] > criteria.gap
    tests.append((far, f"more than {criteria.gap:g} s between two points"))
    for failed, text in tests:
        fragment = fragment.mask(fragment.isna() & failed.fillna(False), text)
    rejected = pd.Series(pd.NA, flights.index, dtype="str")
    few = ~(flights["altitudes"] >= _FEWEST)
    outliers = flights[list(_OUTLIERS)].sum(axis=1)
    removed = flights["unreachable"] + flights["spoofed"]
    share = outliers / (flights["points"].fillna(0) + removed).clip(lower=1)
    limit = f"more than {criteria.repaired:.0%} of the points were wrong"
    rejected = rejected.mask(few, f"fewer than {_FEWEST} points with position and altitude")
    rejected = rejected.mask(rejected.isna() & (share > criteria.repaired), limit)
    if job.strict:
        repairs = "needs repairs: " + _list_repairs(flights)
        rejected = rejected.mask(rejected.isna() & _needs_repair(flights), repairs)
    kind = np.where(fragment.isna(), "flight", "fragment")
    repairs = _list_repairs(flights)
    return flights.assign(kind=kind, why=fragment, repairs=repairs, rejected=rejected)


def _needs_repair(flights: pd.DataFrame) -> pd.Series:
    return flights[list(_ERRORS)].sum(axis=1) > 0


def _list_repairs(flights: pd.DataFrame) -> pd.Series:
    names = [" ".join(name for name in _ERRORS if row[name]) for row in flights.to_dict("records")]
    return pd.Series(names, flights.index, dtype="str")


def _name_files(flights: pd.DataFrame) -> pd.Series:
    """Return ``ORIGIN-DESTINATION/NAME.csv``; what a source names writes nowhere else."""
    start = flights["start"].dt.strftime("%Y%m%dT%H%M%SZ").fillna("0")
    names = start.str.cat([_or_empty(flights[n]) for n in ("callsign", "registration", "icao24")])
    names = flights["flight_id"].fillna(names).map(lambda name: quote(name, safe=" ")[:120])
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + "-" + (again + 1).astype("str"))
    pairs = [
        flights[side].fillna("unknown").map(lambda code: quote(code, safe="?")) for side in _SIDES
    ]
    return pairs[0] + "-" + pairs[1] + "/" + names + ".csv"


def _or_empty(texts: pd.Series) -> pd.Series:
    return ("_" + texts).fillna("")


def _write_flights(job: _Job, flights: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Write the flights that are not rejected, reject those in odd units; return their noise."""
    seconds = get_seconds(points)
    order = [name for name in COLUMNS if name in points and name in NUMERIC]
    order = ["latitude", "longitude", "altitude"] + [
        name for name in order if name not in (*_EXACT, "altitude", "duration", "gap", "distance")
    ]
    values = points[order].to_numpy(float).T.copy()
    flight_of = points["flight"].to_numpy()
    written = [name for name in COLUMNS if name in {*order, *_DERIVED}]
    decimals = np.array([COLUMNS[name].decimals for name in written])
    noise: dict[str, dict[str, np.ndarray]] = {}
    for number, flight in zip(flights.index, flights.to_dict("records"), strict=True):
        if isinstance(flight["rejected"], str):
            continue
        begin, end = np.searchsorted(flight_of, [number, number + 1])
        measured_only = job.measured_only or flight["kind"] == "fragment"
        time, columns = resample_flight(seconds[begin:end], values[:, begin:end], order)
        rejected = _check_units(time, columns)
        if rejected:
            flights.loc[number, "rejected"] = rejected
            continue
        rows = np.array([columns[name] for name in written])
        if measured_only:
            measured = columns["gap"] == 0
            time, rows = time[measured], rows[:, measured]
        path = job.archive / flight["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_format_csv(flight, time, rows, written, decimals))
        if job.spacing and flight["kind"] == "flight":
            noise[flight["path"]] = leave_one_out(seconds[begin:end], values[:3, begin:end])
    return _join_noise(noise)


def _join_noise(noise: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    counts = [len(part["miss"]) for part in noise.values()]
    table = {"path": pd.Series([*noise], dtype="str").repeat(counts).to_numpy()}
    for name, kind in {"altitude": float, "cruise": bool, "span": float, "miss": float}.items():
        parts = [part[name] for part in noise.values()]
        table[name] = np.concatenate(parts) if parts else np.empty(0, kind)
    return pd.DataFrame(table).astype({"path": "str"})


def _check_units(time: np.ndarray, columns: dict[str, np.ndarray]) -> str | None:
    """Return the question that speeds or altitudes raise, of which unit they are."""
    try:
        check_units(columns, 1000 * time, Dialect())
    except FlightError as error:
        return str(error)
    return None


def _format_csv(
    flight: dict, time: np.ndarray, rows: np.ndarray, names: list[str], decimals: np.ndarray
) -> bytes:
    header = ",".join([*IDENTITY, "timestamp", *names])
    identity = [flight[name] if isinstance(flight[name], str) else "" for name in IDENTITY]
    before = ",".join(_quote(text) for text in identity)
    return f"{header}\n".encode() + format_lines(f"{before},".encode(), time, rows, decimals)


def _quote(text: str) -> str:
    if any(char in text for char in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _reject_repeats(flights: pd.DataFrame) -> pd.DataFrame:
    """Reject flights that repeat another: same callsign and airports, at the same time."""
    usable = flights[flights["rejected"].isna() & flights["callsign"].notna()]
    usable = usable.sort_values(["kind", "path"], kind="stable")
    times = {name: usable[name].astype("int64") for name in ("start", "end")}
    usable = usable[["callsign", *_SIDES, "icao24"]].assign(**times, rank=range(len(usable)))
    usable = usable.reset_index(names="flight")
    pairs = usable.merge(usable, on=["callsign", *_SIDES], suffixes=("", "_other"))
    pairs = pairs[pairs["rank"] > pairs["rank_other"]]
    shared = np.minimum(pairs["end"], pairs["end_other"]) - np.maximum(
        pairs["start"], pairs["start_other"]
    )
    shorter = np.minimum(pairs["end"] - pairs["start"], pairs["end_other"] - pairs["start_other"])
    pairs = pairs[shared > _OVERLAP * shorter]
    other = pairs["icao24"].notna() & pairs["icao24_other"].notna()
    other &= pairs["icao24"] != pairs["icao24_other"]
    repeats = pairs.loc[~other, "flight"]
    reason = "repeats a flight (same callsign and airports at the same time)"
    return flights.assign(rejected=flights["rejected"].mask(flights.index.isin(repeats), reason))


def _finish(job: _Job, source: Path, flights: pd.DataFrame, sources: pd.DataFrame) -> None:
    archive = job.archive
    for path in flights.loc[flights["rejected"].notna(), "path"]:
        (archive / path).unlink(missing_ok=True)  # a repeat, or left by an import before
    kept = flights["rejected"].isna()
    _update(archive / "imported.parquet", flights[kept].drop(columns="rejected"), flights["path"])
    _update(archive / "rejected.parquet", flights[~kept], flights["path"])
    noise = pd.concat([pd.read_parquet(path) for path in sorted(job.work.glob("noise-*.parquet"))])
    if len(noise):
        noise = noise[noise["path"].isin(flights["path"][kept])]
        _update(archive / "noise.parquet", noise, flights["path"])
    with replacing(archive / "sources.parquet") as temporary:
        sources.to_parquet(temporary, index=False)
    for licence in _root(source).glob("LICEN[CS]E*"):
        shutil.copyfile(licence, archive / licence.name)
    formats = [find_format(name) for name in sources["format"].dropna().unique()]
    (archive / "columns.toml").write_text(_describe_archive(source, formats), encoding="utf-8")
    shutil.rmtree(job.work)


def _describe_archive(source: Path, formats: list[Format]) -> str:
    credits_ = [f.attribution or f.title for f in formats if f.name != "flights"]
    lines = [
        f"title = {json.dumps(f'Flights imported from {source.name}', ensure_ascii=False)}",
        f"source = {json.dumps('; '.join(dict.fromkeys(credits_)), ensure_ascii=False)}",
        "simulated = false",
        "modelled = []",
    ]
    return "\n".join([*lines, ""])


def _update(file: Path, new: pd.DataFrame, paths: pd.Series) -> None:
    """Write a table of the archive; rows of flights that this import did not look at stay."""
    if file.exists():
        old = pd.read_parquet(file)
        new = pd.concat([old[~old["path"].isin(paths)], new])
    with replacing(file) as temporary:
        new.sort_values("path", kind="stable").to_parquet(temporary, index=False)
