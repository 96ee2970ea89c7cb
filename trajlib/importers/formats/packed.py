"""Packed files: open the only file of data in one, or unpack an archive of several."""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from trajlib.importers.formats.base import FormatError

__all__ = ["DAMAGE", "PACKED", "open_source", "refuse_damage", "unpack_archive"]

PACKED = "an archive"  # begins the reasons why an archive cannot be read as a file
_UNPACKED = 16 << 30  # bytes unpacked to disk from one archive
_MEMBERS = 1_000_000  # files in one archive
_ARCHIVES = {b"7z\xbc\xaf\x27\x1c": "7z", b"PK\x03\x04": "zip"}
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(file, "zstd"),
}
_NESTED = f"{PACKED} that is compressed or within another: unpack it first"
_DOCUMENTS = re.compile(
    r"(?i)(^|/)(readme|license|licence|__macosx|\.[^./])|\.(png|jpe?g|gif|svg|pdf|html?)$"
)
DAMAGE = (  # errors raised for damaged files
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
    pa.ArrowException,
)


@contextmanager
def open_source(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed; gzip, bzip2, xz, Zstandard, zip, 7z and tar.

    Raises
    ------
    FormatError
        When an archive contains more than one data file, or another archive.
    """
    with Path(path).open("rb") as file:
        stream = _decompress(file)
        opened = _open_member(file) if stream is file else nullcontext(stream)
        with opened as member:
            start = member.peek(512)[:512] if hasattr(member, "peek") else b""
            if _find_archive(start) or start.startswith(tuple(_COMPRESSIONS)):
                raise FormatError(_NESTED)
            yield member


@contextmanager
def refuse_damage() -> Iterator[None]:
    """Raise FormatError in place of the errors raised for damaged files."""
    try:
        yield
    except DAMAGE as error:
        raise FormatError(f"cannot be read: {str(error)[:200]}") from error


def unpack_archive(path: Path, folder: Path) -> list[Path]:
    """Write the files of an archive below a folder; return those that are archives themselves.

    The files have the time of the archive. Links and devices are left out.

    Parameters
    ----------
    path
        A zip, 7z or tar, which may be compressed.
    folder
        Created here; it does not exist yet.

    Raises
    ------
    FormatError
        When the archive is none of these, damaged, encrypted or too large, or a name in it leads
        out of the folder.
    """
    folder.mkdir(parents=True)
    with path.open("rb") as file, _refuse_unpacking():
        stream = _decompress(file)
        kind = _find_archive(_start(stream) if stream is file else stream.peek(512)[:512])
        if kind == "tar":
            _unpack_tar(stream, folder)
        elif kind == "zip" and stream is file:
            _unpack_zip(file, folder)
        elif kind == "7z" and stream is file:
            _unpack_7z(file, folder)
        else:
            raise FormatError(_NESTED)
    nested = []
    time = path.stat().st_mtime_ns
    for member in [member for member in folder.rglob("*") if member.is_file()]:
        os.utime(member, ns=(time, time))
        with member.open("rb") as file:
            if _find_archive(file.read(512)):
                nested.append(member)
    return nested


@contextmanager
def _refuse_unpacking() -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    except Exception as error:  # these libraries raise errors of any kind for damaged archives
        raise FormatError(f"cannot be unpacked: {str(error)[:200]}") from error


def _unpack_tar(stream: IO[bytes], folder: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        rest = _UNPACKED
        for number, entry in enumerate(archive):
            _check_size(number, rest - entry.size)
            if entry.isfile():
                rest -= entry.size
                _write(cast(IO[bytes], archive.extractfile(entry)), _place(folder, entry.name))


def _unpack_zip(file: IO[bytes], folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        _check_size(len(entries), _UNPACKED - sum(entry.file_size for entry in entries))
        for entry in entries:
            with archive.open(entry) as member:  # ends at the size that it declares
                _write(member, _place(folder, entry.filename))


def _unpack_7z(file: IO[bytes], folder: Path) -> None:
    with _read_7z(file) as (archive, names):
        for name in names:
            _place(folder, name)
        archive.extract(folder, targets=names)
    for member in folder.rglob("*"):
        if member.is_symlink():
            member.unlink()


def _check_size(count: int, rest: int) -> None:
    if count > _MEMBERS:
        raise FormatError(f"{PACKED} of more than {_MEMBERS:,} files")
    if rest < 0:
        raise FormatError(f"unpacks to more than {_UNPACKED >> 30} GiB")


def _place(folder: Path, name: str) -> Path:
    """Return where a file of an archive is written.

    Raises
    ------
    FormatError
        When its name leads out of the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or ":" in parts[0]:
        raise FormatError(f"{PACKED} with a file outside its folder: {name[:80]!r}")
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(member: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(member, file, 1 << 20)


def _decompress(file: io.BufferedReader) -> io.BufferedReader:
    start = _start(file)
    for magic, opener in _COMPRESSIONS.items():
        if start.startswith(magic):
            return io.BufferedReader(opener(file))
    return file


def _start(file: io.BufferedReader) -> bytes:
    start = file.read(512)
    file.seek(0)
    return start


def _find_archive(start: bytes) -> str | None:
    """Return the kind of archive of which these are the first bytes."""
    if start[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _ARCHIVES.items() if start.startswith(magic)), None)


@contextmanager
def _open_member(file: io.BufferedReader) -> Iterator[IO[bytes]]:
    """Open the only data file of an archive, or the file itself if it is no archive."""
    kind = _find_archive(_start(file))
    if kind == "zip":
        with zipfile.ZipFile(file) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            with archive.open(_only_member(names)) as member:
                yield member
    elif kind == "tar":
        with tarfile.open(fileobj=file, mode="r:") as archive:
            names = [entry.name for entry in archive.getmembers() if entry.isfile()]
            # the hourly files of OpenSky are each a gzip in a tar
            member = cast(io.BufferedReader, archive.extractfile(_only_member(names)))
            yield _decompress(member)
    elif kind == "7z":
        with tempfile.TemporaryDirectory() as folder, _refuse_unpacking():
            with _read_7z(file) as (archive, names):
                name = _only_member(names)
                archive.extract(folder, targets=[name])
            with (Path(folder) / name).open("rb") as member:
                yield member
    else:
        yield file


def _only_member(names: list[str]) -> str:
    if "[Content_Types].xml" in names:
        raise FormatError("a workbook of a spreadsheet: save the sheet as CSV")
    data = [name for name in names if not _DOCUMENTS.search(name)]
    if any(name.lower().endswith(".kml") for name in data):  # in a KMZ icons may have no suffix
        data = [name for name in data if PurePosixPath(name).suffix]
    if len(data) != 1:
        raise FormatError(f"{PACKED} of {len(data)} files, expected one: unpack it first")
    return data[0]


@contextmanager
def _read_7z(file: IO[bytes]) -> Iterator[tuple[Any, list[str]]]:
    """Open a 7z archive, and yield it with the names of its files."""
    try:
        import py7zr
    except ImportError as error:
        raise FormatError("a 7z archive: install py7zr to read it, or unpack it first") from error
    with py7zr.SevenZipFile(file) as archive:
        entries = [entry for entry in archive.list() if not entry.is_directory]
        _check_size(len(entries), _UNPACKED - sum(entry.uncompressed for entry in entries))
        yield archive, [entry.filename for entry in entries]
