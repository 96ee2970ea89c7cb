"""Answers of the interfaces of AirLabs and aviationstack: metres, and kilometres per hour."""

from trajlib.importers.formats.base import Field, Format, same_names
from trajlib.importers.formats.tables import point_reader

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
