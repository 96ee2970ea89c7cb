"""A study: one archive, one city pair, its flights, and the folder of results."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from distributed import Client

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.archive.index import build_index, default_index_path
from trajlib.archive.pairs import find_pair, select_flights
from trajlib.archive.plans import read_plans
from trajlib.archive.storage import format_location
from trajlib.archive.store import store_flights
from trajlib.cluster import connect
from trajlib.geodesy import find_airport


@dataclass(frozen=True, repr=False)
class Study:
    """One city pair of an archive, ready to be analysed.

    Attributes
    ----------
    archive
        Folder of the flight files, or ``s3://bucket/path``.
    origin, destination
        Airport codes, ICAO or IATA, as in the archive.
    client
        Client of the Dask cluster used by `map_flights`.
    index
        One row per file of the archive, see `trajlib.archive.index.build_index`.
    flights
        One row per flight of the pair, see `trajlib.archive.store.store_flights`. Pass it to
        `map_flights`.
    dialect
        The archive's ``columns.toml``: title, source, modelled columns.
    results
        Folder for tables and models of the pair.
    plans
        Filed flight plans of the archive, see `trajlib.archive.plans.read_plans`; None without
        any.
    """

    archive: str
    origin: str
    destination: str
    client: Client
    index: pd.DataFrame
    flights: pd.DataFrame
    dialect: Dialect
    results: Path
    plans: pd.DataFrame | None = None

    @property
    def usable(self) -> pd.DataFrame:
        """The flights that were not rejected."""
        return self.flights[self.flights["rejected"].isna()]

    @property
    def pair(self) -> str:
        """Origin and destination, as in ``LEMD-LEBL``."""
        return f"{self.origin}-{self.destination}"

    @property
    def store(self) -> Path:
        """Folder of the pair's Parquet files."""
        return Path(self.flights["store"].iloc[0])

    def __repr__(self) -> str:  # the default would contain names of flights
        return self._repr_markdown_().replace("**", "")

    def _repr_markdown_(self) -> str:
        starts = self.usable["start"].dt.tz_convert(find_airport(self.origin).timezone)
        flights = f"{len(self.usable):,} flights {self.origin} → {self.destination}"
        source = self.dialect.title or "the archive"
        if starts.empty:
            return f"**{flights}** can be used, from {source}"
        return f"**{flights}**, {starts.min():%d %B %Y} to {starts.max():%d %B %Y}, from {source}"


def open_study(
    archive: str | Path, origin: str, destination: str, *, data: str | Path = "data"
) -> Study:
    """Connect to the cluster, index the archive, and store the flights of one city pair.

    Results of earlier runs are reused; only new and changed files are read. In the notebooks of a
    report, its options ``--strict`` and ``--incomplete`` apply, which are passed in the environment
    variables ``TRAJLIB_STRICT`` and ``TRAJLIB_INCOMPLETE``.

    Parameters
    ----------
    archive
        Folder of flight files, or ``s3://bucket/path``.
    origin, destination
        Airport codes, ICAO or IATA, as in the archive.
    data
        Folder with ``interim/`` and ``processed/`` for computed files.

    Raises
    ------
    FileNotFoundError
        When the archive is not a folder, or is empty.
    ValueError
        When the archive has no usable flight of the pair.
    """
    data = Path(data)
    client = connect()
    name = Path(default_index_path(archive)).name
    strict, incomplete = (
        bool(os.environ.get(variable)) for variable in ("TRAJLIB_STRICT", "TRAJLIB_INCOMPLETE")
    )
    index = build_index(archive, data / "interim" / name, strict=strict)
    origin, destination = find_pair(index, origin, destination)
    pair = f"{origin}-{destination}"
    selected = select_flights(index, origin, destination, incomplete=incomplete)
    flights = store_flights(selected, data / "interim" / pair)
    results = data / "processed" / pair
    results.mkdir(parents=True, exist_ok=True)
    dialect = read_dialect(archive)
    plans = read_plans(archive)
    return Study(
        format_location(archive),
        origin,
        destination,
        client,
        index,
        flights,
        dialect,
        results,
        plans,
    )
