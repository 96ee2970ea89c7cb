"""Real flights: an archive made of surveillance points, without any real data."""

import json

import numpy as np
import pandas as pd
import pytest
from test_points import MEASURED, POINTS, POSITION, fly, observe

from trajlib import build_index
from trajlib.archive.dialect import read_dialect
from trajlib.archive.reading import read_flight
from trajlib.geodesy import distance
from trajlib.importers.points import interpolate_points
from trajlib.importers.sfomuseum import read_flights, read_points
from trajlib.importers.surveillance import import_flights
from trajlib.schema import IDENTITY

FLIGHTS = {  # id: (callsign, date, type, points)
    11: ("UAL11", "2020-04-03", "B738", observe(fly(), 1)),
    12: ("UAL11", "2020-04-04", "ZZZZ", observe(fly("2020-04-04", 0.1), 2)),
    13: ("UAL11", "2020-04-03", "B738", observe(fly(), 3)),  # repeats 11
    14: ("JBU635", "2020-04-05", None, observe(fly("2020-04-05")).iloc[:30]),
    15: ("SWA1", "2020-04-06", "B737", observe(fly("2020-04-06")).iloc[:0]),
}


@pytest.fixture
def source(tmp_path):
    """Write the flights as two Parquet files, points in any order, and a licence."""
    folder = tmp_path / "parquet"
    folder.mkdir()
    rows = [
        (key, call, call[:3], kind, "N1", "SFO", "LAX", date)
        for key, (call, date, kind, _) in FLIGHTS.items()
    ]
    names = "flight_id callsign operator aircraft_type registration origin destination date"
    pd.DataFrame(rows, columns=names.split()).to_parquet(folder / "flights.parquet")
    points = pd.concat([p.assign(flight_id=key) for key, (*_, p) in FLIGHTS.items()])
    points.sample(frac=1, random_state=1).to_parquet(folder / "points.parquet")
    (folder / "LICENSE.txt").write_text("CDLA-Permissive-1.0")
    return folder


@pytest.fixture
def clone(tmp_path):
    """Write the same flights as the SFO Museum does: before 2020 numbers were bare."""
    airlines = {"UAL": "UA", "JBU": "B6", "SWA": "WN"}
    for key, (call, date, kind, points) in FLIGHTS.items():
        operator, number = call[:3], call[3:]
        iata = airlines[operator]
        told = {"flysfo:journey": "SFO-LAX", "flysfo:airline": iata, "icao:airline": operator}
        told |= {"flysfo:date": date, "icao:aircraft": kind or "", "swim:tail_number": "N1"}
        told["flysfo:flight_number"] = number if key == 12 else iata + number
        write_json(tmp_path, key, "", {"properties": told})
        if len(points):
            write_json(tmp_path, key, "-alt-swim-path", as_track(points))
    (tmp_path / "clone" / "LICENSE").write_text("CDLA-Permissive-1.0")
    return tmp_path / "clone"


def write_json(folder, key, suffix, content):
    path = folder / "clone" / "data" / "1" / f"{key}{suffix}.geojson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def as_track(points):
    altitudes = [f"{value / 100:03.0f}{'C' * (value > 32_000)}" for value in points["altitude"]]
    seconds = points["timestamp"].astype("datetime64[s, UTC]").astype("int64")
    told = {"swim:altitudes": altitudes, "swim:timestamps": seconds.tolist()}
    told["swim:speeds"] = points["groundspeed"].tolist()
    line = points[["longitude", "latitude"]].to_numpy().tolist()
    return {"properties": told, "geometry": {"type": "LineString", "coordinates": line}}


def contents(archive):
    return {p.relative_to(archive): p.read_bytes() for p in archive.rglob("*") if p.is_file()}


def test_simulated_flights_seen_by_surveillance_come_back_near_the_truth(tiny_archive, tmp_path):
    index = build_index(tiny_archive, tmp_path / "index.parquet")
    index = index[index["rejected"].isna()].head(8).reset_index(drop=True)
    flights = index[list(IDENTITY)].assign(flight_id=index.index, date="2016-01-01")
    flights.to_parquet(tmp_path / "flights.parquet")
    ground_truth = [read_flight(tiny_archive / path) for path in index["path"]]
    seen = [
        observe(scenario, key).assign(flight_id=key) for key, scenario in enumerate(ground_truth)
    ]
    pd.concat(seen).to_parquet(tmp_path / "points.parquet")
    told = import_flights(tmp_path, tmp_path / "seen")
    kept = told[told["rejected"].isna()]
    assert len(kept) >= 6  # the last point of some is thinned away
    for key, path in zip(kept["flight_id"], kept["path"], strict=True):
        flight = read_flight(tmp_path / "seen" / path).set_index("timestamp")
        scenario = ground_truth[key].set_index("timestamp").loc[flight.index]
        miss = distance(*flight[POSITION].to_numpy().T, *scenario[POSITION].to_numpy().T)
        error = (flight[MEASURED] - scenario[MEASURED]).abs()
        assert (np.quantile(miss, [0.5, 0.9, 1]) < [0.3, 1.0, 3.0]).all()
        assert (error["altitude"].quantile([0.5, 0.9]) < [100, 600]).all()
        assert error["groundspeed"].quantile(0.9) < 15


def test_an_import_tells_what_it_kept_and_why_not(source, tmp_path):
    told = import_flights(source, tmp_path / "sfo", origin="SFO", destination="LAX")
    reasons = told.set_index("flight_id")["rejected"]
    assert reasons[[11, 12]].isna().all()
    assert "repeats" in reasons[13]
    assert "last point" in reasons[14]
    assert reasons[15] == "no points"
    aside = pd.read_parquet(tmp_path / "sfo" / "rejected.parquet").set_index("flight_id")
    pd.testing.assert_series_equal(aside["rejected"], reasons[reasons.notna()], check_dtype=False)
    noise = pd.read_parquet(tmp_path / "sfo" / "noise.parquet")
    assert noise["path"].unique().tolist() == ["SFO-LAX/11.csv", "SFO-LAX/12.csv"]
    assert (tmp_path / "sfo" / "LICENSE.txt").exists()


def test_points_alone_are_the_measured_seconds_of_the_whole_archive(source, tmp_path):
    import_flights(source, tmp_path / "whole", destination="LAX")
    import_flights(source, tmp_path / "points", destination="LAX", measured_only=True)
    whole, points = (
        read_flight(tmp_path / name / "SFO-LAX/11.csv") for name in ("whole", "points")
    )
    measured = whole[whole["gap"] == 0].reset_index(drop=True)[list(points)]
    pd.testing.assert_frame_equal(points, measured)


def test_the_archive_indexes_whole_and_invents_nothing(source, tmp_path):
    import_flights(source, tmp_path / "sfo")
    index = build_index(tmp_path / "sfo")
    assert index["path"].tolist() == ["SFO-LAX/11.csv", "SFO-LAX/12.csv"]
    assert index["rejected"].isna().all()
    assert index[["callsign", "operator", "registration"]].iloc[0].tolist() == [
        "UAL11",
        "UAL",
        "N1",
    ]
    dialect = read_dialect(tmp_path / "sfo")
    assert "CDLA-Permissive-1.0" in dialect.source
    assert not dialect.simulated
    known, unknown = (read_flight(tmp_path / "sfo" / path) for path in index["path"])
    assert dialect.modelled == set(known) - set(unknown) | {"temperature", "pressure", "density"}
    assert not {"true_airspeed", "wind_u", "mach", "geoaltitude"} & set(known)
    headers = {(tmp_path / "sfo" / path).read_text().partition("\n")[0] for path in index["path"]}
    assert len(headers) == 1


def test_a_clone_and_the_tables_made_of_it_give_the_same_flights(source, clone, tmp_path):
    import_flights(source, tmp_path / "a")
    import_flights(clone, tmp_path / "b")
    for path in ("SFO-LAX/11.csv", "SFO-LAX/12.csv", "rejected.parquet", "noise.parquet"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_damaged_records_and_tracks_are_set_aside(clone, tmp_path):
    write_json(tmp_path, 16, "", {"properties": {"flysfo:journey": None}})
    write_json(tmp_path, 17, "", [])
    (clone / "data" / "1" / "11-alt-swim-path.geojson").write_text('{"properties": {')
    short = as_track(FLIGHTS[12][3])
    short["properties"]["swim:speeds"].pop()
    write_json(tmp_path, 12, "-alt-swim-path", short)
    told = import_flights(clone, tmp_path / "sfo").set_index("flight_id")["rejected"]
    assert told[[16, 17]].tolist() == ["its record cannot be read"] * 2
    assert told[[11, 12]].tolist() == ["its points cannot be read"] * 2
    assert pd.isna(told[13])  # no longer the repeat of a flight that is kept


def test_a_track_cut_at_the_antimeridian_is_put_together(tmp_path):
    points = fly().iloc[::60].reset_index(drop=True)
    points["longitude"] = (points["longitude"] + 300 + 180) % 360 - 180
    track = as_track(points)
    line = track["geometry"]["coordinates"]
    cut = int(np.argmax(points["longitude"] < 0))
    track["geometry"] = {"type": "MultiLineString", "coordinates": [line[:cut], line[cut:]]}
    write_json(tmp_path, 21, "", {"properties": {}})
    write_json(tmp_path, 21, "-alt-swim-path", track)
    flights = read_flights(tmp_path / "clone")
    read = read_points(tmp_path / "clone", flights)(21)
    flight = interpolate_points(read)
    assert flight["longitude"].abs().between(175, 180).all()
    assert flight["distance"].iloc[-1] == pytest.approx(
        interpolate_points(POINTS)["distance"].iloc[-1], rel=1e-3
    )


def test_an_import_is_the_same_with_workers_and_without(source, tmp_path, monkeypatch, request):
    import_flights(source, tmp_path / "alone")
    monkeypatch.setattr("trajlib.importers.surveillance._BLOCK", 2)
    request.getfixturevalue("client")
    import_flights(source, tmp_path / "together")
    assert contents(tmp_path / "alone") == contents(tmp_path / "together")


def test_another_import_leaves_the_flights_of_the_first(source, tmp_path):
    archive = tmp_path / "sfo"
    import_flights(source, archive)
    before = contents(archive)
    flights = pd.read_parquet(source / "flights.parquet")
    flights.iloc[3:].to_parquet(source / "flights.parquet")
    import_flights(source, archive)
    assert contents(archive) == before


def test_simulated_flights_are_not_mixed_with_real_ones(source, tmp_path):
    (tmp_path / "columns.toml").write_text("simulated = true")
    with pytest.raises(ValueError, match="are simulated"):
        import_flights(source, tmp_path)


def test_what_is_no_source_and_a_pair_without_flights_are_told(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"flights\.parquet"):
        import_flights(tmp_path, tmp_path / "sfo")
    with pytest.raises(ValueError, match=r"SFO → JFK.*SFO → LAX \(5\)"):
        import_flights(source, tmp_path / "sfo", origin="SFO", destination="JFK")


def test_an_import_touches_nothing_outside_its_archive_whatever_airports_are_called(
    source, tmp_path
):
    flights = pd.read_parquet(source / "flights.parquet")
    flights.loc[flights["flight_id"] == 15, "origin"] = "../other/SFO"
    flights.to_parquet(source / "flights.parquet")
    bystander = tmp_path / "other" / "SFO-LAX" / "15.csv"
    bystander.parent.mkdir(parents=True)
    bystander.write_text("not ours")
    told = import_flights(source, tmp_path / "archive").set_index("flight_id")
    assert told.loc[15, "path"] == "..%2Fother%2FSFO-LAX/15.csv"
    assert bystander.read_text() == "not ours"
