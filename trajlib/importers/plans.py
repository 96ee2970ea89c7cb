"""Filed flight plans from the formats that hold them, into an archive's folder ``plans``."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pandas as pd

from trajlib.archive.plans import save_plans
from trajlib.importers.formats import FormatError, Options, find_format, recognize_format
from trajlib.importers.pipeline import list_members, read_source_dialect

__all__ = ["PLAN_FORMATS", "import_plans", "import_plans_beside_flights"]

_ALONE = ("tfms-plans", "so6", "eurocontrol")  # what is a plan in them is never a flight
PLAN_FORMATS = (*_ALONE, "generic")
_COLUMNS = {
    "flight_id": "flight_id",
    "callsign": "callsign",
    "latitude": "latitude",
    "longitude": "longitude",
    "altitude": "flight_level",
    "groundspeed": "speed",
    "timestamp": "estimated_time",
}


def import_plans_beside_flights(source: str | Path, archive: str | Path) -> pd.Series | None:
    """Import the filed plans among files whose flights have just been imported.

    Returns
    -------
    Series or None
        As of `import_plans`; None where no file gave plans instead of flights.
    """
    sources = pd.read_parquet(Path(archive) / "sources.parquet")
    # a file that gave flights is never read as plans: they would be the flights themselves
    unused = sources["refused"].isna() & (sources["points"] == 0)
    files = sources["file"][unused & sources["format"].isin(_ALONE)]
    if files.empty:
        return None
    flights = pd.read_parquet(Path(archive) / "imported.parquet", columns=["flight_id"])
    try:
        return import_plans(source, archive, files=set(files), flights=set(flights["flight_id"]))
    except FileNotFoundError:
        return None


def import_plans(
    source: str | Path,
    archive: str | Path,
    *,
    format: str | None = None,
    files: Collection[str] | None = None,
    flights: Collection[str] | None = None,
) -> pd.Series:
    """Write the filed plans of a source into an archive, and return the waypoints of each flight.

    Parameters
    ----------
    source
        A file, or a folder of files: TFMS plans with their table of flights, so6 m1,
        EUROCONTROL's ``Flight_Points_Filed_*``, or any table that a ``columns.toml`` beside it
        describes. Files in other formats are passed over. A plan without times keeps none, and
        counts as filed before departure.
    archive
        Folder to write to, as ``plans/NAME.parquet``.
    format
        One of ``PLAN_FORMATS``, for all files; recognised by default.
    files
        Those to read, relative to the source; all by default.
    flights
        Identifiers of the flights whose plans are kept; all by default.

    Returns
    -------
    Series
        Number of waypoints by ``flight_id``.

    Raises
    ------
    FileNotFoundError
        When no file holds a plan.
    ValueError
        When ``format`` is not one of ``PLAN_FORMATS``.
    """
    if format not in (None, *PLAN_FORMATS):
        raise ValueError(f"format {format!r} holds no plans, expected {', '.join(PLAN_FORMATS)}")
    source = Path(source).resolve()
    root = source if source.is_dir() else source.parent
    options = Options(dialect=read_source_dialect(root), kind="plan", root=root)
    paths = list_members(source)
    if files is not None:
        paths = [path for path in paths if path.relative_to(root).as_posix() in files]
    read, reasons = _read_tables(paths, options, format)
    if flights is not None:
        read = (table[table["flight_id"].isin(flights)] for table in read)
    tables = [table for table in read if len(table)]
    if not tables:
        raise FileNotFoundError(
            f"no flight plans in {source}" + (f": {reasons[0]}" if reasons else "")
        )
    points = pd.concat(tables, ignore_index=True)
    plans = points[[name for name in _COLUMNS if name in points]].rename(columns=_COLUMNS)
    if "flight_level" in plans:
        plans["flight_level"] /= 100
    plans["sequence"] = plans.groupby("flight_id").cumcount()
    save_plans(plans, archive, source.stem)
    return plans.groupby("flight_id").size().rename("waypoints")


def _read_tables(
    paths: Iterable[Path], options: Options, format: str | None
) -> tuple[Iterator[pd.DataFrame], list[str]]:
    """Return the points of plans file by file, and why files could not be read, once they were."""
    reasons: list[str] = []

    def read() -> Iterator[pd.DataFrame]:
        for path in paths:
            try:
                entry = find_format(format) if format else recognize_format(path, options.dialect)
                if entry.name in PLAN_FORMATS:
                    yield from entry.read(path, options)
            except FormatError as error:
                reasons.append(f"{path.name}: {error}")

    return read(), reasons
