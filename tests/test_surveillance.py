"""Real flights: what is kept of surveillance points, and what becomes of it."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from trajlib import build_index
from trajlib.archive import FlightError, read_flight
from trajlib.dialect import read_dialect
from trajlib.geodesy import distance
from trajlib.sources.sfomuseum import read_flights, read_points
from trajlib.sources.surveillance import (
    check_points,
    import_flights,
    interpolate_points,
    leave_one_out,
    thin_points,
)

POSITION = ["latitude", "longitude"]
MEASURED = [*POSITION, "altitude", "groundspeed"]


def fly(date="2020-04-03", bend=0.3):
    """Return a smooth flight SFO → LAX at 1 s: eased along, bent aside, up to 33,000 ft."""
    second = np.arange(3300.0)
    share = second / second[-1]
    along = share - np.sin(2 * np.pi * share) / (2 * np.pi) * 0.6
    lat = 37.62 + (33.96 - 37.62) * along + bend * np.sin(np.pi * along) ** 2
    lon = -122.38 + (-118.40 + 122.38) * along
    steps = distance(lat[:-1], lon[:-1], lat[1:], lon[1:]) * 3600
    start = pd.Timestamp(f"{date}T18:00:00Z")
    return pd.DataFrame(
        {
            "timestamp": (start + pd.to_timedelta(second, "s")).as_unit("ms"),
            "latitude": lat,
            "longitude": lon,
            "altitude": 900 + 32_100 * np.sin(np.pi * share),
            "groundspeed": np.append(steps, steps[-1]),
        }
    )


def observe(truth, seed=0, arc_minutes=0.2):
    """Return what surveillance tells of a flight.

    A point a minute with jitter, some twice within 20 s, gaps of up to 300 s, 100 ft, whole
    knots, and part of the positions on whole arc minutes.
    """
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(40, 110, 60))
    at = np.concatenate([[0], at, at[::6] + rng.integers(5, 20, 10)])
    at = np.unique(at[(at < 1500) | (at > 1730)])
    points = truth.iloc[at[at < len(truth)]].reset_index(drop=True)
    coarse = rng.random(len(points)) < arc_minutes
    points.loc[coarse, POSITION] = (points.loc[coarse, POSITION] * 60).round() / 60
    return points.assign(
        altitude=(points["altitude"] / 100).round() * 100, groundspeed=points["groundspeed"].round()
    )


def fill(points, **values):
    """Return some rows' values replaced: ``fill(points, altitude={3: nan})``."""
    points = points.copy()
    for name, rows in values.items():
        points.loc[list(rows), name] = list(rows.values())
    return points


FLIGHTS = {  # id: (callsign, date, type, points)
    11: ("UAL11", "2020-04-03", "B738", observe(fly(), 1)),
    12: ("UAL12", "2020-04-04", "ZZZZ", observe(fly("2020-04-04", 0.1), 2)),
    13: ("UAL11", "2020-04-03", "B738", observe(fly(), 3)),  # repeats 11
    14: ("JBU635", "2020-04-05", None, observe(fly("2020-04-05")).iloc[:30]),
    15: ("SWA1", "2020-04-06", "B737", observe(fly("2020-04-06")).iloc[:0]),
}


@pytest.fixture
def source(tmp_path):
    """Write the flights as a folder of two Parquet files, with a licence beside them."""
    folder = tmp_path / "parquet"
    folder.mkdir()
    rows = [
        (key, call, call[:3], kind, "N1", "SFO", "LAX", date)
        for key, (call, date, kind, _) in FLIGHTS.items()
    ]
    names = "flight_id callsign operator aircraft_type registration origin destination date"
    pd.DataFrame(rows, columns=names.split()).to_parquet(folder / "flights.parquet")
    points = pd.concat([p.assign(flight_id=key) for key, (*_, p) in FLIGHTS.items()])
    points.to_parquet(folder / "points.parquet")
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


@st.composite
def tracks(draw):
    """Any points 30 s or more apart, over the antimeridian too."""
    size = draw(st.integers(4, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    second = np.cumsum(rng.integers(30, 400, size))
    lon = rng.uniform(-180, 180) + np.cumsum(rng.normal(0, 0.3, size))
    return pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(second, "s"),
            "latitude": rng.uniform(-60, 60) + np.cumsum(rng.normal(0, 0.3, size)),
            "longitude": (lon + 180) % 360 - 180,
            "altitude": rng.integers(0, 400, size) * 100.0,
            "groundspeed": rng.integers(100, 600, size).astype(float),
        }
    )


@pytest.mark.parametrize("seed", range(5))
def test_an_imported_flight_lies_near_the_truth(seed):
    truth = fly()
    flight = interpolate_points(thin_points(observe(truth, seed)))
    truth = truth.set_index("timestamp").loc[flight["timestamp"]].reset_index()
    miss = distance(*flight[POSITION].to_numpy().T, *truth[POSITION].to_numpy().T)
    assert np.quantile(miss, 0.5) < 0.15
    assert miss.max() < 1.5  # an arc minute, or the middle of the gap of 300 s
    error = (flight["altitude"] - truth["altitude"]).abs()
    assert error.max() < 600  # the top of the climb may fall into the gap
    assert error[flight["gap"] < 60].max() < 300
    assert (flight["groundspeed"] - truth["groundspeed"]).abs().max() < 5
    flown = distance(*truth[POSITION].to_numpy()[:-1].T, *truth[POSITION].to_numpy()[1:].T).sum()
    assert flight["distance"].iloc[-1] == pytest.approx(flown, rel=0.01)


def test_fine_points_leave_only_the_error_of_interpolation():
    truth = fly()
    flight = interpolate_points(thin_points(observe(truth, arc_minutes=0)))
    truth = truth.iloc[: len(flight)]
    assert distance(*flight[POSITION].to_numpy().T, *truth[POSITION].to_numpy().T).max() < 0.5
    climb = np.gradient(truth["altitude"]) * 60
    assert np.quantile(np.abs(flight["vertical_rate"] - climb), 0.9) < 200


@given(tracks())
def test_nothing_is_extrapolated(points):
    flight = interpolate_points(points)
    assert flight["timestamp"].iloc[0] == points["timestamp"].iloc[0]
    assert flight["timestamp"].iloc[-1] == points["timestamp"].iloc[-1]
    assert (flight["timestamp"].diff().iloc[1:] == pd.Timedelta("1s")).all()


@given(tracks())
def test_every_value_lies_between_those_of_the_points_before_and_after(points):
    flight = interpolate_points(points)
    at = np.searchsorted(points["timestamp"], flight["timestamp"]).clip(1)
    for name in MEASURED:
        values, found = points[name].to_numpy(), flight[name].to_numpy()
        if name == "longitude":
            values = np.unwrap(values, period=360)
            found = values[at] + (found - values[at] + 180) % 360 - 180
        low, high = np.minimum(values[at - 1], values[at]), np.maximum(values[at - 1], values[at])
        assert (found >= low - 1e-6).all()
        assert (found <= high + 1e-6).all()


@given(tracks())
def test_the_gap_is_the_time_to_the_nearest_point(points):
    flight = interpolate_points(points)
    start = points["timestamp"].iloc[0]
    known, asked = ((df["timestamp"] - start).dt.total_seconds() for df in (points, flight))
    expected = np.abs(np.subtract.outer(asked.to_numpy(), known.to_numpy())).min(axis=1)
    assert (flight["gap"] == expected).all()
    rows = flight.loc[flight["gap"] == 0, MEASURED].to_numpy()
    np.testing.assert_allclose(rows, points[MEASURED].to_numpy(), atol=1e-6)


@given(tracks())
def test_leaving_every_third_point_out_at_once_is_leaving_out_one(points):
    second = points["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
    position = np.unwrap(points[POSITION].to_numpy(), axis=0, period=360)
    rest = [np.delete(np.arange(len(points)), at) for at in range(1, len(points) - 1)]
    expected = [
        distance(*PchipInterpolator(second[left], position[left])(second[at]), *position[at])
        for at, left in enumerate(rest, start=1)
    ]
    noise = leave_one_out(points)
    np.testing.assert_allclose(noise["miss"], expected, atol=1e-6)
    np.testing.assert_array_equal(noise["span"], second[2:] - second[:-2])


def test_a_cruise_point_is_high_and_level():
    points = observe(fly()).iloc[:5].assign(altitude=[33_000, 33_000, 33_100, 35_000, 35_000])
    assert leave_one_out(points)["cruise"].tolist() == [True, False, False]
    assert not leave_one_out(points.assign(altitude=20_000))["cruise"].any()


@given(st.lists(st.integers(0, 70), min_size=1, max_size=60), st.data())
def test_thinning_looks_back_alone(steps, data):
    points = fly().iloc[np.cumsum(steps) % 3300].sort_values("timestamp")
    thinned = thin_points(points)
    assert (thinned["timestamp"].diff().iloc[1:] >= pd.Timedelta("30s")).all()
    cut = thin_points(points.iloc[: data.draw(st.integers(0, len(points)))])
    pd.testing.assert_frame_equal(cut, thinned.iloc[: len(cut)])


def test_a_point_without_altitude_or_groundspeed_tells_nothing():
    points = fly().iloc[::60]
    bad = fill(points, altitude={120: np.nan}, groundspeed={240: 0.0})
    times = thin_points(bad)["timestamp"]
    assert times.tolist() == points["timestamp"].drop([120, 240]).tolist()


POINTS = fly().iloc[::60].reset_index(drop=True)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (POINTS.iloc[:19], "fewer than 20 points"),
        (POINTS.iloc[10:], "first point more than 15 km from the airport"),
        (POINTS.iloc[:-10], "last point more than 15 km from the airport"),
        (POINTS.drop(range(20, 27)), "more than 420 s between two points"),
        (fill(POINTS, altitude={54: 11_000.0}), "climbs or descends faster than 6000 ft/min"),
    ],
)
def test_a_fragment_is_told_by_its_reason(points, reason):
    with pytest.raises(FlightError, match=reason):
        check_points(points, "SFO", "LAX")


def test_a_whole_flight_passes_at_the_limits():
    check_points(POINTS.drop(range(20, 26)), "SFO", "LAX")  # a gap of exactly 420 s
    check_points(POINTS.iloc[np.r_[:10:2, 10:20, 20:50:3, 50:55]], "SFO", "LAX")


def test_an_import_tells_what_it_kept_and_why_not(source, tmp_path):
    told = import_flights(source, tmp_path / "sfo", origin="SFO", destination="LAX")
    reasons = told.set_index("flight_id")["problem"]
    assert reasons[[11, 12]].isna().all()
    assert "repeats" in reasons[13]
    assert "last point" in reasons[14]
    assert reasons[15] == "no points"
    aside = pd.read_parquet(tmp_path / "sfo" / "set_aside.parquet").set_index("flight_id")
    pd.testing.assert_series_equal(aside["problem"], reasons[reasons.notna()], check_dtype=False)
    noise = pd.read_parquet(tmp_path / "sfo" / "noise.parquet")
    assert noise["path"].unique().tolist() == ["SFO-LAX/11.csv", "SFO-LAX/12.csv"]
    assert (tmp_path / "sfo" / "LICENSE.txt").exists()


def test_the_archive_indexes_whole_and_invents_nothing(source, tmp_path):
    import_flights(source, tmp_path / "sfo")
    index = build_index(tmp_path / "sfo")
    assert index["path"].tolist() == ["SFO-LAX/11.csv", "SFO-LAX/12.csv"]
    assert index["problem"].isna().all()
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
    for path in ("SFO-LAX/11.csv", "SFO-LAX/12.csv", "set_aside.parquet", "noise.parquet"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_damaged_records_and_tracks_are_set_aside(clone, tmp_path):
    write_json(tmp_path, 16, "", {"properties": {"flysfo:journey": None}})
    write_json(tmp_path, 17, "", [])
    (clone / "data" / "1" / "11-alt-swim-path.geojson").write_text('{"properties": {')
    short = as_track(FLIGHTS[12][3])
    short["properties"]["swim:speeds"].pop()
    write_json(tmp_path, 12, "-alt-swim-path", short)
    told = import_flights(clone, tmp_path / "sfo").set_index("flight_id")["problem"]
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
    assert flight["longitude"].abs().max() > 179.9
    assert flight["longitude"].abs().min() > 175
    assert flight["distance"].iloc[-1] == pytest.approx(
        interpolate_points(POINTS)["distance"].iloc[-1], rel=1e-3
    )


def test_an_import_is_the_same_with_workers_and_without(source, tmp_path, monkeypatch, request):
    import_flights(source, tmp_path / "alone")
    monkeypatch.setattr("trajlib.sources.surveillance._BLOCK", 2)
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


def test_what_is_no_source_and_a_pair_without_flights_are_told(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"flights\.parquet"):
        import_flights(tmp_path, tmp_path / "sfo")
    with pytest.raises(ValueError, match=r"SFO → JFK.*SFO → LAX \(5\)"):
        import_flights(source, tmp_path / "sfo", origin="SFO", destination="JFK")
