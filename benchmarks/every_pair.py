"""Make the report of every city pair of an archive with small settings, and tabulate the outcome.

    python benchmarks/every_pair.py data/raw/sfo-swim --fewest 50 --output /var/tmp/every-pair

A pair that was done before is kept; the table is OUTPUT/outcome.csv.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from trajlib import build_index
from trajlib.geodesy import find_airport

SMALL = "-p trees 5 -p draws 50 -p aligned 10 -p folds 2 -p repeats 1 -p steps 2"


def list_pairs(archive: Path, index: Path, fewest: int) -> pd.Series:
    """Return the number of usable flights of each pair of two known airports."""
    table = build_index(archive, index)
    usable = table[table["rejected"].isna()]
    counts = usable.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    return counts[[count >= fewest and is_pair(*pair) for pair, count in counts.items()]]


def is_pair(origin: str, destination: str) -> bool:
    try:
        return find_airport(origin)[1:] != find_airport(destination)[1:]
    except ValueError:
        return False


def make_report(archive: Path, origin: str, destination: str, output: Path, options: list) -> dict:
    """Make one report in a process of its own, and return how it ended."""
    pair = ["--origin", origin, "--destination", destination]
    places = ["--archive", archive, "--data", output / "data", "--output", output / "reports"]
    command = [sys.executable, "-m", "trajlib", "report", *pair, *places, *options]
    started = time.monotonic()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    row = {"exit status": done.returncode, "seconds": round(time.monotonic() - started)}
    path = output / "reports" / f"{origin}-{destination}" / "report.json"
    stages = json.loads(path.read_text("utf-8"))["stages"] if path.exists() else []
    failed = [stage["failure"] for stage in stages if stage["failure"]]
    row["whole stages"] = sum(stage["status"] == "whole" for stage in stages)
    row["failures"] = "; ".join(failed) or done.stderr.strip()[-300:] * bool(done.returncode)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--fewest", type=int, default=50, help="flights of a pair")
    parser.add_argument("--output", type=Path, default=Path("every-pair"))
    parser.add_argument("--options", default=SMALL, help="of trajlib report")
    arguments = parser.parse_args()
    output = arguments.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    table = output / "outcome.csv"
    rows = pd.read_csv(table).to_dict("records") if table.exists() else []
    done = {(row["origin"], row["destination"]) for row in rows}
    pairs = list_pairs(arguments.archive, output / "index.parquet", arguments.fewest)
    for (origin, destination), flights in pairs.items():
        if (origin, destination) in done:
            continue
        pair = {"origin": origin, "destination": destination, "flights": flights}
        options = arguments.options.split()
        rows.append(pair | make_report(arguments.archive, origin, destination, output, options))
        pd.DataFrame(rows).to_csv(table, index=False)
        print(rows[-1], flush=True)
    outcome = pd.DataFrame(rows)
    whole = (outcome["exit status"] == 0).sum()
    print(f"{whole} of {len(outcome)} reports are whole; {table}")


if __name__ == "__main__":
    main()
