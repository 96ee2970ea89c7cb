"""Divide the points of a bucket into flights, and clean them."""

from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.archive.layout import AIRCRAFT
from trajlib.archive.storage import replacing
from trajlib.archive.values import find_operator
from trajlib.compiled import compiled
from trajlib.importers.airports import infer_airports, measure_ends
from trajlib.importers.cleaning import clean_points
from trajlib.importers.collecting import narrow_numbers, read_bucket
from trajlib.importers.formats.fields import TEXTS
from trajlib.importers.job import SIDES, Job
from trajlib.importers.segmentation import (
    find_stops,
    get_numbers,
    get_seconds,
    segment_flights,
    split_tracks,
)
from trajlib.schema import NUMERIC

_SEGMENTED = (  # columns by which flights are separated
    *("aircraft", "timestamp", "latitude", "longitude", "altitude", "groundspeed"),
    *("onground", "callsign", "new_leg"),
)
_APART = 30.0  # smallest distance [NM] between two aircraft that share a callsign


def segment_bucket(job: Job, parts: list[Path], bucket: int) -> pd.Series:
    """Save the cleaned points and the flights of a bucket; return its airports' traffic."""
    file = job.work / f"segmented-{bucket:04d}.parquet"
    if not file.exists():
        points, flights = _segment_points(job, read_bucket(parts, bucket))
        with replacing(job.work / f"cleaned-{bucket:04d}.arrow") as temporary:
            to_write = [name for name in ("flight", "timestamp", *NUMERIC) if name in points]
            points = narrow_numbers(points[to_write]).reset_index(drop=True)
            points.to_feather(temporary, compression="lz4")
        with replacing(file) as temporary:
            flights.to_parquet(temporary)
    flights = pd.read_parquet(file)
    if flights.empty:
        return pd.Series(dtype=float)
    return pd.concat([flights[f"{side}_certain"] for side in SIDES]).value_counts()


def _segment_points(job: Job, points: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cleaned points of a bucket, ordered by flight, and one row for each flight."""
    if points.empty:
        return points, pd.DataFrame()
    keys = points["key"].cat.remove_unused_categories().cat
    keys = keys.reorder_categories(keys.categories.sort_values()).cat
    aircraft = keys.codes.to_numpy().astype("int64")
    times = points["timestamp"].astype("int64").to_numpy(copy=True)
    points = points.assign(aircraft=aircraft, disordered=_find_disordered(aircraft, times))
    order = np.lexsort((times, keys.codes))  # stable; codes of one or two bytes are sorted faster
    slim = points[[name for name in _SEGMENTED if name in points]].take(order)
    kind = keys.categories.str.split(":", n=1).str[0].to_numpy()[slim["aircraft"]]
    flight = _number_flights(job, slim, kind)
    # all columns are ordered once, since texts take most of the time
    order = order[flight >= 0]
    flight = flight[flight >= 0]
    if not len(flight):
        return points.iloc[:0], pd.DataFrame()
    again = np.argsort(flight, kind="stable")
    points = points.take(order[again]).assign(flight=flight[again]).reset_index(drop=True)
    identity = _collect_identity(job, points)
    texts = [name for name in (*TEXTS, "key", "aircraft") if name in points]
    cleaned, repairs = clean_points(points.drop(columns=texts), job.limits)
    flights = identity.join(repairs).join(_summarize(cleaned))
    for side in SIDES:
        ends = measure_ends(cleaned, side)
        inferred = infer_airports(ends, side)
        flights = flights.join(ends.add_prefix(f"{side}_"))
        flights[f"{side}_certain"] = inferred["airport"].where(inferred["certain"])
    return cleaned, flights


@compiled
def _find_disordered(aircraft, times):
    """Return which points come after a later one of the same aircraft."""
    disordered = np.zeros(len(times), np.bool_)
    latest = np.full(aircraft.max() + 1, times.min())
    for i in range(len(times)):
        if times[i] < latest[aircraft[i]]:
            disordered[i] = True
        latest[aircraft[i]] = max(times[i], latest[aircraft[i]])
    return disordered


def _number_flights(job: Job, points: pd.DataFrame, kind: np.ndarray) -> np.ndarray:
    """Return the number of the flight of each point, -1 for none, by the kind of its key."""
    flight, count = np.full(len(points), -1), 0
    for kinds in (("flight",), ("address", "registration"), ("callsign", "file")):
        rows = np.flatnonzero(np.isin(kind, kinds))
        if not len(rows):
            continue
        chosen = points.iloc[rows]
        if "callsign" in kinds:  # which two aircraft may share
            aircraft = chosen["aircraft"].to_numpy()
            position = chosen["latitude"].to_numpy(), chosen["longitude"].to_numpy()
            speed = job.limits.speed
            track = split_tracks(aircraft, get_seconds(chosen), *position, speed, _APART)
            order = np.lexsort((track, aircraft))
            chosen, rows = chosen.iloc[order], rows[order]
            pairs = np.column_stack([aircraft[order], track[order]])
            chosen = chosen.assign(aircraft=np.unique(pairs, axis=0, return_inverse=True)[1])
            chosen = _add_stops(chosen)
        numbers = segment_flights(chosen, identified=kinds == ("flight",))
        if "flight" not in kinds:
            gap = job.options.dialect.many.get("gap", np.inf)
            numbers = _cut_legs(chosen, numbers, gap)
        flight[rows] = np.where(numbers >= 0, numbers + count, -1)
        count += numbers.max(initial=-1) + 1
    return flight


def _add_stops(points: pd.DataFrame) -> pd.DataFrame:
    """Return points with ``onground`` from positions, for tracks without a speed or a state."""
    speed, state = (get_numbers(points, name) for name in ("groundspeed", "onground"))
    reported = pd.Series(~np.isnan(speed) | ~np.isnan(state), points.index)
    reported = reported.groupby(points["aircraft"]).transform("any")
    if reported.all():
        return points
    return points.assign(onground=np.where(reported, state, find_stops(points)))


def _cut_legs(points: pd.DataFrame, numbers: np.ndarray, gap: float) -> np.ndarray:
    """Return the numbers of flights, cut at gaps and where the source marks a new leg."""
    used = np.flatnonzero(numbers >= 0)
    seconds = get_seconds(points)[used]
    begins = np.diff(numbers[used], prepend=-1) != 0
    begins |= np.diff(seconds, prepend=np.inf) > gap
    if "new_leg" in points:
        begins |= points["new_leg"].to_numpy(dtype=float, na_value=0)[used] == 1
    result = numbers.copy()
    result[used] = np.cumsum(begins) - 1
    return result


def _collect_identity(job: Job, points: pd.DataFrame) -> pd.DataFrame:
    """Return the identity of each flight: the most frequent text if it has several."""
    table = pd.DataFrame(index=pd.Index(points["flight"].unique(), name="flight"))
    for name in TEXTS:
        table[name] = None
        if name in points:
            table[name] = _find_commonest(points["flight"], points[name])
    table = table.astype(dict.fromkeys(TEXTS, "str"))
    listed = _read_listed(job.work / "identities.parquet", "flight_id", table)
    for name in listed.columns.intersection(TEXTS):
        table[name] = table["flight_id"].map(listed[name]).fillna(table[name])
    for key in AIRCRAFT:
        listed = _read_listed(job.work / "aircraft.parquet", key, table)
        for name in listed:
            table[name] = table[name].fillna(table[key].map(listed[name]))
    operators = table["callsign"].map(find_operator, na_action="ignore").astype("str")
    return table.assign(operator=table["operator"].fillna(operators))


def _read_listed(file: Path, key: str, flights: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a saved list that are of these flights, by ``key``."""
    keys = flights[key].dropna().unique().tolist()
    if not keys or not file.exists():
        return pd.DataFrame()
    return pd.read_parquet(file, filters=[(key, "in", keys)]).drop_duplicates(key).set_index(key)


def _find_commonest(flight: pd.Series, texts: pd.Series) -> pd.Series:
    """Return the most frequent category of each flight, by flight."""
    code, texts = texts.cat.codes.to_numpy(), texts.cat.categories
    given = code >= 0
    pairs = flight.to_numpy()[given] * len(texts) + code[given]
    begins = np.flatnonzero(np.diff(pairs, prepend=-1))  # of runs, which are few
    pairs, run = np.unique(pairs[begins], return_inverse=True)
    counts = np.bincount(run, np.diff(begins, append=given.sum()))
    flights, codes = np.divmod(pairs, max(len(texts), 1))
    table = pd.DataFrame({"flight": flights, "count": -counts, "text": texts[codes]})
    return table.sort_values([*table]).drop_duplicates("flight").set_index("flight")["text"]


def _summarize(points: pd.DataFrame) -> pd.DataFrame:
    flight, altitude = points["flight"].to_numpy(), points["altitude"].to_numpy()
    begins = np.flatnonzero(np.diff(flight, prepend=-1))
    sizes = np.diff(begins, append=len(points))
    flights = pd.Index(flight[begins], name="flight")
    measured = ~np.isnan(altitude)
    return pd.DataFrame(
        {
            "start": points["timestamp"].iloc[begins].set_axis(flights),
            "end": points["timestamp"].iloc[begins + sizes - 1].set_axis(flights),
            "points": sizes,
            "altitudes": np.add.reduceat(measured, begins, dtype=int),
            "longest_gap": _find_longest_gap(points),
            "longest_altitude_gap": _find_longest_gap(points[measured]),
        },
        index=flights,
    )


def _find_longest_gap(points: pd.DataFrame) -> pd.Series:
    """Return the longest time [s] between two points of each flight, by flight."""
    flight = points["flight"].to_numpy()
    step = np.diff(get_seconds(points), prepend=np.nan)
    step[np.diff(flight, prepend=-1) != 0] = np.nan
    begins = np.flatnonzero(np.diff(flight, prepend=-1))
    if not len(begins):
        return pd.Series(dtype=float)
    return pd.Series(np.fmax.reduceat(step, begins), flight[begins])
