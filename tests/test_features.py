import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajlib.archive.index import build_index
from trajlib.archive.reading import write_flight
from trajlib.features.feature_sets import (
    FEATURE_SETS,
    PLANNED,
    aggregate_flight,
    build_predictors,
    build_predictors_by,
    check_no_leakage,
    feature_availability,
    local_start,
)
from trajlib.features.targets import (
    FRACTIONS,
    TARGETS,
    build_targets,
    build_targets_by,
    degenerate_targets,
)
from trajlib.trajectories.events import FEATURES

STARTS = ("2016-01-01T23:30", "2016-02-05T06:15", "2016-02-06T12:45")


def straight_flight(start, samples=101, **identity):
    progress = np.linspace(0, 1, samples)
    df = pd.DataFrame({"timestamp": pd.date_range(start, periods=samples, freq="10s", tz="UTC")})
    df["latitude"], df["longitude"] = 40.5 + 0.8 * progress, -3.6 + 5.7 * progress
    df["altitude"] = 30_000 * np.sin(np.pi * progress)
    df["temperature"], df["mass"], df["track"], df["gap"] = 220 + progress, 60e3 - progress, 70, 0
    return df.assign(origin="LEMD", destination="LEBL", operator="IBE", **identity)


@pytest.fixture
def archive(tmp_path):
    for number, start in enumerate(STARTS):
        kind = {"aircraft_type": "A320"} if number else {}
        write_flight(straight_flight(start, **kind), tmp_path / f"{number}.csv")
    return tmp_path


def damage(path):
    lines = path.read_text().splitlines()
    lines[50:60] = lines[49:50] * 10  # repeated times, only found by a full read
    path.write_text("\n".join(lines) + "\n")


def test_a_flight_has_one_row_and_the_columns_are_named_after_their_statistic(archive):
    table = build_predictors(build_index(archive))
    assert table.index.tolist() == ["0.csv", "1.csv", "2.csv"]
    assert {"duration_max", "distance_max", "temperature_mean", "mass_min"} <= set(table)
    assert table["duration_max"].tolist() == [1000.0] * 3


def test_growing_variables_have_their_maximum_and_positions_and_angles_no_aggregate(archive):
    names = build_predictors(build_index(archive)).columns
    assert [n for n in names if n.startswith(("duration", "distance"))] == [
        "duration_max",
        "distance_max",
    ]
    assert not [n for n in names if n.startswith(("latitude", "longitude", "track", "gap"))]


def test_modelled_columns_are_no_predictors(archive):
    (archive / "columns.toml").write_text('modelled = ["temperature", "mass"]\n')
    names = build_predictors(build_index(archive)).columns
    assert not [n for n in names if n.startswith(("temperature", "mass"))]


def test_hour_weekday_and_month_are_those_of_the_origin(archive):
    first = build_predictors(build_index(archive), "at_takeoff").iloc[0]
    assert (first["weekday"], first["hour"], first["month"]) == ("Sat", 0.5, "Jan")


def test_the_local_start_is_in_the_zone_of_the_origin():
    start = pd.Timestamp("2019-10-01T06:00", tz="UTC")
    flights = pd.DataFrame({"path": ["a", "b"], "origin": ["SFO", "LEMD"], "start": start})
    assert local_start(flights).dt.hour.to_dict() == {"a": 23, "b": 8}


def test_predictors_at_takeoff_do_not_depend_on_later_samples(archive):
    before = build_predictors(build_index(archive), "at_takeoff")
    for number, start in reversed(list(enumerate(STARTS))):  # latest first
        df = straight_flight(start, samples=57, **({"aircraft_type": "A320"} if number else {}))
        df.loc[1:, ["latitude", "longitude", "altitude", "temperature", "mass"]] *= 0.5
        write_flight(df, archive / f"{number}.csv")
        after = build_predictors(build_index(archive), "at_takeoff")
        unmoved = [f"{earlier}.csv" for earlier in range(number + 1)]
        pd.testing.assert_frame_equal(after.loc[unmoved], before.loc[unmoved])


def test_what_is_missing_stays_missing(archive):
    types = build_predictors(build_index(archive), "at_takeoff")["aircraft_type"]
    assert types.isna().tolist() == [True, False, False]
    empty = aggregate_flight(pd.DataFrame({"mach": [np.nan, np.nan]}))
    assert np.isnan(list(empty.values())).all()


def test_a_damaged_flight_has_neither_predictors_nor_targets(archive):
    damage(archive / "1.csv")
    index = build_index(archive)
    assert build_predictors(index).index.tolist() == ["0.csv", "2.csv"]
    assert build_targets(index).index.unique("path").tolist() == ["0.csv", "2.csv"]


def test_targets_are_where_the_flight_is_at_fractions_of_its_duration(archive):
    table = build_targets(build_index(archive)).loc["1.csv"]
    assert list(table) == list(TARGETS)
    assert table.index.tolist() == FRACTIONS.tolist()
    np.testing.assert_allclose(table["latitude"], 40.5 + 0.8 * FRACTIONS, atol=1e-6)


def test_several_targets_in_one_pass_equal_each_alone(archive):
    index = build_index(archive)
    targets = {"few": ("time", [0.5]), "way": ("route", FRACTIONS), "clock": ("clock", [1, 2])}
    for name, table in build_targets_by(index, targets).items():
        by, fractions = targets[name]
        pd.testing.assert_frame_equal(
            table, build_targets(index, fractions, by=by), check_exact=True
        )


def test_a_flight_without_samples_has_no_aggregates():
    aggregates = aggregate_flight(pd.DataFrame({"mach": []}, dtype=float))
    assert np.isnan(list(aggregates.values())).all()


def test_duration_at_a_fraction_is_a_predictor_in_disguise(archive):
    index = build_index(archive)
    table = build_targets(index).pivot_table("duration", "path", "fraction")
    disguised = np.outer(build_predictors(index)["duration_max"], FRACTIONS)
    np.testing.assert_allclose(table, disguised)
    assert degenerate_targets(build_predictors(index)) == ["duration"]
    assert degenerate_targets(build_predictors(index, "at_takeoff")) == []


def test_a_public_holiday_is_that_of_the_local_day_where_it_takes_off(archive):
    index = build_index(archive).iloc[:1]
    holidays = {}
    for origin, start in [
        ("LEMD", "2016-01-06T09:00"), ("LEMD", "2016-01-07T09:00"),  # Epiphany
        ("SFO", "2019-11-29T07:00"), ("SFO", "2019-11-29T09:00"),  # Thanksgiving's last hour
    ]:  # fmt: skip
        row = index.assign(origin=origin, start=pd.Timestamp(start, tz="UTC"))
        holidays[origin, start] = build_predictors(row, "planned")["holiday"].item()
    np.testing.assert_array_equal(list(holidays.values()), [1, 0, 1, 0])


def test_every_predictor_has_an_availability(archive):
    index = build_index(archive)
    for feature_set in FEATURE_SETS:
        check_no_leakage(build_predictors(index, feature_set), feature_set)
    assert {feature_availability(name) for name in build_predictors(index)} == {
        "planned",
        "whole_flight",
    }
    assert {feature_availability(name) for name in PLANNED} == {"planned"}


def test_flight_events_are_added_on_request_as_whole_flight_features(archive):
    index = build_index(archive)
    table = build_predictors(index, features=True)
    assert set(table) - set(build_predictors(index)) == set(FEATURES.index)
    assert {feature_availability(name) for name in FEATURES.index} == {"whole_flight"}
    assert table["cruise_time"].notna().all()
    assert table["holding_laps"].tolist() == [0, 0, 0]


def test_several_feature_sets_at_once_equal_each_alone(archive):
    index = build_index(archive)
    feature_sets = ["whole_flight", "airborne_10", "planned", "airborne_5"]
    tables = build_predictors_by(index, feature_sets)
    assert list(tables) == feature_sets
    for feature_set, table in tables.items():
        pd.testing.assert_frame_equal(table, build_predictors(index, feature_set))


def test_a_predictor_not_available_yet_is_refused(archive):
    with pytest.raises(ValueError, match=r"not known at_takeoff: duration_max \(whole_flight\)"):
        check_no_leakage(build_predictors(build_index(archive)), "at_takeoff")


@pytest.mark.parametrize("name", ["latitude_mean", "duration_min", "luck", "track_mean"])
def test_a_predictor_without_an_availability_is_refused(name):
    with pytest.raises(ValueError, match=name):
        check_no_leakage([name], "whole_flight")


def test_an_unknown_feature_set_is_refused_with_the_existing_ones(archive):
    for refuse in (lambda: build_predictors(build_index(archive), "later"),
                   lambda: check_no_leakage([], "later")):  # fmt: skip
        with pytest.raises(ValueError, match="'later', expected one of planned, at_takeoff"):
            refuse()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.randoms())
def test_aggregates_do_not_depend_on_the_order_of_samples(values, random):
    shuffled = random.sample(values, len(values))
    first, second = (aggregate_flight(pd.DataFrame({"mach": v})) for v in (values, shuffled))
    assert first == pytest.approx(second, rel=1e-6, abs=1e-3)
    bounds = [first[f"mach_{name}"] for name in ("min", "mean", "max")]
    np.testing.assert_array_less(np.array(bounds[:-1]) - 1e-3, bounds[1:])
