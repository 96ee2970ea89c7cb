"""Intervals whose width depends on the flight, and calibration that follows the days.

Conformalised quantile regression (Romano, Patterson and Candès 2019) takes two quantiles of
LightGBM and widens both until they hold as many calibration flights as they promise. Adaptive
conformal inference (Gibbs and Candès 2021) changes what is promised from day to day by what the
day before held.

Every interval holds by itself. Where several are shown together, all of them hold less often:
they are not corrected for multiplicity, and only the band of whole trajectories is.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from trajlib.features.feature_sets import check_no_leakage
from trajlib.models.estimators import build_model
from trajlib.models.training import submit_splits

__all__ = [
    "METHODS",
    "adapt_levels",
    "calibrate_methods",
    "choose_methods",
    "clip_heights",
    "combine_methods",
    "predict_quantiles",
    "score_interval",
]

METHODS = ("constant width", "quantile")
_PARTS = ("low", "median", "high")
_REGRESSOR = "transformedtargetregressor__regressor__estimator"
_RATE = 0.01  # of adaptation, from one day to the next
_LOWEST = -1500.0  # ft; no airport lies so low


def predict_quantiles(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    feature_set: str,
    level: float = 0.9,
    trees: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the quantiles of held-out flights that LightGBM predicts, by path and fraction.

    Parameters
    ----------
    predictors, targets, splits
        As of `trajlib.models.training.predict_held_out`.
    level
        Between the outer quantiles.

    Returns
    -------
    DataFrame
        Columns of (target, ``low``, ``median`` or ``high``).

    Raises
    ------
    ValueError
        When a predictor is not in the feature set.
    """
    check_no_leakage(predictors, feature_set)
    work = functools.partial(_train_quantiles, level, trees, seed)
    results = submit_splits(work, predictors, targets, splits)()
    tables = [
        pd.concat({fraction: table}, names=["fraction"]).swaplevel() for fraction, table in results
    ]
    return pd.concat(tables).sort_index()


def calibrate_methods(
    quantiles: pd.DataFrame,
    targets: pd.DataFrame,
    calibration: pd.Index,
    level: float | pd.Series = 0.9,
) -> dict[str, pd.DataFrame]:
    """Return the intervals of all flights by each method, calibrated on some of them.

    Parameters
    ----------
    quantiles
        As of `predict_quantiles`.
    targets
        Of the same rows.
    calibration
        Paths of the flights that calibrate; neither they nor those asked for trained the model.
    level
        Share of future flights that an interval holds; or one for each path, as of
        `adapt_levels`.

    Returns
    -------
    dict
        By `METHODS`: columns of (target, ``low`` or ``high``). ``constant width`` reaches as far
        from the median as calibration flights did, on either side; ``quantile`` widens or narrows
        the quantiles.
    """
    names = quantiles.columns.unique(0)
    low, median, high = (quantiles.xs(part, axis=1, level=1)[names] for part in _PARTS)
    flown = targets.loc[quantiles.index, list(names)]
    wanted = quantiles.index.get_level_values("path")
    used = wanted.isin(calibration)
    fraction = quantiles.index.get_level_values("fraction")
    levels = level.reindex(wanted).to_numpy() if isinstance(level, pd.Series) else level
    levels = np.broadcast_to(levels, len(wanted))
    scores = {
        "above": flown - median,
        "below": median - flown,
        "outside": np.maximum(low - flown, flown - high),
    }
    shares = {"above": (1 + levels) / 2, "below": (1 + levels) / 2, "outside": levels}
    reach = {}
    for name, table in scores.items():
        reach[name] = table.copy()
        for at in np.unique(fraction):
            here = fraction == at
            sample = np.sort(table[used & here].dropna(how="all").to_numpy(), axis=0)
            ranks = np.ceil((len(sample) + 1) * shares[name][here]).astype(int)
            reach[name].loc[here] = sample[np.clip(ranks, 1, len(sample)) - 1]
    intervals = {
        "constant width": {"low": median - reach["below"], "high": median + reach["above"]},
        "quantile": {"low": low - reach["outside"], "high": high + reach["outside"]},
    }
    return {
        name: pd.concat(sides, axis=1).swaplevel(axis=1).sort_index(axis=1)
        for name, sides in intervals.items()
    }


def score_interval(
    intervals: pd.DataFrame, targets: pd.DataFrame, level: float = 0.9
) -> pd.DataFrame:
    """Return coverage, mean width and interval score of each target, see `score_intervals`.

    Returns
    -------
    DataFrame
        A row for each target: ``coverage``, ``width`` and ``score``, in the target's unit.
    """
    low, high = (intervals.xs(side, axis=1, level=1) for side in ("low", "high"))
    flown = targets.loc[intervals.index, list(low)]
    known = flown.notna()
    outside = (low - flown).clip(lower=0) + (flown - high).clip(lower=0)
    width = (high - low).where(known)
    return pd.DataFrame(
        {
            "coverage": (outside == 0).where(known).astype(float).mean(),
            "width": width.mean(),
            "score": (width + 2 / (1 - level) * outside).mean(),
        }
    )


def choose_methods(
    scores: Mapping[str, pd.DataFrame],
) -> dict[str, str]:
    """Return the method of least interval score for each target.

    Parameters
    ----------
    scores
        By method, as of `score_interval`, of days that are neither asked for nor calibrate what
        is asked for: the choice is part of the training.
    """
    table = pd.DataFrame({name: score["score"] for name, score in scores.items()})
    return table.idxmin(axis=1).to_dict()


def combine_methods(
    intervals: Mapping[str, pd.DataFrame], chosen: Mapping[str, str]
) -> pd.DataFrame:
    """Return for each target the intervals of the method chosen for it."""
    parts = {target: intervals[method][target] for target, method in chosen.items()}
    return pd.concat(parts, axis=1)


def adapt_levels(
    quantiles: pd.DataFrame,
    targets: pd.DataFrame,
    calibration: pd.Index,
    days: pd.Series,
    *,
    target: str,
    method: str = "quantile",
    level: float = 0.9,
    rate: float = _RATE,
) -> pd.Series:
    """Return the level at which each flight's interval is taken, following the days.

    After a day on which fewer intervals held than promised the next day's are taken at a higher
    level, and after one on which more did at a lower: by ``rate`` times the difference for each
    flight of the day.

    Parameters
    ----------
    quantiles, targets, calibration, level
        As of `calibrate_methods`.
    days
        The day of each flight, by path. Days are gone through in their order, and each day
        uses only those before it.
    target, method
        Whose intervals are followed.

    Returns
    -------
    Series
        By path, of the flights that do not calibrate.
    """
    paths = quantiles.index.unique("path")
    asked = days.reindex(paths[~paths.isin(calibration)]).sort_values(kind="stable")
    current, levels = level, {}
    columns = quantiles[[target]]
    row_path = quantiles.index.get_level_values("path")
    for _, day in asked.groupby(asked, sort=True):
        levels |= dict.fromkeys(day.index, current)
        rows = columns[row_path.isin(calibration) | row_path.isin(day.index)]
        intervals = calibrate_methods(rows, targets, calibration, current)[method]
        held = intervals[intervals.index.get_level_values("path").isin(day.index)]
        coverage = score_interval(held, targets, level).loc[target, "coverage"]
        if np.isfinite(coverage):
            current = float(np.clip(current + rate * len(day) * (level - coverage), 0.5, 0.999))
    return pd.Series(levels, name="level")


def clip_heights(intervals: pd.DataFrame, ceiling: float | None = None) -> pd.DataFrame:
    """Return intervals of altitude [ft] between the ground and the ceiling of the aircraft.

    Parameters
    ----------
    intervals
        Columns of (target, ``low`` or ``high``).
    ceiling
        The highest altitude [ft] that flights of training days reached; by default none.
    """
    clipped = intervals.copy()
    for name in clipped.columns.unique(0):
        if name.startswith("altitude"):
            clipped[name] = clipped[name].clip(lower=_LOWEST, upper=ceiling)
    return clipped


def _train_quantiles(
    level: float,
    trees: int,
    seed: int,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    held_out: pd.DataFrame,
    _: pd.DataFrame,
) -> pd.DataFrame:
    parts = {}
    alphas = {"low": (1 - level) / 2, "median": 0.5, "high": (1 + level) / 2}
    for name, alpha in alphas.items():
        model = build_model("lightgbm", trees=trees, seed=seed)
        model.set_params(**{f"{_REGRESSOR}__objective": "quantile", f"{_REGRESSOR}__alpha": alpha})
        values = model.fit(predictors, targets).predict(held_out)
        parts[name] = pd.DataFrame(values, held_out.index, targets.columns)
    return pd.concat(parts, axis=1).swaplevel(axis=1)[list(targets.columns)]
