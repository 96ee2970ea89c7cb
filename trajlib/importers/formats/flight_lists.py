"""Tables with one row a flight: who flew from where to where, to be joined with the points."""

from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Field, Format, Head, Options, convert_flights, find_texts
from trajlib.importers.formats.tables import read_table

FIELDS = {
    "flight_id": Field("flight_id", "ectrl id"),
    "icao24": Field("icao24", "address", "aircraft_address"),
    "callsign": Field("callsign"),
    "registration": Field("registration", "reg", "aircraft_reg", "tail_number", "ac registration"),
    "aircraft_type": Field("aircraft_type", "typecode", "equip", "model", "ac type"),
    "operator": Field("operator", "airline", "ac operator"),
    "origin": Field("origin", "adep", "schd_from", "origin_icao"),
    # a flight that was diverted ended at real_to
    "destination": Field("destination", "ades", "real_to", "schd_to", "destination_icao"),
}
_WANTED = {name for field in FIELDS.values() for name in field.names} | {"aircraft_id"}
_AIRPORTS = {*FIELDS["origin"].names, *FIELDS["destination"].names}


def _recognize(head: Head) -> bool:
    columns = set(head.columns)
    identified = bool(columns & {*FIELDS["flight_id"].names} and columns & _AIRPORTS)
    return identified and not columns & {"latitude", "lat", "position"}


def _read_identities(path: Path, options: Options) -> pd.DataFrame:
    tables = []
    for batch in read_table(path, _WANTED, texts=find_texts(FIELDS)):
        if {"aircraft_id", "equip"} <= set(batch):  # the address as a decimal number
            numbers = pd.to_numeric(batch["aircraft_id"], errors="coerce")
            batch["icao24"] = numbers.map("{:06x}".format, na_action="ignore")
        tables.append(convert_flights(batch, FIELDS))
    return pd.concat(tables).drop_duplicates("flight_id", ignore_index=True)


FORMAT = Format(
    name="flights",
    title="lists of flights that go with points (PRC, EUROCONTROL, PRU, Flightradar24, ...)",
    needs="in the same folder, the points with the same flight_id",
    recognize=_recognize,
    read=None,
    read_identities=_read_identities,
)
