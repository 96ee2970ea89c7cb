"""Features of a flight: its phases, and what air traffic control made of it.

Every feature has a unit and a feature_set in one table. None is computed across a long gap: where
the flight was not seen for minutes its feature is missing, or counts what was seen.
"""

import numpy as np
import pandas as pd

from trajlib.geodesy import distance, find_airport

__all__ = ["FEATURES", "LONG_GAP", "measure_features"]

LONG_GAP = 150.0  # s to the nearest point: for five minutes between two points nothing was seen

# name | unit | feature_set | what it is. A feature known in flight is of the flight until then: cut
# the flight at the moment of feature_set, and measure what is left.
_TABLE = """
top_of_climb_time       | s      | whole_flight | from the first sample to the top of climb
top_of_climb_distance   | NM     | whole_flight | the distance flown until there
top_of_descent_time     | s      | whole_flight | from the first sample to the top of descent
top_of_descent_distance | NM     | whole_flight | the distance still to be flown from there
cruise_time             | s      | whole_flight | between the two tops
descent_time            | s      | whole_flight | from the top of descent to the last sample
level_segments          |        | whole_flight | level for a minute or more, other than in cruise
level_time              | s      | whole_flight | the time in them
energy_rate_climb       | ft/min | whole_flight | mean rate of h + v²/2g until the top of climb
energy_rate_descent     | ft/min | whole_flight | the same from the top of descent
holding_laps            |        | airborne | whole circles that came back to where they began
holding_time            | s      | airborne | the time in them
go_arounds              |        | airborne | climbs of 1,000 ft near the destination, from low
excess_distance         | NM     | airborne | distance flown less the geodesic between its ends
along_wind              | kt     | airborne | mean wind along the course, positive from behind
"""
FEATURES = pd.DataFrame(
    [[part.strip() for part in line.split("|")] for line in _TABLE.strip().splitlines()],
    columns=["feature", "unit", "feature_set", "meaning"],
).set_index("feature")

Samples = dict[str, np.ndarray]  # of one flight, by column: a DataFrame would take most of the time

_LOOKED_AT = ("duration", "distance", "latitude", "longitude", "altitude", "groundspeed", "track")
_LOOKED_AT += ("true_airspeed", "wind_u", "wind_v", "gap")
_STEP = 10.0  # s between the samples that are looked at
_LEVEL, _SHORTEST = 300.0, 60.0  # ft/min below which a flight is level, and s for it to count
_CRUISE = 0.9  # of the highest altitude, from which a level segment is cruise
_LAP = (60.0, 600.0)  # s
_BACK = 1.5  # NM within which a lap comes back to its beginning
_NEAR, _LOW, _AGAIN = 10.0, 3000.0, 1000.0  # NM, ft above the airport, ft climbed and descended
_GRAVITY = 9.80665 / 0.3048 / (1852 / 3600 / 0.3048) ** 2  # kt²/ft


def measure_features(df: pd.DataFrame) -> dict[str, float]:
    """Return every feature of ``FEATURES`` of one flight; missing where it cannot be known.

    Cruise lasts from the first to the last level segment within a tenth of the highest altitude;
    before it is climb, after it descent; a flight that is nowhere level there only has a top.
    openap's fuzzy phases were weighed: their sets are fixed around 35,000 ft and 600 kt, and one
    label a minute tells a top of climb no closer than that.

    Parameters
    ----------
    df
        A flight with ``duration``, ``distance``, ``latitude``, ``longitude`` and ``altitude``,
        its ``destination`` in its attributes; ``gap``, speeds, ``track`` and a measured wind
        where they are known. The energy is of the true airspeed, or else of the groundspeed.

    >>> seconds = np.arange(0.0, 3600, 10)
    >>> df = pd.DataFrame({"duration": seconds, "distance": seconds / 9, "latitude": 0.0})
    >>> df = df.assign(longitude=df["distance"] / 60.108, track=90.0)
    >>> df["altitude"] = np.interp(seconds, [0, 1200, 2400, 3590], [0, 30000, 30000, 0])
    >>> df.attrs["destination"] = "LEBL"
    >>> measured = measure_features(df)
    >>> measured["top_of_climb_time"], measured["cruise_time"], measured["holding_laps"]
    (1200.0, 1200.0, 0)
    """
    seen = _thin(df)
    laps = _find_laps(seen)
    return {
        **_measure_phases(seen),
        "holding_laps": len(laps),
        "holding_time": float(sum(end - start for start, end in laps)),
        "go_arounds": _count_go_arounds(seen, df.attrs["destination"]),
        "excess_distance": _measure_excess(seen),
        "along_wind": _measure_wind(seen),
    }


def _thin(df: pd.DataFrame) -> Samples:
    """Return a sample every ten seconds that was seen, and the ``piece`` between gaps it is of."""
    flight = {name: df[name].to_numpy(float) for name in _LOOKED_AT if name in df}
    time = flight["duration"]
    unseen = np.isnan([flight[name] for name in ("altitude", "latitude", "longitude")]).any(axis=0)
    if "gap" in flight:
        unseen |= flight["gap"] > LONG_GAP
    at = np.searchsorted(time, np.arange(time[0], time[-1], _STEP))
    at = np.unique(np.append(at, len(df) - 1))
    at = at[~unseen[at]]
    broken = np.diff(np.cumsum(unseen)[at]) > 0
    broken |= np.diff(time[at]) > 2 * LONG_GAP
    piece = np.concatenate([[0], np.cumsum(broken)])[: len(at)]
    return {name: values[at] for name, values in flight.items()} | {"piece": piece}


def _find_laps(seen: Samples) -> list[tuple[float, float]]:
    """Return start and end [s] of each lap; the next begins where one ended, or later.

    A lap turns through a whole circle and comes back to within 1.5 NM of where it began, on the
    same course, in 1 to 10 minutes: the circuit of a missed approach takes longer.
    """
    time, piece, lat = seen["duration"], seen["piece"], seen["latitude"]
    if len(time) < 2 or "track" not in seen:
        return []
    turned = _unwrap(seen["track"])
    lon = np.unwrap(seen["longitude"], period=360)
    x, y = lon * np.cos(np.radians(lat.mean())) * 60, lat * 60  # one scale, or it shears
    laps, at = [], 0
    for begin in np.flatnonzero(_turns_from(turned) > 315):
        if begin < at:
            continue
        first, last = np.searchsorted(time, time[begin] + np.array(_LAP))
        off = np.hypot(x[first:last] - x[begin], y[first:last] - y[begin])
        turn = np.abs(turned[first:last] - turned[begin])
        lap = (abs(turn - 360) < 45) & (off < _BACK) & (piece[first:last] == piece[begin])
        if lap.any():
            at = first + int(np.where(lap, off, np.inf).argmin())
            laps.append((time[begin], time[at]))
    return laps


def _turns_from(turned: np.ndarray) -> np.ndarray:
    """Return the largest turn [deg] from each sample to one after it."""
    most, least = (of.accumulate(turned[::-1])[::-1] for of in (np.maximum, np.minimum))
    return np.maximum(most - turned, turned - least)


def _measure_phases(seen: Samples) -> dict[str, float]:
    names = list(FEATURES.index[:10])
    time, altitude = seen["duration"], seen["altitude"]
    if len(time) < 2:
        return dict.fromkeys(names, np.nan)
    begins, ends = _find_level(seen)
    high = altitude[begins] >= _CRUISE * altitude.max()
    top = int(altitude.argmax())
    start, end = (begins[high][0], ends[high][-1]) if high.any() else (top, top)
    flown, energy, last = seen["distance"], _energy(seen), len(time) - 1
    others = (ends <= start) | (begins >= end)
    level = (time[ends] - time[begins])[others].sum()
    climb, descent = _between(seen, 0, start, time), _between(seen, end, last, time)
    values = [
        climb, _between(seen, 0, start, flown),
        _between(seen, 0, end, time), _between(seen, end, last, flown),
        _between(seen, start, end, time), descent, others.sum(), level,
        60 * _between(seen, 0, start, energy) / (climb or np.nan),
        60 * _between(seen, end, last, energy) / (descent or np.nan),
    ]  # fmt: skip
    return dict(zip(names, map(float, values), strict=True))


def _between(seen: Samples, start: int, end: int, values: np.ndarray) -> float:
    """Return what values grow by from one sample to another; missing across a long gap.

    A phase is not known to begin or to end beside a gap either, where the flight was unseen.
    """
    piece = seen["piece"][[max(start - 1, 0), min(end + 1, len(values) - 1)]]
    return values[end] - values[start] if piece[0] == piece[1] else np.nan


def _find_level(seen: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last sample of each level segment, in their order."""
    time = seen["duration"]
    level = np.abs(np.diff(seen["altitude"])) * 60 < _LEVEL * np.diff(time)
    level &= np.diff(seen["piece"]) == 0
    edges = np.diff(np.concatenate([[0], level.astype(int), [0]]))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lasting = time[ends] - time[begins] >= _SHORTEST
    return begins[lasting], ends[lasting]


def _energy(seen: Samples) -> np.ndarray:
    """Return the height [ft] that the flight's energy would lift it to."""
    known = [name for name in ("true_airspeed", "groundspeed") if name in seen]
    if not known:
        return np.full(len(seen["altitude"]), np.nan)
    return seen["altitude"] + seen[known[0]] ** 2 / (2 * _GRAVITY)


def _count_go_arounds(seen: Samples, destination: str) -> int:
    airport = find_airport(destination)
    near = distance(seen["latitude"], seen["longitude"], airport.latitude, airport.longitude)
    near = near < _NEAR
    count, piece, lowest, highest = 0, None, np.inf, None
    for height, now in zip(seen["altitude"][near], seen["piece"][near], strict=True):
        if now != piece:  # what it did in between was not seen
            piece, lowest, highest = now, np.inf, None
        if highest is None:
            lowest = min(lowest, height)
            if lowest < airport.elevation + _LOW and height >= lowest + _AGAIN:
                count, highest = count + 1, height
        else:
            highest = max(highest, height)
            if height <= highest - _AGAIN:
                lowest, highest = height, None
    return count


def _measure_excess(seen: Samples) -> float:
    if len(seen["piece"]) < 2 or seen["piece"][-1] > 0:
        return np.nan
    ends = (seen[name][at] for at in (0, -1) for name in ("latitude", "longitude"))
    return float(seen["distance"][-1] - seen["distance"][0] - distance(*ends))


def _measure_wind(seen: Samples) -> float:
    if not {"wind_u", "wind_v", "track"} <= set(seen):
        return np.nan
    course = np.radians(seen["track"])
    along = seen["wind_u"] * np.sin(course) + seen["wind_v"] * np.cos(course)
    known = along[np.isfinite(along)]
    return float(known.mean()) if len(known) else np.nan


def _unwrap(track: np.ndarray) -> np.ndarray:
    """Return courses [deg] that go on beyond north; a missing one is that before it."""
    if np.isnan(track).any():
        track = pd.Series(track).ffill().bfill().to_numpy()
    return np.unwrap(track, period=360)
