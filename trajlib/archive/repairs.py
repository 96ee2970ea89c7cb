"""Repair the samples of a flight, and detect files that do not hold one flight.

A repair never invents a value: samples are left out or sorted by time. Every repair has a name and
is counted; a flight is rejected when more than a few of its samples need a repair.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from trajlib.archive.dialect import find_conversion, format_entry
from trajlib.archive.layout import FlightError
from trajlib.archive.screening import (
    ALTITUDES,
    find_stops,
    is_doubtful,
    measure_ratios,
    reachable,
)
from trajlib.estimate import format_percent
from trajlib.geodesy import distance
from trajlib.schema import COLUMNS

REPAIRS = {
    "no_time": "samples without a time left out",
    "no_position": "samples without a position left out",
    "no_altitude": "samples without an altitude left out",
    "out_of_order": "samples put in the order of time",
    "repeated_time": "samples at a time already given left out",
    "impossible_altitude": "samples at an altitude that no aircraft flies left out",
    "impossible_position": "samples left out that no aircraft can have reached from the others",
}
IDENTITIES = ("flight_id", "icao24", "registration", "callsign")  # that distinguish flights
NO_TIME = np.iinfo(np.int64).min  # as NaT
_LIMIT = 0.05  # of a flight's samples may need a repair
_LIMIT_ENDS = 0.5  # of them may lack values, if at the start or the end of the flight
_HALF_DAY = 43_200_000  # ms
_PIECES = 200  # limit of pieces between impossible jumps; a file with more is noise
_VALLEY = 3_000  # ft of descent before, and of climb after, a landing
_SEPARATE = "python -m trajlib import separates flights"
_SPEED_UNITS = {"m/s": 0.5144, "km/h": 1.852, "kt": 3600 / 1852, "NM/s": 1 / 3600}
_LOWEST = {"temperature": (100.0, "degC", "K"), "pressure": (1_200.0, "hPa", "Pa")}
_RATE_UNITS = {"m/s": 0.00508, "ft/min": 60 / 0.3048}
_LOWEST_CRUISE = 2_000.0, 250.0  # ft, kt; no flight over 150 NM is always lower and this fast


@dataclass
class _Repairs:
    """Numbers of repaired samples of a flight, which is rejected if there are too many."""

    samples: int
    strict: bool
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int, text: str, limit: float = _LIMIT) -> None:
        if self.strict:
            raise FlightError(f"{text}; nothing is repaired, because of --strict")
        if count > limit * self.samples:
            raise FlightError(f"{text}, more than the {format_percent(limit)} that may be repaired")
        self.counts[name] = self.counts.get(name, 0) + int(count)


def describe_repairs(repairs: dict[str, int]) -> str | None:
    """Return the numbers of repaired samples as a text, None if there are none.

    >>> describe_repairs({"no_time": 2, "out_of_order": 1})
    '2 samples without a time left out; 1 samples put in the order of time'
    """
    return "; ".join(f"{count} {REPAIRS[name]}" for name, count in repairs.items()) or None


def repair_samples(
    values: dict[str, np.ndarray], times: np.ndarray, *, strict: bool
) -> tuple[np.ndarray | None, dict[str, int]]:
    """Return the samples to keep, in order of time, and how many needed a repair.

    Parameters
    ----------
    values
        Columns by name, with latitude, longitude [deg] and altitude [ft]. Longitudes from 0 to 360
        are converted in place to -180 to 180.
    times
        In ms since 1970, `NO_TIME` where missing.
    strict
        Reject flights that need a repair.

    Returns
    -------
    indices
        Indices of the samples; None to keep all samples in their order.
    repairs
        Number of samples by name of the repair, as in `REPAIRS`.

    Raises
    ------
    FlightError
        When too many samples need a repair, or the samples are of several flights.
    """
    if len(times) < 2:
        raise FlightError(f"{len(times)} samples, expected 2 or more")
    if not is_doubtful(times, *_positions(values)):
        return None, {}
    lon = values["longitude"]
    if np.nanmin(lon, initial=0) >= 0 and 180 < np.nanmax(lon, initial=0) <= 360:
        lon[lon > 180] -= 360
    repairs = _Repairs(len(times), strict)
    indices = _leave_out_missing(values, times, repairs)
    indices = _put_in_order(indices, times, repairs)
    indices = _leave_out_impossible(indices, values, times, repairs)
    if len(indices) < 2:
        raise FlightError(f"{len(indices)} samples are left, expected 2 or more")
    _check_one_flight(values, times, indices)
    unchanged = len(indices) == len(times) and (np.diff(indices) > 0).all()
    return None if unchanged else indices, repairs.counts


def _positions(values: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(values[name] for name in ("latitude", "longitude", "altitude"))


def _leave_out_missing(
    values: dict[str, np.ndarray], times: np.ndarray, repairs: _Repairs
) -> np.ndarray:
    lat, lon, alt = _positions(values)
    no_time = times == NO_TIME
    no_position = ~(np.isfinite(lat) & np.isfinite(lon)) & ~no_time
    no_altitude = ~np.isfinite(alt) & ~no_position & ~no_time
    complete = np.flatnonzero(~(no_time | no_position | no_altitude))
    for name, column, bad in (
        ("no_time", "timestamp", no_time),
        ("no_position", "position", no_position),
        ("no_altitude", "altitude", no_altitude),
    ):
        if not bad.any():
            continue
        text = f"{column} is missing in {bad.sum()} of {len(times)} samples"
        if not len(complete):
            raise FlightError(text)
        inside = bad[complete[0] : complete[-1]].sum()
        limit = _LIMIT if inside > _LIMIT * len(times) else _LIMIT_ENDS
        repairs.add(name, bad.sum(), text, limit)
    return complete


def _put_in_order(indices: np.ndarray, times: np.ndarray, repairs: _Repairs) -> np.ndarray:
    steps = np.diff(times[indices])
    if len(steps) and (steps <= 0).all() and (steps < 0).any():
        indices = indices[::-1]  # newest first in the file
    ordered = times[indices]
    late = ordered < np.maximum.accumulate(ordered)
    if late.any():
        first = int(np.argmax(late))
        text = f"timestamps go backwards after sample {indices[first - 1] + 1}"
        if np.diff(ordered).min() < -_HALF_DAY:
            raise FlightError(
                f"{text}, by more than 12 hours: a date that does not change at midnight, or "
                f"several flights ({_SEPARATE})"
            )
        text += f", {late.sum()} of {len(times)} are out of order"
        repairs.add("out_of_order", late.sum(), text)
        indices = indices[np.argsort(ordered, kind="stable")]
    repeated = np.diff(times[indices], prepend=NO_TIME) == 0
    if repeated.any():
        text = f"timestamps repeat after sample {indices[np.argmax(repeated)]}"
        text += f", {repeated.sum()} of {len(times)}"
        repairs.add("repeated_time", repeated.sum(), text)
        indices = indices[~repeated]
    return indices


def _leave_out_impossible(
    indices: np.ndarray, values: dict[str, np.ndarray], times: np.ndarray, repairs: _Repairs
) -> np.ndarray:
    lat, lon, alt = (column[indices] for column in _positions(values))
    low, high = ALTITUDES
    bad = ~((alt >= low) & (alt <= high))
    if bad.any():
        text = f"altitude is {alt[bad][0]:,.0f} ft, not between {low:,.0f} and {high:,.0f}, in "
        text += f"{bad.sum()} of {len(times)} samples"
        repairs.add("impossible_altitude", bad.sum(), text)
    off_earth = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 180)) & ~bad
    if off_earth.any():
        text = f"a position is not on the Earth, in {off_earth.sum()} of {len(times)} samples"
        repairs.add("impossible_position", off_earth.sum(), text)
    indices = indices[~(bad | off_earth)]
    chain = _longest_chain(indices, values, times)
    unreachable = len(indices) - len(chain)
    if unreachable:
        text = f"{unreachable} of {len(times)} positions cannot have been reached from the others"
        text += f"; where a file holds several flights, {_SEPARATE}"
        repairs.add("impossible_position", unreachable, text)
    return chain


def _longest_chain(
    indices: np.ndarray, values: dict[str, np.ndarray], times: np.ndarray
) -> np.ndarray:
    """Return the longest sequence in which an aircraft can have flown from each sample to the next.

    It consists of whole pieces between impossible jumps (dynamic programming). The two samples of
    a jump are pieces by themselves: a wrong one may be within reach of the sample on its other
    side, and would otherwise take that side with it.
    """
    samples = (times, *_positions(values))
    breaks = 1 + np.flatnonzero(~reachable(*samples, indices[:-1], indices[1:]))
    if not len(breaks):
        return indices
    if len(breaks) >= _PIECES:
        raise FlightError(
            f"{len(breaks)} positions cannot have been reached from the one before; where a file "
            f"holds several flights, {_SEPARATE}"
        )
    edges = np.unique(np.concatenate([breaks - 1, breaks, breaks + 1]))
    pieces = np.split(indices, edges[(edges > 0) & (edges < len(indices))])
    ends = np.array([piece[-1] for piece in pieces])
    best, previous = [len(pieces[0])], [-1]
    for i in range(1, len(pieces)):
        start = np.full(i, pieces[i][0])
        lengths = np.where(reachable(*samples, ends[:i], start), best, 0)
        j = int(np.argmax(lengths))
        best.append(len(pieces[i]) + int(lengths[j]))
        previous.append(j if lengths[j] else -1)
    chain = []
    i = int(np.argmax(best))
    while i >= 0:
        chain.append(pieces[i])
        i = previous[i]
    return np.concatenate(chain[::-1])


def _check_one_flight(
    values: dict[str, np.ndarray], times: np.ndarray, indices: np.ndarray
) -> None:
    lat, lon, alt = (column[indices] for column in _positions(values))
    start, flights = 0, 1
    for i, j in find_stops(times[indices], lat, lon):
        descent, climb = alt[start : i + 1].max() - alt[i], alt[j:].max() - alt[j]
        if descent >= _VALLEY and climb >= _VALLEY:
            flights, start = flights + 1, j
    if flights > 1:
        raise FlightError(f"holds {flights} flights, with a landing between them: {_SEPARATE}")


def check_identities(texts: dict[str, pd.Series], times: np.ndarray) -> None:
    """Raise FlightError where the samples of a file are of several flights.

    A callsign that changes after a pause marks a new flight; one that changes in the air does not.
    """
    for name in IDENTITIES:
        if name not in texts:
            continue
        filled = texts[name].dropna()
        count = filled.nunique()
        if count < 2:
            continue
        changes = filled.ne(filled.shift()).to_numpy()[1:]
        steps = np.diff(times[filled.index])[changes]
        if name != "callsign" or (np.abs(steps) >= 180_000).any() or (steps <= 0).any():
            raise FlightError(f"holds {count} flights, by its column {name}: {_SEPARATE}")


def check_units(
    values: dict[str, np.ndarray],
    times: np.ndarray,
    given: Collection[str],
    names: Mapping[str, str],
) -> None:
    """Raise FlightError where a column seems to be in another unit than declared.

    Columns whose unit is ``given``, as in columns.toml, are not checked, but for altitudes at which
    no aircraft flies so fast. ``names`` are those that columns.toml gives to columns: the line that
    corrects a unit has to repeat them.
    """
    lat, lon, alt = _positions(values)
    empty = np.empty(0)
    speed = empty if "groundspeed" in given else values.get("groundspeed", empty)
    climb = empty if "vertical_rate" in given else values.get("vertical_rate", empty)
    speeds, climbs, length = measure_ratios(times, lat, lon, alt, speed, climb)
    unit, ratio = min(_SPEED_UNITS.items(), key=lambda item: abs(speeds / item[1] - 1))
    if abs(speeds / ratio - 1) < 0.08:
        finding = f"{speeds:.2g} times the speed between positions"
        raise _question("groundspeed", unit, finding, names)
    for name in _LOWEST.keys() & values.keys() - {*given}:
        least, unit, usual = _LOWEST[name]
        highest = np.fmax.reduce(values[name])  # NaN without any value
        if highest < least:
            finding = f"{highest:.4g} or less, never {least:,.0f} {usual}"
            raise _question(name, unit, finding, names)
    if "altitude" not in given:
        _check_climbs(climbs, names)
        if length > 150 and alt.max() < 14_500:
            _check_cruise(lat, lon, alt, times, names)
    hours = (times[-1] - times[0]) / 3_600_000
    if length > 150 and alt.max() < _LOWEST_CRUISE[0] and length > _LOWEST_CRUISE[1] * hours:
        finding = f"{alt.max():,.0f} ft or less over {length:,.0f} NM at {length / hours:.0f} kt"
        line = format_entry("altitude", column=names.get("altitude", ""), unit="FL")
        raise FlightError(
            f"altitude is {finding}, and no aircraft flies so fast so low: give the unit that it "
            f"has in columns.toml, under [columns], as for hundreds of feet: {line}"
        )


def _check_climbs(climbs: float, names: Mapping[str, str]) -> None:
    """Raise FlightError where the reported climb is that of altitudes in another unit."""
    if abs(climbs * 0.3048 - 1) < 0.25:
        finding = f"rising {1 / climbs:.2g} times as fast as vertical_rate"
        raise _question("altitude", "m", finding, names)
    for unit, ratio in _RATE_UNITS.items():
        if abs(climbs / ratio - 1) < 0.25:
            finding = f"{climbs:.2g} times the climb of the altitudes"
            raise _question("vertical_rate", unit, finding, names)
    if abs(climbs * 60 - 1) < 0.25:
        both = ("altitude", "m"), ("vertical_rate", "m/s")
        lines = [format_entry(n, column=names.get(n, ""), unit=unit) for n, unit in both]
        raise FlightError(
            f"vertical_rate is {climbs:.2g} times the climb of the altitudes: are altitudes in m "
            f"and vertical rates in m/s? Say so in columns.toml, under [columns]: {lines[0]} and "
            f'{lines[1]}, or "ft" and "ft/s"'
        )


def _check_cruise(
    lat: np.ndarray,
    lon: np.ndarray,
    alt: np.ndarray,
    times: np.ndarray,
    names: Mapping[str, str],
) -> None:
    """Raise FlightError where a flight cruises too fast for so low an altitude, or at none."""
    if not alt.any():
        raise FlightError("altitude is 0 in all samples of a flight over 150 NM: not measured")
    top = np.median(alt[alt >= 0.97 * alt.max()])
    level = np.flatnonzero((alt[1:] > 0.97 * top) & (alt[:-1] > 0.97 * top))
    if not len(level):
        return
    hours = (times[level + 1] - times[level]).sum() / 3_600_000
    speed = distance(lat[level], lon[level], lat[level + 1], lon[level + 1]).sum() / hours
    for unit in ("m", "FL"):
        feet = top * find_conversion("altitude", unit)[0]
        # from 330 to 400 kt only if the level, converted from that unit, is a whole 1000 ft
        round_level = (
            abs(feet - 1000 * round(feet / 1000)) < 40 and abs(top - 500 * round(top / 500)) > 60
        )
        if 13_000 < feet < 50_000 and (speed > 400 or (speed > 330 and round_level)):
            finding = f"{top:,.0f} in a cruise at {speed:.0f} kt"
            raise _question("altitude", unit, finding, names)


def _question(column: str, unit: str, finding: str, names: Mapping[str, str]) -> FlightError:
    usual = COLUMNS[column].unit
    other = "m/s" if unit == usual else usual  # m/s is the unit of some tools
    line = format_entry(column, column=names.get(column, ""), unit=unit)
    return FlightError(
        f"{column} is {finding}: is it in {unit}? Say so in columns.toml, under [columns]: "
        f'{line}, or "{other}" if it is right'
    )
