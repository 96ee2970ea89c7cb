import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from lightgbm import LGBMRegressor
from machines import wait_until

from trajlib.features.targets import TARGETS
from trajlib.models.estimators import MODELS, BoostedTrees, build_model, encoded_predictors
from trajlib.models.training import (
    predict_held_out,
    predict_joint,
    stack_targets,
    submit_held_out,
    submit_splits,
    widen_targets,
)

FRACTIONS = [0.25, 0.5, 0.75]
PATHS = pd.Index([f"{number:03}.csv" for number in range(80)], name="path")
SPLITS = [(PATHS[20:], PATHS[:20]), (PATHS[:60], PATHS[60:])]


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    predictors = pd.DataFrame(
        {
            "operator": rng.choice(["IBE", "VLG"], len(PATHS)),
            "aircraft_type": rng.choice(["A320", "B738", None], len(PATHS)),
            "weekday": rng.choice(["Sat", "Sun"], len(PATHS)),
            "hour": rng.uniform(0, 24, len(PATHS)),
            "duration_max": rng.uniform(3000, 4000, len(PATHS)),
        },
        PATHS,
    )
    rows = pd.MultiIndex.from_product([PATHS, FRACTIONS], names=["path", "fraction"])
    late = np.repeat(predictors["duration_max"].to_numpy(), 3) * np.tile(FRACTIONS, len(PATHS))
    values = np.outer(late, [1e-3, 2e-3, 1, 0.1, 9]) + rng.normal(size=(len(rows), 5)) * 0.01
    values[:, 4] = 1000 * np.repeat(predictors["hour"].to_numpy(), 3)
    return predictors, pd.DataFrame(values, rows, list(TARGETS))


def predict(tables, name="forest", splits=SPLITS, *, joint=False, **options):
    few = name in ("boosting", "lightgbm", "neighbours")  # learn little from sixty flights
    size = {"trees": 25, "min_samples_leaf": 2} if few else {"trees": 8}
    model = build_model(name, **size, **options)
    return predict_held_out(model, *tables, splits, feature_set="whole_flight", joint=joint)


@pytest.fixture(params=MODELS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def predicted(tables, name):
    return predict(tables, name)


def test_every_model_predicts_every_target_of_held_out_flights(tables, predicted):
    held_out = [path for _, paths in SPLITS for path in paths]
    assert predicted.index.unique("path").tolist() == held_out
    assert predicted.index.unique("fraction").tolist() == FRACTIONS
    assert predicted.columns.equals(tables[1].columns)
    assert predicted.notna().all(axis=None)


@pytest.fixture
def two_workers():
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
    options["dashboard_address"] = "127.0.0.1:0"
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


def test_trainings_submitted_together_give_the_same_predictions(tables, two_workers):
    options = {"feature_set": "whole_flight"}
    alone = {joint: predict(tables, joint=joint) for joint in (False, True)}
    model = build_model("forest", trees=8)
    waits = {
        joint: submit_held_out(model, *tables, SPLITS, **options, joint=joint) for joint in alone
    }
    for joint, wait in waits.items():
        held_out = wait()
        pd.testing.assert_frame_equal(held_out.predictions, alone[joint])
        assert held_out.seconds > 0
    wait_until(lambda: not list_tasks(two_workers))


def test_submitted_tasks_are_cancelled_after_an_error(tables, two_workers):
    submit = partial(submit_splits, feature_set="whole_flight")
    unfinished = submit(lambda *_: time.sleep(0.5), *tables, SPLITS)
    with pytest.raises(ZeroDivisionError):
        submit(lambda *_: 1 / 0, *tables, SPLITS)()
    wait_until(lambda: set(list_tasks(two_workers)) <= {"erred", "released"})
    with pytest.raises(RuntimeError, match="cancelled after an error"):
        unfinished()


def list_tasks(client):
    def states(dask_scheduler):
        return [task.state for task in dask_scheduler.tasks.values()]

    return client.run_on_scheduler(states)


def explains_spread(predictions, targets):
    """Return whether squared errors are below 70 % of those of the mean, for each target."""
    flown = targets.loc[predictions.index]
    spread = flown - flown.groupby(level="fraction").transform("mean")
    return ((predictions - flown) ** 2).sum() < 0.7 * (spread**2).sum()


def test_every_model_learns(tables, predicted):
    assert explains_spread(predicted, tables[1]).all()


def test_every_model_predicts_with_missing_and_unseen_values(tables, name):
    predictors, targets = tables
    predictors = predictors.copy()
    predictors.loc[PATHS[0], "operator"] = "RYR"
    predictors.loc[PATHS[1], ["operator", "duration_max"]] = None
    predictors.loc[PATHS[30], ["operator", "duration_max"]] = None
    assert predict((predictors, targets), name).notna().all(axis=None)


def test_a_seed_changes_the_models_that_draw_samples(tables, name, predicted):
    draws_samples = name not in ("ridge", "neighbours")
    assert np.allclose(predicted, predict(tables, name, seed=2)) != draws_samples


def test_predictions_do_not_depend_on_the_number_of_workers(tables, name, predicted, two_workers):
    pd.testing.assert_frame_equal(predict(tables, name), predicted, check_exact=True)


def test_held_out_flights_do_not_change_the_training(tables, name):
    predictors, targets = tables
    before = predict(tables, name, SPLITS[:1])
    others = PATHS[1:20]
    predictors, targets = predictors.copy(), targets.copy()
    predictors.loc[others, "operator"] = "RYR"  # would be another category
    predictors.loc[others, ["hour", "duration_max"]] = 1e6
    targets.loc[others] = 1e6
    after = predict((predictors, targets), name, SPLITS[:1])
    pd.testing.assert_frame_equal(after.loc[PATHS[:1]], before.loc[PATHS[:1]], check_exact=True)


def test_the_unit_of_one_target_does_not_change_the_others(tables):
    predictors, targets = tables
    megafeet = targets.assign(altitude=targets["altitude"] * 1e-6)
    others = ["latitude", "longitude", "duration", "distance"]
    first, second = (predict((predictors, table))[others] for table in (targets, megafeet))
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_each_fraction_is_trained_independently(tables):
    predictors, targets = tables
    changed = targets.copy()
    changed.loc[(slice(None), 0.75), :] = 0
    before, after = (predict((predictors, t)).xs(0.5, level="fraction") for t in (targets, changed))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_a_flight_without_targets_is_left_out(tables):
    predictors, targets = tables
    predictions = predict((predictors, targets.drop(PATHS[0])))
    assert PATHS[0] not in predictions.index.unique("path")


def test_a_predictor_outside_the_feature_set_is_refused(tables):
    with pytest.raises(ValueError, match=r"not known at_takeoff: duration_max \(whole_flight\)"):
        predict_held_out(build_model(), *tables, SPLITS, feature_set="at_takeoff")


@pytest.mark.parametrize("name", ["ridge", "neighbours"])
def test_a_predictor_that_hardly_varied_in_training_does_not_outweigh_the_others(name):
    rng = np.random.default_rng(0)
    predictors = pd.DataFrame(
        {"speed": rng.normal(450, 10, 60), "calm": 1e-9 * rng.normal(size=60)}
    )
    duration = 4_000 - 4 * predictors["speed"] + rng.normal(0, 5, 60)
    trained = build_model(name).fit(predictors, duration)
    windy = predictors.assign(calm=20.0)
    change = trained.predict(windy) - trained.predict(predictors)
    assert np.abs(change).max() < duration.std() * 4


def test_an_unknown_model_is_refused_with_the_existing_ones():
    with pytest.raises(ValueError, match="'oracle', expected one of forest, forest per target, "):
        build_model("oracle")


def test_a_joint_model_has_the_same_rows_and_learns(tables, name, predicted):
    joint = predict(tables, name, joint=True)
    assert joint.index.equals(predicted.index)
    assert joint.columns.equals(predicted.columns)
    assert explains_spread(joint, tables[1]).all()


def test_the_track_of_a_joint_model_does_not_jump_between_routes():
    rng = np.random.default_rng(0)
    fractions = np.linspace(0, 1, 21)
    columns = pd.MultiIndex.from_product(
        [["latitude", "altitude"], fractions], names=[None, "fraction"]
    )
    predictors = pd.DataFrame(rng.normal(size=(120, 6))).add_prefix("x")
    side = np.where(predictors["x0"] + rng.normal(size=120) > 0, 1.0, -1.0)
    north = 40 + np.outer(side, np.sin(np.pi * fractions)) + rng.normal(size=(120, 21)) / 20
    wide = pd.DataFrame(np.hstack([north, 1000 * north]), columns=columns)
    trained = build_model("lightgbm", trees=30).fit(predictors[:80], wide[:80])
    separate = pd.DataFrame(trained.predict(predictors[80:]), predictors.index[80:], columns)
    smooth = predict_joint(trained, predictors[80:], columns)

    def jumps(table):
        return np.abs(np.diff(table["latitude"], 2, axis=1)).mean()

    assert jumps(smooth) < jumps(separate) / 2
    errors = {
        name: (table["latitude"] - wide["latitude"][80:]).abs().mean(axis=None)
        for name, table in {"smooth": smooth, "separate": separate}.items()
    }
    assert errors["smooth"] < 1.02 * errors["separate"]
    pd.testing.assert_frame_equal(smooth[["altitude"]], separate[["altitude"]])


def test_stacking_widened_targets_gives_the_targets(tables):
    targets = tables[1]
    pd.testing.assert_frame_equal(stack_targets(widen_targets(targets)), targets)
    incomplete = targets.drop((PATHS[3], 0.5))
    assert PATHS[3] not in widen_targets(incomplete).index


@pytest.mark.parametrize("joint", [False, True])
def test_a_flight_that_does_not_reach_a_fraction_trains_nothing_there(tables, joint):
    predictors, targets = tables
    targets = targets.copy()
    targets.loc[(PATHS[30:40], 0.75), :] = np.nan
    assert predict((predictors, targets), joint=joint).notna().all(axis=None)


def test_a_category_is_one_predictor_of_several_columns(tables):
    predictors, targets = tables
    trained = build_model(trees=2).fit(predictors, targets.xs(0.5, level="fraction"))
    columns = trained[0].get_feature_names_out().tolist()
    assert "weekday_Sat" in columns
    behind = dict(zip(columns, encoded_predictors(trained), strict=True))
    assert behind["weekday_Sat"] == behind["weekday_Sun"] == "weekday"
    assert behind["aircraft_type_A320"] == "aircraft_type"
    assert behind["hour"] == "hour"


def test_numbers_alone_need_no_encoding(tables):
    predictors, targets = tables
    numbers = predictors[["hour", "duration_max"]]
    trained = build_model(trees=2).fit(numbers, targets.xs(0.5, level="fraction"))
    assert encoded_predictors(trained) == ["hour", "duration_max"]


def test_boosted_trees_are_those_of_a_model_for_each_target():
    rng = np.random.default_rng(0)
    predictors, targets = rng.normal(size=(300, 6)), rng.normal(size=(300, 2))
    shared = BoostedTrees(trees=20, seed=3).fit(predictors, targets).predict(predictors)
    options = {"objective": "l1", "num_leaves": 8, "max_bin": 63, "colsample_bytree": 1 / 3}
    single = LGBMRegressor(n_estimators=20, random_state=3, verbose=-1, n_jobs=1, **options)
    for column, predicted in zip(targets.T, shared.T, strict=True):
        np.testing.assert_array_equal(single.fit(predictors, column).predict(predictors), predicted)
