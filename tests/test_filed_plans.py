"""Filed plans of simulated flights: waypoints, times of filing, and unchanged flights."""

import pandas as pd
import pytest

from trajlib.archive.plans import read_plans, save_plans, select_plans
from trajlib.features.plan_features import build_plan_features, has_plan
from trajlib.simulation.filed_plans import file_plans
from trajlib.simulation.scenario import AIRWAYS, draw_scenario
from trajlib.simulation.timetable import draw_timetable
from trajlib.simulation.weather import draw_weather


@pytest.fixture(scope="module")
def ground_truth():
    return draw_scenario(draw_timetable(300, seed=1), draw_weather(1), seed=1)


@pytest.fixture(scope="module")
def plans(ground_truth):
    return file_plans(ground_truth, seed=1)


@pytest.fixture(scope="module")
def flights(ground_truth):
    rows = ground_truth.reset_index().rename(columns={"takeoff": "start"})
    return rows[(rows["origin"] == "LEMD") & (rows["destination"] == "LEBL")]


def test_nearly_every_flight_has_a_plan_filed_before_take_off(plans, flights):
    before = plans.merge(flights, left_on="flight_id", right_on="path")
    before = before[before["filed"] < before["start"]]
    assert 0.9 < before["flight_id"].nunique() / len(flights) < 1


def test_plans_name_the_airway_in_use_at_take_off(tmp_path, plans, flights):
    save_plans(plans, tmp_path)
    features = build_plan_features(read_plans(tmp_path), flights)
    features = features[has_plan(features)]
    offset = flights.set_index("path")["airway_offset"][features.index]
    airways = pd.Series(AIRWAYS)
    expected = offset.map(lambda value: (airways - value).abs().idxmin()).map(airways)
    # cross is to the right, the airway's offset to the left
    assert (features["plan_cross_40"] + expected).abs().max() < 3


def test_some_plans_are_amended_in_flight_to_a_direct_route(tmp_path, plans, flights):
    save_plans(plans, tmp_path)
    filed = read_plans(tmp_path)
    before = select_plans(filed, flights).groupby(level="path").size()
    later = select_plans(filed, flights, minutes=30).groupby(level="path").size()
    direct = flights.set_index("path")["direct"][before.index].ne("")
    assert (before == 6).all()
    assert (later < before)[direct].any()
    assert not (later < before)[~direct].any()


@pytest.mark.slow
def test_the_plans_of_a_seed_are_the_same(ground_truth, plans):
    pd.testing.assert_frame_equal(file_plans(ground_truth, seed=1), plans)
    assert not file_plans(ground_truth, seed=2).equals(plans)


def test_an_archive_of_simulated_flights_has_plans_beside_it(tiny_archive):
    plans = read_plans(tiny_archive)
    truth = pd.read_parquet(tiny_archive / "ground_truth.parquet")
    assert set(plans["flight_id"]) <= set(truth.index)
    assert plans["flight_id"].nunique() > 0.9 * len(truth)
