"""Kill a worker at random instants: ``python tests/faults/kill_worker.py [TIMES [JOB]]``.

The worker is killed (``kill -9``) during a sweep over the flights' CSVs, and during training. The
table must equal that of an undisturbed run, byte for byte.
"""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from trajlib import build_index, connect, map_flights, select_flights
from trajlib.archive import flights
from trajlib.archive.store import store_flights
from trajlib.evaluation.splits import local_days, split_by_day
from trajlib.features import feature_sets as features
from trajlib.features.targets import build_targets
from trajlib.models.estimators import build_model
from trajlib.models.training import predict_held_out
from trajlib.simulation.simulate import simulate_archive


def describe(flight: pd.DataFrame) -> dict:
    """A slow function of one flight."""
    time.sleep(0.02)
    return flight[["latitude", "longitude", "altitude"]].mean().to_dict()


def make_jobs(archive: Path, folder: Path) -> dict[str, Callable[[], pd.DataFrame]]:
    """Return a sweep and a training of the flights of an archive, each giving a table."""
    flights.BLOCK = 3  # as many tasks as a large archive would make
    rows = select_flights(build_index(archive, folder / "index.parquet"), "LEMD", "LEBL")
    store = store_flights(rows, folder / "store")
    predictors, flown = features.build_predictors(store), build_targets(store)
    flown = flown[
        flown.index.get_level_values("fraction").isin([0.1 * number for number in range(10)])
    ]
    splits = split_by_day(local_days(store)[predictors.index], 3, seed=1)
    forest = build_model(trees=20)
    train = {"feature_set": "whole_flight", "splits": splits}
    return {
        "sweep": lambda: map_flights(rows, describe),
        "training": lambda: predict_held_out(forest, predictors, flown, **train),
    }


def wait_for_workers(client, lost: int) -> list[int]:
    """Wait until the lost worker is replaced; return the process ids of the two workers."""
    end = time.monotonic() + 180
    while True:
        processes = sorted(client.run(os.getpid, on_error="ignore").values())
        if len(processes) == 2 and lost not in processes:
            return processes
        assert time.monotonic() < end, "a lost worker was not replaced"
        time.sleep(0.2)


def kill_once(client, job: Callable, wait: float, victim: int) -> tuple[bytes, bool]:
    """Return a job's table, and whether the worker was killed before the table was complete."""
    done = threading.Event()
    during = []
    timer = threading.Timer(
        wait, lambda: (during.append(not done.is_set()), os.kill(victim, signal.SIGKILL))
    )
    timer.start()
    table = job()
    done.set()
    timer.join()
    return table.to_parquet(), during[0]


def main(times: int, only: str = "", seed: int = 1) -> dict[str, dict[str, int]]:
    """Return the counts by job; raise AssertionError if a table differs."""
    choice, counts, victim = random.Random(seed), {}, 0
    with tempfile.TemporaryDirectory() as folder, connect(workers=2) as client:
        archive = Path(folder) / "tiny"
        simulate_archive(archive, flights=60, seed=1)
        jobs = make_jobs(archive, Path(folder))
        for name, job in ((n, j) for n, j in jobs.items() if only in ("", n)):
            job()  # imports modules and compiles functions
            started = time.perf_counter()
            expected = job().to_parquet()
            seconds = time.perf_counter() - started
            counts[name] = {"kills": 0, "of them while it ran": 0, "equal tables": 0}
            for _ in range(times):
                victim = choice.choice(wait_for_workers(client, victim))
                table, during = kill_once(client, job, choice.uniform(0, 1.2 * seconds), victim)
                assert table == expected, f"the table of {name} is another"
                counts[name]["kills"] += 1
                counts[name]["of them while it ran"] += during
                counts[name]["equal tables"] += 1
                print(counts, flush=True)
        client.cluster.close()
    return counts


if __name__ == "__main__":
    print(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30, *sys.argv[2:3]))
