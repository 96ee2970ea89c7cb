"""Write the flights of a bucket: their airports, criteria, names and files."""

import hashlib
from urllib.parse import quote

import numpy as np
import pandas as pd

from trajlib.archive.imported import name_repair
from trajlib.archive.layout import UNIT_MARK, FlightError
from trajlib.archive.listing import FRAGMENTS
from trajlib.archive.repairs import check_units
from trajlib.archive.storage import replacing
from trajlib.archive.writer import format_lines
from trajlib.estimate import format_percent
from trajlib.geodesy import distance, find_airport
from trajlib.importers.airports import ENDS, infer_airports
from trajlib.importers.cleaning import REPAIRS
from trajlib.importers.job import SIDES, Job, is_wanted
from trajlib.importers.resampling import interpolate_points, leave_one_out
from trajlib.importers.segmentation import get_seconds
from trajlib.schema import COLUMNS, IDENTITY, NUMERIC

_DERIVED = ("duration", "gap", "distance", "vertical_rate", "track")
_FEWEST = 2  # points of a fragment
_LONGEST_NAME = 120  # characters of a file's name
_OVERLAP = 0.5  # share of the shorter of two flights of one callsign, above which one is a repeat
_ERRORS = tuple(name for name in REPAIRS if name not in ("taxi", "too_close"))
_OUTLIERS = ("unreachable", "spoofed", "altitude_spike", "frozen_altitude", "assigned_altitude")


def write_bucket(job: Job, traffic: pd.Series, bucket: int) -> None:
    """Write the flights of a bucket, and the table of all its flights."""
    file = job.work / f"flights-{bucket:04d}.parquet"
    if file.exists():
        return
    flights = pd.read_parquet(job.work / f"segmented-{bucket:04d}.parquet")
    if flights.empty:
        flights.to_parquet(file)
        return
    points = pd.read_feather(job.work / f"cleaned-{bucket:04d}.arrow")
    flights = _find_airports(flights, points, traffic)
    flights = flights[is_wanted(job, flights)]
    flights = _apply_criteria(job, flights)
    flights["path"] = _name_files(flights)
    if noise := _write_flights(job, flights, points):
        with replacing(job.work / f"noise-{bucket:04d}.parquet") as temporary:
            _join_noise(noise).to_parquet(temporary, index=False)
    with replacing(file) as temporary:
        flights.to_parquet(temporary, index=False)
    (job.work / f"cleaned-{bucket:04d}.arrow").unlink()


def _find_airports(flights: pd.DataFrame, points: pd.DataFrame, traffic: pd.Series) -> pd.DataFrame:
    """Return the flights with the airports of the source, or else those inferred."""
    # a flight is written from its first altitude to its last: there the distances are measured
    written = points.loc[points["altitude"].notna(), ["flight", "latitude", "longitude"]]
    for side, which in zip(SIDES, ("first", "last"), strict=True):
        columns = {f"{side}_{name}": name for name in ENDS}
        ends = flights[[*columns]].rename(columns=columns).dropna(subset="latitude")
        inferred = infer_airports(ends, side, traffic).reindex(flights.index)
        flights = flights.drop(columns=[*columns, f"{side}_certain"])
        # what a source gives is no airport if the flight is clearly at another, as for a city
        unknown = flights[side].map(lambda code: np.isnan(_locate(code)[0]), na_action="ignore")
        flights[side] = flights[side].mask(unknown.eq(True) & inferred["certain"].eq(True))
        conditions = [flights[side].notna(), inferred["airport"].notna()]
        flights[f"{side}_from"] = np.select(conditions, ["source", "inferred"], "unknown")
        flights[f"{side}_inferred"] = inferred["airport"]
        flights[f"{side}_nearest"] = inferred["nearest"]
        flights[f"{side}_distance"] = inferred["distance"]
        flights[f"{side}_reason"] = inferred["reason"]
        flights[side] = flights[side].fillna(inferred["airport"])
        airports = np.array([_locate(code) for code in flights[side].fillna("")]).reshape(-1, 2)
        edge = written.drop_duplicates("flight", keep=which).set_index("flight")
        edge = edge.reindex(flights.index).to_numpy()
        flights[f"{side}_reach"] = distance(*edge.T, *airports.T) * 1.852
    return flights


def _locate(code: str) -> tuple[float, float]:
    try:
        return find_airport(code).position
    except ValueError:  # no code, or an unknown one of the source
        return np.nan, np.nan


def _apply_criteria(job: Job, flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights with ``kind``, ``why``, ``repairs`` and ``rejected``."""
    criteria = job.criteria
    no_reason = pd.Series(pd.NA, flights.index, dtype="str")
    far = f"point more than {criteria.reach:g} km from the airport"
    silence = f"more than {criteria.gap:g} s between two "
    why = no_reason.case_when(
        [
            (flights["altitudes"] < criteria.points, f"fewer than {criteria.points} points"),
            (flights["origin_reach"] > criteria.reach, f"first {far}"),
            (flights["destination_reach"] > criteria.reach, f"last {far}"),
            (flights["longest_gap"] > criteria.gap, silence + "points"),
            (flights["longest_altitude_gap"] > criteria.gap, silence + "altitudes"),
        ]
    )
    kind = np.where(why.isna(), "flight", "fragment")
    few = ~(flights["altitudes"] >= _FEWEST)
    outliers = flights[list(_OUTLIERS)]
    without = few & flights["altitudes"].eq(0) & outliers.eq(0).all(axis=1)
    once = few & flights["points"].eq(1) & flights["repeated"].gt(0)
    removed = flights["unreachable"] + flights["spoofed"]
    share = outliers.sum(axis=1) / (flights["points"].fillna(0) + removed).clip(lower=1)
    wrong = f"more than {format_percent(criteria.repaired)} of the points were wrong, most of them "
    wrong = wrong + outliers.idxmax(axis=1).map(name_repair)
    rows = flights[list(_ERRORS)].to_dict("records")
    names = [" ".join(name for name, count in row.items() if count) for row in rows]
    repairs = pd.Series(names, flights.index, dtype="str")
    named = repairs.map(lambda text: ", ".join(map(name_repair, text.split())))
    rejected = no_reason.case_when(
        [
            (once, "all points have the same time: expected a time for each, with its seconds"),
            (without, "no point has an altitude, without which there is no trajectory"),
            (few, f"fewer than {_FEWEST} points with position and altitude"),
            (share > criteria.repaired, wrong),
            (repairs.ne("") & job.strict, "needs repairs: " + named),
        ]
    )
    return flights.assign(kind=kind, why=why, repairs=repairs, rejected=rejected)


def _name_files(flights: pd.DataFrame) -> pd.Series:
    """Return ``ORIGIN-DESTINATION/NAME.csv``; names of a source lead to no other folder."""
    start = flights["start"].dt.strftime("%Y%m%dT%H%M%SZ").fillna("0")
    identity = [flights[name] for name in ("callsign", "registration", "icao24")]
    names = start.str.cat([("_" + texts).fillna("") for texts in identity])
    names = flights["flight_id"].fillna(names).map(_name_file)
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + "-" + (again + 1).astype("str"))
    pairs = [
        flights[side].fillna("unknown").map(lambda code: quote(code, safe="?")) for side in SIDES
    ]
    paths = pairs[0] + "-" + pairs[1] + "/" + names + ".csv"
    return paths.where(flights["kind"] != "fragment", FRAGMENTS + paths)


def _name_file(name: str) -> str:
    """Return a name of a source as that of a file; one that is cut remains distinct."""
    quoted = quote(name, safe=" ")
    if len(quoted) <= _LONGEST_NAME:
        return quoted
    digest = hashlib.sha256(quoted.encode()).hexdigest()[:12]
    return f"{quoted[: _LONGEST_NAME - len(digest) - 1]}-{digest}"


def _write_flights(job: Job, flights: pd.DataFrame, points: pd.DataFrame) -> list[tuple[str, dict]]:
    """Write the flights that are not rejected, and return their noise.

    Those that are too short or in wrong units are rejected.
    """
    seconds = get_seconds(points)
    numbers = [name for name in COLUMNS if name in points and name in NUMERIC]
    order = ["latitude", "longitude", "altitude"]
    order += [name for name in numbers if name not in (*order, "duration", "gap", "distance")]
    values = np.array([points[name].to_numpy(float) for name in order])
    flight_of = points["flight"].to_numpy()
    written = [name for name in COLUMNS if name in {*order, *_DERIVED}]
    decimals = np.array([COLUMNS[name].decimals for name in written])
    confirmed = [name for name in written if name in job.options.dialect.units]
    noise = []
    for number, flight in zip(flights.index, flights.to_dict("records"), strict=True):
        if isinstance(flight["rejected"], str):
            continue
        begin, end = np.searchsorted(flight_of, [number, number + 1])
        measured_only = job.measured_only or flight["kind"] == "fragment"
        try:
            time, columns = interpolate_points(seconds[begin:end], values[:, begin:end], order)
            check_units(columns, 1000 * time, confirmed, job.options.dialect.names)
        except FlightError as error:
            flights.loc[number, "rejected"] = str(error)
            continue
        rows = np.array([columns[name] for name in written])
        if measured_only:
            measured = columns["gap"] == 0
            time, rows = time[measured], rows[:, measured]
        path = job.archive / flight["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_format_csv(flight, time, rows, written, decimals, confirmed))
        if job.limits.spacing and flight["kind"] == "flight":
            errors = leave_one_out(seconds[begin:end], values[:3, begin:end])
            noise.append((flight["path"], errors))
    return noise


def _join_noise(noise: list[tuple[str, dict]]) -> pd.DataFrame:
    """Return one table of the errors at all points, with the ``path`` of their flight."""
    paths, errors = zip(*noise, strict=True)
    sizes = [len(flight["miss"]) for flight in errors]
    columns = {name: np.concatenate([flight[name] for flight in errors]) for name in errors[0]}
    path = pd.Series(paths, dtype="str").repeat(sizes).reset_index(drop=True)
    return path.to_frame("path").assign(**columns)


def _format_csv(
    flight: dict,
    time: np.ndarray,
    rows: np.ndarray,
    names: list[str],
    decimals: np.ndarray,
    confirmed: list[str],
) -> bytes:
    marks = [name + UNIT_MARK for name in confirmed]  # the archive does not ask for these units
    header = ",".join([*IDENTITY, *marks, "timestamp", *names])
    identity = [flight[name] if isinstance(flight[name], str) else "" for name in IDENTITY]
    units = [COLUMNS[name].unit for name in confirmed]
    before = ",".join([*map(_quote, identity), *units])
    return f"{header}\n".encode() + format_lines(f"{before},".encode(), time, rows, decimals)


def _quote(text: str) -> str:
    if any(char in text for char in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


def reject_repeats(flights: pd.DataFrame) -> pd.DataFrame:
    """Reject flights that repeat another: same callsign and airports, at the same time."""
    usable = flights[flights["rejected"].isna() & flights["callsign"].notna()]
    usable = usable.sort_values(["kind", "path"], kind="stable")
    times = {name: usable[name].astype("int64") for name in ("start", "end")}
    usable = usable[["callsign", *SIDES, "icao24"]].assign(**times, rank=range(len(usable)))
    usable = usable.reset_index(names="flight")
    pairs = usable.merge(usable, on=["callsign", *SIDES], suffixes=("", "_other"))
    pairs = pairs[pairs["rank"] > pairs["rank_other"]]
    shared = np.minimum(pairs["end"], pairs["end_other"]) - np.maximum(
        pairs["start"], pairs["start_other"]
    )
    shorter = np.minimum(pairs["end"] - pairs["start"], pairs["end_other"] - pairs["start_other"])
    pairs = pairs[shared > _OVERLAP * shorter]
    other = pairs["icao24"].notna() & pairs["icao24_other"].notna()
    other &= pairs["icao24"] != pairs["icao24_other"]
    repeats = pairs.loc[~other, "flight"]
    reason = "repeats a flight (same callsign and airports at the same time)"
    return flights.assign(rejected=flights["rejected"].mask(flights.index.isin(repeats), reason))
