"""Tables of flights with identities and airports, to be joined with the points."""

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import match_columns
from trajlib.importers.formats.base import Format, Head
from trajlib.importers.formats.generic import read_flights


def _recognize(head: Head) -> bool:
    fields = match_columns(head.names, Dialect()).fields
    route = "origin" in fields or "destination" in fields
    return "flight_id" in fields and route and not {"latitude", "position"} & {*fields}


FORMAT = Format(
    name="flights",
    title="lists of flights that go with points (PRC, EUROCONTROL, PRU, Flightradar24, ...)",
    needs="in the same folder, the points with the same flight_id",
    recognize=_recognize,
    read_identities=read_flights,
)
