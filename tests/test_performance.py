import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajlib.simulation.performance import add_airspeeds, add_atmosphere, add_performance, standard


def make_flight(minutes=60):
    """A flight that climbs to 25,000 ft, cruises and descends, from Madrid eastwards."""
    count = 60 * minutes
    share = np.linspace(0, 1, count)
    altitude = np.interp(share, [0, 0.35, 0.6, 1], [2000, 25_000, 25_000, 500])
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2016-03-01T06:00Z") + pd.to_timedelta(np.arange(count), "s"),
            "latitude": 40.5,
            "longitude": -3.5 + 5 * share,
            "altitude": altitude,
            "vertical_rate": np.gradient(altitude) * 60,
            "true_airspeed": np.interp(share, [0, 0.35, 0.6, 1], [170, 430, 430, 150]),
            "roll": 0.0,
        }
    )


@given(st.floats(-1000, 36_000))
def test_temperature_falls_by_the_standard_lapse_below_the_tropopause(altitude):
    warm, cold = standard(altitude)[0], standard(altitude - 1000)[0]
    assert cold - warm == pytest.approx(0.0065 * 304.8)


@given(st.floats(0, 40_000), st.floats(-20, 20))
def test_a_warm_day_thins_the_air_and_leaves_the_pressure(altitude, departure):
    flight = pd.DataFrame({"altitude": [altitude], "temperature_departure": [departure]})
    day, usual = add_atmosphere(flight), add_atmosphere(flight[["altitude"]])
    assert day["pressure"][0] == usual["pressure"][0]
    ratio = usual["temperature"][0] / day["temperature"][0]
    assert day["density"][0] == pytest.approx(usual["density"][0] * ratio)


def test_airspeeds_agree_at_sea_level_on_a_standard_day():
    flight = pd.DataFrame({"altitude": [0.0], "true_airspeed": [250.0]})
    airspeeds = add_airspeeds(add_atmosphere(flight))
    assert airspeeds["calibrated_airspeed"][0] == pytest.approx(250, abs=0.1)
    assert airspeeds["mach"][0] == pytest.approx(250 / 661.48, rel=1e-4)


def test_mass_decreases_by_the_fuel_that_flows():
    flight = add_performance(add_atmosphere(make_flight()), "A320", mass_initial=62_000)
    flow = flight["fuel_flow"]
    burned = ((flow + flow.shift()) / 2).fillna(0).cumsum()
    np.testing.assert_allclose(flight["fuel"], burned, rtol=1e-9)
    np.testing.assert_allclose(flight["mass"], 62_000 - flight["fuel"])
    assert 1500 < flight["fuel"].iloc[-1] < 4000


def test_thrust_less_drag_moves_the_mass():
    flight = add_performance(add_atmosphere(make_flight()), "A320", mass_initial=62_000)
    speed = flight["true_airspeed"] * 1852 / 3600
    angle = np.arctan2(flight["vertical_rate"] * 0.00508, speed)
    force = flight["mass"] * (9.80665 * np.sin(angle) + np.gradient(speed))
    np.testing.assert_allclose(flight["thrust"] - flight["drag"], force, atol=50)


def test_a_heavier_aircraft_burns_more():
    flight = add_atmosphere(make_flight())
    light, heavy = (
        add_performance(flight, "B738", mass_initial=mass)["fuel"].iloc[-1]
        for mass in (52_000, 66_000)
    )
    assert heavy > 1.02 * light


def test_performance_of_a_type_without_a_model_is_that_of_its_synonym():
    assert "fuel" in add_performance(add_atmosphere(make_flight()), "CRJ2", mass_initial=20_000)


def test_performance_does_not_change_its_argument():
    flight = add_atmosphere(make_flight())
    before = flight.copy()
    add_performance(flight, "A320", mass_initial=62_000)
    pd.testing.assert_frame_equal(flight, before)
