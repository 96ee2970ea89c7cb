"""Altitude and time along a path, from OpenAP's speeds, thrust and drag, for simulated flights."""

import numpy as np
import pandas as pd
from openap import aero
from scipy.integrate import cumulative_trapezoid

from trajlib.geodesy import NAUTICAL_MILE, find_airport, track
from trajlib.simulation.performance import aircraft_models, full_thrust, standard
from trajlib.simulation.procedures import RUNWAYS, Path
from trajlib.simulation.weather import Weather, sample_weather

_STEP = 0.1  # NM between the points of a profile
_FEET = NAUTICAL_MILE / aero.ft  # ft in a nautical mile
_GLIDE = np.tan(np.radians(3.0)) * _FEET  # ft/NM
_APPROACH = 265.0  # ft/NM, from 10,000 ft to the glide path
_INTERCEPT = 3000.0  # height above the runway [ft] of the level segment to the glide path
_MISSED = 1.5  # NM from the threshold at which a missed approach begins


def plan_profile(scenario: dict, weather: Weather, path: Path) -> pd.DataFrame:
    """Return ``seconds`` since lift-off and ``altitude`` [ft] at points ``along`` a path [NM].

    Altitude is the lower of the climb and the descent, up to the cleared level. Both follow from
    OpenAP's thrust and drag at the flight's speeds and mass, the time from speeds and wind.
    """
    along = np.append(np.arange(0, path.along[-1], _STEP), path.along[-1])
    to_go = _to_go(along, path)
    rising = _rising(scenario, weather, along)
    falling = _falling(scenario, weather, to_go, 600 + 8.5 * path.along[-1])
    if path.missed is not None:
        falling = np.minimum(falling, _circuit(along, falling, path.missed))
    level = _highest(np.minimum(rising, falling), scenario["level"])
    altitude = np.minimum(np.minimum(rising, falling), level)
    climbing = np.cumsum((rising >= falling) | (rising >= level)) == 0
    descending = ~climbing & (falling < level)
    mach = np.select(
        [climbing, descending],
        [_climb_mach(scenario, altitude), _descent_mach(scenario, altitude, to_go)],
        np.minimum(_mach(scenario["climb_cas"], altitude), scenario["cruise_mach"]),
    )
    mach = np.minimum(mach, _limits(along, altitude, path))
    seconds = _fly(scenario, weather, path, along, altitude, mach, climbing)
    return pd.DataFrame({"along": along, "seconds": seconds, "altitude": altitude})


def _highest(altitude: np.ndarray, cleared: float) -> float:
    """Return the highest level [ft], as cleared or lower, that leaves 20 NM to cruise."""
    levels = np.arange(cleared, 3000, -2000)
    return next(level for level in levels if np.sum(altitude >= level) * _STEP > 20)


def _to_go(along: np.ndarray, path: Path) -> np.ndarray:
    """Return the planned distance to touchdown [NM].

    It stays constant where controllers lengthen the path, so that the descent stops there.
    """
    end = np.full(along.size, along[-1])
    if path.missed is not None:
        end[along < path.missed - _MISSED] = path.missed + 0.15
    added = sum(np.clip(stop - along, 0, stop - start) for start, stop in path.stretches)
    return end - along - added


def _freeze(along: np.ndarray, start: float, length: float) -> np.ndarray:
    return along - np.clip(along - start, 0, length)


def _rising(scenario: dict, weather: Weather, along: np.ndarray) -> np.ndarray:
    """Return the altitude [ft] of a climb to the cleared level."""
    air = _column(scenario, weather, "origin", "departure", 0.0)
    altitude = air["altitude"].to_numpy()
    usual = _climb_mach(scenario, altitude) * _sound(altitude)
    models, mass = aircraft_models(scenario["aircraft_type"]), scenario["mass_initial"] * 0.99
    thrust = scenario["climb_thrust"] * models.thrust.climb(usual, altitude, 1500.0)
    thrust = np.minimum(thrust, full_thrust(models, usual, altitude, 1500.0))
    excess = (thrust - models.drag.clean(mass, usual, altitude)) / (mass * aero.g0)
    gradient = np.clip(_gradient(air, usual, excess), 60, 1500)
    flown = cumulative_trapezoid(1 / gradient, air["geoaltitude"].to_numpy(), initial=0)
    start = np.interp(scenario["climb_level"], altitude, flown)
    return np.interp(_freeze(along, start, scenario["climb_level_length"]), flown, altitude)


def _falling(scenario: dict, weather: Weather, to_go: np.ndarray, later: float) -> np.ndarray:
    """Return the altitude [ft] of a descent from the cleared level."""
    air = _column(scenario, weather, "destination", "arrival", later)
    altitude = air["altitude"].to_numpy()
    usual = _descent_mach(scenario, altitude, np.full(altitude.size, 99.0)) * _sound(altitude)
    models, mass = aircraft_models(scenario["aircraft_type"]), scenario["mass_initial"] * 0.96
    thrust = scenario["descent_thrust"] * models.thrust.descent_idle(usual, altitude)
    excess = (models.drag.clean(mass, usual, altitude) - thrust) / (mass * aero.g0)
    height = (air["geoaltitude"] - air["geoaltitude"].iloc[0]).to_numpy()
    low = [height < _INTERCEPT, altitude < 1e4]
    gradient = np.select(low, [_GLIDE, _APPROACH], _gradient(air, usual, excess))
    flown = cumulative_trapezoid(1 / np.clip(gradient, 150, 500), height, initial=0)
    for level, length in (
        (altitude[0] + _INTERCEPT, 1.5),
        (scenario["descent_level"], scenario["descent_level_length"]),
    ):
        to_go = _freeze(to_go, np.interp(level, altitude, flown), length)
    return np.interp(to_go, flown, altitude)


def _column(scenario: dict, weather: Weather, end: str, use: str, later: float) -> pd.DataFrame:
    """Return the air over an airport by pressure altitude, from the runway to the cleared level."""
    seconds = scenario["takeoff"].timestamp() + later
    position = find_airport(scenario[end]).position
    elevation = RUNWAYS[scenario[end], scenario[f"runway_{use}"]].elevation
    height = elevation + (35.0 if end == "origin" else 10.0)  # of the first and last samples
    foot = height
    for _ in range(2):  # pressure altitude from height; the second round changes a few feet
        foot += height - sample_weather(weather, seconds, *position, foot)["geoaltitude"].iloc[0]
    altitude = np.append(np.arange(foot, scenario["level"] - 50, 250.0), scenario["level"])
    air = sample_weather(weather, seconds, *position, altitude)
    origin, destination = find_airport(scenario["origin"]), find_airport(scenario["destination"])
    tail, _ = _along_across(air, track(*origin.position, *destination.position))
    return air.assign(altitude=altitude, tail=tail)


def _gradient(air: pd.DataFrame, usual: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Return the gradient over ground [ft/NM], from the excess force over weight.

    Some of the excess goes into speed, as true airspeed changes with height.
    """
    airspeed = usual * np.sqrt(1 + air["temperature_departure"] / standard(air["altitude"])[0])
    change = np.gradient(airspeed * aero.kts, air["geoaltitude"] * aero.ft)
    excess = excess / (1 + airspeed * aero.kts / aero.g0 * change)
    return (excess * _FEET * airspeed / (airspeed + air["tail"])).to_numpy()


def _climb_mach(scenario: dict, altitude: np.ndarray) -> np.ndarray:
    """Return the Mach number of the climb: initial speed, 250 kt below 10,000 ft, climb speed."""
    height = altitude - RUNWAYS[scenario["origin"], scenario["runway_departure"]].elevation
    initial, final = scenario["initial_cas"], scenario["climb_cas"]
    leaving = np.interp(height, [0, 1500, 5000], [initial, initial + 10, final])
    calibrated = np.minimum(leaving, np.interp(altitude, [1.0e4, 1.3e4], [250, final]))
    return np.minimum(_mach(calibrated, altitude), scenario["climb_mach"])


def _descent_mach(scenario: dict, altitude: np.ndarray, to_go: np.ndarray) -> np.ndarray:
    """Return the Mach number of the descent: its speed, 250 kt below 10,000 ft, approach limits."""
    planned = np.interp(altitude, [1.0e4, 1.2e4], [250, scenario["descent_cas"]])
    limits = [scenario["final_cas"], 160, 180, 210, 240, 250, 400]
    distances = [3.0, 5.5, 9.5, 15, 25, 35, 36]
    limit = np.interp(to_go / scenario["approach_pace"], distances, limits)
    return np.minimum(_mach(np.minimum(planned, limit), altitude), scenario["descent_mach"])


def _limits(along: np.ndarray, altitude: np.ndarray, path: Path) -> np.ndarray:
    """Return the largest Mach number in holdings and circuits; elsewhere no limit."""
    calibrated = np.full(along.size, 400.0)
    for start, stop in path.stretches[:-1]:
        calibrated[along > start - 3] = 220
        calibrated[along > stop] = 250
    if path.missed is not None:
        calibrated[along > path.missed - _MISSED] = 190
    return _mach(calibrated, altitude)


def _circuit(along: np.ndarray, falling: np.ndarray, missed: float) -> np.ndarray:
    """Return the altitude [ft] of a missed approach and its circuit; no limit before it."""
    start = missed - _MISSED
    lowest = falling[np.searchsorted(along, start) - 1]
    climb = lowest + np.clip(450 * (along - start), 0, _INTERCEPT)
    return np.where(along < start, np.inf, climb)


def _fly(
    scenario: dict,
    weather: Weather,
    path: Path,
    along: np.ndarray,
    altitude: np.ndarray,
    mach: np.ndarray,
    climbing: np.ndarray,
) -> np.ndarray:
    """Return the seconds since lift-off at which the points of a path are reached."""
    points = np.interp(along, path.along, path.points) * NAUTICAL_MILE
    lon, lat = path.projection(points.real, points.imag, inverse=True)
    usual = mach * _sound(altitude)
    guess = cumulative_trapezoid(3600 / usual, along, initial=0)
    air = sample_weather(weather, scenario["takeoff"].timestamp() + guess, lat, lon, altitude)
    airspeed = usual * np.sqrt(1 + air["temperature_departure"] / standard(altitude)[0])
    gain = np.where(climbing, 1.5, np.where(altitude > 2e4, 0.12, 0.4))  # m/s²
    airspeed = _accelerate(airspeed.to_numpy(), along, gain)
    course = track(lat[:-1], lon[:-1], lat[1:], lon[1:])
    tail, cross = _along_across(air, np.append(course, course[-1]))
    groundspeed = np.sqrt(airspeed**2 - cross**2) + tail
    return cumulative_trapezoid(3600 / groundspeed, along, initial=0)


def _accelerate(airspeed: np.ndarray, along: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return the highest airspeeds [kt] up to given ones with limited accelerations.

    Speed increases by ``gain`` [m/s²] at most and decreases by 0.35 m/s². For v²/2 that is a
    slope along the path, so running minima give the result.
    """
    energy = (airspeed * aero.kts) ** 2 / 2
    metres = np.diff(along) * NAUTICAL_MILE
    gained = np.append(0.0, np.cumsum((gain[1:] + gain[:-1]) / 2 * metres))
    energy = np.minimum.accumulate(energy - gained) + gained
    lost = 0.35 * along * NAUTICAL_MILE
    energy = np.minimum.accumulate((energy + lost)[::-1])[::-1] - lost
    return np.sqrt(2 * energy) / aero.kts


def _along_across(air: pd.DataFrame, course: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    east, north = np.sin(np.radians(course)), np.cos(np.radians(course))
    wind_u, wind_v = air["wind_u"].to_numpy(), air["wind_v"].to_numpy()
    return wind_u * east + wind_v * north, wind_u * north - wind_v * east


def _mach(calibrated: np.ndarray, altitude: np.ndarray) -> np.ndarray:
    return aero.cas2mach(np.asarray(calibrated) * aero.kts, altitude * aero.ft)


def _sound(altitude: np.ndarray) -> np.ndarray:
    return aero.vsound(altitude * aero.ft) / aero.kts
