"""Read the points of all files into buckets on disk, each with all points of some aircraft."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import union_categoricals

from trajlib.archive.storage import replacing
from trajlib.cluster import run_tasks
from trajlib.importers.formats import find_format
from trajlib.importers.formats.base import Format
from trajlib.importers.formats.fields import FLEET, TEXTS
from trajlib.importers.job import Job, is_wanted
from trajlib.importers.sources import FILES, describe_error
from trajlib.schema import NUMERIC

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


def read_points(job: Job, sources: pd.DataFrame) -> pd.DataFrame:
    """Save the points of all files in buckets, count them by file, and return damaged files."""
    readable = sources[sources["refused"].isna()]
    wanted, damage = _save_identities(job, readable)
    job = replace(job, options=replace(job.options, wanted=wanted))
    units = _list_units(job.root, readable)
    read = run_tasks(partial(_read_unit, job), list(enumerate(units)))
    read = pd.concat(read).reindex(sources["file"]).reset_index(drop=True)
    read["damage"] = read["damage"].fillna(sources["file"].map(damage).astype("str"))
    sources["points"] = read["points"].fillna(0).astype(int)
    sources["refused"] = sources["refused"].fillna(read["damage"])
    return sources[read["damage"].notna()]


def count_buckets(root: Path, readable: pd.DataFrame) -> int:
    """Return a number of buckets with some 400,000 points each, by the size of the files."""
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


def _save_identities(job: Job, readable: pd.DataFrame) -> tuple[set[str] | None, dict[str, str]]:
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
    table = pd.concat(tables)
    table = table.astype({name: "str" for name in TEXTS if name in table})
    _save_aircraft(job, [part for part in tables if "flight_id" not in part])
    if "flight_id" not in table:
        return None, damage
    table = table.dropna(subset="flight_id").drop_duplicates("flight_id")
    with replacing(job.work / "identities.parquet") as temporary:
        table.to_parquet(temporary)
    if not job.pair or not {*job.pair} <= {*table}:
        return None, damage
    return set(table.loc[is_wanted(job, table), "flight_id"]), damage


def _save_aircraft(job: Job, tables: list[pd.DataFrame]) -> None:
    """Save the lists with one row per aircraft, if there are any."""
    if not tables:
        return
    table = pd.concat(tables).reindex(columns=[*FLEET]).astype("str")
    with replacing(job.work / "aircraft.parquet") as temporary:
        table.to_parquet(temporary)


def _read_identities(job: Job, files: pd.DataFrame) -> tuple[list[pd.DataFrame], dict[str, str]]:
    tables, damage = [], {}
    for row in files.itertuples():
        if read := find_format(row.format).read_identities:
            try:
                tables.append(read(job.root / row.file, job.options))
            except Exception as error:  # a damaged file makes readers raise errors of any kind
                damage[row.file] = describe_error(error)
    return tables, damage


def _read_unit(job: Job, unit: tuple[int, pd.DataFrame]) -> pd.DataFrame:
    """Write the points of some files in buckets; return by file their ``points`` and ``damage``."""
    (number, files), wanted = unit, job.options.wanted
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


def _read_file(job: Job, format: Format, name: str, count: list) -> Iterator[pd.DataFrame]:
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
            texts = batch[name].cat.rename_categories(partial("{}:{}{}".format, kind, scope))
            key = texts if key.isna().all() else key.astype("str").fillna(texts.astype("str"))
    return batch.assign(key=key.astype("str").fillna(f"file:{file}") if key.hasnans else key)


def narrow_numbers(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points with most numbers in 32 bits, in which `read_points` saves them."""
    numbers = {name: "float32" for name in points if name in NUMERIC and name not in _EXACT}
    return points.astype(numbers)


def _join_texts(texts: list[pd.Series]) -> pa.DictionaryArray:
    joined = union_categoricals([part.astype("category") for part in texts])
    codes = pa.array(joined.codes, pa.int32(), mask=joined.codes < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(joined.categories, pa.string()))


def _write_part(job: Job, name: str, batches: list[pd.DataFrame]) -> None:
    """Write points as an Arrow file with one record batch a bucket."""
    texts = [text for text in (*TEXTS, "key") if any(text in batch for batch in batches)]
    others = [narrow_numbers(batch.drop(columns=texts, errors="ignore")) for batch in batches]
    table = pa.Table.from_pandas(pd.concat(others), preserve_index=False)
    for text in texts:
        parts = [batch.get(text, pd.Series(None, batch.index, dtype="str")) for batch in batches]
        table = table.append_column(text, _join_texts(parts))
    keys = table["key"].combine_chunks()
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys.dictionary.to_pylist()]
    numbers = [int(digest[:8], 16) % job.buckets for digest in digests]
    # small integers are sorted several times as fast as int64
    buckets = np.array(numbers, np.min_scalar_type(job.buckets))
    bucket = buckets[keys.indices.to_numpy()]
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(job.buckets + 1))
    batch = table.take(pa.array(order)).combine_chunks().to_batches()[0]
    with replacing(job.work / f"{name}.arrow") as temporary:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(temporary, batch.schema, options=options) as writer:
            for start, end in itertools.pairwise(edges):
                writer.write_batch(batch.slice(start, end - start))


def read_bucket(parts: list[Path], bucket: int) -> pd.DataFrame:
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
