"""The Data Challenges of EUROCONTROL's Performance Review Commission."""

from trajlib.importers.formats.base import Field, Format, Head
from trajlib.importers.formats.tables import point_reader
from trajlib.importers.formats.traffic_tables import FIELDS

_FIELDS = FIELDS | {
    "temperature": Field("temperature"),
    "wind_u": Field("u_component_of_wind", unit="m/s"),
    "wind_v": Field("v_component_of_wind", unit="m/s"),
}


def _recognize(head: Head) -> bool:
    points = head.has("flight_id", "timestamp", "longitude", "latitude", "altitude")
    airspeeds = head.has("tas", "cas") or head.has("u_component_of_wind")
    return points and airspeeds and not head.has("callsign")


FORMAT = Format(
    name="prc",
    title="PRC Data Challenge (Parquet)",
    needs="the days of trajectories, and beside them the list of flights (adep, ades, ...)",
    recognize=_recognize,
    read=point_reader(_FIELDS),
    splittable=True,
)
