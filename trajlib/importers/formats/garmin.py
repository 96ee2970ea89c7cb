"""Logs of the Garmin G1000 and its relatives: one power cycle of the avionics per file."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, FormatError, Options
from trajlib.importers.formats.fields import Field, convert_points, find_wind, same_names
from trajlib.importers.formats.tables import name_flight, read_table

_NAMES = ("flight_id", "timestamp", "latitude", "longitude", "pitch", "roll", "wind_u", "wind_v")
_FIELDS = same_names(*_NAMES) | {
    "altitude": Field("altp", "pressure_altitude"),
    "geoaltitude": Field("altgps", "altmsl"),
    "groundspeed": Field("gndspd"),
    "true_airspeed": Field("tas"),
    "calibrated_airspeed": Field("ias"),
    "vertical_rate": Field("vspd"),
    "temperature": Field("oat", unit="degC"),
}
_CLOCK = ("lcl date", "lcl time", "utcofst")
_OTHERS = ("altb", "altind", "baroa", "baro", "wndspd", "wnddr")
_STANDARD = 29.92126  # inHg


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    wanted = {name for field in _FIELDS.values() for name in field.names}
    flight = name_flight(path, options)
    for batch in read_table(path, {*wanted, *_CLOCK, *_OTHERS}):
        texts = batch.astype("str").apply(lambda column: column.str.strip())
        local = texts["lcl date"] + "T" + texts["lcl time"].str.split().str[-1]
        stamps = local + texts["utcofst"].where(texts["utcofst"].str.match(r"[+-]\d\d:\d\d"))
        numbers = texts.reindex(columns=_OTHERS).apply(pd.to_numeric, errors="coerce")
        written = local[texts["lcl date"].str.contains(r"\d", na=False)]
        if len(written) and not written.str.match(r"\d{4}-\d\d-\d\dT\d").any():
            raise FormatError(
                f"Lcl Date and Lcl Time are {written.iloc[0]!r}, expected 2016-01-31T06:15:00: "
                "take the log as the avionics wrote it, not as a spreadsheet saved it"
            )
        setting = numbers["baroa"].fillna(numbers["baro"])
        indicated = numbers["altb"].fillna(numbers["altind"])
        batch = texts.assign(
            flight_id=flight,
            timestamp=pd.to_datetime(stamps, format="ISO8601", utc=True, errors="coerce"),
            # AltB is the altimeter reading for the pressure setting BaroA
            pressure_altitude=indicated + _altitude_of(setting),
            **find_wind(numbers["wndspd"], numbers["wnddr"]),
        )
        yield convert_points(batch, _FIELDS)


def _altitude_of(setting: pd.Series) -> pd.Series:
    """Return the altitude [ft] at which the standard atmosphere has this pressure [inHg]."""
    return 145366.45 * (1 - (setting / _STANDARD) ** 0.190284)


FORMAT = Format(
    name="garmin",
    title="Garmin G1000 and relatives (CSV)",
    needs="the logs as the avionics write them; one log is one flight, airports are inferred",
    recognize=lambda head: head.has(*_CLOCK, "latitude", "longitude"),
    read=_read,
)
