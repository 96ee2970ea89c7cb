"""Correlations of the flights' variables in one exact pass, and redundant variables.

Each flight gives its centred moments, and the moments of flights are merged (Chan, Golub and
LeVeque 1983, "Algorithms for computing the sample variance"). This avoids rounding
errors with many samples or with means far from zero.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from threadpoolctl import ThreadpoolController

from trajlib.archive.flights import map_flights, reduce_flights
from trajlib.estimate import format_percent
from trajlib.schema import COLUMNS, NUMERIC

_BLAS = ThreadpoolController()
_SAMPLES = 20_000  # in total, enough for neighbours in one variable to be close
_SCATTER = 0.01  # in standard deviations, around a function of another variable


@dataclass(frozen=True)
class Moments:
    """Moments of every pair of the schema's numeric columns, as arrays (column, column).

    For the row's column, over the samples that have both columns: number, mean, and the sums of
    squares and of products of deviations from the means.
    """

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    product: np.ndarray


def correlate(flights: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's correlation of the numeric columns over all samples of flights.

    Missing values are omitted pair by pair: each correlation is over the samples that have both
    variables.

    Parameters
    ----------
    flights
        Rows of an index or of a store.

    Returns
    -------
    DataFrame
        Symmetric, in the schema's order, for columns with values. Missing if no sample has both
        columns, or if one of them varies by less than a tenth of its last decimal.

    Raises
    ------
    ValueError
        When no flight could be read.
    """
    return correlation_of([_merge_flights(flights)])


def correlate_without(
    flights: pd.DataFrame, parts: Sequence[Collection[str]]
) -> list[pd.DataFrame]:
    """Return for each part the correlation over the flights of all other parts.

    Each flight is read once.

    Parameters
    ----------
    flights
        Rows of an index or of a store.
    parts
        Paths of flights, each in one part: the held-out flights of a split.
    """
    moments = [_merge_flights(flights[flights["path"].isin(part)]) for part in parts]
    return [correlation_of(moments[:n] + moments[n + 1 :]) for n in range(len(parts))]


def _merge_flights(flights: pd.DataFrame) -> Moments | None:
    return reduce_flights(flights, measure_moments, merge_moments, columns=NUMERIC)


def correlation_of(parts: Sequence[Moments | None]) -> pd.DataFrame:
    """Return the correlations from moments of parts of the flights, as `correlate` does.

    The moments of a part without a readable flight are None.
    """
    readable = [part for part in parts if part is not None]
    if not readable:
        raise ValueError("no flight could be read, so nothing can be correlated")
    moments = reduce(merge_moments, readable)
    least = np.array([0.1 * 10.0 ** -COLUMNS[name].decimals for name in NUMERIC])
    varies = moments.square > moments.count * least[:, None] ** 2
    scale = np.sqrt(np.where(varies & varies.T, moments.square * moments.square.T, np.nan))
    values = np.clip(moments.product / scale, -1, 1)
    np.fill_diagonal(values, np.where(varies.diagonal(), 1, np.nan))
    filled = moments.count.diagonal() > 0
    return pd.DataFrame(values, NUMERIC, NUMERIC).loc[filled, filled]


def measure_moments(df: pd.DataFrame) -> Moments:
    """Return the moments of one flight; for missing columns the count is 0."""
    names = [name for name in NUMERIC if name in df]
    values = (df if names == [*df] else df[names]).to_numpy(float)  # avoids a copy
    present = np.isfinite(values)
    parts = _measure_complete(values) if present.all() else _measure_pairs(values, present)
    numbers = [NUMERIC.index(name) for name in names]
    rows, columns = np.ix_(numbers, numbers)
    moments = np.zeros((len(parts), len(NUMERIC), len(NUMERIC)))
    for moment, part in zip(moments, parts, strict=True):
        moment[rows, columns] = part
    return Moments(*moments)


def _measure_complete(values: np.ndarray) -> tuple[float | np.ndarray, ...]:
    # without missing values a column has the same count, mean and square in every pair
    shift = values[0].copy()  # makes constant columns exactly zero
    values = values - shift
    mean = values.mean(axis=0)
    values -= mean
    with _BLAS.limit(limits=1, user_api="blas"):  # for a reproducible order of sums
        product = values.T @ values
    return len(values), (mean + shift)[:, None], product.diagonal()[:, None], product


def _measure_pairs(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, ...]:
    # shift columns by their first value, which makes constant columns exactly zero
    shift = values[present.argmax(axis=0), range(values.shape[1])]
    values = np.where(present, values - shift, 0)
    mean = values.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    values = np.where(present, values - mean, 0)
    present = present.astype(float)
    with _BLAS.limit(limits=1, user_api="blas"):
        count, total = present.T @ present, values.T @ present
        square, product = (values**2).T @ present, values.T @ values
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
    """Return evenly spaced samples of each flight, 20,000 or more in total if available.

    They are indexed by ``path`` and sample number.
    """
    number = max(20, -(-_SAMPLES // len(flights)))
    return map_flights(flights, lambda df: df.iloc[:: max(1, len(df) // number)], columns=NUMERIC)


def flag_columns(
    correlation: pd.DataFrame, samples: pd.DataFrame, *, modelled: Collection[str] = ()
) -> pd.Series:
    """Return the columns to keep out of redundant groups, with the reason.

    Parameters
    ----------
    correlation
        As returned by `correlate`.
    samples
        As returned by `sample_flights`.
    modelled
        Columns that a model computed from the others, as listed in the archive's dialect.

    Returns
    -------
    Series
        Reason by column: missing from more than half of the samples; constant; modelled; about
        the surveillance rather than the flight; or a fixed function of another variable, across
        flights to within a hundredth of its standard deviation. Of two that are functions of each
        other the later in the schema is flagged.
    """
    missing = samples.isna().mean()
    flags = {
        name: f"missing in {format_percent(missing[name])}"
        for name in correlation
        if missing[name] > 0.5
    }
    flags |= {name: "constant" for name in correlation if np.isnan(correlation.loc[name, name])}
    flags |= {name: "modelled" for name in correlation if name in modelled}
    flags |= {name: "about the surveillance" for name in correlation if name == "gap"}
    unflagged = [name for name in correlation if name not in flags]
    return pd.Series(flags | _find_functions(samples[unflagged]), name="flag", dtype="str")


def redundant_groups(correlation: pd.DataFrame, threshold: float = 0.9) -> pd.DataFrame:
    """Return groups of redundant variables, and the one to keep of each group.

    Any two variables of a group have an absolute correlation of ``threshold`` or above (complete
    linkage of 1 - abs(r)). The variable to keep represents its group best: of those whose mean
    absolute correlation with the others is within 0.01 of the highest, it is the first in the
    schema, where measured variables come before derived ones.

    Returns
    -------
    DataFrame
        Indexed by column, largest group first: ``group`` from 1, its ``size``, ``mean_r``, the
        mean absolute correlation with the others of the group (missing in a group of one), and
        ``keep``.

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
    """Return three sets of predictors, two of them without correlated ones.

    Parameters
    ----------
    aggregates
        One row per flight. Numbers named ``<column>_<statistic>`` belong to a column; other
        predictors, such as the operator, are in every set.
    correlation, flags
        Of the same flights, as returned by `correlate` and `flag_columns`.
    threshold
        As for `redundant_groups`.

    Returns
    -------
    dict
        ``all``: predictors of all columns that are not flagged. ``kept variables``: those of one
        column per group of correlated columns. ``kept aggregates``: one per group of aggregates
        with correlated ranks (Spearman).
    """
    column_of = aggregates.columns.str.replace(r"_(max|min|mean|std)$", "", regex=True)
    unflagged = correlation.drop(index=flags.index, columns=flags.index)
    keep_variable = redundant_groups(unflagged, threshold)["keep"]
    candidates = aggregates.loc[:, column_of.isin(unflagged.columns)]
    ranks = candidates.loc[:, candidates.std() > 0].corr("spearman")
    keep_aggregate = redundant_groups(ranks, threshold)["keep"]
    masks = {
        "all": column_of.isin(unflagged.columns),
        "kept variables": column_of.isin(keep_variable.index[keep_variable]),
        "kept aggregates": aggregates.columns.isin(keep_aggregate.index[keep_aggregate]),
    }
    is_other = ~column_of.isin(correlation.columns)
    return {name: list(aggregates.columns[is_other | mask]) for name, mask in masks.items()}


def cluster_columns(correlation: pd.DataFrame) -> np.ndarray:
    """Return SciPy's complete linkage of columns by the distance 1 - abs(r).

    Columns without common samples count as uncorrelated.
    """
    distance = 1 - correlation.abs().fillna(0).to_numpy(copy=True)
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance, checks=False), "complete", optimal_ordering=True)


def _find_functions(samples: pd.DataFrame) -> dict[str, str]:
    """Return the columns that are a function of another column, and a text that names it."""
    scatter = pd.DataFrame({name: _measure_scatter(samples, name) for name in samples})
    is_function = scatter <= _SCATTER
    functions: dict[str, str] = {}
    for number, name in enumerate(samples):
        for other_number, other in enumerate(samples):
            # of two that are functions of each other, only the later one is
            counts = other_number < number or not is_function.loc[other, name]
            if other != name and is_function.loc[name, other] and counts:
                functions.setdefault(name, f"function of {other}")
    return functions


def _measure_scatter(samples: pd.DataFrame, by: str) -> pd.Series:
    """Return how far each column is from a function of one column, in standard deviations.

    Samples are sorted by that column. Neighbours from different flights then have the same value of
    a function of it: the mean square of their differences is twice the variance around it.
    """
    ordered = samples.dropna(subset=by).sort_values(by, kind="stable")
    path = ordered.index.codes[0]
    from_other_flight = path[1:] != path[:-1]
    steps = np.diff(ordered.to_numpy(), axis=0)[from_other_flight]
    variance = (pd.DataFrame(steps, columns=samples.columns) ** 2).mean() / 2
    return np.sqrt(variance) / samples.std()
