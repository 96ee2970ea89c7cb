"""Splits into training and held-out flights: by local day, forward in time, at random."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trajlib.estimate import count
from trajlib.features.feature_sets import local_start

if TYPE_CHECKING:
    from trajlib.models.training import Split

_GAP = pd.Timedelta("60D")  # without a flight, between two periods
_LEAST = 0.05  # share of the flights in a period, to compare its mean
_FEW = 5  # flights of an operator in each period, to compare its means
_NAMED = 4  # periods at most


def local_days(flights: pd.DataFrame) -> pd.Series:
    """Return the day of each flight's first sample in its origin's time zone, by path."""
    return local_start(flights).dt.normalize().rename("day")


def describe_days(days: pd.Series) -> str:
    """Return the number of days with flights, and their periods where months are between them.

    >>> describe_days(pd.to_datetime(pd.Series(["2019-10-01", "2019-11-20", "2021-07-03"])))
    '3 days in 2 periods: Oct to Nov 2019, Jul 2021'
    """
    names = list(dict.fromkeys(_name_periods(days)))
    text = count(days.nunique(), "day")
    if len(names) == 1:
        return text
    if len(names) > _NAMED:
        return f"{text} in {len(names)} periods, {days.min():%b %Y} to {days.max():%b %Y}"
    return f"{text} in {len(names)} periods: {', '.join(names)}"


def compare_periods(durations: pd.Series, days: pd.Series, operators: pd.Series) -> str:
    """Return a sentence on the mean durations of the periods, or "" where they hardly differ.

    They differ where the longest and the shortest mean are more than two standard errors apart,
    of the means of days; a period of one day or few flights is left out. The arguments are by path,
    durations in minutes. Since other operators may fly in other periods, the means of the most
    frequent operator of both are added.
    """
    periods = _name_periods(days).reindex(durations.index)
    sizes = periods.value_counts()
    daily = durations.groupby(days).mean()
    table = daily.groupby(_name_periods(daily.index.to_series())).agg(["mean", "sem"]).dropna()
    table = table[sizes.reindex(table.index) >= _LEAST * len(durations)]
    if table.empty:
        return ""
    ends = table.loc[[table["mean"].idxmin(), table["mean"].idxmax()]]
    if not ends["mean"].iloc[1] - ends["mean"].iloc[0] > 2 * np.hypot(*ends["sem"]):
        return ""
    means = durations.groupby(periods).mean()
    if not means[ends.index].is_monotonic_increasing:  # days with many flights are different
        return ""
    texts = [f"{means[name]:.1f} min in {name} ({sizes[name]:,} flights)" for name in ends.index]
    between = "between " if len(table) > 2 else ""
    text = f"On average flights took {between}{' and '.join(texts)}"
    counts = pd.crosstab(operators, periods).reindex(columns=ends.index, fill_value=0).min(axis=1)
    if len(counts) > 1 and counts.max() >= _FEW:
        name = counts.idxmax()
        alone = durations[operators == name].groupby(periods).mean()
        text += f", {name} alone {alone[ends.index[0]]:.1f} and {alone[ends.index[1]]:.1f} min"
    return f"{text}: a model of one period may not fit another."


def _name_periods(days: pd.Series) -> pd.Series:
    """Return the name of each day's period, in order of time."""
    ordered = days.sort_values(kind="stable")
    number = (ordered.diff() > _GAP).cumsum()
    names = {}
    for period, part in ordered.groupby(number):
        first, last = part.iloc[0], part.iloc[-1]
        start = f"{first:%b}" if first.year == last.year else f"{first:%b %Y}"
        one_month = (first.year, first.month) == (last.year, last.month)
        names[period] = f"{last:%b %Y}" if one_month else f"{start} to {last:%b %Y}"
    return number.map(names)


def choose_folds(days: pd.Series, folds: int = 4) -> int:
    """Return the number of folds that `split_by_day` can make of these days, at most ``folds``.

    >>> choose_folds(pd.Series([1, 2] * 20))
    2
    """
    return min(folds, days.nunique(), len(days) // 10)


def split_by_day(days: pd.Series, folds: int = 4, *, seed: int = 0) -> "list[Split]":
    """Return splits that hold out whole days, every day once.

    Flights of one day share wind and runways. A random split would train and test on the same
    days.

    Parameters
    ----------
    days
        The day of each flight, by path, as of :func:`local_days`.
    folds
        Number of parts of the days; each is held out once.

    Raises
    ------
    ValueError
        When there are fewer than two folds, fewer days than folds, or fewer than ten flights per
        fold.

    >>> days = pd.Series([1, 1, 2, 2] * 5, index=[f"{n:02}.csv" for n in range(20)])
    >>> [(len(train), len(held_out)) for train, held_out in split_by_day(days, 2)]
    [(10, 10), (10, 10)]
    """
    fewest = max(2, folds)
    if days.nunique() < fewest or len(days) < 10 * fewest:
        raise ValueError(
            f"{len(days)} flights on {days.nunique()} local days are too few to split by day: "
            f"expected {10 * fewest} flights or more on {fewest} days or more"
        )
    if folds < 2:
        raise ValueError(f"folds is {folds}, expected 2 or more")
    return _split_groups(days, folds, seed)


def split_forward(days: pd.Series, folds: int = 4) -> "list[Split]":
    """Return splits that hold out days after all training days.

    The days are divided, in order of time, into one part more than folds. Each part except the
    first is held out, and all earlier parts are used for training, as in operation.

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


def split_at_random(events: pd.Series, folds: int = 4, *, seed: int = 0) -> "list[Split]":
    """Return splits that hold out flights at random, every flight once, for comparison.

    They train and test on the same days. Only records of one flight, as found by `find_repeats`,
    stay together.

    >>> events = pd.Series([0, 0, 1, 2], list("aabc"))
    >>> sorted(sorted(held_out) for _, held_out in split_at_random(events, 2))
    [['a', 'a'], ['b', 'c']]
    """
    return _split_groups(events, folds, seed)


def describe_splits(splits: "list[Split]", days: pd.Series) -> pd.DataFrame:
    """Return the numbers of training and held-out flights and days of each split.

    >>> days = pd.Series([1, 1, 2, 3, 3], list("abcde"))
    >>> describe_splits(split_forward(days, 2), days)["flights held out"].tolist()
    [1, 2]
    """
    rows = [
        {
            "flights trained on": len(train),
            "days trained on": days[train].nunique(),
            "flights held out": len(held_out),
            "days held out": days[held_out].nunique(),
        }
        for train, held_out in splits
    ]
    return pd.DataFrame(rows, pd.RangeIndex(1, len(rows) + 1, name="split"))


def find_repeats(flights: pd.DataFrame) -> pd.Series:
    """Return a flight number for each record, by path.

    Records with the same callsign that overlap in time belong to one flight. Records without a
    callsign are separate flights.

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


def _split_groups(groups: pd.Series, folds: int, seed: int) -> "list[Split]":
    from sklearn.model_selection import GroupKFold

    folded = GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups)
    return [(groups.index[train], groups.index[held_out]) for train, held_out in folded]
