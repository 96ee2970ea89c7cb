import json

import pytest
from click.testing import CliRunner

from trajlib.cli import main
from trajlib.estimate import Estimate
from trajlib.report.comparison import compare_reports, read_report
from trajlib.report.html import render_comparison
from trajlib.report.summary import Summary


def describe_report(*, numbers=None, verdict="holds", **changes):
    claim = {"claim": "it spreads less", "talk": "less", "here": "8.7 NM", "verdict": verdict}
    stage = {"name": "02_normalization", "status": "whole", "seconds": 3.0}
    summary = Summary("It spreads.", numbers or {}, [claim])
    stages = [stage | summary.to_dict()]
    parts = {"pair": "LEMD → LEBL", "made": "today", "whole": True, "archive": {"title": "One"}}
    return parts | {"parameters": {}, "data": {}, "versions": {}, "stages": stages} | changes


def compare_numbers(before, after):
    reports = (
        describe_report(numbers={"x": number} if number else {}) for number in (before, after)
    )
    (row,) = compare_reports(*reports)["numbers"]
    return row["change"], row["apart"]


def test_a_report_compared_with_itself_has_not_moved():
    report = describe_report(
        numbers={"x": "1.0 NM"}, parameters={"trees": 10}, data={"files": "3"}, versions={"a": "1"}
    )
    comparison = compare_reports(report, report)
    for part in ("parameters", "data", "versions", "seconds", "numbers", "claims"):
        assert [row["moved"] for row in comparison[part]] == [False]


@pytest.mark.parametrize(
    ("before", "after", "change", "apart"),
    [
        (Estimate(8.94, unit="NM"), Estimate(7.61, unit="NM"), "-1.330 NM", None),
        (Estimate(1901, unit="ft"), Estimate(2276, unit="ft"), "+375.0 ft", None),
        (Estimate(13, unit="%"), Estimate(17, unit="%"), "+4.000 points", None),
        (Estimate(0.64, 0.6, 0.7), Estimate(0.75, 0.71, 0.8), "+0.110", True),
        (Estimate(0.75, 0.71, 0.8), Estimate(0.64, 0.6, 0.7), "-0.110", True),
        (Estimate(0.64, 0.6, 0.7), Estimate(0.69, 0.65, 0.72), "+0.050", False),
        (Estimate(0.64, 0.6, 0.7), Estimate(0.69), "+0.050", None),
        (Estimate(8.9, unit="NM"), Estimate(16.5, unit="km"), None, None),
        ("distance_max", "duration_max", None, None),
        ("8.9 NM", "7.6 NM", None, None),
        (None, Estimate(8.9, unit="NM"), None, None),
    ],
)
def test_estimates_of_one_unit_have_a_change(before, after, change, apart):
    assert compare_numbers(before, after) == (change, apart)


def test_a_stage_of_an_older_report_may_lack_parts():
    report = describe_report()
    report["stages"] = [{"name": "01_index", "status": "whole"}]
    comparison = compare_reports(report, describe_report())
    assert [row["before"] for row in comparison["claims"]] == [None]
    render_comparison(comparison)


@pytest.mark.parametrize("part", ["claims", "numbers", "estimates", "seconds"])
def test_a_part_of_a_stage_may_be_null(part):
    old = describe_report()
    old["stages"] = [stage | {part: None} for stage in old["stages"]]
    old["archive"] = {}
    assert compare_reports(old, describe_report())["reports"][0]["archive"] == ""


def test_a_parameter_of_one_report_only_is_none_in_the_other():
    comparison = compare_reports(
        describe_report(parameters={"trees": 10}), describe_report(parameters={"draws": 50})
    )
    assert [(r["name"], r["before"], r["after"]) for r in comparison["parameters"]] == [
        ("trees", 10, None),
        ("draws", None, 50),
    ]


def test_a_stage_that_only_one_of_them_ran_is_listed():
    without = describe_report()
    without["stages"] = [without["stages"][0] | {"status": "not run"}]
    (row,) = compare_reports(without, describe_report())["claims"]
    assert (row["verdict_before"], row["verdict_after"]) == (None, "holds")


def test_the_page_shows_changed_verdicts_and_escapes_texts_of_a_report():
    before = describe_report(numbers={"x": Estimate(0.1, 0, 0.2)}, parameters={"p": "<script>"})
    after = describe_report(numbers={"x": Estimate(0.9, 0.8, 1.0)}, verdict="does not hold")
    page = render_comparison(compare_reports(before, after))
    for part in ("does not hold", "+0.800 (intervals apart)", "1 of 1 verdicts", "1 of 1 numbers"):
        assert part in page
    assert "<script>" not in page
    assert "script-src 'none'" in page


def write_report(folder, **changes):
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(describe_report(**changes)), "utf-8")
    return folder


def test_a_report_is_read_by_its_folder_or_its_page(tmp_path):
    folder = write_report(tmp_path / "a")
    assert read_report(folder) == read_report(folder / "index.html") == describe_report()


def test_the_command_writes_the_page_or_prints_json(tmp_path):
    folders = [str(write_report(tmp_path / name, numbers={"x": name})) for name in "ab"]
    page = tmp_path / "made" / "moved.html"
    result = CliRunner().invoke(main, ["compare", *folders, "--output", str(page)])
    assert result.exit_code == 0
    assert "1 of 1 numbers" in result.output
    assert "What changed" in page.read_text("utf-8")
    result = CliRunner().invoke(main, ["compare", *folders, "--json"])
    assert json.loads(result.stdout)["numbers"][0]["after"] == "b"


NAMELESS = json.dumps(describe_report() | {"stages": [{"title": "x"}]})


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"stages": ', NAMELESS])
def test_a_damaged_report_is_named(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    result = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 1
    assert "report.json" in result.output
    assert "make the report again" in result.output


def test_a_folder_without_a_report_is_an_error_with_the_command_that_makes_one(tmp_path):
    result = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 1
    assert "python -m trajlib report makes one" in result.output
