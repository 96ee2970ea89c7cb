"""One job of one tool, timed without its imports: ``python jobs.py TOOL JOB ARCHIVE WORK``.

Prints JSON: seconds, peak resident memory of all its processes [MiB], the version of the tool,
and whatever the job tells. Tools are imported where they are used, since each peer stands in an
environment that may not have the others.
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
    header = (
        next(iter(archive.glob("*/*.csv"))).open().readline().replace('"', "").strip().split(",")
    )
    return [name for name in header if name not in {*TEXTS, "timestamp"}]


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


def on_cluster(flights, columns, told=None):
    from distributed import get_task_stream

    from trajlib import connect, map_flights

    client = connect()
    map_flights(flights.head(64), aggregate, columns=columns)  # compilers and imports warm up

    def run():
        start = time.perf_counter()
        with get_task_stream(client) as stream:
            table = map_flights(flights, aggregate, columns=columns)
        wall = time.perf_counter() - start
        busy = sum(
            span["stop"] - span["start"]
            for task in stream.data
            for span in task["startstops"]
            if span["action"] == "compute"
        )
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        assert len(table) == len(flights)
        return {"dask_share": 1 - busy / (wall * workers), "tasks": len(stream.data)} | (told or {})

    return run


def trajlib_aggregates(archive, work):
    from trajlib import build_index
    from trajlib.schema import NUMERIC

    return on_cluster(build_index(archive, work / "index.parquet"), [*NUMERIC])


def stored(archive, work):
    from trajlib import build_index, connect, store_flights

    connect()
    index = build_index(archive, work / "index.parquet")
    store = store_flights(index, work / "store")
    size = sum(part.stat().st_size for part in (work / "store").glob("part-*"))
    return store, {"smaller": float(index["size"].sum() / size)}


def trajlib_store_aggregates(archive, work):
    from trajlib.schema import NUMERIC

    store, told = stored(archive, work)
    return on_cluster(store, [*NUMERIC], told)


def trajlib_store_six(archive, work):
    store, told = stored(archive, work)
    return on_cluster(store, SIX, told)


def trajlib_csv_six(archive, work):
    from trajlib import build_index

    return on_cluster(build_index(archive, work / "index.parquet"), SIX)


def trajlib_correlation(archive, work):
    from trajlib import build_index, connect
    from trajlib.trajectories.correlations import correlate

    connect()
    index = build_index(archive, work / "index.parquet")
    correlate(index.head(64))
    return lambda: {"check": float(correlate(index).loc["altitude", "mass"])}


# -- peers ----------------------------------------------------------------------------------------


def pandas_index(archive, work, **options):
    import pandas as pd

    files = [str(file) for file in archive.glob("*/*.csv")]
    return lambda: len(pd.concat(pd.read_csv(file, nrows=1, **options) for file in files))


def pandas_index_usecols(archive, work):
    return pandas_index(archive, work, usecols=[*TEXTS, "timestamp"])


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
    pairs = [pl.corr(a, b).alias(f"{a}|{b}") for at, a in enumerate(numbers) for b in numbers[:at]]
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


def peak_memory(stop: threading.Event, told: dict) -> None:
    import psutil

    own = psutil.Process()
    ended = False
    while not ended:
        ended = stop.wait(0.05)  # and once more at the end, however short it was
        total = 0
        for process in [own, *own.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        told["memory_MiB"] = max(told.get("memory_MiB", 0), total / 2**20)


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
    told, stop = {"version": version(tool)}, threading.Event()
    watch = threading.Thread(target=peak_memory, args=(stop, told))
    watch.start()
    start = time.perf_counter()
    try:
        result = run()
    finally:
        stop.set()
    told["seconds"] = time.perf_counter() - start
    watch.join()
    print(json.dumps(told | (result if isinstance(result, dict) else {})))


if __name__ == "__main__":
    main(*sys.argv[1:])
