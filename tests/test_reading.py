import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajlib.archive.dialect import Dialect, parse_dialect, read_dialect
from trajlib.archive.reading import FlightError, read_flight, read_repaired, write_flight
from trajlib.archive.values import find_times, parse_times
from trajlib.schema import COLUMNS

HEADER = "timestamp,latitude,longitude,altitude"
LINES = [
    f"2016-01-01T06:15:{second:02}Z,40.{second:02},-3.5,{100 * second}" for second in range(10)
]


def write(folder, text, name="flight.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_with(number, line):
    return "\n".join([HEADER, *LINES[:number], line, *LINES[number + 1 :], ""])


def test_a_flight_is_read_in_the_schemas_order_and_units(tmp_path):
    df = read_flight(write(tmp_path, "\n".join([HEADER, *LINES, ""])))
    assert list(df) == ["timestamp", "duration", "latitude", "longitude", "altitude", "distance"]
    assert df["timestamp"].iloc[0] == pd.Timestamp("2016-01-01 06:15", tz="UTC")
    assert df["duration"].tolist() == list(range(10))
    assert df["altitude"].tolist() == [100.0 * second for second in range(10)]
    assert df["distance"].iloc[-1] == pytest.approx(0.09 * 60, rel=2e-3)  # 0.09 degrees northwards


def test_only_requested_columns_are_read(tmp_path):
    path = write(tmp_path, "\n".join([HEADER, *LINES, ""]))
    assert list(read_flight(path, ["altitude"])) == ["altitude"]
    assert list(read_flight(path, ["altitude", "mass"])) == ["altitude"]


@pytest.mark.parametrize("start", ["", "600"])
def test_duration_and_distance_begin_at_0_at_the_first_sample(tmp_path, start):
    lines = ["2016-01-01T06:00:00Z,40,0,0,", "2016-01-01T06:10:00Z,41,0,0,99,660"]
    lines[0] += f",{start}"
    header = "timestamp,latitude,longitude,altitude,distance,duration"
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]) + "\n")
    df = read_flight(tmp_path / "a.csv")
    assert df["duration"].tolist() == [0, 600]
    assert df["distance"].tolist() == pytest.approx([0, 60], abs=0.1)


def test_samples_after_the_requested_minutes_have_no_influence(tmp_path):
    later = [f"2016-01-01T07:{m:02}:00Z,0,0,99999" for m in range(30)]
    path = write(tmp_path, "\n".join([HEADER, *LINES, *later, ""]))
    plain = read_flight(write(tmp_path, "\n".join([HEADER, *LINES, ""]), "plain.csv"))
    pd.testing.assert_frame_equal(read_flight(path, minutes=10), plain)


def test_a_flight_written_is_the_flight_read(tmp_path):
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"timestamp": pd.date_range("2016-01-01", periods=50, freq="s", tz="UTC")})
    df["duration"] = np.arange(50.0)
    for name in ("latitude", "longitude", "altitude", "distance", "mass"):
        df[name] = np.sort(rng.uniform(0, 0.08, 50)).round(COLUMNS[name].decimals)
    df["callsign"], df["operator"] = "IBE1234", 'a "b", c'
    write_flight(df, tmp_path / "flight.csv")
    read = read_flight(tmp_path / "flight.csv")
    pd.testing.assert_frame_equal(read[list(df)], df, check_dtype=False)


def test_numbers_of_any_kind_are_rounded_and_what_is_missing_is_blank(tmp_path):
    times = pd.date_range("2016-01-01", periods=2, freq="s", tz="UTC")
    df = pd.DataFrame({"timestamp": times, "latitude": [40.12345678, 41], "longitude": [1, 2]})
    fuel = pd.array([1.23456, None], dtype="Float64")
    df = df.assign(altitude=[1.26, np.nan], mass=None, fuel=fuel, callsign=["IBE1", None])
    write_flight(df, tmp_path / "flight.csv")
    lines = (tmp_path / "flight.csv").read_text().splitlines()[1:]
    assert lines == [
        "2016-01-01T00:00:00Z,40.123457,1,1.3,,1.2,IBE1",
        "2016-01-01T00:00:01Z,41,2,,,,",
    ]


def test_a_compressed_flight_is_the_same_flight(tmp_path):
    text = "\n".join([HEADER, *LINES, ""]).encode()
    plain = read_flight(write(tmp_path, text))
    packed = read_flight(write(tmp_path, gzip.compress(text), "flight.csv.gz"))
    pd.testing.assert_frame_equal(plain, packed)


ACCEPTED = {
    "CRLF": "\r\n".join([HEADER, *LINES, ""]),
    "BOM": "\ufeff" + "\n".join([HEADER, *LINES, ""]),
    "no line break at the end": "\n".join([HEADER, *LINES]),
    "unknown columns": "\n".join([HEADER + ",what", *(f"{line},x" for line in LINES), ""]),
    "a column of any name, and others of other tools": "\n".join(
        [HEADER.replace("longitude", "lon") + ",twice", *(f"{line},x" for line in LINES), ""]
    ),
    "quoted text with commas and line breaks": "\n".join(
        [HEADER + ",callsign", *(f'{line},"a,\nb"' for line in LINES), ""]
    ),
    "Latin-1": "\n".join(
        [HEADER + ",callsign", *(f"{line},Málaga" for line in LINES), ""]
    ).encode("latin-1"),
    "semicolons": "\n".join([HEADER, *LINES]).replace(",", ";"),
    "a blank line": "\n".join([HEADER, *LINES, "", ""]),
    "quoted numbers": lines_with(3, '"2016-01-01T06:15:03Z","40.03","-3.5","300"'),
    "exponents": lines_with(3, "2016-01-01T06:15:03Z,40.03,-3.5,3e2"),
    "fractions of seconds, other zones": lines_with(
        3, "2016-01-01T07:15:03.000+01:00,40.03,-3.5,300"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_variants_of_a_file_are_the_same_flight(tmp_path, case):
    plain = read_flight(write(tmp_path, "\n".join([HEADER, *LINES, ""])))
    columns = list(plain)
    variant = read_flight(write(tmp_path, ACCEPTED[case]), columns)
    pd.testing.assert_frame_equal(variant, plain)


REFUSED = {
    "empty": ("", "empty"),
    "header only": (HEADER + "\n", "0 samples"),
    "one row": (f"{HEADER}\n{LINES[0]}\n", "1 samples"),
    "no text": ("PAR1\x15\x04\x15,\x00x\n\x01,2\n", "it is no text, so no CSV"),
    "missing column": ("timestamp,latitude,altitude\n1,2,3\n4,5,6\n", "columns missing: longitude"),
    "duplicated column": (
        f"{HEADER},altitude\n" + "".join(f"{line},1\n" for line in LINES),
        "twice",
    ),
    "unsorted times": ("\n".join([HEADER, LINES[1], LINES[0], *LINES[2:]]), "go backwards"),
    "repeated times": (lines_with(3, LINES[2]), "repeat after sample 3"),
    "backwards across midnight": (
        "\n".join(
            [
                HEADER,
                *(line.replace("06:15", "23:59") for line in LINES),
                *(line.replace("06:15", "00:00") for line in LINES),
            ]
        ),
        "backwards after sample 10, by more than 12 hours: a date that does not change",
    ),
    "a clock without a date": (f"{HEADER}\n23:59:58,40,3,1\n23:59:59,40,3,1\n", "of which day"),
    "NaN latitude": (lines_with(3, "2016-01-01T06:15:03Z,NaN,-3.5,300"), "position is missing"),
    "infinite altitude": (lines_with(3, "2016-01-01T06:15:03Z,40,-3.5,inf"), "altitude is missing"),
    "empty longitude": (lines_with(3, "2016-01-01T06:15:03Z,40,,300"), "position is missing"),
    "null time": (lines_with(3, "null,40,-3.5,300"), "timestamp is missing"),
    "latitude of 95": (lines_with(3, "2016-01-01T06:15:03Z,95,-3.5,300"), "not on the Earth"),
    "text in a number": (lines_with(3, "2016-01-01T06:15:03Z,40,-3.5,high"), "high"),
    "cut last line": ("\n".join([HEADER, *LINES, "2016-01-01T06:1"]), "Expected 4 columns"),
    "a line break in a header half quoted": (
        "\n".join([HEADER + ',\rmach"', *LINES]),
        "Expected 5 columns",
    ),
    "NUL bytes": (lines_with(3, "2016-01-01T06:15:03Z,40,-3.5,3\0"), "altitude is '3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unreadable_files_are_rejected_with_a_reason(tmp_path, case):
    text, reason = REFUSED[case]
    with pytest.raises(FlightError, match=reason):
        read_flight(write(tmp_path, text))


def test_a_missing_value_in_an_optional_column_stays_missing(tmp_path):
    text = [
        HEADER + ",mass",
        *(f"{line},6e4" for line in LINES[:5]),
        *(f"{line}," for line in LINES[5:]),
    ]
    mass = read_flight(write(tmp_path, "\n".join(text)), ["mass"])["mass"]
    assert mass.notna().tolist() == [True] * 5 + [False] * 5


def test_a_column_without_any_value_is_absent(tmp_path):
    text = [HEADER + ",mass", *(f"{line}," for line in LINES)]
    assert "mass" not in read_flight(write(tmp_path, "\n".join(text)))


def test_a_truncated_gzip_is_rejected(tmp_path):
    data = gzip.compress("\n".join([HEADER, *LINES]).encode())
    with pytest.raises(FlightError, match="ended"):
        read_flight(write(tmp_path, data[:-12], "flight.csv.gz"))


def test_the_reason_for_an_absent_file_has_no_path(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "broken.csv").symlink_to(tmp_path / "nowhere")
    for name in ("folder.csv", "broken.csv", "absent.csv"):
        with pytest.raises(FlightError) as caught:
            read_flight(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_a_file_too_large_for_a_flight_is_refused_unread(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # a sparse file takes no disk
    with pytest.raises(FlightError, match="256 MiB"):
        read_flight(path)


DIALECT = """
[columns]
timestamp = { column = "time", format = "%d/%m/%Y %H:%M:%S", timezone = "Europe/Madrid" }
latitude = "lat"
longitude = "lon"
altitude = { column = "baroaltitude", unit = "m" }
"""


def test_a_dialect_sets_names_units_delimiter_decimals_and_zone(tmp_path):
    dialect = parse_dialect('delimiter = ";"\ndecimal = ","\n' + DIALECT)
    path = write(tmp_path, "time;lat;lon;baroaltitude\n01/06/2016 12:00:00;40,5;-3,5;304,8\n"
                           "01/06/2016 12:01:00;40,6;-3,5;609,6\n")  # fmt: skip
    df = read_flight(path, dialect=dialect)
    assert df["timestamp"].iloc[0] == pd.Timestamp("2016-06-01 10:00", tz="UTC")
    assert df["altitude"].tolist() == pytest.approx([1000, 2000])
    assert df["latitude"].tolist() == [40.5, 40.6]


def test_a_time_with_a_zone_is_not_local():
    texts = ["2016-06-01T12:00:00", "2016-06-01T12:00:00Z", "2016-06-01T12:00:00+01:00", "soon"]
    hours = parse_times(pd.Series(texts, dtype="str"), Dialect(timezone="Europe/Madrid")).dt.hour
    assert hours.tolist()[:3] == [10, 12, 11]
    assert np.isnan(hours[3])


def test_unix_times_are_seconds(tmp_path):
    dialect = parse_dialect('columns.timestamp = { column = "time", format = "unix" }')
    path = write(
        tmp_path, "time,latitude,longitude,altitude\n1451628900,40,-3,1\n1451628901.5,40,-3,1\n"
    )
    times = read_flight(path, dialect=dialect)["timestamp"]
    assert times.dt.strftime("%H:%M:%S.%f").tolist() == ["06:15:00.000000", "06:15:01.500000"]


@pytest.mark.parametrize(
    "text",
    [
        'colour = "red"',
        'columns.height = "x"',
        'columns.altitude = {unit = "furlong"}',
        'constants.mass = "1"',
        'timezone = "Europe/Madrid"',
        'units = {altitude = "m"}',
        'simulated = "false"',
        'modelled = "mass"',
        "modelled = [1]",
        "constants.origin = 5",
        "columns.mass = 5",
        "columns.mass = {column = 5}",
        'columns = "x"',
        'path = "("',
        'delimiter = ""',
        'columns.timestamp = {timezone = "Mars/X"}',
        'columns.timestamp = {format = "%Q"}',
        'columns = {track = "x", heading = "x"}',
    ],
)
def test_an_invalid_dialect_is_refused_with_its_file(tmp_path, text):
    (tmp_path / "columns.toml").write_text(text)
    with pytest.raises(ValueError, match=r"columns\.toml of the archive"):
        read_dialect(tmp_path)


@pytest.mark.parametrize("digits", [1, 16])  # the second is read by pyarrow
def test_a_renamed_column_does_not_keep_its_old_name(tmp_path, digits):
    dialect = parse_dialect('columns.track = "heading"\ncolumns.geoaltitude = "height"')
    height = f"{1.5:.{digits}f}"
    lines = [f"2016-01-01T06:15:0{s}Z,40,-3,{s},9{s},{height}" for s in range(9)]
    path = write(tmp_path, "\n".join([f"{HEADER},heading,height", *lines, ""]))
    df = read_flight(path, dialect=dialect)
    assert "heading" not in df
    assert df["track"].tolist() == [90.0 + s for s in range(9)]
    assert df["altitude"].tolist() == list(range(9))
    assert df["geoaltitude"].tolist() == [1.5] * 9


def test_a_required_column_used_for_another_is_missing(tmp_path):
    path = write(tmp_path, "\n".join([HEADER, *LINES, ""]))
    with pytest.raises(FlightError, match="columns missing: altitude"):
        read_flight(path, dialect=parse_dialect('columns.geoaltitude = "altitude"'))


def test_names_in_a_header_may_have_blanks_around_them(tmp_path):
    head = " timestamp, latitude ,longitude, altitude, operator"
    lines = [f"{line}.0000000000000000, IBE" for line in LINES]  # too long for the fast parser
    df = read_flight(write(tmp_path, "\n".join([head, *lines, ""])))
    assert df["altitude"].tolist() == [100.0 * second for second in range(10)]
    assert set(df["operator"]) == {"IBE"}


@pytest.mark.parametrize(
    ("form", "text", "utc"),
    [
        ("%H:%M:%S %d-%m-%Y", "08:00:00 01-07-2016", "06:00"),
        ("%d-%m-%Y %H:%M:%S %z", "01-07-2016 08:00:00 +0000", "08:00"),
        ("ISO 8601", "2016-07-01T08:00:00", "06:00"),
        ("ISO 8601", "2016-07-01T08:00:00+02", "06:00"),
        ("ISO 8601", "2016-07-01T08:00:00-01:00", "09:00"),
        ("ISO 8601", "2016-07-01 08:00:00Z", "08:00"),
    ],
)
def test_a_time_without_a_zone_is_in_the_zone_of_the_archive(form, text, utc):
    dialect = Dialect(time_format=form, timezone="Europe/Madrid")
    assert f"{parse_times(pd.Series([text]), dialect).iloc[0]:%H:%M}" == utc


@pytest.mark.parametrize(
    ("clocks", "utc"),
    [
        ("02:58 02:59 02:00 02:01", "00:58 00:59 01:00 01:01"),
        ("01:58 01:59 02:00 02:01", "23:58 23:59 00:00 00:01"),
        ("02:58 02:59 03:00 03:01", "01:58 01:59 02:00 02:01"),
    ],
)
def test_the_order_of_samples_shows_which_hour_it_is_when_the_clock_is_put_back(clocks, utc):
    texts = pd.Series([f"2024-10-27 {clock}:00" for clock in clocks.split()])
    times = find_times(texts, None, Dialect(timezone="Europe/Madrid"), "Time", "")
    assert times.dt.strftime("%H:%M").tolist() == utc.split()


def test_an_hour_that_no_other_sample_shows_is_refused_with_the_question():
    texts = pd.Series([f"2024-10-27 02:{minute}:00" for minute in (10, 20)])
    with pytest.raises(FlightError, match=r"02:10:00 is in the hour that .* has twice.* in UTC"):
        find_times(texts, None, Dialect(timezone="Europe/Madrid"), "Time", "")


def test_each_flight_shows_its_hour_when_the_clock_is_put_back():
    clocks = {"a": ("01:59", "02:30"), "b": ("02:30", "03:00")}
    rows = [(name, f"2024-10-27 {clocks[name][i]}:00") for i in (0, 1) for name in clocks]
    flights, texts = (pd.Series(column) for column in zip(*rows, strict=True))
    times = find_times(texts, None, Dialect(timezone="Europe/Madrid"), "Time", "", flights)
    assert times.dt.strftime("%H:%M").tolist() == ["23:59", "01:30", "00:30", "02:00"]


def test_times_since_1970_are_seconds_or_milliseconds_by_their_size():
    times = parse_times(pd.Series(["1456819200", "1456819200500"]), Dialect(time_format="unix"))
    assert times.diff().dt.total_seconds().tolist()[1] == 0.5


def test_no_number_is_a_time_in_1970():
    times = parse_times(pd.Series(["0", "35100", "1e7"]), Dialect(time_format="unix"))
    assert times.isna().all()


PIECES = [*",;\n\r\"'.-+eE0123456789TZ: \0é", HEADER, LINES[0], LINES[1], "NaN", "\n" + LINES[2]]
almost_flights = st.lists(st.sampled_from(PIECES), max_size=40).map(
    lambda parts: (HEADER + "\n" + "".join(parts)).encode()
)


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode) | almost_flights)
def test_any_bytes_are_a_valid_flight_or_a_flight_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(data)
    try:
        df = read_flight(path)
    except FlightError:
        return
    assert len(df) >= 2
    assert df["timestamp"].is_monotonic_increasing
    assert df["latitude"].between(-90, 90).all()
    assert np.isfinite(df["altitude"]).all()


@pytest.mark.parametrize("degrees", [0.02, 0.05, 1.0])
def test_one_wrong_position_is_left_out_alone(tiny_archive, tmp_path, degrees):
    source = sorted((tiny_archive / "LEMD-LEBL").glob("*.csv"))[0]
    flight = pd.read_csv(source)
    flight.loc[len(flight) // 2, "latitude"] += degrees
    flight.to_csv(tmp_path / "one.csv", index=False)
    read, repairs = read_repaired(tmp_path / "one.csv")
    assert repairs == {"impossible_position": 1}
    assert len(read) == len(flight) - 1
