"""Surveillance points: what is kept of them, and what becomes of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from trajlib.archive.reading import FlightError
from trajlib.geodesy import distance, track
from trajlib.importers.points import check_points, interpolate_points, leave_one_out, thin_points

POSITION = ["latitude", "longitude"]
MEASURED = [*POSITION, "altitude", "groundspeed"]


def fly(date="2020-04-03", bend=0.3):
    """Return a smooth flight SFO → LAX at 1 s: eased along, bent aside, up to 33,000 ft."""
    second = np.arange(3300.0)
    share = second / second[-1]
    along = share - np.sin(2 * np.pi * share) / (2 * np.pi) * 0.6
    lat = 37.62 + (33.96 - 37.62) * along + bend * np.sin(np.pi * along) ** 2
    lon = -122.38 + (-118.40 + 122.38) * along
    steps = distance(lat[:-1], lon[:-1], lat[1:], lon[1:]) * 3600
    start = pd.Timestamp(f"{date}T18:00:00Z")
    return pd.DataFrame(
        {
            "timestamp": (start + pd.to_timedelta(second, "s")).as_unit("ms"),
            "latitude": lat,
            "longitude": lon,
            "altitude": 900 + 32_100 * np.sin(np.pi * share),
            "groundspeed": np.append(steps, steps[-1]),
        }
    )


def observe(scenario, seed=0, arc_minutes=0.2):
    """Return what surveillance tells of a flight.

    A point a minute with jitter, some twice within 20 s, gaps of up to 300 s, 100 ft, whole
    knots, and part of the positions on whole arc minutes.
    """
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(40, 110, 60))
    at = np.concatenate([[0], at, at[::6] + rng.integers(5, 20, 10)])
    at = np.unique(at[(at < 1500) | (at > 1730)])
    points = scenario.iloc[at[at < len(scenario)]].reset_index(drop=True)
    coarse = rng.random(len(points)) < arc_minutes
    points.loc[coarse, POSITION] = (points.loc[coarse, POSITION] * 60).round() / 60
    return points.assign(
        altitude=(points["altitude"] / 100).round() * 100, groundspeed=points["groundspeed"].round()
    )


def fill(points, **values):
    """Return some rows' values replaced: ``fill(points, altitude={3: nan})``."""
    points = points.copy()
    for name, rows in values.items():
        points.loc[list(rows), name] = list(rows.values())
    return points


POINTS = fly().iloc[::60].reset_index(drop=True)


@st.composite
def tracks(draw):
    """Any points 30 s or more apart, over the antimeridian too."""
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


@pytest.mark.parametrize("seed", range(5))
def test_an_imported_flight_lies_near_the_truth(seed):
    scenario = fly()
    flight = interpolate_points(thin_points(observe(scenario, seed)))
    scenario = scenario.set_index("timestamp").loc[flight["timestamp"]].reset_index()
    miss = distance(*flight[POSITION].to_numpy().T, *scenario[POSITION].to_numpy().T)
    assert np.quantile(miss, 0.5) < 0.15
    assert miss.max() < 1.5  # an arc minute, or the middle of the gap of 300 s
    error = (flight["altitude"] - scenario["altitude"]).abs()
    assert error.max() < 600  # the top of the climb may fall into the gap
    assert error[flight["gap"] < 60].max() < 300
    assert (flight["groundspeed"] - scenario["groundspeed"]).abs().max() < 5
    flown = distance(
        *scenario[POSITION].to_numpy()[:-1].T, *scenario[POSITION].to_numpy()[1:].T
    ).sum()
    assert flight["distance"].iloc[-1] == pytest.approx(flown, rel=0.01)


def test_fine_points_leave_only_the_error_of_interpolation():
    scenario = fly()
    flight = interpolate_points(thin_points(observe(scenario, arc_minutes=0)))
    scenario = scenario.iloc[: len(flight)]
    assert distance(*flight[POSITION].to_numpy().T, *scenario[POSITION].to_numpy().T).max() < 0.5
    climb = np.gradient(scenario["altitude"]) * 60
    assert np.quantile(np.abs(flight["vertical_rate"] - climb), 0.9) < 200
    ends = scenario[POSITION].to_numpy()
    course = track(*ends[:-1].T, *ends[1:].T)
    assert np.quantile(np.abs(flight["track"].iloc[:-1] - course), 0.9) < 3


@given(tracks())
def test_nothing_is_extrapolated(points):
    flight = interpolate_points(points)
    assert flight["timestamp"].iloc[0] == points["timestamp"].iloc[0]
    assert flight["timestamp"].iloc[-1] == points["timestamp"].iloc[-1]
    assert (flight["timestamp"].diff().iloc[1:] == pd.Timedelta("1s")).all()


@given(tracks())
def test_every_value_lies_between_those_of_the_points_before_and_after(points):
    flight = interpolate_points(points)
    at = np.searchsorted(points["timestamp"], flight["timestamp"]).clip(1)
    for name in MEASURED:
        values, found = points[name].to_numpy(), flight[name].to_numpy()
        if name == "longitude":
            values = np.unwrap(values, period=360)
            found = values[at] + (found - values[at] + 180) % 360 - 180
        low, high = np.minimum(values[at - 1], values[at]), np.maximum(values[at - 1], values[at])
        assert (found >= low - 1e-6).all()
        assert (found <= high + 1e-6).all()


@given(tracks())
def test_the_gap_is_the_time_to_the_nearest_point(points):
    flight = interpolate_points(points)
    start = points["timestamp"].iloc[0]
    known, asked = ((df["timestamp"] - start).dt.total_seconds() for df in (points, flight))
    expected = np.abs(np.subtract.outer(asked.to_numpy(), known.to_numpy())).min(axis=1)
    assert (flight["gap"] == expected).all()
    rows = flight.loc[flight["gap"] == 0, MEASURED].to_numpy()
    np.testing.assert_allclose(rows, points[MEASURED].to_numpy(), atol=1e-6)


@given(tracks())
def test_leaving_every_third_point_out_at_once_is_leaving_out_one(points):
    second = points["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
    position = np.unwrap(points[POSITION].to_numpy(), axis=0, period=360)
    rest = [np.delete(np.arange(len(points)), at) for at in range(1, len(points) - 1)]
    expected = [
        distance(*PchipInterpolator(second[left], position[left])(second[at]), *position[at])
        for at, left in enumerate(rest, start=1)
    ]
    noise = leave_one_out(points)
    np.testing.assert_allclose(noise["miss"], expected, atol=1e-6)
    np.testing.assert_array_equal(noise["span"], second[2:] - second[:-2])


def test_a_cruise_point_is_high_and_level():
    points = observe(fly()).iloc[:5].assign(altitude=[33_000, 33_000, 33_100, 35_000, 35_000])
    assert leave_one_out(points)["cruise"].tolist() == [True, False, False]
    assert not leave_one_out(points.assign(altitude=20_000))["cruise"].any()


@given(st.lists(st.integers(0, 70), min_size=1, max_size=60), st.data())
def test_thinning_looks_back_alone(steps, data):
    points = fly().iloc[np.cumsum(steps) % 3300].sort_values("timestamp")
    thinned = thin_points(points)
    assert (thinned["timestamp"].diff().iloc[1:] >= pd.Timedelta("30s")).all()
    cut = thin_points(points.iloc[: data.draw(st.integers(0, len(points)))])
    pd.testing.assert_frame_equal(cut, thinned.iloc[: len(cut)])


def test_points_30_s_apart_all_stay():
    assert len(thin_points(fly().iloc[:301:30])) == 11
    assert len(thin_points(fly().iloc[:300:29])) == 6


def test_points_stand_at_whole_seconds():
    late = POINTS.assign(timestamp=POINTS["timestamp"] + pd.Timedelta("400ms"))
    assert thin_points(late)["timestamp"].tolist() == POINTS["timestamp"].tolist()


def test_a_point_without_altitude_or_groundspeed_tells_nothing():
    points = fly().iloc[::60]
    bad = fill(points, altitude={120: np.nan}, groundspeed={240: 0.0})
    times = thin_points(bad)["timestamp"]
    assert times.tolist() == points["timestamp"].drop([120, 240]).tolist()


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (POINTS.iloc[:19], "fewer than 20 points"),
        (POINTS.iloc[10:], "first point more than 15 km from the airport"),
        (POINTS.iloc[:-10], "last point more than 15 km from the airport"),
        (POINTS.drop(range(20, 27)), "more than 420 s between two points"),
        (fill(POINTS, altitude={54: 11_000.0}), "climbs or descends faster than 6000 ft/min"),
        (fill(POINTS, latitude={30: 35.0}), "moves faster than 1000 kt"),
    ],
)
def test_a_fragment_is_told_by_its_reason(points, reason):
    with pytest.raises(FlightError, match=reason):
        check_points(points, "SFO", "LAX")


def test_a_whole_flight_passes_at_the_limits():
    check_points(POINTS.drop(range(20, 26)), "SFO", "LAX")  # a gap of exactly 420 s
    check_points(POINTS.iloc[np.r_[:10:2, 10:20, 20:50:3, 50:55]], "SFO", "LAX")
