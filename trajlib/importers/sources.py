"""The files of a source: which there are, their formats, and why some cannot be read."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.cluster import run_tasks
from trajlib.importers.formats import (
    FormatError,
    draft_columns,
    find_format,
    read_head,
    recognize_format,
)
from trajlib.importers.formats.packed import PACKED, unpack_archive

__all__ = [
    "FILES",
    "describe_error",
    "describe_formats",
    "describe_refused",
    "describe_unreadable",
    "find_root",
    "list_members",
    "open_archives",
    "recognize_sources",
]

FILES = 500  # files of one task
_ABOUT = re.compile(
    r"(?i)^(licen[cs]e|readme|\.|_)|(^columns\.toml$)|\.(md|toml|pdf|html?|png|jpe?g|gif|svg)$"
)
_LISTED = 10  # reasons and files of which each has a line
_HELP = (
    "Write a columns.toml beside the files, as this one with names for the question marks; the "
    'page docs/your-own-flights.md of the documentation explains it under "Any other table":'
)


def list_members(source: Path) -> list[Path]:
    """Return the files of a source, without hidden ones, licences and documents."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"no such file or folder: {source}")
    members = []
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        if path.is_file() and not hidden and not _ABOUT.search(path.name):
            members.append(path)
    return members


def recognize_sources(source: str | Path, format: str | None = None) -> pd.DataFrame:
    """Return the format of each file of a source.

    Returns
    -------
    DataFrame
        ``file``, relative to the source, ``format``, and ``refused``, the reason if the file
        cannot be read.
    """
    source = Path(source).resolve()
    root = find_root(source)
    names = [path.relative_to(root).as_posix() for path in list_members(source)]
    if not names:
        raise FileNotFoundError(f"no files in {source}")
    batches = [names[start : start + FILES] for start in range(0, len(names), FILES)]
    tables = run_tasks(partial(_recognize_files, root, read_dialect(root), format), batches)
    return pd.concat(tables, ignore_index=True)


@contextmanager
def open_archives(
    source: Path, folder: Path, format: str | None = None
) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Unpack the archives of several files in a source for as long as they are read.

    Parameters
    ----------
    source
        A file or a folder.
    folder
        For the unpacked files, with links to the others; it is removed at the end.
    format
        Name of the format of all files; recognised by their content by default.

    Yields
    ------
    Path, DataFrame
        Where to read the source, and the format of each of its files, as of `recognize_sources`.
        An archive is a folder in it; a source that is one archive is that folder itself.
    """
    sources = recognize_sources(source, format)
    root = find_root(source)
    packed = set(sources.loc[sources["refused"].str.startswith(PACKED, na=False), "file"])
    if not packed:
        yield source, sources
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        refused = {}
        for name in sources["file"]:
            place = folder if source.is_file() else folder / name
            try:
                nested = unpack_archive(root / name, place) if name in packed else None
            except FormatError as error:
                shutil.rmtree(place)
                refused[name] = str(error)
                nested = None
            if nested is None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(root / name)
            else:
                reason = "an archive within another: unpack it first"
                refused |= {path.relative_to(folder).as_posix(): reason for path in nested}
        for path in (root / "columns.toml", *root.glob("LICEN[CS]E*")):
            if path.is_file() and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
        sources = recognize_sources(folder, format)
        reasons = sources["file"].map(refused).astype("str")
        sources["refused"] = reasons.fillna(sources["refused"])
        sources["format"] = sources["format"].where(reasons.isna())
        yield folder, sources
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_root(source: Path) -> Path:
    """Return the folder of a source, which may be a file."""
    return source.parent if source.is_file() else source


def _recognize_files(
    root: Path, dialect: Dialect, format: str | None, names: list[str]
) -> pd.DataFrame:
    rows: list[tuple[str, str | None, str | None]] = []
    for name in names:
        try:
            entry = find_format(format) if format else recognize_format(root / name, dialect)
            if format:
                read_head(root / name)  # refuses what cannot be opened
            rows.append((name, entry.name, None))
        except Exception as error:  # a damaged file makes readers raise errors of any kind
            rows.append((name, None, describe_error(error)))
    return pd.DataFrame(rows, columns=["file", "format", "refused"], dtype="str")


def describe_formats(readable: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each format, with the files that are in it."""
    for name, files in readable.groupby("format")["file"]:
        yield f"{_name_group(files)}: {find_format(name).title}"


def describe_refused(sources: pd.DataFrame) -> list[str]:
    """Return a line for each reason why files are not read, that of most files first."""
    refused = sources[sources["refused"].notna()]
    groups = [group for _, group in refused.groupby("refused", sort=False)]
    groups.sort(key=len, reverse=True)
    lines = []
    for group in groups[:_LISTED]:
        points = group["points"].sum() if "points" in group else 0
        read = f"{points:,} points read, then: " if points else "not read: "
        lines.append(f"{_name_group(group['file'])}: {read}{group['refused'].iloc[0]}")
    others = sum(map(len, groups[_LISTED:]))
    if others:
        lines.append(f"{others:,} more files that cannot be read: see sources.parquet")
    return lines


def _name_group(files: pd.Series) -> str:
    return files.iloc[0] if len(files) == 1 else f"{len(files):,} files, as {files.iloc[0]}"


def describe_unreadable(source: Path, root: Path, sources: pd.DataFrame) -> str:
    """Return why no file of a source can be read, and a columns.toml if that may help."""
    reasons = describe_refused(sources) or ["no point has a time and a position"]
    text = "\n".join([f"no file of {source} can be read", *reasons])
    if sources["format"].notna().any():
        return text
    commonest = sources["refused"].value_counts().index[0]  # files of points, not of flights
    name = sources.loc[sources["refused"].eq(commonest), "file"].iloc[0]
    draft = draft_columns(root / name)
    return text if draft is None else f"{text}\n{_HELP}\n\n{draft}"


def describe_error(error: Exception) -> str:
    """Return the reason why a file cannot be read, in at most 400 characters."""
    text = str(error) if isinstance(error, FormatError | OSError) else repr(error)
    return text[:400]
