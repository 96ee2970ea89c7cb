"""Import flights of any format into an archive, in partitions on disk and on the cluster.

Points are read in batches and divided into buckets by aircraft, and each bucket is segmented and
cleaned as a whole. Its flights are written when the traffic of all airports has been counted. Each
step saves its result in a folder within the archive, from which an interrupted import resumes.
Buckets depend on the source alone, and therefore so do the files written.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.imported import name_repair
from trajlib.archive.layout import FlightError
from trajlib.archive.listing import FRAGMENTS
from trajlib.archive.repairs import check_units
from trajlib.archive.storage import replacing
from trajlib.archive.values import find_operator
from trajlib.archive.writer import format_lines
from trajlib.cluster import run_tasks
from trajlib.geodesy import distance, find_airport
from trajlib.importers.airports import ENDS, infer_airports, measure_ends
from trajlib.importers.cleaning import REPAIRS, Limits, clean_points
from trajlib.importers.formats import Format, Options, find_format
from trajlib.importers.formats.base import TEXTS
from trajlib.importers.resampling import interpolate_points, leave_one_out
from trajlib.importers.segmentation import get_seconds, segment_flights, split_tracks
from trajlib.importers.sources import (
    FILES,
    describe_error,
    describe_formats,
    describe_refused,
    describe_unreadable,
    find_root,
    open_archives,
)
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC

__all__ = ["Criteria", "import_flights"]

_UNIT = 64 << 20  # bytes of files that one task reads
_ROWS = 500_000  # points written at once
_BUCKET = 400_000  # points that one task segments, estimated from the size of the files
_KEYS = {
    "flight_id": "flight",
    "icao24": "address",
    "registration": "registration",
    "callsign": "callsign",
}
_EXACT = ("latitude", "longitude")  # columns that need more than 24 bits
_SIDES = ("origin", "destination")
_SEGMENTED = (  # columns by which flights are separated
    *("aircraft", "timestamp", "latitude", "longitude", "altitude", "groundspeed"),
    *("onground", "callsign", "new_leg"),
)
_DERIVED = ("duration", "gap", "distance", "vertical_rate", "track")
_APART = 30.0  # smallest distance [NM] between two aircraft that share a callsign
_FEWEST = 2  # points of a fragment
_OVERLAP = 0.5  # share of the shorter of two flights of one callsign, above which one is a repeat
_ERRORS = tuple(name for name in REPAIRS if name not in ("taxi", "too_close"))
_OUTLIERS = ("unreachable", "spoofed", "altitude_spike", "frozen_altitude", "assigned_altitude")


@dataclass(frozen=True)
class Criteria:
    """Criteria of a trajectory; a flight that fails one of the first three is a fragment.

    Attributes
    ----------
    points
        Lowest number of points after cleaning.
    gap
        Longest time between two points [s].
    reach
        Greatest distance [km] from the airports to the first and the last point.
    repaired
        Highest share of points whose position or altitude was removed; above it, the flight is
        rejected.
    speed, rate
        Highest speed [kt] and rate of climb or descent [ft/min]; faster changes are repaired.
    """

    points: int = 20
    gap: float = 420.0
    reach: float = 15.0
    repaired: float = 0.25
    speed: float = 1000.0
    rate: float = 6000.0


@dataclass(frozen=True)
class _Job:
    """Settings of one import, used by all its steps."""

    root: Path  # folder of the source
    options: Options
    work: Path
    archive: Path
    buckets: int
    criteria: Criteria
    limits: Limits
    measured_only: bool
    strict: bool
    pair: dict[str, str]  # the airports given, by side


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
    with its repairs, and the reason if it was not written), ``sources.parquet`` (every file with
    its format and number of points), licences found in the source, and ``columns.toml``, which is
    written last.

    Parameters
    ----------
    source
        A file, or a folder of files in one or several of the formats.
    archive
        Folder to write to. Its other flights stay.
    format
        Name of the format of all files; recognised by their content by default.
    origin, destination
        Only flights of this pair; codes as in the source, or ICAO if the source has none.
    measured_only
        Write only the seconds that were measured: enough to study traffic and wind, too few for
        trajectories.
    strict
        Reject every flight that needs a repair, as by ``strict`` in the source's columns.toml.
    criteria
        Criteria that separate trajectories from fragments.
    report
        Called with a line about each format, and about each file that cannot be read.

    Returns
    -------
    DataFrame
        One row for each flight found, ordered by ``path``: identity, ``start``, ``end``,
        ``points``, ``kind`` (``flight`` or ``fragment``), ``why`` it is a fragment, a count for
        each of `REPAIRS`, ``repairs``, the names of those made, and ``rejected``, null if the
        flight was written.

    Raises
    ------
    FileNotFoundError
        When the source does not exist, or no file of it can be read.
    ValueError
        When the source has no flight of the pair, or the archive's flights are simulated.
    """
    source, archive = Path(source).resolve(), Path(archive).resolve()
    with open_archives(source, archive / f".unpacked-{source.name}", format) as (opened, sources):
        root = find_root(opened)
        dialect = read_dialect(root)
        if read_dialect(archive).simulated and not dialect.simulated:
            raise ValueError(
                f"the flights of {archive} are simulated: real ones need another folder"
            )
        readable = sources[sources["refused"].isna()]
        if readable.empty:
            raise FileNotFoundError(describe_unreadable(source, root, sources))
        for line in [*describe_formats(readable), *describe_refused(sources)]:
            report(line)
        columns = dialect.fingerprint()
        settings = (source, format, columns, origin, destination, measured_only, strict, criteria)
        work = archive / f".import-{_digest(root, sources['file'], settings)}"
        work.mkdir(parents=True, exist_ok=True)
        spacing = max(find_format(name).spacing for name in readable["format"].unique())
        tolerance = 2.0 if spacing else 0.5
        given = {"origin": origin, "destination": destination}
        job = _Job(
            root=root,
            options=Options(dialect=dialect, root=root),
            work=work,
            archive=archive,
            buckets=_count_buckets(root, readable),
            criteria=criteria,
            limits=Limits(criteria.speed, criteria.rate, tolerance, spacing),
            measured_only=measured_only,
            strict=strict or dialect.strict,
            pair={side: code for side, code in given.items() if code is not None},
        )
        damaged = _read_points(job, sources)
        if not sources["points"].any():
            shutil.rmtree(work)  # nothing in it is worth going on from
            raise FileNotFoundError(describe_unreadable(source, root, sources))
        for line in describe_refused(damaged):
            report(line)
        parts = sorted(work.glob("points-*.arrow"))
        traffic = run_tasks(partial(_segment_bucket, job, parts), range(job.buckets))
        for part in parts:
            part.unlink()  # to free space for the flights
        total = pd.concat(traffic).groupby(level=0).sum()
        run_tasks(partial(_write_bucket, job, total), range(job.buckets))
        tables = [pd.read_parquet(path) for path in sorted(work.glob("flights-*.parquet"))]
        tables = [table for table in tables if len(table)]
        if not tables:
            pair = f" {origin or '?'} → {destination or '?'}" if origin or destination else ""
            raise ValueError(
                f"no flight{pair} in {source.name}: expected points with positions in the air"
            )
        flights = pd.concat(tables).sort_values("path", ignore_index=True)
        flights = _reject_repeats(flights)
        _finish(job, source, flights, sources)
        return flights


def _read_points(job: _Job, sources: pd.DataFrame) -> pd.DataFrame:
    """Save the points of all files in buckets, count them by file, and return damaged files."""
    readable = sources[sources["refused"].isna()]
    wanted, damage = _save_identities(job, readable)
    units = _list_units(job.root, readable)
    read = run_tasks(partial(_read_unit, job, wanted), list(enumerate(units)))
    read = pd.concat(read).reindex(sources["file"]).reset_index(drop=True)
    read["damage"] = read["damage"].fillna(sources["file"].map(damage).astype("str"))
    sources["points"] = read["points"].fillna(0).astype(int)
    sources["refused"] = sources["refused"].fillna(read["damage"])
    return sources[read["damage"].notna()]


def _digest(root: Path, names: pd.Series, settings: tuple) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for name in names:
        status = (root / name).stat()
        digest.update(repr((name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:12]


def _count_buckets(root: Path, readable: pd.DataFrame) -> int:
    points = 0
    for name in readable["file"]:
        path = root / name
        packed = path.suffix in (".parquet", ".feather", ".arrow", ".gz", ".xz", ".7z", ".zip")
        points += path.stat().st_size / (10 if packed else 80)  # bytes of a point
    return int(np.clip(np.ceil(points / _BUCKET), 1, 512))


def _list_units(root: Path, readable: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the files in groups of one format, each for one task to read."""
    if readable.empty:
        return []
    sizes = np.array([(root / name).stat().st_size for name in readable["file"]])
    formats = readable["format"].to_numpy()
    begins = [0]
    for number in range(1, len(readable)):
        count, size = number - begins[-1], sizes[begins[-1] : number + 1].sum()
        if count >= FILES or size > _UNIT or formats[number] != formats[number - 1]:
            begins.append(number)
    return [readable.iloc[start:end] for start, end in itertools.pairwise([*begins, len(readable)])]


def _save_identities(job: _Job, readable: pd.DataFrame) -> tuple[set[str] | None, dict[str, str]]:
    """Save the lists of flights; return the wanted ids, None for all, and damage by file."""
    names = [name for name in readable["format"].unique() if find_format(name).read_identities]
    files = readable[readable["format"].isin(names)]
    tables: list[pd.DataFrame] = []
    damage: dict[str, str] = {}
    for part, errors in run_tasks(partial(_read_identities, job), _list_units(job.root, files)):
        tables += part
        damage |= errors
    if not tables:
        return None, damage
    table = pd.concat(tables).drop_duplicates("flight_id").astype({"flight_id": "str"})
    with replacing(job.work / "identities.parquet") as temporary:
        table.to_parquet(temporary)
    if not job.pair or not {*job.pair} <= {*table}:
        return None, damage
    return set(table.loc[_is_wanted(job, table), "flight_id"]), damage


def _read_identities(job: _Job, files: pd.DataFrame) -> tuple[list[pd.DataFrame], dict[str, str]]:
    tables, damage = [], {}
    for row in files.itertuples():
        if read := find_format(row.format).read_identities:
            try:
                tables.append(read(job.root / row.file, job.options))
            except Exception as error:  # a damaged file makes readers raise errors of any kind
                damage[row.file] = describe_error(error)
    return tables, damage


def _is_wanted(job: _Job, flights: pd.DataFrame) -> pd.Series:
    wanted = pd.Series(True, flights.index)
    for side, code in job.pair.items():
        wanted &= flights[side].eq(code)
    return wanted


def _read_unit(job: _Job, wanted: set[str] | None, unit: tuple[int, pd.DataFrame]) -> pd.DataFrame:
    """Write the points of some files in buckets; return by file their ``points`` and ``damage``."""
    number, files = unit
    done = job.work / f"points-{number:05d}.json"
    if not done.exists():
        counts: dict[str, list] = {}
        batches, rows, part = [], 0, 0
        for row in files.itertuples():
            counts[row.file] = [0, None]
            format = find_format(row.format)
            for batch in _read_file(job, format, row.file, counts[row.file]):
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
    counts = json.loads(done.read_text())
    table = pd.DataFrame.from_dict(counts, orient="index", columns=["points", "damage"])
    return table.astype({"points": int, "damage": "str"})


def _read_file(job: _Job, format: Format, name: str, count: list) -> Iterator[pd.DataFrame]:
    """Yield the points of a file up to its end or damage, which is recorded in ``count``."""
    try:
        for batch in format.read(job.root / name, job.options):
            count[0] += len(batch)
            yield batch
    except Exception as error:  # a damaged file makes readers raise errors of any kind
        count[1] = describe_error(error)


def _add_key(batch: pd.DataFrame, file: str, splittable: bool) -> pd.DataFrame:
    """Return the points with the ``key`` of their flight, of their aircraft, or of the file."""
    key = batch.get("key", pd.Series(pd.NA, batch.index, dtype="str"))
    for name, kind in _KEYS.items():
        if name in batch and key.hasnans:
            scope = "" if splittable or kind == "flight" else f"{file}:"
            texts = f"{kind}:{scope}" + batch[name].astype("str")
            key = texts if key.isna().all() else key.fillna(texts)
    return batch.assign(key=key.fillna(f"file:{file}"))


def _write_part(job: _Job, name: str, batches: list[pd.DataFrame]) -> None:
    """Write points as an Arrow file with one record batch a bucket."""
    points = pd.concat(batches, ignore_index=True)
    numbers = {name: "float32" for name in points if name in NUMERIC and name not in _EXACT}
    table = pa.Table.from_pandas(points.astype(numbers), preserve_index=False)
    for text in [text for text in (*TEXTS, "key") if text in points]:
        encoded = table[text].cast(pa.string()).dictionary_encode()
        table = table.set_column(table.column_names.index(text), text, encoded)
    keys = table["key"].combine_chunks()
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys.dictionary.to_pylist()]
    buckets = np.array([int(digest[:8], 16) % job.buckets for digest in digests])
    bucket = buckets[keys.indices.to_numpy()]
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(job.buckets + 1))
    batch = table.take(pa.array(order)).combine_chunks().to_batches()[0]
    with replacing(job.work / f"{name}.arrow") as temporary:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(temporary, batch.schema, options=options) as writer:
            for start, end in itertools.pairwise(edges):
                writer.write_batch(batch.slice(start, end - start))


def _read_bucket(parts: list[Path], bucket: int) -> pd.DataFrame:
    """Return the points of a bucket; texts are categories."""
    tables = []
    for part in parts:
        with pa.memory_map(str(part)) as file:
            tables.append(pa.Table.from_batches([pa.ipc.open_file(file).get_batch(bucket)]))
    if not tables:
        return pd.DataFrame()
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    points = table.to_pandas()
    return points.astype({name: "float64" for name in points if name in NUMERIC})


def _segment_bucket(job: _Job, parts: list[Path], bucket: int) -> pd.Series:
    """Save the cleaned points and the flights of a bucket; return its airports' traffic."""
    file = job.work / f"segmented-{bucket:04d}.parquet"
    if not file.exists():
        points, flights = _segment_points(job, _read_bucket(parts, bucket))
        with replacing(job.work / f"cleaned-{bucket:04d}.arrow") as temporary:
            points.reset_index(drop=True).to_feather(temporary, compression="lz4")
        with replacing(file) as temporary:
            flights.to_parquet(temporary)
    flights = pd.read_parquet(file)
    if flights.empty:
        return pd.Series(dtype=float)
    return pd.concat([flights[f"{side}_certain"] for side in _SIDES]).value_counts()


def _segment_points(job: _Job, points: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cleaned points of a bucket, ordered by flight, and one row for each flight."""
    if points.empty:
        return points, pd.DataFrame()
    keys = points["key"].cat.remove_unused_categories().cat
    keys = keys.reorder_categories(keys.categories.sort_values()).cat
    points["aircraft"] = keys.codes.astype("int64")
    latest = points["timestamp"].groupby(points["aircraft"]).cummax()
    points["disordered"] = points["timestamp"] < latest
    times = points["timestamp"].astype("int64").to_numpy()
    order = np.lexsort((times, points["aircraft"]))  # stable
    slim = points[[name for name in _SEGMENTED if name in points]].take(order)
    kind = keys.categories.str.split(":", n=1).str[0].to_numpy()[slim["aircraft"]]
    flight = _number_flights(job, slim, kind)
    # all columns are ordered once, since texts take most of the time
    order = order[flight >= 0]
    flight = flight[flight >= 0]
    if not len(flight):
        return points.iloc[:0], pd.DataFrame()
    again = np.lexsort((times[order], flight))
    points = points.take(order[again]).assign(flight=flight[again]).reset_index(drop=True)
    identity = _collect_identity(job, points)
    texts = [name for name in (*TEXTS, "key", "aircraft") if name in points]
    cleaned, repairs = clean_points(points.drop(columns=texts), job.limits)
    flights = identity.join(repairs).join(_summarize(cleaned))
    for side in _SIDES:
        ends = measure_ends(cleaned, side)
        inferred = infer_airports(ends, side)
        flights = flights.join(ends.add_prefix(f"{side}_"))
        flights[f"{side}_certain"] = inferred["airport"].where(inferred["certain"])
    return cleaned, flights


def _number_flights(job: _Job, points: pd.DataFrame, kind: np.ndarray) -> np.ndarray:
    """Return the number of the flight of each point, -1 for none, by the kind of its key."""
    flight, count = np.full(len(points), -1), 0
    for kinds in (("flight",), ("address", "registration"), ("callsign", "file")):
        rows = np.flatnonzero(np.isin(kind, kinds))
        if not len(rows):
            continue
        chosen = points.iloc[rows]
        if "callsign" in kinds:  # which two aircraft may share
            aircraft = chosen["aircraft"].to_numpy()
            position = chosen["latitude"].to_numpy(), chosen["longitude"].to_numpy()
            speed = job.limits.speed
            track = split_tracks(aircraft, get_seconds(chosen), *position, speed, _APART)
            order = np.lexsort((track, aircraft))
            chosen, rows = chosen.iloc[order], rows[order]
            pairs = np.column_stack([aircraft[order], track[order]])
            chosen = chosen.assign(aircraft=np.unique(pairs, axis=0, return_inverse=True)[1])
        numbers = segment_flights(chosen, identified=kinds == ("flight",))
        if "flight" not in kinds:
            gap = job.options.dialect.many.get("gap", np.inf)
            numbers = _cut_legs(chosen, numbers, gap)
        flight[rows] = np.where(numbers >= 0, numbers + count, -1)
        count += numbers.max(initial=-1) + 1
    return flight


def _cut_legs(points: pd.DataFrame, numbers: np.ndarray, gap: float) -> np.ndarray:
    """Return the numbers of flights, cut at gaps and where the source marks a new leg."""
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
    """Return the identity of each flight: the most frequent text if it has several."""
    table = pd.DataFrame(index=pd.Index(points["flight"].unique(), name="flight"))
    for name in TEXTS:
        table[name] = None
        if name in points:
            table[name] = _find_commonest(points["flight"], points[name])
    table = table.astype(dict.fromkeys(TEXTS, "str"))
    file = job.work / "identities.parquet"
    if file.exists() and table["flight_id"].notna().any():
        ids = table["flight_id"].dropna().unique().tolist()
        listed = pd.read_parquet(file, filters=[("flight_id", "in", ids)]).set_index("flight_id")
        for name in listed.columns.intersection(TEXTS):
            table[name] = table["flight_id"].map(listed[name]).fillna(table[name])
    operators = table["callsign"].map(find_operator, na_action="ignore").astype("str")
    return table.assign(operator=table["operator"].fillna(operators))


def _find_commonest(flight: pd.Series, texts: pd.Series) -> pd.Series:
    """Return the most frequent category of each flight, by flight."""
    code, texts = texts.cat.codes.to_numpy(), texts.cat.categories
    given = code >= 0
    pairs = flight.to_numpy()[given] * len(texts) + code[given]
    pairs, counts = np.unique(pairs, return_counts=True)
    flights, codes = np.divmod(pairs, max(len(texts), 1))
    table = pd.DataFrame({"flight": flights, "count": -counts, "text": texts[codes]})
    return table.sort_values([*table]).drop_duplicates("flight").set_index("flight")["text"]


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
    """Write the flights of a bucket, and the table of all its flights."""
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
    flights = _apply_criteria(job, flights)
    flights["path"] = _name_files(flights)
    if noise := _write_flights(job, flights, points):
        with replacing(job.work / f"noise-{bucket:04d}.parquet") as temporary:
            pd.concat(noise).to_parquet(temporary, index=False)
    with replacing(file) as temporary:
        flights.to_parquet(temporary, index=False)
    (job.work / f"cleaned-{bucket:04d}.arrow").unlink()


def _find_airports(flights: pd.DataFrame, points: pd.DataFrame, traffic: pd.Series) -> pd.DataFrame:
    """Return the flights with the airports of the source, or else those inferred."""
    # a flight is written from its first altitude to its last: there the distances are measured
    written = points.loc[points["altitude"].notna(), ["flight", "latitude", "longitude"]]
    for side, which in zip(_SIDES, ("first", "last"), strict=True):
        columns = {f"{side}_{name}": name for name in ENDS}
        ends = flights[[*columns]].rename(columns=columns).dropna(subset="latitude")
        inferred = infer_airports(ends, side, traffic).reindex(flights.index)
        flights = flights.drop(columns=[*columns, f"{side}_certain"])
        conditions = [flights[side].notna(), inferred["airport"].notna()]
        flights[f"{side}_from"] = np.select(conditions, ["source", "inferred"], "unknown")
        flights[f"{side}_inferred"] = inferred["airport"]
        flights[f"{side}_nearest"] = inferred["nearest"]
        flights[f"{side}_distance"] = inferred["distance"]
        flights[f"{side}_reason"] = inferred["reason"]
        flights[side] = flights[side].fillna(inferred["airport"])
        airports = np.array([_locate(code) for code in flights[side].fillna("")]).reshape(-1, 2)
        edge = written.drop_duplicates("flight", keep=which).set_index("flight")
        edge = edge.reindex(flights.index).to_numpy()
        flights[f"{side}_reach"] = distance(*edge.T, *airports.T) * 1.852
    return flights


def _locate(code: str) -> tuple[float, float]:
    try:
        return find_airport(code).position
    except ValueError:  # no code, or an unknown one of the source
        return np.nan, np.nan


def _apply_criteria(job: _Job, flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights with ``kind``, ``why``, ``repairs`` and ``rejected``."""
    criteria = job.criteria
    no_reason = pd.Series(pd.NA, flights.index, dtype="str")
    far = f"point more than {criteria.reach:g} km from the airport"
    silence = f"more than {criteria.gap:g} s between two points"
    why = no_reason.case_when(
        [
            (flights["altitudes"] < criteria.points, f"fewer than {criteria.points} points"),
            (flights["origin_reach"] > criteria.reach, f"first {far}"),
            (flights["destination_reach"] > criteria.reach, f"last {far}"),
            (flights["longest_gap"] > criteria.gap, silence),
        ]
    )
    kind = np.where(why.isna(), "flight", "fragment")
    few = ~(flights["altitudes"] >= _FEWEST)
    outliers = flights[list(_OUTLIERS)]
    removed = flights["unreachable"] + flights["spoofed"]
    share = outliers.sum(axis=1) / (flights["points"].fillna(0) + removed).clip(lower=1)
    wrong = f"more than {criteria.repaired:.0%} of the points were wrong, most of them "
    wrong = wrong + outliers.idxmax(axis=1).map(name_repair)
    rows = flights[list(_ERRORS)].to_dict("records")
    names = [" ".join(name for name, count in row.items() if count) for row in rows]
    repairs = pd.Series(names, flights.index, dtype="str")
    named = repairs.map(lambda text: ", ".join(map(name_repair, text.split())))
    rejected = no_reason.case_when(
        [
            (few, f"fewer than {_FEWEST} points with position and altitude"),
            (share > criteria.repaired, wrong),
            (repairs.ne("") & job.strict, "needs repairs: " + named),
        ]
    )
    return flights.assign(kind=kind, why=why, repairs=repairs, rejected=rejected)


def _name_files(flights: pd.DataFrame) -> pd.Series:
    """Return ``ORIGIN-DESTINATION/NAME.csv``; names of a source lead to no other folder."""
    start = flights["start"].dt.strftime("%Y%m%dT%H%M%SZ").fillna("0")
    identity = [flights[name] for name in ("callsign", "registration", "icao24")]
    names = start.str.cat([("_" + texts).fillna("") for texts in identity])
    names = flights["flight_id"].fillna(names).map(lambda name: quote(name, safe=" ")[:120])
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + "-" + (again + 1).astype("str"))
    pairs = [
        flights[side].fillna("unknown").map(lambda code: quote(code, safe="?")) for side in _SIDES
    ]
    paths = pairs[0] + "-" + pairs[1] + "/" + names + ".csv"
    return paths.where(flights["kind"] != "fragment", FRAGMENTS + paths)


def _write_flights(job: _Job, flights: pd.DataFrame, points: pd.DataFrame) -> list[pd.DataFrame]:
    """Write the flights that are not rejected, reject those in wrong units; return their noise."""
    seconds = get_seconds(points)
    numbers = [name for name in COLUMNS if name in points and name in NUMERIC]
    order = ["latitude", "longitude", "altitude"]
    order += [name for name in numbers if name not in (*order, "duration", "gap", "distance")]
    values = points[order].to_numpy(float).T.copy()
    flight_of = points["flight"].to_numpy()
    written = [name for name in COLUMNS if name in {*order, *_DERIVED}]
    decimals = np.array([COLUMNS[name].decimals for name in written])
    noise = []
    for number, flight in zip(flights.index, flights.to_dict("records"), strict=True):
        if isinstance(flight["rejected"], str):
            continue
        begin, end = np.searchsorted(flight_of, [number, number + 1])
        measured_only = job.measured_only or flight["kind"] == "fragment"
        time, columns = interpolate_points(seconds[begin:end], values[:, begin:end], order)
        try:
            check_units(columns, 1000 * time, job.options.dialect)
        except FlightError as error:
            flights.loc[number, "rejected"] = str(error)
            continue
        rows = np.array([columns[name] for name in written])
        if measured_only:
            measured = columns["gap"] == 0
            time, rows = time[measured], rows[:, measured]
        path = job.archive / flight["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_format_csv(flight, time, rows, written, decimals))
        if job.limits.spacing and flight["kind"] == "flight":
            errors = leave_one_out(seconds[begin:end], values[:3, begin:end])
            noise.append(pd.DataFrame({"path": flight["path"], **errors}))
    return noise


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
        (archive / path).unlink(missing_ok=True)  # a repeat, or from an earlier import
    kept = flights["rejected"].isna()
    _update(archive / "imported.parquet", flights[kept].drop(columns="rejected"), flights["path"])
    _update(archive / "rejected.parquet", flights[~kept], flights["path"])
    parts = [pd.read_parquet(path) for path in sorted(job.work.glob("noise-*.parquet"))]
    if parts:
        noise = pd.concat(parts)
        noise = noise[noise["path"].isin(flights["path"][kept])]
        _update(archive / "noise.parquet", noise, flights["path"])
    with replacing(archive / "sources.parquet") as temporary:
        sources.to_parquet(temporary, index=False)
    for licence in job.root.glob("LICEN[CS]E*"):
        shutil.copyfile(licence, archive / licence.name)
    formats = [find_format(name) for name in sources["format"].dropna().unique()]
    text = _describe_archive(source, formats, job.options.dialect)
    (archive / "columns.toml").write_text(text, encoding="utf-8")
    shutil.rmtree(job.work)


def _describe_archive(source: Path, formats: list[Format], dialect: Dialect) -> str:
    """Return the columns.toml of an archive, with what that of the source says about it.

    The name of a format alone is no source.
    """
    credits_ = dict.fromkeys([dialect.source, *(entry.attribution for entry in formats)])
    values = {
        "title": dialect.title or f"“{source.name}” (imported flights)",
        "source": "; ".join(filter(None, credits_)),
        "simulated": dialect.simulated,
        "modelled": sorted(dialect.modelled),
    }
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    # units that the source's columns.toml confirms are not asked for again
    lines += [f'columns.{name}.unit = "{COLUMNS[name].unit}"' for name in dialect.units]
    return "\n".join([*lines, ""])


def _update(file: Path, new: pd.DataFrame, paths: pd.Series) -> None:
    """Write a table of the archive; rows of flights that are not among ``paths`` stay."""
    if file.exists():
        old = pd.read_parquet(file)
        new = pd.concat([old[~old["path"].isin(paths)], new])
    with replacing(file) as temporary:
        new.sort_values("path", kind="stable").to_parquet(temporary, index=False)
