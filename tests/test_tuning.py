import numpy as np
import pandas as pd
import pytest

from trajlib.evaluation.tuned_settings import evaluate_settings
from trajlib.models.estimators import build_model
from trajlib.models.tuning import ENGINES, search_settings

PATHS = pd.Index([f"{number:03}" for number in range(120)], name="path")
SETTINGS = {"max_features": [0.1, 1.0], "min_samples_leaf": [2, 45]}
BOTH = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    hour = rng.uniform(0, 24, len(PATHS))
    predictors = pd.DataFrame(
        {"operator": rng.choice(["IBE", "VLG"], len(PATHS)), "hour": hour}, PATHS
    )
    rows = pd.MultiIndex.from_product([PATHS, [0.3, 0.7]], names=["path", "fraction"])
    targets = pd.DataFrame({"altitude": np.repeat(1e3 * (hour > 12), 2), "duration": 1.0}, rows)
    targets["duration"] += np.repeat(np.sin(hour), 2)
    return predictors, targets, pd.Series(np.repeat(np.arange(40), 3), PATHS)


def search(tables, engine, **options):
    if engine == "dask-ml":
        pytest.importorskip("dask_ml", reason="the extra `search` is not installed")
    model = build_model("extra trees", trees=8)
    arguments = {"feature_set": "planned", "draws": 4, "engine": engine} | options
    return search_settings(model, *tables, SETTINGS, **arguments)


@BOTH
def test_settings_are_ordered_by_r2(tables, engine):
    table = search(tables, engine)
    assert len(table) == 4
    assert table["min_samples_leaf"].tolist()[-2:] == [45, 45]
    assert table["r2"].is_monotonic_decreasing
    assert (table["seconds"] > 0).all()


def test_a_target_that_hardly_varies_does_not_decide(tables):
    predictors, targets, days = tables
    noise = np.random.default_rng(2).choice([0, 1e-9], len(targets))
    odd = {"latitude": noise, "longitude": targets["altitude"], "distance": targets["altitude"]}
    assert search((predictors, targets.assign(**odd), days), "scikit-learn")["r2"].iloc[0] > 0.8


def test_both_engines_agree_on_the_cluster(tables, client):
    tables_by_engine = {
        engine: search(tables, engine).drop(columns="seconds") for engine in ENGINES
    }
    pd.testing.assert_frame_equal(*tables_by_engine.values())


@BOTH
def test_a_day_is_held_out_whole(tables, engine):
    predictors, _, days = tables
    rng = np.random.default_rng(1)
    by_day = pd.Series(rng.normal(size=40))[days].to_numpy()  # unrelated to other days
    rows = pd.MultiIndex.from_product([PATHS, [0.5]], names=["path", "fraction"])
    by_hour = predictors.assign(hour=days / 2)
    table = search((by_hour, pd.DataFrame({"altitude": by_day}, rows), days), engine)
    assert table["r2"].max() < 0.2  # 1 where a day is on both sides


def test_a_search_draws_each_setting_once(tables):
    assert len(search(tables, "scikit-learn", draws=50)) == 4


def test_an_unavailable_predictor_or_engine_is_refused(tables):
    predictors, *others = tables
    late = predictors.assign(duration_max=1.0)
    with pytest.raises(ValueError, match="not known planned"):
        search((late, *others), "scikit-learn")
    with pytest.raises(ValueError, match="engine 'spark', expected one of dask-ml, scikit-learn"):
        search(tables, "spark")


def test_chosen_settings_are_evaluated_on_flights_outside_the_search(tables):
    predictors, targets, days = tables
    full = targets.assign(latitude=40.0, longitude=1.0, distance=1.0)
    searched = search((predictors.iloc[:90], full, days), "scikit-learn")
    underfitted = build_model("extra trees", trees=8, min_samples_leaf=45)
    split = PATHS[:90], PATHS[90:]
    gain = evaluate_settings(
        underfitted, searched, predictors, full, split, days, feature_set="planned"
    )
    assert gain.loc["altitude", "low"] > 0.3
    assert (gain["low"] <= gain["gain"]).loc[["altitude", "time"]].all()
    same = searched.iloc[:1].assign(max_features=1 / 3, min_samples_leaf=45)
    no_gain = evaluate_settings(
        underfitted, same, predictors, full, split, days, feature_set="planned"
    )
    assert no_gain.loc["altitude", "gain"] == 0
