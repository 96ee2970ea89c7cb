"""What the commands share: their class, options, and the cluster that they use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from logging import CRITICAL, ERROR, getLogger
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distributed import Client

path_of = partial(click.Path, path_type=Path)
strict_option = click.option("--strict", is_flag=True, help="Repair nothing: reject such flights.")
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a script.")


class Command(click.Command):
    """A command that ends with one line for errors that a user can remove.

    What is wrong with this package ends with a traceback.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader of the output has ended; click exits without a message
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command continues from what is finished", err=True)
            raise click.exceptions.Exit(130) from None
        except (OSError, ValueError, MemoryError) as error:
            raise click.ClickException(_describe_error(error)) from error


@contextmanager
def connected(address: str | None = None) -> "Iterator[Client]":
    """Connect to a scheduler, or start a local cluster, and end what was started."""
    from trajlib.cluster import connect, current_client

    # log messages of scheduler and workers are not for the terminal
    getLogger("distributed").setLevel(ERROR)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    existing = current_client()
    client = connect(address)
    try:
        yield client
    finally:
        if client is not existing:  # what this process had before is not ours to end
            for name in ("asyncio", "tornado"):  # what an end amid work leaves unfinished
                getLogger(name).setLevel(CRITICAL + 1)
            client.close()
            if client.cluster is not None:
                client.cluster.close()


def print_json(content: object) -> None:
    """Print one JSON document, in ASCII, so that no encoding of the terminal changes it."""
    import json

    click.echo(json.dumps(content, indent=1, default=str))


def check_writable(folder: Path, option: str) -> None:
    """Raise an error that names the option if a folder cannot be written to."""
    from trajlib.archive.storage import is_remote

    if is_remote(folder):
        return
    existing = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    if not existing.is_dir():
        raise click.UsageError(f"{existing} is a file, expected a folder for {option}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise click.ClickException(f"{existing} cannot be written to: choose a folder by {option}")


def check_pair(origin: str, destination: str) -> tuple[str, str]:
    """Return two codes in capitals, or raise an error unless they are two known airports."""
    from trajlib.geodesy import find_airport

    pair = origin.strip().upper(), destination.strip().upper()
    for name, code in zip(("--origin", "--destination"), pair, strict=True):
        try:
            find_airport(code)
        except ValueError as error:
            raise click.UsageError(f"{name}: {error}") from error
    first, second = (find_airport(code) for code in pair)
    if first[1:] == second[1:]:  # but for the code
        raise click.UsageError(
            f"{pair[0]} and {pair[1]} are one airport, expected two: progress along a route, and "
            "what is scored by it, need two airports; flights that return stay in the archive"
        )
    return pair


def index_of(archive: Path, data: Path) -> Path:
    """Return the path of an archive's index below the folder of tables."""
    from trajlib.archive.index import default_index_path

    return data / "interim" / Path(default_index_path(archive)).name


def data_option(data: Path) -> str:
    """Return the option of a suggested command for the folder of tables; empty by default."""
    return "" if data == Path("data") else f" --data {quote(str(data))}"


def _describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # without the system's number
        path = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{path}{error.strerror}"
    return str(error) or type(error).__name__
