import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from trajlib import build_index

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from plots import plot_tasks
from scaling import (
    TERMS,
    check_costs,
    draw_costs,
    estimate_parts,
    fit_costs,
    measure_runs,
    open_idle_cluster,
    plan_runs,
    plan_training,
    record_tasks,
    spread_work,
    time_idle,
    time_sweep,
    time_tasks,
    watch_process,
    write_short_flights,
)

COSTS = pd.Series(
    {
        "bytes": 2e-8,
        "files": 3e-3,
        "growth": 4e-8,
        "handled": 1e-3,
        "tasks": 2e-3,
        "moved": 5e-9,
        "start": 0.1,
    }
)


def make_runs(noise=0.0, repeats=3):
    """Return invented runs that take the seconds given by COSTS, with relative noise."""
    jobs = {
        "sweep": {"bytes": 5e8, "files": 600, "tasks": 19, "moved": 2e6},
        "short": {"bytes": 1e6, "files": 5_000, "tasks": 160, "moved": 5e6},
        "shorter": {"bytes": 5e5, "files": 2_500, "tasks": 80, "moved": 2e6},
        "half": {"bytes": 2.5e8, "files": 300, "tasks": 10, "moved": 1e6},
        "training": {"growth": 1e9, "tasks": 42, "moved": 1e6},
        "part": {"growth": 2e8, "tasks": 21, "moved": 1e6},
        "tasks": {"tasks": 1_000, "moved": 3e4},
        "data": {"tasks": 30, "moved": 3e8},
    }
    rows = [
        {"job": name, "workers": workers, "repeat": repeat, **amounts}
        for workers, repeat, (name, amounts) in product((1, 2), range(repeats), jobs.items())
    ]
    runs = pd.DataFrame(rows).fillna(0.0)
    error = np.random.default_rng(1).normal(1, noise, len(runs))
    return runs.assign(seconds=(spread_work(runs) @ COSTS) * error)


def test_the_cost_model_recovers_the_costs_of_invented_runs():
    runs = make_runs()
    costs = fit_costs(spread_work(runs), runs["seconds"])
    assert list(costs.index) == list(TERMS)
    np.testing.assert_allclose(costs, COSTS[costs.index], rtol=1e-6)


def test_the_uncertainty_of_costs_contains_the_truth_and_grows_with_noise():
    exact, noisy = (draw_costs(make_runs(noise), 50, seed=1)["bytes"] for noise in (0.01, 0.1))
    assert noisy.std() > 3 * exact.std()
    assert noisy.quantile(0.01) < COSTS["bytes"] < noisy.quantile(0.99)


def test_no_cost_is_negative_where_more_work_took_less_time():
    amounts = pd.DataFrame({"bytes": [1.0, 2.0, 3.0], "start": 1.0})
    costs = fit_costs(amounts, pd.Series([3.0, 2.0, 1.0]))
    assert costs["bytes"] == 0
    assert costs["start"] > 0


def test_a_job_that_follows_the_model_is_predicted_from_the_others():
    checked = check_costs(make_runs())
    np.testing.assert_allclose(checked["predicted"], checked["measured"], rtol=1e-6)


def test_work_is_shared_among_workers_and_scheduling_is_not():
    plan = plan_runs({"1 TB": 1e12}, [1, 10, 100], file_size=1e6, moved=0.0)
    parts = estimate_parts(plan, COSTS)
    np.testing.assert_allclose(parts["work"] / parts["work"].iloc[0], [1, 0.1, 0.01], 0.05)
    few, _, many = parts["scheduler"]
    assert 0 < few <= many < 1.5 * few  # the last tasks are smaller


def test_more_workers_than_models_do_not_help_to_train():
    options = {"predictors": 10, "trees": 10, "tasks": 20, "table": 80.0}
    parts = estimate_parts(plan_training([1e6], [1, 20, 1000], **options), COSTS)
    assert parts["work"].iloc[0] == pytest.approx(20 * parts["work"].iloc[1])
    assert parts["work"].iloc[1] == parts["work"].iloc[2]
    assert parts["transfer"].is_monotonic_increasing


def test_bandwidth_limits_many_workers():
    plan = plan_runs({"1 TB": 1e12}, [1, 1000], file_size=1e6, moved=0.0)
    slow, fast = (estimate_parts(plan, COSTS, bandwidth=rate)["all"] for rate in (1e9, 1e15))
    assert slow.iloc[0] == pytest.approx(fast.iloc[0])
    assert slow.iloc[1] > fast.iloc[1]


@pytest.mark.slow
def test_every_file_of_an_archive_of_short_flights_is_indexed(tiny_archive, tmp_path):
    flight = next((tiny_archive / "LEMD-LEBL").glob("*.csv"))
    write_short_flights(flight, tmp_path / "many", 2_500)
    index = build_index(tmp_path / "many")
    assert len(index) == index["path"].nunique() == 2_500
    assert index["rejected"].isna().all()
    assert set(index["origin"]) == {"LEMD"}


def test_recorded_tasks_have_worker_numbers_instead_of_addresses(client):
    seconds, tasks = record_tasks(client, lambda: client.gather(client.map(len, [(1,)] * 9)))
    assert set(tasks["worker"]) <= {1, 2}
    assert set(tasks["task"]) == {"len"}
    assert tasks["start"].min() > -1
    assert tasks["stop"].max() < seconds + 1
    assert not tasks.astype(str).map(lambda text: "://" in text).any(axis=None)


def test_the_task_figure_has_a_row_per_worker_and_a_bar_per_task(client):
    rows = [
        {"worker": worker, "task": "read", "action": action, "start": second, "stop": second + 0.5}
        for worker in (1, 2, 3)
        for second, action in enumerate(("transfer", "compute", "compute"))
    ]
    figure = plot_tasks(pd.DataFrame(rows))
    (ax,) = figure.axes
    bars = [path for drawn in ax.collections for path in drawn.get_paths()]
    assert len(bars) == len(rows)
    assert len(ax.get_yticks()) == 3


def test_a_timed_run_counts_bytes_files_and_tasks(tiny_archive, tmp_path, client):
    index = build_index(tiny_archive, tmp_path / "index.parquet")
    rows = index[index["rejected"].isna()]
    run = time_sweep(client, rows)
    assert run["bytes"] == rows["size"].sum()
    assert run["files"] == len(rows)
    assert run["tasks"] == 2
    assert run["seconds"] > 0
    assert time_tasks(client, 5, 1_000)["moved"] >= 5_000


@pytest.mark.slow
def test_runs_are_repeated_on_clusters_of_each_size():
    runs = measure_runs({"tasks": partial(time_tasks, count=7)}, [1, 2], 2)
    assert runs["workers"].tolist() == [1, 1, 2, 2]
    assert (runs["tasks"] == 7).all()
    assert runs["repeat"].tolist() == [0, 1, 0, 1]


@pytest.mark.slow
def test_many_idle_workers_run_tasks_of_a_real_scheduler():
    with open_idle_cluster(10) as (client, scheduler):
        assert len(client.nthreads()) == 10
        listening = {c.laddr.ip for c in scheduler.net_connections("tcp") if c.status == "LISTEN"}
        run = time_idle(client, scheduler, [(1, 2)] * 100, duration=0.01)
        assert (run["tasks"], run["workers"]) == (100, 10)
        assert run["seconds"] >= 100 / 10 * 0.01
        assert run["cpu"] > 0
    assert listening == {"127.0.0.1"}
    assert not scheduler.is_running()


def test_watching_a_process_measures_the_growth_of_its_memory():
    with watch_process(psutil.Process()) as memory:
        array = np.ones(20_000_000)
    assert memory["peak"] >= memory["kept"] > 0.9 * array.nbytes
