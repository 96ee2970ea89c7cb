"""The command that predicts flights."""

import gc
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from trajlib.cli.common import (
    Command,
    as_json_option,
    check_pair,
    check_writable,
    data_option,
    index_of,
    path_of,
    print_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from trajlib.models.inference import FlightPrediction
    from trajlib.models.saved_models import SavedModel


@click.command(cls=Command)
@click.argument("flights", required=False, type=path_of(exists=True, dir_okay=False))
@click.option("--origin", required=True, help="Airport of departure, as in the archive (LEMD).")
@click.option("--destination", required=True, help="Airport of arrival, as in the archive (LEBL).")
@click.option("--csv", type=path_of(exists=True, dir_okay=False), help="Raw samples of one flight.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    help="Prediction time, after the first sample of the CSV.",
)
@click.option("--callsign", help="Operator's code and flight number (IBE1234).")
@click.option("--operator", help="By default the three letters of an airline's callsign (IBE).")
@click.option("--type", "aircraft_type", help="ICAO type designator (A320).")
@click.option(
    "--time", help="In the air, not off block: 2016-03-05T07:00 (UTC), 'tomorrow 07:00 local'."
)
@click.option("--plan", type=path_of(exists=True, dir_okay=False), help="Filed plan of the flight.")
@click.option("--model", type=path_of(), help="Folder of the model, instead of the pair's.")
@click.option("--archive", type=path_of(), help="Its flights of other pairs, for runways and wind.")
@click.option("--data", type=path_of(), default="data", help="For tables.")
@click.option("--output", type=path_of(), default="predictions", help="For the answer.")
@as_json_option
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
    for one flight GeoJSON (.geojson) and a map (.png) with the uncertainty. They are named after
    the callsign or the file, and replace earlier ones of the same name.

    With --plan, a CSV or Parquet file of waypoints (latitude, longitude, and where known sequence,
    flight_level, speed, estimated_time, filed), the models with plans of that stage are used.
    What was filed after the prediction time does not count. For FLIGHTS, the file has flight
    plans by callsign and departure_time.
    """
    gc.disable()  # the search for garbage takes a fifth of so short a command
    click.get_current_context().call_on_close(gc.enable)
    from trajlib.archive.index import build_index
    from trajlib.archive.plans import assign_plan
    from trajlib.models import flight_inputs, inference
    from trajlib.models.saved_models import load_model

    if sum(given is not None for given in (flights, csv, time)) != 1:
        raise click.UsageError("give one of --time, --csv and FLIGHTS")
    if minutes and csv is None:
        raise click.UsageError("--minutes needs a --csv")
    check_writable(output, "--output")
    pair = origin, destination = _find_saved_pair(data, check_pair(origin, destination))
    start = None if time is None else _parse_start(time, origin)
    past = inference.open_store(data / "interim" / "-".join(pair))
    folder = data / "processed" / "-".join(pair) / "prediction"
    models = [] if model else _list_models(folder, archive, data)  # before the archive is read
    if csv is not None and minutes is None and model is None:
        usable = [name for name in models if name.endswith("_with_plan") == (plan is not None)]
        minutes = _newest_minutes(usable, flight_inputs.minutes_in_air(csv, destination), past)
    minutes = minutes or 0.0
    plans = None if plan is None else _load_plans(plan)
    traffic = None if archive is None else build_index(archive, index_of(archive, data))
    history = {"past": past, "traffic": traffic}

    def load(feature_set: str, with_plan: bool) -> "SavedModel":
        wanted = f"{feature_set}_with_plan" if with_plan else feature_set
        saved = load_model(model or _find_model(folder, wanted, models))
        _check_prediction_time(saved, minutes)
        return saved

    if flights is not None:
        gc.enable()  # there may be many
        table = flight_inputs.load_flight_table(flights, pair)
        answer, remarks = _predict_table(table, load, plan, history | {"plans": plans})
        path = output / f"{flights.stem}.predicted.csv"
        _write_flights(answer, remarks, path, as_json=as_json)
        return
    described = {name: value.strip() for name, value in identity.items() if value}
    samples = None
    if csv is None:
        flight = flight_inputs.build_flight_row(pair, start, **described)
        name = flight["path"].item()
    else:
        flight, samples = flight_inputs.load_flight(csv, pair, minutes, **described)
        flight_inputs.check_take_off(csv, samples, origin)
        name = csv.name.removesuffix(".gz").removesuffix(".csv")
    # a callsign may be ../x or a dot, and the files belong into OUTPUT
    name = quote(name, safe=" ")[:100].replace(".", "%2E")
    feature_set = inference.choose_feature_set(past, flight["start"].item(), minutes)
    saved = load(feature_set, plan is not None)
    flown = None if csv is None else flight_inputs.load_flown(csv, saved)
    if plans is not None:
        plans = assign_plan(plans, flight)
    answer = inference.predict_flight(saved, flight, samples=samples, plans=plans, **history)
    _write_prediction(answer, saved.card["by"], output / name, flown=flown, as_json=as_json)


def _predict_table(
    table: "pd.DataFrame",
    load: "Callable[[str, bool], SavedModel]",
    plan: Path | None,
    history: dict,
) -> "tuple[pd.DataFrame, list[str]]":
    """Return predictions of listed flights, and warnings about the models that made them.

    Flights without a plan are predicted by models without plans.
    """
    import pandas as pd

    from trajlib.archive.plans import select_plans
    from trajlib.labels import display_feature_set
    from trajlib.models.inference import has_recent_flights, predict_flights
    from trajlib.models.prediction_warnings import list_model_warnings

    recent = has_recent_flights(history["past"], table["start"])
    feature_sets = recent.map({True: "at_takeoff", False: "planned"})
    has_plan = pd.Series(False, table.index)
    if plan is not None:
        has_plan = table["path"].isin(select_plans(history["plans"], table).index.unique("path"))
        if not has_plan.any():
            raise ValueError(
                f"{plan}: no plan is of a flight in the table; expected plans by callsign and "
                "departure_time (UTC), filed before take-off"
            )
    answers, remarks = [], []
    for (feature_set, with_plan), rows in table.groupby([feature_sets, has_plan]):
        saved = load(feature_set, with_plan)
        plans = history["plans"] if saved.card["deviations"] else None
        answer = predict_flights(saved, rows, **{**history, "plans": plans})
        if plan is not None and not with_plan:
            missing = f"No plan of the flight is in {plan.name}: it is predicted without one. "
            answer["warnings"] = (missing + answer["warnings"]).str.strip()
        answers.append(answer)
        name = f"{display_feature_set(feature_set)}{', with plan' if with_plan else ''}"
        remarks += [f"Predictions {name}: {text}" for text in list_model_warnings(saved.card)]
    return pd.concat(answers).sort_index(), remarks


def _load_plans(path: Path) -> "pd.DataFrame":
    from trajlib.archive.plans import count_unusable, read_plan
    from trajlib.estimate import count

    plans = read_plan(path)
    if unusable := count_unusable(plans):
        click.echo(f"{path}: {count(unusable, 'waypoint')} left out, as unreadable", err=True)
    return plans


def _parse_start(text: str, origin: str) -> "pd.Timestamp":
    from trajlib.models.flight_inputs import parse_time

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


def _list_models(folder: Path, archive: Path | None, data: Path) -> list[str]:
    names = sorted(card.parent.name for card in folder.glob("*/card.json"))
    if not names:
        origin, _, destination = folder.parent.name.partition("-")
        source = "ARCHIVE" if archive is None else shlex.quote(str(archive))
        raise ValueError(
            f"no report of {origin} → {destination} has saved models yet; run: python -m trajlib "
            f"report --archive {source} --origin {origin} --destination {destination}"
            f"{data_option(data)}, or for the "
            "models alone with --stage 07_prediction"
        )
    return names


def _find_model(folder: Path, feature_set: str, names: list[str]) -> Path:
    if feature_set not in names:
        raise ValueError(
            f"no model {feature_set} in {folder} (found: {', '.join(names)}); "
            "python -m trajlib report saves the models in its stage 07_prediction, whose parameter "
            "minutes lists the prediction times in flight, and those with plans where the archive "
            "has plans"
        )
    return folder / feature_set


def _newest_minutes(names: list[str], in_air: float | None, past: "pd.DataFrame | None") -> float:
    """Return the latest prediction time with a model of a flight in the air, 0 at take-off.

    Where a later one could have a model, a line says how to train it.
    """
    from trajlib.features.feature_sets import (
        FEATURE_SETS,
        keep_before_landing,
        prediction_minutes,
    )

    def passed(feature_sets: "Iterable[str]") -> list[float]:
        times = [prediction_minutes(name) for name in feature_sets]
        return [time for time in times if 0 < time <= (in_air or 0)]

    newest = max(passed(names), default=0.0)
    possible = passed(FEATURE_SETS if past is None else keep_before_landing(FEATURE_SETS, past))
    if possible and possible[-1] > newest:
        when = f"{newest:.0f} min after take-off" if newest else "at take-off"
        times = ",".join(f"{time:.0f}" for time in possible)
        click.echo(
            f"The flight is {in_air:.0f} min in the air; the latest model for it is {when}: "
            f"report -p minutes {times} saves later ones",
            err=True,
        )
    return newest


def _check_prediction_time(saved: "SavedModel", minutes: float) -> None:
    from trajlib.features.feature_sets import prediction_minutes

    feature_set = saved.card["feature_set"]
    needed = prediction_minutes(feature_set)
    if needed != minutes:
        options = f"--csv and --minutes {needed:g}" if needed else "no --minutes"
        raise click.UsageError(
            f"the model has the feature set {feature_set}: give {options}, or another --model"
        )


def _write_flights(table: "pd.DataFrame", remarks: list[str], path: Path, *, as_json: bool) -> None:
    from trajlib.archive.storage import replacing
    from trajlib.estimate import count

    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%S%z")
    if as_json:
        flights = table.to_dict("records")
        print_json({"file": path, "flights": flights, "warnings": remarks})
        return
    warned = int((table["warnings"] != "").sum())
    width = ((table["minutes_high"] - table["minutes_low"]) / 2).mean()
    click.echo(
        f"{path}: {count(len(table), 'flight')}, arrivals within ± {width:.1f} min on average; "
        f"{warned:,} with warnings"
    )
    for remark in remarks:
        click.echo(remark)


def _write_prediction(
    answer: "FlightPrediction",
    by: str,
    path: Path,
    *,
    flown: "pd.DataFrame | None",
    as_json: bool,
) -> None:
    import json

    from trajlib.archive.storage import replacing
    from trajlib.geodesy import unwrap_longitude
    from trajlib.models.saved_models import to_geojson
    from trajlib.plots.prediction import plot_trajectory

    table = answer.trajectory
    columns = table if flown is None else table.join(flown.add_suffix("_flown"))
    # GeoJSON keeps lines across the antimeridian in one piece, with longitudes beyond 180°
    columns = columns.assign(
        **{name: unwrap_longitude(columns[name], 0) for name in columns if "longitude" in name}
    )
    with replacing(f"{path}.csv") as temporary:
        columns.round(5).to_csv(temporary)
    with replacing(f"{path}.geojson") as temporary:
        temporary.write_text(json.dumps(to_geojson(table, flown)), "utf-8")
    figure = plot_trajectory(
        table,
        flown=flown,
        usual=answer.usual,
        plan=answer.plan,
        airports=answer.pair,
        title=answer.describe()[0],
    )
    with replacing(f"{path}.png") as temporary:
        figure.savefig(temporary, format="png")
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
        print_json(content)
        return
    click.echo("\n".join([*answer.describe(), *answer.warnings]))
    click.echo(f"feature set {answer.feature_set}; {path}.csv, .geojson, .png")
