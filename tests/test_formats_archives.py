"""Archives of several files: read like a folder, with bounds, and without leaving it."""

import errno
import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import zipfile

import pandas as pd
import pytest
from format_writers import WRITERS, write_csv, write_traffic

from trajlib.archive.reading import read_flight
from trajlib.importers.formats import FormatError, packed, read_head
from trajlib.importers.formats.packed import open_source
from trajlib.importers.pipeline import import_flights
from trajlib.importers.plans import _read_plans, import_plans

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


def pack_source(files, tmp_path):
    """Pack files into the archive a.zip in a folder, and return the folder."""
    source = tmp_path / "source"
    source.mkdir()
    pack_zip(files, source / "a.zip")
    return source


def read_refused(source, tmp_path):
    """Import a source, and return the reasons of the files that were refused."""
    import_flights(source, tmp_path / "archive")
    sources = pd.read_parquet(tmp_path / "archive" / "sources.parquet")
    return sources.set_index("file")["refused"].dropna()


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
def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(
    files, tmp_path, kind, monkeypatch
):
    monkeypatch.setattr(packed, "_SMALL", 1000)
    monkeypatch.setattr(packed, "_TIMES", 0)
    PACKERS[kind](files, tmp_path / "packed")
    with pytest.raises(FileNotFoundError, match="unpacks to more than"):
        import_flights(tmp_path / "packed", tmp_path / "archive")
    assert not [*(tmp_path / "archive").glob(".*")]


@pytest.mark.parametrize("kind", PACKERS)
def test_an_import_stops_where_the_disk_is_too_small_for_an_archive(
    files, tmp_path, kind, monkeypatch
):
    source = pack_source(files, tmp_path)
    PACKERS[kind](files, source / "b")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"source/a.zip cannot.*archive.*too little.*GiB are needed"):
        import_flights(source, tmp_path / "archive")
    (source / "a.zip").unlink()
    with pytest.raises(OSError, match=r"source/b cannot.*archive.*too little.*GiB are needed"):
        import_flights(source, tmp_path / "archive")
    assert not [*(tmp_path / "archive").glob(".*")]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_import_stops_if_an_archive_cannot_be_written(files, tmp_path, kind, code, monkeypatch):
    def fail(*args):
        raise OSError(code, os.strerror(code))

    PACKERS[kind](files, tmp_path / "packed")
    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(OSError, match=rf"archive.*{os.strerror(code)}.*are needed") as error:
        import_flights(tmp_path / "packed", tmp_path / "archive")
    assert error.value.errno == code


def test_an_import_stops_if_the_disk_is_too_small_for_a_7z_of_one_file(
    files, tmp_path, monkeypatch
):
    pack_7z(dict([*files.items()][:1]), tmp_path / "packed")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="too little space"):
        import_flights(tmp_path / "packed", tmp_path / "archive")


def test_archives_with_equal_names_keep_their_files(files, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name, data in zip("ab", files.values(), strict=True):
        pack_zip({"points.csv": data, "note.csv": b"x"}, source / f"{name}.zip")
    table = import_flights(source, tmp_path / "archive")
    names = ["a.zip-points", "b.zip-points"]
    assert table["path"].tolist() == [f"LEMD-LEBL/{name}.csv" for name in names]
    assert table["start"].nunique() == 2


def test_the_columns_toml_of_a_packed_folder_is_used(files, tmp_path):
    files = {n: data.replace(b"latitude", b"phi") for n, data in files.items()}
    more = {"day/columns.toml": b'columns.latitude = "phi"', "__MACOSX/._0.csv": b""}
    pack_zip(files | more, tmp_path / "packed.zip")
    table = import_flights(tmp_path / "packed.zip", tmp_path / "archive")
    assert table["path"].tolist() == ["LEMD-LEBL/0.csv", "LEMD-LEBL/1.csv"]


@pytest.mark.parametrize("folder", ["", "day/"])
def test_an_archive_among_others_with_a_columns_toml_is_refused(files, tmp_path, folder):
    source = pack_source(files, tmp_path)
    unit = b'columns.altitude.unit = "m"'
    pack_zip(files | {f"{folder}columns.toml": unit}, source / "metres.zip")
    assert read_refused(source, tmp_path)["metres.zip"].startswith("has a columns.toml in it")


def test_an_archive_with_a_columns_toml_in_it_and_one_beside_it_is_refused(files, tmp_path):
    source = pack_source(files | {"columns.toml": b"", "day/other": b"x"}, tmp_path)
    (source / "columns.toml").write_text("")
    with pytest.raises(FileNotFoundError, match="in it and one beside it"):
        import_flights(source / "a.zip", tmp_path / "archive")


def test_an_archive_with_a_columns_toml_in_one_of_its_folders_is_refused(files, tmp_path):
    source = pack_source(files | {"other/columns.toml": b""}, tmp_path)
    with pytest.raises(FileNotFoundError, match="one of several folders"):
        import_flights(source / "a.zip", tmp_path / "archive")


def test_a_time_in_the_name_of_a_file_in_an_archive_may_have_colons(files, tmp_path):
    names = [f"2016-01-0{day}T06:00:00Z.csv" for day in (5, 6)]
    pack_zip(dict(zip(names, files.values(), strict=True)), tmp_path / "packed.zip")
    assert len(import_flights(tmp_path / "packed.zip", tmp_path / "archive")) == 2


def test_a_name_that_is_not_utf_8_is_refused_and_the_other_files_are_read(files, tmp_path):
    source = pack_source(files, tmp_path)
    first = next(iter(files.values()))
    (source / os.fsdecode(b"vu\xe9.csv")).write_bytes(first)
    with tarfile.open(
        source / "b.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as archive:
        for name in ("vu\xe9.csv", "\xe9" * 300, "b.csv"):
            entry = tarfile.TarInfo(name)
            entry.size = len(first)
            archive.addfile(entry, io.BytesIO(first))
    refused = read_refused(source, tmp_path)
    assert refused["vu\ufffd.csv"] == refused["b.tar/vu\ufffd.csv"]
    assert "not in UTF-8" in refused["vu\ufffd.csv"]


def test_a_folder_of_names_that_are_not_utf_8_is_refused(files, tmp_path):
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / os.fsdecode(b"vu\xe9.csv")
    path.write_bytes(next(iter(files.values())))
    with pytest.raises(FileNotFoundError, match="not in UTF-8"):
        import_flights(tmp_path / "source", tmp_path / "archive")


@pytest.fixture
def clocks(files):
    """Files whose times have no date."""
    tables = {name: pd.read_csv(io.BytesIO(data)) for name, data in files.items()}
    for table in tables.values():
        table["timestamp"] = pd.to_datetime(table["timestamp"]).dt.strftime("%H:%M:%S")
    return {name: table.to_csv(index=False).encode() for name, table in tables.items()}


@pytest.mark.parametrize("among", [True, False])
def test_the_date_may_be_in_the_name_of_an_archive(clocks, tmp_path, among):
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "radar_2016-02-03.zip"
    pack_zip(clocks, path)
    table = import_flights(path.parent if among else path, tmp_path / "archive")
    assert set(table["start"].dt.strftime("%Y-%m-%d")) == {"2016-02-03"}


def test_the_date_in_a_file_s_name_precedes_that_of_its_folder(clocks, tmp_path):
    (tmp_path / "source" / "got_2023-01-01").mkdir(parents=True)
    path = tmp_path / "source" / "got_2023-01-01" / "flight_2016-02-03.csv"
    path.write_bytes(next(iter(clocks.values())))
    table = import_flights(tmp_path / "source", tmp_path / "archive")
    assert table["start"].dt.year.tolist() == [2016]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_files_of_one_name_in_an_archive_are_numbered(files, tmp_path, kind):
    first, second = files.values()
    repeated = [("a.csv.x", first), ("a.csv.x", second), ("b", b"x")]
    PACKERS[kind](type("", (), {"items": lambda self: repeated})(), tmp_path / "packed")
    table = import_flights(tmp_path / "packed", tmp_path / "archive")
    assert table["path"].tolist() == ["LEMD-LEBL/a.csv", "LEMD-LEBL/a_2.csv"]


def test_a_7z_with_files_of_one_name_is_refused(files, tmp_path):
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(tmp_path / "packed", "w") as archive:
        for data in files.values():
            archive.writestr(data, "a.csv")
    with pytest.raises(FileNotFoundError, match="several files of one name"):
        import_flights(tmp_path / "packed", tmp_path / "archive")


@pytest.mark.parametrize("kind", PACKERS)
def test_a_file_whose_name_is_too_long_is_refused_alone(files, tmp_path, kind):
    PACKERS[kind](files | {"x" * 300: b"x"}, tmp_path / "packed")
    assert "too long" in read_refused(tmp_path / "packed", tmp_path)["x" * 300]


def test_a_file_in_a_folder_that_is_a_file_is_refused_alone(files, tmp_path):
    pack_tar({"day/0.csv/b.csv": b"x"} | files | {"day/1.csv/b.csv": b"x"}, tmp_path / "packed")
    refused = read_refused(tmp_path / "packed", tmp_path)
    assert refused["day/1.csv/b.csv"] == "its folder has the name of a file"


def test_links_in_a_zip_and_a_7z_are_left_out(files, tmp_path):
    py7zr = pytest.importorskip("py7zr")
    pack_zip(files, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        entry = zipfile.ZipInfo("link.csv")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "day/0.csv")
    (tmp_path / "link").symlink_to(tmp_path.parent)
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.write(tmp_path / "link", "link")
        for name, data in files.items():
            archive.writestr(data, name)
    for name in ("a.zip", "a.7z"):
        import_flights(tmp_path / name, tmp_path / "archive")
        sources = pd.read_parquet(tmp_path / "archive" / "sources.parquet")
        assert sources["file"].tolist() == ["day/0.csv", "day/1.csv"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_documents_is_refused_by_its_name(files, tmp_path, kind):
    source = pack_source(files, tmp_path)
    PACKERS[kind]({"README.txt": b"a", "LICENSE": b"b"}, source / "docs")
    with pytest.raises(FileNotFoundError, match="docs: not read: an archive without files of data"):
        import_flights(source / "docs", tmp_path / "archive")
    assert "without files of data" in read_refused(source, tmp_path)["docs"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["mimetype", "content.xml", "META-INF/manifest.xml"],
            "spreadsheet: save the sheet",
        ),
        (["[Content_Types].xml", "xl/workbook.xml"], "spreadsheet: save the sheet"),
        (["a.npy", "b.npy"], "NumPy.* save them as one CSV"),
    ],
)
def test_files_that_are_zips_are_refused_as_what_they_are(files, tmp_path, names, reason):
    pack_zip(dict.fromkeys(names, b"x"), tmp_path / "inner")
    with pytest.raises(FormatError, match=reason):
        read_head(tmp_path / "inner")
    source = pack_source(files | {"inner": (tmp_path / "inner").read_bytes()}, tmp_path)
    refused = read_refused(source, tmp_path)
    assert refused.index.tolist() == ["a.zip/inner"]
    assert re.search(reason, refused["a.zip/inner"])


def test_parquet_within_gzip_has_to_be_unpacked(flights, tmp_path):
    parquet = write_traffic(pd.concat(flights), tmp_path)
    path = tmp_path / "p.parquet.gz"
    path.write_bytes(gzip.compress(parquet.read_bytes()))
    with pytest.raises(FileNotFoundError, match=r"Parquet .* compressed as a whole: unpack it"):
        import_flights(path, tmp_path / "archive")


def test_plans_of_other_flights_are_left_out_as_they_are_read(flights, tmp_path):
    WRITERS["so6"](flights[0], tmp_path).rename(tmp_path / "a_m1.so6")
    sources = pd.DataFrame({"file": ["a_m1.so6"], "format": "so6", "refused": None})
    every, _ = _read_plans(tmp_path, sources, None)
    kept, _ = _read_plans(tmp_path, sources, {"another"})
    assert every
    assert not kept


def test_a_kml_among_icons_is_the_only_file_of_its_kmz(tmp_path):
    pack_zip({"icon/t": b"\x89PNG", "doc.kml": b"<kml/>", "logo.png": b""}, tmp_path / "a.kmz")
    with open_source(tmp_path / "a.kmz") as stream:
        assert stream.read() == b"<kml/>"
