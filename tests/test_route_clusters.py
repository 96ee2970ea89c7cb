import numpy as np
import pandas as pd
import pytest

from trajlib.models.estimators import build_model
from trajlib.models.route_clusters import (
    NOISE,
    describe_route_clusters,
    find_route_clusters,
    predict_by_cluster,
)

FRACTIONS = [0.2, 0.5, 0.8]
PATHS = pd.Index([f"{number:03}" for number in range(300)], name="path")


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    north = rng.random(len(PATHS)) < 0.4
    side = np.where(north, 1.0, -1.0)
    side[:6] = [9, -9, 6, -6, 12, -12]  # outliers
    operator = np.where(north, "IBE", "VLG")
    predictors = pd.DataFrame({"operator": operator, "hour": rng.uniform(0, 24, len(PATHS))}, PATHS)
    rows = pd.MultiIndex.from_product([PATHS, FRACTIONS], names=["path", "fraction"])
    latitude = 40 + np.repeat(side, 3) + rng.normal(size=len(rows)) * 0.1
    longitude = np.tile(FRACTIONS, len(PATHS)) + rng.normal(size=len(rows)) * 0.01
    targets = pd.DataFrame({"latitude": latitude, "longitude": longitude, "altitude": 1e4}, rows)
    return predictors, targets, pd.Series(north, PATHS)


def test_two_routes_are_two_clusters_and_outliers_are_noise(tables):
    _, targets, north = tables
    clusters = find_route_clusters(targets, share=0.1)
    assert set(clusters) == {0, 1, NOISE}
    assert (clusters[:6] == NOISE).all()
    clustered = clusters[6:][clusters[6:] != NOISE]
    assert len(clustered) > 250
    assert (clustered == north[clustered.index].astype(int)).all()  # the larger cluster is number 0


@pytest.mark.parametrize("kind", [object, "str"])
def test_a_cluster_is_described_by_operators_types_and_hour(tables, kind):
    predictors, targets, _ = tables
    clusters = find_route_clusters(targets, share=0.1)
    missing = pd.Series(None, PATHS, dtype=kind)
    description = describe_route_clusters(predictors.assign(aircraft_type=missing), clusters)
    assert description.loc[[0, 1], "operator"].tolist() == ["VLG", "IBE"]
    assert description["flights"].sum() == len(PATHS)
    assert list(description) == ["flights", "operator", "median hour"]
    some = predictors.assign(aircraft_type=missing.mask(clusters == 0, "A320"), operator=missing)
    description = describe_route_clusters(some, clusters)
    assert description["aircraft_type"].to_dict() == {NOISE: "not known", 0: "A320", 1: "not known"}
    some["aircraft_type"] = missing
    assert list(describe_route_clusters(some, clusters)) == ["flights", "median hour"]


def test_clusters_do_not_depend_on_the_unit_of_a_target(tables):
    _, targets, _ = tables
    clusters = find_route_clusters(targets, share=0.1)
    scaled = find_route_clusters(targets.assign(latitude=targets["latitude"] * 60), share=0.1)
    pd.testing.assert_series_equal(clusters, scaled)


def test_a_mixture_predicts_the_route_of_the_operator(tables):
    predictors, targets, north = tables
    split = PATHS[60:], PATHS[6:60]
    model = build_model(trees=10)
    [(predicted, chances, clusters)] = predict_by_cluster(
        model, predictors, targets, [split], feature_set="at_takeoff", share=0.1
    )
    assert predicted.index.unique("path").tolist() == list(split[1])
    assert predicted.columns.equals(targets.columns)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert clusters.index.tolist() == list(split[0])
    other = PATHS[:200], PATHS[200:]
    results = predict_by_cluster(
        model, predictors, targets, [other, split], feature_set="at_takeoff", share=0.1
    )
    assert [len(table.index.unique("path")) for table, _, _ in results] == [100, 54]
    pd.testing.assert_frame_equal(results[1][0], predicted)
    off = predicted["latitude"].groupby("path").mean() - 40 - np.where(north[6:60], 1, -1)
    assert off.abs().max() < 0.5  # the mean of both clusters is 1 off


def test_held_out_flights_do_not_change_the_route_clusters(tables):
    predictors, targets, _ = tables
    split = PATHS[60:], PATHS[:60]
    changed = targets.copy()
    changed.loc[list(split[1]), "latitude"] = 80.0
    first, second = (
        predict_by_cluster(
            build_model(trees=5), predictors, table, [split], feature_set="at_takeoff", share=0.1
        )
        for table in (targets, changed)
    )
    pd.testing.assert_frame_equal(first[0][0], second[0][0])


def test_a_predictor_outside_the_feature_set_is_refused(tables):
    predictors, targets, _ = tables
    with pytest.raises(ValueError, match="not known at_takeoff"):
        predict_by_cluster(
            build_model(),
            predictors.assign(duration_max=1.0),
            targets,
            [(PATHS[60:], PATHS[:60])],
            feature_set="at_takeoff",
        )
