import json

import numpy as np
import pandas as pd
import pytest

from trajlib import features
from trajlib.models import build_model
from trajlib.prediction import (
    BAND,
    describe_flight,
    describe_unknown,
    load_model,
    predict_trajectory,
    read_start,
    save_model,
    to_geojson,
    train_model,
)

FRACTIONS = [0.1, 0.5, 0.9]
PATHS = pd.Index([f"{number:03}" for number in range(200)], name="path")
START = pd.Timestamp("2016-03-01 08:00", tz="UTC")


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    predictors = pd.DataFrame(
        {
            "operator": rng.choice(["IBE", "VLG"], len(PATHS)),
            "aircraft_type": rng.choice(["A320", "B738", None], len(PATHS)),
            "weekday": rng.choice(["Mon", "Tue"], len(PATHS)),
            "hour": rng.uniform(0, 24, len(PATHS)),
            "month": "Mar",
        },
        PATHS,
    )
    rows = pd.MultiIndex.from_product([PATHS, FRACTIONS], names=["path", "fraction"])
    at = np.tile(FRACTIONS, len(PATHS))
    late = np.repeat((predictors["operator"] == "IBE").to_numpy() * 600.0, 3)
    values = [40.5 + at, -3.5 + 5 * at, 3600 * at + late, 260 * at, 36000 * at * (1 - at) * 4]
    noise = rng.normal(size=(len(rows), 5)) * [0.02, 0.02, 30, 2, 500]
    targets = pd.DataFrame(np.column_stack(values) + noise, rows, list(features.TARGETS))
    days = pd.Series(np.repeat(pd.date_range("2016-03-01", periods=50), 4), PATHS)
    return predictors, targets, days


@pytest.fixture(scope="module", params=["forest", "lightgbm"])
def saved(request, tables):
    model = build_model(request.param, trees=20)
    return train_model(model, *tables, knowledge="planned", pair="LEMD-LEBL", by="time")


@pytest.fixture
def folder(saved, tmp_path):
    save_model(saved, tmp_path / "model")
    return tmp_path / "model"


def describe(**identity):
    return describe_flight(("LEMD", "LEBL"), START, **identity)


def ask(**identity):
    return features.predictors(describe(**identity), "planned")


def test_a_model_comes_back_as_it_was_saved(saved, folder):
    again = load_model(folder)
    one = ask(callsign="IBE1", aircraft_type="A320")
    before, after = (predict_trajectory(which, one) for which in (saved, again))
    pd.testing.assert_frame_equal(before, after)


def test_nothing_is_pickled(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.skops"]
    assert b"pickle" not in (folder / "model.skops").read_bytes()


def test_the_operator_makes_the_difference_it_made(saved):
    late, early = (predict_trajectory(saved, ask(callsign=c)) for c in ("IBE1", "VLG1"))
    assert (late["duration"] - early["duration"]).between(250, 800).all()


def test_a_prediction_lies_in_its_interval_and_that_in_the_band(saved):
    table = predict_trajectory(saved, ask(callsign="IBE1", aircraft_type="A320"))
    assert table.index.tolist() == FRACTIONS
    for name in features.TARGETS:
        assert (table[f"{name}_low"] < table[name]).all()
        assert (table[f"{name}_high"] > table[name]).all()
    width = {end: [(table[f"{n}{end}_high"] - table[f"{n}{end}_low"]).mean() for n in BAND]
             for end in ("", "_band")}  # fmt: skip
    assert (np.array(width["_band"]) > np.array(width[""])).all()


@pytest.mark.parametrize("name", ["model.skops", "card.json"])
def test_a_file_that_was_changed_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] = ord("7") if data[len(data) // 2] != ord("7") else ord("8")
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name}|Expecting|delimiter|decode"):
        load_model(folder)


def test_a_model_of_another_schema_is_refused(saved, tmp_path):
    card = json.loads(json.dumps(saved.card))
    card["schema"]["targets"] = ["latitude"]
    save_model(saved._replace(card=card), tmp_path)
    with pytest.raises(ValueError, match="another schema"):
        load_model(tmp_path)


def test_a_model_with_a_type_that_is_not_trusted_is_refused(saved, tmp_path):
    model = saved.model.__class__([*saved.model.steps[:-1], ("foreign", Foreign())])
    save_model(saved._replace(model=model), tmp_path)
    with pytest.raises(ValueError, match=r"Foreign.*refused"):
        load_model(tmp_path)


class Foreign:
    pass


def test_predictors_other_than_those_trained_with_are_refused(saved):
    with pytest.raises(ValueError, match="expected"):
        predict_trajectory(saved, ask(callsign="IBE1").drop(columns="hour"))


def test_a_predictor_outside_the_knowledge_is_refused(tables):
    predictors, targets, days = tables
    late = predictors.assign(duration_max=1.0)
    with pytest.raises(ValueError, match="not known planned: duration_max"):
        train_model(build_model(), late, targets, days, knowledge="planned")


def test_what_is_unknown_is_said(saved):
    (pair, operator, kind) = describe_unknown(
        saved, ask(callsign="RYR12").assign(month="Mar", weekday="Tue"), "LEMD-LEPA"
    )
    assert "LEMD-LEBL only" in pair
    assert "operator RYR" in operator
    assert "IBE, VLG" in operator
    assert "aircraft type is unknown" in kind
    known = ask(callsign="IBE1", aircraft_type="A320").assign(weekday="Tue")
    assert describe_unknown(saved, known, "LEMD-LEBL") == []


def test_an_unknown_flight_is_predicted_all_the_same(saved):
    assert predict_trajectory(saved, ask(callsign="RYR12", aircraft_type="A388")).notna().all(None)


def test_geojson_is_valid_and_holds_line_and_regions(saved):
    told = to_geojson(predict_trajectory(saved, ask(callsign="IBE1")))
    told = json.loads(json.dumps(told, allow_nan=False))
    assert [f["properties"]["name"] for f in told["features"]] == ["predicted", "interval", "band"]
    assert len(told["features"][0]["geometry"]["coordinates"]) == len(FRACTIONS)
    for region in told["features"][1:]:
        for (ring,) in region["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]


def test_nothing_after_the_cut_is_read(tiny_archive, tmp_path):
    path = next(tiny_archive.rglob("*-*/*.csv"))
    whole, _ = read_start(path, 10)
    lines = path.read_text("utf-8").splitlines()
    (tmp_path / "cut.csv").write_text("\n".join(lines[: len(whole) + 1]), "utf-8")
    cut, _ = read_start(tmp_path / "cut.csv", 10)
    pd.testing.assert_frame_equal(whole, cut)
    assert (whole["timestamp"] - whole["timestamp"].iloc[0]).max() <= pd.Timedelta(minutes=10)
    assert len(read_start(path)[0]) == 1
