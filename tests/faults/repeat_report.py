"""Make one report repeatedly: ``python tests/faults/repeat_report.py [TIMES [ARCHIVE]]``.

Reports are made with one, two and four workers in turn, each in an empty folder. Every report must
give the same numbers as the first, except measured times, and the same tables, byte for byte.
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
TIMING = re.compile(r"time (of|over)")  # labels of measured times


def make_report(archive: Path, folder: Path, workers: int, *arguments: str) -> dict:
    """Return the results of a report by stage, and the digest of each table."""
    with start_cluster(folder / "cluster", {}, workers=workers) as machines:
        command = [sys.executable, "-m", "trajlib", "report", "--archive", str(archive), *arguments]
        command += ["--origin", "LEMD", "--destination", "LEBL", "--scheduler", machines.address]
        command += ["--data", f"{folder}/data", "--output", f"{folder}/reports"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
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
    """Return the differences between the results of two reports."""
    return [
        f"{name}: {first[kind].get(name)} and {other[kind].get(name)}"
        for kind in first
        for name in first[kind] | other[kind]
        if first[kind].get(name) != other[kind].get(name)
    ]


def main(times: int, archive: Path | None = None) -> dict[str, int]:
    """Return how many reports of each number of workers were equal to the first."""
    counts = {f"{workers} workers": 0 for workers in WORKERS}
    with tempfile.TemporaryDirectory() as workspace:
        arguments = () if archive else SMALL.split()
        if archive is None:
            archive = Path(workspace) / "raw" / "tiny"
            command = [sys.executable, "-m", "trajlib", "simulate", archive, "--flights", "60"]
            subprocess.run([*command, "--seed", "1"], check=True, capture_output=True)
        first = None
        for number in range(times):
            workers, started = WORKERS[number % len(WORKERS)], time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                report = make_report(archive, Path(folder), workers, *arguments)
            first = first or report
            wrong = differences(first, report)
            assert not wrong, f"with {workers} workers: {wrong}"
            counts[f"{workers} workers"] += 1
            differing = f"{len(report['numbers'])} numbers, {len(report['tables'])} tables"
            print(
                number + 1, counts, differing, f"{time.perf_counter() - started:.0f} s", flush=True
            )
    return counts


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(
        main(int(arguments[0]) if arguments else 24, Path(arguments[1]) if arguments[1:] else None)
    )
