"""Training on the cluster: one model for each fraction, or a joint model for all of them.

The talk trains a model for every fraction of a trajectory, independently of the others. A joint
model uses all targets at all fractions as one row, so that its trees are trained only once.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from trajlib.cluster import CANCELLED, current_client, gather, watch_workers
from trajlib.features.feature_sets import check_no_leakage

Split = tuple[pd.Index, pd.Index]  # paths of training flights, and of held-out flights
_CLOSE = 0.11  # between fractions at which positions are smoothed
_POSITION = pd.Index(["latitude", "longitude"])
_TASK = "train-"  # begins the key of each task, by which it is found and cancelled


@dataclass(frozen=True)
class Fold:
    """The tables of one split at one fraction, or joint at all, with one row per flight.

    Attributes
    ----------
    predictors, targets
        Of the training flights, which have all targets.
    held_out, flown
        Predictors and targets of the held-out flights; targets may be missing.
    """

    predictors: pd.DataFrame
    targets: pd.DataFrame
    held_out: pd.DataFrame
    flown: pd.DataFrame


@dataclass(frozen=True)
class HeldOut:
    """Predictions for held-out flights, and the time of training.

    Attributes
    ----------
    predictions
        In the form of the targets, for the held-out flights only, by path and fraction.
    seconds
        Processor time of all training.
    """

    predictions: pd.DataFrame
    seconds: float


def predict_held_out(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    joint: bool = False,
) -> pd.DataFrame:
    """Return the predictions of `submit_held_out`, once all models are trained."""
    return submit_held_out(
        model, predictors, targets, splits, feature_set=feature_set, joint=joint
    )().predictions


def submit_held_out(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    joint: bool = False,
) -> Callable[[], HeldOut]:
    """Train a model for every split and fraction, and predict the held-out flights with it.

    Models are discarded after their predictions, because all of them together would not fit in
    memory. Training uses nothing of a held-out flight, not even its categories.

    Parameters
    ----------
    model
        Untrained; cloned for every split and fraction.
    predictors, targets, splits, feature_set
        As for `submit_splits`.
    joint
        One model per split for all fractions, trained on flights that reach all of them.

    Returns
    -------
    callable
        Waits for the result and returns it, once. Several submitted trainings keep all workers busy
        while this process continues; if waiting for one of them fails, all are cancelled.
    """
    train = functools.partial(_train_and_predict, model=model)
    wait_for_splits = submit_splits(
        train, predictors, targets, splits, feature_set=feature_set, joint=joint
    )

    def wait() -> HeldOut:
        results = wait_for_splits()
        if joint:
            tables = [stack_targets(table) for table, _ in results.values()]
        else:
            tables = [
                pd.concat({fraction: table}, names=targets.index.names[1:]).swaplevel()
                for (_, fraction), (table, _) in results.items()
            ]
        seconds = sum(seconds for _, seconds in results.values())
        return HeldOut(pd.concat(tables).sort_index(), seconds)

    return wait


def widen_targets(targets: pd.DataFrame) -> pd.DataFrame:
    """Return targets for a joint model: one row per flight, columns of (target, fraction).

    Flights that do not reach every fraction are omitted.
    """
    return targets.unstack("fraction").dropna()  # noqa: PD010, pivot would sort


def stack_targets(wide: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a joint model in the form of targets, by path and fraction."""
    tall = wide.stack("fraction", future_stack=True)  # noqa: PD013, melt would lose the order
    return tall[list(wide.columns.unique(0))]


def predict_joint(
    trained: Pipeline, predictors: pd.DataFrame, columns: pd.MultiIndex
) -> pd.DataFrame:
    """Return the predictions of a joint model, with smooth tracks.

    LightGBM has a model for each fraction. Where flights choose between two routes, tracks of such
    models jump between them. So the offset of a position from the mean of the training flights, in
    their standard deviations, is averaged with those of the neighbouring fractions, with weights
    of 1/4, 1/2 and 1/4, if the fractions are close to each other.

    Parameters
    ----------
    trained
        As returned by `trajlib.models.estimators.build_model`, and trained.
    predictors
        One row per flight.
    columns
        Of (target, fraction), as in the training targets.
    """
    wide = pd.DataFrame(trained.predict(predictors), predictors.index, columns)
    if np.diff(columns.unique("fraction")).max(initial=0) > _CLOSE:
        return wide
    scaler = trained[-1].transformer_
    for name in _POSITION.intersection(columns.unique(0)):
        chosen = columns.get_level_values(0) == name
        mean, scale = scaler.mean_[chosen], scaler.scale_[chosen]
        offsets = (wide[name].to_numpy() - mean) / scale
        padded = np.pad(offsets, ((0, 0), (1, 1)), mode="edge")
        smooth = (padded[:, :-2] + 2 * offsets + padded[:, 2:]) / 4
        varies = scaler.var_[chosen] > 0
        wide[name] = mean + scale * np.where(varies, smooth, offsets)
    return wide


def select_fold(
    predictors: pd.DataFrame, targets: pd.DataFrame, train: pd.Index, held_out: pd.Index
) -> Fold:
    """Return the rows of the paths to train on, and of held-out paths, from tables by path."""
    return Fold(
        predictors.loc[train], targets.loc[train], predictors.loc[held_out], targets.loc[held_out]
    )


def submit_splits(
    function: Callable[[Fold], Any],
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    joint: bool = False,
) -> Callable[[], dict[tuple[int, float | None], Any]]:
    """Run a function for every fraction and split, one task each, on the current Dask client.

    The tables are sent to the workers once. Without a client everything runs in this process, when
    the results are collected.

    Parameters
    ----------
    function
        Takes a `Fold`.
    predictors, targets
        Tables from `trajlib.features`; the predictors are of the ``feature_set``.
    splits
        Paths of the flights to train on and of held-out flights.
    joint
        Use all fractions together, as returned by `widen_targets`; the fraction is then None.

    Returns
    -------
    callable
        Waits for the results and returns them, once, by number of the split and fraction, ordered
        by fraction.

    Raises
    ------
    ValueError
        When a predictor is not in the feature set.
    """
    check_no_leakage(predictors, feature_set)
    fractions = [None] if joint else list(targets.index.unique(1))
    tasks = [(split, fraction) for fraction in fractions for split in range(len(splits))]
    tables = (predictors, targets, splits)
    client = current_client()
    if client is None:
        return lambda: {task: _run(function, tables, task) for task in tasks}
    # the tables are the result of a task, which is repeated if their worker is lost
    tables_future = client.submit(tuple, tables, pure=False)
    futures = [
        client.submit(_run, function, tables_future, task, key=f"{_TASK}{uuid4()}")
        for task in tasks
    ]
    watch = watch_workers(client)

    @cancelled_on_error()
    def wait() -> dict[tuple[int, float | None], Any]:
        results = gather(client, futures, watch)
        futures.clear()  # lets the workers release the results
        return dict(zip(tasks, results, strict=True))

    return wait


@contextlib.contextmanager
def cancelled_on_error() -> Iterator[None]:
    """Cancel all submitted training if the work within fails, also on Ctrl-C."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # so that nothing hides the error within
            _cancel_training()
        raise


def _cancel_training() -> None:
    if (client := current_client()) is not None:
        from distributed import Future

        keys = [key for key in list(client.futures) if str(key).startswith(_TASK)]
        client.cancel([Future(key, client) for key in keys], reason=CANCELLED)


def _run(function: Callable[[Fold], Any], tables: tuple, task: tuple[int, float | None]) -> Any:
    predictors, targets, splits = tables
    split, fraction = task
    rows = widen_targets(targets) if fraction is None else targets.xs(fraction, level=1)
    usable = rows.index.intersection(predictors.index, sort=False)
    train, held_out = (usable.intersection(paths, sort=False) for paths in splits[split])
    complete = rows.loc[train].dropna()
    return function(select_fold(predictors, rows, complete.index, held_out))


def _train_and_predict(fold: Fold, *, model: BaseEstimator) -> tuple[pd.DataFrame, float]:
    index, columns = fold.held_out.index, fold.targets.columns
    if len(fold.targets) < 2 or not len(index):
        return pd.DataFrame(np.nan, index, columns), 0.0
    start = time.thread_time()
    trained = clone(model).fit(fold.predictors, fold.targets)
    seconds = time.thread_time() - start
    if columns.nlevels > 1:
        return predict_joint(trained, fold.held_out, columns), seconds
    return pd.DataFrame(trained.predict(fold.held_out), index, columns), seconds
