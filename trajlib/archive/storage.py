"""Files where they lie: in a folder, or in an object store of one's own (``s3://bucket/path``).

The store is the one that ``AWS_ENDPOINT_URL`` names, with the keys that the environment or
``~/.aws`` holds; on a cluster every worker needs both.
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
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, S3FileSystem

from trajlib.cluster import is_loopback

__all__ = [
    "check_visible",
    "exists",
    "is_folder",
    "is_remote",
    "list_objects",
    "make_folder",
    "open_file",
    "raise_full_disk",
    "refuse_outage",
    "remove",
    "replacing",
    "resolve",
    "uploading",
]


def is_remote(place: str | Path) -> bool:
    """Return whether a place is in an object store; as a Path it has lost one of its slashes.

    >>> is_remote("s3://flights/2016"), is_remote(Path("s3://flights/2016")), is_remote("data/raw")
    (True, True, False)
    """
    return str(place).startswith("s3:/")


def resolve(place: str | Path) -> str:
    """Return a place by its one name: a folder's absolute path, or ``s3://bucket/path``.

    >>> resolve(Path("s3://flights/2016/"))
    's3://flights/2016'
    """
    if is_remote(place):
        return f"s3://{_key(place)}"
    return str(Path(place).resolve())


def exists(place: str | Path) -> bool:
    """Return whether there is a file at a place."""
    if is_remote(place):
        return _look(place).type == FileType.File
    return Path(place).is_file()


def is_folder(place: str | Path) -> bool:
    """Return whether there is a folder at a place; in an object store, a name that others share."""
    if is_remote(place):
        return _look(place).type == FileType.Directory
    return Path(place).is_dir()


def make_folder(place: str | Path) -> None:
    """Make a folder with those above it, unless it is there."""
    if is_remote(place):
        _system().create_dir(_key(place))
    else:
        Path(place).mkdir(parents=True, exist_ok=True)


def check_visible(folder: str | Path) -> None:
    """Raise FileNotFoundError where a worker does not see a folder that its client works on."""
    if not is_folder(folder):
        raise FileNotFoundError(
            f"{folder} is not visible on the worker on {gethostname()}: archive and results must "
            "be on a file system that all machines of the cluster share, under the same path, or "
            "in an object store that all reach"
        )


def open_file(place: str | Path) -> BinaryIO:
    """Open a file to be read from any byte on."""
    if is_remote(place):
        return _system().open_input_file(_key(place))
    return Path(place).open("rb")


def list_objects(place: str | Path) -> Iterator[tuple[str, int, int]]:
    """Give name below a place, size [bytes] and time of change [ns] of each object there."""
    root = _key(place)
    for found in _system().get_file_info(FileSelector(root, recursive=True)):
        if found.is_file:
            yield found.path.removeprefix(f"{root}/"), found.size, found.mtime_ns or 0


def remove(place: str | Path) -> None:
    """Remove a file."""
    if is_remote(place):
        _system().delete_file(_key(place))
    else:
        Path(place).unlink()


def refuse_outage(error: Exception, place: str | Path) -> None:
    """Raise an error again that says that an object store failed: no file is to blame for it."""
    if is_remote(place) and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; its file takes the name ``path`` once it is whole.

    The file is readable by its owner alone. After an error it is removed.
    """
    if is_remote(path):
        with uploading(path) as temporary:
            yield temporary
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
        raise_full_disk(error, path)
        raise


def raise_full_disk(error: BaseException, path: Path) -> None:
    """Raise OSError that names the file where an error says that its disk is full."""
    if isinstance(error, OSError) and error.errno == ENOSPC:
        told = f"the disk is full: {path.name} could not be written, and is as it was"
        raise OSError(ENOSPC, told, str(path.parent)) from error


@contextmanager
def uploading(place: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; the object takes its place once the file is whole."""
    with TemporaryDirectory(prefix="trajlib-") as folder:
        temporary = Path(folder) / _key(place).rpartition("/")[2]
        yield temporary
        content = temporary.read_bytes()
        with _system().open_output_stream(_key(place)) as stream:
            stream.write(content)


def _key(place: str | Path) -> str:
    return str(place).partition(":")[2].strip("/")


def _look(place: str | Path) -> FileInfo:
    return _system().get_file_info(_key(place))


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
    """The same store, for the readers of Dask and pandas."""

    protocol = "s3"

    def __init__(self, **options: object):
        super().__init__(_system(), **options)


fsspec.register_implementation("s3", _Bucket, clobber=True)


@cache
def _connect(endpoint: str) -> FileSystem:
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{endpoint} is neither https nor loopback: flights would cross in clear")
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # a cloud's, asked for keys
    return S3FileSystem(
        endpoint_override=parts.netloc,
        scheme=parts.scheme,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
    )
