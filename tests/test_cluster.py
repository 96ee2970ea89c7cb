import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import dask
import pandas as pd
import psutil
import pytest
import yaml
from distributed import Client
from machines import hosts, make_certificates, start_cluster, wait_until

from trajlib import cluster as cluster_module
from trajlib.cluster import connect, gather
from trajlib.models.training import submit_splits

ROOT = Path(__file__).parent.parent
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0 or not shutil.which("ip"),
    reason="network namespaces need root and ip",
)
# a script that builds index and store, and maps a function over flights
SCRIPT = """
import hashlib, sys
from pathlib import Path
from trajlib import build_index, connect, map_flights, select_flights, store_flights
def highest(flight):
    return {"highest": flight["altitude"].max(), "samples": len(flight)}
if __name__ == "__main__":
    archive, folder, address = sys.argv[1:]
    client = connect(None if address == "local" else address, workers=2)
    rows = select_flights(build_index(archive, f"{folder}/index.parquet"), "LEMD", "LEBL")
    store = store_flights(rows, f"{folder}/store")
    map_flights(store, highest).to_parquet(f"{folder}/highest.parquet")
    map_flights(rows, highest).to_parquet(f"{folder}/from_csv.parquet")
    client.close()
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def machines(tmp_path_factory, keys):
    """A scheduler and two workers in separate processes with TLS."""
    with start_cluster(tmp_path_factory.mktemp("machines"), keys, tls=True) as machines:
        yield machines


@pytest.fixture(scope="module")
def local_tables(tmp_path_factory, tiny_archive):
    """Return what the script writes on a local cluster, by file name."""
    return run_script(tmp_path_factory.mktemp("local"), tiny_archive, "local")


def run_script(folder, archive, address, *, environment=None, within=()):
    (folder / "script.py").write_text(SCRIPT)
    command = [*within, sys.executable, folder / "script.py", archive, folder, address]
    result = subprocess.run(
        [str(argument) for argument in command],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.parquet"))}


@pytest.mark.slow
@needs_openssl
def test_a_cluster_of_processes_with_tls_writes_the_same_bytes_as_a_local_one(
    machines, keys, local_tables, tiny_archive, tmp_path
):
    tables = run_script(tmp_path, tiny_archive, machines.address, environment=keys)
    assert machines.address.startswith("tls://")
    assert len(tables) >= 5
    assert tables == local_tables


@needs_openssl
def test_a_client_without_a_certificate_is_refused_with_the_settings_it_needs(machines):
    with pytest.raises(
        ValueError, match=r"no certificate is configured; set DASK_DISTRIBUTED__COMM"
    ):
        connect(machines.address)


@needs_openssl
def test_a_client_with_a_certificate_of_another_authority_is_refused(
    machines, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 2)
    with (
        configured(make_certificates(tmp_path / "other")),
        pytest.raises(OSError, match="our certificate"),
    ):
        connect(machines.address)
    # a client that is still connecting would block the next one when it is collected
    statuses = {client.status for client in gc.get_objects() if isinstance(client, Client)}
    assert statuses <= {"running", "closed"}


@pytest.mark.slow
@needs_openssl
@needs_root
def test_separate_hosts_write_the_same_bytes(keys, local_tables, tiny_archive, tmp_path):
    from machines import Machines

    name = f"t{os.getpid()}"
    with hosts(f"{name}a", f"{name}b") as (namespaces):
        (first_host, within), (second_host, within_second) = namespaces.values()
        machines = Machines(tmp_path, keys, tls=True)
        try:
            machines.start_scheduler(host=first_host, within=within)
            machines.start_worker(host=first_host, within=within)
            machines.start_worker(host=second_host, within=within_second)
            folder = tmp_path / "results"
            folder.mkdir()
            assert first_host in machines.address
            tables = run_script(
                folder, tiny_archive, machines.address, environment=keys, within=within
            )
        finally:
            machines.end()
    assert tables == local_tables


def configured(environment):
    keys = (name.removeprefix("DASK_").replace("__", ".").lower() for name in environment)
    return dask.config.set(dict(zip(keys, environment.values(), strict=True)))


@pytest.mark.parametrize("address", ["tcp://10.0.0.7:8786", "10.0.0.7:8786", "ws://10.0.0.7:80"])
def test_an_address_in_the_clear_beyond_loopback_is_refused(address):
    with pytest.raises(ValueError, match="neither TLS nor loopback"):
        connect(address)


def test_an_unreachable_scheduler_is_an_error_with_its_address(monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 1)
    with pytest.raises(OSError, match=r"answers at tcp://127\.0\.0\.1:9"):
        connect("tcp://127.0.0.1:9")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ("version", r"pyproj 0\.1 instead of .* on 1 of 2 workers"),
        ("package", r"pyproj missing instead of .* on 1 of 2 workers"),
        ("code", r"trajlib's code \w+ instead of \w+ on 1 of 2 workers"),
    ],
)
def test_connecting_to_a_worker_with_another_environment_is_refused(difference, message, tmp_path):
    with start_cluster(tmp_path / "cluster", {}, workers=1) as machines:
        shim = tmp_path / "shim"
        shim.mkdir()
        if difference == "code":
            shutil.copytree(ROOT / "trajlib", shim / "trajlib")
            (shim / "trajlib/schema.py").open("a").write("# changed")
        else:
            patch = (
                "raise metadata.PackageNotFoundError" if difference == "package" else "return '0.1'"
            )
            (shim / "sitecustomize.py").write_text(
                "from importlib import metadata\nreal = metadata.version\ndef version(name):\n"
                f"    if name == 'pyproj':\n        {patch}\n    return real(name)\n"
                "metadata.version = version\n"
            )
        machines.start_worker(environment={"PYTHONPATH": str(shim)})
        wait_for_workers(machines, 2)
        with pytest.raises(ValueError, match=message):
            connect(machines.address)


def wait_for_workers(machines, count):
    with Client(machines.address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


@pytest.mark.slow
def test_loss_of_all_workers_or_of_the_scheduler_raises_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 3)
    with start_cluster(tmp_path, {}, workers=1) as machines:
        wait_for_workers(machines, 1)
        client = connect(machines.address)
        try:
            futures = [client.submit(time.sleep, 600, pure=False)]
            wait_until(lambda: any(client.processing().values()))
            rows = pd.MultiIndex.from_tuples([("a", 0.5)], names=["path", "fraction"])
            table = pd.DataFrame({"hour": 1.0}, rows)
            paths = rows.unique("path")
            predictors = table.droplevel("fraction")
            begun = submit_splits(len, predictors, table, [(paths, paths)], feature_set="planned")
            (worker,) = machines.workers
            with pytest.raises(ConnectionError, match="every worker is lost"):
                gather_after(client, futures, lambda: machines.kill(worker))
            with pytest.raises(ConnectionError, match="every worker is lost"):
                begun()  # called while there was a worker
            with pytest.raises(ConnectionError, match="the scheduler is lost"):
                gather_after(client, futures, lambda: machines.kill(machines.scheduler))
        finally:
            client.close(timeout=1)


def gather_after(client, futures, harm):
    threading.Timer(1.5, harm).start()
    return gather(client, futures)


def test_the_local_cluster_and_its_dashboard_listen_on_loopback_alone(client):
    workers = client.run(os.getpid).values()  # of this cluster only
    processes = [psutil.Process(), *map(psutil.Process, workers)]
    open_to = {
        c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"
    }
    assert "127.0.0.1" in open_to
    assert open_to <= {"127.0.0.1", "::1"}
    assert client.dashboard_link.startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_a_worker_lost_at_its_very_start_is_replaced():
    def started():
        return [p for p in psutil.Process().children(recursive=True) if p.pid not in present]

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        cluster_module.local_cluster(1) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        present = {p.pid for p in psutil.Process().children(recursive=True)}
        (victim,) = client.run(os.getpid).values()
        os.kill(victim, signal.SIGKILL)
        wait_until(started)
        started()[0].kill()  # before it has registered
        wait_until(lambda: not client.scheduler_info()["workers"])
        # two replacements may start, one of which is closed: repeat until one responds
        answers = []
        wait_until(
            lambda: answers.extend(client.run(os.getpid, on_error="ignore").values()) or answers
        )
        assert victim not in answers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decorator", "guard"), [("", "if True"), ("@cache", 'if __name__ == "__main__"')]
)
def test_a_script_needs_a_guard_only_for_what_is_sent_by_reference(
    decorator, guard, tiny_archive, tmp_path
):
    script = tmp_path / "script.py"
    script.write_text(f"""from functools import cache
from trajlib import map_flights, open_study

{decorator}
def lowest():
    return 0

def highest_point(df):
    return df["altitude"].max() - lowest()

{guard}:
    study = open_study({str(tiny_archive)!r}, "LEMD", "LEBL", data={str(tmp_path)!r})
    print(map_flights(study.usable, highest_point)["highest_point"].min() > 0)
""")
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.strip() == "True", result.stderr


@pytest.mark.slow
def test_two_clusters_at_once_each_have_a_dashboard_and_no_warning(client):
    code = "from trajlib import connect; c = connect(workers=1); print(c.dashboard_link)"
    code = f"if __name__ == '__main__':\n    {code.replace('; ', chr(10) + '    ')}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "already in use" not in result.stderr
    assert result.stdout.startswith("http://127.0.0.1:")
    assert result.stdout.strip() != client.dashboard_link


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("COMM__TIMEOUTS__CONNECT", "1ms"),
        ("COMM__REQUIRE_ENCRYPTION", "True"),
        ("WORKER__PRELOAD", "['no_such_module']"),
    ],
)
def test_a_local_cluster_does_not_follow_settings_for_another(name, text, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("""if __name__ == "__main__":
    from trajlib import connect
    with connect(workers=1) as client:
        print(client.submit(sum, [1]).result())
        client.cluster.close()
""")
    result = subprocess.run(
        [sys.executable, script],
        env=os.environ | {f"DASK_DISTRIBUTED__{name}": text},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout.strip() == "1", result.stderr


@pytest.mark.parametrize(
    ("used", "limit"),
    [
        ("memory.current", "memory.max"),
        ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_local_cluster_uses_only_the_memory_left_in_its_cgroup(tmp_path, used, limit):
    (tmp_path / used).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text("700000000\n")
    (tmp_path / limit).write_text("900000000\n")
    (tmp_path / used).with_name("memory.stat").write_text("cache 1\ninactive_file 100000000\n")
    assert cluster_module._available_memory(tmp_path) == 300_000_000
    (tmp_path / limit).write_text("max\n")
    assert cluster_module._available_memory(tmp_path) > 300_000_000


def test_workers_spill_to_a_private_folder_on_disk(client, monkeypatch):
    folder = Path(cluster_module._spill_folder())
    assert not cluster_module._is_memory(folder)
    assert folder.stat().st_mode & 0o077 == 0
    spilled = client.run(lambda dask_worker: dask_worker.local_directory)
    assert all(Path(path).is_relative_to(folder) for path in spilled.values())
    monkeypatch.setattr(cluster_module, "_is_memory", lambda path: True)
    assert cluster_module._spill_folder() is None


def test_a_memory_backed_folder_is_recognized():
    if Path("/dev/shm").exists():
        assert cluster_module._is_memory(Path("/dev/shm"))


def test_the_job_script_for_slurm_has_the_resources_of_the_recipe_and_tls(keys):
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    from distributed.security import Security

    with configured(keys):
        resources = {"cores": 1, "processes": 1, "memory": "4GiB", "walltime": "04:00:00"}
        security = Security(require_encryption=True)
        with jobqueue.SLURMCluster(
            **resources,
            protocol="tls://",
            security=security,
            local_directory="/var/tmp/dask",
            worker_extra_args=["--no-dashboard"],
            scheduler_options={"host": "127.0.0.1", "dashboard": False},
        ) as cluster:
            script = cluster.job_script()
    for part in ("#SBATCH --cpus-per-task=1", "#SBATCH --mem=4G", "#SBATCH -t 04:00:00"):
        assert part in script
    assert re.search(r"dask.* tls://127\.0\.0\.1:\d+ .*--nthreads 1", script)
    assert "--local-directory /var/tmp/dask" in script
    assert "tcp://" not in script


@pytest.fixture(scope="module")
def manifests():
    """Return the manifests of docs/cluster.md, by kind and name."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/cluster.md").read_text(), re.DOTALL)
    return {f"{m['kind']} {m['metadata']['name']}": m for m in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def pods(manifests):
    return {
        n: m["spec"]["template"] for n, m in manifests.items() if "template" in m.get("spec", {})
    }


def test_the_manifests_for_kubernetes_fit_together(manifests, pods):
    assert sorted(pods) == ["Deployment scheduler", "Deployment workers", "Job report"]
    for name, pod in pods.items():
        (container,) = pod["spec"]["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
        (source,) = container["envFrom"]
        assert f"ConfigMap {source['configMapRef']['name']}" in manifests
        chosen = manifests[name]["spec"].get("selector", {"matchLabels": {}})["matchLabels"]
        assert chosen.items() <= pod["metadata"]["labels"].items()
        assert pod["metadata"]["labels"]["app"] == "dask"
        assert not {"hostNetwork", "hostPath"} & {*pod["spec"]}
    service = manifests["Service scheduler"]["spec"]
    assert "type" not in service  # only visible in the cluster
    assert service["selector"] == {"role": "scheduler"}
    policy = manifests["NetworkPolicy dask-alone"]["spec"]
    (allowed,) = policy["ingress"]
    assert allowed == {"from": [{"podSelector": policy["podSelector"]}]}


@needs_openssl
def test_the_manifests_set_the_certificate_variables_of_dask(manifests, pods, keys):
    variables = manifests["ConfigMap dask-keys"]["data"]
    assert {n: Path(v).name.lower() for n, v in variables.items()} == {
        n: Path(v).name.lower() for n, v in keys.items()
    }
    for pod in pods.values():
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "keys", "mountPath": "/keys", "readOnly": True} in mounts


def test_the_manifests_run_valid_commands(manifests, pods):
    from distributed.cli import dask_scheduler, dask_worker

    from trajlib.cli import report

    commands = {
        "Deployment scheduler": (dask_scheduler.main, 2),
        "Deployment workers": (dask_worker.main, 2),
        "Job report": (report, 4),
    }
    port = manifests["Service scheduler"]["spec"]["ports"][0]["port"]
    for name, (command, start) in commands.items():
        arguments = pods[name]["spec"]["containers"][0]["command"]
        context = command.make_context(name, list(arguments[start:]), resilient_parsing=False)
        assert arguments[0] in ("dask", "python")
        scheduler = context.params.get("scheduler")
        assert scheduler in (None, f"tls://scheduler:{port}")
    assert "tls" in pods["Deployment scheduler"]["spec"]["containers"][0]["command"]


def test_the_manifests_are_valid_for_kubernetes(manifests):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    for manifest in manifests.values():
        validate.validate(manifest, "1.29", strict=True)


def test_fewer_workers_are_started_where_memory_is_short(monkeypatch):
    started = {}
    monkeypatch.setattr(
        cluster_module, "_start", lambda **options: started.update(options) or Mock()
    )
    monkeypatch.setattr(cluster_module, "_available_memory", lambda: 1_500 << 20)
    cluster_module.local_cluster(8)
    assert started["n_workers"] == 2
    assert started["memory_limit"] >= 500 << 20
    monkeypatch.setattr(cluster_module, "_available_memory", lambda: 600 << 20)
    with pytest.raises(MemoryError, match="350 MiB of memory are free for a worker, expected 625"):
        cluster_module.local_cluster(2)


def test_workers_that_all_wait_for_memory_are_an_error(monkeypatch):
    clock = iter(range(0, 1_000, 20))
    monkeypatch.setattr(cluster_module, "time", Mock(monotonic=lambda: next(clock)))
    workers = {"a": {"memory_limit": 600 << 20, "status": "paused"}}
    client = Mock(status="running", **{"scheduler_info.return_value": {"workers": workers}})
    watch = cluster_module.watch_workers(client)
    with pytest.raises(MemoryError, match="all workers have been waiting for memory"):
        watch()
    workers["a"]["status"] = "running"
    cluster_module.watch_workers(client)()


def test_a_cluster_is_not_lost_while_nobody_watches(monkeypatch):
    clock = iter([0, 0, 1_000, 1_020, 1_040])
    monkeypatch.setattr(cluster_module, "time", Mock(monotonic=lambda: next(clock)))
    workers = {"a": {"status": "running"}}
    client = Mock(status="running", **{"scheduler_info.return_value": {"workers": workers}})
    watch = cluster_module.watch_workers(client)
    client.scheduler_info.return_value = {"workers": {}}  # lost before the first call
    watch()  # work that began long ago is awaited now
    watch()
    with pytest.raises(ConnectionError, match="every worker is lost"):
        watch()


def test_workers_that_wait_for_memory_stop_a_sweep_and_no_file_is_blamed(monkeypatch):
    workers = {"a": {"memory_limit": 2 << 30, "status": "paused"}}
    client = Mock(status="running", **{"scheduler_info.return_value": {"workers": workers}})
    client.map.return_value = [Mock(status="pending")]
    monkeypatch.setattr(cluster_module, "current_client", lambda: client)
    error = MemoryError("all workers have been waiting for memory")
    monkeypatch.setattr(cluster_module, "gather", Mock(side_effect=error))
    with pytest.raises(MemoryError, match=r"^all workers have been waiting for memory$"):
        cluster_module.run_blocks(len, pd.DataFrame({"path": ["a.csv"]}), 1)
    client.cancel.assert_called_once()


def test_settings_of_the_user_do_not_reach_a_local_cluster(monkeypatch):
    seen = {}

    def start(**_):
        seen["failures"] = dask.config.get("distributed.scheduler.allowed-failures")
        seen["terminate"] = dask.config.get("distributed.worker.memory.terminate")
        return Mock()

    monkeypatch.setattr(cluster_module, "_start", start)
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.memory.terminate": 0.01,
    }
    with dask.config.set(settings):
        cluster_module.local_cluster(1)
    assert seen == {"failures": 3, "terminate": 0.95}


def test_a_worker_with_too_little_memory_is_named_instead_of_a_file():
    worker = {"memory_limit": 150 << 20}
    client = Mock(**{"scheduler_info.return_value": {"workers": {"a": worker}}})
    assert "a worker has 150 MiB of memory, and needs" in cluster_module._describe_small_workers(
        client
    )
    worker["memory_limit"] = 4 << 30
    assert cluster_module._describe_small_workers(client) is None
