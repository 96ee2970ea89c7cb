"""The result of a notebook: a sentence, some numbers, and the claims of the talk that it checks.

A separate module, since the report's code for notebooks takes seconds to import.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trajlib.archive.storage import replacing
from trajlib.archive.study import Study
from trajlib.estimate import Estimate
from trajlib.report.content import SummaryContent

_VERDICTS = ("holds", "does not hold", "cannot be said")
SIMULATED = "Simulated flights test the code and are no evidence about real traffic."
SUMMARY_TYPE = "application/vnd.trajlib.summary+json"  # marks the output for the report


@dataclass(frozen=True)
class Summary:
    """The result of a notebook, as saved by `save_summary`; its last line shows it.

    If the flights are ``simulated``, a note is added.
    """

    headline: str
    numbers: Mapping[str, Estimate | str] = field(default_factory=dict)
    claims: Sequence[Mapping[str, str]] = ()
    simulated: bool = False
    empty: bool = False

    def to_dict(self) -> SummaryContent:
        """Return the content of ``STAGE.summary.json``."""
        return {
            "headline": self.headline,
            "numbers": {label: str(number) for label, number in self.numbers.items()},
            "estimates": {
                label: {part: getattr(number, part) for part in ("value", "low", "high", "unit")}
                for label, number in self.numbers.items()
                if isinstance(number, Estimate)
            },
            "claims": [dict(claim) for claim in self.claims],
            "empty": self.empty,
        }

    def _repr_mimebundle_(self, **_: object) -> dict:
        text = f"**{self.headline}**"
        if self.simulated:
            text += f"\n\n{SIMULATED}"
        return {"text/markdown": text, SUMMARY_TYPE: {}}


def save_summary(
    study: Study | str | Path,
    stage: str,
    *,
    headline: str,
    numbers: Mapping[str, Estimate | str] | None = None,
    claims: Sequence[Mapping[str, str]] = (),
    figure: Any = None,
    empty: bool = False,
) -> Summary:
    """Save the result of a notebook for the front page of the report, and return it.

    Parameters
    ----------
    study
        The study, or the folder of its results, such as ``data/processed/LEMD-LEBL``.
    stage
        The notebook's name without its number: ``normalization``.
    headline
        One sentence that answers the notebook's question with computed numbers.
    numbers
        Numbers by label, the most important first. When reports are compared, an `Estimate` is
        compared by value and interval, other texts only for equality.
    claims
        One dict per claim of the talk: ``claim``, ``talk``, ``here`` and ``verdict``, which
        is ``holds``, ``does not hold`` or ``cannot be said``.
    figure
        Matplotlib figure that shows the answer.
    empty
        Whether there are no data for the notebook's question; it has no card then.

    Raises
    ------
    ValueError
        When a verdict is not one of the three.

    >>> from tempfile import mkdtemp
    >>> median = Estimate(9.71, 9.5, 9.9, "min", decimals=1)
    >>> summary = save_summary(mkdtemp(), "climb", headline="Short.", numbers={"median": median})
    >>> summary.to_dict()["numbers"]
    {'median': '9.7 min (9.5 to 9.9)'}
    """
    unknown = {claim["verdict"] for claim in claims} - set(_VERDICTS)
    if unknown:
        raise ValueError(f"verdict {unknown.pop()!r}, expected one of: {', '.join(_VERDICTS)}")
    if isinstance(study, Study):
        folder, simulated = Path(study.results), study.dialect.simulated
    else:
        folder, simulated = Path(study), False
    summary = Summary(headline, numbers or {}, claims, simulated, empty)
    if figure is not None:
        with replacing(folder / f"{stage}.summary.png") as temporary:
            figure.savefig(temporary, format="png")
    write_json(folder / f"{stage}.summary.json", summary.to_dict())
    return summary


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(content, ensure_ascii=False, indent=1, default=_to_plain)
    write_file(path, text.encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically; only its owner can read it."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _to_plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)  # NumPy numbers
