"""Filed flight plans from the formats that hold them, into an archive's folder ``plans``."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.plans import save_plans
from trajlib.importers.formats import find_format
from trajlib.importers.formats.base import FormatError, Options
from trajlib.importers.formats.fields import TEXTS
from trajlib.importers.formats.generic import holds_waypoints
from trajlib.importers.formats.packed import UNPACKED
from trajlib.importers.sources import find_root, open_archives

_ALONE = ("tfms-plans", "so6", "eurocontrol")  # their files of plans hold no flights
_TOGETHER = ("allft",)  # those of flights hold their plans, too
PLAN_FORMATS = (*_ALONE, *_TOGETHER, "generic")
_RENAMED = {"altitude": "flight_level", "groundspeed": "speed", "timestamp": "estimated_time"}
_PLAN = ["flight_id", "callsign", "departure_time", "filed"]  # columns that identify a plan
_COLUMNS = (*_PLAN, "latitude", "longitude", "sequence", *_RENAMED)


def import_plans_beside_flights(source: str | Path, archive: str | Path) -> pd.Series | None:
    """Import the filed plans among files whose flights have just been imported.

    Returns
    -------
    Series or None
        As of `import_plans`; None if no file holds plans instead of flights.
    """
    sources = pd.read_parquet(Path(archive) / "sources.parquet")
    # files with flights are not read as plans, which would be the flights themselves
    unused = (sources["points"] == 0) & sources["format"].isin(_ALONE)
    wanted = sources["refused"].isna() & (unused | sources["format"].isin(_TOGETHER))
    files = sources["file"][wanted]
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
        A file, or a folder of files: TFMS plans with their table of flights, so6 m1, ALL_FT+,
        EUROCONTROL's ``Flight_Points_Filed_*``, or any table that a ``columns.toml`` beside it
        describes. Files in other formats are ignored. A plan without times counts as filed before
        departure.
    archive
        Folder to write to, as ``plans/NAME.parquet``.
    format
        One of ``PLAN_FORMATS``, for all files; recognised by default.
    files
        Files to read, relative to the source; all by default.
    flights
        Identifiers of the flights whose plans are kept; all by default.

    Returns
    -------
    Series
        Number of waypoints by ``flight_id``, or by callsign and departure time.

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
    folder = Path(archive).resolve() / f"{UNPACKED}{source.name}"
    with open_archives(source, folder, format) as (opened, sources):
        if files is not None:
            sources = sources[sources["file"].isin(files)]
        tables, reasons = _read_plans(find_root(opened), sources, flights)
    if not tables:
        reason = f": {reasons[0]}" if reasons else ""
        raise FileNotFoundError(f"no flight plans in {source}{reason}")
    points = pd.concat(tables, ignore_index=True)
    plans = points[[name for name in _COLUMNS if name in points]].rename(columns=_RENAMED)
    plans = plans.astype({name: "str" for name in TEXTS if name in plans})
    if "flight_level" in plans:
        plans["flight_level"] /= 100
    plans["sequence"] = _number_waypoints(plans)
    save_plans(plans, archive, source.stem)
    names = plans.reindex(columns=_PLAN).astype("str")
    by_callsign = names["callsign"] + " " + names["departure_time"]
    return plans.groupby(names["flight_id"].fillna(by_callsign)).size().rename("waypoints")


def _number_waypoints(plans: pd.DataFrame) -> pd.Series:
    """Return the sequence of waypoints where it is given, else by time, else as they come."""
    given = plans.reindex(columns=[*_PLAN, "sequence", "estimated_time"])
    plan = given.groupby(_PLAN, dropna=False, sort=False).ngroup()
    lacks = given.isna().groupby(plan).transform("any")
    times = given["estimated_time"].mask(lacks["estimated_time"])
    order = pd.DataFrame({"plan": plan, "time": times}).sort_values(["plan", "time"], kind="stable")
    position = order.groupby("plan").cumcount()  # aligned by the index
    return given["sequence"].mask(lacks["sequence"], position)


def _read_plans(
    root: Path, sources: pd.DataFrame, flights: Collection[str] | None
) -> tuple[list[pd.DataFrame], list[str]]:
    """Return the plans of flights in files, and why there are none in others."""
    options = Options(dialect=read_dialect(root), kind="plan", root=root)
    if options.dialect.names:  # files without times are no flights, but may be plans
        refused = sources["file"][sources["refused"].notna()]
        plans = [name for name in refused if holds_waypoints(root / name, options.dialect)]
        sources.loc[sources["file"].isin(plans), ["format", "refused"]] = ["generic", None]
    refused = sources[sources["refused"].notna()]
    reasons = [f"{row.file}: {row.refused}" for row in refused.itertuples()]
    tables: list[pd.DataFrame] = []
    for row in sources[sources["format"].isin(PLAN_FORMATS)].itertuples():
        try:
            for table in find_format(row.format).read(root / row.file, options):
                if flights is not None:
                    table = table[table["flight_id"].isin(flights)].copy()  # frees the others
                if len(table):
                    tables.append(_identify(table))
        except FormatError as error:
            reasons.append(f"{row.file}: {error}")
    return tables, reasons


def _identify(table: pd.DataFrame) -> pd.DataFrame:
    """Return the waypoints of which the flight is given."""
    given = table.reindex(columns=_PLAN).notna()
    is_given = given["flight_id"] | (given["callsign"] & given["departure_time"])
    if not is_given.any():
        raise FormatError(
            "no waypoint has a flight_id, or a callsign and a departure_time, which name its "
            'flight: name the first in columns.toml by flight_id = "NAME" under [import], or '
            "name the columns callsign and departure_time"
        )
    return table[is_given]
