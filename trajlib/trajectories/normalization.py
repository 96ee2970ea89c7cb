"""Trajectories and dispersion: flights made comparable, and how far they differ.

A flight resampled at fixed fractions of its progress is a trajectory; the spread of trajectories
around their mean at a fraction is the dispersion. What a progress takes out of one direction it
moves into another: at equal route progress flights can hardly differ along the track, and differ
the more in time. So along, cross, altitude and time stand together.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr

from trajlib.archive.flights import map_flights
from trajlib.geodesy import track
from trajlib.schema import COLUMNS, IDENTITY
from trajlib.trajectories.progress import PERCENTS, PROGRESS, PROGRESS_COLUMNS, Progress

__all__ = ["VARIABLES", "courses", "normalize_flights", "resample_flight", "resample_flights"]

VARIABLES = ("latitude", "longitude", "altitude", "duration", "distance", "groundspeed")
_ANGLES = {"longitude": -180.0, "track": 0.0, "heading": 0.0}  # deg, and the least that each is


def resample_flight(
    df: pd.DataFrame,
    progress: np.ndarray,
    fractions: np.ndarray = PERCENTS,
    *,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the flight at the moments when it first reaches fractions of its progress.

    Parameters
    ----------
    df
        Samples of a flight.
    progress
        At each sample, never falling.
    fractions
        Rising values of the progress.
    columns
        Those wanted, of numbers; those that the flight does not have are absent from the result.
        By default all.

    Returns
    -------
    DataFrame
        Indexed by ``fraction``; linear between two samples, angles by the shorter way around,
        missing where the flight's progress does not reach: nothing is extrapolated.

    >>> df = pd.DataFrame({"altitude": [0.0, 10.0, 20.0, 30.0]})
    >>> resample_flight(df, np.array([0, 0.5, 0.5, 0.9]), [0, 0.5, 0.7, 1])["altitude"].tolist()
    [0.0, 10.0, 25.0, nan]
    """
    fractions = np.asarray(fractions, float)
    first = np.searchsorted(progress, fractions)
    reached = (first < len(progress)) & (fractions >= progress[0])
    after = np.clip(first, 1, len(progress) - 1)
    step = progress[after] - progress[after - 1]
    weight = np.zeros((len(fractions), 1))
    np.divide(fractions - progress[after - 1], step, out=weight[:, 0], where=reached & (step > 0))
    names = list(df) if columns is None else [name for name in columns if name in df]
    angles = [name in _ANGLES for name in names]
    before, change = np.empty((2, len(fractions), len(names)))
    for at, name in enumerate(names):
        values = df[name].to_numpy(float)
        before[:, at] = values[after - 1]
        change[:, at] = values[after] - values[after - 1]
    change[:, angles] = (change[:, angles] + 180) % 360 - 180
    result = before + weight * change
    least = np.array([_ANGLES[name] for name in names if name in _ANGLES])
    result[:, angles] = (result[:, angles] - least) % 360 + least
    result[~reached] = np.nan
    return pd.DataFrame(result, pd.Index(fractions, name="fraction"), names)


def normalize_flights(
    flights: pd.DataFrame,
    by: str | Progress | Sequence[str | Progress] = "time",
    fractions: np.ndarray = PERCENTS,
    *,
    columns: Sequence[str] = VARIABLES,
) -> xr.Dataset:
    """Return the trajectories of many flights, each read once.

    Parameters
    ----------
    flights
        Rows of an index or of a store.
    by
        A name in ``PROGRESS``, a function like those, or several of them.
    fractions
        Rising values of the progress.
    columns
        Those that no flight has are absent from the result.

    Returns
    -------
    Dataset
        Variables in the schema's units (attribute ``units``) over ``path`` and ``fraction``, and
        before them ``by`` where several were asked for; missing where a flight does not reach.
        The flights' identity and ``start`` (UTC) are coordinates of ``path``.

    Raises
    ------
    ValueError
        When ``by`` is not the name of a progress.
    """
    several = not (isinstance(by, str) or callable(by))
    asked = {_name_progress(each): (each, fractions) for each in (by if several else [by])}
    tables = resample_flights(flights, asked, columns=columns)
    datasets = [_to_dataset(table, flights, columns) for table in tables.values()]
    if not several:
        return datasets[0]
    return xr.concat(datasets, pd.Index(list(asked), dtype=object, name="by"))


def resample_flights(
    flights: pd.DataFrame,
    asked: Mapping[str, tuple[str | Progress, np.ndarray]],
    *,
    columns: Sequence[str] = VARIABLES,
) -> dict[str, pd.DataFrame]:
    """Return many flights at fractions of one progress or several, each read once.

    Parameters
    ----------
    flights
        Rows of an index or of a store.
    asked
        By a name of one's own, a progress as `normalize_flights` takes it and its fractions.
    columns
        As there.

    Returns
    -------
    dict of DataFrame
        By that name, indexed by ``path`` and ``fraction``, as `resample_flight` returns each.
    """
    functions = {
        name: partial(
            _normalize, progress=_find_progress(by), fractions=np.asarray(at), columns=columns
        )
        for name, (by, at) in asked.items()
    }
    return map_flights(flights, functions, columns=sorted({*columns, *PROGRESS_COLUMNS}))


def _name_progress(by: str | Progress) -> str:
    return by.__name__ if callable(by) else by


def _find_progress(by: str | Progress) -> Progress:
    if callable(by):
        return by
    if by not in PROGRESS:
        raise ValueError(f"no progress {by!r}, expected one of {', '.join(PROGRESS)}")
    return PROGRESS[by]


def _normalize(
    df: pd.DataFrame, progress: Progress, fractions: np.ndarray, columns: Sequence[str]
) -> pd.DataFrame:
    reached = progress(df, df.attrs["origin"], df.attrs["destination"])
    return resample_flight(df, reached, fractions, columns=columns)


def _to_dataset(table: pd.DataFrame, flights: pd.DataFrame, columns: Sequence[str]) -> xr.Dataset:
    fractions = table.index.unique("fraction")
    rows = flights.set_index("path").loc[table.index.unique("path")]
    data = {
        name: (
            ("path", "fraction"),
            table[name].to_numpy().reshape(len(rows), len(fractions)),
            {"units": COLUMNS[name].unit, "long_name": COLUMNS[name].description},
        )
        for name in columns
        if name in table
    }
    identity = {name: ("path", rows[name].astype(object)) for name in IDENTITY if name in rows}
    start = ("path", rows["start"].dt.tz_localize(None).to_numpy())
    coords = {"path": rows.index.astype(object), "fraction": fractions}
    return xr.Dataset(data, coords | identity | {"start": start})


def courses(trajectories: pd.DataFrame) -> np.ndarray:
    """Return the course [deg] of trajectories at each path and fraction, from neighbour to next."""
    ends = []
    for name in ("latitude", "longitude"):
        by_path = trajectories[name].groupby(level="path", sort=False)
        ends.append([by_path.shift(at).fillna(trajectories[name]) for at in (1, -1)])
    (lat, lat2), (lon, lon2) = ends
    return track(lat, lon, lat2, lon2)
