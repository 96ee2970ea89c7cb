"""Archives of several files: read like a folder, with bounds, and without leaving it."""

import gzip
import io
import tarfile
import zipfile

import pandas as pd
import pytest
from format_writers import WRITERS, write_csv, write_traffic

from trajlib.archive.reading import read_flight
from trajlib.importers.formats.packed import open_source
from trajlib.importers.pipeline import import_flights
from trajlib.importers.plans import import_plans

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def flights(tiny_archive):
    tables = []
    for number, path in enumerate(sorted(tiny_archive.glob("LEMD-LEBL/*.csv"))[:2]):
        flight = read_flight(path).iloc[::20]
        tables.append(flight.assign(flight_id=f"2016{number:04d}", icao24=f"34510{number}"))
    return tables


@pytest.fixture
def files(flights, tmp_path):
    """The bytes of two files of one flight each, by name."""
    folder = tmp_path / "files"
    folder.mkdir()
    names = ["timestamp", "latitude", "longitude", "altitude"]
    for number, flight in enumerate(flights):
        write_csv(flight[names], folder / f"{number}.csv")
    return {f"day/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}


def pack_zip(files, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def pack_tar(files, path, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def pack_7z(files, path):
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(data, name)


PACKERS = {
    "zip": pack_zip,
    "7z": pack_7z,
    "tar": pack_tar,
    "tar.gz": lambda files, path: pack_tar(files, path, "w:gz"),
    "tar.xz": lambda files, path: pack_tar(files, path, "w:xz"),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_of_several_files_is_imported_like_a_folder(files, tmp_path, kind):
    PACKERS[kind](files | {"README.txt": b"about", "__MACOSX/._0.csv": b""}, tmp_path / "packed")
    table = import_flights(tmp_path / "packed", tmp_path / "archive")
    assert table["path"].tolist() == ["LEMD-LEBL/day-0.csv", "LEMD-LEBL/day-1.csv"]
    assert table["rejected"].isna().all()
    sources = pd.read_parquet(tmp_path / "archive" / "sources.parquet")
    assert sources["file"].tolist() == ["day/0.csv", "day/1.csv"]
    assert not [*(tmp_path / "archive").glob(".*")]


def test_archives_among_other_files_are_folders_of_their_own(files, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    first, second = files.values()
    (folder / "alone.csv").write_bytes(first)
    pack_tar({"only.csv": second}, folder / "b.tar.gz", "w:gz")
    pack_zip({"a.csv.gz": gzip.compress(first), "b.csv": second}, folder / "month.zip")
    (folder / "columns.toml").write_text('title = "Two flights"')
    table = import_flights(folder, tmp_path / "archive")
    names = ["alone", "b.tar.gz-only", "month.zip-a", "month.zip-b"]
    assert table["path"].tolist() == [f"LEMD-LEBL/{name}.csv" for name in names]
    assert "Two flights" in (tmp_path / "archive" / "columns.toml").read_text()


def test_a_columns_toml_within_an_archive_is_used(files, tmp_path):
    files = {n: data.replace(b"latitude", b"phi") for n, data in files.items()}
    pack_zip(files | {"columns.toml": b'columns.latitude = "phi"'}, tmp_path / "packed.zip")
    assert len(import_flights(tmp_path / "packed.zip", tmp_path / "archive")) == 2


def test_a_table_in_parquet_is_read_from_an_archive(flights, tmp_path):
    (tmp_path / "source").mkdir()
    parquet = write_traffic(pd.concat(flights), tmp_path)
    pack_zip({"flights.parquet": parquet.read_bytes()}, tmp_path / "source" / "packed.zip")
    assert len(import_flights(tmp_path / "source", tmp_path / "archive")) == 2


def test_plans_are_read_from_an_archive(flights, tmp_path):
    paths = [WRITERS["so6"](flight, tmp_path) for flight in flights[:1]]
    pack_zip({"a_m1.so6": paths[0].read_bytes(), "notes.txt": b"x"}, tmp_path / "packed.zip")
    assert len(import_plans(tmp_path / "packed.zip", tmp_path / "archive")) == 1


def test_an_archive_within_one_is_refused_and_the_other_files_are_read(files, tmp_path):
    pack_zip(dict([*files.items()][:1]), tmp_path / "inner.zip")
    inner = (tmp_path / "inner.zip").read_bytes()
    pack_zip(files | {"inner.zip": inner}, tmp_path / "packed.zip")
    assert len(import_flights(tmp_path / "packed.zip", tmp_path / "archive")) == 2
    sources = pd.read_parquet(tmp_path / "archive" / "sources.parquet").set_index("file")
    assert "within another" in sources.loc["inner.zip", "refused"]


@pytest.mark.parametrize("name", ["../evil.csv", "/evil.csv", "a/../../evil.csv", "C:/evil.csv"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_of_the_folder_refuses_the_archive(files, tmp_path, kind, name):
    PACKERS[kind](files | {name: b"x"}, tmp_path / "packed")
    with pytest.raises(FileNotFoundError, match="outside its folder"):
        import_flights(tmp_path / "packed", tmp_path / "archive")
    assert not [*tmp_path.parent.rglob("evil.csv")]


def test_links_in_an_archive_are_left_out(files, tmp_path):
    pack_tar(files, tmp_path / "packed")
    with tarfile.open(tmp_path / "packed", "a") as archive:
        entry = tarfile.TarInfo("link.csv")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    import_flights(tmp_path / "packed", tmp_path / "archive")
    sources = pd.read_parquet(tmp_path / "archive" / "sources.parquet")
    assert sources["file"].tolist() == ["day/0.csv", "day/1.csv"]


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_that_unpacks_to_too_much_is_refused(files, tmp_path, kind, monkeypatch):
    monkeypatch.setattr("trajlib.importers.formats.packed._UNPACKED", 1000)
    PACKERS[kind](files, tmp_path / "packed")
    with pytest.raises(FileNotFoundError, match="unpacks to more than"):
        import_flights(tmp_path / "packed", tmp_path / "archive")
    assert not [*(tmp_path / "archive").glob(".*")]


def test_a_kml_among_icons_is_the_only_file_of_its_kmz(tmp_path):
    pack_zip({"icon/t": b"\x89PNG", "doc.kml": b"<kml/>", "logo.png": b""}, tmp_path / "a.kmz")
    with open_source(tmp_path / "a.kmz") as stream:
        assert stream.read() == b"<kml/>"
