"""Errors of points: each kind is found and counted, and no other kind."""

import numpy as np
import pandas as pd
import pytest
from surveillance import fly, observe

from trajlib.importers.cleaning import REPAIRS, Limits, clean_points
from trajlib.importers.segmentation import find_ground

LIMITS = Limits()
RADAR = Limits(spacing=30.0, tolerance=2.0)


def flight(step=10, number=0):
    return fly().iloc[::step].reset_index(drop=True).assign(flight=number)


def repairs(points, limits=LIMITS):
    counts = clean_points(points, limits)[1].iloc[0]
    return counts[counts > 0].to_dict()


def test_a_clean_flight_is_unchanged():
    points = flight()
    cleaned, counts = clean_points(points, LIMITS)
    pd.testing.assert_frame_equal(cleaned, points)
    assert not counts.to_numpy().any()
    assert list(counts) == list(REPAIRS)


def test_the_second_point_at_the_same_time_is_removed():
    points = flight().iloc[[0, 1, 1, 2, 3, 4]].reset_index(drop=True)
    points.loc[2, "latitude"] += 0.001
    cleaned, _ = clean_points(points, LIMITS)
    assert cleaned["latitude"].tolist() == points["latitude"].drop(2).tolist()
    assert repairs(points) == {"repeated": 1}


def test_another_aircraft_at_the_same_time_is_no_repetition():
    points = flight()
    other = points.assign(latitude=points["latitude"] + 0.3)  # 18 NM away
    both = pd.concat([points, other.iloc[::2]]).sort_values("timestamp", kind="stable")
    counts = repairs(both.reset_index(drop=True))
    assert "repeated" not in counts
    assert sum(counts.values()) == len(other.iloc[::2])


def test_disorder_is_counted():
    assert repairs(flight().assign(disordered=np.arange(330) % 110 == 5)) == {"out_of_order": 3}


def test_a_position_that_is_repeated_until_the_next_one_is_left_out():
    points = flight()
    points.loc[101:104, ["latitude", "longitude"]] = points.loc[
        100, ["latitude", "longitude"]
    ].tolist()
    assert repairs(points) == {"stale_position": 4}


def test_the_time_of_a_position_shows_that_it_is_stale():
    points = flight().assign(position_time=lambda df: df["timestamp"])
    points.loc[101:103, "position_time"] = points.loc[100, "position_time"]
    points.loc[101:103, "latitude"] += 0.0001
    assert repairs(points) == {"stale_position": 3}


def test_an_aircraft_that_stands_is_not_stale():
    points = flight()
    points[["latitude", "longitude"]] = points.loc[0, ["latitude", "longitude"]].tolist()
    assert "stale_position" not in repairs(points.assign(groundspeed=5.0, onground=False))


@pytest.mark.parametrize("index", [0, 150, 329])
def test_a_position_out_of_reach_is_left_out(index):
    points = flight()
    points.loc[index, "latitude"] += 3
    assert repairs(points) == {"unreachable": 1}


@pytest.mark.parametrize("speed", [-480.0, -1.0, 9999.0])
def test_an_impossible_groundspeed_is_removed_and_its_position_kept(speed):
    points = flight()
    points.loc[[100, 101], "groundspeed"] = speed
    cleaned, counts = clean_points(points, LIMITS)
    assert counts.loc[0, "impossible_speed"] == 2
    assert cleaned["groundspeed"].isna().sum() == 2
    assert len(cleaned) == len(points)
    assert find_ground(np.array([5000.0]), np.array([-1.0]), np.array([np.nan])).tolist() == [-1]


def test_a_series_of_distant_positions_is_spoofed():
    points = flight()
    points.loc[100:130, ["latitude", "longitude"]] += [5.0, 7.0]
    assert repairs(points) == {"spoofed": 31}


def test_an_impossible_altitude_is_removed_and_its_position_kept():
    points = flight()
    points.loc[50, "altitude"] = 99_999.0
    points.loc[80:82, "altitude"] += 9000
    cleaned, _ = clean_points(points, LIMITS)
    assert len(cleaned) == len(points)
    assert np.flatnonzero(cleaned["altitude"].isna()).tolist() == [50, 80, 81, 82]
    assert repairs(points) == {"altitude_spike": 4}


@pytest.mark.parametrize("source", ["geoaltitude", "vertical_rate"])
def test_an_altitude_that_freezes_in_a_climb_is_removed(source):
    points = flight()
    climb = np.gradient(points["altitude"]) * 6
    values = {"geoaltitude": points["altitude"] + 300, "vertical_rate": climb}
    points = points.assign(**{source: values[source]})
    points.loc[21:40, "altitude"] = points.loc[20, "altitude"]
    counts = repairs(points)
    assert counts["frozen_altitude"] >= 18


def test_a_level_flight_is_not_frozen():
    points = flight().assign(altitude=33_000.0, vertical_rate=30.0)
    weather = 33_500 + np.linspace(0, 900, len(points))  # the pressure changes along the flight
    assert repairs(points.assign(geoaltitude=weather)) == {}


def final_approach(level, seconds, speed=140.0):
    """Return a flight whose last points have an assigned level instead of the altitude."""
    points = observe(fly(), arc_minutes=0).assign(flight=0)
    points = points[points["timestamp"].diff().dt.total_seconds().fillna(60) >= 30]
    points = points.reset_index(drop=True)
    last = points.iloc[-1:].copy()
    last["timestamp"] += pd.Timedelta(seconds, "s")
    last["altitude"], last["groundspeed"] = float(level), speed
    last["latitude"] += 0.01
    return pd.concat([points, last], ignore_index=True)


@pytest.mark.parametrize(
    ("level", "seconds"),
    [(4000, 40), (6000, 90), (11_000, 122), (7000, 150), (2134 / 0.3048, 183)],  # 7,000 ft in m
)
def test_an_assigned_level_over_the_runway_is_no_climb(level, seconds):
    counts = repairs(final_approach(level, seconds), RADAR)
    counts.pop("too_close", None)
    assert sum(counts.values()) == 1
    assert set(counts) <= {"assigned_altitude", "altitude_spike"}


def test_a_climb_that_an_aircraft_can_make_stays():
    assert "assigned_altitude" not in repairs(final_approach(2000, 120, speed=190.0), RADAR)


def test_a_level_that_is_left_in_a_steep_descent_is_an_altitude():
    points = flight(step=60).iloc[:5].reset_index(drop=True)
    points["timestamp"] += pd.to_timedelta([0, 0, 240, 360, 480], unit="s")
    points["altitude"] = [31_000.0, 32_500, 37_000, 27_400, 21_300]
    assert "assigned_altitude" not in repairs(points)


def test_a_level_at_the_beginning_and_one_on_the_way_are_found():
    points = flight(step=60)
    points.loc[0, "altitude"] = 5000.0
    points.loc[3, "altitude"] = np.ceil(points.loc[3, "altitude"] / 1000) * 1000 + 4000
    counts = repairs(points)
    assert counts == {"assigned_altitude": 2}


def test_a_missing_altitude_on_the_ground_is_that_of_the_take_off():
    points = flight().assign(onground=False)
    ground = points.iloc[:1].copy()
    ground["timestamp"] -= pd.Timedelta("20s")
    ground["latitude"] += 0.002
    ground = ground.assign(altitude=np.nan, onground=True)
    points = pd.concat([ground, points], ignore_index=True)
    cleaned, counts = clean_points(points, LIMITS)
    assert cleaned["altitude"].iloc[0] == points["altitude"].iloc[1]
    assert counts["ground_altitude"].tolist() == [1]


def test_a_missing_altitude_in_the_air_stays_missing():
    points = flight().assign(onground=False)
    points.loc[100, "altitude"] = np.nan
    assert np.isnan(clean_points(points, LIMITS)[0]["altitude"].iloc[100])


def test_repairs_are_counted_for_each_flight():
    points = pd.concat([flight(number=number) for number in range(3)], ignore_index=True)
    points.loc[330 + 100, "latitude"] += 3
    assert clean_points(points, LIMITS)[1]["unreachable"].tolist() == [0, 1, 0]


def test_thinning_the_points_of_two_radars_depends_on_earlier_points_only():
    points = observe(fly()).assign(flight=0)
    whole, _ = clean_points(points, RADAR)
    assert (whole["timestamp"].diff().iloc[1:] >= pd.Timedelta("30s")).all()
    cut, _ = clean_points(points.iloc[:20], RADAR)
    assert whole["timestamp"].iloc[: len(cut)].tolist() == cut["timestamp"].tolist()


def test_an_altitude_on_the_ground_is_that_of_the_same_flight_within_two_minutes():
    points = flight().assign(onground=False)
    last = points.iloc[-1:].assign(altitude=np.nan, onground=True)
    for seconds, filled in ((110, 1), (130, 0)):
        late = last.assign(timestamp=last["timestamp"] + pd.Timedelta(seconds, "s"))
        late["latitude"] -= 0.002
        other = flight(number=1).assign(onground=False)
        both = pd.concat([points, late, other], ignore_index=True)
        _, counts = clean_points(both, LIMITS)
        assert counts["ground_altitude"].tolist() == [filled, 0]
