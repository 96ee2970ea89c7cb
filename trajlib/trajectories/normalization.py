"""Normalisation: resample flights at fixed fractions of their progress, to compare them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trajlib.archive.flights import map_flights
from trajlib.geodesy import find_airport, track, unwrap_longitude
from trajlib.schema import COLUMNS, IDENTITY
from trajlib.trajectories.progress import PERCENTS, PROGRESS, PROGRESS_COLUMNS, Progress

if TYPE_CHECKING:
    import xarray as xr

VARIABLES = ("latitude", "longitude", "altitude", "duration", "distance", "groundspeed")
_ANGLES = {"longitude": -180.0, "track": 0.0, "heading": 0.0}  # the lowest value of each [deg]


def resample_flight(
    df: pd.DataFrame,
    progress: np.ndarray,
    fractions: ArrayLike = PERCENTS,
    *,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the flight at the times when it first reaches fractions of its progress.

    Parameters
    ----------
    progress
        At each sample, never decreasing.
    fractions
        Increasing values of the progress.
    columns
        Numeric columns to resample, by default all; columns missing in the flight are absent from
        the result.

    Returns
    -------
    DataFrame
        Indexed by ``fraction``; interpolated linearly, angles along the shorter way. Missing where
        the flight does not reach the fraction: nothing is extrapolated.

    >>> df = pd.DataFrame({"altitude": [0.0, 10.0, 20.0, 30.0]})
    >>> resample_flight(df, np.array([0, 0.5, 0.5, 0.9]), [0, 0.5, 0.7, 1])["altitude"].tolist()
    [0.0, 10.0, 25.0, nan]
    """
    fractions = np.asarray(fractions, float)
    first = np.searchsorted(progress, fractions)  # the first sample at or beyond each fraction
    reached = (first < len(progress)) & (fractions >= progress[0])
    after = np.clip(first, 1, len(progress) - 1)
    before = after - 1
    step = progress[after] - progress[before]
    weight = np.zeros(len(fractions))
    np.divide(fractions - progress[before], step, out=weight, where=reached & (step > 0))
    resampled = {}
    for name in df if columns is None else [name for name in columns if name in df]:
        values = df[name].to_numpy(float)
        change = values[after] - values[before]
        if name in _ANGLES:
            change = (change + 180) % 360 - 180
        result = values[before] + weight * change
        if name in _ANGLES:
            result = (result - _ANGLES[name]) % 360 + _ANGLES[name]
        resampled[name] = np.where(reached, result, np.nan)
    return pd.DataFrame(resampled, pd.Index(fractions, name="fraction"))


def normalize_flights(
    flights: pd.DataFrame,
    by: str | Progress | Sequence[str | Progress] = "time",
    fractions: np.ndarray = PERCENTS,
    *,
    columns: Sequence[str] = VARIABLES,
) -> "xr.Dataset":
    """Return the normalised trajectories of many flights, reading each flight once.

    Parameters
    ----------
    flights
        Rows of an index or of a store.
    by
        A name in ``PROGRESS``, a function of the same kind, or several of them.
    fractions
        Increasing values of the progress.
    columns
        Columns to resample; those missing in all flights are absent from the result.

    Returns
    -------
    Dataset
        Variables in the schema's units (attribute ``units``) over ``path`` and ``fraction``, and
        ``by`` before them if it was a sequence; missing where a flight does not reach the
        fraction. Longitudes are within 180° of the origin's. The flights' identity and ``start``
        (UTC) are coordinates of ``path``.

    Raises
    ------
    ValueError
        When ``by`` is not the name of a progress.
    """
    if isinstance(by, str) or callable(by):
        (table,) = resample_flights(flights, {"": (by, fractions)}, columns=columns).values()
        return _to_dataset(table, flights, columns)
    import xarray as xr

    kinds = {kind.__name__ if callable(kind) else kind: (kind, fractions) for kind in by}
    tables = resample_flights(flights, kinds, columns=columns)
    datasets = [_to_dataset(table, flights, columns) for table in tables.values()]
    return xr.concat(datasets, pd.Index(list(kinds), dtype=object, name="by"))


def resample_flights(
    flights: pd.DataFrame,
    kinds: Mapping[str, tuple[str | Progress, ArrayLike]],
    *,
    columns: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Return many flights at fractions of one or more kinds of progress, reading each once.

    Parameters
    ----------
    flights
        Rows of an index or of a store.
    kinds
        For each name of a result, a progress (as for `normalize_flights`) and its fractions.
    columns
        As for `normalize_flights`.

    Returns
    -------
    dict of DataFrame
        Tables by name, indexed by ``path`` and ``fraction``, with each flight as returned by
        `resample_flight`; longitudes are within 180° of the origin's.
    """
    functions = {}
    for name, (by, fractions) in kinds.items():
        if not callable(by) and by not in PROGRESS:
            raise ValueError(f"no progress {by!r}, expected one of {', '.join(PROGRESS)}")
        progress = by if callable(by) else PROGRESS[by]
        functions[name] = partial(_resample_by_progress, progress, np.asarray(fractions), columns)
    return map_flights(flights, functions, columns=sorted({*columns, *PROGRESS_COLUMNS}))


def _resample_by_progress(
    progress: Progress, fractions: np.ndarray, columns: Sequence[str], df: pd.DataFrame
) -> pd.DataFrame:
    values = progress(df, df.attrs["origin"], df.attrs["destination"])
    resampled = resample_flight(df, values, fractions, columns=columns)
    if "longitude" in resampled:
        resampled["longitude"] = unwrap_longitude(resampled["longitude"], _origin_longitude(df))
    return resampled


def _origin_longitude(df: pd.DataFrame) -> float:
    try:
        return find_airport(df.attrs["origin"]).longitude
    except (TypeError, ValueError):  # no code, or an unknown one
        return df["longitude"].iloc[0]


def _to_dataset(table: pd.DataFrame, flights: pd.DataFrame, columns: Sequence[str]) -> "xr.Dataset":
    import xarray as xr

    fractions = table.index.unique("fraction")
    rows = flights.set_index("path").loc[table.index.unique("path")]
    variables = {}
    for name in [name for name in columns if name in table]:
        values = table[name].to_numpy().reshape(len(rows), len(fractions))
        attributes = {"units": COLUMNS[name].unit, "long_name": COLUMNS[name].description}
        variables[name] = ("path", "fraction"), values, attributes
    coords = {"path": rows.index.astype(object), "fraction": fractions}
    for name in [name for name in IDENTITY if name in rows]:
        coords[name] = "path", rows[name].astype(object)
    coords["start"] = "path", rows["start"].dt.tz_localize(None).to_numpy()
    return xr.Dataset(variables, coords)


def courses(trajectories: pd.DataFrame) -> np.ndarray:
    """Return the course [deg] of trajectories at each path and fraction.

    It is the course from the previous to the next fraction (at the ends, from or to the end).
    """
    positions = trajectories[["latitude", "longitude"]]
    by_path = positions.groupby(level="path", sort=False)
    before = by_path.shift(1).fillna(positions)
    after = by_path.shift(-1).fillna(positions)
    return track(before["latitude"], before["longitude"], after["latitude"], after["longitude"])
