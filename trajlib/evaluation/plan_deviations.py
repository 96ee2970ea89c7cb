"""Predictions from filed plans without a model, and deviations of flights from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlib.evaluation.baselines import average_by_group, predict_baseline
from trajlib.features.plan_features import add_reference, has_plan, locate_plan, subtract_reference
from trajlib.geodesy import along_cross_track, distance
from trajlib.models.training import Split
from trajlib.trajectories.normalization import courses

_SAME = 1.0  # NM; plans with offsets equal to this precision have the same route


def predict_plan_baselines(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    origin: str,
    destination: str,
) -> dict[str, pd.DataFrame]:
    """Return predictions from filed plans for held-out flights, by the name of the baseline.

    Altitudes and times, and all predictions for flights without a plan, are those of the median
    trajectory.

    Parameters
    ----------
    predictors
        With the columns `trajlib.features.plan_features.PLAN`, by path.
    targets
        At fractions of route progress.
    splits
        Paths to train on and paths held out.

    Returns
    -------
    dict
        ``plan``: the route as filed. ``plan and usual deviation``: plus the median deviation [deg]
        of training flights from their plans at each fraction. ``plan and deviation of its
        route``: plus that of training flights with the same route, if there are enough.
    """
    median = predict_baseline(targets, splits, "median")
    planned = predictors[has_plan(predictors)]
    rows = median.index[median.index.get_level_values("path").isin(planned.index)]
    reference = locate_plan(planned, rows, origin, destination)
    deviations = subtract_reference(
        targets, locate_plan(planned, targets.index, origin, destination)
    )
    deviations[~targets.index.get_level_values("path").isin(planned.index)] = float("nan")
    names = list(reference)
    usual = predict_baseline(deviations, splits, "median").loc[rows]
    of_route = average_by_group(deviations, splits, _name_routes(planned)).loc[rows]
    tables = {
        "plan": reference,
        "plan and usual deviation": add_reference(usual, reference)[names],
        "plan and deviation of its route": add_reference(of_route, reference)[names],
    }
    predictions = {}
    for name, table in tables.items():
        predictions[name] = median.copy()
        predictions[name].loc[table.index, names] = table
    return predictions


def measure_plan_deviations(targets: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the deviations of flights from their plans at equal route progress.

    Parameters
    ----------
    targets
        By path and fraction: ``latitude``, ``longitude`` [deg].
    reference
        The same rows, as returned by `trajlib.features.plan_features.locate_plan`.

    Returns
    -------
    DataFrame
        ``along`` and ``cross`` [NM] the course of the plan, positive ahead and to the right, and
        ``distance`` [NM].
    """
    targets = targets.loc[reference.index]
    plan = reference["latitude"], reference["longitude"]
    flown = targets["latitude"], targets["longitude"]
    along, cross = along_cross_track(*flown, *plan, courses(reference))
    columns = {"along": along, "cross": cross, "distance": distance(*flown, *plan)}
    return pd.DataFrame(columns, reference.index)


def find_departures(
    targets: pd.DataFrame, reference: pd.DataFrame, *, apart: float = 5.0
) -> pd.DataFrame:
    """Return the parts of flights between leaving their plan and rejoining it.

    Parameters
    ----------
    targets, reference
        As for `measure_plan_deviations`, at many fractions.
    apart
        Distance from the plan [NM] beyond which a flight has left it.

    Returns
    -------
    DataFrame
        One row per part, by ``path`` and ``part``: the fractions ``start`` and ``end`` at which
        it leaves and rejoins the plan, the largest offset ``cross`` [NM], and ``saved`` [NM], the
        length of the plan in between minus the length flown: positive for a direct, negative for
        a detour. Parts that begin before the first fraction or end after the last are omitted,
        because their lengths would include the terminal areas.
    """
    deviations = measure_plan_deviations(targets, reference)
    parts = []
    for path, table in deviations.groupby(level="path", sort=False):
        off_plan = (table["distance"] > apart).to_numpy().astype(int)
        edges = np.diff(off_plan)
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1
        if off_plan[0]:
            ends = ends[1:]
        fractions = table.index.get_level_values("fraction")
        planned = _sum_legs(reference.loc[table.index])
        flown = _sum_legs(targets.loc[table.index])
        for begin, end in zip(starts, ends, strict=False):
            cross = table["cross"].to_numpy()[begin : end + 1]
            saved = planned[end] - planned[begin] - (flown[end] - flown[begin])
            largest = cross[np.abs(cross).argmax()]
            parts.append((path, fractions[begin], fractions[end], largest, saved))
    result = pd.DataFrame(parts, columns=["path", "start", "end", "cross", "saved"])
    part = result.groupby("path").cumcount().rename("part")
    return result.set_index(["path", part])


def _sum_legs(positions: pd.DataFrame) -> np.ndarray:
    """Return the distance [NM] along positions, from the first."""
    lat, lon = positions["latitude"].to_numpy(), positions["longitude"].to_numpy()
    return np.append(0.0, np.cumsum(distance(lat[:-1], lon[:-1], lat[1:], lon[1:])))


def _name_routes(predictors: pd.DataFrame) -> pd.Series:
    cross = (predictors.filter(regex=r"^plan_cross_\d+$") / _SAME).round().astype(int)
    return cross.astype("str").agg(" ".join, axis=1)
