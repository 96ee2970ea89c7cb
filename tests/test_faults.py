import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "faults"))
import kill_report

from trajlib.archive import check_visible, replacing
from trajlib.flights import read_flights

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
    subprocess.run(["umount", str(folder)], check=True)


@needs_root
def test_a_full_disk_is_said_and_leaves_the_old_file_as_it_was(small_disk):
    with replacing(small_disk / "table") as temporary:
        temporary.write_text("old")
    told = "the disk is full: table could not be written"
    with pytest.raises(OSError, match=told), replacing(small_disk / "table") as temporary:
        temporary.write_bytes(bytes(2 << 20))
    assert (small_disk / "table").read_text() == "old"
    assert [path.name for path in small_disk.iterdir()] == ["table"]


def test_a_folder_that_a_worker_does_not_see_is_no_fault_of_its_flights(tmp_path):
    import pandas as pd

    rows = pd.DataFrame({"path": ["a.csv"], "archive": [str(tmp_path / "elsewhere")]})
    with pytest.raises(FileNotFoundError, match="elsewhere is not visible on the worker"):
        next(read_flights(rows))
    check_visible(tmp_path)


def test_a_report_that_was_killed_is_completed_by_the_next(tiny_archive):
    assert sum(kill_report.main(1, tiny_archive, seed=3).values()) == 1
