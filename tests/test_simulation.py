from functools import cache

import numpy as np
import pandas as pd
import pytest

from trajlib.archive.dialect import read_dialect
from trajlib.archive.reading import read_flight
from trajlib.geodesy import distance, find_airport
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC
from trajlib.simulation.performance import standard
from trajlib.simulation.procedures import RUNWAYS
from trajlib.simulation.scenario import draw_scenario
from trajlib.simulation.simulate import fly, simulate_archive
from trajlib.simulation.timetable import draw_timetable
from trajlib.simulation.weather import START, draw_weather, sample_weather

SEED = 3
KNOTS = 1852 / 3600  # m/s
NOT_SIMULATED = {"gap", "pitch", "relative_humidity"}


@cache
def draw(flights=620):
    return draw_scenario(draw_timetable(flights, SEED), draw_weather(SEED), SEED)


def simulate(scenario, **changes):
    return fly({**scenario, **changes}, draw_weather(SEED))


@cache
def westerly():
    """The ground truth of a flight from Madrid that lands on Barcelona's 25R."""
    calm = "runway_arrival == '25R' and holding_laps == 0 and not go_around"
    return draw().query(calm).iloc[0].to_dict()


@cache
def flights():
    """Flights of all city pairs, with a holding and a missed approach among them."""
    chosen = draw().iloc[::56].to_dict("records")
    changed = [{**westerly(), "holding_laps": 2}, {**westerly(), "go_around": True}]
    return [(scenario, simulate(scenario)) for scenario in [*chosen, *changed]]


def away_from(code, df):
    airport = find_airport(code)
    return distance(df["latitude"], df["longitude"], airport.latitude, airport.longitude)


def contents(archive):
    paths = [path for path in archive.rglob("*") if path.suffix in (".csv", ".toml")]
    return {path.relative_to(archive).as_posix(): path.read_bytes() for path in paths}


# The archive


def test_a_seed_gives_the_same_bytes_whatever_the_workers(tmp_path, client, monkeypatch):
    simulate_archive(tmp_path / "workers", flights=6, seed=SEED)
    monkeypatch.setattr("trajlib.cluster.current_client", lambda: None)
    simulate_archive(tmp_path / "alone", flights=6, seed=SEED)
    assert contents(tmp_path / "workers") == contents(tmp_path / "alone")


def test_another_seed_replaces_the_files(tmp_path, client):
    first = simulate_archive(tmp_path, flights=3, seed=SEED)
    second = simulate_archive(tmp_path, flights=3, seed=SEED + 1)
    assert set(first.index).isdisjoint(second.index)
    assert set(contents(tmp_path)) == {*second.index, "columns.toml"}


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "real.csv").write_text("timestamp\n")
    with pytest.raises(ValueError, match=r"holds real\.csv, which no simulation wrote"):
        simulate_archive(tmp_path, flights=1, seed=SEED)


def test_no_flights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="0 flights to simulate"):
        simulate_archive(tmp_path / "none", flights=0, seed=SEED)


def test_the_archive_is_marked_as_simulated_and_its_files_are_read_back(tiny_archive):
    assert read_dialect(tiny_archive).simulated
    ground_truth = pd.read_parquet(tiny_archive / "ground_truth.parquet")
    assert len(ground_truth) == 60
    for path in ground_truth.index[::15]:
        df = read_flight(tiny_archive / path)
        assert set(NUMERIC) - set(df) == NOT_SIMULATED
        assert path.startswith(f"{df['origin'].iloc[0]}-{df['destination'].iloc[0]}/")
        assert (df[list(IDENTITY)] == df[list(IDENTITY)].iloc[0]).all(axis=None)


def test_most_flights_go_from_madrid_to_barcelona_over_five_months():
    for count, least in ((620, 500), (60, 45)):
        ground_truth = draw_timetable(count, SEED)
        pairs = ground_truth.groupby(["origin", "destination"]).size()
        assert pairs["LEMD", "LEBL"] >= least
        assert pairs.size >= 3
        assert set(ground_truth["scheduled"].dt.month) == {1, 2, 3, 4, 5}
    assert draw().index.is_unique
    assert draw(3000).index.is_unique


# The physics


@pytest.mark.parametrize("number", range(14))
def test_columns_agree_with_each_other(number):
    scenario, df = flights()[number]
    steps = df.rolling(2).mean(numeric_only=True).iloc[1:]
    flown = (steps["groundspeed"] / 3600).cumsum()
    np.testing.assert_allclose(df["distance"].iloc[1:], flown, atol=1e-3)
    climbed = df["altitude"].iloc[0] + (steps["vertical_rate"] / 60).cumsum()
    np.testing.assert_allclose(df["altitude"].iloc[1:], climbed, atol=15)
    burned = steps["fuel_flow"].cumsum()
    np.testing.assert_allclose(df["mass"].iloc[1:], scenario["mass_initial"] - burned)
    usual, pressure, _ = standard(df["altitude"])
    np.testing.assert_allclose(df["temperature"], usual + df["temperature_departure"])
    np.testing.assert_allclose(df["pressure"], pressure)
    assert set(NUMERIC) - set(df) == NOT_SIMULATED
    assert df.notna().all(axis=None)


@pytest.mark.parametrize("number", range(14))
def test_ground_speed_is_airspeed_and_wind(number):
    _, df = flights()[number]
    climb = np.gradient(df["geoaltitude"]) * 0.3048 / KNOTS
    level = np.sqrt(df["true_airspeed"] ** 2 - climb**2)
    east = level * np.sin(np.radians(df["heading"])) + df["wind_u"]
    north = level * np.cos(np.radians(df["heading"])) + df["wind_v"]
    np.testing.assert_allclose(np.hypot(east, north), df["groundspeed"], atol=1e-6)
    course = np.degrees(np.arctan2(east, north))
    np.testing.assert_allclose((course - df["track"] + 180) % 360, 180, atol=1e-6)


@pytest.mark.parametrize("number", range(14))
def test_forces_move_the_aircraft(number):
    _, df = flights()[number]
    speed = df["true_airspeed"] * KNOTS
    climb = df["vertical_rate"] * 0.00508 * df["temperature"] / standard(df["altitude"])[0]
    acceleration = 9.80665 * np.sin(np.arctan2(climb, speed)) + np.gradient(speed)
    gained = (df["thrust"] - df["drag"]) / df["mass"]
    assert ((gained - acceleration).abs() < 0.01).mean() > 0.9  # m/s², elsewhere at full thrust
    assert ((gained - acceleration) < 0.01).all()


@pytest.mark.parametrize("number", range(14))
def test_flights_stay_within_the_limits_of_an_airliner(number):
    scenario, df = flights()[number]
    assert df["roll"].abs().max() < 30
    assert df["groundspeed"].diff().abs().max() < 3  # kt in a second
    assert df["vertical_rate"].diff().abs().max() < 600
    assert df["vertical_rate"].between(-4500, 4500).all()
    assert df["calibrated_airspeed"].between(115, 350).all()
    assert df.query("altitude < 9900")["calibrated_airspeed"].max() < 255
    assert df["mach"].max() < 0.83
    assert df["mass"].iloc[0] <= 93_500
    final = df.iloc[-60:]
    assert final["calibrated_airspeed"].between(120, 165).all()
    slope = np.degrees(np.arctan2(np.ptp(final["geoaltitude"]), np.ptp(final["distance"]) * 6076))
    assert slope == pytest.approx(3.0, abs=0.15)
    top = df["altitude"].max()
    assert top <= scenario["level"] + 1
    assert round(top / 1000) % 2 == (df["longitude"].iloc[-1] > df["longitude"].iloc[0])


@pytest.mark.parametrize("number", range(14))
def test_flights_begin_and_end_at_their_runways(number):
    scenario, df = flights()[number]
    for end, use, row, reach, height in (
        ("origin", "departure", df.iloc[0], 1.1, 35),
        ("destination", "arrival", df.iloc[-1], 0.2, 10),
    ):
        runway = RUNWAYS[scenario[end], scenario[f"runway_{use}"]]
        away = distance(row["latitude"], row["longitude"], runway.latitude, runway.longitude)
        assert away < reach
        assert row["geoaltitude"] - runway.elevation == pytest.approx(height, abs=25)
        far = distance(row["latitude"], row["longitude"], *runway[2:4])
        length = distance(*runway[:4])
        assert away + far < length + 0.01  # over the runway


def test_height_grows_faster_than_pressure_altitude_in_warm_air():
    weather = draw_weather(SEED)
    seconds = START.timestamp() + 86400 * 40
    low = sample_weather(weather, seconds, 40.5, -3.6, np.arange(11_000, 17_000, 10.0))
    usual = standard(np.arange(11_000, 17_000, 10.0))[0]
    ratio = 1 + low["temperature_departure"] / usual
    np.testing.assert_allclose(np.gradient(low["geoaltitude"], 10.0), ratio, atol=1e-3)
    assert low["temperature_departure"].abs().max() > 1


def test_weather_lasts_for_hours_and_not_for_weeks():
    wind = draw_weather(SEED).levels[:, 5, 0]
    assert np.corrcoef(wind[1:], wind[:-1])[0, 1] > 0.9
    assert np.corrcoef(wind[240:], wind[:-240])[0, 1] < 0.4
    by_hour = wind[: wind.size // 24 * 24].reshape(-1, 24).mean(axis=0)
    assert np.ptp(by_hour) < 3  # kt: no function of the hour of day


# The procedures


def test_flights_turn_back_on_the_downwind():
    from_madrid = away_from("LEMD", simulate(westerly()))
    assert from_madrid.max() - from_madrid[-1] > 5


def test_a_holding_lengthens_the_flight_at_a_constant_altitude():
    plain, held = simulate(westerly()), simulate(westerly(), holding_laps=2)
    laps = held["distance"].iloc[-1] - plain["distance"].iloc[-1]
    assert 50 < laps < 75
    level = held["altitude"].round(-1).value_counts()
    assert level.drop(round(held["altitude"].max(), -1)).max() > 600  # s


def test_a_missed_approach_is_followed_by_another():
    df = simulate(westerly(), go_around=True)
    height = df["geoaltitude"].to_numpy()
    lowest = np.flatnonzero((height[1:-1] < height[:-2]) & (height[1:-1] <= height[2:]))
    low = [sample for sample in lowest if height[sample] < 1000]
    assert low
    assert height[low[-1] : -300].max() > 3000
    assert height[-1] < 50


# The causes


def test_causes_are_in_no_column():
    hidden = set(draw()) - {*IDENTITY, "scheduled", "takeoff"}
    assert {"runway_arrival", "flow", "cost_index", "configuration_arrival"} < hidden
    assert hidden.isdisjoint(COLUMNS)


@pytest.mark.parametrize("key", ["operator", "hour", "weekday"])
def test_causes_are_no_function_of_operator_hour_or_weekday(key):
    ground_truth = draw(6000).query("destination == 'LEBL'")
    takeoff = ground_truth["takeoff"].dt
    keys = {
        "operator": ground_truth["operator"],
        "hour": takeoff.hour,
        "weekday": takeoff.day_of_week,
    }
    for name in ("flow", "delay", "cost_index", "airway_offset", "configuration_arrival"):
        between = ground_truth.groupby(keys[key])[name].transform("mean")
        assert between.var() < 0.05 * ground_truth[name].var(), name


def test_an_hour_and_a_day_share_their_causes():
    ground_truth = draw(6000).query("destination == 'LEBL'")
    hour = (ground_truth["takeoff"] + pd.Timedelta("50min")).dt.floor("h")
    within = ground_truth["flow"].groupby(hour).transform("std").dropna()
    assert within.mean() < 0.5 * ground_truth["flow"].std()
    of_day = ground_truth.groupby(ground_truth["takeoff"].dt.date)[["flow", "cost_index", "load"]]
    assert (of_day.mean().var() > 0.15 * ground_truth[["flow", "cost_index", "load"]].var()).all()
    assert ground_truth["configuration_arrival"].between(0, 1).all()
    assert 0 < ground_truth["configuration_arrival"].mean() < 0.5


def test_other_causes_make_another_flight_of_the_same_timetable():
    timetable, weather = draw_timetable(5, SEED), draw_weather(SEED)
    one, other = (draw_scenario(timetable, weather, seed) for seed in (1, 2))
    assert one["registration"].tolist() == other["registration"].tolist()
    assert not np.allclose(one["flow"], other["flow"])


def test_a_flight_follows_from_its_scenario_and_the_weather():
    pd.testing.assert_frame_equal(simulate(westerly()), simulate(westerly()))
    slow = simulate(westerly(), cruise_mach=0.74, climb_cas=270, descent_cas=260)
    assert len(slow) > len(simulate(westerly()))


def test_a_replicate_keeps_the_causes_available_at_takeoff():
    weather, timetable = draw_weather(SEED), draw_timetable(60, SEED)
    one, replicate = (draw_scenario(timetable, weather, SEED, replicate=n) for n in (0, 1))
    columns = ["takeoff", "runway_departure", "configuration_arrival", "flow", "mass_initial"]
    pd.testing.assert_frame_equal(one[columns], replicate[columns])
    for name in ("delay", "cost_index", "downwind_offset", "climb_thrust", "airway_offset"):
        assert (one[name] != replicate[name]).mean() > 0.9, name


def test_the_ceiling_is_the_variance_between_replicates(tiny_archive):
    ceiling = pd.read_parquet(tiny_archive / "ceiling.parquet").loc[("LEMD", "LEBL")]
    assert ceiling.index.tolist() == [percent / 100 for percent in range(5, 100, 5)]
    assert (ceiling > 0).all(axis=None)
    times = np.sqrt(ceiling["time"])  # x % of the duration is x times as uncertain as all of it
    np.testing.assert_allclose(times, ceiling.index * times.iloc[-1] / 0.95)
    assert 30 < times.iloc[-1] < 300
    assert np.sqrt(ceiling["horizontal"]).max() < 15
