"""Route clusters, and a prediction for each, mixed by their probabilities.

Flights between two airports follow a few routes. A region where trajectories are dense is a
cluster (HDBSCAN: Campello, Moulavi and Sander 2013). Noise counts as one more cluster, so that
every flight has one.
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

from trajlib.features.feature_sets import check_no_leakage
from trajlib.models.estimators import build_encoder
from trajlib.models.training import map_splits, stack_targets, widen_targets

__all__ = ["NOISE", "describe_route_clusters", "find_route_clusters", "predict_by_cluster"]

NOISE = -1
_FEWEST = 40  # flights of a cluster that a model of its own is trained on; fewer have their mean


def find_route_clusters(
    targets: pd.DataFrame,
    *,
    columns: Sequence[str] = ("latitude", "longitude"),
    share: float = 0.02,
    components: int = 3,
) -> pd.Series:
    """Return the cluster of each flight, by path: 0 for the largest, -1 for noise.

    Parameters
    ----------
    targets
        Aligned trajectories, by path and fraction, preferably of route progress; flights that do
        not reach every fraction are left out.
    columns
        What flights of a cluster have alike; each fraction of each counts the same.
    share
        Of all flights, that a cluster has at least.
    components
        Principal components in which density is measured.
    """
    wide = widen_targets(targets[list(columns)])
    pressed = make_pipeline(StandardScaler(), PCA(min(components, *wide.shape), random_state=0))
    size = max(5, round(share * len(wide)))
    found = HDBSCAN(size, min_samples=5, copy=True).fit_predict(pressed.fit_transform(wide))
    clusters = pd.Series(found, wide.index, name="cluster")
    order = clusters[clusters != NOISE].value_counts().index
    return clusters.map({name: at for at, name in enumerate(order)} | {NOISE: NOISE})


def describe_route_clusters(known: pd.DataFrame, clusters: pd.Series) -> pd.DataFrame:
    """Return of each cluster its flights, and the operator, type and hour that are usual in it.

    Parameters
    ----------
    known
        With ``operator``, ``aircraft_type`` and ``hour``, by path; what no flight tells is absent
        from the result.
    clusters
        As of `find_route_clusters`.
    """
    groups = known.groupby(clusters.reindex(known.index))
    texts = groups[["operator", "aircraft_type"]]
    most = texts.agg(lambda values: next(iter(values.mode()), None)).dropna(axis=1, how="all")
    most.insert(0, "flights", groups.size())
    return most.fillna("not told").assign(**{"median hour": groups["hour"].median()})


def predict_by_cluster(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[tuple[pd.Index, pd.Index]],
    *,
    feature_set: str,
    seed: int = 0,
    **options: object,
) -> list[tuple[pd.DataFrame, pd.DataFrame, pd.Series]]:
    """Return predictions for held-out flights, mixed over clusters found on training flights.

    Each split is a task of the current Dask client.

    Parameters
    ----------
    model
        Untrained, for each cluster a joint one.
    predictors, targets, feature_set
        As of `predict_held_out`; flights of which there are no predictors are left
        out.
    splits
        Paths to train on, and those held out, of which nothing makes a cluster.
    options
        Of `find_route_clusters`.

    Returns
    -------
    list
        For each split: predictions by path and fraction, probabilities of the clusters (columns)
        of each held-out flight, and the clusters of the training flights.

    Raises
    ------
    ValueError
        When a predictor is outside the feature_set.
    """
    check_no_leakage(predictors, feature_set)
    mix = functools.partial(_mix_clusters, model, seed, options)
    return [found for _, found in map_splits(mix, predictors, targets, splits, joint=True)]


def _mix_clusters(
    model: Pipeline,
    seed: int,
    options: dict,
    predictors: pd.DataFrame,
    wide: pd.DataFrame,
    asked: pd.DataFrame,
    _: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    clusters = find_route_clusters(stack_targets(wide), **options)[wide.index]
    forest = RandomForestClassifier(200, min_samples_leaf=20, random_state=seed, n_jobs=1)
    classifier = make_pipeline(build_encoder(), forest).fit(predictors, clusters)
    chances = pd.DataFrame(classifier.predict_proba(asked), asked.index, classifier.classes_)
    mixed = np.zeros((len(asked), wide.shape[1]))
    for cluster in chances:
        own = clusters.index[clusters == cluster]
        predicted = _predict_cluster(model, predictors.loc[own], wide.loc[own], asked)
        mixed += chances[[cluster]].to_numpy() * predicted
    return stack_targets(pd.DataFrame(mixed, asked.index, wide.columns)), chances, clusters


def _predict_cluster(
    model: BaseEstimator, predictors: pd.DataFrame, wide: pd.DataFrame, asked: pd.DataFrame
) -> np.ndarray:
    if len(wide) < _FEWEST:
        return np.tile(wide.mean().to_numpy(), (len(asked), 1))
    return clone(model).fit(predictors, wide).predict(asked)
