"""Route clusters, and predictions that mix the models of the clusters by their probabilities.

Flights between two airports follow a few routes. A cluster is a region where trajectories are
dense (HDBSCAN: Campello, Moulavi and Sander 2013). Noise counts as another cluster, so that every
flight is in one.
"""

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from trajlib.models.estimators import build_encoder
from trajlib.models.training import (
    Fold,
    Split,
    predict_joint,
    stack_targets,
    submit_splits,
    widen_targets,
)

NOISE = -1
_COMPONENTS = 3  # principal components used for clustering
_MIN_FLIGHTS = 40  # in a cluster with a model; smaller clusters are predicted by their mean


def find_route_clusters(targets: pd.DataFrame, *, share: float = 0.02) -> pd.Series:
    """Return the cluster of each flight, by path: 0 for the largest, -1 for noise.

    Parameters
    ----------
    targets
        Aligned trajectories, by path and fraction, preferably of route progress. Flights that do
        not reach every fraction are omitted. The positions at all fractions have equal weight.
    share
        Smallest share of all flights in a cluster.
    """
    wide = widen_targets(targets[["latitude", "longitude"]])
    reduced = make_pipeline(StandardScaler(), PCA(min(_COMPONENTS, *wide.shape), random_state=0))
    size = max(5, round(share * len(wide)))
    labels = HDBSCAN(size, min_samples=5, copy=True).fit_predict(reduced.fit_transform(wide))
    clusters = pd.Series(labels, wide.index, name="cluster")
    order = clusters[clusters != NOISE].value_counts().index
    return clusters.map({label: rank for rank, label in enumerate(order)} | {NOISE: NOISE})


def describe_route_clusters(predictors: pd.DataFrame, clusters: pd.Series) -> pd.DataFrame:
    """Return the number of flights of each cluster, and its usual operator, type and hour.

    Parameters
    ----------
    predictors
        With ``operator``, ``aircraft_type`` and ``hour``, by path. Columns without any value are
        absent from the result.
    clusters
        As returned by `find_route_clusters`.
    """
    groups = predictors.groupby(clusters.reindex(predictors.index))
    table = groups.size().to_frame("flights")
    names = [name for name in ("operator", "aircraft_type") if predictors[name].notna().any()]
    if names:
        pairs = groups[names].value_counts().reset_index()  # the most frequent first
        table = table.join(pairs.drop_duplicates("cluster").set_index("cluster")[names])
    return table.fillna("not known").assign(**{"median hour": groups["hour"].median()})


def predict_by_cluster(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    seed: int = 0,
    share: float = 0.02,
) -> list[tuple[pd.DataFrame, pd.DataFrame, pd.Series]]:
    """Return predictions for held-out flights, mixed over clusters of the training flights.

    Each split is a task of the current Dask client.

    Parameters
    ----------
    model
        Untrained joint model, cloned for each cluster.
    predictors, targets, feature_set
        As for `submit_splits`; flights without predictors are omitted.
    splits
        Paths to train on and held-out paths, which are not used to find the clusters.
    share
        As for `find_route_clusters`.

    Returns
    -------
    list
        For each split: predictions by path and fraction, probabilities of the clusters (columns)
        for each held-out flight, and the clusters of the training flights.
    """
    mix = functools.partial(_mix_clusters, model=model, seed=seed, share=share)
    wait = submit_splits(mix, predictors, targets, splits, feature_set=feature_set, joint=True)
    return list(wait().values())


def _mix_clusters(
    fold: Fold, *, model: Pipeline, seed: int, share: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    predictors, wide, held_out = fold.predictors, fold.targets, fold.held_out
    clusters = find_route_clusters(stack_targets(wide), share=share)[wide.index]
    forest = RandomForestClassifier(200, min_samples_leaf=20, random_state=seed, n_jobs=1)
    classifier = make_pipeline(build_encoder(), forest).fit(predictors, clusters)
    probabilities = classifier.predict_proba(held_out)
    chances = pd.DataFrame(probabilities, held_out.index, classifier.classes_)
    mixed = np.zeros((len(held_out), wide.shape[1]))
    for cluster in chances:
        paths = clusters.index[clusters == cluster]
        if len(paths) < _MIN_FLIGHTS:
            predicted = wide.loc[paths].mean().to_numpy()
        else:
            trained = clone(model).fit(predictors.loc[paths], wide.loc[paths])
            predicted = predict_joint(trained, held_out, wide.columns).to_numpy()
        mixed += chances[[cluster]].to_numpy() * predicted
    return stack_targets(pd.DataFrame(mixed, held_out.index, wide.columns)), chances, clusters
