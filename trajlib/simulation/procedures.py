"""Runways in use and the paths flown between them, for simulated flights."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pyproj import Proj

from trajlib.geodesy import NAUTICAL_MILE, find_airport, track
from trajlib.simulation.weather import HOURS, START, Weather, sample_weather

# Runway ends: designator in 2016, latitude, longitude [deg], elevation [ft] and how far the
# landing threshold lies beyond the end [ft]. Source: ourairports.com (public domain), rounded to
# about 10 m; they are for simulation, never for navigation.
_RUNWAY_ENDS = """
LEMD 14L 40.4949  -3.5579 1942    0  32R 40.4700  -3.5326 1876 1640
LEMD 14R 40.4849  -3.5760 1995    0  32L 40.4557  -3.5464 1909 3445
LEMD 18L 40.5326  -3.5594 1919 1640  36R 40.5011  -3.5592 1942    0
LEMD 18R 40.5318  -3.5749 1998 3232  36L 40.4926  -3.5746 1985    0
LEBL 07L 41.2932   2.0673    8 1400  25R 41.3057   2.1038   10    0
LEBL 07R 41.2823   2.0743    8    0  25L 41.2922   2.1033    8    0
LEPA 06L 39.5471   2.7107   15    0  24R 39.5625   2.7432    8  230
LEPA 06R 39.5413   2.7317   24 1345  24L 39.5553   2.7615    8    0
LEMG 12  36.6910  -4.5078   52    0  30  36.6796  -4.4805   31    0
LEMG 13  36.6845  -4.5126   52    0  31  36.6654  -4.4858   31    0
GCLP 03L 27.9189 -15.3923   78    0  21R 27.9449 -15.3808   33    0
"""

# Runways to land on and to depart from, the configuration preferred in calm air first.
CONFIGURATIONS = {
    "LEMD": ((("32L", "32R"), ("36L", "36R")), (("18L", "18R"), ("14L", "14R"))),
    "LEBL": ((("25R",), ("25L",)), (("07L",), ("07R",))),
    "LEPA": ((("24L",), ("24R",)), (("06L",), ("06R",))),
    "LEMG": ((("12", "13"), ("13",)), (("30", "31"), ("31",))),
    "GCLP": ((("03L",), ("03L",)), (("21R",), ("21R",))),
}

# Radii of turns [NM] that keep the bank below 30° at the speeds and winds of each phase.
_TAKEOFF, _CLIMB, _CRUISE, _ENTRY, _HOLD, _DOWNWIND, _FINAL = 2.8, 7.0, 12.0, 6.0, 3.1, 3.2, 2.4
_ENTRY_DISTANCE = 35.0  # NM from the airport to the beginning of the terminal area


class Runway(NamedTuple):
    """A runway as used in one direction: landing threshold, far end [deg], elevation [ft]."""

    latitude: float
    longitude: float
    latitude_end: float
    longitude_end: float
    elevation: float


class Path(NamedTuple):
    """A path over ground: a polyline in the plane of ``projection``, in NM, and its marks.

    ``stretches`` are the parts (from, to) [NM along the path] that controllers added. ``missed``
    is where a missed approach passes the threshold for the first time, or None.
    """

    projection: Proj
    along: np.ndarray
    points: np.ndarray
    stretches: list[tuple[float, float]]
    missed: float | None


def _read_runways() -> dict[tuple[str, str], Runway]:
    runways = {}
    for line in _RUNWAY_ENDS.strip().splitlines():
        airport, *ends = line.split()
        low, high = ends[:5], ends[5:]
        for (ident, *start), (_, *end) in ((low, high), (high, low)):
            lat, lon, elevation, displaced = map(float, start)
            far_lat, far_lon = map(float, end[:2])
            length = np.hypot(far_lat - lat, (far_lon - lon) * np.cos(np.radians(lat))) * 60
            share = displaced * 0.3048 / NAUTICAL_MILE / length
            threshold = lat + share * (far_lat - lat), lon + share * (far_lon - lon)
            runways[airport, ident] = Runway(*threshold, far_lat, far_lon, elevation)
    return runways


RUNWAYS = _read_runways()  # by airport and designator


def configurations(airport: str, weather: Weather) -> np.ndarray:
    """Return the number of an airport's configuration in use at each hour of the weather.

    The preferred one is not used from a tail wind of 7 kt until it falls below 2 kt.

    >>> from trajlib.simulation.weather import draw_weather
    >>> bool(0 < configurations("LEBL", draw_weather(1)).mean() < 0.4)
    True
    """
    seconds = START.timestamp() + 3600 * np.arange(HOURS)
    wind = sample_weather(weather, seconds, *find_airport(airport).position, 0.0)
    runway = RUNWAYS[airport, CONFIGURATIONS[airport][0][0][0]]
    course = np.radians(track(*runway[:4]))
    tail = wind["wind_u"] * np.sin(course) + wind["wind_v"] * np.cos(course)
    state = pd.Series(np.select([tail > 7, tail < 2], [1.0, 0.0], np.nan))
    return state.ffill().fillna(0).to_numpy(int)


def lay_path(scenario: dict) -> Path:
    """Return the path of a flight from lift-off to the aiming point, from its scenario."""
    projection, home, away = _lay_plane(scenario)
    start, ahead = _frame(projection, scenario["origin"], scenario["runway_departure"])
    lift_off = start + ahead  # 1 NM after the threshold
    threshold, landing = _frame(projection, scenario["destination"], scenario["runway_arrival"])
    route = _route(home, away, scenario)
    arrival = _arrival(route[-1][0], threshold, landing, scenario)
    waypoints = [(lift_off, 0.0), *_departure(lift_off, ahead, route[0][0]), *route]
    entry = len(waypoints) - 1
    if scenario["holding_laps"]:
        waypoints += _hold(waypoints, scenario["holding_laps"])
    held = len(waypoints) - 1
    waypoints += arrival
    final = len(waypoints) - 1
    if scenario["go_around"]:
        waypoints += _missed(threshold, landing, arrival, scenario)
    waypoints.append((threshold + 0.15 * landing, 0.0))
    along, points, passed = _fillet(waypoints)
    stretches = [(passed[entry], passed[held])] if scenario["holding_laps"] else []
    base = passed[final - 1]
    stretches.append((base - scenario["extension"], base + scenario["extension"]))
    missed = passed[final + 1] if scenario["go_around"] else None
    return Path(projection, along, points, stretches, missed)


def lay_route(scenario: dict) -> pd.DataFrame:
    """Return ``latitude``, ``longitude`` [deg] and ``distance`` [NM] of a route's waypoints.

    Both airports are included. A scenario needs ``origin``, ``destination``, ``airway_offset``,
    ``entry_angle``, and the waypoints that a ``direct`` leaves out.
    """
    projection, home, away = _lay_plane(scenario)
    inner = [point for point, _ in _route(home, away, scenario)]
    points = np.array([home, *inner, away])
    distances = np.append(0.0, np.cumsum(np.abs(np.diff(points))))
    metres = points * NAUTICAL_MILE
    lon, lat = projection(metres.real, metres.imag, inverse=True)
    return pd.DataFrame({"latitude": lat, "longitude": lon, "distance": distances})


def _lay_plane(scenario: dict) -> tuple[Proj, complex, complex]:
    """Return a projection around the middle of a flight, and both airports in its plane [NM]."""
    origin, destination = find_airport(scenario["origin"]), find_airport(scenario["destination"])
    projection = Proj(
        proj="stere",
        ellps="WGS84",
        lat_0=(origin.latitude + destination.latitude) / 2,
        lon_0=(origin.longitude + destination.longitude) / 2,
    )
    home = _project(projection, origin.longitude, origin.latitude)
    away = _project(projection, destination.longitude, destination.latitude)
    return projection, home, away


def _project(projection: Proj, lon: float, lat: float) -> complex:
    x, y = projection(lon, lat)
    return complex(x, y) / NAUTICAL_MILE


def _frame(projection: Proj, airport: str, ident: str) -> tuple[complex, complex]:
    """Return a threshold [NM], and the runway's direction."""
    runway = RUNWAYS[airport, ident]
    start = _project(projection, runway.longitude, runway.latitude)
    end = _project(projection, runway.longitude_end, runway.latitude_end)
    return start, (end - start) / abs(end - start)


def _departure(start: complex, ahead: complex, goal: complex) -> list[tuple[complex, float]]:
    corner = start + 5.0 * ahead
    turn = np.angle((goal - corner) / ahead)
    if abs(turn) < np.radians(100):
        return [(corner, _TAKEOFF)]
    return [(corner, _TAKEOFF), (corner + 8.0 * ahead * 1j * np.sign(turn), _TAKEOFF)]


def _route(home: complex, away: complex, scenario: dict) -> list[tuple[complex, float]]:
    """Return the waypoints between the terminal areas; the arrival begins at the last."""
    ahead = (away - home) / abs(away - home)
    start = home + 25.0 * ahead
    turned = np.exp(1j * np.radians(scenario["entry_angle"]))
    entry = away - _ENTRY_DISTANCE * ahead * turned
    aside = scenario["airway_offset"] * 1j * ahead
    waypoints = {
        "first": (start + aside / 2, _CLIMB),
        "second": (start + 0.35 * (entry - start) + aside, _CRUISE),
        "third": (start + 0.70 * (entry - start) + aside, _CRUISE),
    }
    skipped = scenario["direct"].split()
    return [*(waypoints[name] for name in waypoints if name not in skipped), (entry, _ENTRY)]


def _arrival(
    entry: complex, threshold: complex, landing: complex, scenario: dict
) -> list[tuple[complex, float]]:
    """Return the waypoints of an arrival: base or downwind and base, then the final approach.

    The last but one is where vectors lengthen the path by twice the extension.
    """
    length, extension = scenario["final_length"], scenario["extension"]
    gate = threshold - length * landing
    if abs(np.angle((gate - entry) / landing)) < np.radians(105):
        half = abs(gate - entry) / 2
        height = np.sqrt((half + extension) ** 2 - half**2)
        aside = 1j * (gate - entry) / (2 * half)
        outward = -np.sign((aside / landing).real) or 1.0
        return [((entry + gate) / 2 + outward * height * aside, _ENTRY), (gate, _FINAL)]
    abeam = ((entry - threshold) / landing).imag
    side = np.sign(abeam) if abs(abeam) > 12 else scenario["downwind_side"]
    aside = side * scenario["downwind_offset"] * 1j * landing
    turn = gate - extension * landing
    return [(threshold + 2 * landing + aside, _DOWNWIND), (turn + aside, _FINAL), (turn, _FINAL)]


def _hold(waypoints: Sequence[tuple[complex, float]], laps: int) -> list[tuple[complex, float]]:
    """Return laps of a right-hand racetrack at the last waypoint, inbound as it is reached."""
    (before, _), (fix, _) = waypoints[-2:]
    ahead = (fix - before) / abs(fix - before)
    beyond, across = 2 * _HOLD * ahead, -2j * _HOLD * ahead
    corners = [fix + beyond, fix + beyond + across, fix - beyond + across, fix - beyond]
    return [(corner, _HOLD) for corner in [*(corners * laps), fix]]


def _missed(
    threshold: complex, landing: complex, arrival: Sequence[tuple[complex, float]], scenario: dict
) -> list[tuple[complex, float]]:
    """Return the waypoints of a circuit flown after a missed approach, on the arrival's side."""
    before = (arrival[0][0] - threshold) / landing
    aside = (np.sign(before.imag) or 1.0) * 6.0j * landing
    gate = threshold - scenario["final_length"] * landing
    beyond = threshold + 6.0 * landing
    corners = [beyond, beyond + aside, gate + aside, gate]
    return [(threshold, 0.0), *((corner, _FINAL) for corner in corners)]


def _fillet(waypoints: Sequence[tuple[complex, float]]) -> tuple[np.ndarray, np.ndarray, list]:
    """Round the corners of a polyline with arcs.

    Returns distances along the rounded line, its points there, and the distance of each waypoint
    except the last.
    """
    pieces, counts = [np.array([waypoints[0][0]])], [0]
    for (before, _), (corner, radius), (after, _) in zip(
        waypoints, waypoints[1:], waypoints[2:], strict=False
    ):
        arc = _arc(before, corner, after, radius)
        counts.append(sum(map(len, pieces)) + len(arc) // 2)
        pieces.append(arc)
    points = np.concatenate([*pieces, [waypoints[-1][0]]])
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(points)))])
    return along, points, [float(along[count]) for count in counts]


def _arc(before: complex, corner: complex, after: complex, radius: float) -> np.ndarray:
    ahead = (corner - before) / abs(corner - before)
    turn = np.angle((after - corner) / ahead)
    tangent = np.tan(abs(turn) / 2)
    cut = min(radius * tangent, abs(corner - before) / 2, abs(after - corner) / 2)
    if cut < 1e-3:
        return np.array([corner])
    spoke = -1j * np.sign(turn) * ahead * cut / tangent
    centre = corner - cut * ahead - spoke
    return centre + spoke * np.exp(1j * np.linspace(0, turn, int(abs(turn) / 0.03) + 3))
