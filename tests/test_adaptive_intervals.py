"""Intervals with a width that depends on the flight, and adaptive levels."""

import numpy as np
import pandas as pd
import pytest

from trajlib.models.adaptive_intervals import (
    adapt_coverage,
    build_bases,
    calibrate,
    fit_quantiles,
    measure_errors_ahead,
    place_band,
    place_intervals,
    predict_apart,
    predict_quantiles,
)
from trajlib.models.estimators import build_model
from trajlib.models.prediction_intervals import score_intervals
from trajlib.models.training import stack_targets, widen_targets

RNG = np.random.default_rng(1)
FLIGHTS = 1600
FRACTIONS = [0.4, 0.5, 0.6]
PATHS = pd.Index([f"{n:04d}.csv" for n in range(FLIGHTS)], name="path")
DAYS = pd.Series(np.repeat(np.arange(160), 10), PATHS)
TRAIN, CALIBRATION, LATER = PATHS[:400], PATHS[400:1000], PATHS[1000:]


@pytest.fixture(scope="module")
def flights():
    """Errors whose spread depends on the hour in altitude, and not across the track."""
    hour = RNG.uniform(0, 24, FLIGHTS)
    rows = pd.MultiIndex.from_product([PATHS, FRACTIONS], names=["path", "fraction"])
    noise = RNG.standard_normal((4, len(rows)))
    spread = np.repeat(np.where(hour > 12, 20, 1), len(FRACTIONS))
    values = {"along": noise[0], "cross": noise[1], "altitude": 100 * noise[2] * spread}
    errors = pd.DataFrame(values | {"duration": noise[3]}, rows)
    return pd.DataFrame({"hour": hour}, PATHS), errors


@pytest.fixture(scope="module")
def bases(flights):
    predictors, errors = flights
    models = fit_quantiles(errors.loc[list(TRAIN)], predictors, trees=40)
    return pd.concat({"quantile": predict_quantiles(models, predictors, FRACTIONS)}, axis=1)


def measure(bases, errors, method=None):
    calibrating = errors.loc[list(CALIBRATION)]
    calibration = calibrate(calibrating, bases, DAYS, 0.9, 0, method=method)
    later = errors.loc[list(LATER)]
    placed = place_intervals(calibration, bases, later.index)
    return calibration, placed, score_intervals(later, placed).groupby(level="target").mean()


@pytest.mark.parametrize("method", ["constant width", "quantile", None])
def test_every_method_has_nominal_coverage(flights, bases, method):
    *_, scores = measure(bases, flights[1], method)
    assert scores["coverage"].between(0.84, 0.96).all()


def test_quantiles_are_better_where_the_spread_depends_on_the_flight(flights, bases):
    scores = {
        method: measure(bases, flights[1], method)[2].loc["altitude", "score"]
        for method in ("constant width", "quantile")
    }
    assert scores["quantile"] < 0.8 * scores["constant width"]


def test_the_method_is_chosen_for_each_column(flights, bases):
    calibration, placed, _ = measure(bases, flights[1])
    assert calibration.methods["altitude"] == "quantile"
    forced = measure(bases, flights[1], "quantile")[1]
    pd.testing.assert_frame_equal(placed["altitude"], forced["altitude"])


def test_later_flights_change_no_interval(flights, bases):
    errors = flights[1].copy()
    errors.loc[list(LATER)] += 1e6
    one, other = (measure(bases, table)[1] for table in (flights[1], errors))
    pd.testing.assert_frame_equal(one, other)


def test_a_band_holds_whole_flights_whose_spread_differs(flights, bases):
    calibration, *_ = measure(bases, flights[1])
    later = flights[1].loc[list(LATER)]
    band = place_band(calibration, bases, later.index)
    low, high = (band.xs(side, axis=1, level=1)[list(later)] for side in ("low", "high"))
    inside = ((later >= low) & (later <= high)).all(axis=1).groupby("path").all()
    assert 0.84 < inside.mean() < 0.97


def test_a_column_without_a_base_has_a_constant_width(flights, bases):
    calibration, placed, _ = measure(bases.drop(columns="altitude", level=1), flights[1])
    assert calibration.methods["altitude"] == "constant width"
    by_fraction = placed["altitude"].groupby(level="fraction")
    assert (by_fraction.min() == by_fraction.max()).all(axis=None)


def test_intervals_are_around_the_median_where_the_prediction_is_noise(flights):
    errors = flights[1].copy()
    noise = RNG.normal(0, 10, len(errors))
    errors["cross"] += noise  # flown - predicted
    sides = {("around the median", "cross", side): noise for side in ("low", "high")}
    calibration, placed, scores = measure(pd.DataFrame(sides, errors.index), errors)
    assert calibration.methods["cross"] == "around the median"
    assert scores.loc["cross", "coverage"] > 0.85
    constant = measure(pd.DataFrame(sides, errors.index), errors, "constant width")[2]
    assert scores.loc["cross", "score"] < 0.7 * constant.loc["cross", "score"]
    contains_prediction = (placed["cross", "low"] <= 0) & (placed["cross", "high"] >= 0)
    assert contains_prediction.all()


def test_the_base_around_the_median_is_its_distance_from_the_prediction():
    columns = pd.MultiIndex.from_product([["latitude", "longitude", "altitude"], [0.4, 0.6]])
    columns.names = [None, "fraction"]
    predicted = pd.DataFrame(
        [[40.0, 40.0, 1.0, 2.0, 100.0, 200.0], [40.5, 40.5, 1.0, 2.0, 300.0, 200.0]],
        pd.Index(["a.csv", "b.csv"], name="path"),
        columns,
    )
    median = pd.Series([40.0, 40.0, 1.0, 2.0, 150.0, 250.0], columns)
    bases = build_bases(None, predicted, median, measure_errors_ahead)["around the median"]
    assert bases["altitude", "low"].tolist() == [50, 50, -150, 50]
    assert bases["altitude", "low"].equals(bases["altitude", "high"])
    np.testing.assert_allclose(bases.loc["a.csv", "cross"], 0, atol=1e-9)
    # eastward at 40.5 N, half a degree south of it is 30 NM to the right
    np.testing.assert_allclose(bases.loc["b.csv", ("cross", "low")], 30, atol=0.3)


@pytest.mark.parametrize("folds", [2, 5, 99])
def test_flights_are_predicted_by_models_of_other_days(folds):
    days = pd.Series(np.repeat(np.arange(20), 10), PATHS[:200])
    predictors = pd.DataFrame({"hour": np.arange(200.0)}, days.index)
    rows = pd.MultiIndex.from_product([days.index, FRACTIONS], names=["path", "fraction"])
    # all days differ, so that only a model trained on a day has no error on it
    values = np.repeat(RNG.standard_normal(20), 10 * len(FRACTIONS))
    targets = pd.DataFrame({"altitude": values}, rows)
    model, wide = build_model("forest", trees=5), widen_targets(targets)
    predicted = predict_apart(model, predictors, wide, days, folds=folds)
    errors = targets - stack_targets(predicted)
    assert sorted(errors.index) == sorted(targets.index)
    assert errors["altitude"].std() > 0.7


def follow(bases, errors):
    methods = dict.fromkeys(errors, "constant width")
    later = errors.loc[list(PATHS[400:])]
    return adapt_coverage(later, bases, CALIBRATION, DAYS, methods=methods)


def test_levels_rise_after_days_of_low_coverage(flights, bases):
    errors = flights[1].copy()
    errors.loc[list(LATER[:50]), "altitude"] += 50_000
    levels = follow(bases, errors)["level"].xs("altitude", level="column")
    assert levels[LATER[0]] == 0.9
    assert levels[LATER[50]] > 0.95


def test_the_adaptive_level_holds_more_when_the_spread_grows(flights, bases):
    errors = flights[1].copy()
    errors.loc[list(LATER), "cross"] *= 1.5
    held = follow(bases, errors).xs("cross", level="column")
    assert held["fixed"].mean() < held["adaptive"].mean() - 0.03
    assert held["adaptive"].iloc[100:].mean() > 0.86


def test_a_day_does_not_change_its_own_level(flights, bases):
    errors = flights[1].copy()
    before = follow(bases, errors)["level"]
    errors.loc[list(PATHS[-10:])] += 50_000  # the last day
    pd.testing.assert_series_equal(before, follow(bases, errors)["level"])


def test_the_fixed_level_is_that_of_the_intervals_that_are_placed(flights, bases):
    errors = flights[1] + 0.5  # not around 0, so that the sides differ
    calibration, placed, _ = measure(bases, errors)
    later = errors.loc[list(PATHS[400:])]
    followed = adapt_coverage(later, bases, CALIBRATION, DAYS, methods=calibration.methods)
    scored = errors.loc[list(LATER)]
    low, high = (placed.xs(side, axis=1, level=1)[list(errors)] for side in ("low", "high"))
    inside = ((scored >= low) & (scored <= high)).groupby(level="path").mean()
    for name in errors:
        fixed = followed["fixed"].xs(name, level="column")
        np.testing.assert_allclose(fixed, inside.loc[fixed.index, name])
