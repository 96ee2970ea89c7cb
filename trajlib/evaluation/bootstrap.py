"""Bootstrap intervals over days, and verdicts based on them.

Days are drawn with replacement, with all flights of a day together, because flights of one day
share wind and runways. All bootstrap intervals of the project use `draw_days`.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from trajlib.evaluation.metrics import keep_common, skill
from trajlib.trajectories.dispersion import deviations

_DRAWS = 1000
_QUANTILES = (0.025, 0.975)  # of a 95 % interval


@functools.lru_cache(maxsize=8)  # hundreds of tables of a report have the same days
def draw_days(days: int, draws: int, *, seed: int = 0) -> np.ndarray:
    """Return how often each day is drawn, when all days are drawn with replacement.

    Returns
    -------
    ndarray
        Whole numbers as floats, for products of matrices; of shape (draw, day), read-only. Each
        row sums to ``days``.

    Raises
    ------
    ValueError
        When there is no draw.

    >>> draw_days(3, 2).sum(axis=1).tolist()
    [3.0, 3.0]
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}, expected 1 or more")
    drawn = np.zeros((draws, days))
    if days:
        share = np.full(days, 1 / days)
        drawn += np.random.default_rng(seed).multinomial(days, share, size=draws)
    drawn.flags.writeable = False
    return drawn


def estimate_skill(
    errors: pd.DataFrame, baseline: pd.DataFrame, days: pd.Series, *, seed: int = 0
) -> pd.DataFrame:
    """Return the skill of each column and its 95 % bootstrap interval over held-out days.

    The interval is for these trained models. It does not include the variation between models
    trained on other days. With a single day there is none.

    Parameters
    ----------
    errors, baseline
        Tables with the same rows, by ``path`` first.
    days
        The local day of each flight, by path.

    Returns
    -------
    DataFrame
        One row per column of ``errors``: ``skill``, ``low``, ``high``.
    """
    errors, baseline = keep_common(errors, baseline)
    day = _day_of_rows(errors, days)
    sums, reference = (table.groupby(day).sum().to_numpy(float) for table in (errors, baseline))
    drawn = draw_days(len(sums), _DRAWS, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # columns without any error
        skills = 1 - (drawn @ sums) / (drawn @ reference)
    skills[(drawn @ (reference > 0)) == 0] = np.nan  # draws without any error
    bounds = pd.DataFrame(skills, columns=errors.columns).quantile(_QUANTILES)
    low, high = np.where((reference > 0).sum(axis=0) > 1, bounds, np.nan)
    return pd.DataFrame({"skill": skill(errors, baseline), "low": low, "high": high})


def estimate_mean(errors: pd.DataFrame, days: pd.Series) -> pd.DataFrame:
    """Return the mean of each column and its 95 % bootstrap interval over days.

    Returns
    -------
    DataFrame
        One row per column of ``errors``: ``mean``, ``low``, ``high``, in its unit, and ``flights``
        (number with a value). With a single day there is no interval.
    """
    day = _day_of_rows(errors, days)
    by_day = errors.groupby(day)
    sums, counts = by_day.sum().to_numpy(), by_day.count().to_numpy()
    drawn = draw_days(len(sums), _DRAWS)
    with np.errstate(invalid="ignore"):  # draws without any value
        means = pd.DataFrame((drawn @ sums) / (drawn @ counts))
    low, high = np.where((counts > 0).sum(axis=0) > 1, means.quantile(_QUANTILES), np.nan)
    flights = errors.notna().groupby(level="path").any().sum()
    return pd.DataFrame({"mean": errors.mean(), "low": low, "high": high, "flights": flights})


def estimate_percentile(errors: pd.DataFrame, days: pd.Series) -> pd.DataFrame:
    """Return the 95th percentile of each column and its 95 % bootstrap interval over days.

    It is the smallest value that 95 % of the values do not exceed.

    Returns
    -------
    DataFrame
        One row per column of ``errors``: ``value``, ``low``, ``high``, in its unit.
    """
    table = pd.DataFrame(np.nan, errors.columns, ["value", "low", "high"])
    for name, column in errors.items():
        values = column.dropna().sort_values()
        if values.empty:
            continue
        table.loc[name, "value"] = values.iloc[_rank(np.ones((1, len(values))))].item()
        codes, names = pd.factorize(_day_of_rows(values, days))
        if len(names) > 1:
            drawn = draw_days(len(names), _DRAWS)[:, codes]
            bounds = values.iloc[_rank(drawn)].quantile(_QUANTILES)
            table.loc[name, ["low", "high"]] = bounds.to_numpy()
    return table


def bootstrap_dispersion(ds: xr.Dataset, days: Sequence, *, draws: int = 500) -> pd.DataFrame:
    """Return the mean dispersion over the fractions for each draw of days.

    The same days are drawn for every kind of progress.

    Parameters
    ----------
    ds
        As returned by `normalize_flights`.
    days
        Day of each flight, in the order of ``path``.

    Returns
    -------
    DataFrame
        Indexed by ``draw``, with ``by`` before it if the trajectories have it; columns and units of
        `dispersion` except ``flights``.
    """
    if "by" in ds.dims:
        parts = {
            by: bootstrap_dispersion(ds.sel(by=by), days, draws=draws) for by in ds.indexes["by"]
        }
        return pd.concat(parts, names=["by"])
    drawn = _draw_dispersion(ds, days, draws)
    means = {name: pd.DataFrame(values).mean(axis=1) for name, values in drawn.items()}
    return pd.DataFrame(means).rename_axis("draw")


def interval_dispersion(ds: xr.Dataset, days: Sequence, *, draws: int = 500) -> pd.DataFrame:
    """Return the 95 % intervals of `dispersion` at each fraction, days drawn with replacement.

    Parameters
    ----------
    ds, days, draws
        As for `bootstrap_dispersion`.

    Returns
    -------
    DataFrame
        Indexed by ``quantile`` (0.025 and 0.975) and ``fraction``, and ``by`` before them where
        the trajectories have it; columns and units of `dispersion` except ``flights``.
    """
    if "by" in ds.dims:
        parts = {
            by: interval_dispersion(ds.sel(by=by), days, draws=draws) for by in ds.indexes["by"]
        }
        return pd.concat(parts, names=["by"])
    drawn = _draw_dispersion(ds, days, draws)
    tables = {}
    for quantile in _QUANTILES:
        bounds = {n: pd.DataFrame(v).quantile(quantile).to_numpy() for n, v in drawn.items()}
        tables[quantile] = pd.DataFrame(bounds, ds.indexes["fraction"])
    return pd.concat(tables, names=["quantile"])


def compare_dispersion(drawn: pd.DataFrame, reference: str = "time") -> pd.DataFrame:
    """Return the 95 % intervals of mean dispersions relative to those of one progress.

    Parameters
    ----------
    drawn
        Of several kinds of progress, as returned by `bootstrap_dispersion`.
    reference
        The one with which the others are compared.

    Returns
    -------
    DataFrame
        Indexed by ``by`` and ``quantile`` (0.025, 0.5, 0.975): ratios of the columns of
        ``drawn``, and ``rest``, the geometric mean of the ratios across the track, in altitude and
        in time, where dispersion that is removed along the track may reappear.
    """
    ratios = drawn.div(drawn.xs(reference, level="by"), level="draw")
    ratios["rest"] = np.exp(np.log(ratios[["cross", "altitude", "time"]]).mean(axis=1))
    intervals = ratios.groupby("by", sort=False).quantile([0.025, 0.5, 0.975])
    return intervals.drop(reference).rename_axis(["by", "quantile"])


def evaluate_dispersion(intervals: pd.DataFrame) -> pd.Series:
    """Return whether the dispersion of flights is smaller, for each compared progress.

    The claim ``holds`` if the interval of the horizontal dispersion is below 1 and that of the rest
    is not above 1; it ``does not hold`` if either is above 1; otherwise it ``cannot be said``.

    Parameters
    ----------
    intervals
        As returned by `compare_dispersion`.
    """
    low, high = (intervals.xs(q, level="quantile") for q in _QUANTILES)
    worse = (low["horizontal"] > 1) | (low["rest"] > 1)
    verdicts = pd.Series("cannot be said", low.index).mask(high["horizontal"] < 1, "holds")
    return verdicts.mask(worse, "does not hold")


def _day_of_rows(errors: pd.DataFrame | pd.Series, days: pd.Series) -> pd.Series:
    index = errors.index
    if not isinstance(index, pd.MultiIndex):
        return days.loc[index].set_axis(index)
    used = index.remove_unused_levels()  # each flight is looked up once, for all its rows
    level = index.names.index("path")
    of_path = days.loc[used.levels[level]]
    if len(of_path) != len(used.levels[level]):
        raise ValueError("a flight has several days, expected one")
    return of_path.take(used.codes[level]).set_axis(index)


def _rank(weights: np.ndarray) -> np.ndarray:
    """Return the position of the 95th percentile among sorted values, for each row of weights."""
    total = weights.cumsum(axis=1)
    return (total < 0.95 * total[:, -1:] - 1e-9).sum(axis=1)


def _draw_dispersion(ds: xr.Dataset, days: Sequence, draws: int) -> dict[str, np.ndarray]:
    """Return the dispersion over (draw, fraction), by its name."""
    codes, names = pd.factorize(np.asarray(days))
    weights = draw_days(len(names), draws)
    drawn = {name: _draw_spread(v, codes, weights) for name, v in deviations(ds).items()}
    along, cross = drawn.pop("along"), drawn.pop("cross")
    return {"along": along, "cross": cross, "horizontal": np.hypot(along, cross)} | drawn


def _draw_spread(values: np.ndarray, days: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the standard deviation of values (flight, fraction) for weights (draw, day)."""
    finite = np.isfinite(values)
    parts = finite.astype(float), np.where(finite, values, 0), np.where(finite, values**2, 0)
    count, total, square = (weights @ pd.DataFrame(part).groupby(days).sum() for part in parts)
    enough = count > 1
    mean = total / np.where(enough, count, np.nan)
    return np.sqrt(np.maximum(square - total * mean, 0) / (count - 1).where(enough)).to_numpy()
