import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajlib.features.airborne import keep_measured, locate_points
from trajlib.features.recent_traffic import (
    HISTORY,
    collect_recent_traffic,
    find_passages,
    select_other_traffic,
    select_recent,
)
from trajlib.features.wind import WIND

START = pd.Timestamp("2019-10-01T15:00", tz="UTC")


def fly(flights, seed=0):
    """Points of some flights SFO → LAX, all at different times."""
    tables = {}
    for number, row in enumerate(flights.itertuples()):
        rng = np.random.default_rng([seed, number])
        share = np.linspace(0, 1, int(rng.integers(45, 60)))
        seconds = np.append(0, np.cumsum(rng.integers(40, 80, len(share) - 1)))
        side = rng.normal(0, 0.2) * np.sin(np.pi * share)
        tables[row.path] = pd.DataFrame(
            {
                "timestamp": row.start + pd.to_timedelta(seconds, "s"),
                "duration": 1.0 * seconds,
                "latitude": 37.6 - 3.6 * share + side,
                "longitude": -122.3 + 3.9 * share + side,
                "altitude": (30_000 + 4000 * rng.random()) * np.sin(np.pi * share),
                "groundspeed": rng.uniform(400, 500),
            }
        ).rename_axis("point")
    return pd.concat(tables, names=["path"])


def schedule(minutes, callsigns=None):
    paths = [f"{number}.csv" for number in range(len(minutes))]
    start = START + pd.to_timedelta(np.array(minutes), "min")
    flights = pd.DataFrame({"path": paths, "origin": "SFO", "destination": "LAX", "start": start})
    flights["aircraft_type"] = "A320"
    return flights.assign(callsign=callsigns or [f"UAL{n % 2}" for n in range(len(minutes))])


def collect(flights, points, around=None):
    return collect_recent_traffic(flights, locate_points(points, flights), around)


def fly_elsewhere(flights, seed=0):
    points = fly(flights.assign(path=[f"other {path}" for path in flights["path"]]), seed)
    return points.assign(origin="SFO", destination="JFK")


def change_after(points, time, seed):
    """Move all points after a time and remove some, or all, except first points of flights."""
    later = (points["timestamp"] > time).to_numpy()
    rng = np.random.default_rng(seed)
    changed = points.copy()
    names = ["latitude", "longitude", "altitude", "groundspeed"]
    changed.loc[later, names] += rng.normal(0, 1, (later.sum(), 4)) * [1, 1, 3000, 50]
    removed = rng.random(len(points)) < rng.choice([0.3, 1.0])
    return changed[~(later & removed & (points["duration"] > 0))]


@pytest.mark.slow
@settings(max_examples=10)
@given(st.lists(st.integers(0, 300), min_size=3, max_size=4), st.integers(0, 10**6))
def test_recent_traffic_does_not_depend_on_points_after_the_prediction_time(minutes, seed):
    flights = schedule(minutes)
    points, around = fly(flights, seed), fly_elsewhere(flights, seed + 1)
    before = collect(flights, points, around)
    for path, time in flights.set_index("path")["start"].items():
        changed = (change_after(table, time, seed) for table in (points, around))
        after = collect(flights, *changed)
        pd.testing.assert_series_equal(after.loc[path], before.loc[path], check_exact=True)


def test_other_pairs_give_departure_direction_and_wind_only():
    flights, elsewhere = schedule([100]), schedule([0, 10, 20])
    assert collect(flights, fly(flights)).isna().all(axis=None)
    features = collect(flights, fly(flights), fly_elsewhere(elsewhere)).loc["0.csv"]
    of_all = ["recent_departure_east", "recent_departure_north", *WIND]
    assert features[of_all].notna().all()
    assert features.drop(of_all).isna().all()


def test_other_traffic_is_airborne_shortly_before_at_an_airport_of_the_pair():
    flights = schedule([100, 400])
    others = schedule([0, -90, 60, 101, 280, 401, 90, 90, 90]).assign(destination="JFK")
    others.loc[6, "origin"] = "SEA"  # between other airports
    others.loc[7, "destination"] = "LAX"  # of the pair itself
    others["end"] = others["start"] + pd.Timedelta("60min")
    others["rejected"] = pd.Series({8: "is empty"}, others.index)
    others["fragment"] = False
    others[["latitude_first", "longitude_first", "latitude_last", "longitude_last"]] = np.nan
    assert select_other_traffic(flights, others)["path"].tolist() == ["0.csv", "2.csv", "4.csv"]


def test_passages_are_averaged_after_subtracting_the_type_difference():
    flights = schedule([0, 10, 25, 120])
    flights["aircraft_type"] = ["A320", "B738", "B738", "A320"]
    points = locate_points(fly(flights), flights)
    row = collect_recent_traffic(flights, points).loc["3.csv"]
    passages = find_passages(points).xs(0.5, level="place")
    a320, first, second = passages["altitude"][["0.csv", "1.csv", "2.csv"]]
    known_at = passages["available"]
    assert known_at["0.csv"] < known_at["1.csv"] < known_at["2.csv"]
    usual = first - (a320 + first) / 2  # of the B738, before the second flight
    values = [a320, first, second - usual]
    assert row["recent_altitude_50_3h"] == pytest.approx(np.mean(values))
    assert row["recent_altitude_50_last1"] == pytest.approx(values[-1])
    assert row["recent_altitude_50_last3"] == row["recent_altitude_50_24h"]


def test_a_difference_shared_by_all_types_is_not_subtracted():
    flights = schedule([0, 5, 10, 120])
    points = locate_points(fly(flights), flights)
    altitude = find_passages(points)["altitude"].xs(0.5, level="place")
    row = collect_recent_traffic(flights, points).loc["3.csv"]
    assert row["recent_altitude_50_24h"] == pytest.approx(altitude.drop("3.csv").mean())


def test_a_passage_counts_in_the_hours_after_it_alone():
    flights = schedule([0, 5, 120, 300, 60 * 24 * 8])
    table = collect(flights, fly(flights))
    present = table.filter(regex="^recent_altitude_20_").notna()
    assert present.loc["2.csv"].tolist() == [False, True, True, True, True, True]
    assert present.loc["3.csv", "recent_altitude_20_24h"]
    assert not present.loc["4.csv"].any()  # more than a week later


def test_the_history_of_a_callsign_goes_back_a_year():
    flights = schedule([0, 60 * 24 * 200, 60 * 24 * 390, 60 * 24 * 900], ["UAL1"] * 4)
    points = locate_points(fly(flights), flights)
    callsign = collect_recent_traffic(flights, points)["callsign_altitude_50"]
    altitude = find_passages(points)["altitude"].xs(0.5, level="place")
    assert callsign["1.csv"] == pytest.approx(altitude["0.csv"])
    assert callsign["2.csv"] == pytest.approx(altitude["1.csv"])
    assert np.isnan(callsign["3.csv"])


def test_the_recent_flights_alone_give_the_same_as_all_past_ones():
    rng = np.random.default_rng(0)
    minutes = np.sort(rng.integers(0, 60 * 24 * 90, 200)).tolist()
    flights = schedule(minutes, [f"UAL{number % 60}" for number in range(200)])
    flights["aircraft_type"] = rng.choice(["A320", "B738", None], 200, p=[0.6, 0.3, 0.1])
    flights["end"], flights["rejected"] = flights["start"] + pd.Timedelta("1h"), None
    points = fly(flights)
    past, last = flights.iloc[:-3], flights.iloc[-3:]
    some = select_recent(past, last)
    assert len(some) < len(past)
    chosen = pd.concat([some, last])
    of_all, of_recent = (
        collect(table, points.loc[list(table["path"])]).loc[last["path"]]
        for table in (flights, chosen)
    )
    pd.testing.assert_frame_equal(of_all, of_recent)


def test_a_callsign_keeps_its_mean_if_its_last_flight_has_no_value():
    flights = schedule([0, 100, 200], ["UAL1"] * 3)
    points = locate_points(fly(flights), flights)
    mean = collect_recent_traffic(flights, points).loc["1.csv", "callsign_groundspeed_50"]
    points.loc["1.csv", "groundspeed"] = np.nan
    assert collect_recent_traffic(flights, points).loc["2.csv", "callsign_groundspeed_50"] == mean


def test_missing_history_is_missing_and_not_zero():
    flights = schedule([0])
    features = collect(flights, fly(flights))
    assert list(features) == list(HISTORY)
    assert features.isna().all(axis=None)


def test_an_airborne_flight_contributes_only_the_fractions_it_has_passed():
    flights = schedule([0, 2, 20])
    row = collect(flights, fly(flights)).loc["2.csv"]
    assert pd.notna(row["recent_altitude_20_1h"])
    late = ["recent_altitude_95_1h", "recent_arrival_1h", "callsign_arrival"]
    assert row[late].isna().all()


def test_a_last_point_removed_by_thinning_is_no_early_landing():
    flights = schedule([0, 0])
    flights.loc[1, "start"] += pd.Timedelta(3370, "s")  # within 420 s of the removed one
    points = fly(flights)
    flight = points.loc["0.csv"].iloc[:40]
    seconds = np.append(np.arange(39) * 2940 / 38, 2965)
    flight = flight.assign(duration=seconds, timestamp=START + pd.to_timedelta(seconds, "s"))
    last_point = flight.tail(1).assign(duration=3380.0, timestamp=START + pd.Timedelta(3380, "s"))
    features = []
    for samples in (flight, pd.concat([flight, last_point])):
        tables = {"0.csv": keep_measured(samples), "1.csv": points.loc["1.csv"]}
        features.append(collect(flights, pd.concat(tables, names=["path"])).loc["1.csv"])
    pd.testing.assert_series_equal(*features)


def test_a_missing_value_of_one_flight_affects_no_other():
    flights = schedule([0, 5, 120], ["UAL1"] * 3)
    points = fly(flights)
    points.loc["0.csv", "groundspeed"] = np.nan
    row = collect(flights, points).loc["2.csv"]
    assert row["callsign_groundspeed_50"] == pytest.approx(
        points.loc["1.csv", "groundspeed"].iloc[0]
    )
