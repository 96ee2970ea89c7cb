"""Real flights: surveillance points checked, thinned, and interpolated to one row a second."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from distributed import Client
from scipy.interpolate import PchipInterpolator

from trajlib.archive import FlightError, replacing, write_flight
from trajlib.geodesy import NAUTICAL_MILE, distance, find_airport, track
from trajlib.schema import COLUMNS, IDENTITY
from trajlib.sources.physics import add_atmosphere, add_performance
from trajlib.sources.sfomuseum import ATTRIBUTION, read_flights, read_points

__all__ = ["check_points", "import_flights", "interpolate_points", "leave_one_out", "thin_points"]

SPACING = 30  # s at least between points: closer ones come from two radars that disagree
POINTS = 20  # at least
GAP = 420  # s at most between points
REACH = 15  # km at most from the airports to the first and the last point
RATE = 6000  # ft/min at most: beyond, the level assigned was reported for the level flown
_BLOCK = 100  # flights
_MEASURED = (
    "timestamp duration gap latitude longitude altitude distance groundspeed vertical_rate track"
)
_MODELLED = "mass fuel_flow fuel thrust drag temperature pressure density"
_WRITTEN = (*IDENTITY, *_MEASURED.split(), *_MODELLED.split())
_TEXTS = (*IDENTITY, "date", "path", "problem")
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
) -> pd.DataFrame:
    """Write an archive of the flights of a source, on the cluster if there is one.

    Beside the flights, ``ORIGIN-DESTINATION/ID.csv``, the archive holds ``set_aside.parquet``
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

    Returns
    -------
    DataFrame
        One row a flight looked at, ordered by ``flight_id``: who flew, ``path`` in the archive,
        ``points`` used, and ``problem``, null where the flight was written.

    Raises
    ------
    FileNotFoundError
        When the source is not one.
    ValueError
        When the source has no flight of the city pair.
    """
    source, archive = Path(source).resolve(), Path(archive).resolve()
    flights = _select(read_flights(source), origin, destination)
    results = _map_blocks(functools.partial(_import_block, source, archive), flights)
    told = pd.DataFrame([row for rows, _ in results for row in rows])
    told = _set_repeats_aside(told.astype(dict.fromkeys(_TEXTS, "str")))
    noise = [part for _, parts in results for part in parts]
    noise = pd.concat(noise or [pd.DataFrame(columns=list(_NOISE))]).astype(_NOISE)
    for path in told.loc[told["problem"].notna(), "path"]:
        (archive / path).unlink(missing_ok=True)  # a repeat, or left by an import before
    kept = told["problem"].isna()
    _update(archive / "set_aside.parquet", told[~kept], told["path"])
    _update(archive / "noise.parquet", noise[noise["path"].isin(told["path"][kept])], told["path"])
    for licence in source.glob("LICENSE*"):
        shutil.copyfile(licence, archive / licence.name)
    (archive / "columns.toml").write_text(_DIALECT, encoding="utf-8")
    return told


def thin_points(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points that tell everything and come `SPACING` or more after the one before.

    A groundspeed of 0 is how the feed tells that there is none. Whether a point stays depends on
    those before it alone: a flight cut at any moment is thinned as the whole flight is.
    """
    points = points[points["groundspeed"] > 0].dropna()
    points = points.assign(timestamp=points["timestamp"].dt.floor("s"))
    kept, last = [], -np.inf
    for at, second in enumerate(points["timestamp"].astype("datetime64[s, UTC]").astype("int64")):
        if second >= last + SPACING:
            kept.append(at)
            last = second
    return points.iloc[kept].reset_index(drop=True)


def check_points(points: pd.DataFrame, origin: str, destination: str) -> None:
    """Raise a FlightError unless the points are a whole flight between the two airports."""
    if len(points) < POINTS:
        raise FlightError(f"fewer than {POINTS} points")
    for row, code, which in ((0, origin, "first"), (-1, destination, "last")):
        if _distance_to(points.iloc[row], code) * NAUTICAL_MILE > REACH * 1000:
            raise FlightError(f"{which} point more than {REACH} km from the airport")
    step = np.diff(_seconds(points))
    if step.max() > GAP:
        raise FlightError(f"more than {GAP} s between two points")
    if np.abs(np.diff(points["altitude"]) / step * 60).max() > RATE:
        raise FlightError(f"climbs or descends faster than {RATE} ft/min between two points")


def interpolate_points(points: pd.DataFrame) -> pd.DataFrame:
    """Return the flight at every second from its first point to its last.

    Parameters
    ----------
    points
        ``timestamp`` (whole seconds), ``latitude``, ``longitude`` [deg], ``altitude`` [ft] and
        ``groundspeed`` [kt] of 2 points or more, in order of time.

    Returns
    -------
    DataFrame
        The points' columns, each between its values at the points before and after (piecewise
        cubic, Fritsch and Butland 1984, through SciPy), ``duration``, ``gap`` (0 at a point),
        ``vertical_rate`` as the derivative, ``distance`` and ``track`` from second to second.
        The groundspeed is the reported one: that of the path would be noise.
    """
    seconds = _seconds(points)
    grid = np.arange(seconds[-1] + 1)
    curve = PchipInterpolator(seconds, _values(points))
    lat, lon, altitude, groundspeed = curve(grid).T
    lon = (lon + 180) % 360 - 180
    ends = lat[:-1], lon[:-1], lat[1:], lon[1:]
    after = np.searchsorted(seconds, grid)
    return pd.DataFrame(
        {
            "timestamp": points["timestamp"].iloc[0] + pd.to_timedelta(grid, "s"),
            "duration": grid,
            "gap": np.minimum(seconds[after] - grid, grid - seconds[np.maximum(after - 1, 0)]),
            "latitude": lat,
            "longitude": lon,
            "altitude": altitude,
            "distance": np.concatenate([[0.0], np.cumsum(distance(*ends))]),
            "groundspeed": groundspeed,
            "vertical_rate": curve.derivative()(grid)[:, 2] * 60,
            "track": _last_twice(track(*ends)),
        }
    )


def leave_one_out(points: pd.DataFrame) -> pd.DataFrame:
    """Return by how much the interpolation misses each point when it is left out.

    Of anything computed from these points this is the noise floor, taken at twice the usual
    spacing. The points of an imported flight are its rows with a ``gap`` of 0.

    Returns
    -------
    DataFrame
        One row for each point between the first and the last: ``altitude`` [ft], ``cruise``
        (level above 20,000 ft), ``span`` [s] between its neighbours, and ``miss`` [NM].
    """
    seconds, values = _seconds(points), _values(points)
    inner = np.arange(1, len(points) - 1)
    missed = np.zeros((len(inner), 2))
    for phase in range(3):  # a slope depends on the next two points, so every third may go at once
        out = inner[phase::3]
        curve = PchipInterpolator(np.delete(seconds, out), np.delete(values[:, :2], out, axis=0))
        missed[phase::3] = curve(seconds[out])
    altitude = values[:, 2]
    level = np.abs(altitude[2:] - altitude[:-2]) <= 200
    return pd.DataFrame(
        {
            "altitude": altitude[1:-1],
            "cruise": level & (altitude[1:-1] > 20_000),
            "span": seconds[2:] - seconds[:-2],
            "miss": distance(*missed.T, *values[1:-1, :2].T),
        }
    )


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
    try:
        client = Client.current()
    except ValueError:
        return [function(block) for block in blocks]
    return client.gather(client.map(function, blocks, pure=False))


def _import_block(
    source: Path, archive: Path, flights: pd.DataFrame
) -> tuple[list[dict], list[pd.DataFrame]]:
    """Import some flights; return them with path, points and problem, and the noise of each."""
    points_of = read_points(source, flights)
    told, noise = [], []
    for flight in flights.drop(columns="file", errors="ignore").to_dict("records"):
        path = f"{flight['origin']}-{flight['destination']}/{flight['flight_id']}.csv"
        told.append({**flight, "path": path, "points": 0})
        if isinstance(flight["problem"], str):
            continue
        try:
            points = thin_points(points_of(flight["flight_id"]))
            told[-1]["points"] = len(points)
            check_points(points, flight["origin"], flight["destination"])
        except ValueError as error:  # a FlightError, or an airport that no table knows
            told[-1]["problem"] = str(error)
            continue
        _write(points, flight, archive / path)
        noise.append(leave_one_out(points).assign(path=path)[list(_NOISE)])
    return told, noise


def _write(points: pd.DataFrame, flight: dict, path: Path) -> None:
    df = add_atmosphere(interpolate_points(points))
    if isinstance(flight["aircraft_type"], str):
        df = add_performance(df, flight["aircraft_type"])
    df = df.assign(**{name: flight[name] for name in IDENTITY})
    columns = [name for name in COLUMNS if name in _WRITTEN]
    path.parent.mkdir(parents=True, exist_ok=True)
    # the columns of every file are the same, empty where OpenAP does not know the type
    write_flight(df.reindex(columns=columns), path)


def _set_repeats_aside(told: pd.DataFrame) -> pd.DataFrame:
    usable = told[told["problem"].isna()]
    repeated = usable.duplicated(["callsign", "date", "origin", "destination"])
    reason = "repeats a flight (same callsign, date and event)"
    return told.assign(
        problem=told["problem"].mask(repeated.reindex(told.index, fill_value=False), reason)
    )


def _update(file: Path, new: pd.DataFrame, paths: pd.Series) -> None:
    """Write a table of the archive; rows of flights that this import did not look at stay."""
    if file.exists():
        old = pd.read_parquet(file)
        new = pd.concat([old[~old["path"].isin(paths)], new])
    with replacing(file) as temporary:
        new.sort_values("path", kind="stable").to_parquet(temporary, index=False)


def _values(points: pd.DataFrame) -> np.ndarray:
    values = points[["latitude", "longitude", "altitude", "groundspeed"]].to_numpy(float, copy=True)
    values[:, 1] = np.unwrap(values[:, 1], period=360)
    return values


def _seconds(points: pd.DataFrame) -> np.ndarray:
    return (points["timestamp"] - points["timestamp"].iloc[0]).dt.total_seconds().to_numpy()


def _distance_to(point: pd.Series, code: str) -> float:
    airport = find_airport(code)
    return distance(point["latitude"], point["longitude"], airport.latitude, airport.longitude)


def _last_twice(values: np.ndarray) -> np.ndarray:
    return np.append(values, values[-1])
