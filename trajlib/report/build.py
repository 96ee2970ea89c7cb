"""The report of a city pair: its stages, and the pages that show their results."""

import fcntl
import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from typing import Any, cast

import nbformat
import pandas as pd
import pyarrow.parquet as pq

from trajlib.archive.account import count_flights
from trajlib.archive.dialect import read_dialect
from trajlib.archive.imported import read_import_table
from trajlib.archive.index import UNSAVED, dialect_of, read_rejections
from trajlib.archive.storage import open_file, replacing
from trajlib.estimate import format_percent
from trajlib.evaluation.splits import describe_days, local_days
from trajlib.geodesy import distance, find_airport
from trajlib.report.content import Facts, Front, Report, StageContent, SummaryContent
from trajlib.report.redaction import Rules, keep_aggregates, names_flight
from trajlib.report.stages import Stage, list_files, list_versions, run_stage
from trajlib.report.summary import write_file, write_json

_POINTS = "measured points, between which samples are interpolated"
_FAR = 3.0  # NM, a minute of flight or more
_LARGE = 0.02  # share of the recorded flights, from which an operator is listed
_FEWEST = 10  # recorded flights of such an operator
_EMPTY: SummaryContent = {"headline": "", "numbers": {}, "estimates": {}, "claims": []}
# errors of the cluster or the disk, after which later stages would fail too
_FATAL = ("ConnectionError", "OSError", "MemoryError", "FutureCancelledError")


def gather_facts(index: pd.DataFrame, store: pd.DataFrame, parameters: Mapping[str, Any]) -> Facts:
    """Return what a report shows beside its stages: its pair, archive, data and parameters.

    ``index`` and ``store`` are as for `describe_data`.
    """
    dialect = read_dialect(index["archive"].iloc[0])
    return {
        "pair": f"{parameters['origin']} → {parameters['destination']}",
        "archive": {n: getattr(dialect, n) for n in ("title", "source", "simulated")},
        "data": describe_data(index, store),
        "reasons": {"Rejected": read_rejections(index)["rejected"].value_counts().to_dict()},
        "parameters": {name: parameters[name] for name in parameters if name != "data"},
    }


def describe_data(index: pd.DataFrame, store: pd.DataFrame) -> dict[str, Any]:
    """Return the description of the data for a report.

    ``index`` is that of the whole archive, ``store`` has one row per flight of the city pair.
    ``unused`` and ``repaired`` are lists of kind, reason and number of flights of the pair.
    """
    flights = store[store["rejected"].isna()]
    fragments = index["fragment"].sum()
    rejected = index["rejected"].notna().sum() - fragments + store["rejected"].notna().sum()
    archive = index["archive"].iloc[0]
    lost = read_import_table(archive, "rejected", ["rejected"])["rejected"].count()
    days = local_days(flights)
    origin, destination = store[["origin", "destination"]].iloc[0]
    facts = {
        "files": f"{len(index):,}",
        "fragments": f"{fragments:,}",
        "rejected": f"{rejected:,}",
        "rejected at the import": f"{lost:,}",
        "size": f"{index['size'].sum() / 1e6:,.1f} MB",
        "flights of the pair": f"{len(flights):,}",
        "samples": f"{flights['rows'].sum():,.0f}",
        _POINTS: _count_points(flights, archive),
        "days": describe_days(days),
        "period": f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}",
        **_describe_ends(flights, (origin, destination)),
        "operators used less": _list_operators_used_less(index, flights, (origin, destination)),
        "fingerprint": _fingerprint(index, store),
    }
    for name in ("fragments", "rejected at the import", _POINTS, "operators used less"):
        if facts[name] in ("0", ""):
            del facts[name]
    unused: list[list] = []
    repaired: list[list] = []
    for kind, counts in count_flights(index, store).items():
        rows = repaired if kind.startswith("repaired ") else unused
        name = kind.removeprefix("repaired ")
        rows += [[name, reason, int(number)] for reason, number in counts.items()]
    return facts | {"unused": unused, "repaired": repaired}


def _count_points(flights: pd.DataFrame, archive: str) -> str:
    """Return the number of points between which an import interpolated the samples."""
    imported = read_import_table(archive, "imported", ["path", "points"])
    points = imported.loc[imported["path"].isin(flights["path"]), "points"]
    return f"{points.astype(float).sum():,.0f}"


def _list_operators_used_less(
    index: pd.DataFrame, flights: pd.DataFrame, pair: tuple[str, str]
) -> str:
    """Return the larger operators of the pair of which fewer than half as many flights are used."""
    recorded = index[(index["origin"] == pair[0]) & (index["destination"] == pair[1])]
    counts = recorded["operator"].value_counts()
    used = flights["operator"].value_counts().reindex(counts.index, fill_value=0) / counts
    overall = len(flights) / len(recorded)
    large = counts >= max(_LARGE * len(recorded), _FEWEST)
    less = used[large & (used < overall / 2)]
    texts = [f"{name} {format_percent(share)} of {counts[name]:,}" for name, share in less.items()]
    return f"{', '.join(texts)}; of all operators {format_percent(overall)}" if texts else ""


def _describe_ends(flights: pd.DataFrame, pair: tuple[str, str]) -> dict[str, str]:
    """Return how many records begin and end so far from the airports that times are affected."""
    facts = {}
    for end, verb, code in zip(("first", "last"), ("begin", "end"), pair, strict=True):
        positions = flights[f"latitude_{end}"], flights[f"longitude_{end}"]
        far = ~(distance(*positions, *find_airport(code).position) <= _FAR)
        share = f"{far.sum():,} ({format_percent(far.mean())})"
        facts[f"records that {verb} over {_FAR:.0f} NM from {code}"] = share
    return facts


@contextmanager
def alone_with(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let only one process at a time work in a folder of results; the others wait.

    ``waiting`` is called once if another process uses the folder. On file systems without locks
    nothing is locked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)  # lock the folder itself, without a lock file
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def make_report(
    stages: Sequence[Stage],
    wanted: Sequence[str],
    folder: Path,
    *,
    facts: Facts,
    processed: Path,
    env: Mapping[str, str],
    rules: Rules,
    fresh: bool = False,
    draw: Callable[[], Front] = Front,
    watch: Callable[[str, float | None, bool], AbstractContextManager] = lambda *_: nullcontext(),
) -> Report:
    """Run the wanted stages whose results are missing or outdated, and write the pages of all.

    Other stages still run after a stage fails, unless the cluster or the disk failed. The pages
    show all available results in any case.

    Parameters
    ----------
    stages, wanted
        All stages of the report, with their parameters, and the names of those to run.
    folder
        Receives the executed notebooks, the pages, and their content as ``report.json``.
    facts
        As returned by `gather_facts`.
    processed
        Folder in which the notebooks save their results. A stage runs again if its files there
        were deleted or changed, for example by another report of the pair.
    env
        Environment variables of the notebooks, such as the address of the Dask scheduler. They are
        no parameters, since these are written into the executed notebook.
    rules
        Rules for removing names of this machine, see `trajlib.report.redaction`.
    fresh
        Run the wanted stages even if nothing changed.
    draw
        Draws the figures of the front page into the folder and returns its content, as
        `trajlib.report.front.draw_front` does.
    watch
        Function of a stage's name, its seconds in the last run (if any), and whether its result is
        reused; returns the context in which the stage runs.

    Returns
    -------
    Report
        The content of ``report.json``.
    """
    for path in (folder, processed):
        path.mkdir(parents=True, exist_ok=True)
    versions = {"commit": _commit()} | list_versions()  # of the beginning of a long run
    keys = {stage.name: stage.key(facts["data"]["fingerprint"]) for stage in stages}
    env = {"BOKEH_RESOURCES": "inline", **env}
    for stage in (stage for stage in stages if stage.name in wanted):
        key, result = keys[stage.name], _read_result(folder, stage.name)
        unchanged = not fresh and _is_current(result, key, list_files(processed))
        with watch(stage.name, result.get("seconds"), unchanged):
            if not unchanged:
                result = run_stage(
                    stage, folder, key=key, processed=processed, rules=rules, env=env
                )
        if result["failure"] and result["error"] in _FATAL:
            break
    shown = [_describe_stage(stage, folder, keys[stage.name]) for stage in stages]
    report: Report = {
        **facts,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "whole": all(stage["status"] == "whole" for stage in shown if stage["name"] in wanted),
        "versions": versions,
        "stages": shown,
        "front": _draw(draw),
    }
    _write_pages(report, folder)
    return report


def share_report(report: Report, folder: Path, target: Path, *, names: Set[str]) -> Report:
    """Write a copy of a report without anything about single flights, for sharing.

    Outputs of notebooks are included if their author tagged them ``aggregate`` and they name no
    flight. The sentence, numbers and figure of a stage are included if its summary is.

    Parameters
    ----------
    report, folder
        As returned by `make_report`, and its folder with the executed notebooks.
    target
        Another folder; files of an earlier report in it are removed.
    names
        Names of flights, as returned by `list_flight_names`.
    """
    target.mkdir(parents=True, exist_ok=True)
    for old in (*target.glob("[0-9][0-9]_*.*"), *target.glob("*.png")):
        old.unlink()
    for chart in folder.glob("arrivals*.png"):  # not the map, which shows single tracks
        write_file(target / chart.name, chart.read_bytes())
    stages = [_share_stage(stage, folder, target, names) for stage in report["stages"]]
    data = {**report["data"], "shown": "aggregates alone, nothing of single flights"}
    reasons = report.get("reasons", {})
    texts = [reasons, *(data.get(name) for name in ("unused", "repaired"))]
    if names_flight(json.dumps(texts, ensure_ascii=False), names):
        reasons, data = {}, {n: data[n] for n in data if n not in ("unused", "repaired")}
    shared: Report = {**report, "data": data, "stages": stages, "reasons": reasons}
    _write_pages(shared, target)
    return shared


def list_flight_names(index: pd.DataFrame) -> frozenset[str]:
    """Return the names of flights in an index: callsigns, registrations, names of files.

    >>> rows = {"path": ["a/b/20160101T0615_IBE1234.csv.gz"], "callsign": ["IBE1234"]}
    >>> sorted(list_flight_names(pd.DataFrame(rows)))
    ['20160101T0615_IBE1234', 'IBE1234']
    """
    files = index["path"].str.rpartition("/")[2].str.replace(r"\.csv(\.gz)?$", "", regex=True)
    others = [index[name].dropna() for name in ("callsign", "registration") if name in index]
    names = set(pd.concat([files, *others]))
    return frozenset(n for n in names if len(n) > 2 and not n.isdecimal())  # numbers are not names


def _draw(draw: Callable[[], Front]) -> Front:
    try:
        return draw()
    except Exception as error:  # keep the results of the stages if a figure fails
        getLogger(__name__).warning("the front page has no figures: %s", error)
        return {}


def _fingerprint(index: pd.DataFrame, store: pd.DataFrame) -> str:
    """Return a digest of the contents of the files, independent of location and time of change.

    It uses size, first and last sample of all files; for flights of the pair also the range and the
    compressed size of every column.
    """
    digest = hashlib.sha256(dialect_of(index).fingerprint().encode())
    # repairs depend on the content, and are only known after a full read; fragments and copies
    # are those with a certain reason
    others = ["mtime", "repairs", "fragment", "copy", *UNSAVED]
    facts = index.drop(columns=others, errors="ignore")
    digest.update(pd.util.hash_pandas_object(facts.astype(str), index=False).to_numpy().tobytes())
    if "store" in store:
        for part in sorted(store["part"].dropna().unique()):
            with open_file(f"{store['store'].iloc[0]}/{part}") as file:
                digest.update(_describe_part(pq.read_metadata(file)).encode())
    return digest.hexdigest()[:12]


def _describe_part(metadata: pq.FileMetaData) -> str:
    chunks = []
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            ends = chunk.statistics and (chunk.statistics.min, chunk.statistics.max)
            chunks.append((chunk.path_in_schema, chunk.total_compressed_size, str(ends)))
    return json.dumps(chunks)


def _read_result(folder: Path, name: str) -> dict:
    path = folder / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _is_current(result: dict, key: str, files: dict) -> bool:
    same_key = result.get("key") == key
    return same_key and not result["failure"] and files | result["files"] == files


def _describe_stage(stage: Stage, folder: Path, key: str) -> StageContent:
    result = _read_result(folder, stage.name)
    parts = {**_EMPTY, "failure": None, "seconds": 0}
    if result.get("key") == key:
        parts |= {part: result[part] for part in result if part not in ("files", "error")}
        status = "failed" if result["failure"] else "whole"
    else:
        status = "not run"
    about = {"name": stage.name, "title": stage.title(), "status": status}
    return cast(StageContent, about | parts)


def _share_stage(stage: StageContent, folder: Path, target: Path, names: Set[str]) -> StageContent:
    if stage["status"] == "not run":
        return stage
    nb = keep_aggregates(nbformat.read(folder / f"{stage['name']}.ipynb", 4), names)
    with replacing(target / f"{stage['name']}.ipynb") as temporary:
        nbformat.write(nb, temporary)
    summaries = [cell for cell in nb.cells if "save_summary(" in cell.source]
    has_summary = any("aggregate" in cell.metadata.tags for cell in summaries)
    parts = [stage[part] for part in ("headline", "numbers", "claims")]
    text = json.dumps(parts, ensure_ascii=False)
    if stage["failure"] or not has_summary or names_flight(text, names):
        failure = stage["failure"] and f"{stage['name']} did not run to its end"
        return {**stage, **_EMPTY, "failure": failure}
    picture = folder / f"{stage['name']}.png"
    if picture.exists():
        write_file(target / picture.name, picture.read_bytes())
    return stage


def _write_pages(report: Report, folder: Path) -> None:
    # slow to import, and not needed in JupyterLab
    from trajlib.report import html

    write_json(folder / "report.json", report)
    explorers = []
    for stage in report["stages"]:
        page = folder / f"{stage['name']}.explorer.html"
        page.unlink(missing_ok=True)
        if stage["status"] != "not run":
            nb = nbformat.read(folder / f"{stage['name']}.ipynb", 4)
            text = html.render_notebook(nb, report, stage)
            write_file(folder / f"{stage['name']}.html", text.encode())
            if explorer := html.render_explorer(nb, report, stage):
                write_file(page, explorer.encode())
                explorers.append(page.name)
    pictures = {
        name: f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
        for name in ("map", "map-narrow", "arrivals", "arrivals-narrow")
        if (picture := folder / f"{name}.png").exists()
    }
    pages = html.render_companions(report)
    pages["index.html"] = html.render_front(report, pictures, next(iter(explorers), None))
    for name, text in pages.items():
        write_file(folder / name, text.encode())


def _commit() -> str:
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():  # installed without a repository
        return "not under git"
    # variables such as GIT_DIR, set within hooks, would name another repository
    env = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        result = run(
            ["git", *words], cwd=root, env=env, stdout=PIPE, stderr=DEVNULL, text=True, check=False
        )
        return result.stdout.strip()

    try:
        if not git("ls-files", "trajlib/__init__.py"):  # a copy within another project
            return "not under git"
        return git("describe", "--always", "--dirty", "--abbrev=10") or "not under git"
    except OSError:  # no git on this machine
        return "unknown, as git is missing"
