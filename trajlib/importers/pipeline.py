"""Import flights of any format into an archive, in partitions on disk and on the cluster.

Points are read in batches and divided into buckets by aircraft, and each bucket is segmented and
cleaned as a whole. Its flights are written when the traffic of all airports has been counted. Each
step saves its result in a folder within the archive, from which an interrupted import resumes.
Buckets depend on the source alone, and therefore so do the files written.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.storage import replacing
from trajlib.cluster import run_tasks
from trajlib.importers.bucket_flights import segment_bucket
from trajlib.importers.cleaning import Limits
from trajlib.importers.collecting import count_buckets, read_points
from trajlib.importers.formats import find_format
from trajlib.importers.formats.base import Format, Options
from trajlib.importers.formats.packed import UNPACKED
from trajlib.importers.job import SIDES, Criteria, Job
from trajlib.importers.sources import (
    describe_absent,
    describe_formats,
    describe_refused,
    describe_unreadable,
    find_root,
    open_archives,
)
from trajlib.importers.writing import reject_repeats, write_bucket

_DEFAULT = Criteria()


def import_flights(
    source: str | Path,
    archive: str | Path,
    *,
    format: str | None = None,
    origin: str | None = None,
    destination: str | None = None,
    measured_only: bool = False,
    strict: bool = False,
    criteria: Criteria = _DEFAULT,
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
        When the source has no flight of the pair, the archive's flights are simulated, or the
        archive is the source or within it.
    """
    source, archive = Path(source).resolve(), Path(archive).resolve()
    _check_apart(source, archive)
    with open_archives(source, archive / f"{UNPACKED}{source.name}", format) as (opened, sources):
        root = find_root(opened)
        dialect = read_dialect(root)
        if read_dialect(archive).simulated and not dialect.simulated:
            raise ValueError(
                f"the flights of {archive} are simulated: real ones need another folder"
            )
        readable = sources[sources["refused"].isna()]
        if readable.empty:
            raise FileNotFoundError(describe_unreadable(source, root, sources))
        absent = describe_absent(readable, root, dialect)
        for line in [*describe_formats(readable), *describe_refused(sources), *absent]:
            report(line)
        columns = dialect.fingerprint()
        settings = (source, format, columns, origin, destination, measured_only, strict, criteria)
        work = archive / f".import-{_digest(root, readable['file'], settings)}"
        work.mkdir(parents=True, exist_ok=True)
        spacing = max(find_format(name).spacing for name in readable["format"].unique())
        tolerance = 2.0 if spacing else 0.5
        given = {"origin": origin, "destination": destination}
        job = Job(
            root=root,
            options=Options(dialect=dialect, root=root),
            work=work,
            archive=archive,
            buckets=count_buckets(root, readable),
            criteria=criteria,
            limits=Limits(criteria.speed, criteria.rate, tolerance, spacing),
            measured_only=measured_only,
            strict=strict or dialect.strict,
            pair={side: code for side, code in given.items() if code is not None},
        )
        return _run_steps(job, source, sources, report)


def _check_apart(source: Path, archive: Path) -> None:
    """Refuse an archive that would be read as its own source, or replace its columns.toml."""
    if archive == find_root(source) or source in archive.parents:
        raise ValueError(
            f"the archive {archive} is in the folder of the source: it would be imported again by "
            "the next import; choose a folder outside of it"
        )


def _run_steps(
    job: Job, source: Path, sources: pd.DataFrame, report: Callable[[str], None]
) -> pd.DataFrame:
    """Read, segment, clean and write the flights of a source, and return them."""
    damaged = read_points(job, sources)
    if not sources["points"].any():
        shutil.rmtree(job.work)  # nothing in it is worth going on from
        raise FileNotFoundError(describe_unreadable(source, job.root, sources))
    for line in describe_refused(damaged):
        report(line)
    parts = sorted(job.work.glob("points-*.arrow"))
    traffic = run_tasks(partial(segment_bucket, job, parts), range(job.buckets))
    for part in parts:
        part.unlink()  # to free space for the flights
    total = pd.concat(traffic).groupby(level=0).sum()
    run_tasks(partial(write_bucket, job, total), range(job.buckets))
    tables = [pd.read_parquet(path) for path in sorted(job.work.glob("flights-*.parquet"))]
    tables = [table for table in tables if len(table)]
    if not tables:
        pair = f" {' → '.join(job.pair.get(side, '?') for side in SIDES)}" if job.pair else ""
        raise ValueError(
            f"no flight{pair} in {source.name}: expected points with positions in the air"
        )
    flights = pd.concat(tables).sort_values("path", ignore_index=True)
    flights = reject_repeats(flights)
    _finish(job, source, flights, sources)
    return flights


def _digest(root: Path, names: pd.Series, settings: tuple) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for name in names:
        status = (root / name).stat()
        digest.update(repr((name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:12]


def _finish(job: Job, source: Path, flights: pd.DataFrame, sources: pd.DataFrame) -> None:
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
    return "\n".join([*lines, ""])


def _update(file: Path, new: pd.DataFrame, paths: pd.Series) -> None:
    """Write a table of the archive; rows of flights that are not among ``paths`` stay."""
    if file.exists():
        old = pd.read_parquet(file)
        new = pd.concat([old[~old["path"].isin(paths)], new])
    with replacing(file) as temporary:
        new.sort_values("path", kind="stable").to_parquet(temporary, index=False)
