import numpy as np
import pandas as pd
import pytest

from trajlib.evaluation import baselines
from trajlib.evaluation.baselines import predict_baseline
from trajlib.evaluation.splits import split_by_day
from trajlib.features.airborne import STATE
from trajlib.geodesy import along_cross_track, distance, find_airport, offset, track

START, END = find_airport("SFO"), find_airport("LAX")
WAY = (START.latitude, START.longitude, END.latitude, END.longitude)
LENGTH, COURSE = float(distance(*WAY)), float(track(*WAY))
SPEED = 420.0  # kt


def great_circle_flights(flights=48, by="route", late=None):
    """Flights along the great circle at 420 kt, each with a delay [s] from the start."""
    late = np.zeros(flights) if late is None else late
    steps = np.arange(1, 20) / 20 if by == "route" else np.arange(1.0, 36)
    paths = [f"{number:03}.csv" for number in range(flights)]
    step_name = "fraction" if by == "route" else "minute"
    rows = pd.MultiIndex.from_product([paths, steps], names=["path", step_name])
    step, delay = rows.get_level_values(step_name).to_numpy(), np.repeat(late, len(steps))
    flown = step * LENGTH if by == "route" else (60 * step - delay) * SPEED / 3600
    lat, lon = offset(*WAY[:2], COURSE, flown, 0.0)
    table = pd.DataFrame({"latitude": lat, "longitude": lon}, rows)
    table["duration"] = flown / SPEED * 3600 + delay
    return table.assign(distance=flown, altitude=30_000.0)


def state_of(late, minutes=10.0, age=20.0):
    """Return a state in the form of `measure_state`."""
    flown = (60 * minutes - age - late) * SPEED / 3600
    index = pd.Index([f"{number:03}.csv" for number in range(len(late))], name="path")
    state = {"along": flown, "cross": 0.0, "to_go": LENGTH - flown, "progress": flown / LENGTH}
    state |= {"groundspeed": SPEED, "track_off": 0.0, "climb": 0.0, "altitude": 30_000.0}
    return pd.DataFrame(state | {"age": age, "distance": flown}, index)


@pytest.fixture
def late():
    return np.random.default_rng(0).uniform(0, 120, 48)


@pytest.fixture
def splits():
    paths = great_circle_flights().index.unique("path")
    return split_by_day(pd.Series(np.arange(len(paths)) % 8, paths), 4)


def off(predicted, flown):
    coordinates = [
        table[name] for table in (predicted, flown) for name in ("latitude", "longitude")
    ]
    return distance(*coordinates)


def test_the_great_circle_is_between_the_airports_and_at_the_mean_profile(splits):
    flown = great_circle_flights()
    offset_flights = flown.assign(latitude=flown["latitude"] + 0.2)
    predicted = baselines.follow_great_circle(offset_flights, splits, "SFO", "LAX")
    _, cross = along_cross_track(predicted["latitude"], predicted["longitude"], *WAY[:2], COURSE)
    assert np.abs(cross).max() < 1e-6
    mean = predict_baseline(offset_flights, splits)
    pd.testing.assert_frame_equal(
        predicted[["altitude", "duration"]], mean[["altitude", "duration"]]
    )
    assert off(baselines.follow_great_circle(flown, splits, "SFO", "LAX"), flown).max() < 0.1


def test_a_group_of_enough_training_flights_has_its_average(splits):
    flown = great_circle_flights()
    paths = flown.index.unique("path")
    high = pd.Series(np.arange(48) % 2 == 0, paths)
    flown["altitude"] = np.where(high[flown.index.get_level_values("path")], 36_000.0, 24_000.0)
    predicted = baselines.average_by_group(flown, splits, high.map({True: "A320", False: "B738"}))
    pd.testing.assert_series_equal(predicted["altitude"], flown["altitude"])
    rare = pd.Series("A320", paths)
    rare.iloc[:3] = ["XXXX", "XXXX", None]
    predicted_rare = baselines.average_by_group(flown, splits, rare).loc[paths[:3]]
    pd.testing.assert_frame_equal(
        predicted_rare, predict_baseline(flown, splits, "median").loc[paths[:3]]
    )


def test_a_group_average_uses_training_flights_only(splits):
    flown = great_circle_flights()
    group = pd.Series("A320", flown.index.unique("path"))
    before = baselines.average_by_group(flown, splits[:1], group)
    flown.loc[splits[0][1]] += 1e6
    pd.testing.assert_frame_equal(baselines.average_by_group(flown, splits[:1], group), before)


def test_a_callsign_repeats_its_last_landed_flight():
    flown = great_circle_flights(4)
    flown["altitude"] = np.repeat([1.0, 2, 3, 4], 19)
    start = pd.to_datetime(["2019-10-01T10:00", "2019-10-01T10:30", "2019-10-01T12:00"] * 2)[:4]
    flights = pd.DataFrame({"path": flown.index.unique("path"), "start": start.tz_localize("UTC")})
    flights["start"] = flights["start"].dt.as_unit("ms")  # as an index has it
    flights["end"] = flights["start"] + pd.Timedelta("1h")
    flights["callsign"] = ["UAL1", "UAL1", "UAL1", None]
    fallback = flown.assign(altitude=0.0)
    predicted = baselines.repeat_callsign(flown, flights, fallback)
    # the second overlaps the first, the third is after both, the last has no callsign
    assert predicted["altitude"].groupby(level="path").first().tolist() == [0, 0, 2, 0]
    assert predicted.index.equals(fallback.index)


def test_the_last_flights_of_the_pair_are_those_that_had_landed():
    flown = great_circle_flights(6)
    flown["altitude"] = np.repeat([1.0, 2, 4, 8, 16, 32], 19)
    start = pd.Timestamp("2019-10-01T10:00Z").as_unit("ms") + pd.Timedelta("30min") * np.arange(6)
    flights = pd.DataFrame({"path": flown.index.unique("path"), "start": start})
    flights["end"] = flights["start"] + pd.Timedelta("50min")
    fallback = flown.assign(altitude=0.0)
    predicted = baselines.average_last(flown, flights.iloc[::-1], fallback, count=2)
    # two flights of an hour and a half ago; the first ones have none or one before them
    expected = [0, 0, 1, 1.5, 3, 6]
    assert predicted["altitude"].groupby(level="path").first().tolist() == expected
    assert predicted.index.equals(fallback.index)


@pytest.mark.parametrize("by", ["clock", "route"])
def test_dead_reckoning_is_exact_for_a_flight_at_constant_speed(by, late, splits):
    flown = great_circle_flights(by=by, late=late)
    median = predict_baseline(flown, splits, "median")
    reckon = baselines.dead_reckon_ahead if by == "clock" else baselines.dead_reckon_home
    predicted = reckon(state_of(late), 10.0, median, "SFO", "LAX")
    assert off(predicted, flown).max() < 2  # a great circle's course changes
    np.testing.assert_allclose(predicted["duration"], flown["duration"], atol=1)
    np.testing.assert_allclose(predicted["altitude"], flown["altitude"])


def test_a_flight_climbs_on_but_not_above_all_others(late, splits):
    flown = great_circle_flights(by="clock", late=late)
    state = state_of(late).assign(altitude=10_000.0, climb=2_000.0)
    median = predict_baseline(flown, splits, "median")
    heights = baselines.dead_reckon_ahead(state, 10.0, median, "SFO", "LAX")["altitude"].loc[
        "000.csv"
    ]
    np.testing.assert_allclose(heights[11.0], 10_000 + 2_000 * (60 + 20) / 60)
    assert heights[35.0] == 30_000


def test_a_model_in_flight_learns_deviations_from_dead_reckoning(late):
    flown = great_circle_flights(by="clock", late=late)
    predictors = state_of(late).reindex(columns=STATE).add_suffix("_at_10")
    predictors.loc["000.csv"] = np.nan
    pair = ("SFO", "LAX")
    reference = baselines.reckon_reference(predictors, flown, "airborne_10", *pair)
    assert list(reference) == ["latitude", "longitude", "altitude"]
    minute = reference.index.get_level_values("minute")
    assert (reference[minute > 20] == 0).all(axis=None)  # farther ahead than it has flown
    has_state = (minute <= 20) & (reference.index.get_level_values("path") != "000.csv")
    assert off(reference[has_state], flown[has_state]).max() < 2
    np.testing.assert_allclose(
        reference.loc[has_state, "altitude"], flown.loc[has_state, "altitude"]
    )
    near = predictors.assign(to_go_at_10=30.0)  # NM, two thirds of which take under 4 min
    nearing = baselines.reckon_reference(near, flown, "airborne_10", *pair)
    assert (nearing[minute >= 14] == 0).all(axis=None)
    assert (nearing[has_state & (minute < 13)] != 0).all(axis=None)
    at_15 = reference.xs(15.0, level="minute")
    expected = at_15.drop("000.csv").median()
    pd.testing.assert_series_equal(at_15.loc["000.csv"], expected, check_names=False)


def test_a_flight_without_a_state_gets_the_median(late, splits):
    flown = great_circle_flights(by="clock", late=late)
    median = predict_baseline(flown, splits, "median")
    state = state_of(late)
    state.loc["000.csv", "groundspeed"] = np.nan
    for table in (state, state.drop("000.csv")):
        predicted = baselines.dead_reckon_ahead(table, 10.0, median, "SFO", "LAX")
        pd.testing.assert_frame_equal(predicted.loc[["000.csv"]], median.loc[["000.csv"]])
        assert not predicted.loc["001.csv"].equals(median.loc["001.csv"])


@pytest.mark.parametrize("by", ["clock", "route"])
def test_the_delay_shifted_median_is_exact_for_flights_that_differ_in_delay_only(by, late, splits):
    routes = great_circle_flights(late=late)
    flown = great_circle_flights(by=by, late=late)
    delay = baselines.measure_delay(routes, splits, state_of(late), 10.0)
    median = pd.concat([pd.Series(np.median(late[[int(p[:3]) for p in train]]), held_out)
                        for train, held_out in splits])  # fmt: skip
    expected = late - median.sort_index().to_numpy()
    np.testing.assert_allclose(delay.sort_index(), expected, atol=0.1)
    predicted = baselines.shift_median(flown, splits, delay, by=by)
    step = predicted.index.get_level_values(1)
    inside = (by == "route") | ((step > 3) & (step < 33))  # minutes; beyond, there is no median
    assert off(predicted, flown)[inside].max() < 0.1
    np.testing.assert_allclose(predicted["duration"], flown["duration"], atol=0.1)
