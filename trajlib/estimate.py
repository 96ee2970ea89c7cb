"""A number with its uncertainty and its unit."""

import re
from dataclasses import dataclass

_HYPHEN = re.compile(r"(?<![\w.)\]])-(?=\.?\d)")
_PERCENT = re.compile(r"(?<=\d) ?%(?!\w)")


def count(number: int, noun: str) -> str:
    """Return a number with a noun, in the plural unless the number is 1.

    >>> count(1, "fragment"), count(2233, "city pair")
    ('1 fragment', '2,233 city pairs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_number(value: float) -> str:
    """Return a number with four significant digits, or all digits of its whole part.

    >>> [format_number(value) for value in (7494.828, 188.373, 15.776, 9.84, 9.9996, -0.0573)]
    ['7,495', '188.4', '15.78', '9.840', '10.00', '-0.057']
    """
    digits = len(f"{abs(float(f'{value:.4g}')) // 1:.0f}")  # before the decimal point
    return f"{value:z,.{max(0, 4 - digits)}f}"


def format_percent(share: float) -> str:
    """Return a share in per cent.

    >>> format_percent(0.553)
    '55 %'
    """
    return f"{100 * share:.0f} %"


def typeset(text: str) -> str:
    r"""Return a text with a minus sign before negative numbers, and a space before each %.

    It is a no-break space.

    >>> typeset("-1.7% (-4.1 to +0.6) on 2016-01-31, in IBE-12").replace("\xa0", "_")
    '−1.7_% (−4.1 to +0.6) on 2016-01-31, in IBE-12'
    """
    return _PERCENT.sub("\N{NO-BREAK SPACE}%", _HYPHEN.sub("\N{MINUS SIGN}", text))


@dataclass(frozen=True)
class Estimate:
    """A value with an interval and a unit, as notebooks show and reports store it.

    Attributes
    ----------
    value, low, high
        In ``unit``; ``low`` and ``high`` are None without an interval.
    unit
        Such as ``NM``; empty for a ratio, ``%`` for a share in per cent.
    decimals
        Digits shown after the decimal point.
    sign
        Whether a plus sign is shown, as for differences.

    >>> print(Estimate(2.43, 2.31, 2.55, "min", decimals=1))
    2.4 min (2.3 to 2.5)
    >>> print(Estimate(-1.7, -4.1, 0.6, "%", decimals=1, sign=True))
    -1.7 % (-4.1 to +0.6)
    """

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    decimals: int = 2
    sign: bool = False

    def __str__(self) -> str:
        form = f"{'+' if self.sign else ''}z,.{self.decimals}f"
        text = f"{self.value:{form}} {self.unit}".strip()
        if self.low is None or self.high is None:
            return text
        return f"{text} ({self.low:{form}} to {self.high:{form}})"

    _repr_markdown_ = __str__
