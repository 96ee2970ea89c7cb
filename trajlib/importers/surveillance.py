"""Real flights: an archive made of surveillance points."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.reading import write_flight
from trajlib.archive.storage import replacing
from trajlib.cluster import current_client, gather
from trajlib.importers.points import check_points, interpolate_points, leave_one_out, thin_points
from trajlib.importers.sfomuseum import ATTRIBUTION, read_flights, read_points
from trajlib.schema import COLUMNS, IDENTITY
from trajlib.simulation.performance import add_atmosphere, add_performance

__all__ = ["import_flights"]

_BLOCK = 100  # flights
_MEASURED = (
    "timestamp duration gap latitude longitude altitude distance groundspeed vertical_rate track"
)
_MODELLED = "mass fuel_flow fuel thrust drag temperature pressure density"
_WRITTEN = (*IDENTITY, *_MEASURED.split(), *_MODELLED.split())
_PLACE = ("origin", "destination", "flight_id")
_TEXTS = (*IDENTITY, "date", "path", "rejected")
_NOISE = {"path": "str", "altitude": float, "cruise": bool, "span": float, "miss": float}
_DIALECT = f"""\
title = "Surveillance of flights to and from San Francisco"
source = "{ATTRIBUTION}"
simulated = false
modelled = {_MODELLED.split()}
"""


def import_flights(
    source: str | Path,
    archive: str | Path,
    *,
    origin: str | None = None,
    destination: str | None = None,
    measured_only: bool = False,
) -> pd.DataFrame:
    """Write an archive of the flights of a source, on the cluster if there is one.

    Beside the flights, ``ORIGIN-DESTINATION/ID.csv``, the archive holds ``rejected.parquet``
    (the flights that cannot be used, each with its reason), ``noise.parquet`` (`leave_one_out`
    of every flight), the licence, and ``columns.toml``, which is written last.

    Parameters
    ----------
    source
        Folder with ``flights.parquet`` and ``points.parquet``, or a clone of a month.
    archive
        Folder to write to. Flights that it already holds are replaced or stay.
    origin, destination
        Codes as in the source (IATA); all flights by default.
    measured_only
        Write the points and no second between them: a sixtieth of the room, enough for what
        flights tell of traffic and wind, too little for trajectories.

    Returns
    -------
    DataFrame
        One row a flight looked at, ordered by ``flight_id``: who flew, ``path`` in the archive,
        ``points`` used, and ``rejected``, null where the flight was written.

    Raises
    ------
    FileNotFoundError
        When the source is not one.
    ValueError
        When the source has no flight of the city pair, or the archive's flights are simulated.
    """
    source, archive = Path(source).resolve(), Path(archive).resolve()
    if read_dialect(archive).simulated:
        raise ValueError(f"the flights of {archive} are simulated: real ones need another folder")
    flights = _select(read_flights(source), origin, destination)
    results = _map_blocks(functools.partial(_import_block, source, archive, measured_only), flights)
    told = pd.DataFrame([row for rows, _ in results for row in rows])
    told = _reject_repeats(told.astype(dict.fromkeys(_TEXTS, "str")))
    noise = [part for _, parts in results for part in parts]
    noise = pd.concat(noise or [pd.DataFrame(columns=list(_NOISE))]).astype(_NOISE)
    for path in told.loc[told["rejected"].notna(), "path"]:
        (archive / path).unlink(missing_ok=True)  # a repeat, or left by an import before
    kept = told["rejected"].isna()
    _update(archive / "rejected.parquet", told[~kept], told["path"])
    _update(archive / "noise.parquet", noise[noise["path"].isin(told["path"][kept])], told["path"])
    for licence in source.glob("LICENSE*"):
        shutil.copyfile(licence, archive / licence.name)
    (archive / "columns.toml").write_text(_DIALECT, encoding="utf-8")
    return told


def _select(flights: pd.DataFrame, origin: str | None, destination: str | None) -> pd.DataFrame:
    wanted = flights[
        ((origin is None) | (flights["origin"] == origin))
        & ((destination is None) | (flights["destination"] == destination))
    ]
    if wanted.empty:
        pairs = flights.groupby(["origin", "destination"]).size().nlargest(3)
        raise ValueError(
            f"no flight {origin or '?'} → {destination or '?'} among {len(flights):,}; the pairs "
            f"flown most are {', '.join(f'{o} → {d} ({n})' for (o, d), n in pairs.items())}"
        )
    return wanted


def _map_blocks(function: Callable, flights: pd.DataFrame) -> list:
    blocks = [flights.iloc[at : at + _BLOCK] for at in range(0, len(flights), _BLOCK)]
    client = current_client()
    if client is None:
        return [function(block) for block in blocks]
    return gather(client, client.map(function, blocks, pure=False))


def _import_block(
    source: Path, archive: Path, measured_only: bool, flights: pd.DataFrame
) -> tuple[list[dict], list[pd.DataFrame]]:
    """Import some flights; return them with path, points and rejected, and the noise of each."""
    points_of = read_points(source, flights)
    told, noise = [], []
    for flight in flights.drop(columns="file", errors="ignore").to_dict("records"):
        # a source may name an airport ../.., and must write nowhere but into the archive
        origin, destination, number = (quote(str(flight[name]), safe="?") for name in _PLACE)
        path = f"{origin}-{destination}/{number}.csv"
        told.append({**flight, "path": path, "points": 0})
        if isinstance(flight["rejected"], str):
            continue
        try:
            points = thin_points(points_of(flight["flight_id"]))
            told[-1]["points"] = len(points)
            check_points(points, flight["origin"], flight["destination"])
        except ValueError as error:  # a FlightError, or an airport that no table knows
            told[-1]["rejected"] = str(error)
            continue
        _write(points, flight, archive / path, measured_only)
        noise.append(leave_one_out(points).assign(path=path)[list(_NOISE)])
    return told, noise


def _write(points: pd.DataFrame, flight: dict, path: Path, measured_only: bool) -> None:
    df = interpolate_points(points)
    df = df[df["gap"] == 0] if measured_only else add_atmosphere(df)
    if not measured_only and isinstance(flight["aircraft_type"], str):
        df = add_performance(df, flight["aircraft_type"])
    df = df.assign(**{name: flight[name] for name in IDENTITY})
    columns = [name for name in COLUMNS if name in _WRITTEN]
    path.parent.mkdir(parents=True, exist_ok=True)
    # the columns of every file are the same, empty where OpenAP does not know the type
    write_flight(df.reindex(columns=columns), path)


def _reject_repeats(told: pd.DataFrame) -> pd.DataFrame:
    usable = told[told["rejected"].isna()]
    repeated = usable.duplicated(["callsign", "date", "origin", "destination"])
    reason = "repeats a flight (same callsign, date and event)"
    return told.assign(
        rejected=told["rejected"].mask(repeated.reindex(told.index, fill_value=False), reason)
    )


def _update(file: Path, new: pd.DataFrame, paths: pd.Series) -> None:
    """Write a table of the archive; rows of flights that this import did not look at stay."""
    if file.exists():
        old = pd.read_parquet(file)
        new = pd.concat([old[~old["path"].isin(paths)], new])
    with replacing(file) as temporary:
        new.sort_values("path", kind="stable").to_parquet(temporary, index=False)
