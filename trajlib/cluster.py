"""Connect to a Dask cluster: yours, or a local one that only this machine can reach.

Dask is imported by the functions that need it: a command without a cluster starts half a second
earlier.
"""

import asyncio
import gc
import logging
import os
import re
import signal
import socket
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from importlib.metadata import requires
from multiprocessing import resource_tracker, spawn
from pathlib import Path
from tempfile import gettempdir
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd
import psutil

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_LOOPBACK = "127.0.0.1"
_FOR_WORKERS = {
    # By default workers return freed memory to the system at once. Allocating it again for each
    # flight costs as much as parsing the flight, so they keep up to 64 MiB.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 64 << 20,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 32 << 20,
    # The profile page samples stacks ten times a second instead of a hundred times: this is precise
    # enough, and every sample interrupts the task.
    "distributed.worker.profile.interval": "100ms",
}
# Tables are sent in the graph; a warning about ten megabytes would be in the output of notebooks.
_LARGE = {"distributed.admin.large-graph-warning-threshold": "1GB"}
# Run by each worker as it starts. Ctrl-C, and interrupting a cell in JupyterLab, send a signal to
# all processes of the group. Workers ignore it, and do not log errors: the client handles both.
_START = """
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
"""
_LARGEST_TASK = 8  # blocks
_GATHERED = 32  # tasks whose results are fetched together
_PATIENCE = 30  # s to wait for a cluster without workers, or a scheduler that does not answer
CANCELLED = "cancelled"  # reason of work that this program ended
_RESUME = "start the cluster again, then the command, which goes on from what is whole"
_ENOUGH = 500 << 20  # bytes that a worker needs for the imported libraries and some work
_KERNEL = 250 << 20  # bytes of the process that runs a notebook
_FRACTION = 0.8  # of the free memory is for workers


def connect(address: str | None = None, *, workers: int | None = None) -> "Client":
    """Return a client of the cluster at an address, or of a local cluster.

    Parameters
    ----------
    address
        Of a scheduler, as ``tls://scheduler:8786``; certificates are those that Dask's
        configuration names. By default the one in the environment variable
        ``DASK_SCHEDULER_ADDRESS``; without it, a client that this process already has; without
        that, a new local cluster on loopback, its dashboard included.
    workers
        Processes of a local cluster, each of one thread; by default one for each core that this
        process may use.

    Raises
    ------
    OSError
        When no scheduler answers at the address.
    ValueError
        When the address is neither TLS nor loopback, or the workers' packages differ from ours.
    """
    address = address or os.environ.get("DASK_SCHEDULER_ADDRESS")
    current = current_client()
    if address is None:
        from dask.system import CPU_COUNT
        from distributed import Client

        return current or Client(local_cluster(workers or CPU_COUNT), set_as_default=True)
    if current is not None and current.scheduler.address == address:
        return current
    _refuse_plain(address)
    client = _open(address)
    try:
        _compare_packages(client)
    except BaseException:
        client.close()
        raise
    return client


def current_client() -> "Client | None":
    """Return the client that this process has and that still answers, or None.

    >>> current_client() is None or current_client().status == "running"
    True
    """
    if "distributed" not in sys.modules:  # nothing has connected yet
        return None
    from distributed import Client

    try:
        client = Client.current()
    except ValueError:
        return None
    return client if client.status == "running" else None


def run_tasks(function: Callable, items: Sequence) -> list[Any]:
    """Return the results of a function for each item, on the cluster if there is one."""
    client = current_client()
    if client is None:
        return [function(item) for item in items]
    return gather(client, client.map(function, items, pure=False))


def gather(
    client: "Client", futures: "Sequence[Future]", watch: Callable[[], None] | None = None
) -> list[Any]:
    """Return the results of futures in order; stop waiting when the cluster is lost.

    Parameters
    ----------
    watch
        A function from `watch_workers`, if the work began long before this call.

    Raises
    ------
    ConnectionError
        When the scheduler, or every worker, has been lost for half a minute.
    MemoryError
        When workers are lost repeatedly on one task, which happens when it needs more memory
        than a worker has.
    """
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    coroutine = client.gather(list(futures), asynchronous=True)
    results = asyncio.run_coroutine_threadsafe(coroutine, client.loop.asyncio_loop)
    watch = watch or watch_workers(client)
    try:
        while True:
            try:
                return results.result(timeout=1)
            except NotYet:
                watch()
    except FutureCancelledError as error:
        if error.reason == CANCELLED:
            raise RuntimeError(
                "this work was cancelled after an error or an interruption: submit it again"
            ) from error
        lost = "the scheduler" if "scheduler" in error.reason else "what a lost worker held"
        raise ConnectionError(f"{lost} is lost: {_RESUME}") from error
    except KilledWorker as error:
        cause = _describe_small_workers(client) or (
            "it most likely needs more memory than a worker has; give each more, by fewer workers "
            "on a machine or a higher --memory-limit, or take its file out of the archive"
        )
        raise MemoryError(f"workers were lost on one task, one after the other: {cause}") from error
    finally:
        results.cancel()


def run_blocks(function: Callable, table: pd.DataFrame, size: int) -> list:
    """Return what a function returns for each block of a table, in the order of the rows.

    A block has ``size`` rows, so that results do not depend on the number of workers. Without a
    client the blocks run in this process.

    Raises
    ------
    ConnectionError, MemoryError
        As `gather`; the message names the ``path`` of the row that needs too much memory.
    """
    client = current_client()
    if client is None:
        return _run_batch(function, size, table)
    from distributed.protocol import pickle

    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    batches, start = [], 0
    for blocks in task_sizes(-(-len(table) // size), workers):
        batches.append(table.iloc[start : start + size * blocks])
        start += size * blocks
    # Impure, as files written by an earlier run of the same task may have been removed.
    pickled = [pickle.dumps(batch) for batch in batches]
    futures = client.map(partial(_run_pickled, function, size), pickled, pure=False)
    watch = watch_workers(client)
    results = []
    try:
        for start in range(0, len(futures), _GATHERED):  # so that workers need not hold all results
            part = futures[start : start + _GATHERED]
            for future, batch in zip(part, gather(client, part, watch), strict=True):
                results.extend(pickle.loads(batch))
                future.release()
        return results
    except MemoryError as error:
        lost = [batches[i] for i, future in enumerate(futures) if future.status == "error"]
        client.cancel(futures)
        if not lost or _describe_small_workers(client):
            raise  # the workers are too small, whatever the file
        raise MemoryError(_find_largest(client, function, pd.concat(lost), error)) from error
    except BaseException:
        client.cancel(futures)  # otherwise the other tasks would go on running
        raise


def task_sizes(blocks: int, workers: int) -> list[int]:
    """Return how many blocks each task of `run_blocks` has.

    The first tasks have many, as each task costs milliseconds; the last have one, so that all
    workers finish together.

    >>> task_sizes(30, 2)
    [3, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    sizes = []
    while blocks:
        sizes.append(max(1, min(_LARGEST_TASK, blocks // (4 * workers))))
        blocks -= sizes[-1]
    return sizes


def _run_pickled(function: Callable, size: int, batch: bytes) -> bytes:
    # Bytes both ways: the scheduler would load and pickle each table once more, and a worker would
    # go through all columns of a result to find its size. Distributed's pickle also takes objects
    # of classes that a notebook defines.
    from distributed.protocol import pickle

    return pickle.dumps(_run_batch(function, size, pickle.loads(batch)))


def _run_batch(function: Callable, size: int, table: pd.DataFrame) -> list:
    return [function(table.iloc[start : start + size]) for start in range(0, len(table), size)]


def _describe_small_workers(client: "Client") -> str | None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    smallest = min((worker["memory_limit"] or _ENOUGH for worker in workers), default=_ENOUGH)
    if smallest >= _ENOUGH:
        return None
    return (
        f"a worker has {smallest / 2**20:.0f} MiB of memory, and needs {_ENOUGH / 2**20:.0f} MiB "
        "before it reads any flight; start fewer workers, or free memory"
    )


def _find_largest(
    client: "Client", function: Callable, rows: pd.DataFrame, error: Exception
) -> str:
    # one row at a time, until workers are lost again
    paths = rows["path"] if "path" in rows else rows.index.to_series()
    for i in range(len(rows)):
        try:
            gather(client, [client.submit(function, rows.iloc[i : i + 1], pure=False)])
        except MemoryError as row_error:
            return f"{paths.iloc[i]}: {row_error}"
    return f"one of {len(rows)} files from {paths.iloc[0]} on, beside others: {error}"


def watch_workers(client: "Client") -> Callable[[], None]:
    """Return a function that raises an error once the cluster has been stuck for half a minute.

    It raises ConnectionError if the cluster is gone, and MemoryError if all workers have stopped
    because their memory is full. A cluster that has not had a worker yet may still be waiting in a
    queue, and is not lost. The half minute begins again when the function was not called meanwhile.
    """
    seen, last = False, time.monotonic()
    awake = called = last

    def watch() -> None:
        nonlocal seen, last, awake, called
        now = time.monotonic()
        if now - called > _PATIENCE:
            last = awake = now
        called = now
        running = client.status == "running"
        workers = client.scheduler_info(n_workers=-1)["workers"].values() if running else ()
        if workers:
            seen, last = True, now
        elif (seen or not running) and now - last > _PATIENCE:
            lost = "every worker" if running else "the scheduler"
            raise ConnectionError(f"{lost} is lost for {_PATIENCE} s: {_RESUME}")
        if not workers or any(worker["status"] != "paused" for worker in workers):
            awake = now
        elif now - awake > _PATIENCE:
            raise MemoryError(
                f"all workers have been waiting for memory for {_PATIENCE} s: "
                f"{_describe_small_workers(client) or 'give each more, by fewer workers'}"
            )

    watch()  # registers the workers that exist now: they may be lost before the next call
    return watch


def _refuse_plain(address: str) -> None:
    if "://" not in address:
        address = f"tcp://{address}"
    parts = urlsplit(address)
    if parts.scheme in ("tls", "wss", "inproc") or is_loopback(parts.hostname or ""):
        return
    raise ValueError(
        f"{address} is neither TLS nor loopback: flights, and pickles that whoever is in between "
        "could change, would cross the network in the clear; start the cluster with certificates "
        "and give tls://HOST:PORT (docs/cluster.md)"
    )


def is_loopback(host: str) -> bool:
    """Return whether a host name is a loopback address of this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("192.0.2.1")
    (True, False)
    """
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(address.startswith("127.") or address == "::1" for address in addresses)


def _open(address: str) -> "Client":
    import dask
    from distributed import Client

    kind = "scheduler that takes our certificate" if address.startswith("tls") else "scheduler"
    hint = f"no {kind} answers at {address}"
    dask.config.set(_LARGE)
    try:
        return Client(address, timeout=f"{_PATIENCE}s", set_as_default=True)
    except TypeError as error:  # raised by distributed when no certificate is configured
        _collect_client(error)
        raise ValueError(
            f"{hint}: no certificate is configured; set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and ..._KEY (docs/cluster.md)"
        ) from error
    except OSError as error:
        _collect_client(error)
        raise OSError(f"{hint}: {_first_cause(error)}") from error


def _first_cause(error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _collect_client(error: BaseException | None) -> None:
    # A client that failed to start must be collected now: collected while another client starts,
    # it would wait for that client's lock.
    while error is not None:
        error.__traceback__ = None  # its frames reference the client
        error = error.__cause__ or error.__context__
    gc.collect()


def _compare_packages(client: "Client") -> None:
    """Refuse workers of other versions, or of another trajlib, before work is sent to them."""
    declared = [line for line in requires("trajlib") or () if "extra" not in line]
    names = ["trajlib", *(re.findall(r"^[\w-]+", line)[0] for line in declared)]
    versions = client.get_versions(packages=names)
    ours = _versions(versions["client"])
    theirs = {worker: _versions(report) for worker, report in versions["workers"].items()}
    if all(packages == ours for packages in theirs.values()):  # else the digest may not unpickle
        ours["trajlib's code"] = code = _code_digest()()
        digests = client.run(_code_digest(), on_error="return")
        theirs = {worker: ours | {"trajlib's code": digests.get(worker, code)} for worker in theirs}
    differences = Counter(
        f"{name} {packages[name] or 'missing'} instead of {ours[name]}"
        for packages in theirs.values()
        for name in ours
        if packages[name] != ours[name]
    )
    if differences:
        lines = [f"  {text} on {n} of {len(theirs)} workers" for text, n in differences.items()]
        remedy = (
            "install requirements.lock and this trajlib on every machine of the cluster "
            "(docs/cluster.md)"
        )
        raise ValueError("\n".join([f"the workers' environment differs: {remedy}", *lines]))


def _versions(report: dict) -> dict[str, str | None]:
    packages = dict(report["packages"])
    packages["python"] = ".".join(packages["python"].split(".")[:2])
    return packages


def _code_digest() -> Callable[[], str]:
    def digest() -> str:  # a local function, since an older trajlib on a worker may lack it
        import hashlib
        from importlib.resources import files
        from pathlib import Path

        folder = Path(str(files("trajlib")))
        code = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
        return hashlib.sha256(code).hexdigest()[:12]

    return digest


def local_cluster(workers: int) -> "LocalCluster":
    """Return a cluster of so many processes of one thread, which listens on loopback only."""
    import dask
    from distributed.config import defaults

    # otherwise the end of a shuffle is logged as a warning in the output of notebooks
    logging.getLogger("distributed.shuffle._scheduler_plugin").setLevel(logging.ERROR)
    # The user's settings for another cluster would keep these processes apart, or end them; clients
    # that connect later need the same. How the dashboard is reached stays the user's choice.
    settings = deepcopy(defaults["distributed"])
    del settings["dashboard"]
    dask.config.set({f"distributed.{name}": setting for name, setting in settings.items()})
    dask.config.set(_LARGE)
    available = _available_memory() - _KERNEL
    if _FRACTION * available < _ENOUGH:
        raise MemoryError(
            f"{max(0, available) / 2**20:.0f} MiB of memory are free for a worker, expected "
            f"{_ENOUGH / _FRACTION / 2**20:.0f} MiB: end other programs, or allow more memory"
        )
    workers = min(workers, int(_FRACTION * available / _ENOUGH))
    spill = {} if (disk := _spill_folder()) else {"distributed.worker.memory.spill": False}
    with (
        dask.config.set(_FOR_WORKERS | spill),
        warnings.catch_warnings(),
        _without_interrupts(),
    ):
        # if another cluster's dashboard uses the port, a free one is taken
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = _start(
            n_workers=workers,
            threads_per_worker=1,  # much of the work is in Python, which runs in one thread
            memory_limit=int(_FRACTION * available / workers),
            host=_LOOPBACK,
            dashboard_address=f"{_LOOPBACK}:8787",
            worker_dashboard_address=f"{_LOOPBACK}:0",  # by default on all addresses
            local_directory=disk,
            preload=[_START],
        )
    cluster.adapt(minimum=workers, maximum=workers)  # also replaces workers lost at startup
    return cluster


def _start(**options: Any) -> "LocalCluster":
    from distributed import LocalCluster

    _keep_script_out_of_workers()
    try:
        return LocalCluster(**options)
    except RuntimeError as error:  # with little memory, or few threads, processes or open files
        raise OSError(
            f"the local cluster cannot start: {_first_cause(error)}; the limits of this user are "
            "listed by ulimit -a"
        ) from error


@cache
def _keep_script_out_of_workers() -> None:
    """Start workers without running a script in them that has no guard of its main part.

    Python runs the main script once more in every process that it spawns, so that a script without
    ``if __name__ == "__main__"`` would start clusters without end. Workers receive its functions by
    value instead. What is sent by reference, such as a function under ``functools.cache``, still
    needs the guard.
    """
    prepare = spawn.get_preparation_data

    def prepare_without_script(name: str) -> dict[str, Any]:
        data = prepare(name)
        if name.startswith("Dask Worker process") and not _has_guard(sys.modules["__main__"]):
            data.pop("init_main_from_path", None)
            data.pop("init_main_from_name", None)
        return data

    spawn.get_preparation_data = prepare_without_script


def _has_guard(script: ModuleType) -> bool:
    try:
        return "__main__" in Path(script.__file__ or "").read_text("utf-8")
    except (AttributeError, OSError):  # the standard input, or an interactive session
        return False


@contextmanager
def _without_interrupts() -> Iterator[None]:
    # Threads and processes started in this block never receive Ctrl-C; this thread does afterwards.
    resource_tracker.ensure_running()  # first, since starting it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _available_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the free bytes within the machine's memory, our cgroup and our limits."""
    from distributed.system import MEMORY_LIMIT

    return min(MEMORY_LIMIT, psutil.virtual_memory().available, *_free_in_cgroups(root))


def _free_in_cgroups(root: Path) -> Iterator[int]:
    ours = [line.rpartition(":")[2].strip("/") for line in _read(Path("/proc/self/cgroup"))]
    for group in {"", *ours}:
        for folder, used, limit in (
            (root / group, "memory.current", "memory.max"),
            (root / "memory" / group, "memory.usage_in_bytes", "memory.limit_in_bytes"),
        ):
            values = [*_read(folder / used), *_read(folder / limit)]
            if len(values) == 2 and values[1].isdigit():
                cache = sum(
                    int(line.split()[1])
                    for line in _read(folder / "memory.stat")
                    if line.startswith("inactive_file ")  # freed by the kernel on demand
                )
                yield max(0, int(values[1]) - int(values[0]) + cache)


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _spill_folder() -> str | None:
    """Return a private folder on disk, or None if only folders in memory are available."""
    import dask

    configured = dask.config.get("temporary-directory", None)
    # /tmp is kept in memory on many systems, /var/tmp is on disk by convention
    for parent in (configured, "/var/tmp", gettempdir(), Path.home()):
        if parent and os.access(parent, os.W_OK) and not _is_memory(Path(parent)):
            folder = Path(parent) / f".trajlib-{os.getuid()}"  # flights are spilled to it
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid == os.getuid() and not folder.is_symlink():
                folder.chmod(0o700)
                return str(folder)
    return None


def _is_memory(folder: Path) -> bool:
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    resolved = folder.resolve()
    types = (mounts[path] for path in (resolved, *resolved.parents) if path in mounts)
    return next(types, None) in ("tmpfs", "ramfs")
