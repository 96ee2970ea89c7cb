"""Filed flight plans beside an archive: waypoints by flight, and the plan to use.

Plans are tables in the archive's folder ``plans/``, Parquet or CSV, one row per waypoint:

- ``flight_id``, the name of the flight's file without its ending, or its path in the archive;
  or ``callsign`` and ``departure_time``, which select the flight that began closest to it;
- ``sequence``, ``latitude``, ``longitude`` [deg];
- if known ``flight_level`` [100 ft], ``speed`` [kt], ``estimated_time`` over the waypoint, and
  ``filed``, the time of filing. Times are in UTC.

A flight may have several plans, filed at different times. Only the last one filed before the
prediction time is used. A plan without a filing time counts as filed before departure. Of plans by
callsign, only those of the departure time closest to the flight's first sample are used, as others
may be of the next flight of that callsign. Of several plans filed at one time, the first is used.

A waypoint without a position on earth, or whose sequence, departure time or time of filing cannot
be read, is not used; `count_unusable` counts them. Other values that cannot be read are missing.
"""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from pandas.api.types import is_numeric_dtype

from trajlib.archive.storage import list_names, open_file, replacing

FOLDER = "plans"
_ENDINGS = (".parquet", ".csv", ".csv.gz")
WAYPOINT = ("latitude", "longitude", "flight_level", "speed", "estimated_time", "filed")
_TIMES = ("departure_time", "estimated_time", "filed")
_NUMBERS = ("sequence", "latitude", "longitude", "flight_level", "speed")
_TEXTS = ("flight_id", "callsign")
_POSITION = ["latitude", "longitude"]
_NEEDED = [*_POSITION, "sequence", "departure_time", "filed"]
_LEVEL = r"^\s*(?:FL?|A)?\s*(?=\d)"  # of 350, F350, FL350 and A045
_NEAR = pd.Timedelta(6, "h")  # between a plan's departure time and the flight's first sample


def read_plans(archive: str | Path) -> pd.DataFrame | None:
    """Return the waypoints of all plans of an archive; None where it has no folder ``plans``.

    Returns
    -------
    DataFrame
        The columns above, with missing values in columns that no file has. Times in UTC.
        Waypoints that cannot be used have no position.

    Raises
    ------
    ValueError
        When a file lacks a column, or has no waypoint that can be used.
    """
    folder = f"{archive}/{FOLDER}"
    names = [name for name in sorted(list_names(folder)) if name.endswith(_ENDINGS)]
    if not names:
        return None
    return pd.concat([read_plan(f"{folder}/{name}") for name in names], ignore_index=True)


def read_plan(path: str | Path) -> pd.DataFrame:
    """Return the waypoints of the plans in one file, Parquet or CSV.

    A CSV of one plan, for one flight, needs neither ``flight_id`` nor ``callsign``.

    Raises
    ------
    ValueError
        As `read_plans`; the message names the file and what was expected.
    """
    name = Path(path).name
    try:
        with open_file(path) as file:
            if name.endswith(".parquet"):
                table = pd.read_parquet(file)
            else:
                packing = "gzip" if name.endswith(".gz") else None
                table = pd.read_csv(file, dtype=dict.fromkeys(_TEXTS, "str"), compression=packing)
    except ValueError as error:  # also of an empty file, another encoding or a damaged one
        raise ValueError(f"{name} is no table of waypoints that can be read: {error}") from error
    table.columns = table.columns.str.strip().str.lower()
    table = table.loc[:, ~table.columns.duplicated()]
    missing = [column for column in ("latitude", "longitude") if column not in table]
    if missing:
        raise ValueError(
            f"{name}: no column {' and no '.join(missing)}; expected one row per waypoint with "
            "latitude, longitude, sequence, and flight_id or callsign and departure_time; it has "
            + ", ".join(table.columns)
        )
    try:
        return _convert(table)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


def count_unusable(plans: pd.DataFrame) -> int:
    """Return the number of waypoints that cannot be used, of plans as `read_plans` returns them."""
    return int(plans["latitude"].isna().sum())


def save_plans(plans: pd.DataFrame, archive: str | Path, name: str = "plans") -> Path:
    """Write waypoints as one table of an archive's folder ``plans``, and return its path."""
    folder = Path(archive) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    with replacing(path) as temporary:
        plans.to_parquet(temporary, index=False)
    return path


def select_plans(
    plans: pd.DataFrame, flights: pd.DataFrame, *, minutes: float = 0.0
) -> pd.DataFrame:
    """Return the last plan of each flight filed before a prediction time.

    Parameters
    ----------
    plans
        As returned by `read_plans`.
    flights
        Rows of an index or of a store: ``path``, ``callsign`` and ``start``.
    minutes
        Prediction time, in minutes after the first sample of a flight.

    Returns
    -------
    DataFrame
        Waypoints by ``path`` and ``point`` in their order, the columns ``WAYPOINT``. Flights
        without a plan filed by then are absent.
    """
    flights = flights.assign(
        start=flights["start"].dt.as_unit("ns"), callsign=flights["callsign"].astype("str")
    )
    plans = plans.dropna(subset=_POSITION)
    waypoints = pd.concat([_match_ids(plans, flights), _match_callsigns(plans, flights)])
    deadline = waypoints["start"] + pd.Timedelta(minutes, "min")
    waypoints = waypoints[~(waypoints["filed"] > deadline)]
    nearest = waypoints["apart"].groupby(waypoints["path"]).transform("min")
    waypoints = waypoints[waypoints["apart"] == nearest]
    filed = waypoints["filed"].fillna(pd.Timestamp(0, tz="UTC"))
    last = filed.groupby(waypoints["path"]).transform("max")
    waypoints = _keep_first(waypoints[filed == last])
    waypoints = waypoints.sort_values(["path", "sequence"], kind="stable")
    point = waypoints.groupby("path").cumcount().rename("point")
    return waypoints.set_index(["path", point])[list(WAYPOINT)]


def assign_plan(plans: pd.DataFrame, flight: pd.DataFrame) -> pd.DataFrame:
    """Return the plans of a file as those of one flight, unless they name their flights.

    Parameters
    ----------
    plans
        As returned by `read_plan`.
    flight
        One row: ``path``, ``callsign`` and ``start``.

    Raises
    ------
    ValueError
        When no plan is of the flight, or none was filed before it began.
    """
    if plans["flight_id"].isna().all() and plans["departure_time"].isna().all():
        callsign = flight["callsign"].item()
        if callsign or plans["callsign"].dropna().unique().size > 1:
            plans = plans[plans["callsign"].isna() | (plans["callsign"] == callsign)]
        plans = plans.assign(flight_id=flight["path"].item())
    if select_plans(plans, flight).empty:
        raise ValueError(
            "no plan of this flight was filed before it began: expected a file of its waypoints "
            "alone, or with flight_id, or callsign and departure_time, and filed before "
            f"{flight['start'].item():%Y-%m-%d %H:%M} UTC"
        )
    return plans


def _convert(table: pd.DataFrame) -> pd.DataFrame:
    table = table.reindex(columns=[*_TEXTS, *_NUMBERS, *_TIMES])
    for name in _TEXTS:  # whole numbers beside missing ones are read as 7.0
        table[name] = table[name].convert_dtypes().astype("str").str.strip()
    for name in (*_NUMBERS, *_TIMES):  # in Parquet, a missing value may be an empty text
        if not is_numeric_dtype(table[name]):
            table[name] = table[name].mask(table[name].astype("str").str.strip() == "")
    given = table.copy()
    for name in _NUMBERS:
        table[name] = _parse(given[name], _parse_numbers, "a number")
    for name in _TIMES:
        expected = "date and time in UTC, as 2016-03-05T07:00"
        table[name] = _parse(given[name], _parse_times, expected)
    unreadable = table[_NEEDED].isna() & given[_NEEDED].notna()
    on_earth = table["latitude"].abs().le(90) & table["longitude"].abs().le(360)
    usable = on_earth & ~unreadable.any(axis=1)
    if len(table) and not usable.any():
        first = ", ".join(f"{name} {value}" for name, value in given[_NEEDED].iloc[0].items())
        raise ValueError(
            f"no waypoint can be used, the first has {first}; expected positions on earth in "
            "degrees, numbers as sequence, and times in UTC as 2016-03-05T07:00"
        )
    table.loc[~usable, _POSITION] = float("nan")
    # plans without sequence are in the order of the file
    plan = [table[name] for name in ("flight_id", "callsign", "departure_time", "filed")]
    unordered = usable & table["sequence"].isna()
    unordered = unordered.groupby(plan, dropna=False).transform("any")
    position = table.groupby(plan, dropna=False).cumcount().astype(float)
    table["sequence"] = table["sequence"].mask(unordered, position)
    return table


def _parse(values: pd.Series, parse: Callable, expected: str) -> pd.Series:
    """Return values as numbers or times, missing where they cannot be read, unless none can."""
    parsed = parse(values)
    if values.notna().any() and parsed.isna().all():
        first = str(values.dropna().iloc[0])
        raise ValueError(f"{values.name} is {first!r}, expected {expected}")
    return parsed


def _parse_numbers(values: pd.Series) -> pd.Series:
    if values.name == "flight_level" and not is_numeric_dtype(values):
        values = values.astype("str").str.replace(_LEVEL, "", regex=True, case=False)
    return pd.to_numeric(values, errors="coerce")


def _parse_times(values: pd.Series) -> pd.Series:
    texts = values.astype("str") if is_numeric_dtype(values) else values
    times = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    return times.dt.as_unit("ns")


def _keep_first(waypoints: pd.DataFrame) -> pd.DataFrame:
    """Return the first plan of each flight; the next begins where a sequence number repeats."""
    waypoints = waypoints.drop_duplicates(["path", "sequence", "latitude", "longitude"])
    repeated = waypoints.duplicated(["path", "sequence"])
    return waypoints[~repeated.groupby(waypoints["path"]).cummax()]


def _match_ids(plans: pd.DataFrame, flights: pd.DataFrame) -> pd.DataFrame:
    stems = flights["path"].str.replace(r"\.csv(\.gz)?$", "", regex=True)
    names = pd.concat([flights["path"], stems, stems.str.rpartition("/")[2]])
    table = pd.DataFrame({"name": names, "path": pd.concat([flights["path"]] * 3)})
    table = table.drop_duplicates().merge(flights[["path", "start"]], on="path")
    named = plans.dropna(subset="flight_id")
    quoted = named["flight_id"].map(lambda name: quote(name, safe=" /?"))
    # special characters may be quoted in the name of the file, or not
    name = quoted.where(quoted.isin(table["name"]), named["flight_id"])
    matched = named.assign(name=name).merge(table, on="name").drop(columns="name")
    return matched.assign(apart=pd.Timedelta(0))


def _match_callsigns(plans: pd.DataFrame, flights: pd.DataFrame) -> pd.DataFrame:
    rows = plans[plans["flight_id"].isna()].dropna(subset=["callsign", "departure_time"])
    departures = rows[["callsign", "departure_time"]].drop_duplicates()
    starts = flights[["path", "callsign", "start"]].dropna(subset="callsign")
    nearest = pd.merge_asof(
        departures.sort_values("departure_time"),
        starts.sort_values("start"),
        left_on="departure_time",
        right_on="start",
        by="callsign",
        direction="nearest",
        tolerance=_NEAR,
    )
    matched = rows.merge(nearest.dropna(subset="path"), on=["callsign", "departure_time"])
    return matched.assign(apart=(matched["departure_time"] - matched["start"]).abs())
