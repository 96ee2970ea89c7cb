"""Baselines: simple predictions without a model, to compare models with.

Each returns predictions in the form of the targets. Averages are over training flights only. The
last flights of the pair or the callsign and the state in flight are known at the prediction time.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlib.features.airborne import STATE
from trajlib.features.feature_sets import prediction_minutes
from trajlib.features.recent_traffic import LANDING_DELAY
from trajlib.features.targets import match_flights
from trajlib.features.wind import to_nanoseconds
from trajlib.geodesy import distance, find_airport, offset, track, unwrap_longitude
from trajlib.models.training import Split

_MIN_GROUP = 10  # training flights
_REACH = 2 / 3  # of the way left, up to which deviations from dead reckoning are predicted


def predict_baselines(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    unflown: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    by: str,
    routes: pd.DataFrame,
    flights: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Return the predictions of each baseline for unflown rows of held-out flights, by name.

    Baselines that need an operator, a type or a callsign are left out where no flight has one.
    Parameters are those of `submit_experiment`; ``unflown`` as returned by `keep_unflown`.
    """
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    median = predict_baseline(unflown, splits, "median")
    tables = {
        "mean": predict_baseline(unflown, splits),
        "median": median,
        "great circle": follow_great_circle(unflown, splits, *pair),
    }
    operators, types = predictors["operator"], predictors["aircraft_type"]
    if operators.notna().any() and types.notna().any():
        group = operators.astype("str") + " " + types.astype("str")
        tables["operator and type"] = average_by_group(unflown, splits, group)
    if flights["callsign"].notna().any():
        repeated = repeat_callsign(targets, flights, median)
        tables["last flight of the callsign"] = repeated
    if feature_set != "planned":
        tables["last three flights"] = average_last(targets, flights, median)
    minutes = prediction_minutes(feature_set)
    if minutes:
        state = _select_state(predictors, minutes)
        reckon = dead_reckon_ahead if by == "clock" else dead_reckon_home
        tables["dead reckoning"] = reckon(state, minutes, median, *pair)
        delay = measure_delay(routes, splits, state, minutes)
        shifted = shift_median(targets if by == "clock" else unflown, splits, delay, by=by)
        tables["delay-shifted median"] = shifted.reindex(median.index)
    return tables


def predict_baseline(
    targets: pd.DataFrame, splits: Sequence[Split], statistic: str = "mean"
) -> pd.DataFrame:
    """Return the mean (or ``median``) trajectory of each split's training flights as prediction.

    It is the same for all held-out flights of a split.
    """
    predictions = []
    for train, held_out in splits:
        average = _average(targets, train, statistic)
        rows = targets.index[match_flights(targets.index, held_out)]
        predictions.append(average.loc[rows.get_level_values(1)].set_axis(rows))
    return pd.concat(predictions).sort_index()


def follow_great_circle(
    targets: pd.DataFrame, splits: Sequence[Split], origin: str, destination: str
) -> pd.DataFrame:
    """Return the great circle between the airports with the training flights' mean profile.

    Altitude, duration and distance are those of the mean trajectory; the position is on the
    great circle at the mean route progress.
    """
    start, end = find_airport(origin).position, find_airport(destination).position
    positions = targets["latitude"], targets["longitude"]
    from_origin, to_go = distance(*positions, *start), distance(*positions, *end)
    progress = pd.DataFrame({"progress": from_origin / (from_origin + to_go)}, targets.index)
    progress = predict_baseline(progress, splits)["progress"]
    along = progress * distance(*start, *end)
    lat, lon = offset(*start, track(*start, *end), along, 0.0)
    mean = predict_baseline(targets, splits)
    return mean.assign(latitude=lat, longitude=unwrap_longitude(lon, mean["longitude"]))


def average_by_group(
    targets: pd.DataFrame, splits: Sequence[Split], groups: pd.Series
) -> pd.DataFrame:
    """Return the median trajectory of training flights of the same group.

    If a group has fewer than ten training flights, or a flight has no group, it is that of all
    training flights.

    Parameters
    ----------
    groups
        The group of each flight, by path.
    """
    group = groups.reindex(targets.index.get_level_values("path")).to_numpy()
    fraction = targets.index.get_level_values(1)
    parts = []
    for train, held_out in splits:
        in_training, scored = (match_flights(targets.index, paths) for paths in (train, held_out))
        counts = groups.reindex(train).value_counts()
        used = in_training & np.isin(group, counts.index[counts >= _MIN_GROUP])
        average = targets[used].groupby([group[used], fraction[used]]).median()
        rows = pd.MultiIndex.from_arrays([group[scored], fraction[scored]])
        parts.append(average.reindex(rows).set_axis(targets.index[scored]))
    return pd.concat(parts).sort_index().fillna(predict_baseline(targets, splits, "median"))


def repeat_callsign(
    targets: pd.DataFrame, flights: pd.DataFrame, otherwise: pd.DataFrame
) -> pd.DataFrame:
    """Return the last flight of the same callsign that landed before each flight began.

    Parameters
    ----------
    flights
        With ``path``, ``callsign``, ``start`` and ``end``.
    otherwise
        Predictions for the same rows, used if there was no such flight.
    """
    table = flights.dropna(subset=["callsign"])[["path", "callsign", "start", "end"]]
    table = table[table["path"].isin(targets.index.unique("path"))]
    table = table.assign(  # to the same resolution as sums of times
        start=table["start"].dt.as_unit("ns"),
        landed=(table["end"] + LANDING_DELAY).dt.as_unit("ns"),
    )
    landed = table[["path", "callsign", "landed"]]
    last = pd.merge_asof(
        table[["path", "callsign", "start"]].sort_values("start", kind="stable"),
        landed.sort_values("landed", kind="stable"),
        left_on="start", right_on="landed", by="callsign", suffixes=("", "_before"),
    ).set_index("path")["path_before"]  # fmt: skip
    before = last.reindex(otherwise.index.get_level_values("path"))
    return _select_flights(targets, before, otherwise.index).fillna(otherwise)


def average_last(
    targets: pd.DataFrame, flights: pd.DataFrame, otherwise: pd.DataFrame, *, count: int = 3
) -> pd.DataFrame:
    """Return the mean of the last flights of the pair that had landed before each flight began.

    It follows the season and the weather, which the mean of all training flights does not.

    Parameters
    ----------
    flights
        With ``path``, ``start`` and ``end``.
    otherwise
        Predictions for the same rows, used if there was no such flight.
    count
        Number of flights in a mean.
    """
    table = flights[flights["path"].isin(targets.index.unique("path"))].set_index("path")
    landed = to_nanoseconds(table["end"] + LANDING_DELAY)
    order = np.argsort(landed, kind="stable")
    before = np.searchsorted(landed[order], to_nanoseconds(table["start"]), side="right")
    before = pd.Series(before, table.index).reindex(otherwise.index.get_level_values("path"))
    parts = []
    for back in range(1, count + 1):
        position = before.to_numpy() - back
        paths = table.index[order][np.maximum(position, 0)].where(position >= 0)
        parts.append(_select_flights(targets, paths, otherwise.index))
    mean = pd.concat(parts, keys=range(count)).groupby(level=[1, 2], sort=False).mean()
    return mean.reindex(otherwise.index).fillna(otherwise)


def dead_reckon_ahead(
    state: pd.DataFrame, minutes: float, otherwise: pd.DataFrame, origin: str, destination: str
) -> pd.DataFrame:
    """Return the later positions of a flight that keeps its course, speed and climb.

    Parameters
    ----------
    state
        As returned by `trajlib.features.airborne.measure_state`, by path.
    minutes
        Time of the state, in minutes after the first sample.
    otherwise
        Predictions for the same rows, by path and minute; used if there is no state, and to limit
        the climb.
    """
    now, lat, lon = _keep_course(state, minutes, otherwise, origin, destination)
    predicted = {
        "latitude": lat,
        "longitude": lon,
        "duration": 60 * otherwise.index.get_level_values("minute").to_numpy(),
        "distance": now["distance"] + now["flown"],
        "altitude": _climb(now, now["seconds"], otherwise),
    }
    return _fill(predicted, otherwise)


def reckon_reference(
    predictors: pd.DataFrame, targets: pd.DataFrame, feature_set: str, origin: str, destination: str
) -> pd.DataFrame:
    """Return where flights are if they keep course, speed and altitude, to predict deviations from.

    A model of deviations need not learn anew where each flight is. The farther ahead, the less the
    course of the moment says: the reference is 0, and the model predicts positions, for minutes
    that are farther ahead than the flight has flown, or where most flights near their destination.

    Parameters
    ----------
    predictors
        Of an airborne feature set, with the state of the flights.
    targets
        By path and minute. Of their longitudes, only the turn of 360° is used.

    Returns
    -------
    DataFrame
        ``latitude``, ``longitude`` [deg] and ``altitude`` [ft], by path and minute; of a flight
        without a state, the medians of the others.
    """
    minutes = prediction_minutes(feature_set)
    state = _select_state(predictors, minutes)
    now, lat, lon = _keep_course(state, minutes, targets, origin, destination)
    reckoned = {"latitude": lat, "longitude": lon, "altitude": now["altitude"]}
    table = pd.DataFrame(reckoned, targets.index)
    table["longitude"] = unwrap_longitude(table["longitude"], targets["longitude"])
    table = table.fillna(table.groupby(level="minute").transform("median")).fillna(0.0)
    near = (now["flown"] / now["to_go"]).groupby(level="minute").transform("median") > _REACH
    table[near | (table.index.get_level_values("minute") > 2 * minutes)] = 0.0
    return table


def dead_reckon_home(
    state: pd.DataFrame, minutes: float, otherwise: pd.DataFrame, origin: str, destination: str
) -> pd.DataFrame:
    """Return a flight direct to its destination with its current groundspeed and climb.

    Parameters
    ----------
    otherwise
        As for `dead_reckon_ahead`, by path and fraction of route progress; 1 is the destination.
    """
    now, lat, lon, _ = _state_of_rows(state, otherwise, origin, destination)
    end_lat, end_lon = find_airport(destination).position
    fraction = otherwise.index.get_level_values("fraction").to_numpy()
    remaining = (now["to_go"] * (1 - fraction) / (1 - now["progress"])).clip(lower=0)
    bearing = track(end_lat, end_lon, lat, lon)
    lat, lon = offset(end_lat, unwrap_longitude(end_lon, lon), bearing, remaining, 0.0)
    seconds = 3600 * (now["to_go"] - remaining) / now["groundspeed"].where(now["groundspeed"] > 0)
    predicted = {
        "latitude": lat,
        "longitude": lon,
        "duration": 60 * minutes - now["age"] + seconds,
        "distance": now["distance"] + now["to_go"] - remaining,
        "altitude": _climb(now, seconds, otherwise),
    }
    return _fill(predicted, otherwise)


def measure_delay(
    routes: pd.DataFrame, splits: Sequence[Split], state: pd.DataFrame, minutes: float
) -> pd.Series:
    """Return how much later [s] a flight is at its present progress than the training median.

    Parameters
    ----------
    routes
        Targets at many fractions of route progress, between which the median is interpolated.
    state, minutes
        As for `dead_reckon_ahead`.
    """
    delays = []
    for train, held_out in splits:
        median = _average(routes, train, "median")["duration"].dropna()
        now = state.loc[state.index.intersection(held_out, sort=False)]
        usual = np.interp(now["progress"], median.index, median)
        delays.append(60 * minutes - now["age"] - usual)
    return pd.concat(delays).sort_index().rename("delay")


def shift_median(
    targets: pd.DataFrame, splits: Sequence[Split], delay: pd.Series, *, by: str = "route"
) -> pd.DataFrame:
    """Return the median trajectory of training flights, later by the present delay of a flight.

    Parameters
    ----------
    by
        Of the targets: at fractions of ``route`` or ``time`` the positions are the median's, and
        passed later; by the ``clock`` a flight is where the median was that much earlier.
    delay
        [s] by path; 0 where it is missing.
    """
    late = delay.reindex(targets.index.get_level_values("path")).fillna(0.0)
    shifted = predict_baseline(targets, splits, "median")
    late = late.set_axis(targets.index)[shifted.index]
    if by != "clock":
        return shifted.assign(duration=shifted["duration"] + late)
    minute = shifted.index.get_level_values("minute").to_numpy()
    earlier = minute - late.to_numpy() / 60
    for train, held_out in splits:
        median = _average(targets, train, "median")
        rows = match_flights(shifted.index, held_out)
        for name in median:
            values = median[name].dropna()
            shifted.loc[rows, name] = np.interp(earlier[rows], values.index, values)
    return shifted.assign(duration=60 * minute)


def _select_flights(targets: pd.DataFrame, paths: Sequence, rows: pd.MultiIndex) -> pd.DataFrame:
    """Return, for each row, the targets of another flight at the fraction of the row."""
    others = pd.MultiIndex.from_arrays([paths, rows.get_level_values(1)])
    return targets.reindex(others).set_axis(rows)


def _average(targets: pd.DataFrame, train: pd.Index, statistic: str) -> pd.DataFrame:
    return targets[match_flights(targets.index, train)].groupby(level=1).agg(statistic)


def _select_state(predictors: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Return the state of flights at a prediction time, in the form of `measure_state`."""
    names = [f"{name}_at_{minutes:.0f}" for name in STATE]
    return predictors[names].set_axis(list(STATE), axis=1)


def _keep_course(
    state: pd.DataFrame, minutes: float, rows: pd.DataFrame, origin: str, destination: str
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the state of each row's flight, and where it is at that minute on the same course.

    The state has also the ``seconds`` until then and the miles ``flown`` meanwhile.
    """
    now, lat, lon, course = _state_of_rows(state, rows, origin, destination)
    minute = rows.index.get_level_values("minute").to_numpy()
    seconds = 60 * (minute - minutes) + now["age"]
    flown = now["groundspeed"] * seconds / 3600
    lat, lon = offset(lat, lon, course + now["track_off"], flown, 0.0)
    return now.assign(seconds=seconds, flown=flown), lat, lon


def _state_of_rows(
    state: pd.DataFrame, rows: pd.DataFrame, origin: str, destination: str
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, float]:
    """Return the state of each row's flight, its position, and the course between the airports."""
    now = state.reindex(rows.index.get_level_values("path")).set_axis(rows.index)
    start, end = find_airport(origin).position, find_airport(destination).position
    course = float(track(*start, *end))
    lat, lon = offset(*start, course, now["along"], now["cross"])
    return now, lat, lon, course


def _climb(now: pd.DataFrame, seconds: pd.Series, otherwise: pd.DataFrame) -> pd.Series:
    highest = otherwise["altitude"].groupby(level="path").transform("max")
    climbed = now["altitude"] + now["climb"].fillna(0) * seconds / 60
    return climbed.clip(lower=0).clip(upper=np.maximum(highest, now["altitude"]))


def _fill(predicted: dict, otherwise: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame(predicted, otherwise.index)[list(otherwise)]
    table["longitude"] = unwrap_longitude(table["longitude"], otherwise["longitude"])
    complete = table.notna().all(axis=1)
    return pd.concat([table[complete], otherwise[~complete]]).reindex(otherwise.index)
