"""Progress: variables that grow from 0 to 1 along a flight.

Flights are compared at equal progress. What a flight does while its progress does not grow is not
visible in the comparison.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from dtaidistance import dtw_ndim

from trajlib.geodesy import distance, find_airport, unwrap_longitude
from trajlib.schema import COLUMNS, NUMERIC

PERCENTS = np.linspace(0, 1, 101)
PROGRESS_COLUMNS = frozenset({"latitude", "longitude", "duration", "distance"})
_LATE = 0.95
_POINTS = 301  # of the reference and of an aligned flight, about 1 NM apart
_DISTANCE_STEP = 5.0  # s between the samples at which distances to airports are computed
_DERIVED = {  # unit and decimals of the variables that measure_reversals adds, in its order
    "distance_from_origin": ("NM", 3),
    "distance_to_go": ("NM", 3),
    "route_progress": ("", 5),
}

Progress = Callable[[pd.DataFrame, str, str], np.ndarray]


def time_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the share of the flight's duration that has passed at each sample.

    >>> time_progress(pd.DataFrame({"duration": [0.0, 1.0, 4.0]}), "LEMD", "LEBL").tolist()
    [0.0, 0.25, 1.0]
    """
    return _share_of_total(df["duration"].to_numpy())


def distance_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the share of the flight's distance flown until each sample.

    It is always 0 for a flight that does not move.

    >>> distance_progress(pd.DataFrame({"distance": [0.0, 3.0, 3.0, 4.0]}), "", "").tolist()
    [0.0, 0.75, 0.75, 1.0]
    """
    return _share_of_total(df["distance"].to_numpy())


def route_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the largest d_o / (d_o + d_d) so far at each sample.

    d_o and d_d are the distances from origin and destination. They use the airports' coordinates,
    so that a position has the same progress in every flight, wherever its record starts and ends. A
    flight that turns back keeps its progress until it passes the same point again. Route progress
    starts above 0 and seldom ends at 1, since runways are not at the airport's reference point.

    >>> df = pd.DataFrame({"duration": [0, 5.0], "latitude": [40.5, 41], "longitude": [-3.5, 0]})
    >>> route_progress(df, "LEMD", "LEBL").round(2).tolist()
    [0.01, 0.63]
    """
    start, end = find_airport(origin).position, find_airport(destination).position
    return _share_of_way(*_measure_distances(df, start, end))


def own_route_progress(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return the route progress between the flight's first and last positions, for comparison.

    It runs from 0 to 1 in every flight. But if records start or end at different positions, flights
    at the same position have different progress, which adds to the dispersion.
    """
    first, last = df[["latitude", "longitude"]].to_numpy()[[0, -1]]
    return _share_of_way(*_measure_distances(df, first, last))


def distance_to_go(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
    """Return minus the least distance to the destination so far [NM] at each sample.

    With the minus sign it grows along the flight, as a progress does: ``normalize_flights(flights,
    by=distance_to_go, fractions=np.arange(-20, 0))`` gives where, when and how high flights
    first come within 20, 19, …, 1 NM of the destination.
    """
    (to_destination,) = _measure_distances(df, find_airport(destination).position)
    return -np.fmin.accumulate(to_destination)


def align_to(reference: pd.DataFrame) -> Progress:
    """Return a progress along a reference, to which flights are aligned elastically.

    Points of the flight are matched in order to points of the reference with the least sum of
    squared distances (dynamic time warping); first is matched to first, last to last.
    dtaidistance does this in C without further dependencies, unlike tslearn, fdasrsf and aeon.

    Parameters
    ----------
    reference
        ``latitude``, ``longitude`` [deg] along a line, such as the median trajectory of flights.

    >>> line = pd.DataFrame({"latitude": 0.0, "longitude": [0.0, 1.0, 2.0, 4.0]})
    >>> flight = line.assign(distance=line["longitude"], latitude=[0.1, 0.1, 0.2, 0.1])
    >>> align_to(line)(flight, "", "").round(2).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    scale = 60 * np.array([1.0, np.cos(np.radians(reference["latitude"].mean()))])  # NM/deg
    line = reference[["latitude", "longitude"]].dropna().to_numpy() * scale
    centre = reference["longitude"].mean()
    flown = np.append(0, np.hypot(*np.diff(line, axis=0).T).cumsum())
    reference_points = _space_evenly(line, flown)[1]

    def elastic(df: pd.DataFrame, origin: str, destination: str) -> np.ndarray:
        flown = df["distance"].to_numpy()
        longitude = unwrap_longitude(df["longitude"], centre)
        positions = np.column_stack([df["latitude"], longitude]) * scale
        distances, points = _space_evenly(positions, flown)
        pairs = np.array(dtw_ndim.warping_path(points, reference_points, use_c=True))
        # a point matched to several points of the reference gets their mean
        matched = np.bincount(pairs[:, 0], pairs[:, 1]) / np.bincount(pairs[:, 0])
        matched[[0, -1]] = 0, _POINTS - 1
        return np.interp(flown, distances, matched / (_POINTS - 1))

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
    """Return the share of a flight's time that each progress hides.

    Returns
    -------
    DataFrame
        Shares of the flight's duration, indexed by ``progress``: ``still``, without growth of the
        progress; ``beyond`` the last fraction reached; ``hidden``, either of them; ``late``, above
        a progress of 0.95.
    """
    steps = _share_of_duration(df)
    rows = {}
    for name, values in measure_progress(df).items():
        progress = values.to_numpy()
        still = np.diff(progress) <= 0
        beyond = progress[:-1] >= fractions[fractions <= progress[-1]].max(initial=0)
        rows[name] = {
            "still": steps[still].sum(),
            "beyond": steps[beyond].sum(),
            "hidden": steps[still | beyond].sum(),
            "late": steps[progress[:-1] >= _LATE].sum(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("progress")


def measure_reversals(df: pd.DataFrame) -> pd.DataFrame:
    """Return how far each variable of a flight is from growing or falling monotonically.

    Returns
    -------
    DataFrame
        Indexed by ``variable``: the flight's numbers, its distances from the airports, and
        d_o / (d_o + d_d) before it is made monotonic. ``reversal``: the largest decrease below an
        earlier value, or the largest increase above one if that is smaller, in the variable's
        unit. ``still``: the share of the flight's time in which the variable makes no progress.

    >>> df = pd.DataFrame({"duration": [0, 1, 2, 4.0], "altitude": [0, 300, 250, 800.0]})
    >>> df = df.assign(latitude=[40.5, 40.6, 40.7, 40.8], longitude=[-3.5, -3.0, -2.5, -2.0])
    >>> df.attrs = {"origin": "LEMD", "destination": "LEBL"}
    >>> measure_reversals(df).loc["altitude"].to_dict()
    {'reversal': 50.0, 'still': 0.25}
    """
    positions = [find_airport(df.attrs[end]).position for end in ("origin", "destination")]
    from_origin, to_destination = _measure_distances(df, *positions)
    variables = {name: df[name].to_numpy(float) for name in NUMERIC if name in df}
    variables["distance_from_origin"] = from_origin
    variables["distance_to_go"] = to_destination
    variables["route_progress"] = from_origin / (from_origin + to_destination)
    steps = _share_of_duration(df)
    rows = {}
    for name, values in variables.items():
        growing, falling = _measure_reversal(values, steps), _measure_reversal(-values, steps)
        rows[name] = growing if growing["reversal"] <= falling["reversal"] else falling
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variable")


def summarize_reversals(reversals: pd.DataFrame) -> pd.DataFrame:
    """Return how many flights are not monotonic in each variable, and by how much.

    Parameters
    ----------
    reversals
        Results of `measure_reversals` for many flights, indexed by ``path`` and ``variable``.

    Returns
    -------
    DataFrame
        Indexed by ``variable``, the most monotonic first: ``unit``; ``reverse``, the share of
        flights whose reversal exceeds the last decimal of the data; ``median`` and ``largest``
        reversal [unit]; ``still``, the mean share of time without progress.
    """
    unit, decimals = {}, {}
    for name in reversals.index.unique("variable"):
        column = COLUMNS.get(name)
        unit[name], decimals[name] = (column.unit, column.decimals) if column else _DERIVED[name]
    reversals = reversals.dropna()
    rounding = 10.0 ** -reversals.index.get_level_values("variable").map(decimals)
    reversals = reversals.assign(reverse=reversals["reversal"] > rounding)
    table = reversals.groupby("variable").agg(
        reverse=("reverse", "mean"),
        median=("reversal", "median"),
        largest=("reversal", "max"),
        still=("still", "mean"),
    )
    table.insert(0, "unit", table.index.map(unit))
    return table.sort_values(["reverse", "still"])


def _measure_reversal(values: np.ndarray, steps: np.ndarray) -> dict[str, float]:
    largest = np.fmax.accumulate(values)
    still = np.where(np.diff(largest) <= 0, steps, 0).sum()
    return {"reversal": np.fmax.reduce(largest - values), "still": still}


def _share_of_duration(df: pd.DataFrame) -> np.ndarray:
    """Return the share of the flight's duration between each sample and the next."""
    duration = df["duration"].to_numpy()
    return np.diff(duration) / (duration[-1] - duration[0])


def _share_of_total(values: np.ndarray) -> np.ndarray:
    growth = np.fmax.accumulate(values) - values[0]
    return np.divide(growth, growth[-1], out=np.zeros(len(growth)), where=growth[-1] > 0)


def _share_of_way(from_start: np.ndarray, to_end: np.ndarray) -> np.ndarray:
    return np.fmax.accumulate(from_start / (from_start + to_end))


def _space_evenly(line: np.ndarray, flown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distances flown at equal steps, and the points of a line there."""
    distances = np.linspace(flown[0], flown[-1], _POINTS)
    return distances, np.column_stack([np.interp(distances, flown, axis) for axis in line.T])


def _measure_distances(df: pd.DataFrame, *positions: tuple[float, float]) -> list[np.ndarray]:
    """Return the distances [NM] of a flight's samples from each of the positions [deg].

    Computed every 5 s and interpolated linearly, which is five times as fast. The error is below
    0.1 NM where a flight turns or passes the position, and negligible elsewhere.
    """
    duration = df["duration"].to_numpy()
    indices = np.searchsorted(duration, np.arange(duration[0], duration[-1], _DISTANCE_STEP))
    indices = np.unique(np.append(indices, len(df) - 1))
    lat, lon = df["latitude"].to_numpy()[indices], df["longitude"].to_numpy()[indices]
    return [np.interp(duration, duration[indices], distance(lat, lon, *p)) for p in positions]
