"""The examples of the pages on formats and on your own flights."""

import gzip
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from format_writers import REPORTS, WRITERS, write_csv, write_reports

from trajlib.archive.dialect import read_dialect
from trajlib.archive.reading import read_flight
from trajlib.cli import main
from trajlib.importers.formats import FORMATS
from trajlib.importers.formats.base import Head
from trajlib.importers.pipeline import import_flights
from trajlib.models.flight_inputs import load_flight_table

# one stage and few draws suffice to show that the archive can be read
SMALL = ["-p", "draws", "50", "-p", "aligned", "10", "--stage", "02_normalization"]
DOCS = Path(__file__).parent.parent / "docs"


def sections_of(document):
    text = (DOCS / document).read_text("utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


RECIPES = sections_of("your-own-flights.md")
PREDICTIONS = RECIPES.pop("Predictions")
DIALECTS = re.findall(r"```toml\n(.*?)```", RECIPES["Any other table"], re.DOTALL)


@pytest.fixture(scope="module")
def flights(tiny_archive):
    tables = []
    for number, path in enumerate(sorted(tiny_archive.glob("LEMD-LEBL/*.csv"))):
        flight = read_flight(path).iloc[::10]
        tables.append(flight.assign(flight_id=f"2016{number:04d}", icao24=f"3451{number:02x}"))
    return tables


def download(folder, flights):
    """Write the flights as each recipe expects them, one folder for each."""
    together = pd.concat(flights, ignore_index=True)
    WRITERS["opensky"](together, make(folder / "opensky"))
    WRITERS["eurocontrol"](together, make(folder / "eurocontrol"))
    write_flights_of_eurocontrol(together, folder / "eurocontrol")
    write_mine(together, make(folder / "mine"))
    for number, flight in enumerate(flights):
        flight = flight.reset_index(drop=True)
        WRITERS["readsb"](flight, make(folder / "traces" / str(number)))
        name = ("flightradar24", "flightradar24-playback")[number % 2]
        WRITERS[name](flight, make(folder / "flightradar24" / str(number)))
        WRITERS["recorder"](flight, make(folder / "recorder" / str(number)))


def make(folder):
    folder.mkdir(parents=True)
    return folder


def write_flights_of_eurocontrol(flights, folder):
    first = flights.drop_duplicates("flight_id")
    table = pd.DataFrame(
        {
            "ECTRL ID": first["flight_id"],
            "ADEP": first["origin"],
            "ADES": first["destination"],
            "AC Type": first["aircraft_type"],
            "AC Operator": first["operator"],
        }
    )
    table.to_csv(folder / "Flights_20160101_20160131.csv.gz", index=False, quoting=2)


def write_mine(flights, folder):
    local = flights["timestamp"].dt.tz_convert("Europe/Madrid")
    table = pd.DataFrame(
        {
            "FLIGHT": flights["flight_id"],
            "DATE": local.dt.strftime("%d/%m/%Y"),
            "TIME": local.dt.strftime("%H:%M:%S"),
            "LAT": flights["latitude"],
            "LON": flights["longitude"],
            "LEVEL": flights["altitude"] / 100,
            "SPEED": flights["groundspeed"] * 1.852,
        }
    )
    table.to_csv(folder / "flights.csv", index=False)
    (folder / "columns.toml").write_text(DIALECTS[0])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_leads_from_files_to_a_report(recipe, flights, tmp_path, monkeypatch):
    download(tmp_path / "downloads", flights)
    (tmp_path / "notebooks").symlink_to(DOCS.parent / "notebooks")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    python -m trajlib (.+)$", RECIPES[recipe], re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["import", "index", "report"]
    for command in commands:
        result = CliRunner().invoke(
            main, shlex.split(command) + SMALL * command.startswith("report")
        )
        assert result.exit_code == 0, result.output
    imported = pd.read_parquet(next(tmp_path.glob("data/raw/*/imported.parquet")))
    assert (imported["kind"] == "flight").sum() == len(flights)
    assert (tmp_path / "reports/LEMD-LEBL/index.html").exists()


def test_the_example_with_a_second_table_imports_flights_with_their_identity(
    flights, tmp_path, in_this_process
):
    folder = make(tmp_path / "mine")
    (folder / "columns.toml").write_text(DIALECTS[1])
    points = pd.concat(flights[:2], ignore_index=True)
    table = pd.DataFrame(
        {
            "trackNum": points["flight_id"],
            "epochSec": points["timestamp"].astype("datetime64[s, UTC]").astype("int64"),
            "y_deg": points["latitude"],
            "x_deg": points["longitude"],
            "modeC": points["altitude"] / 100,
        }
    )
    table.to_parquet(folder / "tracks.parquet")
    columns = {"flight_id": "trackNum", "callsign": "acid", "aircraft_type": "kind"}
    columns |= {"origin": "from", "destination": "to"}
    first = points.drop_duplicates("flight_id")
    first[[*columns]].rename(columns=columns).to_csv(folder / "flightlist.csv", index=False)
    imported = import_flights(folder, tmp_path / "archive").set_index("flight_id")
    for name in ("callsign", "operator", "aircraft_type", "origin", "destination"):
        assert imported[name].to_dict() == dict(zip(first["flight_id"], first[name], strict=True))
    dialect = read_dialect(tmp_path / "archive")
    assert (dialect.title, dialect.source) == (
        "Flights of our radar, 2016",
        "where they are from, their licence",
    )


def test_the_example_without_flight_ids_imports_flights_with_those_of_the_fleet(
    flights, tmp_path, in_this_process
):
    folder = make(tmp_path / "mine")
    (folder / "columns.toml").write_text(DIALECTS[2])
    assert f"    {REPORTS}\n" in RECIPES["Any other table"]
    points = pd.concat(flights[:3], ignore_index=True)
    for day, reports in points.groupby(points["timestamp"].dt.strftime("%Y%m%d")):
        write_reports(reports, folder / f"posrep_{day}.csv")
    first = points.drop_duplicates("flight_id")
    tails = "N" + first["icao24"]
    fleet = {"Tail": tails, "AcType": first["aircraft_type"], "Airline": first["operator"]}
    write_csv(pd.DataFrame(fleet), folder / "fleet.csv", sep=";")
    lines = []
    imported = import_flights(folder, tmp_path / "archive", report=lines.append)
    assert len(lines) == 2  # of two formats, and of no fault
    assert imported["path"].str.startswith("LEMD-LEBL/").all()
    imported = imported.set_index("registration")
    for name in ("aircraft_type", "operator"):
        assert imported[name].to_dict() == dict(zip(tails, first[name], strict=True))


def test_the_table_of_flights_to_predict_is_read(tmp_path):
    table = re.search(r"^    (time,.*\n(    .+\n)+)", PREDICTIONS, re.MULTILINE)[1]
    (tmp_path / "FLIGHTS.csv").write_text(table.replace("    ", ""))
    rows = load_flight_table(tmp_path / "FLIGHTS.csv", ("LEMD", "LEBL"))
    assert rows["operator"].tolist() == ["IBE", "VLG"]
    assert rows["aircraft_type"].tolist() == ["A320", None]


def test_the_commands_that_predict_are_understood(tmp_path, monkeypatch):
    (tmp_path / "FLIGHTS.csv").touch()
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    python -m trajlib predict (.+)$", PREDICTIONS, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        main.commands["predict"].make_context("predict", shlex.split(command))


def test_every_format_has_a_section():
    sections = sections_of("formats.md")
    assert [*sections][:-1] == [entry.name for entry in FORMATS]


def test_the_module_of_the_page_is_a_format(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", sections_of("formats.md")["Adding a format"], re.S)
    names = {}
    exec(code, names)
    path = tmp_path / "radar.csv.gz"
    path.write_bytes(
        gzip.compress(b"mode_s,ident,t,phi,lambda,h,v\n345100,IBE1,1451606400,40,3,3048,100\n")
    )
    head = Head(path, b"", "text", ("mode_s", "t", "phi", "lambda", "h"))
    assert names["FORMAT"].recognize(head)
    (points,) = names["FORMAT"].read(path, None)
    assert points["altitude"].tolist() == pytest.approx([10_000])
