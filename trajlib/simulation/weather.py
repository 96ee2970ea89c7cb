"""Weather for simulated flights: winds, temperatures and pressure, correlated over hours."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.signal import lfilter

from trajlib.simulation.performance import standard

START = pd.Timestamp("2015-12-28", tz="UTC")  # some days before the first flight
HOURS = 24 * 162
LEVELS = np.array([0, 5e3, 1e4, 1.8e4, 2.4e4, 3e4, 3.4e4, 3.9e4, 4.5e4])  # ft, pressure altitude
# Winters over Spain: westerlies that grow with height to a jet near 34,000 ft, with a day-to-day
# spread; temperatures depart from the standard by some kelvins.
WIND_MEAN = np.array([2, 7, 12, 22, 30, 38, 41, 37, 30.0])  # kt, towards east
WIND_SPREAD = np.array([6, 9, 12, 17, 21, 25, 27, 25, 21.0])  # kt, both components
TEMPERATURE_SPREAD = np.array([3.5, 3.5, 3, 2.5, 2.5, 2.5, 3, 4, 4.0])  # K
HOURS_PER_DEGREE = 1.8  # weather moves east at about 25 kt


class Weather(NamedTuple):
    """Hourly weather on the meridian of Madrid.

    ``levels`` has the shape (hour, level, 4): wind towards east and north [kt], temperature
    minus the standard one [K], and geometric height minus pressure altitude due to warmer air below
    [ft]. ``pressure`` (hour) is the pressure at sea level [hPa].
    """

    levels: np.ndarray
    pressure: np.ndarray


@cache
def draw_weather(seed: int) -> Weather:
    """Return the weather of January to May 2016 for a seed.

    Each quantity is a sum of two first-order autoregressions in time, of days and of hours,
    correlated between heights. No part of it is a function of the hour of day.

    >>> draw_weather(1).levels.shape
    (3888, 9, 4)
    """
    rng = np.random.default_rng([seed, 1])
    season = np.linspace(0, 1, HOURS)[:, None]
    wind_u = WIND_MEAN * (1.15 - 0.4 * season) + WIND_SPREAD * _draw_levels(rng)
    wind_v = WIND_SPREAD * _draw_levels(rng)
    departure = 6 * (season - 0.4) * np.linspace(1, 0.3, LEVELS.size)
    departure = departure + TEMPERATURE_SPREAD * _draw_levels(rng)
    warmth = departure / standard(LEVELS)[0]
    layers = (warmth[:, 1:] + warmth[:, :-1]) / 2 * np.diff(LEVELS)
    thickness = np.cumsum(np.pad(layers, ((0, 0), (1, 0))), axis=1)
    pressure = 1018 + 7 * autoregress(rng, (HOURS,), 60.0)
    return Weather(np.stack([wind_u, wind_v, departure, thickness], axis=-1), pressure)


def sample_weather(
    weather: Weather, seconds: ArrayLike, lat: ArrayLike, lon: ArrayLike, altitude: ArrayLike
) -> pd.DataFrame:
    """Return wind, temperature departure and geometric height at samples.

    ``seconds`` since 1970 UTC, ``lat``, ``lon`` [deg] and ``altitude`` [ft] are scalars or of one
    shape (samples,). Weather systems move east unchanged: Barcelona has the weather of Madrid ten
    hours later.

    Returns
    -------
    DataFrame
        ``wind_u wind_v`` [kt], ``temperature_departure`` [K] and ``geoaltitude`` [ft], the last
        from the hydrostatic equation.

    >>> noon = pd.Timestamp("2016-02-01T12:00Z").timestamp()
    >>> list(sample_weather(draw_weather(1), noon, 40.5, -3.6, 30_000.0).columns)
    ['wind_u', 'wind_v', 'temperature_departure', 'geoaltitude']
    """
    seconds, lat, lon, altitude = np.broadcast_arrays(seconds, lat, lon, altitude)
    hours = (seconds - START.timestamp()) / 3600 - HOURS_PER_DEGREE * (lon + 3.6) - (lat - 40.5)
    hour = np.clip(hours.astype(int), 0, HOURS - 2)
    share = hours - hour
    level = np.clip(np.searchsorted(LEVELS, altitude) - 1, 0, LEVELS.size - 2)
    rise = altitude - LEVELS[level]
    below = _between(weather.levels[hour, level], weather.levels[hour + 1, level], share)
    above = _between(weather.levels[hour, level + 1], weather.levels[hour + 1, level + 1], share)
    air = _between(below, above, rise / np.diff(LEVELS)[level])
    warmth = below[..., 2] / standard(LEVELS[level])[0] + air[..., 2] / standard(altitude)[0]
    pressure = _between(weather.pressure[hour], weather.pressure[hour + 1], share)
    columns = {
        "wind_u": air[..., 0],
        "wind_v": air[..., 1],
        "temperature_departure": air[..., 2],
        # 27.3 ft per hectopascal near sea level
        "geoaltitude": altitude + 27.3 * (pressure - 1013.25) + below[..., 3] + warmth / 2 * rise,
    }
    return pd.DataFrame({name: np.atleast_1d(values) for name, values in columns.items()})


def autoregress(rng: np.random.Generator, shape: tuple[int, ...], memory: float) -> np.ndarray:
    """Return standard normal series along the first axis, correlated over ``memory`` steps."""
    correlation = np.exp(-1 / memory)
    noise = rng.standard_normal(shape) * np.sqrt(1 - correlation**2)
    noise[0] /= np.sqrt(1 - correlation**2)
    return lfilter([1.0], [1.0, -correlation], noise, axis=0)


def _draw_levels(rng: np.random.Generator) -> np.ndarray:
    shape = (HOURS, LEVELS.size)
    slow, fast = autoregress(rng, shape, 42.0), autoregress(rng, shape, 5.0)
    correlation = np.exp(-np.abs(LEVELS[:, None] - LEVELS) / 25_000)
    return (np.sqrt(0.88) * slow + np.sqrt(0.12) * fast) @ np.linalg.cholesky(correlation).T


def _between(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = share.reshape(share.shape + (1,) * (start.ndim - share.ndim))
    return start + (end - start) * share
