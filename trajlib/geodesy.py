"""Distances and directions on the WGS 84 ellipsoid, and positions of airports."""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import airportsdata
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pyproj import Geod

NAUTICAL_MILE = 1852.0  # m, by definition
_GEOD = Geod(ellps="WGS84")


class Airport(NamedTuple):
    """An airport: code as given, name, position [deg], elevation [ft], time zone (IANA), country.

    The country is a two-letter code (ISO 3166).
    """

    code: str
    name: str
    latitude: float
    longitude: float
    elevation: float
    timezone: str
    country: str

    @property
    def position(self) -> tuple[float, float]:
        """Latitude and longitude [deg]."""
        return self.latitude, self.longitude


@cache
def find_airport(code: str) -> Airport:
    """Return the airport of an ICAO (four letters) or IATA (three letters) code.

    Raises
    ------
    ValueError
        When no airport has the code.

    >>> find_airport("LEMD").timezone
    'Europe/Madrid'
    >>> find_airport("SFO").code
    'SFO'
    """
    entry = load_airports().get(code) if len(code) == 4 else _load_iata().get(code)
    if entry is None:
        raise ValueError(
            f"no airport has the code {code!r} (expected ICAO or IATA, as LEMD or MAD)"
        )
    names = ("name", "lat", "lon", "elevation", "tz", "country")
    return Airport(code, *(entry[name] for name in names))


def locate_airport(code: str) -> tuple[float, float] | str:
    """Return the position of an airport [deg], or the code in capitals if it is unknown.

    Two codes of one airport have the same position.

    >>> locate_airport("mad") == locate_airport("LEMD")
    True
    """
    code = code.strip().upper()
    try:
        return find_airport(code).position
    except ValueError:
        return code


@cache
def load_airports() -> dict[str, dict]:
    """Return the entries of the package airportsdata by ICAO code."""
    return airportsdata.load("ICAO")


@cache
def _load_iata() -> dict[str, dict]:
    return {entry["iata"]: entry for entry in load_airports().values() if entry["iata"]}


def distance(lat: ArrayLike, lon: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> np.ndarray:
    """Return the length of the geodesic between positions [deg], in NM.

    The four arrays broadcast against each other. Source: Karney (2013), through pyproj.

    >>> float(distance(0, 0, 0, 1).round(3))
    60.108
    """
    return _inverse(lat, lon, lat2, lon2)[1]


def track(lat: ArrayLike, lon: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> np.ndarray:
    """Return the azimuth [deg, 0 to 360] of the geodesic from the first position to the second.

    >>> float(track(0, 0, 0, 1))
    90.0
    """
    return _inverse(lat, lon, lat2, lon2)[0] % 360


def offset(
    lat: ArrayLike, lon: ArrayLike, course: ArrayLike, along: ArrayLike, cross: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions [deg] at offsets [NM] along and to the right of a course [deg].

    Longitudes are within 180° of ``lon``, so they exceed ±180° on the other side of the
    antimeridian.

    >>> lat, lon = offset(0.0, 0.0, 90.0, 60.108, 0.0)
    >>> abs(float(lat.round(3))), float(lon.round(3))
    (0.0, 1.0)
    """
    values = np.broadcast_arrays(*(np.asarray(v, float) for v in (lat, lon, course, along, cross)))
    lat, lon, course, along, cross = values
    azimuth = course + np.degrees(np.arctan2(cross, along))
    lon2, lat2, _ = _GEOD.fwd(lon, lat, azimuth, np.hypot(along, cross) * NAUTICAL_MILE)
    return np.asarray(lat2), unwrap_longitude(lon2, lon)


def unwrap_longitude(lon: ArrayLike, around: ArrayLike) -> np.ndarray:
    """Return longitudes [deg] shifted by whole turns to within 180° of another.

    A line across the antimeridian is then continuous, and its longitudes can be averaged,
    interpolated and drawn. All other longitudes stay unchanged.

    >>> unwrap_longitude([174.8, -179.5], 174.8).tolist()
    [174.8, 180.5]
    """
    lon = np.asarray(lon, float)
    return lon - 360 * np.round((lon - around) / 360)


def along_cross_track(
    lat: ArrayLike, lon: ArrayLike, lat_ref: ArrayLike, lon_ref: ArrayLike, track_ref: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets [NM] of positions from reference positions, along and across a course.

    Along is positive ahead on the course ``track_ref`` [deg], cross positive to its right.

    >>> along, cross = along_cross_track(0, 1, 0, 0, 90)
    >>> float(along.round(3)), abs(float(cross.round(3)))
    (60.108, 0.0)
    """
    azimuth, length = _inverse(lat_ref, lon_ref, lat, lon)
    angle = np.radians(azimuth - np.asarray(track_ref, dtype=float))
    return length * np.cos(angle), length * np.sin(angle)


def find_regions(trajectory: pd.DataFrame, end: str = "") -> list[np.ndarray]:
    """Return the regions that contain a flight between consecutive fractions.

    Parameters
    ----------
    trajectory
        By fraction: latitude, longitude and ``course`` [deg]; ``along<end>_low``,
        ``along<end>_high`` and the same for ``cross`` [NM].

    Returns
    -------
    list
        Arrays (n, 2) of longitude and latitude: convex polygons around the boxes at both fractions.
    """
    from scipy.spatial import ConvexHull  # slow to import, and only needed for maps

    boxes = []
    for along in ("low", "high"):
        for cross in ("low", "high"):
            lat, lon = offset(
                trajectory["latitude"],
                trajectory["longitude"],
                trajectory["course"],
                trajectory[f"along{end}_{along}"],
                trajectory[f"cross{end}_{cross}"],
            )
            boxes.append(np.column_stack([unwrap_longitude(lon, trajectory["longitude"]), lat]))
    corners = np.array(boxes).swapaxes(0, 1)
    both = [np.concatenate(neighbours) for neighbours in pairwise(corners)]
    return [points[ConvexHull(points).vertices] for points in both]


def _inverse(lat, lon, lat2, lon2) -> tuple[np.ndarray, np.ndarray]:
    lat, lon, lat2, lon2 = np.broadcast_arrays(
        *(np.asarray(a, float) for a in (lat, lon, lat2, lon2))
    )
    azimuth, _, metres = _GEOD.inv(lon, lat, lon2, lat2)
    return np.asarray(azimuth), np.asarray(metres) / NAUTICAL_MILE
