"""What a person at a terminal sees of long work: one line a stage, with its time."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import perf_counter
from typing import TextIO

__all__ = ["show_stage"]


@contextmanager
def show_stage(
    name: str, expected: float | None, stands: bool = False, *, stream: TextIO
) -> Iterator[None]:
    """Show in one line that a stage runs, how long it has, and how long it took the last time.

    On a terminal the line is written anew every second; elsewhere, such as in a log, the name is
    written at the start and the time at the end.

    Parameters
    ----------
    name
        Of the stage.
    expected
        Seconds that it took the last time, or None.
    stands
        Whether its result of that time stands, so that nothing is run.
    stream
        Where to write.

    >>> import sys
    >>> with show_stage("01_index", 12.3, stands=True, stream=sys.stdout):
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
        seconds = expected if stands else perf_counter() - started
        told = f", {expected:.1f} s the last time" if expected else ""
        stream.write(f"{seconds:7.1f} s{', unchanged since it ran' if stands else told}\n")
        stream.flush()
