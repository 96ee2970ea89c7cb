"""Features of filed flight plans, and the plan as a reference that targets deviate from.

A plan is compared with flights at equal route progress. Where the plan runs at a fraction of it
is one number, its offset from the great circle between the airports, because the two distances
that make the fraction fix the rest.
"""

import numpy as np
import pandas as pd

from trajlib.archive.plans import select_plans
from trajlib.geodesy import along_cross_track, distance, find_airport, offset, track

__all__ = [
    "PLAN",
    "PLAN_STATE",
    "add_reference",
    "build_plan_features",
    "has_plan",
    "join_plan_state",
    "locate_plan",
    "measure_deviations",
    "trace_plan",
]

_PERCENTS = tuple(range(5, 100, 5))
_CROSS = tuple(f"plan_cross_{percent}" for percent in _PERCENTS)
PLAN = (*_CROSS, "plan_length", "plan_level", "plan_speed", "plan_minutes")
PLAN_STATE = ("plan_off", "plan_turn")
_STEP = 5.0  # NM between the points of a plan's leg
_AHEAD = 0.03  # of route progress, over which a plan's course is measured
_NEAR = 1.0  # NM from an airport, within which a plan begins or ends there


def build_plan_features(
    plans: pd.DataFrame, flights: pd.DataFrame, *, minutes: float = 0.0
) -> pd.DataFrame:
    """Return the features of the plan of each flight that counts at a prediction time.

    Parameters
    ----------
    plans
        As of `trajlib.archive.plans.read_plans`.
    flights
        Rows of one city pair.
    minutes
        From a flight's first sample to the prediction time.

    Returns
    -------
    DataFrame
        The columns ``PLAN`` by ``path``, missing for flights without a plan: ``plan_cross_<x>``
        [NM], the offset right of the great circle at x % of route progress, ``plan_length``
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
    """Return a plan as a line from airport to airport, a point every few miles.

    Parameters
    ----------
    waypoints
        Of one plan, in order: ``latitude``, ``longitude`` [deg].

    Returns
    -------
    DataFrame
        ``latitude``, ``longitude`` [deg] along geodesics from waypoint to waypoint,
        ``distance`` [NM] from the origin, and ``progress``, the largest route progress so far.
    """
    start, end = find_airport(origin), find_airport(destination)
    points = waypoints[["latitude", "longitude"]].to_numpy(float)
    first, last = (np.array([[each.latitude, each.longitude]]) for each in (start, end))
    if distance(*points[0], *first[0]) > _NEAR:
        points = np.vstack([first, points])
    if distance(*points[-1], *last[0]) > _NEAR:
        points = np.vstack([points, last])
    legs = distance(*points[:-1].T, *points[1:].T)
    counts = np.maximum(1, np.ceil(legs / _STEP)).astype(int)
    leg = np.repeat(np.arange(len(legs)), counts)
    step = np.concatenate([np.arange(count) / count for count in counts]) * legs[leg]
    course = track(*points[:-1].T, *points[1:].T)
    starts = points[leg]
    latitude, longitude = offset(starts[:, 0], starts[:, 1], course[leg], step, 0.0)
    latitude, longitude = np.append(latitude, points[-1, 0]), np.append(longitude, points[-1, 1])
    flown = np.append(0.0, np.cumsum(legs))
    here = latitude, longitude
    gone = distance(*here, start.latitude, start.longitude)
    to_go = distance(*here, end.latitude, end.longitude)
    return pd.DataFrame(
        {
            "latitude": latitude,
            "longitude": longitude,
            "distance": np.append(flown[leg] + step, flown[-1]),
            "progress": np.fmax.accumulate(gone / (gone + to_go)),
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
    cross = _interpolate_cross(predictors, rows.get_level_values("path"), fraction)
    cross = np.nan_to_num(cross)
    start, end = find_airport(origin), find_airport(destination)
    ends = start.latitude, start.longitude, end.latitude, end.longitude
    course, length = float(track(*ends)), float(distance(*ends))
    along = fraction * length
    for _ in range(4):  # each step leaves a tenth of the error, or less
        latitude, longitude = offset(*ends[:2], course, along, cross)
        gone = distance(latitude, longitude, *ends[:2])
        to_go = distance(latitude, longitude, *ends[2:])
        along = along + length * (fraction - gone / (gone + to_go))
    latitude, longitude = offset(*ends[:2], course, along, cross)
    return pd.DataFrame({"latitude": latitude, "longitude": longitude}, rows)


def has_plan(predictors: pd.DataFrame) -> pd.Series:
    """Return whether the plan of each flight is known, by path."""
    if _CROSS[0] not in predictors:
        return pd.Series(False, predictors.index)
    return predictors[_CROSS[0]].notna()


def measure_deviations(targets: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return how far targets are from a reference: latitude and longitude [deg] less its own."""
    names = list(reference)
    deviations = targets.copy()
    deviations[names] = targets[names] - reference.reindex(targets.index)
    return deviations


def add_reference(deviations: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the targets that deviate so from a reference, as `measure_deviations` measured."""
    names = list(reference)
    targets = deviations.copy()
    targets[names] = deviations[names] + reference.reindex(deviations.index)
    return targets


def join_plan_state(predictors: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Return predictors with where flights in the air are relative to their plans.

    Adds ``plan_off_at_<m>`` [NM], how far to the right of the plan, and ``plan_turn_at_<m>``
    [deg], the course relative to the plan's.
    """
    end = f"_at_{minutes:g}"
    progress = predictors[f"progress{end}"].to_numpy(float)
    here = _interpolate_cross(predictors, predictors.index, progress)
    ahead = _interpolate_cross(predictors, predictors.index, progress + _AHEAD)
    along = predictors[f"along{end}"] + predictors[f"to_go{end}"]
    turn = np.degrees(np.arctan2(ahead - here, _AHEAD * along))
    return predictors.assign(
        **{
            f"plan_off{end}": predictors[f"cross{end}"] - here,
            f"plan_turn{end}": predictors[f"track_off{end}"] - turn,
        }
    )


def _measure_route(route: tuple, origin: str, destination: str) -> np.ndarray:
    waypoints = pd.DataFrame(np.reshape(route, (-1, 2)), columns=["latitude", "longitude"])
    line = trace_plan(waypoints, origin, destination)
    start, end = find_airport(origin), find_airport(destination)
    course = track(start.latitude, start.longitude, end.latitude, end.longitude)
    _, cross = along_cross_track(
        line["latitude"], line["longitude"], start.latitude, start.longitude, course
    )
    first = np.append(True, np.diff(line["progress"]) > 0)  # where progress stands still
    fractions = np.array(_PERCENTS) / 100
    return np.append(
        np.interp(fractions, line["progress"][first], cross[first]), line["distance"].iloc[-1]
    )


def _interpolate_cross(
    predictors: pd.DataFrame, paths: pd.Index, fraction: np.ndarray
) -> np.ndarray:
    """Return the offset of plans at fractions, linear between those of the features."""
    edges = np.concatenate([[0.0], np.array(_PERCENTS) / 100, [1.0]])
    cross = np.pad(predictors[list(_CROSS)].to_numpy(float), ((0, 0), (1, 1)))
    row = predictors.index.get_indexer(paths)
    fraction = np.clip(fraction, 0, 1)
    after = np.clip(np.searchsorted(edges, np.nan_to_num(fraction)), 1, len(edges) - 1)
    weight = (fraction - edges[after - 1]) / (edges[after] - edges[after - 1])
    values = (1 - weight) * cross[row, after - 1] + weight * cross[row, after]
    return np.where(row >= 0, values, np.nan)
