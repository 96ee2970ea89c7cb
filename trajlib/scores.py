"""How good predictions are: splits, errors, R², skill and its interval, and what it hides.

Predictions have the form of the targets: a row for each ``path`` and ``fraction``, a column for
each target. Whatever is measured here is measured on flights of days held out from training.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from trajlib.features import local_start
from trajlib.geodesy import along_cross_track, distance
from trajlib.intervals import courses

__all__ = [
    "average_by_phase",
    "compare_models",
    "find_repeats",
    "flown_courses",
    "interval_by_day",
    "local_days",
    "match_flights",
    "measure_errors",
    "measure_tails",
    "predict_baseline",
    "score_groups",
    "score_targets",
    "skill",
    "split_at_random",
    "split_by_day",
    "split_forward",
    "squared_errors",
]

Split = tuple[pd.Index, pd.Index]  # paths of the flights to train on, and of those held out

_DRAWS = 1000  # of days, for an interval


def local_days(flights: pd.DataFrame) -> pd.Series:
    """Return the day of each flight's first sample in its origin's time zone, by path."""
    return local_start(flights).dt.normalize().rename("day")


def split_by_day(days: pd.Series, folds: int = 4, *, seed: int = 0) -> list[Split]:
    """Return splits that hold out whole days, every day once.

    Flights of one day share its wind and its runways: a random split would train on the day
    that it is tested on, and would put a repeated flight on both sides.

    Parameters
    ----------
    days
        The day of each flight, by path, as of :func:`local_days`.
    folds
        Parts that the days fall into; each is held out from training on the rest.

    Raises
    ------
    ValueError
        When there are fewer days than folds, or fewer than ten flights a fold.

    >>> days = pd.Series([1, 1, 2, 2] * 5, index=[f"{n:02}.csv" for n in range(20)])
    >>> [(len(train), len(held_out)) for train, held_out in split_by_day(days, 2)]
    [(10, 10), (10, 10)]
    """
    if days.nunique() < folds or len(days) < 10 * folds:
        raise ValueError(
            f"{len(days)} flights on {days.nunique()} local days are too few to split by day: "
            f"expected {10 * folds} flights or more on {folds} days or more for {folds} folds"
        )
    folded = GroupKFold(folds, shuffle=True, random_state=seed).split(days, groups=days)
    return [(days.index[train], days.index[held_out]) for train, held_out in folded]


def split_forward(days: pd.Series, folds: int = 4) -> list[Split]:
    """Return splits that hold out days later than all that they train on.

    The days fall into one part more than there are folds, in the order of time; each part but the
    first is held out from training on those before it: what a user would live.

    >>> days = pd.Series([1, 1, 2, 3, 3], list("abcde"))
    >>> [(list(train), list(held_out)) for train, held_out in split_forward(days, 2)]
    [(['a', 'b'], ['c']), (['a', 'b', 'c'], ['d', 'e'])]
    """
    order = np.sort(days.unique())
    if len(order) <= folds:
        raise ValueError(f"{len(order)} local days are too few for {folds} folds forward in time")
    parts = np.array_split(order, folds + 1)
    return [
        (days.index[days < part[0]], days.index[(days >= part[0]) & (days <= part[-1])])
        for part in parts[1:]
    ]


def split_at_random(events: pd.Series, folds: int = 4, *, seed: int = 0) -> list[Split]:
    """Return splits that hold out flights at random, every flight once; for contrast.

    They train on the days that they are tested on. Only what `find_repeats` says is one event
    stays together.

    >>> events = pd.Series([0, 0, 1, 2], list("aabc"))
    >>> sorted(sorted(held_out) for _, held_out in split_at_random(events, 2))
    [['a', 'a'], ['b', 'c']]
    """
    folded = GroupKFold(folds, shuffle=True, random_state=seed).split(events, groups=events)
    return [(events.index[train], events.index[held_out]) for train, held_out in folded]


def find_repeats(flights: pd.DataFrame) -> pd.Series:
    """Return the number of the event that each flight is a record of, by path.

    Records of the same callsign that overlap in time are one flight under several names. A
    flight without a callsign is an event of its own.

    Parameters
    ----------
    flights
        With ``path``, ``callsign``, ``start`` and ``end``.
    """
    order = flights.sort_values(["callsign", "start"], kind="stable")
    same = order["callsign"].eq(order["callsign"].shift())
    latest = order.groupby("callsign", dropna=False)["end"].transform(lambda e: e.cummax().shift())
    repeats = same & (order["start"] <= latest)
    events = (~repeats).cumsum().set_axis(order["path"])
    return events.reindex(flights["path"]).rename("event")


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


def predict_baseline(
    targets: pd.DataFrame, splits: list[Split], statistic: str = "mean"
) -> pd.DataFrame:
    """Return the mean (or ``median``) trajectory of each split's training flights as prediction.

    The same for every held-out flight of a split, at each fraction.
    """
    predictions = []
    for train, held_out in splits:
        own = targets[match_flights(targets.index, train)]
        mean = own.groupby(level="fraction").agg(statistic)
        rows = targets.index[match_flights(targets.index, held_out)]
        values = mean.loc[rows.get_level_values("fraction")]
        predictions.append(values.set_axis(rows))
    return pd.concat(predictions).sort_index()


def measure_errors(
    predictions: pd.DataFrame, targets: pd.DataFrame, *, course: pd.Series | None = None
) -> pd.DataFrame:
    """Return the absolute errors of predictions, in the units that people fly in.

    Parameters
    ----------
    predictions, targets
        By path and fraction; ``predictions`` may have some of the rows alone.
    course
        Flown [deg] at each row of the targets, where these are too far apart to tell it. It is
        the flown one, so that along and across mean the same for every prediction.

    Returns
    -------
    DataFrame
        A row for each path and fraction predicted: ``horizontal`` [NM], the geodesic between
        predicted and flown position, and its parts ``along`` and ``cross`` the course flown
        (missing where there is one fraction alone); ``altitude`` [ft]; ``time`` [s], of the
        duration; ``distance`` [NM], of the distance flown.
    """
    flown = targets.reindex(predictions.index)
    if course is None:
        course = flown_courses(flown)
    ends = [table[name] for table in (predictions, flown) for name in ("latitude", "longitude")]
    along, cross = along_cross_track(*ends, course.reindex(flown.index))
    errors = {"horizontal": distance(*ends), "along": np.abs(along), "cross": np.abs(cross)}
    off = (predictions - flown).abs()
    named = {"altitude": "altitude", "duration": "time", "distance": "distance"}
    errors |= {named[name]: off[name] for name in named if name in off}
    return pd.DataFrame(errors, predictions.index)


def flown_courses(targets: pd.DataFrame) -> pd.Series:
    """Return the course [deg] at each path and fraction; missing where there is one fraction."""
    told = len(targets.index.unique("fraction")) > 1
    return pd.Series(courses(targets) if told else np.nan, targets.index, name="course")


def squared_errors(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return the squared error of each target, the norm in which the forests are trained."""
    return (predictions - targets.reindex(predictions.index)) ** 2


def score_targets(predictions: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """Return R² of each target (columns) at each fraction (rows).

    One less the squared error over the held-out flights' own spread at that fraction: 0 for
    their mean, 1 for perfection. NaN where they do not differ.
    """
    flown = targets.reindex(predictions.index)
    spread = (flown - flown.groupby(level="fraction").transform("mean")) ** 2
    return skill(squared_errors(predictions, targets), spread, by="fraction")


def average_by_phase(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of scores in mid-flight and near the ends of the flight, of each target.

    Mid-flight are the fractions from 40 to 60 %, the ends those to 10 % and from 90 %.

    >>> rows = pd.Index([0.1, 0.2, 0.5, 0.6, 0.9], name="fraction")
    >>> average_by_phase(pd.DataFrame({"altitude": [1, 9, 3, 5, 2]}, rows))["altitude"].to_dict()
    {'mid-flight': 4.0, 'ends': 1.5}
    """
    fraction = scores.index.get_level_values("fraction")
    parts = [(fraction >= 0.4) & (fraction <= 0.6), (fraction <= 0.1) | (fraction >= 0.9)]
    means = [scores[part].mean() for part in parts]
    return pd.DataFrame(means, ["mid-flight", "ends"])


def skill(
    errors: pd.DataFrame, baseline: pd.DataFrame, *, by: str | None = None
) -> pd.Series | pd.DataFrame:
    """Return one less the sum of errors over the sum of the baseline's, for each column.

    Pooled over all rows that both have, or at each value of the index level ``by``; never a mean
    of ratios.

    >>> skill(pd.DataFrame({"altitude": [1.0, 2.0]}), pd.DataFrame({"altitude": [5.0, 1.0]}))
    altitude    0.5
    dtype: float64
    """
    errors, baseline = _known_in_both(errors, baseline)
    if by is None:
        return 1 - errors.sum() / baseline.sum()
    return 1 - errors.groupby(level=by).sum() / baseline.groupby(level=by).sum().replace(0, np.nan)


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


def compare_models(
    errors: Mapping[str, pd.DataFrame],
    baselines: Mapping[str, pd.DataFrame],
    days: pd.Series,
) -> pd.DataFrame:
    """Return the skill of each model against each baseline, and whether it beats the best.

    Parameters
    ----------
    errors, baselines
        By name, as of `measure_errors`, all of the same rows; ``mean`` and ``median`` trajectory
        are among the baselines.
    days
        Of each flight, by path.

    Returns
    -------
    DataFrame
        Indexed by ``model`` and ``error``. ``skill``, ``low``, ``high``: against the mean
        trajectory, pooled over absolute errors, with the 95 % interval by day; ``median``: against
        the median trajectory, with ``median_low`` and ``median_high``; ``squared``: against the
        mean, of squared errors, the norm in which forests, ridge and neighbours are trained;
        ``best``: the baseline of least error, and ``best_skill``, ``best_low`` and ``best_high``
        against it; ``verdict``: whether the model beats it, ``no better`` where the interval
        leaves that open, ``worse`` where it is surely not so good.
    """
    sums = pd.DataFrame({name: table.mean() for name, table in baselines.items()}).dropna()
    best = sums.idxmin(axis=1)
    against = pd.DataFrame({name: baselines[best[name]][name] for name in best.index})
    tables = {}
    for name, table in errors.items():
        own = table[list(best.index)]
        parts = [interval_by_day(own, baselines["mean"][own.columns], days)]
        for kind, base in {"median": baselines["median"], "best": against}.items():
            found = interval_by_day(own, base[own.columns], days)
            parts.append(found.set_axis([f"{kind}_skill", f"{kind}_low", f"{kind}_high"], axis=1))
        squared = skill(own**2, baselines["mean"][own.columns] ** 2)
        tables[name] = pd.concat(parts, axis=1).assign(squared=squared, best=best)
    result = pd.concat(tables, names=["model", "error"])
    sure = [result["best_low"] > 1e-6, result["best_high"] < -1e-6]  # more than rounding
    return result.assign(verdict=np.select(sure, ["beats it", "worse"], "no better"))


def score_groups(
    errors: pd.DataFrame, baseline: pd.DataFrame, groups: pd.Series, days: pd.Series
) -> pd.DataFrame:
    """Return mean error and skill in each group, with the 95 % interval by day.

    Parameters
    ----------
    errors, baseline
        Of the same rows.
    groups
        A name for each path, or for each path and fraction; rows without one are left out.

    Returns
    -------
    DataFrame
        Indexed by ``group`` and ``error``: ``flights`` of which the error is known, ``mean``,
        ``skill``, ``low``, ``high``. Empty where no row has a group.
    """
    path = errors.index.get_level_values("path")
    whole = groups.index.nlevels > 1
    names = groups.reindex(errors.index if whole else path).to_numpy()
    rows = pd.MultiIndex.from_product([[], errors.columns], names=["group", "error"])
    empty = pd.DataFrame(columns=["mean", "skill", "low", "high"], index=rows, dtype=float)
    empty.insert(0, "flights", 0)
    tables = {}
    for name in pd.unique(pd.Series(names).dropna().sort_values(kind="stable")):
        own, base = errors[names == name], baseline[names == name]
        table = interval_by_day(own, base, days)
        table.insert(0, "mean", own.mean())
        table.insert(0, "flights", own.notna().groupby(level="path").any().sum())
        tables[name] = table
    return pd.concat(tables, names=rows.names) if tables else empty


def measure_tails(errors: pd.DataFrame, days: pd.Series) -> pd.DataFrame:
    """Return what a mean hides: ``mean``, ``p95``, and the mean of the ``worst day``, by error.

    The worst day is the one of the largest mean error, among days of three flights or more where
    there are such; ``day`` says which.
    """
    day = days.reindex(errors.index.get_level_values("path"))
    means = errors.groupby(day.to_numpy()).mean()
    flights = errors.groupby(day.to_numpy()).apply(lambda part: part.index.unique("path").size)
    means = means[flights >= min(3, flights.max())].dropna(axis=1, how="all")
    table = pd.DataFrame({"mean": errors.mean(), "p95": errors.quantile(0.95)})
    return table.join(pd.DataFrame({"worst day": means.max(), "day": means.idxmax()}))


def _known_in_both(one: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    known = one.notna().to_numpy() & other[list(one)].notna().to_numpy()
    return one.where(known), other[list(one)].where(known)
