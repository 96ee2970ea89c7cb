"""Compare two reports: parameters, data, versions, claims and numbers."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from trajlib.estimate import format_number

__all__ = ["compare_reports", "count_changes", "read_report"]

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
    if not all(isinstance(stage, dict) and {"name", "status"} <= stage.keys()
               for stage in report["stages"]):  # fmt: skip
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
    both = before, after
    return {
        "reports": [
            {"pair": r["pair"], "archive": r["archive"].get("title", "")}
            | {"made": r["made"], "whole": r["whole"]}
            for r in both
        ],
        **{part: _join(*(r[part] for r in both)) for part in ("parameters", "data", "versions")},
        "seconds": _join(*({s["name"]: s["seconds"] for s in _ran(r)} for r in both)),
        "claims": _join_stages(both, _claims_of, _compare_verdicts),
        "numbers": _join_stages(both, _numbers_of, _compare_numbers),
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


def _ran(report: Mapping) -> list[dict]:
    stages = [stage for stage in report["stages"] if stage["status"] != "not run"]
    return [_STAGE | {k: v for k, v in stage.items() if v is not None} for stage in stages]


def _claims_of(stage: Mapping) -> dict[str, dict]:
    return {claim["claim"]: claim for claim in stage["claims"] if "claim" in claim}


def _numbers_of(stage: Mapping) -> dict[str, tuple]:
    return {name: (text, stage["estimates"].get(name)) for name, text in stage["numbers"].items()}


def _join(before: Mapping, after: Mapping) -> list[dict]:
    names = [*before, *(name for name in after if name not in before)]
    rows = ({"name": n, "before": before.get(n), "after": after.get(n)} for n in names)
    return [row | {"moved": row["before"] != row["after"]} for row in rows]


def _join_stages(
    reports: Iterable[Mapping], part: Callable[[Mapping], Mapping], compare: Callable[[dict], dict]
) -> list[dict]:
    before, after = ({stage["name"]: part(stage) for stage in _ran(r)} for r in reports)
    return [
        {"stage": stage, **compare(row)}
        for stage in sorted(before.keys() | after.keys())
        for row in _join(before.get(stage, {}), after.get(stage, {}))
    ]


def _compare_verdicts(row: dict) -> dict:
    sides = {side: row[side] or {} for side in ("before", "after")}
    verdicts = {f"verdict_{side}": claim.get("verdict") for side, claim in sides.items()}
    return row | {side: claim.get("here") for side, claim in sides.items()} | verdicts


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
