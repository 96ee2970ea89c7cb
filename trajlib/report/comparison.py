"""Compare two reports: parameters, data, versions, claims and numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trajlib.estimate import format_number

_PARTS = {"pair", "archive", "made", "whole", "parameters", "data", "versions", "stages"}
_STAGE: dict = {"claims": [], "numbers": {}, "estimates": {}, "seconds": None}


def read_report(path: str | Path) -> dict:
    """Return the content of a report, given its folder or a file in it.

    Raises
    ------
    ValueError
        When there is no report, or it is damaged.
    """
    path = Path(path)
    path = (path if path.is_dir() else path.parent) / "report.json"
    if not path.exists():
        raise ValueError(
            f"no report.json in {path.parent}, expected the folder of a report, "
            "such as reports/LEMD-LEBL; python -m trajlib report makes one"
        )
    try:
        report = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; make the report again") from error
    if not isinstance(report, dict) or any(report.get(part) is None for part in _PARTS):
        raise ValueError(f"{path} is not the content of a report; make the report again")
    for stage in report["stages"]:
        if not isinstance(stage, dict) or not {"name", "status"} <= stage.keys():
            raise ValueError(f"{path} has a stage without a name; make the report again")
    return report


def compare_reports(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict:
    """Return what changed from one report to another.

    Parameters
    ----------
    before, after
        As returned by `read_report`.

    Returns
    -------
    dict
        ``reports``: ``pair``, ``archive``, ``made`` (time) and ``whole`` (complete) of each.
        ``parameters``, ``data``, ``versions``, ``seconds``: rows of ``name``, ``before`` and
        ``after`` (None if missing) and ``moved``. ``claims`` and ``numbers``: such rows by
        ``stage``, for claims with both verdicts, for numbers with their ``change`` and ``apart``,
        whether their intervals do not overlap; both are None if the values are not
        estimates with the same unit, or have no interval.

    >>> report = {"pair": "LEMD → LEBL", "made": "", "whole": True, "archive": {"title": ""}}
    >>> report |= {"data": {}, "versions": {}, "parameters": {"trees": 10}, "stages": []}
    >>> compare_reports(report, report | {"parameters": {"trees": 20}})["parameters"]
    [{'name': 'trees', 'before': 10, 'after': 20, 'moved': True}]
    """
    stages = [_read_stages(report) for report in (before, after)]
    seconds = []
    for side in stages:
        seconds.append({name: stage["seconds"] for name, stage in side.items()})
    claims, numbers = [], []
    for name in sorted(stages[0].keys() | stages[1].keys()):
        first, second = (side.get(name, _STAGE) for side in stages)
        for row in _join(_claims_of(first), _claims_of(second)):
            claims.append({"stage": name, **_compare_verdicts(row)})
        for row in _join(_numbers_of(first), _numbers_of(second)):
            numbers.append({"stage": name, **_compare_numbers(row)})
    return {
        "reports": [
            {"pair": report["pair"], "archive": report["archive"].get("title", "")}
            | {"made": report["made"], "whole": report["whole"]}
            for report in (before, after)
        ],
        "parameters": _join(before["parameters"], after["parameters"]),
        "data": _join(before["data"], after["data"]),
        "versions": _join(before["versions"], after["versions"]),
        "seconds": _join(*seconds),
        "claims": claims,
        "numbers": numbers,
    }


def count_changes(comparison: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of changes in a result of `compare_reports`.

    Returns
    -------
    dict
        Changed ``parameters``, ``data``, ``numbers`` and verdicts of ``claims``; numbers with two
        intervals (``judged``), and those of them with intervals ``apart``.
    """
    numbers = comparison["numbers"]
    parts = ("parameters", "data", "numbers")
    return {
        **{part: sum(row["moved"] for row in comparison[part]) for part in parts},
        "claims": sum(r["verdict_before"] != r["verdict_after"] for r in comparison["claims"]),
        "judged": sum(row["apart"] is not None for row in numbers),
        "apart": sum(row["apart"] is True for row in numbers),
    }


def _read_stages(report: Mapping) -> dict[str, dict]:
    """Return the stages that ran, by name; what an older report lacks is empty."""
    stages = {}
    for stage in report["stages"]:
        if stage["status"] != "not run":
            present = {part: value for part, value in stage.items() if value is not None}
            stages[stage["name"]] = _STAGE | present
    return stages


def _claims_of(stage: Mapping) -> dict[str, dict]:
    return {claim["claim"]: claim for claim in stage["claims"] if "claim" in claim}


def _numbers_of(stage: Mapping) -> dict[str, tuple]:
    return {name: (text, stage["estimates"].get(name)) for name, text in stage["numbers"].items()}


def _join(before: Mapping, after: Mapping) -> list[dict]:
    names = {**before, **after}
    rows = ({"name": n, "before": before.get(n), "after": after.get(n)} for n in names)
    return [row | {"moved": row["before"] != row["after"]} for row in rows]


def _compare_verdicts(row: dict) -> dict:
    before, after = row["before"] or {}, row["after"] or {}
    verdicts = {"verdict_before": before.get("verdict"), "verdict_after": after.get("verdict")}
    return row | {"before": before.get("here"), "after": after.get("here")} | verdicts


def _compare_numbers(row: dict) -> dict:
    """Return a row with texts, and with the change if both sides are estimates with one unit.

    >>> one = "8.9 NM", {"value": 8.94, "low": 8.5, "high": 9.3, "unit": "NM"}
    >>> other = "7.6 NM", {"value": 7.61, "low": 7.2, "high": 8.0, "unit": "NM"}
    >>> row = _compare_numbers({"before": one, "after": other})
    >>> row["before"], row["change"], row["apart"]
    ('8.9 NM', '-1.330 NM', True)
    """
    (text, first), (other, second) = (row[side] or (None, None) for side in ("before", "after"))
    row |= {"before": text, "after": other, "moved": text != other, "change": None, "apart": None}
    if not first or not second or first["unit"] != second["unit"]:
        return row
    unit = "points" if first["unit"] == "%" else first["unit"]
    change = second["value"] - first["value"]
    row["change"] = f"{'+' if change > 0 else ''}{format_number(change)} {unit}".strip()
    ends = [side[end] for side in (first, second) for end in ("low", "high")]
    if None not in ends:
        row["apart"] = first["high"] < second["low"] or second["high"] < first["low"]
    return row
