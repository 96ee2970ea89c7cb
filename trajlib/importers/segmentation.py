"""Divide the points of aircraft into flights."""

import numpy as np
import pandas as pd

from trajlib.compiled import compiled, inlined

_SLOW = 35.0  # kt, below which an aircraft without a reported state is on the ground
_FAST = 180.0  # kt, above which a report of being on the ground is ignored
_STOP = 120.0  # shortest stop on the ground between flights [s]; a touch-and-go is shorter
_STILL = 0.05, 100.0  # NM and ft within which an aircraft stands, if it does so for a stop
_SPAN = 30.0  # s over which positions show a speed and a climb
_CLIMB = 300.0  # ft/min of a climb or descent that no aircraft on the ground shows
_SILENCE = 300.0  # s without a point, after which an aircraft may have landed
_TURNAROUND = (900.0, 300.0)  # shortest stop [s] with the same callsign, with another one
_CHANGE_OF_LEVEL = 2500.0  # ft/min of the descent to and the climb from an unobserved landing
_CRUISE = 300.0  # lowest speed assumed across a silence [kt]
_LIMIT = 800.0  # highest possible speed across a silence [kt]
_HALF_DAY = 43_200.0  # s of silence, after which the same flight id means another flight
_PACE = 600.0  # kt by which the cost of a track without points grows
_OPEN = 8  # tracks compared at once in a group


def segment_flights(points: pd.DataFrame, *, identified: bool = False) -> np.ndarray:
    """Return the number of the flight of each point, -1 for points of no flight.

    A flight lasts from one stop to the next and has at least one point in the air. An aircraft is
    assumed to have landed during a silence that is long enough for the distance to the next point,
    a descent, a stop and a climb. Callsigns that change in the air are ignored.

    Parameters
    ----------
    points
        Ordered by ``aircraft`` (a number) and ``timestamp``: ``latitude longitude`` [deg],
        ``altitude`` [ft], and if available ``groundspeed`` [kt], ``onground`` and ``callsign``.
    identified
        Whether ``aircraft`` is a flight id: its points are one flight unless half a day is between
        two of them.
    """
    seconds = get_seconds(points)
    columns = [get_numbers(points, name) for name in ("latitude", "longitude", "altitude")]
    speed = get_numbers(points, "groundspeed")
    state = get_numbers(points, "onground")
    callsign = np.full(len(points), -1)
    if "callsign" in points:
        callsign = np.array(pd.factorize(points["callsign"])[0])
    aircraft = np.array(points["aircraft"])
    ground = find_ground(columns[2], speed, state)
    cut = _find_cuts(aircraft, seconds, *columns, speed, ground, callsign, identified)
    part = np.cumsum(cut) - 1
    airborne = np.bincount(part, ground != 1) > 0
    return np.where(airborne, np.cumsum(airborne) - 1, -1)[part]


def find_ground(altitude: np.ndarray, speed: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return 1 for points on the ground, 0 for points in the air, -1 if unknown."""
    speed = np.where(speed < 0, np.nan, speed)  # no speed over ground
    reported = (state == 1) & ~(speed > _FAST)
    slow = np.isnan(state) & (speed < _SLOW) & ~(altitude > 10_000)
    unknown = np.isnan(state) & np.isnan(speed) & ~(altitude > 10_000)
    return np.where(unknown, -1, reported | slow).astype(np.int8)


def find_stops(points: pd.DataFrame) -> np.ndarray:
    """Return 1 for points of a stop, 0 for points in the air, NaN where neither is certain.

    Receivers of pilots report neither a speed nor a state. An aircraft has stopped where it stays
    at one place and altitude for two minutes, and is in the air where its positions show a speed
    above 35 kt or a climb; what is slower may be taxi, or a glider in a thermal.

    Parameters
    ----------
    points
        As for `segment_flights`.
    """
    columns = [get_numbers(points, name) for name in ("latitude", "longitude", "altitude")]
    return _stops(np.array(points["aircraft"]), get_seconds(points), *columns)


@compiled
def _stops(aircraft, seconds, lat, lon, altitude):
    state = np.full(len(aircraft), np.nan)
    first = 0
    while first < len(aircraft):
        end = first + 1
        while end < len(aircraft) and aircraft[end] == aircraft[first]:
            miles = _distance_between(lat[first], lon[first], lat[end], lon[end])
            if miles > _STILL[0] or abs(altitude[end] - altitude[first]) > _STILL[1]:
                break
            end += 1
        lasts = seconds[end - 1] - seconds[first] >= _STOP and end - first > 2
        if lasts and not altitude[first] > 10_000:  # there, the position is stale
            state[first:end] = 1
            first = end
            continue
        k = first + 1
        while k < len(aircraft) and aircraft[k] == aircraft[first]:
            span = seconds[k] - seconds[first]
            if span >= _SPAN:
                miles = _distance_between(lat[first], lon[first], lat[k], lon[k])
                climb = abs(altitude[k] - altitude[first])
                if miles / span * 3600 > _SLOW or climb / span * 60 > _CLIMB:
                    state[first] = 0
                break
            k += 1
        first += 1
    return state


def find_taxiing(flight: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Return which points are on the ground, except the last before and the first after a flight.

    Parameters
    ----------
    flight
        Number of the flight, in increasing order.
    ground
        As returned by `find_ground`.
    """
    rows = np.arange(len(flight))
    airborne = rows[ground != 1]
    first = np.zeros(flight.max(initial=-1) + 1, int)
    last = np.full(len(first), len(flight))
    for edge, neighbour in ((first, {"prepend": -1}), (last, {"append": -1})):
        ends = airborne[np.diff(flight[airborne], **neighbour) != 0]
        edge[flight[ends]] = ends
    return (rows < first[flight] - 1) | (rows > last[flight] + 1)


def split_tracks(
    group: np.ndarray,
    seconds: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    speed: float,
    tolerance: float,
) -> np.ndarray:
    """Return the track number of each point, such that no track exceeds a speed [kt].

    Points of two aircraft with the same callsign are separated into two tracks. A point is added to
    the nearest track from which it can be reached, or begins a new one.

    Parameters
    ----------
    group
        Number of the callsign or the flight; points are ordered by it, then by time.
    speed, tolerance
        Highest speed [kt], and error of a position [NM].
    """
    arrays = (np.require(array, requirements="W") for array in (group, seconds, lat, lon))
    return _split(*arrays, speed / 3600, tolerance, _PACE / 3600)


def split_altitudes(
    group: np.ndarray, seconds: np.ndarray, altitude: np.ndarray, rate: float, tolerance: float
) -> np.ndarray:
    """Return the track number of each altitude, such that no track exceeds a rate [ft/min].

    As `split_tracks`, for altitudes and their error [ft].
    """
    return _split(group, seconds, altitude, None, rate / 60, tolerance, rate / 60)


def get_numbers(points: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as a writable array of numbers, NaN if missing.

    Numba compiles loops again for arrays that are not writable.
    """
    if name not in points:
        return np.full(len(points), np.nan)
    return points[name].to_numpy(dtype=float, na_value=np.nan, copy=True)


def get_seconds(points: pd.DataFrame, name: str = "timestamp") -> np.ndarray:
    """Return a column of times as seconds since 1970, NaN if missing."""
    times = points[name].astype("datetime64[ms, UTC]")
    return np.where(times.isna(), np.nan, times.astype("int64") / 1000)


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
def _split(group, seconds, y, x, rate, tolerance, pace):
    """Return track numbers of positions [deg], or of values, compiled for each.

    ``y`` is the latitude and ``x`` the longitude; for values, ``x`` is None.

    Rates are per second. Tracks without points for a long time get a higher cost.
    """
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
            apart = abs(y[i] - y[j]) if x is None else _distance_between(y[j], x[j], y[i], x[i])
            reach = rate * (seconds[i] - seconds[j]) + tolerance
            cost = apart + pace * (seconds[i] - seconds[j])
            if apart <= reach and cost < nearest:
                best, nearest = k, cost
        if best < 0:
            if tracks < _OPEN:
                best = tracks
                tracks += 1
            else:
                best = np.argmin(last)
            number[best] = count
            count += 1
        last[best] = i
        track[i] = number[best]
    return track


@compiled
def _may_have_landed(i, j, seconds, lat, lon, altitude, speed, ground, changed):
    """Return whether an aircraft had the time to land between two points."""
    silence = seconds[j] - seconds[i]
    if silence <= _SILENCE:
        return False
    miles = _distance_between(lat[i], lon[i], lat[j], lon[j])
    if miles / silence * 3600 > _LIMIT:
        return True
    pace = _CRUISE
    climb = 0.0
    for k in (i, j):
        if speed[k] > pace:
            pace = speed[k]
        if ground[k] != 1 and altitude[k] > 0:
            climb += altitude[k] / _CHANGE_OF_LEVEL * 60
    stop = _TURNAROUND[1] if changed else _TURNAROUND[0]
    return silence - miles / pace * 3600 >= stop + climb


@compiled
def _find_cuts(aircraft, seconds, lat, lon, altitude, speed, ground, callsign, identified):  # noqa: C901 (one loop, compiled)
    """Return the points that begin a new part."""
    n = len(aircraft)
    cut = np.zeros(n, np.bool_)
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
                cut[i] = seconds[i] - seconds[i - 1] > _HALF_DAY
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
    return cut


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
