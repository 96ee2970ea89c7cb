"""Filed flight plans of simulated flights, without their directs, vectors and holdings."""

from functools import cache

import numpy as np
import pandas as pd
from openap import WRAP, aero

from trajlib.geodesy import distance, find_airport
from trajlib.simulation.procedures import lay_route
from trajlib.simulation.scenario import AIRWAY_MILES, AIRWAYS

_FIRST = pd.Timedelta(180, "min")  # time of filing before the scheduled take-off
_REFILED = pd.Timedelta(40, "min")  # time of refiling before it
_AMENDED_AFTER = pd.Timedelta(15, "min")  # take-off; plans are amended to the clearance
_TAXI = pd.Timedelta(10, "min")
_CLIMB = pd.Timedelta(4, "min")  # additional time for climb and descent
_LATE = 0.15  # share of the plans first filed with the usual airway
_AMENDED = 0.3  # share of the flights with directs whose plan is amended
_ABSENT = 0.02  # share of the flights without a plan
_ENTRY_ANGLES = {"usual": 0.0, "left": 5.0, "right": -6.0}  # deg


def file_plans(ground_truth: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the filed plans of simulated flights, one row per waypoint.

    The columns are described in `trajlib.archive.plans`; ``flight_id`` is the path. Plans have the
    airway in use with all its waypoints, the requested level and the usual speed of the type. Some
    are filed twice, some are amended in flight, and a few flights have none. The random numbers are
    independent of those that `trajlib.simulation.scenario.draw_scenario` draws with the same seed.
    """
    chances = np.random.default_rng([seed, 8]).random((len(ground_truth), 3))
    plans = []
    scenarios = ground_truth.to_dict("records")
    for path, scenario, (absent, late, amended) in zip(
        ground_truth.index, scenarios, chances, strict=True
    ):
        if absent < _ABSENT:
            continue
        scheduled, airway = scenario["scheduled"], _find_airway(scenario)
        versions = [(scheduled - _FIRST, "usual" if late < _LATE else airway, "")]
        if versions[0][1] != airway:
            versions.append((scheduled - _REFILED, airway, ""))
        if amended < _AMENDED and scenario["direct"]:
            versions.append((scenario["takeoff"] + _AMENDED_AFTER, airway, scenario["direct"]))
        for filed, name, direct in versions:
            plans.append(_write_plan(scenario, name, direct).assign(flight_id=path, filed=filed))
    return pd.concat(plans, ignore_index=True)


def _find_airway(scenario: dict) -> str:
    """Return the airway nearest to the offset of the flight, which has a small variation."""
    offset = scenario["airway_offset"] / _scale(scenario["origin"], scenario["destination"])
    return min(AIRWAYS, key=lambda name: abs(AIRWAYS[name] - offset))


@cache
def _scale(origin: str, destination: str) -> float:
    first, last = find_airport(origin), find_airport(destination)
    return float(distance(*first.position, *last.position)) / AIRWAY_MILES


def _write_plan(scenario: dict, airway: str, direct: str) -> pd.DataFrame:
    offset = AIRWAYS[airway] * _scale(scenario["origin"], scenario["destination"])
    filed = {"airway_offset": offset, "entry_angle": _ENTRY_ANGLES[airway], "direct": direct}
    route = lay_route(scenario | filed)
    speed = _usual_speed(scenario["aircraft_type"])
    cruise = pd.to_timedelta(route["distance"] / speed, "h") + _CLIMB / 2
    cruise.iloc[[0, -1]] += [-_CLIMB / 2, _CLIMB / 2]
    inner = np.arange(len(route)) % (len(route) - 1) > 0
    return pd.DataFrame(
        {
            "sequence": np.arange(len(route)),
            "latitude": route["latitude"].round(4),
            "longitude": route["longitude"].round(4),
            "flight_level": np.where(inner, scenario["level_requested"] / 100, np.nan),
            "speed": speed,
            "estimated_time": (scenario["scheduled"] + _TAXI + cruise).dt.round("min"),
        }
    )


@cache
def _usual_speed(aircraft_type: str) -> float:
    """Return the true airspeed [kt] of a type's usual cruise, in the stratosphere."""
    mach = WRAP(aircraft_type).cruise_mach()["default"]
    return round(float(aero.mach2tas(mach, 37_000 * aero.ft) / aero.kts))
