import numpy as np
import pandas as pd
import pytest

from trajlib.geodesy import find_regions
from trajlib.models.prediction_intervals import (
    calibrate_band,
    calibrate_intervals,
    conservative_level,
    score_intervals,
    signed_errors,
    split_days,
    widen_to_band,
)


def draw(flights, seed=0, first=0):
    rng = np.random.default_rng(seed)
    paths = [f"{first + n:05}" for n in range(flights)]
    rows = pd.MultiIndex.from_product([paths, [0.1, 0.5, 0.9]], names=["path", "fraction"])
    of_flight = np.repeat(rng.gamma(2, 3, flights), 3)  # skewed, by flight
    altitude = of_flight + rng.normal(size=len(rows))
    return pd.DataFrame({"altitude": altitude, "duration": -2 * of_flight}, rows)


def test_intervals_have_nominal_coverage():
    calibration, errors = draw(2000), draw(4000, seed=1)
    scores = score_intervals(errors, calibrate_intervals(calibration, 0.9), 0.9)
    assert scores["coverage"].between(0.87, 0.93).all()


def test_intervals_of_few_calibration_flights_have_nominal_coverage():
    errors = draw(500, seed=1)
    tables = [calibrate_intervals(draw(20, seed=seed)) for seed in range(2, 62)]
    held = [score_intervals(errors, table)["coverage"].mean() for table in tables]
    assert np.mean(held) > 0.9 - 2 * np.std(held) / np.sqrt(len(held))


@pytest.mark.parametrize(("days", "widest"), [(5, True), (20, False)])
def test_on_few_days_an_interval_is_widened_to_the_largest_errors(days, widest):
    errors = draw(100)
    of_flight = pd.Series(np.arange(100) % days, errors.index.unique("path"))
    intervals = calibrate_intervals(errors, conservative_level(0.9, of_flight))
    largest = errors["altitude"].groupby(level="fraction").max()
    assert (intervals["altitude", "high"] == largest).all() == widest


def test_the_factor_of_a_band_is_the_error_at_the_nominal_rank():
    sides = pd.MultiIndex.from_product([["altitude"], ["low", "high"]])
    half = pd.DataFrame([[-1.0, 1.0]], pd.Index([0.5], name="fraction"), sides)
    for flights, rank in {9: 9, 19: 18, 20: 19, 39: 36, 99: 90}.items():
        paths = pd.MultiIndex.from_product([range(flights), [0.5]], names=["path", "fraction"])
        errors = pd.DataFrame({"altitude": np.arange(1.0, flights + 1)}, paths)
        assert calibrate_band(errors, half) == rank


def test_a_band_holds_whole_flights():
    half = calibrate_intervals(draw(1000))
    band = widen_to_band(half, calibrate_band(draw(1000, seed=2), half))
    errors = draw(4000, seed=3)
    low, high = (band.xs(side, axis=1, level=1)[list(errors)] for side in ("low", "high"))
    fraction = errors.index.get_level_values("fraction")
    inside = (errors >= low.loc[fraction].to_numpy()) & (errors <= high.loc[fraction].to_numpy())
    assert 0.87 < inside.all(axis=1).groupby("path").all().mean() < 0.93


def test_the_score_is_the_width_and_twenty_times_what_is_outside():
    errors = draw(2)
    sides = pd.MultiIndex.from_product([errors, ["low", "high"]])
    bounds = pd.DataFrame([[-1.0, 1.0, -1.0, 1.0]] * 3, [0.1, 0.5, 0.9], sides)
    one = errors * 0 + [0.5, 1.25]
    scores = score_intervals(one, bounds, 0.9)
    assert scores.loc["altitude", "score"].tolist() == [2.0] * 3
    np.testing.assert_allclose(scores.loc["duration", "score"], 2 + 20 * 0.25)
    assert scores.loc["duration", "coverage"].tolist() == [0.0] * 3


def test_errors_are_along_and_across_the_predicted_course():
    rows = pd.MultiIndex.from_product([["a"], [0.1, 0.5, 0.9]], names=["path", "fraction"])
    predicted = pd.DataFrame({"latitude": 0.0, "longitude": [1.0, 2.0, 3.0]}, rows)  # to the east
    flown = predicted.assign(latitude=-1 / 60, longitude=predicted["longitude"] + 2 / 60)
    errors = signed_errors(predicted, flown)
    np.testing.assert_allclose(errors["along"], 2.0, rtol=0.01)
    np.testing.assert_allclose(errors["cross"], 1.0, rtol=0.01)  # south is to the right
    assert errors["latitude"].to_numpy() == pytest.approx(-1 / 60)


def test_no_day_is_in_two_parts_and_the_future_comes_last():
    days = pd.Series(np.repeat(np.arange(30), 3), [f"{n:03}" for n in range(90)])
    for seed in (0, None):
        parts = split_days(days, seed=seed)
        assert sorted(np.concatenate(parts)) == sorted(days.index)
        assert len(set.union(*(set(days[part]) for part in parts))) == 30
        assert sum(days[part].nunique() for part in parts) == 30
    assert days[parts[0]].max() < days[parts[1]].min() < days[parts[2]].min()


def test_too_few_days_are_refused():
    with pytest.raises(ValueError, match="2 days are too few for 3 parts"):
        split_days(pd.Series([1, 2], ["a", "b"]))


def test_regions_lie_around_the_line():
    fractions = pd.Index([0.1, 0.5], name="fraction")
    line = pd.DataFrame({"latitude": 0.0, "longitude": [1.0, 2.0], "course": 90.0}, fractions)
    (region,) = find_regions(
        line.assign(along_low=-60.0, along_high=60.0, cross_low=-6.0, cross_high=12.0)
    )
    west, south = region.min(axis=0)
    east, north = region.max(axis=0)
    np.testing.assert_allclose([west, south, east, north], [0, -0.2, 3, 0.1], atol=0.01)
