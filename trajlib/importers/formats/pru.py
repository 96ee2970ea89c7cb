"""Reference trajectories of EUROCONTROL's Performance Review Unit."""

from trajlib.importers.formats.base import Format, Head
from trajlib.importers.formats.generic import read_points


def _recognize(head: Head) -> bool:
    return head.has("flight_id", "timestamp", "latitude", "longitude", "speed_gnd")


FORMAT = Format(
    name="pru",
    title="PRU reference trajectories (CSV)",
    needs="the table, and in the same folder the flights by flight_id where there are",
    recognize=_recognize,
    read=read_points,
)
