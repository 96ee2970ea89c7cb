"""Physics of simulated flights: atmosphere, airspeeds, and OpenAP's performance."""

import warnings
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from openap import Drag, FuelFlow, Thrust, aero
from scipy.integrate import cumulative_trapezoid

warnings.filterwarnings("ignore", ".*using synonym", UserWarning)  # one for each synonym


class Models(NamedTuple):
    """OpenAP's models of one aircraft type, and its wing area [m²]."""

    thrust: Thrust
    drag: Drag
    fuel: FuelFlow
    wing_area: float


@cache
def aircraft_models(aircraft_type: str) -> Models:
    """Return OpenAP's models of an ICAO type or of its nearest synonym.

    >>> aircraft_models("A320").wing_area
    124
    """
    thrust = Thrust(aircraft_type, use_synonym=True)
    drag = Drag(aircraft_type, use_synonym=True)
    fuel = FuelFlow(aircraft_type, use_synonym=True)
    return Models(thrust, drag, fuel, drag.aircraft["wing"]["area"])


def standard(altitude: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return temperature [K], pressure [Pa] and density [kg/m³] of the standard atmosphere.

    ``altitude`` is pressure altitude [ft], of any shape. Source: ICAO Doc 7488, through OpenAP.

    >>> [float(f"{value:.5g}") for value in standard(35000)]
    [218.81, 23836.0, 0.3795]
    """
    pressure, density, temperature = aero.atmos(np.asarray(altitude, float) * aero.ft)
    return temperature, pressure, density


def add_atmosphere(df: pd.DataFrame) -> pd.DataFrame:
    """Return the flight with ``temperature``, ``pressure`` and ``density`` at its altitude.

    They are those of the standard atmosphere, plus ``temperature_departure`` [K] if the flight has
    it: pressure depends only on pressure altitude, not on the temperature of the day.

    >>> flight = pd.DataFrame({"altitude": [0.0], "temperature_departure": [10.0]})
    >>> add_atmosphere(flight).round(3).loc[0, ["temperature", "density"]].tolist()
    [298.15, 1.184]
    """
    temperature, pressure, _ = standard(df["altitude"])
    temperature = temperature + df.get("temperature_departure", 0.0)
    density = pressure / (aero.R * temperature)
    return df.assign(temperature=temperature, pressure=pressure, density=density)


def add_airspeeds(df: pd.DataFrame) -> pd.DataFrame:
    """Return the flight with Mach number, calibrated airspeed, dynamic pressure, speed of sound.

    They follow from ``true_airspeed``, ``temperature``, ``density`` and ``altitude``. Calibrated
    airspeed depends on Mach number and pressure alone, hence not on the day's temperature.

    >>> flight = pd.DataFrame({"altitude": [35_000.0], "true_airspeed": [450.0]})
    >>> add_airspeeds(add_atmosphere(flight)).round(2)[["mach", "calibrated_airspeed"]]
       mach  calibrated_airspeed
    0  0.78               264.64
    """
    speed, altitude = (df[name].to_numpy(float) for name in ("true_airspeed", "altitude"))
    speed = speed * aero.kts
    sound = np.sqrt(aero.gamma * aero.R * df["temperature"].to_numpy(float))
    mach = speed / sound
    return df.assign(
        mach=mach,
        calibrated_airspeed=aero.mach2cas(mach, altitude * aero.ft) / aero.kts,
        dynamic_pressure=df["density"].to_numpy(float) * speed**2 / 2,
        speed_of_sound=sound / aero.kts,
    )


def add_performance(df: pd.DataFrame, aircraft_type: str, mass_initial: float) -> pd.DataFrame:
    """Return the flight with OpenAP's estimates of its forces, fuel and mass.

    Parameters
    ----------
    df
        One flight: ``timestamp``, ``altitude``, ``vertical_rate``, ``true_airspeed``, ``roll`` and
        ``temperature``.
    aircraft_type
        ICAO type designator, for which OpenAP has a model or a synonym.
    mass_initial
        Mass at the first sample [kg].

    Returns
    -------
    DataFrame
        With ``thrust drag fuel_flow fuel mass lift load_factor lift_coefficient
        drag_coefficient``. Thrust follows from the motion, between idle and full thrust; excess
        idle thrust is balanced by drag, as of speed brakes. Source: Sun, Hoekstra and Ellerbroek
        (2020), OpenAP.

    >>> times = pd.to_datetime(["2016-01-01T06:00Z", "2016-01-01T07:00Z"])
    >>> level = pd.DataFrame({"timestamp": times, "altitude": 35e3, "vertical_rate": 0.0})
    >>> level = add_atmosphere(level.assign(true_airspeed=450.0, roll=0.0))
    >>> add_performance(level, "A320", mass_initial=65_000)["fuel"].round(-2).tolist()
    [0.0, 2700.0]
    """
    models = aircraft_models(aircraft_type)
    motion = _motion(df, models)
    mass = np.full(len(df), mass_initial)
    for _ in range(3):  # each pass multiplies the error by the share of fuel in the mass, 3 %
        forces = _forces(models, motion, mass)
        fuel = cumulative_trapezoid(forces["fuel_flow"], motion["seconds"], initial=0)
        mass = mass_initial - fuel
    return df.assign(**forces, fuel=fuel, mass=mass)


def _motion(df: pd.DataFrame, models: Models) -> dict[str, np.ndarray]:
    """Return the motion in SI units and the limits of thrust, which do not depend on the mass.

    OpenAP's temperature shift also changes the pressure. The same Mach number at the same
    pressure altitude has the same dynamic pressure on any day, so OpenAP gets the speeds [kt,
    ft/min] of the standard day.
    """
    altitude = df["altitude"].to_numpy(float)
    speed = df["true_airspeed"].to_numpy(float) * aero.kts
    temperature = standard(altitude)[0]
    ratio = df["temperature"].to_numpy(float) / temperature
    climb = df["vertical_rate"].to_numpy(float) * aero.fpm * ratio
    seconds = (df["timestamp"] - df["timestamp"].iloc[0]).dt.total_seconds().to_numpy()
    airspeed = speed / np.sqrt(ratio) / aero.kts
    standard_climb = climb / np.sqrt(ratio) / aero.fpm
    return {
        "seconds": seconds,
        "altitude": altitude,
        "acceleration": np.gradient(speed, seconds),
        "climb_angle": np.arctan2(climb, speed),
        "load_factor": 1 / np.cos(np.radians(df["roll"].to_numpy(float))),
        "airspeed": airspeed,
        "climb": standard_climb,
        "idle": models.thrust.descent_idle(airspeed, altitude),
        "full": full_thrust(models, airspeed, altitude, standard_climb),
    }


def _forces(
    models: Models, motion: dict[str, np.ndarray], mass: np.ndarray
) -> dict[str, np.ndarray]:
    altitude, airspeed, angle = motion["altitude"], motion["airspeed"], motion["climb_angle"]
    lift = mass * aero.g0 * np.cos(angle) * motion["load_factor"]
    push = standard(altitude)[2] * (airspeed * aero.kts) ** 2 / 2 * models.wing_area
    drag = _drag(models, motion, mass * motion["load_factor"], lift / push)
    needed = drag + mass * (aero.g0 * np.sin(angle) + motion["acceleration"])
    thrust = np.clip(needed, motion["idle"], motion["full"])
    drag = drag + np.maximum(motion["idle"] - needed, 0)  # speed brakes
    return {
        "thrust": thrust,
        "drag": drag,
        "fuel_flow": models.fuel.at_thrust(thrust),
        "lift": lift,
        "load_factor": lift / (mass * aero.g0),
        "lift_coefficient": lift / push,
        "drag_coefficient": drag / push,
    }


def full_thrust(
    models: Models, airspeed: np.ndarray, altitude: np.ndarray, climb: np.ndarray | float
) -> np.ndarray:
    """Return the highest thrust [N] at an airspeed [kt], altitude [ft] and climb rate [ft/min].

    It is the take-off rating, or the climb rating where OpenAP's is higher.

    >>> float(full_thrust(aircraft_models("A320"), 250.0, 10_000.0, 2000.0).round(-3))
    133000.0
    """
    rated = models.thrust.climb(airspeed, altitude, climb)
    return np.maximum(models.thrust.takeoff(airspeed, altitude), rated)


def _drag(
    models: Models, motion: dict[str, np.ndarray], mass: np.ndarray, lift_coefficient: np.ndarray
) -> np.ndarray:
    """Return drag [N], with flaps if the clean wing has not enough lift, and gear for landing."""
    state = mass, motion["airspeed"], motion["altitude"]
    flaps = np.interp(lift_coefficient, [0.75, 1.5], [0.0, 30.0])
    slowed = models.drag.nonclean(*state, flap_angle=flaps, vs=motion["climb"])
    landing = models.drag.nonclean(*state, flap_angle=flaps, vs=motion["climb"], landing_gear=True)
    return np.where((flaps > 15) & (motion["climb"] < 0), landing, slowed)
