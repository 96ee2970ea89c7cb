"""JSON of many shapes: nested objects, lists of values, GeoJSON, lines, decoded messages."""

import json

import numpy as np
import pandas as pd
import pytest

from trajlib.archive.dialect import Dialect, parse_dialect
from trajlib.importers.formats import FormatError, recognize_format
from trajlib.importers.formats.base import Options
from trajlib.importers.formats.documents import find_records, parse_beginning

TIMES = [f"2016-01-01T00:0{n}:00Z" for n in range(3)]
STEPS = pd.to_datetime(pd.Series(TIMES)).astype("datetime64[ms, UTC]")


@pytest.fixture
def read(tmp_path):
    def read(content, name="file.json", columns=None):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        dialect = parse_dialect(columns) if columns else Dialect()
        options = Options(dialect, root=tmp_path)
        return pd.concat(recognize_format(path, dialect).read(path, options))

    return read


def check(points):
    assert points["timestamp"].tolist() == STEPS.tolist()
    assert points["latitude"].tolist() == [40, 41, 42]
    assert points["longitude"].tolist() == [3, 4, 5]
    assert points["altitude"].round().tolist() == [1000, 2000, 3000]


def list_points():
    return [
        {"time": time, "pos": {"lat": 40 + n, "lng": 3 + n}, "alt": 1000 * (n + 1)}
        for n, time in enumerate(TIMES)
    ]


def test_values_in_objects_of_a_record_are_its_own(read):
    check(read(list_points()))
    check(read({"meta": {"version": 3}, "flight": {"points": list_points()}}))


def test_lines_of_nested_records_are_read(read, monkeypatch):
    text = "\n".join(map(json.dumps, list_points()))
    check(read(text))
    monkeypatch.setattr("trajlib.importers.formats.tables._LARGEST", 10)
    check(read(text))


def test_records_may_be_the_values_of_an_object(read):
    points = {f"p{n}": record | record["pos"] for n, record in enumerate(list_points())}
    check(read({"count": 3, "points": points}))
    check(read(points))


def test_columns_may_be_lists_in_the_record_of_their_flight(read):
    columns = {"times": TIMES, "lat": [40, 41, 42], "lon": [3, 4, 5], "alt": [1000, 2000, 3000]}
    check(read(columns))
    points = read([{"callsign": "IBE1"} | columns, {"callsign": "IBE2"} | columns])
    assert points["callsign"].tolist() == ["IBE1"] * 3 + ["IBE2"] * 3


def test_a_table_in_the_split_form_of_pandas_is_read(read):
    table = pd.DataFrame(
        {"time": TIMES, "lat": [40, 41, 42], "lon": [3, 4, 5], "alt": [1000, 2000, 3000]}
    )
    check(read(table.to_json(orient="split")))


def test_the_positions_of_airports_are_not_those_of_the_aircraft(read):
    airport = {"iata": "MAD", "icao": "LEMD", "lat": 1.0, "lon": 1.0}
    records = [point | {"departure": airport} for point in list_points()]
    points = read(records)
    check(points)
    assert points["origin"].unique() == ["LEMD"]
    assert "icao24" not in points
    with pytest.raises(FormatError):
        read([{"time": TIMES[0], "alt": 1, "departure": airport, "speed": 4}])


def line(times, name="coordTimes", **properties):
    coordinates = [[3 + n, 40 + n, 304.8 * (n + 1)] for n in range(3)]
    geometry = {"type": "LineString", "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {name: times} | properties}


def test_lines_of_geojson_with_times_are_read(read):
    check(read(line(TIMES)))
    check(read({"type": "FeatureCollection", "features": [line(TIMES, "times", color="red")]}))
    check(read(line({"times": TIMES}, "coordinateProperties")))


def test_points_of_geojson_are_read_with_their_properties(read):
    features = []
    for n, time in enumerate(TIMES):
        geometry = {"type": "Point", "coordinates": [3 + n, 40 + n]}
        properties = {"time": time, "altitude": 1000 * (n + 1), "callsign": "IBE1"}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    points = read({"type": "FeatureCollection", "features": features}, "a.geojson")
    check(points)
    assert points["callsign"].unique() == ["IBE1"]
    assert "aircraft_type" not in points  # the type is that of the collection


def test_times_may_be_the_fourth_value_of_a_position(read):
    track = line([], "gates")
    for n, position in enumerate(track["geometry"]["coordinates"]):
        position.append(1451606400 + 60 * n)
    check(read(track))


def test_times_of_geojson_may_follow_positions_that_fill_the_beginning(read):
    count = 5000
    geometry = {"type": "LineString", "coordinates": [[3.123456, 40.123456, 1000.0]] * count}
    times = [1451606400 + n for n in range(count)]
    assert (
        len(read({"type": "Feature", "geometry": geometry, "properties": {"times": times}}))
        == count
    )


def test_one_time_of_a_line_is_not_that_of_its_points(read):
    with pytest.raises(FormatError, match="none of them timestamp"):
        read(line(TIMES[0], "time"))


def test_snapshots_without_an_aircraft_are_none_of_another_format(read, tmp_path):
    path = tmp_path / "aircraft.json"
    path.write_text('{"now": 1451606400.0, "messages": 12, "aircraft": []}')
    assert recognize_format(path).name == "readsb-snapshots"


def test_messages_with_speeds_of_their_own_give_them_to_positions(read):
    position = {"timestamp": 1451606400.0, "icao24": "345100", "latitude": 40.0, "longitude": 3.0}
    position |= {"altitude": 9000}
    speed = {"timestamp": 1451606400.5, "icao24": "345100", "groundspeed": 400, "track": 80}
    call = {"timestamp": 1451606400.7, "icao24": "345100", "callsign": "IBE1"}
    later = position | {"timestamp": 1451606401.0}
    other = position | {"timestamp": 1451606401.5, "icao24": "345101"}
    text = "\n".join(map(json.dumps, [position, speed, call, later, other]))
    points = read(text)
    assert points["groundspeed"].fillna(-1).tolist() == [-1, 400, -1]
    assert points["callsign"].fillna("").tolist() == ["", "IBE1", ""]


def test_speeds_of_other_messages_are_given_for_a_minute_and_to_the_same_aircraft(read):
    rows = [
        (0, 40.0, 300, "345100"),
        (1, None, 400, "345100"),
        (2, 40.1, 250, "345100"),
        (3, 40.2, None, "345100"),
        (4, 40.3, 200, None),
        (5, 40.4, None, None),
        (62, 40.5, 100, "345100"),
        (63, 40.6, None, "345100"),
        (3600, 40.7, None, "345100"),
    ]
    names = ("time", "latitude", "groundspeed", "icao24")
    table = pd.DataFrame(rows, columns=names).assign(longitude=3.0, altitude=9000)
    table["time"] += 1451606400
    points = read(table.to_csv(index=False), "file.csv")
    assert points["groundspeed"].fillna(-1).tolist() == [300, 250, 250, 200, -1, 100, 100, -1]


WITHIN = {
    "corners": {"bounds": {"ne": {"lat": 50, "lon": 1}, "sw": {"lat": 30, "lon": -5}}},
    "waypoints": {"route": [{"name": "X", "lat": 50, "lon": 1}, {"name": "Y", "lat": 1, "lon": 1}]},
    "planned times": {"route": [{"time": TIMES[0], "lat": 50, "lon": 1}]},
    "lists": {"tags": ["a", "b"], "sources": ["x", "y"], "alerts": [0, 1]},
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", WITHIN)
def test_a_point_is_not_replaced_by_what_it_holds(read, kind, nested):
    points = list_points()
    if not nested:
        points = [point | point["pos"] for point in points]
    check(read([point | WITHIN[kind] for point in points]))


def test_a_time_around_a_list_is_not_that_of_its_points(read):
    track = [{"when": n, "lat": 40 + n, "lon": 3, "alt": 1000} for n in range(3)]
    for name in ("last_update", "now", "time"):
        with pytest.raises(FormatError, match="none of them timestamp"):
            read({name: 1451606400, "flights": [{"callsign": "IBE1", "track": track}]})
    answer = {"taken": {"time": 1451606400}, "time": 1451606400, "aircraft": track}
    points = read(answer, columns='[columns]\ntimestamp = "around.time"')
    assert points["timestamp"].unique() == [STEPS[0]]


def test_a_former_position_of_a_snapshot_is_not_the_present_one(read):
    former = {"hex": "345100", "lastPosition": {"lat": 40.0, "lon": -3.0, "seen_pos": 90.5}}
    present = {"hex": "345101", "lat": 41.0, "lon": -3.0, "seen_pos": 2.0}
    points = read({"now": 1451606402.0, "aircraft": [former, present]})
    assert points["icao24"].tolist() == ["345101"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_callsign_is_the_number_with_the_code_of_the_airline(read, order):
    numbers = [("number", "1"), ("iataNumber", "IB1"), ("icaoNumber", "IBE1")]
    flight = dict(numbers[::order])
    points = read([point | {"flight": flight} for point in list_points()])
    assert points["callsign"].unique() == ["IBE1"]
    points = read([point | {"flight": flight, "callsign": "IBE2"} for point in list_points()])
    assert points["callsign"].unique() == ["IBE2"]


def test_columns_toml_may_name_an_object_and_its_value(read):
    records = [
        {"at": {"time": time, "lat": 40 + n, "lng": 3 + n}, "h": {"up": 1000 * (n + 1)}}
        for n, time in enumerate(TIMES)
    ]
    check(read(records, columns='[columns]\ntimestamp = "at.time"\naltitude = "h.up"'))
    with pytest.raises(FormatError):
        read(records, columns='[columns]\ntimestamp = "other.time"\naltitude = "h.up"')


@pytest.mark.parametrize("text", ['{"a": "x, [{', '{"a": 1, "b', "{", "[", "[1, 2", '{"a": [}'])
def test_a_beginning_that_breaks_off_anywhere_is_no_error(text):
    [*find_records(parse_beginning(text))]


def test_nested_lists_do_not_end_the_program():
    value = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[], 1, None]}}
    assert [*find_records(value)] == []
    assert np.isfinite(len([*find_records(parse_beginning("[" * 100_000))]))


def test_times_around_records_are_not_theirs_if_they_have_their_own(read):
    around = {"status": {"event": {"utc": 1451700000}}, "time": 1451700000, "callsign": "IBE1"}
    trail = [
        {"ts": 1451606400 + 60 * n, "lat": 40 + n, "lng": 3 + n, "alt": 1000 * (n + 1)}
        for n in range(3)
    ]
    points = read(
        around | {"aircraft": {"hex": "345100", "images": [{"src": "x"}]}, "trail": trail}
    )
    check(points)
    assert points["icao24"].unique() == ["345100"]
    assert points["callsign"].unique() == ["IBE1"]
