import json
import os
import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from trajlib import build_index, select_flights, store_flights
from trajlib.cli import main
from trajlib.evaluation.splits import local_days
from trajlib.features import feature_sets as features
from trajlib.features.targets import FRACTIONS, append_arrival, build_targets_by
from trajlib.models.estimators import build_model
from trajlib.models.flight_inputs import (
    DESCRIPTION,
    build_flight_row,
    load_flight,
    load_flight_table,
    parse_time,
)
from trajlib.models.inference import (
    FlightPrediction,
    build_flight_predictors,
    has_recent_flights,
    open_store,
    predict_flight,
    predict_flights,
)
from trajlib.models.prediction_warnings import list_model_warnings, list_warnings
from trajlib.models.saved_models import load_model, save_model, train_model

PAIR = "LEMD", "LEBL"
FEATURE_SETS = ("planned", "at_takeoff", "airborne_10")


@pytest.fixture(scope="module")
def data(tiny_archive, tmp_path_factory):
    """Store the pair's flights and save a model of each feature set, as a report does."""
    data = tmp_path_factory.mktemp("inference") / "data"
    selected = select_flights(build_index(tiny_archive, data / "index.parquet"), *PAIR)
    store = store_flights(selected, data / "interim" / "LEMD-LEBL")
    targets = build_targets_by(store, {"route": ("route", FRACTIONS), "arrival": ("time", [1.0])})
    flown = append_arrival(targets["route"], targets["arrival"])
    days = local_days(store)
    for feature_set, predictors in features.build_predictors_by(store, FEATURE_SETS).items():
        saved = train_model(
            build_model(trees=5), predictors, flown, days,
            feature_set=feature_set, pair="LEMD-LEBL", by="route",
        )  # fmt: skip
        save_model(saved, data / "processed" / "LEMD-LEBL" / "prediction" / feature_set)
    return data


@pytest.fixture(scope="module")
def store(data):
    return open_store(data / "interim" / "LEMD-LEBL")


@pytest.fixture(scope="module")
def csv(store, tiny_archive):
    """Return a flight that departs before a third of the others."""
    sound = store[store["rejected"].isna()].sort_values("start")
    return tiny_archive / sound["path"].iloc[2 * len(sound) // 3]


@pytest.fixture
def predict_and_draw(data, tmp_path):
    """Run the command; return its exit status and output."""

    def predict(*arguments):
        options = ["predict", "--data", data, "--output", tmp_path / "predict", "--origin", "LEMD"]
        arguments = [*options, "--destination", "LEBL", *arguments]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return predict


@pytest.fixture
def predict(predict_and_draw, monkeypatch):
    """Run the command without the figure, which takes most of its time."""
    monkeypatch.setattr("trajlib.plots.prediction.plot_trajectory", lambda *_, **__: Mock())
    return predict_and_draw


@pytest.fixture
def elsewhere(csv, tiny_archive, tmp_path):
    """Return flights from Madrid to Málaga that depart shortly before the flight of the file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "columns.toml").write_bytes((tiny_archive / "columns.toml").read_bytes())
    raw = pd.read_csv(csv)
    times = pd.to_datetime(raw["timestamp"])
    for minutes in (20, 50, 80):
        earlier = (times - pd.Timedelta(minutes, "min")).dt.strftime("%Y-%m-%dT%H:%M:%S%z")
        moved = raw.assign(timestamp=earlier, destination="LEMG")
        moved.to_csv(folder / f"{minutes}.csv", index=False)
    return build_index(folder)


def test_features_of_other_traffic_are_those_of_training(store, csv, elsewhere):
    flight, _ = load_flight(csv, PAIR)
    trained = features.build_predictors(store, "at_takeoff", traffic=elsewhere).loc[flight["path"]]
    alone = features.build_predictors(store, "at_takeoff").loc[flight["path"]]
    assert trained[alone.columns[alone.isna().any()]].notna().any(axis=None)
    predictors = build_flight_predictors(flight, "at_takeoff", past=store, traffic=elsewhere)
    pd.testing.assert_frame_equal(predictors, trained, check_dtype=False)


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_features_of_one_flight_are_those_of_training(store, csv, feature_set):
    flight, samples = load_flight(csv, PAIR, 10)
    predictors = build_flight_predictors(flight, feature_set, past=store, samples=samples)
    trained = features.build_predictors(store, feature_set).loc[predictors.index]
    history = predictors.filter(regex="^(recent|callsign)_").notna().any(axis=None)
    assert history == (feature_set != "planned")
    pd.testing.assert_frame_equal(predictors, trained, check_dtype=False)


def test_a_described_flight_has_the_features_of_one_with_a_file(store, csv):
    flight, _ = load_flight(csv, PAIR)
    row = flight.iloc[0]
    names = ["callsign", "operator", "aircraft_type"]
    described = build_flight_row(PAIR, row["start"], **{name: row[name] for name in names})
    predictors = build_flight_predictors(
        described, "at_takeoff", past=store[store["path"] != row["path"]]
    )
    expected = build_flight_predictors(flight, "at_takeoff", past=store)
    pd.testing.assert_frame_equal(
        predictors.reset_index(drop=True), expected.reset_index(drop=True)
    )


def test_without_an_archive_recent_traffic_is_missing_with_a_warning(data, csv):
    flight, samples = load_flight(csv, PAIR, 10)
    predictors = build_flight_predictors(flight, "airborne_10", samples=samples)
    assert predictors.filter(regex="^(recent|callsign)_").isna().all(axis=None)
    assert predictors.filter(regex="_at_10$").notna().all(axis=None)
    card = json.loads(next(data.rglob("airborne_10/card.json")).read_text("utf-8"))
    warnings = list_warnings(type("Saved", (), {"card": card}), predictors.iloc[0], "LEMD-LEBL")
    assert [line for line in warnings if "is in the archive" in line] == warnings[-2:]
    assert "of the pair" in warnings[-2]
    assert "of the same callsign" in warnings[-1]


def test_a_model_trained_with_other_traffic_warns_if_it_is_missing(data, store, csv):
    flight, _ = load_flight(csv, PAIR)
    predictors = build_flight_predictors(flight, "at_takeoff", past=store)
    card = json.loads(next(data.rglob("at_takeoff/card.json")).read_text("utf-8"))
    warnings = {}
    for others in (0, 1234):
        saved = type("Saved", (), {"card": card | {"other_traffic": others}})
        warnings[others] = list_warnings(saved, predictors.iloc[0], "LEMD-LEBL", traffic=False)
    assert warnings[1234][:-1] == warnings[0]
    assert "1,234 flights of other pairs" in warnings[1234][-1]


def test_a_prediction_does_not_depend_on_samples_after_its_time(
    predict, csv, tiny_archive, tmp_path
):
    (tmp_path / "columns.toml").write_bytes((tiny_archive / "columns.toml").read_bytes())
    raw = pd.read_csv(csv, dtype=str)
    later = raw.index >= len(load_flight(csv, PAIR, 10)[1])
    changed = raw.copy()
    for name in ("latitude", "longitude", "altitude"):
        bend = np.linspace(1, 0.99, later.sum())  # gradual, so that an aircraft can fly it
        changed.loc[later, name] = (raw.loc[later, name].astype(float) * bend).round(6).astype(str)
    tables = []
    for table in (raw, changed):
        table.to_csv(tmp_path / "one.csv", index=False)
        status, output = predict("--csv", tmp_path / "one.csv", "--minutes", 10)
        assert status == 0, output
        tables.append(pd.read_csv(tmp_path / "predict" / "one.csv"))
    predictions = [table.filter(regex="(?<!_flown)$") for table in tables]
    pd.testing.assert_frame_equal(*predictions)
    assert not tables[0].equals(tables[1])  # the flown part has changed


def test_samples_are_loaded_up_to_the_prediction_time(csv, tmp_path):
    _, whole = load_flight(csv, PAIR, 10)
    lines = csv.read_text("utf-8").splitlines()
    (tmp_path / "cut.csv").write_text("\n".join(lines[: len(whole) + 1]), "utf-8")
    _, cut = load_flight(tmp_path / "cut.csv", PAIR, 10)
    pd.testing.assert_frame_equal(whole, cut)
    assert (whole["timestamp"] - whole["timestamp"].iloc[0]).max() <= pd.Timedelta(minutes=10)
    assert len(load_flight(csv, PAIR)[1]) == 1


@pytest.mark.parametrize("pair", [("LEBL", "LEBL"), ("LEMD", "LEMD")])
def test_a_flight_of_another_pair_is_refused(csv, pair):
    with pytest.raises(ValueError, match=r"its (origin|destination) is LE.., expected"):
        load_flight(csv, pair)


def test_identity_comes_from_the_path_and_from_constants(csv, tmp_path):
    (tmp_path / "columns.toml").write_text(
        "path = '(?P<callsign>(?P<operator>[A-Z]{3})[0-9]+)'\n[constants]\naircraft_type = 'A320'"
    )
    samples = pd.read_csv(csv).drop(columns=["callsign", "operator", "aircraft_type"])
    samples.to_csv(tmp_path / "IBE1234.csv", index=False)
    flight, _ = load_flight(tmp_path / "IBE1234.csv", PAIR)
    assert flight[[*DESCRIPTION]].iloc[0].tolist() == ["IBE1234", "IBE", "A320"]


@pytest.mark.parametrize("form", [str, Path])
def test_identity_in_an_object_store_comes_from_columns_toml_above(server, form):
    import boto3

    s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
    s3.create_bucket(Bucket="flights")
    rows = "\n2016-01-01T06:00:00Z,40.5,0,100\n2016-01-01T06:01:00Z,40.5,0.1,100\n"
    for key, text in {
        "archive/few/columns.toml": "[columns]\nlatitude = 'lat'\n[constants]\noperator = 'IBE'",
        "archive/few/LEMD-LEBL/a.csv": f"timestamp,lat,longitude,altitude{rows}",
        "alone.csv": f"timestamp,latitude,longitude,altitude{rows}",
    }.items():
        s3.put_object(Bucket="flights", Key=key, Body=text.encode())
    flight, samples = load_flight(form("s3://flights/archive/few/LEMD-LEBL/a.csv"), PAIR)
    alone, _ = load_flight(form("s3://flights/alone.csv"), PAIR)
    assert samples["latitude"].tolist() == [40.5]
    names = ["archive", "path", "operator"]
    assert flight[names].iloc[0].tolist() == [
        "s3://flights/archive/few",
        "LEMD-LEBL/a.csv",
        "IBE",
    ]
    assert alone[["archive", "path"]].iloc[0].tolist() == ["s3://flights", "alone.csv"]


def test_unreadable_flights_of_other_pairs_give_no_features(store, csv, elsewhere):
    flight, _ = load_flight(csv, PAIR)
    for path in elsewhere["path"]:
        file = Path(elsewhere["archive"].iloc[0]) / path
        lines = file.read_text().splitlines()
        bad = [line.replace("40.", "95.") for line in lines[9:]]
        file.write_text("\n".join([*lines[:9], *bad]))
    unreadable = build_index(Path(elsewhere["archive"].iloc[0]), file.parent / "again.parquet")
    predictors = build_flight_predictors(flight, "at_takeoff", past=store, traffic=unreadable)
    pd.testing.assert_frame_equal(
        predictors, build_flight_predictors(flight, "at_takeoff", past=store)
    )


@pytest.mark.parametrize(
    ("minutes", "feature_set"), [((), "at_takeoff"), (("--minutes", 10), "airborne_10")]
)
def test_a_csv_is_predicted_at_take_off_or_after_some_minutes(predict, csv, minutes, feature_set):
    status, output = predict("--csv", csv, *minutes)
    assert status == 0, output
    assert f"feature set {feature_set};" in output
    assert re.search(r"arrival +\d\d:\d\d UTC \(\d\d:\d\d local\), 90 % between", output)


def test_an_arrival_after_midnight_has_its_date():
    start = pd.Timestamp("2016-03-01 23:30", tz="UTC")
    seconds = {"duration": [3000.0], "duration_low": [1740.0], "duration_high": [3600.0]}
    flight = build_flight_row(PAIR, start, callsign="ibe1234").iloc[0]
    prediction = FlightPrediction(
        flight, pd.DataFrame(seconds), "planned", 0.9, [], usual=pd.DataFrame()
    )
    assert prediction.describe()[:3] == [
        "IBE1234, LEMD → LEBL, Tuesday 1 March 2016 (UTC)",
        "take-off 23:30 UTC (00:30 local on 2 March), in the air",
        "arrival  00:20 UTC on 2 March (01:20 local on 2 March), 90 % between 23:59 UTC and "
        "00:30 UTC on 2 March",
    ]


def test_a_prediction_is_written_as_a_table_a_map_and_a_figure(predict_and_draw, csv, tmp_path):
    assert predict_and_draw("--csv", csv, "--minutes", 10)[0] == 0
    output = tmp_path / "predict" / csv.stem
    table = pd.read_csv(f"{output}.csv", index_col="fraction")
    names = ["altitude_low", "altitude", "altitude_high", "altitude_flown"]
    assert table[names].notna().all(axis=None)
    geojson = json.loads(Path(f"{output}.geojson").read_text("utf-8"))
    names = [feature["properties"]["name"] for feature in geojson["features"]]
    assert names == ["predicted", "interval", "band", "flown"]
    assert Path(f"{output}.png").read_bytes().startswith(b"\x89PNG")


def test_a_described_flight_is_predicted_at_take_off(predict):
    status, output = predict("--time", "2016-03-01T08:00", "--callsign", "IBE1", "--type", "A320")
    assert status == 0, output
    assert "feature set at_takeoff" in output


def test_a_described_flight_without_an_archive_uses_planned(predict, data):
    (data / "interim").rename(data / "away")
    try:
        status, output = predict("--time", "2016-03-01T08:00", "--operator", "QQQ")
    finally:
        (data / "away").rename(data / "interim")
    assert status == 0, output
    assert "feature set planned" in output
    assert "operator QQQ was in no training flight" in output
    assert "aircraft type is not given" in output


def test_a_flight_without_a_flight_of_the_pair_in_the_week_before_uses_planned(predict, data):
    status, output = predict("--time", "2017-03-01T08:00", "--callsign", "IBE1", "--type", "A320")
    assert status == 0, output
    assert "feature set planned" in output
    assert "No flight of the pair in the week before" in output


def test_each_flight_of_a_table_is_predicted_by_the_model_that_knows_most(
    predict, data, store, tmp_path
):
    start = store["start"].max() + pd.Timedelta(1, "D")
    times = [start, start + pd.Timedelta(365, "D"), start]
    table = tmp_path / "flights.csv"
    pd.DataFrame({"time": [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]}).to_csv(table)
    status, output = predict(table)
    assert status == 0, output
    answer = pd.read_csv(tmp_path / "predict" / "flights.predicted.csv")
    folder = data / "processed" / "LEMD-LEBL" / "prediction"
    for feature_set, rows in {"at_takeoff": [0, 2], "planned": [1]}.items():
        flights = load_flight_table(table, PAIR).loc[rows]
        expected = predict_flights(load_model(folder / feature_set), flights, past=store)
        assert answer.loc[rows, "minutes"].tolist() == expected["minutes"].tolist()
        assert answer.loc[rows, "warnings"].tolist() == expected["warnings"].tolist()


def test_recent_flights_are_those_that_landed_in_the_week_before(store):
    landed = store["end"].min()
    gaps = pd.Series(pd.to_timedelta([-1, 0, 1, 7 * 24, 7 * 24 + 1], "h"))
    past = store.assign(end=landed)
    expected = [False, False, True, True, False]
    assert has_recent_flights(past, landed + gaps).tolist() == expected
    assert has_recent_flights(past, (landed + gaps)[::-1]).tolist() == expected[::-1]
    assert has_recent_flights(past, (landed + gaps).set_axis([0] * 5)).tolist() == expected
    assert not has_recent_flights(past.assign(rejected="away"), landed + gaps).any()
    assert not has_recent_flights(None, landed + gaps).any()


def test_a_callsign_with_a_path_is_written_inside_the_output_folder(predict, tmp_path):
    status, output = predict("--time", "2016-03-05T07:00", "--callsign", "../IBE1")
    assert status == 0, output
    assert not list(tmp_path.glob("*.csv"))
    assert len(list((tmp_path / "predict").glob("*IBE1.csv"))) == 1


def test_a_pair_without_models_is_refused_with_the_command_that_makes_them(predict):
    status, output = predict("--destination", "LEPA", "--time", "2016-03-05T07:00")
    assert status == 1
    assert "no report of LEMD → LEPA has saved models yet" in output
    assert "report --archive ARCHIVE --origin LEMD --destination LEPA" in output


def test_a_missing_callsign_is_not_one_without_earlier_flights(saved, store):
    start = store["start"].max() + pd.Timedelta(1, "D")
    for callsign in (None, "QQQ12"):
        flight = build_flight_row(PAIR, start, callsign=callsign)
        answer = predict_flight(saved, flight, past=store)
        (listed,) = predict_flights(saved, flight, past=store)["warnings"]
        for text in (" ".join(answer.warnings), listed):
            assert ("same callsign" in text) == (callsign is not None)
        assert answer.describe()[1].endswith("in the air")


def test_a_prediction_time_without_a_model_is_refused_with_the_existing_ones(predict, csv):
    status, output = predict("--csv", csv, "--minutes", 7)
    assert status == 1
    assert "no model airborne_7" in output
    assert "airborne_10, at_takeoff, planned" in output


@pytest.mark.parametrize(
    ("feature_set", "minutes", "remedy"),
    [
        ("airborne_10", ("--minutes", 5), "--csv and --minutes 10"),
        ("airborne_10", (), "--csv and --minutes 10"),
        ("at_takeoff", ("--minutes", 10), "no --minutes"),
    ],
)
def test_a_model_for_another_prediction_time_is_refused(
    predict, data, csv, tmp_path, feature_set, minutes, remedy
):
    model = data / "processed" / "LEMD-LEBL" / "prediction" / feature_set
    arguments = ("--model", model, "--csv", csv)
    status, output = predict(*arguments, *minutes)
    assert status == 2
    assert f"the feature set {feature_set}: give {remedy}" in output
    assert not (tmp_path / "predict").exists()


def test_a_model_without_operators_warns_that_there_are_none(data):
    card = json.loads(next(data.rglob("planned/card.json")).read_text("utf-8"))
    saved = type("Saved", (), {"card": card | {"categories": {"operator": []}}})
    start = pd.Timestamp("2016-03-01 08:00", tz="UTC")
    predictors = features.build_predictors(
        build_flight_row(PAIR, start, callsign="QQQ12"), "planned"
    )
    (operator,) = list_warnings(saved, predictors.iloc[0], "LEMD-LEBL")
    assert "(there are none)" in operator


def test_unknown_pair_operator_and_type_are_warned_of(data):
    card = json.loads(next(data.rglob("planned/card.json")).read_text("utf-8"))
    saved = type("Saved", (), {"card": card})
    start = pd.Timestamp("2016-03-01 08:00", tz="UTC")
    flight = build_flight_row(PAIR, start, callsign="QQQ12")
    months = {"month": card["categories"]["month"][0], "weekday": card["categories"]["weekday"][0]}
    predictors = features.build_predictors(flight, "planned").assign(**months)
    pair, operator, kind = list_warnings(saved, predictors.iloc[0], "LEMD-LEPA")
    assert "LEMD-LEBL only" in pair
    assert "no prediction for LEMD-LEPA" in pair
    assert "operator QQQ was in no training flight" in operator
    assert "aircraft type is not given" in kind
    usual = {name: values[0] for name, values in card["categories"].items()}
    assert list_warnings(saved, predictors.assign(**usual).iloc[0], "LEMD-LEBL") == []


NOW = pd.Timestamp("2026-11-28T23:30Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-03-05T07:00", "2016-03-05T07:00Z"),
        ("2016-03-05 07:00", "2016-03-05T07:00Z"),
        ("2016-03-05T07:00+02:00", "2016-03-05T05:00Z"),
        ("2016-03-05T07:00 local", "2016-03-05T06:00Z"),
        ("tomorrow 07:00", "2026-11-29T07:00Z"),
        ("tomorrow 07:00 local", "2026-11-30T06:00Z"),  # in Madrid it is the 29th already
        ("today 7:00", "2026-11-28T07:00Z"),
        ("now", "2026-11-28T23:30Z"),
    ],
)
def test_a_time_is_parsed_from_words_and_from_iso_8601(text, expected):
    assert parse_time(text, "LEMD", now=NOW) == pd.Timestamp(expected)


@pytest.mark.parametrize(
    "text",
    [
        "05/03/2016",
        "NaT",
        "",
        "9999-12-31T23:00",
        "tomorrow",
        "soon",
        "today 25:00",
        "today -3:00",
        "tomorrow +3:00",
    ],
)
def test_other_times_are_refused_with_the_forms_that_are_expected(text):
    with pytest.raises(ValueError, match=r"expected 2016-03-05T07:00 \(UTC\).*tomorrow 07:00"):
        parse_time(text, "LEMD", now=NOW)


@pytest.fixture(scope="module")
def saved(data):
    return load_model(data / "processed" / "LEMD-LEBL" / "prediction" / "at_takeoff")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("2030-03-01T08:00Z", "14 years after the last training day"),
        ("1916-03-01T08:00Z", "100 years before the first training day"),
        ("2016-03-01T02:00Z", "training flights began within an hour of 03:00 local time"),
    ],
)
def test_a_date_or_an_hour_outside_the_training_is_warned_of(saved, start, message):
    flight = build_flight_row(PAIR, pd.Timestamp(start), callsign="IBE1")
    predictors = build_flight_predictors(flight, "at_takeoff")
    warnings = list_warnings(saved, predictors.iloc[0], "LEMD-LEBL", start=flight["start"].item())
    assert sum(message in line for line in warnings) == 1
    usual = build_flight_row(PAIR, pd.Timestamp("2016-03-01T08:00Z"), callsign="IBE1")
    predictors = build_flight_predictors(usual, "at_takeoff")
    warnings = list_warnings(saved, predictors.iloc[0], "LEMD-LEBL", start=usual["start"].item())
    assert not any(message in line for line in warnings)


def test_a_history_of_years_before_is_not_used(store):
    row = store[store["callsign"].duplicated(keep=False) & store["rejected"].isna()].iloc[0]
    has_history = {}
    for years in (0, 14):
        start = store["start"].max() + pd.Timedelta(1 + 365 * years, "D")
        flight = build_flight_row(PAIR, start, callsign=row["callsign"])
        predictors = build_flight_predictors(flight, "at_takeoff", past=store)
        has_history[years] = predictors.filter(regex="^(recent|callsign)_").notna().any(axis=None)
    assert has_history == {0: True, 14: False}


def test_intervals_of_few_calibration_days_or_of_bad_coverage_are_warned_of(saved):
    facts = {
        "calibration": {"days": 6},
        "scores": {"random days": {"arrival": 0.55}, "forward in time": {"arrival": 0.88}},
        "against_naive": {"random days": 0.8, "forward in time": 1.13},
    }
    warnings = " ".join(list_model_warnings(saved.card | facts))
    assert "calibrated on 6 days only" in warnings
    assert "drawn at random from the whole period, 55 % of the flights arrived within" in warnings
    assert "the last days, with a model of the days before, the interval of the" in warnings
    assert "was 13 % worse (interval score) than one without a model" in warnings
    assert warnings.count("the last days") == 1


def test_warnings_about_a_model_stand_once_beside_a_table(predict, data, tmp_path):
    folder = data / "processed" / "LEMD-LEBL" / "prediction" / "planned"
    saved = load_model(folder)
    bad = {"random days": {"arrival": 0.55}}
    changed = replace(saved, card=saved.card | {"scores": bad})
    try:
        save_model(changed, folder)
        (tmp_path / "flights.csv").write_text("time\n2019-05-01T08:00\n2019-05-02T08:00\n")
        status, output = predict(tmp_path / "flights.csv")
        assert status == 0, output
        assert output.count("Predictions before departure: On held-out days") == 1
        alone = predict("--time", "2019-05-01T08:00")[1]
        assert alone.count("On held-out days") == 1
    finally:
        save_model(saved, folder)
    answer = pd.read_csv(tmp_path / "predict" / "flights.predicted.csv")
    assert not answer["warnings"].str.contains("held-out").any()


def test_a_table_of_flights_is_predicted_as_each_flight_alone(saved, store, tmp_path):
    lines = ["callsign,aircraft_type,time,gate"]
    lines += ["IBE1234,A320,2016-05-01T08:00,B2", ",,2016-05-02T18:00 local,"]
    (tmp_path / "flights.csv").write_text("\n".join(lines))
    flights = load_flight_table(tmp_path / "flights.csv", PAIR)
    table = predict_flights(saved, flights, past=store)
    assert table["operator"].tolist() == ["IBE", None]
    assert str(table["takeoff"].iloc[1]) == "2016-05-02 16:00:00+00:00"
    assert str(table["takeoff_local"].iloc[1]) == "2016-05-02 18:00:00"
    assert "not given" in table["warnings"].iloc[1]
    for number in (0, 1):
        alone = predict_flights(saved, flights.iloc[[number]], past=store)
        pd.testing.assert_frame_equal(alone, table.iloc[[number]], check_dtype=False)
    assert (table["arrival_low"] < table["arrival"]).all()
    assert (table["arrival"] < table["arrival_high"]).all()


def test_a_full_disk_leaves_no_half_table_of_predictions(predict, tmp_path, monkeypatch):
    (tmp_path / "flights.csv").write_text("time\n2016-05-01T08:00\n")
    fail = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    status, output = predict(tmp_path / "flights.csv")
    assert status == 1
    assert "the disk is full: flights.predicted.csv could not be written" in output
    assert not any((tmp_path / "predict").iterdir())


def test_a_table_of_flights_needs_times_alone(tmp_path):
    (tmp_path / "flights.csv").write_text("time,operator\n2016-05-01T08:00,IBE\n2016-05-01T09:00,")
    flights = load_flight_table(tmp_path / "flights.csv", PAIR)
    assert flights["operator"].tolist() == ["IBE", None]
    assert flights["callsign"].tolist() == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("callsign\nIBE1", "expected a column time"),
        ("", "flights.csv is no CSV that can be read"),
        ("time,callsign\n", "flights.csv: no flight below the header"),
        ("time\n2016-05-01T08:00\nlater", "line 3: 'later' is not a time"),
        ("time,gate\n2016-05-01T08:00,B2\n\nlater,B3", "line 4: 'later' is not a time"),
        ("time,origin\n2016-05-01T08:00,MAD\n2016-05-01T08:00,LEMG", "line 3: its origin is LEMG"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_line(tmp_path, text, message):
    (tmp_path / "flights.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_flight_table(tmp_path / "flights.csv", PAIR)


def test_a_table_of_flights_may_have_spaces_small_letters_and_blank_lines(saved, tmp_path):
    text = "time, callsign, aircraft_type\n2016-05-01T08:00, ibe1234 , a320\n\n\n"
    (tmp_path / "flights.csv").write_text(text)
    flights = load_flight_table(tmp_path / "flights.csv", PAIR)
    table = predict_flights(saved, flights)
    assert table[["callsign", "operator", "aircraft_type"]].iloc[0].tolist() == [
        "IBE1234",
        "IBE",
        "A320",
    ]


def test_a_type_in_small_letters_is_that_of_the_training_flights(saved):
    start = pd.Timestamp("2016-05-01T08:00Z")
    one, other = (
        predict_flight(saved, build_flight_row(PAIR, start, operator=code, aircraft_type=name))
        for code, name in (("IBE", "A320"), ("ibe", "a320"))
    )
    pd.testing.assert_frame_equal(one.trajectory, other.trajectory)
    assert one.warnings == other.warnings


def test_a_record_that_begins_far_from_the_origin_is_refused(predict, csv, tiny_archive, tmp_path):
    (tmp_path / "columns.toml").write_bytes((tiny_archive / "columns.toml").read_bytes())
    header, *lines = csv.read_text("utf-8").splitlines()
    (tmp_path / "late.csv").write_text("\n".join([header, *lines[1200:1500]]), "utf-8")
    status, output = predict("--csv", tmp_path / "late.csv")
    assert status == 1
    assert re.search(r"late\.csv: it begins \d+ NM from LEMD", output)


def test_a_record_that_cannot_be_read_is_named(predict, tmp_path):
    (tmp_path / "empty.csv").write_text("timestamp,latitude,longitude,altitude\n")
    status, output = predict("--csv", tmp_path / "empty.csv")
    assert status == 1
    assert "empty.csv: 0 samples" in output


def test_a_prediction_time_before_take_off_is_refused(predict, csv):
    assert predict("--csv", csv, "--minutes", -1)[0] == 2


def test_a_flight_in_the_air_is_predicted_from_its_newest_points(
    predict, csv, tiny_archive, tmp_path
):
    (tmp_path / "columns.toml").write_bytes((tiny_archive / "columns.toml").read_bytes())
    lines = csv.read_text("utf-8").splitlines()
    for minutes, feature_set in {15: "airborne_10", 7: "at_takeoff"}.items():
        (tmp_path / "one.csv").write_text("\n".join(lines[: 60 * minutes]), "utf-8")
        status, output = predict("--csv", tmp_path / "one.csv")
        assert status == 0, output
        assert f"feature set {feature_set};" in output
        assert ("report -p minutes 5 saves later ones" in output) == (minutes == 7)


def test_a_table_of_flights_is_predicted_on_the_command_line(predict, tmp_path):
    (tmp_path / "flights.csv").write_text("callsign,time\nIBE1,2016-05-01T08:00\n")
    status, output = predict(tmp_path / "flights.csv")
    assert status == 0, output
    assert "1 flight, arrivals within" in output
    table = pd.read_csv(tmp_path / "predict" / "flights.predicted.csv")
    assert table["takeoff"].tolist() == ["2016-05-01T08:00:00+0000"]
    assert predict(tmp_path / "flights.csv", "--time", "now")[0] == 2


def test_points_cached_beside_the_store_give_the_same_predictors(store, csv, tmp_path, monkeypatch):
    for part in Path(store["store"].iloc[0]).glob("*.parquet"):
        if not part.name.startswith("points-"):
            (tmp_path / part.name).symlink_to(part)
    past = open_store(tmp_path)
    flight, _ = load_flight(csv, PAIR)
    # an earlier test in this process may have left a cluster open
    monkeypatch.setattr("trajlib.models.inference.current_client", lambda: None)
    alone = build_flight_predictors(flight, "at_takeoff", past=past)
    assert not list(tmp_path.glob("points-*.parquet"))
    monkeypatch.setattr("trajlib.models.inference.current_client", lambda: "a cluster")
    for _ in ("kept", "read again"):
        again = build_flight_predictors(flight, "at_takeoff", past=past)
        pd.testing.assert_frame_equal(again, alone)
        assert len(list(tmp_path.glob("points-*.parquet"))) == 1
