"""Infer the airports of a flight from its first and last points."""

import itertools
from functools import cache

import airportsdata
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from trajlib.geodesy import distance, track

__all__ = ["infer_airports", "measure_ends"]

_RADIUS = 25.0  # NM around an end of a flight in which airports are searched
_HEIGHT = {"origin": (6000.0, 800.0), "destination": (1500.0, 600.0)}  # ft, ft/NM at most
_MISS = {"origin": 0.3, "destination": 0.5}  # weight of the error of the course
_NEAR = 0.3  # weight of the distance
_PATH = {"origin": 700.0, "destination": 500.0}  # ft/NM of a steep climb and descent
_FLAT = 150.0  # ft/NM, flatter than any path to or from an airport
_ABOVE = 0.5  # weight of the distance by which a flight is above or below these paths
_DECADE = 2.0  # additional cost [NM] of an airport with a tenth of the traffic
_FARTHEST = {"origin": 12.0, "destination": 8.0}  # highest cost of the best airport [NM]
_MARGIN = 1.0, 1.25  # difference [NM] and ratio of the cost of the next airport
_CERTAIN = 4.0, 1500.0  # distance [NM] and height [ft] within which a flight counts as traffic
_COURSE = 1.0, 180.0  # shortest distance [NM] and longest time [s] for a course at an end
_EARTH = 3440.065  # NM


@cache
def _airports() -> tuple[pd.DataFrame, cKDTree]:
    """Return the candidate airports, and a tree of their positions.

    Airports with an IATA code count as airports with scheduled traffic, of which no maintained free
    table exists. Heliports and seaplane bases are omitted.
    """
    table = pd.DataFrame(airportsdata.load("ICAO").values())
    other = table["name"].str.contains(r"(?i)heli(?:port|pad)|seaplane|\(closed\)|hospital")
    table = table[~other].reset_index(drop=True)
    table["scheduled"] = table["iata"].ne("")
    return table, cKDTree(_to_vectors(table["lat"], table["lon"]))


def _to_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    lat, lon = np.radians(lat), np.radians(lon)
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def measure_ends(points: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return position, altitude and course at one end of each flight, by ``flight``.

    Parameters
    ----------
    points
        Ordered by ``flight`` and ``timestamp``: ``latitude longitude`` [deg], ``altitude`` [ft].
    side
        ``origin`` or ``destination``.

    Returns
    -------
    DataFrame
        ``latitude longitude`` [deg], ``altitude`` [ft] (the nearest one measured within three
        minutes) and ``course`` [deg], missing if the flight did not move.
    """
    ordered = points[["flight", "timestamp", "latitude", "longitude", "altitude"]]
    ordered = ordered if side == "origin" else ordered.iloc[::-1]
    by_flight = ordered.groupby("flight")
    ends = by_flight[["timestamp", "latitude", "longitude"]].first()
    age = (ordered["timestamp"] - by_flight["timestamp"].transform("first")).abs()
    near = ordered[age <= pd.Timedelta(_COURSE[1], "s")]
    near = near.join(ends.add_suffix("_end"), on="flight")
    ends["altitude"] = near.groupby("flight")["altitude"].first()
    flown = distance(
        near["latitude"], near["longitude"], near["latitude_end"], near["longitude_end"]
    )
    far = near[flown >= _COURSE[0]].groupby("flight").first()
    near_end = ends.loc[far.index]
    begin, end = (near_end, far) if side == "origin" else (far, near_end)
    ends["course"] = pd.Series(
        track(begin["latitude"], begin["longitude"], end["latitude"], end["longitude"]), far.index
    )
    return ends[["latitude", "longitude", "altitude", "course"]]


def infer_airports(ends: pd.DataFrame, side: str, traffic: pd.Series | None = None) -> pd.DataFrame:
    """Return the airport at one end of each flight, if there is only one that fits.

    The cost of an airport grows with its distance, with the error of the course at the end, and
    with the distance by which the flight is above a steep path or below a flat one; it falls with
    the traffic. The cheapest airport is chosen if the next one costs clearly more. Airports without
    scheduled traffic are used only if no other is in reach.

    Parameters
    ----------
    ends
        As returned by `measure_ends`.
    side
        ``origin`` or ``destination``.
    traffic
        Number of flights that certainly begin or end at an airport, by ICAO code. It distinguishes
        a large airport from a small one next to it.

    Returns
    -------
    DataFrame
        By ``flight``: ``airport`` (ICAO, or missing), ``certain`` (whether the flight has a point
        within 4 NM and 1,500 ft of it), ``nearest`` (the nearest airport with scheduled traffic
        within 25 NM), ``distance`` [NM] to it, and ``reason`` (why the airport is unknown).
    """
    result = pd.DataFrame(index=ends.index, columns=["airport", "nearest", "reason"], dtype="str")
    result = result.assign(certain=False, distance=np.nan)
    pairs = _list_candidates(ends, side)
    nearest = pairs[pairs["scheduled"]].sort_values(["flight", "distance"], kind="stable")
    nearest = nearest.drop_duplicates("flight").set_index("flight")
    result.loc[nearest.index, ["nearest", "distance"]] = nearest[["icao", "distance"]].to_numpy()
    pairs = pairs[pairs["low"]]
    pairs = pairs[pairs["scheduled"] | ~pairs.groupby("flight")["scheduled"].transform("any")]
    if traffic is not None:
        flights = pairs["icao"].map(dict(traffic)).astype(float).fillna(0)
        most = flights.groupby(pairs["flight"]).transform("max")
        pairs = pairs.assign(cost=pairs["cost"] + _DECADE * np.log10((most + 1) / (flights + 1)))
    pairs = pairs.sort_values(["flight", "cost"], kind="stable")
    best = pairs.drop_duplicates("flight").set_index("flight")
    others = pairs[pairs["flight"].duplicated()].drop_duplicates("flight").set_index("flight")
    next_cost = others["cost"].reindex(best.index).fillna(np.inf)
    clear = next_cost >= best["cost"] + _MARGIN[0]
    clear &= next_cost >= best["cost"] * _MARGIN[1]
    near = best["cost"] <= _FARTHEST[side]
    chosen = best[clear & near]
    certain = (chosen["distance"] < _CERTAIN[0]) & (chosen["height"] < _CERTAIN[1])
    result.loc[chosen.index, "airport"] = chosen["icao"]
    result.loc[chosen.index, "certain"] = certain
    result["reason"] = "too high above any airport near"
    result.loc[result["nearest"].isna(), "reason"] = f"no airport within {_RADIUS:.0f} NM"
    result.loc[best.index[~near], "reason"] = "the course leads to no airport near"
    result.loc[best.index[near & ~clear], "reason"] = "two airports fit"
    result.loc[chosen.index, "reason"] = None
    return result


def _list_candidates(ends: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return the airports within reach of the end of each flight, and their costs."""
    table, tree = _airports()
    vectors = _to_vectors(ends["latitude"].to_numpy(), ends["longitude"].to_numpy())
    lists = tree.query_ball_point(vectors, 2 * np.sin(_RADIUS / _EARTH / 2), return_sorted=True)
    flights = ends.loc[np.repeat(ends.index, [len(numbers) for numbers in lists])]
    airports = table.iloc[list(itertools.chain.from_iterable(lists))]
    aircraft = flights["latitude"].to_numpy(), flights["longitude"].to_numpy()
    runway = airports["lat"].to_numpy(), airports["lon"].to_numpy()
    miles = distance(*aircraft, *runway)
    inbound = side == "destination"
    bearing = track(*aircraft, *runway) if inbound else track(*runway, *aircraft)
    angle = np.radians(bearing - flights["course"].to_numpy())
    angle[np.isnan(angle)] = 0
    miss = miles * np.where(np.cos(angle) > 0, np.abs(np.sin(angle)), 1.0)
    height = flights["altitude"].to_numpy() - airports["elevation"].to_numpy()
    above = np.maximum(0, height / _PATH[side] - miles)
    below = np.maximum(0, miles - np.maximum(height, 0) / _FLAT)
    above, below = (np.nan_to_num(part) for part in (above, below))
    limit = _HEIGHT[side][0] + _HEIGHT[side][1] * miles
    return pd.DataFrame(
        {
            "flight": flights.index,
            "icao": airports["icao"].to_numpy(),
            "scheduled": airports["scheduled"].to_numpy(),
            "distance": miles,
            "height": height,
            "cost": _MISS[side] * miss + _NEAR * miles + _ABOVE * (above + below),
            # without an altitude, a flight is at an airport only if it is very close
            "low": np.where(np.isnan(height), miles <= 2.0, height <= limit),
        }
    )
