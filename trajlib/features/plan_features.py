"""Features of filed flight plans, and the plan as a reference that targets deviate from.

A plan is compared with flights at equal route progress. One number gives the plan's position at a
fraction: its offset from the great circle between the airports, since the fraction determines the
ratio of the distances to both airports.
"""

import numpy as np
import pandas as pd

from trajlib.archive.plans import select_plans
from trajlib.geodesy import along_cross_track, distance, find_airport, offset, track

_PERCENTS = tuple(range(5, 100, 5))
_CROSS = tuple(f"plan_cross_{percent}" for percent in _PERCENTS)
PLAN = (*_CROSS, "plan_length", "plan_level", "plan_speed", "plan_minutes")
PLAN_STATE = ("plan_off", "plan_turn")
_STEP = 5.0  # NM between the points of a plan's leg
_AHEAD = 0.03  # route progress over which a plan's course is measured
_NEAR = 1.0  # NM from an airport within which a plan counts as beginning or ending there


def build_plan_features(
    plans: pd.DataFrame, flights: pd.DataFrame, *, minutes: float = 0.0
) -> pd.DataFrame:
    """Return the features of each flight's latest plan filed before a prediction time.

    Parameters
    ----------
    plans
        As returned by `trajlib.archive.plans.read_plans`.
    flights
        Rows of one city pair.
    minutes
        Prediction time, in minutes after the first sample of a flight.

    Returns
    -------
    DataFrame
        The columns ``PLAN`` by ``path``, missing for flights without a plan: ``plan_cross_<x>``
        [NM], the offset to the right of the great circle at x % of route progress, ``plan_length``
        [NM], ``plan_level`` [100 ft], the highest, ``plan_speed`` [kt], the median, and
        ``plan_minutes`` between the first and the last estimated time.
    """
    waypoints = select_plans(plans, flights, minutes=minutes)
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    by_path = waypoints.groupby(level="path")
    positions = by_path[["latitude", "longitude"]]
    routes = pd.Series({p: tuple(r.to_numpy().flat) for p, r in positions}, dtype=object)
    rows = {route: _measure_route(route, *pair) for route in routes.unique()}
    names = [*_CROSS, "plan_length"]
    table = pd.DataFrame([rows[route] for route in routes], routes.index, names, dtype=float)
    table["plan_level"] = by_path["flight_level"].max()
    table["plan_speed"] = by_path["speed"].median()
    times = by_path["estimated_time"]
    table["plan_minutes"] = (times.max() - times.min()) / pd.Timedelta(1, "min")
    return table.reindex(pd.Index(flights["path"], name="path"))[list(PLAN)]


def trace_plan(waypoints: pd.DataFrame, origin: str, destination: str) -> pd.DataFrame:
    """Return a plan as a line between the airports, with a point every few miles.

    Parameters
    ----------
    waypoints
        Waypoints of one plan, in order: ``latitude``, ``longitude`` [deg].

    Returns
    -------
    DataFrame
        ``latitude``, ``longitude`` [deg] along geodesics from waypoint to waypoint,
        ``distance`` [NM] from the origin, and ``progress``, the largest route progress so far.
    """
    start, end = (np.array(find_airport(code).position) for code in (origin, destination))
    points = waypoints[["latitude", "longitude"]].to_numpy(float)
    if distance(*points[0], *start) > _NEAR:
        points = np.vstack([start, points])
    if distance(*points[-1], *end) > _NEAR:
        points = np.vstack([points, end])
    legs = distance(*points[:-1].T, *points[1:].T)
    counts = np.maximum(1, np.ceil(legs / _STEP)).astype(int)
    leg = np.repeat(np.arange(len(legs)), counts)
    step = np.concatenate([np.arange(count) / count for count in counts]) * legs[leg]
    course = track(*points[:-1].T, *points[1:].T)
    latitude, longitude = points[leg].T
    latitude, longitude = offset(latitude, longitude, course[leg], step, 0.0)
    latitude, longitude = np.append(latitude, points[-1, 0]), np.append(longitude, points[-1, 1])
    flown = np.append(0.0, np.cumsum(legs))
    from_origin = distance(latitude, longitude, *start)
    to_go = distance(latitude, longitude, *end)
    return pd.DataFrame(
        {
            "latitude": latitude,
            "longitude": longitude,
            "distance": np.append(flown[leg] + step, flown[-1]),
            "progress": np.fmax.accumulate(from_origin / (from_origin + to_go)),
        }
    )


def locate_plan(
    predictors: pd.DataFrame, rows: pd.MultiIndex, origin: str, destination: str
) -> pd.DataFrame:
    """Return where plans are at fractions of route progress.

    Parameters
    ----------
    predictors
        With the columns ``PLAN``, by path.
    rows
        Of ``path`` and ``fraction``.

    Returns
    -------
    DataFrame
        ``latitude``, ``longitude`` [deg] at the rows; on the great circle for flights without a
        plan.
    """
    fraction = rows.get_level_values("fraction").to_numpy(float)
    paths = rows.get_level_values("path")
    cross = np.nan_to_num(_interpolate_cross(predictors, paths, fraction))
    start, end = find_airport(origin).position, find_airport(destination).position
    course, length = float(track(*start, *end)), float(distance(*start, *end))
    along = fraction * length
    for _ in range(4):  # each step reduces the error to a tenth or less
        latitude, longitude = offset(*start, course, along, cross)
        from_origin = distance(latitude, longitude, *start)
        to_go = distance(latitude, longitude, *end)
        along = along + length * (fraction - from_origin / (from_origin + to_go))
    latitude, longitude = offset(*start, course, along, cross)
    return pd.DataFrame({"latitude": latitude, "longitude": longitude}, rows)


def has_plan(predictors: pd.DataFrame) -> pd.Series:
    """Return whether the plan of each flight is known, by path."""
    if _CROSS[0] not in predictors:
        return pd.Series(False, predictors.index)
    return predictors[_CROSS[0]].notna()


def subtract_reference(targets: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return targets minus a reference, in latitude and longitude [deg]."""
    names = list(reference)
    deviations = targets.copy()
    deviations[names] = targets[names] - reference.reindex(targets.index)
    return deviations


def add_reference(deviations: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return targets from deviations and a reference, the inverse of `subtract_reference`."""
    names = list(reference)
    targets = deviations.copy()
    targets[names] = deviations[names] + reference.reindex(deviations.index)
    return targets


def join_plan_state(predictors: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Return predictors with the state of airborne flights relative to their plans.

    Adds ``plan_off_at_<m>`` [NM], the offset to the right of the plan, and ``plan_turn_at_<m>``
    [deg], the course relative to that of the plan.
    """
    end = f"_at_{minutes:g}"
    progress = predictors[f"progress{end}"].to_numpy(float)
    plan_cross = _interpolate_cross(predictors, predictors.index, progress)
    ahead = _interpolate_cross(predictors, predictors.index, progress + _AHEAD)
    along = predictors[f"along{end}"] + predictors[f"to_go{end}"]
    turn = np.degrees(np.arctan2(ahead - plan_cross, _AHEAD * along))
    return predictors.assign(
        **{
            f"plan_off{end}": predictors[f"cross{end}"] - plan_cross,
            f"plan_turn{end}": predictors[f"track_off{end}"] - turn,
        }
    )


def _measure_route(route: tuple, origin: str, destination: str) -> np.ndarray:
    waypoints = pd.DataFrame(np.reshape(route, (-1, 2)), columns=["latitude", "longitude"])
    line = trace_plan(waypoints, origin, destination)
    start, end = find_airport(origin).position, find_airport(destination).position
    course = track(*start, *end)
    _, cross = along_cross_track(line["latitude"], line["longitude"], *start, course)
    first = np.append(True, np.diff(line["progress"]) > 0)  # drop points without progress
    fractions = np.array(_PERCENTS) / 100
    cross = np.interp(fractions, line["progress"][first], cross[first])
    return np.append(cross, line["distance"].iloc[-1])


def _interpolate_cross(
    predictors: pd.DataFrame, paths: pd.Index, fraction: np.ndarray
) -> np.ndarray:
    """Return the offset of plans at fractions, interpolated linearly between their features."""
    edges = np.concatenate([[0.0], np.array(_PERCENTS) / 100, [1.0]])
    cross = np.pad(predictors[list(_CROSS)].to_numpy(float), ((0, 0), (1, 1)))
    row = predictors.index.get_indexer(paths)
    fraction = np.clip(fraction, 0, 1)
    after = np.clip(np.searchsorted(edges, np.nan_to_num(fraction)), 1, len(edges) - 1)
    weight = (fraction - edges[after - 1]) / (edges[after] - edges[after - 1])
    values = (1 - weight) * cross[row, after - 1] + weight * cross[row, after]
    return np.where(row >= 0, values, np.nan)
