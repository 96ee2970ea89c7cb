"""The command line: ``python -m trajlib``, also installed as ``trajlib``.

What a command needs is imported when it runs, so that help comes at once.
"""

import gc
import os
import shlex
import sys
from atexit import register
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from logging import CRITICAL, ERROR, getLogger
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

    from trajlib.models.inference import FlightPrediction
    from trajlib.models.saved_models import SavedModel
    from trajlib.report.stages import Stage

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}
_FEWEST = 40  # flights; with fewer, the days that are held out have too few
_FEWEST_NAMED = 20  # for stages given by name, which may hold nothing out
_CALIBRATED, _DAYS_TO_CALIBRATE = "07_prediction", 5  # to train, calibrate, check and show

_REASONS = 5  # that are printed after an import
_LONGER_GAP = 600  # s, of which an import names the gain
_LOOSER = {  # by what is in the reason of a fragment
    " s between two points": "A larger --max-gap",
    " km from the airport": "A larger --max-reach",
    "fewer than ": "A smaller --min-points",
}

_folder = partial(click.Path, path_type=Path)


class _Command(click.Command):
    # a line for what a user can change; a traceback for what is wrong with this package
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of the output has ended; click exits without a message
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command continues from what is finished", err=True)
            raise click.exceptions.Exit(130) from None
        except (OSError, ValueError, MemoryError) as error:
            raise click.ClickException(_describe_error(error)) from error


class _Commands(click.Group):
    command_class = _Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of their use


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(package_name="trajlib")
def main() -> None:
    """Predict aircraft trajectories from an archive of flights.

    An archive is a folder of CSVs, one per flight, in any sub-folders. Simulate one or import
    real flights, make the report of a city pair, then predict flights, or compare two reports:

    \b
        python -m trajlib simulate data/raw/sample --flights 620 --seed 2016
        python -m trajlib report --archive data/raw/sample --origin LEMD --destination LEBL
        python -m trajlib predict --origin LEMD --destination LEBL --time 2016-03-05T07:00
        python -m trajlib compare reports/LEMD-LEBL reports/SFO-LAX

    Nothing leaves the machine: a local cluster listens on loopback only, and pages open from
    disk without a network. Ctrl-C stops what a command started; given again, it continues from
    what is finished.

    \b
    Files:       data/raw/NAME              an archive, never changed
                 data/interim/NAME.*        its index, and stores of city pairs
                 data/processed/PAIR/       tables and models of the notebooks
                 reports/PAIR/index.html    the report, beside the executed notebooks
    Environment: DASK_SCHEDULER_ADDRESS     a Dask scheduler, instead of a local cluster
    Scripts:     --json, where a command has it, prints one JSON document and nothing else;
                 progress and errors go to standard error
    Exit status: 0 when everything requested is finished,
                 1 when something stopped it (the message names cause and remedy),
                 2 when the command was not understood,
                 130 when it was stopped by Ctrl-C.
    """  # noqa: D301, as \b makes click leave lines as they are
    from trajlib.report.console import prepare_console

    os.umask(0o077)  # only the owner can read files that hold flights
    prepare_console()
    _prepare_home()


def _prepare_home() -> None:
    # Libraries keep caches and settings in the home folder; a user may have none that is usable.
    home = os.path.expanduser("~")  # noqa: PTH111, which keeps ~ where there is no home
    if not (Path(home).is_dir() and os.access(home, os.W_OK | os.X_OK)):
        folder = TemporaryDirectory(prefix="trajlib-home-", ignore_cleanup_errors=True)
        register(folder.cleanup)
        os.environ["HOME"] = folder.name


def _describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # without the system's number
        path = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{path}{error.strerror}"
    return str(error) or type(error).__name__


def _print_json(content: object) -> None:
    import json

    from trajlib.report.console import is_unicode

    plain = not is_unicode(sys.stdout)
    click.echo(json.dumps(content, ensure_ascii=plain, indent=1, default=str))


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a script.")


@contextmanager
def _connected(address: str | None = None) -> "Iterator[Client]":
    from trajlib.cluster import connect, current_client

    # log messages of scheduler and workers are not for the terminal
    getLogger("distributed").setLevel(ERROR)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    existing = current_client()
    client = connect(address)
    try:
        yield client
    finally:
        if client is not existing:  # what this process had before is not ours to end
            for name in ("asyncio", "tornado"):  # what an end amid work leaves unfinished
                getLogger(name).setLevel(CRITICAL + 1)
            client.close()
            if client.cluster is not None:
                client.cluster.close()


@main.command()
@click.argument("archive", type=_folder())
@click.option("--flights", default=620, help="How many, over all city pairs.")
@click.option("--seed", default=2016, help="The same seed, the same bytes.")
def simulate(archive: Path, flights: int, seed: int) -> None:
    """Simulate flights of Spanish city pairs into ARCHIVE.

    Aircraft are OpenAP's, in simulated weather, from January to May 2016, most of them from
    Madrid (LEMD) to Barcelona (LEBL). Simulated flights test the code and are no evidence.
    """
    from trajlib.simulation.simulate import simulate_archive

    with _connected():
        simulate_archive(archive, flights=flights, seed=seed)
    click.echo(f"{archive}: {flights:,} simulated flights")


@main.command("import")
@click.argument("source", type=_folder(exists=True), required=False)
@click.argument("archive", type=_folder(), required=False)
@click.option("--format", "name", help="Format of all files; recognised by default.")
@click.option("--formats", "list_formats", is_flag=True, help="List the formats, and stop.")
@click.option("--origin", help="Only flights from this airport, by the source's codes (SFO).")
@click.option("--destination", help="Only flights to this airport, by the source's codes (LAX).")
@click.option("--measured-only", is_flag=True, help="The points alone, for traffic and wind.")
@click.option("--plans", is_flag=True, help="SOURCE holds filed flight plans alone.")
@click.option("--strict", is_flag=True, help="Reject every flight that needs a repair.")
@click.option("--min-points", "points", default=20, help="Points of a trajectory.")
@click.option("--max-gap", "gap", default=420.0, help="Seconds between two points.")
@click.option("--max-reach", "reach", default=15.0, help="Kilometres from the airports.")
@click.option("--max-repaired", "repaired", default=0.25, help="Share of wrong points.")
@click.option("--max-speed", "speed", default=1000.0, help="Knots of any aircraft.")
@click.option("--max-rate", "rate", default=6000.0, help="Feet per minute, likewise.")
def import_(
    source: Path | None,
    archive: Path | None,
    name: str | None,
    list_formats: bool,
    origin: str | None,
    destination: str | None,
    measured_only: bool,
    plans: bool,
    strict: bool,
    **criteria: Any,
) -> None:
    """Import real flights from SOURCE into the folder ARCHIVE.

    SOURCE is a file or a folder of files in any of the formats that --formats lists.

    A file is recognised by its content. Points are put together to flights, cleaned, and
    interpolated to one row a second, never extrapolated; with --measured-only no second is
    added. Airports are those of the source, or inferred where that is beyond doubt.

    A flight that fails --min-points, --max-gap or --max-reach is a fragment: its points are kept
    for what they show of wind and runways, but no trajectory is made of it. Every flight, with
    its repairs, is in ARCHIVE/imported.parquet, or with the reason in ARCHIVE/rejected.parquet.

    Filed routes beside the flights in SOURCE go into ARCHIVE/plans/: TFMS plans, so6 m1 and
    EUROCONTROL's filed points. With --plans, SOURCE holds filed routes alone, in one of these
    formats or in a table that a columns.toml beside it describes.
    """
    from trajlib.importers.formats import describe_formats

    if list_formats:
        click.echo(describe_formats())
        return
    if source is None or archive is None:
        raise click.UsageError("give SOURCE and ARCHIVE, or --formats")
    from trajlib.importers.pipeline import Criteria, import_flights
    from trajlib.importers.plans import import_plans, import_plans_beside_flights

    _check_writable(archive, "ARCHIVE")
    if plans:
        _print_plans(archive, import_plans(source, archive, format=name))
        return
    with _connected():
        flights = import_flights(
            source,
            archive,
            format=name,
            origin=origin,
            destination=destination,
            measured_only=measured_only,
            strict=strict,
            criteria=Criteria(**criteria),
            report=click.echo,
        )
    _print_account(archive, flights)
    if not measured_only:
        _print_plans(archive, import_plans_beside_flights(source, archive))


def _print_account(archive: Path, flights: "pd.DataFrame") -> None:
    from trajlib.estimate import count

    written = flights[flights["rejected"].isna()]
    fragments = written["why"].value_counts()
    rejected = flights["rejected"].value_counts()
    click.echo(
        f"{archive}: {count(len(written) - fragments.sum(), 'flight')}, "
        f"{count(fragments.sum(), 'fragment')}, {rejected.sum():,} rejected"
    )
    reasons = [(number, f"fragments: {text}") for text, number in fragments.items()]
    reasons += [(number, f"rejected: {text}") for text, number in rejected.items()]
    reasons.sort(key=lambda reason: -reason[0])
    for number, text in reasons[:_REASONS]:
        click.echo(f"{number:9,}  {text}")
    if others := sum(number for number, _ in reasons[_REASONS:]):
        click.echo(f"{others:9,}  others: see imported.parquet and rejected.parquet there")
    options = [option for text, option in _LOOSER.items() if text in str(fragments.index[:1])]
    for option in options:
        click.echo(f"{option} makes flights of some; its cost is in docs/import-criteria.md")
    gaps = written.loc[written["why"].str.endswith(" s between two points", na=False)]
    if shorter := int(gaps["longest_gap"].le(_LONGER_GAP).sum()):
        click.echo(f"With --max-gap {_LONGER_GAP}, {shorter:,} of the fragments would be flights")


def _print_plans(archive: Path, waypoints: "pd.Series | None") -> None:
    if waypoints is not None:
        median = f"{waypoints.median():.0f} waypoints in the median"
        click.echo(f"{archive}: plans of {len(waypoints):,} flights, {median}")


_strict = click.option("--strict", is_flag=True, help="Repair nothing: reject such flights.")


@main.command()
@click.argument("archive", type=_folder())
@click.option("--output", type=_folder(), help="Parquet file to keep it in.")
@click.option("--suggest", is_flag=True, help="Only print a columns.toml that may fit it.")
@click.option("--full", is_flag=True, help="Read every file in full, not only its ends.")
@_strict
@_as_json
def index(
    archive: Path, output: Path | None, suggest: bool, full: bool, strict: bool, as_json: bool
) -> None:
    """Index the folder ARCHIVE in one table.

    One row per file; only new and changed files are read. By default the table of data/raw/NAME is
    data/interim/NAME.index.parquet, and that of any other folder is beside it.

    Names, units and forms of the CSVs are recognised where they can mean one thing only. What
    cannot be decided is rejected with the question, and a columns.toml in the folder answers it:
    see data/README.md. --suggest reads a few files and proposes one.

    A few bad samples of a flight are left out, and counted. What only the whole file shows is
    known once it was read, by a report or with --full.
    """
    if suggest and as_json:
        raise click.UsageError("--suggest prints TOML: give it without --json")
    if suggest:
        from trajlib.archive.suggestion import suggest_dialect

        click.echo(suggest_dialect(archive))
        return
    from trajlib.archive.imported import read_import_account
    from trajlib.archive.index import FRAGMENT, build_index, default_index_path, read_rejections
    from trajlib.estimate import count

    _check_writable(Path(output or default_index_path(archive)).parent, "--output")
    table = build_index(archive, output, strict=strict or None)
    if full:
        from trajlib.archive.flights import map_flights

        with _connected():
            map_flights(table, len, columns=["altitude"])
        table = build_index(archive, output, strict=strict or None)
    usable = table[table["rejected"].isna()]
    pairs = usable.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    reasons = read_rejections(table)["rejected"]
    fragments = int(reasons.eq(FRAGMENT).sum())
    rejected = reasons[reasons.ne(FRAGMENT)].value_counts()
    repaired = _count_repairs(usable)
    account = read_import_account(archive)
    if as_json:
        content = {"archive": archive, "files": len(table), "fragments": fragments}
        content |= {"rejected": int(rejected.sum())}
        content["pairs"] = pairs.rename("files").reset_index().to_dict("records")
        counted = {"rejected_by_reason": rejected, "repaired_by_kind": repaired}
        counted |= {f"{name}_at_import": counts for name, counts in vars(account).items()}
        _print_json(content | {name: counts.to_dict() for name, counts in counted.items()})
        return
    parts = [count(len(table), "file"), count(len(pairs), "city pair")]
    parts += [count(fragments, "fragment")] if fragments else []
    parts.append(f"{rejected.sum():,} rejected")
    unknown = usable[["origin", "destination"]].isna().any(axis=1).sum()
    parts += [f"{unknown:,} without a known airport"] if unknown else []
    parts += [f"{account.rejected.sum():,} rejected at the import"] if len(account.rejected) else []
    click.echo(f"{archive}: {', '.join(parts)}")
    pairs.index = [f"{origin} → {destination}" for origin, destination in pairs.index]
    far = usable["incomplete"].dropna().str.replace(r" [\d,]+ ", " more than 30 ", regex=True)
    groups = {"flights": pairs, "rejected": rejected, "repaired": repaired}
    groups["far from an airport, though no fragments (left out of a pair)"] = far.value_counts()
    groups["rejected at the import"] = account.rejected
    groups["fragments, by what makes them fragments"] = account.fragments
    groups["repaired at the import (explained in docs/import-criteria.md)"] = account.repaired
    for title, counts in groups.items():
        _show_counts(title, counts)


def _count_repairs(table: "pd.DataFrame") -> "pd.Series":
    """Return the number of flights by kind of repair."""
    from trajlib.archive.index import read_repairs
    from trajlib.archive.repairs import REPAIRS

    counts = (read_repairs(table) > 0).sum().rename(index=REPAIRS)
    return counts.sort_values(ascending=False, kind="stable")


def _show_counts(title: str, counts: "pd.Series", most: int = 10) -> None:
    if len(counts):
        click.echo(f"\n{title:>9}")
    for name, count in counts.head(most).items():
        click.echo(f"{count:9,}  {name}")
    if len(counts) > most:
        click.echo(f"{counts.iloc[most:].sum():9,}  others, of {len(counts) - most:,} kinds")


@main.command()
@click.option("--archive", type=_folder(), required=True, help="Folder of flight CSVs.")
@click.option("--origin", help="Airport of departure, ICAO or IATA code (LEMD).")
@click.option("--destination", help="Airport of arrival, ICAO or IATA code (LEBL).")
@click.option("--scheduler", help="Address of a Dask scheduler, instead of a local cluster.")
@click.option("--output", type=_folder(), default="reports", help="For reports.")
@click.option("--data", type=_folder(), default="data", help="For tables.")
@click.option(
    "--notebooks", type=_folder(), help="Stages; by default ./notebooks or the installed ones."
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
@_strict
@click.option("--aggregate-only", is_flag=True, help="Also write one to share, without any flight.")
@_as_json
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
    from trajlib.archive.index import build_index, find_pair, select_flights
    from trajlib.archive.plans import read_plans
    from trajlib.archive.storage import is_remote, resolve
    from trajlib.archive.store import store_flights
    from trajlib.report.build import alone_with, list_flight_names, make_report, share_report
    from trajlib.report.console import show_stage
    from trajlib.report.front import answer, draw_front
    from trajlib.report.redaction import machine_rules

    _set_rules(TRAJLIB_STRICT=strict, TRAJLIB_INCOMPLETE=incomplete)
    if (origin is None) != (destination is None):
        raise click.UsageError("give both --origin and --destination, or neither")
    if origin is not None and destination is not None:
        origin, destination = _check_pair(origin, destination)
    given = dict(settings)
    notebooks, project = _find_notebooks(notebooks)
    common = {
        "archive": resolve(archive) if is_remote(archive) else os.path.relpath(archive, notebooks),
        "data": os.path.relpath(data, notebooks),
    }
    pair = {"origin": origin, "destination": destination}
    _match_stages(notebooks, names, common | pair, given)  # before anything is read
    _check_writable(data / "interim", "--data")
    _check_writable(output, "--output")
    with _connected(scheduler) as client:
        table = build_index(archive, _index_of(archive, data))
        if origin is None or destination is None:
            origin, destination = _busiest_pair(table)
        origin, destination = find_pair(table, origin, destination)
        common |= {"origin": origin, "destination": destination}
        stages, wanted = _match_stages(notebooks, names, common, given)
        folder = output / f"{origin}-{destination}"
        processed = data / "processed" / folder.name
        _check_writable(folder, "--output")
        _check_writable(processed, "--data")
        selected = select_flights(table, origin, destination)
        summary = f"{origin} → {destination}: {len(selected):,} flights of {len(table):,} files"
        click.echo("\n".join([summary, *_describe_far(table, common)]), err=as_json)
        with alone_with(processed, _say_waiting):
            store = store_flights(selected, data / "interim" / folder.name)
            parameters = common | {"archive": archive.name} | given
            facts = _gather_facts(table, store, parameters, named=names, wanted=wanted)
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
                    scheduler=client.scheduler.address,
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
        _print_json({"page": page, **made})
    else:
        click.echo(f"\n{answer(made)}\n{page}\nnext: {_suggest_next(made, archive)}")


def _suggest_next(report: Mapping, archive: Path) -> str:
    origin, destination = report["parameters"]["origin"], report["parameters"]["destination"]
    if not report["front"].get("models"):
        return "the same command without --stage runs all notebooks"
    options = f"--origin {origin} --destination {destination} --archive {archive}"
    return f"python -m trajlib predict {options} --time 'tomorrow 07:00 local'"


def _say_waiting() -> None:
    click.echo("waiting for another report on the same data to finish", err=True)


def _check_pair(origin: str, destination: str) -> tuple[str, str]:
    from trajlib.geodesy import find_airport

    pair = origin.strip().upper(), destination.strip().upper()
    for name, code in zip(("--origin", "--destination"), pair, strict=True):
        try:
            find_airport(code)
        except ValueError as error:
            raise click.UsageError(f"{name}: {error}") from error
    first, second = (find_airport(code) for code in pair)
    if first[1:] == second[1:]:  # but for the code
        raise click.UsageError(
            f"{pair[0]} and {pair[1]} are one airport, expected two: progress along a route, and "
            "what is scored by it, need two airports; flights that return stay in the archive"
        )
    return pair


def _busiest_pair(table: "pd.DataFrame") -> tuple[str, str]:
    usable = table[table["rejected"].isna() & table["incomplete"].isna()]
    counts = usable.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    for (origin, destination), count in counts.items():
        try:
            pair = _check_pair(origin, destination)
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


def _check_writable(folder: Path, option: str) -> None:
    from trajlib.archive.storage import is_remote

    if is_remote(folder):
        return
    existing = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    if not existing.is_dir():
        raise click.UsageError(f"{existing} is a file, expected a folder for {option}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise click.ClickException(f"{existing} cannot be written to: choose a folder by {option}")


def _find_notebooks(folder: Path | None) -> tuple[Path, Path]:
    """Return the folder of the stages and that of the project, below which paths may be shown."""
    if folder is None and not any(Path("notebooks").glob("[0-9]*_*.ipynb")):
        return Path(__file__).parent / "notebooks", Path.cwd()
    folder = (folder or Path("notebooks")).resolve()
    return folder, folder.parent


@main.command()
@click.argument("before", metavar="REPORT", type=_folder(exists=True))
@click.argument("after", metavar="REPORT", type=_folder(exists=True))
@click.option(
    "--output",
    type=_folder(dir_okay=False),
    default="reports/comparison.html",
    help="Page to write.",
)
@_as_json
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
        _print_json(comparison)
        return
    from trajlib.report.html import render_comparison

    _check_writable(output.parent, "--output")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render_comparison(comparison), "utf-8")
    counts = count_changes(comparison)
    parts = {"parameters": "parameters", "numbers": "numbers", "claims": "verdicts"}
    texts = [f"{counts[part]} of {len(comparison[part])} {name}" for part, name in parts.items()]
    click.echo(f"{output}: changed are {', '.join(texts)}")


@main.command()
@click.argument("flights", required=False, type=_folder(exists=True, dir_okay=False))
@click.option("--origin", required=True, help="Airport of departure, as in the archive (LEMD).")
@click.option("--destination", required=True, help="Airport of arrival, as in the archive (LEBL).")
@click.option("--csv", type=_folder(exists=True, dir_okay=False), help="Raw samples of one flight.")
@click.option("--minutes", type=float, help="Prediction time, after the first sample of the CSV.")
@click.option("--callsign", help="Operator's code and flight number (IBE1234).")
@click.option("--operator", help="By default the three letters of an airline's callsign (IBE).")
@click.option("--type", "aircraft_type", help="ICAO type designator (A320).")
@click.option(
    "--time", help="In the air, not off block: 2016-03-05T07:00 (UTC), 'tomorrow 07:00 local'."
)
@click.option("--plan", type=_folder(exists=True, dir_okay=False), help="Filed plan of the flight.")
@click.option("--model", type=_folder(), help="Folder of the model, instead of the pair's.")
@click.option("--archive", type=_folder(), help="Its flights of other pairs, for runways and wind.")
@click.option("--data", type=_folder(), default="data", help="For tables.")
@click.option("--output", type=_folder(), default="predictions", help="For it.")
@_as_json
def predict(
    flights: Path | None,
    origin: str,
    destination: str,
    csv: Path | None,
    minutes: float | None,
    time: str | None,
    plan: Path | None,
    model: Path | None,
    archive: Path | None,
    data: Path,
    output: Path,
    as_json: bool,
    **identity: str | None,
) -> None:
    """Predict when and where flights of a city pair fly.

    One flight is described by --time and --callsign, --operator, --type, or read from a --csv of
    its samples. A flight that has not arrived by the end of its CSV is predicted from its newest
    points that a model can use; of one that has arrived, only what was known at take-off is used,
    or at --minutes. FLIGHTS is a CSV that lists many flights, with a column time and any of
    callsign, operator and aircraft_type. Times are those of take-off, when a flight is in the
    air, not when it leaves its stand.

    The models are those that the stage 07_prediction of a report saved. Where the flights of the
    pair are there (DATA/interim/ORIGIN-DESTINATION, from a report), recent traffic is used, and
    with --archive the flights of other pairs. If no flight of the pair is in the week before, the
    model of what is known before departure is used (planned). OUTPUT receives a table (.csv), and
    for one flight GeoJSON (.geojson) and a map (.png) with the uncertainty.

    With --plan, a CSV or Parquet file of waypoints (latitude, longitude, and where known sequence,
    flight_level, speed, estimated_time, filed), the models with plans of that stage are used.
    What was filed after the prediction time does not count. For FLIGHTS, the file has flight
    plans by callsign and departure_time.
    """
    gc.disable()  # the search for garbage takes a fifth of so short a command
    click.get_current_context().call_on_close(gc.enable)
    import pandas as pd

    from trajlib.archive.index import build_index
    from trajlib.archive.plans import assign_plan, read_plan
    from trajlib.models import inference
    from trajlib.models.saved_models import load_model

    if sum(given is not None for given in (flights, csv, time)) != 1:
        raise click.UsageError("give one of --time, --csv and FLIGHTS")
    if minutes and csv is None:
        raise click.UsageError("--minutes needs a --csv")
    _check_writable(output, "--output")
    pair = origin, destination = _find_saved_pair(data, _check_pair(origin, destination))
    start = None if time is None else _parse_start(time, origin)
    past = inference.open_store(data / "interim" / "-".join(pair))
    folder = data / "processed" / "-".join(pair) / "prediction"
    if csv is not None and minutes is None and model is None:
        minutes = _newest_minutes(folder, inference.minutes_in_air(csv, destination))
    history = {"past": past, "plans": None if plan is None else read_plan(plan)}
    history["traffic"] = None if archive is None else build_index(archive, _index_of(archive, data))

    def load(feature_set: str) -> "SavedModel":
        name = feature_set if plan is None else f"{feature_set}_with_plan"
        saved = load_model(model or _find_model(folder, name, archive))
        _check_prediction_time(saved, minutes)
        return saved

    if flights is not None:
        gc.enable()  # there may be many
        table = inference.load_flight_table(flights, pair)
        recent = inference.has_recent_flights(past, table["start"])
        answers = [
            inference.predict_flights(load(feature_set), rows, **history)
            for feature_set, rows in (("at_takeoff", table[recent]), ("planned", table[~recent]))
            if len(rows)
        ]
        answer = pd.concat(answers).sort_index()
        _write_flights(answer, output / f"{flights.stem}.predicted.csv", as_json=as_json)
        return
    described = {name: value for name, value in identity.items() if value}
    if csv is None:
        name = described.get("callsign", "flight")
    else:
        samples, recorded = inference.load_samples_until(csv, minutes, pair=pair)
        start, described = samples["timestamp"].iloc[0], recorded | described
        history["samples"] = samples
        name = csv.name.removesuffix(".gz").removesuffix(".csv")
    # a callsign may be ../x or a dot, and the files belong into OUTPUT
    name = quote(name, safe=" ")[:100].replace(".", "%2E")
    flight = inference.build_flight_row(pair, start, csv=csv, **described)
    saved = load(inference.choose_feature_set(past, flight["start"].item(), minutes))
    flown = None if csv is None else inference.load_flown(csv, saved)
    if plan is not None:
        history["plans"] = assign_plan(history["plans"], flight)
    answer = inference.predict_flight(saved, flight, **history)
    _write_prediction(answer, saved.card["by"], output / name, flown=flown, as_json=as_json)


def _parse_start(text: str, origin: str) -> "pd.Timestamp":
    from trajlib.models.inference import parse_time

    try:
        return parse_time(text, origin)
    except ValueError as error:
        raise ValueError(f"--time: {error}") from error


def _find_saved_pair(data: Path, pair: tuple[str, str]) -> tuple[str, str]:
    """Return a pair by the codes of its saved models, which may be ICAO or IATA."""
    from trajlib.geodesy import locate_airport

    airports = tuple(map(locate_airport, pair))
    for folder in sorted((data / "processed").glob("*-*/prediction")):
        first, _, second = folder.parent.name.partition("-")
        if (locate_airport(first), locate_airport(second)) == airports:
            return first, second
    return pair


def _index_of(archive: Path, data: Path) -> Path:
    from trajlib.archive.index import default_index_path

    return data / "interim" / Path(default_index_path(archive)).name


def _list_models(folder: Path) -> list[str]:
    return sorted(card.parent.name for card in folder.glob("*/card.json"))


def _find_model(folder: Path, feature_set: str, archive: Path | None) -> Path:
    names = _list_models(folder)
    if not names:
        origin, _, destination = folder.parent.name.partition("-")
        source = "ARCHIVE" if archive is None else shlex.quote(str(archive))
        raise ValueError(
            f"no report of {origin} → {destination} has saved models yet; run: python -m trajlib "
            f"report --archive {source} --origin {origin} --destination {destination}, or for the "
            "models alone with --stage 07_prediction"
        )
    if feature_set not in names:
        raise ValueError(
            f"no model {feature_set} in {folder} (found: {', '.join(names)}); "
            "python -m trajlib report saves the models in its stage 07_prediction, whose parameter "
            "minutes lists the prediction times in flight, and those with plans where the archive "
            "has plans"
        )
    return folder / feature_set


def _newest_minutes(folder: Path, in_air: float | None) -> float | None:
    """Return the latest prediction time with a model of a flight in the air, None at take-off."""
    from trajlib.features.feature_sets import prediction_minutes

    times = [prediction_minutes(name) for name in _list_models(folder)]
    return max((time for time in times if time <= (in_air or 0)), default=0.0) or None


def _check_prediction_time(saved: "SavedModel", minutes: float | None) -> None:
    from trajlib.features.feature_sets import prediction_minutes

    feature_set = saved.card["feature_set"]
    needed = prediction_minutes(feature_set)
    if needed != (minutes or 0):
        options = f"--csv and --minutes {needed:g}" if needed else "no --minutes"
        raise click.UsageError(
            f"the model has the feature set {feature_set}: give {options}, or another --model"
        )


def _write_flights(table: "pd.DataFrame", path: Path, *, as_json: bool) -> None:
    from trajlib.estimate import count

    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S%z")
    if as_json:
        _print_json({"file": path, "flights": table.to_dict("records")})
        return
    warned = int((table["warnings"] != "").sum())
    width = ((table["minutes_high"] - table["minutes_low"]) / 2).mean()
    click.echo(
        f"{path}: {count(len(table), 'flight')}, arrivals within ± {width:.1f} min on average; "
        f"{warned:,} with warnings"
    )


def _write_prediction(
    answer: "FlightPrediction",
    by: str,
    path: Path,
    *,
    flown: "pd.DataFrame | None",
    as_json: bool,
) -> None:
    import json

    from trajlib.geodesy import unwrap_longitude
    from trajlib.models.saved_models import to_geojson
    from trajlib.plots.prediction import plot_trajectory

    table = answer.trajectory
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = table if flown is None else table.join(flown.add_suffix("_flown"))
    # GeoJSON keeps lines across the antimeridian in one piece, with longitudes beyond 180°
    columns = columns.assign(
        **{name: unwrap_longitude(columns[name], 0) for name in columns if "longitude" in name}
    )
    columns.round(5).to_csv(f"{path}.csv")
    geojson = to_geojson(table, flown)
    Path(f"{path}.geojson").write_text(json.dumps(geojson), "utf-8")
    airports = (answer.flight["origin"], answer.flight["destination"])
    figure = plot_trajectory(
        table, geojson, flown=flown, usual=answer.usual, plan=answer.plan, airports=airports
    )
    figure.savefig(f"{path}.png")
    if as_json:
        content = {
            "files": [f"{path}{kind}" for kind in (".csv", ".geojson", ".png")],
            "feature_set": answer.feature_set,
            "by": by,
            "level": answer.level,
            "takeoff": answer.flight["start"].isoformat(),
            "arrival": {name: time.isoformat() for name, time in answer.arrival.items()},
            "warnings": answer.warnings,
            "end": columns.iloc[-1].to_dict(),
        }
        _print_json(content)
        return
    click.echo("\n".join([*answer.describe(), *answer.warnings]))
    click.echo(f"feature set {answer.feature_set}; {path}.csv, .geojson, .png")


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


def _set_rules(**rules: bool) -> None:
    """Make the notebooks, which run in separate processes, read flights by the same rules."""
    for name, holds in rules.items():
        if holds:
            os.environ[name] = "1"


def _describe_far(index: "pd.DataFrame", parameters: Mapping) -> list[str]:
    from trajlib.archive.index import count_incomplete

    number = count_incomplete(index, parameters["origin"], parameters["destination"])
    used = "kept" if os.environ.get("TRAJLIB_INCOMPLETE") else "left out, --incomplete keeps them"
    text = f"flights that begin or end more than 30 NM from their airports ({used}): {number:,}"
    return [text] if number else []


def _gather_facts(
    index: "pd.DataFrame",
    store: "pd.DataFrame",
    parameters: Mapping,
    *,
    named: Sequence[str],
    wanted: Sequence[str],
) -> dict:
    from trajlib.archive.dialect import read_dialect
    from trajlib.archive.index import read_rejections
    from trajlib.geodesy import find_airport
    from trajlib.report.build import describe_data

    flights = store[store["rejected"].isna()]
    pair = f"{parameters['origin']} → {parameters['destination']}"
    fewest = _FEWEST_NAMED if named else _FEWEST
    if len(flights) < fewest:
        raise ValueError(
            f"{len(flights)} usable flights {pair}, expected {fewest} or more: days that are held "
            "out would hold next to nothing; python -m trajlib index ARCHIVE lists the pairs"
        )
    timezone = find_airport(parameters["origin"]).timezone
    days = flights["start"].dt.tz_convert(timezone).dt.date.nunique()
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
    dialect = read_dialect(index["archive"].iloc[0])
    return {
        "pair": pair,
        "archive": {n: getattr(dialect, n) for n in ("title", "source", "simulated")},
        "data": describe_data(index, store),
        "reasons": {"Rejected": read_rejections(index)["rejected"].value_counts().to_dict()},
        "parameters": {name: parameters[name] for name in parameters if name != "data"},
    }
