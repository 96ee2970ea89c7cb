"""Correlations of the flights' variables, exact and in one pass, and which could be discarded.

Each flight gives its centred moments; two flights' moments are merged without going back to
their samples (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance"), so
that nothing is lost to rounding however many samples there are and however far their mean is
from zero.
"""

from collections.abc import Collection, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from threadpoolctl import ThreadpoolController

from trajlib.archive.flights import map_flights, reduce_flights
from trajlib.schema import COLUMNS, NUMERIC

__all__ = [
    "Moments",
    "choose_predictors",
    "cluster_columns",
    "correlate",
    "correlate_without",
    "flag_columns",
    "measure_moments",
    "merge_moments",
    "redundant_groups",
    "sample_flights",
]

_SIZE = len(NUMERIC)
_BLAS = ThreadpoolController()
_SAMPLES = 20_000  # in all: neighbours among them are then close, and from other flights
_FUNCTION = 0.01  # of its standard deviation, to which a function of another variable is known


class Moments(NamedTuple):
    """Moments of every pair of the schema's numeric columns, as arrays (column, column).

    Each is of the row's column over the samples that have both: their number, the mean, and the
    sums of squares and of products of the deviations from the means.
    """

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    product: np.ndarray


def correlate(flights: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's correlation of the numeric columns over all samples of flights.

    Missing values are left out pair by pair: each correlation is over the samples that have
    both variables, so that one column's holes cost the others nothing.

    Parameters
    ----------
    flights
        Rows of an index or of a store.

    Returns
    -------
    DataFrame
        Symmetric, in the schema's order, of the columns that some sample has. Missing where no
        sample has both, or one of them does not vary by a tenth of its last decimal.
        ``attrs["samples"]`` is the number of samples of each column.

    Raises
    ------
    ValueError
        When no flight could be read.
    """
    moments = reduce_flights(flights, measure_moments, merge_moments, columns=NUMERIC)
    return correlation_of([moments])


def correlate_without(
    flights: pd.DataFrame, parts: Sequence[Collection[str]]
) -> list[pd.DataFrame]:
    """Return for each part the correlation over the flights of all others, as `correlate` does.

    Each flight is read once, however many parts there are.

    Parameters
    ----------
    flights
        Rows of an index or of a store.
    parts
        Paths of flights, each in one part: those that a split holds out.
    """
    moments = [
        reduce_flights(
            flights[flights["path"].isin(part)], measure_moments, merge_moments, columns=NUMERIC
        )
        for part in parts
    ]
    return [correlation_of(moments[:at] + moments[at + 1 :]) for at in range(len(parts))]


def correlation_of(parts: Sequence[Moments | None]) -> pd.DataFrame:
    """Return the correlations that moments of parts amount to, as `correlate` does.

    A part of which nothing could be read is None.
    """
    known = [part for part in parts if part is not None]
    if not known:
        raise ValueError("no flight could be read, so nothing can be correlated")
    moments = reduce(merge_moments, known)
    least = np.array([0.1 * 10.0 ** -COLUMNS[name].decimals for name in NUMERIC])
    varies = moments.square > moments.count * least[:, None] ** 2
    scale = np.sqrt(np.where(varies & varies.T, moments.square * moments.square.T, np.nan))
    values = np.clip(moments.product / scale, -1, 1)
    np.fill_diagonal(values, np.where(varies.diagonal(), 1, np.nan))
    r = pd.DataFrame(values, NUMERIC, NUMERIC)
    samples = {name: int(n) for name, n in zip(NUMERIC, moments.count.diagonal(), strict=True) if n}
    r = r.loc[list(samples), list(samples)]
    r.attrs["samples"] = samples
    return r


def measure_moments(df: pd.DataFrame) -> Moments:
    """Return the moments of one flight; columns that it lacks count no sample."""
    held = [name for name in NUMERIC if name in df]
    values = (df if held == [*df] else df[held]).to_numpy(float)  # a choice of columns is a copy
    known = np.isfinite(values)
    parts = _measure_whole(values) if known.all() else _measure_pairs(values, known)
    at = [NUMERIC.index(name) for name in held]
    return Moments(*(_spread_out(part, at) for part in parts))


def _measure_whole(values: np.ndarray) -> tuple[np.ndarray, ...]:
    # nothing is missing: a column's count, mean and square are the same beside every other
    shape = (values.shape[1],) * 2
    shift = values[0].copy()  # one of the column's own values: what is constant becomes zero
    values = values - shift
    mean = values.mean(axis=0)
    values -= mean
    with _BLAS.limit(limits=1, user_api="blas"):  # more threads would add in another order
        product = values.T @ values
    square = np.broadcast_to(product.diagonal()[:, None], shape)
    return (
        np.full(shape, float(len(values))),
        np.broadcast_to((mean + shift)[:, None], shape),
        square,
        product,
    )


def _measure_pairs(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, ...]:
    # a column is shifted by one of its own values: what is constant becomes exactly zero
    shift = values[known.argmax(axis=0), range(values.shape[1])]
    values = np.where(known, values - shift, 0)
    mean = values.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    values = np.where(known, values - mean, 0)
    known = known.astype(float)
    with _BLAS.limit(limits=1, user_api="blas"):
        count, total = known.T @ known, values.T @ known
        square, product = (values**2).T @ known, values.T @ values
    offset = total / np.maximum(count, 1)
    square, product = square - total * offset, product - total * offset.T
    mean = np.where(count > 0, offset + (mean + np.where(np.isfinite(shift), shift, 0))[:, None], 0)
    return count, mean, square, product


def merge_moments(left: Moments, right: Moments) -> Moments:
    """Return the moments of the samples of both."""
    count = left.count + right.count
    share = right.count / np.maximum(count, 1)
    step = right.mean - left.mean
    weight = left.count * share
    return Moments(
        count,
        left.mean + step * share,
        left.square + right.square + step**2 * weight,
        left.product + right.product + step * step.T * weight,
    )


def sample_flights(flights: pd.DataFrame) -> pd.DataFrame:
    """Return samples of flights, evenly spaced in each: 20,000 or more in all, if they have them.

    Indexed by ``path`` and the sample's number.
    """
    number = max(20, -(-_SAMPLES // len(flights)))
    return map_flights(flights, lambda df: df.iloc[:: max(1, len(df) // number)], columns=NUMERIC)


def flag_columns(
    correlation: pd.DataFrame, samples: pd.DataFrame, *, modelled: Collection[str] = ()
) -> pd.Series:
    """Return the columns that say nothing about redundancy, with the reason.

    Parameters
    ----------
    correlation
        As `correlate` returns it.
    samples
        As `sample_flights` returns them.
    modelled
        Columns that a model computed from the others, as the archive's dialect names them.

    Returns
    -------
    Series
        Reason by column: missing from more than half of the samples; constant; modelled; about
        the radar rather than the flight; or a fixed function of another variable, known from it
        across flights to within a hundredth of its standard deviation. Of two that are
        functions of each other the later in the schema is flagged.
    """
    missing = samples.isna().mean()
    flags = {name: f"missing in {missing[name]:.0%}" for name in correlation if missing[name] > 0.5}
    flags |= {name: "constant" for name in correlation if np.isnan(correlation.loc[name, name])}
    flags |= {name: "modelled" for name in correlation if name in modelled}
    flags |= {name: "about the radar" for name in correlation if name == "gap"}
    free = [name for name in correlation if name not in flags]
    return pd.Series(flags | _find_functions(samples[free]), name="flag", dtype="str")


def redundant_groups(correlation: pd.DataFrame, threshold: float = 0.9) -> pd.DataFrame:
    """Return groups of variables of which one would do, and the one to keep of each.

    Any two variables of a group are correlated by ``threshold`` or more (complete linkage of
    1 - |r|). Kept is the variable that stands best for its group: of those whose mean |r| with
    the others is within 0.01 of the highest, the first in the schema, which has what is measured
    before what is derived.

    Returns
    -------
    DataFrame
        Indexed by column, largest group first: ``group`` from 1, its ``size``, ``mean_r``, the
        mean |r| with the others of the group (missing in a group of one), and ``keep``.

    >>> r = pd.DataFrame([[1, 0.95, 0], [0.95, 1, 0.1], [0, 0.1, 1]], list("abc"), list("abc"))
    >>> redundant_groups(r)["keep"].to_dict()
    {'a': True, 'b': False, 'c': True}
    """
    groups = fcluster(cluster_columns(correlation), 1 - threshold, "distance")
    table = pd.DataFrame({"group": groups}, correlation.columns)
    same = groups[:, None] == groups
    table["size"] = same.sum(axis=1)
    others = (correlation.abs() * (same & ~np.eye(len(groups), dtype=bool))).sum(axis=1)
    table["mean_r"] = others / (table["size"] - 1).where(table["size"] > 1)
    best = table.groupby("group")["mean_r"].transform("max")
    candidates = table[(table["size"] == 1) | (table["mean_r"] >= best - 0.01)]
    table["keep"] = table.index.isin(candidates.drop_duplicates("group").index)
    table = table.sort_values(["size", "group"], ascending=[False, True], kind="stable")
    return table.assign(group=pd.factorize(table["group"])[0] + 1)


def choose_predictors(
    aggregates: pd.DataFrame, correlation: pd.DataFrame, flags: pd.Series, threshold: float = 0.9
) -> dict[str, list[str]]:
    """Return the predictors that are left when correlated ones are discarded, in three ways.

    Parameters
    ----------
    aggregates
        One row a flight. Numbers named ``<column>_<statistic>`` are a column's; what is no
        column's, such as the operator, is in every set.
    correlation, flags
        Of the same flights, as `correlate` and `flag_columns` return them.
    threshold
        As of `redundant_groups`.

    Returns
    -------
    dict
        ``all``: of every column that is not flagged. ``kept variables``: of the columns that are
        kept of correlated ones. ``kept aggregates``: those that are kept of aggregates whose
        ranks over the flights are correlated (Spearman).
    """
    of = aggregates.columns.str.replace(r"_(max|min|mean|std)$", "", regex=True)
    free = correlation.drop(index=flags.index, columns=flags.index)
    kept = redundant_groups(free, threshold)["keep"]
    left = aggregates.loc[:, of.isin(free.columns)]
    ranks = left.loc[:, left.std() > 0].corr("spearman")
    ranked = redundant_groups(ranks, threshold)["keep"]
    chosen = {
        "all": of.isin(free.columns),
        "kept variables": of.isin(kept.index[kept]),
        "kept aggregates": aggregates.columns.isin(ranked.index[ranked]),
    }
    known = ~of.isin(correlation.columns)
    return {name: list(aggregates.columns[known | mask]) for name, mask in chosen.items()}


def cluster_columns(correlation: pd.DataFrame) -> np.ndarray:
    """Return the hierarchy of columns as SciPy's linkage: complete, of the distance 1 - |r|.

    Two columns that no sample has together are as far apart as uncorrelated ones.
    """
    distance = 1 - correlation.abs().fillna(0).to_numpy(copy=True)
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance, checks=False), "complete", optimal_ordering=True)


def _spread_out(part: np.ndarray, at: list[int]) -> np.ndarray:
    whole = np.zeros((_SIZE, _SIZE))
    whole[np.ix_(at, at)] = part
    return whole


def _find_functions(samples: pd.DataFrame) -> dict[str, str]:
    known = pd.DataFrame({name: _scatter(samples, name) for name in samples}) <= _FUNCTION
    names = list(samples)
    return {
        name: f"function of {of}"
        for at, name in enumerate(names)
        for place, of in reversed(list(enumerate(names)))
        if known.loc[name, of] and (place < at or not known.loc[of, name])
    }


def _scatter(samples: pd.DataFrame, of: str) -> pd.Series:
    """Return how far each column is from a function of one, in its own standard deviations.

    Where it is a function, neighbours in the one have the same value of it, also when they are
    of different flights: the mean square of their differences is twice the variance left over.
    """
    ordered = samples.dropna(subset=of).sort_values(of, kind="stable")
    path = ordered.index.codes[0]
    between = path[1:] != path[:-1]
    values = ordered.to_numpy()
    steps = pd.DataFrame(np.diff(values, axis=0)[between], columns=samples.columns)
    return np.sqrt((steps**2).mean() / 2) / samples.std()
