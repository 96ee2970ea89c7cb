"""The terminal: texts in any locale, and a line per stage with its time."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import perf_counter
from typing import TextIO

__all__ = ["is_unicode", "prepare_console", "show_stage"]

_PLAIN = {"→": "->", "−": "-", "–": "-", "…": "...", "“": '"', "”": '"', "’": "'", "±": "+/-"}


def prepare_console() -> None:
    """Let standard output and error accept any text, in any locale and even if closed."""
    codecs.register_error("plain", _replace)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller; the next opened file must not get its number
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123, for the whole run
        elif hasattr(stream, "reconfigure") and not is_unicode(stream):
            stream.reconfigure(errors="plain")


def is_unicode(stream: TextIO) -> bool:
    """Return whether a stream accepts any character."""
    try:
        return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in text), error.end


@contextmanager
def show_stage(
    name: str, expected: float | None, unchanged: bool = False, *, stream: TextIO
) -> Iterator[None]:
    """Show in one line that a stage is running, its time, and its time in the last run.

    On a terminal the line is updated every second; elsewhere, such as in a log, the name is
    written at the start and the time at the end. ``expected`` are the seconds of the last run, if
    any; a stage is ``unchanged`` if its last result is reused, so that nothing runs.

    >>> import sys
    >>> with show_stage("01_index", 12.3, unchanged=True, stream=sys.stdout):
    ...     pass
      01_index               12.3 s, unchanged since it ran
    """
    started, done = perf_counter(), Event()
    begin = f"  {name:<20}"
    last = f" of about {expected:.0f} s" if expected else ""

    def tick() -> None:
        while not done.wait(1):
            stream.write(f"\r{begin}{perf_counter() - started:7.0f} s{last}")
            stream.flush()

    ticking = Thread(target=tick, daemon=True)
    stream.write(begin)
    stream.flush()
    if stream.isatty():
        ticking.start()
    try:
        yield
    finally:
        done.set()
        if ticking.is_alive():
            ticking.join()
            stream.write(f"\r{begin}")
        seconds = expected if unchanged else perf_counter() - started
        compared = f", {expected:.1f} s the last time" if expected else ""
        end = ", unchanged since it ran" if unchanged else compared
        stream.write(f"{seconds:7.1f} s{end}\n")
        stream.flush()
