"""Find and repair errors in the points of a flight.

A repair removes a point or its altitude. No position is ever added. The only altitude added is that
of the first or last point on the ground, which gets the nearest measured one.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from trajlib.compiled import compiled, inlined
from trajlib.importers.segmentation import (
    find_taxiing,
    get_numbers,
    get_seconds,
    split_altitudes,
    split_tracks,
)

REPAIRS = {
    "taxi": "points on the ground before the take-off and after the landing, left out",
    "out_of_order": "points that came later than the next one, put in order of time",
    "repeated": "points at the same time as the one before, left out",
    "stale_position": "points with the position of the one before while it moved, left out",
    "too_close": "points of a radar less than the spacing after the one before, left out",
    "unreachable": "positions that the aircraft could not reach from the others, left out",
    "spoofed": "the same for a minute or longer, as on another track, left out",
    "altitude_spike": "altitudes that the aircraft could not reach from the others, taken out",
    "frozen_altitude": "altitudes that stay while the aircraft climbs or descends, taken out",
    "assigned_altitude": "assigned levels reported in place of the altitude, taken out",
    "ground_altitude": "missing altitudes on the ground, set to that of the take-off or landing",
}

_LOWEST, _HIGHEST = -1500.0, 65_000.0  # ft
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
    flights = int(points["flight"].max()) + 1 if len(points) else 0
    counts = pd.DataFrame(0, range(flights), list(REPAIRS))

    def count(name: str, wrong: np.ndarray) -> None:
        counts[name] += np.bincount(np.array(points["flight"])[wrong], minlength=flights)

    if "disordered" in points:
        count("out_of_order", points["disordered"].to_numpy())
        points = points.drop(columns="disordered")
    for name, find in (
        ("taxi", find_taxiing),
        ("repeated", _find_repeated),
        ("stale_position", _find_stale),
        ("too_close", partial(_find_close, spacing=limits.spacing)),
    ):
        wrong = find(points)
        count(name, wrong)
        points = points[~wrong]
    unreachable, spoofed = _find_unreachable(points, limits)
    count("unreachable", unreachable)
    count("spoofed", spoofed)
    points = points[~(unreachable | spoofed)].reset_index(drop=True)
    for name, find in (
        ("frozen_altitude", _find_frozen),  # first, else the next altitude is out of reach
        ("altitude_spike", partial(_find_spikes, rate=limits.rate)),
        ("assigned_altitude", _find_assigned),
    ):
        wrong = find(points)
        count(name, wrong)
        points["altitude"] = points["altitude"].mask(wrong)
    filled = _fill_ground(points)
    count("ground_altitude", (points["altitude"].isna() & filled.notna()).to_numpy())
    return points.assign(altitude=filled), counts


def _same_flight(points: pd.DataFrame) -> np.ndarray:
    """Return for each point whether the previous point is of the same flight."""
    return np.diff(np.array(points["flight"]), prepend=-1) == 0


def _find_repeated(points: pd.DataFrame) -> np.ndarray:
    step = np.diff(get_seconds(points), prepend=np.nan)
    return _same_flight(points) & (step == 0)


def _find_stale(points: pd.DataFrame) -> np.ndarray:
    lat, lon = get_numbers(points, "latitude"), get_numbers(points, "longitude")
    still = (np.diff(lat, prepend=np.nan) == 0) & (np.diff(lon, prepend=np.nan) == 0)
    moving = ~(get_numbers(points, "groundspeed") < _MOVING)
    repeated = still & moving & (get_numbers(points, "onground") != 1)
    if "position_time" not in points:
        return repeated & _same_flight(points)
    updated = get_seconds(points, "position_time")
    repeated |= np.diff(updated, prepend=np.nan) == 0
    return (repeated & _same_flight(points)) | (get_seconds(points) - updated > _STALE)


def _find_close(points: pd.DataFrame, spacing: float) -> np.ndarray:
    if not spacing:
        return np.zeros(len(points), bool)
    return _closer(np.array(points["flight"]), np.floor(get_seconds(points)), spacing)


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


def _find_unreachable(points: pd.DataFrame, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions that are not in the longest track, short and long stretches apart."""
    flight, seconds = np.array(points["flight"]), get_seconds(points)
    lat, lon = get_numbers(points, "latitude"), get_numbers(points, "longitude")
    track = split_tracks(flight, seconds, lat, lon, limits.speed, limits.tolerance)
    other = _not_of_longest(flight, track)
    if not other.any():
        return other, other
    run = np.cumsum(np.diff(other.astype(np.int8), prepend=0) != 0)
    lasting = pd.Series(seconds).groupby(run).transform(np.ptp).to_numpy() >= _LONG
    return other & ~lasting, other & lasting


def _not_of_longest(flight: np.ndarray, track: np.ndarray) -> np.ndarray:
    if not track.any():
        return np.zeros(len(track), bool)
    sizes = pd.Series(track).groupby([flight, track]).size()
    longest = sizes.groupby(level=0).idxmax().map(lambda pair: pair[1])
    return track != longest.reindex(flight).to_numpy()


def _find_spikes(points: pd.DataFrame, rate: float) -> np.ndarray:
    altitude = get_numbers(points, "altitude")
    beyond = (altitude < _LOWEST) | (altitude > _HIGHEST)
    measured = np.flatnonzero(~beyond & ~np.isnan(altitude))
    flight = np.array(points["flight"])[measured]
    seconds = get_seconds(points)[measured]
    track = split_altitudes(flight, seconds, altitude[measured], rate, _NOISE)
    beyond[measured[_not_of_longest(flight, track)]] = True
    return beyond


def _find_frozen(points: pd.DataFrame) -> np.ndarray:
    altitude = get_numbers(points, "altitude")
    geometric, rate = get_numbers(points, "geoaltitude"), get_numbers(points, "vertical_rate")
    flight, seconds = np.array(points["flight"]), get_seconds(points)
    return _frozen(flight, seconds, altitude, geometric, rate, *_FROZEN)


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


def _find_assigned(points: pd.DataFrame) -> np.ndarray:
    altitude, flight = get_numbers(points, "altitude"), np.array(points["flight"])
    measured = np.flatnonzero(~np.isnan(altitude))
    assigned = np.zeros(len(points), bool)
    assigned[measured] = _assigned(
        np.flatnonzero(np.diff(flight[measured], prepend=-1, append=-1)),
        get_seconds(points)[measured],
        altitude[measured],
        get_numbers(points, "groundspeed")[measured],
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


def _fill_ground(points: pd.DataFrame) -> pd.Series:
    """Return the altitudes, filled at the first and last point if these are on the ground."""
    altitude = points["altitude"]
    missing = altitude.isna()
    if "onground" not in points or not missing.any():
        return altitude
    flight, seconds = points["flight"], get_seconds(points)
    ends = flight.diff().ne(0) | flight.diff(-1).ne(0)
    to_fill = missing & ends & (get_numbers(points, "onground") == 1)
    measured = pd.DataFrame({"altitude": altitude, "seconds": seconds}, points.index)
    by_flight = measured.mask(missing).groupby(flight)
    filled = altitude
    for nearest in (by_flight.ffill(), by_flight.bfill()):
        near = (nearest["seconds"] - seconds).abs() <= _NEAR_GROUND
        filled = filled.mask(to_fill & filled.isna() & near, nearest["altitude"])
    return filled
