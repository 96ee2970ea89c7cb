"""Segmentation: which points belong to one flight."""

import numpy as np
import pandas as pd
import pytest
from surveillance import fly

from trajlib.importers.segmentation import (
    find_ground,
    find_stops,
    find_taxiing,
    get_numbers,
    segment_flights,
    split_tracks,
)

MINUTE = pd.Timedelta("1min")


def leg(start, callsign="IBE1", back=False, step=60):
    """Return a flight SFO → LAX, or back, with a minute of taxi at either end."""
    points = fly()[["latitude", "longitude", "altitude", "groundspeed"]]
    points = points.iloc[::step].reset_index(drop=True)
    ground = points.iloc[[0, -1]].assign(groundspeed=10.0, altitude=np.nan)
    points = pd.concat([ground.iloc[:1], points, ground.iloc[1:]], ignore_index=True)
    if back:
        points = points.iloc[::-1].reset_index(drop=True)
    time = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.arange(len(points)) * step, "s")
    onground = points["altitude"].isna()
    return points.assign(timestamp=time.as_unit("ms"), callsign=callsign, onground=onground)


def join(*legs, aircraft=0):
    points = pd.concat(legs, ignore_index=True).assign(aircraft=aircraft)
    return points.sort_values("timestamp", kind="stable", ignore_index=True)


def count(points, **options):
    return segment_flights(points, **options).max() + 1


def without_ground(points):
    return points[~points["onground"]].drop(columns="onground")


def test_two_legs_with_a_stop_are_two_flights():
    points = join(leg("2020-01-01T10:00"), leg("2020-01-01T12:00", back=True))
    flight = segment_flights(points)
    assert flight.tolist() == sorted(flight.tolist())
    assert np.bincount(flight).tolist() == [57, 57]


def test_two_legs_without_points_on_the_ground_are_two_flights():
    points = join(leg("2020-01-01T10:00"), leg("2020-01-01T11:20", back=True))
    assert count(without_ground(points)) == 2


@pytest.mark.parametrize(("minutes", "flights"), [(5, 2), (1, 1)])
def test_a_stop_is_found_by_positions_without_speed_and_state(minutes, flights):
    there = leg("2020-01-01T10:00", step=10)
    landed = there["timestamp"].iloc[-1]
    times = landed + pd.to_timedelta(np.arange(10, 60 * minutes + 1, 10), "s")
    stand = there.iloc[[-1] * len(times)].assign(timestamp=times, altitude=100.0)
    back = leg((times[-1] + pd.Timedelta("10s")).tz_localize(None), back=True, step=10)
    points = join(there, stand, back).drop(columns=["groundspeed", "onground"])
    assert count(points.assign(onground=find_stops(points))) == flights


def test_a_glider_that_circles_and_a_position_that_is_stale_do_not_stop():
    seconds = np.arange(0, 1200, 5)
    angle = seconds / 25 * 2 * np.pi
    points = pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(seconds, "s"),
            "latitude": 42.0 + np.sin(angle) * 0.001,
            "longitude": 2.0 + np.cos(angle) * 0.001,
            "altitude": 3000.0 + seconds * 3,
            "aircraft": 0,
        }
    )
    assert not (find_stops(points) == 1).any()
    stale = points.assign(latitude=42.0, longitude=2.0, altitude=35_000.0)
    assert not (find_stops(stale) == 1).any()


def test_a_short_stop_is_found_by_a_change_of_callsign():
    first, second = leg("2020-01-01T10:00"), leg("2020-01-01T11:06", back=True)
    assert count(without_ground(join(first, second))) == 1
    assert count(without_ground(join(first, second.assign(callsign="IBE2")))) == 2


def test_a_callsign_that_changes_in_the_air_is_no_new_flight():
    points = leg("2020-01-01T10:00")
    points.loc[30:, "callsign"] = "IBE1A"
    assert count(join(points)) == 1


def test_a_gap_over_an_ocean_is_no_landing():
    points = without_ground(join(leg("2020-01-01T10:00")))
    assert count(points.drop(index=range(10, 45))) == 1


def test_a_long_gap_at_one_place_may_hide_a_landing():
    points = without_ground(join(leg("2020-01-01T10:00")))
    points.loc[30:, "timestamp"] += 90 * MINUTE
    assert count(points) == 2


def test_a_touch_and_go_is_no_landing():
    points = join(leg("2020-01-01T10:00", step=30))
    points.loc[50:52, "onground"] = True
    assert count(points) == 1


def test_a_stop_is_cut_at_its_longest_standstill():
    taxi = leg("2020-01-01T10:00").iloc[[-1] * 30]
    parked = np.r_[[12.0] * 5, [0.0] * 20, [12.0] * 5]
    times = taxi["timestamp"] + pd.to_timedelta(np.arange(1, 31), "min")
    taxi = taxi.assign(groundspeed=parked, timestamp=times.dt.as_unit("ms"))
    points = join(leg("2020-01-01T10:00"), taxi, leg("2020-01-01T11:35", back=True))
    assert np.bincount(segment_flights(points)).tolist() == [57 + 25, 5 + 57]


def test_a_flight_goes_on_over_midnight():
    assert count(join(leg("2020-01-01T23:30"))) == 1


def test_points_on_the_ground_alone_are_no_flight():
    points = join(leg("2020-01-01T10:00")).assign(onground=True, groundspeed=0.0)
    assert (segment_flights(points) == -1).all()


def test_the_points_of_a_flight_id_are_one_flight_whatever_it_did():
    points = join(leg("2020-01-01T10:00"), leg("2020-01-01T12:00", back=True))
    assert count(points, identified=True) == 1
    later = join(leg("2020-01-01T10:00"), leg("2020-01-02T10:00"))
    assert count(later, identified=True) == 2


def test_two_aircraft_are_two_flights():
    points = pd.concat([join(leg("2020-01-01T10:00"), aircraft=n) for n in range(2)])
    assert count(points.reset_index(drop=True)) == 2


def test_two_aircraft_that_share_a_callsign_are_two_tracks():
    first = leg("2020-01-01T10:00").assign(which=0)
    second = leg("2020-01-01T10:00:30").assign(which=1)
    second["longitude"] += 20
    points = join(first, second)
    seconds = points["timestamp"].astype("int64").to_numpy() / 1000
    position = points["latitude"].to_numpy(), points["longitude"].to_numpy()
    track = split_tracks(points["aircraft"].to_numpy(), seconds, *position, 1000.0, 30.0)
    assert (track == points["which"]).all()


def test_contradictory_radars_are_one_track():
    points = join(leg("2020-01-01T10:00", step=5))
    points.loc[::2, "longitude"] += 0.1
    seconds = points["timestamp"].astype("int64").to_numpy() / 1000
    position = points["latitude"].to_numpy(), points["longitude"].to_numpy()
    assert not split_tracks(points["aircraft"].to_numpy(), seconds, *position, 1000.0, 30.0).any()


@pytest.mark.parametrize("reported", [True, False])
def test_one_point_on_the_ground_stays_at_either_end(reported):
    points = join(leg("2020-01-01T10:00"))
    points = pd.concat([points.iloc[[0] * 3], points.iloc[1:-1], points.iloc[[-1] * 3]])
    points = points.assign(flight=0).reset_index(drop=True)
    if not reported:
        points = points.drop(columns="onground")
    names = ("altitude", "groundspeed", "onground")
    ground = find_ground(*(get_numbers(points, name) for name in names))
    taxiing = find_taxiing(points["flight"].to_numpy(), ground)
    assert np.flatnonzero(taxiing).tolist() == [0, 1, len(points) - 2, len(points) - 1]
