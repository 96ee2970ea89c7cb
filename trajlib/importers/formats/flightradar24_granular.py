"""Flightradar24's granular data: every message, with what the aircraft reported at the end."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.importers.formats.base import Field, Format, Options, convert_points
from trajlib.importers.formats.tables import read_head, read_texts

_FIELDS = {
    "icao24": Field("hex"),
    "callsign": Field("callsign"),
    "timestamp": Field("timestamp"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "geoaltitude": Field("GPSA"),
    "groundspeed": Field("speed"),
    "track": Field("track"),
    "vertical_rate": Field("vspeed"),
    "true_airspeed": Field("TAS"),
    "calibrated_airspeed": Field("IAS"),
    "mach": Field("MACH"),
    "heading": Field("HDG"),
    "roll": Field("ROLL"),
    "temperature": Field("OAT", unit="degC"),
    "onground": Field("onground"),
}
_REPORTED = ("GPSA", "TAS", "IAS", "HDG", "ROLL", "OAT")


def _read(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    names = [name for name in read_head(path).columns if name]
    for text in read_texts(path):
        lines = pd.Series(text.splitlines())
        lines = lines[lines.str.startswith(("1", "2"))].reset_index(drop=True)
        fields = lines.str.split(",", n=len(names), expand=True).iloc[:, : len(names)]
        batch = fields.set_axis(names[: fields.shape[1]], axis=1).reindex(columns=names)
        for name in _REPORTED:
            batch[name] = lines.str.extract(rf",{name}:(-?[\d.]+)")[0]
        batch["MACH"] = lines.str.extract(r",MACH:(0?\.\d+|1\.\d+)")[0]  # also given in 1/1000
        moment = batch["network_time"].str.extract(r"(.*)Z(\.\d+)?")
        batch["timestamp"] = moment[0] + moment[1].fillna("")
        batch["onground"] = batch["on_ground"].map({"A": False, "G": True, "0": False, "1": True})
        batch["latitude"] = batch["latitude"].where(batch["no_position"] != "N", np.nan)
        yield convert_points(batch, _FIELDS)


FORMAT = Format(
    name="flightradar24-granular",
    title="Flightradar24, granular data (CSV)",
    needs="the CSV; airports are inferred",
    attribution="Flightradar24",
    recognize=lambda head: head.has(
        "network_time", "receiver_time", "hex", "latitude", "longitude"
    ),
    read=_read,
)
