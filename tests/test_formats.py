"""Formats: flights written in each and read back, and told apart by their content."""

import bz2
import gzip
import io
import lzma
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from format_writers import WRITERS, one, write_csv, write_opensky, write_so6, write_traffic

from trajlib.archive.dialect import parse_dialect
from trajlib.archive.reading import read_flight
from trajlib.importers.formats import (
    FORMATS,
    FormatError,
    Options,
    describe_formats,
    find_format,
    recognize_format,
)
from trajlib.importers.formats.base import convert_times

# half of the last digit that a format keeps; the others are exact
PRECISION = {
    "eurocontrol": {"altitude": 50},
    "so6": {"altitude": 50},
    "flightradar24": {"altitude": 0.5, "groundspeed": 0.5, "track": 0.5},
    "flightradar24-granular": {
        "latitude": 5e-6,
        "longitude": 5e-6,
        "altitude": 0.5,
        "groundspeed": 0.5,
        "track": 0.5,
        "vertical_rate": 0.5,
        "true_airspeed": 0.5,
        "mach": 5e-4,
        "temperature": 0.5,
    },
    "flightradar24-playback": {
        "altitude": 0.5,
        "groundspeed": 0.5,
        "track": 0.5,
        "vertical_rate": 0.5,
    },
    "positions": {
        "latitude": 5e-6,
        "longitude": 5e-6,
        "altitude": 0.5,
        "groundspeed": 0.5,
        "track": 0.5,
    },
    "cpr": {
        "latitude": 0.5 / 3600,
        "longitude": 0.5 / 3600,
        "altitude": 50,
        "groundspeed": 0.5,
        "track": 0.5 / 3600,
    },
    "readsb": {"altitude": 0.5, "geoaltitude": 0.5, "vertical_rate": 0.5},
    "tfms": {"altitude": 50},
    "garmin": {
        "latitude": 5e-8,
        "longitude": 5e-8,
        "altitude": 0.05,
        "geoaltitude": 0.05,
        "temperature": 0.05,
        "calibrated_airspeed": 0.005,
        "groundspeed": 0.005,
        "vertical_rate": 0.005,
    },
    "spire": {"altitude": 0.5},
    "iagos": {"altitude": 60},  # the simulated atmosphere is not the standard one
    "igc": {
        "latitude": 0.5 / 60000,
        "longitude": 0.5 / 60000,
        "altitude": 0.5 / 0.3048,
        "geoaltitude": 0.5 / 0.3048,
    },
    "kml": {"latitude": 5e-6, "longitude": 5e-6, "altitude": 0.5 / 0.3048},
    "sfomuseum-geojson": {"altitude": 50, "groundspeed": 0.5},
}
POINTS = [name for name in WRITERS if name not in ("flights", "tfms-plans")]


@pytest.fixture(scope="module")
def flights(tiny_archive):
    """Four simulated flights, a sample every 20 s, with an address and an id each."""
    tables = []
    for number, path in enumerate(sorted(tiny_archive.glob("LEMD-LEBL/*.csv"))[:4]):
        flight = read_flight(path).iloc[::20]
        tables.append(flight.assign(flight_id=f"2016{number:04d}", icao24=f"34510{number}"))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def write(flights, tmp_path):
    def write(name):
        folder = tmp_path / name
        folder.mkdir()
        return WRITERS[name](flights, folder)

    return write


def read(path, **options):
    dialect = options.get("dialect")
    batches = [*recognize_format(path, dialect).read(path, Options(**options))]
    return pd.concat(batches, ignore_index=True)


def key_of(points):
    return next(name for name in ("flight_id", "icao24", "callsign") if name in points)


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_is_recognized_among_all_others(write, name):
    assert recognize_format(write(name)).name == name


@pytest.mark.parametrize("name", WRITERS)
def test_the_name_of_a_file_is_not_what_it_is_recognized_by(write, name):
    path = write(name)
    renamed = shutil.move(path, path.with_name("download.txt"))
    assert recognize_format(renamed).name == name


def test_every_format_is_written_in_these_tests():
    assert {entry.name for entry in FORMATS} - {"generic-flights"} == {*WRITERS}


@pytest.mark.parametrize("name", POINTS)
def test_flights_are_read_back_within_the_precision_of_the_format(flights, write, name):
    points = read(write(name)).drop_duplicates()
    groups = [group for _, group in points.groupby(key_of(points), sort=False)]
    originals = [group for _, group in flights.groupby("flight_id", sort=False)][: len(groups)]
    assert len(groups) in (1, 4)
    for group, original in zip(groups, originals, strict=True):
        miss = measure_misses(group, original)
        assert miss.pop("timestamp") < 1
        for column, value in miss.items():
            assert value <= 1.001 * PRECISION.get(name, {}).get(column, 1e-5), column


def measure_misses(points, original):
    """Return by how much each column of points misses that of the flight that was written."""
    points = points.sort_values("timestamp", ignore_index=True).dropna(axis=1, how="all")
    original = original.sort_values("timestamp", ignore_index=True)
    assert len(points) == len(original)
    late = (points["timestamp"] - original["timestamp"]).dt.total_seconds()
    misses = {"timestamp": late.abs().max()}
    for column in points.select_dtypes("float").columns.intersection(original.columns):
        miss = (points[column] - original[column]).abs()
        angle = column in ("track", "heading", "longitude")
        misses[column] = (np.minimum(miss, 360 - miss) if angle else miss).max()
    return misses


@pytest.mark.parametrize("name", POINTS)
def test_points_have_the_types_of_the_contract(write, name):
    points = read(write(name))
    assert str(points["timestamp"].dtype) == "datetime64[ms, UTC]"
    for column in ("latitude", "longitude", "altitude"):
        assert points[column].dtype == float
    for column in {"onground", "new_leg"} & set(points):
        assert points[column].dtype == "boolean"
