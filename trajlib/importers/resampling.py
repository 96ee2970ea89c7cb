"""Resample the points of flights at every second."""

import numpy as np

from trajlib.archive.layout import FlightError
from trajlib.compiled import compiled
from trajlib.geodesy import distance

_FAR = 900.0  # s between two measurements; farther apart, only positions are interpolated
_ANGLES = ("longitude", "track", "heading")
_A, _E2 = 6378137.0 / 1852, 0.0066943799901413165  # WGS 84: semi-major axis [NM], eccentricity²


def interpolate_points(
    seconds: np.ndarray, values: np.ndarray, names: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one flight at every whole second from its first to its last altitude.

    Parameters
    ----------
    seconds
        Increasing times since 1970 of at least 2 points.
    values
        One row per name, NaN where nothing was measured.
    names
        Columns of the schema, ``latitude longitude altitude`` first.

    Returns
    -------
    array, dict
        The seconds, and every column by name, interpolated by piecewise cubics that add no extremum
        (Fritsch and Butland 1984), without extrapolation, and what is no position or altitude not
        between measurements more than 15 minutes apart; ``duration``; ``gap``, the seconds to the
        nearest point, 0 within half a second; ``distance`` along the path. If less than half of the
        points have them, ``vertical_rate`` is derived from the altitude and ``track`` from the
        path. The groundspeed is never derived from the path, which would be too noisy.

    Raises
    ------
    FlightError
        When there is no whole second between the first and the last altitude.

    Notes
    -----
    For radar points a minute apart ``distance`` is about 1 % less than the integrated groundspeed,
    since the path cuts turns below 10,000 ft.
    """
    measured = np.flatnonzero(~np.isnan(values[2]))
    start, end = (seconds[measured[edge]] for edge in (0, -1))
    grid = np.arange(np.ceil(start), np.floor(end) + 1)
    if not len(grid):
        raise FlightError("shorter than the second to which flights are resampled")
    columns = {}
    for name, measurements in zip(names, values, strict=True):
        columns[name], slope = _interpolate_column(name, seconds, measurements, grid)
        if name == "altitude":
            climb = slope * 60
        elif name not in ("latitude", "longitude"):
            columns[name][_is_far(seconds[~np.isnan(measurements)], grid)] = np.nan
    lat, lon = columns["latitude"], columns["longitude"]
    steps, course = _steps(lat, lon)
    for name, derived in (("vertical_rate", climb), ("track", course)):
        measurements = values[names.index(name)] if name in names else np.array([np.nan])
        if np.isnan(measurements).mean() > 0.5:
            columns[name] = derived
    return grid.astype(np.int64), columns | {
        "duration": grid - grid[0],
        "gap": _gap(seconds, grid),
        "distance": np.concatenate([[0.0], np.cumsum(steps)]),
    }


def leave_one_out(seconds: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the error of the interpolation at each point if this point is left out.

    This is the noise floor of anything computed from these points, at twice the usual spacing.

    Parameters
    ----------
    seconds
        Increasing times of the points.
    values
        Rows of latitude, longitude [deg] and altitude [ft].

    Returns
    -------
    dict
        For each point between the first and the last, by name: ``altitude`` [ft], ``cruise``
        (level above 20,000 ft), ``span`` [s] between its neighbours, and ``miss`` [NM].
    """
    lat, lon, altitude = values[0], np.unwrap(values[1], period=360), values[2]
    inner = np.arange(1, len(seconds) - 1)
    missed = np.zeros((2, len(seconds)))
    for phase in range(3):  # slopes depend on two points, so every third one is left out at once
        out = inner[phase::3]
        used = np.delete(np.arange(len(seconds)), out)
        for row, angles in enumerate((lat, lon)):
            if len(out):
                missed[row, out] = _interpolate(seconds[used], angles[used], seconds[out])[0]
    level = np.abs(altitude[2:] - altitude[:-2]) <= 200
    return {
        "altitude": altitude[1:-1],
        "cruise": level & (altitude[1:-1] > 20_000),
        "span": seconds[2:] - seconds[:-2],
        "miss": distance(missed[0, inner], missed[1, inner], lat[inner], lon[inner]),
    }


def _is_far(seconds: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return which seconds lie between two measurements that are far apart."""
    if not (np.diff(seconds) > _FAR).any():
        return np.zeros(len(grid), bool)
    after = np.searchsorted(seconds, grid).clip(1, len(seconds) - 1)
    apart = seconds[after] - seconds[after - 1] > _FAR
    return apart & (grid > seconds[after - 1]) & (grid < seconds[after])


def _interpolate_column(
    name: str, seconds: np.ndarray, values: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    missing = np.isnan(values)
    if missing.any():
        seconds, values = seconds[~missing], values[~missing]
    if len(values) < 2:
        empty = np.full(len(grid), np.nan)
        return empty, empty
    if name not in _ANGLES:
        return _interpolate(seconds, values, grid)
    values, slope = _interpolate(seconds, _unwrap(values), grid)
    return (values + 180) % 360 - 180 if name == "longitude" else values % 360, slope


def _unwrap(angles: np.ndarray) -> np.ndarray:
    """Return angles [deg] as by `np.unwrap`, which is slow where nothing is to be changed."""
    jumps = np.abs(np.diff(angles)) >= 180
    return np.unwrap(angles, period=360) if jumps.any() else angles


@compiled
def _interpolate(x, y, grid):
    """Return values and slopes on a grid, like SciPy's ``PchipInterpolator``; NaN outside."""
    n = len(x)
    slope = np.empty(n)
    step, rise = np.diff(x), np.diff(y)
    secant = rise / step
    if n == 2:
        slope[:] = secant[0]
    else:
        for i in range(1, n - 1):
            if secant[i - 1] * secant[i] <= 0:
                slope[i] = 0
            else:
                left, right = 2 * step[i] + step[i - 1], step[i] + 2 * step[i - 1]
                slope[i] = (left + right) / (left / secant[i - 1] + right / secant[i])
        slope[0] = _end_slope(step[0], step[1], secant[0], secant[1])
        slope[-1] = _end_slope(step[-1], step[-2], secant[-1], secant[-2])
    values, slopes = np.full(len(grid), np.nan), np.full(len(grid), np.nan)
    i = 0
    for k in range(len(grid)):
        if grid[k] < x[0] or grid[k] > x[-1]:
            continue
        while i < n - 2 and grid[k] >= x[i + 1]:
            i += 1
        s = grid[k] - x[i]
        bend = (slope[i] + slope[i + 1] - 2 * secant[i]) / step[i]
        cubic, square = bend / step[i], (secant[i] - slope[i]) / step[i] - bend
        values[k] = y[i] + s * (slope[i] + s * (square + s * cubic))
        slopes[k] = slope[i] + s * (2 * square + 3 * s * cubic)
    return values, slopes


@compiled
def _end_slope(step, next_step, secant, next_secant):
    slope = ((2 * step + next_step) * secant - step * next_secant) / (step + next_step)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant <= 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope


@compiled
def _steps(lat, lon):
    """Return length [NM] and course [deg] from each position to the next one, some seconds away.

    Uses the ellipsoid's radii of curvature at the middle, with an error of 1e-6 for a few miles.
    """
    n = len(lat)
    steps, course = np.zeros(n - 1), np.zeros(n)
    for i in range(n - 1):
        middle = np.radians((lat[i] + lat[i + 1]) / 2)
        sine = np.sin(middle)
        curve = 1 - _E2 * sine * sine
        normal = _A / np.sqrt(curve)
        change = np.radians((lon[i + 1] - lon[i] + 180) % 360 - 180)
        north = np.radians(lat[i + 1] - lat[i]) * normal * (1 - _E2) / curve
        east = change * normal * np.cos(middle)
        steps[i] = np.hypot(north, east)
        if steps[i] > 0:
            turn = np.arctan2(east, north) - change * sine / 2
            course[i] = np.degrees(turn) % 360
        elif i > 0:
            course[i] = course[i - 1]
    if n > 1:
        course[n - 1] = course[n - 2]
    return steps, course


@compiled
def _gap(seconds, grid):
    gap = np.empty(len(grid))
    i = 0
    for k in range(len(grid)):
        while i < len(seconds) - 1 and abs(seconds[i + 1] - grid[k]) <= abs(seconds[i] - grid[k]):
            i += 1
        nearest = abs(seconds[i] - grid[k])
        gap[k] = 0.0 if nearest <= 0.5 else nearest
    return gap
