"""Formats: flights written in each, recognized by content and read back."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from format_writers import WRITERS, one, write_csv, write_opensky, write_so6, write_traffic

from trajlib.archive.dialect import parse_dialect
from trajlib.archive.layout import match_columns
from trajlib.archive.reading import read_flight
from trajlib.archive.values import convert_times, split_positions
from trajlib.importers.formats import (
    FORMATS,
    FormatError,
    describe_formats,
    draft_columns,
    find_format,
    recognize_format,
)
from trajlib.importers.formats.base import Options
from trajlib.importers.formats.fields import Field, convert_table

# half of the last digit of a format; other columns are exact
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
    "sbs": {"altitude": 0.5, "groundspeed": 0.5, "track": 0.5, "vertical_rate": 0.5},
    "iff": {
        "latitude": 5e-6,
        "longitude": 5e-6,
        "altitude": 0.5,
        "groundspeed": 0.5,
        "track": 0.5,
        "vertical_rate": 0.5,
    },
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
    "gpx": {"latitude": 5e-7, "longitude": 5e-7, "altitude": 0.05 / 0.3048},
    "flightaware": {
        "latitude": 5e-6,
        "longitude": 5e-6,
        "altitude": 50,
        "groundspeed": 0.5,
        "track": 0.5,
    },
    "sfomuseum-geojson": {"altitude": 50, "groundspeed": 0.5},
    "allft": {"latitude": 0.5 / 3600, "longitude": 0.5 / 3600, "altitude": 50},
    "nmea": {
        "latitude": 5e-6 / 60,
        "longitude": 5e-6 / 60,
        "altitude": 0.5,
        "geoaltitude": 0.05 / 0.3048,
        "groundspeed": 0.05,
        "track": 0.05,
    },
}
# what each format gives besides times and positions
GIVEN = {
    "opensky": "icao24 geoaltitude groundspeed track vertical_rate callsign onground position_time",
    "traffic": "callsign groundspeed vertical_rate track flight_id icao24 true_airspeed "
    "aircraft_type",
    "prc": "groundspeed vertical_rate track mach temperature flight_id true_airspeed "
    "calibrated_airspeed wind_u wind_v aircraft_type",
    "eurocontrol": "flight_id",
    "so6": "flight_id callsign aircraft_type origin destination",
    "flightradar24": "callsign groundspeed track onground",
    "flightradar24-granular": "icao24 callsign groundspeed track vertical_rate true_airspeed mach "
    "temperature onground",
    "flightradar24-playback": "flight_id callsign icao24 aircraft_type operator origin "
    "destination groundspeed vertical_rate track onground",
    "positions": "flight_id groundspeed track onground",
    "pru": "flight_id groundspeed vertical_rate track",
    "cpr": "flight_id icao24 callsign origin destination groundspeed track",
    "readsb": "icao24 callsign registration aircraft_type geoaltitude groundspeed track "
    "vertical_rate true_airspeed mach temperature wind_u wind_v onground new_leg",
    "sbs": "icao24 callsign groundspeed track vertical_rate onground",
    "iff": "flight_id icao24 callsign aircraft_type origin destination groundspeed track "
    "vertical_rate",
    "tfms": "flight_id groundspeed track",
    "garmin": "flight_id geoaltitude groundspeed calibrated_airspeed vertical_rate temperature",
    "recorder": "flight_id geoaltitude groundspeed track heading vertical_rate true_airspeed mach "
    "temperature",
    "recorder-si": "flight_id aircraft_type true_airspeed mass",
    "spire": "icao24 callsign registration aircraft_type groundspeed track onground",
    "iagos": "flight_id pressure temperature",
    "igc": "flight_id registration geoaltitude",
    "kml": "flight_id callsign",
    "gpx": "flight_id",
    "opensky-json": "icao24 geoaltitude groundspeed track vertical_rate callsign onground",
    "readsb-snapshots": "icao24 callsign geoaltitude groundspeed track vertical_rate onground",
    "flightaware": "flight_id callsign groundspeed track",
    "sfomuseum": "flight_id groundspeed",
    "sfomuseum-geojson": "flight_id groundspeed callsign operator aircraft_type registration "
    "origin destination",
    "generic": "callsign groundspeed",
    "flightradar24-feed": "icao24 callsign registration aircraft_type origin destination "
    "groundspeed vertical_rate track onground",
    "airlabs": "icao24 callsign registration aircraft_type origin destination groundspeed track",
    "aviationstack": "icao24 callsign registration aircraft_type origin destination groundspeed "
    "track onground",
    "allft": "flight_id callsign registration aircraft_type origin destination",
    "nmea": "flight_id geoaltitude groundspeed track",
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
    options = Options(**options)
    batches = [*recognize_format(path, options.dialect).read(path, options)]
    return pd.concat(batches, ignore_index=True)


def key_of(points):
    return next(name for name in ("flight_id", "icao24", "callsign") if name in points)


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_is_recognized_with_and_without_its_file_name(write, name):
    path = write(name)
    assert recognize_format(path).name == name
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
    """Return the largest error of each column of points, compared with the written flight."""
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
def test_all_columns_of_a_format_are_read(write, name):
    points = read(write(name)).dropna(axis=1, how="all")
    given = {*GIVEN[name].split(), "timestamp", "latitude", "longitude", "altitude"}
    assert {*points} - {"key"} == given


@pytest.mark.parametrize("name", POINTS)
def test_points_have_the_types_of_the_contract(write, name):
    points = read(write(name))
    assert str(points["timestamp"].dtype) == "datetime64[ms, UTC]"
    for column in ("latitude", "longitude", "altitude"):
        assert points[column].dtype == float
    for column in {"onground", "new_leg"} & set(points):
        assert points[column].dtype == "boolean"


def test_a_list_of_flights_gives_their_identity(flights, write):
    path = write("flights")
    identities = recognize_format(path).read_identities(path, Options())
    first = identities.iloc[0]
    original = flights.iloc[0]
    assert list(identities["flight_id"]) == list(flights["flight_id"].unique())
    for name in ("callsign", "origin", "destination", "aircraft_type", "operator"):
        assert first[name] == original[name]


@pytest.mark.parametrize(
    "header, row, expected",
    [
        (
            "flight_id,aircraft_id,reg,equip,callsign,flight,schd_from,schd_to,real_to,reserved",
            "207610917,4838141,OKYBA,A333,CSA190,OK190,PRG,ICN,ICN,NA",
            {"icao24": "49d2fd", "registration": "OKYBA", "aircraft_type": "A333", "origin": "PRG"},
        ),
        (
            "flight_id,aircraft_id,reg,equip,callsign,flight,schd_from,schd_to,real_to,reserved",
            "207610917,4838141,OKYBA,A333,CSA190,OK190,PRG,ICN,GMP,NA",
            {"destination": "GMP"},
        ),
        (
            '"ECTRL ID","ADEP","ADEP Latitude","ADES","FILED OFF BLOCK TIME","AC Type",'
            '"AC Operator","AC Registration"',
            '"186858226","EGLL",51.5,"LEMD","01-06-2015 10:00:00","A320","BAW","GEUYE"',
            {
                "flight_id": "186858226",
                "origin": "EGLL",
                "operator": "BAW",
                "registration": "GEUYE",
            },
        ),
        (
            "flight_id,callsign,aircraft_reg,aircraft_type,aircraft_address,adep,ades",
            "c2ce3a2c,GFA003,A9CKD,A332,0x89402C,OBBI,EGLL",
            {"icao24": "89402c", "aircraft_type": "A332", "destination": "EGLL"},
        ),
    ],
)
def test_second_tables_are_understood(tmp_path, header, row, expected):
    path = tmp_path / "flights.csv"
    path.write_text(f"{header}\n{row}\n")
    identity = recognize_format(path).read_identities(path, Options()).iloc[0]
    assert {name: identity[name] for name in expected} == expected


def test_geojson_takes_the_identity_from_the_record_beside_it(flights, write):
    points = read(write("sfomuseum-geojson"))
    assert points["callsign"].unique() == [flights["callsign"][0]]
    assert points["registration"].unique() == ["EC-ABC"]


def test_a_geojson_record_without_its_track_is_no_points(write):
    record = write("sfomuseum-geojson").with_name("1713084729.geojson")
    assert not [*recognize_format(record).read(record, Options())]


def test_playback_names_the_airports(flights, write):
    first = read(write("flightradar24-playback")).iloc[0]
    original = flights.iloc[0]
    for name in ("icao24", "callsign", "origin", "destination", "aircraft_type", "operator"):
        assert first[name] == original[name]


# The same table in other file types

TABLES = {
    "CSV": lambda table, path: table.to_csv(path, index=False),
    "JSON records": lambda table, path: table.to_json(path, orient="records"),
    "JSON columns": lambda table, path: table.to_json(path, orient="columns"),
    "JSON lines": lambda table, path: table.to_json(
        path, orient="records", lines=True, date_format="iso"
    ),
    "JSON with line breaks": lambda table, path: table.to_json(
        path, orient="records", indent=2, date_format="iso"
    ),
    "Feather": lambda table, path: table.to_feather(path),
    "Parquet": lambda table, path: table.to_parquet(path),
    "Parquet by time": lambda table, path: table.set_index("timestamp").to_parquet(path),
    "Parquet of texts": lambda table, path: table.astype("str").to_parquet(path),
}


@pytest.fixture
def table(flights, tmp_path):
    return pd.read_parquet(write_traffic(flights, tmp_path))


@pytest.mark.parametrize("variant", TABLES)
def test_tables_of_traffic_are_read_in_every_variant(table, tmp_path, variant):
    path = tmp_path / "table"
    TABLES[variant](table, path)
    points = read(path)
    assert recognize_format(path).name == "traffic"
    assert (points["timestamp"] == table["timestamp"]).all()
    assert np.allclose(points["latitude"], table["latitude"])
    assert (points["flight_id"] == table["flight_id"]).all()
    assert (points["aircraft_type"] == table["typecode"].str.upper()).all()


PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": lambda data: pack_zip({"flights.csv": data, "README.txt": b"about"}),
    "tar": lambda data: pack_tar({"flights.csv": data}),
    "gzip in tar": lambda data: pack_tar(
        {"LICENSE.txt": b"", "flights.csv.gz": gzip.compress(data)}
    ),
}


def pack_zip(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def pack_tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_files_are_read(table, tmp_path, packer):
    path = tmp_path / "packed"
    path.write_bytes(PACKERS[packer](table.to_csv(index=False).encode()))
    assert len(read(path)) == len(table)


def test_so6_is_read_from_its_7z(flights, tmp_path):
    py7zr = pytest.importorskip("py7zr")
    so6, packed = write_so6(flights, tmp_path), tmp_path / "sample_m3.so6.7z"
    with py7zr.SevenZipFile(packed, "w") as archive:
        archive.write(so6, so6.name)
    pd.testing.assert_frame_equal(read(packed), read(so6))


@pytest.fixture
def states(flights, tmp_path):
    return pd.read_csv(write_opensky(flights, tmp_path), dtype={"icao24": str, "squawk": str})


CHANGES = {
    "columns in another order": lambda table: table[table.columns[::-1]],
    "optional columns missing": lambda table: table[["time", "icao24", "lat", "lon", "velocity"]],
    "columns more": lambda table: table.assign(serials="[1,2]", hour=0),
    "names in capitals": lambda table: table.rename(columns=str.upper),
    "names padded": lambda table: table.rename(columns=lambda name: f" {name} "),
    "True and False": lambda table: table.assign(onground=True),
    "rows out of order": lambda table: table.iloc[::-1].reset_index(drop=True),
    "altitudes missing": lambda table: table.assign(
        baroaltitude=table["baroaltitude"].where(table.index % 3 > 0)
    ),
    "nothing as NULL": lambda table: table.astype({"geoaltitude": object}).assign(
        geoaltitude="NULL"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_state_vectors_may_differ_in(states, tmp_path, change):
    changed = CHANGES[change](states)
    points = read(write_csv(changed, tmp_path / "states.csv"))
    assert recognize_format(tmp_path / "states.csv").name == "opensky"
    assert len(points) == len(states)
    assert set(points["icao24"]) == set(states["icao24"])


def test_state_vectors_under_another_name_of_the_altitude_are_no_state_vectors(states, tmp_path):
    path = write_csv(states.rename(columns={"baroaltitude": "altitude"}), tmp_path / "states.csv")
    assert recognize_format(path).name == "generic"
    assert read(path)["altitude"].notna().any()


TIMES = {
    "integers": lambda time: time,
    "texts": lambda time: time.astype("str"),
    "floats": lambda time: time.astype(float),
    "milliseconds": lambda time: time * 1000,
    "nanoseconds": lambda time: time * 1_000_000_000,
    "times with a zone": lambda time: pd.to_datetime(time, unit="s", utc=True),
    "times of another zone": lambda time: pd.to_datetime(time, unit="s", utc=True).dt.tz_convert(
        "Asia/Tokyo"
    ),
    "times without a zone": lambda time: pd.to_datetime(time, unit="s"),
    "times to the second": lambda time: pd.to_datetime(time, unit="s").astype("datetime64[s]"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_in_parquet_may_be(states, tmp_path, kind):
    states.assign(time=TIMES[kind](states["time"])).to_parquet(tmp_path / "states.parquet")
    points = read(tmp_path / "states.parquet")
    assert (points["timestamp"] == pd.to_datetime(states["time"], unit="s", utc=True)).all()


def test_state_vectors_between_rules_of_a_shell_are_read(states, tmp_path):
    names = ["time", "icao24", "lat", "lon", "velocity", "callsign", "baroaltitude"]
    rule = "+------------+--------+\n"
    lines = [
        "|" + "|".join(f" {value} " for value in row) + "|" for row in states[names].to_numpy()
    ]
    header = "|" + "|".join(f" {name} " for name in names) + "|"
    path = tmp_path / "log.txt"
    path.write_text(rule + header + "\n" + rule + "\n".join(lines) + "\n" + rule)
    assert len(read(path)) == len(states)


def test_no_number_without_a_date_is_a_time():
    assert convert_times(pd.Series([0.0, 86400.0, np.nan])).isna().all()


# Contents of a format other than numbers


def test_filed_points_are_plans_and_no_flights(flights, tmp_path):
    path = WRITERS["eurocontrol"](flights, tmp_path)
    filed = path.rename(tmp_path / "Flight_Points_Filed_20160101_20160131.csv.gz")
    reader = recognize_format(filed)
    assert not [*reader.read(filed, Options())]
    assert sum(map(len, reader.read(filed, Options(kind="plan")))) == len(flights)


@pytest.mark.parametrize("name", ["{}.so6", "day-{}.so6", "20160101{}.so6", "all_{}_b.SO6"])
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_m1_is_a_plan_and_m3_a_flight(flights, tmp_path, name, change):
    m3 = write_so6(flights, tmp_path).rename(tmp_path / change(name.format("m3")))
    assert not [*find_format("so6").read(m3, Options(kind="plan"))]
    m1 = m3.rename(tmp_path / change(name.format("m1")))
    assert not [*find_format("so6").read(m1, Options())]
    assert [*find_format("so6").read(m1, Options(kind="plan"))]


def test_waypoints_of_a_plan_come_in_their_order(flights, write):
    path = write("tfms-plans")
    (plans,) = find_format("tfms-plans").read(path, Options(kind="plan"))
    first = plans[plans["flight_id"] == flights["flight_id"][0]]
    expected = one(flights)["latitude"].iloc[[0, 5, 9]]
    assert first["latitude"].tolist() == pytest.approx(expected.tolist())


def test_0_ft_of_flightradar24_is_the_ground_and_no_altitude(tmp_path):
    path = tmp_path / "flight.csv"
    path.write_text(
        "Timestamp,UTC,Callsign,Position,Altitude,Speed,Direction\n"
        '1704180175,2024-01-02T07:22:55Z,JAL516,"42.787994,141.685074",0,0,73\n'
        '1704180458,2024-01-02T07:27:38Z,JAL516,"42.770142,141.691422",550,144,172\n'
    )
    points = read(path)
    assert points["onground"].tolist() == [True, False]
    assert points["altitude"].isna().tolist() == [True, False]


def test_messages_without_a_position_are_no_points(flights, write):
    path = write("flightradar24-granular")
    lines = path.read_text().splitlines()
    fields = lines[3].split(",")
    lines[3] = ",".join([*fields[:4], "0", "0", "N", *fields[7:]])
    path.write_text("\n".join(lines))
    assert len(read(path)) == len(one(flights)) - 1


def test_a_trace_marks_ground_legs_and_geometric_altitudes(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(
        '{"icao":"ac671b","timestamp":1738703622.5,"trace":['
        '[0.5,16.7,-88.0,"ground",5.0,327.8,0,null,null],'
        '[9.0,16.8,-88.0,1000,150.0,327.8,2,0,null,"adsb_icao",1200,0,null,null],'
        '[20.0,16.9,-88.0,2000,150.0,327.8,8,0,null,"adsb_icao",null,0,null,null],'
        "[30.0,17.0,-88.0,null,150.0,327.8,0,0,null]]}"
    )
    points = read(path)
    assert points["onground"].tolist() == [True, False, False, False]
    assert points["new_leg"].tolist() == [False, True, False, False]
    assert points["altitude"].fillna(-1).tolist() == [-1, 1000, -1, -1]
    assert points["geoaltitude"].fillna(-1).tolist() == [-1, 1200, 2000, -1]
    assert points["timestamp"][0] == pd.Timestamp("2025-02-04 21:13:43", tz="UTC")


def test_the_callsign_of_a_trace_holds_until_the_next(flights, write):
    assert read(write("readsb"))["callsign"].eq(flights["callsign"][0]).all()


def test_seconds_since_the_start_need_a_date_in_the_name(write):
    path = write("recorder")
    undated = path.rename(path.with_name("flight.csv"))
    with pytest.raises(FormatError, match="put it into the file's name"):
        read(undated)


def test_a_track_of_the_interface_of_opensky_is_read(tmp_path):
    path = tmp_path / "track.json"
    points = [[1451606400, 40.5, -3.5, 3048.0, 80, False], [1451606410, 40.6, -3.4, None, 80, True]]
    answer = {"icao24": "345100", "callsign": "IBE1 ", "startTime": 1451606400, "path": points}
    path.write_text(json.dumps(answer))
    points = read(path)
    assert points["altitude"].tolist() == pytest.approx([10_000, np.nan], nan_ok=True)
    assert points["onground"].tolist() == [False, True]
    assert points["callsign"].tolist() == ["IBE1", "IBE1"]


def test_snapshots_of_interfaces_in_milliseconds_are_read(tmp_path):
    path = tmp_path / "answer.json"
    aircraft = {"hex": "345100", "alt_baro": "ground", "lat": 40.5, "lon": -3.5, "seen_pos": 2}
    path.write_text(json.dumps({"ac": [aircraft], "now": 1451606402000}))
    point = read(path).iloc[0]
    assert point["timestamp"] == pd.Timestamp("2016-01-01", tz="UTC")
    assert point["onground"]
    assert np.isnan(point["altitude"])


def test_a_stream_of_aircraft_has_the_time_in_each(tmp_path):
    path = tmp_path / "stream.json"
    aircraft = {"hex": "345100", "alt_baro": 9000, "lat": 40.5, "lon": -3.5, "seen_pos": 2}
    lines = [json.dumps({"now": 1451606402 + i, **aircraft}) for i in (0, 5)]
    path.write_text(",\n".join(lines))
    assert recognize_format(path).name == "readsb-snapshots"
    points = read(path)
    seconds = (points["timestamp"] - pd.Timestamp("2016-01-01", tz="UTC")).dt.total_seconds()
    assert seconds.tolist() == [0, 5]
    assert points["icao24"].tolist() == ["345100", "345100"]


def test_records_inside_others_take_the_values_around_them(tmp_path):
    names = ("timestamp", "lat", "lon", "alt", "gspeed")
    track = [
        dict(zip(names, (f"2016-01-01T00:0{n}:00Z", 40, n, 900, 9), strict=True)) for n in (1, 2)
    ]
    path = tmp_path / "tracks.json"
    path.write_text(
        json.dumps([{"fr24_id": "a1", "tracks": track}, {"fr24_id": "b2", "tracks": track}])
    )
    points = read(path)
    assert points["flight_id"].tolist() == ["a1", "a1", "b2", "b2"]
    assert points["longitude"].tolist() == [1, 2, 1, 2]


def test_records_may_follow_an_object(tmp_path):
    point = {"timestamp": "2016-01-01T00:00:00Z", "lat": 40, "lon": 3, "alt": 900}
    path = tmp_path / "track.json"
    path.write_text(json.dumps({"aircraft": {"reg": "EC-ABC"}, "track": [point, point]}))
    assert read(path)["altitude"].tolist() == [900, 900]


def test_lists_of_aircraft_of_virtual_radar_are_read(tmp_path):
    aircraft = {"Icao": "345100", "Alt": 9000, "Lat": 40.5, "Long": -3.5, "PosTime": 1451606400000}
    aircraft |= {"Call": "IBE1", "Spd": 400, "Trak": 80, "Vsi": 64, "Gnd": False}
    aircraft |= {"From": "LEMD Madrid Barajas, Spain", "To": "LEBL Barcelona, Spain"}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"feeds": [{"id": 1, "name": "a"}], "acList": [aircraft]}))
    point = read(path).iloc[0]
    assert point[["icao24", "callsign", "track"]].tolist() == ["345100", "IBE1", 80]
    assert point["timestamp"] == pd.Timestamp("2016-01-01", tz="UTC")
    assert pd.isna(point["origin"])  # a name, to be inferred


def test_messages_of_other_kinds_may_come_first(flights, write):
    path = write("sbs")
    path.write_text(
        "STA,,5,179,345100,10103,2016/01/01,00:00:00.0,2016/01/01,00:00:00.0,RM\n"
        + path.read_text()
    )
    assert len(read(path)) == len(flights)


def test_messages_without_times_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "messages.txt"
    path.write_text("MSG,3,,,3440CD,,,,,,,9575,,,48.61166,2.52599,,,0,0,0,0\n")
    assert "its messages have no times" in refuse(path)


def test_a_recording_that_stops_within_a_line_is_read_up_to_it(flights, write, monkeypatch):
    path = write("sbs")
    path.write_text(path.read_text() + "MSG,3,1,1,4CA2")
    assert len(read(path)) == len(flights)
    monkeypatch.setattr("trajlib.importers.formats.tables._BLOCK", 100_000)
    assert len(read(path)) == len(flights)


def test_a_flight_of_iff_has_the_identity_of_its_record(flights, write):
    path = write("iff")
    path.write_text(path.read_text().replace("LEBL", "?"))
    points = read(path)
    first = points.drop_duplicates("flight_id")
    assert first["flight_id"].tolist() == [f"IFF_NCT_20160101-{number}" for number in "1234"]
    assert first["aircraft_type"].tolist() == (
        flights.drop_duplicates("flight_id")["aircraft_type"].tolist()
    )
    assert set(first["origin"]) == {"LEMD"}
    assert first["destination"].isna().all()


KML = '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>{}</name>{}</Document></kml>'


def test_each_track_of_a_kml_is_a_flight(write):
    path = write("kml")
    placemark = re.search("<Placemark>.*</Placemark>", path.read_text(), re.DOTALL)[0]
    path.write_text(KML.format("flights", 2 * placemark))
    assert read(path)["flight_id"].nunique() == 2


def test_points_with_times_in_a_kml_are_one_flight(flights, tmp_path):
    flight = one(flights)
    points = "".join(
        f"<Placemark><name>a</name><TimeStamp><when>{point.timestamp:%Y-%m-%dT%H:%M:%S+00:00}</when>"
        f"</TimeStamp><Point><coordinates>{point.longitude},{point.latitude},"
        f"{point.altitude * 0.3048}</coordinates></Point></Placemark>"
        for point in flight.itertuples()
    )
    path = tmp_path / "download.kml"
    path.write_text(KML.format("VY1024/VLG1024", f"<Folder>{points}</Folder>"))
    points = read(path)
    assert points["callsign"].unique() == ["VLG1024"]
    for name in ("latitude", "longitude", "altitude"):
        np.testing.assert_allclose(points[name], flight[name], atol=1e-6)
    assert points["timestamp"].tolist() == flight["timestamp"].tolist()


@pytest.mark.parametrize("prefix", ["", "k:"])
def test_the_tracks_of_kml_2_3_are_read(write, prefix):
    path = write("kml")
    points = read(path)
    path.write_text(re.sub("<(/?)(gx:)?(?=[a-zA-Z])", rf"<\1{prefix}", path.read_text()))
    pd.testing.assert_frame_equal(read(path), points)


def test_names_with_a_prefix_are_read_in_gpx(write):
    path = write("gpx")
    points = read(path)
    path.write_text(re.sub("<(/?)(?=[a-z])", r"<\1gpx:", path.read_text()))
    pd.testing.assert_frame_equal(read(path), points)


def test_each_track_of_a_gpx_is_a_flight(write):
    path = write("gpx")
    track = re.search("<trk>.*</trk>", path.read_text(), re.DOTALL)[0]
    other = track.replace("<trk>", '<trk xmlns:a="b">')
    path.write_text(f"<gpx>{track}{other}</gpx>")
    assert read(path)["flight_id"].nunique() == 2


@pytest.mark.parametrize(
    "text",
    [
        KML.format("a", "<LineString><coordinates>1,2,3 2,3,4</coordinates></LineString>"),
        '<gpx><trk><trkseg><trkpt lat="1" lon="2"><ele>3</ele></trkpt></trkseg></trk></gpx>',
    ],
    ids=["kml", "gpx"],
)
def test_tracks_without_times_are_refused_with_the_reason(tmp_path, text):
    path = tmp_path / "track"
    path.write_text(text)
    assert "no times" in refuse(path)


def test_a_glider_after_midnight_flies_on_the_next_day(tmp_path):
    path = tmp_path / "night.igc"
    path.write_text(
        "AXXXABC\nHFDTEDATE:311223,01\n"
        "B2359594612584N01249706EA0098801046\nB0000014612584S01249706WV0000001046\n"
    )
    points = read(path)
    assert points["timestamp"].tolist() == [
        pd.Timestamp("2023-12-31 23:59:59", tz="UTC"),
        pd.Timestamp("2024-01-01 00:00:01", tz="UTC"),
    ]
    assert points["longitude"].tolist() == pytest.approx([12 + 49.706 / 60, -12 - 49.706 / 60])


def test_ragged_lines_of_a_log_are_kept(flights, write):
    path = write("garmin")
    lines = path.read_text().splitlines()
    lines[10] = lines[10].rsplit(",", 3)[0]
    lines[11] += ",,,"
    path.write_text("\n".join(lines))
    assert len(read(path)) == len(one(flights))


def test_a_file_named_as_another_is_another_flight(tmp_path, flights):
    paths = []
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        paths.append(WRITERS["kml"](flights, tmp_path / day))
    names = {read(path, root=tmp_path)["flight_id"][0] for path in paths}
    assert names == {"monday-track", "tuesday-track"}


# Tables described by a columns.toml


def test_a_table_with_other_names_is_read_by_columns_toml(flights, tmp_path):
    table = pd.DataFrame(
        {
            "KEY": flights["flight_id"],
            "D": flights["timestamp"].dt.strftime("%d/%m/%Y"),
            "T": flights["timestamp"].dt.strftime("%H:%M:%S"),
            "POS": flights["latitude"].astype("str") + " , " + flights["longitude"].astype("str"),
            "LEVEL": "FL"
            + (flights["altitude"] / 100).round().astype(int).astype("str").str.zfill(3),
            "V": flights["groundspeed"] / 3600,
        }
    )
    dialect = parse_dialect(
        'constants = { operator = "IBE" }\n'
        "[columns]\n"
        'timestamp = { column = "T", format = "%d/%m/%Y %H:%M:%S" }\n'
        'altitude = { column = "LEVEL", unit = "FL" }\n'
        'groundspeed = { column = "V", unit = "NM/s" }\n'
        '[import]\nflight_id = "KEY"\ndate = "D"\nposition = "POS"\n'
    )
    points = read(write_csv(table, tmp_path / "mine.csv", sep=";"), dialect=dialect)
    assert (points["timestamp"] == flights["timestamp"]).all()
    assert (points["flight_id"] == flights["flight_id"]).all()
    assert np.allclose(points["longitude"], flights["longitude"])
    assert np.allclose(points["altitude"], flights["altitude"], atol=50.1)
    assert np.allclose(points["groundspeed"], flights["groundspeed"])
    assert points["operator"].eq("IBE").all()


@pytest.mark.parametrize(
    "form",
    ["{ns}{lat}/{ew}{lon}", "{ns}{lat}, {ew}{lon}", "{lat}{ns} {lon}{ew}", "{lat}{ns}{lon}{ew}"],
)
def test_positions_with_letters_in_one_field_are_read(flights, tmp_path, form):
    def minutes(value):
        return f"{abs(value) // 1:03.0f} {abs(value) % 1 * 60:09.6f}"

    positions = [
        form.format(lat=minutes(lat), lon=minutes(lon), ns="SN"[lat > 0], ew="WE"[lon > 0])
        for lat, lon in zip(flights["latitude"], flights["longitude"], strict=True)
    ]
    table = flights[["flight_id", "timestamp", "altitude"]].assign(place=positions)
    dialect = parse_dialect('[import]\nposition = "place"\n')
    points = read(write_csv(table, tmp_path / "mine.csv"), dialect=dialect)
    assert np.allclose(points["latitude"], flights["latitude"])
    assert np.allclose(points["longitude"], flights["longitude"])


def test_positions_that_stand_for_no_value_are_missing():
    parts = split_positions(pd.Series(["-", "N/A", "", None], dtype="str"))
    assert all(part.isna().all() for part in parts.values())


def test_positions_that_are_not_understood_are_quoted(flights, tmp_path):
    table = flights[["flight_id", "timestamp", "altitude"]].assign(place="over the sea")
    dialect = parse_dialect('[import]\nposition = "place"\n')
    with pytest.raises(ValueError, match="position is 'over the sea', expected latitude and"):
        read(write_csv(table, tmp_path / "mine.csv"), dialect=dialect)


@pytest.mark.parametrize("variant", ["arcmin", "letters"])
def test_positions_in_minutes_of_arc_are_read(flights, tmp_path, variant):
    if variant == "arcmin":
        angles = [flights[name] * 60 for name in ("latitude", "longitude")]
        unit = ', unit = "arcmin"'
    else:
        angles = [
            flights[name].map(lambda value: f"{abs(value) // 1:.0f}°{abs(value) % 1 * 60:.6f}")
            + flights[name].lt(0).map({False: sides[0], True: sides[1]})
            for name, sides in (("latitude", "NS"), ("longitude", "EW"))
        ]
        unit = ""
    table = flights[["flight_id", "timestamp", "altitude"]].assign(y=angles[0], x=angles[1])
    dialect = parse_dialect(
        f'[columns]\nlatitude = {{ column = "y"{unit} }}\nlongitude = {{ column = "x"{unit} }}\n'
    )
    points = read(write_csv(table, tmp_path / "mine.csv"), dialect=dialect)
    assert np.allclose(points["latitude"], flights["latitude"])
    assert np.allclose(points["longitude"], flights["longitude"])


def test_the_second_table_of_a_columns_toml_gives_identities(flights, tmp_path):
    table = flights.drop_duplicates("flight_id")
    table = pd.DataFrame({"KEY": table["flight_id"], "CS": table["callsign"]})
    dialect = parse_dialect(
        'columns.callsign = "CS"\n[import]\nflight_id = "KEY"\nflights = "list.csv"'
    )
    path = write_csv(table, tmp_path / "list.csv")
    identities = recognize_format(path, dialect).read_identities(path, Options(dialect=dialect))
    assert identities["callsign"].tolist() == table["CS"].tolist()


def test_an_address_stands_for_the_flight_where_columns_toml_names_one(flights, tmp_path):
    table = flights[["timestamp", "latitude", "longitude", "altitude"]].assign(
        HEX=flights["icao24"].str.upper()
    )
    dialect = parse_dialect('[import]\nicao24 = "HEX"\ngap = 1200')
    points = read(write_csv(table, tmp_path / "mine.csv"), dialect=dialect)
    assert (points["icao24"] == flights["icao24"]).all()
    assert "flight_id" not in points


def test_units_in_the_names_of_columns_are_taken(flights, tmp_path):
    table = pd.DataFrame(
        {
            "Time (UTC)": flights["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S"),
            "Latitude [deg]": flights["latitude"],
            "Longitude [deg]": flights["longitude"],
            "Altitude (m)": flights["altitude"] * 0.3048,
            "GS [m/s]": flights["groundspeed"] / 3600 * 1852,
            "Callsign": flights["callsign"],
        }
    )
    points = read(write_csv(table, tmp_path / "mine.csv"))
    assert np.allclose(points["altitude"], flights["altitude"])
    assert np.allclose(points["groundspeed"], flights["groundspeed"])


@pytest.mark.parametrize("clock", ["%H:%M:%S", "%Y-%m-%d %H:%M:%S", "seconds of the day"])
def test_date_and_time_in_two_columns_are_joined(flights, tmp_path, clock):
    times = flights["timestamp"].dt
    if clock == "seconds of the day":
        clock_times = times.hour * 3600 + times.minute * 60 + times.second
    else:
        clock_times = times.strftime(clock)
    table = flights[["latitude", "longitude", "altitude", "callsign"]].assign(
        DATE=times.strftime("%Y-%m-%d"), TIME=clock_times
    )
    points = read(write_csv(table, tmp_path / "mine.csv"))
    assert (points["timestamp"] == flights["timestamp"]).all()


def test_a_date_that_may_be_of_two_months_is_refused_with_the_question(flights, tmp_path):
    table = flights[["latitude", "longitude", "altitude"]].assign(
        DATE="03/04/2024", TIME="10:00:00"
    )
    path = write_csv(table, tmp_path / "mine.csv")
    with pytest.raises(FormatError, match="day/month or month/day"):
        read(path)


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S"])
def test_a_day_after_the_12th_shows_the_order_of_day_and_month(flights, tmp_path, form):
    flight = one(flights)
    later = pd.Timestamp("2016-01-13", tz="UTC") - flight["timestamp"].iloc[0].floor("D")
    times = flight["timestamp"] + later
    table = flight[["latitude", "longitude", "altitude"]].assign(time=times.dt.strftime(form))
    points = read(write_csv(table, tmp_path / "mine.csv"))
    assert (points["timestamp"] == times).all()


def test_times_that_may_be_of_two_months_are_refused_with_the_question(flights, tmp_path):
    table = flights[["latitude", "longitude", "altitude"]].assign(time="03/04/2024 10:00:00")
    path = write_csv(table, tmp_path / "mine.csv")
    with pytest.raises(FormatError, match="day/month or month/day"):
        read(path)


def minutes_of_arc(values, sides):
    degrees, minutes = values.abs() // 1, values.abs() % 1 * 60
    texts = degrees.astype(int).astype("str") + "°" + minutes.map("{:.5f}".format) + "'"
    return texts + values.lt(0).map({False: sides[0], True: sides[1]})


# tables of many flights: differences from the schema, and options of `to_csv`
WRITTEN = {
    "decimal commas": (lambda df: df, {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"}),
    "minutes of arc in Latin-1": (
        lambda df: df.assign(
            latitude=minutes_of_arc(df["latitude"], "NS"),
            longitude=minutes_of_arc(df["longitude"], "EW"),
        ),
        {"encoding": "latin-1"},
    ),
    "carriage returns at the ends of lines": (lambda df: df, {"lineterminator": "\r"}),
    "a line of units": (
        lambda df: pd.concat(
            [
                pd.DataFrame([["-", "UTC", "deg", "deg", "m"]], columns=df.columns),
                df.assign(altitude=df["altitude"] * 0.3048).astype("str"),
            ]
        ),
        {},
    ),
    "hhmmss and a column of dates": (
        lambda df: df.assign(
            timestamp=df["timestamp"].dt.strftime("%H%M%S"),
            DATE=df["timestamp"].dt.strftime("%Y%m%d"),
        ),
        {},
    ),
    "flight levels": (
        lambda df: df.assign(altitude=(df["altitude"] / 100).round().map("FL{:03.0f}".format)),
        {},
    ),
    "hundreds of feet below flight levels": (
        lambda df: df.assign(
            altitude=[
                f"{'FL' if feet > 6000 else 'A'}{feet / 100:03.0f}" for feet in df["altitude"]
            ]
        ),
        {},
    ),
    "arrows": (lambda df: df.assign(altitude=df["altitude"].map("{:.0f}↑".format)), {}),
    "thousands in Windows' encoding": (
        lambda df: df.assign(
            altitude=[f"{feet:,.0f}".replace(",", "’") for feet in df["altitude"]]
        ),
        {"encoding": "cp1252"},
    ),
    "zones": (
        lambda df: df.assign(timestamp=df["timestamp"].dt.tz_convert("Asia/Kolkata").astype("str")),
        {},
    ),
}


@pytest.mark.parametrize("variant", WRITTEN)
def test_a_table_of_many_flights_may_be_written_with(flights, tmp_path, variant):
    change, options = WRITTEN[variant]
    names = ["flight_id", "timestamp", "latitude", "longitude", "altitude"]
    points = read(write_csv(change(flights[names]), tmp_path / "many.csv", **options))
    assert points["flight_id"].tolist() == flights["flight_id"].tolist()
    assert (points["timestamp"] == flights["timestamp"]).all()
    assert np.allclose(points[["latitude", "longitude"]], flights[["latitude", "longitude"]])
    assert np.allclose(points["altitude"], flights["altitude"], atol=50.1)


def test_times_of_day_of_several_aircraft_are_of_the_day_in_the_files_name(flights, tmp_path):
    flights = flights[flights["timestamp"].dt.date == flights["timestamp"].dt.date.iloc[0]]
    times = flights["timestamp"]
    table = flights[["latitude", "longitude", "altitude", "icao24"]].assign(
        TOD=(times - times.dt.floor("D")).dt.total_seconds()
    )
    table = table.sort_values("TOD")
    points = read(write_csv(table, tmp_path / f"radar_{times.iloc[0]:%Y%m%d}.csv"))
    assert (points["timestamp"] == times[table.index].to_numpy()).all()


def test_times_of_day_of_several_aircraft_that_pass_midnight_need_a_date(tmp_path):
    table = pd.DataFrame(
        {"icao24": "a", "TOD": [86_398, 86_399, 0, 1], "lat": 40.0, "lon": 3.0, "alt": 9000}
    )
    with pytest.raises(FormatError, match="no column has the date"):
        read(write_csv(table, tmp_path / "radar_20160101.csv"))


@pytest.mark.parametrize("name", ["time", "TOD"])
def test_a_flight_passes_midnight_up_to_its_last_line(tmp_path, name):
    lines = [f"{clock},40.0,3.0,9000" for clock in ("23:59:58", "23:59:59", "00:00:00", "00:00:01")]
    path = tmp_path / "log_20151231.csv"
    path.write_text("\n".join([f"{name},lat,lon,alt", *lines]))  # without a line feed at the end
    times = read(path)["timestamp"]
    assert times.iloc[0] == pd.Timestamp("2015-12-31T23:59:58Z")
    assert (times.diff().dropna() == pd.Timedelta("1s")).all()


def test_a_date_that_stands_still_at_midnight_moves_on_for_each_aircraft(tmp_path):
    table = pd.DataFrame(
        {
            "icao24": ["a", "b"] * 3,
            "date": "2016-01-31",
            "clock": ["23:59:58", "10:00:00", "23:59:59", "10:00:01", "00:00:00", "10:00:02"],
            "lat": 40.0,
            "lon": 3.0,
            "alt": 9000,
        }
    )
    points = read(write_csv(table, tmp_path / "radar.csv"))
    assert points["timestamp"].dt.day.tolist() == [31, 31, 31, 31, 1, 31]


def test_the_registration_above_the_points_is_read(flights, tmp_path):
    path = write_csv(
        one(flights)[["timestamp", "latitude", "longitude", "altitude"]], tmp_path / "track.csv"
    )
    path.write_text(
        "Pilot,Tail Number,Derived Origin,Start Latitude,Start Longitude,Start Time\n"
        f'"Doe, J.","N183CP","KBIH",37.0,-118.0,1700000000000\n{path.read_text()}'
    )
    points = read(path)
    assert points["registration"].unique().tolist() == ["N183CP"]
    assert len(points) == len(one(flights))


def test_times_in_no_known_form_are_quoted(flights, tmp_path):
    table = flights[["icao24", "latitude", "longitude", "altitude"]]
    path = write_csv(table.assign(timestamp="3rd of January, 2 PM"), tmp_path / "table.csv")
    assert "timestamp is '3rd of January, 2 PM', which is no known time" in refuse(path)


@pytest.mark.parametrize("line", ["(593 rows)", "timestamp"])
def test_lines_that_are_no_samples_leave_the_times_of_the_others(flights, tmp_path, line):
    table = flights[["icao24", "latitude", "longitude", "altitude"]]
    times = pd.Series(range(1704067800, 1704067800 + len(table))).astype("str")
    path = write_csv(table.assign(timestamp=times.mask(times.index == 7, line)), tmp_path / "a.csv")
    points = read(path)
    assert len(points) == len(table) - 1
    assert points["timestamp"].iloc[[0, -1]].dt.as_unit("s").astype("int64").tolist() == [
        1704067800,
        1704067800 + len(table) - 1,
    ]


@pytest.mark.parametrize("text", [38975.0, "noon"])
def test_another_column_of_times_is_proposed_for_one_that_has_none(flights, tmp_path, text):
    table = flights.rename(columns={"timestamp": "time"}).assign(timestamp=text)
    names = ["time", "timestamp", "latitude", "longitude", "altitude"]
    path = write_csv(table[names], tmp_path / "table.csv")
    assert 'another column: timestamp = "time"' in refuse(path)


@pytest.mark.parametrize("minutes", [False, True])
def test_hemispheres_in_columns_of_their_own_are_taken(flights, tmp_path, minutes):
    table = flights[["icao24", "timestamp", "latitude", "longitude", "altitude"]]
    angles = table[["latitude", "longitude"]].abs()
    if minutes:
        angles = 100 * (angles // 1) + 60 * (angles % 1)
    sides = np.where(flights["longitude"] < 0, "W", "E")
    path = write_csv(table.assign(**angles, NS="N", EW=sides), tmp_path / "table.csv")
    points = read(path)
    for name in ("latitude", "longitude"):
        np.testing.assert_allclose(points[name], flights[name], atol=1e-9)


def test_altitudes_that_are_no_numbers_are_refused_and_quoted(flights, tmp_path):
    table = flights[["timestamp", "callsign", "latitude", "longitude"]]
    path = write_csv(table.assign(altitude="A 310"), tmp_path / "table.csv")
    assert "altitude is 'A 310', expected a number" in refuse(path)


def test_many_altitudes_that_are_no_numbers_are_refused_and_quoted(flights, tmp_path):
    table = flights[["timestamp", "callsign", "latitude", "longitude"]]
    altitudes = flights["altitude"].astype("str")
    few, many = (
        altitudes.mask(altitudes.index < share * len(table), "low") for share in (0.04, 0.2)
    )
    path = write_csv(table.assign(altitude=few), tmp_path / "few.csv")
    assert read(path)["altitude"].isna().mean() == pytest.approx(0.04, abs=0.01)
    reason = r"altitude is 'low', expected a number \(\d+ of \d+ values cannot be read\)"
    assert re.search(reason, refuse(write_csv(table.assign(altitude=many), tmp_path / "many.csv")))


@pytest.mark.parametrize(
    "names",
    [
        "GPS Date & Time|Latitude (deg)|Longitude (deg)|Pressure Altitude (ft)|Ground Track (deg)"
        "|Course (deg)",
        "Timestamp|__lat,__deg|__lon,__deg|p-alt,ftMSL|ground_track|course",
        "timestamp|PLANE LATITUDE (degrees)|PLANE LONGITUDE (degrees)|PLANE ALTITUDE|track|course",
    ],
)
def test_logs_of_avionics_and_simulators_are_understood(flights, tmp_path, names):
    table = flights[["timestamp", "latitude", "longitude", "altitude", "track"]].assign(course=0)
    path = write_csv(table.set_axis(names.split("|"), axis=1), tmp_path / "log.csv")
    points = read(path)
    assert (points["timestamp"] == flights["timestamp"]).all()
    for name in ("latitude", "longitude", "altitude", "track"):
        assert np.allclose(points[name], flights[name]), name


@pytest.mark.parametrize(
    "header, expected",
    [
        (  # interface of Flightradar24
            "fr24_id,flight,callsign,lat,lon,alt,gspeed,timestamp,hex,operating_as,orig_icao,"
            "dest_iata,dest_icao",
            {"operator": "operating_as", "origin": "orig_icao", "destination": "dest_icao"},
        ),
        (  # noise monitor of an airport
            "OperationID,OperationTime,PointTime,PointLat,PointLon,PointAltitude",
            {"timestamp": "PointTime", "altitude": "PointAltitude"},
        ),
        (  # radar of a terminal area
            "acid,track_num,time,lat,lon,reportedAltitude,aircraftType",
            {"callsign": "acid", "altitude": "reportedAltitude", "aircraft_type": "aircraftType"},
        ),
        (  # ASTERIX of a validation tool
            "Timestamp,ACAD,ACID,Latitude,Longitude,Mode C Code",
            {"icao24": "ACAD", "callsign": "ACID", "altitude": "Mode C Code"},
        ),
        (  # encounter models
            "time_s,lat_deg,lon_deg,alt_pressure_ft_msl,alt_geom_ft_msl",
            {"altitude": "alt_pressure_ft_msl", "geoaltitude": "alt_geom_ft_msl"},
        ),
    ],
)
def test_names_of_columns_of_other_sources_are_understood(header, expected):
    names = header.split(",")
    layout = match_columns(names, parse_dialect(""))
    fields = layout.fields
    assert {"timestamp", "latitude", "longitude", "altitude"} <= fields.keys()
    assert {name: names[fields[name]] for name in expected} == expected
    feet = {name: 1.0 for name in fields if name in ("altitude", "geoaltitude")}
    assert feet == {name: layout.units.get(name, (1.0, 0.0))[0] for name in feet}


@pytest.mark.parametrize(
    "column, name",
    [
        ("aircraft_icao", "aircraft_type"),
        ("PointType", None),
        ("track_id", None),
        ("OperationID", None),
        ("updated_at", None),
        ("now", None),
        ("Plane Latitude", None),  # may be in radians
        ("Height (ft AGL)", None),
        ("Altitude (AGL)", None),
    ],
)
def test_names_of_several_meanings_are_not_guessed(column, name):
    assert {*match_columns([column], parse_dialect("")).fields} == {name} - {None}


@pytest.mark.parametrize("name", ["height_m", "Height (ft)"])
def test_a_height_above_an_unknown_level_stands_for_no_altitude(name):
    names = ["time", "lat", "lon", name]
    assert "altitude" not in match_columns(names, parse_dialect("")).fields


@pytest.mark.parametrize("text", ['{ unit = "ft" }', '{ column = "gps_alt_m", unit = "m" }'])
def test_a_height_that_columns_toml_names_stands_for_no_altitude(text):
    names = ["time", "lat", "lon", "geoaltitude", "gps_alt_m"]
    fields = match_columns(names, parse_dialect(f"columns.geoaltitude = {text}")).fields
    assert "altitude" not in fields
    assert "geoaltitude" in fields


def test_names_in_columns_toml_go_before_those_of_radar_messages():
    names = ["time", "lat", "lon", "fl", "ti", "ta", "tta", "cs"]
    fields = match_columns(names, parse_dialect('columns.callsign = "cs"')).fields
    assert (names[fields["callsign"]], names[fields["icao24"]]) == ("cs", "ta")


def test_seconds_since_the_year_1_are_times(flights, tmp_path):
    table = flights[["latitude", "longitude", "altitude"]].assign(
        Time=range(len(flights)),
        ABSOLUTE_TIME=(flights["timestamp"].dt.tz_localize(None) - pd.Timestamp(1970, 1, 1))
        .dt.total_seconds()
        .add(719_162 * 86_400),
    )
    points = read(write_csv(table, tmp_path / "log.csv"))
    assert (points["timestamp"] == flights["timestamp"]).all()


def test_decoded_radar_messages_are_understood(flights, tmp_path):
    times = flights["timestamp"]
    table = pd.DataFrame(
        {
            "TIME": times.dt.strftime("%H:%M:%S") + ":000",
            "LAT": flights["latitude"],
            "LON": flights["longitude"],
            "FL": flights["altitude"] / 100,
            "TA": flights["icao24"].str.upper(),
            "TI": flights["callsign"],
            "TTA": flights["track"],
            "GS": "N/A",
            "HDG": 0.0,
        }
    )
    one_day = times.dt.date == times.dt.date.iloc[0]
    path = tmp_path / f"P3_{times.iloc[0]:%Y-%m-%d}.csv"
    text = table[one_day].to_csv(index=False, sep=";", decimal=",").replace("\n", ";\n")
    path.write_text(text.replace(";\n", "\n", 1))  # a delimiter ends all lines but the header
    points = read(path).sort_values(["icao24", "timestamp"], ignore_index=True)
    expected = flights[one_day].sort_values(["icao24", "timestamp"], ignore_index=True)
    assert (points["timestamp"] == expected["timestamp"]).all()
    assert (points[["icao24", "callsign"]] == expected[["icao24", "callsign"]]).all(axis=None)
    for name in ("latitude", "longitude", "altitude", "track"):
        assert np.allclose(points[name], expected[name]), name
    assert "heading" not in points  # magnetic


def test_a_height_in_a_known_unit_stands_for_a_missing_altitude(flights, tmp_path):
    table = flights[["timestamp", "callsign", "latitude", "longitude"]]
    table = table.assign(geoAltitude=flights["geoaltitude"] * 0.3048)
    points = read(write_csv(table, tmp_path / "table.csv"))
    assert np.allclose(points["altitude"], flights["geoaltitude"])


def test_a_speed_in_an_unknown_unit_is_left_out(flights, tmp_path):
    table = flights[["timestamp", "callsign", "latitude", "longitude", "altitude"]]
    path = write_csv(table.assign(**{"VS (m/min)": 100}), tmp_path / "table.csv")
    assert "vertical_rate" not in read(path)


def test_positions_off_the_earth_are_refused_and_quoted(flights, tmp_path):
    table = flights[["timestamp", "callsign", "latitude", "longitude", "altitude"]]
    table = table.assign(latitude=405_000_000, longitude=-35_000_000)
    path = write_csv(table, tmp_path / "table.csv")
    assert "the first one is [405000000.0, -35000000.0], in degrees?" in refuse(path)


def test_a_log_saved_by_a_spreadsheet_is_refused_with_what_to_do(write):
    path = write("garmin")
    path.write_text(re.sub(r"(?m)^(\d{4})-(\d\d)-(\d\d)", r"\2/\3/\1", path.read_text()))
    assert "as the avionics wrote it" in refuse(path)


def test_a_workbook_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "book.xlsx"
    path.write_bytes(pack_zip({"[Content_Types].xml": b"", "xl/workbook.xml": b""}))
    assert "save the sheet as CSV" in refuse(path)


def test_a_table_without_one_of_the_columns_is_refused_with_its_name(flights, tmp_path):
    table = flights[["timestamp", "latitude", "longitude"]]
    path = write_csv(table.assign(height=100), tmp_path / "table.csv")
    assert "none of them altitude" in refuse(path)


def test_a_table_without_a_header_is_refused_with_what_to_do(flights, tmp_path):
    table = flights[["timestamp", "latitude", "longitude", "altitude"]]
    with pytest.raises(FormatError, match="no header"):
        read(write_csv(table, tmp_path / "x.csv", header=False))


def test_comments_and_the_separator_line_of_a_spreadsheet_are_skipped(table, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("# made by hand\n\nsep=;\n" + table.to_csv(index=False, sep=";"))
    assert len(read(path)) == len(table)


def test_an_empty_file_is_refused_as_such(tmp_path):
    path = tmp_path / "empty.csv"
    path.touch()
    assert "the file is empty" in refuse(path)


def test_utf_16_is_read(table, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(table.to_csv(index=False), encoding="utf-16")
    assert len(read(path)) == len(table)


# Refused files, and harmless ones


def refuse(path):
    with pytest.raises(FormatError) as error:
        read(path)
    return str(error.value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pickles_are_refused_with_the_reason(table, tmp_path, protocol, pack):
    path = tmp_path / "flights.parquet"
    path.write_bytes(pack(pickle.dumps(table, protocol=protocol)))
    assert "runs code" in refuse(path)


def test_recorders_without_a_position_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "qar.csv"
    path.write_text(
        "SYST_TRAJ_ID,FLPL_AIRC_TYPE,PLOT_DATE,FLIGHT_TIME,ALTI_STD_FT,GRND_SPD_KT\n1,A320,1,1,1,1\n"
    )
    assert "no position" in refuse(path)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(gzip.compress(b"time,icao24,lat,lon,velocity\n")),
        pa.compress(gzip.compress(b"time"), "zstd", asbytes=True),
        gzip.compress(pack_zip({"a.csv": b""})),
        gzip.compress(pack_tar({"a.csv": b""})),
        pack_zip({"a.csv.gz": gzip.compress(b"")}),
        pack_zip({"a.zip": pack_zip({"a.csv": b""})}),
        pack_tar({"a.tar": pack_tar({"a.csv": b"a"})}),
        pack_tar({"a.gz": gzip.compress(gzip.compress(b"a"))}),
    ],
    # gzip and tar contain the time, so two test processes would give a case different names
    ids=[
        "gzip-gzip",
        "zstd-gzip",
        "gzip-zip",
        "gzip-tar",
        "zip-gzip",
        "zip-zip",
        "tar-tar",
        "tar-gzip",
    ],
)
def test_archives_within_archives_are_refused(tmp_path, data):
    path = tmp_path / "packed"
    path.write_bytes(data)
    assert "compressed or within another: unpack it" in refuse(path)


def test_an_archive_of_several_files_is_refused(tmp_path):
    path = tmp_path / "packed"
    path.write_bytes(pack_zip({"a.csv": b"a", "b.csv": b"b"}))
    assert "unpack it first" in refuse(path)


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\x00" * 1000, b"PAR1", b"{", b"[", b"\x1f\x8b\x08", b"7z\xbc\xaf'\x1c"]
)
def test_an_unknown_format_is_refused(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    refuse(path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_breaks_off_is_refused_or_read_to_where_it_breaks(write, name, share):
    path = write(name)
    entry = recognize_format(path)
    whole = sum(map(len, entry.read(path, Options()))) if entry.read else 0
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    try:
        entry = recognize_format(path)
        points = sum(map(len, entry.read(path, Options()))) if entry.read else 0
    except FormatError:
        return
    assert points <= whole


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("share", [0.01, 0.6])
def test_a_packed_file_with_wrong_bytes_is_refused(table, tmp_path, packer, share):
    path = tmp_path / "packed"
    data = bytearray(PACKERS[packer](table.to_csv(index=False).encode()))
    start = int(share * len(data))
    if "tar" in packer:
        start = max(start, 2048)  # after the names of the files
    data[start : start + 500] = bytes(500)
    path.write_bytes(data)
    try:
        read(path)
    except FormatError as error:
        assert "cannot be read" in str(error) or "no known format" in str(error)


def test_a_damaged_trace_is_refused(write):
    path = write("readsb")
    text = gzip.decompress(path.read_bytes())
    data = bytearray(gzip.compress(text + b" " * 200_000))
    data[-5] ^= 255  # in the checksum, which is not read to recognise the format
    path.write_bytes(data)
    assert "cannot be read" in refuse(path)


def test_a_parquet_that_claims_a_billion_rows_is_refused(tmp_path):
    path = tmp_path / "many.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000_000, "int8")), pa.array([1.0]))
    names = ["time", "lat", "lon", "velocity", "icao24"]
    pa.parquet.write_table(pa.table([column] * len(names), names=names), path)
    assert "promises 10,000,000 rows" in refuse(path)


@pytest.mark.parametrize(
    "start",
    [b'{"icao":"a","timestamp":1,"trace":[', b'{"time":', b"time,icao24,lat,lon,velocity\n"],
)
def test_a_line_without_end_is_refused(tmp_path, start, monkeypatch):
    monkeypatch.setattr("trajlib.importers.formats.tables._BLOCK", 1 << 20)
    monkeypatch.setattr("trajlib.importers.formats.tables._LARGEST", 2 << 20)
    path = tmp_path / "long.json.gz"
    path.write_bytes(gzip.compress(start + b"1" * (8 << 20)))
    refuse(path)


def test_one_line_of_json_records_is_read_in_blocks(table, tmp_path, monkeypatch):
    monkeypatch.setattr("trajlib.importers.formats.tables._BLOCK", 1 << 14)
    path = tmp_path / "table.json"
    table.to_json(path, orient="records")
    batches = [*recognize_format(path).read(path, Options())]
    assert len(batches) > 3
    assert sum(map(len, batches)) == len(table)


@pytest.mark.parametrize(
    "text", ["=1+1", "../../etc/passwd", "<script>alert(1)</script>", "'; DROP"]
)
def test_texts_stay_texts(table, tmp_path, text):
    path = write_csv(table.assign(callsign=text, flight_id=text), tmp_path / "table.csv")
    points = read(path)
    assert points["callsign"].eq(text).all()
    assert points["flight_id"].eq(text).all()


_READ = """
import resource, sys
from pathlib import Path
from trajlib.importers.formats import FormatError, recognize_format
from trajlib.importers.formats.base import Options
path = Path(sys.argv[1])
try:
    print(sum(map(len, recognize_format(path).read(path, Options()))))
except FormatError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
_RECORD = (
    b'{"timestamp":1633608773000,"latitude":48.5,"longitude":3.8,"icao24":"0101de","altitude":1},'
)
LINES = {  # beginning of a file, and lines repeated up to a gigabyte
    "records": (b"[", _RECORD),
    "a trace": (b'{"icao":"a","timestamp":1,"trace":[', b"[1,2,3],"),
    "digits": (b'{"time":', b"1"),
    "fields": (b"time,icao24,lat,lon,velocity\n", b"1,"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LINES)
def test_a_gigabyte_in_one_line_is_refused_or_read_in_bounded_memory(tmp_path, kind):
    start, repeated = LINES[kind]
    block = repeated * ((1 << 20) // len(repeated))
    path = tmp_path / "long.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(1000):
            file.write(block)
    command = [sys.executable, "-c", _READ, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) < 900, done.stdout


@pytest.mark.parametrize("name", ["../../outside.csv", "/tmp/outside.csv"])
def test_names_in_archives_are_not_used_as_paths(table, tmp_path, name):
    path = tmp_path / "inner" / "deep" / "packed"
    path.parent.mkdir(parents=True)
    path.write_bytes(pack_zip({name: table.to_csv(index=False).encode()}))
    assert len(read(path)) == len(table)
    assert not (tmp_path / "outside.csv").exists()


def test_entities_of_xml_are_not_expanded(write):
    path = write("kml")
    text = path.read_text().replace("<kml", '<!DOCTYPE k [<!ENTITY a "1e9">]><kml', 1)
    path.write_text(text.replace("<when>2", "<when>&a;", 1))
    points = read(path)
    assert points["timestamp"].max() < pd.Timestamp("2017", tz="UTC")


def test_the_list_of_formats_names_each_with_what_it_needs():
    text = describe_formats()
    for entry in FORMATS:
        assert entry.name in text
        assert entry.needs in text


def test_an_unknown_name_of_a_format_is_refused_with_the_names():
    with pytest.raises(FormatError, match="opensky"):
        find_format("openskies")


def test_a_list_among_texts_does_not_stop_a_file():
    table = pd.DataFrame({"callsign": ["IBE1 ", ["IBE1"], None, " "]})
    texts = convert_table(table, {"callsign": Field("callsign")})["callsign"]
    assert texts.iloc[0] == "IBE1"
    assert texts.isna().tolist() == [False, False, True, True]


def test_texts_that_differ_in_spaces_and_case_are_one_category():
    table = pd.DataFrame({"icao24": ["A00001", "a00001 ", None, "0xa00001"], "mode_s": "b00002"})
    texts = convert_table(table, {"icao24": Field("icao24")})["icao24"]
    assert texts.cat.categories.tolist() == ["a00001"]
    filled = convert_table(table, {"icao24": Field("icao24", "mode_s")})["icao24"]
    assert filled.tolist() == ["a00001", "a00001", "b00002", "a00001"]


@pytest.mark.parametrize("name", ["airlabs", "aviationstack", "allft"])
def test_the_airports_of_points_are_read(write, name):
    points = read(write(name))
    assert points["origin"].unique() == ["LEMD"]
    assert points["destination"].unique() == ["LEBL"]


def test_the_filed_route_of_allft_is_another_field_than_the_flown_one(flights, write):
    path = write("allft")
    assert len(read(path, kind="plan")) == flights["flight_id"].nunique()
    assert len(read(path)) == len(flights)


def test_without_a_pressure_sensor_nmea_gives_the_height_as_altitude(write):
    path = write("nmea")
    lines = [line for line in path.read_text().splitlines() if "PGRMZ" not in line]
    path.write_text("\n".join(lines))
    points = read(path)
    assert (points["altitude"] - points["geoaltitude"]).abs().max() < 1e-6


@pytest.mark.parametrize("end", ["", "*00"])
def test_a_garbled_sentence_of_nmea_is_left_out(write, flights, end):
    path = write("nmea")
    garbled = f"$GPRMC,061580,A,4030.1000,N,00330.0000,W,120.0,090.0,000016,,{end}"
    wrong_height = re.sub(r",\d+,f,3", ",99999,f,3", path.read_text().splitlines()[2])
    path.write_text("\n".join([path.read_text(), garbled, wrong_height]))
    assert len(read(path)) == len(one(flights))
    assert read(path)["altitude"].max() < 50_000


@pytest.mark.parametrize("name", ["airlabs", "aviationstack"])
def test_the_names_of_an_interface_without_its_envelope_are_not_its_units(write, name):
    path = write(name)
    answer = json.loads(path.read_text())
    records = answer.get("response") or [record["live"] for record in answer["data"]]
    records = [record | {"time": record["updated"]} for record in records]
    path.write_text(json.dumps(records))
    assert recognize_format(path).name == "generic"
    pd.DataFrame(records).to_csv(path.with_suffix(".csv"), index=False)
    assert recognize_format(path.with_suffix(".csv")).name == "generic"


@pytest.mark.parametrize(
    "content, reason",
    [
        ('1457996400,"8D406B909945DE10000405999BE4","406B90",19\n' * 3, "not decoded"),
        ("*8D406B909945DE10000405999BE4;\n*02E197B0CC6B2D;\n", "not decoded"),
        ("@016CE3671AA88D4840D6202CC371C32CE0576098;\n" * 2, "not decoded"),
        ("@016CE3671AA802E197B0CC6B2D;\n" * 2, "not decoded"),
        ("\x1a3" + "a" * 60, "not decoded"),
        ("SQLite format 3\x00\x10\x00" + "\x01" * 60, "sqlite3 -header -csv"),
        ("CDF\x01\x00\x00", "write the variables as CSV"),
        ("MATLAB 5.0 MAT-file, Platform: PCWIN64", "write the variables as CSV"),
        ("time,raw\n1457996400,8D406B909945DE10000405999BE4\n", "not decoded"),
        ('<?xml version="1.0"?>\n<ns5:MessageCollection>\n</ns5:MessageCollection>', "XML"),
        ("EHAM;UUEE;00;A321;350;" + ";" * 100 + "\n", "so6"),
        ("213765625 EHAMCR1 1513288140.000000 1513288226.000000 0.0 35.0 0.0\n", "so6"),
    ],
)
def test_contents_that_hold_no_points_are_refused_with_the_next_step(tmp_path, content, reason):
    path = tmp_path / "file.csv"
    path.write_text(content)
    assert reason in refuse(path)
    assert draft_columns(path) is None


def test_igc_without_the_line_of_its_maker_is_read(write, flights):
    path = write("igc")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert path.read_text().startswith("HFDTE")
    assert len(read(path)) == len(one(flights))


def test_the_altitude_of_a_phone_without_a_sensor_is_that_of_its_receiver(tmp_path):
    path = tmp_path / "phone.igc"
    path.write_text(
        "AXXXABC\nHFDTEDATE:311223,01\n"
        "B1159594612584N01249706EA0000001000\nB1200004612584N01249706EA0000001001\n"
    )
    points = read(path)
    assert points["altitude"].tolist() == pytest.approx([1000 / 0.3048, 1001 / 0.3048])
