"""Feature sets: the predictors of flights by the time at which they are known."""

import functools
from collections.abc import Callable, Iterable, Sequence

import holidays
import numpy as np
import pandas as pd

from trajlib.archive.dialect import read_dialect
from trajlib.archive.flights import map_flights
from trajlib.features.airborne import STATE, load_other_traffic, measure_points, measure_state
from trajlib.features.plan_features import PLAN, PLAN_STATE, build_plan_features, join_plan_state
from trajlib.features.recent_traffic import HISTORY, collect_recent_traffic
from trajlib.geodesy import find_airport
from trajlib.schema import NUMERIC
from trajlib.trajectories.events import FEATURES, measure_features

# in order of time: each set may have the predictors of the earlier ones
FEATURE_SETS = (
    *("planned", "at_takeoff", "airborne_5", "airborne_10", "airborne_20", "airborne_30"),
    *("airborne_60", "airborne_120", "whole_flight"),
)
PLANNED = ("operator", "aircraft_type", "weekday", "hour", "month", "holiday")

_STATISTICS: dict[str, Callable[..., np.ndarray]] = {
    "max": np.nanmax,
    "min": np.nanmin,
    "mean": np.nanmean,
    "std": np.nanstd,
}
# Columns that only grow have only a maximum. Positions are omitted as their mean is the mean of the
# targets, angles as their mean is meaningless, and the gap as a property of the radar.
_SOME_STATISTICS = {
    **dict.fromkeys(("duration", "distance", "fuel"), ("max",)),
    **dict.fromkeys(("latitude", "longitude", "track", "heading", "gap"), ()),
}
_STATES = {
    f"{name}_at_{feature_set.removeprefix('airborne_')}": feature_set
    for feature_set in FEATURE_SETS[2:-1]
    for name in (*STATE, *PLAN_STATE)
}
_AGGREGATES = tuple(
    f"{column}_{statistic}"
    for column in NUMERIC
    for statistic in _SOME_STATISTICS.get(column, _STATISTICS)
)
_AVAILABILITY = {
    **dict.fromkeys((*PLANNED, *PLAN), "planned"),
    **dict.fromkeys(HISTORY, "at_takeoff"),
    **_STATES,
    **dict.fromkeys((*_AGGREGATES, *FEATURES.index), "whole_flight"),
}


def build_predictors(
    flights: pd.DataFrame,
    feature_set: str = "whole_flight",
    *,
    traffic: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
    features: bool = False,
) -> pd.DataFrame:
    """Return the predictors of each flight in a feature set.

    Parameters
    ----------
    flights
        Rows of one city pair, of the index or of the store.
    feature_set
        ``planned``: operator, aircraft type, local weekday, hour [h] and month of the first sample,
        and whether the day is a public holiday at the origin. ``at_takeoff``: these,
        and recent traffic (`recent_traffic`). ``airborne_m``: these, and the state after m
        minutes, from points measured until then (`airborne`), named ``<state>_at_<m>``.
        ``whole_flight``, as in the talk: ``planned``, and aggregates of the whole flight.
    traffic
        Rows of an index. Flights of other pairs that share an airport contribute to runways and
        wind. By default recent traffic consists of the given flights only.
    plans
        Filed flight plans, as returned by `trajlib.archive.plans.read_plans`. They add the
        features of the last plan filed by the prediction time (`trajlib.features.plan_features`) to
        ``planned`` and later sets. By default none.
    features
        With ``whole_flight``, also the flight's events (`trajlib.trajectories.events`).

    Returns
    -------
    DataFrame
        One row per flight, indexed by ``path``. Categories are texts, since their encoding is
        fitted on training days. Columns that the archive marks as modelled are not used, as they
        are functions of the others.

    Raises
    ------
    ValueError
        When the feature set is not one of ``FEATURE_SETS``.
    """
    return build_predictors_by(
        flights, [feature_set], traffic=traffic, plans=plans, features=features
    )[feature_set]


def build_predictors_by(
    flights: pd.DataFrame,
    feature_sets: Sequence[str],
    *,
    traffic: pd.DataFrame | None = None,
    plans: pd.DataFrame | None = None,
    features: bool = False,
) -> dict[str, pd.DataFrame]:
    """Return the predictors of several feature sets, for the flights that are in all of them.

    Each is as returned by `build_predictors`; measured points are read only once.
    """
    for name in feature_sets:
        check_no_leakage((), name)
    flights = flights[flights["rejected"].isna()]
    tables = {"planned": _build_planned(flights)}
    if "whole_flight" in feature_sets:
        aggregates = _aggregate_flights(flights, features=features)
        tables["whole_flight"] = tables["planned"].join(aggregates, how="inner")
    measured = [name for name in feature_sets if name not in tables]
    if measured:
        points = measure_points(flights)
        traffic_points = load_other_traffic(flights, traffic)
        usable = flights[flights["path"].isin(points.index.unique("path"))]
        history = collect_recent_traffic(usable, points, traffic_points)
        takeoff = tables["planned"].join(history, how="inner")
        for name in measured:
            airborne = name != "at_takeoff"
            tables[name] = join_state(takeoff, points, name) if airborne else takeoff
    tables = {name: tables[name] for name in feature_sets}
    if plans is not None:
        for name, table in tables.items():
            tables[name] = join_plans(table, plans, flights, name)
    paths = functools.reduce(pd.Index.intersection, (t.index for t in tables.values()))
    return {name: table.loc[paths] for name, table in tables.items()}


def prediction_minutes(feature_set: str) -> float:
    """Return the prediction time of a feature set, in minutes after the first sample.

    It is 0 for feature sets that are not airborne.

    >>> prediction_minutes("airborne_10"), prediction_minutes("at_takeoff")
    (10.0, 0.0)
    """
    return float(feature_set.rpartition("_")[2]) if feature_set.startswith("airborne") else 0.0


def keep_before_landing(feature_sets: Iterable[str], flights: pd.DataFrame) -> list[str]:
    """Return the feature sets whose prediction time is within 75 % of the usual duration.

    By later ones, many of the flights have landed.

    Parameters
    ----------
    flights
        With the times ``start`` and ``end``.

    >>> times = pd.to_datetime(["2016-01-01 07:00", "2016-01-01 07:20"])
    >>> flights = pd.DataFrame({"start": times[:1], "end": times[1:]})
    >>> keep_before_landing(["at_takeoff", "airborne_10", "airborne_20"], flights)
    ['at_takeoff', 'airborne_10']
    """
    usual = (flights["end"] - flights["start"]).median() / pd.Timedelta(1, "min")
    return [name for name in feature_sets if prediction_minutes(name) < 0.75 * usual]


def join_state(takeoff: pd.DataFrame, points: pd.DataFrame, feature_set: str) -> pd.DataFrame:
    """Return predictors at take-off with the state of the flights at a later prediction time.

    Parameters
    ----------
    takeoff
        Predictors ``at_takeoff``, by path.
    points
        Points of the same flights, as returned by `trajlib.features.airborne.measure_points`.
    feature_set
        As ``airborne_m``.
    """
    minutes = prediction_minutes(feature_set)
    return takeoff.join(measure_state(points, minutes).add_suffix(f"_at_{minutes:g}"))


def join_plans(
    predictors: pd.DataFrame, plans: pd.DataFrame, flights: pd.DataFrame, feature_set: str
) -> pd.DataFrame:
    """Return predictors with the features of the last plan filed by the prediction time.

    Parameters
    ----------
    predictors
        Predictors of the ``feature_set``, by path.
    plans
        As returned by `trajlib.archive.plans.read_plans`.
    flights
        Rows of the same city pair.
    """
    minutes = prediction_minutes(feature_set)
    joined = predictors.join(build_plan_features(plans, flights, minutes=minutes))
    return join_plan_state(joined, minutes) if minutes else joined


def aggregate_flight(df: pd.DataFrame) -> dict[str, float]:
    """Return the maximum, minimum, mean and standard deviation of the columns of one flight.

    They are named ``<column>_<statistic>``. Columns that only grow have only a maximum; angles and
    positions have no statistics. Samples are assumed to be equally spaced. Columns without numbers
    give NaN.

    >>> aggregate_flight(pd.DataFrame({"duration": [0.0, 1.0, 2.0], "mach": [0.1, 0.3, 0.5]}))
    {'duration_max': 2.0, 'mach_max': 0.5, 'mach_min': 0.1, 'mach_mean': 0.3, 'mach_std': 0.163...}
    """
    names = [name for name in NUMERIC if name in df]
    values = df[names].to_numpy().T
    filled = ~np.isnan(values).all(axis=1)
    table = np.full((len(_STATISTICS), len(names)), np.nan)
    for row, function in zip(table, _STATISTICS.values(), strict=True):
        if filled.any():
            row[filled] = function(values[filled], axis=1)
    return {
        f"{column}_{statistic}": float(value)
        for column, row in zip(names, table.T, strict=True)
        for statistic, value in zip(_STATISTICS, row, strict=True)
        if statistic in _SOME_STATISTICS.get(column, _STATISTICS)
    }


def feature_availability(predictor: str) -> str:
    """Return the earliest feature set that contains a predictor.

    >>> [feature_availability(name) for name in ("operator", "altitude_at_10", "mass_min")]
    ['planned', 'airborne_10', 'whole_flight']
    """
    if predictor not in _AVAILABILITY:
        raise ValueError(f"the predictor {predictor!r} is in no feature set")
    return _AVAILABILITY[predictor]


def check_no_leakage(predictors: Iterable[str], feature_set: str) -> None:
    """Raise ValueError when a predictor is not yet known in a feature set.

    >>> check_no_leakage(["operator", "hour"], "at_takeoff")
    >>> check_no_leakage(["operator", "mass_min"], "at_takeoff")
    Traceback (most recent call last):
    ...
    ValueError: not known at_takeoff: mass_min (whole_flight)
    """
    if feature_set not in FEATURE_SETS:
        raise ValueError(f"feature set {feature_set!r}, expected one of {', '.join(FEATURE_SETS)}")
    earlier = FEATURE_SETS[: FEATURE_SETS.index(feature_set) + 1]
    late = [
        f"{name} ({feature_availability(name)})"
        for name in predictors
        if feature_availability(name) not in earlier
    ]
    if late:
        raise ValueError(f"not known {feature_set}: {', '.join(late)}")


def local_start(flights: pd.DataFrame) -> pd.Series:
    """Return the time of the first sample of each flight in its origin's time zone, by path.

    Times have no time zone, so that flights from several origins fit in one column.
    """
    start = flights.set_index("path")["start"]
    zones = flights["origin"].map(lambda code: find_airport(code).timezone).to_numpy()
    local = [start[zones == zone].dt.tz_convert(zone).dt.tz_localize(None) for zone in set(zones)]
    return pd.concat(local).reindex(start.index).rename("start")


def _aggregate_flights(flights: pd.DataFrame, *, features: bool) -> list[pd.DataFrame]:
    functions: dict[str, Callable] = {"aggregates": aggregate_flight}
    if features:
        functions["features"] = measure_features
    modelled = read_dialect(flights["archive"].iloc[0]).modelled
    columns = [name for name in NUMERIC if features or f"{name}_max" in _AGGREGATES]
    columns = [name for name in columns if name not in modelled]
    return list(map_flights(flights, functions, columns=columns).values())


def _build_planned(flights: pd.DataFrame) -> pd.DataFrame:
    local = local_start(flights).dt
    identity = flights.set_index("path")[["operator", "aircraft_type"]]
    return identity.assign(
        weekday=local.day_name().str[:3],
        hour=local.hour + local.minute / 60,
        month=local.month_name().str[:3],
        holiday=_on_holiday(local.date, flights.set_index("path")["origin"]),
    )


def _on_holiday(dates: pd.Series, origins: pd.Series) -> pd.Series:
    # national holidays only
    countries = origins.map(lambda code: find_airport(code).country)
    calendars = {country: holidays.country_holidays(country) for country in countries.unique()}
    days = zip(dates, countries, strict=True)
    return pd.Series([float(date in calendars[country]) for date, country in days], dates.index)
