"""The account of an import: numbers of rejected, incomplete and repaired flights."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from trajlib.archive.storage import exists, open_file

__all__ = [
    "ImportAccount",
    "count_import_repairs",
    "name_repair",
    "read_import_account",
    "read_import_table",
]


@dataclass(frozen=True)
class ImportAccount:
    """The account of an import; empty for an archive that was not imported.

    Attributes
    ----------
    rejected
        Numbers of flights that were not written, by reason.
    fragments
        Numbers of flights of which only the measured points were written, by reason.
    repaired
        Numbers of flights with a repair, by kind, as `name_repair` names it.
    """

    rejected: pd.Series
    fragments: pd.Series
    repaired: pd.Series


def read_import_account(archive: str | Path) -> ImportAccount:
    """Return the account that an import saved in ``imported.parquet`` and ``rejected.parquet``."""
    rejected = read_import_table(archive, "rejected", ["rejected"])
    imported = read_import_table(archive, "imported", ["why", "repairs"])
    return ImportAccount(
        rejected=rejected["rejected"].value_counts(),
        fragments=imported["why"].value_counts(),
        repaired=count_import_repairs(imported["repairs"]),
    )


def count_import_repairs(repairs: pd.Series) -> pd.Series:
    """Return the numbers of flights with a repair, by kind, of a column ``repairs``."""
    kinds = repairs.dropna().astype("str").str.split().explode().dropna()
    return kinds.map(name_repair).value_counts()


def name_repair(kind: str) -> str:
    """Return the name of a repair of an import for people, given that of its column.

    >>> name_repair("stale_position"), name_repair("spoofed")
    ('stale position', 'position on another track')
    """
    return "position on another track" if kind == "spoofed" else kind.replace("_", " ")


def read_import_table(archive: str | Path, name: str, columns: list[str]) -> pd.DataFrame:
    """Return columns of a table of an import; empty where the archive has none."""
    path = f"{archive}/{name}.parquet"
    if not exists(path):
        return pd.DataFrame(columns=columns, dtype="str")
    with open_file(path) as file:
        table = pq.ParquetFile(file).read(columns=columns)  # absent ones are left out
    return table.to_pandas().reindex(columns=columns)
