"""Measure how the work grows with the number of files and flights, and draw it: growth.png.

    python benchmarks/growth.py --data benchmarks/data
    python benchmarks/growth.py --training data/raw/mine SFO LAX --sizes 500 5000 50000

The sweep reads a few hundred files repeatedly, so that 98 GiB need no disk space. The index is made
of many different files with short flights. With ``--training``, LightGBM is trained at all
fractions on flights drawn repeatedly from an archive, on one, two and four workers.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from distributed import Client
from jobs import aggregate, peak_memory

from data import make_archive
from trajlib import build_index, connect, map_flights, open_study
from trajlib.cluster import local_cluster
from trajlib.features.feature_sets import build_predictors
from trajlib.features.targets import FRACTIONS, build_targets
from trajlib.models.estimators import build_model
from trajlib.models.training import stack_targets, submit_held_out, widen_targets
from trajlib.schema import NUMERIC

HERE = Path(__file__).resolve().parent


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Return the seconds of some work, and the peak memory of all processes [MiB]."""
    result, stop = {}, threading.Event()
    watch = threading.Thread(target=peak_memory, args=(stop, result))
    watch.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    stop.set()
    watch.join()
    return {"seconds": seconds, "memory_MiB": result["memory_MiB"]}


def measure_growth(data: Path, sizes: list[int]) -> pd.DataFrame:
    short = sorted(make_archive("short", data).glob("*/*.csv"))
    with TemporaryDirectory(dir=data) as folder:
        small = build_index(make_archive("small", data), f"{folder}/small.parquet")
        rows = []
        for size in [size for size in sizes if size <= len(short)]:
            archive = Path(folder) / f"{size}"
            archive.mkdir()
            for number, path in enumerate(short[:size]):
                os.link(path, archive / f"{number:06}.csv")
            index = measure(partial(build_index, archive, f"{archive}.parquet"))
            rows.append({"job": "index of new files", "files": size} | index)
    connect()
    map_flights(small.head(64), aggregate, columns=NUMERIC)
    for size in sizes:
        flights = pd.concat([small] * -(-size // len(small)), ignore_index=True).head(size)
        sweep = measure(partial(map_flights, flights, aggregate, columns=NUMERIC))
        rows.append({"job": "aggregates from CSVs", "files": size} | sweep)
    return pd.DataFrame(rows)


def measure_training(pair: list[str], sizes: list[int]) -> pd.DataFrame:
    with TemporaryDirectory() as folder:
        study = open_study(*pair, data=folder)
        options = {"traffic": study.index, "plans": study.plans}
        flights = build_predictors(study.flights, "at_takeoff", **options)
        targets = widen_targets(build_targets(study.flights, FRACTIONS, by="time"))
    study.client.shutdown()
    flights = flights.loc[targets.index]
    model = build_model("lightgbm", trees=20)
    generator = np.random.default_rng(0)
    rows = {}
    for workers in (1, 2, 4):
        with local_cluster(workers) as cluster, Client(cluster) as client:
            client.wait_for_workers(workers)
            for size in [min(sizes), *sizes]:  # the first training loads modules
                drawn = generator.choice(flights.index, size)
                names = pd.Index([f"{number}" for number in range(size)], name="path")
                predictors = flights.loc[drawn].set_axis(names)
                answers = stack_targets(targets.loc[drawn].set_axis(names))
                splits = [(names[size // 4 :], names[: size // 4])]
                train = submit_held_out(
                    model, predictors, answers, splits, feature_set="at_takeoff"
                )
                job = f"training, {workers} worker{'s' if workers > 1 else ''}"
                rows[job, size] = {"job": job, "files": size} | measure(train)
    return pd.DataFrame(rows.values())


def draw(growth: pd.DataFrame, path: Path, unit: str = "files") -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for job, rows in growth.groupby("job"):
        (line,) = axes[0].plot(rows["files"], rows["seconds"], marker="o", label=job)
        axes[1].plot(rows["files"], rows["memory_MiB"], marker="o", color=line.get_color())
        linear = rows["files"] * rows["seconds"].iloc[-1] / rows["files"].iloc[-1]
        axes[0].plot(rows["files"], linear, color="grey", linewidth=0.8, zorder=0)
    axes[0].set(xscale="log", yscale="log", xlabel=unit, ylabel="time [s]")
    axes[0].legend(title=f"grey: in proportion to the {unit}")
    axes[1].set(xscale="log", xlabel=unit, ylabel="memory of all processes [MiB]")
    axes[1].set_ylim(bottom=0)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2_000, 8_000])
    parser.add_argument("--training", nargs=3, metavar=("ARCHIVE", "ORIGIN", "DESTINATION"))
    options = parser.parse_args()
    if options.training:
        name, unit = "training", "flights"
        growth = measure_training(options.training, options.sizes)
    else:
        name, unit = "growth", "files"
        growth = measure_growth(options.data, options.sizes)
    growth.round(2).to_csv(HERE / f"{name}.csv", index=False)
    print(growth.round(2).to_string(index=False))
    draw(growth, HERE / f"{name}.png", unit)
