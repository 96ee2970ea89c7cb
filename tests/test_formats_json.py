"""JSON of many shapes: nested objects, lists of values, GeoJSON, lines, decoded messages."""

import json

import numpy as np
import pandas as pd
import pytest

from trajlib.importers.formats import FormatError, Options, recognize_format
from trajlib.importers.formats.documents import find_records, parse_beginning

TIMES = [f"2016-01-01T00:0{n}:00Z" for n in range(3)]
STEPS = pd.to_datetime(pd.Series(TIMES)).astype("datetime64[ms, UTC]")


@pytest.fixture
def read(tmp_path):
    def read(content, name="file.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return pd.concat(recognize_format(path).read(path, Options(root=tmp_path)))

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
