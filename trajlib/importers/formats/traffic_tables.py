"""Tables of the traffic library: many flights a file, in aviation units."""

from trajlib.importers.formats.base import Field, Format, Head
from trajlib.importers.formats.tables import point_reader

FIELDS = {
    "flight_id": Field("flight_id"),
    "icao24": Field("icao24"),
    "callsign": Field("callsign"),
    "registration": Field("registration"),
    "aircraft_type": Field("typecode", "aircraft_type"),
    "operator": Field("operator"),
    "origin": Field("origin", "estdepartureairport"),
    "destination": Field("destination", "estarrivalairport"),
    "timestamp": Field("timestamp"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "geoaltitude": Field("geoaltitude"),
    "groundspeed": Field("groundspeed"),
    "track": Field("track"),
    "heading": Field("heading"),
    "vertical_rate": Field("vertical_rate"),
    "roll": Field("roll"),
    "true_airspeed": Field("tas", "true_airspeed"),
    "calibrated_airspeed": Field("cas", "ias", "calibrated_airspeed"),
    "mach": Field("mach"),
    "onground": Field("onground"),
    "position_time": Field("last_position", "lastposupdate"),
}


def _recognize(head: Head) -> bool:
    return head.has("timestamp", "latitude", "longitude", "altitude") and bool(
        {"icao24", "callsign", "flight_id"} & set(head.columns)
    )


FORMAT = Format(
    name="traffic",
    title="tables of the traffic library (Parquet, Feather, CSV, JSON)",
    needs="the table; pickles are refused, because they run code: save it as Parquet",
    recognize=_recognize,
    read=point_reader(FIELDS),
    splittable=True,
)
