"""What flights before this one tell: recent traffic, and the flight number's own history.

A passage of another flight is known when the first point beyond it was measured; its landing
when no point followed the last for as long as a usable flight may go without one, for that a
point is the last cannot be seen in it; and since points are thinned, the last may have been
measured up to 30 s after the last that is left. What is not known by the moment counts for
nothing.
"""

import numpy as np
import pandas as pd

from trajlib.features.wind import WIND, estimate_wind, measure_velocities, to_nanoseconds
from trajlib.geodesy import track

__all__ = [
    "HISTORY",
    "LANDING_DELAY",
    "collect_recent_traffic",
    "find_passages",
    "select_other_traffic",
]

PLACES = (0.2, 0.5, 0.95)  # route progress at which passages are compared
_TRAFFIC = 12.0  # h before the moment: as many of a pair as tell of its day
_AIR = 2.0  # h before the moment: runways and wind change sooner, and more flights tell of them
LANDING_DELAY = pd.Timedelta(420 + 30, "s")  # after the last point left, until a flight has landed
_PASSED = ("cross", "altitude", "duration", "groundspeed")
_FLOWN = tuple(f"{name}_{round(100 * place)}" for place in PLACES for name in _PASSED)
_LANDED = (*_FLOWN, "arrival")
HISTORY = (
    *(f"recent_{name}" for name in _LANDED),
    *(f"callsign_{name}" for name in _LANDED),
    *(f"recent_{name}_{axis}" for name in ("departure", "landing") for axis in ("east", "north")),
    *WIND,
)


def find_passages(points: pd.DataFrame) -> pd.DataFrame:
    """Return when and how each flight passed places of its route, by ``path`` and ``place``.

    Returns
    -------
    DataFrame
        ``known``, the time of the first point beyond; ``cross`` [NM], ``altitude`` [ft],
        ``duration`` [s] and ``groundspeed`` [kt], linear between the points at either side.
        Places that a flight did not reach, or had reached before its first point, are absent.
    """
    previous = points.groupby(level="path", sort=False).shift(1)
    parts = {}
    for place in PLACES:
        here = (previous["progress"] < place) & (points["progress"] >= place)
        after, before = points[here].droplevel("point"), previous[here].droplevel("point")
        share = (place - before["progress"]) / (after["progress"] - before["progress"])
        values = {name: before[name] + share * (after[name] - before[name]) for name in _PASSED}
        parts[place] = pd.DataFrame({"known": after["timestamp"], **values})
    return pd.concat(parts, names=["place"]).swaplevel().sort_index()


def collect_recent_traffic(
    flights: pd.DataFrame, points: pd.DataFrame, around: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return what flights before it tell at each one's first sample.

    Parameters
    ----------
    flights
        Rows of one city pair, with ``path``, ``callsign``, ``start`` and the airports.
    points
        Of the same flights, as `trajlib.features.airborne.measure_points` returns them.
    around
        Of flights of other pairs, as `measure_other_traffic` returns them: they tell
        of the runways of a shared airport, and of the wind.

    Returns
    -------
    DataFrame
        The columns ``HISTORY``, by path: means of what passed in the last 12 hours, and of the
        flights of the same callsign that had landed; of the last two hours the courses flown at
        either end (runways in use) and the wind (`wind`). Missing where there was none.
    """
    rows = flights.set_index("path")
    moments = rows["start"].dt.as_unit("ns")
    passages = find_passages(points)
    landed = points.groupby(level="path", sort=False).tail(1).droplevel("point")
    landed = landed.assign(timestamp=landed["timestamp"] + LANDING_DELAY)
    known, values = _collect_passages(passages, landed)
    told = {
        f"recent_{name}": _mean_since(known[name], values[name], moments, _TRAFFIC)
        for name in _LANDED
    }
    pair = {side: flights[side].iloc[0] for side in ("origin", "destination")}
    everyone = points.assign(**pair)
    everyone = everyone if around is None else pd.concat([everyone, around], join="inner")
    for name, time, value in _courses(everyone, **pair):
        told[f"recent_{name}"] = _mean_since(time, value, moments, _AIR)
    told |= estimate_wind(measure_velocities(everyone, **pair), moments, hours=_AIR)
    table = pd.DataFrame(told, rows.index)
    return table.join(_same_callsign(rows, moments, landed, values))[list(HISTORY)]


def select_other_traffic(flights: pd.DataFrame, traffic: pd.DataFrame) -> pd.DataFrame:
    """Return the flights of other pairs of which any flight of one pair can be told at its start.

    Parameters
    ----------
    flights
        Rows of one city pair: the airports and ``start``.
    traffic
        Rows of an index. Those that are usable, share an airport with the pair, and were under
        way in the two hours before a flight of it, are returned.
    """
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    shared = traffic[["origin", "destination"]].isin(pair)
    other = (traffic[["origin", "destination"]] != pair).any(axis=1)
    moments = np.sort(to_nanoseconds(flights["start"]))
    until = traffic["end"] + LANDING_DELAY + pd.Timedelta(_AIR, "h")
    first, last = (
        np.searchsorted(moments, to_nanoseconds(times), side="right")
        for times in (traffic["start"], until)
    )
    return traffic[traffic["rejected"].isna() & shared.any(axis=1) & other & (first < last)]


def _collect_passages(passages: pd.DataFrame, landed: pd.DataFrame) -> tuple[dict, pd.DataFrame]:
    known = {"arrival": landed["timestamp"]}
    values = {"arrival": landed["duration"]}
    for place in PLACES:
        here = passages[passages.index.get_level_values("place") == place].droplevel("place")
        for name in _PASSED:
            key = f"{name}_{round(100 * place)}"
            known[key], values[key] = here["known"], here[name]
    return known, pd.DataFrame(values).reindex(landed.index)


def _mean_since(
    known: pd.Series, values: pd.Series, moments: pd.Series, hours: float
) -> np.ndarray:
    """Return the mean of the values that became known in the hours before each moment."""
    # a sum over what is missing would lose all that follows
    values = values.loc[known.index].dropna()
    known = known.loc[values.index]
    order = np.argsort(to_nanoseconds(known), kind="stable")
    times = to_nanoseconds(known)[order]
    sums = np.append(0.0, np.cumsum(values.to_numpy()[order]))
    until = to_nanoseconds(moments)
    low, high = (
        np.searchsorted(times, edge, side="right")
        for edge in (until - np.int64(hours * 3600e9), until)
    )
    count = high - low
    return np.divide(
        sums[high] - sums[low], count, out=np.full(len(count), np.nan), where=count > 0
    )


def _courses(
    points: pd.DataFrame, origin: str, destination: str
) -> list[tuple[str, pd.Series, pd.Series]]:
    told = []
    for name, part, silence in (
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
        time = last["timestamp"] + silence
        told += [(f"{name}_east", time, np.sin(angle)), (f"{name}_north", time, np.cos(angle))]
    return told


def _same_callsign(
    rows: pd.DataFrame, moments: pd.Series, landed: pd.DataFrame, values: pd.DataFrame
) -> pd.DataFrame:
    before = (
        values.assign(
            callsign=rows["callsign"].reindex(values.index),
            known=landed["timestamp"].dt.as_unit("ns"),
        )
        .dropna(subset=["callsign"])
        .sort_values("known", kind="stable")
    )
    sums = before.groupby("callsign", sort=False)[list(_LANDED)].cumsum()
    counts = before[list(_LANDED)].notna().groupby(before["callsign"]).cumsum()
    means = sums.where(counts > 0).groupby(before["callsign"]).ffill() / counts
    table = before[["callsign", "known"]].join(means.add_prefix("callsign_"))
    asked = pd.DataFrame({"callsign": rows["callsign"], "moment": moments}).dropna()
    asked = asked.reset_index().sort_values("moment", kind="stable")
    found = pd.merge_asof(asked, table, left_on="moment", right_on="known", by="callsign")
    return found.set_index("path").drop(columns=["callsign", "moment", "known"])
