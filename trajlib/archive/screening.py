"""Check in one compiled pass whether the samples of a flight can be those of one aircraft.

Nearly all flights of an archive pass this fast check. `trajlib.archive.repairs` examines the
others.
"""

import numpy as np

from trajlib.compiled import compiled, inlined

ALTITUDES = (-2_000.0, 60_000.0)  # ft, possible range
_FASTEST, _SLACK = 800.0, 1.0  # maximum groundspeed [kt], and error of positions [NM]
_STEEPEST, _STEP = 15_000.0, 700.0  # maximum climb [ft/min], and error of altitudes [ft]
_LONGEST = 24 * 3_600_000  # ms between two samples of one flight, at most
_STOP = 180_000  # ms without moving, or without a sample
_STOP_RADIUS = 0.5  # NM; an aircraft that stays within it is not moving
_WINDOW = 60_000  # ms over which speed and climb are compared with the reported values
_SLOW, _LEVEL = 60.0, 300.0  # kt and ft/min; below them nothing is compared
_RADIUS = 3440.065  # NM, of a sphere: accurate to half a percent


@inlined
def _length(lat, lon, lat2, lon2):
    """Return the distance [NM] between two positions [deg] on a sphere (haversine)."""
    phi, phi2 = np.radians(lat), np.radians(lat2)
    half, across = np.sin((phi2 - phi) / 2), np.sin(np.radians(lon2 - lon) / 2)
    squared = half * half + np.cos(phi) * np.cos(phi2) * across * across
    return 2 * _RADIUS * np.arcsin(np.sqrt(min(1.0, squared)))


@inlined
def _reaches(time, lat, lon, alt, time2, lat2, lon2, alt2):
    if abs(time2 - time) > _LONGEST:  # a clock that was not set
        return False
    hours = abs(time2 - time) / 3_600_000
    reach = _SLACK + _FASTEST * hours
    if abs(alt2 - alt) > _STEP + 60 * _STEEPEST * hours:
        return False
    # fast upper bound of the distance: 60.04 NM per degree, also of longitude
    north, east = 60.04 * (lat2 - lat), 60.04 * (lon2 - lon)
    return north * north + east * east <= reach * reach or _length(lat, lon, lat2, lon2) <= reach


@compiled
def is_doubtful(times, lat, lon, alt):  # noqa: C901 (one loop, compiled)
    """Return whether a sample is missing, out of order or unreachable, or the aircraft stops.

    Times are in ms, as int64; positions in degrees and altitudes in ft, as float64.
    """
    anchor = 0
    for i in range(len(times)):
        if not (abs(lat[i]) <= 90 and abs(lon[i]) <= 180):  # also true for NaN
            return True
        if not ALTITUDES[0] <= alt[i] <= ALTITUDES[1]:
            return True
        if i == 0:
            continue
        j = i - 1
        if not 0 < times[i] - times[j] < _STOP:
            return True
        if not _reaches(times[j], lat[j], lon[j], alt[j], times[i], lat[i], lon[i], alt[i]):
            return True
        north, east = 60.04 * (lat[i] - lat[anchor]), 60.04 * (lon[i] - lon[anchor])
        if north * north + east * east > _STOP_RADIUS * _STOP_RADIUS:
            anchor = i
        elif times[i] - times[anchor] >= _STOP:
            return True
    return False


@compiled
def reachable(times, lat, lon, alt, i, j):
    """Return for each pair of samples whether an aircraft can have flown from one to the other."""
    result = np.empty(len(i), np.bool_)
    for k in range(len(i)):
        a, b = i[k], j[k]
        result[k] = _reaches(times[a], lat[a], lon[a], alt[a], times[b], lat[b], lon[b], alt[b])
    return result


@compiled
def find_stops(times, lat, lon):
    """Return first and last sample of each period without movement or without samples."""
    stops = []
    anchor = 0
    for i in range(1, len(times)):
        if times[i] - times[i - 1] >= _STOP:
            stops.append((i - 1, i))
            anchor = i
        elif _length(lat[i], lon[i], lat[anchor], lon[anchor]) > _STOP_RADIUS:
            if times[i - 1] - times[anchor] >= _STOP:
                stops.append((anchor, i - 1))
            anchor = i
    return stops


@compiled
def measure_ratios(times, lat, lon, alt, speed, climb):
    """Return the ratios of reported to flown speed and climb, and the distance flown [NM].

    The reported ``speed`` [kt] and ``climb`` [ft/min] may be empty; a ratio that cannot be measured
    is NaN.
    """
    n = len(times)
    window = max(1, int(_WINDOW * (n - 1) / max(1, times[n - 1] - times[0])))
    reported, flown, length = 0.0, 0.0, 0.0
    product, square = 0.0, 0.0
    for i in range(0, n - window, window):
        j = i + window
        hours = (times[j] - times[i]) / 3_600_000
        way = _length(lat[i], lon[i], lat[j], lon[j])
        length += way
        if len(speed) and way > _SLOW * hours:
            mean = (speed[i] + speed[j]) / 2
            if mean >= 0:
                reported += mean * hours
                flown += way
        rate = (alt[j] - alt[i]) / (60 * hours)
        if len(climb) and abs(rate) > _LEVEL:
            mean = (climb[i] + climb[j]) / 2
            if not np.isnan(mean):
                product += mean * rate
                square += rate * rate
    return reported / flown, product / square, length
