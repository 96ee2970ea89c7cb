"""What moved between two reports: parameters, data, versions, claims and numbers."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["compare_reports", "read_report"]

_PARTS = {"pair", "archive", "made", "whole", "parameters", "data", "versions", "stages"}
_NUMBER = r"[-+]?\d[\d,]*\.?\d*"
_VALUE = re.compile(rf"({_NUMBER})\s*([^\d(]*)(?:\(({_NUMBER})[^\d(]*? to ({_NUMBER})[^\d(]*\))?")


def read_report(place: str | Path) -> dict:
    """Return what a report says, of its folder or of the ``report.json`` or ``index.html`` there.

    Raises
    ------
    ValueError
        When there is no report.
    """
    place = Path(place)
    path = (place if place.is_dir() else place.parent) / "report.json"
    if not path.exists():
        raise ValueError(
            f"no report.json in {path.parent}, expected the folder of a report, "
            "such as reports/LEMD-LEBL; python -m trajlib report makes one"
        )
    try:
        told = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; make the report again") from error
    if not isinstance(told, dict) or _PARTS - told.keys():
        raise ValueError(f"{path} is not what a report says of itself; make the report again")
    return told


def compare_reports(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict:
    """Return what moved from one report to another.

    Parameters
    ----------
    before, after
        As `read_report` returns them.

    Returns
    -------
    dict
        ``reports``: of each the ``pair``, ``archive``, when it was ``made`` and whether it is
        ``whole``. ``parameters``, ``data``, ``versions``, ``seconds``: rows of ``name``,
        ``before`` and ``after`` (None where it is missing) and ``moved``. ``claims`` and
        ``numbers``: such rows by ``stage``, those of claims with the ``verdict`` of each and
        those of numbers with their ``change``, and by ``apart`` whether the intervals that they
        give have nothing in common, None where they give none.

    >>> report = {"pair": "LEMD → LEBL", "made": "", "whole": True, "archive": {"title": ""}}
    >>> report |= {"data": {}, "versions": {}, "parameters": {"trees": 10}, "stages": []}
    >>> compare_reports(report, report | {"parameters": {"trees": 20}})["parameters"]
    [{'name': 'trees', 'before': 10, 'after': 20, 'moved': True}]
    """
    both = before, after
    return {
        "reports": [
            {"pair": r["pair"], "archive": r["archive"]["title"]}
            | {"made": r["made"], "whole": r["whole"]}
            for r in both
        ],
        **{part: _join(*(r[part] for r in both)) for part in ("parameters", "data", "versions")},
        "seconds": _join(*({s["name"]: s["seconds"] for s in _ran(r)} for r in both)),
        "claims": _join_stages(both, _claims_of, _compare_verdicts),
        "numbers": _join_stages(both, lambda stage: stage["numbers"], _compare_values),
    }


def _ran(report: Mapping) -> list[dict]:
    return [stage for stage in report["stages"] if stage["status"] != "not run"]


def _claims_of(stage: Mapping) -> dict[str, dict]:
    return {claim["claim"]: claim for claim in stage["claims"]}


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
    sides = {side: row[side] or {"here": None, "verdict": None} for side in ("before", "after")}
    verdicts = {f"verdict_{side}": claim["verdict"] for side, claim in sides.items()}
    return row | {side: claim["here"] for side, claim in sides.items()} | verdicts


def _compare_values(row: dict) -> dict:
    """Return a row with the change of what both sides tell in one unit.

    >>> row = {"before": "8.94 NM (8.5 to 9.3)", "after": "7.61 NM (7.2 to 8.0)"}
    >>> _compare_values(row)["change"], _compare_values(row)["apart"]
    ('-1.33 NM', True)
    """
    found = [_VALUE.fullmatch(str(row[side] or "").strip()) for side in ("before", "after")]
    if not all(found) or found[0][2].strip() != found[1][2].strip():
        return row | {"change": None, "apart": None}
    first, second = ([float(n.replace(",", "")) if n else None for n in m.group(1, 3, 4)]
                     for m in found)  # fmt: skip
    decimals = max(len(match[1].partition(".")[2]) for match in found)
    unit = found[0][2].strip()
    change = f"{second[0] - first[0]:+,.{decimals}f} {'points' if unit == '%' else unit}".strip()
    apart = None
    if None not in (*first, *second):
        apart = first[2] < second[1] or second[2] < first[1]
    return row | {"change": change, "apart": apart}
