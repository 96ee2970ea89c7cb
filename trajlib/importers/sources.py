"""The files of a source: which there are, their formats, and why some cannot be read."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from trajlib.archive.dialect import Dialect, read_dialect
from trajlib.cluster import run_tasks
from trajlib.importers.formats import draft_columns, find_format, recognize_format
from trajlib.importers.formats.base import FormatError
from trajlib.importers.formats.generic import find_absent
from trajlib.importers.formats.packed import PackedError, is_disk_full, unpack_archive
from trajlib.importers.formats.tables import read_head

FILES = 500  # files of one task
_ABOUT = re.compile(
    r"(?i)^(licen[cs]e|readme|\.|_)|(^columns\.toml$)|\.(md|toml|pdf|html?|png|jpe?g|gif|svg)$"
)
_KINDS = {"file": "str", "format": "str", "refused": "str", "packed": "bool"}
_UNNAMED = "its name is not in UTF-8: rename it"
_WITHIN = "an archive within another: unpack it first"
_EXAMINED = 100  # files that are searched for the names of a columns.toml
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


def recognize_sources(
    source: str | Path, format: str | None = None, *, recognized: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the format of each file of a source.

    Files that are already ``recognized``, in such a table, are not opened again.

    Returns
    -------
    DataFrame
        ``file``, relative to the source, ``format``, ``refused``, the reason if the file cannot be
        read, and ``packed``, whether it may be unpacked.
    """
    source = Path(source).resolve()
    root = find_root(source)
    names = [path.relative_to(root).as_posix() for path in list_members(source)]
    if not names:
        raise FileNotFoundError(f"no files in {source}")
    refused = {_show(name): _UNNAMED for name in names if name != _show(name)}
    recognized = _refuse_files({}) if recognized is None else recognized
    done = {*recognized["file"]}
    names = [name for name in names if name == _show(name) and name not in done]
    batches = [names[start : start + FILES] for start in range(0, len(names), FILES)]
    tables = run_tasks(partial(_recognize_files, root, read_dialect(root), format), batches)
    return pd.concat([recognized, *tables, _refuse_files(refused)], ignore_index=True)


def _show(name: str) -> str:
    """Return a file's name with question marks for bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _refuse_files(refused: dict[str, str]) -> pd.DataFrame:
    rows = [(name, None, reason, False) for name, reason in refused.items()]
    return pd.DataFrame(rows, columns=[*_KINDS]).astype(_KINDS)


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

    Raises
    ------
    OSError
        When the disk of the folder has too little space for the unpacked files, or fails.
    """
    sources = recognize_sources(source, format)
    root = find_root(source)
    packed = {*sources.loc[sources["packed"], "file"]}
    if not packed:
        yield source, sources.drop(columns="packed")
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        nested: set[str] = set()
        refused: dict[str, str] = {}
        for name, reason in zip(sources["file"], sources["refused"], strict=True):
            if reason == _UNNAMED:
                refused[name] = reason
                continue
            target = folder if source.is_file() else folder / name
            try:
                if name in packed:
                    within, unwritten = unpack_archive(root / name, target)
                    _check_unpacked(target, source)
                    prefix = "" if source.is_file() else f"{name}/"
                    nested |= {prefix + path for path in within}
                    refused |= {prefix + _show(path): text for path, text in unwritten.items()}
                    continue
            except FormatError as error:
                shutil.rmtree(target)
                refused[name] = str(error)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(root / name)
        for path in (root / "columns.toml", *root.glob("LICEN[CS]E*")):
            if path.is_file() and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
        sources = recognize_sources(folder, format, recognized=sources[~sources["packed"]])
        inner = sources["file"].isin(nested) & (sources["packed"] | sources["refused"].isna())
        refused |= dict.fromkeys(sources.loc[inner, "file"], _WITHIN)
        others = sources[~sources["file"].isin(refused)]
        sources = pd.concat([others, _refuse_files(refused)]).sort_values("file", kind="stable")
        yield folder, sources.drop(columns="packed").reset_index(drop=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_unpacked(folder: Path, source: Path) -> None:
    """Refuse an archive without data, or with a columns.toml that would not be used."""
    if not list_members(folder):
        raise FormatError("an archive without files of data")
    dialects = [*folder.rglob("columns.toml")]
    if not dialects:
        return
    if not source.is_file():
        raise FormatError(
            "has a columns.toml in it, which counts for it alone: import this archive by itself, "
            "or unpack it and put the columns.toml beside the files of the source"
        )
    if dialects != [folder / "columns.toml"]:
        raise FormatError(
            "has a columns.toml in one of several folders: unpack it and import them one by one"
        )
    if (source.parent / "columns.toml").is_file():
        raise FormatError("has a columns.toml in it and one beside it: remove the wrong one")


def find_root(source: Path) -> Path:
    """Return the folder of a source, which may be a file."""
    return source.parent if source.is_file() else source


def _recognize_files(
    root: Path, dialect: Dialect, format: str | None, names: list[str]
) -> pd.DataFrame:
    rows: list[tuple[str, str | None, str | None, bool]] = []
    for name in names:
        try:
            entry = find_format(format) if format else recognize_format(root / name, dialect)
            if format:
                read_head(root / name)  # refuses what cannot be opened
            rows.append((name, entry.name, None, False))
        except Exception as error:  # a damaged file makes readers raise errors of any kind
            rows.append((name, None, describe_error(error), isinstance(error, PackedError)))
    return pd.DataFrame(rows, columns=[*_KINDS]).astype(_KINDS)


def describe_formats(readable: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each format, with the files that are in it."""
    for name, files in readable.groupby("format")["file"]:
        yield f"{_name_group(files)}: {find_format(name).title}"


def describe_absent(readable: pd.DataFrame, root: Path, dialect: Dialect) -> Iterator[str]:
    """Yield a line if columns.toml names columns that none of the files has."""
    listed = readable["file"].eq(dialect.many.get("flights"))
    files = readable["file"][listed | (np.cumsum(~listed) <= _EXAMINED)]
    absent: set[str] | None = None
    there: dict[str, None] = {}
    for name in files:
        try:
            names, columns = find_absent(root / name, dialect)
        except FormatError:
            continue  # is refused when it is read
        absent = names if absent is None else absent & names
        there |= dict.fromkeys(columns)
        if not absent:
            return
    if absent:
        which = "no file" if len(files) == len(readable) else f"none of the first {_EXAMINED} files"
        yield (
            f"columns.toml names {', '.join(map(repr, sorted(absent)))}, which {which} has; "
            f"there are {', '.join(there)[:100]}"
        )


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
    if sources["format"].notna().any() or read_dialect(root).names:
        return text
    commonest = sources["refused"].value_counts().index[0]  # files of points, not of flights
    name = sources.loc[sources["refused"].eq(commonest), "file"].iloc[0]
    draft = draft_columns(root / name)
    return text if draft is None else f"{text}\n{_HELP}\n\n{draft}"


def describe_error(error: Exception) -> str:
    """Return the reason why a file cannot be read, in at most 400 characters.

    Raises
    ------
    OSError
        When the reason is a full disk, and not the file.
    """
    if is_disk_full(error):
        raise error
    text = str(error) if isinstance(error, FormatError | OSError) else repr(error)
    return text[:400]
