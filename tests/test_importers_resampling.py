"""Resampling to every second: interpolation between the points, no extrapolation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from surveillance import MEASURED, POSITION, fly, observe, resample

from trajlib.geodesy import distance, track
from trajlib.importers.resampling import leave_one_out


@st.composite
def tracks(draw):
    """Generate points at least 30 s apart, some across the antimeridian."""
    size = draw(st.integers(4, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    second = np.cumsum(rng.integers(30, 400, size))
    lon = rng.uniform(-180, 180) + np.cumsum(rng.normal(0, 0.3, size))
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(second, "s"),
            "latitude": rng.uniform(-60, 60) + np.cumsum(rng.normal(0, 0.3, size)),
            "longitude": (lon + 180) % 360 - 180,
            "altitude": rng.integers(0, 400, size) * 100.0,
            "groundspeed": rng.integers(100, 600, size).astype(float),
        }
    )


def seconds(points):
    return points["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()


@pytest.mark.parametrize("seed", range(5))
def test_a_resampled_flight_lies_near_the_truth(seed):
    truth = fly()
    flight = resample(observe(truth, seed, arc_minutes=0))
    truth = truth.set_index("timestamp").loc[flight["timestamp"]].reset_index()
    assert distance(*flight[POSITION].to_numpy().T, *truth[POSITION].to_numpy().T).max() < 0.6
    error = (flight["altitude"] - truth["altitude"]).abs()
    assert error.max() < 600  # the top of the climb may fall into the gap
    assert error[flight["gap"] < 60].max() < 300


@given(tracks())
def test_nothing_is_extrapolated(points):
    flight = resample(points)
    assert flight["timestamp"].iloc[0] == points["timestamp"].iloc[0]
    assert flight["timestamp"].iloc[-1] == points["timestamp"].iloc[-1]
    assert (flight["timestamp"].diff().iloc[1:] == pd.Timedelta("1s")).all()


def test_a_flight_begins_with_its_first_altitude():
    points = fly().iloc[::60].reset_index(drop=True)
    points.loc[:2, "altitude"] = np.nan
    assert resample(points)["timestamp"].iloc[0] == points["timestamp"].iloc[3]


@given(tracks())
def test_values_are_those_of_scipy(points):
    flight = resample(points)
    for name in ("latitude", "altitude", "groundspeed"):
        curve = PchipInterpolator(seconds(points), points[name])
        np.testing.assert_allclose(flight[name], curve(seconds(flight)), rtol=1e-9, atol=1e-6)
    climb = PchipInterpolator(seconds(points), points["altitude"]).derivative()
    np.testing.assert_allclose(flight["vertical_rate"], 60 * climb(seconds(flight)), atol=1e-6)


@given(tracks())
def test_steps_and_courses_are_those_of_the_geodesic(points):
    flight = resample(points)
    position = flight[POSITION].to_numpy()
    ends = *position[:-1].T, *position[1:].T
    np.testing.assert_allclose(flight["distance"].diff()[1:], distance(*ends), rtol=1e-4)
    moved = distance(*ends) > 0.01
    turn = (flight["track"].to_numpy()[:-1] - track(*ends) + 180) % 360 - 180
    assert np.abs(turn[moved]).max(initial=0) < 0.01


@given(tracks())
def test_the_gap_is_the_time_to_the_nearest_point(points):
    flight = resample(points)
    between = np.subtract.outer(seconds(flight), seconds(points))
    assert (flight["gap"] == np.abs(between).min(axis=1)).all()
    rows = flight.loc[flight["gap"] == 0, MEASURED].to_numpy()
    np.testing.assert_allclose(rows, points[MEASURED].to_numpy(), atol=1e-6)


def test_points_between_seconds_give_whole_seconds_within_them():
    points = fly().iloc[::10].reset_index(drop=True)
    points["timestamp"] += pd.Timedelta("400ms")
    flight = resample(points)
    assert flight["timestamp"].iloc[0] == points["timestamp"].iloc[0] + pd.Timedelta("600ms")
    assert flight["timestamp"].iloc[-1] == points["timestamp"].iloc[-1] - pd.Timedelta("400ms")


def test_a_measured_rate_is_kept_and_one_that_is_mostly_missing_is_derived():
    points = fly().iloc[::10].reset_index(drop=True).assign(vertical_rate=1234.0)
    assert (resample(points)["vertical_rate"] == 1234).all()
    points.loc[:300, "vertical_rate"] = np.nan
    assert (resample(points)["vertical_rate"] != 1234).all()


@given(tracks())
def test_leaving_out_every_third_point_equals_leaving_out_one_at_a_time(points):
    second = seconds(points)
    position = np.unwrap(points[POSITION].to_numpy(), axis=0, period=360)
    rest = [np.delete(np.arange(len(points)), inner) for inner in range(1, len(points) - 1)]
    expected = [
        distance(*PchipInterpolator(second[left], position[left])(second[out]), *position[out])
        for out, left in enumerate(rest, start=1)
    ]
    values = points[[*POSITION, "altitude"]].to_numpy().T
    noise = leave_one_out(second.astype(float), values)
    np.testing.assert_allclose(noise["miss"], expected, atol=1e-6)
    np.testing.assert_array_equal(noise["span"], second[2:] - second[:-2])


def test_a_cruise_point_is_high_and_level():
    points = observe(fly()).iloc[:5].assign(altitude=[33_000, 33_000, 33_100, 35_000, 35_000])
    values = points[[*POSITION, "altitude"]].to_numpy().T
    noise = leave_one_out(seconds(points).astype(float), values)
    assert noise["cruise"].tolist() == [True, False, False]


def test_a_speed_is_not_interpolated_between_measurements_that_are_far_apart():
    start = pd.Timestamp("2020-01-01", tz="UTC")
    points = pd.DataFrame({"timestamp": start + pd.to_timedelta(60 * np.arange(40), "s")})
    points = points.assign(latitude=40.0, longitude=np.arange(40) / 10, altitude=9000.0)
    speed = np.full(40, np.nan)
    speed[[0, 1, 2, 30, 39]] = 100, 110, 120, 200, 210
    flight = resample(points.assign(groundspeed=speed)).set_index("duration")
    measured = flight.index[flight["groundspeed"].notna()]
    assert set(measured) == {*range(121), *range(1800, 2341)}
    assert flight["altitude"].notna().all()
