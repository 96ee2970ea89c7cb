"""Recent traffic: predictors from earlier flights of the city pair, airports and callsign.

Only facts known at a flight's first sample are used. A passage of another flight is known once the
first point beyond it was measured. A landing is known once no further point has followed for the
longest gap allowed in a usable flight.
"""

import numpy as np
import pandas as pd

from trajlib.features.wind import WIND, estimate_wind, measure_velocities, to_nanoseconds
from trajlib.geodesy import NAUTICAL_MILE, distance, find_airport, track

PLACES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)  # route progress of the compared passages
HOURS = (1, 3, 6, 24)  # before the first sample; passages are averaged over each window
LAST = (1, 3)  # numbers of latest passages to average, within OLDEST
OLDEST = 7 * 24.0  # h, of the flights of the pair that count as recent
_REACH = 15.0  # km; a fragment this close to an airport shows the runway used
_AIR = 2.0  # h; short, since runways and wind change quickly and many flights show them
_TYPE = 30  # days over which the usual difference of an aircraft type is averaged
_CALLSIGN = pd.Timedelta(365, "D")  # older flights of a callsign are not used
_CALLSIGN_PLACES = (0.2, 0.5, 0.95)
# points are thinned, so that a flight may go on for up to 30 s after its last remaining point
LANDING_DELAY = pd.Timedelta(420 + 30, "s")  # after the last point, until a flight has landed
_QUANTITIES = ("cross", "altitude", "duration", "groundspeed")
_RECENT = (
    *(f"{name}_{100 * place:.0f}" for place in PLACES for name in _QUANTITIES[:3]),
    "arrival",
)
_WINDOWS = (*(f"{hours}h" for hours in HOURS), *(f"last{count}" for count in LAST))
_CALLSIGNS = (
    *(f"{name}_{100 * place:.0f}" for place in _CALLSIGN_PLACES for name in _QUANTITIES),
    "arrival",
)
HISTORY = (
    *(f"recent_{name}_{window}" for name in _RECENT for window in _WINDOWS),
    *(f"callsign_{name}" for name in _CALLSIGNS),
    *(f"recent_{name}_{axis}" for name in ("departure", "landing") for axis in ("east", "north")),
    *WIND,
)


def find_passages(points: pd.DataFrame) -> pd.DataFrame:
    """Return when and how each flight passed ``PLACES`` of its route, by ``path`` and ``place``.

    Returns
    -------
    DataFrame
        ``available`` (time of the first point beyond); ``cross`` [NM], ``altitude`` [ft],
        ``duration`` [s] and ``groundspeed`` [kt], interpolated linearly between the points before
        and after. Places not reached, or reached before the first point, are absent.
    """
    previous = points.groupby(level="path", sort=False).shift(1)
    parts = {}
    for place in PLACES:
        passed = (previous["progress"] < place) & (points["progress"] >= place)
        after, before = points[passed].droplevel("point"), previous[passed].droplevel("point")
        share = (place - before["progress"]) / (after["progress"] - before["progress"])
        values = {name: before[name] + share * (after[name] - before[name]) for name in _QUANTITIES}
        parts[place] = pd.DataFrame({"available": after["timestamp"], **values})
    return pd.concat(parts, names=["place"]).swaplevel().sort_index()


def collect_recent_traffic(
    flights: pd.DataFrame, points: pd.DataFrame, around: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the predictors from earlier flights, as known at each flight's first sample.

    Parameters
    ----------
    flights
        Rows of one city pair, with ``path``, ``callsign``, ``aircraft_type``, ``start`` and the
        airports.
    points
        Points of the same flights, as returned by `trajlib.features.airborne.measure_points`.
    around
        Points of flights of other pairs, as returned by `load_other_traffic`. They contribute to
        the runways in use at a shared airport and to the wind.

    Returns
    -------
    DataFrame
        The columns ``HISTORY``, by path. ``recent_<quantity>_<place>_<window>``: means over
        the passages of the last hours, or over the last passages, minus the usual difference of
        the aircraft type from all types. ``callsign_…``: means over landed flights of the same
        callsign in the last year. ``recent_departure_…`` and ``recent_landing_…``: mean courses
        after take-off and before landing in the last two hours, which show the runways in use.
        Also the wind (`wind`). NaN where there was no such flight.
    """
    rows = flights.set_index("path")
    moments = rows["start"].dt.as_unit("ns")
    landed = points.groupby(level="path", sort=False).tail(1).droplevel("point")
    landed = landed.assign(timestamp=landed["timestamp"] + LANDING_DELAY)
    available, values = _arrange_passages(find_passages(points), landed)
    columns = {}
    oldest = moments - pd.Timedelta(OLDEST, "h")
    for name in _RECENT:
        times, of_flights = _sort_available(available[name], values[name])
        adjusted = _adjust_for_type(times, of_flights, rows["aircraft_type"])
        for hours in HOURS:
            since = moments - pd.Timedelta(hours, "h")
            columns[f"recent_{name}_{hours}h"] = _average(times, adjusted, since, moments)
        for count in LAST:
            means = _average(times, adjusted, oldest, moments, last=count)
            columns[f"recent_{name}_last{count}"] = means
    pair = {side: flights[side].iloc[0] for side in ("origin", "destination")}
    all_points = points.assign(**pair)
    if around is not None:
        all_points = pd.concat([all_points, around], join="inner")
    since = moments - pd.Timedelta(_AIR, "h")
    for name, time, value in _measure_courses(all_points, **pair):
        columns[f"recent_{name}"] = _average(*_sort_available(time, value), since, moments)
    wind = estimate_wind(measure_velocities(all_points, **pair), moments, hours=_AIR)
    callsigns = _average_callsign(rows, moments, landed, values)
    return pd.DataFrame(columns, rows.index).join([wind, callsigns])[list(HISTORY)]


def select_other_traffic(flights: pd.DataFrame, traffic: pd.DataFrame) -> pd.DataFrame:
    """Return the flights of other pairs that flew shortly before flights of one pair.

    Parameters
    ----------
    flights
        Rows of one city pair: the airports and ``start``.
    traffic
        Rows of an index.

    Returns
    -------
    DataFrame
        The rows of ``traffic`` that share an airport with the pair and flew in the two hours
        before one of its flights: usable flights, and fragments near that airport.
    """
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    shared = traffic[["origin", "destination"]].isin(pair)
    other_pair = (traffic[["origin", "destination"]] != pair).any(axis=1)
    moments = np.sort(to_nanoseconds(flights["start"]))
    until = traffic["end"] + LANDING_DELAY + pd.Timedelta(_AIR, "h")
    first, last = (
        np.searchsorted(moments, to_nanoseconds(times), side="right")
        for times in (traffic["start"], until)
    )
    usable = traffic["rejected"].isna() | _shows_runway(traffic, pair)
    selected = traffic[usable & shared.any(axis=1) & other_pair & (first < last)]
    return selected.assign(rejected=None)


def _shows_runway(traffic: pd.DataFrame, pair: list[str]) -> pd.Series:
    """Return which flights are fragments that begin or end near an airport of the pair."""
    near = pd.Series(False, traffic.index)
    for side, code, end in zip(("origin", "destination"), pair, ("first", "last"), strict=True):
        candidates = traffic["fragment"] & (traffic[side] == code)
        columns = [f"latitude_{end}", f"longitude_{end}"]
        latitude, longitude = traffic.loc[candidates, columns].to_numpy().T
        miles = distance(latitude, longitude, *find_airport(code).position)
        near[candidates] = miles * NAUTICAL_MILE <= _REACH * 1000
    return near


def select_recent(past: pd.DataFrame, flights: pd.DataFrame) -> pd.DataFrame:
    """Return the past flights that `collect_recent_traffic` needs for some flights.

    Its result is the same as with all past flights, but fewer need to be read.

    Parameters
    ----------
    past, flights
        Rows of one city pair, ``past`` in any order.
    """
    past = past[past["rejected"].isna() & (past["start"] < flights["start"].max())]
    past = past.sort_values("start", kind="stable")
    first = flights["start"].min()
    # two more days: a flight may last a day, and its type is compared over the days before
    days = OLDEST / 24 + _TYPE + 2
    recent = past["start"] > first - pd.Timedelta(days, "D")
    same_callsign = past["callsign"].isin(set(flights["callsign"].dropna()))
    same_callsign &= past["end"] > first - _CALLSIGN
    return past[recent | same_callsign]


def _arrange_passages(
    passages: pd.DataFrame, landed: pd.DataFrame
) -> tuple[dict[str, pd.Series], pd.DataFrame]:
    """Return the time at which each quantity became known, and the quantities, by path."""
    available = {"arrival": landed["timestamp"]}
    values = {"arrival": landed["duration"]}
    for place in PLACES:
        at_place = passages[passages.index.get_level_values("place") == place].droplevel("place")
        for name in _QUANTITIES:
            key = f"{name}_{100 * place:.0f}"
            available[key], values[key] = at_place["available"], at_place[name]
    return available, pd.DataFrame(values).reindex(landed.index)


def _sort_available(available: pd.Series, values: pd.Series) -> tuple[np.ndarray, pd.Series]:
    """Return times [ns] and values by path, sorted by time, without missing ones."""
    values = values.reindex(available.index).dropna()
    times = to_nanoseconds(available.loc[values.index])
    order = np.argsort(times, kind="stable")
    return times[order], values.iloc[order]


def _adjust_for_type(times: np.ndarray, values: pd.Series, types: pd.Series) -> pd.Series:
    """Return values minus the usual difference of their aircraft type from all types.

    The difference is that of the running means over the days before each value was known. Effects
    of the day and of the season remain in the values.
    """

    def running_mean(series: pd.Series) -> pd.Series:
        return series.rolling(f"{_TYPE}D", closed="left").mean()

    by_time = pd.Series(values.to_numpy(), pd.DatetimeIndex(times))
    groups = types.reindex(values.index).to_numpy()
    of_type = by_time.groupby(groups, sort=False).transform(running_mean)
    difference = (of_type - running_mean(by_time)).fillna(0.0)
    return values - difference.to_numpy()


def _average(
    times: np.ndarray,
    values: pd.Series,
    since: pd.Series,
    until: pd.Series,
    *,
    last: int | None = None,
) -> np.ndarray:
    """Return the mean of the values between two times, or of the last ones; NaN for none."""
    sums = np.append(0.0, values.to_numpy().cumsum())
    low, high = (np.searchsorted(times, to_nanoseconds(t), side="right") for t in (since, until))
    if last is not None:
        low = np.maximum(low, high - last)
    count = high - low
    missing = np.full(len(count), np.nan)
    return np.divide(sums[high] - sums[low], count, out=missing, where=count > 0)


def _measure_courses(
    points: pd.DataFrame, origin: str, destination: str
) -> list[tuple[str, pd.Series, pd.Series]]:
    """Return name, time and value of the courses flown after take-off and before landing."""
    courses = []
    for name, part, delay in (
        ("departure", points[points["origin"] == origin], 0 * LANDING_DELAY),
        ("landing", points[points["destination"] == destination], LANDING_DELAY),
    ):
        by_path = part.groupby(level="path", sort=False)
        ends = by_path.head(2) if name == "departure" else by_path.tail(2)
        ends = ends.groupby(level="path", sort=False)
        first, last = ends.first(), ends.last()
        moved = (first["timestamp"] < last["timestamp"]).to_numpy()
        first, last = first[moved], last[moved]
        sides = (table[side] for table in (first, last) for side in ("latitude", "longitude"))
        angle = pd.Series(np.radians(track(*sides)), last.index)
        time = last["timestamp"] + delay
        courses += [(f"{name}_east", time, np.sin(angle)), (f"{name}_north", time, np.cos(angle))]
    return courses


def _average_callsign(
    rows: pd.DataFrame, moments: pd.Series, landed: pd.DataFrame, values: pd.DataFrame
) -> pd.DataFrame:
    """Return the means over landed flights of the same callsign in the year before."""
    names = list(_CALLSIGNS)
    before = (
        values[names]
        .assign(
            callsign=rows["callsign"].reindex(values.index),
            available=landed["timestamp"].dt.as_unit("ns"),
        )
        .dropna(subset=["callsign"])
        .sort_values("available", kind="stable")
    )
    callsign = before["callsign"]
    sums = before[names].fillna(0.0).groupby(callsign, sort=False).cumsum()
    counts = before[names].notna().groupby(callsign, sort=False).cumsum().add_suffix("_count")
    table = before[["callsign", "available"]].join([sums, counts])
    flights = pd.DataFrame({"callsign": rows["callsign"], "moment": moments}).dropna()
    ends = []
    for edge in (flights["moment"], flights["moment"] - _CALLSIGN):
        requests = flights.assign(moment=edge).reset_index().sort_values("moment", kind="stable")
        last = pd.merge_asof(requests, table, left_on="moment", right_on="available", by="callsign")
        ends.append(last.set_index("path")[[*sums, *counts]].fillna(0))
    total = ends[0] - ends[1]
    count = total[list(counts)].set_axis(names, axis=1)
    return (total[names] / count.where(count > 0)).add_prefix("callsign_")
