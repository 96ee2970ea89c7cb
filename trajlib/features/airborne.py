"""What is known of a flight under way: its measured points up to a moment, and nothing between.

An archive that was interpolated marks what was measured by a ``gap`` of 0. Every other sample
may hold something of the next point, and so of the future; so may distances, courses and rates
that the archive derived. Here they are made of measured points alone.
"""

import numpy as np
import pandas as pd

from trajlib.archive.flights import map_flights
from trajlib.features.recent_traffic import select_other_traffic
from trajlib.geodesy import along_cross_track, distance, find_airport, track

__all__ = [
    "STATE",
    "keep_measured",
    "locate_points",
    "measure_other_traffic",
    "measure_points",
    "measure_state",
]

SPACING = 30.0  # s at least between points; of a sampled history fewer say as much
_READ = ("timestamp", "duration", "gap", "latitude", "longitude", "altitude", "groundspeed")
_SINCE = 90.0  # s before the last point, or more: where the course and the rates begin
STATE = (
    *("age", "along", "cross", "to_go", "progress", "altitude", "groundspeed", "track_off"),
    *("climb", "acceleration", "drift", "distance", "groundspeed_mean", "altitude_mean"),
    *("cross_max", "cross_min"),
)


def measure_points(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the measured points of flights, by ``path`` and ``point``, with where they are.

    Returns
    -------
    DataFrame
        ``timestamp``, ``duration`` [s], ``latitude``, ``longitude`` [deg], ``altitude`` [ft],
        ``groundspeed`` [kt], and what `locate_points` adds.
    """
    points = map_flights(flights, keep_measured, columns=_READ)
    return locate_points(points, flights)


def measure_other_traffic(
    flights: pd.DataFrame, traffic: pd.DataFrame | None
) -> pd.DataFrame | None:
    """Return the measured points of the flights of other pairs that can tell of those of one.

    Parameters
    ----------
    flights, traffic
        As of `trajlib.features.recent_traffic.select_other_traffic`.

    Returns
    -------
    DataFrame
        As `map_flights` returns them, with ``origin`` and ``destination``; None where there are
        no such flights that can be read.
    """
    others = traffic if traffic is None else select_other_traffic(flights, traffic)
    if others is None or others.empty:
        return None
    points = map_flights(others, keep_measured, columns=_READ)
    if points.empty:  # none of them could be read
        return None
    rows = others.set_index("path").loc[points.index.get_level_values("path")]
    return points.assign(**{side: rows[side].to_numpy() for side in ("origin", "destination")})


def keep_measured(df: pd.DataFrame) -> pd.DataFrame:
    """Return the measured samples of a flight, 30 s or more apart.

    Their duration rises, as `read_flight` sees to. Whether a sample stays depends
    on those before it alone.

    >>> df = pd.DataFrame({"duration": [0.0, 1, 40, 50, 75], "gap": [0.0, 1, 0, 0, 0]})
    >>> keep_measured(df)["duration"].tolist()
    [0.0, 40.0, 75.0]
    """
    measured = np.flatnonzero(df["gap"].to_numpy() == 0) if "gap" in df else np.arange(len(df))
    seconds = df["duration"].to_numpy()[measured]
    kept, at = [], 0
    while at < len(seconds):
        kept.append(measured[at])
        at = np.searchsorted(seconds, seconds[at] + SPACING)
    kept = np.array(kept, int)
    columns = {name: df[name].array[kept] for name in df if name != "gap"}
    if "groundspeed" not in columns:  # an archive need not have it
        columns["groundspeed"] = np.full(len(kept), np.nan)
    return pd.DataFrame(columns, pd.RangeIndex(len(kept), name="point"))


def locate_points(points: pd.DataFrame, flights: pd.DataFrame) -> pd.DataFrame:
    """Return points with their place on the great circle between their flight's airports.

    Adds ``along`` and ``cross`` [NM, right of it] from the origin, ``to_go`` [NM], ``progress``
    (the largest route progress so far) and ``distance`` [NM] flown from point to point.
    """
    pairs = flights.set_index("path")[["origin", "destination"]]
    path = points.index.get_level_values("path")
    ends = pairs.drop_duplicates()
    known = {code: find_airport(code) for code in np.unique(ends.to_numpy(dtype=str))}
    here = pairs.loc[path]
    lat_o, lon_o, lat_d, lon_d = (
        here[side].map({code: getattr(airport, axis) for code, airport in known.items()}).to_numpy()
        for side in ("origin", "destination")
        for axis in ("latitude", "longitude")
    )
    lat, lon = points["latitude"].to_numpy(), points["longitude"].to_numpy()
    course = track(lat_o, lon_o, lat_d, lon_d)
    along, cross = along_cross_track(lat, lon, lat_o, lon_o, course)
    to_go, gone = distance(lat, lon, lat_d, lon_d), distance(lat, lon, lat_o, lon_o)
    step = np.append(0.0, distance(lat[:-1], lon[:-1], lat[1:], lon[1:])) if len(lat) else lat
    first = np.append(True, path[1:] != path[:-1]) if len(lat) else np.array([], bool)
    placed = points.assign(along=along, cross=cross, to_go=to_go, progress=gone / (gone + to_go))
    placed["distance"] = np.where(first, 0.0, step)
    placed["course"] = course
    by_path = placed.groupby(level="path", sort=False)
    placed["progress"] = by_path["progress"].cummax()
    placed["distance"] = by_path["distance"].cumsum()
    return placed


def measure_state(points: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Return the state of each flight some minutes after its first sample, by ``path``.

    Made of the points measured until then; missing where there are too few.

    Returns
    -------
    DataFrame
        The columns ``STATE``: ``age`` [s] of the last point and what is measured there;
        ``track_off`` [deg] the course against the great circle's, ``climb`` [ft/min],
        ``acceleration`` [kt/min] and ``drift`` [NM/min] since about two minutes before;
        ``distance`` flown, means and extremes so far.
    """
    moment = 60.0 * minutes
    so_far = points[points["duration"] <= moment]
    by_path = so_far.groupby(level="path", sort=False)
    last = by_path.tail(1).droplevel("point")
    earlier = so_far["duration"] <= by_path["duration"].transform("last") - _SINCE
    before = (
        so_far[earlier]
        .groupby(level="path", sort=False)
        .tail(1)
        .droplevel("point")
        .reindex(last.index)
    )
    minutes_between = (last["duration"] - before["duration"]) / 60
    course = track(before["latitude"], before["longitude"], last["latitude"], last["longitude"])
    state = last[["along", "cross", "to_go", "progress", "altitude", "groundspeed", "distance"]]
    return state.assign(
        age=moment - last["duration"],
        track_off=(course - last["course"] + 180) % 360 - 180,
        climb=(last["altitude"] - before["altitude"]) / minutes_between,
        acceleration=(last["groundspeed"] - before["groundspeed"]) / minutes_between,
        drift=(last["cross"] - before["cross"]) / minutes_between,
        groundspeed_mean=by_path["groundspeed"].mean(),
        altitude_mean=by_path["altitude"].mean(),
        cross_max=by_path["cross"].max(),
        cross_min=by_path["cross"].min(),
    )[list(STATE)]
