"""The scenarios of simulated flights: the hidden causes of their differences."""

from functools import cache

import numpy as np
import pandas as pd
from openap import WRAP, aero, prop
from scipy.special import ndtr

from trajlib.geodesy import distance, find_airport, track
from trajlib.simulation.procedures import CONFIGURATIONS, configurations
from trajlib.simulation.timetable import DAYS, FIRST_DAY
from trajlib.simulation.weather import HOURS, START, Weather, autoregress, sample_weather

# offsets of the airways [NM to the left], for airports AIRWAY_MILES apart
AIRWAYS = {"usual": 1.5, "left": 10.0, "right": -13.0}
AIRWAY_MILES = 261
_WORKING = ["day", "hour", "hour_arrival", "miles", "speed_factor"]  # columns used in between

Random = np.random.Generator


def draw_scenario(
    timetable: pd.DataFrame, weather: Weather, seed: int, *, replicate: int = 0
) -> pd.DataFrame:
    """Return the causes of every flight of a timetable, one row each, indexed by path.

    A flight depends only on its causes and the weather. Another seed draws other causes for the
    same timetable. Another replicate keeps the causes known at take-off (those shared by flights of
    an hour or a day, time and runway of the take-off, mass) and draws the others again: two
    replicates differ by what no predictor can know at take-off. No cause is a function of operator
    or hour of day, except through the aircraft type.

    Returns
    -------
    DataFrame
        The timetable's columns; ``takeoff`` and ``departure_delay`` [s]; runways, and the
        ``configuration_*`` in use; wind [kt] and temperature departure [K] half-way, at
        30,000 ft; ``flow``, the congestion at the destination (standard normal), and the ``delay``
        [s] it causes, absorbed by ``holding_laps`` and an ``extension`` [NM] of the downwind;
        ``go_around``; ``final_length``, ``downwind_offset`` [NM] and ``downwind_side``;
        ``airway_offset`` [NM], ``entry_angle`` [deg] and the waypoints that a ``direct`` skips;
        ``load``, the share of seats taken, and ``mass_initial`` [kg]; ``level_requested``
        and the highest ``level`` cleared [ft], levels held in climb and descent and for how long
        [NM];
        ``cost_index`` and the speeds it leads to [kt, Mach]; ``approach_pace``, how early the
        approach slows down; ``climb_thrust`` and ``descent_thrust``, as shares of the maximum in
        the climb and of idle.

    >>> from trajlib.simulation.timetable import draw_timetable
    >>> from trajlib.simulation.weather import draw_weather
    >>> ground_truth = draw_scenario(draw_timetable(5, seed=1), draw_weather(1), seed=1)
    >>> ground_truth["runway_arrival"].isin(["25R", "07L"]).all()
    np.True_
    """
    rng, flight_rng = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3, replicate])
    ground_truth = (
        timetable.pipe(_add_takeoff, rng)
        .pipe(_add_weather, weather)
        .pipe(_add_runways, rng, flight_rng, weather)
        .pipe(_add_flow, rng, flight_rng)
        .pipe(_add_route, rng, flight_rng)
        .pipe(_add_mass, rng)
        .pipe(_add_levels, rng, flight_rng)
        .pipe(_add_speeds, rng, flight_rng)
    )
    pairs = ground_truth["origin"] + "-" + ground_truth["destination"]
    names = ground_truth["takeoff"].dt.strftime("%Y%m%dT%H%M") + "_" + ground_truth["callsign"]
    paths = (pairs + "/" + names + ".csv").rename("path")
    return ground_truth.drop(columns=_WORKING).set_index(paths)


def _add_takeoff(flights: pd.DataFrame, rng: Random) -> pd.DataFrame:
    day = (flights["scheduled"] - FIRST_DAY).dt.days.to_numpy()
    shock = np.exp(0.5 * rng.standard_normal(DAYS)[day])
    delay = np.round(np.minimum(rng.gamma(1.2, 420, len(flights)) * shock, 7200))
    takeoff = flights["scheduled"] + pd.to_timedelta(600 + delay, "s")
    miles = distance(*_positions(flights["origin"]), *_positions(flights["destination"]))
    hours = (takeoff - START) / pd.Timedelta("1h")
    return flights.assign(
        takeoff=takeoff,
        departure_delay=delay,
        day=day,
        hour=hours.astype(int),
        hour_arrival=(hours + (600 + 9 * miles) / 3600).astype(int),
        miles=miles,
    )


def _add_weather(flights: pd.DataFrame, weather: Weather) -> pd.DataFrame:
    seconds = (flights["takeoff"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds() + 1500
    ends = np.array([_positions(flights[end]) for end in ("origin", "destination")])
    latitude, longitude = ends.mean(axis=0).tolist()
    air = sample_weather(weather, seconds.to_numpy(), latitude, longitude, 30_000.0)
    names = ["wind_u", "wind_v", "temperature_departure"]
    return flights.assign(**{f"{name}_cruise": air[name] for name in names})


def _positions(airports: pd.Series) -> np.ndarray:
    """Return latitudes and longitudes [deg] of airports, (2, airports)."""
    return np.transpose([find_airport(code).position for code in airports])


def _add_runways(
    flights: pd.DataFrame, rng: Random, flight_rng: Random, weather: Weather
) -> pd.DataFrame:
    """Add the runways, by the wind of the hour; of parallel ones, mostly the day's."""
    ends = ("origin", "departure", "hour"), ("destination", "arrival", "hour_arrival")
    for end, use, hour in ends:
        modes = {code: configurations(code, weather) for code in flights[end].unique()}
        state = [modes[code][i] for code, i in zip(flights[end], flights[hour], strict=True)]
        day_choice = (rng.random(DAYS) < 0.5)[flights["day"]]
        usual = (rng if use == "departure" else flight_rng).random(len(flights)) < 0.85
        rank = np.where(usual, day_choice, ~day_choice)
        choices = [
            CONFIGURATIONS[code][mode][use == "departure"]
            for code, mode in zip(flights[end], state, strict=True)
        ]
        runways = [choice[n % len(choice)] for choice, n in zip(choices, rank, strict=True)]
        flights = flights.assign(**{f"runway_{use}": runways, f"configuration_{use}": state})
    return flights


def _add_flow(flights: pd.DataFrame, rng: Random, flight_rng: Random) -> pd.DataFrame:
    """Add the congestion at the destination, and the delays that it causes."""
    count, day, hour = len(flights), flights["day"], flights["hour_arrival"]
    flow = np.zeros(count)
    for code in CONFIGURATIONS:
        shared = 0.75 * rng.standard_normal(DAYS)[day]
        shared = shared + 0.66 * autoregress(rng, (HOURS,), 3.0)[hour]
        flow = np.where(flights["destination"] == code, shared, flow)
    delay = 110 * np.log1p(np.exp(1.6 * (flow - 0.2))) * flight_rng.gamma(5.0, 0.2, count)
    laps = np.ceil(np.maximum(delay - 300, 0) / 360).astype(int)
    remaining = np.clip(delay - 360 * laps, 0, 300)
    side = np.where(rng.random(DAYS)[day] < 0.7, 1, -1)
    return flights.assign(
        flow=flow,
        delay=delay,
        holding_laps=laps,
        extension=remaining / 2 * 225 / 3600,
        go_around=flight_rng.random(count) < 0.01,
        final_length=np.clip(8.5 + flow + 0.5 * flight_rng.standard_normal(count), 7.5, 12),
        downwind_side=np.where(flight_rng.random(count) < 0.85, side, -side),
        downwind_offset=flight_rng.uniform(5.2, 7.2, count),
    )


def _add_route(flights: pd.DataFrame, rng: Random, flight_rng: Random) -> pd.DataFrame:
    """Add the airway in use, changed by closed airspace for half a day or so, and directs."""
    count, hour = len(flights), flights["hour"]
    closed = autoregress(rng, (HOURS,), 18.0)[hour]
    conditions, airways = [closed > 0.7, closed < -0.8], [AIRWAYS["left"], AIRWAYS["right"]]
    offset = np.select(conditions, airways, AIRWAYS["usual"]) * flights["miles"] / AIRWAY_MILES
    friendly = 0.8 * autoregress(rng, (HOURS,), 4.0)[hour] - 0.4 * flights["flow"]
    friendly = friendly + 0.6 * flight_rng.standard_normal(count)
    return flights.assign(
        airway_offset=offset + 0.8 * flight_rng.standard_normal(count),
        entry_angle=5 * np.clip(closed, -2, 2) + 2.0 * flight_rng.standard_normal(count),
        direct=np.select(
            [friendly > 1.3, friendly > 0.7, friendly > 0.2],
            ["first second third", "second third", "first"],
            "",
        ),
    )


def _add_mass(flights: pd.DataFrame, rng: Random) -> pd.DataFrame:
    count = len(flights)
    limits = [_limits(kind) for kind in flights["aircraft_type"]]
    empty, full, landing, seats = np.transpose(limits)
    load = 0.76 + 0.08 * rng.standard_normal(DAYS)[flights["day"]]
    load = np.clip(load + 0.09 * rng.standard_normal(count), 0.3, 1.0)
    trip = 500 + 1.35e-4 * full * flights["miles"]
    reserve = 0.03 * full + rng.gamma(2.0, 400, count)
    mass = np.minimum(empty + 100 * seats * load + trip + reserve, np.minimum(full, landing + trip))
    speed_factor = np.sqrt((mass - trip) / (0.9 * landing))
    return flights.assign(load=load, mass_initial=np.round(mass), speed_factor=speed_factor)


def _add_levels(flights: pd.DataFrame, rng: Random, flight_rng: Random) -> pd.DataFrame:
    """Add the level requested, odd flight levels eastbound, and the levels that are cleared."""
    count, hour, day = len(flights), flights["hour"], flights["day"]
    east = track(*_positions(flights["origin"]), *_positions(flights["destination"])) < 180
    best = 10_500 + 85 * flights["miles"] + 1500 * flight_rng.standard_normal(count)
    best = np.clip(best, 11_500, 38_500)
    requested = 2000 * np.round((best - 1000 * east) / 2000) + 1000 * east
    sector = autoregress(rng, (HOURS,), 3.0)[hour] + 0.5 * rng.standard_normal(DAYS)[day]
    level = requested - np.select([sector > 2, sector > 1.2], [4000, 2000], 0)
    hold_low = flight_rng.random(count) < 0.55 + 0.15 * np.sign(rng.standard_normal(DAYS)[day])
    late = flight_rng.random(count) < 0.1
    early = flight_rng.random(count) < 0.45 + 0.1 * np.clip(flights["flow"], -2, 2)
    held_level = flight_rng.choice([13_000, 19_000, 24_000, 28_000], count)
    return flights.assign(
        level_requested=requested,
        level=level,
        climb_level=np.where(late, level - 4000, np.minimum(held_level, level - 2000)),
        climb_level_length=np.select(
            [late, hold_low],
            [flight_rng.uniform(40, 110, count), flight_rng.gamma(1.5, 7.0, count)],
            0.0,
        ),
        descent_level=np.minimum(
            flight_rng.choice([12_000, 15_000, 21_000, 25_000], count), level - 2000
        ),
        descent_level_length=np.where(early, flight_rng.gamma(1.4, 8.0, count), 0.0),
    )


def _add_speeds(flights: pd.DataFrame, rng: Random, flight_rng: Random) -> pd.DataFrame:
    """Add speeds within WRAP's limits of each type: faster where time costs more than fuel."""
    count = len(flights)
    cost = 0.5 * rng.standard_normal(DAYS)[flights["day"]]
    cost = cost + 0.87 * flight_rng.standard_normal(count)
    ranges = [_speed_ranges(kind) for kind in flights["aircraft_type"]]
    speeds = {}
    for name in ("climb_cas", "climb_mach", "cruise_mach", "descent_mach", "descent_cas"):
        share = ndtr(0.8 * cost + 0.6 * flight_rng.standard_normal(count))
        low, usual, high = np.transpose([limits[name] for limits in ranges])
        speeds[name] = low + (usual - low) * np.minimum(2 * share, 1)
        speeds[name] += (high - usual) * np.maximum(2 * share - 1, 0)
    return flights.assign(
        cost_index=np.round(100 * ndtr(cost)),
        **speeds,
        initial_cas=flights["speed_factor"] * [limits["initial_cas"][1] for limits in ranges],
        final_cas=flights["speed_factor"] * [limits["final_cas"][1] for limits in ranges],
        approach_pace=np.clip(flight_rng.normal(1.0 + 0.06 * flights["flow"], 0.1), 0.75, 1.35),
        climb_thrust=flight_rng.uniform(0.95, 1.15, count),
        descent_thrust=flight_rng.uniform(0.5, 1.2, count),
    )


@cache
def _limits(aircraft_type: str) -> tuple[float, float, float, float]:
    """Return the empty, maximum take-off and maximum landing mass [kg], and the seats of a type."""
    aircraft = prop.aircraft(aircraft_type)
    return aircraft["oew"], aircraft["mtow"], aircraft["mlw"], aircraft["pax"]["max"]


@cache
def _speed_ranges(aircraft_type: str) -> dict[str, tuple[float, float, float]]:
    """Return minimum, default and maximum of WRAP's speeds of a type [kt, Mach]."""
    wrap = WRAP(aircraft_type)
    speeds = {
        "initial_cas": wrap.initclimb_vcas(),
        "climb_cas": wrap.climb_const_vcas(),
        "climb_mach": wrap.climb_const_mach(),
        "cruise_mach": wrap.cruise_mach(),
        "descent_mach": wrap.descent_const_mach(),
        "descent_cas": wrap.descent_const_vcas(),
        "final_cas": wrap.finalapp_vcas(),
    }
    return {
        name: tuple(
            value[limit] / (aero.kts if name.endswith("cas") else 1)
            for limit in ("minimum", "default", "maximum")
        )
        for name, value in speeds.items()
    }
