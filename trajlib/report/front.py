"""The answer on the front page: a sentence, five numbers, a map and one chart."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trajlib.archive.flights import read_flights
from trajlib.archive.plans import select_plans
from trajlib.archive.reading import FlightError
from trajlib.archive.storage import replacing
from trajlib.estimate import format_percent
from trajlib.evaluation.splits import compare_periods, describe_days, local_days
from trajlib.features.feature_sets import FEATURE_SETS
from trajlib.geodesy import along_cross_track, distance, find_airport, track
from trajlib.labels import display_model
from trajlib.models.prediction_intervals import (
    MIN_DAYS,
    is_far_from_nominal,
    is_few_to_calibrate,
    split_days,
)
from trajlib.plots.maps import plot_tracks
from trajlib.plots.scores import plot_arrival_errors
from trajlib.plots.style import WIDTH
from trajlib.report.content import ArrivalError, Front, Interval, Report

_MOST = 300  # flights on the map
_ROUTES = 12  # filed routes on the map
_GROUPS = 5  # groups of route clusters on the map; the others are merged
_APART = 0.01  # share of the route's length, by which groups on the map are apart
_GROUPS_NAMED = 3  # most frequent operators and types
_NARROW = 4.2  # in, width of figures for phones
_STEP = 30  # samples between two drawn points
_LATER = "airborne_10"
_LITTLE = 0.95  # of an error; one that is still larger has hardly changed
_OLD = pd.Timedelta(365, "D")
_WINDS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")


def answer(report: Report) -> str:
    """Return the answer to the question of a report, what changes on later days, and the flights.

    Each is a line of sentences.
    """
    data, front = report["data"], report["front"]
    if not front:
        return f"{report['pair']}: {data['flights of the pair']} flights."
    flights = data["flights of the pair"]
    sentences = [f"{report['pair']}: {flights} flights on {_describe_days(front)}."]
    errors = front["arrival"]
    if "at_takeoff" in errors:
        error = _format_error(errors["at_takeoff"])
        sentence = f"At take-off the arrival time is missed by {error} on average"
        if "mean" in errors:
            texts = [f"{_format_error(errors['mean'])} with the average flight"]
            if errors["best baseline"]["name"] != "mean":
                texts.append(_name_best(errors["best baseline"]))
            sentence += f" ({', '.join(texts)})"
        if _LATER in errors:
            unchanged = errors[_LATER]["value"] > _LITTLE * errors["at_takeoff"]["value"]
            still = "still " if unchanged else ""
            sentence += f", 10 minutes later {still}by {_format_error(errors[_LATER])}"
        sentences.append(f"{sentence}.{_judge(errors['at_takeoff'], 'At take-off')}")
    if interval := front["interval"]:
        sentences.append(
            f"The {interval['level']:.0f} % interval at take-off is {interval['width']:.1f} min "
            f"wide and contains {interval['coverage']:.0f} % of {interval['flights']:,} arrivals "
            "on unseen days."
        )
    sentences += _warn_few_days(front["days"])
    lines = [" ".join(sentences), _describe_later_days(errors, interval), front["typical"]]
    return "\n".join(filter(None, lines))


def _describe_later_days(errors: Mapping[str, ArrivalError], interval: Interval) -> str:
    """Return what changes on days after those of training, as far as it was measured."""
    sentences = []
    if "later days" in errors:
        later, same = errors["later days"], errors["the same flights"]
        best = errors["best baseline, later days"]
        sentences.append(
            f"Models trained on earlier days alone, as in operation, miss {later['flights']:,} of "
            f"these arrivals by {_format_error(later)} on average, those trained on later days as "
            f"well by {_format_error(same)}, the best baseline ({best['name']}) by "
            f"{_format_error(best)}.{_judge(later, 'Trained on earlier days')}"
        )
    if "later" in interval:
        later_days = interval["later"]
        sentences.append(
            f"On the last fifth of the days{later_days['when']} the interval is "
            f"{later_days['width']:.1f} min wide and contains "
            f"{later_days['coverage']:.0f} % of {later_days['flights']:,} arrivals, which are "
            f"missed by {later_days['error']:.1f} min on average; one from the durations of "
            f"earlier flights is {later_days['naive']:.1f} min wide and contains "
            f"{later_days['naive_coverage']:.0f} %."
        )
    return " ".join(sentences)


def _judge(error: ArrivalError, when: str) -> str:
    """Return a sentence if a model is not significantly better than the best baseline."""
    if error.get("verdict") == "no better":
        reason = "the 95 % confidence interval of the difference includes 0"
        return f" {when} the model is no better than this baseline: {reason}."
    worse = f" {when} the model is worse than this baseline."
    return worse if error.get("verdict") == "worse" else ""


def _name_best(baseline: ArrivalError) -> str:
    return f"{_format_error(baseline)} with the best baseline, {baseline['name']}"


def _warn_few_days(days: int) -> list[str]:
    # of 95 % bootstrap intervals over 2, 5 and 10 independent days, 50, 82 and 90 % hold
    if days >= MIN_DAYS:
        return []
    return [f"On fewer than {MIN_DAYS} days, all confidence intervals over days are too narrow."]


def list_tiles(report: Report) -> list[dict]:
    """Return the numbers at the top of a front page: ``value``, ``label``, ``note``, ``marked``."""
    data, front = report["data"], report["front"]
    flights = {"value": data["flights of the pair"], "label": "flights"}
    tiles = [flights | {"note": _describe_days(front)}]
    labels = {"at_takeoff": "arrival error at take-off", _LATER: "arrival error 10 min later"}
    for name, label in labels.items():
        if error := front["arrival"].get(name):
            note = _describe_error(error, front["model"])
            tiles.append({"value": _format_error(error), "label": label, "note": note})
    if interval := front["interval"]:
        level, far = f"{interval['level']:.0f} %", interval["far"]
        width = {"value": f"{interval['width']:.1f} min", "label": f"width of the {level} interval"}
        coverage = {"value": f"{interval['coverage']:.0f} %", "label": "of arrivals inside it"}
        naive = f"{interval['naive']:.1f} min from the durations of earlier flights"
        tiles.append(width | {"note": f"at take-off; {naive}"})
        note = f"{level} expected, {interval['flights']:,} flights tested"
        if far:
            wide = interval["coverage"] > interval["level"]
            reason = "wider than needed" if wide else "too narrow"
            note = f"far from the {note}: the interval is {reason}"
        if later := interval.get("later"):
            note += f"; on later days {later['coverage']:.0f} % of {later['flights']:,}"
            if later["far"] and not far:
                coverage["label"] += f", {later['coverage']:.0f} % on later days"
            far = far or later["far"]
        tiles.append(coverage | {"note": note, "marked": far})
    return tiles


def _describe_error(error: ArrivalError, model: str) -> str:
    note = f"{error['low']:.1f} to {error['high']:.1f} (95 %), by {model}"
    if "p95" in error:
        note += f"; 5 % of the flights are missed by more than {error['p95']:.1f} min"
    if failure := _name_failure(error):
        note += f"; {failure}"
    return note


def _name_failure(error: ArrivalError) -> str:
    """Return that a model is no better or worse than the best baseline, "" where it is better."""
    is_better = error.get("verdict") not in ("no better", "worse")
    return "" if is_better else f"{error['verdict']} than {error['best']}"


def draw_front(
    store: pd.DataFrame,
    processed: Path,
    folder: Path,
    *,
    pair: tuple[str, str],
    rejected: int,
    plans: pd.DataFrame | None = None,
) -> Front:
    """Draw the map and the chart of a front page into a folder, and return its content.

    Parameters
    ----------
    store
        Flights of the pair, as returned by `trajlib.archive.store.store_flights`.
    processed
        Folder of results, with the tables of the stages, as far as they exist.
    folder
        Receives ``map.png`` and ``arrivals.png``, and both for narrow screens.
    pair
        Codes of both airports.
    rejected
        Number of flights of the pair that are not used.
    plans
        Filed plans of the archive, if there are any.
    """
    flights = store[store["rejected"].isna()]
    clusters = _read(processed / "routes.parquet")
    tracks = _read_tracks(flights)
    groups: pd.Series | None = None
    routes: dict[int, str] = {}
    if clusters is not None:
        groups, routes = describe_routes(tracks, clusters["cluster"], pair)
    title = f"Where flights {pair[0]} → {pair[1]} fly"
    filed = _read_filed(plans, flights)
    draw_map = partial(plot_tracks, tracks, pair, clusters=groups, names=routes, plans=filed)
    figures = {"map": partial(draw_map, title=title)}
    model = ""
    errors: dict[str, ArrivalError] = {}
    arrivals = _read(processed / "look_ahead_arrivals.parquet")
    if arrivals is not None:
        # not the best model on these days, which would be optimistic
        model = arrivals.loc[arrivals["kind"] == "model", "name"].iloc[0]
        forward = _read(processed / "look_ahead_forward.parquet")
        errors = _collect_arrival_errors(arrivals, forward, model)
        figures["arrivals"] = partial(plot_arrival_errors, arrivals, model, title=_title(errors))
    for name, draw in figures.items():
        for file, width in ((f"{name}.png", WIDTH), (f"{name}-narrow.png", _NARROW)):
            with replacing(folder / file) as temporary:
                draw(width=width).savefig(temporary, format="png")
    days = local_days(flights)
    return {
        "when": describe_days(days),
        "days": int(days.nunique()),
        "typical": _describe_typical(flights),
        "rejected": rejected,
        "model": display_model(model),
        "arrival": errors,
        "interval": _read_interval(processed, days),
        "routes": list(routes.values()),
        "models": _read_cards(processed),
    }


def _read(path: Path) -> pd.DataFrame | None:
    return pd.read_parquet(path) if path.is_file() else None


def _read_tracks(flights: pd.DataFrame) -> dict[str, np.ndarray]:
    chosen = np.unique(np.linspace(0, len(flights) - 1, _MOST).round().astype(int))
    tracks = {}
    for row, flight in read_flights(flights.iloc[chosen], columns=["latitude", "longitude"]):
        if not isinstance(flight, FlightError):
            points = flight[["longitude", "latitude"]].to_numpy()
            tracks[row["path"]] = np.concatenate([points[:-1:_STEP], points[-1:]])
    return tracks


def _read_filed(plans: pd.DataFrame | None, flights: pd.DataFrame) -> list[np.ndarray]:
    """Return the different filed routes of the flights, the most frequent last."""
    if plans is None:
        return []
    rows = select_plans(plans, flights)
    routes = Counter(
        tuple(map(tuple, plan[["longitude", "latitude"]].round(2).to_numpy()))
        for _, plan in rows.groupby(level="path")
    )
    return [np.array(route) for route, _ in reversed(routes.most_common(_ROUTES))]


def describe_routes(
    tracks: dict[str, np.ndarray], clusters: pd.Series, pair: tuple[str, str]
) -> tuple[pd.Series, dict[int, str]]:
    """Return groups of route clusters that are about as far from the direct line, and sentences.

    Clusters are in one group if they are no farther apart than a hundredth of the route's length,
    where the routes differ most.

    Parameters
    ----------
    tracks
        Longitude and latitude [deg] of some flights, by path.
    clusters
        As returned by `trajlib.models.route_clusters.find_route_clusters`.
    pair
        Codes of both airports.

    Returns
    -------
    Series, dict
        The group of each flight, by path: 0 for the largest, -1 for flights in no cluster and in
        small groups. A sentence for each group.
    """
    first, last = (find_airport(code) for code in pair)
    course = track(*first.position, *last.position)
    length = float(distance(*first.position, *last.position))
    step = max(1, round(_APART * length))

    def measure_offsets(points: np.ndarray) -> pd.Series:
        along, cross = along_cross_track(points[:, 1], points[:, 0], *first.position, course)
        by_tenth = pd.Series(cross).groupby(np.floor(10 * along / length)).median()
        return by_tenth.reindex(range(2, 8))

    offsets = {}  # median distance [NM] to the right of the direct line, by tenth of the way
    for number in clusters[clusters >= 0].unique():
        members = [tracks[path] for path in clusters.index[clusters == number] if path in tracks]
        if members:
            offsets[number] = measure_offsets(np.concatenate(members))
    table = pd.DataFrame(offsets).T.interpolate(axis=1, limit_direction="both").fillna(0.0)
    positions: dict[int, str] = {}
    near = pd.Series(dtype=bool)  # of flights in no cluster, whether they fly about as the others
    if len(table):
        spread = table.max() - table.min() if len(table) > 1 else table.iloc[0].abs()
        tenth = spread.idxmax()  # where the routes differ most
        ordered = table[tenth].sort_values()
        for _, part in ordered.groupby((ordered.diff() > step).cumsum()):
            miles = clusters[clusters.isin(part.index)].map(part).median()
            wind = _WINDS[round(float(course + (90 if miles > 0 else -90)) / 45) % 8]
            where = f"about {abs(miles):.0f} NM {wind} of the direct line"
            where += f", {10 * tenth + 5:.0f} % of the way"
            is_direct = abs(miles) < step / 2
            positions |= dict.fromkeys(part.index, "along the direct line" if is_direct else where)
        single = [path for path in clusters.index[clusters < 0] if path in tracks]
        at_tenth = pd.Series([measure_offsets(tracks[path])[tenth] for path in single], dtype=float)
        near = at_tenth.dropna().between(ordered.iloc[0] - step, ordered.iloc[-1] + step)
    words = clusters.map(positions)
    largest = words.value_counts().index[:_GROUPS]
    groups = words.astype(pd.CategoricalDtype(largest)).cat.codes  # -1 for all others
    shares = 100 * groups.value_counts(normalize=True)
    sentences = {
        group: f"{shares[group]:.0f} % fly {position}" for group, position in enumerate(largest)
    }
    if sentences and -1 in shares:
        small = (groups.eq(-1) & clusters.ge(0)).any()
        where = "in small groups or in no cluster" if small else "in no cluster"
        sentences[-1] = f"{shares[-1]:.0f} % are {where}"
        if len(near) and not small:
            sentences[-1] += f", {format_percent(near.mean())} of them between or near these routes"
    return groups, sentences


def _collect_arrival_errors(
    arrivals: pd.DataFrame, forward: pd.DataFrame | None, model: str
) -> dict[str, ArrivalError]:
    """Return the errors of a model by feature set, and those that they are compared with."""
    rows = arrivals[(arrivals["kind"] == "model") & (arrivals["name"] == model)]
    errors = {
        name: _to_arrival_error(row) for name, row in rows.set_index("feature_set").iterrows()
    }
    at_takeoff = arrivals[arrivals["feature_set"] == "at_takeoff"]
    mean = at_takeoff[at_takeoff["name"] == "mean"]
    if len(mean):
        errors["mean"] = _to_arrival_error(mean.iloc[0])
        errors["best baseline"] = _find_best_baseline(at_takeoff)
    if forward is not None and model in set(forward["name"]):
        rows = forward[forward["name"] == model].set_index("trained on")
        errors["later days"] = _to_arrival_error(rows.loc["earlier days"])
        errors["the same flights"] = _to_arrival_error(rows.loc["earlier and later days"])
        errors["best baseline, later days"] = _find_best_baseline(
            forward[forward["trained on"] == "earlier days"]
        )
    return errors


def _find_best_baseline(rows: pd.DataFrame) -> ArrivalError:
    # the great circle has the times of the mean trajectory
    baselines = rows[(rows["kind"] == "baseline") & (rows["name"] != "great circle")]
    return _to_arrival_error(baselines.loc[baselines["mae"].idxmin()])


def _read_interval(processed: Path, days: pd.Series) -> Interval:
    table = _read(processed / "prediction.parquet")
    card = processed / "prediction" / "at_takeoff" / "card.json"
    if table is None or not card.is_file():
        return {}
    level = json.loads(card.read_text("utf-8")).get("level", 0.9)
    levels = ["feature_set", "target", "fraction"]
    try:
        arrival = table.xs(("at_takeoff", "duration", 1.0), level=levels).astype(float)
    except KeyError:
        return {}
    chosen = arrival.loc[("random days", "chosen")]
    interval: Interval = {
        "level": 100 * level,
        "width": chosen["width"] / 60,
        "naive": arrival.loc[("random days", "naive"), "width"] / 60,
        "coverage": 100 * chosen["coverage"],
        "far": bool(is_far_from_nominal(chosen["coverage"], level)),
        "error": chosen["error"] / 60,
        "flights": int(chosen["flights"]),
    }
    if ("forward in time", "chosen") in arrival.index:
        later = arrival.loc[("forward in time", "chosen")]
        naive = arrival.loc[("forward in time", "naive")]
        interval["later"] = {
            "when": _describe_last_fifth(days),
            "naive": naive["width"] / 60,
            "naive_coverage": 100 * naive["coverage"],
            "width": later["width"] / 60,
            "coverage": 100 * later["coverage"],
            "flights": int(later["flights"]),
            "error": later["error"] / 60,
            "far": bool(is_far_from_nominal(later["coverage"], level)),
        }
    return interval


def _describe_last_fifth(days: pd.Series) -> str:
    """Return when the latest fifth of the days begins, and where the training days end."""
    used = days[days < days.max()]  # the last day is kept away from all models
    if used.nunique() < 3:
        return ""
    training, calibrating, last = split_days(used, seed=None)
    if is_few_to_calibrate(used):
        training = training.append(calibrating)
    first, trained = used[last].min(), used[training].max()
    return (
        f" (from {first.day} {first:%B %Y}; the model is trained on {len(training):,} flights up "
        f"to {trained.day} {trained:%B %Y})"
    )


def _read_cards(processed: Path) -> list[dict]:
    parts = (
        *("feature_set", "level", "by", "training", "calibration"),
        *("scores", "lowest", "versions"),
    )
    cards = []
    for path in sorted(processed.glob("prediction/*/card.json")):
        card = json.loads(path.read_text("utf-8"))
        shown = {part: card[part] for part in parts if part in card}
        cards.append({"name": path.parent.name} | shown)
    names = [f"{name}{end}" for name in FEATURE_SETS for end in ("", "_with_plan")]
    order = {name: position for position, name in enumerate(names)}
    return sorted(cards, key=lambda card: order.get(card["name"], len(order)))


def _to_arrival_error(row: pd.Series) -> ArrivalError:
    ends: Any = {name: float(row[name]) for name in ("low", "high", "p95") if name in row}
    facts: Any = {"name": row["name"], "flights": int(row["flights"])}
    facts |= {name: row[name] for name in ("best", "verdict") if row.get(name)}
    return {"value": float(row["mae"]), **ends, **facts, "unit": "min"}


def _describe_days(front: Front) -> str:
    text = front["when"]
    rejected = front["rejected"]
    if not rejected:
        return text
    return f"{text}; {rejected:,} more {'is' if rejected == 1 else 'are'} not used"


def _describe_typical(flights: pd.DataFrame) -> str:
    """Return a sentence on the usual durations of flights, and their operators and types."""
    minutes = (flights["end"] - flights["start"]).dt.total_seconds() / 60
    low, median, high = minutes.quantile([0.05, 0.5, 0.95])
    ends = f"{low:.0f} to {high:.0f} min in 90 % of cases"
    texts = [f"A flight takes {median:.0f} min in the median, {ends}"]
    for name, kind in (("operator", "operator"), ("aircraft_type", "type")):
        counts = flights[name].value_counts().head(_GROUPS_NAMED)
        shares = [f"{n} {format_percent(c / len(flights))}" for n, c in counts.items()]
        if len(counts) == 1:
            texts.append(f"the only known {kind} is {counts.index[0]}")
        elif shares:
            texts.append(f"the most frequent {kind}s are {', '.join(shares)}")
    by_path = flights.set_index("path")
    drift = compare_periods(
        minutes.set_axis(by_path.index), local_days(flights), by_path["operator"]
    )
    text = f"{'; '.join(texts)}. {drift}".rstrip()
    if pd.Timestamp.now("UTC") - flights["end"].max() > _OLD:
        newest = local_days(flights).max()
        text += f" The newest flight is of {newest:%B %Y}; traffic may have changed since."
    return text


def _format_error(error: ArrivalError) -> str:
    return f"{error['value']:.1f} {error['unit']}"


def _title(errors: Mapping[str, ArrivalError]) -> str:
    if "at_takeoff" not in errors:
        return "By how much the arrival is missed"
    text = f"At take-off the arrival is missed by {_format_error(errors['at_takeoff'])}"
    if failure := _name_failure(errors["at_takeoff"]):
        text += f", {failure}"
    return f"{text}; 10 min later by {_format_error(errors[_LATER])}" if _LATER in errors else text
