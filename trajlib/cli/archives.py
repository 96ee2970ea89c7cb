"""Commands that make archives and list what is in them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trajlib.cli.common import (
    Command,
    as_json_option,
    check_writable,
    connected,
    path_of,
    print_json,
    strict_option,
)

if TYPE_CHECKING:
    import pandas as pd

_REASONS = 5  # that are printed after an import
_KINDS = 10  # of flights that are printed for an index
_LONGER_GAP = 600  # s, of which an import names the gain
_LOOSER = {  # by what is in the reason of a fragment
    " s between two points": "A larger --max-gap",
    " km from the airport": "A larger --max-reach",
    "fewer than ": "A smaller --min-points",
}


@click.command(cls=Command)
@click.argument("archive", type=path_of())
@click.option("--flights", default=620, help="How many, over all city pairs.")
@click.option("--seed", default=2016, help="The same seed, the same bytes.")
def simulate(archive: Path, flights: int, seed: int) -> None:
    """Simulate flights of Spanish city pairs into ARCHIVE.

    Aircraft are OpenAP's, in simulated weather, from January to May 2016, most of them from
    Madrid (LEMD) to Barcelona (LEBL). Simulated flights test the code and are no evidence.
    """
    from trajlib.simulation.simulate import simulate_archive

    with connected():
        simulate_archive(archive, flights=flights, seed=seed)
    click.echo(f"{archive}: {flights:,} simulated flights")


@click.command("import", cls=Command)
@click.argument("source", type=path_of(exists=True), required=False)
@click.argument("archive", type=path_of(), required=False)
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

    Filed routes beside the flights in SOURCE go into ARCHIVE/plans/: TFMS plans, so6 m1,
    ALL_FT+ and EUROCONTROL's filed points. With --plans, SOURCE holds filed routes alone, in one
    of these formats or in a table that a columns.toml beside it describes.
    """
    from trajlib.importers.formats import describe_formats

    if list_formats:
        click.echo(describe_formats())
        return
    if source is None or archive is None:
        raise click.UsageError("give SOURCE and ARCHIVE, or --formats")
    from trajlib.importers.job import Criteria
    from trajlib.importers.pipeline import import_flights
    from trajlib.importers.plans import import_plans, import_plans_beside_flights

    check_writable(archive, "ARCHIVE")
    if plans:
        _print_plans(archive, import_plans(source, archive, format=name))
        return
    with connected():
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
    print_account(archive, flights)
    rejected = flights["rejected"].value_counts()
    number = rejected.sum()
    is_flight = flights["rejected"].isna() & flights["kind"].eq("flight")
    if not is_flight.any() and 2 * number > len(flights):  # else they are fragments
        reason = group_reasons(rejected).index[0]
        raise click.ClickException(f"no flight is written, {number:,} rejected: {reason}")
    if not measured_only:
        _print_plans(archive, import_plans_beside_flights(source, archive))


@click.command(cls=Command)
@click.argument("archive", type=path_of())
@click.option("--output", type=path_of(), help="Parquet file to keep it in.")
@click.option("--suggest", is_flag=True, help="Only print a columns.toml that may fit it.")
@click.option("--full", is_flag=True, help="Read every file in full, not only its ends.")
@strict_option
@as_json_option
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
    from trajlib.archive.index import build_index, default_index_path

    check_writable(Path(output or default_index_path(archive)).parent, "--output")
    table = build_index(archive, output, strict=strict)
    if full:
        from trajlib.archive.flights import map_flights

        with connected():
            map_flights(table, len, columns=["altitude"])
        table = build_index(archive, output, strict=strict)
    _print_index(archive, table, as_json=as_json)


def _print_index(archive: Path, table: "pd.DataFrame", *, as_json: bool) -> None:
    from trajlib.archive.account import count_flights
    from trajlib.archive.storage import format_location
    from trajlib.estimate import count

    account = count_flights(table)
    usable = table[table["rejected"].isna()]
    pairs = usable.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    if as_json:
        content = {
            "archive": format_location(archive),
            "files": len(table),
            "fragments": int(account["fragment"].sum()),
            "rejected": int(account["rejected"].sum()),
            "pairs": pairs.rename("files").reset_index().to_dict("records"),
            "rejected_by_reason": account["rejected"].to_dict(),
            "repaired_by_kind": account["repaired when read"].to_dict(),
            "rejected_at_import": account["rejected at the import"].to_dict(),
            "fragments_at_import": account["fragment"].to_dict(),
            "repaired_at_import": account["repaired at the import"].to_dict(),
        }
        print_json(content)
        return
    parts = [count(len(table), "file"), count(len(pairs), "city pair")]
    if fragments := account["fragment"].sum():
        parts.append(count(fragments, "fragment"))
    parts.append(f"{account['rejected'].sum():,} rejected")
    if unknown := usable[["origin", "destination"]].isna().any(axis=1).sum():
        parts.append(f"{unknown:,} without a known airport")
    if lost := account["rejected at the import"].sum():
        parts.append(f"{lost:,} rejected at the import")
    click.echo(f"{format_location(archive)}: {', '.join(parts)}")
    pairs.index = [f"{origin} → {destination}" for origin, destination in pairs.index]
    far = usable["incomplete"].dropna().str.replace(r" [\d,]+ ", " more than 30 ", regex=True)
    groups = {
        "flights": pairs,
        "rejected": group_reasons(account["rejected"]),
        "flights repaired when read": account["repaired when read"],
        "far from an airport, though no fragments (left out of a pair)": far.value_counts(),
        "rejected at the import": group_reasons(account["rejected at the import"]),
        "fragments, by what makes them fragments": account["fragment"],
        "flights repaired at the import (explained in docs/import-criteria.md)": account[
            "repaired at the import"
        ],
    }
    for title, counts in groups.items():
        _show_counts(title, counts)


def group_reasons(counts: "pd.Series") -> "pd.Series":
    """Return numbers of flights by reason, where reasons that differ in numbers are one."""
    reasons = counts.index.to_series().astype("str")
    pattern = reasons.str.replace(r"\d[\d.,]*", "#", regex=True)
    examples = reasons.groupby(pattern).transform("first")
    is_alone = pattern.map(pattern.value_counts()) == 1
    totals = counts.groupby(examples.where(is_alone, "for example, " + examples)).sum()
    return totals.sort_values(ascending=False, kind="stable")


def print_account(archive: Path, flights: "pd.DataFrame") -> None:
    """Print how many flights an import wrote, why others are fragments, and what keeps more."""
    from trajlib.estimate import count

    written = flights[flights["rejected"].isna()]
    fragments = written["why"].value_counts()
    rejected = flights["rejected"].value_counts()
    click.echo(
        f"{archive}: {count(len(written) - fragments.sum(), 'flight')}, "
        f"{count(fragments.sum(), 'fragment')}, {rejected.sum():,} rejected"
    )
    reasons = [(number, f"fragments: {text}") for text, number in fragments.items()]
    reasons += [(number, f"rejected: {text}") for text, number in group_reasons(rejected).items()]
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
    from trajlib.estimate import count

    if waypoints is not None:
        median = f"{waypoints.median():.0f} waypoints in the median"
        click.echo(f"{archive}: plans of {count(len(waypoints), 'flight')}, {median}")


def _show_counts(title: str, counts: "pd.Series") -> None:
    if len(counts):
        click.echo(f"\n{title:>9}")
    for name, count in counts.head(_KINDS).items():
        click.echo(f"{count:9,}  {name}")
    if len(counts) > _KINDS:
        click.echo(f"{counts.iloc[_KINDS:].sum():9,}  others, of {len(counts) - _KINDS:,} kinds")
