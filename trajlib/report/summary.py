"""What a notebook found, saved for the front page of the report.

Apart from the report, whose reading of notebooks takes seconds to import.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trajlib.archive.storage import replacing

__all__ = ["VERDICTS", "save_summary", "write_json"]

VERDICTS = ("holds", "does not hold", "cannot be said")


def save_summary(
    folder: str | Path,
    stage: str,
    *,
    headline: str,
    numbers: Mapping[str, str] | None = None,
    claims: Sequence[Mapping[str, str]] = (),
    figure: Any = None,
) -> None:
    """Save what a notebook found, from which the front page of the report is made.

    Parameters
    ----------
    folder
        Where the pair's results are: ``data/processed/LEMD-LEBL``.
    stage
        The notebook's name without its number: ``normalization``.
    headline
        One sentence that answers the notebook's question with computed numbers.
    numbers
        Label to value with its unit, both short, the first the one that counts. An interval in
        parentheses, as in ``0.64 (0.58 to 0.70)``, is read as one when reports are compared.
    claims
        One dict a claim of the talk: ``claim``, ``talk``, ``here`` and ``verdict``, which is
        ``holds``, ``does not hold`` or ``cannot be said``.
    figure
        Matplotlib figure that carries the answer.

    Raises
    ------
    ValueError
        When a verdict is none of the three.
    """
    unknown = {claim["verdict"] for claim in claims} - set(VERDICTS)
    if unknown:
        raise ValueError(f"verdict {unknown.pop()!r}, expected one of: {', '.join(VERDICTS)}")
    if figure is not None:
        with replacing(Path(folder) / f"{stage}.summary.png") as temporary:
            figure.savefig(temporary, format="png")
    summary = {"headline": headline, "numbers": dict(numbers or {}), "claims": list(claims)}
    write_json(Path(folder) / f"{stage}.summary.json", summary)


def write_json(path: Path, content: dict) -> None:
    """Write a file of JSON that is either whole or not there."""
    with replacing(path) as temporary:
        text = json.dumps(content, ensure_ascii=False, indent=1, default=str)
        temporary.write_text(text, "utf-8")
