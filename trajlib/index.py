"""An archive's index: one row a file, brought up to date by size and time of change."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.archive import read_ends, replacing
from trajlib.schema import IDENTITY

__all__ = ["build_index", "select_flights"]

_FILE = {"path": "str", "size": "int64", "mtime": "int64"}
_POSITIONS = ("latitude_first", "longitude_first", "latitude_last", "longitude_last")
_FACTS = (*IDENTITY, "start", "end", *_POSITIONS, "problem")


def build_index(archive: str | Path, output: str | Path | None = None) -> pd.DataFrame:
    """Return the index of an archive, reading only files that are new or changed.

    Parameters
    ----------
    archive
        Folder of flight CSVs (``.csv``, ``.csv.gz``), in any sub-folders.
    output
        Parquet file that keeps the index. By default ``NAME.index.parquet`` beside the archive
        ``NAME``, or in the folder ``interim`` beside ``raw`` when the archive stands in ``raw``.

    Returns
    -------
    DataFrame
        One row a file, in the order of ``path``, which is relative to the archive: ``size``
        [bytes], ``mtime`` [ns], the identity of the flight, ``start`` and ``end`` (UTC), first
        and last position [deg], ``problem`` (the reason that the file is set aside, or null)
        and ``archive``, the folder as an absolute path, which is never saved.

    Raises
    ------
    FileNotFoundError
        When the archive is not a folder, or holds no CSV.
    """
    archive = Path(archive)
    output = Path(output) if output else default_index_path(archive)
    files = list_files(archive)
    old = _read_index(output)
    index = (
        old if old is not None and files.equals(old[list(_FILE)]) else _update(archive, files, old)
    )
    if index is not old:
        with replacing(output) as temporary:
            index.to_parquet(temporary)
    return index.assign(archive=str(archive.resolve()))


def default_index_path(archive: str | Path) -> Path:
    """Return where the index of an archive is kept unless another place is asked for.

    >>> default_index_path("data/raw/sample").as_posix()
    'data/interim/sample.index.parquet'
    """
    archive = Path(archive)
    raw = archive.parent
    folder = raw.parent / "interim" if raw.name == "raw" else raw
    return folder / f"{archive.name}.index.parquet"


def select_flights(index: pd.DataFrame, origin: str, destination: str) -> pd.DataFrame:
    """Return the usable rows of one city pair, in the order of ``path``.

    Raises
    ------
    ValueError
        When the archive holds no usable flight of the pair; the nearest pairs are named.
    """
    usable = index[index["problem"].isna()]
    rows = usable[(usable["origin"] == origin) & (usable["destination"] == destination)]
    if rows.empty:
        raise ValueError(
            f"no usable flight {origin} → {destination} among {len(index):,} files; "
            f"the nearest pairs there are: {', '.join(_nearest_pairs(usable, origin, destination))}"
        )
    return rows.sort_values("path", ignore_index=True)


def list_files(archive: str | Path) -> pd.DataFrame:
    """Return path, size [bytes] and mtime [ns] of every CSV below a folder, ordered by path.

    Links are followed, each folder once; a broken link is listed with size -1.
    """
    archive = Path(archive)
    if not archive.is_dir():
        raise FileNotFoundError(f"no archive at {archive}: expected a folder of flight CSVs")
    rows = sorted(_walk(str(archive), "", set()))
    if not rows:
        raise FileNotFoundError(f"the archive {archive} is empty: no .csv or .csv.gz in it")
    return pd.DataFrame(rows, columns=list(_FILE)).astype(_FILE)


def _walk(folder: str, prefix: str, seen: set) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:
                if entry.name.endswith((".csv", ".csv.gz")):
                    yield prefix + entry.name, -1, 0
                continue
            if entry.is_dir():
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", seen)
            elif entry.name.endswith((".csv", ".csv.gz")):
                yield prefix + entry.name, status.st_size, status.st_mtime_ns


def _read_index(path: Path) -> pd.DataFrame | None:
    return pd.read_parquet(path) if path.exists() else None


def _update(archive: Path, files: pd.DataFrame, old: pd.DataFrame | None) -> pd.DataFrame:
    if old is None:
        return pd.concat([files, _read_facts(archive, files)], axis=1)
    merged = files.merge(old, how="left", on=list(_FILE), indicator=True)
    fresh = merged["_merge"] == "left_only"
    facts = _read_facts(archive, files[fresh.to_numpy()])
    new = pd.concat([files[fresh.to_numpy()].reset_index(drop=True), facts], axis=1)
    kept = merged[~fresh].drop(columns="_merge")
    return pd.concat([kept, new]).sort_values("path", ignore_index=True)


def _read_facts(archive: Path, files: pd.DataFrame) -> pd.DataFrame:
    root = str(archive)
    rows = [
        read_ends(f"{root}/{path}", size)
        for path, size in zip(files["path"], files["size"], strict=True)
    ]
    facts = pd.DataFrame(rows, columns=_FACTS, dtype="str")
    for name in ("start", "end"):
        facts[name] = pd.to_datetime(
            facts[name], format="ISO8601", utc=True, errors="coerce"
        ).astype("datetime64[ms, UTC]")
    for name in _POSITIONS:
        facts[name] = pd.to_numeric(facts[name], errors="coerce")
    return facts.assign(problem=_first_problem(facts))


def _first_problem(facts: pd.DataFrame) -> pd.Series:
    tests = {
        "timestamp of the first or last sample is not a time": facts[["start", "end"]]
        .isna()
        .any(axis=1),
        "time does not grow from the first to the last sample": facts["end"] <= facts["start"],
        "first or last position is missing": facts[list(_POSITIONS)].isna().any(axis=1),
        "first or last position is not on the Earth": _off_earth(facts),
    }
    reason = facts["problem"]
    for text, failed in tests.items():
        reason = reason.mask(reason.isna() & failed, text)
    return reason


def _off_earth(facts: pd.DataFrame) -> np.ndarray:
    positions = facts[list(_POSITIONS)].to_numpy()
    return (np.abs(positions) > [90, 180, 90, 180]).any(axis=1)


def _nearest_pairs(index: pd.DataFrame, origin: str, destination: str) -> list[str]:
    counts = index.groupby(["origin", "destination"]).size().sort_values(ascending=False)
    names = {f"{o} → {d}": f"{o} → {d} ({n})" for (o, d), n in counts.items()}
    close = difflib.get_close_matches(f"{origin} → {destination}", names, n=3, cutoff=0.3)
    return [names[name] for name in close or list(names)[:3]] or ["none"]
