import numpy as np
import pandas as pd
import pytest
from test_baselines import great_circle_flights, state_of

from trajlib.evaluation.arrivals import score_arrivals, score_before_landing
from trajlib.evaluation.baselines import predict_baselines
from trajlib.evaluation.bootstrap import draw_days, estimate_mean, estimate_percentile
from trajlib.evaluation.experiments import Experiment, run_descent_experiment, run_experiment
from trajlib.evaluation.groups import group_look_ahead, name_directions, name_phases
from trajlib.evaluation.splits import split_by_day
from trajlib.evaluation.tables import format_arrivals, format_errors, format_groups, format_skills
from trajlib.features.airborne import STATE
from trajlib.features.feature_sets import prediction_minutes
from trajlib.features.recent_traffic import HISTORY
from trajlib.features.targets import keep_unflown
from trajlib.geodesy import find_airport

BASELINES = ["mean", "median", "great circle", "operator and type", "last flight of the callsign"]
BASELINES += ["last three flights"]


@pytest.fixture(scope="module")
def late():
    return np.random.default_rng(0).uniform(0, 200, 48)


def tables(late):
    targets = great_circle_flights(late=late)
    paths = targets.index.unique("path")
    flights = pd.DataFrame({"path": paths, "origin": "SFO", "destination": "LAX"})
    flights["start"] = pd.date_range("2019-10-01", periods=48, freq="6h", tz="UTC")
    flights["end"] = flights["start"] + pd.Timedelta("1h")
    flights["callsign"] = [f"UAL{number % 5}" for number in range(48)]
    predictors = pd.DataFrame({"operator": "UAL", "aircraft_type": "A320"}, paths)
    return targets, flights, predictors, pd.Series(np.arange(48) % 8, paths)


def run(late, feature_set):
    targets, flights, predictors, days = tables(late)
    if feature_set.startswith("airborne"):
        minutes = prediction_minutes(feature_set)
        state = state_of(late, minutes).reindex(columns=list(STATE))
        predictors = predictors.join(state.add_suffix(f"_at_{minutes:.0f}"))
    options = {"feature_set": feature_set, "by": "route", "routes": targets, "flights": flights}
    splits = split_by_day(days)
    experiment = run_experiment(
        predictors, targets, [0.2, 0.45, 0.6], splits, models=["ridge"], days=days, **options
    )
    return experiment


def test_a_selection_has_the_errors_of_its_rows_alone(late):
    experiment = run(late, "at_takeoff")
    rows = experiment.models["ridge"].index[:7]
    selected = experiment.select(rows)
    for kind, name, errors in selected.list_errors():
        whole = {"model": experiment.models, "baseline": experiment.baselines}[kind][name]
        pd.testing.assert_frame_equal(errors, whole.loc[rows])


def test_rows_flown_before_the_prediction_time_are_no_targets(late):
    targets = great_circle_flights(late=late)
    unflown = keep_unflown(targets, [0.1, 0.45, 0.6], 20)
    flown = (targets["duration"] <= 1200).loc[unflown.index]
    assert unflown[flown].isna().all(axis=None)
    assert unflown[~flown].notna().all(axis=None)
    assert flown.any()
    assert 0.1 not in unflown.index.unique("fraction")  # nearly all had passed it
    assert len(keep_unflown(targets, [0.1, 0.45, 0.6])) == 3 * 48


def test_nothing_that_was_flown_has_an_error(late):
    experiment = run(late, "airborne_20")
    targets = great_circle_flights(late=late)
    for table in (*experiment.models.values(), *experiment.baselines.values()):
        flown = (targets["duration"] <= 1200).loc[table.index]
        assert table[flown].isna().all(axis=None)


def test_models_and_baselines_are_scored_on_the_same_rows(late):
    experiment = run(late, "airborne_10")
    assert list(experiment.baselines) == [*BASELINES, "dead reckoning", "delay-shifted median"]
    shapes = [
        t.notna().sum().tolist()
        for t in (*experiment.models.values(), *experiment.baselines.values())
    ]
    assert len(set(map(tuple, shapes))) == 1


def test_the_airborne_state_improves_the_arrival_time(late):
    experiment = run(late, "airborne_10")
    skills = experiment.compare()["skill"].xs("time", level="error")
    assert skills["ridge"] > 0.5
    experiment = run(late, "at_takeoff")
    assert list(experiment.baselines) == BASELINES
    assert experiment.compare()["skill"].xs("time", level="error")["ridge"] < 0.2


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("operator", "operator and type"),
        ("aircraft_type", "operator and type"),
        ("callsign", "last flight of the callsign"),
    ],
)
def test_a_baseline_is_left_out_where_no_flight_has_what_it_needs(late, name, without):
    targets, flights, predictors, _ = tables(late)
    for table in (flights, predictors):
        if name in table:
            table[name] = None
    splits = split_by_day(pd.Series(np.arange(48) % 8, predictors.index))
    options = {"feature_set": "at_takeoff", "by": "route", "routes": targets, "flights": flights}
    predicted = predict_baselines(predictors, targets, targets, splits, **options)
    assert list(predicted) == [each for each in BASELINES if each != without]


def test_a_model_worse_than_the_best_baseline_gets_that_verdict(late):
    experiment = run(late, "airborne_10")
    row = experiment.compare().loc[("ridge", "time")]
    assert row["best"] in ("dead reckoning", "delay-shifted median")  # exact here
    assert row["verdict"] == "worse"
    formatted = format_skills(experiment.compare())
    assert list(formatted) == ["position", "altitude", "time"]
    assert formatted.loc["ridge", "time"].endswith(" †")
    assert (
        f"{row['skill']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        in formatted.loc["ridge", "time"]
    )


def test_groups_are_formatted_in_their_order_with_their_intervals():
    rows = pd.MultiIndex.from_product(
        [[10, 5], ["altitude", "time"]], names=["minutes ahead", "error"]
    )
    columns = {"flights": [3, 4, 2, 2], "mean": [1951.55, 61.2, 900.0, np.nan]}
    columns |= {"skill": [0.25, 0.5, -0.001, np.nan], "low": [0.2, 0.4, np.nan, np.nan]}
    table = pd.DataFrame(columns | {"high": [0.28, 0.6, np.nan, np.nan]}, rows)
    formatted = format_groups(table, ["time", "altitude"])
    assert formatted.index.tolist() == [(10, 4), (5, 2)]
    assert formatted["time [min]"].to_numpy().tolist() == [
        ["1.020", "0.50 (0.40 to 0.60)"],
        ["", ""],
    ]
    assert formatted["altitude [ft]"].to_numpy().tolist() == [
        ["1,952", "0.25 (0.20 to 0.28)"],
        ["900.0", "0.00"],
    ]
    assert format_groups(table.iloc[:0], ["time", "altitude"]).empty


def test_a_predictor_not_available_yet_is_refused(late):
    targets, flights, predictors, days = tables(late)
    predictors[HISTORY[0]] = 1.0
    options = {"feature_set": "planned", "by": "route", "routes": targets, "flights": flights}
    with pytest.raises(ValueError, match="not known planned"):
        run_experiment(
            predictors, targets, [0.2], split_by_day(days), models=["ridge"], days=days, **options
        )


def test_a_flight_that_had_begun_its_descent_is_not_scored_on_it(late):
    _, _, predictors, days = tables(late)
    tops = pd.DataFrame({"top_of_descent_time": 500.0 + late, "top_of_descent_distance": 80.0},
                        predictors.index)  # fmt: skip
    state = state_of(late).reindex(columns=list(STATE)).add_suffix("_at_10")
    options = {"feature_set": "airborne_10", "models": ["ridge"], "days": days}
    experiment = run_descent_experiment(predictors.join(state), tops, split_by_day(days), **options)
    errors = experiment.models["ridge"]["top_of_descent_time"].droplevel("fraction")
    assert errors.notna().equals((tops["top_of_descent_time"] > 600).rename(errors.name))
    assert experiment.compare().loc[("ridge", "top_of_descent_time"), "skill"] > 0.5


def test_a_phase_lies_between_the_tops():
    targets = great_circle_flights(1)  # 2,513 s at 420 kt
    tops = pd.DataFrame({"top_of_climb_time": 900.0, "top_of_descent_time": 1500.0}, ["000.csv"])
    phases = name_phases(targets, tops).loc["000.csv"]
    assert phases[[0.2, 0.5, 0.8]].tolist() == ["climb", "cruise", "descent"]
    assert name_phases(targets, tops.assign(top_of_climb_time=np.nan)).isna().all()


def test_the_descent_experiment_is_empty_if_half_of_the_flights_had_begun_it(late):
    _, _, predictors, days = tables(late)
    early = np.arange(len(predictors)) % 2 * 400.0  # beyond 600 s
    tops = pd.DataFrame({"top_of_descent_time": 500.0 + early, "top_of_descent_distance": 80.0},
                        predictors.index)  # fmt: skip
    state = state_of(late).reindex(columns=list(STATE)).add_suffix("_at_10")
    options = {"feature_set": "airborne_10", "models": ["ridge"], "days": days}
    assert run_descent_experiment(predictors.join(state), tops, split_by_day(days), **options).empty


def test_the_direction_is_that_of_the_last_course_where_an_end_is_at_the_airport():
    targets = great_circle_flights(1)
    lax = find_airport("LAX")
    directions = {"N": (0, 1), "E": (1, 0.2), "S": (0.2, -1), "W": (-1, 0)}
    for name, (east, north) in directions.items():
        moved = np.linspace(0, 1, len(targets))
        flight = targets.assign(
            longitude=lax.longitude + east * moved, latitude=lax.latitude + north * moved
        )
        assert name_directions(flight, "LAX")["000.csv"] == name
        assert name_directions(flight[1:], "LAX").isna().all()  # begins too far out


def test_every_model_and_baseline_has_its_error_interval_and_skill(late):
    experiment = run(late, "airborne_10")
    table = experiment.tabulate()
    assert table.groupby("kind")["name"].unique().map(list).to_dict() == {
        "model": ["ridge"],
        "baseline": list(experiment.baselines),
    }
    units = table.drop_duplicates("quantity").set_index("quantity")["unit"]
    assert units[["horizontal", "altitude", "time"]].tolist() == ["NM", "ft", "min"]
    row = table[(table["name"] == "ridge") & (table["quantity"] == "time")].iloc[0]
    assert row["error"] == pytest.approx(experiment.models["ridge"]["time"].mean() / 60)
    assert row["low"] < row["error"] < row["high"]
    skills = experiment.compare().loc[("ridge", "time")]
    np.testing.assert_allclose(
        row[["skill", "skill_low", "skill_high"]].astype(float),
        skills[["skill", "low", "high"]].astype(float),
    )
    mean = table[(table["name"] == "mean") & (table["quantity"] == "time")].iloc[0]
    assert mean["skill"] == 0


def test_errors_are_shown_with_their_unit_and_interval(late):
    experiment = run(late, "airborne_10")
    shown = format_errors(experiment.tabulate(), ["time"])
    assert list(shown) == ["time [min]"]
    row = experiment.tabulate().query("name == 'ridge' and quantity == 'time'").iloc[0]
    expected = f"{row['error']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    assert shown.loc[("10 min into the flight", "model", "ridge"), "time [min]"] == expected
    assert expected in experiment._repr_html_()


def test_errors_are_tabulated_by_look_ahead_time():
    rows = pd.MultiIndex.from_product([list("abc"), [12.0, 25.0]], names=["path", "minute"])
    errors = pd.DataFrame({"horizontal": [1.0, 9.0] * 3}, rows)
    days = pd.Series([1, 2, 3], list("abc"))
    experiment = Experiment("airborne_10", {"ridge": errors}, {"mean": 2 * errors}, days)
    table = experiment.tabulate(group_look_ahead(rows, "airborne_10", [5, 10, 20]))
    model = table[table["kind"] == "model"].set_index("minutes ahead")["error"]
    assert model.to_dict() == {5.0: 1.0, 20.0: 9.0}


def nothing_ahead():
    rows = pd.MultiIndex.from_product([list("ab"), [0.5]], names=["path", "fraction"])
    errors = pd.DataFrame(np.nan, rows, ["horizontal", "time"])
    days = pd.Series([1, 2], list("ab"))
    return Experiment(
        "airborne_30", {"ridge": errors}, {n: errors for n in ("mean", "median")}, days
    )


def test_an_experiment_without_rows_gives_empty_tables(late):
    experiment = run(late, "at_takeoff")
    nothing = experiment.select(experiment.models["ridge"].index[:0])
    assert nothing.empty
    assert nothing.compare().empty
    assert nothing.tabulate().empty
    assert score_arrivals([nothing])["flights"].eq(0).all()


def test_an_experiment_without_unflown_rows_gives_empty_tables():
    experiment = nothing_ahead()
    assert experiment.empty
    table, full = experiment.compare(), compare_of_two()
    assert table.empty
    assert table.index.names == full.index.names
    assert list(table) == list(full)
    assert format_skills(table).empty
    assert list(format_skills(table)) == ["position", "altitude", "time"]
    assert experiment.tabulate().empty
    assert {"quantity", "unit", "error", "skill_high"} <= set(experiment.tabulate())
    assert format_errors(experiment.tabulate()).empty
    arrivals = score_arrivals([experiment])
    assert arrivals["mae"].isna().all()
    assert score_before_landing([experiment], pd.Series(3600.0, list("ab"))).empty


def compare_of_two():
    rows = pd.MultiIndex.from_product([list("ab"), [0.5]], names=["path", "fraction"])
    errors = pd.DataFrame({"horizontal": [1.0, 2.0]}, rows)
    simple = {name: errors + 1 for name in ("mean", "median")}
    days = pd.Series([1, 2], list("ab"))
    return Experiment("at_takeoff", {"ridge": errors}, simple, days).compare()


@pytest.mark.parametrize("tops", [pd.DataFrame(index=pd.Index([], name="path")), None])
def test_without_tops_of_descent_the_descent_experiment_is_empty(late, tops):
    _, _, predictors, days = tables(late)
    if tops is None:  # no flight has one
        tops = pd.DataFrame(
            np.nan, predictors.index, ["top_of_descent_time", "top_of_descent_distance"]
        )
    experiment = run_descent_experiment(
        predictors, tops, split_by_day(days), feature_set="at_takeoff", models=["ridge"], days=days
    )
    assert experiment.empty
    assert format_skills(experiment.compare(), ["top_of_descent_time"]).empty


def arrivals():
    paths = list("abcdef")
    rows = pd.MultiIndex.from_product([paths, [1.0]], names=["path", "fraction"])
    days = pd.Series([1, 1, 2, 2, 3, 3], paths)
    experiments = []
    for name, minutes in {"at_takeoff": 8.0, "airborne_30": 2.0}.items():
        errors = pd.DataFrame({"time": 60 * (minutes + np.arange(6) / 10)}, rows)
        baselines = {"mean": errors + 60, "median": errors + 61}
        experiments.append(Experiment(name, {"ridge": errors}, baselines, days))
    return experiments, pd.Series(3600.0, paths)


def test_arrivals_are_scored_in_minutes_by_prediction_time():
    table = score_arrivals(arrivals()[0])
    row = table.loc[("airborne_30", "model", "ridge")]
    assert row["flights"] == 6
    assert row["mae"] == pytest.approx(2.25)
    assert row["p95"] == pytest.approx(2.5)
    assert row["low"] <= row["mae"] <= row["high"]
    assert row[["best", "verdict"]].tolist() == ["mean", "beats it"]
    early = table.loc[("at_takeoff", "baseline", "mean")]  # errors of 9.0 to 9.5 min
    assert early[["within_5", "within_10", "within_15"]].tolist() == [0, 1, 1]
    assert format_arrivals(table)["within 5 / 10 / 15 min [%]"].tolist()[:2] == [
        "0 / 100 / 100",
        "0 / 100 / 100",
    ]
    assert table.loc[("airborne_30", "baseline", "mean"), "mae"] == pytest.approx(3.25)


def test_arrival_errors_no_better_than_those_of_the_best_baseline_are_marked():
    (experiment, _), _ = arrivals()
    errors = experiment.models["ridge"]
    noise = errors.assign(time=errors["time"] + [30.0, -30, -30, 30, 30, -30])
    baselines = {"mean": noise, "median": noise + 60}
    noisy = Experiment("at_takeoff", {"ridge": errors}, baselines, experiment.days)
    table = score_arrivals([noisy])
    assert table.loc[("at_takeoff", "model", "ridge"), "verdict"] == "no better"
    texts = format_arrivals(table)["mean absolute error [min]"]
    assert texts.str.endswith(" *").tolist() == [True, False, False]


def test_arrivals_are_scored_by_the_minutes_that_were_left_until_landing():
    experiments, durations = arrivals()
    table = score_before_landing(experiments, durations)
    models = table.xs("model", level="kind")["mae"].droplevel("name")
    assert models.to_dict() == pytest.approx({60: 8.25, 30: 2.25})
    assert [str(minutes) for minutes in models.index] == ["60", "30"]


def test_bootstrap_draws_have_as_many_days_as_the_data_and_depend_on_the_seed():
    drawn = draw_days(7, 50)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert (drawn == draw_days(7, 50)).all()
    assert (drawn != draw_days(7, 50, seed=1)).any()


def test_a_mean_and_a_percentile_have_an_interval_unless_there_is_one_day():
    rng = np.random.default_rng(0)
    rows = pd.MultiIndex.from_product([range(300), [0.5]], names=["path", "fraction"])
    errors = pd.DataFrame({"time": rng.exponential(60, 300)}, rows)
    days = pd.Series(np.arange(300) % 20, range(300))
    mean = estimate_mean(errors, days).loc["time"]
    p95 = estimate_percentile(errors, days).loc["time"]
    assert mean["mean"] == pytest.approx(errors["time"].mean())
    assert p95["value"] == np.sort(errors["time"])[284]  # 285 of 300 do not exceed it
    for name, row in {"mean": mean, "value": p95}.items():
        assert row["low"] < row[name] < row["high"]
    for estimate in (estimate_mean, estimate_percentile):
        assert estimate(errors, days * 0).loc["time", ["low", "high"]].isna().all()
