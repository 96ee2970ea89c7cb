"""Measure how the sweep and the index grow with the number of files, and draw it: growth.png.

    python benchmarks/growth.py --data benchmarks/data

The sweep reads a few hundred files repeatedly, so that 98 GiB need no disk space. The index is made
of many different files with short flights.
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
import pandas as pd
from jobs import aggregate, peak_memory

from data import make_archive
from trajlib import build_index, connect, map_flights
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


def draw(growth: pd.DataFrame, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for job, rows in growth.groupby("job"):
        (line,) = axes[0].plot(rows["files"], rows["seconds"], marker="o", label=job)
        axes[1].plot(rows["files"], rows["memory_MiB"], marker="o", color=line.get_color())
        linear = rows["files"] * rows["seconds"].iloc[-1] / rows["files"].iloc[-1]
        axes[0].plot(rows["files"], linear, color="grey", linewidth=0.8, zorder=0)
    axes[0].set(xscale="log", yscale="log", xlabel="files", ylabel="time [s]")
    axes[0].legend(title="grey: in proportion to the files")
    axes[1].set(xscale="log", xlabel="files", ylabel="memory of all processes [MiB]")
    axes[1].set_ylim(bottom=0)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2_000, 8_000])
    options = parser.parse_args()
    growth = measure_growth(options.data, options.sizes)
    growth.round(2).to_csv(HERE / "growth.csv", index=False)
    print(growth.round(2).to_string(index=False))
    draw(growth, HERE / "growth.png")
