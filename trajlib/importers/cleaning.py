"""Find and repair errors in the points of a flight.

A repair removes a point, its altitude or its speed. No position is ever added. The only altitude
added is that of the first or last point on the ground, which gets the nearest measured one.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from trajlib.compiled import compiled, inlined
from trajlib.geodesy import distance
from trajlib.importers.segmentation import (
    find_ground,
    find_taxiing,
    get_numbers,
    get_seconds,
    split_altitudes,
    split_tracks,
)

REPAIRS = {
    "taxi": "points on the ground before the take-off and after the landing, left out",
    "out_of_order": "points that came later than the next one, put in order of time",
    "repeated": "points at the same time and place as the one before, left out",
    "stale_position": "points with the position of the one before while it moved, left out",
    "too_close": "points of a radar less than the spacing after the one before, left out",
    "unreachable": "positions that the aircraft could not reach from the others, left out",
    "spoofed": "the same for a minute or longer, as on another track, left out",
    "impossible_speed": "groundspeeds below 0 or above the highest, taken out",
    "altitude_spike": "altitudes that the aircraft could not reach from the others, taken out",
    "frozen_altitude": "altitudes that stay while the aircraft climbs or descends, taken out",
    "assigned_altitude": "assigned levels reported in place of the altitude, taken out",
    "ground_altitude": "missing altitudes on the ground, set to that of the take-off or landing",
}

_NUMBERS = (  # columns used
    *("latitude", "longitude", "altitude", "geoaltitude", "groundspeed", "vertical_rate"),
    "onground",
)
_LOWEST, _HIGHEST = -1500.0, 65_000.0  # ft
_OTHER = 5.0  # NM between two positions at one time, from which they are of two aircraft
_STALE = 60.0  # s between measuring and sending, after which a position is too old
_MOVING = 50.0  # kt
_LONG = 60.0  # s of unreachable positions, from which they count as spoofed
_NOISE = 300.0  # ft between altitudes of two sources
_FROZEN = 60.0, 500.0  # time at one altitude [s], and climb or descent in it [ft]
_LEVELS = 1000.0  # ft: assigned levels are multiples of it,
_ROUNDED = 2.0  # ft, also where altitudes were rounded to metres
_JUMP = 1000.0  # ft from the previous altitude
_STEEP = 3000.0  # ft/min, more than any airliner climbs at low speed
_LANDING = 175.0  # kt, below which a descended aircraft is about to land
_NEAR_GROUND = 120.0  # s from a point on the ground, within which an altitude is used for it


@dataclass(frozen=True)
class Limits:
    """Limits of an aircraft's performance and of the accuracy of its positions."""

    speed: float = 1000.0  # highest over ground [kt]
    rate: float = 6000.0  # highest of climb and descent [ft/min]
    tolerance: float = 0.5  # error of a position [NM]
    spacing: float = 0.0  # between points [s]; closer ones, from two radars, contradict each other


_Columns = dict[str, np.ndarray]  # of points, by name


def clean_points(points: pd.DataFrame, limits: Limits) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the usable points, and how often each repair was made.

    Parameters
    ----------
    points
        Ordered by ``flight`` (a number from 0 on) and ``timestamp``: ``latitude longitude``
        [deg], ``altitude`` [ft], and if available ``groundspeed`` [kt], ``vertical_rate``
        [ft/min], ``geoaltitude`` [ft], ``onground``, ``position_time`` and ``disordered`` (whether
        the point came after a later one).

    Returns
    -------
    DataFrame, DataFrame
        The usable points, and one row per flight with a count for each of ``REPAIRS``.
    """
    flight = np.array(points["flight"])  # writable, see `get_numbers`
    flights = int(flight.max()) + 1 if len(points) else 0
    counts = dict.fromkeys(REPAIRS, np.zeros(flights, int))
    columns = {name: get_numbers(points, name) for name in _NUMBERS}
    columns |= {"flight": flight, "seconds": get_seconds(points), "row": np.arange(len(points))}
    if "position_time" in points:
        columns["position_seconds"] = get_seconds(points, "position_time")

    def count(name: str, wrong: np.ndarray) -> None:
        counts[name] = np.bincount(columns["flight"][wrong], minlength=flights)

    if "disordered" in points:
        count("out_of_order", points["disordered"].to_numpy())
        points = points.drop(columns="disordered")
    for name, find in (
        ("taxi", _find_taxiing),
        ("repeated", _find_repeated),
        ("stale_position", _find_stale),
        ("too_close", partial(_find_close, spacing=limits.spacing)),
    ):
        wrong = find(columns)
        count(name, wrong)
        columns = _leave_out(columns, wrong)
    speeds = columns["groundspeed"]
    impossible = (speeds < 0) | (speeds > limits.speed)
    count("impossible_speed", impossible)
    speeds[impossible] = np.nan
    unreachable, spoofed = _find_unreachable(columns, limits)
    count("unreachable", unreachable)
    count("spoofed", spoofed)
    columns = _leave_out(columns, unreachable | spoofed)
    for name, find in (
        ("frozen_altitude", _find_frozen),  # first, else the next altitude is out of reach
        ("altitude_spike", partial(_find_spikes, rate=limits.rate)),
        ("assigned_altitude", _find_assigned),
    ):
        wrong = find(columns)
        count(name, wrong)
        columns["altitude"][wrong] = np.nan
    filled = _fill_ground(columns)
    count("ground_altitude", np.isnan(columns["altitude"]) & ~np.isnan(filled))
    points = points.take(columns["row"]).reset_index(drop=True)
    points = points.assign(altitude=filled)
    if impossible.any():
        points["groundspeed"] = columns["groundspeed"]
    return points, pd.DataFrame(counts, range(flights))


def _leave_out(columns: _Columns, wrong: np.ndarray) -> _Columns:
    if not wrong.any():
        return columns
    others = np.flatnonzero(~wrong)
    return {name: values[others] for name, values in columns.items()}


def _same_flight(columns: _Columns) -> np.ndarray:
    """Return for each point whether the previous point is of the same flight."""
    return np.diff(columns["flight"], prepend=-1) == 0


def _find_taxiing(columns: _Columns) -> np.ndarray:
    ground = find_ground(columns["altitude"], columns["groundspeed"], columns["onground"])
    return find_taxiing(columns["flight"], ground)


def _find_repeated(columns: _Columns) -> np.ndarray:
    repeated = _same_flight(columns) & (np.diff(columns["seconds"], prepend=np.nan) == 0)
    rows = np.flatnonzero(repeated)
    lat, lon = columns["latitude"], columns["longitude"]
    apart = distance(lat[rows], lon[rows], lat[rows - 1], lon[rows - 1]) > _OTHER
    repeated[rows[apart]] = False
    return repeated


def _find_stale(columns: _Columns) -> np.ndarray:
    still = np.diff(columns["latitude"], prepend=np.nan) == 0
    still &= np.diff(columns["longitude"], prepend=np.nan) == 0
    moving = ~(columns["groundspeed"] < _MOVING)
    repeated = still & moving & (columns["onground"] != 1)
    if "position_seconds" not in columns:
        return repeated & _same_flight(columns)
    updated = columns["position_seconds"]
    repeated |= np.diff(updated, prepend=np.nan) == 0
    return (repeated & _same_flight(columns)) | (columns["seconds"] - updated > _STALE)


def _find_close(columns: _Columns, spacing: float) -> np.ndarray:
    if not spacing:
        return np.zeros(len(columns["flight"]), bool)
    return _closer(columns["flight"], np.floor(columns["seconds"]), spacing)


@compiled
def _closer(flight, seconds, spacing):
    close = np.zeros(len(flight), np.bool_)
    last = 0
    for i in range(1, len(flight)):
        if flight[i] == flight[last] and seconds[i] < seconds[last] + spacing:
            close[i] = True
        else:
            last = i
    return close


def _find_unreachable(columns: _Columns, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions that are not in the longest track, short and long stretches apart."""
    names = ("flight", "seconds", "latitude", "longitude")
    flight, seconds, lat, lon = (columns[name] for name in names)
    track = split_tracks(flight, seconds, lat, lon, limits.speed, limits.tolerance)
    other = _not_of_longest(flight, track)
    if not other.any():
        return other, other
    runs = np.flatnonzero(np.diff(other, prepend=~other[0]))
    lasting = np.maximum.reduceat(seconds, runs) - np.minimum.reduceat(seconds, runs) >= _LONG
    lasting = np.repeat(lasting, np.diff(runs, append=len(other)))
    return other & ~lasting, other & lasting


@compiled
def _not_of_longest(flight, track):
    """Return which points are not in the longest track of their flight, the first of several."""
    other = np.zeros(len(track), np.bool_)
    start = 0
    for i in range(1, len(track) + 1):
        if i == len(track) or flight[i] != flight[start]:
            longest = np.argmax(np.bincount(track[start:i]))
            for k in range(start, i):
                other[k] = track[k] != longest
            start = i
    return other


def _find_spikes(columns: _Columns, rate: float) -> np.ndarray:
    altitude = columns["altitude"]
    beyond = (altitude < _LOWEST) | (altitude > _HIGHEST)
    measured = np.flatnonzero(~beyond & ~np.isnan(altitude))
    flight, seconds = columns["flight"][measured], columns["seconds"][measured]
    track = split_altitudes(flight, seconds, altitude[measured], rate, _NOISE)
    beyond[measured[_not_of_longest(flight, track)]] = True
    return beyond


def _find_frozen(columns: _Columns) -> np.ndarray:
    names = ("flight", "seconds", "altitude", "geoaltitude", "vertical_rate")
    return _frozen(*(columns[name] for name in names), *_FROZEN)


@compiled
def _frozen(flight, seconds, altitude, geometric, rate, window, climbed):
    """Find the altitudes that stay the same while the aircraft climbs or descends.

    The climb within a window is the change of the geometric altitude, or without it the sum of the
    vertical rate. The window is short, since weather changes the geometric altitude over hours.
    """
    frozen = np.zeros(len(flight), np.bool_)
    rise = np.zeros(len(flight))
    start = first = 0
    for i in range(1, len(flight)):
        if flight[i] != flight[start] or altitude[i] != altitude[start]:
            start = first = i
            continue
        step = rate[i] / 60 * (seconds[i] - seconds[i - 1])
        rise[i] = rise[i - 1] + (step if step == step else 0.0)
        while first < i - 1 and seconds[i] - seconds[first + 1] >= window:
            first += 1
        if seconds[i] - seconds[first] < window:
            continue
        climb = geometric[i] - geometric[first]
        if climb != climb:
            climb = rise[i] - rise[first]
        if abs(climb) >= climbed:
            frozen[first + 1 : i + 1] = True
    return frozen


def _find_assigned(columns: _Columns) -> np.ndarray:
    measured = np.flatnonzero(~np.isnan(columns["altitude"]))
    assigned = np.zeros(len(columns["altitude"]), bool)
    assigned[measured] = _assigned(
        np.flatnonzero(np.diff(columns["flight"][measured], prepend=-1, append=-1)),
        *(columns[name][measured] for name in ("seconds", "altitude", "groundspeed")),
    )
    return assigned


@inlined
def _is_level(altitude):
    return abs(altitude - _LEVELS * np.round(altitude / _LEVELS)) <= _ROUNDED


@compiled
def _assigned(bounds, seconds, altitude, speed):  # noqa: C901 (one loop, compiled)
    """Find assigned levels that are reported instead of an altitude.

    They are multiples of 1,000 ft, at least 1,000 ft above a neighbouring point, and need an
    impossible rate of climb. They occur at the end of a record after a descent, at its beginning
    before a climb, or as a single point in between.
    """
    assigned = np.zeros(len(altitude), np.bool_)
    for f in range(len(bounds) - 1):
        first, end = bounds[f], bounds[f + 1]
        if end - first < 3:
            continue
        for side in (1, -1):  # from the end, then from the beginning
            edge = end - 1 if side == 1 else first
            level = altitude[edge]
            i = edge
            while first < i - side < end - 1 and altitude[i - side] == level:
                i -= side
            j = i - side
            if not first < j < end - 1 or not _is_level(level):
                continue
            jump = level - altitude[j]
            rate = jump / max(abs(seconds[i] - seconds[j]), 1.0) * 60
            before = altitude[j - side] - altitude[j]
            landing = side == 1 and before > 0 and speed[i] <= _LANDING
            if jump >= _JUMP and (rate >= _STEEP or landing):
                assigned[min(i, edge) : max(i, edge) + 1] = True
        for i in range(first + 1, end - 1):
            up = altitude[i] - altitude[i - 1]
            down = altitude[i] - altitude[i + 1]
            climb = up / max(seconds[i] - seconds[i - 1], 1.0) * 60
            if climb >= _STEEP and min(up, down) >= _JUMP and _is_level(altitude[i]):
                assigned[i] = True
    return assigned


def _fill_ground(columns: _Columns) -> np.ndarray:
    """Return the altitudes, filled at the first and last point if these are on the ground."""
    flight, seconds, altitude = (columns[name] for name in ("flight", "seconds", "altitude"))
    missing = np.isnan(altitude)
    measured = np.flatnonzero(~missing)
    ends = (np.diff(flight, prepend=-1) != 0) | (np.diff(flight, append=-1) != 0)
    to_fill = np.flatnonzero(missing & ends & (columns["onground"] == 1))
    filled = altitude.copy()
    if not len(measured):
        return filled
    after = np.searchsorted(measured, to_fill)
    for nearest in (after, after - 1):  # the one before has priority
        inside = (nearest >= 0) & (nearest < len(measured))
        row, near = to_fill[inside], measured[nearest[inside]]
        usable = (flight[near] == flight[row]) & (
            np.abs(seconds[near] - seconds[row]) <= _NEAR_GROUND
        )
        filled[row[usable]] = altitude[near[usable]]
    return filled
