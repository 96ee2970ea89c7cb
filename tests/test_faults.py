import os
import subprocess
import sys
import time
from pathlib import Path
from zlib import crc32

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

sys.path.insert(0, str(Path(__file__).parent / "faults"))
import kill_report
from machines import wait_until

from trajlib import build_index, map_flights, store_flights
from trajlib.archive import flights
from trajlib.archive.flights import read_flights
from trajlib.archive.storage import check_visible, replacing
from trajlib.report.build import make_report
from trajlib.report.redaction import machine_rules
from trajlib.report.stages import find_stages

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk could not be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a worker may still use it


@needs_root
def test_a_full_disk_is_an_error_and_leaves_the_old_file(small_disk):
    with replacing(small_disk / "table") as temporary:
        temporary.write_text("old")
    message = "the disk is full: table could not be written"
    with pytest.raises(OSError, match=message), replacing(small_disk / "table") as temporary:
        temporary.write_bytes(bytes(2 << 20))
    assert (small_disk / "table").read_text() == "old"
    assert [path.name for path in small_disk.iterdir()] == ["table"]


def fill(disk):
    """Fill a disk except for one page; return the file that fills it."""
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "filler"}


def write_flights(archive, names):
    archive.mkdir(exist_ok=True)
    for name in names:
        height = 30_000 + crc32(name.encode()) % 9000  # so that all files differ
        rows = ((5 * m, f"40.9,{0.7 * m - 3.6:.1f},{height}") for m in range(9))
        lines = "\n".join(f"2016-01-01T06:{m:02}:00Z,{row},LEMD,LEBL" for m, row in rows)
        text = f"timestamp,latitude,longitude,altitude,origin,destination\n{lines}\n"
        (archive / f"{name}.csv").write_text(text)
    return archive


@needs_root
def test_a_full_disk_leaves_the_old_index_and_store(small_disk, tmp_path):
    archive, index = write_flights(tmp_path / "a", "ab"), small_disk / "index.parquet"
    store = store_flights(build_index(archive, index), small_disk / "store")
    before, filler = contents(small_disk), fill(small_disk)
    write_flights(archive, "abc")
    with pytest.raises(OSError, match=r"the disk is full: index\.parquet could not be written"):
        build_index(archive, index)
    with pytest.raises(OSError, match=r"the disk is full: (part-\w+|flights)\.parquet could not"):
        store_flights(build_index(archive, tmp_path / "other"), small_disk / "store")
    assert contents(small_disk) == before
    assert len(map_flights(store, len)) == 2
    filler.unlink()
    store = store_flights(build_index(archive, index), small_disk / "store")
    assert len(map_flights(store, len)) == 3


@needs_root
def test_a_full_disk_leaves_the_old_report(small_disk, tmp_path, write_notebook, no_kernel):
    def make():
        stages = find_stages(tmp_path / "notebooks")
        folders = {"processed": small_disk / "processed", "rules": machine_rules(tmp_path)}
        facts = {"pair": "LEMD → LEBL", "parameters": {}, "data": {"fingerprint": "1"}}
        facts["archive"] = {"title": "", "source": "", "simulated": True}
        options = {"env": {}}
        reports = small_disk / "reports"
        return make_report(stages, ["01_a"], reports, facts=facts, **folders, **options)["whole"]

    write_notebook("notebooks/01_a.ipynb", "1 + 1")
    assert make()
    before, filler = contents(small_disk), fill(small_disk)
    write_notebook("notebooks/01_a.ipynb", "2 + 2")
    with pytest.raises(OSError, match=r"the disk is full: 01_a\.ipynb could not be written"):
        make()
    assert contents(small_disk) == before
    filler.unlink()
    assert make()


def test_a_folder_invisible_to_a_worker_rejects_no_flight(tmp_path):
    import pandas as pd

    rows = pd.DataFrame({"path": ["a.csv"], "archive": [str(tmp_path / "elsewhere")]})
    with pytest.raises(FileNotFoundError, match="elsewhere is not visible on the worker"):
        next(read_flights(rows))
    check_visible(tmp_path)


def fill_memory(flight):
    if flight.attrs["path"] == "20.csv":
        held = np.ones(1 << 28)  # 2 GiB
        time.sleep(60)
        return len(held)
    return len(flight)


@pytest.mark.slow
def test_a_flight_too_large_for_every_worker_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(flights, "BLOCK", 4)
    archive = write_flights(tmp_path / "a", [f"{number:02}" for number in range(40)])
    rows = build_index(archive, tmp_path / "index.parquet")
    settings = {"distributed.scheduler.allowed-failures": 0, "logging.distributed": "critical"}
    limits = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": "1GiB"}
    with (
        dask.config.set(settings),
        LocalCluster(**limits, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster),
        pytest.raises(MemoryError, match=r"^20\.csv: .* a higher --memory-limit, or take its file"),
    ):
        map_flights(rows, fill_memory)


@pytest.mark.slow
def test_a_killed_report_is_completed_without_repeating_finished_stages(tiny_archive, tmp_path):
    def wait():
        wait_until(lambda: "01_sweep" in kill_report.finished_stages(tmp_path), seconds=120)

    count = len(list((tiny_archive / "LEMD-LEBL").glob("*.csv")))
    assert kill_report.kill_once(tmp_path, tiny_archive, wait) == 1
    numbers = {"01_sweep": {"n": str(count)}, "02_wait": {"n": "1"}}
    assert kill_report.numbers_of(tmp_path) == numbers
