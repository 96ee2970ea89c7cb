"""What the formats share: what a format is, and the conversion of a table to points."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.archive.dialect import Dialect, find_conversion
from trajlib.schema import COLUMNS, IDENTITY, REQUIRED

__all__ = [
    "Field",
    "Format",
    "FormatError",
    "Head",
    "Options",
    "convert_flights",
    "convert_points",
    "convert_table",
    "convert_times",
    "find_texts",
    "parse_angles",
    "parse_days",
]

_TRUE = {"true", "t", "1", "1.0", "yes"}
_FALSE = {"false", "f", "0", "0.0", "no"}
_TEXTS = ("flight_id", "icao24", *IDENTITY)
_EARLIEST, _LATEST = 1e8, 4.1024448e9  # s since 1970: March 1973, and 2100


class FormatError(ValueError):
    """A file cannot be read; the message is the reason."""


@dataclass(frozen=True)
class Options:
    """How a file is to be read.

    Attributes
    ----------
    dialect
        A ``columns.toml`` that names columns and units, for the generic format.
    kind
        ``flight`` for what was flown, ``plan`` for what was filed.
    root
        The folder of the source, below which files that hold one flight are named by their path.
    """

    dialect: Dialect | None = None
    kind: str = "flight"
    root: Path | None = None


@dataclass(frozen=True)
class Head:
    """The beginning of a file, by which its format is recognised.

    Attributes
    ----------
    path
        The file.
    data
        Its first 64 KiB, decompressed.
    kind
        ``parquet``, ``feather``, ``json`` or ``text``.
    names
        Names of the columns as they are written; empty where there is no header.
    delimiter
        Between the fields of a text.
    skip
        Lines before the header: comments, and the ``sep=;`` of a spreadsheet.
    """

    path: Path
    data: bytes
    kind: str
    names: tuple[str, ...] = ()
    delimiter: str = ","
    skip: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, stripped and in lower case."""
        return tuple(name.strip().lower() for name in self.names)

    @property
    def lines(self) -> list[str]:
        """The first lines of a text."""
        return self.data.decode("utf-8", errors="replace").splitlines()

    def has(self, *columns: str) -> bool:
        """Return whether all of these columns are there."""
        return set(columns) <= set(self.columns)


@dataclass(frozen=True)
class Format:
    """A format that flights come in.

    Attributes
    ----------
    name, title
        What ``--format`` takes, and what the format is.
    needs
        What a user has to provide, for ``--formats``.
    recognize
        Whether a file with this beginning is of the format.
    read
        Yields batches of points in the schema's units; None for a table that has identities only.
    read_identities
        Returns a table with one row a flight by ``flight_id``, to be joined with the points.
    splittable
        Whether a flight may go on in another file.
    attribution
        What a publisher of the data asks to be named as, with the licence.
    spacing
        Least time between two points [s]: closer ones come from two radars that disagree.
    """

    name: str
    title: str
    needs: str
    recognize: Callable[[Head], bool]
    read: Callable[[Path, Options], Iterator[pd.DataFrame]] | None
    read_identities: Callable[[Path, Options], pd.DataFrame] | None = None
    splittable: bool = False
    attribution: str = ""
    spacing: float = 0.0


@dataclass(frozen=True)
class Field:
    """A column of a format: its names in lower case, the first one there counts, and its unit."""

    names: tuple[str, ...]
    unit: str

    def __init__(self, *names: str, unit: str = "") -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "unit", unit)


def convert_points(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return the points of a table: the schema's columns and units, every point with a position.

    Rows without a time or a position are no points, and are left out.

    Parameters
    ----------
    df
        A table with columns in lower case.
    fields
        For a column of the result, where it stands in the table and in which unit.
    """
    points = convert_table(df, fields)
    for name in REQUIRED:
        if name not in points:  # of the messages of a receiver a batch may hold no position
            points[name] = pd.Series(pd.NaT if name == "timestamp" else np.nan, points.index)
    east = points["longitude"]
    located = points["latitude"].abs().le(90) & east.abs().le(360) & points["timestamp"].notna()
    points["longitude"] = east.where(east.abs() <= 180, (east + 180) % 360 - 180)
    return points if located.all() else points[located].reset_index(drop=True)


def convert_flights(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return the identities of a table, one row a flight."""
    flights = convert_table(df, fields)
    return flights.dropna(subset="flight_id").drop_duplicates("flight_id", ignore_index=True)


def convert_table(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return a table with the schema's columns and units; what its source lacks is absent."""
    columns: dict[str, pd.Series] = {}
    for name, field in fields.items():
        for their in field.names:
            if their in df:
                values = _convert_column(name, df[their], field.unit)
                columns[name] = columns[name].fillna(values) if name in columns else values
    return pd.DataFrame(columns, index=df.index)


def parse_days(values: pd.Series) -> pd.Series:
    """Return dates of texts: ISO 8601, or day and month in the order that the numbers allow.

    Raises
    ------
    FormatError
        When day and month may be either, with what to write into columns.toml.
    """
    texts = values.astype("str").str.strip()
    parts = texts.str.extract(r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{2,4})$")
    if parts[0].isna().all():
        return pd.to_datetime(texts, format="ISO8601", errors="coerce")
    first, second = parts[0].astype(float), parts[1].astype(float)
    if not first.gt(12).any() and not second.gt(12).any():
        raise FormatError(
            f"is {texts[parts[0].notna()].iloc[0]} day/month or month/day? Give the format in "
            'columns.toml, as timestamp = { column = "TIME", format = "%d/%m/%Y %H:%M:%S" } under '
            '[columns], and where the date has a column of its own, date = "DATE" under [import]'
        )
    order = "%d/%m/" if first.gt(12).any() else "%m/%d/"
    year = "%Y" if parts[2].str.len().max() == 4 else "%y"
    joined = parts[0] + "/" + parts[1] + "/" + parts[2]
    return pd.to_datetime(joined, format=order + year, errors="coerce")


def find_texts(fields: dict[str, Field]) -> set[str]:
    """Return the names, in a table, of columns that are texts."""
    return {their for name in _TEXTS if name in fields for their in fields[name].names}


def convert_times(values: pd.Series) -> pd.Series:
    """Return times in UTC, to the millisecond; NaT where one is none.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, by their size:
    from March 1973 to 2100 the four do not overlap. Times without a zone are in UTC.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").astype("datetime64[ms, UTC]")
    if values.dtype.kind == "M":
        return values.dt.tz_localize("UTC").astype("datetime64[ms, UTC]")
    if not pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.isna().all():
            return _parse_times(values)
        values = numbers
    numbers = values.to_numpy(float, na_value=np.nan)
    milliseconds = np.full(len(numbers), np.nan)
    for per_second in (1.0, 1e3, 1e6, 1e9):
        here = (numbers > _EARLIEST * per_second) & (numbers < _LATEST * per_second)
        milliseconds[here] = np.round(numbers[here] * (1000 / per_second))
    return pd.Series(
        pd.to_datetime(milliseconds, unit="ms", utc=True).astype("datetime64[ms, UTC]"),
        values.index,
    )


def parse_angles(values: pd.Series) -> pd.Series:
    r"""Return angles [deg] of texts in degrees, minutes and seconds of arc.

    >>> parse_angles(pd.Series(["632730N", "0105830W", "N46 30.0", "46°30'36\"S"])).tolist()
    [63.458333333333336, -10.975, 46.5, -46.51]
    """
    texts = values.astype("str").str.strip().str.upper()
    parts = texts.str.extract(r"(\d+(?:\.\d+)?)(?:[^\d.]+(\d+(?:\.\d+)?))?(?:[^\d.]+([\d.]+))?")
    parts = parts.apply(pd.to_numeric, errors="coerce")
    digits = texts.str.extract(r"(\d+)")[0].str.len()
    compact = digits.ge(4) & parts[1].isna()  # DDMM, DDDMM, DDMMSS or DDDMMSS
    seconds = compact & digits.ge(6)
    number = parts[0].where(~seconds, parts[0] // 100)
    degrees = number.where(~compact, number // 100)
    minutes = parts[1].where(~compact, number % 100).fillna(0)
    seconds = parts[2].where(~seconds, parts[0] % 100).fillna(0)
    sign = 1 - 2 * texts.str.contains(r"^-|[SW]", na=False)
    return sign * (degrees + minutes / 60 + seconds / 3600)


def _parse_times(values: pd.Series) -> pd.Series:
    texts = values.astype("str").str.strip().str.replace(r"\s*(UTC|GMT)$", "+00:00", regex=True)
    times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    if times.isna().all():
        parts = texts.str.extract(r"^(\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4})[ T]+(\d{1,2}:\d\d.*)$")
        if parts[0].notna().any():
            clock = pd.to_timedelta(parts[1].str.removesuffix("Z"), errors="coerce")
            times = parse_days(parts[0]).dt.tz_localize("UTC") + clock
    return times.astype("datetime64[ms, UTC]")


def _convert_column(name: str, values: pd.Series, unit: str) -> pd.Series:
    if name in _TEXTS:
        return _to_texts(values, name)
    if name in ("timestamp", "position_time"):
        return convert_times(values)
    if name in ("onground", "new_leg"):
        return _to_booleans(values)
    if unit == "dms":
        return parse_angles(values)
    numbers = _to_numbers(values)
    if unit and unit != COLUMNS[name].unit:
        factor, offset = find_conversion(name, unit)
        numbers = numbers * factor + offset
    return numbers


def _to_numbers(values: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(values) or values.dtype == bool:
        texts = values.astype("str").str.strip()
        numbers = pd.to_numeric(texts, errors="coerce")
        if numbers.isna().any():  # FL310 in hundreds of feet, 31,000 by thousands
            levels = pd.to_numeric(texts.str.extract(r"^FL ?(\d{1,3})$")[0]) * 100
            grouped = texts.where(texts.str.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?").eq(True))
            thousands = pd.to_numeric(grouped.str.replace(",", ""))
            numbers = numbers.fillna(levels).fillna(thousands)
        values = numbers
    numbers = values.astype("float64")
    return numbers.where(np.isfinite(numbers))


def _to_texts(values: pd.Series, name: str) -> pd.Series:
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # an integer column with gaps
    texts = values.astype("object" if values.dtype == "category" else values.dtype)
    texts = texts.astype("str").str.strip()
    texts = texts.mask(values.isna() | texts.isin(["", "nan", "None", "<NA>", "NA", "N/A"]))
    if name == "icao24":
        return texts.str.lower().str.removeprefix("0x")
    return texts.str.upper() if name in ("aircraft_type", "origin", "destination") else texts


def _to_booleans(values: pd.Series) -> pd.Series:
    if values.dtype in (bool, "boolean"):
        return values.astype("boolean")
    texts = values.astype("str").str.strip().str.lower()
    result = pd.Series(pd.NA, values.index, dtype="boolean")
    result[texts.isin(_TRUE)] = True
    result[texts.isin(_FALSE)] = False
    return result
