"""One job of one tool, timed without its imports: ``python jobs.py TOOL JOB ARCHIVE WORK``.

Prints JSON: seconds, peak resident memory of all its processes [MiB] and the tool's version.
Tools are imported where they are used, since the environment of a tool may not have the others.
"""

import json
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

TEXTS = ["callsign", "operator", "aircraft_type", "origin", "destination"]
SIX = ["altitude", "distance", "groundspeed", "temperature", "mass", "mach"]


def header_of(archive: Path) -> list[str]:
    line = next(iter(archive.glob("*/*.csv"))).open().readline()
    return line.replace('"', "").strip().split(",")


def columns_of(archive: Path) -> list[str]:
    return [name for name in header_of(archive) if name not in {*TEXTS, "timestamp"}]


# -- trajlib --------------------------------------------------------------------------------------


def trajlib_index(archive, work):
    from trajlib import build_index

    output = work / "index.parquet"
    output.unlink(missing_ok=True)
    return lambda: build_index(archive, output)


def trajlib_index_again(archive, work):
    from trajlib import build_index

    build_index(archive, work / "index.parquet")
    return lambda: build_index(archive, work / "index.parquet")


def aggregate(df):
    import numpy as np

    values = df.to_numpy().T
    statistics = values.min(1), values.max(1), values.mean(1), values.std(1)
    return dict(enumerate(np.concatenate(statistics).tolist()))


def on_cluster(flights, columns):
    from trajlib import connect, map_flights

    connect()
    map_flights(flights.head(64), aggregate, columns=columns)  # compile and import first

    def run():
        table = map_flights(flights, aggregate, columns=columns)
        assert len(table) == len(flights), "some flights are rejected"

    return run


def trajlib_aggregates(archive, work):
    from trajlib import build_index
    from trajlib.schema import NUMERIC

    return on_cluster(build_index(archive, work / "index.parquet"), [*NUMERIC])


def stored(archive, work):
    from trajlib import build_index, connect, store_flights

    connect()
    return store_flights(build_index(archive, work / "index.parquet"), work / "store")


def trajlib_store_aggregates(archive, work):
    from trajlib.schema import NUMERIC

    return on_cluster(stored(archive, work), [*NUMERIC])


def trajlib_store_six(archive, work):
    return on_cluster(stored(archive, work), SIX)


def trajlib_csv_six(archive, work):
    from trajlib import build_index

    return on_cluster(build_index(archive, work / "index.parquet"), SIX)


def trajlib_correlation(archive, work):
    from trajlib import build_index, connect
    from trajlib.trajectories.correlations import correlate

    connect()
    index = build_index(archive, work / "index.parquet")
    correlate(index.head(64))
    return lambda: correlate(index)


def top_of_climb(df):
    """Return a simple result for a flight: its highest altitude and its number of samples."""
    return {"top": float(df["altitude"].max()), "samples": len(df)}


def trajlib_short(archive, work):
    from trajlib import build_index, connect, map_flights

    connect()
    index = build_index(archive, work / "index.parquet")
    map_flights(index.head(64), top_of_climb)
    return lambda: map_flights(index, top_of_climb)


def plain_aggregates(archive, work):
    """Read and aggregate the same files in two processes without Dask."""
    from multiprocessing import get_context

    paths = sorted(map(str, archive.glob("*/*.csv")))
    parts = [paths[start : start + 32] for start in range(0, len(paths), 32)]
    pool = get_context("spawn").Pool(2)
    pool.map(aggregate_files, [paths[:32], paths[32:64]], chunksize=1)
    return lambda: len(pool.map(aggregate_files, parts, chunksize=1))


def aggregate_files(paths):
    from trajlib import read_flight
    from trajlib.schema import NUMERIC

    return [aggregate(read_flight(path, NUMERIC)) for path in paths]


# -- peers ----------------------------------------------------------------------------------------


def pandas_index(archive, work, **options):
    import pandas as pd

    files = [str(file) for file in archive.glob("*/*.csv")]
    return lambda: len(pd.concat(pd.read_csv(file, nrows=1, **options) for file in files))


def pandas_index_usecols(archive, work):
    return pandas_index(archive, work, usecols=[*TEXTS, "timestamp"])


def pandas_short(archive, work):
    from multiprocessing import get_context

    paths = sorted(map(str, archive.glob("*/*.csv")))
    pool = get_context("spawn").Pool(2)
    pool.map(climb_of_file, paths[:64], chunksize=32)
    return lambda: len(pool.map(climb_of_file, paths, chunksize=32))


def climb_of_file(path):
    import pandas as pd

    return top_of_climb(pd.read_csv(path))


def polars_index(archive, work):
    import polars as pl

    lazy = pl.scan_csv(f"{archive}/*/*.csv", include_file_paths="path").group_by("path")
    first = lazy.agg(pl.col("origin", "destination", "timestamp").first())
    return lambda: len(first.collect(engine="streaming"))


def polars_aggregates(archive, work):
    import polars as pl

    numbers = columns_of(archive)
    types = dict.fromkeys(numbers, pl.Float64)
    lazy = pl.scan_csv(f"{archive}/*/*.csv", include_file_paths="path", schema_overrides=types)
    columns = [
        getattr(pl.col(name), kind)().alias(f"{name}_{kind}")
        for name in numbers
        for kind in ("min", "max", "mean", "std")
    ]
    return lambda: len(lazy.group_by("path").agg(columns).collect(engine="streaming"))


def duckdb_aggregates(archive, work):
    import duckdb

    numbers = columns_of(archive)
    kinds = {"min": "min", "max": "max", "mean": "avg", "std": "stddev_pop"}
    columns = ", ".join(f"{f}({n}) AS {n}_{k}" for n in numbers for k, f in kinds.items())
    types = ", ".join(f"'{name}': 'DOUBLE'" for name in numbers)
    query = (
        f"SELECT filename, {columns} FROM read_csv('{archive}/*/*.csv', filename=true, "
        f"types={{{types}}}) GROUP BY filename"
    )
    return lambda: len(duckdb.sql(query).fetchall())


def polars_correlation(archive, work):
    import polars as pl

    numbers = columns_of(archive)
    types = dict.fromkeys(numbers, pl.Float64)
    lazy = pl.scan_csv(f"{archive}/*/*.csv", schema_overrides=types).select(numbers)
    pairs = [pl.corr(a, b).alias(f"{a}|{b}") for i, a in enumerate(numbers) for b in numbers[:i]]
    return lambda: len(lazy.select(pairs).collect(engine="streaming").row(0))


def dask_correlation(archive, work):
    import dask.dataframe as dd
    from distributed import Client

    numbers = columns_of(archive)
    Client(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")
    types = dict.fromkeys(numbers, float)
    table = dd.read_csv(f"{archive}/*/*.csv", usecols=numbers, dtype=types)
    return lambda: len(table.corr().compute())


def dask_aggregates(archive, work):
    import dask.dataframe as dd
    from distributed import Client

    numbers = columns_of(archive)
    Client(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")
    types = dict.fromkeys(numbers, float)
    table = dd.read_csv(f"{archive}/*/*.csv", dtype=types, include_path_column=True)
    grouped = table.groupby("path")[numbers].agg(["min", "max", "mean", "std"])
    return lambda: len(grouped.compute())


def pyspark_aggregates(archive, work):
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    numbers = columns_of(archive)
    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "6g")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    schema = ", ".join(
        f"{name} {'DOUBLE' if name in numbers else 'STRING'}" for name in header_of(archive)
    )
    table = spark.read.csv(f"{archive}/*/*.csv", header=True, schema=schema)
    table = table.withColumn("path", f.input_file_name())
    kinds = {"min": f.min, "max": f.max, "mean": f.mean, "std": f.stddev_pop}
    columns = [kind(name).alias(f"{name}_{k}") for name in numbers for k, kind in kinds.items()]
    return lambda: len(table.groupBy("path").agg(*columns).collect())


def peak_memory(stop: threading.Event, result: dict) -> None:
    import psutil

    this = psutil.Process()
    ended = False
    while not ended:
        ended = stop.wait(0.05)  # samples at least once, also at the end
        total = 0
        for process in [this, *this.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        result["memory_MiB"] = max(result.get("memory_MiB", 0), total / 2**20)


def warm(archive: Path) -> None:
    """Open every name once and read every distinct file, so that no tool reads from the disk."""
    read = set()
    for path in archive.glob("*/*.csv"):
        with path.open("rb") as file:
            inode = path.stat().st_ino
            if inode not in read:
                read.add(inode)
                file.read()


def main(tool: str, job: str, archive: str, work: str) -> None:
    Path(work).mkdir(parents=True, exist_ok=True)
    warm(Path(archive))
    run = globals()[f"{tool}_{job}"](Path(archive).resolve(), Path(work).resolve())
    result, stop = {"version": version("trajlib" if tool == "plain" else tool)}, threading.Event()
    watch = threading.Thread(target=peak_memory, args=(stop, result))
    watch.start()
    start = time.perf_counter()
    try:
        run()
    finally:
        stop.set()
    result["seconds"] = time.perf_counter() - start
    watch.join()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
