"""Predict aircraft trajectories from an archive too large for memory, too confidential for a cloud.

Write a function of one flight; `map_flights` runs it over all of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajlib.archive.flights import map_flights, reduce_flights
    from trajlib.archive.index import build_index
    from trajlib.archive.pairs import select_flights
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

# Dask, numba and pandas take a second to import; each name is imported when it is first used.
_MODULES = {
    "Study": "archive.study",
    "build_index": "archive.index",
    "connect": "cluster",
    "map_flights": "archive.flights",
    "open_study": "archive.study",
    "read_flight": "archive.reading",
    "reduce_flights": "archive.flights",
    "select_flights": "archive.pairs",
    "store_flights": "archive.store",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'trajlib' has no attribute {name!r}")
    return getattr(import_module(f"trajlib.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
