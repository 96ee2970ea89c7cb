"""Simulate an archive: flights of Spanish city pairs, January to May 2016, at 1 s."""

from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from openap import aero

from trajlib.archive.plans import FOLDER, save_plans
from trajlib.archive.reading import write_flight
from trajlib.cluster import run_blocks
from trajlib.geodesy import NAUTICAL_MILE, along_cross_track, distance
from trajlib.schema import COLUMNS, IDENTITY
from trajlib.simulation.filed_plans import file_plans
from trajlib.simulation.performance import add_airspeeds, add_atmosphere, add_performance
from trajlib.simulation.procedures import lay_path
from trajlib.simulation.profiles import plan_profile
from trajlib.simulation.scenario import draw_scenario
from trajlib.simulation.timetable import draw_timetable
from trajlib.simulation.weather import Weather, draw_weather, sample_weather

_BATCH = 10  # flights per task
_REPLICATED = 3  # one flight in three has a replicate
_FRACTIONS = np.arange(5, 100, 5) / 100  # of the duration
_DIALECT = """\
title = "Simulated flights of Spanish city pairs, January to May 2016"
source = "trajlib simulate --flights {flights} --seed {seed}, on OpenAP's models of performance"
simulated = true
"""


def simulate_archive(archive: str | Path, *, flights: int, seed: int) -> pd.DataFrame:
    """Write an archive of simulated flights; the same seed gives the same bytes.

    The filed plans are in its folder ``plans``.

    Parameters
    ----------
    archive
        Folder; flights of an earlier simulation in it are replaced.
    flights
        Number of flights; four in five are from Madrid to Barcelona.
    seed
        Seed of timetable, weather and scenarios.

    Returns
    -------
    DataFrame
        The scenario of every flight, see `draw_scenario`, also saved in the archive's
        ``ground_truth.parquet``: only for scoring predictions, never for making them.
        ``ceiling.parquet`` has for every pair and fraction of the duration the variance of
        position [NM²], altitude [ft²], distance [NM²] and time [s²] that remains when everything
        knowable at take-off is known. A predictor with a smaller error uses later information.

    Raises
    ------
    ValueError
        When ``flights`` is below 1, or the folder has CSVs not written by a simulation.
    """
    if flights < 1:
        raise ValueError(f"{flights} flights to simulate, expected 1 or more")
    archive = Path(archive)
    _clear(archive)
    timetable, weather = draw_timetable(flights, seed), draw_weather(seed)
    ground_truth = draw_scenario(timetable, weather, seed)
    replicates = draw_scenario(timetable, weather, seed, replicate=1).iloc[::_REPLICATED]
    for pair in {Path(path).parent for path in ground_truth.index}:
        (archive / pair).mkdir(parents=True, exist_ok=True)
    ground_truth.to_parquet(archive / "ground_truth.parquet")
    save_plans(file_plans(ground_truth, seed), archive)
    write = partial(_write_batch, replicates=replicates, archive=archive.resolve(), seed=seed)
    differences = pd.concat(chain.from_iterable(run_blocks(write, ground_truth, _BATCH)))
    ceiling = differences.groupby(level=list(differences.index.names)).mean()
    ceiling.to_parquet(archive / "ceiling.parquet")
    (archive / "columns.toml").write_text(_DIALECT.format(flights=flights, seed=seed))
    return ground_truth


def fly(scenario: dict, weather: Weather) -> pd.DataFrame:
    """Return the flight of a scenario in the weather, with all columns at 1 s.

    Positions and altitudes come from the planned path and profile, smoothed over 15 s as aircraft
    roll and pitch slowly. All other columns are derived from them, and so are consistent.

    >>> weather = draw_weather(1)
    >>> scenario = draw_scenario(draw_timetable(1, seed=1), weather, seed=1).iloc[0].to_dict()
    >>> 40 < len(fly(scenario, weather)) / 60 < 75
    True
    """
    df = _kinematics(scenario, weather)
    seconds = scenario["takeoff"].timestamp() + df["duration"]
    air = sample_weather(weather, seconds, df["latitude"], df["longitude"], df["altitude"])
    df = _airspeed(df.join(air))
    df = add_airspeeds(add_atmosphere(df))
    df = add_performance(df, scenario["aircraft_type"], mass_initial=scenario["mass_initial"])
    df = df.assign(**{name: scenario[name] for name in IDENTITY})
    return df[[name for name in COLUMNS if name in df]]


def _kinematics(scenario: dict, weather: Weather) -> pd.DataFrame:
    path = lay_path(scenario)
    plan = plan_profile(scenario, weather, path)
    seconds = np.arange(plan["seconds"].iloc[-1])
    along = np.interp(seconds, plan["seconds"], plan["along"])
    points = _smooth(np.interp(along, path.along, path.points)) * NAUTICAL_MILE
    lon, lat = path.projection(points.real, points.imag, inverse=True)
    north, east = along_cross_track(lat[1:], lon[1:], lat[:-1], lon[:-1], 0.0)
    steps, course = np.hypot(north, east), np.unwrap(np.arctan2(east, north))
    altitude = _smooth(np.interp(seconds, plan["seconds"], plan["altitude"]))
    return pd.DataFrame(
        {
            "timestamp": scenario["takeoff"] + pd.to_timedelta(seconds, "s"),
            "duration": seconds,
            "latitude": lat,
            "longitude": lon,
            "altitude": altitude,
            "distance": np.concatenate([[0.0], np.cumsum(steps)]),
            "groundspeed": 3600 * _centre(steps),
            "vertical_rate": 60 * np.gradient(altitude),
            "track": np.degrees(_centre(course)) % 360,
        }
    )


def _airspeed(df: pd.DataFrame) -> pd.DataFrame:
    """Add airspeed, heading and roll, by the triangle of winds and a coordinated turn."""
    course = np.radians(df["track"].to_numpy())
    speed = df["groundspeed"].to_numpy()
    east = speed * np.sin(course) - df["wind_u"].to_numpy()
    north = speed * np.cos(course) - df["wind_v"].to_numpy()
    climb = np.gradient(df["geoaltitude"]) * aero.ft / aero.kts
    heading = np.unwrap(np.arctan2(east, north))
    airspeed = np.sqrt(east**2 + north**2 + climb**2)
    turn_rate = np.gradient(heading)
    roll = np.arctan(turn_rate * airspeed * aero.kts / aero.g0)
    return df.assign(
        true_airspeed=airspeed,
        heading=np.degrees(heading) % 360,
        turn_rate=np.degrees(turn_rate),
        roll=np.degrees(roll),
        flight_path_angle=np.degrees(np.arctan2(climb, speed)),
    )


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return values averaged over 15 s; the first and the last do not change."""
    window = np.hanning(17)[1:-1]
    padded = np.pad(values, window.size // 2, mode="reflect", reflect_type="odd")
    return np.convolve(padded, window / window.sum(), "valid")


def _centre(steps: np.ndarray) -> np.ndarray:
    """Return values at the samples from values of the steps between them."""
    return np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])


def _write_batch(
    ground_truth: pd.DataFrame, replicates: pd.DataFrame, archive: Path, seed: int
) -> list[pd.DataFrame]:
    weather, differences = draw_weather(seed), []
    for path, scenario in zip(ground_truth.index, ground_truth.to_dict("records"), strict=True):
        flight = fly(scenario, weather)
        write_flight(flight, archive / path)
        if path in replicates.index:
            replicate = _kinematics(replicates.loc[path].to_dict(), weather)
            differences.append(_compare(scenario, flight, replicate))
    return differences


def _compare(scenario: dict, flight: pd.DataFrame, replicate: pd.DataFrame) -> pd.DataFrame:
    """Return half the squared differences of two replicates, whose mean is their variance."""
    one, other = _at_fractions(flight), _at_fractions(replicate)
    squares = pd.DataFrame(
        {
            "horizontal": distance(
                one["latitude"], one["longitude"], other["latitude"], other["longitude"]
            ),
            "altitude": one["altitude"] - other["altitude"],
            "distance": one["distance"] - other["distance"],
            "time": one["duration"] - other["duration"],
        }
    )
    keys = [[scenario["origin"]], [scenario["destination"]], _FRACTIONS]
    names = ["origin", "destination", "fraction"]
    return (squares**2 / 2).set_axis(pd.MultiIndex.from_product(keys, names=names))


def _at_fractions(df: pd.DataFrame) -> pd.DataFrame:
    times = _FRACTIONS * df["duration"].iloc[-1]
    names = ("latitude", "longitude", "altitude", "distance", "duration")
    return pd.DataFrame({name: np.interp(times, df["duration"], df[name]) for name in names})


def _clear(archive: Path) -> None:
    """Remove the flights of an earlier simulation; refuse a folder with any others."""
    earlier = archive / "ground_truth.parquet"
    if earlier.exists():
        flights = pd.read_parquet(earlier, columns=[]).index
        for path in ("columns.toml", f"{FOLDER}/plans.parquet", *flights):
            (archive / path).unlink(missing_ok=True)
    for stray in archive.glob("**/*.csv*"):
        raise ValueError(
            f"{archive} holds {stray.name}, which no simulation wrote; choose a new folder"
        )
