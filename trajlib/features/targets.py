"""features.targets."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from trajlib.trajectories.normalization import resample_flights

__all__ = [
    "FRACTIONS",
    "HALF",
    "TARGETS",
    "build_targets",
    "build_targets_by",
    "degenerate_targets",
    "keep_unflown",
    "match_flights",
]

TARGETS = ("latitude", "longitude", "duration", "distance", "altitude")
FRACTIONS = np.arange(5, 100, 5) / 100
HALF = 0.5  # of the flights; what lies ahead of no more of them is not asked


def keep_unflown(
    targets: pd.DataFrame, fractions: Iterable[float], minutes: float = 0.0
) -> pd.DataFrame:
    """Return the targets at some fractions, missing where a flight was there within the minutes.

    Fractions that do not lie ahead of more than half the flights are left out, as where most have
    landed: those that are left are the late ones alone.

    >>> rows = pd.MultiIndex.from_product([["a.csv"], [0.1, 0.5]], names=["path", "fraction"])
    >>> keep_unflown(pd.DataFrame({"duration": [200.0, 900.0]}, rows), [0.1, 0.5], 5).to_dict()
    {'duration': {('a.csv', 0.5): 900.0}}
    """
    at = targets.index.get_level_values("fraction")
    asked = targets[np.isin(np.round(at, 6), np.round(list(fractions), 6))]
    ahead = asked["duration"] > 60 * minutes
    share = ahead.groupby(level="fraction").mean()
    kept = asked.index.get_level_values("fraction").isin(share.index[share > HALF])
    return asked.where(ahead)[kept]


def build_targets(
    flights: pd.DataFrame, fractions: Sequence[float] = FRACTIONS, *, by: str = "time"
) -> pd.DataFrame:
    """Return where each flight is at fractions of its progress.

    Parameters
    ----------
    by
        A progress: ``time``, ``route`` or ``distance``; or ``clock``,
        whose fractions are minutes since the first sample.

    Returns
    -------
    DataFrame
        Indexed by ``path`` and ``fraction``: latitude, longitude [deg], duration [s],
        distance [NM] and altitude [ft]; missing where a flight does not reach the fraction.
    """
    return build_targets_by(flights, {by: (by, fractions)})[by]


def build_targets_by(
    flights: pd.DataFrame, asked: Mapping[str, tuple[str, Sequence[float]]]
) -> dict[str, pd.DataFrame]:
    """Return several targets by names of one's own, from progress and fractions, in one pass.

    As `build_targets` returns each.
    """
    asked = {name: (_clock if by == "clock" else by, at) for name, (by, at) in asked.items()}
    tables = resample_flights(flights, asked, columns=TARGETS)
    return {name: table[list(TARGETS)] for name, table in tables.items()}


def degenerate_targets(predictors: Iterable[str]) -> list[str]:
    """Return the targets that are one of the predictors in disguise.

    At a fraction x of the total duration, ``duration`` is x times ``duration_max``.

    >>> degenerate_targets(["operator", "duration_max"]), degenerate_targets(["operator"])
    (['duration'], [])
    """
    return ["duration"] if "duration_max" in predictors else []


def _clock(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    return df["duration"].to_numpy() / 60


def match_flights(rows: pd.MultiIndex, paths: pd.Index) -> np.ndarray:
    """Return whether each row is of one of some flights; ``isin`` compares their names row by row.

    >>> rows = pd.MultiIndex.from_product([["a", "b"], [0.1, 0.9]], names=["path", "fraction"])
    >>> match_flights(rows, pd.Index(["b", "c"])).tolist()
    [False, False, True, True]
    """
    level = rows.names.index("path")
    found = rows.levels[level].get_indexer(paths)
    told = np.zeros(len(rows.levels[level]), bool)
    told[found[found >= 0]] = True
    return told[rows.codes[level]]
