"""The account of a city pair: which of its flights are not used, and which were repaired."""

from pathlib import Path

import pandas as pd

from trajlib.archive.imported import count_import_repairs, read_import_table
from trajlib.archive.index import FRAGMENT, read_repairs
from trajlib.archive.repairs import REPAIRS

__all__ = ["count_repaired", "count_unused"]

_PAIR = ["origin", "destination"]
_FAR = "it begins or ends far from its airports"


def count_unused(
    index: pd.DataFrame, store: pd.DataFrame, archive: str | Path, pair: tuple[str, str]
) -> pd.Series:
    """Return the numbers of flights of a pair that are not used, by kind and reason.

    Parameters
    ----------
    index, store
        Index of the whole archive, and the flights of the pair.
    archive, pair
        Folder of the archive, and codes of both airports as in the index.

    Returns
    -------
    Series
        Indexed by ``kind`` (``fragment``, ``incomplete``, ``rejected``, ``rejected at the
        import``) and ``reason``, the most frequent reason of each kind first.
    """
    rows = _of_pair(index, pair)
    fragment = rows["rejected"].eq(FRAGMENT)
    why = read_import_table(archive, "imported", ["path", "why"]).set_index("path")["why"]
    imported = _of_pair(read_import_table(archive, "rejected", [*_PAIR, "rejected"]), pair)
    left_out = rows["rejected"].isna() & ~rows["path"].isin(store["path"])
    if "incomplete" in rows:
        left_out &= rows["incomplete"].notna()
    reasons = {
        "fragment": rows["path"].map(why).astype(object).fillna(rows["rejected"])[fragment],
        "incomplete": pd.Series(_FAR, rows.index[left_out]),
        "rejected": pd.concat([rows["rejected"][~fragment], store["rejected"]]),
        "rejected at the import": imported["rejected"],
    }
    counts = {kind: texts.value_counts() for kind, texts in reasons.items()}
    return pd.concat(counts, names=["kind", "reason"]).rename("flights").astype(int)


def count_repaired(flights: pd.DataFrame, archive: str | Path) -> pd.Series:
    """Return the numbers of flights with a repair, by ``where`` it was made and ``repair``.

    ``flights`` are the usable flights of the store.
    """
    imported = read_import_table(archive, "imported", ["path", "repairs"])
    repairs = imported.loc[imported["path"].isin(flights["path"]), "repairs"]
    counts = {
        "at the import": count_import_repairs(repairs),
        "when read": (read_repairs(flights) > 0).sum().rename(index=REPAIRS),
    }
    return pd.concat(counts, names=["where", "repair"]).rename("flights").astype(int)


def _of_pair(table: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return table[(table[_PAIR] == list(pair)).all(axis=1)]
