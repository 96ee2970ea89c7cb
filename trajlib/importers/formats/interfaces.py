"""Answers of the interfaces of AirLabs, aviationstack, Spire and FlightAware."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.importers.formats.base import Format, Options
from trajlib.importers.formats.fields import Field, same_names
from trajlib.importers.formats.tables import name_flight, point_reader

_AIRLABS = {
    "icao24": Field("hex"),
    "callsign": Field("flight_icao"),
    "registration": Field("reg_number"),
    "aircraft_type": Field("aircraft_icao"),
    "operator": Field("airline_icao"),
    "origin": Field("dep_icao", "dep_iata"),
    "destination": Field("arr_icao", "arr_iata"),
    "timestamp": Field("updated"),
    "latitude": Field("lat"),
    "longitude": Field("lng"),
    "altitude": Field("alt", unit="m"),
    "groundspeed": Field("speed", unit="km/h"),
    "track": Field("dir"),
}
_NAMES = ("icao24", "registration", "latitude", "longitude")
_AVIATIONSTACK = same_names(*_NAMES, altitude="m") | {
    "callsign": Field("callsign", "flight.icao"),
    "aircraft_type": Field("aircraft.icao"),
    "operator": Field("airline.icao"),
    "origin": Field("departure.icao"),
    "destination": Field("arrival.icao"),
    "timestamp": Field("live.updated"),
    "groundspeed": Field("live.speed_horizontal", unit="km/h"),
    "track": Field("direction"),
    "onground": Field("live.is_ground"),
}
_SPIRE = same_names("callsign", "latitude", "longitude", "vertical_rate") | {
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
_TRACK_NAMES = ("timestamp", "latitude", "longitude", "groundspeed")
_TRACK = same_names(*_TRACK_NAMES, altitude="100 ft") | {
    "flight_id": Field("fa_flight_id"),
    "callsign": Field("ident"),
    "track": Field("heading"),
}


def _read_track(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    def identify(batch: pd.DataFrame) -> pd.DataFrame:
        ids = batch["fa_flight_id"].astype("str").where(batch["fa_flight_id"].notna())
        ident = ids.str.extract(r"^([A-Z]{2,3}\d\w*)-")[0]
        return batch.assign(fa_flight_id=ids.fillna(name_flight(path, options)), ident=ident)

    yield from point_reader(_TRACK, identify)(path, options)


AIRLABS = Format(
    name="airlabs",
    title="flights of AirLabs (JSON)",
    needs="answers of its interface, several a flight",
    attribution="AirLabs",
    recognize=lambda head: (
        head.kind == "json" and head.has("response", "lat", "lng", "alt", "v_speed", "updated")
    ),
    read=point_reader(_AIRLABS),
    splittable=True,
)
AVIATIONSTACK = Format(
    name="aviationstack",
    title="live flights of aviationstack (JSON)",
    needs="answers of its interface, several a flight",
    attribution="aviationstack",
    recognize=lambda head: (
        head.kind == "json" and head.has("data", "live", "speed_horizontal", "updated")
    ),
    read=point_reader(_AVIATIONSTACK),
    splittable=True,
)
SPIRE = Format(
    name="spire",
    title="satellite ADS-B of Spire (CSV or Parquet)",
    needs="the table, any number of aircraft",
    attribution="Spire",
    recognize=lambda head: head.has("icao_address", "latitude", "longitude"),
    read=point_reader(_SPIRE),
    splittable=True,
)
FLIGHTAWARE = Format(
    name="flightaware",
    title="FlightAware, tracks of AeroAPI (JSON or CSV)",
    needs="one file a flight; airports are inferred",
    attribution="FlightAware",
    recognize=lambda head: head.has(
        "fa_flight_id", "timestamp", "latitude", "longitude", "altitude", "groundspeed"
    ),
    read=_read_track,
)
