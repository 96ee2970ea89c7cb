"""Intervals whose width depends on the flight, and levels that follow the days."""

import numpy as np
import pandas as pd
import pytest

from trajlib.models.adaptive_intervals import (
    adapt_levels,
    calibrate_methods,
    choose_methods,
    clip_heights,
    combine_methods,
    predict_quantiles,
    score_interval,
)

RNG = np.random.default_rng(1)
FLIGHTS = 900
PATHS = pd.Index([f"{n:04d}.csv" for n in range(FLIGHTS)], name="path")


@pytest.fixture(scope="module")
def flights():
    """Flights whose spread depends on the hour in altitude, and not in longitude."""
    hour = RNG.uniform(0, 24, FLIGHTS)
    noise = RNG.standard_normal((2, FLIGHTS))
    altitude = 30_000 + 100 * noise[0] * np.where(hour > 12, 20, 1)
    rows = pd.MultiIndex.from_product([PATHS, [0.5]], names=["path", "fraction"])
    targets = pd.DataFrame({"altitude": altitude, "longitude": noise[1]}, rows)
    predictors = pd.DataFrame({"hour": hour}, PATHS)
    return predictors, targets


@pytest.fixture(scope="module")
def quantiles(flights):
    split = [(PATHS[:400], PATHS[400:])]
    return predict_quantiles(*flights, split, feature_set="planned", trees=40)


def measure(quantiles, targets):
    intervals = calibrate_methods(quantiles, targets, PATHS[400:650])
    scored = {name: table.loc[list(PATHS[650:])] for name, table in intervals.items()}
    return scored, {name: score_interval(table, targets) for name, table in scored.items()}


def test_both_methods_have_nominal_coverage(flights, quantiles):
    _, scores = measure(quantiles, flights[1])
    for table in scores.values():
        assert table["coverage"].between(0.84, 0.97).all()


def test_quantiles_are_better_where_the_spread_depends_on_the_flight(flights, quantiles):
    _, scores = measure(quantiles, flights[1])
    score = {name: table.loc["altitude", "score"] for name, table in scores.items()}
    assert score["quantile"] < 0.8 * score["constant width"]


def test_the_method_is_chosen_for_each_target(flights, quantiles):
    intervals, scores = measure(quantiles, flights[1])
    chosen = choose_methods(scores)
    assert chosen["altitude"] == "quantile"
    combined = combine_methods(intervals, chosen)
    pd.testing.assert_frame_equal(combined["altitude"], intervals["quantile"]["altitude"])


def test_scored_flights_do_not_change_the_calibration(flights, quantiles):
    targets = flights[1]
    changed = targets.copy()
    changed.loc[list(PATHS[650:])] += 1e6
    one, other = (measure(quantiles, table)[0] for table in (targets, changed))
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, other[name])


def test_levels_rise_after_days_of_low_coverage(flights, quantiles):
    targets = flights[1].copy()
    targets.loc[list(PATHS[650:700]), "altitude"] += 50_000
    days = pd.Series(np.repeat(np.arange(18), 50), PATHS)
    levels = adapt_levels(quantiles, targets, PATHS[400:650], days, target="altitude")
    assert levels[PATHS[650]] == 0.9
    assert levels[PATHS[700]] > 0.95
    assert levels[PATHS[-1]] < levels[PATHS[700]]


def test_a_day_does_not_change_its_own_level(flights, quantiles):
    targets = flights[1].copy()
    days = pd.Series(np.repeat(np.arange(18), 50), PATHS)
    before = adapt_levels(quantiles, targets, PATHS[400:650], days, target="altitude")
    targets.loc[list(PATHS[850:]), "altitude"] += 50_000
    after = adapt_levels(quantiles, targets, PATHS[400:650], days, target="altitude")
    pd.testing.assert_series_equal(before, after)


def test_no_height_is_above_the_ceiling_or_below_the_ground():
    columns = pd.MultiIndex.from_product([["altitude", "duration"], ["low", "high"]])
    table = pd.DataFrame([[-9000.0, 60_000.0, -5.0, 99_000.0]], columns=columns)
    clipped = clip_heights(table, 41_000.0).iloc[0]
    assert clipped.tolist() == [-1500.0, 41_000.0, -5.0, 99_000.0]
