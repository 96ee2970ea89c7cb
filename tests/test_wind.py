import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajlib.features.wind import WIND, estimate_wind, measure_velocities
from trajlib.geodesy import offset

START = pd.Timestamp("2019-10-01T15:00", tz="UTC")
MIDDLE = (35.8, -120.4)  # of SFO → LAX


def fly(wind, headings, *, airspeed=450.0, altitude=35_000.0, center=MIDDLE, start=START):
    """Return points, a minute apart, of flights in a wind on all tracks around a position."""
    tables = {}
    for number, heading in enumerate(np.radians(headings)):
        east = airspeed * np.sin(heading) + wind[0]
        north = airspeed * np.cos(heading) + wind[1]
        speed, course = np.hypot(east, north), np.degrees(np.arctan2(east, north))
        minutes = np.arange(9)
        lat, lon = offset(*center, course, speed * (minutes - 4) / 60, 0.0)
        table = {
            "timestamp": start + pd.to_timedelta(60 * (minutes + number), "s"),
            "latitude": lat,
            "longitude": lon,
            "altitude": altitude,
            "groundspeed": speed,
        }
        tables[f"{number}.csv"] = pd.DataFrame(table).rename_axis("point")
    return pd.concat(tables, names=["path"])


def measure_wind(points, minutes=60.0):
    times = pd.Series(START + pd.Timedelta(minutes=minutes), ["flight"])
    return estimate_wind(measure_velocities(points, "SFO", "LAX"), times).loc["flight"]


@settings(max_examples=20)
@given(st.floats(-80, 80), st.floats(-80, 80), st.integers(0, 10**6))
def test_the_wind_is_recovered_from_flights_on_all_tracks(east, north, seed):
    headings = np.arange(0, 360, 30) + np.random.default_rng(seed).uniform(-10, 10, 12)
    wind = measure_wind(fly((east, north), headings))
    assert list(wind.index) == list(WIND)
    assert wind["wind_u"] == pytest.approx(east, abs=4)
    assert wind["wind_v"] == pytest.approx(north, abs=4)
    assert wind["wind_residual"] < 3


def test_flights_in_one_direction_give_the_wind_along_it():
    ahead = np.array([np.sin(np.radians(137)), np.cos(np.radians(137))])
    wind = measure_wind(fly(40 * ahead, [137] * 12))[["wind_u", "wind_v"]].to_numpy()
    assert wind @ ahead == pytest.approx(40, abs=25)
    assert wind @ [ahead[1], -ahead[0]] == pytest.approx(0, abs=5)


def test_the_residual_is_the_speed_that_one_wind_does_not_explain():
    calm, fast = fly((0, 0), np.arange(0, 360, 30)), fly((0, 0), np.arange(0, 360, 30))
    fast["groundspeed"] += 30.0
    both = pd.concat([calm, fast.rename(index=lambda path: f"fast {path}", level="path")])
    assert measure_wind(both)["wind_residual"] == pytest.approx(15, abs=2)


@pytest.mark.parametrize(
    "other",
    [
        {"headings": [90, 180]},
        {"altitude": 20_000.0},
        {"center": (45.0, -110.0)},
        {"start": START - pd.Timedelta("3h")},
    ],
    ids=["few", "low", "far", "long ago"],
)
def test_the_wind_is_missing_where_too_few_measured_it(other):
    points = fly((50, 0), **{"headings": np.arange(0, 360, 30), **other})
    assert measure_wind(points).isna().all()


@settings(max_examples=20)
@given(st.integers(10, 20), st.integers(0, 10**6))
def test_the_wind_does_not_depend_on_points_after_the_prediction_time(minutes, seed):
    points = fly((30, -20), np.arange(0, 360, 30))
    later = (points["timestamp"] > START + pd.Timedelta(minutes=minutes)).to_numpy()
    rng = np.random.default_rng(seed)
    changed = points.copy()
    names = ["latitude", "longitude", "altitude", "groundspeed"]
    changed.loc[later, names] += rng.normal(0, 1, (later.sum(), 4)) * [1, 1, 9000, 50]
    changed = changed[~(later & (rng.random(len(points)) < 0.3))]
    before = measure_wind(points, minutes)
    assert before.notna().all()
    pd.testing.assert_series_equal(measure_wind(changed, minutes), before, check_exact=True)
