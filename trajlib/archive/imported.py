"""The account of an import: numbers of rejected, incomplete and repaired flights."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trajlib.archive.storage import exists, open_file

__all__ = ["ImportAccount", "name_repair", "read_import_account"]

_EMPTY = pd.Series(dtype="int64")


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

    rejected: pd.Series = field(default_factory=_EMPTY.copy)
    fragments: pd.Series = field(default_factory=_EMPTY.copy)
    repaired: pd.Series = field(default_factory=_EMPTY.copy)


def read_import_account(archive: str | Path) -> ImportAccount:
    """Return the account that an import saved in ``imported.parquet`` and ``rejected.parquet``."""
    rejected, imported = (_read(archive, name) for name in ("rejected", "imported"))
    if imported is None or rejected is None or "repairs" not in imported:
        reasons = _EMPTY if rejected is None else rejected["rejected"].value_counts()
        return ImportAccount(rejected=reasons)
    kinds = imported["repairs"].str.split(" ").explode().dropna()
    return ImportAccount(
        rejected=rejected["rejected"].value_counts(),
        fragments=imported["why"].value_counts(),
        repaired=kinds[kinds != ""].map(name_repair).value_counts(),
    )


def name_repair(kind: str) -> str:
    """Return the name of a repair of an import for people, given that of its column.

    >>> name_repair("stale_position"), name_repair("spoofed")
    ('stale position', 'position on another track')
    """
    return "position on another track" if kind == "spoofed" else kind.replace("_", " ")


def _read(archive: str | Path, name: str) -> pd.DataFrame | None:
    path = f"{archive}/{name}.parquet"
    if not exists(path):
        return None
    with open_file(path) as file:
        return pd.read_parquet(file)
