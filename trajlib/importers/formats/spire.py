"""Satellite ADS-B of Spire."""

from trajlib.importers.formats.base import Field, Format, same_names
from trajlib.importers.formats.tables import point_reader

_FIELDS = same_names("callsign", "latitude", "longitude", "vertical_rate") | {
    "icao24": Field("icao_address"),
    "registration": Field("tail_number"),
    "aircraft_type": Field("aircraft_type_icao"),
    "operator": Field("airline_icao", "airline_iata"),
    "origin": Field("departure_airport_icao", "departure_airport_iata"),
    "destination": Field("arrival_airport_icao", "arrival_airport_iata"),
    "timestamp": Field("time", "timestamp"),
    "altitude": Field("altitude_ft", "altitude_baro"),
    "groundspeed": Field("speed"),
    "track": Field("heading"),
    "onground": Field("on_ground"),
}


FORMAT = Format(
    name="spire",
    title="satellite ADS-B of Spire (CSV or Parquet)",
    needs="the table, any number of aircraft",
    attribution="Spire",
    recognize=lambda head: head.has("icao_address", "latitude", "longitude"),
    read=point_reader(_FIELDS),
    splittable=True,
)
