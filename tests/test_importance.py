import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from trajlib.evaluation.importance import (
    collect_importance,
    group_predictors,
    interval_importance,
    measure_importance,
    measure_shap,
    rank_predictors,
    rank_splits,
)
from trajlib.models.estimators import build_model

PATHS = pd.Index([f"{number:03}.csv" for number in range(120)], name="path")
DAYS = pd.Series(np.repeat(np.arange(24), 5), PATHS)
SPLITS = [(PATHS[30:], PATHS[:30]), (PATHS[:90], PATHS[90:])]


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    size = len(PATHS)
    predictors = pd.DataFrame(
        {
            "operator": rng.choice(["IBE", "VLG", "AEA"], size),
            "hour": rng.uniform(0, 24, size),
            "mass_min": 50_000.0,
            "duration_max": rng.uniform(3000, 4000, size),
            "fuel_max": rng.uniform(0, 1, size),
        },
        PATHS,
    )
    late = (predictors["duration_max"] - 3500) / 500
    effect = predictors["operator"].map({"IBE": -0.3, "VLG": 0.0, "AEA": 0.3})
    rows = pd.MultiIndex.from_product([PATHS, [0.25, 0.75]], names=["path", "fraction"])
    values = {"latitude": np.repeat(late + effect, 2), "altitude": np.repeat(-late, 2) * 1000}
    return predictors, pd.DataFrame({n: v.to_numpy() for n, v in values.items()}, rows)


def collect(tables, splits=SPLITS, **options):
    model = build_model(trees=12)
    return collect_importance(model, *tables, splits, DAYS, feature_set="whole_flight", **options)


def measure(tables, splits=SPLITS, **options):
    return measure_importance(collect(tables, splits, **options))


def test_a_row_for_each_fraction_and_predictor_and_categories_are_one(tables):
    importance = measure(tables)
    assert importance.index.unique("fraction").tolist() == [0.25, 0.75]
    assert importance.loc[0.25].index.tolist() == list(tables[0])
    np.testing.assert_allclose(importance["impurity"].groupby(level=0).sum(), 1)


def test_the_decisive_predictor_is_first_by_both_measures(tables):
    ranking = rank_predictors(measure(tables))
    assert ranking.index[0] == "duration_max"
    assert ranking.loc["duration_max", ["impurity_rank", "permutation_rank"]].tolist() == [1, 1]
    assert ranking.index[1] == "operator"


def test_a_missing_target_removes_its_row_only(tables):
    predictors, targets = tables
    incomplete = targets.copy()
    incomplete.iloc[2, 0] = np.nan
    without = collect((predictors, targets.drop(targets.index[2])))
    samples = collect((predictors, incomplete))
    for name in ("impurity", "rises", "spread"):
        pd.testing.assert_frame_equal(getattr(samples, name), getattr(without, name))


def test_a_constant_predictor_has_no_importance(tables):
    np.testing.assert_allclose(measure(tables).xs("mass_min", level="predictor"), 0, atol=1e-12)


def test_an_irrelevant_predictor_has_a_permutation_importance_near_0(tables):
    useless = measure(tables, repeats=10)["permutation"].xs("fuel_max", level="predictor")
    assert (useless.abs() < 0.02).all()


def test_equal_predictors_share_their_importance(tables):
    predictors, targets = tables
    single = measure(tables)["permutation"].xs("duration_max", level="predictor").mean()
    replicates = predictors.assign(distance_max=predictors["duration_max"])
    groups = {"both": ["duration_max", "distance_max"], "one": ["duration_max"]}
    importance = (
        measure((replicates, targets), groups=groups)["permutation"].groupby(level=1).mean()
    )
    assert importance["one"] < 0.8 * single
    assert importance["both"] > 0.9 * single


def test_a_group_has_the_impurity_of_its_members(tables):
    alone = measure(tables)["impurity"].loc[0.25]
    together = measure(tables, groups={"two": ["hour", "duration_max"]})["impurity"].loc[0.25]
    assert together["two"] == pytest.approx(alone["hour"] + alone["duration_max"])


def test_splits_are_pooled_and_every_target_counts_the_same(tables):
    predictors, targets = tables
    feet = measure(tables)
    megafeet = measure((predictors, targets.assign(altitude=targets["altitude"] * 1e-6)))
    np.testing.assert_allclose(feet, megafeet, atol=0.01)  # equally good splits


def test_a_seed_gives_the_same_bytes_whatever_the_workers(tables):
    alone = measure(tables, seed=3)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        on_workers = measure(tables, seed=3)
    pd.testing.assert_frame_equal(alone, on_workers, check_exact=True)
    assert not alone.equals(measure(tables, seed=4))


def test_tables_are_left_as_they_were(tables):
    copies = [table.copy() for table in tables]
    measure(tables)
    for table, copy in zip(tables, copies, strict=True):
        pd.testing.assert_frame_equal(table, copy)


def test_a_predictor_outside_the_feature_set_is_refused(tables):
    with pytest.raises(ValueError, match="not known at_takeoff"):
        collect_importance(build_model(), *tables, SPLITS, DAYS, feature_set="at_takeoff")


def test_ranks_count_from_1_by_falling_importance():
    rows = pd.MultiIndex.from_product([[0.5], ["a", "b", "c"]], names=["fraction", "predictor"])
    table = pd.DataFrame({"impurity": [0.1, 0.6, 0.3], "permutation": [0.5, 0.2, -0.1]}, rows)
    ranking = rank_predictors(table)
    assert ranking.index.tolist() == ["a", "b", "c"]
    assert ranking["impurity_rank"].tolist() == [3, 1, 2]
    assert ranking["permutation_rank"].tolist() == [1, 2, 3]


def test_the_importance_on_one_split_is_that_of_the_split_alone(tables):
    alone = measure(tables, SPLITS[1:])
    pd.testing.assert_frame_equal(measure_importance(collect(tables), 1), alone)


def test_the_decisive_predictor_is_first_on_every_split(tables):
    ranks = rank_splits(collect(tables))
    assert ranks.columns.tolist() == [0, 1]
    assert ranks.loc["duration_max"].tolist() == [1, 1]
    assert sorted(ranks[0])[:2] == [1, 2]


def test_the_interval_lies_around_the_importance_and_has_days_as_its_units(tables):
    samples = collect(tables)
    importance = measure_importance(samples)["permutation"].groupby("predictor", sort=False).mean()
    bounds = interval_importance(samples)
    assert bounds.index.tolist() == importance.index.tolist()
    assert (bounds["low"] <= importance).all()
    assert (importance <= bounds["high"]).all()
    assert bounds.loc["duration_max", "low"] > 0.5
    days = pd.Series(0, PATHS)  # one day, drawn every time
    one = collect_importance(
        build_model(trees=12), *tables, SPLITS, days, feature_set="whole_flight"
    )
    once = interval_importance(one)
    np.testing.assert_allclose(once["low"], importance, atol=1e-9)
    np.testing.assert_allclose(once["high"], importance, atol=1e-9)


def explain(tables, **options):
    model = build_model("lightgbm", trees=60, min_samples_leaf=2)
    return measure_shap(model, *tables, SPLITS, feature_set="whole_flight", **options)


def test_shap_ranks_the_decisive_predictor_first_and_a_constant_at_0(tables):
    shap = explain(tables)
    assert shap.index.unique("fraction").tolist() == [0.25, 0.75]
    mean = shap.groupby(level="predictor").mean()
    assert mean.idxmax() == "duration_max"
    assert mean["mass_min"] == 0
    assert mean["operator"] > mean["fuel_max"]


def test_shap_of_a_group_is_of_the_sum_of_its_members(tables):
    alone = explain(tables).groupby("predictor").mean()
    two = explain(tables, groups={"two": ["duration_max", "operator"]}).mean()
    assert alone["duration_max"] < two < alone["duration_max"] + alone["operator"]


def test_every_predictor_is_in_one_group_and_alike_ones_in_the_same(tables):
    predictors, _ = tables
    replicate = predictors["duration_max"] ** 3
    groups = group_predictors(predictors.assign(distance_max=replicate, fuel_min=np.nan))
    members = [name for group in groups.values() for name in group]
    assert sorted(members) == sorted([*predictors, "distance_max", "fuel_min"])
    assert ["duration_max", "distance_max"] in groups.values()
    assert groups["mass_min"] == ["mass_min"]
    assert groups["operator"] == ["operator"]
