"""The index of an archive: one row per file, updated by size and time of change."""

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from errno import EACCES, EPERM, EROFS
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.facts import ENDS, read_facts
from trajlib.archive.listing import FILE, list_files
from trajlib.archive.pairs import describe_ends, unify_airports
from trajlib.archive.reading import FlightError, read_flight
from trajlib.archive.repairs import REPAIRS
from trajlib.archive.storage import is_remote, open_file, replacing, resolve
from trajlib.schema import IDENTITY, REQUIRED

UNSAVED = ("archive", "rejections_file", "strict", "incomplete")  # columns that are not saved
_FINDINGS = {"rejected": "str", "repairs": "str"}


def build_index(
    archive: str | Path, output: str | Path | None = None, *, strict: bool = False
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
        Reject flights that need a repair, even if columns.toml does not say so.

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
    strict = strict or dialect.strict
    dialect = replace(dialect, strict=strict)
    index = _read_table(output, dialect, ["repairs", "fragment", "copy"])
    if index is None or not files.equals(index[list(FILE)]):
        index = _update(archive, files, index, dialect)
        _write_table(index, output, dialect)
    rejections = f"{output.removesuffix('.index.parquet')}.rejections.parquet"
    paths = {"archive": resolve(archive), "rejections_file": resolve(rejections)}
    index = unify_airports(index.assign(**paths, strict=strict))
    recorded = _read_recorded(index).dropna(subset="repairs")
    recorded = index[[*FILE]].merge(recorded, how="left", on=[*FILE])["repairs"]
    repairs = index["repairs"].fillna(recorded).astype("str")
    return index.assign(repairs=repairs, incomplete=describe_ends(index))


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


def _update(
    archive: str | Path, files: pd.DataFrame, old: pd.DataFrame | None, dialect: Dialect
) -> pd.DataFrame:
    unchanged = files.merge(files.head(0) if old is None else old, on=[*FILE])
    new = files[~files["path"].isin(unchanged["path"])].reset_index(drop=True)
    index = pd.concat([new, read_facts(archive, new, dialect)], axis=1)
    if len(unchanged):
        index = pd.concat([unchanged, index]).sort_values("path", ignore_index=True)
    return _reject_copies(resolve(archive), index, dialect)


def _reject_copies(root: str, index: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    """Reject files with the same samples as another file; the one with the shortest name stays."""
    index = index.assign(rejected=index["rejected"].mask(index["copy"]), copy=False)
    facts = [*IDENTITY, *ENDS]
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
    recorded = _read_recorded(index).dropna(subset="rejected").merge(index[[*FILE]], on=[*FILE])
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
    rows = flights.loc[chosen, [*FILE]]
    for name in _FINDINGS:
        rows[name] = [findings[path].get(name) for path in rows["path"]]
    old = _read_recorded(flights)
    table = pd.concat([old, rows.astype(_FINDINGS)]).drop_duplicates("path", keep="last")
    table = table.sort_values("path", ignore_index=True)
    if not table.equals(old):
        _write_table(table, flights["rejections_file"].iloc[0], dialect_of(flights))


def _read_recorded(flights: pd.DataFrame) -> pd.DataFrame:
    table = _read_table(flights["rejections_file"].iloc[0], dialect_of(flights), _FINDINGS)
    if table is None:
        table = pd.DataFrame(columns=[*FILE, *_FINDINGS])
    return table.astype(FILE | _FINDINGS)


def dialect_of(flights: pd.DataFrame) -> Dialect:
    """Return the dialect with which the rows of an index were read."""
    strict = "strict" in flights and bool(flights["strict"].iloc[0])
    return replace(read_dialect(flights["archive"].iloc[0]), strict=strict)


def _read_table(path: str, dialect: Dialect, columns: Collection[str]) -> pd.DataFrame | None:
    """Return a saved table; None if there is none with the same dialect and these columns."""
    try:
        with open_file(path) as file:  # opened once: another run may replace the file
            table = pq.read_table(file)
    except FileNotFoundError:
        return None
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path} is no Parquet file: if it is a damaged index, delete it, and it is made "
            "again; otherwise give --output another name"
        ) from error
    fingerprint = (table.schema.metadata or {}).get(b"dialect")
    if fingerprint is None:
        raise ValueError(f"{path} is another table than an index: give --output another name")
    if fingerprint != dialect.fingerprint().encode() or not {*columns} <= {*table.column_names}:
        return None
    return table.to_pandas()


def _write_table(index: pd.DataFrame, path: str, dialect: Dialect) -> None:
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
