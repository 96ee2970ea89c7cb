"""Connect to a Dask cluster: yours, or a local one that only this machine can reach."""

import os
import socket
from pathlib import Path
from tempfile import gettempdir

import dask
import psutil
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

__all__ = ["connect", "current_client"]

_LOOPBACK = "127.0.0.1"
# Dask has workers give freed memory back at once, and each flight would take it anew, page by
# page, which costs as much as parsing it. They keep up to 64 MiB instead.
_KEEP_MEMORY = {
    f"distributed.nanny.pre-spawn-environ.MALLOC_{name}": size
    for name, size in {"TRIM_THRESHOLD_": 64 << 20, "MMAP_THRESHOLD_": 32 << 20}.items()
}


def connect(address: str | None = None, *, workers: int = CPU_COUNT) -> Client:
    """Return a client of the cluster at an address, or of a local cluster.

    Parameters
    ----------
    address
        Of a scheduler, as ``tls://scheduler:8786``. By default the one in the environment
        variable ``DASK_SCHEDULER_ADDRESS``; without it, a client that this process already
        has; without that, a new local cluster on loopback, its dashboard included.
    workers
        Processes of a local cluster, each of one thread.

    Raises
    ------
    OSError
        When no scheduler answers at the address.
    """
    address = address or os.environ.get("DASK_SCHEDULER_ADDRESS")
    if address is None:
        return current_client() or Client(_local_cluster(workers), set_as_default=True)
    current = current_client()
    if current is not None and current.scheduler.address == address:
        return current
    return Client(address, timeout="30s", set_as_default=True)


def current_client() -> Client | None:
    """Return the client that this process has and that still answers, or None.

    >>> current_client() is None or current_client().status == "running"
    True
    """
    try:
        client = Client.current()
    except ValueError:
        return None
    return client if client.status == "running" else None


def _local_cluster(workers: int) -> LocalCluster:
    memory = min(MEMORY_LIMIT, psutil.virtual_memory().available)
    with dask.config.set(_KEEP_MEMORY):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,  # flights are read and forests grown in Python as much as in C
            memory_limit=int(0.8 * memory / workers),
            host=_LOOPBACK,
            dashboard_address=f"{_LOOPBACK}:{_free_port(8787)}",
            local_directory=_spill_folder(),
        )


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        return 0 if probe.connect_ex((_LOOPBACK, wanted)) == 0 else wanted


def _spill_folder() -> str:
    # /tmp is kept in memory on many systems, /var/tmp is on disk by convention
    disk = Path("/var/tmp")
    return str(disk if os.access(disk, os.W_OK) else gettempdir())
