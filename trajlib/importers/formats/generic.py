"""Tables read by the names of their columns or by a columns.toml."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import AIRCRAFT, Layout, find_layout, find_missing, match_columns
from trajlib.archive.values import (
    convert_numbers,
    convert_times,
    find_times,
    orient_positions,
    split_positions,
    strip_texts,
    write_time_line,
)
from trajlib.importers.formats.base import Format, FormatError, Head, Options
from trajlib.importers.formats.fields import (
    FLEET,
    TEXTS,
    Field,
    convert_points,
    convert_table,
    same_names,
)
from trajlib.importers.formats.packed import UNPACKED
from trajlib.importers.formats.tables import name_flight, read_head, read_table
from trajlib.schema import IDENTITY, NUMERIC, REQUIRED

_KEYS = ("flight_id", "icao24", "registration", "callsign")
_CARRIED = ("callsign", "groundspeed", "track", "vertical_rate")  # may be messages of their own
_DATE = re.compile(r"\d{4}([-_.]?)\d{2}\1\d{2}")
_OF_PLANS = ("sequence", "departure_time", "filed")  # columns that only filed plans have
_UNREADABLE = 0.05  # share of a column's values above which its file is refused
_RECENT = pd.Timedelta(60, "s")  # age of what another message gave
_MANY = ("flight_id", "icao24", "onground", "date", "position")  # settings that name a column
_PARTS = ("date", "clock", "position", "north_south", "east_west")  # of times and positions


def _recognize_prc(head: Head) -> bool:
    airspeeds = head.has("tas", "cas") or head.has("u_component_of_wind")
    return _has_points(head, "flight_id") and airspeeds and not head.has("callsign")


def _recognize_traffic(head: Head) -> bool:
    return any(_has_points(head, name) for name in ("icao24", "callsign", "flight_id"))


def _has_points(head: Head, key: str) -> bool:
    return head.has(key, "timestamp", "latitude", "longitude", "altitude")


def _recognize_list(head: Head) -> bool:
    fields = match_columns(head.names, Dialect()).fields
    route = "origin" in fields or "destination" in fields
    return "flight_id" in fields and route and not {"latitude", "position"} & {*fields}


def recognize_points(head: Head, dialect: Dialect) -> bool:
    """Return whether a table has the columns that are described in a columns.toml."""
    dialect = _shorten_names(head, dialect)
    columns = [*dialect.names.values(), *(str(name) for name in dialect.many.values())]
    named = {name.strip().lower() for name in columns} & set(head.columns)
    described = named if columns else dialect.units
    return bool(described) and _find_layout(head, dialect) is not None


def _shorten_names(head: Head, dialect: Dialect) -> Dialect:
    """Return a columns.toml in the names of a JSON's columns, of which some are the last of many.

    It may say ``live.altitude`` where the column is named ``altitude``.
    """
    names = {}
    for column, name in dialect.names.items():
        *objects, last = name.split(".")
        long = name not in head.names and last in head.names and {*objects} <= {*head.keys}
        names[column] = last if long else name
    return replace(dialect, names=names)


def explain_names(head: Head, dialect: Dialect) -> str | None:
    """Return which required columns that a columns.toml names are absent, None if there are none.

    >>> head = Head(Path("a.csv"), b"", "text", ("Tail", "Lvl"))
    >>> explain_names(head, Dialect(names={"altitude": "Level"}))
    "columns.toml names 'Level', not among its columns: Tail, Lvl"
    """
    dialect = _shorten_names(head, dialect)
    missing = find_missing(match_columns(head.names, dialect).fields)
    absent = [repr(dialect.names[name]) for name in missing if name in dialect.names]
    if not absent:
        return None
    columns = ", ".join(head.names)[:100]
    return f"columns.toml names {', '.join(absent)}, not among its columns: {columns}"


def find_absent(path: Path, dialect: Dialect) -> tuple[set[str], tuple[str, ...]]:
    """Return the names in a columns.toml that a file does not have, and those that it has."""
    head = read_head(path)
    layout = _find_layout(head, _shorten_names(head, dialect))
    columns = head.names if layout is None else layout.names
    named = {*dialect.names.values(), *(str(dialect.many[n]) for n in _MANY if n in dialect.many)}
    present = {*columns, *head.keys}
    return {name for name in named if not {name, name.split(".")[-1]} & present}, columns


def _find_layout(head: Head, dialect: Dialect) -> Layout | None:
    try:
        if head.kind == "text":
            return find_layout(head.data, dialect, closely=True)
        layout = match_columns(head.names, dialect)
    except FormatError:
        return None
    return None if find_missing(layout.fields) else layout


def holds_waypoints(path: Path, dialect: Dialect) -> bool:
    """Return whether a file has the positions of plans, of which times need not be given."""
    try:
        head = read_head(path)
        return _find_waypoints(head, _shorten_names(head, dialect)) is not None
    except FormatError:
        return False


def _find_waypoints(head: Head, dialect: Dialect) -> Layout | None:
    if layout := _find_layout(head, dialect):
        return layout
    layout = match_columns(head.names, dialect)
    if {"latitude", "longitude"} & {*find_missing(layout.fields)}:
        return None
    return replace(layout, delimiter=head.delimiter, decimal=head.decimal, skip=head.skip + 1)


def _read_points(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    """Yield the points of any table with known columns."""
    head = read_head(path)
    dialect = _shorten_names(head, options.dialect)
    find = _find_waypoints if options.kind == "plan" else _find_layout
    layout = find(head, dialect)
    if layout is None:
        reason = f"its columns do not hold points: {', '.join(head.names)[:100]}"
        raise FormatError(explain_names(head, dialect) or reason)
    if head.kind == "text":
        head = replace(head, names=layout.names, delimiter=layout.delimiter, skip=layout.skip - 1)
    columns = {name: head.columns[number] for name, number in layout.fields.items()}
    if options.kind == "plan":
        columns |= {name: name for name in _OF_PLANS if name in head.columns}
    texts = {columns[name] for name in TEXTS if name in columns}
    if dialect.time_format not in ("ISO 8601", "unix"):
        texts |= {columns[name] for name in ("timestamp", "clock", "date") if name in columns}
    key = next((name for name in _KEYS if name in columns), None)
    batches = read_table(path, columns.values(), texts=texts, head=head)
    if key is None and layout.time in columns:
        batches = _join_days(batches, columns[layout.time], "date" in columns)
    above = _read_identity(layout.comments)
    constants = {name: text for name, text in above.items() if name not in columns}
    constants |= dialect.identity(path.as_posix())
    below = _shorten(path, options)
    if key is None:
        constants["flight_id"] = name_flight(path, options)
    counts: Counter = Counter()
    for batch in batches:
        # some may lack optional columns, and one may stand for two
        batch = batch.reindex(columns=[*dict.fromkeys(columns.values())])
        points = batch[[*columns.values()]].set_axis([*columns], axis=1)
        points = _convert(points, layout, dialect, below, key, counts)
        yield _finish(points, key, constants, options.kind, counts)


def _finish(
    points: pd.DataFrame, key: str | None, constants: dict[str, str], kind: str, counts: Counter
) -> pd.DataFrame:
    """Return points, or the waypoints of plans, with the identity that is not in columns."""
    if kind == "plan":
        return _convert_waypoints(points.assign(**constants), counts)
    points = _carry(points, key).assign(**constants)
    points = convert_points(points, same_names(*points))
    return points if key else points.assign(key=f"file:{constants['flight_id']}")


def _read_identity(comments: str) -> dict[str, str]:
    r"""Return the identity in a table of one row above the points, as ForeFlight writes it.

    >>> _read_identity('Pilot,Tail Number\n"Doe, J.",N183CP')
    {'registration': 'N183CP'}
    """
    rows = list(csv.reader(comments.splitlines()))[-2:]
    if len(rows) < 2 or len(rows[0]) != len(rows[1]):
        return {}
    fields = match_columns(rows[0], Dialect()).fields
    return {name: rows[1][fields[name]] for name in IDENTITY if name in fields}


def _shorten(path: Path, options: Options) -> Path:
    """Return the path of a file below its source, with the name of an archive that it is from."""
    root = options.root
    if root is None:
        return Path(path.name)
    return path.relative_to(root.parent if root.name.startswith(UNPACKED) else root)


def _carry(points: pd.DataFrame, key: str | None) -> pd.DataFrame:
    """Return points with what other messages of the aircraft just gave, as in decoded ADS-B."""
    if key == "callsign" and len(points[key].dropna().unique()) == 1:
        points = points.assign(callsign=points[key].ffill().bfill())  # sent less often
    apart = points[points["latitude"].isna()]
    carried = [name for name in _CARRIED if name in points and apart[name].notna().any()]
    if key is None or not carried:
        return points
    times, keys = points["timestamp"], points[key]
    values = {}
    for name in carried:
        given = times.where(points[name].notna()).groupby(keys).ffill()
        latest = points[name].groupby(keys).ffill()
        recent = (times - given).between(pd.Timedelta(0), _RECENT)
        values[name] = points[name].fillna(latest.where(recent))
    return points.assign(**values)


def _join_days(
    batches: Iterator[pd.DataFrame], column: str, undated: bool
) -> Iterator[pd.DataFrame]:
    """Return batches of one flight, joined if its times are of the day, to find midnight."""
    first = next(batches, pd.DataFrame({column: []}))
    batches = itertools.chain([first], batches)
    for text in first[column].dropna().head(1).astype("str").str.strip():
        undated |= re.match(r"\d{1,2}:\d|\d{1,8}(\.\d*)?$", text) is not None
    return iter([pd.concat(batches, ignore_index=True)]) if undated else batches


def _check_readable(
    counts: Counter, name: str, texts: pd.Series, values: pd.Series, advice: str
) -> None:
    """Count the texts of a column, and refuse its file where too many of them are no values."""
    wrong = strip_texts(texts[values.isna()]).dropna()
    counts[name, "wrong"] += len(wrong)
    counts[name, "all"] += len(wrong) + int(values.notna().sum())
    number, total = counts[name, "wrong"], counts[name, "all"]
    if len(wrong) and number > _UNREADABLE * total:
        some = f" ({number:,} of {total:,} values cannot be read)" if number < total else ""
        raise FormatError(f"{name} is {wrong.iloc[0][:40]!r}, {advice}{some}")


def _convert_waypoints(points: pd.DataFrame, counts: Counter) -> pd.DataFrame:
    """Return the waypoints of plans with the columns that only plans have."""
    values = {}
    for name in points.columns.intersection(_OF_PLANS):
        if name == "sequence":
            values[name], expected = convert_numbers(points[name], name), "a number"
        else:
            values[name] = convert_times(points[name])
            expected = "date and time in UTC, as 2016-03-05T07:00"
        _check_readable(counts, name, points[name], values[name], f"expected {expected}")
    table = convert_table(points, same_names(*points.columns.difference(_OF_PLANS, sort=False)))
    return table.assign(**values).dropna(subset=["latitude", "longitude"])


def _convert(
    batch: pd.DataFrame,
    layout: Layout,
    dialect: Dialect,
    path: Path,
    key: str | None,
    counts: Counter,
) -> pd.DataFrame:
    """Return a table with the schema's names in the schema's units."""
    if "latitude" not in batch:
        batch = batch.assign(**split_positions(batch["position"]))
    for name in batch.columns.intersection(NUMERIC):
        units = layout.units.get(name, (1.0, 0.0))
        numbers = convert_numbers(batch[name], name, *units, layout.decimal)
        if name in REQUIRED or numbers.notna().any():  # flights may lack the others
            _check_readable(counts, name, batch[name], numbers, "expected a number")
        batch[name] = numbers
    positions = {name: batch[name].to_numpy(float) for name in ("latitude", "longitude")}
    batch = batch.assign(**orient_positions(positions, batch))
    latitudes = batch["latitude"].dropna()
    if len(latitudes) and latitudes.abs().gt(90).all():
        position = batch.loc[latitudes.index[0], ["latitude", "longitude"]].tolist()
        raise FormatError(f"no position is on the Earth: the first one is {position}, in degrees?")
    if layout.time not in batch:  # of a plan
        return batch.drop(columns=[*_PARTS], errors="ignore")
    column = layout.names[layout.fields[layout.time]]
    try:
        times = _convert_times(batch, layout, dialect, path, key)
        line = write_time_line(column, "...", dialect)
        advice = f"which is no known time: give its format in columns.toml: {line} under [columns]"
        _check_readable(counts, column, batch[layout.time], times, advice)
    except FormatError as error:
        raise FormatError(f"{error}{_propose_time(layout, column)}") from error
    points = batch.drop(columns=[*_PARTS], errors="ignore")
    return points.assign(timestamp=times)


def _propose_time(layout: Layout, column: str) -> str:
    """Return the line of a columns.toml for another column that is named as times are."""
    others = [name for name in layout.names if name != column]
    number = match_columns(others, Dialect()).fields.get("timestamp")
    if number is None:
        return ""
    return f'; or take another column: timestamp = "{others[number]}"'


def _convert_times(
    batch: pd.DataFrame, layout: Layout, dialect: Dialect, path: Path, key: str | None
) -> pd.Series:
    column = layout.names[layout.fields[layout.time]]
    times = batch[layout.time]
    is_number = pd.api.types.is_numeric_dtype(times)
    flights = None if key is None else batch.get(key)
    dated = is_number and not ("date" in batch or layout.time == "clock")
    if dated or times.dtype.kind == "M" or strip_texts(times).isna().all():
        converted = convert_times(times, dialect, column, flights)
        if converted.notna().any() or not is_number:
            return converted
    dates = batch["date"].astype("str") if "date" in batch else None
    around = f"{layout.comments}\n{path.name}"
    if not _DATE.search(around):
        around = path.as_posix()
    return find_times(times.astype("str"), dates, dialect, column, around, flights)


def _read_flights(path: Path, options: Options) -> pd.DataFrame:
    """Return the identities of a table with one row per flight, or without ids one per aircraft."""
    head = read_head(path)
    layout = match_columns(head.names, options.dialect)
    fields = {
        name: Field(head.columns[number]) for name, number in layout.fields.items() if name in TEXTS
    }
    if "real_to" in head.columns:  # the actual destination of diverted flights
        fields["destination"] = Field("real_to", "schd_to")
    key = next((name for name in ("flight_id", *AIRCRAFT) if name in fields), None)
    if key is None:
        raise FormatError(
            f"its columns are {', '.join(head.names)[:100]}: expected the flight_id of the points, "
            "or a registration or icao24 with one row an aircraft; columns.toml names them"
        )
    wanted = {name for field in fields.values() for name in field.names} | {"aircraft_id"}
    tables = []
    for batch in read_table(path, wanted, texts=wanted - {"aircraft_id"}, head=head):
        if {"aircraft_id", "equip"} <= {*batch}:  # the ICAO address as a decimal number
            numbers = pd.to_numeric(batch["aircraft_id"], errors="coerce")
            batch["icao24"] = numbers.map("{:06x}".format, na_action="ignore")
            fields["icao24"] = Field("icao24")
        rows = convert_table(batch, fields).dropna(subset=key).astype("str")
        tables.append(rows.drop_duplicates(key if key == "flight_id" else None))
    table = pd.concat(tables)
    if key != "flight_id":
        return _limit_to_aircraft(table, key)
    return table.drop_duplicates(key, ignore_index=True)


def _limit_to_aircraft(aircraft: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return what a table without flight ids says of each aircraft, in one row."""
    names = [name for name in FLEET if name in aircraft]
    aircraft = aircraft[names].drop_duplicates(ignore_index=True)
    again = aircraft.loc[aircraft[key].duplicated(), key]
    if len(again):
        raise FormatError(
            f"several rows have the {key} {again.iloc[0]}: expected one row an aircraft, or "
            "one a flight with a column of the points that flight_id names under [import] of "
            "columns.toml"
        )
    return aircraft


PRU = Format(
    name="pru",
    title="PRU reference trajectories (CSV)",
    needs="the table, and in the same folder the flights by flight_id where there are",
    attribution="EUROCONTROL's Performance Review Unit",
    recognize=lambda head: head.has("flight_id", "timestamp", "latitude", "longitude", "speed_gnd"),
    read=_read_points,
)
PRC = Format(
    name="prc",
    title="PRC Data Challenge (Parquet)",
    needs="the days of trajectories, and beside them the list of flights (adep, ades, ...)",
    attribution="PRC Data Challenge, the Performance Review Commission of EUROCONTROL",
    recognize=_recognize_prc,
    read=_read_points,
    splittable=True,
)
TRAFFIC = Format(
    name="traffic",
    title="tables of the traffic library (Parquet, Feather, CSV, JSON)",
    needs="the table; pickles are refused, because they run code: save it as Parquet",
    recognize=_recognize_traffic,
    read=_read_points,
    splittable=True,
)
LISTS = Format(
    name="flights",
    title="lists of flights that go with points (PRC, EUROCONTROL, PRU, Flightradar24, ...)",
    needs="in the same folder, the points with the same flight_id",
    recognize=_recognize_list,
    read_identities=_read_flights,
)
FORMAT = Format(
    name="generic",
    title="any other table of points (CSV, Parquet, Feather, JSON)",
    needs="columns named as usual, or a columns.toml that names them and their units",
    recognize=lambda head: _find_layout(head, Dialect()) is not None,
    read=_read_points,
    splittable=True,
)
FLIGHTS = Format(
    name="generic-flights",
    title="a second table that a columns.toml names, one row a flight",
    needs='flights = "NAME" under [import] of columns.toml',
    recognize=lambda head: False,
    read_identities=_read_flights,
)
