"""Parse the times and numbers of samples, in the forms in which they are written."""

import re
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from trajlib.archive.dialect import Dialect, find_conversion, format_entry
from trajlib.archive.layout import MISSING, UNITS, FlightError

_DEFAULT = Dialect()
_ZONE = r"[T ]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"  # a time in ISO 8601 with a zone
_EARLIEST, _LATEST = 1e8, 4102444800  # s since 1970: March 1973, and the year 2100
_FIRST = pd.Timestamp("1950", tz="UTC")  # in ISO 8601, 1704067800 is a day of the year 1704
_YEAR_1 = 62_135_596_800  # s from the year 1, from which flight simulators count, to 1970
_DAY = 86_400
_EARLY = 600  # s; times that begin earlier may count from the flight's first sample,
_LONGEST = 18 * 3600  # s, unless they go on for longer than a flight
_SEVERAL = 10  # different numbers needed to recognise times written as hhmmss
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_THOUSANDS = r"[+-]?(?:\d{1,3}|[1-9]\d{0,2}(?:\.\d{3})+)"
_NO_PART = r"(?<=\d)[,\s'’](?=\d{3}(?!\d))|(?<=\d)\s*[↑→↓↗↘▲▼]$"  # thousands, climb or descent
_COORDINATE = r"[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)"
_POSITIONS = (  # latitude and longitude in one field: numbers, or with letters before or after
    rf"(?P<latitude>{_COORDINATE})(?:\s*[,;/]\s*|\s+)(?P<longitude>{_COORDINATE})",
    r"(?P<latitude>[NS][^EW]*?)[\s,;/]*(?P<longitude>[EW][^NS]*?)",
    r"(?P<latitude>[^NSEW]*[NS])[\s,;/]*(?P<longitude>[^NSEW]*[EW])",
)
_DATE = re.compile(r"(?<!\d)(\d{4})([-_./]?)(\d{2})\2(\d{2})(?!\d)")
_BY_DAY = r"^(\d{1,2})([/.-])(\d{1,2})[/.-](\d{4}|\d{2})(?:[T ,]+(.*))?$"
_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d %b %Y %H:%M:%S", "%d-%b-%Y %H:%M:%S",
            "%Y.%m.%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y/%m/%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y",
            "%Y.%m.%d")  # fmt: skip


def parse_times(texts: pd.Series, dialect: Dialect, flights: pd.Series | None = None) -> pd.Series:
    """Return texts as times in UTC, to the millisecond; NaT for others, and before 1950.

    Times in the hour that repeats when the clock is put back need the flight of each sample: the
    neighbouring samples show which of both hours it is.
    """
    if dialect.time_format == "unix":
        return parse_unix(pd.to_numeric(texts, errors="coerce"))
    form = "ISO8601" if dialect.time_format == "ISO 8601" else dialect.time_format
    parse = partial(pd.to_datetime, format=form, errors="coerce")
    if dialect.timezone == "UTC":
        times = parse(texts, utc=True)
    else:  # the dialect's zone applies to times without a zone
        if form == "ISO8601":
            zoned = texts.str.contains(_ZONE, na=False)
        else:
            zoned = pd.Series("%z" in form.lower(), texts.index)
        local = _localize(parse(texts[~zoned]), dialect.timezone, flights)
        times = pd.concat([parse(texts[zoned], utc=True), local]).reindex(texts.index)
    times = times.where(times >= _FIRST)
    return times.dt.tz_convert("UTC").astype("datetime64[ms, UTC]")


def parse_unix(numbers: pd.Series, column: str = "") -> pd.Series:
    """Return the times of numbers that count from 1970; NaT for other numbers.

    They are seconds, milliseconds, microseconds or nanoseconds depending on their size: from March
    1973 to 2100 the ranges do not overlap, nor with seconds since the year 1. Smaller numbers are
    not times.

    Raises
    ------
    FlightError
        When the name of the column is that of a satellite receiver's time.
    """
    values = numbers.to_numpy(float, na_value=np.nan)
    milliseconds = np.full(len(values), np.nan)
    for per_second, start in ((1.0, 0), (1.0, _YEAR_1), (1e3, 0), (1e6, 0), (1e9, 0)):
        since = values - start
        fits = (since > _EARLIEST * per_second) & (since < _LATEST * per_second)
        milliseconds[fits] = np.round(since[fits] * (1000 / per_second))
        if fits.all():
            break
    if column.lower().startswith("gps") and np.isfinite(milliseconds).any():
        raise FlightError(
            f"does {column} count from 1970 or, as satellite receivers do, from 6 January 1980? "
            f'In the first case say so in columns.toml: timestamp = {{ column = "{column}", '
            'format = "unix" } under [columns]; in the second give the time in UTC'
        )
    times = pd.to_datetime(milliseconds, unit="ms", utc=True)
    return pd.Series(times.astype("datetime64[ms, UTC]"), numbers.index)


def convert_times(
    values: pd.Series,
    dialect: Dialect = _DEFAULT,
    column: str = "",
    flights: pd.Series | None = None,
) -> pd.Series:
    """Return a column of times of any type in UTC, to the millisecond; NaT for other values.

    Numbers count from 1970, see `parse_unix`; for texts see `find_times`.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").astype("datetime64[ms, UTC]")
    if values.dtype.kind == "M":
        flights = pd.Series(0, values.index) if flights is None else flights
        return _localize(values, dialect.timezone, flights).astype("datetime64[ms, UTC]")
    if pd.api.types.is_numeric_dtype(values):
        return parse_unix(values, column if dialect.time_format != "unix" else "")
    texts = values.astype("str")
    if strip_texts(texts).isna().all():
        return pd.Series(pd.NaT, values.index, dtype="datetime64[ms, UTC]")
    return find_times(texts, None, dialect, column, "", flights)


def find_times(
    texts: pd.Series,
    dates: pd.Series | None,
    dialect: Dialect,
    column: str,
    around: str,
    flights: pd.Series | None = None,
) -> pd.Series:
    """Return the times of samples, written in any unambiguous form.

    Parameters
    ----------
    texts
        Times, or times of day.
    dates
        Dates, if they are in a separate column.
    dialect
        Its format and zone apply if columns.toml gives them.
    column
        Name of the column in the file, for messages.
    around
        Text that may contain the date for times of day: comments and the file's name.
    flights
        Flight of each sample, if there are several flights.

    Raises
    ------
    FlightError
        When the form is ambiguous; the message has the question, and the line of columns.toml that
        answers it.
    """
    texts = strip_texts(texts).str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True)
    dates = None if dates is None else strip_texts(dates)
    order = pd.Series(0, texts.index) if flights is None else flights
    if dialect.time_format != "ISO 8601":
        return parse_times(texts if dates is None else dates + " " + texts, dialect, order)
    texts = _use_24_hours(texts).str.replace(r"(:\d\d:\d\d)[,:](\d+)", r"\1.\2", regex=True)
    filled = texts.dropna()
    if filled.empty:
        raise FlightError("timestamp is missing in all samples")
    if dates is not None and _are_clocks(filled):
        days = _parse_days(dates, dialect, column)
        return _join(days, _parse_clocks(texts, column, dialect), dialect, flights)
    if filled.str.fullmatch(_NUMBER).mean() > 0.5:  # the others are lines that are no samples
        times = parse_unix(pd.to_numeric(texts, errors="coerce"), column)
        if times.notna().any():
            return times
    if _are_clocks(filled):
        seconds = _parse_clocks(texts, column, dialect)
        if flights is not None and (seconds.dropna().diff() < -_DAY / 2).any():
            raise FlightError(
                f"{column} is a time of day that passes midnight, and no column has the date"
            )
        return _join(_find_day(around, texts, column), seconds, dialect)
    return _parse_dated(texts, dialect, column, order)


def strip_texts(texts: pd.Series) -> pd.Series:
    """Return texts without surrounding spaces, null where they stand for no value."""
    texts = texts.astype("str").str.strip()
    return texts.mask(texts.str.lower().isin(MISSING))


def find_operator(callsign: str) -> str | None:
    """Return the ICAO code of the airline in a callsign, None if it is no airline's.

    An airline's callsign begins with three letters and a digit; registrations do not.

    >>> find_operator("IBE1234"), find_operator("N123AB"), find_operator("GABCD")
    ('IBE', None, None)
    """
    match = re.match(r"\s*([A-Z]{3})\d", callsign.upper())
    return match[1] if match else None


def _use_24_hours(texts: pd.Series) -> pd.Series:
    """Return times with AM or PM in 24 hours, others unchanged."""
    if not texts.str.contains(r"[AaPp]\.?[Mm]\.?$", na=False).any():
        return texts
    parts = texts.str.extract(r"(?i)^(.*?)(\d{1,2})(:\d\d\S*)\s*([AP])\.?M\.?$")
    hours = pd.to_numeric(parts[1]) % 12 + 12 * parts[3].str.upper().eq("P")
    written = hours.map("{:02.0f}".format, na_action="ignore").astype("str")
    return (parts[0] + written + parts[2]).fillna(texts)


def _are_clocks(texts: pd.Series) -> bool:
    clock = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?Z?"
    seconds = pd.to_numeric(texts, errors="coerce").lt(_EARLIEST).all()
    return bool(texts.str.fullmatch(clock).all() or seconds)


def _parse_clocks(texts: pd.Series, column: str, dialect: Dialect) -> pd.Series:
    """Return times of day as seconds."""
    seconds = pd.to_numeric(texts, errors="coerce")
    if seconds.isna().all():
        clock = texts.str.removesuffix("Z")
        clock = clock.where(clock.str.count(":") != 1, clock + ":00")
        return pd.to_timedelta(clock, errors="coerce").dt.total_seconds()
    filled = seconds.dropna()
    minutes = filled // 100
    is_clock = (filled < 240_000) & (filled % 100 < 60) & (minutes % 100 < 60)
    if is_clock.all() and filled.nunique() >= _SEVERAL:  # all look like hhmmss
        return minutes // 100 * 3600 + minutes % 100 * 60 + filled % 100
    named = re.search(r"(?i)day|midnight|sod|tod|utc|gmt", column)
    if filled.iloc[0] < _EARLY and filled.max() < _LONGEST and not named:
        raise FlightError(
            f"does {column} count from midnight or from the flight's first sample? In the first "
            "case name the column seconds_of_day; in the second give the time itself in a column, "
            'which columns.toml names: timestamp = { column = "NAME", format = "..." } under '
            "[columns]"
        )
    if filled.min() > 20_000 and np.ptp(filled) < 3 and filled.nunique() >= _SEVERAL:
        raise FlightError(
            f"{column} is {texts.dropna().iloc[0]}, which seems to count days, as spreadsheets "
            "do: write it as 2016-01-31 06:15:00"
        )
    if not filled.between(0, 2 * _DAY).all():
        raise FlightError(
            f"{column} is {texts.dropna().iloc[0]}: neither a time since 1970 nor seconds of a "
            f"day; give its format in columns.toml: {write_time_line(column, '%H%M%S', dialect)} "
            "under [columns], or another column"
        )
    return seconds


def _join(
    days: pd.Series, seconds: pd.Series, dialect: Dialect, flights: pd.Series | None = None
) -> pd.Series:
    # midnight is where the time of day drops by more than half a day while the date stays
    if flights is None:
        flights = pd.Series(0, days.index)
    table = pd.DataFrame({"flight": flights, "day": days, "clock": seconds})
    table = table.sort_values("flight", kind="stable")
    previous = table.groupby("flight", sort=False)[["day", "clock"]].ffill()
    step = previous.groupby(table["flight"], sort=False).diff()
    resets = (step["clock"] < -_DAY / 2) & ~(step["day"] > pd.Timedelta(0))
    midnights = resets.groupby(table["flight"], sort=False).cumsum()
    times = days + pd.to_timedelta(seconds + _DAY * midnights, unit="s")
    return _localize(times, dialect.timezone, flights).astype("datetime64[ms, UTC]")


def _localize(times: pd.Series, timezone: str, flights: pd.Series | None = None) -> pd.Series:
    local = times.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    if flights is not None and (local.isna() & times.notna()).any():
        local = _resolve_repeated_hour(times, local, flights.reindex(times.index))
    return local.dt.tz_convert("UTC")


def _resolve_repeated_hour(times: pd.Series, local: pd.Series, flights: pd.Series) -> pd.Series:
    """Return local times with those of the hour that the clock repeats, by a flight's order."""
    timezone = local.dt.tz
    first, second = (
        times.dt.tz_localize(timezone, ambiguous=np.full(len(times), summer), nonexistent="NaT")
        for summer in (True, False)
    )
    valid = first.notna()
    repeated = valid & (first != second)
    local = local.copy()
    for _, flight in repeated[valid].groupby(flights[valid], sort=False):
        previous, following = local[flight.index].ffill(), local[flight.index].bfill()
        runs = (flight != flight.shift()).cumsum()[flight]
        for _, run in runs.groupby(runs):
            start, end = run.index[[0, -1]]
            hour = second[start] - first[start]
            is_second = (first[run.index].diff() < -hour / 2).cumsum()  # the clock is put back
            if is_second.max() == 0:  # the clock is that of the nearer sample outside the hour
                before, after = first[start] - previous[start], following[end] - second[end]
                is_second += int(after < hour and not before < after)
                is_unclear = not (before < hour or after < hour)
            else:
                is_unclear = is_second.max() > 1
            if is_unclear:
                raise FlightError(
                    f"{times[start]} is in the hour that {timezone} has twice, as the clock is put "
                    "back, and no sample before or after shows which one it is: give the times in "
                    "UTC, or with an offset, as 2024-10-27T02:45:00+02:00"
                )
            local[run.index] = first[run.index].where(is_second == 0, second[run.index])
    return local


def _find_day(around: str, texts: pd.Series, column: str) -> pd.Series:
    """Return the date for times of day, if exactly one is given."""
    days = set()
    for year, _, month, day in _DATE.findall(around):
        text = f"{year}-{month}-{day}"
        if "1950" < year < "2100" and pd.notna(pd.to_datetime(text, errors="coerce")):
            days.add(text)
    if len(days) != 1:
        dates = f"the dates {', '.join(sorted(days))}" if days else "no date"
        raise FlightError(
            f"{column} is a time of day ({texts.dropna().iloc[0]}), of which day? There is {dates} "
            "in a column, in the comments or in the file's name: put it into the name, as in "
            'flight_2016-01-31.csv, or name its column in columns.toml by date = "NAME" under '
            "[import]"
        )
    return pd.Series(pd.Timestamp(days.pop()), texts.index)


def _parse_days(dates: pd.Series, dialect: Dialect, column: str) -> pd.Series:
    dates = dates.str.replace(r"[T ]00:00:00(\.0+)?Z?$", "", regex=True)
    compact = dates.str.fullmatch(r"\d{8}", na=False)
    dates = dates.where(~compact, dates.str[:4] + "-" + dates.str[4:6] + "-" + dates.str[6:])
    return _parse_dated(dates, dialect, column, is_day=True).dt.tz_localize(None)


def _parse_dated(
    texts: pd.Series,
    dialect: Dialect,
    column: str,
    flights: pd.Series | None = None,
    *,
    is_day: bool = False,
) -> pd.Series:
    parts = texts.str.extract(_BY_DAY)
    if parts[0].notna().any():
        texts = _order_days(texts, parts, column, dialect, is_day=is_day)
    timezone = "UTC" if is_day else dialect.timezone
    for form in ("ISO 8601", *_FORMATS):
        times = parse_times(texts, Dialect(timezone=timezone, time_format=form), flights)
        if times.notna().any():
            break
    return times


def write_time_line(column: str, form: str, dialect: Dialect) -> str:
    """Return the line of a columns.toml that gives the format of times, and keeps their zone.

    >>> write_time_line("TIME", "%H%M%S", Dialect(timezone="Europe/Madrid"))
    'timestamp = { column = "TIME", format = "%H%M%S", timezone = "Europe/Madrid" }'
    """
    zone = "" if dialect.timezone == "UTC" else dialect.timezone
    return format_entry("timestamp", column=column, format=form, timezone=zone)


def _order_days(
    texts: pd.Series, parts: pd.DataFrame, column: str, dialect: Dialect, *, is_day: bool
) -> pd.Series:
    """Return dates with day, month and year in ISO 8601; a number above 12 shows the order."""
    first, second, third = (pd.to_numeric(parts[i]) for i in (0, 2, 3))
    # of two digits, the third number may also be the day
    year_first = first.gt(12).any() and third.dropna().between(1, 31).all()
    if first.gt(12).any() == second.gt(12).any() or year_first:
        mark = parts[1].dropna().iloc[0]
        year = "%Y" if parts[3].dropna().str.len().iloc[0] == 4 else "%y"
        clock = " %H:%M:%S" if is_day or parts[4].notna().any() else ""
        other = (year, "%m", "%d") if year_first else ("%m", "%d", year)
        forms = [mark.join(order) + clock for order in (("%d", "%m", year), other)]
        words = f"year{mark}month" if year_first else f"month{mark}day"
        date = ', with the column of the date as date = "NAME" under [import]' if is_day else ""
        raise FlightError(
            f"is {texts.dropna().iloc[0]} day{mark}month or {words}? Say so in columns.toml:"
            f" {write_time_line(column, forms[0], dialect)} under [columns], or "
            f'"{forms[1]}"{date}'
        )
    day, month = (0, 2) if first.gt(12).any() else (2, 0)
    year = parts[3].where(parts[3].str.len() == 4, "20" + parts[3])
    joined = year + "-" + parts[month].str.zfill(2) + "-" + parts[day].str.zfill(2)
    clock = parts[4].fillna("00:00:00")
    return (joined + " " + clock).where(joined.notna(), texts)


def convert_numbers(
    values: pd.Series, name: str, factor: float = 1.0, offset: float = 0.0, decimal: str = "."
) -> pd.Series:
    """Return a column of any type as numbers in the schema's unit; NaN for other values."""
    if pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
        numbers = values.to_numpy(float, na_value=np.nan) * factor
        numbers += offset
        numbers[~np.isfinite(numbers)] = np.nan
        return pd.Series(numbers, values.index)
    texts = values.astype("str")
    return pd.Series(_parse_numbers(texts, name, factor, offset, decimal)[0], values.index)


def parse_numbers(
    texts: pd.Series, name: str, factor: float = 1.0, offset: float = 0.0, decimal: str = "."
) -> np.ndarray:
    """Return the numbers of a column in the schema's unit; NaN where one is missing.

    It reads flight levels (``FL310``), altitudes in 100 ft (``A045``), thousands (``31,000``,
    ``31 000``), decimal commas, units or an arrow after the number (``10668 m``, ``546↑``),
    hemispheres (``40.5 N``) and minutes of arc (``40°30.5'N``).

    Raises
    ------
    FlightError
        When a text is not a number.
    """
    numbers, wrong = _parse_numbers(texts, name, factor, offset, decimal)
    if len(wrong):
        text = wrong.iloc[0]
        count = (wrong == text).sum()
        raise FlightError(f"{name} is {text[:40]!r} in {count} samples, expected a number")
    return numbers


def _parse_numbers(
    texts: pd.Series, name: str, factor: float, offset: float, decimal: str
) -> tuple[np.ndarray, pd.Series]:
    """Return the numbers, and the texts that are not numbers."""
    texts = strip_texts(texts)
    if decimal == ",":
        swapped = texts.str.replace(".", "").str.replace(",", ".")
        has_comma = texts.str.contains(",", na=False)
        texts = texts.where(~has_comma & ~_has_thousands(texts, name), swapped)
    numbers = pd.to_numeric(texts, errors="coerce").astype(float) * factor + offset
    odd = texts[texts.notna() & numbers.isna()]
    if len(odd):
        if name in ("latitude", "longitude"):
            parsed = parse_angles(odd)
        else:
            plain = odd.str.replace(_NO_PART, "", regex=True)
            parsed = plain.map({text: _parse_odd(text, name, factor, offset) for text in {*plain}})
        numbers[odd.index] = parsed.astype(float)
    numbers = numbers.where(np.isfinite(numbers))
    wrong = odd[numbers[odd.index].isna() & ~odd.str.lower().str.contains("inf")]
    return numbers.to_numpy(float, na_value=np.nan), wrong


def _has_thousands(texts: pd.Series, name: str) -> bool:
    """Return whether points separate thousands in numbers with decimal commas, as in 31.000."""
    if name in ("latitude", "longitude", "track"):  # no thousands, and maybe three decimals
        return False
    whole = texts.str.extract(r"^([+-]?[\d.]+)")[0].dropna()
    fits = whole.str.fullmatch(_THOUSANDS)  # without a point, up to 999
    return bool(fits.all() and whole.str.contains(".", regex=False).any())


def _parse_odd(text: str, name: str, factor: float, offset: float) -> float | None:
    match = re.fullmatch(
        rf"(FL ?|[AF](?=[-\d]\d\d$))?({_NUMBER}) ?([a-zA-Z/°]*)", text, re.IGNORECASE
    )
    if match is None:
        return None
    level, number, unit = match.groups()
    if level:
        return 100 * float(number) if name == "altitude" and not unit else None
    if not unit:
        return float(number) * factor + offset
    try:
        factor, offset = find_conversion(name, UNITS[unit.lower()])
    except (KeyError, ValueError):
        return None
    return float(number) * factor + offset


def parse_angles(texts: pd.Series) -> pd.Series:
    r"""Return angles [deg] of texts in degrees, minutes and seconds of arc; NaN for other texts.

    >>> parse_angles(pd.Series(["632730N", "0105830W", "N46 30.0", "46°30'36\"S"])).tolist()
    [63.458333333333336, -10.975, 46.5, -46.51]
    """
    texts = texts.astype("str").str.strip().str.upper()
    texts = texts.where(texts.str.fullmatch(r"[-+NSEW\d\s.:°º˚'’′\"”″]+"))
    parts = texts.str.extract(r"(\d+(?:\.\d+)?)(?:[^\d.]+(\d+(?:\.\d+)?))?(?:[^\d.]+([\d.]+))?")
    parts = parts.apply(pd.to_numeric, errors="coerce")
    digits = texts.str.extract(r"(\d+)")[0].str.len()
    compact = digits.ge(4) & parts[1].isna()  # DDMM, DDDMM, DDMMSS or DDDMMSS
    seconds = compact & digits.ge(6)
    number = parts[0].where(~seconds, parts[0] // 100)
    degrees = number.where(~compact, number // 100)
    minutes = parts[1].where(~compact, number % 100).fillna(0)
    seconds = parts[2].where(~seconds, parts[0] % 100).fillna(0)
    sign = 1 - 2 * texts.str.contains(r"^-|[SW]", na=False)
    return sign * (degrees + minutes / 60 + seconds / 3600)


def split_positions(texts: pd.Series) -> dict[str, pd.Series]:
    """Return latitude and longitude of texts that contain both, latitude first.

    Raises
    ------
    FlightError
        When no text has this form.

    >>> both = split_positions(pd.Series(["42.7,-1.5", "(42.8 -1.6)", "N42 30.5/W001 36.0"]))
    >>> both["latitude"].tolist(), both["longitude"].tolist()
    (['42.7', '42.8', 'N42 30.5'], ['-1.5', '-1.6', 'W001 36.0'])
    """
    texts = strip_texts(texts)
    parts = pd.DataFrame(index=texts.index, columns=["latitude", "longitude"], dtype="str")
    for pattern in _POSITIONS:
        parts = parts.fillna(texts.str.extract(rf"(?i)^[\[(]?\s*{pattern}\s*[\])]?$"))
    filled = texts.dropna()
    if len(filled) and parts["latitude"].isna().all():
        raise FlightError(
            f"position is {filled.iloc[0][:40]!r}, expected latitude and longitude, such as "
            "46.5,12.8 or N46 30.5 E012 48.0"
        )
    return dict(parts)


def orient_positions(
    columns: dict[str, np.ndarray], letters: Mapping[str, pd.Series]
) -> dict[str, np.ndarray]:
    """Return latitude and longitude [deg], given letters of hemispheres in separate columns.

    Latitudes above 90 are degrees and minutes (``4030.5`` is 40° 30.5'), and so are the longitudes
    beside them.
    """
    values = {name: columns[name] for name in ("latitude", "longitude")}
    if "north_south" not in letters and "east_west" not in letters:
        return values
    magnitudes = np.abs(values["latitude"])
    minutes = magnitudes[np.isfinite(magnitudes)] % 100
    if np.nanmax(magnitudes, initial=0) > 90 and (minutes < 60).all():
        values = {n: np.trunc(v / 100) + np.fmod(v, 100) / 60 for n, v in values.items()}
    for name, column, letter in (
        ("latitude", "north_south", "S"),
        ("longitude", "east_west", "W"),
    ):
        if column in letters:
            opposite = letters[column].astype("str").str.strip().str.upper().str[:1] == letter
            values[name] = np.where(opposite, -np.abs(values[name]), values[name])
    return values
