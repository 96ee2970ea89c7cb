"""What each predictor is worth to a forest, at each fraction."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.features import check_knowledge
from trajlib.models import encoded_predictors, map_splits

__all__ = ["measure_importance", "rank_predictors"]

_ROWS = 20_000  # predicted at once: asking each of a hundred trees costs more than a few rows


def measure_importance(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    knowledge: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    repeats: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Return impurity and permutation importance of predictors at each fraction.

    Impurity importance is the share of the training flights' variance that a forest's splits on
    a predictor took away. Permutation importance is the skill against the mean trajectory that
    is lost on held-out flights when a predictor's values are shuffled among them: squared
    errors are pooled over flights and splits for each target, and the targets averaged. All
    one-hot columns of a category count, and are permuted, as one.

    Parameters
    ----------
    model
        Untrained, as ``build_model("forest")`` returns it.
    predictors, targets, splits, knowledge
        As of `trajlib.models.predict_held_out`.
    groups
        Predictors, by a name, that are permuted together. By default each on its own.
    repeats
        Shuffles of each predictor.

    Returns
    -------
    DataFrame
        A row for each fraction and group: ``impurity``, summing to 1 over all predictors, and
        ``permutation``, in units of skill.

    Raises
    ------
    ValueError
        When a predictor is outside the knowledge.
    """
    check_knowledge(predictors, knowledge)
    groups = groups or {name: [name] for name in predictors}
    weigh = functools.partial(_weigh, model, groups, repeats, seed)
    results = map_splits(weigh, predictors, targets, splits)
    fractions = targets.index.unique("fraction")
    pooled = {at: _pool([result for where, result in results if where == at]) for at in fractions}
    return pd.concat(pooled, names=["fraction", "predictor"])


def rank_predictors(importance: pd.DataFrame) -> pd.DataFrame:
    """Return the importance of each predictor averaged over fractions, and its ranks from 1.

    By falling permutation importance, with ``impurity_rank`` and ``permutation_rank``.
    """
    mean = importance.groupby(level="predictor").mean()
    ranks = mean.rank(ascending=False, method="min").astype(int).add_suffix("_rank")
    return mean.join(ranks).sort_values("permutation", ascending=False, kind="stable")


def _weigh(
    model: Pipeline,
    groups: Mapping[str, Sequence[str]],
    repeats: int,
    seed: int,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    held_out: pd.DataFrame,
    flown: pd.DataFrame,
) -> tuple[pd.Series, pd.DataFrame, pd.Series]:
    trained = clone(model).fit(predictors, targets)
    encoder, regressor = trained
    encoded, behind = encoder.transform(held_out), np.array(encoded_predictors(trained))
    rng = np.random.default_rng(seed)
    orders = np.concatenate([rng.permutation(len(held_out)) for _ in range(repeats)])
    errors = []
    size = max(1, _ROWS // len(orders))
    for batch in (list(groups)[at : at + size] for at in range(0, len(groups), size)):
        columns = [np.isin(behind, groups[name]) for name in batch]
        shuffled = [
            np.where(own, encoded[orders], np.tile(encoded, (repeats, 1))) for own in columns
        ]
        predicted = regressor.predict(np.concatenate(shuffled))
        off = predicted.reshape(len(batch), repeats, *flown.shape) - flown.to_numpy()
        errors.append((off**2).sum(axis=(1, 2)) / repeats)
    untouched = ((regressor.predict(encoded) - flown) ** 2).sum()
    rises = pd.DataFrame(np.concatenate(errors), list(groups), flown.columns) - untouched
    return _impurity(trained, groups), rises, ((flown - targets.mean()) ** 2).sum()


def _impurity(trained: Pipeline, groups: Mapping[str, Sequence[str]]) -> pd.Series:
    worth = pd.Series(trained[-1].regressor_.feature_importances_, encoded_predictors(trained))
    worth = worth.groupby(level=0).sum()
    return pd.Series({name: worth[list(members)].sum() for name, members in groups.items()})


def _pool(results: list[tuple[pd.Series, pd.DataFrame, pd.Series]]) -> pd.DataFrame:
    impurities, rises, baselines = zip(*results, strict=True)
    return pd.DataFrame(
        {
            "impurity": sum(impurities) / len(results),
            "permutation": (sum(rises) / sum(baselines)).mean(axis=1),
        }
    )
