"""The form that predicts one flight, without a browser."""

import pandas as pd
import pytest

from trajlib import open_study
from trajlib.report.form import PredictionForm

START = pd.Timestamp("2016-05-20 07:00", tz="UTC")


@pytest.fixture(scope="module")
def study(made, tiny_archive, client):
    data = made[1].parent.parent / "data"
    return open_study(str(tiny_archive), "LEMD", "LEBL", data=data)


@pytest.fixture
def form(study):
    return PredictionForm(study, START, operator="IBE", aircraft_type="A320")


def test_another_time_of_take_off_is_another_prediction(form):
    before = form.answer.value, form.picture.value
    form.fields["time"].value = pd.Timestamp("2016-05-20 19:30").time()
    assert "19:30" in form.answer.value
    assert form.picture.value != before[1]


def test_minutes_flown_need_a_recorded_flight(form, study):
    form.fields["minutes"].value = 10
    assert "choose 0 for a prediction at take-off" in form.answer.value
    flight = study.usable.iloc[-1]
    form.fields["date"].value = flight["start"].date()
    form.fields["callsign"].value = flight["callsign"]
    assert "arrival" in form.answer.value.lower()


def test_a_page_without_a_kernel_gets_a_picture_described_in_words(form):
    bundle = form._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR")
    assert "predicted" in bundle["text/plain"]
