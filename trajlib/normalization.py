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

from trajlib.flights import map_flights
from trajlib.geodesy import along_cross_track, distance, track
from trajlib.progress import PERCENTS, PROGRESS, PROGRESS_COLUMNS, Progress
from trajlib.schema import COLUMNS, IDENTITY

__all__ = [
    "VARIABLES",
    "bootstrap_dispersion",
    "compare_dispersion",
    "deviations",
    "dispersion",
    "interval_dispersion",
    "judge_dispersion",
    "mean_trajectory",
    "normalize_flights",
    "resample_flight",
    "resample_flights",
]

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


def mean_trajectory(ds: xr.Dataset) -> xr.Dataset:
    """Return the mean of trajectories at each fraction.

    The mean position is the mean of the normals to the ellipsoid (Gade 2010, "A non-singular
    horizontal position representation"), other variables are plain means; headings are left out.
    ``track`` is the course of the mean itself from the fraction before to the fraction after;
    at the ends from or to the end.

    Parameters
    ----------
    ds
        As `normalize_flights` returns it.

    Returns
    -------
    Dataset
        Over ``fraction``, and ``by`` where the trajectories have it.
    """
    if "by" in ds.dims:
        parts = [mean_trajectory(ds.sel(by=name)) for name in ds.indexes["by"]]
        return xr.concat(parts, ds["by"])
    mean = ds.drop_vars(["track", "heading"], errors="ignore").mean("path", keep_attrs=True)
    lat, lon = np.radians(ds["latitude"]), np.radians(ds["longitude"])
    x, y = ((np.cos(lat) * axis(lon)).mean("path") for axis in (np.cos, np.sin))
    z = np.sin(lat).mean("path")
    mean["latitude"].values = np.degrees(np.arctan2(z, np.hypot(x, y)))
    mean["longitude"].values = np.degrees(np.arctan2(y, x))
    course = _course(mean["latitude"].to_series(), mean["longitude"].to_series())
    return mean.assign(track=("fraction", course, {"units": "deg"}))


def dispersion(ds: xr.Dataset) -> pd.DataFrame:
    """Return the spread of trajectories around their mean at each fraction.

    Parameters
    ----------
    ds
        As `normalize_flights` returns it.

    Returns
    -------
    DataFrame
        Indexed by ``fraction``, and ``by`` before it where the trajectories have it: ``flights``
        that reach the fraction; standard deviations ``along`` and ``cross`` [NM] in the local
        frame of the mean trajectory and ``horizontal``, √(along² + cross²), which does not
        depend on the mean's course; of ``altitude`` [ft] and ``time`` [s] since the first
        sample; of ``groundspeed`` [kt] where the trajectories have it.
    """
    if "by" in ds.dims:
        parts = {name: dispersion(ds.sel(by=name)) for name in ds.indexes["by"]}
        return pd.concat(parts, names=["by"])
    spread = {name: pd.DataFrame(values).std() for name, values in deviations(ds).items()}
    table = pd.DataFrame(spread).set_index(ds.indexes["fraction"])
    table.insert(2, "horizontal", np.hypot(table["along"], table["cross"]))
    table.insert(0, "flights", ds["latitude"].count("path").to_numpy())
    return table


def bootstrap_dispersion(
    ds: xr.Dataset, days: Sequence, *, draws: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Return the mean dispersion over the fractions, had other days of the same kind been flown.

    Days are drawn with replacement and keep their flights, since what moves one flight of a day
    moves the others. The same days are drawn for every kind of progress.

    Parameters
    ----------
    ds
        As `normalize_flights` returns it.
    days
        Day of each flight, in the order of ``path``.

    Returns
    -------
    DataFrame
        Indexed by ``draw``, and ``by`` before it where the trajectories have it; columns and
        units of `dispersion` but ``flights``.
    """
    if "by" in ds.dims:
        parts = {
            name: bootstrap_dispersion(ds.sel(by=name), days, draws=draws, seed=seed)
            for name in ds.indexes["by"]
        }
        return pd.concat(parts, names=["by"])
    drawn = _draw_dispersion(ds, days, draws, seed)
    means = {name: pd.DataFrame(values).mean(axis=1) for name, values in drawn.items()}
    return pd.DataFrame(means).rename_axis("draw")


def interval_dispersion(
    ds: xr.Dataset, days: Sequence, *, draws: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Return the 95 % intervals of `dispersion` at each fraction, days drawn with replacement.

    Parameters
    ----------
    ds, days, draws, seed
        As of `bootstrap_dispersion`.

    Returns
    -------
    DataFrame
        Indexed by ``quantile`` (0.025 and 0.975) and ``fraction``, and ``by`` before them where
        the trajectories have it; columns and units of `dispersion` but ``flights``.
    """
    if "by" in ds.dims:
        options = {"draws": draws, "seed": seed}
        parts = {by: interval_dispersion(ds.sel(by=by), days, **options) for by in ds.indexes["by"]}
        return pd.concat(parts, names=["by"])
    drawn = _draw_dispersion(ds, days, draws, seed)
    fractions = ds.indexes["fraction"]
    ends = {
        q: pd.DataFrame(
            {name: pd.DataFrame(values).quantile(q).to_numpy() for name, values in drawn.items()},
            fractions,
        )
        for q in (0.025, 0.975)
    }
    return pd.concat(ends, names=["quantile"])


def compare_dispersion(drawn: pd.DataFrame, reference: str = "time") -> pd.DataFrame:
    """Return the 95 % intervals of mean dispersions relative to those of one progress.

    Parameters
    ----------
    drawn
        Of several kinds of progress, as `bootstrap_dispersion` returns it.
    reference
        One of them, to which the others are compared.

    Returns
    -------
    DataFrame
        Indexed by ``by`` and ``quantile`` (0.025, 0.5, 0.975): ratios of the columns of
        ``drawn``, and ``rest``, the geometric mean of the ratios of what no progress gains by
        its construction: across the track, altitude and time.
    """
    ratios = drawn.div(drawn.xs(reference, level="by"), level="draw")
    ratios["rest"] = np.exp(np.log(ratios[["cross", "altitude", "time"]]).mean(axis=1))
    intervals = ratios.groupby("by", sort=False).quantile([0.025, 0.5, 0.975])
    return intervals.drop(reference).rename_axis(["by", "quantile"])


def judge_dispersion(intervals: pd.DataFrame) -> pd.Series:
    """Return whether flights disperse less, for each progress that was compared.

    It ``holds`` if the horizontal dispersion is surely less, and the rest, which is not gained by
    construction, not surely more; ``does not hold`` if either is surely more; else ``cannot be
    said``. Surely means that the interval leaves out no change.

    Parameters
    ----------
    intervals
        As `compare_dispersion` returns them.
    """
    low, high = (intervals.xs(q, level="quantile") for q in (0.025, 0.975))
    worse = (low["horizontal"] > 1) | (low["rest"] > 1)
    verdicts = pd.Series("cannot be said", low.index).mask(high["horizontal"] < 1, "holds")
    return verdicts.mask(worse, "does not hold")


def deviations(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Return what `dispersion` is the spread of, over (path, fraction), by its name there."""
    mean = mean_trajectory(ds)
    reference = (mean[name].to_numpy() for name in ("latitude", "longitude", "track"))
    ds = ds.transpose("path", "fraction")
    along, cross = along_cross_track(ds["latitude"], ds["longitude"], *reference)
    names = {"altitude": "altitude", "duration": "time", "groundspeed": "groundspeed"}
    others = {names[name]: (ds[name] - mean[name]).to_numpy() for name in names if name in ds}
    return {"along": along, "cross": cross} | others


def _draw_dispersion(
    ds: xr.Dataset, days: Sequence, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the dispersion over (draw, fraction), by its name."""
    codes, names = pd.factorize(np.asarray(days))
    share = np.full(len(names), 1 / len(names))
    weights = np.random.default_rng(seed).multinomial(len(names), share, draws).astype(float)
    drawn = {name: _draw_spread(v, codes, weights) for name, v in deviations(ds).items()}
    along, cross = drawn.pop("along"), drawn.pop("cross")
    return {"along": along, "cross": cross, "horizontal": np.hypot(along, cross)} | drawn


def _draw_spread(values: np.ndarray, days: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the standard deviation of values (flight, fraction) for weights (draw, day)."""
    known = np.isfinite(values)
    parts = known.astype(float), np.where(known, values, 0), np.where(known, values**2, 0)
    count, total, square = (weights @ pd.DataFrame(part).groupby(days).sum() for part in parts)
    enough = count > 1
    mean = total / np.where(enough, count, np.nan)
    return np.sqrt(np.maximum(square - total * mean, 0) / (count - 1).where(enough)).to_numpy()


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


def _course(lat: pd.Series, lon: pd.Series) -> np.ndarray:
    # before the first and after the last fraction that is reached the mean stays where it is
    points = pd.DataFrame({"lat": lat, "lon": lon}).ffill().bfill()
    before, after = points.shift(1).fillna(points), points.shift(-1).fillna(points)
    ends = before["lat"], before["lon"], after["lat"], after["lon"]
    # a mean that has not moved keeps its course
    return pd.Series(track(*ends)).where(distance(*ends) > 0).ffill().bfill().to_numpy()
