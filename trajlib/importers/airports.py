"""Infer the airports of a flight from its first and last points."""

import itertools
from functools import cache

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from trajlib.geodesy import distance, load_airports, track
from trajlib.importers.segmentation import get_seconds

ENDS = ("latitude", "longitude", "altitude", "course", "rise")  # columns of `measure_ends`
_RADIUS = 25.0  # NM around an end of a flight in which airports are searched
_HEIGHT = {"origin": (6000.0, 800.0), "destination": (1500.0, 600.0)}  # ft, ft/NM at most
_MISS = {"origin": 0.3, "destination": 0.5}  # weight of the error of the course
_AWAY = -500.0, 3000.0  # ft, with less rise at this height, a flight is from or to elsewhere
_HIGH = 10_000.0  # ft above an airport, where no flight without certain traffic begins or ends
_NEAR = 0.3  # weight of the distance
_PATH = {"origin": 700.0, "destination": 500.0}  # ft/NM of a steep climb and descent
_FLAT = 150.0  # ft/NM, flatter than any path to or from an airport
_ABOVE = 0.5  # weight of the distance by which a flight is above or below these paths
_DECADE = 2.0  # additional cost [NM] of an airport with a tenth of the traffic
_FARTHEST = {"origin": 12.0, "destination": 8.0}  # highest cost of the best airport [NM]
_MARGIN = 1.0, 1.25  # difference [NM] and ratio of the cost of the next airport
_CERTAIN = 4.0, 1500.0  # distance [NM] and height [ft] within which a flight counts as traffic
_COURSE = 1.0, 180.0  # shortest distance [NM] and longest time [s] for a course at an end
_SHORTEST = 10.0  # s of a record that shows whether it climbs or descends
_FIELD = 2.0, 800.0  # NM and ft within which a flight is at an airport without scheduled traffic
_EARTH = 3440.065  # NM


@cache
def _airports() -> tuple[pd.DataFrame, cKDTree]:
    """Return the candidate airports, and a tree of their positions.

    Airports with an IATA code count as airports with scheduled traffic, of which no maintained free
    table exists. Heliports and seaplane bases are omitted.
    """
    table = pd.DataFrame(load_airports().values())
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
        minutes), ``course`` [deg], missing if the flight did not move, and ``rise`` [ft], how much
        higher it is three minutes from the end, extrapolated if its record is shorter.
    """
    points = points[["flight", "timestamp", "latitude", "longitude", "altitude"]]
    if points["latitude"].hasnans:
        points = points[points["latitude"].notna()]
    flight, time = points["flight"].to_numpy(), get_seconds(points)
    lat, lon, altitude = (points[n].to_numpy(float) for n in ("latitude", "longitude", "altitude"))
    begins = np.flatnonzero(np.diff(flight, prepend=-1))
    sizes = np.diff(np.append(begins, len(flight)))
    edge = np.repeat(begins if side == "origin" else begins + sizes - 1, sizes)
    near = np.flatnonzero(np.abs(time - time[edge]) <= _COURSE[1])
    near = near if side == "origin" else near[::-1]
    measured = near[~np.isnan(altitude[near])]
    high, far = _find_first(measured, flight), _find_first(measured[::-1], flight)
    apart = np.abs(time[far] - time[high])
    # what a short record shows of the three minutes goes on
    scale = np.where(apart >= _SHORTEST, _COURSE[1] / np.maximum(apart, _SHORTEST), 1.0)
    rise = pd.Series((altitude[far] - altitude[high]) * scale, flight[high])
    flown = distance(lat[near], lon[near], lat[edge[near]], lon[edge[near]])
    far = _find_first(near[flown >= _COURSE[0]], flight)
    begin, end = (edge[far], far) if side == "origin" else (far, edge[far])
    course = pd.Series(track(lat[begin], lon[begin], lat[end], lon[end]), flight[far])
    ends = pd.DataFrame(
        {"latitude": lat[edge[begins]], "longitude": lon[edge[begins]]},
        index=pd.Index(flight[begins], name="flight"),
    )
    height = pd.Series(altitude[high], flight[high])
    return ends.assign(altitude=height, course=course, rise=rise)


def _find_first(rows: np.ndarray, flight: np.ndarray) -> np.ndarray:
    """Return the first of the rows of each flight."""
    return rows[np.unique(flight[rows], return_index=True)[1]]


def infer_airports(ends: pd.DataFrame, side: str, traffic: pd.Series | None = None) -> pd.DataFrame:
    """Return the airport at one end of each flight, if there is only one that fits.

    The cost of an airport grows with its distance, with the error of the course at the end, and
    with the distance by which the flight is above a steep path or below a flat one; it falls with
    the traffic. The cheapest airport is chosen if the next one costs clearly more. Airports without
    scheduled traffic are used only if no other is in reach, or if the flight is low over one of
    them and more than 4 NM from the others.

    Parameters
    ----------
    ends
        As returned by `measure_ends`.
    side
        ``origin`` or ``destination``.
    traffic
        Number of flights that certainly begin or end at an airport, by ICAO code. It distinguishes
        a large airport from a small one next to it, and from one below an airliner's climb.

    Returns
    -------
    DataFrame
        By ``flight``: ``airport`` (ICAO, or missing), ``certain`` (whether the flight has a point
        within 4 NM and 1,500 ft of it), ``nearest`` (the nearest airport with scheduled traffic
        within 25 NM), ``distance`` [NM] to it, and ``reason`` (why the airport is unknown).
    """
    table, _ = _airports()
    icao = table["icao"]
    pairs = _list_candidates(ends, side)
    nearest, _ = _choose(pairs[pairs["scheduled"]], "distance")
    pairs = pairs[pairs["low"]]
    at_field = (pairs["distance"] < _FIELD[0]) & (pairs["height"] < _FIELD[1]) & ~pairs["scheduled"]
    farther = pairs["scheduled"] & (pairs["distance"] > _CERTAIN[0])
    pairs = pairs[~(farther & pairs.index.isin(pairs.index[at_field]))]
    flights = pairs.index[pairs["scheduled"]]
    pairs = pairs[pairs["scheduled"] | ~pairs.index.isin(flights)]
    if traffic is not None:
        codes = icao.array[pairs["airport"]]
        counts = traffic.reindex(codes).fillna(0).to_numpy()
        most = pd.Series(counts, pairs.index).groupby(level=0).transform("max")
        pairs = pairs.assign(cost=pairs["cost"] + _DECADE * np.log10((most + 1) / (counts + 1)))
    best, others = _choose(pairs, "cost")
    next_cost = others["cost"].reindex(best.index).fillna(np.inf)
    clear = next_cost >= best["cost"] + _MARGIN[0]
    clear &= next_cost >= best["cost"] * _MARGIN[1]
    near = best["cost"] <= _FARTHEST[side]
    unlikely = pd.Series(False, best.index)
    if traffic is not None:
        unlikely = (best["height"] > _HIGH) & ~icao[best["airport"]].isin(traffic.index).to_numpy()
    chosen = best[clear & near & ~unlikely]
    certain = (chosen["distance"] < _CERTAIN[0]) & (chosen["height"] < _CERTAIN[1])
    reason = pd.Series(f"no airport within {_RADIUS:.0f} NM", ends.index, dtype="str")
    reason[nearest.index] = "too high above any airport near"
    reason[best.index[~near]] = "the course leads to no airport near"
    reason[best.index[near & ~clear]] = "two airports fit"
    reason[best.index[unlikely]] = "too high above an airport without other flights"
    reason[chosen.index] = None
    return pd.DataFrame(
        {
            "airport": pd.Series(icao.array[chosen["airport"]], chosen.index),
            "nearest": pd.Series(icao.array[nearest["airport"]], nearest.index),
            "reason": reason,
            "certain": certain.reindex(ends.index, fill_value=False),
            "distance": nearest["distance"],
        },
        index=ends.index,
    )


def _choose(pairs: pd.DataFrame, by: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the row with the lowest value for each flight, and the next one."""
    order = np.lexsort((pairs[by], pairs.index))
    pairs = pairs.iloc[order]
    repeated = pairs.index.duplicated()
    others = pairs[repeated]
    return pairs[~repeated], others[~others.index.duplicated()]


def _list_candidates(ends: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return the airports within reach of the end of each flight, and their costs, by flight."""
    table, tree = _airports()
    vectors = _to_vectors(ends["latitude"].to_numpy(), ends["longitude"].to_numpy())
    lists = tree.query_ball_point(vectors, 2 * np.sin(_RADIUS / _EARTH / 2), return_sorted=True)
    flights = ends.loc[np.repeat(ends.index, [len(numbers) for numbers in lists])]
    airport = np.fromiter(itertools.chain.from_iterable(lists), int)
    lat, lon, elevation = (table[name].to_numpy()[airport] for name in ("lat", "lon", "elevation"))
    aircraft = flights["latitude"].to_numpy(), flights["longitude"].to_numpy()
    runway = lat, lon
    miles = distance(*aircraft, *runway)
    inbound = side == "destination"
    bearing = track(*aircraft, *runway) if inbound else track(*runway, *aircraft)
    angle = np.radians(bearing - flights["course"].to_numpy())
    angle[np.isnan(angle)] = 0
    miss = miles * np.where(np.cos(angle) > 0, np.abs(np.sin(angle)), 1.0)
    height = flights["altitude"].to_numpy() - elevation
    above = np.maximum(0, height / _PATH[side] - miles)
    below = np.maximum(0, miles - np.maximum(height, 0) / _FLAT)
    above, below = (np.nan_to_num(part) for part in (above, below))
    limit = _HEIGHT[side][0] + _HEIGHT[side][1] * miles
    away = (flights["rise"].to_numpy() < _AWAY[0]) & (height > _AWAY[1])
    return pd.DataFrame(
        {
            "airport": airport,
            "scheduled": table["scheduled"].to_numpy()[airport],
            "distance": miles,
            "height": height,
            "cost": _MISS[side] * miss + _NEAR * miles + _ABOVE * (above + below),
            # without an altitude, a flight is at an airport only if it is very close
            "low": np.where(np.isnan(height), miles <= 2.0, (height <= limit) & ~away),
        },
        index=flights.index,
    )
