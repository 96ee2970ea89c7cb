"""Importance of predictors at each fraction: impurity, permutation and SHAP, with intervals."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.evaluation.bootstrap import draw_days
from trajlib.models.estimators import encoded_predictors
from trajlib.models.training import Fold, Split, submit_splits
from trajlib.trajectories.correlations import redundant_groups

_DRAWS = 500  # of days, for an interval
_ROWS = 20_000  # predicted at once, since each call of a forest has a high fixed cost


@dataclass(frozen=True)
class ImportanceSamples:
    """Impurity and errors of shuffled predictors, from which importance is computed.

    Attributes
    ----------
    impurity
        By split and fraction, one column per group of predictors.
    rises
        Increases of squared errors when a ``predictor`` is shuffled, summed over the held-out
        flights of a ``day``; by split, fraction, predictor and day, one column per target.
    spread
        Squared errors of the mean trajectory, summed in the same way, by split, fraction and day.
    """

    impurity: pd.DataFrame
    rises: pd.DataFrame
    spread: pd.DataFrame


def group_predictors(predictors: pd.DataFrame, threshold: float = 0.8) -> dict[str, list[str]]:
    """Return groups of correlated predictors; each predictor is in one.

    Numbers with pairwise rank correlations of at least ``threshold`` form a group, named after its
    most typical member. Categories and constants form groups of one.

    >>> table = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [1.0, 4.0, 16.0], "c": ["x", "y", "x"]})
    >>> group_predictors(table)
    {'a, 1 alike': ['a', 'b'], 'c': ['c']}
    """
    numbers = predictors.select_dtypes("number")
    ranks = numbers.loc[:, numbers.std() > 0].rank()
    groups = {}
    if ranks.shape[1] > 1:
        correlated = redundant_groups(ranks.corr(), threshold)
        for _, group in correlated[correlated["size"] > 1].groupby("group"):
            members = [name for name in predictors if name in group.index]
            groups[f"{group.index[group['keep']][0]}, {len(members) - 1} alike"] = members
    grouped = {name for members in groups.values() for name in members}
    return groups | {name: [name] for name in predictors if name not in grouped}


def collect_importance(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    days: pd.Series,
    *,
    feature_set: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    repeats: int = 3,
    seed: int = 0,
) -> ImportanceSamples:
    """Train a forest for each split and fraction, and shuffle predictors of held-out flights.

    The one-hot columns of a category are shuffled together.

    Parameters
    ----------
    model
        Untrained, as returned by ``build_model("forest")``.
    predictors, targets, splits, feature_set
        As for `trajlib.models.training.submit_splits`.
    days
        The local day of each flight, by path.
    groups
        Names of groups, and the predictors shuffled together. By default each predictor alone.
    repeats
        Number of shuffles of each predictor.
    """
    groups = groups or {name: [name] for name in predictors}
    collect = functools.partial(
        _collect_importance, model=model, groups=groups, days=days, repeats=repeats, seed=seed
    )
    results = submit_splits(collect, predictors, targets, splits, feature_set=feature_set)()
    keys, names = list(results), ["split", "fraction"]
    tables = zip(*results.values(), strict=True)
    return ImportanceSamples(*(pd.concat(parts, keys=keys, names=names) for parts in tables))


def measure_importance(samples: ImportanceSamples, split: int | None = None) -> pd.DataFrame:
    """Return impurity and permutation importance of predictors at each fraction.

    Impurity importance is the share of the variance of the training flights that is removed by the
    splits of a forest on a predictor. Permutation importance is the loss of skill against the mean
    trajectory when the values of a predictor are shuffled among held-out flights: squared errors
    are pooled over flights and splits for each target, and the targets are averaged.

    Parameters
    ----------
    split
        Number of a single split, instead of all.

    Returns
    -------
    DataFrame
        Indexed by ``fraction`` and ``predictor``: ``impurity``, summing to 1 over all predictors,
        and ``permutation``, in units of skill.
    """
    if split is not None:
        tables = (samples.impurity, samples.rises, samples.spread)
        samples = ImportanceSamples(
            *(table.xs(split, level="split", drop_level=False) for table in tables)
        )
    lost = samples.rises.groupby(level=["fraction", "predictor"], sort=False).sum()
    lost = lost / samples.spread.groupby(level="fraction").sum()
    impurity = samples.impurity.groupby(level="fraction").mean().stack()  # noqa: PD013, one column
    impurity.index.names = ["fraction", "predictor"]
    return pd.DataFrame({"impurity": impurity, "permutation": lost.mean(axis=1)}).loc[lost.index]


def interval_importance(samples: ImportanceSamples, *, seed: int = 0) -> pd.DataFrame:
    """Return the 95 % bootstrap interval over held-out days of the permutation importance.

    It is for the mean over fractions. The same days are drawn at all fractions.

    Returns
    -------
    DataFrame
        Indexed by ``predictor``: ``low`` and ``high``, in units of skill.
    """
    days = samples.spread.index.unique("day")
    names = samples.rises.index.unique("predictor")
    drawn = draw_days(len(days), _DRAWS, seed=seed)
    by_fraction = []
    for fraction in samples.spread.index.unique("fraction"):
        rises = samples.rises.xs(fraction, level="fraction")
        rises = rises.groupby(level=["day", "predictor"]).sum().unstack()  # noqa: PD010
        spread = samples.spread.xs(fraction, level="fraction").groupby(level="day").sum()
        lost = drawn @ rises.reindex(days, fill_value=0.0).to_numpy()
        of = drawn @ spread.reindex(days, fill_value=0.0).to_numpy()
        lost = lost.reshape(_DRAWS, of.shape[1], -1) / of[:, :, None]
        by_fraction.append(pd.DataFrame(lost.mean(axis=1), columns=rises.columns.unique(1)))
    bounds = (sum(by_fraction) / len(by_fraction)).quantile([0.025, 0.975]).T
    return bounds.set_axis(["low", "high"], axis=1).loc[names]


def measure_shap(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> pd.Series:
    """Return the mean size of the contributions of predictors to LightGBM's predictions.

    A prediction is the sum of the mean and a contribution of each predictor (TreeSHAP: Lundberg
    et al. 2020, "From local explanations to global understanding with explainable AI for
    trees"). Contributions of a group are added. Their absolute value is averaged over held-out
    flights and targets.

    Parameters
    ----------
    model
        ``build_model("lightgbm")``, untrained.
    predictors, targets, splits, feature_set, groups
        As for `collect_importance`.

    Returns
    -------
    Series
        ``shap``, indexed by ``fraction`` and ``predictor``, in spreads of the training flights.
    """
    groups = groups or {name: [name] for name in predictors}
    explain = functools.partial(_explain, model=model, groups=groups)
    results = submit_splits(explain, predictors, targets, splits, feature_set=feature_set)()
    sums = pd.concat(results, names=["split", "fraction"])
    flights = sums.pop("flights").groupby(level="fraction").sum()
    sums = sums.groupby(level="fraction").sum().div(flights, axis=0)
    return sums.rename_axis(columns="predictor").stack().rename("shap")  # noqa: PD013


def rank_predictors(importance: pd.DataFrame) -> pd.DataFrame:
    """Return the importance of each predictor averaged over fractions, and its ranks from 1.

    Sorted by permutation importance, with a column ``<measure>_rank`` for each measure.
    """
    mean = importance.groupby(level="predictor", sort=False).mean()
    ranks = mean.rank(ascending=False, method="min").astype(int).add_suffix("_rank")
    return mean.join(ranks).sort_values("permutation", ascending=False, kind="stable")


def rank_splits(samples: ImportanceSamples) -> pd.DataFrame:
    """Return the rank by permutation of each predictor (rows) on each single split (columns)."""
    ranks = {}
    for split in samples.impurity.index.unique("split"):
        ranks[split] = rank_predictors(measure_importance(samples, split))["permutation_rank"]
    return pd.DataFrame(ranks)


def _collect_importance(
    fold: Fold,
    *,
    model: Pipeline,
    groups: Mapping[str, Sequence[str]],
    days: pd.Series,
    repeats: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    flown = fold.flown.dropna()  # a missing error would make the sum of its day missing
    held_out = fold.held_out.loc[flown.index]
    trained = clone(model).fit(fold.predictors, fold.targets)
    encoder, regressor = trained
    encoded, names = encoder.transform(held_out), np.array(encoded_predictors(trained))
    day = days[held_out.index].to_numpy()
    dates = np.unique(day)
    of_day = (dates[:, None] == day).astype(float)
    rng = np.random.default_rng(seed)
    orders = np.concatenate([rng.permutation(len(held_out)) for _ in range(repeats)])
    untouched = of_day @ ((regressor.predict(encoded) - flown.to_numpy()) ** 2)
    rises = []
    size = max(1, _ROWS // len(orders))
    for batch in (list(groups)[i : i + size] for i in range(0, len(groups), size)):
        shuffled = []
        for name in batch:
            members = np.isin(names, groups[name])
            shuffled.append(np.where(members, encoded[orders], np.tile(encoded, (repeats, 1))))
        predicted = regressor.predict(np.concatenate(shuffled))
        errors = predicted.reshape(len(batch), repeats, *flown.shape) - flown.to_numpy()
        rises += list(of_day @ (errors**2).mean(axis=1) - untouched)
    rows = pd.Index(dates, name="day")
    tables = [pd.DataFrame(rise, rows, flown.columns) for rise in rises]
    spread = of_day @ ((flown - fold.targets.mean()) ** 2).to_numpy()
    return (
        _impurity(trained, groups),
        pd.concat(dict(zip(groups, tables, strict=True)), names=["predictor"]),
        pd.DataFrame(spread, rows, flown.columns),
    )


def _impurity(trained: Pipeline, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    impurity = pd.Series(trained[-1].regressor_.feature_importances_, encoded_predictors(trained))
    impurity = impurity.groupby(level=0).sum()
    return pd.DataFrame([{name: impurity[list(members)].sum() for name, members in groups.items()}])


def _explain(fold: Fold, *, model: Pipeline, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    trained = clone(model).fit(fold.predictors, fold.targets)
    encoded, names = trained[0].transform(fold.held_out), np.array(encoded_predictors(trained))
    belongs = np.column_stack([np.isin(names, members) for members in groups.values()])
    contributions = [
        np.abs(booster.predict(encoded, pred_contrib=True)[:, :-1] @ belongs).sum(axis=0)
        for booster in trained[-1].regressor_.boosters_
    ]
    table = pd.DataFrame([np.mean(contributions, axis=0)], columns=list(groups))
    return table.assign(flights=len(encoded))
