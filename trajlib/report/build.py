"""The report of a city pair: what the notebooks found, and the pages that show it."""

import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from subprocess import run
from typing import Any

import nbformat
import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.storage import replacing
from trajlib.report.redaction import Rules, keep_aggregates, names_flight
from trajlib.report.stages import Stage, list_files, list_versions, run_stage
from trajlib.report.summary import write_json

__all__ = [
    "describe_data",
    "list_flight_names",
    "list_main_numbers",
    "make_report",
    "share_report",
]


def describe_data(index: pd.DataFrame, store: pd.DataFrame) -> dict[str, str]:
    """Return the facts by which a report says what it was made from.

    Parameters
    ----------
    index
        Of the whole archive: one row a file.
    store
        One row a flight of the city pair, with its number of samples, ``rows``.
    """
    flights = store[store["rejected"].isna()]
    aside = index["rejected"].notna().sum() + store["rejected"].notna().sum()
    return {
        "files": f"{len(index):,}",
        "size": f"{index['size'].sum() / 1e6:,.1f} MB",
        "set aside": f"{aside:,}",
        "flights of the pair": f"{len(flights):,}",
        "samples": f"{flights['rows'].sum():,.0f}",
        "period": f"{flights['start'].min():%Y-%m-%d} to {flights['end'].max():%Y-%m-%d}",
        "fingerprint": _fingerprint(index),
    }


def _watch_nothing(name: str, expected: float | None, stands: bool) -> AbstractContextManager:
    return nullcontext()


def make_report(
    stages: Sequence[Stage],
    wanted: Sequence[str],
    folder: Path,
    *,
    facts: Mapping[str, Any],
    processed: Path,
    scheduler: str,
    rules: Rules,
    fresh: bool = False,
    watch: Callable[[str, float | None, bool], AbstractContextManager] = _watch_nothing,
) -> dict:
    """Run the wanted stages whose results do not stand yet, and write the pages of all.

    It stops at the first stage that fails. Whatever happens, the pages say what there is.

    Parameters
    ----------
    stages
        All that the report may show, with their parameters.
    wanted
        Names of those to run.
    folder
        Receives the executed notebooks, the pages, and ``report.json``, what it all says.
    facts
        ``pair``, ``archive`` (title, source, simulated), ``data`` (as `describe_data` returns)
        and ``parameters``, to be shown.
    processed
        Folder in which the notebooks save their results. What of these was deleted or written
        anew since, such as by another report of the pair, stands no longer.
    scheduler
        Address of the Dask scheduler, which notebooks find in the environment.
    rules
        What must not leave the machine.
    fresh
        Run them even where nothing changed.
    watch
        Given a stage's name, the seconds that it took the last time, if there was one, and
        whether its result stands, returns the context in which it is run.

    Returns
    -------
    dict
        The content of ``report.json``; ``whole`` is whether all that was wanted is there.
    """
    for place in (folder, processed):
        place.mkdir(parents=True, exist_ok=True)
    keys = {stage.name: stage.key(facts["data"]["fingerprint"]) for stage in stages}
    with _notebook_environment(scheduler):
        for stage in (stage for stage in stages if stage.name in wanted):
            key, found = keys[stage.name], _read_result(folder, stage.name)
            stands = not fresh and _stands(found, key, list_files(processed))
            with watch(stage.name, found.get("seconds"), stands):
                if not stands:
                    found = run_stage(stage, folder, key=key, processed=processed, rules=rules)
            if found["failure"]:
                break
    shown = [_describe_stage(stage, folder, keys[stage.name]) for stage in stages]
    report = {
        **facts,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "whole": all(each["status"] == "whole" for each in shown if each["name"] in wanted),
        "versions": {"commit": _commit()} | list_versions(),
        "stages": shown,
    }
    _write_pages(report, folder)
    return report


def share_report(report: Mapping[str, Any], folder: Path, target: Path, *, names: Set[str]) -> dict:
    """Write a report once more without anything of single flights, to be shown to others.

    Of each executed notebook the outputs stay that its author tagged ``aggregate`` and that name
    no flight; a stage's sentence, numbers and figure stay where that is so of its summary.

    Parameters
    ----------
    report
        As `make_report` returned it.
    folder
        Where it is, with its executed notebooks.
    target
        Another folder; what an earlier run left there of a report is removed.
    names
        Of flights, as `list_flight_names` tells them.

    Returns
    -------
    dict
        The content of the other ``report.json``.
    """
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("[0-9][0-9]_*.*"):
        old.unlink()
    stages = [_share_stage(stage, folder, target, names) for stage in report["stages"]]
    data = {**report["data"], "shown": "aggregates alone, nothing of single flights"}
    shared = {**report, "data": data, "stages": stages}
    _write_pages(shared, target)
    return shared


def list_flight_names(index: pd.DataFrame) -> frozenset[str]:
    """Return what flights of an index are known by: callsigns, registrations, files' names.

    >>> rows = {"path": ["a/b/20160101T0615_IBE1234.csv.gz"], "callsign": ["IBE1234"]}
    >>> sorted(list_flight_names(pd.DataFrame(rows)))
    ['20160101T0615_IBE1234', 'IBE1234']
    """
    files = index["path"].str.rpartition("/")[2].str.replace(r"\.csv(\.gz)?$", "", regex=True)
    told = [index[name].dropna() for name in ("callsign", "registration") if name in index]
    names = set(pd.concat([files, *told]))
    return frozenset(n for n in names if len(n) > 2 and not n.isdecimal())  # 17 is any number


def list_main_numbers(report: Mapping[str, Any]) -> list[str]:
    """Return the five lines that sum a report up: its data, and four stages that bear a claim.

    >>> data = {"flights of the pair": "512", "samples": "2,100,000", "set aside": "3"}
    >>> stage = {"name": "04_models", "claims": [{}], "numbers": {"R² mid-flight": "0.9"}}
    >>> for line in list_main_numbers({"data": data, "stages": [stage]}):
    ...     print(line)
    data                flights of the pair 512, samples 2,100,000, set aside 3
    04_models           R² mid-flight 0.9
    """
    first = {name: report["data"][name] for name in ("flights of the pair", "samples", "set aside")}
    bearing = [(stage["name"], stage["numbers"]) for stage in report["stages"] if stage["claims"]]
    return [
        f"{name:<20}{', '.join(f'{label} {value}' for label, value in list(numbers.items())[:3])}"
        for name, numbers in [("data", first), *bearing[:4]]
    ]


def _fingerprint(index: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    files = index[["path", "size", "mtime"]]
    digest.update(pd.util.hash_pandas_object(files, index=False).to_numpy().tobytes())
    digest.update(read_dialect(index["archive"].iloc[0]).fingerprint().encode())
    return digest.hexdigest()[:12]


@contextmanager
def _notebook_environment(scheduler: str) -> Iterator[None]:
    # the address must not be a parameter: papermill writes those into the executed notebook
    wanted = {"DASK_SCHEDULER_ADDRESS": scheduler, "BOKEH_RESOURCES": "inline"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _read_result(folder: Path, name: str) -> dict:
    path = folder / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _stands(found: dict, key: str, files: dict) -> bool:
    return found.get("key") == key and not found["failure"] and files | found["files"] == files


def _describe_stage(stage: Stage, folder: Path, key: str) -> dict:
    found = {"headline": "", "numbers": {}, "estimates": {}, "claims": []}
    found |= {"failure": None, "seconds": 0}
    told = _read_result(folder, stage.name)
    if told.get("key") == key:
        found |= {part: told[part] for part in told if part != "files"}
        status = "failed" if told["failure"] else "whole"
    else:
        status = "not run"
    return {"name": stage.name, "title": stage.title(), "status": status, **found}


def _share_stage(stage: dict, folder: Path, target: Path, names: Set[str]) -> dict:
    if stage["status"] == "not run":
        return stage
    nb = keep_aggregates(nbformat.read(folder / f"{stage['name']}.ipynb", 4), names)
    with replacing(target / f"{stage['name']}.ipynb") as temporary:
        nbformat.write(nb, temporary)
    vouched = any("save_summary(" in c.source and "aggregate" in c.metadata.tags for c in nb.cells)
    parts = [stage[part] for part in ("headline", "numbers", "claims")]
    told = json.dumps(parts, ensure_ascii=False)
    if stage["failure"] or not vouched or names_flight(told, names):
        failure = stage["failure"] and f"{stage['name']} did not run to its end"
        hidden = {"headline": "", "numbers": {}, "estimates": {}, "claims": []}
        return stage | hidden | {"failure": failure}
    picture = f"{stage['name']}.png"
    if (folder / picture).exists():
        with replacing(target / picture) as temporary:
            temporary.write_bytes((folder / picture).read_bytes())
    return stage


def _write_pages(report: dict, folder: Path) -> None:
    from trajlib.report.html import render_front, render_notebook  # slow to import, not for the lab

    write_json(folder / "report.json", report)
    for stage in report["stages"]:
        if stage["status"] != "not run":
            nb = nbformat.read(folder / f"{stage['name']}.ipynb", 4)
            _write_text(folder / f"{stage['name']}.html", render_notebook(nb, report, stage))
    pictures = {
        stage["name"]: f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
        for stage in report["stages"]
        if (picture := folder / f"{stage['name']}.png").exists() and stage["status"] == "whole"
    }
    _write_text(folder / "index.html", render_front(report, pictures))


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    told = run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "not under git"
