"""Files in a folder, or in a private object store (``s3://bucket/path``).

``AWS_ENDPOINT_URL`` gives the address of the store; the keys are in the environment or in
``~/.aws``. On a cluster every worker needs both.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from functools import cache
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory, mkstemp
from typing import BinaryIO
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileSelector, FileSystem, FileType, S3FileSystem

from trajlib.cluster import is_loopback


def is_remote(location: str | Path) -> bool:
    """Return whether a location is in an object store; a Path has only one slash after ``s3:``.

    >>> is_remote("s3://flights/2016"), is_remote(Path("s3://flights/2016")), is_remote("data/raw")
    (True, True, False)
    """
    return str(location).startswith("s3:/")


def resolve(location: str | Path) -> str:
    """Return a location in its normal form: an absolute path, or ``s3://bucket/path``.

    >>> resolve(Path("s3://flights/2016/"))
    's3://flights/2016'
    """
    if is_remote(location):
        return f"s3://{_key(location)}"
    return str(Path(location).resolve())


def format_location(location: str | Path) -> str:
    """Return a location as a user writes it.

    >>> format_location(Path("s3://flights/2016/")), format_location(Path("data/raw"))
    ('s3://flights/2016', 'data/raw')
    """
    return resolve(location) if is_remote(location) else str(Path(location))


def exists(location: str | Path) -> bool:
    """Return whether there is a file at a location."""
    if is_remote(location):
        return _system().get_file_info(_key(location)).type == FileType.File
    return Path(location).is_file()


def is_folder(location: str | Path) -> bool:
    """Return whether a location is a folder; in an object store, a prefix of other names."""
    if is_remote(location):
        return _system().get_file_info(_key(location)).type == FileType.Directory
    return Path(location).is_dir()


def make_folder(location: str | Path) -> None:
    """Make a folder and its parents, unless it exists."""
    if is_remote(location):
        _system().create_dir(_key(location))
    else:
        Path(location).mkdir(parents=True, exist_ok=True)


def check_visible(folder: str | Path) -> None:
    """Raise FileNotFoundError where a worker does not see a folder that the client uses."""
    if not is_folder(folder):
        raise FileNotFoundError(
            f"{folder} is not visible on the worker on {gethostname()}: archive and results must "
            "be on a file system that all machines of the cluster share, under the same path, or "
            "in an object store that all reach"
        )


def open_file(location: str | Path) -> BinaryIO:
    """Open a file for reading at any position."""
    if is_remote(location):
        return _system().open_input_file(_key(location))
    return Path(location).open("rb")


def list_objects(location: str | Path) -> Iterator[tuple[str, int, int]]:
    """Yield relative name, size [bytes] and time of change [ns] of each object in a folder."""
    root = _key(location)
    for info in _system().get_file_info(FileSelector(root, recursive=True)):
        if info.is_file:
            yield info.path.removeprefix(f"{root}/"), info.size, info.mtime_ns or 0


def list_names(folder: str | Path) -> list[str]:
    """Return the names in a folder; in an object store, also those in folders below it.

    There are none in a folder that does not exist.
    """
    if is_remote(folder):
        try:
            return [name for name, _, _ in list_objects(folder)]
        except FileNotFoundError:
            return []
    return [path.name for path in Path(folder).glob("*")]


def remove(location: str | Path) -> None:
    """Remove a file."""
    if is_remote(location):
        _system().delete_file(_key(location))
    else:
        Path(location).unlink()


def refuse_outage(error: Exception, location: str | Path) -> None:
    """Raise an error again if it shows that the object store failed, not that a file is bad."""
    failed = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    if failed and is_remote(location):
        raise error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; the finished file is renamed to ``path``, or uploaded.

    Only the owner can read the file. After an error it is removed.
    """
    if is_remote(path):
        with TemporaryDirectory(prefix="trajlib-") as folder:
            temporary = Path(folder) / _key(path).rpartition("/")[2]
            yield temporary
            content = temporary.read_bytes()
            with _system().open_output_stream(_key(path)) as stream:
                stream.write(content)
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno == ENOSPC:
            message = f"the disk is full: {path.name} could not be written, and is as it was"
            raise OSError(ENOSPC, message, str(path.parent)) from error
        raise


def _key(location: str | Path) -> str:
    return str(location).partition(":")[2].strip("/")


def _system() -> FileSystem:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = next((os.environ[name] for name in names if os.environ.get(name)), None)
    if endpoint is None:
        raise ValueError(
            "s3:// needs an object store of your own: set AWS_ENDPOINT_URL to its address "
            "(https://HOST:PORT); flights are not sent to whichever answers to that name"
        )
    return _connect(endpoint)


class _Bucket(ArrowFSWrapper):
    """The same store as an fsspec file system, for Dask and pandas."""

    protocol = "s3"

    def __init__(self, **options: object):
        super().__init__(_system(), **options)


fsspec.register_implementation("s3", _Bucket, clobber=True)


@cache
def _connect(endpoint: str) -> FileSystem:
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{endpoint} is neither https nor loopback: flights would cross in clear")
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # no request for keys to AWS
    return S3FileSystem(
        endpoint_override=parts.netloc,
        scheme=parts.scheme,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
    )
