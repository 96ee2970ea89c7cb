"""Tables of the traffic library: many flights per file, in aviation units."""

from trajlib.importers.formats.base import Format, Head
from trajlib.importers.formats.generic import read_points


def _recognize(head: Head) -> bool:
    points = head.has("timestamp", "latitude", "longitude", "altitude")
    return points and bool({"icao24", "callsign", "flight_id"} & {*head.columns})


FORMAT = Format(
    name="traffic",
    title="tables of the traffic library (Parquet, Feather, CSV, JSON)",
    needs="the table; pickles are refused, because they run code: save it as Parquet",
    recognize=_recognize,
    read=read_points,
    splittable=True,
)
