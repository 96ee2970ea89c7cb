"""Import flights with trajlib, the traffic library, and polars by hand: the time and the memory.

python benchmarks/importers.py SOURCE [--peers PYTHON] [--rounds N] [--workers N]

SOURCE is a folder of OpenSky state vectors (CSV, also gzipped), or a file of the traffic library
(.json.gz). Each tool reads it, cuts it into flights, removes impossible points, resamples to 1 s
and writes a CSV for each flight. The other tools are in a separate environment, with traffic 2.13,
pandas before 3 and polars. trajlib also infers the airports; with more than one
worker it uses a cluster of that many processes, as traffic does. Polars uses all cores. Imports of
modules and the start of the cluster are not counted in the seconds, but in the CPU seconds.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

GAP = 600  # s without a point, after which the other tools begin a new flight
FASTEST = 1000  # kt
COLUMNS = {
    "time": "timestamp",
    "lat": "latitude",
    "lon": "longitude",
    "velocity": "groundspeed",
    "heading": "track",
    "vertrate": "vertical_rate",
    "baroaltitude": "altitude",
    "icao24": "icao24",
    "callsign": "callsign",
}
FACTORS = {"groundspeed": 3600 / 1852, "vertical_rate": 60 / 0.3048, "altitude": 1 / 0.3048}


def import_with_trajlib(source: Path, output: Path, workers: int) -> float:
    from trajlib import connect
    from trajlib.importers.pipeline import import_flights

    client = connect(workers=workers) if workers > 1 else None
    if client:
        client.run(import_module, "trajlib.importers.pipeline")
    start = time.perf_counter()
    import_flights(source, output)
    seconds = time.perf_counter() - start
    if client:
        client.shutdown()  # so that the use of the workers is counted
    return seconds


def import_with_traffic(source: Path, output: Path, workers: int) -> float:
    import pandas as pd
    from traffic.core import Traffic

    start = time.perf_counter()
    if source.is_dir():
        tables = [pd.read_csv(path, usecols=[*COLUMNS]) for path in sorted(source.iterdir())]
        df = pd.concat(tables).rename(columns=COLUMNS)
        for name, factor in FACTORS.items():
            df[name] *= factor
        times = pd.to_datetime(df["timestamp"], unit="s", utc=True)
        traffic = Traffic(df.assign(timestamp=times, callsign=df["callsign"].str.strip()))
    else:
        traffic = Traffic.from_file(source)
    flights = traffic.assign_id().filter().resample("1s").eval(desc="", max_workers=workers)
    for number, flight in enumerate(flights):
        flight.data.to_csv(output / f"{number}.csv", index=False)
    return time.perf_counter() - start


def import_with_polars(source: Path, output: Path, workers: int) -> float:
    import polars as pl

    start = time.perf_counter()
    if source.is_dir():
        frame = pl.concat(
            pl.scan_csv(path).select([*COLUMNS]) for path in sorted(source.iterdir())
        ).rename(COLUMNS)
        frame = frame.with_columns(
            pl.from_epoch("timestamp", time_unit="s"),
            *(pl.col(name) * factor for name, factor in FACTORS.items()),
        )
    else:
        frame = read_records(source).lazy().select([*COLUMNS.values()])
    step = pl.col("timestamp").diff().dt.total_seconds().over("icao24")
    north = pl.col("latitude").diff().over("icao24") * 60
    east = pl.col("longitude").diff().over("icao24") * 60 * pl.col("latitude").radians().cos()
    frame = frame.drop_nulls(["latitude", "longitude"]).sort("icao24", "timestamp")
    frame = frame.unique(["icao24", "timestamp"], keep="first", maintain_order=True)
    frame = frame.filter(((north**2 + east**2).sqrt() / step * 3600 <= FASTEST).fill_null(True))
    frame = frame.with_columns(flight=(step > GAP).fill_null(False).cum_sum().over("icao24"))
    numbers = ["latitude", "longitude", "altitude", "groundspeed", "track", "vertical_rate"]
    flights = frame.collect().partition_by("icao24", "flight", maintain_order=True)
    for number, flight in enumerate(flights):
        flight = flight.with_columns(pl.col("timestamp").dt.truncate("1s"))
        flight = flight.unique("timestamp", keep="first", maintain_order=True)
        flight = flight.upsample("timestamp", every="1s").with_columns(
            pl.col(numbers).interpolate(), pl.col("icao24", "callsign").forward_fill()
        )
        flight.write_csv(output / f"{number}.csv")
    return time.perf_counter() - start


def read_records(source: Path):
    import gzip

    import polars as pl

    with gzip.open(source) as file:
        frame = pl.read_json(file.read(), infer_schema_length=None)
    times = pl.col("timestamp")
    if frame.schema["timestamp"] == pl.String:
        return frame.with_columns(times.str.to_datetime(time_zone="UTC"))
    return frame.with_columns(pl.from_epoch(times, time_unit="ms"))


TOOLS = {
    "trajlib": import_with_trajlib,
    "traffic": import_with_traffic,
    "polars": import_with_polars,
}


def run_tool(tool: str, source: Path, workers: int) -> dict[str, float]:
    """Import the source into a temporary folder, and return the time and memory used."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        seconds = TOOLS[tool](source, Path(folder), workers)
        files = [path for path in Path(folder).rglob("*.csv")]
        size = sum(path.stat().st_size for path in files)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "seconds": seconds,
        "cpu_seconds": sum(part.ru_utime + part.ru_stime for part in usage),
        "largest_process_mib": max(part.ru_maxrss for part in usage) / 1024,
        "flights": len(files),
        "written_mb": size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--peers", default=".venv-bench/bin/python", help="their Python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tool", choices=TOOLS, action="append")
    parser.add_argument("--run", choices=TOOLS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run_tool(options.run, options.source.resolve(), options.workers)))
        return
    results: dict[str, list[dict[str, float]]] = {tool: [] for tool in options.tool or TOOLS}
    for _ in range(options.rounds):
        for tool, rounds in results.items():
            python = sys.executable if tool == "trajlib" else options.peers
            command = [python, __file__, str(options.source), "--run", tool]
            command += ["--workers", str(options.workers)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rounds.append(json.loads(done.stdout.splitlines()[-1]))
    for tool, rounds in results.items():
        medians = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
        print(tool, {name: round(value, 1) for name, value in medians.items()})


if __name__ == "__main__":
    main()
