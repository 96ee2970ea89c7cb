"""Base of all formats: their definition, and the options and beginning of a file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect
from trajlib.archive.layout import FlightError

_DEFAULT = Dialect()
FormatError = FlightError  # a file cannot be read; the message is the reason


@dataclass(frozen=True)
class Options:
    """Options for reading a file."""

    dialect: Dialect = _DEFAULT  # the source's columns.toml, for the generic format
    kind: str = "flight"  # for flown trajectories, ``plan`` for filed ones
    root: Path | None = None  # of the source; a file with one flight is named by its path below it
    wanted: set[str] | None = None  # ids of the only flights that are used; others may be skipped


@dataclass(frozen=True)
class Head:
    """The beginning of a file, used to recognise its format."""

    path: Path
    data: bytes  # the first 64 KiB, decompressed
    kind: str  # ``columnar`` (Parquet or Feather), ``json`` or ``text``
    names: tuple[str, ...] = ()  # of the columns as written; empty without a header
    delimiter: str = ","
    skip: int = 0  # lines before the header: comments, and the ``sep=;`` of a spreadsheet
    decimal: str = "."
    keys: tuple[str, ...] = ()  # of all objects at the beginning of a JSON

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns in lower case; repeated and empty names are numbered."""
        return tuple(number_repeats([name.strip().lower() for name in self.names]))

    @property
    def lines(self) -> list[str]:
        """The first lines of a text."""
        return self.data.decode("utf-8", errors="replace").splitlines()

    def has(self, *columns: str) -> bool:
        """Return whether all of these columns, or keys of a JSON, are present."""
        return set(columns) <= {*self.columns, *(key.lower() for key in self.keys)}


@dataclass(frozen=True)
class Format:
    """A file format of flights."""

    name: str  # the value of ``--format``
    title: str
    needs: str  # what a user has to provide, for ``--formats``
    recognize: Callable[[Head], bool]  # whether a file with this beginning has the format
    # yields batches of points in the schema's units, none if a table has only identities
    read: Callable[[Path, Options], Iterator[pd.DataFrame]] = lambda path, options: iter(())
    # returns a table with one row per flight, to be joined with the points by ``flight_id``
    read_identities: Callable[[Path, Options], pd.DataFrame] | None = None
    splittable: bool = False  # whether a flight may continue in another file
    attribution: str = ""  # publisher, with the attribution that it asks for, and the licence
    spacing: float = 0.0  # between points [s]; closer ones come from two radars that disagree


def number_repeats(names: Sequence[str]) -> list[str]:
    """Return the names, with numbers added to repeated and empty ones."""
    seen: set[str] = set()
    result = []
    for number, name in enumerate(names):
        result.append(name if name and name not in seen else f"{name} #{number}")
        seen.add(name)
    return result
