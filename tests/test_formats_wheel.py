"""Real flights: samples in the wheel of the traffic library, if a package index is available."""

import subprocess
import sys
import zipfile

import pandas as pd
import pytest

from trajlib.importers.formats import recognize_format
from trajlib.importers.pipeline import import_flights

pytestmark = pytest.mark.slow
FORMATS = {
    "collections": {"traffic"},
    "noisy": {"traffic"},
    "readsb": {"readsb"},
    "fr24": {"flightradar24-playback"},
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "traffic", "-d", folder]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("no package index can be reached")
    wheels = [*folder.glob("*.whl")]
    if done.returncode or not wheels:
        pytest.skip("no package index can be reached")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(folder)
    return folder / "traffic" / "data" / "samples"


@pytest.fixture
def imported(samples, tmp_path, in_this_process):
    def run(name):
        source = samples / name
        if source.is_dir():
            for path in source.glob("*.py"):
                path.unlink()
        return import_flights(source, tmp_path / "archive"), tmp_path / "archive"

    return run


@pytest.mark.parametrize("folder", FORMATS)
def test_samples_are_recognized(samples, folder):
    files = [path for path in (samples / folder).iterdir() if ".json" in path.name]
    assert {recognize_format(path).name for path in files} == FORMATS[folder]


@pytest.mark.parametrize(
    "name, flights",
    [("collections/quickstart.json.gz", 230), ("collections/switzerland.json.gz", 1200)],
)
def test_most_flights_of_a_collection_are_imported(imported, name, flights):
    table, archive = imported(name)
    assert table["rejected"].isna().sum() >= flights
    assert len([*archive.rglob("*.csv")]) == table["rejected"].isna().sum()


def test_the_trace_of_a_receiver_ends_at_the_airport_where_it_landed(imported):
    table, _ = imported("readsb")
    assert "KDEN" in set(table["destination"])
    assert table["callsign"].str.startswith("DAL").any()


def test_playbacks_name_flights_and_airports(imported):
    table, _ = imported("fr24")
    flight = table.set_index("callsign").loc["JAL516"]
    assert (flight["origin"], flight["destination"]) == ("RJCC", "RJTT")
    assert pd.Timestamp(flight["start"]).date() == pd.Timestamp("2024-01-02").date()


def test_every_noisy_sample_is_used_or_rejected_with_a_reason(imported, samples):
    table, _ = imported("noisy")
    assert table["icao24"].nunique() == len([*(samples / "noisy").glob("*.json.gz")])
    assert table["rejected"].isna().sum() >= 4
