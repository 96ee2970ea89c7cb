import gzip

import pytest

from trajlib.archive.dialect import parse_dialect
from trajlib.archive.reading import read_flight
from trajlib.archive.suggestion import suggest_dialect


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_state_vectors_of_opensky_are_recognised(tmp_path):
    header = (
        "time,icao24,lat,lon,velocity,heading,vertrate,callsign,onground,baroaltitude,geoaltitude"
    )
    lines = [
        f"{1451628900 + s},34508a,40.00{s},-3.5,55.6,0,0,IBE1234,false,3048,3100" for s in range(9)
    ]
    path = write(tmp_path, "LEMD-LEBL/1.csv", "\n".join([header, *lines, ""]))
    dialect = parse_dialect(suggest_dialect(tmp_path))
    df = read_flight(path, dialect=dialect)
    assert df["altitude"].iloc[0].round(6) == 10_000
    assert df["timestamp"].iloc[0].isoformat() == "2016-01-01T06:15:00+00:00"
    assert dialect.identity("LEMD-LEBL/1.csv") == {"origin": "LEMD", "destination": "LEBL"}


def test_semicolons_and_decimal_commas_are_recognised(tmp_path):
    lines = [f"2016-01-01T06:1{s}:00Z;40,{s};-3,5;100,0" for s in range(9)]
    path = write(tmp_path, "1.csv", "\n".join(["timestamp;lat;lon;alt", *lines, ""]))
    df = read_flight(path, dialect=parse_dialect(suggest_dialect(tmp_path)))
    assert df["latitude"].iloc[-1] == 40.8


def test_the_standard_layout_needs_no_dialect(tmp_path):
    header = "timestamp,latitude,longitude,altitude,origin,destination"
    lines = [f"2016-01-01T06:15:0{s}Z,40,-3,100,LEMD,LEBL" for s in range(9)]
    write(tmp_path, "1.csv", "\n".join([header, *lines, ""]))
    dialect = parse_dialect(suggest_dialect(tmp_path))
    assert (dialect.names, dialect.units, dialect.delimiter) == ({}, {}, ",")


def test_milliseconds_are_times_since_1970(tmp_path):
    lines = [f"145681920{s}000,40,-3,100" for s in range(9)]
    path = write(tmp_path, "1.csv", "\n".join(["time,lat,lon,alt", *lines, ""]))
    df = read_flight(path, dialect=parse_dialect(suggest_dialect(tmp_path)))
    assert df["timestamp"].iloc[0].isoformat() == "2016-03-01T08:00:00+00:00"


def test_an_ambiguous_date_is_left_for_the_user_to_decide(tmp_path):
    lines = [f"05/03/2016 06:15:0{s},40,-3,100" for s in range(9)]
    write(tmp_path, "1.csv", "\n".join(["time,lat,lon,alt", *lines, ""]))
    assert "# to be decided: is 05/03/2016 06:15:00 day/month" in suggest_dialect(tmp_path)


def test_a_file_of_one_column_lacks_the_others(tmp_path):
    write(tmp_path, "1.csv", "altitude\n1\n2\n")
    assert "columns missing: timestamp" in suggest_dialect(tmp_path)


def test_missing_columns_are_listed(tmp_path):
    write(tmp_path, "1.csv", "time,lat,height\n1,2,3\n4,5,6\n7,8,9\n")
    text = suggest_dialect(tmp_path)
    assert "columns missing: longitude, altitude" in text
    assert "try python -m trajlib import" in text


def test_a_compressed_file_is_read_and_an_empty_one_skipped(tmp_path):
    header = "time;latitude;longitude;altitude"
    lines = [f"2016-01-01T06:15:0{s}Z;40;-3;100" for s in range(9)]
    write(tmp_path, "1.csv", "")
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode()))
    dialect = parse_dialect(suggest_dialect(tmp_path))
    assert (dialect.names, dialect.delimiter) == ({"timestamp": "time"}, ";")


def test_an_archive_without_samples_is_an_error(tmp_path):
    write(tmp_path, "1.csv", "")
    with pytest.raises(ValueError, match="holds a line of samples"):
        suggest_dialect(tmp_path)


def test_a_damaged_file_is_passed_over(tmp_path):
    packed = gzip.compress(b"timestamp,lat,lon,alt\n", mtime=0)
    (tmp_path / "1.csv.gz").write_bytes(packed[:10] + b"\xff" * 20)
    write(tmp_path, "2.csv", "timestamp,lat,lon,alt\n2016-01-01T06:15:00Z,40,-3,100\n")
    assert 'column = "lat"' in suggest_dialect(tmp_path).replace("'", '"')
