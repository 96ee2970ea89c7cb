"""Commands that make the report of a city pair, and compare two reports."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from trajlib.cli.common import (
    Command,
    as_json_option,
    check_pair,
    check_writable,
    connected,
    data_option,
    index_of,
    path_of,
    print_json,
    strict_option,
)
from trajlib.cli.console import show_stage

if TYPE_CHECKING:
    import pandas as pd

    from trajlib.report.content import Report
    from trajlib.report.stages import Stage

_FEWEST = 40  # flights; with fewer, the days that are held out have too few
_FEWEST_NAMED = 20  # for stages given by name, which may hold nothing out
_CALIBRATED, _DAYS_TO_CALIBRATE = "07_prediction", 5  # to train, calibrate, check and show


@click.command(cls=Command)
@click.option("--archive", type=path_of(), required=True, help="Folder of flight CSVs.")
@click.option("--origin", help="Airport of departure, ICAO or IATA code (LEMD).")
@click.option("--destination", help="Airport of arrival, ICAO or IATA code (LEBL).")
@click.option("--scheduler", help="Address of a Dask scheduler, instead of a local cluster.")
@click.option("--output", type=path_of(), default="reports", help="For reports.")
@click.option("--data", type=path_of(), default="data", help="For tables.")
@click.option(
    "--notebooks", type=path_of(), help="Stages; by default ./notebooks or the installed ones."
)
@click.option("--stage", "names", metavar="NAME", multiple=True, help="Only this; repeatable.")
@click.option(
    "-p",
    "settings",
    metavar="NAME VALUE",
    type=(str, str),
    multiple=True,
    help="Set a parameter of the notebooks; repeatable.",
)
@click.option("--fresh", is_flag=True, help="Run stages again though nothing they need changed.")
@click.option(
    "--incomplete",
    is_flag=True,
    help="Keep flights that begin or end more than 30 NM from the airports.",
)
@strict_option
@click.option("--aggregate-only", is_flag=True, help="Also write one to share, without any flight.")
@as_json_option
def report(
    archive: Path,
    origin: str | None,
    destination: str | None,
    scheduler: str | None,
    output: Path,
    data: Path,
    notebooks: Path | None,
    names: tuple[str, ...],
    settings: tuple[tuple[str, str], ...],
    fresh: bool,
    aggregate_only: bool,
    incomplete: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Run the notebooks on one city pair and make its report.

    Without --origin and --destination it is the pair with most flights that can be scored.

    The stages are the numbered notebooks; a new one joins by its file's name. A stage is kept as
    it is where its notebook, its parameters, the code that it uses and the data have not changed
    since it ran, and its results are still there. The report is OUTPUT/ORIGIN-DESTINATION, to be
    opened at index.html, beside the executed notebooks. Each stage is a line with the seconds that
    it took, and those of the last time.

    `-p trees 20 -p folds 2` makes all stages quicker, and rougher. predict needs the models of the
    stage 07_prediction alone: --stage 07_prediction.

    A notebook that fails does not keep the others from running: its copy and its page show the
    error, the report is marked as not whole, and the exit status is 1.

    With --aggregate-only there is a second report, OUTPUT/ORIGIN-DESTINATION-aggregate, to be
    shown to others: outputs are kept only where the notebook's cell is tagged "aggregate" and
    names no callsign, registration or file.
    """
    from trajlib.archive.index import build_index
    from trajlib.archive.pairs import find_pair, select_flights
    from trajlib.archive.plans import read_plans
    from trajlib.archive.storage import is_remote, resolve
    from trajlib.archive.store import store_flights
    from trajlib.report.build import (
        alone_with,
        gather_facts,
        list_flight_names,
        make_report,
        share_report,
    )
    from trajlib.report.front import answer, draw_front
    from trajlib.report.redaction import machine_rules

    requested = _read_pair(origin, destination)
    given = dict(settings)
    notebooks, project = _find_notebooks(notebooks)
    common = {
        "archive": resolve(archive) if is_remote(archive) else os.path.relpath(archive, notebooks),
        "data": os.path.relpath(data, notebooks),
    }
    common |= {"origin": "", "destination": ""}
    options = {"TRAJLIB_STRICT": strict, "TRAJLIB_INCOMPLETE": incomplete}
    rules_for_flights = {name: "1" for name, is_set in options.items() if is_set}
    _match_stages(notebooks, names, common, given)  # before anything is read
    check_writable(data / "interim", "--data")
    check_writable(output, "--output")
    with connected(scheduler) as client:
        table = build_index(archive, index_of(archive, data), strict=strict)
        origin, destination = find_pair(table, *(requested or _busiest_pair(table)))
        common |= {"origin": origin, "destination": destination}
        stages, wanted = _match_stages(notebooks, names, common, given)
        folder = output / f"{origin}-{destination}"
        processed = data / "processed" / folder.name
        check_writable(folder, "--output")
        check_writable(processed, "--data")
        selected = select_flights(table, origin, destination, incomplete=incomplete)
        _print_selected(selected, table, incomplete=incomplete, err=as_json)
        with alone_with(processed, _say_waiting):
            store = store_flights(selected, data / "interim" / folder.name)
            _check_enough(store, f"{origin} → {destination}", named=names, wanted=wanted)
            parameters = common | {"archive": archive.name} | given
            facts = gather_facts(table, store, parameters)
            draw = partial(
                draw_front,
                store,
                processed,
                folder,
                pair=(origin, destination),
                rejected=sum(count for *_, count in facts["data"]["unused"]),
                plans=read_plans(archive),
            )
            with alone_with(folder, _say_waiting):  # which reports on other data may write to
                made = make_report(
                    stages,
                    wanted,
                    folder,
                    facts=facts,
                    processed=processed,
                    env={"DASK_SCHEDULER_ADDRESS": client.scheduler.address, **rules_for_flights},
                    rules=machine_rules(project, [archive, data, output]),
                    fresh=fresh,
                    draw=draw,
                    watch=partial(show_stage, stream=sys.stderr if as_json else sys.stdout),
                )
                shareable = folder.with_name(f"{folder.name}-aggregate")
                if aggregate_only and made["whole"]:
                    share_report(made, folder, shareable, names=list_flight_names(table))
    if not made["whole"]:
        failed = [s for s in made["stages"] if s["name"] in wanted and s["failure"]]
        reasons = [f"{s['failure']}\nsee {folder / s['name']}.html" for s in failed]
        again = "once the cause is removed, the same command continues from what is finished"
        raise click.ClickException("\n".join([*reasons, again]))
    if aggregate_only:
        click.echo(f"\n{shareable / 'index.html'}", err=as_json)
    page = folder / "index.html"
    if as_json:
        print_json({"page": page, **made})
    else:
        click.echo(f"\n{answer(made)}\n{page}\nnext: {_suggest_next(made, archive, data)}")


@click.command(cls=Command)
@click.argument("before", metavar="REPORT", type=path_of(exists=True))
@click.argument("after", metavar="REPORT", type=path_of(exists=True))
@click.option(
    "--output",
    type=path_of(dir_okay=False),
    default="reports/comparison.html",
    help="Page to write.",
)
@as_json_option
def compare(before: Path, after: Path, output: Path, as_json: bool) -> None:
    """Compare two reports: what changed.

    Each is given by its folder, the earlier one first. The page OUTPUT shows what changed:
    parameters, the data, the versions of packages, the verdicts of claims, and every number. For
    numbers with an interval in both it shows whether the intervals overlap. To keep a report for
    comparison, give the next one another --output.
    """
    from trajlib.report.comparison import compare_reports, count_changes, read_report

    comparison = compare_reports(read_report(before), read_report(after))
    if as_json:
        print_json(comparison)
        return
    from trajlib.report.html import render_comparison

    check_writable(output.parent, "--output")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render_comparison(comparison), "utf-8")
    counts = count_changes(comparison)
    parts = {"parameters": "parameters", "numbers": "numbers", "claims": "verdicts"}
    texts = [f"{counts[part]} of {len(comparison[part])} {name}" for part, name in parts.items()]
    click.echo(f"{output}: changed are {', '.join(texts)}")


def _suggest_next(report: "Report", archive: Path, data: Path) -> str:
    from trajlib.archive.storage import format_location

    origin, destination = report["parameters"]["origin"], report["parameters"]["destination"]
    if not report["front"].get("models"):
        return "the same command without --stage runs all notebooks"
    location = quote(format_location(archive))
    options = f"--origin {origin} --destination {destination} --archive {location}"
    return f"python -m trajlib predict {options}{data_option(data)} --time 'tomorrow 07:00 local'"


def _say_waiting() -> None:
    click.echo("waiting for another report on the same data to finish", err=True)


def _read_pair(origin: str | None, destination: str | None) -> tuple[str, str] | None:
    if origin is None and destination is None:
        return None
    if origin is None or destination is None:
        raise click.UsageError("give both --origin and --destination, or neither")
    return check_pair(origin, destination)


def _busiest_pair(table: "pd.DataFrame") -> tuple[str, str]:
    usable = table[table["rejected"].isna() & table["incomplete"].isna()]
    counts = usable.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    for (origin, destination), count in counts.items():
        try:
            pair = check_pair(origin, destination)
        except click.UsageError:
            continue
        if count >= _FEWEST:
            click.echo(f"{pair[0]} → {pair[1]} is the pair with most flights", err=True)
            return pair
    most = ", ".join(f"{o} → {d} ({n:,})" for (o, d), n in counts.head(3).items())
    raise ValueError(
        f"no pair of two known airports has {_FEWEST} or more usable flights; those with most: "
        f"{most or 'none'}. Import more days, or fragments too, by a larger --max-gap or "
        "--max-reach; --stage, with --origin and --destination, runs single notebooks on fewer"
    )


def _find_notebooks(folder: Path | None) -> tuple[Path, Path]:
    """Return the folder of the stages and that of the project, below which paths may be shown."""
    if folder is None and not any(Path("notebooks").glob("[0-9]*_*.ipynb")):
        return Path(__file__).parent.parent / "notebooks", Path.cwd()
    folder = (folder or Path("notebooks")).resolve()
    return folder, folder.parent


def _match_stages(
    notebooks: Path, names: tuple[str, ...], common: Mapping, given: Mapping
) -> "tuple[list[Stage], list[str]]":
    from trajlib.report.stages import find_stages, match_parameters

    if common.keys() & given:
        raise click.UsageError(f"parameter {min(common.keys() & given)} is set by an option")
    try:
        wanted = find_stages(notebooks, names)
        match_parameters(wanted, common, given)  # each must be of one of these stages
        stages = match_parameters(find_stages(notebooks), common, given)
        return stages, [stage.name for stage in wanted]
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _print_selected(
    selected: "pd.DataFrame", index: "pd.DataFrame", *, incomplete: bool, err: bool
) -> None:
    from trajlib.archive.pairs import count_incomplete

    origin, destination = selected[["origin", "destination"]].iloc[0]
    click.echo(
        f"{origin} → {destination}: {len(selected):,} flights of {len(index):,} files", err=err
    )
    if far := count_incomplete(index, origin, destination):
        fate = "kept" if incomplete else "left out, --incomplete keeps them"
        click.echo(
            f"flights that begin or end more than 30 NM from their airports ({fate}): {far:,}",
            err=err,
        )


def _check_enough(
    store: "pd.DataFrame", pair: str, *, named: Sequence[str], wanted: Sequence[str]
) -> None:
    """Raise ValueError where too few flights, or days, are left to hold some out."""
    from trajlib.evaluation.splits import local_days

    flights = store[store["rejected"].isna()]
    fewest = _FEWEST_NAMED if named else _FEWEST
    if len(flights) < fewest:
        raise ValueError(
            f"{len(flights)} usable flights {pair}, expected {fewest} or more: days that are held "
            "out would hold next to nothing; python -m trajlib index ARCHIVE lists the pairs"
        )
    days = local_days(flights).nunique()
    if days < 2 and not named:
        raise ValueError(
            f"all {len(flights)} flights {pair} are of one day, expected two or more: no day can "
            "be held out to score predictions; --stage 02_normalization and others do without"
        )
    if days < _DAYS_TO_CALIBRATE and _CALIBRATED in wanted:
        message = (
            f"{_CALIBRATED} needs flights on {_DAYS_TO_CALIBRATE} days or more, those {pair} are "
            f"on {days}"
        )
        if list(wanted) == [_CALIBRATED]:
            raise ValueError(message)
        click.echo(f"{message}: this stage will stop, the others go on", err=True)
