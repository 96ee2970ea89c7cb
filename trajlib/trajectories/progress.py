"""Progress: variables that grow along a flight, and what is hidden where they do not.

A progress grows from 0 to 1, so that a flight is at each fraction of it once, and flights can be
compared there. Where it stands still nothing of the flight is seen.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from dtaidistance import dtw_ndim

from trajlib.geodesy import distance, find_airport
from trajlib.schema import COLUMNS, NUMERIC

__all__ = [
    "PERCENTS",
    "PROGRESS",
    "PROGRESS_COLUMNS",
    "Progress",
    "align_to",
    "distance_progress",
    "distance_to_go",
    "measure_hidden_time",
    "measure_progress",
    "measure_reversals",
    "own_route_progress",
    "route_progress",
    "summarize_reversals",
    "time_progress",
]

PERCENTS = np.linspace(0, 1, 101)
PROGRESS_COLUMNS = frozenset({"latitude", "longitude", "duration", "distance"})
_LATE = 0.95
_ALIGNED = 301  # places on the reference, and at most as many of the flight: about 1 NM apart
_STEP = 5.0  # s, between the samples at which distances to the airports are computed
_DERIVED = {  # unit and decimals of what measure_reversals adds, in its order
    "distance_from_origin": ("NM", 3),
    "distance_to_go": ("NM", 3),
    "route_progress": ("", 5),
}

Progress = Callable[[pd.DataFrame, str, str], np.ndarray]


def time_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the share of the flight's duration that has gone by at each sample.

    >>> time_progress(pd.DataFrame({"duration": [0.0, 1.0, 4.0]}), "LEMD", "LEBL").tolist()
    [0.0, 0.25, 1.0]
    """
    return _share(df["duration"].to_numpy())


def distance_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the share of the distance that is flown at each sample; 0 for one that never moves.

    >>> distance_progress(pd.DataFrame({"distance": [0.0, 3.0, 3.0, 4.0]}), "", "").tolist()
    [0.0, 0.75, 0.75, 1.0]
    """
    return _share(df["distance"].to_numpy())


def route_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return d_o / (d_o + d_d), the largest so far, at each sample.

    d_o and d_d are the distances to the airports' fixed coordinates: what it says of a place
    does not depend on the flight's own first and last sample. A flight that turns back keeps
    the progress it has reached until it has made good for it. It starts above 0 and seldom ends
    at 1, an airport's runways being away from its reference point.

    >>> df = pd.DataFrame({"duration": [0, 5.0], "latitude": [40.5, 41], "longitude": [-3.5, 0]})
    >>> route_progress(df, "LEMD", "LEBL").round(2).tolist()
    [0.01, 0.63]
    """
    return _share_between(df, _find_positions(origin, destination))


def own_route_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the route progress between the flight's own first and last positions, for contrast.

    It runs from 0 to 1 in every flight; but two flights at the same place differ in it where
    their records start or end at different places, and that difference counts as dispersion.
    """
    ends = df[["latitude", "longitude"]].to_numpy()[[0, -1]]
    return _share_between(df, ends)


def distance_to_go(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return minus the least distance to the destination so far [NM] at each sample.

    Being minus, it grows along the flight as a progress does: ``normalize_flights(flights,
    by=distance_to_go, fractions=np.arange(-20, 0))`` holds where, when and how high flights
    first come within 20, 19, …, 1 NM of the destination.
    """
    (to_go,) = _measure_distances(df, _find_positions(destination))
    return -np.fmin.accumulate(to_go)


def align_to(reference: pd.DataFrame) -> Progress:
    """Return the progress along a reference to which flights are aligned elastically.

    Each place of a flight is matched to places of the reference in their order, with the least
    sum of squared distances (dynamic time warping); first is matched to first, last to last.
    Of the libraries that do it dtaidistance was taken for its speed in C, and because it brings
    nothing else along: tslearn needs statsmodels, fdasrsf Cython, aeon older numpy and numba.

    Parameters
    ----------
    reference
        ``latitude``, ``longitude`` [deg] along the way, such as flights' median trajectory.

    >>> line = pd.DataFrame({"latitude": 0.0, "longitude": [0.0, 1.0, 2.0, 4.0]})
    >>> flight = line.assign(distance=line["longitude"], latitude=[0.1, 0.1, 0.2, 0.1])
    >>> align_to(line)(flight, "", "").round(2).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    scale = 60 * np.array([1.0, np.cos(np.radians(reference["latitude"].mean()))])  # NM/deg
    line = reference[["latitude", "longitude"]].dropna().to_numpy() * scale
    run = np.append(0, np.hypot(*np.diff(line, axis=0).T).cumsum())
    line = _space_evenly(line, run)[1]

    def elastic(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
        flown = df["distance"].to_numpy()
        seen, places = _space_evenly(df[["latitude", "longitude"]].to_numpy() * scale, flown)
        pairs = np.array(dtw_ndim.warping_path(places, line, use_c=True))
        matched = np.bincount(pairs[:, 0], pairs[:, 1]) / np.bincount(pairs[:, 0])
        matched[[0, -1]] = 0, _ALIGNED - 1  # the mean of several, elsewhere
        return np.interp(flown, seen, matched / (_ALIGNED - 1))

    return elastic


PROGRESS: dict[str, Progress] = {
    "time": time_progress,
    "distance": distance_progress,
    "route": route_progress,
}


def measure_progress(df: pd.DataFrame) -> pd.DataFrame:
    """Return every kind of progress of a flight at each sample, by ``share`` of its duration."""
    airports = df.attrs["origin"], df.attrs["destination"]
    share = pd.Index(time_progress(df, *airports), name="share")
    return pd.DataFrame({name: kind(df, *airports) for name, kind in PROGRESS.items()}, share)


def measure_hidden_time(df: pd.DataFrame, fractions: np.ndarray = PERCENTS) -> pd.DataFrame:
    """Return how much of a flight's time each progress hides.

    Returns
    -------
    DataFrame
        Indexed by ``progress``, shares of the flight's duration: ``still``, in which the progress
        does not grow; ``beyond`` the last of the fractions that it reaches; ``hidden``, either;
        ``late``, above a progress of 0.95.
    """
    duration = df["duration"].to_numpy()
    steps = np.diff(duration) / (duration[-1] - duration[0])
    rows = {}
    for name, values in measure_progress(df).items():
        progress = values.to_numpy()
        last = fractions[fractions <= progress[-1]].max(initial=0)
        masks = {"still": np.diff(progress) <= 0, "beyond": progress[:-1] >= last}
        masks |= {"hidden": masks["still"] | masks["beyond"], "late": progress[:-1] >= _LATE}
        rows[name] = {part: steps[mask].sum() for part, mask in masks.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("progress")


def measure_reversals(df: pd.DataFrame) -> pd.DataFrame:
    """Return how far each variable of a flight is from growing, or falling, all the way.

    Returns
    -------
    DataFrame
        Indexed by ``variable``: the flight's numbers, its distances from the airports, and
        d_o / (d_o + d_d) as it comes. ``reversal``: the largest return against the variable's
        growth, or its fall where that is the less, in the variable's unit. ``still``: the share
        of the flight's time in which the variable gets no further.

    >>> df = pd.DataFrame({"duration": [0, 1, 2, 4.0], "altitude": [0, 300, 250, 800.0]})
    >>> df = df.assign(latitude=[40.5, 40.6, 40.7, 40.8], longitude=[-3.5, -3.0, -2.5, -2.0])
    >>> df.attrs = {"origin": "LEMD", "destination": "LEBL"}
    >>> measure_reversals(df).loc["altitude"].to_dict()
    {'reversal': 50.0, 'still': 0.25}
    """
    airports = _find_positions(df.attrs["origin"], df.attrs["destination"])
    from_origin, to_go = _measure_distances(df, airports)
    held = [name for name in NUMERIC if name in df]
    measured = [from_origin, to_go, from_origin / (from_origin + to_go)]
    values = np.vstack([df[held].to_numpy(float).T, measured])
    growing, falling = (_returns(sign * values, df["duration"].to_numpy()) for sign in (1, -1))
    least = np.where(growing[0] <= falling[0], growing, falling)
    index = pd.Index([*held, *_DERIVED], name="variable")
    return pd.DataFrame(least.T, index, ["reversal", "still"])


def summarize_reversals(reversals: pd.DataFrame) -> pd.DataFrame:
    """Return for each variable how many flights are not monotonic in it, and by how much.

    Parameters
    ----------
    reversals
        What `measure_reversals` says of many flights, indexed by ``path`` and ``variable``.

    Returns
    -------
    DataFrame
        Indexed by ``variable``, the most monotonic first: ``unit``; ``reverse``, the share of
        flights that return by more than the last decimal of the data; ``median`` and ``largest``
        return [unit]; ``still``, the mean share of the time in which it gets no further.
    """
    reversals = reversals.dropna().assign(
        reverse=lambda df: df["reversal"] > df.index.get_level_values("variable").map(_last_decimal)
    )
    by_variable = reversals.groupby("variable")
    table = by_variable["reversal"].agg(["median", "max"]).set_axis(["median", "largest"], axis=1)
    table.insert(0, "reverse", by_variable["reverse"].mean())
    table.insert(0, "unit", [_unit(name) for name in table.index])
    return table.assign(still=by_variable["still"].mean()).sort_values(["reverse", "still"])


def _returns(values: np.ndarray, duration: np.ndarray) -> np.ndarray:
    best = np.fmax.accumulate(values, axis=1)
    steps = np.diff(duration) / (duration[-1] - duration[0])
    still = np.where(np.diff(best) <= 0, steps, 0).sum(axis=1)
    return np.array([np.fmax.reduce(best - values, axis=1), still])


def _unit(variable: str) -> str:
    return COLUMNS[variable].unit if variable in COLUMNS else _DERIVED[variable][0]


def _last_decimal(variable: str) -> float:
    return 10.0 ** -(COLUMNS[variable].decimals if variable in COLUMNS else _DERIVED[variable][1])


def _share(values: np.ndarray) -> np.ndarray:
    grown = np.fmax.accumulate(values) - values[0]
    return np.divide(grown, grown[-1], out=np.zeros(len(grown)), where=grown[-1] > 0)


def _share_between(df: pd.DataFrame, ends: Iterable[tuple[float, float]]) -> np.ndarray:
    d_o, d_d = _measure_distances(df, ends)
    return np.fmax.accumulate(d_o / (d_o + d_d))


def _space_evenly(line: np.ndarray, run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places at equal steps of what was run along a line, and how much was run there."""
    at = np.linspace(run[0], run[-1], _ALIGNED)
    return at, np.column_stack([np.interp(at, run, side) for side in line.T])


def _find_positions(*codes: str) -> list[tuple[float, float]]:
    return [(airport.latitude, airport.longitude) for airport in map(find_airport, codes)]


def _measure_distances(
    df: pd.DataFrame, positions: Iterable[tuple[float, float]]
) -> list[np.ndarray]:
    # Computed every 5 s and linear between: it takes a fifth of the time, and is wrong by less
    # than 0.1 NM where a flight turns or passes the airport, by nothing elsewhere.
    duration = df["duration"].to_numpy()
    at = np.searchsorted(duration, np.arange(duration[0], duration[-1], _STEP))
    at = np.unique(np.append(at, len(df) - 1))
    lat, lon = df["latitude"].to_numpy()[at], df["longitude"].to_numpy()[at]
    measured = (distance(lat, lon, *position) for position in positions)
    return [np.interp(duration, duration[at], values) for values in measured]
