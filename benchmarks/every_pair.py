"""Make the report of every city pair of an archive with small settings, and tabulate the outcome.

    python benchmarks/every_pair.py data/raw/sfo-swim --fewest 50 --output /var/tmp/every-pair

Finished pairs are not repeated; the table is OUTPUT/outcome.csv. All notebooks run in this process
and on one worker, which saves starting twelve kernels and a cluster for each pair. Several such
processes can share the pairs: ``--part 1/2`` and ``--part 2/2``.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import click
import matplotlib.pyplot as plt
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats
from IPython.utils.capture import capture_output
from nbformat import NotebookNode
from nbformat.v4 import new_output

from trajlib import build_index
from trajlib.cli import main as run_command
from trajlib.cluster import local_cluster
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


def run_cells(nb: NotebookNode, folder: Path, env: Mapping[str, str]) -> tuple[str | None, int]:
    """Run the cells of a notebook in this process, as `trajlib.report.kernel` does in a new one."""
    os.environ.update(env)
    os.chdir(folder)
    shell = InteractiveShell.instance()
    select_figure_formats(shell, ["png"])
    shell.reset(new_session=False)
    for position, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        with capture_output() as captured:
            result = shell.run_cell(cell.source)
        plt.close("all")
        for output in captured.outputs:
            parts = {"data": output.data or {}, "metadata": output.metadata or {}}
            cell.outputs.append(new_output("display_data", **parts))
        if error := result.error_before_exec or result.error_in_exec:
            return f"{type(error).__name__}: {error}", position
    return None, position


def make_report(archive: Path, origin: str, destination: str, output: Path, options: list) -> dict:
    """Make one report, and return its outcome."""
    pair = ["--origin", origin, "--destination", destination]
    folders = ["--archive", archive, "--data", output / "data", "--output", output / "reports"]
    started, row = time.monotonic(), {"exit status": 0, "failures": ""}
    try:
        run_command(["report", *map(str, [*pair, *folders, *options])], standalone_mode=False)
    except (click.ClickException, click.exceptions.Exit, SystemExit) as error:
        row = {"exit status": 1, "failures": str(error)}
    row["seconds"] = round(time.monotonic() - started)
    path = output / "reports" / f"{origin}-{destination}" / "report.json"
    stages = json.loads(path.read_text("utf-8"))["stages"] if path.exists() else []
    failed = [stage["failure"] for stage in stages if stage["failure"]]
    row["whole stages"] = sum(stage["status"] == "whole" for stage in stages)
    row["failures"] = "; ".join(failed) or row["failures"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--fewest", type=int, default=50, help="flights of a pair")
    parser.add_argument("--output", type=Path, default=Path("every-pair"))
    parser.add_argument("--part", default="1/1", help="of the pairs, in turn")
    parser.add_argument("--options", default=SMALL, help="of trajlib report")
    arguments = parser.parse_args()
    archive, output = arguments.archive.absolute(), arguments.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, arguments.part.split("/"))
    table = output / ("outcome.csv" if parts == 1 else f"outcome-{part}-of-{parts}.csv")
    rows = pd.read_csv(table).to_dict("records") if table.exists() else []
    done = {(row["origin"], row["destination"]) for row in rows}
    pairs = list_pairs(archive, output / "index.parquet", arguments.fewest)
    os.environ["DASK_SCHEDULER_ADDRESS"] = local_cluster(1).scheduler_address
    for (origin, destination), flights in pairs.iloc[part - 1 :: parts].items():
        if (origin, destination) in done:
            continue
        pair = {"origin": origin, "destination": destination, "flights": flights}
        options = arguments.options.split()
        rows.append(pair | make_report(archive, origin, destination, output, options))
        pd.DataFrame(rows).to_csv(table, index=False)
        print(rows[-1], flush=True)
    outcome = pd.DataFrame(rows)
    complete = (outcome["exit status"] == 0).sum()
    print(f"{complete} of {len(outcome)} reports are whole; {table}")


if __name__ == "__main__":
    with patch("trajlib.report.kernel.run_cells", run_cells):
        main()
