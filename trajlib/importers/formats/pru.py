"""Reference trajectories of EUROCONTROL's Performance Review Unit."""

from trajlib.importers.formats.base import Field, Format, Head
from trajlib.importers.formats.tables import point_reader

_FIELDS = {
    "flight_id": Field("flight_id"),
    "timestamp": Field("timestamp"),
    "latitude": Field("latitude"),
    "longitude": Field("longitude"),
    "altitude": Field("altitude"),
    "groundspeed": Field("speed_gnd"),
    "track": Field("track_gnd"),
    "vertical_rate": Field("vert_speed"),
}


def _recognize(head: Head) -> bool:
    return head.has("flight_id", "timestamp", "latitude", "longitude", "speed_gnd")


FORMAT = Format(
    name="pru",
    title="PRU reference trajectories (CSV)",
    needs="the table, and in the same folder the flights by flight_id where there are",
    recognize=_recognize,
    read=point_reader(_FIELDS),
)
