"""Measured runs on Dask clusters, a model of their costs, and clusters of idle workers."""

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
    "estimate_parts",
    "estimate_runs",
    "fit_costs",
    "measure_idle",
    "measure_runs",
    "open_cluster",
    "open_idle_cluster",
    "plan_runs",
    "plan_training",
    "predict_idle",
    "record_tasks",
    "spread_work",
    "time_idle",
    "time_sweep",
    "time_tasks",
    "time_training",
    "watch_process",
    "write_short_flights",
]

# The amounts of a run, and their units. The first four are divided among the workers; the others
# pass through the scheduler or the client, and all workers wait for them.
TERMS = {
    "bytes": "byte of CSV",
    "files": "file",
    "growth": "trees × predictors × n log2 n, for n flights",
    "handled": "task, on its worker",
    "tasks": "task, in the scheduler and the client",
    "moved": "byte to or from the client",
    "start": "run",
}
_SHARED = ["bytes", "files", "growth", "handled"]
_FILES_PER_FOLDER = 1_000


@contextmanager
def open_cluster(workers: int) -> Iterator[Client]:
    """Yield a client of a new local cluster, independent of any other cluster."""
    with local_cluster(workers) as cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield client


@contextmanager
def open_idle_cluster(workers: int) -> Iterator[tuple[Client, psutil.Process]]:
    """Yield a client of a cluster of many idle workers, and the process of its scheduler.

    The scheduler is Dask's own, in its own process. All workers, of one thread each, run in one
    other process. Both processes listen on loopback only.
    """
    secure = dask.config.get("distributed.comm.require-encryption")
    network = {"host": "127.0.0.1", "protocol": "tls" if secure else "tcp", "dashboard": False}
    with TemporaryDirectory() as folder:
        address_file = Path(folder) / "scheduler.json"
        scheduler_options = {
            **network,
            "port": 0,
            "idle_timeout": "10 minutes",
            "scheduler_file": str(address_file),
        }
        worker_options = {
            **network,
            "nthreads": 1,
            "memory_limit": None,
            "local_directory": folder,
        }
        scheduler_spec = {0: {"cls": "distributed.Scheduler", "opts": scheduler_options}}
        worker_spec = {"cls": "distributed.Worker", "opts": worker_options}
        with _run_dask(scheduler_spec) as scheduler:
            address = _wait_for_address(address_file, scheduler)
            worker_specs = {str(number): worker_spec for number in range(workers)}
            with _run_dask(worker_specs, address), Client(address) as client:
                client.wait_for_workers(workers, timeout=120)
                yield client, psutil.Process(scheduler.pid)


@contextmanager
def _run_dask(spec: Mapping, *address: str) -> Iterator[subprocess.Popen]:
    environment = {
        **os.environ,
        # the profiler samples 100 times a second, which is too much for hundreds of workers
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
        "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": "0",
        "PYTHONPATH": str(Path(__file__).parent),  # so that workers can import this module
    }
    command = [sys.executable, "-m", "distributed.cli.dask_spec", "--spec", json.dumps(spec)]
    process = subprocess.Popen(
        [*command, *address],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_address(address_file: Path, scheduler: subprocess.Popen, timeout: float = 60) -> str:
    end = time.monotonic() + timeout
    while not (address_file.exists() and address_file.read_text().endswith("}")):
        if scheduler.poll() is not None or time.monotonic() > end:
            raise OSError(f"the scheduler of the idle workers has not started within {timeout} s")
        time.sleep(0.05)
    return json.loads(address_file.read_text())["address"]


@contextmanager
def watch_process(process: psutil.Process) -> Iterator[dict[str, float]]:
    """Measure what a process uses during a block; the yielded dict is filled when the block ends.

    It contains ``seconds`` of wall time, ``cpu`` time [s], and the growth of the process's memory
    [bytes]: at its maximum (``peak``) and at the end (``kept``).
    """
    usage = {}
    done = threading.Event()
    memory_before = process.memory_info().rss
    memory_samples = [memory_before]
    cpu_before = _cpu_seconds(process)
    started = time.perf_counter()

    def sample_memory() -> None:
        while not done.wait(0.02):
            memory_samples.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample_memory, daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        done.set()
        sampler.join()
        memory_after = process.memory_info().rss
        usage["seconds"] = time.perf_counter() - started
        usage["cpu"] = _cpu_seconds(process) - cpu_before
        usage["peak"] = max(*memory_samples, memory_after) - memory_before
        usage["kept"] = memory_after - memory_before


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def record_tasks(client: Client, work: Callable[[], object]) -> tuple[float, pd.DataFrame]:
    """Do some work on a cluster; return its duration and its tasks.

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
        called = time.time()
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    rows = []
    for record in stream.data:
        for action in record["startstops"]:
            row = {
                "worker": record["worker"],
                "task": key_split(record["key"]).strip("_"),
                "action": action["action"],
                "start": action["start"] - called,
                "stop": action["stop"] - called,
                "size": record["nbytes"],
            }
            rows.append(row)
    tasks = pd.DataFrame(rows)
    tasks["worker"] = pd.factorize(tasks["worker"], sort=True)[0] + 1
    return seconds, tasks


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
    return {
        "bytes": rows["size"].sum(),
        "files": len(rows),
        **_count(client, computed, sent=len(pickle.dumps(rows))),
        "seconds": seconds,
    }


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

    def train() -> pd.DataFrame:
        return predict_held_out(model, predictors, targets, splits, feature_set="whole_flight")

    seconds, tasks = record_tasks(client, train)
    computed = tasks[tasks["action"] == "compute"]
    holds_tables = computed["task"] == "hold"
    tables = computed.loc[holds_tables, "size"].sum()
    trees = model[-1].regressor.n_estimators
    growth = sum(count_growth(len(train), predictors.shape[1], trees) for train, _ in splits)
    return {
        "growth": targets.index.unique("fraction").size * growth,
        **_count(client, computed[~holds_tables], tables * count_copies(len(client.nthreads()))),
        "seconds": seconds,
    }


def time_tasks(client: Client, count: int, size: int = 0) -> dict[str, float]:
    """Return the amounts of tasks that only return ``size`` bytes, and their ``seconds``."""

    def run() -> None:
        gather(client, client.map(bytes, [size] * count, pure=False))

    seconds, tasks = record_tasks(client, run)
    computed = tasks[tasks["action"] == "compute"]
    return {**_count(client, computed, sent=0), "seconds": seconds}


def _count(client: Client, computed: pd.DataFrame, sent: float) -> dict[str, float]:
    return {
        "workers": len(client.nthreads()),
        "tasks": len(computed),
        "moved": computed["size"].sum() + sent,
    }


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
    jobs: Mapping[str, Callable[[Client], Mapping]], workers: Sequence[int], repeats: int
) -> pd.DataFrame:
    """Run each job several times on local clusters with different numbers of workers.

    Parameters
    ----------
    jobs
        Functions by name, which take a client and return amounts, as `time_tasks` does.

    Returns
    -------
    DataFrame
        One row per run: ``job``, ``repeat``, ``workers``, ``seconds``, and the amounts.
    """
    runs = []
    for count in workers:
        with open_cluster(count) as client:
            for repeat in range(-1, repeats):  # run -1 imports modules, and is discarded
                for name, job in jobs.items():
                    runs.append({"job": name, "repeat": repeat, **job(client)})
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
    largest_share = np.ceil(runs["tasks"] / runs["workers"]) / runs["tasks"]
    amounts = runs.assign(handled=runs["tasks"], start=1.0).reindex(columns=list(TERMS))
    amounts = amounts.fillna(0.0).astype("float64")
    amounts[_SHARED] = amounts[_SHARED].mul(largest_share, axis=0)
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
    """Return costs fitted to bootstrap samples of runs, drawn within each job and cluster.

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
    groups = [table.index for _, table in runs.groupby(["job", "workers"])]
    costs = []
    for _ in range(draws):
        drawn = [generator.choice(group, len(group)) for group in groups]
        sample = runs.loc[np.concatenate(drawn)]
        costs.append(fit_costs(spread_work(sample), sample["seconds"]))
    return pd.DataFrame(costs)


def check_costs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the measured seconds of each job, and those predicted by costs of all other jobs.

    Returns
    -------
    DataFrame
        By ``job`` and ``workers``: medians ``measured`` and ``predicted`` [s].
    """
    tables = []
    for name, rows in runs.groupby("job", sort=False):
        others = runs[runs["job"] != name]
        costs = fit_costs(spread_work(others), others["seconds"])
        rows = rows.assign(measured=rows["seconds"], predicted=spread_work(rows) @ costs)
        tables.append(rows.groupby(["job", "workers"])[["measured", "predicted"]].median())
    return pd.concat(tables)


def plan_runs(
    sizes: Mapping[str, float], workers: Sequence[int], *, file_size: float, moved: float
) -> pd.DataFrame:
    """Return the amounts of sweeps over archives of the given sizes.

    Parameters
    ----------
    sizes
        Sizes of the archives [bytes], by name.
    file_size
        Mean size of a flight's file [bytes].
    moved
        Bytes sent to and from a worker for each flight.

    >>> plan = plan_runs({"1 GB": 1e9}, [10], file_size=1e6, moved=300.0)
    >>> plan[["archive", "files", "tasks", "moved"]]
      archive   files  tasks     moved
    0    1 GB  1000.0   32.0  300000.0
    """
    rows = []
    for archive, size in sizes.items():
        files = size / file_size
        blocks = math.ceil(files / BLOCK)
        for count in workers:
            row = {
                "archive": archive,
                "workers": float(count),
                "bytes": float(size),
                "files": files,
                "tasks": float(len(task_sizes(blocks, count))),
                "moved": files * moved,
            }
            rows.append(row)
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
    rows = []
    for number in flights:
        for count in workers:
            row = {
                "flights": float(number),
                "workers": float(count),
                "growth": tasks * count_growth(number, predictors, trees),
                "tasks": float(tasks),
                "moved": number * table * count_copies(count),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def estimate_parts(
    plan: pd.DataFrame, costs: pd.Series, *, listing: float = 0.0, bandwidth: float = math.inf
) -> pd.DataFrame:
    """Return the seconds of each part of planned runs, and of ``all`` parts.

    The parts are the ``work`` of the workers, the ``file system``, the ``scheduler``, the
    ``transfer`` of data to and from the client, and the ``listing`` of the files.

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
    no_files = pd.Series(0.0, plan.index)  # training reads no files
    parts = pd.DataFrame(
        {
            "work": seconds[_SHARED].sum(axis=1),
            "file system": plan.get("bytes", no_files) / bandwidth,
            "scheduler": seconds["tasks"],
            "transfer": seconds["moved"],
            "listing": plan.get("files", no_files) * listing,
        }
    )
    slower = parts[["work", "file system"]].max(axis=1)
    others = parts[["scheduler", "transfer", "listing"]].sum(axis=1)
    return parts.assign(all=slower + others + seconds["start"])


def estimate_runs(
    plan: pd.DataFrame, costs: pd.Series, drawn: pd.DataFrame, **options: float
) -> pd.DataFrame:
    """Return planned runs with the seconds of each part and of all, and an interval.

    Parameters
    ----------
    plan
        As returned by `plan_runs` or `plan_training`.
    costs, drawn
        As returned by `fit_costs` and `draw_costs`.
    options
        Other arguments of `estimate_parts`.

    Returns
    -------
    DataFrame
        The columns of the plan and of `estimate_parts`, ``low`` and ``high`` [s] (an interval
        with 90 % of the draws of ``all``), and ``largest``, the part that takes longest.
    """
    parts = estimate_parts(plan, costs, **options)
    draws = [estimate_parts(plan, draw, **options)["all"] for _, draw in drawn.iterrows()]
    draws = pd.DataFrame(draws)
    largest = parts.drop(columns="all").idxmax(axis=1)
    estimates = plan.join(parts)
    return estimates.assign(low=draws.quantile(0.05), high=draws.quantile(0.95), largest=largest)


def measure_idle(
    workers: int, arguments: Sequence, durations: Sequence[float] = (0.0,)
) -> pd.DataFrame:
    """Run `time_idle` on a new cluster of idle workers, once for each duration.

    Each call has a new scheduler, so that earlier tasks do not change the growth of its memory.

    Returns
    -------
    DataFrame
        One row per duration, as returned by `time_idle`.
    """
    with open_idle_cluster(workers) as (client, scheduler):
        time_idle(client, scheduler, [()] * workers)  # imports modules on the workers
        runs = [time_idle(client, scheduler, arguments, duration) for duration in durations]
    return pd.DataFrame(runs)


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
        measured before any result is released.
    """
    with watch_process(scheduler) as usage:
        futures = client.map(functools.partial(_sleep, duration), arguments, pure=False)
        gather(client, futures)
    return {
        "tasks": len(arguments),
        "workers": len(client.nthreads()),
        "duration": duration,
        **usage,
    }


def _sleep(duration: float, argument: Sequence) -> int:
    time.sleep(duration)
    return len(argument)


def predict_idle(runs: pd.DataFrame, costs: pd.Series) -> pd.Series:
    """Return the seconds that the costs predict for runs measured by `time_idle`."""
    rounds = np.ceil(runs["tasks"] / runs["workers"])
    return spread_work(runs) @ costs + rounds * runs["duration"]


def write_short_flights(flight: Path, folder: Path, files: int) -> None:
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
        subfolder = folder / f"{number // _FILES_PER_FOLDER:06d}"
        subfolder.mkdir(exist_ok=True)
        text = b"".join([*lines[:2], *pair, lines[-1]])
        (subfolder / f"{number:09d}.csv").write_bytes(text)
