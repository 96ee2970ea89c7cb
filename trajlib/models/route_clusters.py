"""Families of trajectories, and a prediction for each, mixed by how likely it is.

Flights between two airports fly a few ways. Where trajectories lie dense is a family (HDBSCAN:
Campello, Moulavi and Sander 2013); what lies apart from all is noise, and a family of its own here,
so that every flight has one.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from trajlib.features.feature_sets import check_knowledge
from trajlib.models.estimators import build_encoder
from trajlib.models.training import map_splits, stack_targets, widen_targets

__all__ = ["NOISE", "describe_families", "find_families", "predict_by_family"]

NOISE = -1
_FEWEST = 40  # flights of a family that a model of its own is trained on; fewer have their mean


def find_families(
    targets: pd.DataFrame,
    *,
    columns: Sequence[str] = ("latitude", "longitude"),
    share: float = 0.02,
    components: int = 3,
) -> pd.Series:
    """Return the family of each flight, by path: 0 for the largest, -1 for noise.

    Parameters
    ----------
    targets
        Aligned trajectories, by path and fraction, preferably of route progress; flights that do
        not reach every fraction are left out.
    columns
        What flights of a family have alike; each fraction of each counts the same.
    share
        Of all flights, that a family has at least.
    components
        Principal components in which density is measured.
    """
    wide = widen_targets(targets[list(columns)])
    pressed = make_pipeline(StandardScaler(), PCA(min(components, *wide.shape), random_state=0))
    size = max(5, round(share * len(wide)))
    found = HDBSCAN(size, min_samples=5, copy=True).fit_predict(pressed.fit_transform(wide))
    families = pd.Series(found, wide.index, name="family")
    order = families[families != NOISE].value_counts().index
    return families.map({name: at for at, name in enumerate(order)} | {NOISE: NOISE})


def describe_families(known: pd.DataFrame, families: pd.Series) -> pd.DataFrame:
    """Return of each family its flights, and the operator, type and hour that are usual in it.

    Parameters
    ----------
    known
        With ``operator``, ``aircraft_type`` and ``hour``, by path; what no flight tells is absent
        from the result.
    families
        As of `find_families`.
    """
    groups = known.groupby(families.reindex(known.index))
    texts = groups[["operator", "aircraft_type"]]
    most = texts.agg(lambda values: next(iter(values.mode()), None)).dropna(axis=1, how="all")
    most.insert(0, "flights", groups.size())
    return most.fillna("not told").assign(**{"median hour": groups["hour"].median()})


def predict_by_family(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    knowledge: str,
    seed: int = 0,
    **options: object,
) -> list[tuple[pd.DataFrame, pd.DataFrame, pd.Series]]:
    """Return predictions for held-out flights, mixed over families found on training flights.

    Each split is a task of the current Dask client.

    Parameters
    ----------
    model
        Untrained, for each family a joint one.
    predictors, targets, knowledge
        As of `predict_held_out`; flights of which there are no predictors are left
        out.
    splits
        Paths to train on, and those held out, of which nothing makes a family.
    options
        Of `find_families`.

    Returns
    -------
    list
        For each split: predictions by path and fraction, probabilities of the families (columns)
        of each held-out flight, and the families of the training flights.

    Raises
    ------
    ValueError
        When a predictor is outside the knowledge.
    """
    check_knowledge(predictors, knowledge)
    mix = functools.partial(_mix_families, model, seed, options)
    return [found for _, found in map_splits(mix, predictors, targets, splits, joint=True)]


def _mix_families(
    model: Pipeline,
    seed: int,
    options: dict,
    predictors: pd.DataFrame,
    wide: pd.DataFrame,
    asked: pd.DataFrame,
    _: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    families = find_families(stack_targets(wide), **options)[wide.index]
    forest = RandomForestClassifier(200, min_samples_leaf=20, random_state=seed, n_jobs=1)
    classifier = make_pipeline(build_encoder(), forest).fit(predictors, families)
    chances = pd.DataFrame(classifier.predict_proba(asked), asked.index, classifier.classes_)
    mixed = np.zeros((len(asked), wide.shape[1]))
    for family in chances:
        own = families.index[families == family]
        predicted = _predict_family(model, predictors.loc[own], wide.loc[own], asked)
        mixed += chances[[family]].to_numpy() * predicted
    return stack_targets(pd.DataFrame(mixed, asked.index, wide.columns)), chances, families


def _predict_family(
    model: BaseEstimator, predictors: pd.DataFrame, wide: pd.DataFrame, asked: pd.DataFrame
) -> np.ndarray:
    if len(wide) < _FEWEST:
        return np.tile(wide.mean().to_numpy(), (len(asked), 1))
    return clone(model).fit(predictors, wide).predict(asked)
