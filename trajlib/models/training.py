"""Models behind one interface, and the training of each fraction, or of all, on the cluster.

The talk trains a model for every fraction of a trajectory, independently of the others. A joint
model takes all targets at all fractions as one row: its trees are grown once, not once a fraction.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from trajlib.cluster import current_client, gather, watch_workers
from trajlib.features.feature_sets import check_no_leakage

__all__ = [
    "map_splits",
    "predict_held_out",
    "stack_targets",
    "submit_held_out",
    "submit_splits",
    "widen_targets",
]


_BEGUN: WeakSet[Callable] = WeakSet()  # what waits for work that was begun on a cluster


def predict_held_out(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    feature_set: str,
    joint: bool = False,
) -> pd.DataFrame:
    """Train a model for every split and fraction, and return what it predicts for those held out.

    A model is let go as soon as it has predicted: a thousand trees for each fraction would fill
    the memory. Nothing of a held-out flight, its categories included, is seen in training.

    Parameters
    ----------
    model
        Untrained; cloned for every split and fraction.
    predictors, targets
        As of `trajlib.features.feature_sets`.
    splits
        Paths of the flights to train on and of those held out.
    feature_set
        What the predictors may know.
    joint
        One model a split for all fractions, of the flights that reach all of them.

    Returns
    -------
    DataFrame
        As ``targets``, the held-out flights alone, by path and fraction. ``attrs["seconds"]``
        is the processor time [s] of all training.

    Raises
    ------
    ValueError
        When a predictor is outside the feature_set.
    """
    return submit_held_out(
        model, predictors, targets, splits, feature_set=feature_set, joint=joint
    )()


def submit_held_out(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    feature_set: str,
    joint: bool = False,
) -> Callable[[], pd.DataFrame]:
    """Begin what `predict_held_out` does, and return a function that waits for its result, once.

    On a cluster several that were begun keep all workers busy, while this process does something
    else. Where one cannot be waited for to its end, all that was begun is given up. Without a
    cluster the work is done by waiting.
    """
    check_no_leakage(predictors, feature_set)
    work = functools.partial(_train_and_predict, model)
    training = submit_splits(work, predictors, targets, splits, joint=joint)

    def wait() -> pd.DataFrame:
        results = training()
        if joint:
            tables = [stack_targets(table) for _, (table, _) in results]
        else:
            tables = [
                pd.concat({fraction: table}, names=["fraction"]).swaplevel()
                for fraction, (table, _) in results
            ]
        predictions = pd.concat(tables).sort_index()
        predictions.attrs["seconds"] = sum(seconds for _, (_, seconds) in results)
        return predictions

    return wait


def widen_targets(targets: pd.DataFrame) -> pd.DataFrame:
    """Return targets as one row a flight, columns of target and fraction: what a joint model takes.

    Flights that do not reach every fraction are left out.
    """
    return targets.unstack("fraction").dropna()  # noqa: PD010, as it stands


def stack_targets(wide: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a joint model as targets are, by path and fraction."""
    tall = wide.stack("fraction", future_stack=True)  # noqa: PD013, as melt would lose the order
    return tall[list(wide.columns.unique(0))]


def map_splits(
    function: Callable,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    joint: bool = False,
) -> list[tuple[float | None, Any]]:
    """Run a function for every fraction and split, one task each, on the current Dask client.

    The tables go to the workers once; without a client all runs in this process.

    Parameters
    ----------
    function
        Takes predictors and targets of the training flights, then of those held out, at one
        fraction; rows are flights. Training flights have all targets.
    joint
        All fractions as one, named None, as `widen_targets` returns them.

    Returns
    -------
    list
        Pairs of the fraction and what the function returned, by fraction, then by split.
    """
    return submit_splits(function, predictors, targets, splits, joint=joint)()


def submit_splits(
    function: Callable,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    joint: bool = False,
) -> Callable[[], list[tuple[float | None, Any]]]:
    """Begin what `map_splits` does, as `submit_held_out` begins training."""
    fractions = [None] if joint else targets.index.unique("fraction")
    tasks = [(fraction, split) for fraction in fractions for split in range(len(splits))]
    tables = (predictors, targets, splits)
    client = current_client()
    if client is None:
        return lambda: [(task[0], _run(function, tables, task)) for task in tasks]
    # a task gives them, and gives them again where a worker that held them is lost
    held = client.submit(_hold, tables, pure=False)
    futures = [client.submit(_run, function, held, task, pure=False) for task in tasks]
    watch = watch_workers(client)
    watch()  # sees the workers that there are now

    def wait() -> list[tuple[float | None, Any]]:
        try:
            results = gather(client, futures, watch)
        except BaseException:  # Ctrl-C, too, is meant for all that was begun
            for other in list(_BEGUN):
                other.give_up()
            raise
        futures.clear()  # or the workers would keep them as long as this function is kept
        return [(fraction, result) for (fraction, _), result in zip(tasks, results, strict=True)]

    wait.give_up = futures.clear
    _BEGUN.add(wait)
    return wait


def _hold(tables: tuple) -> tuple:
    return tables


def _run(function: Callable, tables: tuple, task: tuple[float | None, int]) -> Any:
    predictors, targets, splits = tables
    fraction, split = task
    here = widen_targets(targets) if fraction is None else targets.xs(fraction, level="fraction")
    known = here.index.intersection(predictors.index, sort=False)
    train, held_out = (known.intersection(paths, sort=False) for paths in splits[split])
    whole = here.loc[train].dropna()
    return function(
        predictors.loc[whole.index], whole, predictors.loc[held_out], here.loc[held_out]
    )


def _train_and_predict(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    held_out: pd.DataFrame,
    _: pd.DataFrame,
) -> tuple[pd.DataFrame, float]:
    if len(targets) < 2 or not len(held_out):  # nothing to learn from, or nobody asks
        return pd.DataFrame(np.nan, held_out.index, targets.columns), 0.0
    start = time.thread_time()
    trained = clone(model).fit(predictors, targets)
    seconds = time.thread_time() - start
    predicted = trained.predict(held_out)
    return pd.DataFrame(predicted, held_out.index, targets.columns), seconds
