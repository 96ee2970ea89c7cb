"""A study as notebooks show it."""

import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.study import Study


def test_a_study_shows_its_flights_but_no_single_one(tmp_path):
    times = pd.to_datetime(["2016-01-01T08:00Z", "2016-01-02T23:30Z"])  # in Madrid on 3 January
    flights = pd.DataFrame({"callsign": ["IBE1", "IBE2"], "start": times, "end": times})
    flights = flights.assign(rejected=None)
    study = Study("a", "LEMD", "LEBL", None, flights, flights, read_dialect(tmp_path), tmp_path)
    assert repr(study).startswith("2 flights LEMD → LEBL, 01 January 2016 to 03 January 2016")
    assert "IBE" not in repr(study)


def test_a_study_without_a_usable_flight_says_so(tmp_path):
    times = pd.to_datetime(["2016-01-01T08:00Z"])
    flights = pd.DataFrame({"start": times, "end": times, "rejected": "empty"})
    study = Study("a", "LEMD", "LEBL", None, flights, flights, read_dialect(tmp_path), tmp_path)
    assert repr(study) == "0 flights LEMD → LEBL can be used, from the archive"
