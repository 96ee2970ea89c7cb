"""A Dask cluster of separate processes with new certificates, and of separate hosts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

__all__ = [
    "ALONE",
    "SMALL",
    "STORE",
    "Machines",
    "hosts",
    "make_certificates",
    "start_cluster",
    "wait_until",
]

# prefix of a command that runs it with loopback as its only network
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]

# options of a small report
SMALL = "-p trees 5 -p draws 50 -p aligned 10 -p folds 2 -p repeats 1 -p steps 2"

# environment variables of an object store, without its address
STORE = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}

_TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def make_certificates(folder: Path) -> dict[str, str]:
    """Make an authority and a certificate; return the environment variables with their paths."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    _openssl(
        folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca"
    )
    _openssl(
        folder, "req", *curve[:-2], "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=x"
    )
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    _openssl(folder, "x509", "-req", "-in", "request.pem", *signed, "-out", "cert.pem")
    paths = {
        f"{_TLS}CA_FILE": folder / "ca.pem",
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": True,
    }
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        paths |= {
            f"{_TLS}{role}__CERT": folder / "cert.pem",
            f"{_TLS}{role}__KEY": folder / "key.pem",
        }
    return {name: str(path) for name, path in paths.items()}


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class Machines:
    """The processes of one cluster: a scheduler and workers."""

    def __init__(self, folder: Path, environment: dict[str, str], *, tls: bool, log: str = "log"):
        self.folder, self.tls = folder, tls
        self.environment = {**os.environ, **environment, "PYTHONWARNINGS": "ignore"}
        self.log = (folder / log).open("w")
        self.scheduler, self.workers, self.address = None, [], ""

    def start_scheduler(self, *, host: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        file = self.folder / "scheduler.json"
        arguments = ["scheduler", "--host", host, "--port", "0", "--no-dashboard"]
        arguments += ["--scheduler-file", file, *(["--protocol", "tls"] if self.tls else [])]
        self.scheduler = self._start(within, arguments)
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def start_worker(
        self, *arguments: str, host: str = "127.0.0.1", within: Sequence[str] = (), environment=None
    ) -> subprocess.Popen:
        arguments = [
            "worker",
            self.address,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--host",
            host,
            *arguments,
        ]
        arguments += ["--local-directory", self.folder]
        self.workers.append(self._start(within, arguments, environment))
        return self.workers[-1]

    def _start(
        self, within: Sequence[str], arguments: Sequence, environment=None
    ) -> subprocess.Popen:
        command = [*within, sys.executable, "-m", "dask", *map(str, arguments)]
        options = {
            "stdout": self.log,
            "stderr": self.log,
            "start_new_session": True,
            "cwd": self.folder,
        }
        return subprocess.Popen(command, env=self.environment | (environment or {}), **options)

    def kill(self, process: subprocess.Popen) -> None:
        """Kill a process with those that it started, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None:
                self.kill(process)
        self.log.close()


@contextmanager
def start_cluster(
    folder: Path, environment: dict[str, str], *, workers: int = 2, tls: bool = False
) -> Iterator[Machines]:
    """Yield a scheduler and workers on loopback; they end with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    machines = Machines(folder, environment, tls=tls)
    try:
        machines.start_scheduler()
        for _ in range(workers):
            machines.start_worker()
        yield machines
    finally:
        machines.end()


@contextmanager
def hosts(*names: str) -> Iterator[dict[str, tuple[str, list[str]]]]:
    """Yield joined network namespaces: an address and a command prefix for each name."""
    with ExitStack() as stack:
        namespaces = {}
        _ip(f"link add br-{names[0]} type bridge")
        stack.callback(_ip, f"link del br-{names[0]}")
        _ip(f"link set br-{names[0]} up")
        for number, name in enumerate(names, start=1):
            _ip(f"netns add {name}")
            stack.callback(_ip, f"netns del {name}")
            _ip(f"link add v{number}-{name} type veth peer name eth0 netns {name}")
            _ip(f"link set v{number}-{name} master br-{names[0]} up")
            for arguments in (
                f"addr add 10.203.0.{number}/24 dev eth0",
                "link set eth0 up",
                "link set lo up",
            ):
                _ip(f"-n {name} {arguments}")
            namespaces[name] = (f"10.203.0.{number}", ["ip", "netns", "exec", name])
        yield namespaces


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)


def wait_until(condition, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
