"""Surveillance points of one flight: thinned, checked, and interpolated to every second."""

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from trajlib.archive.reading import FlightError
from trajlib.geodesy import NAUTICAL_MILE, distance, find_airport, track

__all__ = ["check_points", "interpolate_points", "leave_one_out", "thin_points"]

SPACING = 30  # s at least between points: closer ones come from two radars that disagree
POINTS = 20  # at least
GAP = 420  # s at most between points
REACH = 15  # km at most from the airports to the first and the last point
RATE = 6000  # ft/min at most: beyond, the level assigned was reported for the level flown
SPEED = 1000  # kt at most from point to point, the disagreement of radars included


def thin_points(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points that tell everything and come `SPACING` or more after the one before.

    A groundspeed of 0 is how the feed tells that there is none. Whether a point stays depends on
    those before it alone: a flight cut at any moment is thinned as the whole flight is.
    """
    points = points[points["groundspeed"] > 0].dropna()
    points = points.assign(timestamp=points["timestamp"].dt.floor("s"))
    kept, last = [], -np.inf
    for at, second in enumerate(points["timestamp"].astype("datetime64[s, UTC]").astype("int64")):
        if second >= last + SPACING:
            kept.append(at)
            last = second
    return points.iloc[kept].reset_index(drop=True)


def check_points(points: pd.DataFrame, origin: str, destination: str) -> None:
    """Raise a FlightError unless the points are a whole flight between the two airports."""
    if len(points) < POINTS:
        raise FlightError(f"fewer than {POINTS} points")
    for row, code, which in ((0, origin, "first"), (-1, destination, "last")):
        if _distance_to(points.iloc[row], code) * NAUTICAL_MILE > REACH * 1000:
            raise FlightError(f"{which} point more than {REACH} km from the airport")
    step = np.diff(_seconds(points))
    if step.max() > GAP:
        raise FlightError(f"more than {GAP} s between two points")
    if np.abs(np.diff(points["altitude"]) / step * 60).max() > RATE:
        raise FlightError(f"climbs or descends faster than {RATE} ft/min between two points")
    if (_steps(points["latitude"], points["longitude"]) / step * 3600).max() > SPEED:
        raise FlightError(f"moves faster than {SPEED} kt between two points")


def interpolate_points(points: pd.DataFrame) -> pd.DataFrame:
    """Return the flight at every second from its first point to its last.

    Parameters
    ----------
    points
        ``timestamp`` (whole seconds), ``latitude``, ``longitude`` [deg], ``altitude`` [ft] and
        ``groundspeed`` [kt] of 2 points or more, in order of time.

    Returns
    -------
    DataFrame
        The points' columns, each between its values at the points before and after (piecewise
        cubic, Fritsch and Butland 1984, through SciPy), ``duration``, ``gap`` (0 at a point),
        ``vertical_rate`` as the derivative, ``distance`` and ``track`` from second to second.
        The groundspeed is the reported one: that of the path would be noise.

    Notes
    -----
    On the flights SFO → LAX ``distance`` is 1.1 % less than the groundspeed adds up to (median):
    chords cut the turns below 10,000 ft. In cruise the two agree, so that positions on whole arc
    minutes do not lengthen it.
    """
    seconds = _seconds(points)
    grid = np.arange(seconds[-1] + 1)
    curve = PchipInterpolator(seconds, _values(points))
    lat, lon, altitude, groundspeed = curve(grid).T
    lon = (lon + 180) % 360 - 180
    after = np.searchsorted(seconds, grid)
    return pd.DataFrame(
        {
            "timestamp": points["timestamp"].iloc[0] + pd.to_timedelta(grid, "s"),
            "duration": grid,
            "gap": np.minimum(seconds[after] - grid, grid - seconds[np.maximum(after - 1, 0)]),
            "latitude": lat,
            "longitude": lon,
            "altitude": altitude,
            "distance": np.concatenate([[0.0], np.cumsum(_steps(lat, lon))]),
            "groundspeed": groundspeed,
            "vertical_rate": curve.derivative()(grid)[:, 2] * 60,
            "track": _last_twice(track(lat[:-1], lon[:-1], lat[1:], lon[1:])),
        }
    )


def leave_one_out(points: pd.DataFrame) -> pd.DataFrame:
    """Return by how much the interpolation misses each point when it is left out.

    Of anything computed from these points this is the noise floor, taken at twice the usual
    spacing. The points of an imported flight are its rows with a ``gap`` of 0.

    Returns
    -------
    DataFrame
        One row for each point between the first and the last: ``altitude`` [ft], ``cruise``
        (level above 20,000 ft), ``span`` [s] between its neighbours, and ``miss`` [NM].
    """
    seconds, values = _seconds(points), _values(points)
    inner = np.arange(1, len(points) - 1)
    missed = np.zeros((len(inner), 2))
    for phase in range(3):  # a slope depends on the next two points, so every third may go at once
        out = inner[phase::3]
        curve = PchipInterpolator(np.delete(seconds, out), np.delete(values[:, :2], out, axis=0))
        missed[phase::3] = curve(seconds[out])
    altitude = values[:, 2]
    level = np.abs(altitude[2:] - altitude[:-2]) <= 200
    return pd.DataFrame(
        {
            "altitude": altitude[1:-1],
            "cruise": level & (altitude[1:-1] > 20_000),
            "span": seconds[2:] - seconds[:-2],
            "miss": distance(*missed.T, *values[1:-1, :2].T),
        }
    )


def _values(points: pd.DataFrame) -> np.ndarray:
    values = points[["latitude", "longitude", "altitude", "groundspeed"]].to_numpy(float, copy=True)
    values[:, 1] = np.unwrap(values[:, 1], period=360)
    return values


def _seconds(points: pd.DataFrame) -> np.ndarray:
    return (points["timestamp"] - points["timestamp"].iloc[0]).dt.total_seconds().to_numpy()


def _distance_to(point: pd.Series, code: str) -> float:
    airport = find_airport(code)
    return distance(point["latitude"], point["longitude"], airport.latitude, airport.longitude)


def _steps(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    return distance(lat[:-1], lon[:-1], lat[1:], lon[1:])


def _last_twice(values: np.ndarray) -> np.ndarray:
    return np.append(values, values[-1])
