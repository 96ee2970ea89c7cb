"""Run a function over many flights of an archive or a store.

Work is divided into blocks of ``BLOCK`` flights, in the order of the table. The result of a block
depends on its flights only and blocks are joined in order, so results do not depend on the number
of workers, nor on lost workers.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, overload

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pandas.api.types import is_scalar

from trajlib.archive.dialect import read_dialect
from trajlib.archive.index import record_findings
from trajlib.archive.reading import FlightError, build_frame, read_repaired
from trajlib.archive.repairs import describe_repairs
from trajlib.archive.storage import check_visible, is_remote, open_file
from trajlib.cluster import run_blocks
from trajlib.schema import IDENTITY, NUMERIC

BLOCK = 32  # flights
MEASURED = ("timestamp", *NUMERIC)
_ROWS = (Mapping, pd.Series, pd.DataFrame)  # types that a function of a flight may return
# columns of an index or a store that workers need to read a flight; the others stay here
_NEEDED = (
    *("path", "archive", "strict", "store", "part", "row_group", "offset", "rows"),
    *("rejected", "repairs", *IDENTITY),
)
_READ_AT_ONCE = 1_500_000  # values of a store, 6 MB: fewer at once take longer


@overload
def map_flights(
    flights: pd.DataFrame, function: Callable, *, columns: Sequence[str] | None = None
) -> pd.DataFrame: ...


@overload
def map_flights(
    flights: pd.DataFrame,
    function: Mapping[str, Callable],
    *,
    columns: Sequence[str] | None = None,
) -> dict[str, pd.DataFrame]: ...


def map_flights(
    flights: pd.DataFrame,
    function: Callable | Mapping[str, Callable],
    *,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """Run a function of one flight over many, each read once, on the current Dask client.

    Parameters
    ----------
    flights
        Rows of an index (flights are read from their CSVs) or of a store (from Parquet).
    function
        Takes a flight: a DataFrame of ``columns``, numbers as float64, with the flight's identity
        and ``path`` in its ``attrs``. Returns a mapping (one row), a number (a column named after
        the function) or a DataFrame (several rows).
        A mapping of several functions reads the flights once, and gives one result per name.
    columns
        Names to read; columns missing in a flight are absent. Default: all numbers and the time.

    Returns
    -------
    DataFrame
        Indexed by ``path``, and by the index of the returned table if the function returned
        several rows. Files that are rejected have none; `trajlib.archive.index.read_rejections`
        gives the reasons.

    Raises
    ------
    RuntimeError
        When the function fails, or returns something else; the message names the flight.
    ValueError
        When a column is neither a number of the schema nor the time.
    TypeError
        When the flights are no rows of an index or a store.
    FileNotFoundError
        When a worker does not see the archive or the store.
    ConnectionError, MemoryError
        When the cluster is lost, or a flight needs more memory than a worker has.

    >>> import pandas as pd
    >>> map_flights(pd.DataFrame({"path": [], "archive": []}), len).empty
    True
    """
    _check_columns(columns)
    functions = function if isinstance(function, Mapping) else {"": function}
    blocks = _run(functools.partial(_map_block, functions, columns), flights)
    tables = {
        name: _join([by_name[name] for by_name in blocks], _name(each_function))
        for name, each_function in functions.items()
    }
    return tables if isinstance(function, Mapping) else tables[""]


def reduce_flights(
    flights: pd.DataFrame,
    function: Callable,
    merge: Callable,
    *,
    columns: Sequence[str] | None = None,
) -> Any:
    """Merge the results of a function of flights into one, holding two of them at a time.

    ``merge(left, right)`` joins two results. Flights, ``function``, ``columns`` and errors are as
    for `map_flights`. Returns None if no flight could be read.
    """
    _check_columns(columns)
    blocks = _run(functools.partial(_reduce_block, function, merge, columns), flights)
    partials = [partial for partial in blocks if partial is not None]
    return functools.reduce(merge, partials) if partials else None


def read_flights(
    flights: pd.DataFrame, *, columns: Sequence[str] | None = None
) -> Iterator[tuple[dict, pd.DataFrame | FlightError]]:
    """Yield each flight of a table in order, as `map_flights` passes it to its function.

    Yields the row as a dict, and the flight or the reason why it cannot be read.
    """
    _check_columns(columns)
    wanted = [name for name in MEASURED if columns is None or name in columns]
    read = _read_stored if "store" in flights else _read_files
    for folder in flights["store" if "store" in flights else "archive"].unique():
        check_visible(folder)
    names = [*flights]
    values = zip(*(flights[name].tolist() for name in names), strict=True)
    rows = [dict(zip(names, row, strict=True)) for row in values]
    for row, flight in read(rows, wanted):
        if isinstance(flight, pd.DataFrame):
            flight.attrs = {name: row.get(name) for name in ("path", *IDENTITY)}
        yield row, flight
        del flight  # so that the next one is read into the same memory, which is still in the cache


def _check_columns(columns: Sequence[str] | None) -> None:
    if isinstance(columns, str):
        raise ValueError(f"columns is a text, expected a list of names, as [{columns!r}]")
    unknown = [name for name in columns or () if name not in MEASURED]
    if unknown:
        raise ValueError(
            f"no such columns: {', '.join(unknown)}; there are {', '.join(MEASURED)} (who flew is "
            "in a flight's attrs)"
        )


def _read_files(
    rows: list[dict], wanted: list[str]
) -> Iterator[tuple[dict, pd.DataFrame | FlightError]]:
    archives = {row["archive"]: bool(row.get("strict")) for row in rows}
    dialects = {
        archive: replace(read_dialect(archive), strict=strict)
        for archive, strict in archives.items()
    }
    for row in rows:
        try:
            if isinstance(row.get("rejected"), str):
                raise FlightError(row["rejected"])
            path = f"{row['archive']}/{row['path']}"
            flight, repairs = read_repaired(path, wanted, dialect=dialects[row["archive"]])
        except FlightError as error:
            yield row, error
            continue
        if repairs:
            row["repairs"] = describe_repairs(repairs)
        yield row, flight
        del flight  # as in read_flights


def _read_stored(
    rows: list[dict], wanted: list[str]
) -> Iterator[tuple[dict, pd.DataFrame | FlightError]]:
    def part_of(row: dict) -> tuple[str, bool]:
        return f"{row['store']}/{row['part']}", isinstance(row.get("rejected"), str)

    for (part, rejected), group in groupby(rows, key=part_of):
        if rejected:
            yield from ((row, FlightError(row["rejected"])) for row in group)
            continue
        remote = is_remote(part)
        file = pq.ParquetFile(open_file(part) if remote else part, pre_buffer=remote)
        present = set(file.schema_arrow.names)  # computed at each access
        columns = [column for column in wanted if column in present]
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        for chunk in _cut(list(group), sizes, _READ_AT_ONCE // max(len(columns), 1)):
            yield from zip(chunk, _read_row_groups(file, sizes, columns, chunk), strict=True)


def _cut(rows: list[dict], sizes: list[int], limit: int) -> Iterator[list[dict]]:
    """Yield the rows of a store in lists whose row groups are read at once."""
    chunk: list[dict] = []
    samples, last = 0, None
    for row in rows:
        if row["row_group"] != last:
            size = sizes[int(row["row_group"])]
            if chunk and samples + size > limit:
                yield chunk
                chunk, samples = [], 0
            samples, last = samples + size, row["row_group"]
        chunk.append(row)
    yield chunk


def _read_row_groups(
    file: pq.ParquetFile, sizes: list[int], columns: list[str], rows: list[dict]
) -> Iterator[pd.DataFrame]:
    groups = list(dict.fromkeys(int(row["row_group"]) for row in rows))
    starts = dict(zip(groups, np.cumsum([0, *(sizes[i] for i in groups[:-1])]), strict=True))
    table = file.read_row_groups(groups, columns=columns, use_threads=False)
    numbers = {name: table[name].to_numpy() for name in columns if name != "timestamp"}
    stamps = table["timestamp"].to_numpy().view(np.int64) if "timestamp" in columns else None
    with_gaps = {name for name in numbers if table[name].null_count}
    for row in rows:
        start, count = starts[int(row["row_group"])] + int(row["offset"]), int(row["rows"])
        part = slice(start, start + count)
        filled = [n for n in numbers if n not in with_gaps or not np.isnan(numbers[n][part]).all()]
        values = np.empty((len(filled), count))
        for number, name in enumerate(filled):
            values[number] = numbers[name][part]
        df = build_frame(None if stamps is None else stamps[part], values, filled)
        del values  # as in read_flights
        yield df
        del df


def _run(function: Callable, flights: pd.DataFrame) -> list:
    """Return the results of a function for blocks, and record what was found in the files."""
    if not isinstance(flights, pd.DataFrame) or "path" not in flights:
        what = f"a {type(flights).__name__}"
        if isinstance(flights, pd.DataFrame):
            what += " without a column path"
        raise TypeError(
            f"the flights are {what}, expected rows of an index or a store, such as study.usable"
        )
    table = flights[[name for name in _NEEDED if name in flights]]
    # objects, from which a worker makes rows twenty times as fast
    table = table.astype({name: object for name in table.select_dtypes("str")})
    blocks = run_in_blocks(function, table)
    findings = {path: finding for _, by_path in blocks for path, finding in by_path.items()}
    record_findings(flights, findings)
    return [result for result, _ in blocks]


def run_in_blocks(function: Callable, flights: pd.DataFrame) -> list:
    """Run a function on each block of flights and return the results, see `cluster.run_blocks`."""
    return run_blocks(function, flights, BLOCK)


def _map_block(
    functions: Mapping[str, Callable], columns, block: pd.DataFrame
) -> tuple[dict, dict]:
    results: dict[str, list] = {name: [] for name in functions}
    findings: dict[str, dict] = {}
    for row, flight in _read_valid(block, columns, findings):
        for name, function in functions.items():
            results[name].append((row["path"], _describe(function, flight, row["path"])))
        del flight
    return {name: _pack(rows) for name, rows in results.items()}, findings


def _pack(results: list[tuple[str, Any]]) -> list[tuple[str, Any]] | pd.DataFrame:
    """Return rows of numbers as a table, which takes an eighth of the memory of objects."""
    rows = [row for _, row in results]
    if not all(isinstance(row, Mapping) and row for row in rows) or not rows:
        return results
    kinds = {type(value) for row in rows for value in row.values()}
    if not all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds):
        return results
    paths = [path for path, _ in results]
    names = [*rows[0]]
    if kinds == {float} and all([*row] == names for row in rows):  # much faster
        return pd.DataFrame(np.array([[*row.values()] for row in rows]), paths, names)
    return pd.DataFrame([dict(row) for row in rows], index=paths)


def _reduce_block(
    function: Callable, merge: Callable, columns, block: pd.DataFrame
) -> tuple[Any, dict]:
    partial: Any = None
    findings: dict = {}
    for row, flight in _read_valid(block, columns, findings):
        result = _call(function, flight, row["path"])
        partial = result if partial is None else merge(partial, result)
        del flight
    return partial, findings


def _read_valid(
    block: pd.DataFrame, columns, findings: dict[str, dict]
) -> Iterator[tuple[dict, pd.DataFrame]]:
    """Yield the flights that can be read; rejections and repairs are added to ``findings``."""
    for row, flight in read_flights(block, columns=columns):
        if isinstance(flight, FlightError):
            findings[row["path"]] = {"rejected": str(flight)}
            continue
        if isinstance(row.get("repairs"), str):
            findings[row["path"]] = {"repairs": row["repairs"]}
        yield row, flight
        del flight


def _call(function: Callable, flight: pd.DataFrame, path: str) -> Any:
    try:
        return function(flight)
    except Exception as error:
        raise RuntimeError(f"{_name(function)} failed on {path}: {error!r}") from error


def _describe(function: Callable, flight: pd.DataFrame, path: str) -> Any:
    """Return the result of a function for a flight, checking that it can form rows."""
    result = _call(function, flight, path)
    if result is None or not (is_scalar(result) or isinstance(result, _ROWS)):
        raise RuntimeError(
            f"{_name(function)} returned {type(result).__name__} for {path}, "
            "expected a mapping (one row), a number or text, or a DataFrame (several rows)"
        )
    return result


def _name(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _join(blocks: list[list[tuple[str, Any]] | pd.DataFrame], name: str) -> pd.DataFrame:
    blocks = [block for block in blocks if len(block)]
    if blocks and all(isinstance(block, pd.DataFrame) for block in blocks):
        return pd.concat(blocks).rename_axis("path")
    results = [result for block in blocks for result in _unpack(block)]
    paths = pd.Index([path for path, _ in results], name="path")
    rows = [{name: row} if is_scalar(row) else row for _, row in results]
    several = [isinstance(row, pd.DataFrame) for row in rows]
    if not any(several):
        return pd.DataFrame([dict(row) for row in rows], index=paths)
    if not all(several):
        other = paths[several.index(not several[0])]
        raise RuntimeError(f"{name} returned a DataFrame for one of {paths[0]}, {other} alone")
    return pd.concat(rows, keys=paths, names=["path"])


def _unpack(block: list[tuple[str, Any]] | pd.DataFrame) -> list[tuple[str, Any]]:
    if isinstance(block, pd.DataFrame):
        return list(zip(block.index, block.to_dict("records"), strict=True))
    return block
