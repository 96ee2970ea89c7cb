"""The Data Challenges of EUROCONTROL's Performance Review Commission."""

from trajlib.importers.formats.base import Format, Head
from trajlib.importers.formats.generic import read_points


def _recognize(head: Head) -> bool:
    points = head.has("flight_id", "timestamp", "longitude", "latitude", "altitude")
    airspeeds = head.has("tas", "cas") or head.has("u_component_of_wind")
    return points and airspeeds and not head.has("callsign")


FORMAT = Format(
    name="prc",
    title="PRC Data Challenge (Parquet)",
    needs="the days of trajectories, and beside them the list of flights (adep, ades, ...)",
    recognize=_recognize,
    read=read_points,
    splittable=True,
)
