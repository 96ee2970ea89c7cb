"""The state of an airborne flight, from the points measured until the prediction time.

In an interpolated archive measured samples have a ``gap`` of 0. All other samples depend on the
next point, that is, on the future; so do distances, courses and rates derived in the archive. The
state is therefore computed from measured points only.
"""

import numpy as np
import pandas as pd

from trajlib.archive.flights import map_flights
from trajlib.archive.index import dialect_of
from trajlib.archive.storage import is_remote
from trajlib.archive.store import derived_path, save_derived
from trajlib.features.recent_traffic import select_other_traffic
from trajlib.geodesy import along_cross_track, distance, find_airport, track

SPACING = 30.0  # shortest time between points [s]
_READ = ("timestamp", "duration", "gap", "latitude", "longitude", "altitude", "groundspeed")
_SINCE = 90.0  # courses and rates are measured over at least this time [s]
STATE = (
    *("age", "along", "cross", "to_go", "progress", "altitude", "groundspeed", "track_off"),
    *("climb", "acceleration", "drift", "distance", "groundspeed_mean", "altitude_mean"),
    *("cross_max", "cross_min"),
)


def measure_points(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the measured points of flights and their positions on the route.

    Returns
    -------
    DataFrame
        By ``path`` and ``point``: ``timestamp``, ``duration`` [s], ``latitude``, ``longitude``
        [deg], ``altitude`` [ft], ``groundspeed`` [kt], and the columns of `locate_points`.
    """
    return locate_points(map_flights(flights, keep_measured, columns=_READ), flights)


def load_other_traffic(flights: pd.DataFrame, traffic: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the measured points of flights of other pairs near the flights of one pair.

    They are saved beside the store of the pair, if there is one: reading thousands of flights takes
    most of the time of the predictors at take-off, and each notebook of a report needs them.

    Parameters
    ----------
    flights, traffic
        As for `trajlib.features.recent_traffic.select_other_traffic`.

    Returns
    -------
    DataFrame
        As returned by `map_flights`, with ``origin`` and ``destination``; None if no flight can be
        read.
    """
    if traffic is None:
        return None
    others = select_other_traffic(flights, traffic)
    if others.empty:
        return None
    file = None
    if "store" in flights and not is_remote(flights["store"].iloc[0]):
        files = others[["path", "size", "mtime"]].to_json(orient="values")
        key = files + dialect_of(others).fingerprint()
        file = derived_path(flights["store"].iloc[0], "traffic", key)
        if file.exists():
            return pd.read_parquet(file)
    points = map_flights(others, keep_measured, columns=_READ)
    if points.empty:
        return None
    rows = others.set_index("path").loc[points.index.get_level_values("path")]
    points = points.assign(
        origin=rows["origin"].to_numpy(), destination=rows["destination"].to_numpy()
    )
    if file is not None:
        save_derived(points, file)
    return points


def keep_measured(df: pd.DataFrame) -> pd.DataFrame:
    """Return the measured samples of a flight, 30 s or more apart.

    Which samples are selected depends on earlier samples only.

    >>> df = pd.DataFrame({"duration": [0.0, 1, 40, 50, 75], "gap": [0.0, 1, 0, 0, 0]})
    >>> keep_measured(df)["duration"].tolist()
    [0.0, 40.0, 75.0]
    """
    measured = np.flatnonzero(df["gap"].to_numpy() == 0) if "gap" in df else np.arange(len(df))
    seconds = df["duration"].to_numpy()[measured]
    indices, position = [], 0
    while position < len(seconds):
        indices.append(measured[position])
        position = np.searchsorted(seconds, seconds[position] + SPACING)
    selected = np.array(indices, int)
    columns = {name: df[name].array[selected] for name in df if name != "gap"}
    if "groundspeed" not in columns:
        columns["groundspeed"] = np.full(len(selected), np.nan)
    return pd.DataFrame(columns, pd.RangeIndex(len(selected), name="point"))


def locate_points(points: pd.DataFrame, flights: pd.DataFrame) -> pd.DataFrame:
    """Return points with their position relative to the great circle between the airports.

    Adds ``along`` and ``cross`` [NM, right of it] from the origin, ``to_go`` [NM], ``progress``
    (the largest route progress so far) and ``distance`` [NM] flown from point to point.
    """
    pairs = flights.set_index("path")[["origin", "destination"]]
    path = points.index.get_level_values("path")
    codes = np.unique(pairs.drop_duplicates().to_numpy(dtype=str))
    airports = {code: find_airport(code) for code in codes}
    rows = pairs.loc[path]
    lat_o, lon_o, lat_d, lon_d = (
        rows[side].map({code: getattr(airports[code], axis) for code in codes}).to_numpy()
        for side in ("origin", "destination")
        for axis in ("latitude", "longitude")
    )
    lat, lon = points["latitude"].to_numpy(), points["longitude"].to_numpy()
    course = track(lat_o, lon_o, lat_d, lon_d)
    along, cross = along_cross_track(lat, lon, lat_o, lon_o, course)
    to_go, from_origin = distance(lat, lon, lat_d, lon_d), distance(lat, lon, lat_o, lon_o)
    step = np.append(0.0, distance(lat[:-1], lon[:-1], lat[1:], lon[1:])) if len(lat) else lat
    first = np.append(True, path[1:] != path[:-1]) if len(lat) else np.array([], bool)
    progress = from_origin / (from_origin + to_go)
    located = points.assign(along=along, cross=cross, to_go=to_go, progress=progress)
    located["distance"] = np.where(first, 0.0, step)
    located["course"] = course
    by_path = located.groupby(level="path", sort=False)
    located["progress"] = by_path["progress"].cummax()
    located["distance"] = by_path["distance"].cumsum()
    return located


def measure_state(points: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Return the state of each flight some minutes after its first sample, by ``path``.

    Only points measured until then are used; missing if there are too few.

    Returns
    -------
    DataFrame
        The columns ``STATE``: ``age`` [s] of the last point and the values at it;
        ``track_off`` [deg], the course minus that of the great circle, ``climb`` [ft/min],
        ``acceleration`` [kt/min] and ``drift`` [NM/min] over about the last two minutes;
        ``distance`` flown, means and extremes so far.
    """
    so_far = points[points["duration"] <= 60.0 * minutes]
    by_path = so_far.groupby(level="path", sort=False)
    last = by_path.tail(1).droplevel("point")
    earlier = so_far["duration"] <= by_path["duration"].transform("last") - _SINCE
    before = so_far[earlier].groupby(level="path", sort=False).tail(1).droplevel("point")
    before = before.reindex(last.index)
    minutes_between = (last["duration"] - before["duration"]) / 60
    course = track(before["latitude"], before["longitude"], last["latitude"], last["longitude"])
    state = last[["along", "cross", "to_go", "progress", "altitude", "groundspeed", "distance"]]
    return state.assign(
        age=60.0 * minutes - last["duration"],
        track_off=(course - last["course"] + 180) % 360 - 180,
        climb=(last["altitude"] - before["altitude"]) / minutes_between,
        acceleration=(last["groundspeed"] - before["groundspeed"]) / minutes_between,
        drift=(last["cross"] - before["cross"]) / minutes_between,
        groundspeed_mean=by_path["groundspeed"].mean(),
        altitude_mean=by_path["altitude"].mean(),
        cross_max=by_path["cross"].max(),
        cross_min=by_path["cross"].min(),
    )[list(STATE)]
