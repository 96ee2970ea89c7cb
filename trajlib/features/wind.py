"""The wind that recent flights met, estimated from their ground velocities in cruise.

A ground velocity is the air velocity plus the wind. At similar airspeeds, ground velocities lie on
a circle around the wind: ``|g|² = 2 g · w + c``, with ``c = V² - |w|²``, is linear in w and c
(Kåsa 1976).
"""

import numpy as np
import pandas as pd

from trajlib.geodesy import along_cross_track, distance, find_airport, track

WIND = ("wind_u", "wind_v", "wind_residual")
_CRUISE = 24_000.0  # ft, above which jets have similar airspeeds
_SPEED = 450.0  # kt; assumed airspeed if tracks are too similar to separate it from the wind
_STEPS = 2  # the track is measured over so many points, since many positions are rounded
_CORRIDOR = 150.0  # largest distance from the route [NM]
_ASSUMED = 1.0  # weight of the assumption of calm air, in samples
_MIN_SAMPLES = 20


def measure_velocities(points: pd.DataFrame, origin: str, destination: str) -> pd.DataFrame:
    """Return ground velocities of flights in cruise, near the route of one city pair.

    Parameters
    ----------
    points
        By ``path`` and ``point``: ``timestamp``, ``latitude``, ``longitude`` [deg], ``altitude``
        [ft] and ``groundspeed`` [kt].

    Returns
    -------
    DataFrame
        ``timestamp`` of the point, ``speed`` [kt]; and ``track`` [deg], from the point two
        before.
    """
    before = points.groupby(level="path", sort=False).shift(_STEPS)
    level = (before["altitude"] >= _CRUISE) & (points["altitude"] >= _CRUISE)
    start, end = find_airport(origin).position, find_airport(destination).position
    course, length = track(*start, *end), distance(*start, *end)
    cruise = points[level & points["groundspeed"].notna()]
    along, cross = along_cross_track(cruise["latitude"], cruise["longitude"], *start, course)
    near = (np.abs(cross) <= _CORRIDOR) & (np.abs(along - length / 2) <= length / 2 + _CORRIDOR)
    cruise, before = cruise[near], before.loc[cruise.index[near]]
    flown = track(before["latitude"], before["longitude"], cruise["latitude"], cruise["longitude"])
    return pd.DataFrame(
        {"timestamp": cruise["timestamp"], "speed": cruise["groundspeed"], "track": flown}
    ).reset_index(drop=True)


def estimate_wind(
    velocities: pd.DataFrame, moments: pd.Series, *, hours: float = 2.0
) -> pd.DataFrame:
    """Return the wind that best fits the velocities in the hours before each moment.

    Least squares over groundspeed and track. If tracks are similar, the airspeed is assumed to be
    that of a jet, and the wind across the tracks to be zero.

    Parameters
    ----------
    velocities
        As returned by `measure_velocities`.
    moments
        Times by path.

    Returns
    -------
    DataFrame
        ``wind_u`` (towards east), ``wind_v`` (towards north) and ``wind_residual`` [kt], the root
        mean square of the residuals of the speeds; missing where there are fewer than 20
        samples.

    >>> track = np.arange(0.0, 360)  # 450 kt through air that moves at 50 kt towards east
    >>> east, north = 450 * np.sin(np.radians(track)) + 50, 450 * np.cos(np.radians(track))
    >>> velocity = {"speed": np.hypot(east, north), "track": np.degrees(np.arctan2(east, north))}
    >>> moment = pd.Series(pd.Timestamp("2020-01-01T12:00", tz="UTC"), ["a"])
    >>> velocities = pd.DataFrame({"timestamp": moment["a"] - pd.Timedelta("1h"), **velocity})
    >>> estimate_wind(velocities, moment).round().abs().loc["a"].tolist()
    [50.0, 0.0, 0.0]
    """
    velocities = velocities.sort_values("timestamp", kind="stable")
    speed, angle = velocities["speed"] / _SPEED, np.radians(velocities["track"])
    parts = [2 * speed * np.sin(angle), 2 * speed * np.cos(angle), 0 * speed + 1, speed**2]
    rows = np.column_stack(parts)
    products = np.concatenate([np.zeros((1, 4, 4)), rows[:, :, None] * rows[:, None, :]])
    times, until = (to_nanoseconds(series) for series in (velocities["timestamp"], moments))
    since = until - np.int64(hours * 3600e9)
    high, low = (np.searchsorted(times, edge, side="right") for edge in (until, since))
    sums = products.cumsum(axis=0)
    sums = sums[high] - sums[low]
    square, right = sums[:, :3, :3], sums[:, :3, 3]
    calm = _ASSUMED * np.eye(3)
    fit = np.linalg.solve(square + calm, (right + calm[2])[:, :, None])[:, :, 0]
    error = sums[:, 3, 3] - 2 * (fit * right).sum(1) + np.einsum("ni,nij,nj->n", fit, square, fit)
    count = high - low
    # the residual of |g|² is twice that of |g|
    residual = np.sqrt(np.maximum(error, 0) / np.maximum(count, 1)) / 2
    table = _SPEED * np.column_stack([fit[:, :2], residual])
    table[count < _MIN_SAMPLES] = np.nan
    return pd.DataFrame(table, moments.index, WIND)


def to_nanoseconds(times: pd.Series) -> np.ndarray:
    """Return times as integers [ns] since 1970."""
    return times.dt.as_unit("ns").astype("int64").to_numpy()
