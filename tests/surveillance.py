"""Flights, their points as observed by surveillance, and these points at every second."""

import numpy as np
import pandas as pd

from trajlib.geodesy import distance
from trajlib.importers.resampling import interpolate_points

POSITION = ["latitude", "longitude"]
MEASURED = [*POSITION, "altitude", "groundspeed"]


def fly(date="2020-04-03", bend=0.3):
    """Return a smooth flight SFO → LAX at 1 s, on a curved track, up to 33,000 ft."""
    second = np.arange(3300.0)
    share = second / second[-1]
    along = share - np.sin(2 * np.pi * share) / (2 * np.pi) * 0.6
    lat = 37.62 + (33.96 - 37.62) * along + bend * np.sin(np.pi * along) ** 2
    lon = -122.38 + (-118.40 + 122.38) * along
    steps = distance(lat[:-1], lon[:-1], lat[1:], lon[1:]) * 3600
    start = pd.Timestamp(f"{date}T18:00:00Z")
    return pd.DataFrame(
        {
            "timestamp": (start + pd.to_timedelta(second, "s")).as_unit("ms"),
            "latitude": lat,
            "longitude": lon,
            "altitude": 100 + 32_900 * np.sin(np.pi * share),
            "groundspeed": np.append(steps, steps[-1]),
        }
    )


def observe(truth, seed=0, arc_minutes=0.2):
    """Return the radar points of a flight.

    There is about one point a minute, sometimes two within 20 s, with gaps of up to 300 s.
    Altitudes are in steps of 100 ft and speeds in whole knots. Some positions are rounded to
    whole arc minutes.
    """
    rng = np.random.default_rng(seed)
    second = np.cumsum(rng.integers(40, 110, 60))
    second = np.concatenate([[0], second, second[::6] + rng.integers(5, 20, 10)])
    second = np.unique(second[(second < 1500) | (second > 1730)])
    points = truth.iloc[second[second < len(truth)]].reset_index(drop=True)
    coarse = rng.random(len(points)) < arc_minutes
    points.loc[coarse, POSITION] = (points.loc[coarse, POSITION] * 60).round() / 60
    return points.assign(
        altitude=(points["altitude"] / 100).round() * 100, groundspeed=points["groundspeed"].round()
    )


def resample(points):
    """Return the points of one flight at every second, as in an archive."""
    names = [name for name in points if name != "timestamp"]
    seconds = points["timestamp"].astype("datetime64[ms, UTC]").astype("int64").to_numpy() / 1000
    time, columns = interpolate_points(seconds, points[names].to_numpy(float).T.copy(), names)
    stamps = pd.to_datetime(time, unit="s", utc=True).as_unit("ms")
    return pd.DataFrame({"timestamp": stamps, **columns})
