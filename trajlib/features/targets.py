"""Targets: position, altitude and time of flights at fractions of a progress or at minutes."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trajlib.trajectories.normalization import resample_flights

TARGETS = ("latitude", "longitude", "duration", "distance", "altitude")
FRACTIONS = np.arange(5, 100, 5) / 100
SHARE_AHEAD = 0.5  # a fraction is scored if it is ahead of more than this share of the flights


def keep_unflown(
    targets: pd.DataFrame, fractions: Iterable[float], minutes: float = 0.0
) -> pd.DataFrame:
    """Return the targets at some fractions, missing where a flight has already passed them.

    Fractions that at most half of the flights have ahead are omitted, since only late flights would
    be left.

    Parameters
    ----------
    targets
        As returned by `build_targets`.
    fractions
        Fractions of the progress of the targets, or minutes.
    minutes
        Prediction time, after the first sample.

    >>> rows = pd.MultiIndex.from_product([["a.csv"], [0.1, 0.5]], names=["path", "fraction"])
    >>> keep_unflown(pd.DataFrame({"duration": [200.0, 900.0]}, rows), [0.1, 0.5], 5).to_dict()
    {'duration': {('a.csv', 0.5): 900.0}}
    """
    fraction = np.round(targets.index.get_level_values(1), 6)
    targets = targets[np.isin(fraction, np.round(list(fractions), 6))]
    ahead = targets["duration"] > 60 * minutes
    share = ahead.groupby(level=1).mean()
    scored = targets.index.get_level_values(1).isin(share.index[share > SHARE_AHEAD])
    return targets.where(ahead)[scored]


def build_targets(
    flights: pd.DataFrame, fractions: ArrayLike = FRACTIONS, *, by: str = "time"
) -> pd.DataFrame:
    """Return the targets of each flight at fractions of its progress.

    Parameters
    ----------
    by
        A progress: ``time``, ``route`` or ``distance``; or ``clock`` for minutes since the
        first sample instead of fractions.

    Returns
    -------
    DataFrame
        Indexed by ``path`` and ``fraction`` (``minute`` for the clock): latitude, longitude
        [deg], duration [s], distance [NM] and altitude [ft]; missing where a flight does not
        reach it. Longitudes are within 180° of the origin's, so that they do not jump at the
        antimeridian.
    """
    return build_targets_by(flights, {by: (by, fractions)})[by]


def build_targets_by(
    flights: pd.DataFrame, wanted: Mapping[str, tuple[str, ArrayLike]]
) -> dict[str, pd.DataFrame]:
    """Return several tables of targets, reading the flights once.

    Parameters
    ----------
    wanted
        Progress and fractions for each name of a result, as for `build_targets`.
    """
    kinds = {name: (_minutes if by == "clock" else by, x) for name, (by, x) in wanted.items()}
    tables = resample_flights(flights, kinds, columns=TARGETS)
    for name, (by, _) in wanted.items():
        level = "minute" if by == "clock" else "fraction"
        tables[name] = tables[name][list(TARGETS)].rename_axis(["path", level])
    return tables


def append_arrival(targets: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Return targets by route progress with the last sample of each flight as fraction 1.

    Flights without an end stay unchanged.

    Parameters
    ----------
    targets
        As returned by `build_targets` by ``route``, at fractions below 1.
    ends
        As returned by `build_targets` by ``time``, at fraction 1: the end of the record, which is
        the arrival if the record is complete.
    """
    return pd.concat([targets, ends]).sort_index()


def degenerate_targets(predictors: Iterable[str]) -> list[str]:
    """Return the targets that are a function of one of the predictors.

    At a fraction x of the total duration, ``duration`` is x times ``duration_max``.

    >>> degenerate_targets(["operator", "duration_max"]), degenerate_targets(["operator"])
    (['duration'], [])
    """
    return ["duration"] if "duration_max" in predictors else []


def match_flights(rows: pd.MultiIndex, paths: pd.Index) -> np.ndarray:
    """Return whether each row belongs to one of some flights, faster than ``isin``.

    >>> rows = pd.MultiIndex.from_product([["a", "b"], [0.1, 0.9]], names=["path", "fraction"])
    >>> match_flights(rows, pd.Index(["b", "c"])).tolist()
    [False, False, True, True]
    """
    level = rows.names.index("path")
    positions = rows.levels[level].get_indexer(paths)
    selected = np.zeros(len(rows.levels[level]), bool)
    selected[positions[positions >= 0]] = True
    return selected[rows.codes[level]]


def _minutes(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    return df["duration"].to_numpy() / 60
