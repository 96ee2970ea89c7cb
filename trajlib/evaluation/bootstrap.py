"""evaluation.bootstrap."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from trajlib.evaluation.metrics import _known_in_both, skill
from trajlib.trajectories.dispersion import deviations

__all__ = [
    "bootstrap_dispersion",
    "compare_dispersion",
    "evaluate_dispersion",
    "interval_by_day",
    "interval_dispersion",
]

_DRAWS = 1000  # of days, for an interval


def interval_by_day(
    errors: pd.DataFrame,
    baseline: pd.DataFrame,
    days: pd.Series,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the skill of each column and its 95 % bootstrap interval over held-out days.

    Days are drawn with replacement, all flights of a day together, because they share their
    wind and their runways. The interval is of these models: how they would differ had other
    days been trained on is not in it.

    Returns
    -------
    DataFrame
        A row for each column of ``errors``: ``skill``, ``low``, ``high``; of a single day there
        is no interval.
    """
    errors, baseline = _known_in_both(errors, baseline)
    day = days.loc[errors.index.get_level_values("path")].set_axis(errors.index)
    sums, reference = (table.groupby(day).sum().to_numpy() for table in (errors, baseline))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_DRAWS)
    with np.errstate(invalid="ignore", divide="ignore"):  # nothing known, or nothing missed
        skills = 1 - (drawn @ sums) / (drawn @ reference)
    skills[(drawn @ (reference > 0)) == 0] = np.nan  # a draw of days on which nothing is known
    bounds = pd.DataFrame(skills, columns=errors.columns).quantile([0.025, 0.975])
    low, high = np.where((reference > 0).sum(axis=0) > 1, bounds, np.nan)
    return pd.DataFrame({"skill": skill(errors, baseline), "low": low, "high": high})


def bootstrap_dispersion(
    ds: xr.Dataset, days: Sequence, *, draws: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Return the mean dispersion over the fractions, had other days of the same kind been flown.

    Days are drawn with replacement and keep their flights, since what moves one flight of a day
    moves the others. The same days are drawn for every kind of progress.

    Parameters
    ----------
    ds
        As `normalize_flights` returns it.
    days
        Day of each flight, in the order of ``path``.

    Returns
    -------
    DataFrame
        Indexed by ``draw``, and ``by`` before it where the trajectories have it; columns and
        units of `dispersion` but ``flights``.
    """
    if "by" in ds.dims:
        parts = {
            name: bootstrap_dispersion(ds.sel(by=name), days, draws=draws, seed=seed)
            for name in ds.indexes["by"]
        }
        return pd.concat(parts, names=["by"])
    drawn = _draw_dispersion(ds, days, draws, seed)
    means = {name: pd.DataFrame(values).mean(axis=1) for name, values in drawn.items()}
    return pd.DataFrame(means).rename_axis("draw")


def interval_dispersion(
    ds: xr.Dataset, days: Sequence, *, draws: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Return the 95 % intervals of `dispersion` at each fraction, days drawn with replacement.

    Parameters
    ----------
    ds, days, draws, seed
        As of `bootstrap_dispersion`.

    Returns
    -------
    DataFrame
        Indexed by ``quantile`` (0.025 and 0.975) and ``fraction``, and ``by`` before them where
        the trajectories have it; columns and units of `dispersion` but ``flights``.
    """
    if "by" in ds.dims:
        options = {"draws": draws, "seed": seed}
        parts = {by: interval_dispersion(ds.sel(by=by), days, **options) for by in ds.indexes["by"]}
        return pd.concat(parts, names=["by"])
    drawn = _draw_dispersion(ds, days, draws, seed)
    fractions = ds.indexes["fraction"]
    ends = {
        q: pd.DataFrame(
            {name: pd.DataFrame(values).quantile(q).to_numpy() for name, values in drawn.items()},
            fractions,
        )
        for q in (0.025, 0.975)
    }
    return pd.concat(ends, names=["quantile"])


def compare_dispersion(drawn: pd.DataFrame, reference: str = "time") -> pd.DataFrame:
    """Return the 95 % intervals of mean dispersions relative to those of one progress.

    Parameters
    ----------
    drawn
        Of several kinds of progress, as `bootstrap_dispersion` returns it.
    reference
        One of them, to which the others are compared.

    Returns
    -------
    DataFrame
        Indexed by ``by`` and ``quantile`` (0.025, 0.5, 0.975): ratios of the columns of
        ``drawn``, and ``rest``, the geometric mean of the ratios of what no progress gains by
        its construction: across the track, altitude and time.
    """
    ratios = drawn.div(drawn.xs(reference, level="by"), level="draw")
    ratios["rest"] = np.exp(np.log(ratios[["cross", "altitude", "time"]]).mean(axis=1))
    intervals = ratios.groupby("by", sort=False).quantile([0.025, 0.5, 0.975])
    return intervals.drop(reference).rename_axis(["by", "quantile"])


def evaluate_dispersion(intervals: pd.DataFrame) -> pd.Series:
    """Return whether flights disperse less, for each progress that was compared.

    It ``holds`` if the horizontal dispersion is surely less, and the rest, which is not gained by
    construction, not surely more; ``does not hold`` if either is surely more; else ``cannot be
    said``. Surely means that the interval leaves out no change.

    Parameters
    ----------
    intervals
        As `compare_dispersion` returns them.
    """
    low, high = (intervals.xs(q, level="quantile") for q in (0.025, 0.975))
    worse = (low["horizontal"] > 1) | (low["rest"] > 1)
    verdicts = pd.Series("cannot be said", low.index).mask(high["horizontal"] < 1, "holds")
    return verdicts.mask(worse, "does not hold")


def _draw_dispersion(
    ds: xr.Dataset, days: Sequence, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the dispersion over (draw, fraction), by its name."""
    codes, names = pd.factorize(np.asarray(days))
    share = np.full(len(names), 1 / len(names))
    weights = np.random.default_rng(seed).multinomial(len(names), share, draws).astype(float)
    drawn = {name: _draw_spread(v, codes, weights) for name, v in deviations(ds).items()}
    along, cross = drawn.pop("along"), drawn.pop("cross")
    return {"along": along, "cross": cross, "horizontal": np.hypot(along, cross)} | drawn


def _draw_spread(values: np.ndarray, days: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the standard deviation of values (flight, fraction) for weights (draw, day)."""
    known = np.isfinite(values)
    parts = known.astype(float), np.where(known, values, 0), np.where(known, values**2, 0)
    count, total, square = (weights @ pd.DataFrame(part).groupby(days).sum() for part in parts)
    enough = count > 1
    mean = total / np.where(enough, count, np.nan)
    return np.sqrt(np.maximum(square - total * mean, 0) / (count - 1).where(enough)).to_numpy()
