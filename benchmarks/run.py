"""Time trajlib beside what a user would pick instead, and write the table into README.md.

Every tool of a job runs in turn, the order rotated each round, each in a process of its own;
the figure is the median of the rounds.
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

from data import SCALES, make_archive

HERE = Path(__file__).resolve().parent
OURS = {"trajlib"}
# job: what is compared (tool, function), the first being ours
JOBS = {
    "index": ["trajlib index", "pandas index", "pandas index_usecols", "polars index"],
    "index again": ["trajlib index_again"],
    "aggregates": [
        "trajlib aggregates",
        "polars aggregates",
        "duckdb aggregates",
        "dask aggregates",
        "pyspark aggregates",
    ],
    "aggregates from the store": ["trajlib store_aggregates", "trajlib aggregates"],
    "six columns from the store": ["trajlib store_six", "trajlib csv_six"],
    "correlation": ["trajlib correlation", "polars correlation", "dask correlation"],
}
FULL = {
    "index": JOBS["index"],
    "index again": JOBS["index again"],
    "aggregates": ["trajlib aggregates"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", action="append", choices=JOBS)
    parser.add_argument(
        "--tool", action="append", help="only these, such as polars; all by default"
    )
    parser.add_argument("--patience", type=int, default=600, help="a tool is given up after [s]")
    parser.add_argument("--peers", type=Path, help="python of the peers' environment")
    parser.add_argument("--data", type=Path, default=HERE / "data")
    options = parser.parse_args()
    archive = make_archive(options.scale, options.data)
    jobs = FULL if options.scale == "full" else JOBS
    tables = []
    for job in options.job or jobs:
        tools = [tool for tool in jobs[job] if _is_there(tool, options)]
        results = _time_job(tools, archive, options)
        tables.append(_table(job, results))
        print(tables[-1], flush=True)
    _write(options, tables)


def _is_there(tool: str, options: argparse.Namespace) -> bool:
    name = tool.split()[0]
    if name in OURS:
        return True
    wanted = options.peers is not None and (not options.tool or name in options.tool)
    return wanted and (name != "pyspark" or shutil.which("java") is not None)


def _time_job(
    tools: list[str], archive: Path, options: argparse.Namespace
) -> dict[str, list[dict]]:
    results = {tool: [] for tool in tools}
    for turn in range(options.rounds):
        for at in range(len(tools)):
            tool = tools[(turn + at) % len(tools)]
            python = sys.executable if tool.split()[0] in OURS else str(options.peers)
            work = options.data / f"work-{options.scale}"
            command = [python, str(HERE / "jobs.py"), *tool.split(), str(archive), str(work)]
            results[tool].append(_run(command, options.patience))
    return results


def _run(command: list[str], patience: int) -> dict:
    # in a session of its own, so that what it started can be ended with it
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, rejected = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"failed": f"did not end in {patience} s"}
    if process.returncode:
        return {"failed": (rejected.strip().splitlines() or ["?"])[-1][:80]}
    return json.loads(out.strip().splitlines()[-1])


def _table(job: str, results: dict[str, list[dict]]) -> str:
    ours = next(iter(results))
    rows = [
        f"### {job}",
        "",
        "| tool | median [s] | min to max [s] | ours is | memory [MiB] | also |",
    ]
    rows.append("| --- | ---: | ---: | ---: | ---: | --- |")
    for tool, runs in results.items():
        good = [run for run in runs if "seconds" in run]
        if not good:
            rows.append(f"| {tool} | failed | | | | {runs[0]['failed']} |")
            continue
        pairs = zip(results[ours], runs, strict=True)
        ratios = [
            b["seconds"] / a["seconds"] for a, b in pairs if "seconds" in a and "seconds" in b
        ]
        seconds = [run["seconds"] for run in good]
        also = {k: v for k, v in good[-1].items() if k not in ("seconds", "memory_MiB", "version")}
        rows.append(
            f"| {tool.replace('_', ' ')} {good[0]['version']} | {median(seconds):.2f} | "
            f"{min(seconds):.2f} to {max(seconds):.2f} | "
            f"{'' if tool == ours else f'{median(ratios):.1f} × as fast'} | "
            f"{median(run.get('memory_MiB', 0) for run in good):,.0f} | "
            f"{', '.join(f'{key} {value:.3g}' for key, value in also.items())} |"
        )
    return "\n".join(rows) + "\n"


def _write(options: argparse.Namespace, tables: list[str]) -> None:
    readme = HERE / "README.md"
    start, end = f"<!-- {options.scale} -->", f"<!-- /{options.scale} -->"
    files, distinct = SCALES[options.scale]
    told = (
        f"{files:,} files ({distinct:,} distinct), {options.rounds} rounds, "
        f"{datetime.now(UTC):%d %B %Y}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}:\n"
    )
    only = [
        f"--{name} '{value}'" for name in ("job", "tool") for value in getattr(options, name) or ()
    ]
    command = f"python benchmarks/run.py --scale {options.scale} --rounds {options.rounds}"
    command = " ".join([command, *only, "--peers .venv-bench/bin/python"])
    body = "\n".join([start, f"## {options.scale}", "", f"`{command}`: {told}", *tables, end])
    text = readme.read_text() if readme.exists() else f"{start}{end}\n"
    if start not in text:
        text += f"\n{start}{end}\n"
    before, _, rest = text.partition(start)
    readme.write_text(before + body + rest.partition(end)[2])


if __name__ == "__main__":
    main()
