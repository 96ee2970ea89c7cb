"""Predict aircraft trajectories from an archive too large for memory, too confidential for a cloud.

Write a function of one flight; `map_flights` runs it over all of them.
"""

from trajlib.archive.flights import map_flights, reduce_flights
from trajlib.archive.index import build_index, select_flights
from trajlib.archive.reading import read_flight
from trajlib.archive.store import store_flights
from trajlib.archive.study import Study, open_study
from trajlib.cluster import connect

__all__ = [
    "Study",
    "build_index",
    "connect",
    "map_flights",
    "open_study",
    "read_flight",
    "reduce_flights",
    "select_flights",
    "store_flights",
]
