"""Which points are one flight."""

import numpy as np
import pandas as pd

from trajlib.compiled import compiled, inlined

__all__ = [
    "find_taxiing",
    "get_numbers",
    "get_seconds",
    "list_bounds",
    "segment_flights",
    "split_tracks",
]


_SLOW = 35.0  # kt, below which an aircraft of unknown state is on the ground
_FAST = 180.0  # kt, above which one that reports to be on the ground is not
_STOP = 120.0  # s on the ground between two flights at least: a touch-and-go is no landing
_SILENCE = 300.0  # s without a point, after which an aircraft may have landed
_TURNAROUND = (900.0, 300.0)  # s on the ground with the same callsign, with another one
_CHANGE_OF_LEVEL = 2500.0  # ft/min, of the descent to and the climb from a landing not seen
_CRUISE = 300.0  # kt at least, of the flight across a silence
_LIMIT = 800.0  # kt, which no aircraft exceeds across a silence
_DAY = 43_200.0  # s of silence, after which even the same flight id is another flight
_PACE = 600.0  # kt at which a track without points grows distant
_OPEN = 8  # tracks at once among the points of one callsign


def segment_flights(points: pd.DataFrame, *, identified: bool = False) -> np.ndarray:
    """Return the number of the flight of each point, -1 for a point of none.

    A flight lasts from one stop to the next and has a point in the air. An aircraft that was
    silent has landed where the silence is longer than the way to the next point, a descent, a
    stop and a climb take. A callsign that changes in the air changes nothing.

    Parameters
    ----------
    points
        Ordered by ``aircraft`` (a number) and ``timestamp``: ``latitude longitude`` [deg],
        ``altitude`` [ft], and where the source has them ``groundspeed`` [kt], ``onground`` and
        ``callsign``.
    identified
        Whether ``aircraft`` stands for a flight's id: its points are one flight unless half a
        day lies between two of them.
    """
    seconds = get_seconds(points)
    columns = [get_numbers(points, name) for name in ("latitude", "longitude", "altitude")]
    speed = get_numbers(points, "groundspeed")
    state = get_numbers(points, "onground")
    callsign = np.full(len(points), -1)
    if "callsign" in points:
        callsign = np.array(pd.factorize(points["callsign"])[0])
    aircraft = np.array(points["aircraft"])
    ground = _find_ground(columns[2], speed, state)
    return _segment(aircraft, seconds, *columns, speed, ground, callsign, identified)


def find_taxiing(points: pd.DataFrame) -> np.ndarray:
    """Return which points are on the ground, but for the last before and the first after a flight.

    Parameters
    ----------
    points
        Ordered by ``flight`` and ``timestamp``, otherwise as in `segment_flights`.
    """
    columns = (get_numbers(points, name) for name in ("altitude", "groundspeed", "onground"))
    return _find_taxiing(np.array(points["flight"]), _find_ground(*columns))


def split_tracks(
    group: np.ndarray,
    seconds: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    speed: float,
    tolerance: float,
) -> np.ndarray:
    """Return the number of the track of each point, so that no track is faster than a speed [kt].

    Points of two aircraft that share a callsign alternate between two tracks. A point goes on
    the nearest of the tracks that it can be reached from, or begins a new one.

    Parameters
    ----------
    group
        Number of the callsign or the flight; points are ordered by it, then by time.
    speed, tolerance
        Highest speed [kt], and error of a position [NM].
    """
    arrays = (np.require(array, requirements="W") for array in (group, seconds, lat, lon))
    return _split(*arrays, speed, tolerance)


def list_bounds(group: np.ndarray) -> np.ndarray:
    """Return where each run of equal numbers begins, and the length of the array.

    >>> list_bounds(np.array([5, 5, 7])).tolist()
    [0, 2, 3]
    """
    if len(group) == 0:
        return np.zeros(1, dtype=np.int64)
    inner = np.flatnonzero(np.diff(group)) + 1
    return np.concatenate([[0], inner, [len(group)]])


def get_numbers(points: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as numbers, NaN where it is missing, that may be written to.

    Loops are compiled for arrays that may, and again for any mixture with those that may not.
    """
    if name not in points:
        return np.full(len(points), np.nan)
    return points[name].to_numpy(dtype=float, na_value=np.nan, copy=True)


def get_seconds(points: pd.DataFrame, name: str = "timestamp") -> np.ndarray:
    """Return a column of times as seconds since 1970, NaN where one is missing."""
    times = points[name].astype("datetime64[ms, UTC]")
    return np.where(times.isna(), np.nan, times.astype("int64") / 1000)


def _find_ground(altitude: np.ndarray, speed: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return 1 for a point on the ground, 0 for one in the air, -1 where nothing shows it."""
    reported = (state == 1) & ~(speed > _FAST)
    slow = np.isnan(state) & (speed < _SLOW) & ~(altitude > 10_000)
    unknown = np.isnan(state) & np.isnan(speed) & ~(altitude > 10_000)
    return np.where(unknown, -1, reported | slow).astype(np.int8)


@inlined
def _distance_between(lat, lon, lat2, lon2):
    """Return the distance [NM] of two positions [deg] on a sphere."""
    east = np.radians((lon2 - lon + 180) % 360 - 180)
    north, north2 = np.radians(lat), np.radians(lat2)
    half = (
        np.sin((north2 - north) / 2) ** 2 + np.cos(north) * np.cos(north2) * np.sin(east / 2) ** 2
    )
    return 2 * 3440.065 * np.arcsin(min(1.0, np.sqrt(half)))


@compiled
def _split(group, seconds, lat, lon, speed, tolerance):
    track = np.zeros(len(group), np.int64)
    last = np.zeros(_OPEN, np.int64)
    number = np.zeros(_OPEN, np.int64)
    tracks, count = 0, 0
    for i in range(len(group)):
        if i == 0 or group[i] != group[i - 1]:
            tracks, count = 0, 0
        best, nearest = -1, np.inf
        for k in range(tracks):
            j = last[k]
            reach = speed / 3600 * (seconds[i] - seconds[j]) + tolerance
            away = _distance_between(lat[j], lon[j], lat[i], lon[i])
            # of two that it can be reached from, the one left behind hours ago is farther away
            cost = away + _PACE / 3600 * (seconds[i] - seconds[j])
            if away <= reach and cost < nearest:
                best, nearest = k, cost
        if best < 0:
            if tracks < _OPEN:
                best = tracks
                tracks += 1
            else:
                best = np.argmin(last[:tracks])
            number[best] = count
            count += 1
        last[best] = i
        track[i] = number[best]
    return track


@compiled
def _may_have_landed(i, j, seconds, lat, lon, altitude, speed, ground, changed):
    """Return whether there was time to land between two points of one aircraft."""
    silence = seconds[j] - seconds[i]
    if silence <= _SILENCE:
        return False
    away = _distance_between(lat[i], lon[i], lat[j], lon[j])
    if away / silence * 3600 > _LIMIT:
        return True
    pace = _CRUISE
    climb = 0.0
    for k in (i, j):
        if speed[k] > pace:
            pace = speed[k]
        if ground[k] != 1 and altitude[k] > 0:
            climb += altitude[k] / _CHANGE_OF_LEVEL * 60
    stop = _TURNAROUND[1] if changed else _TURNAROUND[0]
    return silence - away / pace * 3600 >= stop + climb


@compiled
def _segment(aircraft, seconds, lat, lon, altitude, speed, ground, callsign, identified):  # noqa: C901 (one loop, compiled)
    n = len(aircraft)
    cut = np.zeros(n, np.bool_)  # whether a point begins a new stretch
    start = 0
    while start < n:
        end = start + 1
        while end < n and aircraft[end] == aircraft[start]:
            end += 1
        cut[start] = True
        airborne = ground[start] == 0
        landed = -1  # first point on the ground after a flight
        call = callsign[start]
        for i in range(start + 1, end):
            changed = callsign[i] >= 0 and call >= 0 and callsign[i] != call
            if identified:
                cut[i] = seconds[i] - seconds[i - 1] > _DAY
            elif _may_have_landed(i - 1, i, seconds, lat, lon, altitude, speed, ground, changed):
                cut[i] = True
            if cut[i]:
                airborne, landed = False, -1
            if ground[i] == 1:
                if airborne and landed < 0:
                    landed = i
            elif ground[i] == 0:
                if landed >= 0 and not identified:
                    stop = seconds[i] - seconds[landed]
                    if stop >= _STOP or changed:
                        cut[_find_stop(landed, i, seconds, speed)] = True
                airborne, landed = True, -1
            if callsign[i] >= 0 and (ground[i] != 1 or cut[i]):
                call = callsign[i]
        start = end
    return _number_stretches(cut, ground)


@compiled
def _find_stop(first, last, seconds, speed):
    """Return the point that ends the longest standstill between a landing and a take-off."""
    best, longest, moved = last, -1.0, first
    for i in range(first + 1, last + 1):
        if speed[i] >= 3 or i == last:
            if seconds[i] - seconds[moved] > longest:
                best, longest = i, seconds[i] - seconds[moved]
            moved = i
    return best


@compiled
def _number_stretches(cut, ground):
    """Return a number for each stretch between two cuts that has a point in the air."""
    n = len(cut)
    flight = np.full(n, -1, np.int64)
    count, start = 0, 0
    while start < n:
        end = start + 1
        while end < n and not cut[end]:
            end += 1
        if not (ground[start:end] == 1).all():
            flight[start:end] = count
            count += 1
        start = end
    return flight


@compiled
def _find_taxiing(flight, ground):
    taxiing = np.zeros(len(flight), np.bool_)
    start = 0
    while start < len(flight):
        end = start
        first, last = -1, -1
        while end < len(flight) and flight[end] == flight[start]:
            if ground[end] != 1:
                last = end
                if first < 0:
                    first = end
            end += 1
        if first >= 0:
            taxiing[start : max(first - 1, start)] = True
            taxiing[last + 2 : end] = True
        start = end
    return taxiing
