import io
import re
import time

import pytest

from trajlib.terminal import show_stage


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_one_line_with_both_times():
    log = io.StringIO()
    with show_stage("01_index", 12.0, stream=log):
        pass
    assert re.fullmatch(r"  01_index {15,}\d+\.\d s, 12\.0 s the last time\n", log.getvalue())


def test_a_first_run_expects_nothing():
    log = io.StringIO()
    with show_stage("01_index", None, stream=log):
        pass
    assert re.search(r"\d+\.\d s\n$", log.getvalue())


def test_a_terminal_sees_the_seconds_go_by_in_the_same_line():
    terminal = Terminal()
    with show_stage("01_index", 12.0, stream=terminal):
        time.sleep(1.2)
    _, second, *_, end = terminal.getvalue().split("\r")
    assert re.search(r"\d s of about 12 s$", second)
    assert end.count("\n") == 1
    assert len(end) > len(second)  # or what was longer would stay to be seen


def test_a_line_that_is_stopped_is_ended():
    log = io.StringIO()
    with pytest.raises(KeyboardInterrupt), show_stage("01_index", None, stream=log):
        raise KeyboardInterrupt
    assert log.getvalue().endswith("\n")
