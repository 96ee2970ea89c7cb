"""Imports of points from any source, tested with simulated flights."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from format_writers import write_flightradar24, write_gpx, write_igc, write_kml, write_opensky
from surveillance import MEASURED, POSITION, fly, observe

from trajlib import build_index
from trajlib.archive.account import count_flights
from trajlib.archive.dialect import read_dialect
from trajlib.archive.reading import read_flight
from trajlib.cli import main
from trajlib.cli.archives import _show_counts, group_reasons, print_account
from trajlib.geodesy import distance
from trajlib.importers import collecting, pipeline
from trajlib.importers.airports import infer_airports
from trajlib.importers.job import Criteria
from trajlib.importers.pipeline import import_flights
from trajlib.importers.sources import recognize_sources
from trajlib.importers.writing import _name_files
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
    """Write the flights as two Parquet files, with shuffled points, and a licence."""
    folder = tmp_path / "parquet"
    folder.mkdir()
    rows = [
        (key, call, call[:3], kind, "N1", "SFO", "LAX", date)
        for key, (call, date, kind, _) in FLIGHTS.items()
    ]
    names = "flight_id callsign operator aircraft_type registration origin destination date"
    pd.DataFrame(rows, columns=names.split()).to_parquet(folder / "flights.parquet")
    points = pd.concat([p.assign(flight_id=key) for key, (*_, p) in FLIGHTS.items()])
    points.sample(frac=1, random_state=1, ignore_index=True).to_parquet(folder / "points.parquet")
    (folder / "LICENSE.txt").write_text("CDLA-Permissive-1.0")
    return folder


@pytest.fixture
def clone(tmp_path):
    """Write the same flights as the SFO Museum does, one of them without an airline's code."""
    airlines = {"UAL": "UA", "JBU": "B6", "SWA": "WN"}
    for key, (call, date, kind, points) in FLIGHTS.items():
        operator, number = call[:3], call[3:]
        iata = airlines[operator]
        record = {"flysfo:journey": "SFO-LAX", "flysfo:airline": iata, "icao:airline": operator}
        record |= {"flysfo:date": date, "icao:aircraft": kind or "", "swim:tail_number": "N1"}
        record["flysfo:flight_number"] = number if key == 12 else iata + number
        write_json(tmp_path, key, "", {"properties": record})
        if len(points):
            write_json(tmp_path, key, "-alt-swim-path", as_track(points))
    return tmp_path / "clone"


def write_json(folder, key, suffix, content):
    path = folder / "clone" / "data" / "1" / f"{key}{suffix}.geojson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def as_track(points):
    altitudes = [f"{value / 100:03.0f}{'C' * (value > 32_000)}" for value in points["altitude"]]
    seconds = points["timestamp"].astype("datetime64[s, UTC]").astype("int64")
    properties = {"swim:altitudes": altitudes, "swim:timestamps": seconds.tolist()}
    properties["swim:speeds"] = points["groundspeed"].tolist()
    line = points[["longitude", "latitude"]].to_numpy().tolist()
    return {"properties": properties, "geometry": {"type": "LineString", "coordinates": line}}


def states(flights, step=5):
    """Return state vectors of flights by address, with only the data that a receiver gets."""
    parts = [
        points.iloc[::step].assign(
            icao24=address, callsign=call, track=90.0, vertical_rate=0.0, geoaltitude=np.nan
        )
        for address, call, points in flights
    ]
    return pd.concat(parts).sort_values("timestamp", ignore_index=True)


def contents(archive, pattern="*"):
    files = (path for path in archive.rglob(pattern) if path.is_file())
    return {path.relative_to(archive).as_posix(): path.read_bytes() for path in files}


def test_simulated_flights_seen_by_radar_come_back_near_the_truth(tiny_archive, tmp_path):
    index = build_index(tiny_archive, tmp_path / "index.parquet")
    index = index[index["rejected"].isna()].head(4).reset_index(drop=True)
    flights = index[list(IDENTITY)].assign(flight_id=index.index, date="2016-01-01")
    source = tmp_path / "source"
    source.mkdir()
    flights.to_parquet(source / "flights.parquet")
    truths = [read_flight(tiny_archive / path) for path in index["path"]]
    observed = [observe(truth, key).assign(flight_id=key) for key, truth in enumerate(truths)]
    columns = ["flight_id", "timestamp", *MEASURED]
    pd.concat(observed)[columns].to_parquet(source / "points.parquet", index=False)
    flights = import_flights(source, tmp_path / "seen")
    whole = flights[flights["kind"] == "flight"]
    assert len(whole) >= 3  # thinning removes the last point of some
    for key, path in zip(whole["flight_id"].astype(int), whole["path"], strict=True):
        flight = read_flight(tmp_path / "seen" / path).set_index("timestamp")
        truth = truths[key].set_index("timestamp").loc[flight.index]
        miss = distance(*flight[POSITION].to_numpy().T, *truth[POSITION].to_numpy().T)
        error = (flight[MEASURED] - truth[MEASURED]).abs()
        assert (np.quantile(miss, [0.5, 0.9, 1]) < [0.3, 1.0, 3.0]).all()
        assert (error["altitude"].quantile([0.5, 0.9]) < [100, 600]).all()
        assert error["groundspeed"].quantile(0.9) < 15


def test_every_flight_is_accounted_for(source, tmp_path):
    archive = tmp_path / "sfo"
    flights = import_flights(source, archive, origin="SFO", destination="LAX")
    flights = flights.set_index("flight_id")
    assert flights["kind"].to_dict() == {"11": "flight", "12": "flight"} | {
        "13": "flight",
        "14": "fragment",
    }
    assert "repeats" in flights.loc["13", "rejected"]
    assert "last point" in flights.loc["14", "why"]
    imported, rejected = (
        pd.read_parquet(archive / f"{name}.parquet") for name in ("imported", "rejected")
    )
    assert imported["path"].tolist() == [
        "SFO-LAX/11.csv",
        "SFO-LAX/12.csv",
        "fragments/SFO-LAX/14.csv",
    ]
    assert rejected["flight_id"].tolist() == ["13"]
    files = pd.read_parquet(archive / "sources.parquet").set_index("file")
    assert files.loc["points.parquet", "points"] == sum(len(p) for *_, p in FLIGHTS.values())
    assert (archive / "LICENSE.txt").exists()
    assert not list(archive.glob(".import*"))


def test_an_imported_archive_is_indexed_and_has_measured_columns_only(source, tmp_path):
    import_flights(source, tmp_path / "sfo")
    index = build_index(tmp_path / "sfo")
    fragment = index["path"].str.startswith("fragments/")
    assert index["fragment"].tolist() == fragment.tolist()
    assert index.loc[fragment, "rejected"].str.startswith("a fragment").tolist() == [True]
    index = index[index["rejected"].isna()]
    assert index["path"].tolist()[:2] == ["SFO-LAX/11.csv", "SFO-LAX/12.csv"]
    first = index[["callsign", "operator", "registration"]].iloc[0]
    assert first.tolist() == ["UAL11", "UAL", "N1"]
    dialect = read_dialect(tmp_path / "sfo")
    assert "CDLA-Permissive-1.0" in dialect.source
    assert not dialect.simulated
    flight = read_flight(tmp_path / "sfo" / "SFO-LAX/11.csv")
    assert not {"true_airspeed", "wind_u", "mach", "geoaltitude", "mass"} & set(flight)


def test_the_account_of_an_import_is_read_from_the_archive(source, tiny_archive, tmp_path):
    import_flights(source, tmp_path / "sfo")
    account = count_flights(build_index(tmp_path / "sfo"))
    assert [*account["rejected at the import"]] == [1]
    assert [*account["fragment"]] == [1]
    account = count_flights(build_index(tiny_archive, tmp_path / "tiny.index.parquet"))
    assert account["rejected at the import"].empty


def test_the_commands_count_fragments_apart_from_rejected_flights_with_reasons(source, tmp_path):
    archive = tmp_path / "sfo"
    lines = CliRunner().invoke(main, ["import", str(source), str(archive)]).output.splitlines()
    first = lines.index(f"{archive}: 2 flights, 1 fragment, 1 rejected")
    reasons = [line.split() for line in lines[first + 1 : -1]]
    assert {*map(tuple, (words[:2] for words in reasons))} == {
        ("1", "fragments:"),
        ("1", "rejected:"),
    }
    assert lines[-1].startswith("A larger --max-reach")
    assert "docs/import-criteria.md" in lines[-1]
    output = CliRunner().invoke(main, ["index", str(archive)]).output
    assert ": 3 files, 1 city pair, 1 fragment, 0 rejected, 1 rejected at the import" in output
    assert "far from" not in output  # which the fragment is
    content = json.loads(CliRunner().invoke(main, ["index", str(archive), "--json"]).output)
    assert (content["fragments"], content["rejected"]) == (1, 0)


def test_of_many_reasons_the_largest_are_printed(capsys):
    reasons = [number for number in range(1, 7) for _ in range(number)]
    rejected = pd.Series([f"reason {'abcdef'[number - 1]}" for number in reasons])
    print_account("a", pd.DataFrame({"rejected": rejected, "why": None, "longest_gap": 60.0}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["6", "rejected:", "reason", "f"]
    assert len(lines) == 7
    assert lines[-1].split()[:2] == ["1", "others:"]


def test_reasons_that_differ_only_in_numbers_are_one_with_an_example(capsys):
    cruises = [f"altitude is {level} in a cruise at 4{level}.5 kt" for level in (340, 1_400, 380)]
    rejected = pd.Series([*cruises, "frozen", "frozen"], dtype="str")
    print_account("a", pd.DataFrame({"rejected": rejected, "why": None, "longest_gap": 60.0}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(maxsplit=1) == ["3", f"rejected: for example, {cruises[0]}"]
    assert lines[2].split(maxsplit=1) == ["2", "rejected: frozen"]
    assert len(lines) == 3
    _show_counts("reason", group_reasons(rejected.value_counts()))
    lines = capsys.readouterr().out.splitlines()[2:]
    assert lines == [f"        3  for example, {cruises[0]}", "        2  frozen"]
    _show_counts("flights", pd.Series({"K06C → KSFO": 2, "K10C → KSFO": 1}))
    lines = capsys.readouterr().out.splitlines()[2:]
    assert lines == ["        2  K06C → KSFO", "        1  K10C → KSFO"]


def test_an_import_that_writes_no_flight_as_most_are_rejected_fails_with_the_reason(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    lines = [f"2016-01-05T07:00:00Z,IBE{n},4{n},-3,5000" for n in (1, 2, 3, 3)]
    lines[3] = lines[3].replace("07:00:00Z,IBE3,43", "07:01:00Z,IBE3,43.1")  # a fragment
    text = "\n".join(["timestamp,callsign,latitude,longitude,altitude", *lines, ""])
    (source / "a.csv").write_text(text)
    result = CliRunner().invoke(main, ["import", str(source), str(tmp_path / "archive")])
    assert "0 flights, 1 fragment, 2 rejected" in result.output
    assert result.exit_code == 1
    reason = "no flight is written, 2 rejected: fewer than 2 points with position and altitude"
    assert reason in result.output


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2016-01-05T07:{0}:00Z,IBE1,40.{0},-3,", "no point has an altitude"),
        ("2016-01-05T07:00:00Z,IBE1,40.{0},-3,5000", "all points have the same time"),
    ],
)
def test_a_flight_without_altitudes_or_times_is_rejected_as_such(tmp_path, row, reason):
    source = tmp_path / "source"
    source.mkdir()
    header = "timestamp,callsign,latitude,longitude,altitude"
    lines = [header, *(row.format(minute) for minute in range(10, 40)), ""]
    (source / "a.csv").write_text("\n".join(lines))
    assert import_flights(source, tmp_path / "archive")["rejected"].item().startswith(reason)


def test_an_import_says_what_a_longer_gap_would_gain(capsys):
    why = ["more than 420 s between two points"] * 3 + ["fewer than 20 points"]
    gaps = [430.0, 600, 601, 500]
    print_account("a", pd.DataFrame({"rejected": None, "why": why, "longest_gap": gaps}))
    assert "With --max-gap 600, 2 of the fragments would be flights" in capsys.readouterr().out


def test_an_archive_with_a_path_twice_in_its_tables_has_an_account(source, tmp_path):
    import_flights(source, tmp_path)
    table = pd.read_parquet(tmp_path / "imported.parquet")
    pd.concat([table, table]).to_parquet(tmp_path / "imported.parquet")
    assert [*count_flights(build_index(tmp_path))["fragment"]] == [1]


def test_long_names_that_differ_only_at_their_ends_are_different_files():
    flights = pd.DataFrame(
        {"flight_id": ["x" * 130 + "1"], "start": pd.Timestamp("2016-01-05"), "kind": "flight"}
    )
    identity = ("callsign", "registration", "icao24", "origin", "destination")
    flights = flights.assign(**dict.fromkeys(identity, pd.Series([None], dtype="str")))
    other = flights.assign(flight_id="x" * 130 + "2")  # of another bucket
    paths = [_name_files(table)[0] for table in (flights, other)]
    assert paths[0] != paths[1]
    assert all(len(path.rpartition("/")[2]) == 124 for path in paths)


def test_repairs_are_named_in_words(source, tmp_path):
    import_flights(source, tmp_path)
    table = pd.read_parquet(tmp_path / "imported.parquet").assign(repairs="spoofed stale_position")
    table.to_parquet(tmp_path / "imported.parquet")
    names = {*count_flights(build_index(tmp_path))["repaired at the import"].index}
    assert names == {"position on another track", "stale position"}


def test_points_alone_are_the_measured_seconds_of_the_whole_archive(source, tmp_path):
    import_flights(source, tmp_path / "whole", destination="LAX")
    import_flights(source, tmp_path / "points", destination="LAX", measured_only=True)
    whole, points = (
        read_flight(tmp_path / name / "SFO-LAX/11.csv") for name in ("whole", "points")
    )
    measured = whole[whole["gap"] == 0].reset_index(drop=True)[list(points)]
    pd.testing.assert_frame_equal(points, measured)


def test_a_clone_and_the_tables_made_of_it_give_the_same_flights(source, clone, tmp_path):
    import_flights(source, tmp_path / "a")
    import_flights(clone, tmp_path / "b")
    assert contents(tmp_path / "a", "*.csv") == contents(tmp_path / "b", "*.csv")


def test_state_vectors_become_flights_between_inferred_airports(tmp_path):
    back = fly().iloc[::-1].reset_index(drop=True)
    back["timestamp"] = fly()["timestamp"] + pd.Timedelta("3h")
    write_opensky(
        states([("a00001", "UAL1", fly()), ("a00001", "UAL2", back), ("a00002", "UAL1", fly())]),
        tmp_path,
    )
    flights = import_flights(tmp_path / "states.csv.gz", tmp_path / "archive")
    pairs = flights[["icao24", "callsign", "origin", "destination"]].to_numpy().tolist()
    assert sorted(pairs) == [
        ["a00001", "UAL1", "KSFO", "KLAX"],
        ["a00001", "UAL2", "KLAX", "KSFO"],
        ["a00002", "UAL1", "KSFO", "KLAX"],
    ]
    dialect = read_dialect(tmp_path / "archive")
    assert "OpenSky Network" in dialect.source
    assert dialect.title == "“states.csv.gz” (imported flights)"
    flight = read_flight(tmp_path / "archive" / flights["path"].iloc[-1])
    truth = fly().set_index("timestamp").loc[flight["timestamp"]]
    assert distance(*flight[POSITION].to_numpy().T, *truth[POSITION].to_numpy().T).max() < 0.05


def test_an_overflight_has_no_airport_and_is_no_error(tmp_path):
    write_opensky(states([("a00001", "UAL1", fly().iloc[1000:2300])]), tmp_path)
    flights = import_flights(tmp_path / "states.csv.gz", tmp_path / "archive")
    assert flights[["origin", "destination"]].isna().all(axis=None)
    assert flights["kind"].tolist() == ["flight"]
    assert flights["path"].iloc[0].startswith("unknown-unknown/")
    assert flights["origin_reason"].notna().all()


def test_a_flight_seen_first_in_its_descent_is_not_from_the_airport_below(tmp_path):
    start = pd.Timestamp("2016-01-01T06:15:00Z")
    seconds = np.arange(0, 900, 4)
    points = pd.DataFrame(  # past Girona at 15,700 ft to Barcelona
        {
            "timestamp": start + pd.to_timedelta(seconds, unit="s"),
            "latitude": np.interp(seconds, [0, 899], [41.696, 41.297]),
            "longitude": np.interp(seconds, [0, 899], [2.449, 2.083]),
            "altitude": np.interp(seconds, [0, 899], [15_700, 20]),
            "callsign": "UPS242",
        }
    )
    points.to_csv(tmp_path / "radar.csv", index=False)
    flight = import_flights(tmp_path / "radar.csv", tmp_path / "archive").iloc[0]
    assert pd.isna(flight["origin"])
    assert flight["destination"] == "LEBL"


def test_a_short_record_of_a_descent_is_not_from_the_airport_beside_it(tmp_path):
    seconds = np.arange(0, 20)
    points = pd.DataFrame(  # past Rotterdam to Amsterdam, at 900 ft/min
        {
            "timestamp": pd.Timestamp("2019-04-06T05:49:42Z") + pd.to_timedelta(seconds, "s"),
            "latitude": 52.162 + seconds * 0.00083,
            "longitude": 4.476 + seconds * 0.0011,
            "altitude": 3550.0 - seconds * 15,
            "callsign": "KLM1454",
        }
    )
    points.to_csv(tmp_path / "gate.csv", index=False)
    flight = import_flights(tmp_path / "gate.csv", tmp_path / "archive").iloc[0]
    assert pd.isna(flight["origin"])
    assert flight["destination"] == "EHAM"


def test_a_flight_low_over_a_field_is_not_from_the_airport_in_the_distance():
    ends = pd.DataFrame(  # at Boscombe Down, 8 NM from Upavon, which has an IATA code
        {"latitude": 51.163, "longitude": -1.732, "altitude": 1050.0, "course": 52, "rise": 5e3},
        index=pd.Index([0], name="flight"),
    )
    assert infer_airports(ends, "origin").loc[0, "airport"] == "EGDM"


def test_a_record_shorter_than_a_second_is_rejected_and_no_error(tmp_path):
    short = fly().iloc[[1000] * 3].assign(callsign="UAL2")
    short["timestamp"] += pd.to_timedelta([100, 400, 700], "ms")
    short["latitude"] += [0.0, 1e-4, 2e-4]
    points = pd.concat([fly().assign(callsign="UAL1"), short])
    points.to_csv(tmp_path / "points.csv", index=False)
    flights = import_flights(tmp_path / "points.csv", tmp_path / "archive").set_index("callsign")
    assert pd.isna(flights.loc["UAL1", "rejected"])
    assert flights.loc["UAL2", "rejected"].startswith("shorter than the second")


@pytest.mark.parametrize(("traffic", "airport"), [({"KORD": 9}, None), ({"KDPA": 1}, "KDPA")])
def test_a_climb_first_seen_high_is_only_from_an_airport_with_other_flights(traffic, airport):
    ends = pd.DataFrame(  # 14 NM west of DuPage and 30 NM of O'Hare
        {"latitude": 41.9, "longitude": -88.57, "altitude": 15_400.0, "course": 270.0, "rise": 6e3},
        index=pd.Index([0], name="flight"),
    )
    inferred = infer_airports(ends, "origin", pd.Series(traffic)).loc[0]
    assert inferred["airport"] == airport or (airport is None and pd.isna(inferred["airport"]))
    if airport is None:
        assert inferred["reason"] == "too high above an airport without other flights"


def test_a_strict_import_rejects_a_flight_that_needs_a_repair(tmp_path):
    points = fly()
    points.loc[1000, "latitude"] += 3
    write_opensky(states([("a00001", "UAL1", points), ("a00002", "UAL2", fly())]), tmp_path)
    source = tmp_path / "states.csv.gz"
    tolerant = import_flights(source, tmp_path / "tolerant").set_index("callsign")
    assert tolerant["unreachable"].to_dict() == {"UAL1": 1, "UAL2": 0}
    assert tolerant["rejected"].isna().all()
    strict = import_flights(source, tmp_path / "strict", strict=True).set_index("callsign")
    (tmp_path / "columns.toml").write_text("strict = true")
    described = import_flights(source, tmp_path / "described").set_index("callsign")
    for flights in (strict, described):
        assert flights.loc["UAL1", "rejected"] == "needs repairs: unreachable"
        assert pd.isna(flights.loc["UAL2", "rejected"])


def climb_unseen():
    """Return a flight without an altitude before 300 s."""
    points = fly()
    return points.assign(altitude=points["altitude"].where(points.index >= 300))


@pytest.mark.parametrize(
    ("criteria", "points", "why"),
    [
        (Criteria(points=2000), fly(), "fewer than 2000 points"),
        (Criteria(gap=420), fly().drop(range(1000, 1500)), "more than 420 s between two points"),
        (Criteria(gap=600), fly().drop(range(1000, 1500)), None),
        (Criteria(reach=0.001), fly(), "first point more than 0.001 km from the airport"),
        (Criteria(), climb_unseen(), "first point more than 15 km from the airport"),
    ],
)
def test_a_flight_that_fails_a_criterion_is_a_fragment(criteria, points, why, tmp_path):
    write_opensky(states([("a00001", "UAL1", points)]), tmp_path)
    flights = import_flights(tmp_path / "states.csv.gz", tmp_path / "archive", criteria=criteria)
    assert flights["kind"].tolist() == ["flight" if why is None else "fragment"]
    assert flights["why"].fillna("").tolist() == [why or ""]


def test_a_flight_that_is_mostly_wrong_is_rejected(tmp_path):
    points = fly().iloc[::10].reset_index(drop=True)
    points.loc[::3, "altitude"] = 99_999.0
    write_opensky(states([("a00001", "UAL1", points)], step=1), tmp_path)
    flights = import_flights(tmp_path / "states.csv.gz", tmp_path / "archive")
    assert "25 %" in flights["rejected"].iloc[0]
    assert not list((tmp_path / "archive").rglob("*.csv"))


@pytest.mark.parametrize("write", [write_igc, write_kml, write_gpx])
def test_a_track_is_cut_where_the_aircraft_stood(write, tmp_path):
    there = fly().iloc[::10].assign(callsign="IBE1", flight_id="1")
    back = there.iloc[::-1].assign(timestamp=there["timestamp"].to_numpy() + pd.Timedelta("65min"))
    stand = there.iloc[[-1] * 30]
    stand = stand.assign(timestamp=stand["timestamp"] + pd.to_timedelta(np.arange(30) * 20, "s"))
    day = pd.concat([there, stand.iloc[1:], back], ignore_index=True)
    write(day.assign(geoaltitude=day["altitude"]), tmp_path)
    earlier = there["timestamp"] - pd.Timedelta("1D")  # of a flight with reported speeds
    write_flightradar24(there.assign(timestamp=earlier, track=130.0), tmp_path)
    flights = import_flights(tmp_path, tmp_path.parent / f"{tmp_path.name}-archive")
    pairs = flights.sort_values("start")[["origin", "destination"]].to_numpy().tolist()
    assert pairs == [["KSFO", "KLAX"], ["KSFO", "KLAX"], ["KLAX", "KSFO"]]


def test_a_flight_goes_on_in_the_next_file(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves / "a", halves / "b"):
        folder.mkdir(parents=True)
    points = states([("a00001", "UAL1", fly())])
    write_opensky(points, whole)
    write_opensky(points.iloc[:300], halves / "a")
    write_opensky(points.iloc[300:], halves / "b")
    import_flights(whole, tmp_path / "one")
    import_flights(halves, tmp_path / "two")
    assert contents(tmp_path / "one", "*.csv") == contents(tmp_path / "two", "*.csv")


def test_each_file_of_a_mixed_folder_is_recognized(source):
    write_opensky(states([("a00001", "UAL1", fly())]), source)
    (source / "notes.txt").write_text("nothing")
    files = recognize_sources(source).set_index("file")
    assert files["format"].dropna().to_dict() == {
        "flights.parquet": "flights",
        "points.parquet": "sfomuseum",
        "states.csv.gz": "opensky",
    }
    assert files.loc["notes.txt", "refused"]


@pytest.mark.slow
def test_an_import_is_the_same_with_workers_and_without(source, tmp_path, monkeypatch, request):
    monkeypatch.setattr(collecting, "_BUCKET", 50)
    import_flights(source, tmp_path / "alone")
    request.getfixturevalue("client")
    import_flights(source, tmp_path / "together")
    assert contents(tmp_path / "alone") == contents(tmp_path / "together")


@pytest.mark.parametrize("step", ["segment_bucket", "write_bucket", "reject_repeats"])
def test_an_import_that_was_killed_goes_on(step, source, tmp_path, monkeypatch, in_this_process):
    monkeypatch.setattr(collecting, "_BUCKET", 50)
    import_flights(source, tmp_path / "whole")

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, step, stop)
        import_flights(source, tmp_path / "killed")
    assert not (tmp_path / "killed" / "columns.toml").exists()
    read = []
    monkeypatch.setattr(collecting, "_read_file", lambda *arguments: read.append(arguments))
    import_flights(source, tmp_path / "killed")
    assert not read
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")


def test_another_import_leaves_the_flights_of_the_first(source, tmp_path):
    archive = tmp_path / "sfo"
    import_flights(source, archive)
    before = contents(archive, "*.csv")
    flights = pd.read_parquet(source / "flights.parquet")
    flights.iloc[3:].to_parquet(source / "flights.parquet", index=False)
    points = pd.read_parquet(source / "points.parquet")
    points[points["flight_id"] > 13].to_parquet(source / "points.parquet", index=False)
    import_flights(source, archive)
    assert contents(archive, "*.csv") == before
    assert len(pd.read_parquet(archive / "imported.parquet")) == 3


@pytest.mark.parametrize("within", [".", "archive"])
def test_an_archive_within_its_source_is_refused(source, within):
    with pytest.raises(ValueError, match="is in the folder of the source"):
        import_flights(source, source / within)
    assert not (source / within / "columns.toml").exists()


def test_simulated_flights_are_not_mixed_with_real_ones(source, tmp_path):
    (tmp_path / "columns.toml").write_text("simulated = true")
    with pytest.raises(ValueError, match="are simulated"):
        import_flights(source, tmp_path)


def test_a_source_without_points_and_a_pair_without_flights_are_errors(source, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="no files"):
        import_flights(empty, tmp_path / "sfo")
    with pytest.raises(ValueError, match="SFO → JFK"):
        import_flights(source, tmp_path / "sfo", origin="SFO", destination="JFK")


def test_an_import_writes_only_into_its_archive(source, tmp_path):
    flights = pd.read_parquet(source / "flights.parquet")
    flights.loc[flights["flight_id"] == 11, "origin"] = "../other/SFO"
    flights.to_parquet(source / "flights.parquet")
    bystander = tmp_path / "other" / "SFO-LAX" / "11.csv"
    bystander.parent.mkdir(parents=True)
    bystander.write_text("not ours")
    flights = import_flights(source, tmp_path / "archive").set_index("flight_id")
    assert flights.loc["11", "path"] == "KSFO-LAX/11.csv"  # inferred, as that is no code
    assert bystander.read_text() == "not ours"


def test_points_after_a_later_one_of_their_aircraft_are_counted(tmp_path):
    points = pd.concat([observe(fly()).assign(icao24=address) for address in ("a00001", "a00002")])
    points = points.sort_values("timestamp", kind="stable").reset_index(drop=True)
    moved = points.index[points["icao24"] == "a00001"][[10, 20]]
    later = pd.concat([points.drop(moved), points.loc[moved]])
    later.to_parquet(tmp_path / "points.parquet")
    flights = import_flights(tmp_path / "points.parquet", tmp_path / "archive")
    assert dict(zip(flights["icao24"], flights["out_of_order"], strict=True)) == {
        "a00001": 2,
        "a00002": 0,
    }
