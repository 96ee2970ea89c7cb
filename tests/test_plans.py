"""Filed flight plans: selection, features, and absence of leakage."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from trajlib.archive.index import build_index
from trajlib.archive.plans import (
    assign_plan,
    count_unusable,
    read_plan,
    read_plans,
    save_plans,
    select_plans,
)
from trajlib.cli import main
from trajlib.evaluation.plan_deviations import measure_plan_deviations, predict_plan_baselines
from trajlib.features.feature_sets import build_predictors, check_no_leakage, feature_availability
from trajlib.features.plan_features import (
    PLAN,
    add_reference,
    build_plan_features,
    has_plan,
    join_plan_state,
    locate_plan,
    subtract_reference,
    trace_plan,
)
from trajlib.geodesy import distance
from trajlib.importers.plans import import_plans
from trajlib.models.estimators import build_model
from trajlib.models.flight_inputs import build_flight_row
from trajlib.models.inference import predict_flight
from trajlib.models.saved_models import load_model, save_model, train_model

PAIR = ("LEMD", "LEBL")
NORTH = [(40.49, -3.57), (42.0, -1.0), (41.29, 2.08)]
SOUTH = [(40.49, -3.57), (40.2, -1.0), (41.29, 2.08)]


def make_plan(route, **columns):
    latitude, longitude = zip(*route, strict=True)
    table = pd.DataFrame({"latitude": latitude, "longitude": longitude, **columns})
    return table.assign(sequence=range(len(table)))


def write_plan(tmp_path, plan):
    plan.to_csv(tmp_path / "plan.csv", index=False)
    return read_plan(tmp_path / "plan.csv")


def read_back(tmp_path, *tables):
    save_plans(pd.concat(tables), tmp_path)
    return read_plans(tmp_path)


@pytest.fixture
def flights():
    starts = pd.to_datetime(["2016-01-01T08:00Z", "2016-01-01T14:00Z", "2016-01-02T08:00Z"])
    return pd.DataFrame(
        {
            "path": ["LEMD-LEBL/one.csv", "LEMD-LEBL/two.csv", "LEMD-LEBL/three.csv"],
            "callsign": ["IBE1", "IBE2", None],
            "origin": "LEMD",
            "destination": "LEBL",
            "start": starts,
        }
    )


def test_the_last_plan_filed_before_the_prediction_time_counts(tmp_path, flights):
    early = make_plan(NORTH, flight_id="one", filed="2016-01-01T05:00Z")
    late = make_plan(SOUTH, flight_id="one", filed="2016-01-01T07:30Z")
    plans = read_back(tmp_path, late, early)
    selected = select_plans(plans, flights)
    assert selected.loc["LEMD-LEBL/one.csv", "latitude"].tolist() == [p[0] for p in SOUTH]


def test_a_plan_filed_after_the_prediction_time_does_not_count(tmp_path, flights):
    before = make_plan(NORTH, flight_id="one", filed="2016-01-01T05:00Z")
    after = make_plan(SOUTH, flight_id="one", filed="2016-01-01T08:05Z")
    plans = read_back(tmp_path, before, after)
    middle = {m: select_plans(plans, flights, minutes=m)["latitude"].iloc[1] for m in (0, 5, 4.9)}
    assert middle == {0: 42.0, 5: 40.2, 4.9: 42.0}


def test_a_flight_whose_only_plan_is_filed_later_has_none(tmp_path, flights):
    plans = read_back(tmp_path, make_plan(NORTH, flight_id="one", filed="2016-01-01T09:00Z"))
    assert not has_plan(build_plan_features(plans, flights)).any()


def test_plans_match_by_path_by_name_and_by_callsign_and_time(tmp_path, flights):
    departure = "2016-01-01T13:40Z"
    plans = read_back(
        tmp_path,
        make_plan(NORTH, flight_id="LEMD-LEBL/one.csv"),
        make_plan(SOUTH, callsign="IBE2", departure_time=departure),
        make_plan(NORTH, callsign="IBE2", departure_time="2016-01-03T13:40Z"),
        make_plan(SOUTH, flight_id="three"),
    )
    middle = select_plans(plans, flights).xs(1, level="point")["latitude"]
    assert middle.to_dict() == {
        "LEMD-LEBL/one.csv": 42.0,
        "LEMD-LEBL/two.csv": 40.2,
        "LEMD-LEBL/three.csv": 40.2,
    }


def test_a_csv_without_positions_is_refused_with_its_name(tmp_path):
    (tmp_path / "mine.csv").write_text("flight_id,lat,lon\n1,40,3\n")
    with pytest.raises(ValueError, match=r"mine\.csv: no column latitude"):
        read_plan(tmp_path / "mine.csv")


def test_waypoints_that_cannot_be_read_are_left_out_and_counted(tmp_path, flights):
    (tmp_path / "mine.csv").write_text(
        "flight_id,sequence,latitude,longitude,flight_level,filed\n"
        "one,0,40.49,-3.57,FL350,2016-01-01T05:00\n"
        "one,1,91,3,F350,2016-01-01T05:00\n"
        "one,2,,2,350,2016-01-01T05:00\n"
        "one,3,N42,1,350,2016-01-01T05:00\n"
        "one,4,41.29,2.08,VFR,2016-01-01T05:00\n"
        "two,0,40.49,-3.57,350,yesterday\n"
    )
    plans = read_plan(tmp_path / "mine.csv")
    assert count_unusable(plans) == 4
    selected = select_plans(plans, flights)
    assert selected["latitude"].to_dict() == {
        ("LEMD-LEBL/one.csv", 0): 40.49,
        ("LEMD-LEBL/one.csv", 1): 41.29,
    }
    np.testing.assert_array_equal(selected["flight_level"], [350, np.nan])


@pytest.mark.parametrize("line", ["two,x,50,5,", ",,,,", "two,0,,,"])
def test_a_line_that_cannot_be_read_changes_no_other_plan(tmp_path, flights, line):
    (tmp_path / "mine.csv").write_text(
        "flight_id,sequence,latitude,longitude,filed\n"
        "one,2,41.29,2.08,\none,1,42,-1,\none,0,40.49,-3.57,\n" + line + "\n"
    )
    selected = select_plans(read_plan(tmp_path / "mine.csv"), flights)
    assert selected["latitude"].tolist() == [40.49, 42.0, 41.29]


def test_the_plan_of_one_flight_needs_positions_alone(tmp_path, flights):
    (tmp_path / "mine.csv").write_text("latitude,longitude\n40.5,-3.5\n41,0\n41.3,2\n")
    plans = assign_plan(read_plan(tmp_path / "mine.csv"), flights[:1])
    assert select_plans(plans, flights)["latitude"].tolist() == [40.5, 41.0, 41.3]


def test_a_plan_without_any_position_on_earth_is_refused(tmp_path):
    (tmp_path / "mine.csv").write_text("latitude,longitude\n91,3\n95,4\n")
    with pytest.raises(ValueError, match="no waypoint can be used"):
        read_plan(tmp_path / "mine.csv")


def test_waypoints_of_two_plans_filed_at_one_time_are_not_mixed(tmp_path, flights):
    longer = [*SOUTH[:2], (40.4, 0.0), SOUTH[2]]
    save_plans(make_plan(NORTH, flight_id="one"), tmp_path, "first")
    save_plans(make_plan(longer, flight_id="one"), tmp_path, "second")
    selected = select_plans(read_plans(tmp_path), flights)
    assert selected["latitude"].tolist() == [point[0] for point in NORTH]


def test_a_plan_that_two_files_have_is_used_once(tmp_path, flights):
    for name in ("first", "second"):
        save_plans(make_plan(NORTH, flight_id="one"), tmp_path, name)
    selected = select_plans(read_plans(tmp_path), flights)
    assert selected["latitude"].tolist() == [point[0] for point in NORTH]


def test_the_plan_of_the_next_flight_of_a_callsign_is_not_used(tmp_path, flights):
    plans = read_back(
        tmp_path,
        make_plan(NORTH, callsign="IBE2", departure_time="2016-01-01T13:40Z", filed="2016-01-01"),
        make_plan(
            SOUTH,
            callsign="IBE2",
            departure_time="2016-01-01T18:00Z",
            filed="2016-01-01T12:00Z",
        ),
    )
    selected = select_plans(plans, flights).loc["LEMD-LEBL/two.csv"]
    assert selected["latitude"].tolist() == [point[0] for point in NORTH]


def test_a_file_of_plans_of_several_callsigns_gives_a_flight_its_own(tmp_path):
    tables = [make_plan(SOUTH, callsign="IBE8"), make_plan(NORTH, callsign="IBE9")]
    plans = write_plan(tmp_path, pd.concat(tables))
    flight = describe_flight()
    selected = select_plans(assign_plan(plans, flight), flight)
    assert selected["latitude"].tolist() == [point[0] for point in NORTH]
    with pytest.raises(ValueError, match="no plan of this flight"):
        assign_plan(plans, flight.assign(callsign="IBE7"))


def test_numbers_of_flights_match_beside_missing_ones(tmp_path, flights):
    numbered = flights.assign(path=["a/71.csv", "a/two.csv", "a/three.csv"])
    plans = pd.concat([make_plan(NORTH, flight_id=71), make_plan(SOUTH, callsign="IBE2")])
    assert plans["flight_id"].dtype == float
    selected = select_plans(read_back(tmp_path, plans), numbered)
    assert selected.index.unique("path").tolist() == ["a/71.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine\.csv is no table of waypoints"),
        ("latitude,longitude,flight_level\n40,3,VFR\n", "flight_level is 'VFR', expected"),
        ("latitude,longitude,estimated_time\n40,3,07:00\n", "estimated_time is '07:00', expected"),
        ("latitude,longitude,filed\n40,3,1457161200\n", "filed is '1457161200', expected date"),
    ],
)
def test_plans_that_cannot_be_read_are_refused_with_the_column(tmp_path, text, message):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_plan(tmp_path / "mine.csv")


def test_plans_are_no_flights_of_the_archive(tmp_path):
    archive = tmp_path / "archive"
    (archive / "plans").mkdir(parents=True)
    (archive / "flight.csv").write_text("timestamp,latitude,longitude\n")
    make_plan(NORTH, flight_id="flight").to_csv(archive / "plans" / "plans.csv", index=False)
    index = build_index(archive, tmp_path / "index.parquet")
    assert index["path"].tolist() == ["flight.csv"]


def test_plans_may_be_in_a_packed_csv(tmp_path):
    (tmp_path / "plans").mkdir()
    plan = make_plan(NORTH, flight_id="one")
    plan.to_csv(tmp_path / "plans" / "plans.csv.gz", index=False)
    assert read_plans(tmp_path)["latitude"].tolist() == plan["latitude"].tolist()


def test_an_archive_without_plans_has_none(tmp_path):
    assert read_plans(tmp_path) is None


def test_a_plan_is_traced_from_airport_to_airport():
    line = trace_plan(pd.DataFrame(NORTH[1:2], columns=["latitude", "longitude"]), *PAIR)
    assert line["progress"].iloc[[0, -1]].tolist() == pytest.approx([0, 1], abs=1e-3)
    nearest = distance(line["latitude"], line["longitude"], *NORTH[1]).min()
    assert nearest < 1e-6
    assert np.diff(line["distance"]).max() < 6


def test_a_plan_lies_where_it_was_filed_at_equal_progress(tmp_path, flights):
    plans = read_back(tmp_path, make_plan(NORTH, flight_id="one"))
    features = build_plan_features(plans, flights)
    rows = pd.MultiIndex.from_product(
        [flights["path"], np.arange(5, 100, 5) / 100], names=["path", "fraction"]
    )
    located = locate_plan(features, rows, *PAIR).loc["LEMD-LEBL/one.csv"]
    line = trace_plan(pd.DataFrame(NORTH, columns=["latitude", "longitude"]), *PAIR)
    for name in ("latitude", "longitude"):
        expected = np.interp(located.index, line["progress"], line[name])
        np.testing.assert_allclose(located[name], expected, atol=0.02)


def test_a_flight_without_a_plan_is_referred_to_the_great_circle(tmp_path, flights):
    plans = read_back(tmp_path, make_plan(NORTH, flight_id="one"))
    features = build_plan_features(plans, flights)
    rows = pd.MultiIndex.from_tuples([("LEMD-LEBL/two.csv", 0.5)], names=["path", "fraction"])
    located = locate_plan(features, rows, *PAIR)
    straight = locate_plan(features * 0, rows, *PAIR)
    pd.testing.assert_frame_equal(located, straight.fillna(located))


def test_deviations_and_the_reference_give_the_targets_again(flights):
    rows = pd.MultiIndex.from_product([flights["path"], [0.3, 0.6]], names=["path", "fraction"])
    rng = np.random.default_rng(1)
    names = ["latitude", "longitude", "altitude"]
    targets = pd.DataFrame(rng.random((len(rows), 3)), rows, names)
    reference = targets[["latitude", "longitude"]] + 1
    deviations = subtract_reference(targets, reference)
    assert deviations["latitude"].to_numpy() == pytest.approx(-1)
    pd.testing.assert_frame_equal(add_reference(deviations, reference), targets)


def test_a_flight_on_its_plan_does_not_deviate(tmp_path, flights):
    plans = read_back(tmp_path, make_plan(NORTH, flight_id="one"))
    features = build_plan_features(plans, flights)
    rows = pd.MultiIndex.from_product(
        [["LEMD-LEBL/one.csv"], [0.2, 0.4, 0.6]], names=["path", "fraction"]
    )
    reference = locate_plan(features, rows, *PAIR)
    assert measure_plan_deviations(reference, reference)["distance"].max() == 0
    north = reference.assign(latitude=reference["latitude"] + 0.5)
    assert (measure_plan_deviations(north, reference)["cross"] < 0).all()


def test_the_offset_from_the_plan_in_flight_is_that_of_the_great_circle_less_the_plans(
    tmp_path, flights
):
    plans = read_back(tmp_path, make_plan(NORTH, flight_id="one"))
    features = build_plan_features(plans, flights)
    state = pd.DataFrame(
        {
            "progress_at_10": 0.25,
            "along_at_10": 70.0,
            "to_go_at_10": 200.0,
            "cross_at_10": -9.0,
            "track_off_at_10": 0.0,
        },
        features.index,
    )
    joined = join_plan_state(features.join(state), 10).loc["LEMD-LEBL/one.csv"]
    assert joined["plan_off_at_10"] == pytest.approx(-9.0 - joined["plan_cross_25"])
    assert joined["plan_turn_at_10"] > 0  # the plan still leads away to the left


def test_the_baseline_plan_is_the_plan_and_the_median_without_one(tmp_path, flights):
    plans = read_back(tmp_path, make_plan(NORTH, flight_id="one"))
    features = build_plan_features(plans, flights)
    rows = pd.MultiIndex.from_product([flights["path"], [0.3, 0.6]], names=["path", "fraction"])
    targets = locate_plan(features, rows, *PAIR).assign(altitude=30_000.0)
    paths = pd.Index(flights["path"])
    tables = predict_plan_baselines(features, targets, [(paths[1:], paths)], *PAIR)
    expected = targets.loc["LEMD-LEBL/one.csv"]
    pd.testing.assert_frame_equal(tables["plan"].loc["LEMD-LEBL/one.csv"], expected)
    median = targets.loc["LEMD-LEBL/two.csv"]
    pd.testing.assert_frame_equal(tables["plan"].loc["LEMD-LEBL/two.csv"], median)


def test_the_usual_deviation_comes_from_training_flights_alone(tmp_path):
    paths = [f"LEMD-LEBL/{n}.csv" for n in range(24)]
    starts = pd.date_range("2016-01-01", periods=24, freq="h", tz="UTC")
    flights = pd.DataFrame({"path": paths, "callsign": None, "start": starts})
    flights = flights.assign(origin="LEMD", destination="LEBL")
    plans = read_back(
        tmp_path,
        *(make_plan(NORTH if n % 2 else SOUTH, flight_id=str(n)) for n in range(24)),
    )
    features = build_plan_features(plans, flights)
    rows = pd.MultiIndex.from_product([paths, [0.3, 0.6]], names=["path", "fraction"])
    plan = locate_plan(features, rows, *PAIR)
    number = rows.get_level_values("path").str.extract(r"/(\d+)")[0].astype(int).to_numpy()
    deviation = np.where(number % 2, 0.1, -0.1) + np.where(number < 2, 5.0, 0.0)
    targets = plan.assign(latitude=plan["latitude"] + deviation)
    split = [(pd.Index(paths[2:]), pd.Index(paths[:2]))]
    tables = predict_plan_baselines(features, targets, split, *PAIR)
    of_route = tables["plan and deviation of its route"]["latitude"] - plan["latitude"]
    assert of_route.dropna().tolist() == pytest.approx([-0.1, -0.1, 0.1, 0.1])


def test_plan_features_are_available_when_planned_and_airborne_ones_later():
    assert {feature_availability(name) for name in PLAN} == {"planned"}
    assert feature_availability("plan_off_at_20") == "airborne_20"
    with pytest.raises(ValueError, match="plan_turn_at_10"):
        check_no_leakage(["plan_length", "plan_turn_at_10"], "at_takeoff")


def test_tfms_plans_are_imported_with_their_waypoints_in_order(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "utils.csv").write_text("FID,FLT_PLAN_ID\n0071,FP_1\n72,FP_1\n73,FP_9\n")
    (source / "plans.csv").write_text(
        "LONGITUDE,LATITUDE,FLT_PLAN_ID\n-3.5,40.5,FP_1\n-1.0,42.0,FP_1\n2.0,41.3,FP_1\n"
    )
    counts = import_plans(source, tmp_path / "archive")
    assert counts.to_dict() == {"0071": 3, "72": 3}
    plan = read_plans(tmp_path / "archive").query("flight_id == '0071'")
    assert plan.sort_values("sequence")["latitude"].tolist() == [40.5, 42.0, 41.3]


def test_so6_m1_is_imported_as_plans_with_levels_and_times(tmp_path):
    line = (
        "A_B LEMD LEBL A320 {} {} {} {} 0 IBE1 160101 160101 "
        "2430.0 -214.0 2520.0 -60.0 99 {} 10.0 0\n"
    )
    segments = line.format("080000", "081000", 0, 310, 1)
    (tmp_path / "day_m1.so6").write_text(segments)
    import_plans(tmp_path / "day_m1.so6", tmp_path / "archive")
    plan = read_plans(tmp_path / "archive")
    assert plan["flight_level"].tolist() == [0, 310]
    assert plan["estimated_time"].dt.strftime("%H:%M").tolist() == ["08:00", "08:10"]


WAYPOINTS = (
    "callsign,departure_time,latitude,longitude,level,eta\n"
    "IBE1,2016-01-01T08:00:00Z,40.5,-3.5,0,2016-01-01T08:00:00Z\n"
    "IBE1,2016-01-01T08:00:00Z,41.3,2.0,80,2016-01-01T08:50:00Z\n"
    "IBE1,2016-01-01T08:00:00Z,42.0,-1.0,310,2016-01-01T08:20:00Z\n"
)
NAMES_OF_WAYPOINTS = 'columns = { altitude = { column = "level", unit = "FL" }, timestamp = "eta" }'


@pytest.fixture
def table_of_plans(tmp_path):
    """A folder for tables of plans that a columns.toml describes."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "columns.toml").write_text(NAMES_OF_WAYPOINTS)
    return folder


def test_plans_by_callsign_and_departure_time_are_imported(tmp_path, table_of_plans):
    (table_of_plans / "plans.csv").write_text(WAYPOINTS)
    assert import_plans(table_of_plans, tmp_path / "archive").tolist() == [3]
    flight = pd.DataFrame(
        {"path": "a.csv", "callsign": "IBE1", "start": [pd.Timestamp("2016-01-01 08:10", tz="UTC")]}
    )
    plan = select_plans(read_plans(tmp_path / "archive"), flight)
    assert plan["flight_level"].tolist() == [0, 310, 80]  # by time


def test_the_waypoints_of_a_table_are_in_the_order_of_its_sequence(tmp_path, table_of_plans):
    header, *lines = WAYPOINTS.splitlines()
    numbered = [f"{line},{number}" for line, number in zip(lines, (2, 1, 3), strict=True)]
    (table_of_plans / "plans.csv").write_text("\n".join([f"{header},sequence", *numbered]))
    import_plans(table_of_plans, tmp_path / "archive")
    plan = read_plans(tmp_path / "archive").sort_values("sequence")
    assert plan["flight_level"].tolist() == [80, 0, 310]


def test_plans_without_times_are_imported(tmp_path, table_of_plans):
    (table_of_plans / "columns.toml").write_text(
        NAMES_OF_WAYPOINTS.partition(", timestamp")[0] + "}"
    )
    lines = [line.rpartition(",")[0] for line in WAYPOINTS.splitlines()]
    (table_of_plans / "plans.csv").write_text("\n".join(lines))
    import_plans(table_of_plans, tmp_path / "archive")
    plan = read_plans(tmp_path / "archive").sort_values("sequence")
    assert plan["flight_level"].tolist() == [0, 80, 310]


def test_plans_without_a_flight_are_refused_with_what_to_do(tmp_path, table_of_plans):
    table = WAYPOINTS.replace("departure_time", "off_block")
    (table_of_plans / "plans.csv").write_text(table)
    with pytest.raises(FileNotFoundError, match="no waypoint has a flight_id, or a callsign and"):
        import_plans(table_of_plans, tmp_path / "archive")


def test_a_source_without_plans_is_refused(tmp_path):
    (tmp_path / "tracks.csv").write_text("FID,Elap_Time,Lat,Lon,Alt\n1,2013-08-01 00:00,1,2,3\n")
    with pytest.raises(FileNotFoundError, match="no flight plans"):
        import_plans(tmp_path, tmp_path / "archive")


@pytest.fixture
def saved_with_plan(tmp_path):
    """A model of flights that fly 0.1 degrees north of the plans that they filed."""
    count = 120
    paths = [f"LEMD-LEBL/{n}.csv" for n in range(count)]
    starts = pd.date_range("2016-01-01", periods=count, freq="8h", tz="UTC")
    flights = pd.DataFrame({"path": paths, "callsign": None, "start": starts})
    flights = flights.assign(
        origin="LEMD", destination="LEBL", operator="IBE", aircraft_type="A320", rejected=None
    )
    rng = np.random.default_rng(1)
    plans = read_back(
        tmp_path,
        *(
            make_plan([NORTH[0], (rng.uniform(40.2, 42), -1.0), NORTH[2]], flight_id=str(n))
            for n in range(count)
        ),
    )
    predictors = build_predictors(flights, "planned", plans=plans)
    rows = pd.MultiIndex.from_product([paths, [0.3, 0.5, 0.7]], names=["path", "fraction"])
    targets = locate_plan(predictors, rows, *PAIR)
    targets["latitude"] += 0.1
    fraction = rows.get_level_values("fraction")
    targets = targets.assign(duration=4000 * fraction, distance=260 * fraction, altitude=40_900.0)
    targets["altitude"] += rng.normal(0, 300, len(rows))
    days = pd.Series(starts.normalize(), pd.Index(paths, name="path"))
    return train_model(
        build_model("lightgbm", trees=10),
        predictors,
        targets,
        days,
        feature_set="planned",
        deviations=True,
        pair="LEMD-LEBL",
        by="route",
    )


def describe_flight():
    start = pd.Timestamp("2016-02-01T08:00Z")
    return build_flight_row(PAIR, start, callsign="IBE9", aircraft_type="A320")


@pytest.mark.parametrize("middle", [40.5, 41.8])
def test_a_saved_model_predicts_the_usual_deviation_from_a_new_plan(
    tmp_path, saved_with_plan, middle
):
    save_model(saved_with_plan, tmp_path / "model")
    saved = load_model(tmp_path / "model")
    plan = tmp_path / "mine.csv"
    plan.write_text(f"latitude,longitude\n40.49,-3.57\n{middle},-1.0\n41.29,2.08\n")
    flight = describe_flight()
    plans = assign_plan(read_plan(plan), flight)
    predicted = predict_flight(saved, flight, plans=plans).trajectory
    features = build_plan_features(plans, flight)
    rows = pd.MultiIndex.from_product([flight["path"], predicted.index], names=["path", "fraction"])
    expected = locate_plan(features, rows, *PAIR)["latitude"].to_numpy() + 0.1
    assert predicted["latitude"].to_numpy() == pytest.approx(expected, abs=0.03)


def test_no_band_is_above_the_ceiling_of_the_aircraft(tmp_path, saved_with_plan):
    flight = describe_flight()
    plans = assign_plan(write_plan(tmp_path, make_plan(NORTH)), flight)
    trajectory = predict_flight(saved_with_plan, flight, plans=plans).trajectory
    assert trajectory["altitude_band_high"].max() == pytest.approx(12_500 / 0.3048)


def test_a_prediction_carries_its_plan_and_the_usual_track(tmp_path, saved_with_plan):
    flight = describe_flight()
    plans = assign_plan(write_plan(tmp_path, make_plan(NORTH)), flight)
    prediction = predict_flight(saved_with_plan, flight, plans=plans)
    positions = prediction.plan[["latitude", "longitude"]].to_numpy()
    np.testing.assert_allclose(positions, NORTH)
    assert prediction.usual["latitude"].between(40.2, 42.2).all()


def test_a_plan_filed_after_take_off_is_refused_for_a_prediction(tmp_path):
    late = write_plan(tmp_path, make_plan(NORTH, filed="2016-02-01T08:30Z"))
    with pytest.raises(ValueError, match="no plan of this flight was filed before"):
        assign_plan(late, describe_flight())


def test_a_plan_of_another_place_is_warned_of(tmp_path, saved_with_plan):
    swapped = [(longitude, latitude) for latitude, longitude in NORTH]
    for route, expected in {tuple(NORTH): 0, tuple(swapped): 1}.items():
        flight = describe_flight()
        plans = assign_plan(write_plan(tmp_path, make_plan(route)), flight)
        warnings = predict_flight(saved_with_plan, flight, plans=plans).warnings
        assert sum("The plan is" in line for line in warnings) == expected


@pytest.fixture
def predict_table(tmp_path, saved_with_plan):
    """Predict two flights with the plans of a file; return the output and the table."""
    folder = tmp_path / "data" / "processed" / "LEMD-LEBL" / "prediction"
    save_model(saved_with_plan, folder / "planned_with_plan")
    flights = [("planned", f"LEMD-LEBL/{n}.csv") for n in range(40)]
    starts = pd.date_range("2016-01-01", periods=len(flights), freq="8h", tz="UTC")
    rows = pd.DataFrame({"path": [path for _, path in flights], "start": starts})
    rows = rows.assign(
        callsign=None,
        origin="LEMD",
        destination="LEBL",
        operator="IBE",
        aircraft_type="A320",
        rejected=None,
    )
    predictors = build_predictors(rows, "planned")
    index = pd.MultiIndex.from_product([rows["path"], [0.3, 0.5, 0.7]], names=["path", "fraction"])
    fraction = index.get_level_values("fraction")
    targets = pd.DataFrame({"latitude": 40.5, "longitude": -3.5 + 5 * fraction}, index)
    targets = targets.assign(duration=4000 * fraction, distance=260 * fraction, altitude=30_000.0)
    days = pd.Series(starts.normalize(), pd.Index(rows["path"], name="path"))
    without = train_model(
        build_model("lightgbm", trees=10),
        predictors,
        targets,
        days,
        feature_set="planned",
        pair="LEMD-LEBL",
        by="route",
    )
    save_model(without, folder / "planned")
    table = "callsign,time\nIBE9,2016-02-01T08:00\nIBE7,2016-02-01T09:00\n"
    (tmp_path / "flights.csv").write_text(table)

    def predict(plan):
        plan.to_csv(tmp_path / "plan.csv", index=False)
        options = ["--origin", "LEMD", "--destination", "LEBL", "--data", tmp_path / "data"]
        files = [tmp_path / "flights.csv", "--plan", tmp_path / "plan.csv", "--output", tmp_path]
        result = CliRunner().invoke(main, ["predict", *map(str, [*options, *files])])
        return result, tmp_path / "flights.predicted.csv"

    return predict


def test_flights_of_a_table_without_a_plan_are_predicted_without_one(predict_table):
    result, file = predict_table(
        make_plan(NORTH, callsign="IBE9", departure_time="2016-02-01T07:50Z")
    )
    assert result.exit_code == 0, result.output
    warned = pd.read_csv(file)["warnings"].str.contains("No plan of the flight is in plan.csv")
    assert warned.tolist() == [False, True]


def test_plans_of_none_of_the_flights_of_a_table_are_refused(predict_table):
    result, _ = predict_table(make_plan(NORTH))
    assert result.exit_code == 1
    assert "no plan is of a flight in the table" in result.output


def test_plans_beside_flights_are_imported_with_them(tmp_path, in_this_process):
    source = tmp_path / "source"
    source.mkdir()
    head = "A_B LEMD LEBL A320 {} {} {} {} 0 IBE1 160101 160101 {} 99 {} 10.0 0\n"
    rows = [
        head.format(f"08{m:02}00", f"08{m + 1:02}00", 99, 99, "2430.0 -214.0 2431.0 -213.0", m)
        for m in range(30)
    ]
    (source / "day_m3.so6").write_text("".join(rows))
    (source / "day.so6").write_text("".join(rows).replace("A_B", "C_D"))
    ends = "2430.0 -214.0 2520.0 -60.0"
    (source / "day_m1.so6").write_text(head.format("080000", "085000", 0, 310, ends, 1))
    result = CliRunner().invoke(main, ["import", str(source), str(tmp_path / "archive")])
    assert result.exit_code == 0, result.output
    assert "plans of 1 flight, 2 waypoints" in result.output
    assert len(read_plans(tmp_path / "archive")) == 2
