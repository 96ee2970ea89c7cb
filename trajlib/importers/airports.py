"""Between which airports a flight was, by its first and last points alone."""

import itertools
from functools import cache

import airportsdata
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from trajlib.geodesy import distance, track

__all__ = ["infer_airports", "measure_ends"]

_RADIUS = 25.0  # NM around an end of a flight in which airports are looked for
_HEIGHT = {"origin": (6000.0, 800.0), "destination": (1500.0, 600.0)}  # ft, ft/NM at most
_MISS = {"origin": 0.3, "destination": 0.5}  # weight of the miss of the course: take-offs turn
_NEAR = 0.3  # weight of the distance
_PATH = {"origin": 700.0, "destination": 500.0}  # ft/NM of a steep climb and descent
_FLAT = 150.0  # ft/NM of a path flatter than any to or from an airport
_ABOVE = 0.5  # weight of the distance missing below the one path, or left over above the other
_DECADE = 2.0  # NM that an airport with a tenth of the traffic counts as farther away
_FARTHEST = {"origin": 12.0, "destination": 8.0}  # NM, of the airport that fits best
_MARGIN = 1.0, 1.25  # NM, and ratio, by which the next one fits worse
_CERTAIN = 4.0, 1500.0  # NM from, and ft above, an airport that counts as traffic
_COURSE = 1.0, 180.0  # NM flown at least, and s at most, for a course at an end
_EARTH = 3440.065  # NM


@cache
def _airports() -> tuple[pd.DataFrame, cKDTree]:
    """Return the airports that flights may be between, and a tree of their positions.

    An airport with an IATA code counts as one with scheduled traffic: no free table that is kept
    up to date lists them. Heliports and seaplane bases are left out.
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
        ``latitude longitude`` [deg], ``altitude`` [ft], the nearest one measured within three
        minutes, and ``course`` [deg], missing where the flight did not move.
    """
    columns = ["timestamp", "latitude", "longitude", "altitude"]
    ordered = points if side == "origin" else points.iloc[::-1]
    by_flight = ordered.groupby("flight", sort=True)
    ends = by_flight[["timestamp", "latitude", "longitude"]].first()
    near = ordered.join(ends, on="flight", suffixes=("", "_end"))[
        ["flight", *columns, *(f"{name}_end" for name in columns[:3])]
    ]
    age = (near["timestamp"] - near["timestamp_end"]).abs().dt.total_seconds()
    near = near[age <= _COURSE[1]]
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
    """Return the airport at one end of each flight, where there is one without doubt.

    An airport fits the better, the nearer it lies, the less the course at the end misses it, the
    less the flight is above a steep path to it or below a flat one, and the more traffic it has.
    It is taken where the next airport fits clearly worse. Airports without scheduled traffic count
    only where none with it is in reach.

    Parameters
    ----------
    ends
        As of `measure_ends`.
    side
        ``origin`` or ``destination``.
    traffic
        Flights that certainly begin or end at an airport, by ICAO code: this separates a large
        airport from a small one beside it.

    Returns
    -------
    DataFrame
        By ``flight``: ``airport`` (ICAO) or missing, ``certain``, whether the flight is seen
        within 4 NM and 1,500 ft of it, ``nearest``, the nearest airport with scheduled traffic
        within 25 NM, ``distance`` [NM] to it, and ``reason``, why the airport is unknown.
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
    other = others["cost"].reindex(best.index).fillna(np.inf)
    clear = (other >= best["cost"] + _MARGIN[0]) & (other >= best["cost"] * _MARGIN[1])
    near = best["cost"] <= _FARTHEST[side]
    certain = (best["distance"] < _CERTAIN[0]) & (best["height"] < _CERTAIN[1])
    best = best.assign(certain=clear & near & certain)
    chosen = best[clear & near]
    result.loc[chosen.index, "airport"] = chosen["icao"]
    result.loc[chosen.index, "certain"] = chosen["certain"]
    result["reason"] = "too high above any airport near"
    result.loc[result["nearest"].isna(), "reason"] = f"no airport within {_RADIUS:.0f} NM"
    result.loc[best.index[~near], "reason"] = "the course leads to no airport near"
    result.loc[best.index[near & ~clear], "reason"] = "two airports fit"
    result.loc[chosen.index, "reason"] = None
    return result


def _list_candidates(ends: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return every airport within reach of the end of each flight, and how badly it fits."""
    table, tree = _airports()
    vectors = _to_vectors(ends["latitude"].to_numpy(), ends["longitude"].to_numpy())
    lists = tree.query_ball_point(vectors, 2 * np.sin(_RADIUS / _EARTH / 2), return_sorted=True)
    flights = ends.loc[np.repeat(ends.index, [len(numbers) for numbers in lists])]
    airports = table.iloc[list(itertools.chain.from_iterable(lists))]
    aircraft = flights["latitude"].to_numpy(), flights["longitude"].to_numpy()
    runway = airports["lat"].to_numpy(), airports["lon"].to_numpy()
    away = distance(*aircraft, *runway)
    inbound = side == "destination"
    bearing = track(*aircraft, *runway) if inbound else track(*runway, *aircraft)
    angle = np.radians(bearing - flights["course"].to_numpy())
    angle[np.isnan(angle)] = 0
    miss = away * np.where(np.cos(angle) > 0, np.abs(np.sin(angle)), 1.0)
    height = flights["altitude"].to_numpy() - airports["elevation"].to_numpy()
    above = np.maximum(0, height / _PATH[side] - away)
    below = np.maximum(0, away - np.maximum(height, 0) / _FLAT)
    above, below = (np.nan_to_num(part) for part in (above, below))
    limit = _HEIGHT[side][0] + _HEIGHT[side][1] * away
    return pd.DataFrame(
        {
            "flight": flights.index,
            "icao": airports["icao"].to_numpy(),
            "scheduled": airports["scheduled"].to_numpy(),
            "distance": away,
            "height": height,
            "cost": _MISS[side] * miss + _NEAR * away + _ABOVE * (above + below),
            # without any altitude, a flight is at the airport only where it is seen there
            "low": np.where(np.isnan(height), away <= 2.0, height <= limit),
        }
    )
