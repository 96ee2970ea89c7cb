"""What work costs on a cluster: measured runs, a cost model, and clusters that stand in."""

import functools
import gzip
import itertools
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import numpy as np
import pandas as pd
import psutil
from dask.utils import key_split
from distributed import Client, get_task_stream
from scipy.optimize import nnls
from sklearn.base import BaseEstimator

from trajlib.archive.flights import BLOCK, map_flights
from trajlib.cluster import count_tasks, gather, local_cluster
from trajlib.models.training import predict_held_out

__all__ = [
    "TERMS",
    "average_columns",
    "check_costs",
    "draw_costs",
    "extrapolate",
    "fit_costs",
    "measure_runs",
    "open_cluster",
    "open_stand_in",
    "plan_runs",
    "plan_training",
    "predict_idle",
    "price_runs",
    "record_tasks",
    "spread_work",
    "time_idle",
    "time_sweep",
    "time_tasks",
    "time_training",
    "watch_process",
    "write_many",
]

# What a run may consist of, and what each is counted in. A worker has its share of the first
# four; for the others all workers wait, since they pass through the scheduler or the client.
TERMS = {
    "bytes": "byte of CSV read",
    "files": "file opened",
    "growth": "predictor of a flight sorted for a tree",
    "handled": "task, on its worker",
    "tasks": "task, in the scheduler and the client",
    "moved": "byte to the client or from it",
    "start": "run",
}
_SHARED = ("bytes", "files", "growth", "handled")
_FOLDER = 1_000  # files that stand in one folder of a stand-in archive


@contextmanager
def open_cluster(workers: int) -> Iterator[Client]:
    """Give a client of a local cluster of its own, whichever cluster there may be besides."""
    with local_cluster(workers) as cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield client


@contextmanager
def open_stand_in(workers: int) -> Iterator[tuple[Client, psutil.Process]]:
    """Give a cluster of many idle workers, and the process of its scheduler.

    The scheduler is Dask's own, in a process by itself; the workers, of one thread each, share
    another process. All listen on loopback only.
    """
    secure = dask.config.get("distributed.comm.require-encryption")
    here = {"host": "127.0.0.1", "protocol": "tls" if secure else "tcp", "dashboard": False}
    with TemporaryDirectory() as folder:
        told = Path(folder) / "scheduler.json"
        once = {"port": 0, "idle_timeout": "10 minutes", "scheduler_file": str(told)}
        scheduler = _start({0: {"cls": "distributed.Scheduler", "opts": here | once}})
        try:
            address = _wait_for_address(told, scheduler)
            each = here | {"nthreads": 1, "memory_limit": None, "local_directory": folder}
            spec = {f"{at}": {"cls": "distributed.Worker", "opts": each} for at in range(workers)}
            crowd = _start(spec, address)
            try:
                with Client(address) as client:
                    client.wait_for_workers(workers, timeout=120)
                    yield client, psutil.Process(scheduler.pid)
            finally:
                _end(crowd)
        finally:
            _end(scheduler)


def _start(spec: Mapping, *address: str) -> subprocess.Popen:
    # a worker looks a hundred times a second at what it does: for hundreds in a process too often
    quiet = {"WORKER__PROFILE__ENABLED": "False", "ADMIN__LOW_LEVEL_LOG_LENGTH": "0"}
    environment = os.environ | {f"DASK_DISTRIBUTED__{name}": value for name, value in quiet.items()}
    environment["PYTHONPATH"] = str(Path(__file__).parent)  # whose functions tasks name
    command = [sys.executable, "-m", "distributed.cli.dask_spec", "--spec", json.dumps(spec)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *address], env=environment, **silent)


def _wait_for_address(told: Path, scheduler: subprocess.Popen, patience: float = 60) -> str:
    end = time.monotonic() + patience
    while not (told.exists() and told.read_text().endswith("}")):
        if scheduler.poll() is not None or time.monotonic() > end:
            raise OSError(f"the stand-in's scheduler has not started within {patience} s")
        time.sleep(0.05)
    return json.loads(told.read_text())["address"]


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def watch_process(process: psutil.Process) -> Iterator[dict[str, float]]:
    """Give a dict that at the end of the block tells what a process took during it.

    ``seconds`` that passed, ``cpu`` [s], and how much its memory had grown at the most (``peak``)
    and at the end (``kept``) [bytes].
    """
    told, done = {}, threading.Event()
    before, highest = process.memory_info().rss, 0
    used, started = sum(process.cpu_times()[:2]), time.perf_counter()

    def look() -> None:
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, process.memory_info().rss)

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield told
    finally:
        done.set()
        watch.join()
        kept = process.memory_info().rss
        told |= {"seconds": time.perf_counter() - started}
        told |= {"cpu": sum(process.cpu_times()[:2]) - used}
        told |= {"peak": max(highest, kept) - before, "kept": kept - before}


def record_tasks(client: Client, work: Callable[[], object]) -> tuple[float, pd.DataFrame]:
    """Do some work on a cluster; return the seconds it took, and its tasks.

    Returns
    -------
    float
        From the call to the result [s].
    DataFrame
        One row for each thing that a worker did for a task: ``worker`` (numbered from 1, no
        address), ``task`` (its function), ``action`` (``compute``, ``transfer``, ...), ``start``
        and ``stop`` [s since the call], ``size`` of the task's result [bytes].
    """
    with get_task_stream(client) as stream:
        called, started = time.time(), time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    rows = [
        {"worker": told["worker"], "task": key_split(told["key"]).strip("_")}
        | {name: each[name] for name in ("action", "start", "stop")}
        | {"size": told["nbytes"]}
        for told in stream.data
        for each in told["startstops"]
    ]
    tasks = pd.DataFrame(rows)
    tasks[["start", "stop"]] -= called
    return seconds, tasks.assign(worker=pd.factorize(tasks["worker"], sort=True)[0] + 1)


def average_columns(flight: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each number of a flight: a cheap question, so that reading prevails."""
    return flight.mean(numeric_only=True).to_dict()


def time_sweep(client: Client, rows: pd.DataFrame) -> dict[str, float]:
    """Return what a sweep over flights consists of, by `TERMS`, and its ``seconds``.

    Parameters
    ----------
    rows
        Of an index.
    """
    seconds, tasks = record_tasks(client, lambda: map_flights(rows, average_columns))
    computed = tasks[tasks["action"] == "compute"]
    sent = len(pickle.dumps(rows))
    read = {"bytes": rows["size"].sum(), "files": len(rows)}
    return read | _count(client, computed, sent) | {"seconds": seconds}


def time_training(
    client: Client,
    model: BaseEstimator,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence,
) -> dict[str, float]:
    """Return what the training of every fraction and split consists of, and its ``seconds``.

    Its growth is trees x predictors x n log n of the n flights that a tree is grown from.
    """
    trees = model[-1].regressor.n_estimators
    work = {"splits": splits, "feature_set": "whole_flight"}
    seconds, tasks = record_tasks(
        client, lambda: predict_held_out(model, predictors, targets, **work)
    )
    computed = tasks[tasks["action"] == "compute"]
    fractions = targets.index.unique("fraction").size
    growth = sum(count_growth(len(train), predictors.shape[1], trees) for train, _ in splits)
    tables, grown = computed["task"] == "hold", computed[computed["task"] != "hold"]
    sent = computed.loc[tables, "size"].sum() * count_copies(len(client.nthreads()))
    return {"growth": fractions * growth} | _count(client, grown, sent) | {"seconds": seconds}


def time_tasks(client: Client, count: int, size: int = 0) -> dict[str, float]:
    """Return what tasks consist of that do nothing but return so many bytes, and ``seconds``."""
    arguments = [size] * count
    seconds, tasks = record_tasks(
        client, lambda: gather(client, client.map(bytes, arguments, pure=False))
    )
    return _count(client, tasks[tasks["action"] == "compute"], 0) | {"seconds": seconds}


def _count(client: Client, computed: pd.DataFrame, sent: float) -> dict[str, float]:
    moved = computed["size"].sum() + sent
    return {"workers": len(client.nthreads()), "tasks": len(computed), "moved": moved}


def count_growth(flights: float, predictors: int, trees: int) -> float:
    """Return trees x predictors x n log2 n.

    >>> count_growth(8, 10, 100)
    24000.0
    """
    return float(trees * predictors * flights * math.log2(max(flights, 2)))


def count_copies(workers: int) -> int:
    """Return how often a table is sent until all workers hold it, each passing it on meanwhile.

    >>> [count_copies(workers) for workers in (1, 2, 1000)]
    [1, 2, 11]
    """
    return 1 + math.ceil(math.log2(workers))


def measure_runs(
    works: Mapping[str, Callable[[Client], Mapping]], workers: Sequence[int], repeats: int
) -> pd.DataFrame:
    """Do each work several times on local clusters of so many workers.

    Parameters
    ----------
    works
        By name; each takes a client and returns what it consists of, as `time_tasks` does.

    Returns
    -------
    DataFrame
        One row a run: ``work``, ``repeat``, ``workers``, ``seconds``, and what it consists of.
    """
    runs = []
    for count in workers:
        with open_cluster(count) as client:
            for repeat in range(-1, repeats):  # the first, when imports are still cold, is let go
                for name, work in works.items():
                    runs.append({"work": name, "repeat": repeat} | dict(work(client)))
    table = pd.DataFrame(runs).fillna(0.0)
    return table[table["repeat"] >= 0].reset_index(drop=True)


def spread_work(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the amounts that pass one after the other in each run: its terms.

    Of what workers share, the one that gets the most tasks has its share; one task is one
    worker's alone, however many there are.

    Parameters
    ----------
    runs
        ``workers``, ``tasks``, and any of the other amounts.

    >>> runs = pd.DataFrame({"workers": [2, 4], "tasks": [3, 3], "bytes": [9.0, 9.0]})
    >>> spread_work(runs)[["bytes", "tasks", "start"]].to_numpy().tolist()
    [[6.0, 3.0, 1.0], [3.0, 3.0, 1.0]]
    """
    share = np.ceil(runs["tasks"] / runs["workers"]) / runs["tasks"]
    amounts = runs.assign(handled=runs["tasks"], start=1.0).reindex(columns=list(TERMS))
    amounts = amounts.fillna(0.0).astype("float64")
    amounts[[*_SHARED]] = amounts[[*_SHARED]].mul(share, axis=0)
    return amounts


def fit_costs(amounts: pd.DataFrame, seconds: pd.Series) -> pd.Series:
    """Return the seconds that one of each amount costs, none of them negative.

    Non-negative least squares of the relative errors, so that short runs count as long ones do
    (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23).

    >>> amounts = pd.DataFrame({"bytes": [1e6, 2e6, 0.0], "tasks": [1.0, 1.0, 5.0]})
    >>> fit_costs(amounts, pd.Series([0.11, 0.21, 0.05])).round(9).to_dict()
    {'bytes': 1e-07, 'tasks': 0.01}
    """
    relative = amounts.div(seconds, axis=0).to_numpy()
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(relative / scale, np.ones(len(relative)))
    return pd.Series(found / scale, index=amounts.columns)


def draw_costs(runs: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Return costs fitted to runs drawn anew, with replacement from each work and cluster.

    Parameters
    ----------
    runs
        As of `measure_runs`.

    Returns
    -------
    DataFrame
        One row a draw, a column a term [s].
    """
    generator = np.random.default_rng(seed)
    groups = [table.index for _, table in runs.groupby(["work", "workers"])]
    costs = []
    for _ in range(draws):
        drawn = runs.loc[np.concatenate([generator.choice(group, len(group)) for group in groups])]
        costs.append(fit_costs(spread_work(drawn), drawn["seconds"]))
    return pd.DataFrame(costs)


def plan_runs(
    sizes: Sequence[float], workers: Sequence[int], *, file_size: float, moved: float
) -> pd.DataFrame:
    """Return what sweeps over archives of so many bytes would consist of.

    Parameters
    ----------
    sizes
        Of the archives [bytes].
    file_size
        Of a flight's file in them, in the mean [bytes].
    moved
        What is sent for a flight, and what comes back [bytes].

    >>> plan_runs([1e9], [10], file_size=1e6, moved=300.0)[["files", "tasks", "moved"]]
        files  tasks     moved
    0  1000.0   32.0  300000.0
    """
    rows = [
        {"size": size, "workers": float(count), "bytes": size, "files": size / file_size}
        | {"tasks": float(count_tasks(math.ceil(size / file_size / BLOCK), count))}
        | {"moved": size / file_size * moved}
        for size in sizes
        for count in workers
    ]
    return pd.DataFrame(rows)


def plan_training(
    flights: Sequence[float],
    workers: Sequence[int],
    *,
    predictors: int,
    trees: int,
    tasks: int,
    table: float,
) -> pd.DataFrame:
    """Return what training on so many flights would consist of.

    Parameters
    ----------
    flights
        To train on, of one city pair.
    tasks
        Models, one a fraction and split, each trained on all of the flights.
    table
        Predictors and targets of a flight [bytes].

    >>> plan_training([8], [2], predictors=10, trees=100, tasks=20, table=80.0).iloc[0].to_dict()
    {'flights': 8.0, 'workers': 2.0, 'growth': 480000.0, 'tasks': 20.0, 'moved': 1280.0}
    """
    rows = [
        {"flights": float(number), "workers": float(count), "tasks": float(tasks)}
        | {"growth": tasks * count_growth(number, predictors, trees)}
        | {"moved": number * table * count_copies(count)}
        for number in flights
        for count in workers
    ]
    return pd.DataFrame(rows)[["flights", "workers", "growth", "tasks", "moved"]]


def price_runs(
    plan: pd.DataFrame, costs: pd.Series, *, listing: float = 0.0, bandwidth: float = math.inf
) -> pd.DataFrame:
    """Return the seconds that each part of planned runs takes, and ``all`` of them.

    Parameters
    ----------
    plan
        As of `plan_runs` or `plan_training`.
    listing
        Of one file, before the sweep can begin [s].
    bandwidth
        Of the file system that all workers read from [bytes/s]. Workers read while they compute:
        of these two only the slower counts.
    """
    seconds = spread_work(plan) * costs
    read = plan.get("bytes", pd.Series(0.0, plan.index))
    parts = pd.DataFrame(
        {
            "work": seconds[[*_SHARED]].sum(axis=1),
            "file system": read / bandwidth,
            "scheduler": seconds["tasks"],
            "moving": seconds["moved"],
            "listing": plan.get("files", 0 * read) * listing,
        }
    )
    slower = parts[["work", "file system"]].max(axis=1)
    others = parts[["scheduler", "moving", "listing"]].sum(axis=1)
    return parts.assign(all=slower + others + seconds["start"])


def extrapolate(
    plan: pd.DataFrame, costs: pd.Series, drawn: pd.DataFrame, **shared: float
) -> pd.DataFrame:
    """Return planned runs with the seconds of each part, of ``all``, and what is unsure of it.

    Parameters
    ----------
    plan
        As of `plan_runs` or `plan_training`.
    costs, drawn
        As of `fit_costs` and `draw_costs`.
    shared
        As of `price_runs`.

    Returns
    -------
    DataFrame
        ``workers`` of the plan, the parts of `price_runs`, ``low`` and ``high``, between which
        lie 90 % of the draws [s], and ``most``, the part that takes longest.
    """
    parts = price_runs(plan, costs, **shared)
    draws = pd.DataFrame([price_runs(plan, draw, **shared)["all"] for _, draw in drawn.iterrows()])
    told = parts.assign(low=draws.quantile(0.05), high=draws.quantile(0.95))
    most = parts.drop(columns="all").idxmax(axis=1)
    return plan[["workers"]].join(told).assign(most=most)


def check_costs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each work's seconds as measured, and as the costs of all other works predict them.

    Returns
    -------
    DataFrame
        By ``work`` and ``workers``: medians ``measured`` and ``predicted`` [s].
    """
    tables = []
    for name, own in runs.groupby("work", sort=False):
        others = runs[runs["work"] != name]
        costs = fit_costs(spread_work(others), others["seconds"])
        told = own.assign(measured=own["seconds"], predicted=spread_work(own) @ costs)
        tables.append(told.groupby(["work", "workers"])[["measured", "predicted"]].median())
    return pd.concat(tables)


def predict_idle(tried: pd.DataFrame, costs: pd.Series) -> pd.Series:
    """Return the seconds in which the costs expect the runs that `time_idle` told of."""
    rounds = np.ceil(tried["tasks"] / tried["workers"])
    return spread_work(tried) @ costs + rounds * tried["duration"]


def time_idle(
    client: Client, scheduler: psutil.Process, arguments: Sequence, duration: float = 0.0
) -> dict[str, float]:
    """Return what the scheduler needs for a task an argument, each of which sleeps.

    Parameters
    ----------
    scheduler
        Its process.
    duration
        Of a task [s].

    Returns
    -------
    dict
        ``tasks``, ``workers``, ``duration``, and what `watch_process` tells of the scheduler
        while all of their results are still held.
    """
    told = {"tasks": len(arguments), "workers": len(client.nthreads()), "duration": duration}
    with watch_process(scheduler) as watched:
        futures = client.map(functools.partial(_sleep, duration), arguments, pure=False)
        gather(client, futures)
    return told | watched


def _sleep(duration: float, argument: Sequence) -> int:
    time.sleep(duration)
    return len(argument)


def write_many(flight: Path, folder: Path, files: int) -> None:
    """Write an archive of many short flights, no two of them alike.

    Parameters
    ----------
    flight
        CSV of which each file has the header, the first line, another two and the last.
    folder
        Receives the files, a thousand a sub-folder, and the ``columns.toml`` of the flight's
        archive if it stands two folders above it or nearer.
    """
    opener = gzip.open if flight.suffix == ".gz" else open
    with opener(flight, "rb") as file:
        lines = file.readlines()
    folder.mkdir(parents=True, exist_ok=True)
    for parent in list(flight.parents)[:3]:
        if (parent / "columns.toml").exists():
            shutil.copy(parent / "columns.toml", folder)
            break
    between = itertools.combinations(lines[2:-1], 2)
    for number, two in enumerate(itertools.islice(between, files)):
        subfolder = folder / f"{number // _FOLDER:06d}"
        subfolder.mkdir(exist_ok=True)
        text = b"".join([*lines[:2], *two, lines[-1]])
        (subfolder / f"{number:09d}.csv").write_bytes(text)
