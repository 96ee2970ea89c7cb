"""Archives in an object store, with moto's server on loopback."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import dask.dataframe as dd
import pandas as pd
import pytest
from click.testing import CliRunner
from machines import STORE
from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

from trajlib import build_index, map_flights, select_flights, store_flights
from trajlib.archive import storage
from trajlib.archive.flights import read_flights
from trajlib.archive.plans import read_plans
from trajlib.archive.reading import read_flight
from trajlib.cli import main

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_cluster_of_other_tests(request):
    """Workers of other tests lack the environment variables of the store."""
    if "on_workers" not in request.fixturenames:
        request.getfixturevalue("in_this_process")


@pytest.fixture(scope="module")
def few(tiny_archive, tmp_path_factory):
    """Ten flights of the tiny archive, one of them packed, and the damaged file."""
    folder = tmp_path_factory.mktemp("few") / "few"
    files = sorted((tiny_archive / "LEMD-LEBL").glob("*.csv"))[:10]
    for file in [*files, tiny_archive / "damaged.csv", tiny_archive / "columns.toml"]:
        target = folder / file.relative_to(tiny_archive)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder


@pytest.fixture(scope="module")
def bucket(server, few):
    """The same files as objects."""
    import boto3

    s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
    s3.create_bucket(Bucket="flights")
    for file in few.rglob("*.*"):
        s3.upload_file(str(file), "flights", f"archive/few/{file.relative_to(few)}")
    return "s3://flights/archive/few"


@pytest.fixture
def on_workers(server, client):
    """The client, whose workers have the environment variables of the store."""
    names = [*STORE, "AWS_ENDPOINT_URL"]
    client.run(set_environment, {name: os.environ[name] for name in names})
    return client


def set_environment(variables):
    os.environ.update(variables)  # in the worker, not on a pickled copy


def highest(flight):
    return {"highest": flight["altitude"].max(), "samples": len(flight)}


@pytest.mark.parametrize("form", [str, Path])
def test_the_index_of_a_bucket_is_that_of_the_folder(bucket, few, tmp_path, form):
    from_folder = build_index(few, tmp_path / "index.parquet")
    from_bucket = build_index(form(bucket))
    assert set(from_bucket["archive"]) == {bucket}
    assert storage.exists("s3://flights/archive/few.index.parquet")
    differing = ["archive", "rejections_file", "mtime"]
    pd.testing.assert_frame_equal(
        from_bucket.drop(columns=differing), from_folder.drop(columns=differing)
    )
    pd.testing.assert_frame_equal(build_index(form(bucket)), from_bucket)


def test_a_store_in_a_bucket_gives_the_same_flights(bucket, few, tmp_path, on_workers):
    from_folder = select_flights(build_index(few, tmp_path / "index.parquet"), "LEMD", "LEBL")
    from_bucket = select_flights(build_index(bucket, tmp_path / "there.parquet"), "LEMD", "LEBL")
    storage.make_folder("s3://flights/interim/store")
    with storage.replacing("s3://flights/interim/store/part-0.parquet") as temporary:
        temporary.write_text("an old part")
    stores = (
        store_flights(from_folder, tmp_path / "store"),
        store_flights(from_bucket, "s3://flights/interim/store"),
    )
    tables = [map_flights(table, highest) for table in (from_folder, from_bucket, *stores)]
    assert len(tables[0]) == 10
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=False, rtol=1e-6)
    names = {name for name, _, _ in storage.list_objects("s3://flights/interim/store")}
    assert names - {""} == {"flights.parquet", stores[1]["part"].iloc[0]}
    again = store_flights(from_bucket, "s3://flights/interim/store")
    pd.testing.assert_frame_equal(again, stores[1])


def test_the_index_command_names_the_bucket_as_it_was_given(bucket, tmp_path):
    command = ["index", bucket, "--output", str(tmp_path / "index.parquet")]
    assert CliRunner().invoke(main, command).output.startswith(f"{bucket}: 11 files")
    document = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)
    assert document["archive"] == bucket


def test_plans_in_a_bucket_are_read_and_may_be_absent(bucket):
    assert read_plans(bucket) is None
    file = f"{bucket}/plans/mine.csv"
    with storage.replacing(file) as temporary:
        temporary.write_text("flight_id,sequence,latitude,longitude\none,0,40,-3\none,1,41,2\n")
    try:
        assert read_plans(bucket)["longitude"].tolist() == [-3, 2]
    finally:
        storage.remove(file)


def test_dask_dataframe_reads_a_file_of_a_bucket(bucket, few, server):
    path = sorted(few.rglob("*_*.csv"))[0].relative_to(few)
    table = dd.read_csv([f"{bucket}/{path}"], blocksize="100kB").compute(scheduler="sync")
    expected = pd.read_csv(few / path)
    pd.testing.assert_frame_equal(table.reset_index(drop=True), expected, check_dtype=False)


@pytest.mark.slow
def test_a_report_accepts_the_address_of_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    pair = ["--origin", "LEMD", "--destination", "LEBL", "--archive", bucket]
    shutil.copyfile(ROOT / "notebooks/01_index.ipynb", "notebooks/01_index.ipynb")
    result = CliRunner().invoke(main, ["report", *pair])
    assert "LEMD → LEBL: 10 flights of 11 files" in result.output
    assert "10 usable flights LEMD → LEBL, expected 40 or more" in result.output


def test_a_missing_bucket_is_an_error(server):
    with pytest.raises(FileNotFoundError, match="no archive at s3://flights/none"):
        build_index("s3://flights/none")


def test_an_unreachable_object_store_rejects_no_flight(bucket, tmp_path, monkeypatch):
    rows = select_flights(build_index(bucket, tmp_path / "index.parquet"), "LEMD", "LEBL")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    once = partial(S3FileSystem, retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1))
    monkeypatch.setattr(storage, "S3FileSystem", once)
    with pytest.raises(OSError, match="bucket 'flights'"):
        next(read_flights(rows))
    with pytest.raises(OSError, match="bucket 'flights'"):
        read_flight(f"{bucket}/{rows['path'][0]}")
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        build_index(bucket, tmp_path / "other.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["index.parquet"]


def test_an_outage_while_a_doubtful_file_is_read_rejects_no_flight(bucket, tmp_path, monkeypatch):
    def fail(path):
        raise OSError("connection reset")

    monkeypatch.setattr("trajlib.archive.reading.read_bytes", fail)
    with pytest.raises(OSError, match="connection reset"):
        build_index(bucket, tmp_path / "index.parquet")


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [("", "set AWS_ENDPOINT_URL"), ("http://192.0.2.1:9000", "neither https nor loopback")],
)
def test_an_object_store_without_address_or_tls_is_refused(monkeypatch, endpoint, message):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ValueError, match=message):
        build_index("s3://flights/archive/few")


def test_a_file_being_replaced_is_the_old_one_until_it_is_whole(tmp_path):
    path = tmp_path / "table"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), storage.replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["table"]
    with storage.replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o077 == 0
