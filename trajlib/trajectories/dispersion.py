"""Dispersion: the spread of trajectories around their mean at each fraction of progress.

The choice of progress moves dispersion between directions: at equal route progress flights can
hardly differ along the track, but differ more in time. So along-track, cross-track, altitude and
time are always given together.
"""

import numpy as np
import pandas as pd
import xarray as xr

from trajlib.geodesy import along_cross_track, distance, track, unwrap_longitude


def mean_trajectory(ds: xr.Dataset) -> xr.Dataset:
    """Return the mean of trajectories at each fraction.

    The mean position is the mean of the normals to the ellipsoid (Gade 2010, "A non-singular
    horizontal position representation"), other variables are plain means; headings are omitted.
    ``track`` is the course of the mean trajectory from the previous to the next fraction (at the
    ends, from or to the end).

    Parameters
    ----------
    ds
        As returned by `normalize_flights`.

    Returns
    -------
    Dataset
        Over ``fraction``, and ``by`` if the trajectories have it.
    """
    if "by" in ds.dims:
        parts = [mean_trajectory(ds.sel(by=name)) for name in ds.indexes["by"]]
        return xr.concat(parts, ds["by"])
    mean = ds.drop_vars(["track", "heading"], errors="ignore").mean("path", keep_attrs=True)
    lat, lon = np.radians(ds["latitude"]), np.radians(ds["longitude"])
    x = (np.cos(lat) * np.cos(lon)).mean("path")
    y = (np.cos(lat) * np.sin(lon)).mean("path")
    z = np.sin(lat).mean("path")
    mean["latitude"].values = np.degrees(np.arctan2(z, np.hypot(x, y)))
    longitude = np.degrees(np.arctan2(y, x))
    mean["longitude"].values = unwrap_longitude(longitude, mean["longitude"])
    course = _course(mean["latitude"].to_series(), mean["longitude"].to_series())
    return mean.assign(track=("fraction", course, {"units": "deg"}))


def dispersion(ds: xr.Dataset) -> pd.DataFrame:
    """Return the spread of trajectories around their mean at each fraction.

    Parameters
    ----------
    ds
        As returned by `normalize_flights`.

    Returns
    -------
    DataFrame
        Indexed by ``fraction``, with ``by`` before it if the trajectories have it: number of
        ``flights`` that reach the fraction; standard deviations ``along`` and ``cross`` [NM] in
        the local frame of the mean trajectory, and ``horizontal``, √(along² + cross²), which is
        independent of the mean's course; of ``altitude`` [ft] and ``time`` [s] since the first
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


def deviations(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the deviations from the mean over (path, fraction), by the names of `dispersion`."""
    mean = mean_trajectory(ds)
    ds = ds.transpose("path", "fraction")
    reference = [mean[name].to_numpy() for name in ("latitude", "longitude", "track")]
    along, cross = along_cross_track(ds["latitude"], ds["longitude"], *reference)
    values = {"along": along, "cross": cross}
    names = {"altitude": "altitude", "duration": "time", "groundspeed": "groundspeed"}
    for column, name in names.items():
        if column in ds:
            values[name] = (ds[column] - mean[column]).to_numpy()
    return values


def _course(lat: pd.Series, lon: pd.Series) -> np.ndarray:
    # fractions that are not reached get the first or last position of the mean
    points = pd.DataFrame({"lat": lat, "lon": lon}).ffill().bfill()
    before, after = points.shift(1).fillna(points), points.shift(-1).fillna(points)
    ends = before["lat"], before["lon"], after["lat"], after["lon"]
    # keep the course where the mean does not move
    return pd.Series(track(*ends)).where(distance(*ends) > 0).ffill().bfill().to_numpy()
