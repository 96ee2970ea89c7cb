"""The flights of a city pair as Parquet, several in a row group."""

import functools
import hashlib
import json
import re
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trajlib.archive.flights import MEASURED, read_flights, run_in_blocks
from trajlib.archive.index import UNSAVED, dialect_of, record_findings
from trajlib.archive.reading import FlightError
from trajlib.archive.storage import (
    check_visible,
    exists,
    list_names,
    make_folder,
    open_file,
    remove,
    replacing,
    resolve,
)
from trajlib.schema import COLUMNS

_VERSION = "4"  # of the format of parts
_FINDINGS = ("rejected", "repairs")
_LOCATION = ("part", "row_group", "offset", "rows", *_FINDINGS)
_ROW_GROUP = 40_000  # samples of short flights; each flight on its own takes twice as long to read


def store_flights(selected: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """Write the selected flights as Parquet, unless they are already stored.

    Numbers are stored as float32, latitude and longitude as float64, which keeps the schema's
    decimals exactly. A part holds the flights of one block and is named after the paths, sizes and
    times of change of their files, so that only changed blocks are read again.

    Parameters
    ----------
    selected
        Rows of an index.
    folder
        Receives the parts and the table ``flights.parquet``; other parts in it are removed.

    Returns
    -------
    DataFrame
        The selected rows with the location of the flight (``part``, ``row_group``, and ``offset``,
        the samples before it), ``rows`` (number of samples) and ``store`` (the folder, not saved).
        ``rejected`` is the reason if the full read rejected the file; such a row has no part.
        ``repairs`` is as in the index.

    Raises
    ------
    ValueError
        When nothing is selected.
    OSError
        When the folder cannot be written to; also the errors of `map_flights` about the cluster.
    """
    if selected.empty:
        raise ValueError(f"no flights to store in {folder}, expected rows of an index")
    folder = resolve(folder)
    make_folder(folder)
    blocks = run_in_blocks(functools.partial(_store_block, folder), selected)
    tables = [pd.DataFrame(block, columns=_LOCATION) for block in blocks]
    locations = pd.concat(tables, ignore_index=True)
    locations = locations.astype(
        {"part": "str", "rows": "int64", "rejected": "str", "repairs": "str"}
    )
    unsaved = selected[[name for name in UNSAVED if name in selected]]
    rows = selected.drop(columns=[*_FINDINGS, *unsaved], errors="ignore").reset_index(drop=True)
    table = pd.concat([rows, locations], axis=1)
    findings = table.set_index("path")[[*_FINDINGS]].dropna(how="all")
    record_findings(selected, findings.to_dict("index"))
    with replacing(f"{folder}/flights.parquet") as temporary:
        table.to_parquet(temporary)
    _remove_parts(folder, set(table["part"]))
    unsaved = unsaved.reset_index(drop=True).assign(store=folder)
    return pd.concat([table, unsaved], axis=1)


def derived_path(folder: str | Path, name: str, key: str) -> Path:
    """Return the path beside a store of a table derived from it; the key identifies its input."""
    return Path(folder, f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet")


def save_derived(table: pd.DataFrame, path: Path) -> None:
    """Save a table at a `derived_path`, replacing older ones, if the folder can be written to."""
    try:
        for outdated in path.parent.glob(f"{path.name.partition('-')[0]}-*.parquet"):
            outdated.unlink(missing_ok=True)
        with replacing(path) as temporary:
            table.to_parquet(temporary)
    except OSError:  # it is then computed again the next time
        pass


def _remove_parts(folder: str, kept: set[str]) -> None:
    for name in list_names(folder):
        if re.fullmatch(r"part-\w+\.parquet", name) and name not in kept:
            remove(f"{folder}/{name}")


def _store_block(folder: str, block: pd.DataFrame) -> list[tuple]:
    check_visible(folder)
    name = _part_name(block)
    if exists(f"{folder}/{name}"):
        return _read_locations(f"{folder}/{name}")
    valid: list[pd.DataFrame] = []
    locations: list[tuple] = []
    group, offset = 0, 0
    for row, flight in read_flights(block):
        if isinstance(flight, FlightError):
            locations.append((None, None, None, 0, str(flight), None))
            continue
        if offset and offset + len(flight) > _ROW_GROUP:
            group, offset = group + 1, 0
        repairs = row["repairs"] if isinstance(row.get("repairs"), str) else None
        locations.append((name, group, offset, len(flight), None, repairs))
        offset += len(flight)
        valid.append(flight)
    _write_part(f"{folder}/{name}", valid, locations)
    return locations


def _part_name(block: pd.DataFrame) -> str:
    files = block[["path", "size", "mtime"]].to_json(orient="values")
    content = files + dialect_of(block).fingerprint() + _VERSION
    return f"part-{hashlib.sha256(content.encode()).hexdigest()[:16]}.parquet"


def _read_locations(part: str) -> list[tuple]:
    with open_file(part) as file:
        return [tuple(row) for row in json.loads(pq.read_schema(file).metadata[b"places"])]


def _write_part(path: str, flights: list[pd.DataFrame], locations: list[tuple]) -> None:
    fields = []
    for name in MEASURED:
        columns = [flight[name] for flight in flights if name in flight]
        if columns:
            # without missing values it is read one and a half times as fast if the schema says so
            nullable = len(columns) < len(flights) or any(column.hasnans for column in columns)
            fields.append(pa.field(name, _store_type(name), nullable))
    schema = pa.schema(fields, metadata={"places": json.dumps(locations)})
    encoding = {
        name: "DELTA_BINARY_PACKED" if name == "timestamp" else "BYTE_STREAM_SPLIT"
        for name in schema.names
    }
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, compression="lz4", use_dictionary=False, column_encoding=encoding
        ) as writer,
    ):
        groups = [group for part, group, *_ in locations if part]
        tables = (_to_arrow(flight, schema) for flight in flights)
        for _, numbered in groupby(zip(groups, tables, strict=True), key=itemgetter(0)):
            table = pa.concat_tables([table for _, table in numbered])
            writer.write_table(table, row_group_size=len(table))


def _store_type(name: str) -> pa.DataType:
    if COLUMNS[name].kind == "time":
        return pa.timestamp("ms", "UTC")
    return pa.float64() if name in ("latitude", "longitude") else pa.float32()


def _to_arrow(flight: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    arrays = [
        pa.array(flight[field.name], from_pandas=True).cast(field.type, safe=False)
        if field.name in flight
        else pa.nulls(len(flight), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
