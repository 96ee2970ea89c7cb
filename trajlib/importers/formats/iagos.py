"""Flights of the research infrastructure IAGOS, which measures pressure."""

import numpy as np
import pandas as pd

from trajlib.importers.formats.base import Format
from trajlib.importers.formats.fields import Field, same_names
from trajlib.importers.formats.tables import point_reader

_NAMES = ("flight_id", "latitude", "longitude", "pressure", "relative_humidity")
_FIELDS = same_names(*_NAMES, true_airspeed="m/s") | {
    "timestamp": Field("time"),
    "altitude": Field("pressure_altitude", "altitude_ft"),
    "temperature": Field("temperature", "air_temperature"),
}


def _prepare(batch: pd.DataFrame) -> pd.DataFrame:
    pressure = pd.to_numeric(batch["pressure"], errors="coerce")
    return batch.assign(pressure_altitude=pressure_altitude(pressure))


def pressure_altitude(pressure: pd.Series) -> pd.Series:
    """Return the altitude [ft] at which the standard atmosphere has a pressure [Pa].

    >>> pressure_altitude(pd.Series([101325.0, 23842.0])).round().tolist()
    [0.0, 35000.0]
    """
    below = 44330.77 * (1 - (pressure / 101325) ** 0.1902632)
    above = 11000 + 6341.62 * np.log(22632.06 / pressure)
    return below.where(pressure > 22632.06, above) / 0.3048


FORMAT = Format(
    name="iagos",
    title="IAGOS flights (CSV or Parquet)",
    needs="the table by flight_id; the altitude is that of the pressure [Pa]",
    attribution="IAGOS (iagos.org)",
    recognize=lambda head: head.has(
        "flight_id", "longitude", "latitude", "pressure", "altitude_ft", "time"
    ),
    read=point_reader(_FIELDS, _prepare),
)
