"""Inference: predictors and prediction of given flights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.archive.plans import select_plans
from trajlib.archive.storage import is_remote
from trajlib.archive.store import derived_path, save_derived
from trajlib.cluster import current_client
from trajlib.estimate import format_percent
from trajlib.features import feature_sets as features
from trajlib.features.airborne import (
    keep_measured,
    load_other_traffic,
    locate_points,
    measure_points,
)
from trajlib.features.recent_traffic import (
    HISTORY,
    OLDEST,
    collect_recent_traffic,
    select_recent,
)
from trajlib.features.targets import match_flights
from trajlib.features.wind import to_nanoseconds
from trajlib.geodesy import find_airport
from trajlib.models.flight_inputs import DESCRIPTION
from trajlib.models.prediction_warnings import list_model_warnings, list_warnings
from trajlib.models.saved_models import SavedModel, predict_trajectories, predict_trajectory

_ENDS = ("origin", "destination")


@dataclass(frozen=True)
class FlightPrediction:
    """The prediction of one flight.

    Attributes
    ----------
    flight
        Row of the flight, as returned by `build_flight_row`.
    trajectory
        As returned by `predict_trajectory`; its last row is the end of the flight.
    feature_set
        Feature set of the model.
    level
        Coverage of the intervals.
    warnings
        Sentences about limits of the model and of the prediction.
    usual
        Median positions of the training flights, by fraction.
    plan
        Waypoints of the filed plan that was used; None without one.
    """

    flight: pd.Series
    trajectory: pd.DataFrame
    feature_set: str
    level: float
    warnings: list[str]
    usual: pd.DataFrame
    plan: pd.DataFrame | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """Codes of origin and destination."""
        return self.flight["origin"], self.flight["destination"]

    @property
    def arrival(self) -> dict[str, pd.Timestamp]:
        """Arrival of the flight (UTC): ``time``, ``low`` and ``high``."""
        end = self.trajectory.iloc[-1]
        columns = {"time": "duration", "low": "duration_low", "high": "duration_high"}
        return {
            name: self.flight["start"] + pd.Timedelta(end[column], "s")
            for name, column in columns.items()
        }

    def describe(self) -> list[str]:
        """Return the prediction in sentences: the flight, its take-off and its arrival."""
        flight, arrival = self.flight, self.arrival
        start, end = (find_airport(flight[side]).timezone for side in _ENDS)
        names = [flight[name] for name in ("callsign", "aircraft_type") if flight[name]]
        names.append(f"{flight['origin']} → {flight['destination']}")
        day = f"{flight['start']:%A %d %B %Y}".replace(" 0", " ")
        minutes = self.trajectory.iloc[-1] / 60
        return [
            f"{', '.join(names)}, {day} (UTC)",
            f"take-off {_clocks(flight['start'], start, flight['start'])}, in the air",
            f"arrival  {_clocks(arrival['time'], end, flight['start'])}, "
            f"{format_percent(self.level)} between "
            f"{_clock(arrival['low'], 'UTC', flight['start'])} and "
            f"{_clock(arrival['high'], 'UTC', flight['start'])}",
            f"         {minutes['duration']:.1f} min after take-off "
            f"({minutes['duration_low']:.1f} to {minutes['duration_high']:.1f})",
        ]

    def _repr_markdown_(self) -> str:
        lines = self.describe() + [f"*{line}*" for line in self.warnings]
        return "  \n".join(lines)


def has_recent_flights(past: pd.DataFrame | None, starts: pd.Series) -> pd.Series:
    """Return for each take-off whether a flight of the pair had landed in the week before.

    Without one, nothing is known about recent traffic. The model ``planned`` then predicts better
    than ``at_takeoff``, which has seen few such flights in training.

    Parameters
    ----------
    past
        Flights of the city pair, rows of its store; None without any.
    starts
        Times of take-off (UTC).
    """
    if past is None:
        return pd.Series(False, starts.index)
    landed = np.sort(to_nanoseconds(past.loc[past["rejected"].isna(), "end"].dropna()))
    week = pd.Timedelta(OLDEST, "h").value
    moments = to_nanoseconds(starts)
    earlier, older = (np.searchsorted(landed, each) for each in (moments, moments - week))
    return pd.Series(earlier > older, starts.index)


def choose_feature_set(past: pd.DataFrame | None, start: pd.Timestamp, minutes: float = 0.0) -> str:
    """Return the feature set to predict a flight from, some minutes after its take-off."""
    if minutes:
        return f"airborne_{minutes:g}"
    recent = has_recent_flights(past, pd.Series([start])).item()
    return "at_takeoff" if recent else "planned"


def build_flight_predictors(
    flights: pd.DataFrame,
    feature_set: str,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    samples: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the predictors of given flights, as `build_predictors` does for an archive.

    Parameters
    ----------
    flights
        As returned by `trajlib.models.flight_inputs.build_flight_row` or `load_flight_table`.
    feature_set
        ``planned``, ``at_takeoff`` or ``airborne_m``.
    past
        Flights of the city pair, rows of its store. Later flights and the given flights themselves
        are not used. Without any, recent traffic is missing.
    traffic
        Rows of an index; flights of other pairs contribute to runways and wind.
    samples
        Samples of a single flight, as returned by `load_flight`; samples after the prediction time
        are not used.
    plans
        Filed flight plans, as returned by `trajlib.archive.plans.read_plans`; the last one filed
        by the prediction time is used. By default there are no predictors from plans.

    Raises
    ------
    ValueError
        When an airborne flight has no samples.
    """
    predictors = features.build_predictors(flights, "planned")
    if feature_set != "planned":
        predictors = predictors.join(_collect_history(flights, past, traffic))
    if feature_set not in ("planned", "at_takeoff"):
        if samples is None:
            raise ValueError(
                f"the predictors {feature_set} need samples of the flight: give its CSV"
            )
        so_far = samples[samples["duration"] <= 60 * features.prediction_minutes(feature_set)]
        points = pd.concat({flights["path"].item(): keep_measured(so_far)}, names=["path"])
        predictors = features.join_state(predictors, locate_points(points, flights), feature_set)
    if plans is not None:
        predictors = features.join_plans(predictors, plans, flights, feature_set)
    return predictors


def predict_flight(
    saved: SavedModel,
    flight: pd.DataFrame,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    samples: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
) -> FlightPrediction:
    """Return the prediction of one flight by a saved model.

    Parameters
    ----------
    flight, past, traffic, samples, plans
        As for `build_flight_predictors`.
    """
    feature_set = saved.card["feature_set"]
    flight = _spell_as_trained(flight, saved)
    predictors = build_flight_predictors(
        flight, feature_set, past=past, traffic=traffic, samples=samples, plans=plans
    )
    (warnings,) = _list_warnings_by_flight(saved, flight, predictors, past, traffic)
    waypoints = None
    if plans is not None:
        waypoints = select_plans(plans, flight, minutes=features.prediction_minutes(feature_set))
    return FlightPrediction(
        flight.iloc[0],
        predict_trajectory(saved, predictors),
        feature_set,
        saved.card["level"],
        [*list_model_warnings(saved.card), *warnings],
        usual=pd.DataFrame(saved.card["usual"]),
        plan=waypoints,
    )


def predict_flights(
    saved: SavedModel,
    flights: pd.DataFrame,
    *,
    past: pd.DataFrame | None = None,
    traffic: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the arrivals of many flights, in the rows of the given table.

    Parameters
    ----------
    flights
        As returned by `load_flight_table`.
    past, traffic, plans
        As for `build_flight_predictors`.

    Returns
    -------
    DataFrame
        Identity; ``takeoff``, ``arrival``, ``arrival_low`` and ``arrival_high`` (UTC),
        ``takeoff_local`` and ``arrival_local``; ``minutes`` from take-off to arrival with
        ``minutes_low`` and ``minutes_high``; and ``warnings`` about the flight, as one text.
    """
    flights = _spell_as_trained(flights, saved)
    predictors = build_flight_predictors(
        flights, saved.card["feature_set"], past=past, traffic=traffic, plans=plans
    )
    ends = predict_trajectories(saved, predictors).groupby(level="path", sort=False).tail(1)
    ends = ends.droplevel("fraction").loc[flights["path"]]
    table = flights[[*DESCRIPTION, *_ENDS]].assign(takeoff=flights["start"].dt.floor("s"))
    for side in ("", "_low", "_high"):
        seconds = ends[f"duration{side}"].to_numpy()
        table[f"arrival{side}"] = table["takeoff"] + pd.to_timedelta(seconds.round(), "s")
        table[f"minutes{side}"] = (seconds / 60).round(1)
    for name, side in {"takeoff": "origin", "arrival": "destination"}.items():
        zone = find_airport(flights[side].iloc[0]).timezone
        table[f"{name}_local"] = table[name].dt.tz_convert(zone).dt.tz_localize(None)
    warnings = _list_warnings_by_flight(saved, flights, predictors, past, traffic)
    return table.assign(warnings=[" ".join(sentences) for sentences in warnings])


def open_store(folder: str | Path) -> pd.DataFrame | None:
    """Return the flights of an existing store, None if there is none."""
    table = Path(folder) / "flights.parquet"
    if not table.exists():
        return None
    return pd.read_parquet(table).assign(store=str(table.parent.resolve()))


def _spell_as_trained(flights: pd.DataFrame, saved: SavedModel) -> pd.DataFrame:
    """Return flights with operator and type in the capitals of the training flights."""
    flights = flights.copy()
    for name in ("operator", "aircraft_type"):
        trained = {text.upper(): text for text in saved.card["categories"].get(name, ())}
        texts = [text and trained.get(text.upper(), text) for text in flights[name]]
        flights[name] = pd.Series(texts, flights.index, dtype=object)
    return flights


def _clocks(time: pd.Timestamp, zone: str, day: pd.Timestamp) -> str:
    local = _clock(time.tz_convert(zone), "local", day)
    return f"{_clock(time, 'UTC', day)} ({local})"


def _clock(time: pd.Timestamp, zone: str, day: pd.Timestamp) -> str:
    """Return a time of day, with its date where that is not the given day."""
    text = f"{time:%H:%M} {zone}"
    return text if time.date() == day.date() else f"{text} on {time.day} {time:%B}"


def _list_warnings_by_flight(
    saved: SavedModel,
    flights: pd.DataFrame,
    predictors: pd.DataFrame,
    past: pd.DataFrame | None,
    traffic: pd.DataFrame | None,
) -> list[list[str]]:
    recent = None if past is None else has_recent_flights(past, flights["start"])
    rows = predictors.to_dict("index")
    return [
        list_warnings(
            saved,
            rows[flight.path],
            f"{flight.origin}-{flight.destination}",
            start=flight.start,
            traffic=traffic is not None,
            callsign=bool(flight.callsign),
            recent=flight.recent,
        )
        for flight in flights.assign(recent=recent).itertuples()
    ]


def _collect_history(
    flights: pd.DataFrame, past: pd.DataFrame | None, traffic: pd.DataFrame | None
) -> pd.DataFrame:
    paths = flights["path"].tolist()
    missing = pd.DataFrame(float("nan"), paths, list(HISTORY))
    if past is None:
        return missing
    recent = select_recent(past[~past["path"].isin(paths)], flights)
    if recent.empty:
        return missing
    points = _load_points(recent)
    around = load_other_traffic(flights, traffic)
    rows = pd.concat([recent, flights.astype({"start": past["start"].dtype})], ignore_index=True)
    return collect_recent_traffic(rows, points, around).loc[paths]


def _load_points(recent: pd.DataFrame) -> pd.DataFrame:
    """Return the measured points of recent flights.

    The points of all flights of a store are saved beside it, once there is a cluster to measure
    them, or once most of them are needed.
    """
    if "store" not in recent or is_remote(recent["store"].iloc[0]):
        return measure_points(recent)
    folder = Path(recent["store"].iloc[0])
    stored = open_store(folder)
    if stored is None:
        return measure_points(recent)
    usable = stored[stored["rejected"].isna()]
    names = usable[["path", "part"]].to_json(orient="values")
    file = derived_path(folder, "points", names)
    if file.exists():
        points = pd.read_parquet(file)
    elif current_client() is None and len(recent) < len(usable) / 2:
        return measure_points(recent)
    else:
        points = measure_points(usable)
        save_derived(points, file)
    return points[match_flights(points.index, pd.Index(recent["path"]))]
