"""Features of a flight: its phases, and what air traffic control made of it.

Every feature has a unit and a knowledge in one table. None is computed across a long gap: where
the flight was not seen for minutes its feature is missing, or counts what was seen.
"""

import numpy as np
import pandas as pd

from trajlib.geodesy import distance, find_airport

__all__ = ["FEATURES", "LONG_GAP", "measure_features", "measure_laps"]

LONG_GAP = 150.0  # s to the nearest point: for five minutes between two points nothing was seen

# name | unit | knowledge | what it is. A feature known in flight is of the flight until then: cut
# the flight at the moment of knowledge, and measure what is left.
_TABLE = """
top_of_climb_time       | s      | hindsight | from the first sample to the top of climb
top_of_climb_distance   | NM     | hindsight | the distance flown until there
top_of_descent_time     | s      | hindsight | from the first sample to the top of descent
top_of_descent_distance | NM     | hindsight | the distance still to be flown from there
cruise_time             | s      | hindsight | between the two tops
descent_time            | s      | hindsight | from the top of descent to the last sample
level_segments          |        | hindsight | stretches of a minute or more, level, but not cruise
level_time              | s      | hindsight | the time in them
energy_rate_climb       | ft/min | hindsight | mean rate of h + v²/2g until the top of climb
energy_rate_descent     | ft/min | hindsight | the same from the top of descent
holding_laps            |        | in_flight | whole circles that came back to where they began
holding_time            | s      | in_flight | the time in them
go_arounds              |        | in_flight | climbs of 1,000 ft near the destination, from low
excess_distance         | NM     | in_flight | distance flown less the geodesic between its ends
along_wind              | kt     | in_flight | mean wind along the course, positive from behind
"""
FEATURES = pd.DataFrame(
    [[part.strip() for part in line.split("|")] for line in _TABLE.strip().splitlines()],
    columns=["feature", "unit", "knowledge", "meaning"],
).set_index("feature")

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
    df = _thin(df)
    laps = measure_laps(df)
    return {
        **_measure_phases(df),
        "holding_laps": len(laps),
        "holding_time": float((laps["end"] - laps["start"]).sum()),
        "go_arounds": _count_go_arounds(df),
        "excess_distance": _measure_excess(df),
        "along_wind": _measure_wind(df),
    }


def measure_laps(df: pd.DataFrame) -> pd.DataFrame:
    """Return ``start`` and ``end`` [s] of each lap, one a row.

    A lap turns through a whole circle and comes back to within 1.5 NM of where it began, on the
    same course, in 1 to 10 minutes: the circuit of a missed approach takes longer. The next begins
    where it ended.

    Parameters
    ----------
    df
        Samples of a flight; a change in ``piece``, where it has it, is a long gap.
    """
    if len(df) < 2 or "track" not in df:
        return pd.DataFrame({"start": [], "end": []}, dtype=float)
    time, turned = df["duration"].to_numpy(), _unwrap(df["track"].to_numpy())
    piece = df["piece"].to_numpy() if "piece" in df else np.zeros(len(df))
    lat = df["latitude"].to_numpy()
    x, y = df["longitude"].to_numpy() * np.cos(np.radians(lat)) * 60, lat * 60
    laps, at = [], 0
    while at < len(df) and np.ptp(turned[at:]) > 315:
        first, last = np.searchsorted(time, [time[at] + _LAP[0], time[at] + _LAP[1]])
        off = np.hypot(x[first:last] - x[at], y[first:last] - y[at])
        turn = np.abs(turned[first:last] - turned[at])
        lap = (abs(turn - 360) < 45) & (off < _BACK) & (piece[first:last] == piece[at])
        back = first + int(np.where(lap, off, np.inf).argmin()) if lap.any() else at
        if back > at:
            laps.append((time[at], time[back]))
        at = max(back, at + 1)
    return pd.DataFrame(laps, columns=["start", "end"], dtype=float)


def _thin(df: pd.DataFrame) -> pd.DataFrame:
    """Return a sample every ten seconds that was seen, and the ``piece`` between gaps it is of."""
    time = df["duration"].to_numpy()
    unseen = df[["altitude", "latitude", "longitude"]].isna().any(axis=1).to_numpy()
    if "gap" in df:
        unseen = unseen | (df["gap"].to_numpy() > LONG_GAP)
    at = np.searchsorted(time, np.arange(time[0], time[-1], _STEP))
    at = np.unique(np.append(at, len(df) - 1))
    at = at[~unseen[at]]
    broken = np.diff(np.cumsum(unseen)[at]) > 0
    broken |= np.diff(time[at]) > 2 * LONG_GAP
    attrs, thin = df.attrs, df.iloc[at].reset_index(drop=True)
    thin = thin.assign(piece=np.concatenate([[0], np.cumsum(broken)])[: len(at)])
    thin.attrs = attrs
    return thin


def _measure_phases(df: pd.DataFrame) -> dict[str, float]:
    names = list(FEATURES.index[:10])
    if len(df) < 2:
        return dict.fromkeys(names, np.nan)
    runs = _find_level(df)
    high = runs[runs["altitude"] >= _CRUISE * df["altitude"].max()]
    top = int(df["altitude"].to_numpy().argmax())
    start, end = (high["start"].min(), high["end"].max()) if len(high) else (top, top)
    time, flown, energy = df["duration"], df["distance"], _energy(df)
    last = len(df) - 1
    others = runs[(runs["end"] <= start) | (runs["start"] >= end)]
    level = (time[others["end"]].to_numpy() - time[others["start"]].to_numpy()).sum()
    climb, descent = _between(df, 0, start, time), _between(df, end, last, time)
    values = [
        climb, _between(df, 0, start, flown),
        _between(df, 0, end, time), _between(df, end, last, flown),
        _between(df, start, end, time), descent, float(len(others)), float(level),
        60 * _between(df, 0, start, energy) / (climb or np.nan),
        60 * _between(df, end, last, energy) / (descent or np.nan),
    ]  # fmt: skip
    return dict(zip(names, map(float, values), strict=True))


def _between(df: pd.DataFrame, start: int, end: int, values: pd.Series) -> float:
    """Return what values grow by from one sample to another; missing across a long gap.

    A phase is not known to begin or to end beside a gap either, where the flight was unseen.
    """
    piece = df["piece"].to_numpy()[[max(start - 1, 0), min(end + 1, len(df) - 1)]]
    return values[end] - values[start] if piece[0] == piece[1] else np.nan


def _find_level(df: pd.DataFrame) -> pd.DataFrame:
    """Return ``start`` and ``end`` sample and ``altitude`` [ft] of each level segment."""
    time, altitude = df["duration"].to_numpy(), df["altitude"].to_numpy()
    level = np.abs(np.diff(altitude)) * 60 < _LEVEL * np.diff(time)
    level &= np.diff(df["piece"].to_numpy()) == 0
    edges = np.diff(np.concatenate([[0], level.astype(int), [0]]))
    runs = pd.DataFrame({"start": np.flatnonzero(edges == 1), "end": np.flatnonzero(edges == -1)})
    runs = runs[time[runs["end"]] - time[runs["start"]] >= _SHORTEST]
    return runs.assign(altitude=altitude[runs["end"]])


def _energy(df: pd.DataFrame) -> pd.Series:
    """Return the height [ft] that the flight's energy would lift it to."""
    known = [name for name in ("true_airspeed", "groundspeed") if name in df]
    if not known:
        return pd.Series(np.nan, df.index)
    return df["altitude"] + df[known[0]] ** 2 / (2 * _GRAVITY)


def _count_go_arounds(df: pd.DataFrame) -> int:
    airport = find_airport(df.attrs["destination"])
    off = distance(df["latitude"], df["longitude"], airport.latitude, airport.longitude)
    count, piece, lowest, highest = 0, None, np.inf, None
    for height, now in df.loc[off < _NEAR, ["altitude", "piece"]].to_numpy():
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


def _measure_excess(df: pd.DataFrame) -> float:
    if len(df) < 2 or df["piece"].iloc[-1] > 0:
        return np.nan
    first, last = df.iloc[0], df.iloc[-1]
    ends = (end[name] for end in (first, last) for name in ("latitude", "longitude"))
    return float(last["distance"] - first["distance"] - distance(*ends))


def _measure_wind(df: pd.DataFrame) -> float:
    if not {"wind_u", "wind_v", "track"} <= set(df):
        return np.nan
    course = np.radians(df["track"])
    return float((df["wind_u"] * np.sin(course) + df["wind_v"] * np.cos(course)).mean())


def _unwrap(track: np.ndarray) -> np.ndarray:
    """Return courses [deg] that go on beyond north; a missing one is that before it."""
    return np.unwrap(pd.Series(track).ffill().bfill().to_numpy(), period=360)
