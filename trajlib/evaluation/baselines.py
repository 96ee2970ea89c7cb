"""Predictions that need no model: what every model has to beat.

Each gives predictions in the form of the targets. Statistics are of training flights; the same
flight number's last flight, and the state in flight, are what anyone could know at the moment.
"""

import numpy as np
import pandas as pd

from trajlib.evaluation.splits import Split
from trajlib.features.recent_traffic import SILENCE
from trajlib.features.targets import match_flights
from trajlib.geodesy import distance, find_airport, offset, track

__all__ = [
    "average_by",
    "dead_reckon_ahead",
    "dead_reckon_home",
    "follow_great_circle",
    "measure_delay",
    "predict_baseline",
    "repeat_callsign",
    "shift_median",
]

_FEWEST = 10  # training flights of a group that speaks for itself


def follow_great_circle(
    targets: pd.DataFrame, splits: list[Split], origin: str, destination: str
) -> pd.DataFrame:
    """Return the great circle between the airports, flown at the training flights' mean profile.

    Altitude, duration and distance are the mean trajectory's; the position is on the great circle
    at the mean route progress of that fraction.
    """
    start, end = find_airport(origin), find_airport(destination)
    here = [targets["latitude"], targets["longitude"]]
    gone, left = (distance(*here, at.latitude, at.longitude) for at in (start, end))
    share = pd.DataFrame({"share": gone / (gone + left)}, targets.index)
    share = predict_baseline(share, splits)["share"]
    ends = (start.latitude, start.longitude, end.latitude, end.longitude)
    lat, lon = offset(*ends[:2], track(*ends), share * distance(*ends), 0.0)
    return predict_baseline(targets, splits).assign(latitude=lat, longitude=lon)


def average_by(
    targets: pd.DataFrame, splits: list[Split], groups: pd.Series, statistic: str = "median"
) -> pd.DataFrame:
    """Return the median (or ``mean``) trajectory of training flights of the same group.

    Where these are fewer than ten, or the flight has no group, that of all training flights.

    Parameters
    ----------
    groups
        A name for each flight, by path.
    """
    group = groups.reindex(targets.index.get_level_values("path")).to_numpy()
    fraction = targets.index.get_level_values("fraction")
    parts = []
    for train, held_out in splits:
        trained, asked = (match_flights(targets.index, paths) for paths in (train, held_out))
        counts = groups.reindex(train).value_counts()
        told = trained & np.isin(group, counts.index[counts >= _FEWEST])
        own = targets[told].groupby([group[told], fraction[told]]).agg(statistic)
        rows = pd.MultiIndex.from_arrays([group[asked], fraction[asked]])
        parts.append(own.reindex(rows).set_axis(targets.index[asked]))
    return pd.concat(parts).sort_index().fillna(predict_baseline(targets, splits, statistic))


def repeat_callsign(
    targets: pd.DataFrame, flights: pd.DataFrame, otherwise: pd.DataFrame
) -> pd.DataFrame:
    """Return what the same flight number flew the last time it had landed before this one began.

    Parameters
    ----------
    flights
        With ``path``, ``callsign``, ``start`` and ``end``.
    otherwise
        Predictions for the rows asked, taken where there was no such flight.
    """
    known = flights.dropna(subset=["callsign"])[["path", "callsign", "start", "end"]]
    known = known[known["path"].isin(targets.index.unique("path"))]
    known = known.assign(  # the times of an index may have another resolution than a sum
        start=known["start"].dt.as_unit("ns"), landed=(known["end"] + SILENCE).dt.as_unit("ns")
    )
    landed = known[["path", "callsign", "landed"]]
    last = pd.merge_asof(
        known[["path", "callsign", "start"]].sort_values("start", kind="stable"),
        landed.sort_values("landed", kind="stable"),
        left_on="start", right_on="landed", by="callsign", suffixes=("", "_before"),
    ).set_index("path")["path_before"]  # fmt: skip
    before = last.reindex(otherwise.index.get_level_values("path")).to_numpy()
    rows = pd.MultiIndex.from_arrays([before, otherwise.index.get_level_values("fraction")])
    return targets.reindex(rows).set_axis(otherwise.index).fillna(otherwise)


def dead_reckon_ahead(
    state: pd.DataFrame, minutes: float, otherwise: pd.DataFrame, origin: str, destination: str
) -> pd.DataFrame:
    """Return where a flight would be if it kept course, ground speed and climb: dead reckoning.

    Parameters
    ----------
    state
        As of `trajlib.features.airborne.measure_state`, by path.
    minutes
        After the first sample, of the state.
    otherwise
        Predictions for the rows asked, whose fractions are minutes: taken where the state is not
        known, and for how high a flight may climb.
    """
    now, lat, lon, course = _state_at(state, otherwise, origin, destination)
    minute = otherwise.index.get_level_values("fraction").to_numpy()
    ahead = 60 * (minute - minutes) + now["age"]
    flown = now["groundspeed"] * ahead / 3600
    lat, lon = offset(lat, lon, course + now["track_off"], flown, 0.0)
    found = {"latitude": lat, "longitude": lon, "duration": 60 * minute}
    found |= {"distance": now["distance"] + flown, "altitude": _climb(now, ahead, otherwise)}
    return _fill(found, otherwise)


def dead_reckon_home(
    state: pd.DataFrame, minutes: float, otherwise: pd.DataFrame, origin: str, destination: str
) -> pd.DataFrame:
    """Return a flight straight to its destination at the ground speed and climb it has.

    Parameters
    ----------
    otherwise
        As of `dead_reckon_ahead`, but its fractions are of route progress; 1 is the destination.
    """
    now, lat, lon, _ = _state_at(state, otherwise, origin, destination)
    end = find_airport(destination)
    share = otherwise.index.get_level_values("fraction").to_numpy()
    left = (now["to_go"] * (1 - share) / (1 - now["progress"])).clip(lower=0)
    back = track(end.latitude, end.longitude, lat, lon)
    lat, lon = offset(end.latitude, end.longitude, back, left, 0.0)
    ahead = 3600 * (now["to_go"] - left) / now["groundspeed"].where(now["groundspeed"] > 0)
    found = {"latitude": lat, "longitude": lon, "duration": 60 * minutes - now["age"] + ahead}
    found |= {"distance": now["distance"] + now["to_go"] - left}
    return _fill(found | {"altitude": _climb(now, ahead, otherwise)}, otherwise)


def measure_delay(
    routes: pd.DataFrame, splits: list[Split], state: pd.DataFrame, minutes: float
) -> pd.Series:
    """Return how much later [s] a flight is where it is than the median of training flights.

    Parameters
    ----------
    routes
        Targets at many fractions of route progress, between which the median is linear.
    state, minutes
        As of `dead_reckon_ahead`.
    """
    delays = []
    for train, held_out in splits:
        median = _median(routes, train)["duration"].dropna()
        now = state.loc[state.index.intersection(held_out, sort=False)]
        usual = np.interp(now["progress"], median.index, median)
        delays.append(60 * minutes - now["age"] - usual)
    return pd.concat(delays).sort_index().rename("delay")


def shift_median(
    targets: pd.DataFrame, splits: list[Split], delay: pd.Series, *, by: str = "route"
) -> pd.DataFrame:
    """Return the median trajectory of training flights, later by the delay that a flight has.

    Parameters
    ----------
    by
        Of the targets: at fractions of ``route`` or ``time`` the places are the median's, and
        passed later; on the ``clock`` the median is where it was that much earlier.
    delay
        [s] by path; none where it is not known.
    """
    late = delay.reindex(targets.index.get_level_values("path")).fillna(0.0)
    shifted = predict_baseline(targets, splits, "median")
    late = late.set_axis(targets.index)[shifted.index]
    if by != "clock":
        return shifted.assign(duration=shifted["duration"] + late)
    minute = shifted.index.get_level_values("fraction") - late.to_numpy() / 60
    for train, held_out in splits:
        median = _median(targets, train)
        here = match_flights(shifted.index, held_out)
        for name in median:
            known = median[name].dropna()
            shifted.loc[here, name] = np.interp(minute[here], known.index, known)
    return shifted.assign(duration=60 * shifted.index.get_level_values("fraction").to_numpy())


def _median(targets: pd.DataFrame, train: pd.Index) -> pd.DataFrame:
    return targets[match_flights(targets.index, train)].groupby(level="fraction").median()


def _state_at(
    state: pd.DataFrame, rows: pd.DataFrame, origin: str, destination: str
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, float]:
    """Return the state of each row's flight, where that is, and the course between airports."""
    now = state.reindex(rows.index.get_level_values("path")).set_axis(rows.index)
    start, end = find_airport(origin), find_airport(destination)
    course = float(track(start.latitude, start.longitude, end.latitude, end.longitude))
    lat, lon = offset(start.latitude, start.longitude, course, now["along"], now["cross"])
    return now, lat, lon, course


def _climb(now: pd.DataFrame, ahead: pd.Series, otherwise: pd.DataFrame) -> pd.Series:
    highest = otherwise["altitude"].groupby(level="path").transform("max")
    climbed = now["altitude"] + now["climb"].fillna(0) * ahead / 60
    return climbed.clip(lower=0).clip(upper=np.maximum(highest, now["altitude"]))


def _fill(found: dict, otherwise: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame(found, otherwise.index)[list(otherwise)]
    known = table.notna().all(axis=1)
    return pd.concat([table[known], otherwise[~known]]).reindex(otherwise.index)


def predict_baseline(
    targets: pd.DataFrame, splits: list[Split], statistic: str = "mean"
) -> pd.DataFrame:
    """Return the mean (or ``median``) trajectory of each split's training flights as prediction.

    The same for every held-out flight of a split, at each fraction.
    """
    predictions = []
    for train, held_out in splits:
        own = targets[match_flights(targets.index, train)]
        mean = own.groupby(level="fraction").agg(statistic)
        rows = targets.index[match_flights(targets.index, held_out)]
        values = mean.loc[rows.get_level_values("fraction")]
        predictions.append(values.set_axis(rows))
    return pd.concat(predictions).sort_index()
