from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from trajlib.geodesy import distance, find_airport
from trajlib.trajectories.progress import (
    PROGRESS,
    align_to,
    distance_to_go,
    measure_hidden_time,
    measure_reversals,
    own_route_progress,
    route_progress,
    summarize_reversals,
)

MADRID, BARCELONA = find_airport("LEMD"), find_airport("LEBL")
GEOD = Geod(ellps="WGS84")


def make_flight(lat, lon, seconds=1.0):
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    steps = distance(lat[:-1], lon[:-1], lat[1:], lon[1:])
    df = pd.DataFrame({"duration": seconds * np.arange(len(lat)), "latitude": lat})
    df = df.assign(longitude=lon, altitude=9000.0, distance=np.append(0, np.cumsum(steps)))
    df.attrs = {"origin": "LEMD", "destination": "LEBL"}
    return df


def fly_to(*nautical_miles, seconds=1.0):
    """Return a flight along the geodesic to each of these distances from the origin in turn."""
    azimuth, _, _ = GEOD.inv(*MADRID[3:1:-1], *BARCELONA[3:1:-1])
    legs = [np.arange(a, b, 0.1 * np.sign(b - a)) for a, b in pairwise(nautical_miles)]
    run = np.append(np.concatenate(legs), nautical_miles[-1]) * 1852
    start = np.full((len(run), 3), [MADRID.longitude, MADRID.latitude, azimuth])
    lon, lat, _ = GEOD.fwd(*start.T, run)
    return make_flight(lat, lon, seconds)


def measure(df, progress):
    return progress(df, "LEMD", "LEBL")


@st.composite
def wandering_flights(draw):
    degrees = st.lists(st.floats(-2, 2), min_size=6, max_size=40)
    lat, lon = draw(degrees), draw(degrees)
    size = min(len(lat), len(lon))
    return make_flight(40.5 + np.array(lat[:size]), -1.0 + np.array(lon[:size]), seconds=7.0)


@given(wandering_flights())
def test_progress_never_falls_and_stays_between_0_and_1(df):
    for progress in PROGRESS.values():
        values = measure(df, progress)
        assert (np.diff(values) >= 0).all()
        assert values.min() >= 0
        assert values.max() <= 1


@given(wandering_flights())
def test_distance_to_go_grows_to_0_at_most(df):
    values = measure(df, distance_to_go)
    assert (np.diff(values) >= 0).all()
    assert values.max() <= 0


@given(wandering_flights(), st.integers(0, 4))
def test_route_progress_of_a_position_does_not_depend_on_where_the_record_starts(df, dropped):
    shorter = df.iloc[dropped:].reset_index(drop=True)
    shorter.attrs = df.attrs
    whole, part = measure(df, route_progress)[dropped:], measure(shorter, route_progress)
    ahead = whole > whole[0]  # progress before the cut is not reached again
    assert part[ahead] == pytest.approx(whole[ahead])


def test_progress_between_first_and_last_sample_depends_on_where_the_record_starts():
    early, late = fly_to(0, 200), fly_to(20, 200)
    at_100 = [measure(df, own_route_progress)[(df["distance"] - d).abs().argmin()]
              for df, d in ((early, 100), (late, 80))]  # fmt: skip
    assert at_100 == pytest.approx([0.5, 80 / 180], abs=1e-3)
    ends = measure(late, own_route_progress)[[0, -1]]
    assert ends == pytest.approx([0, 1])


def test_a_flight_that_does_not_move_makes_no_progress_in_distance():
    df = make_flight([40.5] * 3, [-3.5] * 3)
    assert measure(df, PROGRESS["distance"]).tolist() == [0, 0, 0]


def test_a_distance_that_starts_above_0_and_falls_gives_progress_from_0_to_1():
    df = pd.DataFrame({"distance": [5.0, 8.0, 7.0, 9.0]})
    assert measure(df, PROGRESS["distance"]).tolist() == [0, 0.75, 0.75, 1]


def test_distances_computed_every_5_s_have_small_errors_and_only_where_a_flight_turns():
    df = fly_to(0, 150, 140, 240)  # at 360 kt
    missed = np.abs(-measure(df, distance_to_go) - np.minimum.accumulate(exact_to_go(df)))
    assert missed.max() < 0.25  # half of what is flown in 5 s
    assert np.median(missed) < 1e-6


def exact_to_go(df):
    return distance(df["latitude"], df["longitude"], BARCELONA.latitude, BARCELONA.longitude)


def test_turning_back_is_measured_in_the_variables_unit():
    table = measure_reversals(fly_to(0, 150, 140, 240))
    assert table.loc["distance_to_go", "reversal"] == pytest.approx(10, abs=0.01)
    assert table.loc["distance_from_origin", "reversal"] == pytest.approx(10, abs=0.01)
    assert table.loc[["duration", "distance"], "reversal"].tolist() == [0, 0]


def test_a_falling_variable_is_monotonic_and_a_constant_one_stands_still():
    df = fly_to(0, 200).assign(mass=lambda df: 60_000 - df["duration"])
    table = measure_reversals(df)
    assert table.loc["mass"].tolist() == [0, 0]
    assert table.loc["altitude"].tolist() == [0, pytest.approx(1)]


def test_the_time_a_flight_takes_to_come_back_to_where_it_was_is_still():
    df = fly_to(0, 150, 140, 240)  # 20 of 260 NM, at one speed
    assert measure_reversals(df).loc["distance_to_go", "still"] == pytest.approx(20 / 260, abs=2e-3)
    hidden = measure_hidden_time(df)
    assert hidden.loc["route", "still"] == pytest.approx(20 / 260, abs=2e-3)
    assert hidden.loc[["time", "distance"], "still"].tolist() == [0, 0]


def test_time_beyond_the_last_fraction_is_hidden():
    df = fly_to(0, 0.6 * distance(*MADRID[2:4], *BARCELONA[2:4]))
    hidden = measure_hidden_time(df, np.array([0, 0.3, 0.9])).loc["route"]
    assert hidden["beyond"] == pytest.approx(0.5, abs=2e-3)
    assert hidden["hidden"] == hidden["beyond"]
    assert hidden["late"] == 0
    late = measure_hidden_time(fly_to(0, distance(*MADRID[2:4], *BARCELONA[2:4])))["late"]
    assert late.to_numpy() == pytest.approx(0.05, abs=2e-3)


def test_variables_that_only_grow_come_first_and_rounding_is_no_reversal():
    index = pd.MultiIndex.from_product([["a", "b"], ["altitude", "duration", "distance_to_go"]])
    reversals = pd.DataFrame(
        {"reversal": [500.0, 0.0, 0.0005, 300.0, 0.0, 2.0], "still": 0.0},
        index.set_names(["path", "variable"]),
    )
    table = summarize_reversals(reversals)
    assert table["reverse"].to_dict() == {"duration": 0, "distance_to_go": 0.5, "altitude": 1}
    assert table.loc["altitude", ["median", "largest"]].tolist() == [400, 500]
    assert table["unit"].tolist() == ["s", "NM", "ft"]


def test_the_progress_of_a_flight_aligned_to_itself_is_its_distance():
    df = fly_to(0, 120)
    assert measure(df, align_to(df)) == pytest.approx(
        df["distance"] / df["distance"].max(), abs=0.01
    )


def test_a_detour_is_matched_to_the_position_where_it_leaves_the_route():
    reference, detour = fly_to(0, 120), fly_to(0, 60, 45, 120)
    aligned = measure(detour, align_to(reference))
    assert aligned[600] == pytest.approx(0.5, abs=0.07)  # no growth while turning back
    assert aligned[900] == pytest.approx(0.5, abs=0.07)
    later = detour["distance"] > 100
    assert aligned[later] == pytest.approx((detour["distance"][later] - 30) / 120, abs=0.02)


@given(wandering_flights())
def test_an_alignment_never_falls_and_goes_from_end_to_end(df):
    if df["distance"].iloc[-1] == 0:
        return
    aligned = measure(df, align_to(fly_to(0, 120)))
    assert (np.diff(aligned) >= 0).all()
    assert aligned[[0, -1]] == pytest.approx([0, 1])
