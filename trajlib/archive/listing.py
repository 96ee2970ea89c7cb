"""List the flight files of an archive."""

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from trajlib.archive.plans import FOLDER as PLANS
from trajlib.archive.storage import format_location, is_folder, is_remote, list_objects

FRAGMENTS = "fragments/"  # folder of an archive in which an import keeps fragments
FILE = {"path": "str", "size": "int64", "mtime": "int64"}  # columns that identify a file
_ENDINGS = (".csv", ".csv.gz")
_SYSTEM = {"__MACOSX", "__pycache__", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
_SYSTEM |= {"@eaDir", "#recycle", "#snapshot"}  # of network disks


def list_files(archive: str | Path) -> pd.DataFrame:
    """Return path, size [bytes] and mtime [ns] of every CSV below a folder, ordered by path.

    Links are followed, each folder once. Files that cannot be reached are listed with size -1.
    Hidden files and folders (``.ipynb_checkpoints``, ``.Trash-0``) are ignored.
    """
    if not is_folder(archive):
        raise FileNotFoundError(
            f"no archive at {format_location(archive)}: expected a folder of flight CSVs, such as "
            "python -m trajlib simulate or import makes"
        )
    if is_remote(archive):
        rows = sorted(row for row in list_objects(archive) if _is_member(row[0]))
    else:
        status = Path(archive).stat()
        rows = sorted(_walk(str(archive), "", {(status.st_dev, status.st_ino)}))
    rows = [row for row in rows if not row[0].startswith(f"{PLANS}/")]
    if not rows:
        raise FileNotFoundError(
            f"the archive {format_location(archive)} is empty: no .csv or .csv.gz in it; "
            "python -m trajlib import makes an archive of other files"
        )
    return pd.DataFrame(rows, columns=[*FILE]).astype(FILE)


def _is_member(path: str, *, is_folder: bool = False) -> bool:
    parts = path.split("/")
    hidden = any(part.startswith((".", "~$")) or part in _SYSTEM for part in parts if part)
    return not hidden and (is_folder or path.lower().endswith(_ENDINGS))


def _walk(folder: str, prefix: str, seen: set) -> Iterator[tuple[str, int, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        yield prefix, -1, 0
        return
    folders = []
    for entry in entries:
        is_below = entry.is_dir()
        if not _is_member(entry.name, is_folder=is_below):
            continue
        try:
            entry.name.encode()  # a table can only hold names in UTF-8
            status = entry.stat()
        except (OSError, UnicodeEncodeError):
            yield prefix + entry.name.encode(errors="backslashreplace").decode(), -1, 0
            continue
        if is_below:
            key = (status.st_dev, status.st_ino)
            folders.append((entry.is_symlink(), entry.name, entry.path, key))
        else:
            yield prefix + entry.name, status.st_size, status.st_mtime_ns
    for _, name, path, key in sorted(folders):  # real folders before links to them
        if key not in seen:
            seen.add(key)
            yield from _walk(path, f"{prefix}{name}/", seen)
