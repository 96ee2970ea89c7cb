"""The columns of formats, and the conversion of a table to points."""

import re

import numpy as np
import pandas as pd

from trajlib.archive.dialect import find_conversion
from trajlib.archive.layout import AIRCRAFT
from trajlib.archive.values import convert_numbers, convert_times, parse_angles
from trajlib.schema import COLUMNS, IDENTITY, REQUIRED

_BOOLEANS = dict.fromkeys(("true", "t", "1", "1.0", "yes"), True)
_BOOLEANS |= dict.fromkeys(("false", "f", "0", "0.0", "no"), False)
# ICAO, IATA or local code; neither the name of a city nor a time such as 0610
_AIRPORT = r"(?=.*[A-Z])[A-Z0-9]{3,4}|[A-Z]{2}-[A-Z0-9]+"
_NO_TEXT = {"", "nan", "None", "<NA>", "NA", "N/A", "?"}
TEXTS = ("flight_id", "icao24", *IDENTITY)
FLEET = (*AIRCRAFT, "aircraft_type", "operator")  # of a list with one row per aircraft


class Field:
    """A column of a format: possible names in lower case, in order of preference, and its unit."""

    def __init__(self, *names: str, unit: str = "") -> None:
        self.names = names
        self.unit = unit


def same_names(*names: str, **units: str) -> dict[str, Field]:
    """Return the fields of columns that a table names as the schema does, some in other units."""
    fields = {name: Field(name) for name in names}
    return fields | {name: Field(name, unit=unit) for name, unit in units.items()}


def convert_points(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return the points of a table in the schema's columns and units.

    Rows without a time or a position are omitted.

    Parameters
    ----------
    df
        A table with columns in lower case.
    fields
        For each column of the result, its names in the table and its unit.
    """
    points = convert_table(df, fields)
    for name in REQUIRED:
        if name not in points:  # a batch of receiver messages may have no position
            points[name] = pd.Series(pd.NaT if name == "timestamp" else np.nan, points.index)
    east = points["longitude"]
    located = points["latitude"].abs().le(90) & east.abs().le(360) & points["timestamp"].notna()
    points["longitude"] = east.where(east.abs() <= 180, (east + 180) % 360 - 180)
    return points if located.all() else points[located].reset_index(drop=True)


def convert_table(df: pd.DataFrame, fields: dict[str, Field]) -> pd.DataFrame:
    """Return a table in the schema's columns and units; missing columns are absent.

    Texts are categories.
    """
    columns: dict[str, pd.Series] = {}
    for name, field in fields.items():
        for source_name in field.names:
            if source_name in df:
                values = _convert_column(name, df[source_name], field.unit)
                columns[name] = _fill(columns[name], values) if name in columns else values
    return pd.DataFrame(columns, index=df.index)


def find_texts(fields: dict[str, Field]) -> set[str]:
    """Return the names of text columns in a table."""
    return {source for name in TEXTS if name in fields for source in fields[name].names}


def find_wind(speed: pd.Series, direction: pd.Series) -> dict[str, pd.Series]:
    """Return ``wind_u`` and ``wind_v`` of a wind that blows from a direction [deg]."""
    towards = np.radians(direction + 180)
    return {"wind_u": speed * np.sin(towards), "wind_v": speed * np.cos(towards)}


def _convert_column(name: str, values: pd.Series, unit: str) -> pd.Series:
    if name in TEXTS:
        return _to_texts(values, name)
    if name in ("timestamp", "position_time"):
        return convert_times(values)
    if name in ("onground", "new_leg"):
        return _to_booleans(values)
    if unit == "dms":
        return parse_angles(values)
    factor, offset = find_conversion(name, unit or COLUMNS[name].unit)
    return convert_numbers(values, name, factor, offset)


def _fill(values: pd.Series, others: pd.Series) -> pd.Series:
    if values.dtype != "category":
        return values.fillna(others)
    return values.astype("str").fillna(others.astype("str")).astype("category")


def _to_texts(values: pd.Series, name: str) -> pd.Series:
    """Return a column as texts, which are categories, since few differ."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # an integer column with gaps
    if values.dtype != "str":
        rows = values.astype("object" if values.dtype == "category" else values.dtype)
        values = rows.astype("str").mask(values.isna())
    codes, different = pd.factorize(values)
    texts = pd.Series([_clean_text(text, name) for text in different], dtype="str")
    cleaned, categories = pd.factorize(texts)  # different texts may be the same when cleaned
    codes = np.append(cleaned, -1)[codes]  # -1: missing
    return pd.Series(pd.Categorical.from_codes(codes, categories), values.index)


def _clean_text(text: str, name: str) -> str | None:
    text = text.strip()
    if text in _NO_TEXT:
        return None
    if name == "icao24":
        return text.lower().removeprefix("0x")
    if name == "flight_id":  # pandas writes whole numbers as 101.0 where one is missing
        return re.sub(r"(?<=\d)\.0$", "", text)
    if name in ("origin", "destination"):
        return text.upper() if re.fullmatch(_AIRPORT, text.upper()) else None
    return text.upper() if name == "aircraft_type" else text


def _to_booleans(values: pd.Series) -> pd.Series:
    if values.dtype in (bool, "boolean"):
        return values.astype("boolean")
    texts = values.astype("str").str.strip().str.lower()
    return texts.map(_BOOLEANS).astype("boolean")
