"""Costs of work on a cluster: measured runs, a cost model, and simulated clusters."""

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
from trajlib.cluster import gather, local_cluster, task_sizes
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

# The amounts of work in a run, and their units. Workers share the first four amounts; the others
# pass through the scheduler or the client, and all workers wait for them.
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
_FOLDER = 1_000  # files per folder of a generated archive


@contextmanager
def open_cluster(workers: int) -> Iterator[Client]:
    """Yield a client of a new local cluster, independent of any other cluster."""
    with local_cluster(workers) as cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield client


@contextmanager
def open_stand_in(workers: int) -> Iterator[tuple[Client, psutil.Process]]:
    """Yield a client of a cluster of many idle workers, and the process of its scheduler.

    Dask's scheduler runs in one process; all workers, of one thread each, run in another one. They
    listen on loopback only.
    """
    secure = dask.config.get("distributed.comm.require-encryption")
    network = {"host": "127.0.0.1", "protocol": "tls" if secure else "tcp", "dashboard": False}
    with TemporaryDirectory() as folder:
        address_file = Path(folder) / "scheduler.json"
        options = {"idle_timeout": "10 minutes", "scheduler_file": str(address_file)}
        options |= network | {"port": 0}
        scheduler = _start({0: {"cls": "distributed.Scheduler", "opts": options}})
        try:
            address = _wait_for_address(address_file, scheduler)
            options = network | {"nthreads": 1, "memory_limit": None, "local_directory": folder}
            worker = {"cls": "distributed.Worker", "opts": options}
            worker_process = _start({f"{i}": worker for i in range(workers)}, address)
            try:
                with Client(address) as client:
                    client.wait_for_workers(workers, timeout=120)
                    yield client, psutil.Process(scheduler.pid)
            finally:
                _end(worker_process)
        finally:
            _end(scheduler)


def _start(spec: Mapping, *address: str) -> subprocess.Popen:
    # profiling samples 100 times a second, which is too much with hundreds of workers in a process
    quiet = {"WORKER__PROFILE__ENABLED": "False", "ADMIN__LOW_LEVEL_LOG_LENGTH": "0"}
    environment = os.environ | {f"DASK_DISTRIBUTED__{name}": value for name, value in quiet.items()}
    environment["PYTHONPATH"] = str(Path(__file__).parent)  # to import the functions of tasks
    command = [sys.executable, "-m", "distributed.cli.dask_spec", "--spec", json.dumps(spec)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *address], env=environment, **silent)


def _wait_for_address(address_file: Path, scheduler: subprocess.Popen, patience: float = 60) -> str:
    end = time.monotonic() + patience
    while not (address_file.exists() and address_file.read_text().endswith("}")):
        if scheduler.poll() is not None or time.monotonic() > end:
            raise OSError(f"the stand-in's scheduler has not started within {patience} s")
        time.sleep(0.05)
    return json.loads(address_file.read_text())["address"]


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def watch_process(process: psutil.Process) -> Iterator[dict[str, float]]:
    """Yield a dict that at the end of the block receives what a process used during it.

    ``seconds`` of wall time, ``cpu`` time [s], and the growth of its memory [bytes]: the largest
    (``peak``) and that at the end (``kept``).
    """
    usage, done = {}, threading.Event()
    before, highest = process.memory_info().rss, 0
    cpu_before, started = sum(process.cpu_times()[:2]), time.perf_counter()

    def sample() -> None:
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, process.memory_info().rss)

    watch = threading.Thread(target=sample, daemon=True)
    watch.start()
    try:
        yield usage
    finally:
        done.set()
        watch.join()
        final = process.memory_info().rss
        usage |= {"seconds": time.perf_counter() - started}
        usage |= {"cpu": sum(process.cpu_times()[:2]) - cpu_before}
        usage |= {"peak": max(highest, final) - before, "kept": final - before}


def record_tasks(client: Client, work: Callable[[], object]) -> tuple[float, pd.DataFrame]:
    """Do some work on a cluster; return its seconds and its tasks.

    Returns
    -------
    float
        From the call to the result [s].
    DataFrame
        One row per action of a worker for a task: ``worker`` (numbered from 1), ``task`` (name of
        the function), ``action`` (``compute``, ``transfer``, ...), ``start`` and ``stop`` [s since
        the call], ``size`` of the task's result [bytes].
    """
    with get_task_stream(client) as stream:
        called, started = time.time(), time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    rows = [
        {"worker": record["worker"], "task": key_split(record["key"]).strip("_")}
        | {name: action[name] for name in ("action", "start", "stop")}
        | {"size": record["nbytes"]}
        for record in stream.data
        for action in record["startstops"]
    ]
    tasks = pd.DataFrame(rows)
    tasks[["start", "stop"]] -= called
    return seconds, tasks.assign(worker=pd.factorize(tasks["worker"], sort=True)[0] + 1)


def average_columns(flight: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each number of a flight; this is cheap, so that reading dominates."""
    return flight.mean(numeric_only=True).to_dict()


def time_sweep(client: Client, rows: pd.DataFrame) -> dict[str, float]:
    """Return the amounts of a sweep over flights, by `TERMS`, and its ``seconds``.

    Parameters
    ----------
    rows
        Rows of an index.
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
    """Return the amounts of training for every fraction and split, and its ``seconds``.

    Growth is trees x predictors x n log n, for trees trained on n flights.
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
    """Return the amounts of tasks that only return ``size`` bytes, and their ``seconds``."""
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
    """Return how often a table is sent until all workers have it, if each worker passes it on.

    >>> [count_copies(workers) for workers in (1, 2, 1000)]
    [1, 2, 11]
    """
    return 1 + math.ceil(math.log2(workers))


def measure_runs(
    works: Mapping[str, Callable[[Client], Mapping]], workers: Sequence[int], repeats: int
) -> pd.DataFrame:
    """Do each work several times on local clusters with different numbers of workers.

    Parameters
    ----------
    works
        Functions by name, which take a client and return amounts, as `time_tasks` does.

    Returns
    -------
    DataFrame
        One row per run: ``work``, ``repeat``, ``workers``, ``seconds``, and the amounts.
    """
    runs = []
    for count in workers:
        with open_cluster(count) as client:
            for repeat in range(-1, repeats):  # the first, which imports modules, is discarded
                for name, work in works.items():
                    runs.append({"work": name, "repeat": repeat} | dict(work(client)))
    table = pd.DataFrame(runs).fillna(0.0)
    return table[table["repeat"] >= 0].reset_index(drop=True)


def spread_work(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the amounts that are processed one after the other in each run.

    For shared amounts, this is the share of the worker with the most tasks; a single task is not
    shared.

    Parameters
    ----------
    runs
        ``workers``, ``tasks`` and any other amounts.

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
    """Return the seconds per unit of each amount, not negative.

    Non-negative least squares of the relative errors, so that short runs count as much as long ones
    (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23).

    >>> amounts = pd.DataFrame({"bytes": [1e6, 2e6, 0.0], "tasks": [1.0, 1.0, 5.0]})
    >>> fit_costs(amounts, pd.Series([0.11, 0.21, 0.05])).round(9).to_dict()
    {'bytes': 1e-07, 'tasks': 0.01}
    """
    relative = amounts.div(seconds, axis=0).to_numpy()
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    solution, _ = nnls(relative / scale, np.ones(len(relative)))
    return pd.Series(solution / scale, index=amounts.columns)


def draw_costs(runs: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Return costs fitted to bootstrap samples of runs, drawn within each work and cluster.

    Parameters
    ----------
    runs
        As returned by `measure_runs`.

    Returns
    -------
    DataFrame
        One row per draw, one column per term [s].
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
    """Return the amounts of sweeps over archives of the given sizes.

    Parameters
    ----------
    sizes
        Sizes of the archives [bytes].
    file_size
        Mean size of a flight's file [bytes].
    moved
        Bytes sent to and from a worker for each flight.

    >>> plan_runs([1e9], [10], file_size=1e6, moved=300.0)[["files", "tasks", "moved"]]
        files  tasks     moved
    0  1000.0   32.0  300000.0
    """
    rows = [
        {"size": size, "workers": float(count), "bytes": size, "files": size / file_size}
        | {"tasks": float(len(task_sizes(math.ceil(size / file_size / BLOCK), count)))}
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
    """Return the amounts of training on the given numbers of flights.

    Parameters
    ----------
    flights
        Numbers of flights of a city pair to train on.
    tasks
        Number of models, one per fraction and split, each trained on all of the flights.
    table
        Size of the predictors and targets of a flight [bytes].

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
    """Return the seconds of each part of planned runs, and of ``all`` parts.

    Parameters
    ----------
    plan
        As returned by `plan_runs` or `plan_training`.
    listing
        Time to list one file before the sweep begins [s].
    bandwidth
        Bandwidth of the file system that all workers read from [bytes/s]. Workers read and compute
        at the same time: only the slower of the two counts.
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
    """Return planned runs with the seconds of each part and of ``all``, and its interval.

    Parameters
    ----------
    plan
        As returned by `plan_runs` or `plan_training`.
    costs, drawn
        As returned by `fit_costs` and `draw_costs`.
    shared
        Other arguments of `price_runs`.

    Returns
    -------
    DataFrame
        ``workers`` of the plan, the parts of `price_runs`, ``low`` and ``high`` [s] (an interval
        with 90 % of the draws), and ``most``, the part that takes longest.
    """
    parts = price_runs(plan, costs, **shared)
    draws = pd.DataFrame([price_runs(plan, draw, **shared)["all"] for _, draw in drawn.iterrows()])
    priced = parts.assign(low=draws.quantile(0.05), high=draws.quantile(0.95))
    most = parts.drop(columns="all").idxmax(axis=1)
    return plan[["workers"]].join(priced).assign(most=most)


def check_costs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the measured seconds of each work, and those predicted by costs of all other works.

    Returns
    -------
    DataFrame
        By ``work`` and ``workers``: medians ``measured`` and ``predicted`` [s].
    """
    tables = []
    for name, rows in runs.groupby("work", sort=False):
        others = runs[runs["work"] != name]
        costs = fit_costs(spread_work(others), others["seconds"])
        rows = rows.assign(measured=rows["seconds"], predicted=spread_work(rows) @ costs)
        tables.append(rows.groupby(["work", "workers"])[["measured", "predicted"]].median())
    return pd.concat(tables)


def predict_idle(runs: pd.DataFrame, costs: pd.Series) -> pd.Series:
    """Return the seconds that the costs predict for runs measured by `time_idle`."""
    rounds = np.ceil(runs["tasks"] / runs["workers"])
    return spread_work(runs) @ costs + rounds * runs["duration"]


def time_idle(
    client: Client, scheduler: psutil.Process, arguments: Sequence, duration: float = 0.0
) -> dict[str, float]:
    """Return what the scheduler uses for one sleeping task per argument.

    Parameters
    ----------
    scheduler
        Process of the scheduler.
    duration
        Duration of a task [s].

    Returns
    -------
    dict
        ``tasks``, ``workers``, ``duration``, and the values of `watch_process` for the scheduler,
        taken while all results are still held.
    """
    amounts = {"tasks": len(arguments), "workers": len(client.nthreads()), "duration": duration}
    with watch_process(scheduler) as watched:
        futures = client.map(functools.partial(_sleep, duration), arguments, pure=False)
        gather(client, futures)
    return amounts | watched


def _sleep(duration: float, argument: Sequence) -> int:
    time.sleep(duration)
    return len(argument)


def write_many(flight: Path, folder: Path, files: int) -> None:
    """Write an archive of many short flights that all differ.

    Parameters
    ----------
    flight
        CSV from which each file gets the header, the first line, two other lines and the last.
    folder
        Receives the files, a thousand per sub-folder, and the ``columns.toml`` of the flight's
        archive if it is at most two folders above the flight.
    """
    opener = gzip.open if flight.suffix == ".gz" else open
    with opener(flight, "rb") as file:
        lines = file.readlines()
    folder.mkdir(parents=True, exist_ok=True)
    for parent in list(flight.parents)[:3]:
        if (parent / "columns.toml").exists():
            shutil.copy(parent / "columns.toml", folder)
            break
    pairs = itertools.combinations(lines[2:-1], 2)
    for number, pair in enumerate(itertools.islice(pairs, files)):
        subfolder = folder / f"{number // _FOLDER:06d}"
        subfolder.mkdir(exist_ok=True)
        text = b"".join([*lines[:2], *pair, lines[-1]])
        (subfolder / f"{number:09d}.csv").write_bytes(text)
