"""Times and numbers of samples, as they are written."""

import re
from functools import partial

import numpy as np
import pandas as pd

from trajlib.archive.dialect import Dialect, find_conversion
from trajlib.archive.layout import MISSING, UNITS, FlightError, Layout

__all__ = ["find_times", "parse_numbers", "parse_times", "parse_unix", "split_positions"]

_ZONE = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"  # how a time of ISO 8601 gives its zone
_EARLIEST, _LATEST = 1e8, 4102444800  # s since 1970: March 1973, and the year 2100
_DAY = 86_400
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_DATE = re.compile(r"(?<!\d)(\d{4})([-_./]?)(\d{2})\2(\d{2})(?!\d)")
_BY_DAY = r"^(\d{1,2})([/.-])(\d{1,2})[/.-](\d{4}|\d{2})(?:[T ,]+(.*))?$"
_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S",
            "%Y.%m.%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y/%m/%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y",
            "%Y.%m.%d")  # fmt: skip


def parse_times(texts: pd.Series, dialect: Dialect) -> pd.Series:
    """Return texts as times in UTC, to the millisecond; NaT where one is not a time."""
    if dialect.time_format == "unix":
        return parse_unix(pd.to_numeric(texts, errors="coerce"))
    form = {"ISO 8601": "ISO8601"}.get(dialect.time_format, dialect.time_format)
    parse = partial(pd.to_datetime, format=form, errors="coerce")
    if dialect.timezone == "UTC":
        times = parse(texts, utc=True)
    else:  # of the times without a zone
        if form == "ISO8601":
            zoned = texts.str.contains(_ZONE, na=False)
        else:
            zoned = pd.Series("%z" in form.lower(), texts.index)
        local = _localize(parse(texts[~zoned]), dialect.timezone)
        times = pd.concat([parse(texts[zoned], utc=True), local]).reindex(texts.index)
    return times.dt.tz_convert("UTC").astype("datetime64[ms, UTC]")


def parse_unix(numbers: pd.Series) -> pd.Series:
    """Return the times of numbers that count from 1970; NaT where one is none.

    They are seconds, milliseconds, microseconds or nanoseconds by their size: from March 1973 to
    2100 the four do not overlap. A smaller number is no time, rather than one in 1970.
    """
    values = numbers.to_numpy(float, na_value=np.nan)
    milliseconds = np.full(len(values), np.nan)
    for per_second in (1.0, 1e3, 1e6, 1e9):
        here = (values > _EARLIEST * per_second) & (values < _LATEST * per_second)
        milliseconds[here] = np.round(values[here] * (1000 / per_second))
    times = pd.to_datetime(milliseconds, unit="ms", utc=True)
    return pd.Series(times.astype("datetime64[ms, UTC]"), numbers.index)


def find_times(
    texts: pd.Series, dates: pd.Series | None, dialect: Dialect, column: str, around: str
) -> pd.Series:
    """Return the times of samples in whatever unambiguous form they are written.

    Parameters
    ----------
    texts
        Times, or times of day.
    dates
        Dates, where they stand in a column of their own.
    dialect
        Its format and zone, where columns.toml gives them, hold.
    column
        The file's own name of the column, for messages.
    around
        Text that may hold the date of times of day: comments and the file's name.

    Raises
    ------
    FlightError
        When the form could mean two times, with the question and the line of columns.toml that
        answers it.
    """
    texts = _strip(texts)
    dates = None if dates is None else _strip(dates)
    if dialect.time_format != "ISO 8601":
        return parse_times(texts if dates is None else dates + " " + texts, dialect)
    filled = texts.dropna()
    if filled.empty:
        raise FlightError("timestamp is missing in all samples")
    if dates is not None and _are_clocks(filled):
        days = _parse_days(dates, dialect, column)
        return _join(days, _parse_clocks(texts, column), dialect)
    if filled.str.fullmatch(_NUMBER).all():
        times = parse_unix(pd.to_numeric(texts, errors="coerce"))
        if times.notna().any():
            return times
        if not filled.str.fullmatch(r"\d{14}").all():
            return _join(_find_day(around, texts, column), _parse_clocks(texts, column), dialect)
    elif _are_clocks(filled):
        return _join(_find_day(around, texts, column), _parse_clocks(texts, column), dialect)
    return _parse_dated(texts, dialect, column)


def _strip(texts: pd.Series) -> pd.Series:
    texts = texts.astype("str").str.strip()
    return texts.mask(texts.str.lower().isin(MISSING))


def _are_clocks(texts: pd.Series) -> bool:
    clock = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?Z?"
    seconds = pd.to_numeric(texts, errors="coerce").lt(_EARLIEST).all()
    return bool(texts.str.fullmatch(clock).all() or seconds)


def _parse_clocks(texts: pd.Series, column: str) -> pd.Series:
    """Return times of day as seconds."""
    seconds = pd.to_numeric(texts, errors="coerce")
    if seconds.notna().any():
        filled = seconds.dropna()
        if filled.iloc[0] < 1:
            raise FlightError(
                f"does {column} count from midnight or from the flight's first sample? Give the "
                "time itself in a column, which columns.toml names: "
                'timestamp = { column = "NAME", format = "..." } under [columns]'
            )
        if not filled.between(0, 2 * _DAY).all():
            raise FlightError(
                f"{column} is {texts.dropna().iloc[0]}: neither a time since 1970 nor seconds of a "
                'day; give its format in columns.toml: timestamp = { column = "' + column + '", '
                'format = "%H%M%S" } under [columns], or another column'
            )
    else:
        clock = texts.str.removesuffix("Z")
        clock = clock.where(clock.str.count(":") != 1, clock + ":00")
        seconds = pd.to_timedelta(clock, errors="coerce").dt.total_seconds()
    return seconds


def _join(days: pd.Series, seconds: pd.Series, dialect: Dialect) -> pd.Series:
    # midnight passes where a time of day falls by more than half a day and its date does not rise
    known = seconds.ffill().fillna(0)
    falls = (known.diff() < -_DAY / 2) & ~(days.ffill().diff() > pd.Timedelta(0))
    times = days + pd.to_timedelta(seconds + _DAY * falls.cumsum(), unit="s")
    return _localize(times, dialect.timezone).astype("datetime64[ms, UTC]")


def _localize(times: pd.Series, timezone: str) -> pd.Series:
    local = times.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    return local.dt.tz_convert("UTC")


def _find_day(around: str, texts: pd.Series, column: str) -> pd.Series:
    """Return the only date that stands beside times of day."""
    days = set()
    for year, _, month, day in _DATE.findall(around):
        text = f"{year}-{month}-{day}"
        if "1950" < year < "2100" and pd.notna(pd.to_datetime(text, errors="coerce")):
            days.add(text)
    if len(days) != 1:
        found = f"the dates {', '.join(sorted(days))}" if days else "no date"
        raise FlightError(
            f"{column} is a time of day ({texts.dropna().iloc[0]}), of which day? There is {found} "
            "in a column, in the comments or in the file's name; a column is named in columns.toml "
            'by date = "NAME" under [import]'
        )
    return pd.Series(pd.Timestamp(days.pop()), texts.index)


def _parse_days(dates: pd.Series, dialect: Dialect, column: str) -> pd.Series:
    dates = dates.str.replace(r"[T ]00:00:00(\.0+)?Z?$", "", regex=True)
    compact = dates.str.fullmatch(r"\d{8}", na=False)
    dates = dates.where(~compact, dates.str[:4] + "-" + dates.str[4:6] + "-" + dates.str[6:])
    return _parse_dated(dates, dialect, column, is_day=True).dt.tz_localize(None)


def _parse_dated(
    texts: pd.Series, dialect: Dialect, column: str, *, is_day: bool = False
) -> pd.Series:
    parts = texts.str.extract(_BY_DAY)
    if parts[0].notna().any():
        texts = _order_days(texts, parts, column)
    zoned = Dialect() if is_day else Dialect(timezone=dialect.timezone)
    times = parse_times(texts, zoned)
    for form in _FORMATS if times.isna().all() else ():
        times = parse_times(texts, Dialect(timezone=zoned.timezone, time_format=form))
        if times.notna().any():
            break
    return times


def _order_days(texts: pd.Series, parts: pd.DataFrame, column: str) -> pd.Series:
    """Return dates as day/month/year in ISO 8601, where a number above 12 gives the order."""
    first, second = (pd.to_numeric(parts[i]) for i in (0, 2))
    if first.gt(12).any() == second.gt(12).any():
        mark = parts[1].dropna().iloc[0]
        year = "%Y" if parts[3].dropna().str.len().iloc[0] == 4 else "%y"
        clock = " %H:%M:%S" if parts[4].notna().any() else ""
        forms = [
            f"{mark}".join(order) + clock for order in (("%d", "%m", year), ("%m", "%d", year))
        ]
        raise FlightError(
            f"is {texts.dropna().iloc[0]} day{mark}month or month{mark}day? Say so in columns.toml:"
            f' timestamp = {{ column = "{column}", format = "{forms[0]}" }} under [columns], or '
            f'"{forms[1]}"'
        )
    day, month = (0, 2) if first.gt(12).any() else (2, 0)
    year = parts[3].where(parts[3].str.len() == 4, "20" + parts[3])
    joined = year + "-" + parts[month].str.zfill(2) + "-" + parts[day].str.zfill(2)
    clock = parts[4].fillna("00:00:00")
    return (joined + " " + clock).where(joined.notna(), texts)


def parse_numbers(texts: pd.Series, name: str, layout: Layout) -> np.ndarray:
    """Return the numbers of a column in the schema's unit; NaN where one is missing.

    Understood are flight levels (``FL310``), thousands (``31,000``), decimal commas, units after
    the number (``10668 m``) and hemispheres (``40.5 N``).

    Raises
    ------
    FlightError
        When a text is no number.
    """
    texts = _strip(texts)
    if layout.decimal == ",":
        swapped = texts.str.replace(".", "").str.replace(",", ".")
        texts = texts.where(~texts.str.contains(",", na=False), swapped)
    factor, offset = layout.units.get(name, (1.0, 0.0))
    numbers = pd.to_numeric(texts, errors="coerce").astype(float) * factor + offset
    odd = texts[texts.notna() & numbers.isna()].str.replace(",(?=\\d{3})", "", regex=True)
    for text in odd.unique():
        number = _parse_odd(text, name, factor, offset)
        if number is None:
            count = (odd == text).sum()
            raise FlightError(f"{name} is {text[:40]!r} in {count} samples, expected a number")
        numbers[odd.index[odd == text]] = number
    return numbers.where(np.isfinite(numbers)).to_numpy(float, na_value=np.nan)


def _parse_odd(text: str, name: str, factor: float, offset: float) -> float | None:
    found = re.fullmatch(rf"(FL)? ?({_NUMBER}) ?°?([a-zA-Z/ 0]*)", text, re.IGNORECASE)
    if found is None:
        return None
    level, number, unit = found.groups()
    if level:
        return 100 * float(number) if name == "altitude" and not unit else None
    if not unit:
        return float(number) * factor + offset
    if name in ("latitude", "longitude"):
        sign = {"N": 1, "E": 1, "S": -1, "W": -1}.get(unit.upper())
        return sign and sign * float(number)
    try:
        factor, offset = find_conversion(name, UNITS[unit.lower()])
    except (KeyError, ValueError):
        return None
    return float(number) * factor + offset


def split_positions(texts: pd.Series) -> dict[str, pd.Series]:
    """Return latitude and longitude of texts that hold both, the latitude first.

    >>> both = split_positions(pd.Series(["42.7,-1.5", "(42.8 -1.6)"]))
    >>> both["latitude"].tolist(), both["longitude"].tolist()
    (['42.7', '42.8'], ['-1.5', '-1.6'])
    """
    parts = texts.str.extract(r"^[\[(]?\s*([-+]?[\d.]+)\s*[,; ]\s*([-+]?[\d.]+)\s*[\])]?$")
    return {"latitude": parts[0], "longitude": parts[1]}
