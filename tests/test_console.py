import io
import time
from itertools import chain, repeat

import pytest

from trajlib.cli.console import show_stage


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Make a stage take a given number of seconds, independent of the load of the machine."""

    def take(seconds):
        times = chain([0.0], repeat(seconds))
        monkeypatch.setattr("trajlib.cli.console.perf_counter", lambda: next(times))

    return take


def test_a_log_gets_one_line_with_both_times(clock):
    clock(0.0)
    log = io.StringIO()
    with show_stage("01_index", 12.0, stream=log):
        pass
    assert log.getvalue() == "  01_index                0.0 s, 12.0 s the last time\n"


def test_a_first_run_shows_no_expected_time(clock):
    clock(0.0)
    log = io.StringIO()
    with show_stage("01_index", None, stream=log):
        pass
    assert log.getvalue().endswith("0.0 s\n")


def test_a_terminal_shows_the_seconds_in_one_line(clock):
    clock(1.2)
    terminal = Terminal()
    with show_stage("01_index", 12.0, stream=terminal):
        time.sleep(1.2)
    _, second, end = terminal.getvalue().split("\r")
    assert second.endswith("1 s of about 12 s")
    assert end.count("\n") == 1
    assert len(end) > len(second)  # overwrites the longer line


def test_a_line_that_is_stopped_is_ended():
    log = io.StringIO()
    with pytest.raises(KeyboardInterrupt), show_stage("01_index", None, stream=log):
        raise KeyboardInterrupt
    assert log.getvalue().endswith("\n")
