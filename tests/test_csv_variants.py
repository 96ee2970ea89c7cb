"""One simulated flight, written in the forms of other tools and people."""

import re

import numpy as np
import pandas as pd
import pytest

from trajlib.archive.dialect import parse_dialect
from trajlib.archive.index import build_index
from trajlib.archive.reading import FlightError, read_flight, read_repaired
from trajlib.simulation.scenario import draw_scenario
from trajlib.simulation.simulate import fly
from trajlib.simulation.timetable import draw_timetable
from trajlib.simulation.weather import draw_weather

NAMES = ["timestamp", "latitude", "longitude", "altitude", "groundspeed", "vertical_rate", "track"]


@pytest.fixture(scope="module")
def flight():
    """A flight from Madrid to Barcelona, a sample every 5 s."""
    weather = draw_weather(1)
    scenarios = draw_scenario(draw_timetable(9, seed=1), weather, seed=1)
    chosen = scenarios[(scenarios["origin"] == "LEMD") & (scenarios["destination"] == "LEBL")]
    df = fly(chosen.iloc[0].to_dict(), weather).iloc[::5].reset_index(drop=True)
    df = df[[*NAMES, "callsign", "origin", "destination"]]
    return df.round({"latitude": 6, "longitude": 6, "altitude": 0, "groundspeed": 1, "track": 1})


def texts(df):
    """The flight as texts, in the schema's names and forms."""
    table = df.assign(timestamp=df["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return table.astype("str")


def write(path, table, *, before="", after="", encoding="utf-8", **options):
    text = table.to_csv(index=False, lineterminator="\n", **options)
    header, _, rest = text.partition("\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((before + header + "\n" + after + rest).encode(encoding))


def clock(df, form):
    return df["timestamp"].dt.strftime(form)


def since_midnight(df):
    return (df["timestamp"] - df["timestamp"].dt.floor("D")).dt.total_seconds().astype(int)


def without_time(df):
    return texts(df).drop(columns="timestamp")


def without_position(df):
    return texts(df).drop(columns=["latitude", "longitude"])


def unix(df, unit="ms"):
    return df["timestamp"].dt.as_unit(unit).astype("int64")


def degrees_and_minutes(angles):
    return [f"{100 * int(angle) + 60 * (angle % 1):.5f}" for angle in angles]


def in_the_day_of(df, form="%Y-%m-%d"):
    return df["timestamp"].dt.strftime(form)


def replace(table, column, rows, values):
    table = table.copy()
    table.loc[rows, column] = values
    return table


FEW = [100, 200, 300, 301, 302]
# for each form: the table, options of `write`, and the name of the file
VARIANTS = {
    "as it is": lambda df: (texts(df), {}, "x.csv"),
    "names in capitals": lambda df: (texts(df).rename(columns=str.title), {}, "x.csv"),
    "units as names": lambda df: (
        texts(df)
        .assign(timestamp=unix(df, "s"))
        .rename(columns={"timestamp": "unix", "altitude": "feet", "groundspeed": "kts"}),
        {},
        "x.csv",
    ),
    "padded names": lambda df: (texts(df).rename(columns=" {} ".format), {}, "x.csv"),
    "padded fields": lambda df: (texts(df).map(" {} ".format), {}, "x.csv"),
    "date and time in two columns": lambda df: (
        without_time(df).assign(Date=clock(df, "%Y-%m-%d"), Time=clock(df, "%H:%M:%S")),
        {},
        "x.csv",
    ),
    "seconds of the day and a column of dates": lambda df: (
        without_time(df).assign(date=clock(df, "%Y-%m-%d"), time=since_midnight(df)),
        {},
        "x.csv",
    ),
    "seconds of the day and the date in a comment": lambda df: (
        without_time(df).assign(time=since_midnight(df)),
        {"before": f"# flown on {df['timestamp'].iloc[0]:%Y-%m-%d}\n"},
        "x.csv",
    ),
    "seconds of the day and the date in the file's name": lambda df: (
        without_time(df).assign(time=since_midnight(df)),
        {},
        f"{df['timestamp'].iloc[0]:%Y%m%d}_x.csv",
    ),
    "clocks and the date in the file's name": lambda df: (
        without_time(df).assign(time=clock(df, "%H:%M:%S")),
        {},
        f"x_{df['timestamp'].iloc[0]:%Y-%m-%d}.csv",
    ),
    "seconds since 1970": lambda df: (texts(df).assign(timestamp=unix(df, "s")), {}, "x.csv"),
    "milliseconds since 1970": lambda df: (texts(df).assign(timestamp=unix(df)), {}, "x.csv"),
    "dates by slashes, the year first": lambda df: (
        texts(df).assign(timestamp=clock(df, "%Y/%m/%d %H:%M:%S")),
        {},
        "x.csv",
    ),
    "lines of comment": lambda df: (
        texts(df),
        {"before": "# exported by a tool, version 1.2\n# for tests\n"},
        "x.csv",
    ),
    "sep=;": lambda df: (texts(df), {"before": "sep=;\n", "sep": ";"}, "x.csv"),
    "semicolons and decimal commas": lambda df: (
        texts(df).map(lambda text: text.replace(".", ",")),
        {"sep": ";"},
        "x.csv",
    ),
    "decimal commas, and points in thousands": lambda df: (
        texts(df)
        .map(lambda text: text.replace(".", ","))
        .assign(altitude=[f"{value:,.0f}".replace(",", ".") for value in df["altitude"]]),
        {"sep": ";"},
        "x.csv",
    ),
    "tabs": lambda df: (texts(df), {"sep": "\t"}, "x.csv"),
    "a line of units": lambda df: (
        texts(df),
        {"after": "UTC,deg,deg,ft,kt,ft/min,deg,,,\n"},
        "x.csv",
    ),
    "other units, in a line": lambda df: (
        texts(df).assign(
            altitude=df["altitude"] * 0.3048, groundspeed=df["groundspeed"] / 1.943844
        ),
        {"after": "UTC,deg,deg,m,m/s,ft/min,deg,,,\n"},
        "x.csv",
    ),
    "other units, in the names": lambda df: (
        texts(df)
        .assign(altitude=df["altitude"] * 0.3048)
        .rename(columns={"altitude": "Altitude (m)", "groundspeed": "speed_kts"}),
        {},
        "x.csv",
    ),
    "UTF-16": lambda df: (texts(df), {"encoding": "utf-16"}, "x.csv"),
    "flight levels as texts": lambda df: (
        texts(df).assign(
            altitude=[
                f"FL{round(ft / 100):03}" if ft > 6000 else f"{ft:.0f}" for ft in df["altitude"]
            ]
        ),
        {},
        "x.csv",
    ),
    "a column of flight levels": lambda df: (
        texts(df)
        .assign(altitude=df["altitude"] / 100)
        .rename(columns={"altitude": "Flight Level"}),
        {},
        "x.csv",
    ),
    "thousands": lambda df: (
        texts(df).assign(altitude=[f"{ft:,.0f}" for ft in df["altitude"]]),
        {},
        "x.csv",
    ),
    "longitudes from 0 to 360": lambda df: (
        texts(df).assign(
            longitude=df["longitude"].where(df["longitude"] >= 0, df["longitude"] + 360)
        ),
        {},
        "x.csv",
    ),
    "two coordinates in one field": lambda df: (
        texts(df)
        .assign(Position=texts(df)["latitude"] + "," + texts(df)["longitude"])
        .drop(columns=["latitude", "longitude"]),
        {},
        "x.csv",
    ),
    "names of other tools": lambda df: (
        texts(df).rename(
            columns={
                "timestamp": "time",
                "latitude": "lat",
                "longitude": "lng",
                "altitude": "alt_baro",
                "groundspeed": "gs",
                "vertical_rate": "roc",
                "origin": "adep",
                "destination": "ades",
            }
        ),
        {},
        "x.csv",
    ),
    "state vectors of OpenSky": lambda df: (
        texts(df)
        .assign(
            timestamp=unix(df, "s"),
            altitude=df["altitude"] * 0.3048,
            groundspeed=df["groundspeed"] / 1.943844,
            vertical_rate=df["vertical_rate"] * 0.00508,
        )
        .rename(
            columns={
                "timestamp": "time",
                "latitude": "lat",
                "longitude": "lon",
                "altitude": "baroaltitude",
                "groundspeed": "velocity",
                "vertical_rate": "vertrate",
                "track": "heading",
            }
        ),
        {},
        "x.csv",
    ),
    "states of OpenSky's interface": lambda df: (
        texts(df)
        .assign(
            timestamp=unix(df, "s"),
            altitude=df["altitude"] * 0.3048,
            groundspeed=df["groundspeed"] / 1.943844,
            vertical_rate=df["vertical_rate"] * 0.00508,
        )
        .rename(
            columns={
                "timestamp": "time_position",
                "altitude": "baro_altitude",
                "groundspeed": "velocity",
                "track": "true_track",
            }
        ),
        {},
        "x.csv",
    ),
    "speeds in miles, altitudes in km": lambda df: (
        texts(df)
        .assign(altitude=df["altitude"] * 0.0003048, groundspeed=df["groundspeed"] * 1.150779448)
        .rename(columns={"altitude": "Altitude (km)", "groundspeed": "Speed (mph)"}),
        {},
        "x.csv",
    ),
    "letters of hemispheres in columns": lambda df: (
        texts(df).assign(
            longitude=df["longitude"].abs(),
            **{"N/S": "N", "E/W": np.where(df["longitude"] < 0, "W", "E")},
        ),
        {},
        "x.csv",
    ),
    "degrees and minutes as receivers write them": lambda df: (
        texts(df).assign(
            latitude=degrees_and_minutes(df["latitude"]),
            longitude=degrees_and_minutes(df["longitude"].abs()),
            lat_dir="N",
            lon_dir=np.where(df["longitude"] < 0, "W", "E"),
        ),
        {},
        "x.csv",
    ),
    "thousands by blanks": lambda df: (
        texts(df).assign(altitude=[f"{ft:,.0f}".replace(",", " ") for ft in df["altitude"]]),
        {},
        "x.csv",
    ),
    "units with other words": lambda df: (
        texts(df)
        .assign(
            altitude=df["altitude"] * 0.3048,
            groundspeed=df["groundspeed"] * 1.852,
            vertical_rate=df["vertical_rate"] / 60,
        )
        .rename(
            columns={
                "altitude": "Altitude (metres AMSL)",
                "groundspeed": "Speed (kilometers per hour)",
                "vertical_rate": "Vertical Speed (feet/second)",
            }
        ),
        {},
        "x.csv",
    ),
    "hundreds of feet in the name": lambda df: (
        texts(df)
        .assign(altitude=df["altitude"] / 100, speed_km_h=df["groundspeed"] * 1.852)
        .rename(columns={"altitude": "Altitude (100s of feet)"})
        .drop(columns="groundspeed"),
        {},
        "x.csv",
    ),
    "AM and PM": lambda df: (
        texts(df).assign(timestamp=clock(df, "%Y-%m-%d %I:%M:%S %p")),
        {},
        "x.csv",
    ),
    "AM and PM behind times of day": lambda df: (
        without_time(df).assign(Date=clock(df, "%Y-%m-%d"), Time=clock(df, "%I:%M:%S %p")),
        {},
        "x.csv",
    ),
    "fractions of seconds after a comma": lambda df: (
        texts(df).assign(timestamp=clock(df, "%Y-%m-%d %H:%M:%S,000")),
        {},
        "x.csv",
    ),
    "the newest first": lambda df: (texts(df)[::-1], {}, "x.csv"),
}
MISSING = ["N/A", "-", "\\N", "NULL", "None", "ground", "", "nan"]
REPAIRED = {
    **{
        f"{text or 'nothing'} for an altitude": (
            lambda df, text=text: replace(texts(df), "altitude", FEW, text),
            {"no_altitude": 5},
        )
        for text in MISSING
    },
    "a few positions missing": (
        lambda df: replace(texts(df), "longitude", FEW, ""), {"no_position": 5}
    ),
    "positions missing at the start": (
        lambda df: replace(texts(df), "latitude", range(60), ""), {"no_position": 60}
    ),
    "a time missing": (lambda df: replace(texts(df), "timestamp", 50, ""), {"no_time": 1}),
    "a timestamp twice": (
        lambda df: texts(df).loc[[*range(51), *range(50, len(df))]], {"repeated_time": 1}
    ),
    "rows out of order": (
        lambda df: texts(df).loc[[*range(50), 51, 50, *range(52, 80), 81, 80, *range(82, len(df))]],
        {"out_of_order": 2},
    ),
    "a jump of 3° and back": (
        lambda df: texts(df.assign(latitude=df["latitude"] + 3.0 * (df.index == 200))),
        {"impossible_position": 1},
    ),
    "a sample at (0, 0)": (
        lambda df: replace(texts(df), ["latitude", "longitude"], 0, "0"), {"impossible_position": 1}
    ),
    "ten samples elsewhere": (
        lambda df: texts(df.assign(longitude=df["longitude"] + 9 * df.index.isin(range(90, 100)))),
        {"impossible_position": 10},
    ),
    "an altitude of 99,999 ft": (
        lambda df: replace(texts(df), "altitude", 250, "99999"), {"impossible_altitude": 1}
    ),
    "an altitude that falls and rises at once": (
        lambda df: replace(texts(df), "altitude", 250, "1500"), {"impossible_position": 1}
    ),
}  # fmt: skip
REFUSED = {
    "day or month first": (
        lambda df: texts(df).assign(timestamp=clock(df, "05/03/%Y %H:%M:%S")),
        r'is 05/03/2016 .* day/month or month/day\? .*timestamp = .*"%d/%m/%Y %H:%M:%S"',
    ),
    "day or year first": (
        lambda df: texts(df).assign(timestamp=clock(df, "16/03/05 %H:%M:%S")),
        r'is 16/03/05 .* day/month or year/month\? .*"%d/%m/%y %H:%M:%S".*"%y/%m/%d %H:%M:%S"',
    ),
    "seconds of a satellite receiver": (
        lambda df: without_time(df).assign(GPS_Time=unix(df, "s") - 315_964_800),
        "does GPS_Time count from 1970 or, as satellite receivers do, from 6 January 1980",
    ),
    "seconds of an unknown day": (
        lambda df: without_time(df).assign(time=since_midnight(df)),
        "time is a time of day .* of which day",
    ),
    "seconds since the first sample": (
        lambda df: without_time(df).assign(date="2016-01-01", time=5 * df.index),
        "from midnight or from the flight's first sample",
    ),
    "seconds that begin soon after midnight or the first sample": (
        lambda df: without_time(df).assign(date="2016-01-01", time=37.25 + 5 * df.index),
        "from midnight or from the flight's first sample.*seconds_of_day",
    ),
    "days of a spreadsheet": (
        lambda df: without_time(df).assign(time=unix(df) / 86_400_000 + 25_569),
        "time is 4.* seems to count days, as spreadsheets do",
    ),
    "the time of a zone": (
        lambda df: without_time(df).assign(**{"Time (CET)": clock(df, "%Y-%m-%d %H:%M:%S")}),
        r"Time \(CET\) is a local time, of which zone\?.*timezone =",
    ),
    "longitude before latitude in one field": (
        lambda df: without_position(df).assign(
            coordinates="[" + texts(df)["longitude"] + ", " + texts(df)["latitude"] + "]"
        ),
        "columns missing: latitude, longitude",
    ),
    "two flights": (
        lambda df: texts(pd.concat([df, later(df, callsign="IBE2")])),
        "holds 2 flights, by its column callsign: python -m trajlib import",
    ),
    "two flights without a name": (
        lambda df: texts(pd.concat([df, later(df)])).drop(columns="callsign"),
        "holds 2 flights, with a landing between them: python -m trajlib import",
    ),
    "two flights at once": (
        lambda df: texts(pd.concat([df, df.assign(latitude=df["latitude"] + 4)]).sort_values(
            "timestamp", kind="stable")).drop(columns="callsign"),
        "timestamps repeat",
    ),
    "236 flights": (
        lambda df: texts(pd.concat([later(df[::60], n, callsign=f"IBE{n}") for n in range(236)])),
        "holds 236 flights",
    ),
    "metres as altitude": (
        lambda df: texts(df.assign(altitude=df["altitude"] * 0.3048)),
        r'altitude is rising .* in m\? Say so in columns.toml.*altitude = \{ unit = "m" \}',
    ),
    "metres as altitude, and no vertical rate": (
        lambda df: texts(df.assign(altitude=df["altitude"] * 0.3048)).drop(columns="vertical_rate"),
        r'altitude is .* in a cruise .*altitude = \{ unit = "m" \}',
    ),
    "hundreds of feet as altitude": (
        lambda df: texts(df.assign(altitude=df["altitude"] / 100)).drop(columns="vertical_rate"),
        r'altitude = \{ unit = "FL" \}',
    ),
    "an altitude that was not measured": (
        lambda df: texts(df.assign(altitude=0)).drop(columns="vertical_rate"),
        "altitude is 0 in all samples of a flight over 150 NM: not measured",
    ),
    "m/s as groundspeed": (
        lambda df: texts(df.assign(groundspeed=df["groundspeed"] / 1.943844)),
        r'groundspeed is 0.5. times .*groundspeed = \{ unit = "m/s" \}',
    ),
    "m/s as vertical rate": (
        lambda df: texts(df.assign(vertical_rate=df["vertical_rate"] * 0.00508)),
        r'vertical_rate = \{ unit = "m/s" \}',
    ),
    "knots under a name of m/s": (
        lambda df: texts(df).rename(columns={"groundspeed": "velocity", "timestamp": "time"}),
        r'groundspeed is .* times .* in kt\? .*groundspeed = \{ unit = "kt" \}, or "m/s"',
    ),
    "ft/min under a name of m/s": (
        lambda df: texts(df).rename(columns={"vertical_rate": "vertrate", "timestamp": "time"}),
        r'vertical_rate = \{ unit = "ft/min" \}, or "m/s"',
    ),
    "degrees Celsius as temperature": (
        lambda df: texts(df.assign(temperature=-40.0)),
        r'temperature is -40 or less.* temperature = \{ unit = "degC" \}, or "K"',
    ),
    "hPa as pressure": (
        lambda df: texts(df.assign(pressure=300.0)),
        r'pressure = \{ unit = "hPa" \}, or "Pa"',
    ),
    "a fifth of the altitudes missing": (
        lambda df: replace(texts(df), "altitude", range(100, 300), ""),
        "altitude is missing in 200 of .* more than the 5 % that may be repaired",
    ),
    "no position": (
        lambda df: texts(df).drop(columns=["latitude", "longitude"]),
        "columns missing: latitude, longitude",
    ),
}  # fmt: skip


def later(df, hours=2, **identity):
    return df.assign(timestamp=df["timestamp"] + pd.Timedelta(hours=hours), **identity)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_flight_is_read_the_same_from_every_dialect(tmp_path, flight, variant):
    table, options, name = VARIANTS[variant](flight)
    write(tmp_path / name, table, **options)
    df, repairs = read_repaired(tmp_path / name)
    assert repairs == {}
    assert df["timestamp"].tolist() == flight["timestamp"].tolist()
    rounded = "level" in variant
    for column in NAMES[1:]:
        tolerance = 51 if rounded and column == "altitude" else 0.01
        np.testing.assert_allclose(df[column], flight[column], atol=tolerance, err_msg=column)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_index_row_is_the_same_for_every_dialect(tmp_path, flight, variant):
    table, options, name = VARIANTS[variant](flight)
    write(tmp_path / "a" / name, table, **options)
    row = build_index(tmp_path / "a").iloc[0]
    assert pd.isna(row["rejected"])
    assert (row["start"], row["end"]) == tuple(flight["timestamp"].iloc[[0, -1]])
    assert row["latitude_first"] == pytest.approx(flight["latitude"].iloc[0])
    assert row["longitude_last"] == pytest.approx(flight["longitude"].iloc[-1])
    assert row[["origin", "destination"]].tolist() == ["LEMD", "LEBL"]


@pytest.mark.parametrize("case", REPAIRED)
def test_a_repair_leaves_samples_out_and_counts_them(tmp_path, flight, case):
    make, repairs = REPAIRED[case]
    write(tmp_path / "x.csv", make(flight))
    df, counted = read_repaired(tmp_path / "x.csv")
    assert counted == repairs
    count = sum(number for kind, number in repairs.items() if kind not in ("out_of_order",))
    expected = flight.set_index("timestamp").loc[df["timestamp"]]
    assert len(df) == len(flight) - count + repairs.get("repeated_time", 0)
    np.testing.assert_allclose(df["latitude"], expected["latitude"])
    np.testing.assert_allclose(df["altitude"], expected["altitude"])


@pytest.mark.parametrize("case", REPAIRED)
def test_a_strict_archive_rejects_a_file_that_needs_a_repair(tmp_path, flight, case):
    write(tmp_path / "x.csv", REPAIRED[case][0](flight))
    with pytest.raises(FlightError, match="nothing is repaired"):
        read_flight(tmp_path / "x.csv", dialect=parse_dialect("strict = true"))


@pytest.mark.parametrize("case", REFUSED)
def test_an_ambiguous_file_is_rejected_with_the_question(tmp_path, flight, case):
    make, reason = REFUSED[case]
    write(tmp_path / "x.csv", make(flight))
    with pytest.raises(FlightError, match=reason):
        read_flight(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ("day or month first", 'columns.timestamp = {format = "%d/%m/%Y %H:%M:%S"}'),
        ("metres as altitude", 'columns.altitude.unit = "m"'),
        ("metres as altitude, and no vertical rate", 'columns.altitude.unit = "m"'),
        ("hundreds of feet as altitude", 'columns.altitude.unit = "FL"'),
        ("m/s as groundspeed", 'columns.groundspeed.unit = "m/s"'),
        ("m/s as vertical rate", 'columns.vertical_rate.unit = "m/s"'),
        ("day or year first", 'columns.timestamp = {format = "%y/%m/%d %H:%M:%S"}'),
        (
            "seconds of a satellite receiver",
            'columns.timestamp = {column = "GPS_Time", format = "unix"}',
        ),
        ("degrees Celsius as temperature", 'columns.temperature.unit = "degC"'),
        ("the time of a zone", 'columns.timestamp = {column = "Time (CET)", timezone = "UTC"}'),
        ("knots under a name of m/s", 'columns.groundspeed.unit = "kt"'),
        ("ft/min under a name of m/s", 'columns.vertical_rate.unit = "ft/min"'),
    ],
)
def test_the_line_of_columns_toml_in_the_question_answers_it(tmp_path, flight, case, answer):
    write(tmp_path / "x.csv", REFUSED[case][0](flight))
    df = read_flight(tmp_path / "x.csv", dialect=parse_dialect(answer))
    for column in ("altitude", "groundspeed", "vertical_rate"):
        if column in df:
            np.testing.assert_allclose(df[column], flight[column], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("altitude", "hundreds of feet as altitude"),
        ("groundspeed", "m/s as groundspeed"),
        ("vertical_rate", "m/s as vertical rate"),
    ],
)
def test_the_question_repeats_the_name_that_columns_toml_gives(tmp_path, flight, name, case):
    table = REFUSED[case][0](flight).rename(columns={name: "X 1"})
    write(tmp_path / "x.csv", table)
    with pytest.raises(FlightError) as error:
        read_flight(tmp_path / "x.csv", dialect=parse_dialect(f'columns.{name} = "X 1"'))
    line = re.search(rf"{name} = {{[^}}]*}}", str(error.value))[0]
    df = read_flight(tmp_path / "x.csv", dialect=parse_dialect(f"columns.{line}"))
    np.testing.assert_allclose(df[name], flight[name], rtol=1e-6)


def test_the_names_of_altitudes_and_vertical_rates_in_metres_are_both_repeated(tmp_path, flight):
    metric = flight.assign(
        altitude=flight["altitude"] * 0.3048, vertical_rate=flight["vertical_rate"] * 0.00508
    )
    write(tmp_path / "x.csv", texts(metric).rename(columns={"altitude": "H", "vertical_rate": "W"}))
    dialect = parse_dialect('columns = { altitude = "H", vertical_rate = "W" }')
    with pytest.raises(FlightError) as error:
        read_flight(tmp_path / "x.csv", dialect=dialect)
    lines = re.findall(r"(?:altitude|vertical_rate) = {[^}]*}", str(error.value))
    df = read_flight(tmp_path / "x.csv", dialect=parse_dialect("[columns]\n" + "\n".join(lines)))
    np.testing.assert_allclose(df["vertical_rate"], flight["vertical_rate"], rtol=1e-6)


def test_the_question_about_the_order_of_a_date_repeats_the_time_zone(tmp_path, flight):
    write(tmp_path / "x.csv", REFUSED["day or month first"][0](flight))
    with pytest.raises(FlightError, match='%S", timezone = "Europe/Madrid" } under'):
        read_flight(
            tmp_path / "x.csv",
            dialect=parse_dialect('columns.timestamp = { timezone = "Europe/Madrid" }'),
        )


@pytest.mark.parametrize(("unit", "factor"), [("ft", 0.01), ("m", 0.01), ("ft", 0.0003048)])
def test_a_cruise_at_a_few_hundred_feet_is_doubted_even_in_a_given_unit(
    tmp_path, flight, unit, factor
):
    table = texts(flight.assign(altitude=flight["altitude"] * factor)).rename(
        columns={"altitude": "Lvl"}
    )
    write(tmp_path / "x.csv", table.drop(columns="vertical_rate"))
    dialect = parse_dialect(f'columns.altitude = {{ column = "Lvl", unit = "{unit}" }}')
    with pytest.raises(FlightError, match=r'so low: .* altitude = { column = "Lvl", unit = "FL" }'):
        read_flight(tmp_path / "x.csv", dialect=dialect)
