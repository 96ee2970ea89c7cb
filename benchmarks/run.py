"""Compare the time of trajlib with that of other tools, and write the table into README.md.

The tools of a job run one after the other, in rotating order, each in a separate process. A ratio
is the median over the rounds, so that changes in the speed of the machine affect both tools.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from data import SAMPLES, SCALES, SHORT, make_archive

HERE = Path(__file__).resolve().parent
OURS = {"trajlib", "plain"}
# job: compared tools and functions, the first is ours
JOBS = {
    "index": ["trajlib index", "pandas index", "polars index"],
    "aggregates": ["trajlib aggregates", "polars aggregates", "duckdb aggregates"],
    "correlation": ["trajlib correlation", "polars correlation"],
    "aggregates from the store": ["trajlib store_aggregates", "trajlib aggregates"],
    "six columns from the store": ["trajlib store_six", "trajlib csv_six"],
    "aggregates, without Dask": ["trajlib aggregates", "plain aggregates"],
    "short flights": ["trajlib short", "pandas short"],
}
SLOW = {  # tools that take minutes even at small
    "aggregates": [*JOBS["aggregates"], "dask aggregates", "pyspark aggregates"],
    "correlation": [*JOBS["correlation"], "dask correlation"],
}
NAMES = {"plain aggregates": "two plain processes", "trajlib csv_six": "trajlib, from CSVs"}
NAMES |= {"trajlib aggregates": "trajlib, from CSVs", "pandas short": "pandas in two processes"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", action="append", choices=JOBS)
    parser.add_argument("--slow", action="store_true", help="Dask's own reader and PySpark, too")
    parser.add_argument("--patience", type=int, default=600, help="a tool is given up after [s]")
    parser.add_argument("--peers", type=Path, help="python of the peers' environment")
    parser.add_argument("--data", type=Path, default=HERE / "data")
    options = parser.parse_args()
    results_file = options.data / f"{options.scale}.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    for job in options.job or JOBS:
        tools = SLOW.get(job, JOBS[job]) if options.slow else JOBS[job]
        tools = [tool for tool in tools if _is_available(tool, options)]
        archive = make_archive("short" if job == "short flights" else options.scale, options.data)
        results[job] = _time_job(tools, archive, options)
        results_file.write_text(json.dumps(results, indent=1) + "\n")
        print("\n".join(_rows(job, results[job])), flush=True)
    _write(options, results)


def _is_available(tool: str, options: argparse.Namespace) -> bool:
    name = tool.split()[0]
    if name in OURS:
        return True
    return options.peers is not None and (name != "pyspark" or shutil.which("java") is not None)


def _time_job(
    tools: list[str], archive: Path, options: argparse.Namespace
) -> dict[str, list[dict]]:
    results = {tool: [] for tool in tools}
    for turn in range(options.rounds):
        for i in range(len(tools)):
            tool = tools[(turn + i) % len(tools)]
            python = sys.executable if tool.split()[0] in OURS else str(options.peers)
            work = options.data / f"work-{archive.name}"
            command = [python, str(HERE / "jobs.py"), *tool.split(), str(archive), str(work)]
            results[tool].append(_run(command, options.patience))
    return results


def _run(command: list[str], patience: int) -> dict:
    # in a new session, so that its child processes can be ended with it
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, errors = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"failed": f"did not end in {patience} s"}
    if process.returncode:
        return {"failed": (errors.strip().splitlines() or ["?"])[-1][:80]}
    return json.loads(out.strip().splitlines()[-1])


def _rows(job: str, results: dict[str, list[dict]]) -> list[str]:
    ours, *others = results
    seconds = median(run["seconds"] for run in results[ours] if "seconds" in run)
    memory = median(run["memory_MiB"] for run in results[ours] if "seconds" in run)
    rows = []
    for tool in others:
        pairs = zip(results[ours], results[tool], strict=True)
        ratios = [
            b["seconds"] / a["seconds"] for a, b in pairs if "seconds" in a and "seconds" in b
        ]
        name = NAMES.get(tool, tool.split()[0])
        if not ratios:
            rows.append(f"| {job} | {name} | {results[tool][0]['failed']} | | |")
            continue
        span = f"{min(ratios):.1f} to {max(ratios):.1f}"
        if name != "two plain processes":
            name = f"{name} {results[tool][0]['version']}" if "trajlib" not in name else name
        rows.append(
            f"| {job} | {name} | {median(ratios):.2f} ({span}) | {seconds:.2f} | {memory:,.0f} |"
        )
    return rows


def _write(options: argparse.Namespace, results: dict) -> None:
    readme = HERE / "README.md"
    start, end = "<!-- table -->", "<!-- /table -->"
    rows = [row for job in JOBS if job in results for row in _rows(job, results[job])]
    body = [
        start,
        f"`python benchmarks/run.py --scale {options.scale} --rounds {options.rounds} --peers "
        f".venv-bench/bin/python`: {SCALES[options.scale]:,} flights of {SAMPLES:,} samples "
        f"({SHORT:,} of 60 for short flights), {datetime.now(UTC):%d %B %Y}, {os.cpu_count()} "
        f"cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}.",
        "",
        "| job | against | times as fast (rounds) | ours [s] | all our processes [MiB] |",
        "| --- | --- | ---: | ---: | ---: |",
        *rows,
        end,
    ]
    before, _, rest = readme.read_text().partition(start)
    readme.write_text(before + "\n".join(body) + rest.partition(end)[2])


if __name__ == "__main__":
    main()
