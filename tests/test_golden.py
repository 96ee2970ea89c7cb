"""The numbers of the sample and of the tiny archive, to the last digit."""

import json
import re
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
TIMING = re.compile(r"time (of|over)")  # numbers that are measured times


def read_numbers(report):
    return {
        stage["name"]: {
            label: value for label, value in stage["numbers"].items() if not TIMING.search(label)
        }
        for stage in report["stages"]
    }


def read_golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


def test_the_numbers_of_the_tiny_archive_are_the_golden_ones(made):
    report = json.loads((made[1] / "report.json").read_text("utf-8"))
    assert read_numbers(report) == read_golden("tiny")


@pytest.mark.slow
def test_the_numbers_of_the_sample_are_the_golden_ones():
    path = Path(__file__).parent.parent / "reports" / "LEMD-LEBL" / "report.json"
    if not path.exists():
        pytest.skip("make report makes the report of the sample")
    numbers = read_numbers(json.loads(path.read_text("utf-8")))
    # a fold has five or eight clusters, depending on the last digits of the simulated positions,
    # which differ from machine to machine
    del numbers["06_routes"]
    assert numbers == read_golden("sample")
