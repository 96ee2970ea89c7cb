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
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trajlib.cluster import current_client, gather, watch_workers
from trajlib.features import check_knowledge

__all__ = [
    "MODELS",
    "begin_held_out",
    "begin_splits",
    "build_encoder",
    "build_model",
    "encoded_predictors",
    "map_splits",
    "predict_held_out",
    "stack_targets",
    "widen_targets",
]

MODELS = (
    "forest",
    "forest per target",
    "extra trees",
    "boosting",
    "lightgbm",
    "ridge",
    "neighbours",
)

_BEGUN: WeakSet[Callable] = WeakSet()  # what waits for work that was begun on a cluster


def build_model(
    name: str = "forest",
    *,
    trees: int = 100,
    max_features: float = 1 / 3,
    min_samples_leaf: int = 5,
    seed: int = 0,
) -> Pipeline:
    """Return an untrained model that takes predictors as they are, categories as text.

    Targets are brought to mean 0 and spread 1 of the training flights: a forest of several
    targets splits by the sum of their squared errors, and feet would outweigh degrees. A number
    that is missing, and a category that was never seen, are taken by every model.

    Parameters
    ----------
    name
        ``forest``: one forest for all targets. ``forest per target``: one for each, about as
        many times the work. ``extra trees``: as a forest, at random thresholds. ``boosting`` and
        ``lightgbm``: histogram gradient boosting of the absolute error, a model for each target;
        scikit-learn's is the slower. Their trees of 12 leaves at a rate of 0.1 were chosen at
        take-off on real flights, within training days. ``ridge``: linear. ``neighbours``: the
        mean of those alike.
    trees
        Of a forest, or boosting's rounds.
    max_features, min_samples_leaf
        As of scikit-learn's ``RandomForestRegressor``; the latter also the least flights in a
        leaf of boosting, times four, and the neighbours, times three.

    >>> build_model("forest", trees=10)[-1].regressor.n_estimators
    10
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r}, expected one of {', '.join(MODELS)}")
    grown = {"max_features": max_features, "min_samples_leaf": min_samples_leaf}
    several = {"n_estimators": trees, "random_state": seed, "n_jobs": 1}
    few, rate, leaves = 4 * min_samples_leaf, 0.1, 12
    regressor = {
        "forest": RandomForestRegressor(**several, **grown),
        "forest per target": MultiOutputRegressor(RandomForestRegressor(**several, **grown)),
        "extra trees": ExtraTreesRegressor(**several, **grown),
        "boosting": MultiOutputRegressor(
            HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=trees, learning_rate=rate, max_leaf_nodes=leaves,
                max_features=max_features, min_samples_leaf=few, random_state=seed,
            )
        ),
        "lightgbm": MultiOutputRegressor(
            LGBMRegressor(
                **several, objective="l1", learning_rate=rate, num_leaves=leaves,
                colsample_bytree=max_features, min_child_samples=few, verbose=-1,
                deterministic=True, force_col_wise=True,  # or each fit would time both ways
            )
        ),
        "ridge": Ridge(alpha=10.0),
        "neighbours": KNeighborsRegressor(3 * min_samples_leaf),
    }[name]  # fmt: skip
    scaled = name in ("ridge", "neighbours")
    steps = [SimpleImputer(keep_empty_features=True), StandardScaler()] if scaled else []
    target = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return make_pipeline(build_encoder(), *steps, target)


def build_encoder() -> BaseEstimator:
    """Return what makes one-hot columns of categories; one that it never saw is none of them."""
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), text_columns),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )


def text_columns(df: pd.DataFrame) -> list[str]:
    """Return the names of the columns that are not numbers."""
    return [name for name in df if not pd.api.types.is_numeric_dtype(df[name])]


def encoded_predictors(trained: Pipeline) -> list[str]:
    """Return the predictor behind each column that the regressor of a trained model sees."""
    encoder = trained[0]
    _, onehot, text = encoder.transformers_[0]
    sizes = [len(categories) for categories in onehot.categories_] if text else []
    numbers = [name for name in encoder.feature_names_in_ if name not in text]
    return [*np.repeat(text, sizes).tolist(), *numbers]


def predict_held_out(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    knowledge: str,
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
        As of `trajlib.features`.
    splits
        Paths of the flights to train on and of those held out.
    knowledge
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
        When a predictor is outside the knowledge.
    """
    return begin_held_out(model, predictors, targets, splits, knowledge=knowledge, joint=joint)()


def begin_held_out(
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    knowledge: str,
    joint: bool = False,
) -> Callable[[], pd.DataFrame]:
    """Begin what `predict_held_out` does, and return a function that waits for its result, once.

    On a cluster several that were begun keep all workers busy, while this process does something
    else. Where one cannot be waited for to its end, all that was begun is given up. Without a
    cluster the work is done by waiting.
    """
    check_knowledge(predictors, knowledge)
    work = functools.partial(_train_and_predict, model)
    training = begin_splits(work, predictors, targets, splits, joint=joint)

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
    return begin_splits(function, predictors, targets, splits, joint=joint)()


def begin_splits(
    function: Callable,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    joint: bool = False,
) -> Callable[[], list[tuple[float | None, Any]]]:
    """Begin what `map_splits` does, as `begin_held_out` begins training."""
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
