import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from trajlib.features import TARGETS
from trajlib.scores import (
    interval_by_day,
    local_days,
    measure_errors,
    predict_baseline,
    score_targets,
    skill,
    split_by_day,
    squared_errors,
)


def random_targets(flights=60, seed=0):
    rng = np.random.default_rng(seed)
    paths = [f"{number:03}.csv" for number in range(flights)]
    rows = pd.MultiIndex.from_product([paths, [0.25, 0.5]], names=["path", "fraction"])
    values = rng.normal([40, -3, 2000, 200, 30e3], [1, 1, 100, 10, 3000], (len(rows), 5))
    return pd.DataFrame(values, rows, list(TARGETS))


def days_of(targets, days=12):
    paths = targets.index.unique("path")
    return pd.Series(np.arange(len(paths)) % days, index=paths)


@given(st.integers(2, 5), st.integers(0, 99), st.integers(5, 30))
def test_every_day_is_held_out_whole_and_once(folds, seed, days):
    of_flight = days_of(random_targets(), days)
    splits = split_by_day(of_flight, folds, seed=seed)
    for train, held_out in splits:
        assert set(of_flight[train]).isdisjoint(of_flight[held_out])
        assert len(train) + len(held_out) == len(of_flight)
    held_out = np.concatenate([held_out for _, held_out in splits])
    assert sorted(held_out) == sorted(of_flight.index)


def test_a_split_depends_on_its_seed_alone():
    days = days_of(random_targets())
    first, again, other = (split_by_day(days, seed=seed)[0][1].tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(("flights", "days"), [(60, 3), (39, 12), (1, 1), (0, 1)])
def test_too_few_flights_or_days_are_refused_with_what_was_expected(flights, days):
    few = pd.Series(np.arange(flights) % days, dtype="int64")
    with pytest.raises(ValueError, match=rf"{flights} flights on \d+ local days are too few"):
        split_by_day(few, 4)


def test_a_flight_after_midnight_belongs_to_the_local_day():
    flights = pd.DataFrame(
        {
            "path": ["a", "b"],
            "origin": "SFO",
            "start": pd.to_datetime(["2019-10-02T06:59Z", "2019-10-02T07:01Z"]),
        }
    )
    assert local_days(flights).dt.day.tolist() == [1, 2]


def test_a_baseline_sees_training_days_alone():
    targets = random_targets()
    splits = split_by_day(days_of(targets))
    before = predict_baseline(targets, splits[:1])
    changed = targets.copy()
    changed.loc[splits[0][1]] += 1e6
    pd.testing.assert_frame_equal(predict_baseline(changed, splits[:1]), before)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_baseline_is_the_same_for_all_that_a_split_holds_out(statistic):
    targets = random_targets()
    (train, held_out), *_ = splits = split_by_day(days_of(targets))
    predicted = predict_baseline(targets, splits, statistic)
    assert predicted.index.equals(targets.index)
    expected = targets.loc[train].xs(0.5, level="fraction").agg(statistic)
    for row in predicted.loc[held_out].xs(0.5, level="fraction").to_numpy():
        np.testing.assert_allclose(row, expected)


def test_the_skill_of_a_baseline_against_itself_is_nothing():
    targets = random_targets()
    errors = measure_errors(predict_baseline(targets, split_by_day(days_of(targets))), targets)
    assert (skill(errors, errors) == 0).all()
    assert (skill(errors, errors, by="fraction") == 0).all(axis=None)
    table = interval_by_day(errors, errors, days_of(targets))
    np.testing.assert_allclose(table, 0, atol=1e-12)


def test_perfection_is_a_skill_and_an_r2_of_one():
    targets = random_targets()
    baseline = predict_baseline(targets, split_by_day(days_of(targets)))
    errors = measure_errors(targets, targets)
    np.testing.assert_allclose(errors, 0, atol=1e-9)
    assert (skill(errors, measure_errors(baseline, targets)) > 1 - 1e-9).all()
    assert (score_targets(targets, targets) == 1).all(axis=None)


def test_r2_is_that_of_scikit_learn():
    targets, predictions = random_targets(), random_targets(seed=1)
    scores = score_targets(predictions, targets)
    for fraction, row in scores.iterrows():
        here = [table.xs(fraction, level="fraction") for table in (targets, predictions)]
        np.testing.assert_allclose(row, r2_score(*here, multioutput="raw_values"))


def test_r2_of_a_target_that_does_not_vary_is_missing():
    targets = random_targets().assign(altitude=30e3)
    assert score_targets(targets, targets)["altitude"].isna().all()


def test_skill_is_pooled_and_no_mean_of_ratios():
    errors, baseline = pd.DataFrame({"time": [1.0, 9.0]}), pd.DataFrame({"time": [10.0, 10.0]})
    assert skill(errors, baseline)["time"] == pytest.approx(0.5)
    baseline = pd.DataFrame({"time": [1.0, 19.0]})
    assert skill(errors, baseline)["time"] == pytest.approx(0.5)


def test_errors_are_in_miles_feet_and_seconds():
    flown = random_targets(1)
    flown["latitude"], flown["longitude"] = 0.0, 10.0
    off = flown.assign(
        longitude=11.0,
        altitude=flown["altitude"] - 500,
        duration=flown["duration"] + 20,
        distance=flown["distance"] - 3,
    )
    row = measure_errors(off, flown).iloc[0]
    assert row.tolist() == pytest.approx([60.108, 500, 20, 3], abs=0.001)


def test_squared_errors_belong_to_the_flights_predicted():
    targets = random_targets()
    predictions = targets.iloc[10:20] + 2
    assert np.allclose(squared_errors(predictions, targets), 4)


def test_an_interval_holds_the_skill():
    targets, predictions = random_targets(), random_targets(seed=1)
    baseline = predict_baseline(targets, split_by_day(days_of(targets)))
    errors = [squared_errors(table, targets) for table in (predictions, baseline)]
    table = interval_by_day(*errors, days_of(targets))
    assert (table["low"] < table["skill"]).all()
    assert (table["skill"] < table["high"]).all()


def test_flights_of_a_day_are_drawn_together():
    targets, predictions = random_targets(), random_targets(seed=1)
    errors, baseline = (squared_errors(t, targets) for t in (predictions, targets + 1))
    twice = [pd.concat([table, table]) for table in (errors, baseline)]
    days = days_of(targets)
    once = interval_by_day(errors, baseline, days)
    np.testing.assert_allclose(interval_by_day(*twice, days), once)
    alone = interval_by_day(errors, baseline, pd.Series(range(60), index=days.index))
    assert not np.allclose(alone, once)
