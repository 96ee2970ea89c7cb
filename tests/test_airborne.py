import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surveillance import resample

from trajlib.archive.index import build_index
from trajlib.archive.pairs import select_flights
from trajlib.archive.reading import write_flight
from trajlib.archive.store import store_flights
from trajlib.features import airborne
from trajlib.features.airborne import STATE, keep_measured, locate_points, measure_state
from trajlib.features.feature_sets import FEATURE_SETS, build_predictors

SOME = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
IDENTITY = {"origin": "SFO", "destination": "LAX", "operator": "UAL", "callsign": "UAL1"}


def radar_points(seed, count=45, start="2019-10-01T15:00"):
    """A flight SFO → LAX about once a minute, on an uneven course."""
    rng = np.random.default_rng(seed)
    seconds = np.append(0, np.cumsum(rng.integers(31, 110, count - 1)))
    share = seconds / seconds[-1]
    noise = rng.normal(0, 0.05, (2, count)).cumsum(axis=1) * share * (1 - share)
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp(start, tz="UTC") + pd.to_timedelta(seconds, "s"),
            "latitude": 37.6 - 3.6 * share + noise[0],
            "longitude": -122.3 + 3.9 * share + noise[1],
            "altitude": (34_000 * np.sin(np.pi * share)).round(-2),
            "groundspeed": 250 + 200 * np.sin(np.pi * share),
        }
    )


def change_after(points, minutes, seed):
    """Move every point after some minutes, remove some, and end the flight elsewhere."""
    rng = np.random.default_rng(seed)
    since = (points["timestamp"] - points["timestamp"].iloc[0]).dt.total_seconds()
    later = (since > 60 * minutes) & (rng.random(len(points)) < 0.8)
    before = points[since <= 60 * minutes]
    after = points[later].copy()
    share = np.linspace(0, 1, len(after))[:, None]  # gradual, so that an aircraft can fly it
    after[["latitude", "longitude"]] += share * rng.normal(0, 0.5, 2)
    after["altitude"] += share[:, 0] * rng.integers(-3000, 3000)
    after["groundspeed"] *= 1 + share[:, 0] * rng.uniform(-0.2, 0.2)
    return pd.concat([before, after], ignore_index=True)


def import_points(points, path):
    write_flight(resample(points).assign(**IDENTITY), path)


@pytest.mark.slow
@SOME
@given(st.sampled_from([5, 10, 20]), st.integers(0, 10**6))
def test_airborne_predictors_do_not_depend_on_points_after_the_prediction_time(
    tmp_path, minutes, seed
):
    tables = []
    for points in (radar_points(seed), change_after(radar_points(seed), minutes, seed + 1)):
        import_points(radar_points(1, start="2019-10-01T10:00"), tmp_path / "before.csv")
        import_points(points, tmp_path / "flight.csv")
        predictors = build_predictors(build_index(tmp_path), f"airborne_{minutes}")
        tables.append(predictors.loc[["flight.csv"]])
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0].filter(regex=r"_at_\d+$").notna().all(axis=None)


def state_of(points, minutes):
    flights = pd.DataFrame({"path": ["a"], "origin": "SFO", "destination": "LAX"})
    measured = keep_measured(resample(points))
    return measure_state(
        locate_points(pd.concat({"a": measured}, names=["path"]), flights), minutes
    )


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_the_state_is_that_of_the_last_point_measured(seed):
    points = radar_points(seed)
    since = (points["timestamp"] - points["timestamp"].iloc[0]).dt.total_seconds()
    last = points[since <= 600].iloc[-1]
    state = state_of(points, 10).loc["a"]
    assert list(state.index) == list(STATE)
    assert state["altitude"] == pytest.approx(last["altitude"])
    assert state["groundspeed"] == pytest.approx(last["groundspeed"])
    assert state["age"] == 600 - since[since <= 600].iloc[-1]


def test_interpolated_samples_are_not_measured():
    df = resample(radar_points(3))
    measured = keep_measured(df)
    assert len(measured) == 45
    assert set(measured["duration"]) == set(df.loc[df["gap"] == 0, "duration"])


def test_without_a_gap_column_every_sample_is_measured():
    df = resample(radar_points(3)).drop(columns="gap")
    assert keep_measured(df)["duration"].diff().dropna().eq(30).all()


def test_rates_are_missing_where_a_flight_has_one_point_so_far():
    state = state_of(radar_points(3), 0.1).loc["a"]
    assert state[["climb", "drift", "track_off", "acceleration"]].isna().all()
    assert state["age"] == 6


def test_predictors_have_the_prediction_time_in_their_name(tmp_path):
    import_points(radar_points(1), tmp_path / "flight.csv")
    index = build_index(tmp_path)
    for feature_set in FEATURE_SETS[2:-1]:
        suffix = "_at_" + feature_set.removeprefix("airborne_")
        names = [name for name in build_predictors(index, feature_set) if "_at_" in name]
        assert names == [f"{name}{suffix}" for name in STATE]


def test_other_traffic_is_read_once_and_again_when_a_file_of_it_changed(tmp_path, monkeypatch):
    archive = tmp_path / "archive"
    archive.mkdir()
    for destination, hour in (("LAX", 15), ("SAN", 14)):
        points = resample(radar_points(hour, start=f"2019-10-01T{hour}:00"))
        identity = IDENTITY | {"destination": destination}
        write_flight(points.assign(**identity), archive / f"{destination}.csv")
    index = build_index(archive, tmp_path / "index.parquet")
    flights = store_flights(select_flights(index, "SFO", "LAX"), tmp_path / "store")
    reads = []
    read = airborne.map_flights
    monkeypatch.setattr(
        airborne,
        "map_flights",
        lambda *given, **options: reads.append(1) or read(*given, **options),
    )
    first, again = (airborne.load_other_traffic(flights, index) for _ in range(2))
    pd.testing.assert_frame_equal(again, first)
    assert len(first) > 10
    assert len(reads) == 1
    changed = index.assign(mtime=index["mtime"] + 1)
    pd.testing.assert_frame_equal(airborne.load_other_traffic(flights, changed), first)
    assert len(reads) == 2
