"""Imports of broken files, of legs of one aircraft, and by columns.toml."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from format_writers import REPORTS, WRITERS, one, write_csv, write_reports

from trajlib.archive.dialect import read_dialect
from trajlib.archive.flights import map_flights
from trajlib.archive.index import build_index, read_rejections
from trajlib.archive.reading import read_flight
from trajlib.importers.formats import draft_columns
from trajlib.importers.pipeline import import_flights

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def flights(tiny_archive):
    tables = []
    for number, path in enumerate(sorted(tiny_archive.glob("LEMD-LEBL/*.csv"))[:3]):
        flight = read_flight(path).iloc[::20]
        tables.append(flight.assign(flight_id=f"2016{number:04d}", icao24=f"34510{number}"))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_a_truncated_file_is_imported_up_to_its_end_and_reported(flights, source, tmp_path):
    path = WRITERS["opensky"](flights, source)
    path.write_bytes(path.read_bytes()[:-200])
    lines = []
    table = import_flights(source, tmp_path / "archive", report=lines.append)
    assert table["rejected"].isna().any()
    assert any("points read, then: cannot be read" in line for line in lines)
    sources = pd.read_parquet(tmp_path / "archive" / "sources.parquet")
    assert sources["refused"].notna().all()


def test_the_question_of_a_reader_is_in_the_error(flights, source, tmp_path):
    table = flights[["latitude", "longitude", "altitude"]].assign(time="03/04/2024 10:00:00")
    write_csv(table, source / "mine.csv")
    with pytest.raises(FileNotFoundError, match="day/month or month/day"):
        import_flights(source, tmp_path / "archive")


def test_the_answer_in_columns_toml_is_used_by_the_next_import(flights, source, tmp_path):
    table = one(flights)[["latitude", "longitude", "altitude"]]
    times = one(flights)["timestamp"].dt.strftime("03/02/2016 %H:%M:%S")
    write_csv(table.assign(time=times), source / "mine.csv")
    with pytest.raises(FileNotFoundError, match="day/month or month/day"):
        import_flights(source, tmp_path / "archive")
    (source / "columns.toml").write_text(
        'columns.timestamp = { column = "time", format = "%d/%m/%Y %H:%M:%S" }'
    )
    start = import_flights(source, tmp_path / "archive")["start"].iloc[0]
    assert start.date() == pd.Timestamp("2016-02-03").date()


def test_metres_under_the_name_of_feet_are_rejected_with_the_question(flights, source, tmp_path):
    names = ["timestamp", "flight_id", "latitude", "longitude", "altitude", "groundspeed"]
    table = flights[names].assign(altitude=flights["altitude"] * 0.3048)
    write_csv(table, source / "mine.csv")
    rejected = import_flights(source, tmp_path / "archive")["rejected"]
    assert rejected.str.contains('altitude = { unit = "m" }', regex=False).all()
    (source / "columns.toml").write_text('columns.altitude = { unit = "m" }')
    assert import_flights(source, tmp_path / "archive")["rejected"].isna().all()


def test_feet_that_seem_to_be_metres_are_taken_if_columns_toml_says_so(flights, source, tmp_path):
    columns = ["flight_id", "timestamp", "latitude", "longitude", "altitude"]
    table = flights[columns].assign(altitude=flights["altitude"] * 0.3048)
    write_csv(table, source / "table.csv")
    (source / "columns.toml").write_text('columns.altitude.unit = "ft"\n')
    imported = import_flights(source, tmp_path / "archive")
    assert imported["rejected"].isna().all()
    archive = tmp_path / "archive"
    path = archive / imported["path"].iloc[0]
    assert read_flight(path)["altitude"].max() < 14_000
    unmarked = path.read_text().replace("altitude_unit_confirmed", "x")
    (archive / "unmarked.csv").write_text(unmarked)  # another flight is still asked for its unit
    later = source.parent / "later"
    later.mkdir()
    write_csv(one(flights).drop(columns="icao24"), later / "table.csv")
    import_flights(later, archive)
    index = build_index(archive)
    map_flights(index, len)
    assert [*read_rejections(index).index] == ["unmarked.csv"]


def test_flights_of_one_day_in_a_file_without_ids_are_separated(flights, source, tmp_path):
    flight = one(flights)
    later = flight.assign(timestamp=flight["timestamp"] + pd.Timedelta(hours=3))
    table = pd.concat([flight, later])[["timestamp", "latitude", "longitude", "altitude"]]
    write_csv(table, source / "mine.csv")
    table = import_flights(source, tmp_path / "archive")
    assert table["kind"].tolist() == ["flight", "flight"]
    assert table["path"].tolist() == ["LEMD-LEBL/mine-2.csv", "LEMD-LEBL/mine.csv"]


def test_the_most_frequent_fault_of_a_rejected_flight_is_named(flights, source, tmp_path):
    table = one(flights)[["timestamp", "callsign", "latitude", "longitude", "altitude"]]
    write_csv(table.rename(columns={"altitude": "baro_altitude"}), source / "mine.csv")
    (rejected,) = import_flights(source, tmp_path / "archive")["rejected"]
    assert rejected == "more than 25 % of the points were wrong, most of them altitude spike"


@pytest.mark.parametrize(("origin", "destination"), [("Madrid", "Barcelona"), ("CITY", "0641")])
def test_names_of_cities_and_times_are_no_airports(flights, source, tmp_path, origin, destination):
    names = ["timestamp", "callsign", "latitude", "longitude", "altitude"]
    table = one(flights)[names].assign(origin=origin, destination=destination)
    write_csv(table, source / "mine.csv")
    (path,) = import_flights(source, tmp_path / "archive")["path"]
    assert path.startswith("LEMD-LEBL/")


def test_a_flight_without_altitude_for_a_long_time_is_a_fragment(flights, source, tmp_path):
    names = ["timestamp", "callsign", "latitude", "longitude", "altitude"]
    table = one(flights)[names].reset_index(drop=True)
    table.loc[40:90, "altitude"] = np.nan
    write_csv(table, source / "mine.csv")
    (why,) = import_flights(source, tmp_path / "archive")["why"]
    assert why == "more than 420 s between two altitudes"


def test_times_named_as_utc_precede_local_ones(flights, source, tmp_path):
    names = ["callsign", "latitude", "longitude", "altitude"]
    times = one(flights)["timestamp"]
    local = times + pd.Timedelta(hours=1)
    table = one(flights)[names].assign(**{"timestamp": local, "UTC Time": times})
    write_csv(table, source / "mine.csv")
    (start,) = import_flights(source, tmp_path / "archive")["start"]
    assert abs(start - times.min()) < pd.Timedelta(3, "min")


def test_a_column_of_offsets_from_utc_raises_the_question_of_the_zone(flights, source, tmp_path):
    names = ["timestamp", "callsign", "latitude", "longitude", "altitude"]
    write_csv(one(flights)[names].assign(**{"UTC Offset": "+01:00"}), source / "mine.csv")
    with pytest.raises(
        FileNotFoundError, match="the column UTC Offset suggests that the times are local"
    ):
        import_flights(source, tmp_path / "archive")


def test_points_between_messages_with_the_only_callsign_are_of_that_flight(
    flights, source, tmp_path
):
    names = ["timestamp", "callsign", "latitude", "longitude", "altitude"]
    table = one(flights)[names].reset_index(drop=True)
    table["callsign"] = table["callsign"].where(table.index % 5 == 0)
    write_csv(table, source / "mine.csv")
    (callsign,) = import_flights(source, tmp_path / "archive")["callsign"]
    assert callsign == one(flights)["callsign"].iloc[0]


def test_a_recorders_table_of_several_aircraft_is_read_by_their_identity(flights, source, tmp_path):
    columns = {"timestamp": "ts", "latitude": "lat", "longitude": "lon", "altitude": "alt"}
    write_csv(flights[[*columns, "callsign"]].rename(columns=columns), source / "a.csv")
    imported = import_flights(source, tmp_path / "archive")
    assert sorted(imported["callsign"]) == sorted(flights["callsign"].unique())


def test_flight_ids_join_where_one_table_has_them_as_decimal_numbers(flights, source, tmp_path):
    names = ["timestamp", "flight_id", "latitude", "longitude", "altitude"]
    write_csv(flights[names].assign(flight_id=flights["flight_id"] + ".0"), source / "points.csv")
    rows = flights[["flight_id", "callsign", "origin"]].drop_duplicates("flight_id")
    write_csv(rows, source / "flights.csv")
    imported = import_flights(source, tmp_path / "archive")
    assert sorted(imported["callsign"]) == sorted(rows["callsign"])


def test_files_with_the_same_reason_are_one_line_and_of_many_reasons_some_are_listed(
    flights, source, tmp_path
):
    WRITERS["opensky"](flights, source)
    for number in range(12):
        (source / f"{number:02}.csv").write_text(f"a,b{number}\n1,2\n")
    for name in ("x", "y", "z"):
        (source / f"{name}.csv").write_text("c,d\n1,2\n")
    lines = []
    import_flights(source, tmp_path / "archive", report=lines.append)
    assert len(lines) == 1 + 10 + 1
    assert lines[1].startswith("3 files, as x.csv: not read: no known format: its columns are c, d")
    assert lines[-1] == "3 more files that cannot be read: see sources.parquet"


def test_tables_with_unknown_columns_get_a_draft_of_columns_toml(flights, source, tmp_path):
    names = {
        "latitude": "y_deg",
        "longitude": "x_deg",
        "altitude": "alt_m",
        "flight_id": "no",
    }
    columns = ["flight_id", "timestamp", "latitude", "longitude", "altitude"]
    table = flights[columns].rename(columns=names)
    table = table.assign(alt_m=table["alt_m"] * 0.3048).set_index("no")
    for number, (_, flight) in enumerate(table.groupby(level="no")):
        write_csv(flight.reset_index(), source / f"{number}.csv")
    lines = []
    with pytest.raises(FileNotFoundError) as error:
        import_flights(source, tmp_path / "archive", report=lines.append)
    assert not lines
    assert str(error.value).count("a columns.toml can name them") == 1
    draft = str(error.value).partition("\n\n")[2]
    for name, written in {"latitude": "y_deg", "longitude": "x_deg", "flight_id": "no"}.items():
        draft = draft.replace(f'{name} = "?"', f'{name} = "{written}"')
    (source / "columns.toml").write_text(draft)
    imported = import_flights(source, tmp_path / "archive")
    assert len(imported) == 3
    assert imported["rejected"].isna().all()


def test_the_draft_asks_for_the_unit_of_a_height(flights, source, tmp_path):
    columns = ["flight_id", "timestamp", "latitude", "longitude"]
    table = flights[columns].assign(HEIGHT=flights["geoaltitude"] * 0.3048)
    write_csv(table, source / "table.csv")
    with pytest.raises(FileNotFoundError) as error:
        import_flights(source, tmp_path / "archive")
    draft = str(error.value).partition("\n\n")[2]
    assert 'altitude = { column = "HEIGHT", unit = "?" }' in draft
    (source / "columns.toml").write_text(draft)
    with pytest.raises(ValueError, match="known are ft, m, "):
        import_flights(source, tmp_path / "archive")
    (source / "columns.toml").write_text(draft.replace('unit = "?"', 'unit = "m"'))
    imported = import_flights(source, tmp_path / "archive")
    assert len(imported) == 3
    assert imported["rejected"].isna().all()


def test_an_error_in_one_file_stops_no_other(flights, source, tmp_path, monkeypatch):
    WRITERS["opensky"](flights, source)
    WRITERS["readsb"](one(flights), source)

    def fail(path):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("trajlib.importers.formats.readsb.read_json", fail)
    lines = []
    table = import_flights(source, tmp_path / "archive", report=lines.append)
    assert len(table) == flights["flight_id"].nunique()
    assert any("unforeseen" in line for line in lines)


@pytest.mark.parametrize("gap, count", [(600, 2), (7200, 1)])
def test_the_gap_of_columns_toml_splits_flights_of_an_aircraft(
    flights, source, tmp_path, gap, count
):
    flight = one(flights)
    seconds = (flight["timestamp"] - flight["timestamp"].iloc[0]).dt.total_seconds()
    flight = flight[~seconds.between(1000, 1900)]
    table = flight[["timestamp", "latitude", "longitude", "altitude"]].assign(HEX="345100")
    write_csv(table, source / "mine.csv")
    (source / "columns.toml").write_text(f'[import]\nicao24 = "HEX"\ngap = {gap}\n')
    assert len(import_flights(source, tmp_path / "archive")) == count


def test_a_new_leg_of_a_trace_is_a_new_flight(source, tmp_path):
    trace = []
    for number in range(240):
        flags = 2 if number == 120 else 0
        trace.append([10.0 * number, 40 + 0.02 * number, 3.0, 30_000, 430.0, 0.0, flags, 0, None])
    content = {"icao": "345100", "timestamp": 1451606400.0, "trace": trace}
    (source / "trace.json").write_text(json.dumps(content))
    table = import_flights(source, tmp_path / "archive")
    assert np.array_equal(table["points"], [120, 120])


def test_identities_of_a_second_table_are_joined(flights, source, tmp_path):
    WRITERS["pru"](flights, source)
    WRITERS["flights"](flights, source)
    table = import_flights(source, tmp_path / "archive")
    assert table["callsign"].tolist() == flights["callsign"].unique().tolist()
    assert set(table["origin"]) == {"LEMD"}


def test_addresses_of_a_second_table_are_joined(flights, source, tmp_path):
    WRITERS["pru"](flights, source)
    ids = flights["flight_id"].unique()
    listed = pd.DataFrame({"flight_id": ids, "aircraft_address": "0x34510A", "adep": "LEMD"})
    write_csv(listed, source / "flights.csv")
    assert set(import_flights(source, tmp_path / "archive")["icao24"]) == {"34510a"}


def test_a_damaged_list_of_flights_does_not_stop_the_import(flights, source, tmp_path):
    WRITERS["pru"](flights, source)
    path = WRITERS["flights"](flights, source)
    pd.read_csv(path).to_parquet(source / "flights.parquet")
    path.unlink()
    data = bytearray((source / "flights.parquet").read_bytes())
    data[4:200] = bytes(196)
    (source / "flights.parquet").write_bytes(data)
    lines = []
    table = import_flights(source, tmp_path / "archive", report=lines.append, origin="LEMD")
    assert len(table) == flights["flight_id"].nunique()
    assert any("flights.parquet: not read: cannot be read" in line for line in lines)


def test_a_list_of_flights_without_airports_excludes_no_flight(flights, source, tmp_path):
    WRITERS["pru"](flights, source)
    first = flights.drop_duplicates("flight_id")
    write_csv(first[["flight_id", "callsign"]], source / "list.csv")
    (source / "columns.toml").write_text('import.flights = "list.csv"')
    table = import_flights(source, tmp_path / "archive", origin="LEMD")
    assert table["callsign"].tolist() == first["callsign"].tolist()


def test_a_missing_operator_is_that_of_an_airlines_callsign(flights, source, tmp_path):
    names = ["timestamp", "latitude", "longitude", "altitude"]
    calls = ["IBE1234", "N123AB", "ABC12"]
    for (_, flight), call in zip(flights.groupby("flight_id"), calls, strict=True):
        operator = "XYZ" if call == "ABC12" else None
        write_csv(flight[names].assign(callsign=call, operator=operator), source / f"{call}.csv")
    imported = import_flights(source, tmp_path / "archive").set_index("callsign")["operator"]
    assert imported.fillna("").to_dict() == {"IBE1234": "IBE", "N123AB": "", "ABC12": "XYZ"}


def test_simulated_and_modelled_of_columns_toml_go_into_the_archive(flights, source, tmp_path):
    write_csv(one(flights), source / "mine.csv")
    (source / "columns.toml").write_text('simulated = true\nmodelled = ["mass"]\n')
    for _ in range(2):  # simulated flights may be added to simulated ones
        import_flights(source, tmp_path / "archive")
    dialect = read_dialect(tmp_path / "archive")
    assert dialect.simulated
    assert dialect.modelled == {"mass"}
    assert dialect.source == ""  # the name of a format states no source


def test_names_with_paths_are_written_inside_the_archive(flights, source, tmp_path):
    names = {"flight_id": "../../out", "callsign": "=cmd|' /C calc'!A0", "origin": "../../LEMD"}
    table = one(flights)[["timestamp", "latitude", "longitude", "altitude"]].assign(**names)
    write_csv(table, source / "table.csv")
    before = {path for path in tmp_path.iterdir()}
    import_flights(source, tmp_path / "archive")
    assert {path for path in tmp_path.iterdir()} - before == {tmp_path / "archive"}
    for path in (tmp_path / "archive").rglob("*.csv"):
        assert path.resolve().is_relative_to(tmp_path / "archive")


def test_the_line_that_corrects_a_unit_keeps_the_name_of_the_column(flights, source, tmp_path):
    names = ["timestamp", "flight_id", "latitude", "longitude", "altitude"]
    write_csv(flights[names].assign(**{"V 1": flights["groundspeed"] * 1.852}), source / "mine.csv")
    (source / "columns.toml").write_text('columns.groundspeed = "V 1"')
    rejected = import_flights(source, tmp_path / "archive")["rejected"]
    line = 'groundspeed = { column = "V 1", unit = "km/h" }'
    assert rejected.str.contains(line, regex=False).all()
    (source / "columns.toml").write_text(f"columns.{line}")
    imported = import_flights(source, tmp_path / "archive")
    assert imported["rejected"].isna().all()
    speeds = read_flight(tmp_path / "archive" / imported["path"].iloc[0])["groundspeed"]
    assert speeds.max() == pytest.approx(one(flights)["groundspeed"].max(), rel=0.01)


def test_the_draft_has_the_date_and_no_unit_and_needs_no_flight_id_beside_a_registration(
    flights, source
):
    draft = draft_columns(write_reports(flights, source / "posrep.csv"))
    lines = draft.splitlines()
    assert 'registration = "Tail"' in lines
    assert 'timestamp = "TimeUTC"' in lines
    assert 'date = "DateUTC"' in lines
    assert '# flight_id = "?"  # not needed: "Tail" identifies the aircraft' in lines
    (altitude,) = (line for line in lines if line.startswith("altitude"))
    assert altitude.startswith('altitude = "?"  # in ft; ')


def test_flight_levels_filled_into_the_draft_are_asked_for_their_unit(flights, source, tmp_path):
    draft = draft_columns(write_reports(flights, source / "posrep.csv"))
    answers = {"latitude": "Pos N", "longitude": "Pos E", "altitude": "Lvl"}
    for name, written in answers.items():
        draft = draft.replace(f'{name} = "?"', f'{name} = "{written}"')
    timestamp = '{ column = "TimeUTC", format = "%d.%m.%Y %H:%M:%S" }'
    draft = draft.replace('"TimeUTC"', timestamp)
    (source / "columns.toml").write_text(draft)
    rejected = import_flights(source, tmp_path / "archive")["rejected"]
    line = 'altitude = { column = "Lvl", unit = "FL" }'
    assert rejected.str.contains(line, regex=False).all()
    (source / "columns.toml").write_text(draft.replace('altitude = "Lvl"', line))
    imported = import_flights(source, tmp_path / "archive")
    assert imported["rejected"].isna().all()
    assert imported["registration"].nunique() == 3


POINTS = """
latitude = "Pos N"
longitude = "Pos E"
timestamp = { column = "TimeUTC", format = "%d.%m.%Y %H:%M:%S" }
altitude = { column = "Lvl", unit = "FL" }
aircraft_type = "AcType"
operator = "Airline"
"""


def write_fleet(flights, path, names=("Tail", "AcType", "Airline")):
    tails = "N" + flights["icao24"].astype("str").drop_duplicates()
    fleet = pd.DataFrame(dict(zip(names, [tails, "B738", "UAL"], strict=True)))
    return write_csv(fleet, path, sep=";")


@pytest.mark.parametrize("ids", ["", 'flight_id = "Tail"\n'])
@pytest.mark.parametrize("registration", ["", 'registration = "Tail"\n'])
def test_a_list_of_aircraft_is_joined_by_the_registration_and_cuts_no_flight_otherwise(
    flights, source, tmp_path, ids, registration
):
    later = flights.assign(timestamp=flights["timestamp"] + pd.Timedelta(hours=5))
    write_reports(pd.concat([flights, later]), source / "posrep.csv")
    write_fleet(flights, source / "fleet.csv")
    text = (
        f'[columns]{POINTS}{registration}[import]\nflights = "fleet.csv"\ndate = "DateUTC"\n{ids}'
    )
    (source / "columns.toml").write_text(text)
    lines = []
    imported = import_flights(source, tmp_path / "archive", report=lines.append)
    assert len(lines) == 2  # of both formats, and of no fault
    assert len(imported) == 6
    assert imported["aircraft_type"].eq("B738").all()
    assert imported["operator"].eq("UAL").all()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("Tail;AcType\nN345100;B738\nN345100;A320\n", "several rows have the registration N345100"),
        ("Kind;Seats\nB738;189\n", "its columns are Kind, Seats: expected the flight_id of the"),
    ],
)
def test_a_second_table_that_cannot_be_joined_is_refused_with_what_is_expected(
    flights, source, tmp_path, rows, reason
):
    write_reports(flights, source / "posrep.csv")
    (source / "fleet.csv").write_text(rows)
    text = f'[columns]{POINTS}[import]\nflights = "fleet.csv"\ndate = "DateUTC"\n'
    (source / "columns.toml").write_text(text)
    lines = []
    import_flights(source, tmp_path / "archive", report=lines.append)
    assert any(f"fleet.csv: not read: {reason}" in line for line in lines)


def test_one_column_may_be_two_fields(flights, source, tmp_path):
    names = ["timestamp", "latitude", "longitude", "altitude"]
    write_csv(flights[names].assign(FLIGHT=flights["callsign"]), source / "mine.csv")
    text = 'columns.callsign = "FLIGHT"\nimport.flight_id = "FLIGHT"\n'
    (source / "columns.toml").write_text(text)
    imported = import_flights(source, tmp_path / "archive")
    assert imported["callsign"].tolist() == imported["flight_id"].tolist()
    assert {*imported["callsign"]} == {*flights["callsign"]}


def test_a_required_column_that_columns_toml_misnames_is_named(flights, source, tmp_path):
    write_reports(flights, source / "posrep.csv")
    text = f'[columns]{POINTS}[import]\ndate = "DateUTC"\n'.replace("Lvl", "Level")
    (source / "columns.toml").write_text(text)
    with pytest.raises(FileNotFoundError) as error:
        import_flights(source, tmp_path / "archive")
    columns = REPORTS.replace(";", ", ")
    reason = f"columns.toml names 'Level', not among its columns: {columns}"
    assert str(error.value).endswith(reason)  # without a draft of a columns.toml


def test_a_column_that_columns_toml_leaves_out_is_named_without_a_draft(flights, source, tmp_path):
    write_reports(flights, source / "posrep.csv")
    text = re.sub("altitude.*", "", f'[columns]{POINTS}[import]\ndate = "DateUTC"\n')
    (source / "columns.toml").write_text(text)
    with pytest.raises(FileNotFoundError) as error:
        import_flights(source, tmp_path / "archive")
    reason = "none of them altitude; the columns.toml beside the files does not name them"
    assert str(error.value).endswith(reason)


def test_a_required_column_is_misnamed_in_a_known_format_too(flights, source, tmp_path):
    WRITERS["traffic"](flights, source)
    (source / "columns.toml").write_text('columns.altitude = "Level"')
    with pytest.raises(FileNotFoundError, match=r"columns\.toml names 'Level', not among"):
        import_flights(source, tmp_path / "archive")


def test_other_columns_that_columns_toml_names_and_no_file_has_are_reported(
    flights, source, tmp_path
):
    write_reports(flights, source / "posrep.csv")
    write_fleet(flights, source / "fleet.csv")
    text = f'[columns]{POINTS}groundspeed = "V km/h"\n[import]\nflights = "fleet.csv"\n'
    (source / "columns.toml").write_text(f'{text}date = "DateUTC"\n')
    lines = []
    import_flights(source, tmp_path / "archive", report=lines.append)
    (line,) = (line for line in lines if line.startswith("columns.toml"))
    assert line.startswith("columns.toml names 'V km/h', which no file has; there are Tail, ")
