"""The account of an archive: how many flights are not used or were repaired, and why."""

import pandas as pd

from trajlib.archive.imported import name_repair, read_import_table
from trajlib.archive.index import read_rejections, read_repairs
from trajlib.archive.repairs import REPAIRS

_PAIR = ["origin", "destination"]
_FAR = "it begins or ends far from its airports"


def count_flights(index: pd.DataFrame, store: pd.DataFrame | None = None) -> dict[str, pd.Series]:
    """Return the numbers of flights that are not used, and of repaired ones, by reason.

    Parameters
    ----------
    index
        Index of the whole archive.
    store
        Flights of a city pair. With it, flights of this pair alone are counted, and of the
        flights repaired at the import those that are used.

    Returns
    -------
    dict
        Numbers of flights by reason, the most frequent first, of each kind: ``fragment`` (with
        the reason of the import, if there is one), ``incomplete``, ``rejected``, ``rejected at
        the import``, ``repaired at the import`` and ``repaired when read``. A flight may have
        several repairs.
    """
    archive = index["archive"].iloc[0]
    imported = read_import_table(archive, "imported", ["path", "why", "repairs"])
    imported = imported.astype("str").drop_duplicates("path").set_index("path")
    lost = read_import_table(archive, "rejected", [*_PAIR, "rejected"])
    if store is None:
        rejected = read_rejections(index)["rejected"]
        usable = index[index["rejected"].isna()]
        left_out = usable[usable["incomplete"].notna()]
        repairs = imported["repairs"]
    else:
        pair = store[_PAIR].iloc[0]
        index, lost = (table[(table[_PAIR] == pair).all(axis=1)] for table in (index, lost))
        rejected = pd.concat([t.set_index("path")["rejected"] for t in (index, store)]).dropna()
        usable = store[store["rejected"].isna()]
        left_out = index[index["rejected"].isna() & index["incomplete"].notna()]
        left_out = left_out[~left_out["path"].isin(store["path"])]
        repairs = imported.loc[imported.index.isin(usable["path"]), "repairs"]
    is_fragment = rejected.index.isin(index.loc[index["fragment"], "path"])
    fragments = rejected[is_fragment]
    why = fragments.index.to_series().map(imported["why"])
    kinds = repairs.dropna().str.split().explode().dropna()
    repaired = (read_repairs(usable) > 0).sum().astype(int).rename(index=REPAIRS)
    return {
        "fragment": fragments.mask(why.notna(), why).value_counts(),
        "incomplete": pd.Series(_FAR, left_out.index).value_counts(),
        "rejected": rejected[~is_fragment].value_counts(),
        "rejected at the import": lost["rejected"].value_counts(),
        "repaired at the import": kinds.map(name_repair).value_counts(),
        "repaired when read": repaired.sort_values(ascending=False, kind="stable"),
    }
