"""Tables that an import keeps in an archive, of the flights that it wrote and rejected."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from trajlib.archive.storage import exists, open_file


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
