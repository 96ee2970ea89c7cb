"""Packed files: open the only file of data in one, or unpack an archive of several."""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from trajlib.importers.formats.base import FormatError

UNPACKED = ".unpacked-"  # begins the name of the folder of an unpacked source
_MEMBERS = 1_000_000  # files in one archive
_SMALL = 1 << 30  # bytes to which any archive may unpack, and others
_TIMES = 1000  # so many times their size
_ARCHIVES = {b"7z\xbc\xaf\x27\x1c": "7z", b"PK\x03\x04": "zip"}
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(file, "zstd"),
}
_NESTED = "an archive that is compressed or within another: unpack it first"
_LONG = "a name in an archive that is too long to be written: unpack it under another name"
_DOCUMENTS = re.compile(
    r"(?i)(^|/)(readme|license|licence|__macosx|\.[^./])|\.(png|jpe?g|gif|svg|pdf|html?)$"
)
DAMAGE = (  # errors raised for damaged files
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
    pa.ArrowException,
)


class PackedError(FormatError):
    """An archive cannot be read as one file, but may be unpacked."""


@dataclass
class _Room:
    """The space that the files of an archive take on a disk."""

    archive: Path
    folder: Path
    files: int = 0
    size: int = 0
    free: int = field(init=False)

    def __post_init__(self) -> None:
        self.free = shutil.disk_usage(self.folder).free

    def take(self, sizes: list[int]) -> None:
        """Add files of these sizes; an error if there are then too many or too large ones."""
        self.files += len(sizes)
        self.size += sum(sizes)
        if self.files > _MEMBERS:
            raise FormatError(f"an archive of more than {_MEMBERS:,} files")
        if self.size > max(_SMALL, _TIMES * self.archive.stat().st_size):
            raise FormatError(f"unpacks to more than {_TIMES:,} times its size")
        if self.size > self.free:
            raise OSError(errno.ENOSPC, "too little space")

    def __str__(self) -> str:
        need, free = self.size / 2**30, self.free / 2**30
        return f"at least {need:,.2f} GiB are needed, and {free:,.2f} GiB were free"


@contextmanager
def open_source(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed; gzip, bzip2, xz, Zstandard, zip, 7z and tar.

    Raises
    ------
    FormatError
        When the file is damaged or of a kind that is not read, and `PackedError` when an archive
        contains more than one data file, or another archive.
    """
    with Path(path).open("rb") as file:
        stream = _decompress(file)
        opened = _open_member(file, path) if stream is file else nullcontext(stream)
        with opened as member:
            start = member.peek(512)[:512] if hasattr(member, "peek") else b""
            if _find_archive(start) or start.startswith(tuple(_COMPRESSIONS)):
                raise PackedError(_NESTED)
            yield member


@contextmanager
def refuse_damage() -> Iterator[None]:
    """Raise FormatError in place of the errors raised for damaged files."""
    try:
        yield
    except DAMAGE as error:
        if is_disk_full(error):
            raise
        raise FormatError(f"cannot be read: {str(error)[:200]}") from error


def is_disk_full(error: Exception) -> bool:
    """Return whether an error is of the disk that is written to, and of no file."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, and no archive."""
    with path.open("rb") as file:
        return file.read(512).startswith(tuple(_COMPRESSIONS))


def unpack_archive(path: Path, folder: Path) -> tuple[set[str], dict[str, str]]:
    """Write the files of an archive below a folder.

    The files have the time of the archive. Links and devices are left out, and repeated names are
    numbered. A folder that holds all files with their columns.toml is left out of their names.

    Parameters
    ----------
    path
        A zip, 7z or tar, which may be compressed.
    folder
        Created here; it does not exist yet.

    Returns
    -------
    set of str, dict of str to str
        The files that are archives themselves, and the names that cannot be written, with reasons.

    Raises
    ------
    FormatError
        When the archive is none of these, damaged, encrypted or too large, or a name in it leads
        out of the folder.
    OSError
        When the disk has too little space for the files, or fails.
    """
    folder.mkdir(parents=True)
    room = _Room(path, folder)
    with path.open("rb") as file, _refuse_unpacking(room):
        stream = _decompress(file)
        kind = _find_archive(_start(stream) if stream is file else stream.peek(512)[:512])
        if kind == "tar":
            refused = _unpack_tar(stream, room)
        elif kind == "zip" and stream is file:
            refused = _unpack_zip(file, room)
        elif kind == "7z" and stream is file:
            refused = _unpack_7z(file, room)
        else:
            raise FormatError(_NESTED)
    _lift_files(folder)
    nested = set()
    time = path.stat().st_mtime_ns
    for member in [member for member in folder.rglob("*") if member.is_file()]:
        os.utime(member, ns=(time, time))
        with member.open("rb") as file:
            if _find_archive(file.read(512)):
                nested.add(member.relative_to(folder).as_posix())
    return nested, refused


@contextmanager
def _refuse_unpacking(room: _Room) -> Iterator[None]:
    try:
        yield
    except (FormatError, MemoryError):
        raise
    except Exception as error:  # these libraries raise errors of any kind for damaged archives
        if isinstance(error, OSError) and (is_disk_full(error) or error.errno == errno.EIO):
            reason = f"{room.archive} cannot be unpacked to the disk of {room.folder}"
            raise OSError(error.errno, f"{reason}: {error.strerror}; {room}") from error
        raise FormatError(f"cannot be unpacked: {str(error)[:200]}") from error


def _unpack_tar(stream: IO[bytes], room: _Room) -> dict[str, str]:
    write = _Writer(room.folder)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for entry in archive:
            room.take([entry.size])
            if entry.isfile():
                write(cast(IO[bytes], archive.extractfile(entry)), entry.name)
    return write.refused


def _unpack_zip(file: IO[bytes], room: _Room) -> dict[str, str]:
    write = _Writer(room.folder)
    with zipfile.ZipFile(file) as archive:
        entries = _list_zip(archive)
        room.take([entry.file_size for entry in entries])
        for entry in entries:
            with archive.open(entry) as member:  # ends at the size that it declares
                write(member, entry.filename)
    return write.refused


def _unpack_7z(file: IO[bytes], room: _Room) -> dict[str, str]:
    with _read_7z(file) as (archive, sizes):
        room.take([*sizes.values()])
        refused = {name: _LONG for name in sizes if _is_long(room.folder, name)}
        archive.extract(room.folder, targets=[name for name in sizes if name not in refused])
    return refused


def _list_zip(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files of a zip, without folders and links."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    return [entry for entry in entries if not stat.S_ISLNK(entry.external_attr >> 16)]


def _lift_files(folder: Path) -> None:
    """Move the files of the only folder in a folder up, if their columns.toml is among them."""
    places = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    if len(places) == 1 and (places[0] / "columns.toml").is_file():
        with tempfile.TemporaryDirectory(dir=folder) as apart:
            for path in [path for path in folder.iterdir() if path != Path(apart)]:
                path.rename(Path(apart, path.name))
            for path in Path(apart, places[0].name).iterdir():
                path.rename(folder / path.name)


def _place(folder: Path, name: str) -> Path:
    """Return where a file of an archive is written, unless its name leads out of the folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or re.match("[A-Za-z]:", parts[0]):
        raise FormatError(f"an archive with a file outside its folder: {name[:80]!r}")
    return folder.joinpath(*parts)


def _is_long(folder: Path, name: str) -> bool:
    """Return whether the name of a file of an archive is longer than file systems allow."""
    path = _place(folder, name)
    parts = [len(os.fsencode(part)) for part in path.relative_to(folder).parts]
    return max(parts) > 240 or len(os.fsencode(path)) > 4000


class _Writer:
    """Writes files of an archive below a folder, and keeps the names that cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: dict[str, str] = {}
        self._repeats: dict[Path, int] = {}

    def __call__(self, member: IO[bytes], name: str) -> None:
        path = _place(self.folder, name)
        if _is_long(self.folder, name):
            self.refused[name] = _LONG
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            self.refused[name] = "its folder has the name of a file"
            return
        with self._number(path).open("xb") as file:
            shutil.copyfileobj(member, file, 1 << 20)

    def _number(self, path: Path) -> Path:
        """Return a path of its own for a repeated name, as ``a_2.csv``."""
        numbered = path
        while numbered.exists():
            number = self._repeats[path] = self._repeats.get(path, 1) + 1
            start, dot, end = path.name.partition(".")  # the start names the flight
            numbered = path.with_name(f"{start}_{number}{dot}{end}")
        return numbered


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
def _open_member(file: io.BufferedReader, path: Path) -> Iterator[IO[bytes]]:
    """Open the only data file of an archive, or the file itself if it is no archive."""
    kind = _find_archive(_start(file))
    if kind == "zip":
        with zipfile.ZipFile(file) as archive:
            names = [entry.filename for entry in _list_zip(archive)]
            with archive.open(_only_member(names)) as member:
                yield member
    elif kind == "tar":
        with tarfile.open(fileobj=file, mode="r:") as archive:
            names = [entry.name for entry in archive.getmembers() if entry.isfile()]
            # the hourly files of OpenSky are each a gzip in a tar
            member = cast(io.BufferedReader, archive.extractfile(_only_member(names)))
            yield _decompress(member)
    elif kind == "7z":
        with tempfile.TemporaryDirectory() as folder:
            room = _Room(path, Path(folder))
            with _refuse_unpacking(room), _read_7z(file) as (archive, sizes):
                name = _only_member([*sizes])
                room.take([sizes[name]])
                archive.extract(folder, targets=[name])
            with _place(Path(folder), name).open("rb") as member:
                yield member
    else:
        yield file


def _only_member(names: list[str]) -> str:
    if "[Content_Types].xml" in names or {"mimetype", "content.xml"} <= {*names}:
        raise FormatError("a workbook of a spreadsheet: save the sheet as CSV")
    if names and all(name.endswith(".npy") for name in names):
        raise FormatError("arrays of NumPy without names of columns: save them as one CSV")
    data = [name for name in names if not _DOCUMENTS.search(name)]
    if any(name.lower().endswith(".kml") for name in data):  # in a KMZ icons may have no suffix
        data = [name for name in data if PurePosixPath(name).suffix]
    if len(data) != 1:
        raise PackedError(f"an archive of {len(data)} files, expected one: unpack it first")
    return data[0]


@contextmanager
def _read_7z(file: IO[bytes]) -> Iterator[tuple[Any, dict[str, int]]]:
    """Open a 7z archive, and yield it with the sizes of its files, without links."""
    try:
        import py7zr
    except ImportError as error:
        raise FormatError("a 7z archive: install py7zr to read it, or unpack it first") from error
    with py7zr.SevenZipFile(file) as archive:
        entries = [entry for entry in archive.list() if entry.is_file]
        sizes = {entry.filename: entry.uncompressed for entry in entries}
        if len(sizes) < len(entries):  # which cannot be told apart on extraction
            raise FormatError("a 7z archive with several files of one name: unpack it first")
        yield archive, sizes
