"""Make one report again and again: ``python tests/faults/repeat_report.py [TIMES [ARCHIVE]]``.

With one, two and four workers in turn, each time from nothing. Every report must find the numbers
of the first, timings apart, and leave the same tables, byte for byte.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from machines import SMALL, start_cluster

ROOT = Path(__file__).parents[2]
WORKERS = (1, 2, 4)
TIMING = re.compile(r"time (of|over)")  # labels of numbers that are no results


def make_report(archive: Path, folder: Path, workers: int, *words: str) -> dict:
    """Return what a report found, by stage, and the digest of each table that it left."""
    with start_cluster(folder / "cluster", {}, workers=workers) as machines:
        command = [sys.executable, "-m", "trajlib", "report", "--archive", str(archive), *words]
        command += ["--origin", "LEMD", "--destination", "LEBL", "--scheduler", machines.address]
        command += ["--data", f"{folder}/data", "--output", f"{folder}/reports"]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
    report = json.loads((folder / "reports/LEMD-LEBL/report.json").read_text("utf-8"))
    numbers = {
        f"{stage['name']}: {label}": value
        for stage in report["stages"]
        for label, value in stage["numbers"].items()
        if not TIMING.search(label)
    }
    tables = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "data").rglob("*.parquet"))
    }
    return {"numbers": numbers, "tables": tables}


def differences(first: dict, other: dict) -> list[str]:
    """Return what is not the same in two of them."""
    return [
        f"{name}: {first[kind].get(name)} and {other[kind].get(name)}"
        for kind in first
        for name in first[kind] | other[kind]
        if first[kind].get(name) != other[kind].get(name)
    ]


def main(times: int, archive: Path | None = None) -> dict[str, int]:
    """Return how many reports of each number of workers were equal to the first."""
    counts = {f"{workers} workers": 0 for workers in WORKERS}
    with tempfile.TemporaryDirectory() as place:
        words = () if archive else SMALL.split()
        if archive is None:
            archive = Path(place) / "raw" / "tiny"
            command = [sys.executable, "-m", "trajlib", "simulate", archive, "--flights", "60"]
            subprocess.run([*command, "--seed", "1"], check=True, capture_output=True)
        first = None
        for at in range(times):
            workers, started = WORKERS[at % len(WORKERS)], time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                found = make_report(archive, Path(folder), workers, *words)
            first = first or found
            wrong = differences(first, found)
            assert not wrong, f"with {workers} workers: {wrong}"
            counts[f"{workers} workers"] += 1
            told = f"{len(found['numbers'])} numbers, {len(found['tables'])} tables"
            print(at + 1, counts, told, f"{time.perf_counter() - started:.0f} s", flush=True)
    return counts


if __name__ == "__main__":
    given = sys.argv[1:]
    print(main(int(given[0]) if given else 24, Path(given[1]) if given[1:] else None))
