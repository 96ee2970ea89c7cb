"""The terminal: texts in any encoding, and a line per stage with its time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from threading import Event, Thread
from time import perf_counter
from typing import TextIO


def prepare_console() -> None:
    """Let standard output and error accept any text: what they cannot encode is a ``?``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None if closed
            stream.reconfigure(errors="replace")


@contextmanager
def show_stage(
    name: str, expected: float | None, unchanged: bool = False, *, stream: TextIO | None
) -> Iterator[None]:
    """Show in one line that a stage is running, its time, and its time in the last run.

    On a terminal the line is updated every second; elsewhere, such as in a log, the name is
    written at the start and the time at the end. ``expected`` are the seconds of the last run, if
    any; a stage is ``unchanged`` if its last result is reused, so that nothing runs. ``stream`` is
    None where standard output is closed.

    >>> import sys
    >>> with show_stage("01_index", 12.3, unchanged=True, stream=sys.stdout):
    ...     pass
      01_index               12.3 s, unchanged since it ran
    """
    started, done = perf_counter(), Event()
    begin = f"  {name:<20}"
    last = f" of about {expected:.0f} s" if expected else ""
    show = partial(print, end="", file=stream, flush=True)

    def tick() -> None:
        while not done.wait(1):
            show(f"\r{begin}{perf_counter() - started:7.0f} s{last}")

    ticking = Thread(target=tick, daemon=True)
    show(begin)
    if stream and stream.isatty():
        ticking.start()
    try:
        yield
    finally:
        done.set()
        if ticking.is_alive():
            ticking.join()
            show(f"\r{begin}")
        seconds = expected if unchanged else perf_counter() - started
        compared = f", {expected:.1f} s the last time" if expected else ""
        end = ", unchanged since it ran" if unchanged else compared
        show(f"{seconds:7.1f} s{end}\n")
