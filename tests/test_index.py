import os
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from trajlib.archive.flights import map_flights
from trajlib.archive.index import (
    UNSAVED,
    build_index,
    default_index_path,
    read_rejections,
    read_repairs,
)
from trajlib.archive.pairs import count_incomplete, find_pair, select_flights
from trajlib.archive.store import store_flights
from trajlib.cli import main

sys.path.insert(0, str(Path(__file__).parent / "faults"))
import kill_index

HEADER = "timestamp,latitude,longitude,altitude,callsign,origin,destination"


def write(archive, path, *, pair=("LEMD", "LEBL"), day=1, text=None):
    """Write a one-hour flight from Madrid to Barcelona, different for each path and day."""
    file = archive / path
    file.parent.mkdir(parents=True, exist_ok=True)
    height = 100 + crc32(f"{path}{day}".encode()) % 9000
    lines = [
        f"2016-01-{day:02}T06:{m:02}:00Z,40.9,{m / 10 - 3.6:.1f},{height},IBE1,{pair[0]},{pair[1]}"
        for m in range(60)
    ]
    file.write_text(text if text is not None else "\n".join([HEADER, *lines, ""]))
    return file


def test_a_file_is_a_row_with_ends_pair_and_size(tmp_path):
    write(tmp_path / "a", "x/one.csv")
    row = build_index(tmp_path / "a").iloc[0]
    assert (row["path"], row["origin"], row["destination"]) == ("x/one.csv", "LEMD", "LEBL")
    assert row["start"] == pd.Timestamp("2016-01-01 06:00", tz="UTC")
    assert row["end"] == pd.Timestamp("2016-01-01 06:59", tz="UTC")
    assert (row["latitude_first"], row["longitude_last"]) == (40.9, 2.3)
    assert row["size"] == (tmp_path / "a/x/one.csv").stat().st_size
    assert pd.isna(row["rejected"])
    assert pd.isna(row["registration"])


def test_blanks_and_null_texts_are_removed_from_identities(tmp_path):
    for name, pair in {"a": (" LEMD ", "LEBL "), "b": ("NaN", "null")}.items():
        write(tmp_path / "a", f"{name}.csv", pair=pair)
    index = build_index(tmp_path / "a")
    assert index[["origin", "destination"]].iloc[0].tolist() == ["LEMD", "LEBL"]
    assert index[["origin", "destination"]].iloc[1].isna().all()


def test_a_damaged_index_is_named_and_another_table_is_not_written_over(tmp_path):
    write(tmp_path / "a", "a.csv")
    output = tmp_path / "x.parquet"
    output.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"x\.parquet is no Parquet file: .* delete it"):
        build_index(tmp_path / "a", output)
    pd.DataFrame({"precious": [1]}).to_parquet(output)
    with pytest.raises(ValueError, match=r"x\.parquet is another table"):
        build_index(tmp_path / "a", output)
    assert pd.read_parquet(output)["precious"].item() == 1


def test_files_in_any_folder_and_with_any_name_are_indexed(tmp_path):
    for path in ("one.csv", "a b/ñandú ü.csv", "c/d/e/f.csv"):
        write(tmp_path / "a", path)
    write(tmp_path / "a", "notes.txt")
    assert set(build_index(tmp_path / "a")["path"]) == {"one.csv", "a b/ñandú ü.csv", "c/d/e/f.csv"}


@settings(max_examples=5)
@given(st.integers())
def test_the_index_of_a_shuffled_archive_is_the_same_index(tmp_path_factory, seed):
    names = [f"{name}.csv" for name in "abcdef"]
    tables = []
    for order in (names, random.Random(seed).sample(names, len(names))):
        archive = tmp_path_factory.mktemp("shuffled") / "a"
        for name in order:
            os.utime(write(archive, name, day=ord(name[0]) - 90), (0, 0))
        tables.append(build_index(archive).drop(columns=[*UNSAVED]))
    pd.testing.assert_frame_equal(*tables)


def test_only_new_and_changed_files_are_read_again(tmp_path, monkeypatch):
    archive = tmp_path / "a"
    for name in ("one.csv", "two.csv", "three.csv"):
        write(archive, name)
    build_index(archive)
    read = []
    real = __import__("trajlib.archive.facts", fromlist=["read_ends"]).read_ends
    monkeypatch.setattr(
        "trajlib.archive.facts.read_ends", lambda path, *a: (read.append(path), real(path, *a))[1]
    )
    build_index(archive)
    assert read == []
    write(archive, "four.csv")
    write(archive, "two.csv", pair=("LEMD", "LEPA"))
    os.utime(archive / "two.csv", (1, 1))
    (archive / "one.csv").unlink()
    index = build_index(archive)
    assert sorted(Path(path).name for path in read) == ["four.csv", "two.csv"]
    assert index["path"].tolist() == ["four.csv", "three.csv", "two.csv"]
    assert index["destination"].tolist() == ["LEBL", "LEBL", "LEPA"]


def test_an_updated_index_equals_a_new_one(tmp_path):
    archive = tmp_path / "a"
    for name in ("b.csv", "d.csv"):
        write(archive, name)
    build_index(archive)
    write(archive, "a.csv")
    write(archive, "c.csv", text="broken")
    updated = build_index(archive)
    fresh = build_index(archive, tmp_path / "fresh.parquet")
    pd.testing.assert_frame_equal(*(df.drop(columns="rejections_file") for df in (updated, fresh)))


def test_an_index_that_lacks_a_column_is_made_again(tmp_path):
    archive = tmp_path / "a"
    write(archive, "one.csv")
    write(archive, "fragments/two.csv")
    index = build_index(archive)
    path = default_index_path(archive)
    old = pq.read_table(path)
    pq.write_table(old.drop_columns("fragment"), path)
    again = build_index(archive)
    pd.testing.assert_frame_equal(again, index)
    assert again["fragment"].tolist() == [True, False]


def test_a_change_of_the_dialect_rebuilds_the_index(tmp_path):
    archive = tmp_path / "a"
    write(archive, "LEMD-LEPA/one.csv")
    assert build_index(archive)["destination"].tolist() == ["LEBL"]
    (archive / "columns.toml").write_text("path = '(?P<origin>\\w+)-(?P<destination>\\w+)/'\n")
    assert build_index(archive)["destination"].tolist() == ["LEPA"]


BAD = {
    "empty": ("", "empty"),
    "header only": (HEADER + "\n", "0 samples"),
    "one row": (f"{HEADER}\n2016-01-01T06:00:00Z,1,2,3,a,b,c\n", "1 samples"),
    "missing column": ("timestamp,latitude\n1,2\n3,4\n", "columns missing: longitude, altitude"),
    "cut": (f"{HEADER}\n2016-01-01T06:00:00Z,1,2,3,a,b,c\n2016-01-01T06:0", "last line is cut"),
    "a line at the end": (
        f"A flight\n\n{HEADER}\n2016-01-01T06:00:00Z,1,2,3,a,b,c\nEnd of file\n",
        "Expected 7 columns, got 1: End of file",
    ),
    "no time": (f"{HEADER}\nx,1,2,3,a,b,c\ny,1,2,3,a,b,c\n", "not a time"),
    "off the Earth": (
        f"{HEADER}\n2016-01-01T06:00:00Z,95,2,3,a,b,c\n2016-01-01T07:00:00Z,1,2,3,a,b,c\n",
        "not on the Earth",
    ),
    "NUL": (f"{HEADER}\n\0\0\0\n\0\n", "NUL"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_rejected_and_changes_no_other_row(tmp_path, case):
    write(tmp_path / "a", "good.csv")
    alone = build_index(tmp_path / "a")
    text, reason = BAD[case]
    write(tmp_path / "a", "bad.csv", text=text)
    index = build_index(tmp_path / "a", tmp_path / "other.parquet").set_index("path")
    assert reason in index.loc["bad.csv", "rejected"]
    rows = (
        df.set_index("path").drop(columns="rejections_file") for df in (index.reset_index(), alone)
    )
    pd.testing.assert_series_equal(*(df.loc["good.csv"] for df in rows))


def test_links_are_followed_once_and_a_broken_one_is_rejected(tmp_path):
    archive = tmp_path / "a"
    write(archive, "x/one.csv")
    (archive / "x/loop").symlink_to(archive)
    (archive / "broken.csv").symlink_to(tmp_path / "nowhere.csv")
    (archive / "folder.csv").mkdir()
    index = build_index(archive).set_index("path")
    assert index.index.tolist() == ["broken.csv", "x/one.csv"]
    assert "broken" in index.loc["broken.csv", "rejected"]


def test_a_pipe_is_rejected_at_once(tmp_path):
    write(tmp_path / "a", "b.csv")
    os.mkfifo(tmp_path / "a" / "a.csv")
    index = build_index(tmp_path / "a")
    assert index["rejected"].notna().tolist() == [True, False]


@pytest.mark.skipif(os.name != "posix", reason="needs a user's permissions")
def test_a_file_without_read_permission_is_rejected():
    with TemporaryDirectory() as folder:  # other users cannot open pytest's folders
        Path(folder).chmod(0o755)
        reasons = list_as_another_user(Path(folder) / "a")
    assert reasons["open.csv"] == "None"
    assert reasons["closed.csv"] == "Permission denied"
    assert "may not be opened" in reasons["closed/"]


def list_as_another_user(archive):
    for path in ("open.csv", "closed.csv", "closed/one.csv"):
        write(archive, path).chmod(0o644)
    archive.chmod(0o755)  # independent of the umask, which our command sets
    (archive / "closed.csv").chmod(0)
    (archive / "closed").chmod(0)
    # root can read every file, so the files are listed as another user
    code = f"""
import os
from trajlib.archive.facts import read_ends
from trajlib.archive.listing import list_files
from trajlib.archive.dialect import Dialect
list_files({str(archive)!r})  # imports modules that the other user cannot read
if os.getuid() == 0:
    os.setuid(65534)
for path, size in list_files({str(archive)!r})[["path", "size"]].to_numpy():
    print(path, read_ends({str(archive)!r} + "/" + path, size, Dialect())[-1], sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (archive / "closed").chmod(0o700)
    return dict(line.split("|") for line in done.stdout.splitlines())


def test_an_absent_or_empty_archive_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no archive at"):
        build_index(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="empty"):
        build_index(tmp_path)


def test_an_unknown_pair_names_the_nearest(tmp_path):
    write(tmp_path / "a", "one.csv")
    write(tmp_path / "a", "two.csv", pair=("LEPA", "GCLP"))
    index = build_index(tmp_path / "a")
    with pytest.raises(ValueError, match=r"LEMD → LEBL \(1\)"):
        select_flights(index, "LEMD", "LEBX")
    chosen = select_flights(index, "LEPA", "GCLP", incomplete=True)
    assert chosen["path"].tolist() == ["two.csv"]


def test_the_index_of_a_raw_archive_is_kept_in_interim():
    assert default_index_path("x/raw/sample").as_posix() == "x/interim/sample.index.parquet"
    assert default_index_path("x/sample").as_posix() == "x/sample.index.parquet"


@pytest.mark.parametrize(("folder", "archive"), [("few", "."), ("few/a", ".."), (".", "few")])
def test_the_index_of_an_archive_named_from_within_is_not_in_it(
    tmp_path, monkeypatch, folder, archive
):
    (tmp_path / "raw/few/a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "raw" / folder)
    assert default_index_path(archive) == tmp_path / "interim/few.index.parquet"


def test_the_saved_index_has_no_absolute_path(tmp_path):
    write(tmp_path / "a", "one.csv")
    build_index(tmp_path / "a", tmp_path / "index.parquet")
    assert str(tmp_path).encode() not in (tmp_path / "index.parquet").read_bytes()


@pytest.mark.parametrize("run", ["map", "store"])
def test_every_file_is_usable_or_has_one_rejection_reason(tmp_path, run):
    archive = tmp_path / "a"
    for name in ("good.csv", "high.csv"):
        write(archive, name)
    write(archive, "empty.csv", text="")
    text = (archive / "good.csv").read_text()
    write(archive, "high.csv", text=text.replace("40.9,0.", "95.0,0."))
    index = build_index(archive)
    assert read_rejections(index)["seen_in"].to_dict() == {"empty.csv": "ends"}
    if run == "store":
        sizes = store_flights(select_flights(index, "LEMD", "LEBL"), tmp_path / "s")[
            "part"
        ].dropna()
    else:
        sizes = map_flights(index, len)
    rejections = read_rejections(build_index(archive))
    assert rejections["seen_in"].to_dict() == {"empty.csv": "ends", "high.csv": "full read"}
    assert "not on the Earth" in rejections.loc["high.csv", "rejected"]
    assert len(sizes) + len(rejections) == len(index)


def test_a_corrected_file_is_no_longer_rejected(tmp_path):
    archive = tmp_path / "a"
    good = write(archive, "one.csv").read_text()
    write(archive, "one.csv", text=good.replace("40.9,0.", "95.0,0."))
    index = build_index(archive)
    store_flights(select_flights(index, "LEMD", "LEBL"), tmp_path / "store")
    assert len(read_rejections(index)) == 1
    write(archive, "one.csv", text=good)
    assert read_rejections(build_index(archive)).empty


@pytest.mark.slow
def test_killed_runs_leave_the_old_index_or_the_new_one():
    assert sum(kill_index.main(3, seed=7).values()) == 3


@pytest.mark.slow
def test_two_runs_at_once_leave_one_whole_index(tmp_path):
    archive, output = tmp_path / "a", tmp_path / "index.parquet"
    for number in range(40):
        write(archive, f"{number}.csv")
    code = "import sys; from trajlib import build_index; from pathlib import Path\n"
    code += (
        "for _ in range(20): Path(sys.argv[2]).unlink(missing_ok=True); build_index(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, str(archive), str(output)]
    runs = [subprocess.Popen(command) for _ in range(2)]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert pd.read_parquet(output).equals(
        build_index(archive, tmp_path / "alone.parquet").drop(columns=[*UNSAVED])
    )
    assert [file.name for file in tmp_path.glob(".*")] == []


@pytest.mark.slow
def test_an_archive_of_44264_files_in_one_folder_has_as_many_rows(tmp_path):
    archive = tmp_path / "a"
    lines = write(archive, "0.csv").read_text().splitlines(keepends=True)
    for number in range(1, 44_264):
        lines[1] = f"2016-01-01T06:00:00Z,40.9,-3.6,{number},IBE1,LEMD,LEBL\n"
        lines[-1] = f"2016-01-01T06:59:00Z,40.9,{2 + number / 1e6:.6f},0,IBE1,LEMD,LEBL\n"
        (archive / f"{number}.csv").write_text("".join([*lines[:2], lines[-1]]))
    index = build_index(archive)
    assert len(index) == 44_264
    assert index["rejected"].isna().all()
    assert index["path"].is_monotonic_increasing


@pytest.mark.parametrize(
    "path",
    [
        ".ipynb_checkpoints/one-checkpoint.csv",
        ".Trash-0/one.csv",
        ".one.csv",
        "__MACOSX/one.csv",
        "@eaDir/one.csv",
        "#recycle/one.csv",
        "~$one.csv",
    ],
)
def test_hidden_files_are_not_indexed(tmp_path, path):
    write(tmp_path / "a", "one.csv")
    write(tmp_path / "a", path, day=2)
    assert build_index(tmp_path / "a")["path"].tolist() == ["one.csv"]


@pytest.mark.parametrize(("sample", "time"), [(0, "1970-01-01"), (-1, "2036-01-01")])
def test_a_clock_that_was_not_set_at_an_end_is_left_out_and_counted(
    tiny_archive, tmp_path, sample, time
):
    source = sorted((tiny_archive / "LEMD-LEBL").glob("*.csv"))[0]
    flight = pd.read_csv(source)
    times = flight["timestamp"].copy()
    flight.loc[flight.index[sample], "timestamp"] = f"{time}T00:00:00Z"
    (tmp_path / "a").mkdir()
    flight.to_csv(tmp_path / "a" / "one.csv", index=False)
    row = build_index(tmp_path / "a").iloc[0]
    assert row["repairs"].startswith("1 samples left out that no aircraft can have reached")
    ends = times.iloc[1 if sample == 0 else 0], times.iloc[-1 if sample == 0 else -2]
    assert (row["start"], row["end"]) == tuple(map(pd.Timestamp, ends))
    result = CliRunner().invoke(main, ["index", str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    assert "1  samples left out that no aircraft can have reached" in result.output


def test_copies_of_a_file_are_rejected(tmp_path):
    text = write(tmp_path / "a", "one.csv").read_text()
    for copy in ("one (1).csv", "elsewhere/one.csv"):
        write(tmp_path / "a", copy, text=text)
    (tmp_path / "a" / "one copy.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "a" / "one (2).csv").write_bytes(text.rstrip().replace("\n", "\r\n").encode())
    write(tmp_path / "a", "two.csv")
    index = build_index(tmp_path / "a").set_index("path")
    assert index["rejected"].dropna().unique().tolist() == ["the same samples as one.csv"]
    assert index.index[~index["copy"]].tolist() == ["one.csv", "two.csv"]
    index = index["rejected"]
    assert index[index.isna()].index.tolist() == ["one.csv", "two.csv"]
    (tmp_path / "a/one.csv").unlink()
    index = build_index(tmp_path / "a").set_index("path")["rejected"]
    assert index[index.isna()].index.tolist() == ["one (1).csv", "two.csv"]


def test_the_same_airport_is_the_same_pair_by_icao_and_iata_code(tmp_path):
    for name, pair in {"a": ("LEMD", "LEBL"), "b": ("MAD", "bcn"), "c": ("lemd", "LEBL")}.items():
        write(tmp_path / "a", f"{name}.csv", pair=pair)
    index = build_index(tmp_path / "a")
    assert set(index["origin"]) == {"LEMD"}
    assert len(select_flights(index, "mad", "LEBL")) == 3
    assert find_pair(index, "MAD", "BCN") == ("LEMD", "LEBL")


def test_a_pair_needs_two_existing_airports(tmp_path):
    write(tmp_path / "a", "a.csv")
    write(tmp_path / "a", "b.csv", pair=("ZZZZ", "LEBL"))
    index = build_index(tmp_path / "a")
    with pytest.raises(ValueError, match="a city pair needs two airports"):
        select_flights(index, "LEMD", "MAD")
    with pytest.raises(ValueError, match="no airport has the code 'ZZZZ'"):
        select_flights(index, "ZZZZ", "LEBL")


def test_a_pair_of_rejected_flights_is_refused_with_their_number_and_the_reason(tmp_path):
    write(tmp_path / "a", "a.csv")
    for name in ("b.csv", "c.csv"):
        write(tmp_path / "a/fragments/LEMD-LEPA", name, pair=("LEMD", "LEPA"))
    index = build_index(tmp_path / "a")
    with pytest.raises(ValueError, match="LEMD → LEPA: 2 are rejected, most of them as a fragment"):
        select_flights(index, "LEMD", "LEPA")


def test_an_incomplete_flight_is_selected_only_on_request(tmp_path):
    write(tmp_path / "a", "arrived.csv")
    text = write(tmp_path / "a", "returned.csv").read_text().splitlines()
    write(tmp_path / "a", "returned.csv", text="\n".join([*text[:40], ""]))
    index = build_index(tmp_path / "a")
    assert index["incomplete"].iloc[1] == "ends 88 NM from LEBL"
    assert count_incomplete(index, "LEMD", "LEBL") == 1
    assert select_flights(index, "LEMD", "LEBL")["path"].tolist() == ["arrived.csv"]
    assert len(select_flights(index, "LEMD", "LEBL", incomplete=True)) == 2


def test_an_identity_is_missing_only_where_no_line_has_it(tmp_path):
    text = write(tmp_path / "a", "a.csv").read_text()
    write(tmp_path / "a", "a.csv", text=text.replace("IBE1", "", 1))
    assert build_index(tmp_path / "a")["callsign"].tolist() == ["IBE1"]


@pytest.mark.parametrize("run", ["map", "store"])
def test_repairs_of_a_full_read_are_in_the_index_and_the_store(tmp_path, run):
    archive = tmp_path / "a"
    text = write(archive, "a.csv").read_text()
    write(archive, "a.csv", text=text.replace("40.9,0.0", "0,0"))
    index = build_index(archive)
    if run == "map":
        map_flights(index, len)
    else:
        store = store_flights(index, tmp_path / "store")
        assert read_repairs(store)["impossible_position"].to_dict() == {"a.csv": 1}
    repairs = read_repairs(build_index(archive))
    assert repairs["impossible_position"].to_dict() == {"a.csv": 1}
    strict = build_index(archive, strict=True)
    assert map_flights(strict, len).empty
    assert read_rejections(strict).loc["a.csv", "rejected"].startswith("1 of 60 positions")


def test_a_file_of_many_flights_is_rejected_with_their_number(tmp_path):
    header, *lines = write(tmp_path / "a", "a.csv").read_text().splitlines()
    many = [line.replace("IBE1", f"IBE{n}") for n in range(9) for line in lines]
    write(tmp_path / "a", "a.csv", text="\n".join([header, *many, ""]))
    reason = build_index(tmp_path / "a")["rejected"].iloc[0]
    assert reason.startswith("holds 9 flights, by its column callsign")


def test_an_index_made_on_a_cluster_is_the_same(tmp_path, monkeypatch, client):
    for number in range(25):
        write(tmp_path / "a", f"{number}.csv")
    write(tmp_path / "a", "bad.csv", text="")
    local = build_index(tmp_path / "a", tmp_path / "here.parquet")
    monkeypatch.setattr("trajlib.archive.facts._BATCH", 10)
    with Client(client.scheduler.address):  # by address, like a cluster on other machines
        remote = build_index(tmp_path / "a", tmp_path / "there.parquet")
    drop = ["rejections_file"]
    pd.testing.assert_frame_equal(local.drop(columns=drop), remote.drop(columns=drop))
