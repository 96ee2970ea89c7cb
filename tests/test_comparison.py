import json

import pytest
from click.testing import CliRunner

from trajlib.cli import main
from trajlib.report.comparison import compare_reports, read_report
from trajlib.report.html import render_comparison


def describe_report(*, numbers=None, verdict="holds", **told):
    claim = {"claim": "it spreads less", "talk": "less", "here": "8.7 NM", "verdict": verdict}
    stage = {"name": "02_normalization", "status": "whole", "seconds": 3.0, "claims": [claim]}
    stages = [stage | {"numbers": numbers or {}}]
    parts = {"pair": "LEMD → LEBL", "made": "today", "whole": True, "archive": {"title": "One"}}
    return parts | {"parameters": {}, "data": {}, "versions": {}, "stages": stages} | told


def compare_numbers(before, after):
    reports = (describe_report(numbers={"x": text} if text else None) for text in (before, after))
    (row,) = compare_reports(*reports)["numbers"]
    return row["change"], row["apart"]


def test_a_report_compared_with_itself_has_not_moved():
    report = describe_report(
        numbers={"x": "1.0 NM"}, parameters={"trees": 10}, data={"files": "3"}, versions={"a": "1"}
    )
    found = compare_reports(report, report)
    for part in ("parameters", "data", "versions", "seconds", "numbers", "claims"):
        assert [row["moved"] for row in found[part]] == [False]


@pytest.mark.parametrize(
    ("before", "after", "change", "apart"),
    [
        ("8.94 NM", "7.61 NM", "-1.33 NM", None),
        ("1,901 ft", "2,276 ft", "+375 ft", None),
        ("13%", "17%", "+4 points", None),
        ("0.6", "0.75", "+0.15", None),
        ("0.64 (0.60 to 0.70)", "0.75 (0.71 to 0.80)", "+0.11", True),
        ("0.64 (0.60 to 0.70)", "0.69 (0.65 to 0.72)", "+0.05", False),
        ("-0.9% (-1.6% to -0.3%)", "-0.1% (-0.2% to +0.4%)", "+0.8 points", True),
        ("0.64 (0.60 to 0.70)", "0.69", "+0.05", None),
        ("8.9 NM", "16.5 km", None, None),
        ("distance_max", "duration_max", None, None),
        ("2 to 8", "2 to 3", None, None),
        ("4 of 8", "5 of 9", None, None),
        (None, "8.9 NM", None, None),
    ],
)
def test_a_change_is_told_in_its_unit_and_only_where_there_is_one(before, after, change, apart):
    assert compare_numbers(before, after) == (change, apart)


def test_what_only_one_of_them_has_is_none_in_the_other():
    found = compare_reports(
        describe_report(parameters={"trees": 10}), describe_report(parameters={"draws": 50})
    )
    assert [(r["name"], r["before"], r["after"]) for r in found["parameters"]] == [
        ("trees", 10, None),
        ("draws", None, 50),
    ]


def test_a_stage_that_only_one_of_them_ran_is_told():
    without = describe_report()
    without["stages"] = [without["stages"][0] | {"status": "not run"}]
    (row,) = compare_reports(without, describe_report())["claims"]
    assert (row["verdict_before"], row["verdict_after"]) == (None, "holds")


def test_the_page_says_what_turned_and_escapes_what_a_report_says():
    before = describe_report(numbers={"x": "0.1 (0 to 0.2)"}, parameters={"p": "<script>"})
    after = describe_report(numbers={"x": "0.9 (0.8 to 1.0)"}, verdict="does not hold")
    page = render_comparison(compare_reports(before, after))
    for part in ("does not hold", "+0.8 (intervals apart)", "1 of 1 claims", "1 of 1 numbers"):
        assert part in page
    assert "<script>" not in page
    assert "script-src 'none'" in page


def write_report(folder, **told):
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(describe_report(**told)), "utf-8")
    return folder


def test_a_report_is_read_by_its_folder_or_its_page(tmp_path):
    folder = write_report(tmp_path / "a")
    assert read_report(folder) == read_report(folder / "index.html") == describe_report()


def test_the_command_writes_the_page_or_prints_json(tmp_path):
    places = [str(write_report(tmp_path / name, numbers={"x": name})) for name in "ab"]
    page = tmp_path / "made" / "moved.html"
    told = CliRunner().invoke(main, ["compare", *places, "--output", str(page)])
    assert told.exit_code == 0
    assert "1 of 1 numbers" in told.output
    assert "What moved" in page.read_text("utf-8")
    told = CliRunner().invoke(main, ["compare", *places, "--json"])
    assert json.loads(told.stdout)["numbers"][0]["after"] == "b"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"stages": '])
def test_a_damaged_report_is_named(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    told = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])
    assert told.exit_code == 1
    assert "report.json is" in told.output


def test_a_folder_without_a_report_is_told_with_what_makes_one(tmp_path):
    told = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])
    assert told.exit_code == 1
    assert "python -m trajlib report makes one" in told.output
