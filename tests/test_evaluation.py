import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from trajlib.evaluation.baselines import predict_baseline
from trajlib.evaluation.bootstrap import estimate_skill
from trajlib.evaluation.experiments import Experiment
from trajlib.evaluation.groups import score_groups
from trajlib.evaluation.metrics import (
    measure_errors,
    measure_tails,
    score_targets,
    skill,
    squared_errors,
)
from trajlib.evaluation.splits import (
    compare_periods,
    describe_days,
    find_repeats,
    local_days,
    split_at_random,
    split_by_day,
    split_forward,
)
from trajlib.features.targets import TARGETS, match_flights
from trajlib.geodesy import offset


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
def test_too_few_flights_or_days_are_refused(flights, days):
    few = pd.Series(np.arange(flights) % days, dtype="int64")
    with pytest.raises(ValueError, match=rf"{flights} flights on \d+ local days are too few"):
        split_by_day(few, 4)


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_a_split_into_fewer_than_two_folds_is_refused(folds):
    with pytest.raises(ValueError, match=rf"folds is {folds}, expected 2 or more"):
        split_by_day(pd.Series(np.arange(100) % 10), folds)


def test_a_flight_after_midnight_belongs_to_the_local_day():
    flights = pd.DataFrame(
        {
            "path": ["a", "b"],
            "origin": "SFO",
            "start": pd.to_datetime(["2019-10-02T06:59Z", "2019-10-02T07:01Z"]),
        }
    )
    assert local_days(flights).dt.day.tolist() == [1, 2]


def test_days_with_months_between_them_are_periods():
    def describe(*dates):
        return describe_days(pd.to_datetime(pd.Series(dates)))

    assert describe("2019-10-01", "2019-11-20", "2019-11-20") == "2 days"
    apart = describe("2021-07-03", "2019-12-01", "2019-10-20", "2020-01-07", "2021-07-30")
    assert apart == "5 days in 2 periods: Oct 2019 to Jan 2020, Jul 2021"
    years = [f"{year}-05-01" for year in range(2015, 2021)]
    assert describe(*years) == "6 days in 6 periods, May 2015 to May 2020"


def test_periods_are_compared_where_their_mean_durations_differ():
    dates = [*pd.date_range("2019-10-01", periods=20), *pd.date_range("2021-07-01", periods=20)]
    days = pd.Series(dates)
    same = pd.Series(np.arange(40) % 4 + 100.0)
    operators = pd.Series(["IBE", "VLG"] * 20)
    assert compare_periods(same, days, operators) == ""
    later = same + 5 * (days.dt.year == 2021)
    text = compare_periods(later, days, operators)
    assert text.startswith(
        "On average flights took 101.5 min in Oct 2019 (20 flights) and 106.5 min in Jul 2021 "
        "(20 flights), IBE alone 101.0"
    )
    for other in (operators.mask(days.dt.year == 2021, "RYR"), operators.mask(operators != "")):
        assert "alone" not in compare_periods(later, days, other)
    assert compare_periods(same, days.clip(upper=dates[19]), operators) == ""  # one period
    early = days.mask(days.index < 8, days - pd.Timedelta(500, "D"))
    assert "took between 101.5 min in" in compare_periods(later, early, operators)
    one_day = days.mask(days.index < 1, pd.Timestamp("2018-05-01"))  # its mean is uncertain
    assert "101.6 min in Oct 2019" in compare_periods(later, one_day, operators)


def test_a_baseline_uses_training_days_only():
    targets = random_targets()
    splits = split_by_day(days_of(targets))
    before = predict_baseline(targets, splits[:1])
    changed = targets.copy()
    changed.loc[splits[0][1]] += 1e6
    pd.testing.assert_frame_equal(predict_baseline(changed, splits[:1]), before)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_a_baseline_is_the_same_for_all_held_out_flights(statistic):
    targets = random_targets()
    (train, held_out), *_ = splits = split_by_day(days_of(targets))
    predicted = predict_baseline(targets, splits, statistic)
    assert predicted.index.equals(targets.index)
    expected = targets.loc[train].xs(0.5, level="fraction").agg(statistic)
    for row in predicted.loc[held_out].xs(0.5, level="fraction").to_numpy():
        np.testing.assert_allclose(row, expected)


def test_the_skill_of_a_baseline_against_itself_is_0():
    targets = random_targets()
    errors = measure_errors(predict_baseline(targets, split_by_day(days_of(targets))), targets)
    assert (skill(errors, errors) == 0).all()
    table = estimate_skill(errors, errors, days_of(targets))
    np.testing.assert_allclose(table, 0, atol=1e-12)


def test_perfect_predictions_have_a_skill_and_an_r2_of_1():
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
        at_fraction = [table.xs(fraction, level="fraction") for table in (targets, predictions)]
        np.testing.assert_allclose(row, r2_score(*at_fraction, multioutput="raw_values"))


def test_r2_of_a_target_that_does_not_vary_is_missing():
    targets = random_targets().assign(altitude=30e3)
    assert score_targets(targets, targets)["altitude"].isna().all()


def test_skill_is_pooled_and_not_a_mean_of_ratios():
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
    assert row[["horizontal", "altitude", "time", "distance"]].tolist() == pytest.approx(
        [60.108, 500, 20, 3], abs=0.001
    )


def test_squared_errors_belong_to_the_flights_predicted():
    targets = random_targets()
    predictions = targets.iloc[10:20] + 2
    assert np.allclose(squared_errors(predictions, targets), 4)


def test_an_interval_holds_the_skill():
    targets, predictions = random_targets(), random_targets(seed=1)
    baseline = predict_baseline(targets, split_by_day(days_of(targets)))
    errors = [squared_errors(table, targets) for table in (predictions, baseline)]
    table = estimate_skill(*errors, days_of(targets))
    assert (table["low"] < table["skill"]).all()
    assert (table["skill"] < table["high"]).all()


def test_flights_of_a_day_are_drawn_together():
    targets, predictions = random_targets(), random_targets(seed=1)
    errors, baseline = (squared_errors(t, targets) for t in (predictions, targets + 1))
    twice = [pd.concat([table, table]) for table in (errors, baseline)]
    days = days_of(targets)
    once = estimate_skill(errors, baseline, days)
    np.testing.assert_allclose(estimate_skill(*twice, days), once)
    alone = estimate_skill(errors, baseline, pd.Series(range(60), index=days.index))
    assert not np.allclose(alone, once)


@given(st.integers(2, 5), st.integers(8, 30))
def test_forward_splits_train_on_earlier_days_only(folds, days):
    of_flight = days_of(random_targets(), days)
    splits = split_forward(of_flight, folds)
    assert len(splits) == folds
    for train, held_out in splits:
        assert of_flight[train].max() < of_flight[held_out].min()
    held_out = np.concatenate([held_out for _, held_out in splits])
    assert len(held_out) == len(set(held_out))
    first_part = of_flight.drop(held_out)
    assert first_part.max() < of_flight[held_out].min()


def test_too_few_days_to_go_forward_are_refused():
    with pytest.raises(ValueError, match="4 local days are too few for 4 folds"):
        split_forward(days_of(random_targets(), 4), 4)


def records(*rows):
    table = pd.DataFrame(rows, columns=["path", "callsign", "start", "end"])
    times = {name: pd.to_datetime("2019-10-01T" + table[name] + "Z") for name in ("start", "end")}
    return table.assign(**times)


def test_records_of_one_callsign_that_overlap_are_one_event():
    flights = records(
        ("a", "UAL1", "10:00", "11:00"),
        ("b", "UAL1", "10:02", "10:58"),
        ("c", "UAL1", "18:00", "19:00"),
        ("d", "DAL1", "10:00", "11:00"),
        ("e", None, "10:00", "11:00"),
        ("f", None, "10:00", "11:00"),
    )
    events = find_repeats(flights)
    assert events.index.tolist() == list("abcdef")
    assert events["a"] == events["b"]
    assert events.nunique() == 5
    assert find_repeats(flights.tail(2)).nunique() == 2  # neither has a callsign


@given(st.lists(st.integers(0, 25), min_size=40, max_size=60), st.integers(0, 9))
def test_repeats_of_a_flight_stay_together_in_random_splits(numbers, seed):
    events = pd.Series(numbers, [f"{number:02}.csv" for number in range(len(numbers))])
    if events.nunique() < 4:
        return
    for train, held_out in split_at_random(events, 4, seed=seed):
        assert set(events[train]).isdisjoint(events[held_out])
        assert len(train) + len(held_out) == len(events)


def straight(course, fractions=(0.2, 0.4, 0.6)):
    rows = pd.MultiIndex.from_product([["a.csv"], fractions], names=["path", "fraction"])
    lat, lon = offset(40.0, -3.0, course, 300 * rows.get_level_values("fraction").to_numpy(), 0.0)
    table = pd.DataFrame({"latitude": lat, "longitude": lon}, rows)
    return table.assign(duration=0.0, distance=0.0, altitude=0.0)


@given(st.floats(0, 360), st.floats(-20, 20), st.floats(-20, 20))
def test_an_error_has_parts_along_and_across_the_course_flown(course, along, across):
    flown = straight(course)
    lat, lon = offset(flown["latitude"], flown["longitude"], course, along, across)
    errors = measure_errors(flown.assign(latitude=lat, longitude=lon), flown)
    # over 120 NM a great circle turns by a degree or two
    np.testing.assert_allclose(errors["along"], abs(along), atol=0.8)
    np.testing.assert_allclose(errors["cross"], abs(across), atol=0.8)
    parts = np.hypot(errors["along"], errors["cross"])
    np.testing.assert_allclose(parts, errors["horizontal"], atol=1e-6)


def test_without_a_course_along_and_cross_track_errors_are_missing():
    flown = straight(90.0, [1.0])
    errors = measure_errors(flown + 0.1, flown)
    assert errors[["along", "cross"]].isna().all(axis=None)
    with_course = measure_errors(flown + 0.1, flown, course=pd.Series(90.0, flown.index))
    assert with_course[["along", "cross"]].notna().all(axis=None)


def test_skill_uses_only_rows_with_both_errors():
    errors = pd.DataFrame({"time": [1.0, np.nan, 3.0]})
    baseline = pd.DataFrame({"time": [2.0, 99.0, np.nan]})
    assert skill(errors, baseline)["time"] == 0.5


def compared(seed=1):
    targets, predictions = random_targets(), random_targets(seed=seed)
    days = days_of(targets)
    simple = {n: predict_baseline(targets, split_by_day(days), n) for n in ("mean", "median")}
    near = {"perfect": targets, "mean again": simple["mean"], "chance": predictions}
    near, simple = (
        {name: measure_errors(table, targets) for name, table in tables.items()}
        for tables in (near, simple)
    )
    return near, simple, days


def test_a_model_is_compared_with_the_best_baseline():
    models, simple, days = compared()
    table = Experiment("at_takeoff", models, simple, days).compare()
    for error in ("horizontal", "altitude", "time"):
        best = min(simple, key=lambda name: simple[name][error].sum())
        assert table.loc[("perfect", error), "best"] == best
    assert (table.loc["perfect", "verdict"] == "beats it").all()
    assert (table.loc["chance", "verdict"][["horizontal", "altitude", "time"]] == "worse").all()
    np.testing.assert_allclose(table.loc["mean again", ["skill", "low", "high"]], 0, atol=1e-12)
    assert not (table.loc["mean again", "verdict"] == "beats it").any()


def test_skill_of_squared_errors_is_in_the_table():
    models, simple, days = compared()
    table = Experiment("at_takeoff", models, simple, days).compare()
    squares, baseline_squares = (
        table["altitude"] ** 2 for table in (models["chance"], simple["mean"])
    )
    expected = 1 - squares.sum() / baseline_squares.sum()
    assert table.loc[("chance", "altitude"), "squared"] == pytest.approx(expected)


def test_each_group_has_its_skill_without_rows_of_no_group():
    models, simple, days = compared()
    paths = days.index
    groups = pd.Series(np.where(np.arange(60) < 20, "N", "S"), paths).iloc[:40]
    table = score_groups(models["chance"], simple["mean"], groups, days)
    for name, flights in {"N": paths[:20], "S": paths[20:40]}.items():
        part = [errors.loc[flights] for errors in (models["chance"], simple["mean"])]
        pd.testing.assert_series_equal(table.loc[name, "skill"], skill(*part), check_names=False)
        assert (table.loc[name, "flights"] == 20).all()
    half = pd.Series("half", models["chance"].index).iloc[::2]
    assert (score_groups(models["chance"], simple["mean"], half, days)["flights"] == 60).all()
    landed = models["chance"].copy()
    landed.loc[paths[0], "time"] = np.nan
    counted = score_groups(landed, simple["mean"], groups, days).loc["N", "flights"]
    assert counted["time"] == 19
    assert counted["altitude"] == 20


def test_without_groups_the_table_is_empty_with_the_same_columns():
    models, simple, days = compared()
    no_groups = pd.Series(None, days.index, dtype=object)
    empty = score_groups(models["chance"], simple["mean"], no_groups, days)
    filled = score_groups(models["chance"], simple["mean"], no_groups.fillna("N"), days)
    assert empty.empty
    assert empty.index.names == filled.index.names
    pd.testing.assert_series_equal(empty.dtypes, filled.dtypes)
    tables = {"operator": empty, "phase": filled}
    assert pd.concat(tables).equals(pd.concat({"phase": filled}))


def test_skill_has_an_interval_on_few_days_and_none_on_one_day():
    models, simple, days = compared()
    for paths, has_interval in (
        (days.drop_duplicates().index[:3], True),
        (days.index[days == days.iloc[0]], False),
    ):
        few = models["chance"].copy()
        few[~few.index.get_level_values("path").isin(paths)] = np.nan
        table = estimate_skill(few, simple["mean"], days)
        assert table["skill"].notna().all()
        assert (table[["low", "high"]].notna() == has_interval).all(axis=None)


def test_tails_name_the_worst_day():
    models, _, days = compared()
    errors = models["chance"]
    worst = days[days == 7].index
    errors.loc[worst, "time"] += 1e4
    table = measure_tails(errors, days)
    assert table.loc["time", "day"] == 7
    assert table.loc["time", "worst day"] == pytest.approx(errors.loc[worst, "time"].mean())
    assert table.loc["altitude", "p95"] == pytest.approx(np.quantile(errors["altitude"], 0.95))
    alone = pd.Series(range(60), days.index)
    assert measure_tails(errors, alone)["worst day"].notna().all()


@given(st.lists(st.sampled_from("abcdef"), max_size=8))
def test_rows_are_matched_to_flights_as_isin_does(names):
    rows = pd.MultiIndex.from_product([list("adbe"), [0.1, 0.9]], names=["path", "fraction"])[::-1]
    paths = pd.Index(names, dtype="str", name="path")
    for some in (rows, rows[3:], rows.swaplevel()):
        expected = some.get_level_values("path").isin(paths)
        assert match_flights(some, paths).tolist() == expected.tolist()
