"""Errors of groups of flights: by operator, phase, runway direction or look-ahead time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlib.evaluation.bootstrap import estimate_skill
from trajlib.evaluation.metrics import flown_courses
from trajlib.features.feature_sets import prediction_minutes
from trajlib.geodesy import distance, find_airport

_ON_RUNWAY = 2.0  # NM from the airport, within which a record must end to have a direction


def group_look_ahead(rows: pd.MultiIndex, feature_set: str, edges: Sequence[float]) -> pd.Series:
    """Return the look-ahead time of each row, as the upper edge [min] of its interval.

    Parameters
    ----------
    rows
        Path and minute.
    feature_set
        Look-ahead times are measured from its prediction time.
    """
    ahead = rows.get_level_values("minute") - prediction_minutes(feature_set)
    edge = pd.cut(ahead, [0, *edges], labels=list(edges)).astype(float)
    return pd.Series(edge, rows, name="minutes ahead")


def score_groups(
    errors: pd.DataFrame, baseline: pd.DataFrame, groups: pd.Series, days: pd.Series
) -> pd.DataFrame:
    """Return mean error and skill in each group, with the 95 % interval by day.

    Parameters
    ----------
    errors, baseline
        Of the same rows.
    groups
        The group of each path, or of each path and fraction; rows without one are omitted.

    Returns
    -------
    DataFrame
        Indexed by ``group`` and ``error``: ``flights`` that have the error, ``mean``, ``skill``,
        ``low``, ``high``. Empty if no row has a group.
    """
    rows = pd.MultiIndex.from_product([[], errors.columns], names=["group", "error"])
    empty = pd.DataFrame(columns=["mean", "skill", "low", "high"], index=rows, dtype=float)
    empty.insert(0, "flights", 0)
    tables = {}
    for name, part in split_rows(errors.index, groups):
        group_errors = errors[part]
        table = estimate_skill(group_errors, baseline[part], days)
        table.insert(0, "mean", group_errors.mean())
        table.insert(0, "flights", group_errors.notna().groupby(level="path").any().sum())
        tables[name] = table
    return pd.concat(tables, names=rows.names) if tables else empty


def name_phases(targets: pd.DataFrame, tops: pd.DataFrame) -> pd.Series:
    """Return the phase of each flight at each fraction: climb, cruise or descent.

    Parameters
    ----------
    tops
        ``top_of_climb_time`` and ``top_of_descent_time`` [s] by path; without one of them a
        flight has no phase.
    """
    names = ["top_of_climb_time", "top_of_descent_time"]
    top = tops.reindex(index=targets.index.get_level_values("path"), columns=names)
    climb, descent = top.to_numpy(float).T
    time = targets["duration"].to_numpy()
    phase = np.select([time < climb, time < descent], ["climb", "cruise"], "descent")
    complete = np.isfinite(climb + descent + time)
    return pd.Series(phase, targets.index, name="phase").where(complete)


def name_directions(targets: pd.DataFrame, airport: str) -> pd.Series:
    """Return the runway direction of each flight as a quarter of the compass, by path.

    Missing if the record begins or ends too far from the airport.

    Parameters
    ----------
    targets
        Targets at two fractions or more, the first or last of them at the airport.
    airport
        ICAO or IATA code.
    """
    miles = distance(targets["latitude"], targets["longitude"], *find_airport(airport).position)
    near = pd.Series(miles, targets.index).groupby(level="path").min() <= _ON_RUNWAY
    course = flown_courses(targets).groupby(level="path").last()
    quarter = ((course / 90).round() % 4).where(near)
    return quarter.map(dict(enumerate("NESW"))).rename("direction")


def split_rows(rows: pd.MultiIndex, groups: pd.Series | None) -> list[tuple[object, np.ndarray]]:
    """Return each group, in order, with a mask of its rows; all rows without groups."""
    if groups is None:
        return [(None, np.ones(len(rows), bool))]
    by_row = groups.index.nlevels > 1
    names = groups.reindex(rows if by_row else rows.get_level_values("path")).to_numpy()
    order = pd.unique(pd.Series(names).dropna().sort_values(kind="stable"))
    return [(name, names == name) for name in order]
