"""Any table of points: by the names of its columns, or by what a columns.toml says of them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect
from trajlib.archive.values import parse_times
from trajlib.importers.formats.base import (
    Field,
    Format,
    FormatError,
    Head,
    Options,
    convert_flights,
    convert_points,
    convert_times,
    find_texts,
    parse_angles,
    parse_days,
)
from trajlib.importers.formats.tables import name_flight, read_head, read_table
from trajlib.schema import COLUMNS, IDENTITY

__all__ = ["FLIGHTS", "FORMAT", "find_columns", "recognize_flights", "recognize_points"]

# names in use, with the unit where the name says it or it is always the same
_ALIASES = {
    "timestamp": "timestamp time datetime date_time utc time_utc timestamp_utc epoch unixtime",
    "latitude": "latitude lat latitude_deg lat_deg",
    "longitude": "longitude lon lng long longitude_deg lon_deg",
    "altitude": "altitude alt altitude_ft alt_ft pressure_altitude baro_altitude_ft hp "
    "baroaltitude:m altitude_m:m alt_m:m flight_level:FL flightlevel:FL fl:FL",
    "geoaltitude": "geoaltitude_ft gnss_altitude_ft geoaltitude:m geoaltitude_m:m",
    "groundspeed": "groundspeed gs ground_speed groundspeed_kt gs_kt speed_kt velocity:m/s speed",
    "vertical_rate": "vertical_rate vertical_speed roc rocd vertical_rate_fpm vertrate:m/s",
    "track": "track trk course cog track_deg",
    "heading": "heading hdg true_heading",
    "true_airspeed": "true_airspeed tas tas_kt",
    "calibrated_airspeed": "calibrated_airspeed cas ias",
    "mach": "mach mach_number",
    "temperature": "temperature_k temperature_c:degC oat_c:degC",
    "flight_id": "flight_id flightid fid flight_key trajectory_id traj_id",
    "icao24": "icao24 hex icao icao_address modes mode_s",
    "callsign": "callsign ident flight_number",
    "operator": "operator airline carrier",
    "aircraft_type": "aircraft_type typecode actype aircraft_type_icao",
    "registration": "registration reg tail tail_number",
    "origin": "origin adep departure dep from",
    "destination": "destination ades arrival arr to dest",
    "onground": "onground on_ground",
}
_UNIT = re.compile(r"(?s)^(.*?)(?:\s*[(\[]\s*([^)\]]*?)\s*[)\]])?$")  # altitude (ft), lat [deg]
_UNITS = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("m/s", "mps", "m s-1"), "m/s"),
    **dict.fromkeys(("km/h", "kmh", "kph"), "km/h"),
    **dict.fromkeys(("c", "°c", "degc", "deg c", "celsius"), "degC"),
    "rad": "rad",
    "fl": "FL",
    "100 ft": "100 ft",
    "ft/s": "ft/s",
}
_DATES = ("date", "day", "utc_date", "date_utc")
_CLOCKS = ("time", "time_utc", "utc_time", "utc", "clock")


def _recognize(head: Head) -> bool:
    fields = find_columns(head.columns)
    located = {"latitude", "longitude"} <= set(fields) or "position" in head.columns
    timed = "timestamp" in fields or bool({*_DATES} & set(head.columns))
    return located and timed and "altitude" in fields


def find_columns(columns: tuple[str, ...]) -> dict[str, Field]:
    """Return where columns of the schema stand in a table, by the names in use.

    >>> find_columns(("lat", "altitude (m)"))["altitude"].unit
    'm'
    """
    written: dict[str, tuple[str, str]] = {}
    for column in columns:
        base, unit = _UNIT.findall(column)[0]
        written.setdefault(re.sub(r"[\s.-]+", "_", base.strip()), (column, unit))
    fields = {}
    for name, aliases in _ALIASES.items():
        for alias in aliases.split():
            base, _, usual = alias.partition(":")
            if base in written and name not in fields:
                column, unit = written[base]
                fields[name] = Field(column, unit=_UNITS.get(unit, usual) if unit else usual)
    return fields


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    head = read_head(path)
    if options.dialect is not None:
        yield from _read_dialect(path, options, options.dialect, head)
        return
    fields = find_columns(head.columns)
    date = next((name for name in _DATES if name in head.columns), "")
    clock = next((name for name in _CLOCKS if name in head.columns), "")
    wanted = {name for field in fields.values() for name in field.names} | {date, clock}
    wanted |= {"position", "latitude", "longitude"}
    for batch in read_table(path, wanted, texts=find_texts(fields), head=head):
        if date and clock:
            batch = batch.assign(**{clock: _join_date(batch[date], batch[clock])})
            fields["timestamp"] = Field(clock)
        if "latitude" not in fields:
            batch = batch.assign(**split_position(batch["position"]))
            fields |= {name: Field(name) for name in ("latitude", "longitude")}
        yield _name(convert_points(batch, fields), path, options)


def _name(points: pd.DataFrame, path: Path, options: Options) -> pd.DataFrame:
    if {"flight_id", "icao24", "callsign", "registration"} & set(points):
        return points
    return points.assign(flight_id=name_flight(path, options))


def _join_date(dates: pd.Series, clocks: pd.Series) -> pd.Series:
    """Return times of dates and times of day, or seconds of the day, in two columns."""
    if pd.api.types.is_datetime64_any_dtype(clocks.dtype):
        return convert_times(clocks)  # the date stands in both
    seconds = pd.to_numeric(clocks, errors="coerce")
    if seconds.gt(86_400).any() or clocks.astype("str").str.contains(r"\d{4}-\d\d-\d\d").any():
        return convert_times(clocks)
    days = parse_days(dates.astype("str").str.removesuffix(" 00:00:00"))
    if seconds.notna().any():
        return days + pd.to_timedelta(seconds, unit="s")
    return days + pd.to_timedelta(clocks.astype("str").str.strip(), errors="coerce")


def _read_dialect(
    path: Path, options: Options, dialect: Dialect, head: Head
) -> Iterator[pd.DataFrame]:
    keys, fields = dialect.many, _find_fields(dialect)
    date, position = (keys.get(name, "").strip().lower() for name in ("date", "position"))
    wanted = {name for field in fields.values() for name in field.names} | {date, position}
    (time,), (latitude,), (longitude,) = (
        fields[name].names for name in ("timestamp", "latitude", "longitude")
    )
    identity = dialect.identity(path.as_posix())
    for batch in read_table(
        path, wanted, texts=find_texts(fields), head=head, decimal=dialect.decimal
    ):
        if time not in batch:
            raise FormatError(f"no column {time!r}, which is to be the timestamp")
        batch[time] = _parse_times(batch, time, date, dialect)
        if position:
            pair = split_position(batch[position])
            batch = batch.assign(**{latitude: pair["latitude"], longitude: pair["longitude"]})
        for name in ("latitude", "longitude"):
            (their,) = fields[name].names
            if their in batch and _has_letters(batch[their]):
                batch[their] = parse_angles(batch[their])
        for name, (factor, offset) in dialect.units.items():
            (their,) = fields[name].names
            if their in batch:
                texts = batch[their].astype("str").str.strip().str.removeprefix("FL")
                batch[their] = pd.to_numeric(texts, errors="coerce") * factor + offset
        points = convert_points(batch, fields)
        yield _name(points.assign(**identity), path, options)


def split_position(values: pd.Series) -> dict[str, pd.Series]:
    """Return latitude and longitude of texts that hold both.

    >>> {name: part[0] for name, part in split_position(pd.Series(["42.7,-1.5"])).items()}
    {'latitude': '42.7', 'longitude': '-1.5'}
    """
    parts = values.astype("str").str.extract(r"([-+\d.]+)[,; ]+([-+\d.]+)")
    return {"latitude": parts[0], "longitude": parts[1]}


def _find_fields(dialect: Dialect) -> dict[str, Field]:
    names = {name: dialect.name(name) or "" for name in COLUMNS}
    names |= {name: dialect.many.get(name, name) for name in ("flight_id", "icao24", "onground")}
    return {name: Field(their.strip().lower()) for name, their in names.items() if their}


def _has_letters(values: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(values):
        return False
    return bool(values.astype("str").str.contains(r"[NSEWnsew°]").any())


def _parse_times(batch: pd.DataFrame, time: str, date: str, dialect: Dialect) -> pd.Series:
    if dialect.time_format == "unix":
        return convert_times(batch[time])
    if date and dialect.time_format == "ISO 8601":
        times = _join_date(batch[date], batch[time])
        if times.dt.tz is None:
            times = times.dt.tz_localize(dialect.timezone, ambiguous="NaT", nonexistent="NaT")
        return times
    if batch[time].dtype.kind == "M" or isinstance(batch[time].dtype, pd.DatetimeTZDtype):
        return batch[time]
    texts = batch[time].astype("str").str.strip()
    if date:
        texts = batch[date].astype("str").str.strip() + " " + texts
    return parse_times(texts, dialect)


def recognize_points(head: Head, dialect: Dialect) -> bool:
    """Return whether a table has the columns that a columns.toml names."""
    fields = _find_fields(dialect)
    needed = {fields["timestamp"].names[0]}
    if "position" in dialect.many:
        needed |= {dialect.many["position"].strip().lower()}
    else:
        needed |= {fields["latitude"].names[0], fields["longitude"].names[0]}
    return head.has(*needed)


def recognize_flights(head: Head, dialect: Dialect) -> bool:
    """Return whether a file is the second table that a columns.toml names."""
    return head.path.name == dialect.many.get("flights")


def _read_identities(path: Path, options: Options) -> pd.DataFrame:
    fields = _find_fields(options.dialect or Dialect())
    fields = {name: fields[name] for name in ("flight_id", "icao24", *IDENTITY) if name in fields}
    wanted = {name for field in fields.values() for name in field.names}
    batches = read_table(path, wanted, texts=wanted)
    tables = [convert_flights(batch, fields) for batch in batches]
    return pd.concat(tables).drop_duplicates("flight_id", ignore_index=True)


FORMAT = Format(
    name="generic",
    title="any other table of points (CSV, Parquet, Feather, JSON)",
    needs="columns named as usual, or a columns.toml that names them and their units",
    recognize=_recognize,
    read=_read,
    splittable=True,
)
FLIGHTS = Format(
    name="generic-flights",
    title="a second table that a columns.toml names, one row a flight",
    needs='flights = "NAME" under [import] of columns.toml',
    recognize=lambda head: False,
    read=None,
    read_identities=_read_identities,
)
