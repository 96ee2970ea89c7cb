"""Warnings about a prediction: what in the flight differs from the training data."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from trajlib.estimate import count, format_percent
from trajlib.geodesy import distance, find_airport
from trajlib.models.prediction_intervals import MIN_DAYS, is_far_from_nominal
from trajlib.models.saved_models import Card, Days, SavedModel

_OLD = 180.0  # s; points usually come about once a minute
_SLACK = 31  # days before and after the training data without a warning
_RARE_HOUR = 0.005  # share of the training flights within an hour before or after
_DETOUR, _PROCEDURES = 2.0, 100.0  # times the direct line and NM that a plan may be long
_SPLITS = {  # in words, the days on which a model was scored
    "random days": "held-out days, drawn at random from the whole period",
    "forward in time": "the last days, with a model of the days before",
}
_CALENDAR = {  # of categories, the order in which they are named
    "month": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
}


def list_warnings(
    saved: SavedModel,
    row: Mapping[str, Any],
    pair: str,
    *,
    start: pd.Timestamp | None = None,
    traffic: bool = True,
    callsign: bool = True,
    recent: bool | None = None,
) -> list[str]:
    """Return warnings, as sentences, about a flight that differs from the training data.

    Those about the model itself are not among them, see `list_model_warnings`.

    Parameters
    ----------
    row
        Predictors of the flight, by name.
    pair, start
        As ``LEMD-LEBL``, and the take-off (UTC).
    traffic, callsign, recent
        Whether flights of other pairs were used, the callsign is known, and a flight of the pair
        landed in the week before; the last by default if predictors of recent traffic have a value.
    """
    card = saved.card
    warnings = []
    if pair != card["pair"]:
        warnings.append(
            f"The model was trained on {card['pair']} only: it predicts the flight as if it flew "
            f"there, which is no prediction for {pair}."
        )
    if start is not None:
        warnings += _warn_date(card["training"], start)
    warnings += _warn_hour(card["hours"], int(row["hour"]))
    warnings += _warn_categories(card["categories"], row)
    warnings += _warn_missing(row, callsign=callsign, recent=recent)
    warnings += _warn_plan(row, *card["pair"].split("-"))
    others = card.get("other_traffic", 0)
    if others and not traffic and card["feature_set"] != "planned":
        warnings.append(
            f"The model was trained with {count(others, 'flight')} of other pairs, for runways and "
            "wind; without --archive they are not used here."
        )
    return warnings


def list_model_warnings(card: Card) -> list[str]:
    """Return warnings, as sentences, about the intervals of all predictions of a model."""
    warnings = []
    days = card["calibration"]["days"]
    if days < MIN_DAYS:
        warnings.append(
            f"The intervals were calibrated on {days} days only, expected {MIN_DAYS} or more: they "
            "are widened to the largest errors of those days and may still be too narrow."
        )
    level = card["level"]
    for split, coverages in card.get("scores", {}).items():
        coverage = coverages["arrival"]
        if is_far_from_nominal(coverage, level):
            warnings.append(
                f"On {_SPLITS.get(split, split)}, {format_percent(coverage)} of the flights "
                f"arrived within their {format_percent(level)} interval."
            )
    for split, ratio in card.get("against_naive", {}).items():
        if ratio > 1:
            warnings.append(
                f"On {_SPLITS.get(split, split)}, the interval of the arrival was "
                f"{format_percent(ratio - 1)} worse (interval score) than one without a model, "
                "from the durations of earlier flights."
            )
    return warnings


def _warn_date(training: Days, start: pd.Timestamp) -> Iterator[str]:
    first, last = (pd.Timestamp(training[name], tz="UTC") for name in ("first", "last"))
    slack = pd.Timedelta(_SLACK, "D")
    if not first - slack <= start <= last + slack:
        days = (start - last).days if start > last else (first - start).days
        side = "after the last" if start > last else "before the first"
        span = f"{days / 365.25:.0f} years" if days > 730 else count(days, "day")
        yield (
            f"The date {start:%Y-%m-%d} is {span} {side} training day ({training['first']} to "
            f"{training['last']}): routes, procedures and fleet may differ."
        )


def _warn_hour(counts: list[int], hour: int) -> Iterator[str]:
    near = sum(counts[(hour + shift) % 24] for shift in (-1, 0, 1))
    if near <= _RARE_HOUR * sum(counts):
        yield (
            f"{near or 'None'} of the {sum(counts):,} training flights began within an hour of "
            f"{hour:02}:00 local time: the model goes by flights of other hours."
        )


def _warn_categories(categories: Mapping[str, list[str]], row: Mapping[str, Any]) -> Iterator[str]:
    for name, trained in categories.items():
        word, value = name.replace("_", " "), row[name]
        if not isinstance(value, str):
            yield f"The {word} is not given: the model uses the other predictors."
        elif value not in trained:
            order = _CALENDAR.get(name)
            trained = sorted(trained, key=order.index if order else None)
            yield (
                f"The {word} {value} was in no training flight "
                f"(there are {', '.join(trained) or 'none'}): the model uses the other "
                "predictors, and its intervals may be too narrow."
            )


def _warn_missing(row: Mapping[str, Any], *, callsign: bool, recent: bool | None) -> Iterator[str]:
    if recent is False or (recent is None and _lacks(row, "recent_")):
        yield (
            "No flight of the pair in the week before is in the archive: recent traffic is "
            "unknown, and the prediction goes by what else is known."
        )
    if callsign and _lacks(row, "callsign_"):
        yield (
            "No flight of the same callsign in the year before is in the archive: the model uses "
            "the other predictors."
        )
    for name, age in row.items():
        if name.startswith("age_at_") and not age <= _OLD:
            minutes = name.removeprefix("age_at_")
            state = f"{age:.0f} s old" if age > 0 else "missing"
            yield f"At {minutes} min the last measured point is {state}."


def _warn_plan(row: Mapping[str, Any], origin: str, destination: str) -> Iterator[str]:
    length = row.get("plan_length", math.nan)
    direct = float(distance(*find_airport(origin).position, *find_airport(destination).position))
    if length > _DETOUR * direct + _PROCEDURES:
        yield (
            f"The plan is {length:,.0f} NM long, the direct line {direct:,.0f} NM: it may be of "
            "another flight, or have its latitudes and longitudes exchanged."
        )


def _lacks(row: Mapping[str, Any], prefix: str) -> bool:
    """Return whether there are predictors with this prefix, and none has a value."""
    values = [value for name, value in row.items() if name.startswith(prefix)]
    return bool(values) and all(math.isnan(value) for value in values)
