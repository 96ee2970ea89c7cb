import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from trajlib.archive.dialect import Dialect
from trajlib.archive.index import build_index
from trajlib.archive.pairs import select_flights
from trajlib.archive.store import store_flights
from trajlib.archive.study import Study
from trajlib.estimate import Estimate
from trajlib.geodesy import distance, find_airport, offset, track
from trajlib.report import build
from trajlib.report.build import (
    alone_with,
    describe_data,
    make_report,
    share_report,
)
from trajlib.report.front import answer, describe_routes, draw_front, list_tiles
from trajlib.report.redaction import machine_rules
from trajlib.report.stages import find_stages
from trajlib.report.summary import save_summary

FACTS = {
    "pair": "LEMD → LEBL",
    "archive": {"title": "An archive", "source": "", "simulated": True},
    "data": {"fingerprint": "1"},
    "parameters": {},
}
# as written by save_summary
SAVE = """import json, pathlib
claims = [dict(claim='c', talk='t', here='h', verdict='holds')]
summary = dict(headline='B is 2.', numbers={}, claims=claims)
pathlib.Path('../processed/b.summary.json').write_text(json.dumps(summary))"""


@pytest.fixture
def make_with_kernels(tmp_path, write_notebook):
    """Make the report of the notebooks in ``tmp_path``; return it and the names of run stages."""

    def make(*, fresh=False, wanted=None, data="1", folder="reports"):
        calls = []

        def watch(name, expected, is_current):
            calls.append((name, expected, is_current))
            return nullcontext()

        stages = find_stages(tmp_path / "notebooks")
        report = make_report(
            stages,
            wanted or [stage.name for stage in stages],
            tmp_path / folder,
            facts=FACTS | {"data": {"fingerprint": data}},
            processed=tmp_path / "processed",
            env={"DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:12345"},
            rules=machine_rules(tmp_path),
            fresh=fresh,
            watch=watch,
        )
        make.expected = {name: seconds for name, seconds, _ in calls}
        return report, [name for name, _, is_current in calls if not is_current]

    write_notebook("notebooks/01_a.ipynb", "1 + 1")
    write_notebook("notebooks/02_b.ipynb", SAVE)
    return make


@pytest.fixture
def make(make_with_kernels, no_kernel):
    return make_with_kernels


def statuses(report):
    return [stage["status"] for stage in report["stages"]]


def test_a_report_is_a_page_a_notebook_and_a_front_page(make, tmp_path):
    report, ran = make()
    assert report["whole"]
    assert ran == ["01_a", "02_b"]
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    expected = {f"{stage}.{kind}" for stage in ran for kind in ("html", "ipynb", "json")}
    companions = {f"{name}.html" for name in ("claims", "data", "models", "glossary")}
    assert names == expected | companions | {"index.html", "report.json"}
    assert "B is 2." in (tmp_path / "reports/index.html").read_text("utf-8")
    assert json.loads((tmp_path / "reports/report.json").read_text("utf-8")) == report


def test_files_of_a_report_are_private(make, tmp_path):
    make()
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "reports").iterdir()} == {0}


def test_only_what_changed_runs_again(make, write_notebook):
    make()
    assert make()[1] == []
    write_notebook("notebooks/01_a.ipynb", "2 + 2")
    report, ran = make()
    assert ran == ["01_a"]
    assert report["whole"]
    assert make(data="2")[1] == ["01_a", "02_b"]
    assert make(data="2", fresh=True)[1] == ["01_a", "02_b"]


# a model in a folder, as 07_prediction saves them, and no summary
SAVE_MODEL = """import pathlib
model = pathlib.Path('../processed/a/model')
model.parent.mkdir(exist_ok=True)
model.write_text('whole')"""


@pytest.mark.parametrize(
    ("deleted", "ran"), [("", ["01_a", "02_b"]), ("a", ["01_a"]), ("a/model", ["01_a"])]
)
def test_a_stage_whose_results_were_deleted_runs_again(
    make, write_notebook, tmp_path, deleted, ran
):
    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL)
    make()
    path = tmp_path / "processed" / deleted
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert make()[1] == ran
    assert (tmp_path / "processed/a/model").read_text() == "whole"
    assert make()[1] == []


def test_a_stage_whose_results_another_report_overwrote_runs_again(make, write_notebook, tmp_path):
    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL)
    make()
    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL.replace("whole", "other"))
    assert make(folder="others", wanted=["01_a"])[1] == ["01_a"]
    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL)
    assert make()[1] == ["01_a"]
    assert (tmp_path / "processed/a/model").read_text() == "whole"


def test_results_of_a_killed_run_are_made_again(make, write_notebook, tmp_path, monkeypatch):
    def write_half(*_, **__):
        (tmp_path / "processed/a/model").write_text("ha")
        raise KeyboardInterrupt

    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL)
    make()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("trajlib.report.kernel.run_cells", write_half)
        make(fresh=True)
    assert make()[1] == ["01_a"]
    assert (tmp_path / "processed/a/model").read_text() == "whole"


def test_files_of_a_stage_are_not_listed_in_the_report_as_they_may_be_named_after_flights(
    make, tmp_path
):
    make()
    assert "b.summary.json" in (tmp_path / "reports/02_b.json").read_text()
    assert "b.summary.json" not in (tmp_path / "reports/report.json").read_text()


@pytest.mark.parametrize("name", ["ñandú", "B is", 'says "B"', "a\\b"])
def test_a_headline_with_the_name_of_a_flight_is_not_shared(make, write_notebook, tmp_path, name):
    cell = (
        f"# save_summary(\nimport json\nsummary = dict(headline={f'B is {name}.'!r}, numbers={{}}"
    )
    cell += ", claims=[])\nopen('../processed/b.summary.json', 'w').write(json.dumps(summary))"
    path = write_notebook("notebooks/02_b.ipynb", f"1\n{cell}")
    nb = nbformat.read(path, 4)
    nb.cells[-1].metadata["tags"] = ["aggregate"]
    nbformat.write(nb, path)
    report, _ = make()
    report["data"] = {}
    for names, shown in ((frozenset({name}), ""), (frozenset({"IBE 12"}), f"B is {name}.")):
        shared = share_report(report, tmp_path / "reports", tmp_path / "shared", names=names)
        assert shared["stages"][1]["headline"] == shown


def test_the_expected_time_of_a_stage_is_its_last_time(make):
    report, _ = make()
    assert make.expected == {"01_a": None, "02_b": None}
    make(fresh=True)
    assert make.expected == {stage["name"]: stage["seconds"] for stage in report["stages"]}


def test_one_stage_alone_leaves_the_others_unchanged(make, write_notebook):
    report, ran = make(wanted=["02_b"])
    assert ran == ["02_b"]
    assert report["whole"]
    assert statuses(report) == ["not run", "whole"]
    make()
    assert statuses(make(wanted=["02_b"], fresh=True)[0]) == ["whole", "whole"]


def test_a_failure_is_shown_on_both_pages_and_the_other_stages_run(make, write_notebook, tmp_path):
    write_notebook("notebooks/01_a.ipynb", "1 / 0")
    report, ran = make()
    assert ran == ["01_a", "02_b"]
    assert not report["whole"]
    assert statuses(report) == ["failed", "whole"]
    for page in ("index.html", "01_a.html"):
        assert "ZeroDivisionError" in (tmp_path / "reports" / page).read_text("utf-8")
    assert "not whole" in (tmp_path / "reports/index.html").read_text("utf-8")


def test_an_error_in_front_page_figures_does_not_stop_the_report(
    tmp_path, write_notebook, no_kernel
):
    write_notebook("notebooks/01_a.ipynb", "1 + 1")

    def fail():
        raise ZeroDivisionError

    options = {"facts": FACTS, "processed": tmp_path / "processed", "env": {}, "rules": []}
    stages = find_stages(tmp_path / "notebooks")
    report = make_report(stages, ["01_a"], tmp_path / "reports", **options, draw=fail)
    assert report["whole"]
    assert (tmp_path / "reports/index.html").exists()


def test_a_lost_cluster_ends_the_run(make, write_notebook):
    write_notebook("notebooks/01_a.ipynb", "raise ConnectionError('the scheduler is lost')")
    report, ran = make()
    assert ran == ["01_a"]
    assert statuses(report) == ["failed", "not run"]


def test_a_copy_of_the_results_keeps_finished_stages(make, write_notebook, tmp_path):
    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL)
    make()
    for path in (tmp_path / "processed").rglob("*"):
        os.utime(path, ns=(1, 1))  # as cp -r gives new times
    assert make()[1] == []


def test_a_result_that_was_written_again_with_the_same_content_is_missed_when_deleted(
    make, write_notebook, tmp_path
):
    write_notebook("notebooks/01_a.ipynb", SAVE_MODEL)
    make()
    make(fresh=True)
    (tmp_path / "processed/a/model").unlink()
    assert make()[1] == ["01_a"]


def test_two_reports_on_the_same_data_take_turns(tmp_path):
    lines = []
    with alone_with(tmp_path):
        script = (
            "from pathlib import Path; from trajlib.report.build import alone_with\n"
            f"with alone_with(Path({str(tmp_path)!r}), lambda: print('waits', flush=True)):\n"
            "    print('runs')"
        )
        other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        lines.append(other.stdout.readline())
        assert other.poll() is None
    assert lines == ["waits\n"]
    assert other.communicate(timeout=60)[0] == "runs\n"


@pytest.mark.parametrize("place", ["repository", "folder in another", "copy in another"])
def test_a_report_does_not_cite_the_commit_of_somebody_elses_repository(
    tmp_path, monkeypatch, place
):
    def git(folder, command):
        subprocess.run(["git", "-C", str(folder), *command.split()], check=True)

    package = tmp_path / ("lib" if place == "folder in another" else "") / "trajlib"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    other = tmp_path / "other"
    for folder in (tmp_path, other):
        folder.mkdir(exist_ok=True)
        git(folder, "init -q")
    if place == "repository":
        git(tmp_path, "add trajlib/__init__.py")
    for folder in (tmp_path, other):
        git(folder, f"-c user.name=a -c user.email=a@b commit -q --allow-empty -m {folder.name}")
    monkeypatch.setattr("trajlib.report.build.__file__", str(package / "report/build.py"))
    cited = build._commit()
    assert (cited != "not under git") == (place == "repository")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a hook
    assert build._commit() == cited


def test_a_machine_without_git_makes_a_report(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert isinstance(build._commit(), str)


def test_a_stage_that_failed_is_tried_again(make, write_notebook):
    write_notebook("notebooks/02_b.ipynb", "1 / 0")
    make()
    assert make()[1] == ["02_b"]
    write_notebook("notebooks/02_b.ipynb", "1")
    report, ran = make()
    assert ran == ["02_b"]
    assert report["whole"]


def test_notebooks_get_the_scheduler_by_the_environment_alone(
    make_with_kernels, write_notebook, tmp_path
):
    write_notebook(
        "notebooks/01_a.ipynb",
        "import os\nassert os.environ['DASK_SCHEDULER_ADDRESS'].endswith(':12345')",
    )
    assert make_with_kernels(wanted=["01_a"])[0]["whole"]
    assert "DASK_SCHEDULER_ADDRESS" not in os.environ
    for path in (tmp_path / "reports").iterdir():
        assert "127.0.0.1" not in path.read_text("utf-8")


def test_a_summary_of_another_verdict_is_refused(tmp_path):
    claim = {"claim": "c", "talk": "t", "here": "h", "verdict": "perhaps"}
    with pytest.raises(ValueError, match="verdict 'perhaps', expected one of: holds"):
        save_summary(tmp_path, "a", headline="A.", claims=[claim])


def test_a_summary_takes_numbers_of_numpy_and_a_figure(tmp_path):
    figure, _ = plt.subplots()
    save_summary(tmp_path, "a", headline="A.", numbers={"n": np.int64(3)}, figure=figure)
    plt.close(figure)
    assert json.loads((tmp_path / "a.summary.json").read_text())["numbers"] == {"n": "3"}
    assert (tmp_path / "a.summary.png").read_bytes().startswith(b"\x89PNG")


def open_study(tmp_path, simulated):
    dialect = Dialect(simulated=simulated)
    empty = pd.DataFrame()
    return Study("a", "LEMD", "LEBL", None, empty, empty, dialect, tmp_path)


def test_a_summary_keeps_value_and_interval_of_an_estimate_beside_its_text(tmp_path):
    number = Estimate(np.float64(2.43), 2.31, None, "min", decimals=1)
    save_summary(tmp_path, "a", headline="A.", numbers={"error": number, "first": "distance"})
    saved = json.loads((tmp_path / "a.summary.json").read_text())
    assert saved["numbers"] == {"error": "2.4 min", "first": "distance"}
    parts = {"value": 2.43, "low": 2.31, "high": None, "unit": "min"}
    assert saved["estimates"] == {"error": parts}


@pytest.mark.parametrize("simulated", [True, False])
def test_a_summary_shows_that_simulated_flights_are_no_evidence(tmp_path, simulated):
    summary = save_summary(open_study(tmp_path, simulated), "a", headline="It is 3 NM.")
    text = summary._repr_mimebundle_()["text/markdown"]
    assert text.startswith("**It is 3 NM.**")
    assert ("no evidence" in text) == simulated
    assert (tmp_path / "a.summary.json").exists()


def index_of(tmp_path, **changes):
    start = pd.Timestamp("2016-01-01T06:00Z")
    row = {"path": "a.csv", "size": 1, "mtime": 1, "start": start, "end": start, "rejected": None}
    row |= {"repairs": None, "incomplete": None, "fragment": False, "copy": False, "operator": None}
    for name, code in (("first", "LEMD"), ("last", "LEBL")):
        row[f"latitude_{name}"], row[f"longitude_{name}"] = find_airport(code).position
    rows = pd.DataFrame([row, row | {"path": "b.csv"} | changes])
    return rows.assign(archive=str(tmp_path), origin="LEMD", destination="LEBL")


def test_the_fingerprint_changes_with_contents_and_with_columns_toml(tmp_path):
    store = index_of(tmp_path).assign(rows=10)
    prints = [describe_data(index_of(tmp_path), store)["fingerprint"]]
    for change in ({"path": "c.csv"}, {"size": 2}, {"end": pd.Timestamp("2016-01-02T06:00Z")}):
        prints.append(describe_data(index_of(tmp_path, **change), store)["fingerprint"])
    (tmp_path / "columns.toml").write_text("simulated = true")
    prints.append(describe_data(index_of(tmp_path), store)["fingerprint"])
    assert len(set(prints)) == 5


@pytest.fixture
def stored(tmp_path):
    """Store an archive of two flights; return the description of its data for a report."""

    def store(name, altitude=30_100, mtime=1):
        archive = tmp_path / name
        archive.mkdir(exist_ok=True)
        for day in (1, 2):
            lines = [
                f"2016-01-0{day}T06:{m:02}:00Z,40.9,{m / 10 - 3.6},{30_100 + m}" for m in range(60)
            ]
            lines[30] = f"2016-01-0{day}T06:30:00Z,40.9,-0.6,{altitude}"
            file = archive / f"{day}.csv"
            header = "timestamp,latitude,longitude,altitude,origin,destination"
            lines = [f"{line},LEMD,LEBL" for line in lines]
            file.write_text("\n".join([header, *lines, ""]))
            os.utime(file, ns=(mtime, mtime))
        index = build_index(archive, tmp_path / f"{name}.index.parquet")
        flights = store_flights(select_flights(index, "LEMD", "LEBL"), tmp_path / f"{name}.store")
        return describe_data(index, flights)["fingerprint"]

    return store


def test_a_copy_of_an_archive_has_its_fingerprint(stored, in_this_process):
    assert stored("a", mtime=1) == stored("b", mtime=10**18)


def test_a_change_inside_a_file_changes_the_fingerprint(stored, in_this_process):
    first = stored("a", altitude=30_130, mtime=1)
    assert stored("a", altitude=30_990, mtime=2) != first


def test_rejected_flights_are_counted_without_their_samples(tmp_path):
    index = index_of(tmp_path, rejected="empty")
    store = index_of(tmp_path, rejected="damaged").assign(rows=[10, 0])
    facts = describe_data(index, store)
    assert (facts["rejected"], facts["flights of the pair"], facts["samples"]) == ("2", "1", "10")


def test_records_that_begin_or_end_far_from_the_airports_are_counted(tmp_path):
    lat, lon = find_airport("LEBL").position
    store = index_of(tmp_path, latitude_last=lat + 4 / 60, longitude_last=lon).assign(rows=10)
    facts = describe_data(index_of(tmp_path), store)
    assert facts["records that begin over 3 NM from LEMD"] == "0 (0 %)"
    assert facts["records that end over 3 NM from LEBL"] == "1 (50 %)"


def test_operators_of_which_few_flights_are_used_are_named(tmp_path):
    operators = 10 * ["IBE"] + 10 * ["VLG"] + ["AEA"]  # the last one has too few flights
    index = pd.concat([index_of(tmp_path)[:1]] * 21, ignore_index=True)
    index = index.assign(path=[f"{n}.csv" for n in range(21)], operator=operators, rows=10)
    reasons = pd.Series(index.index).map(lambda n: None if n < 8 or n == 10 else "damaged")
    store = index.assign(rejected=reasons.to_numpy())
    assert describe_data(index, store)["operators used less"] == (
        "VLG 10 % of 10; of all operators 43 %"
    )
    assert "operators used less" not in describe_data(index[:5], store[:5])


def test_the_period_is_of_local_days_as_their_number_is(tmp_path):
    late = pd.Timestamp("2016-01-31T23:30Z")  # in Madrid the next day
    store = index_of(tmp_path, start=late, end=late).assign(rows=10)
    facts = describe_data(index_of(tmp_path), store)
    assert (facts["days"], facts["period"]) == ("2 days", "2016-01-01 to 2016-02-01")


def test_every_flight_of_the_pair_that_is_not_used_is_counted_with_its_reason(tmp_path):
    fragments = index_of(tmp_path, rejected="too few points", fragment=True)
    index = pd.concat([index_of(tmp_path, rejected="empty"), fragments])
    index["path"] = ["a.csv", "b.csv", "fragments/c.csv", "fragments/d.csv"]
    index["incomplete"] = [None, None, "it begins at 40.0, -3.0", None]
    index.loc[index["path"] == "b.csv", "origin"] = "LEVC"  # of another pair
    store = index_of(tmp_path, rejected="damaged").assign(rows=[10, 0])
    imported = {"path": ["a.csv", "fragments/d.csv"], "repairs": ["repeated stale_position", ""]}
    imported |= {"points": [40, 7]}
    imported = pd.DataFrame(imported).assign(why=[None, "fewer than 20 points"])
    imported.to_parquet(tmp_path / "imported.parquet")
    pair = {"origin": ["LEMD", "LEVC"], "destination": "LEBL", "rejected": "wrong points"}
    pd.DataFrame(pair).to_parquet(tmp_path / "rejected.parquet")
    facts = describe_data(index, store)
    assert facts["unused"] == [
        ["fragment", "fewer than 20 points", 1],
        ["incomplete", "it begins or ends far from its airports", 1],
        ["rejected", "damaged", 1],
        ["rejected at the import", "wrong points", 1],
    ]
    repairs = [["at the import", kind, 1] for kind in ("repeated", "stale position")]
    assert facts["repaired"] == repairs
    measured = facts["measured points, between which samples are interpolated"]
    assert measured == "40"  # of the flight that is used


def test_the_front_page_takes_its_numbers_from_the_tables_of_the_stages(tmp_path, tiny_archive):
    index = build_index(tiny_archive, tmp_path / "tiny.index.parquet")
    store = store_flights(select_flights(index, "LEMD", "LEBL"), tmp_path / "store")
    rows = [
        ("at_takeoff", "model", "forest", 2.4, 2.2, 2.6),
        ("at_takeoff", "baseline", "mean", 3.2, 3.0, 3.4),
        ("at_takeoff", "baseline", "last three flights", 2.5, 2.3, 2.7),
        ("airborne_10", "model", "forest", 2.2, 2.1, 2.3),
        ("airborne_10", "model", "lightgbm", 1.1, 1.0, 1.2),
    ]
    columns = ["feature_set", "kind", "name", "mae", "low", "high"]
    table = pd.DataFrame(rows, columns=columns).assign(flights=48)
    table.to_parquet(tmp_path / "look_ahead_arrivals.parquet")
    paths = store.loc[store["rejected"].isna(), "path"]
    clusters = pd.Series(0, index=pd.Index(paths, name="path")).to_frame("cluster")
    clusters.to_parquet(tmp_path / "routes.parquet")
    folder = tmp_path / "report"
    folder.mkdir()
    front = draw_front(store, tmp_path, folder, pair=("LEMD", "LEBL"), rejected=7)
    assert front["arrival"]["at_takeoff"]["value"] == 2.4
    assert front["arrival"]["airborne_10"]["value"] == 2.2  # of the first model, not of the best
    assert front["arrival"]["mean"]["value"] == 3.2
    assert front["arrival"]["best baseline"]["name"] == "last three flights"
    assert "later days" not in front["arrival"]
    assert front["interval"] == {}
    rows = [
        ("earlier days", "model", "forest", 2.7, 2.5, 2.9),
        ("earlier and later days", "model", "forest", 2.6, 2.4, 2.8),
        ("earlier days", "baseline", "mean", 3.3, 3.1, 3.5),
        ("earlier days", "baseline", "great circle", 2.4, 3.1, 3.5),
        ("earlier days", "baseline", "last three flights", 2.5, 2.3, 2.7),
        ("earlier and later days", "baseline", "mean", 2.1, 2.0, 2.2),
    ]
    forward = pd.DataFrame(rows, columns=["trained on", *columns[1:]]).assign(flights=36)
    forward.to_parquet(tmp_path / "look_ahead_forward.parquet")
    card = tmp_path / "prediction" / "at_takeoff" / "card.json"
    card.parent.mkdir(parents=True)
    card.write_text('{"feature_set": "at_takeoff", "level": 0.9}')
    names = ["split", "feature_set", "interval", "target", "fraction"]
    keys = [("random days", "at_takeoff", "chosen", "duration", f) for f in (0.95, 1.0)]
    keys.append(("random days", "at_takeoff", "naive", "duration", 1.0))
    scores = pd.DataFrame(
        {"coverage": [0.9, 0.8, 0.9], "width": [60.0, 120, 180], "error": [40.0, 60, 80]},
        pd.MultiIndex.from_tuples(keys, names=names),
    ).assign(flights=24)
    for rows, expected in ((scores[:1], None), (scores, 2.0)):
        rows.to_parquet(tmp_path / "prediction.parquet")
        front = draw_front(store, tmp_path, folder, pair=("LEMD", "LEBL"), rejected=7)
        assert front["interval"].get("width") == expected  # [min], of the arrival alone
    data = {"flights of the pair": "48"}
    sentence = answer({"pair": "LEMD → LEBL", "data": data, "front": front})
    best = "2.5 min with the best baseline, last three flights"
    others = f"3.2 min with the average flight, {best}"
    assert f"2.4 min on average ({others}), 10 minutes later by 2.2 min" in sentence
    later = (
        "Models trained on earlier days alone, as in operation, miss 36 of these arrivals by 2.7 "
        "min on average, those trained on later days as well by 2.6 min, the best baseline (last "
        "three flights) by 2.5 min."
    )
    assert later in sentence
    assert "is 2.0 min wide and contains 80 % of 24 arrivals on unseen days." in sentence
    assert "too narrow" not in sentence
    few = answer({"pair": "LEMD → LEBL", "data": data, "front": front | {"days": 9}})
    assert "On fewer than 10 days, all confidence intervals over days are too narrow." in few
    later = scores.rename({"random days": "forward in time"}).assign(
        coverage=0.7, width=240.0, flights=30
    )
    pd.concat([scores, later]).to_parquet(tmp_path / "prediction.parquet")
    front = draw_front(store, tmp_path, folder, pair=("LEMD", "LEBL"), rejected=7)
    assert front["interval"]["later"]["far"]
    front["arrival"]["best baseline"] = front["arrival"]["mean"]
    front["arrival"]["airborne_10"]["value"] = 2.39
    sentence = answer({"pair": "LEMD → LEBL", "data": data, "front": front})
    assert "(3.2 min with the average flight), 10 minutes later still by 2.4 min" in sentence
    naive = "one from the durations of earlier flights is 4.0 min wide"
    missed = f"which are missed by 1.0 min on average; {naive}"
    assert f"4.0 min wide and contains 70 % of 30 arrivals, {missed}" in sentence
    assert list_tiles({"data": data, "front": front})[3]["note"].startswith(
        "at take-off; 3.0 min from"
    )
    assert front["typical"].startswith("A flight takes ")
    assert "; the most frequent types are B738 46 %, " in front["typical"]
    assert front["typical"].endswith(
        "The newest flight is of May 2016; traffic may have changed since."
    )
    assert len(front["routes"]) == 1
    assert front["routes"][0].startswith("100 % fly")
    for name in ("map", "arrivals"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    front = draw_front(store, tmp_path / "none", folder, pair=("LEMD", "LEBL"), rejected=0)
    assert (front["arrival"], front["routes"], front["models"]) == ({}, [], [])


def test_route_clusters_that_a_reader_cannot_tell_apart_are_one_group():
    pair = ("LEMD", "LEBL")
    first, last = (find_airport(code).position for code in pair)
    course, along = track(*first, *last), np.linspace(0, distance(*first, *last), 50)
    tracks, clusters = {}, {"noise": -1}
    for number, miles_south in enumerate((0, 1, 18, 19, -40)):
        for flight in range(6 if number == 0 else 2):
            lat, lon = offset(*first, course, along, float(miles_south))
            tracks[f"{number}-{flight}"] = np.column_stack([lon, lat])
            clusters[f"{number}-{flight}"] = number
    groups, sentences = describe_routes(tracks, pd.Series(clusters), pair)
    assert groups["0-0"] == groups["1-0"] == 0
    assert groups["2-0"] == groups["3-0"] == 1
    assert groups["4-0"] == 2
    assert groups["noise"] == -1
    assert sentences[0] == "53 % fly along the direct line"
    assert sentences[1].startswith("27 % fly about 18 NM south")
    assert sentences[2].startswith("13 % fly about 40 NM north")
    assert re.search(r"of the direct line, \d5 % of the way$", sentences[2])
    assert sentences[-1] == "7 % are in no cluster"


def test_flights_in_no_cluster_are_described_by_their_distance_from_the_routes():
    pair = ("LEMD", "LEBL")
    first, last = (find_airport(code).position for code in pair)
    course, along = track(*first, *last), np.linspace(0, distance(*first, *last), 50)
    tracks, clusters = {}, {}
    for name, miles_south in {"a": 0.0, "b": 18.0, "between": 9.0, "far": 60.0}.items():
        lat, lon = offset(*first, course, along, miles_south)
        tracks[name] = np.column_stack([lon, lat])
        clusters[name] = {"a": 0, "b": 1}.get(name, -1)
    _, sentences = describe_routes(tracks, pd.Series(clusters), pair)
    assert sentences[-1] == "50 % are in no cluster, 50 % of them between or near these routes"


def test_a_route_cluster_without_a_point_in_mid_route_is_described():
    ends = np.array([find_airport(code).position for code in ("LEMD", "LEBL")])[:, ::-1]
    groups, sentences = describe_routes({"a": ends}, pd.Series({"a": 0}), ("LEMD", "LEBL"))
    assert groups["a"] == 0
    assert sentences == {0: "100 % fly along the direct line"}
