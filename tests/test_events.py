from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajlib.features.feature_sets import FEATURE_SETS
from trajlib.geodesy import distance, find_airport
from trajlib.simulation.procedures import lay_path
from trajlib.simulation.profiles import plan_profile
from trajlib.simulation.scenario import draw_scenario
from trajlib.simulation.simulate import fly as simulate
from trajlib.simulation.timetable import draw_timetable
from trajlib.simulation.weather import draw_weather
from trajlib.trajectories.events import FEATURES, LONG_GAP, measure_features

BARCELONA = find_airport("LEBL")
PROFILE = {0: 300, 1200: 34_300, 3000: 34_300, 3600: 14_300, 3900: 14_300, 4500: 1_300}  # s: ft


def fly(turns, *, speed=360.0, profile=PROFILE, wind=None):
    """Return a flight to Barcelona at a constant speed [kt], with a turn rate [deg/s] per second.

    Positions are computed on a plane where 1 NM is 1/60° of latitude, with an error below 0.5 %.
    """
    track = (np.cumsum(turns) + 90.0) % 360
    step = speed / 3600 * np.exp(1j * np.radians(90 - track))
    position = np.cumsum(step) - np.sum(step)
    seconds = np.arange(float(len(track)))
    lat = BARCELONA.latitude + position.imag / 60
    df = pd.DataFrame({"duration": seconds, "latitude": lat})
    df["longitude"] = BARCELONA.longitude + position.real / 60 / np.cos(np.radians(lat))
    df["altitude"] = np.interp(seconds, list(profile), list(profile.values()))
    df = df.assign(distance=seconds * speed / 3600, groundspeed=speed, track=track)
    df.attrs = {"destination": "LEBL"}
    return df if wind is None else df.assign(wind_u=wind[0], wind_v=wind[1])


def racetrack(laps, *, side=1):
    """Return the turn rates of a hold: straight in, four-minute laps to one side, straight out."""
    lap = [np.full(60, 3.0 * side), np.zeros(60)] * 2
    return np.concatenate([np.zeros(900), *lap * laps, np.zeros(900)])


STRAIGHT = np.zeros(4501)


def test_tops_and_phases_are_where_the_profile_bends():
    measured = measure_features(fly(STRAIGHT))
    assert measured["top_of_climb_time"] == pytest.approx(1200, abs=10)
    assert measured["top_of_climb_distance"] == pytest.approx(120, abs=1)
    assert measured["top_of_descent_time"] == pytest.approx(3000, abs=10)
    assert measured["top_of_descent_distance"] == pytest.approx(150, abs=1)
    assert measured["cruise_time"] == pytest.approx(1800, abs=20)
    assert measured["descent_time"] == pytest.approx(1500, abs=10)


def test_a_step_climb_is_cruise_and_a_level_stretch_of_the_descent_is_not():
    steps = {0: 300, 1200: 34_300, 2000: 34_300, 2100: 36_300, 3000: 36_300, 4000: 1_300}
    measured = measure_features(fly(STRAIGHT[:4001], profile=steps))
    assert measured["top_of_climb_time"] == pytest.approx(1200, abs=10)
    assert measured["cruise_time"] == pytest.approx(1800, abs=20)
    assert measured["level_segments"] == 0
    measured = measure_features(fly(STRAIGHT))
    assert (measured["level_segments"], measured["level_time"]) == (1, pytest.approx(300, abs=20))


def test_energy_grows_as_the_flight_climbs_and_as_it_gains_speed():
    df = fly(STRAIGHT)
    assert measure_features(df)["energy_rate_climb"] == pytest.approx(34_000 / 20, rel=0.01)
    assert measure_features(df)["energy_rate_descent"] == pytest.approx(-33_000 / 25, rel=0.01)
    faster = df.assign(groundspeed=np.interp(df["duration"], [0, 1200], [160, 460]))
    gained = (460**2 - 160**2) * (1852 / 3600) ** 2 / (2 * 9.80665) / 0.3048  # ft
    rate = measure_features(faster)["energy_rate_climb"]
    assert rate == pytest.approx((34_000 + gained) / 20, rel=0.01)
    still = faster.assign(true_airspeed=300.0)  # wind adds no energy
    assert measure_features(still)["energy_rate_climb"] == pytest.approx(34_000 / 20, rel=0.01)


@pytest.mark.parametrize("side", [-1, 1], ids=["left", "right"])
@pytest.mark.parametrize("laps", [0, 1, 3])
def test_the_laps_and_the_time_of_a_hold_are_measured(laps, side):
    measured = measure_features(fly(racetrack(laps, side=side), speed=240.0))
    assert measured["holding_laps"] == laps
    assert measured["holding_time"] == pytest.approx(240 * laps, abs=20 * max(laps, 1))


@pytest.mark.parametrize(
    "turns",
    [
        [np.zeros(900), np.full(60, 3.0), np.zeros(300), np.full(60, 3.0), np.zeros(300)],
        [np.zeros(300), np.full(60, 3.0), np.zeros(300), np.full(60, -3.0), np.zeros(300)],
        [np.zeros(60), np.full(1200, 0.3), np.zeros(60)],
    ],
    ids=["downwind and final", "there and back again", "a circle of twenty minutes"],
)
def test_turns_that_do_not_return_soon_are_no_hold(turns):
    assert measure_features(fly(np.concatenate(turns)))["holding_laps"] == 0


def approach(*heights, step=300):
    """Return a flight that ends with heights [ft above Barcelona], one every ``step`` seconds."""
    times = range(3300, 3300 + step * len(heights), step)
    last = {time: BARCELONA.elevation + height for time, height in zip(times, heights, strict=True)}
    df = fly(np.zeros(max(times) + 1), profile={0: 300, 1200: 30_000, 3000: 10_000, **last})
    near = df["duration"] > 3100  # every point after this is over Barcelona
    return df.assign(
        latitude=df["latitude"].where(~near, BARCELONA.latitude),
        longitude=df["longitude"].where(~near, BARCELONA.longitude + 0.05),
    )


@pytest.mark.parametrize(
    ("heights", "count"),
    [
        ([4000, 1000, 0], 0),
        ([4000, 500, 3500, 0], 1),
        ([3000, 500, 3500, 500, 3500, 0], 2),
        ([6000, 4000, 6000, 0], 0),  # not low enough to have been an approach
        ([2000, 2600, 2000, 0], 0),  # not climbed enough
    ],
)
def test_a_go_around_is_a_climb_between_two_low_approaches(heights, count):
    assert measure_features(approach(*heights))["go_arounds"] == count


@pytest.mark.parametrize("step", [10, 60, 180])
def test_an_assigned_altitude_reported_over_the_runway_is_no_go_around(step):
    last_point = approach(4000, 2000, 500, 6000, step=step)
    assert measure_features(last_point)["go_arounds"] == 0


@pytest.mark.parametrize("step", [10, 60, 120])
def test_an_assigned_altitude_reported_on_the_approach_is_no_go_around(step):
    one_point = approach(3000, 1500, 6000, 500, 0, step=step)
    assert measure_features(one_point)["go_arounds"] == 0


def test_excess_distance_is_what_turning_adds_to_the_geodesic():
    straight, holding = (measure_features(fly(racetrack(n), speed=240.0)) for n in (0, 3))
    assert straight["excess_distance"] == pytest.approx(0, abs=0.5)
    added = holding["excess_distance"] - straight["excess_distance"]
    assert added == pytest.approx(3 * 240 * 240 / 3600, rel=0.02)
    df = fly(racetrack(0))
    ends = df[["latitude", "longitude"]].to_numpy()[[0, -1]].ravel()
    df = df.assign(distance=df["distance"] / df["distance"].max() * (distance(*ends) + 7))
    assert measure_features(df)["excess_distance"] == pytest.approx(7, abs=0.01)


@pytest.mark.parametrize(
    ("wind", "along"), [((30, 0), 30), ((-30, 0), -30), ((0, 30), 0)], ids=["tail", "head", "cross"]
)
def test_wind_along_the_track_is_positive_from_behind(wind, along):
    assert measure_features(fly(STRAIGHT, wind=wind))["along_wind"] == pytest.approx(along)


def test_without_a_wind_there_is_no_mean_wind():
    assert np.isnan(measure_features(fly(STRAIGHT))["along_wind"])


def hide(df, start, end):
    """Return the flight, unobserved between two times [s]."""
    seconds = df["duration"].to_numpy()
    gap = np.where((seconds > start) & (seconds < end), LONG_GAP + 1, 0.0)
    return df.assign(gap=gap)


@pytest.mark.parametrize("has_gap_column", [True, False], ids=["gap column", "missing rows"])
def test_nothing_is_computed_across_a_long_gap(has_gap_column):
    df = fly(STRAIGHT)
    hidden = hide(df, 900, 1500)  # the top of climb
    if not has_gap_column:
        hidden = df[hidden["gap"] == 0]
        hidden.attrs = df.attrs
    measured = pd.Series(measure_features(hidden))
    missing = set(measured.index[measured.isna()])
    assert {"top_of_climb_time", "cruise_time", "energy_rate_climb", "excess_distance"} <= missing
    assert measured["descent_time"] == pytest.approx(1500, abs=10)  # observed


def test_the_time_of_a_top_is_known_despite_a_gap_before_it():
    measured = measure_features(hide(fly(STRAIGHT), 300, 700))  # in the climb
    whole = measure_features(fly(STRAIGHT))
    for name in ("top_of_climb_time", "top_of_descent_time", "cruise_time", "descent_time"):
        assert measured[name] == pytest.approx(whole[name], abs=10)
    assert np.isnan(measured["top_of_climb_distance"])


def test_a_top_that_may_be_in_a_gap_has_no_time():
    df = fly(STRAIGHT)
    altitude = df["altitude"].to_numpy(copy=True)
    seconds = df["duration"].to_numpy()
    altitude[(seconds > 1490) & (seconds < 1640)] += 100  # not level after the gap
    climbed = hide(df.assign(altitude=altitude), 900, 1500)
    climbed.attrs = df.attrs
    measured = measure_features(climbed)
    assert np.isnan(measured["top_of_climb_time"])
    assert np.isnan(measured["cruise_time"])
    assert np.isfinite(measured["top_of_descent_time"])


def test_an_unobserved_hold_or_go_around_is_not_counted():
    holding = fly(racetrack(1), speed=240.0)
    assert measure_features(hide(holding, 950, 1100))["holding_laps"] == 0
    again = approach(4000, 500, 3500, 0)
    assert measure_features(hide(again, 3600, 3900))["go_arounds"] == 0


@pytest.mark.parametrize("longitude", [0.0, -120.0, 179.0])
def test_a_lap_that_drifts_a_mile_is_one_at_any_longitude(longitude):
    holding = fly(racetrack(3), speed=240.0)
    away = holding["longitude"] - holding["longitude"].iloc[1300]
    drifting = holding["latitude"] + 1.3 * holding["duration"] / 240 / 60
    moved = holding.assign(latitude=drifting, longitude=(away + longitude + 180) % 360 - 180)
    moved.attrs = holding.attrs
    assert measure_features(moved)["holding_laps"] == 3


@given(st.integers(2, 2999))
def test_airborne_features_only_grow_along_the_flight(samples):
    holding = fly(racetrack(3), speed=240.0)
    cut = holding[:samples]
    cut.attrs = holding.attrs
    early, late = measure_features(cut), measure_features(holding)
    for name in ("holding_laps", "holding_time", "go_arounds"):
        assert FEATURES.loc[name, "feature_set"] == "airborne"
        assert early[name] <= late[name]


def test_every_feature_has_a_meaning_and_a_feature_set():
    assert list(measure_features(fly(STRAIGHT))) == list(FEATURES.index)
    assert set(FEATURES["feature_set"]) <= {*FEATURE_SETS, "airborne"}
    assert (FEATURES["meaning"] != "").all()


def test_a_flight_that_was_not_observed_has_no_features():
    df = hide(fly(STRAIGHT), -1, 9999)
    measured = pd.Series(measure_features(df))
    assert measured[["top_of_climb_time", "excess_distance", "along_wind"]].isna().all()


# The detectors against the simulator's ground truth


@cache
def detections():
    """Simulated flights, one row each: events of the scenario, and measured ones."""
    weather = draw_weather(2016)
    scenarios = draw_scenario(draw_timetable(620, 2016), weather, 2016)
    holding = scenarios[scenarios["holding_laps"] > 0][:4]
    chosen = pd.concat([scenarios[::60], holding, scenarios[scenarios["go_around"]][:4]])
    rows = []
    for scenario in chosen.to_dict("records"):
        flight = simulate(scenario, weather)
        flight.attrs["destination"] = scenario["destination"]
        plan = plan_profile(scenario, weather, lay_path(scenario))
        is_top = plan["altitude"] > plan["altitude"].max() - 1
        row = {"laps": scenario["holding_laps"], "missed": scenario["go_around"]}
        row["top_of_descent"] = plan.loc[is_top, "seconds"].iloc[-1]
        rows.append(row | measure_features(flight))
    return pd.DataFrame(rows)


def test_exactly_the_simulated_holdings_are_detected():
    table = detections()
    assert (table["laps"] > 0).sum() >= 4
    assert (table["holding_laps"] == table["laps"]).all()


def test_exactly_the_simulated_go_arounds_are_detected():
    table = detections()
    assert table["missed"].sum() >= 4
    assert (table["go_arounds"] == table["missed"]).all()


def test_the_top_of_descent_of_most_simulated_flights_is_found_within_ten_seconds():
    table = detections()
    error = (table["top_of_descent_time"] - table["top_of_descent"]).abs()
    assert (error < 11).mean() >= 0.9
