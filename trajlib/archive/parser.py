"""Plain numbers and times out of a CSV's bytes, two to three times as fast as a general reader.

It understands what almost every line of an archive is: unquoted fields, decimal numbers of up to
15 digits, times as ``2016-01-01T06:15:00Z``. Of anything else it says that it does not understand
it, and the caller asks pyarrow. What it understands it reads exactly as pyarrow does: a mantissa
below 2**53 over a power of ten up to 10**15 is one correctly rounded division. Eight characters
are looked at together, as the bytes of one integer (Lemire 2021, Number parsing at a gigabyte
per second).
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from trajlib.compiled import compiled, inlined

__all__ = ["PADDING", "SAME", "SKIP", "TIME", "compile_parser", "count_lines", "parse_fields"]

PADDING = 8  # bytes that must follow the last one of a file, since eight are read together
SKIP, TIME, SAME = -1, -2, -3
_POWERS = 10.0 ** np.arange(16)
_TENS_8 = np.uint64(10**8)
_NAN = np.nan
_COMMA, _NEWLINE, _RETURN, _QUOTE, _MINUS = (np.uint8(ord(char)) for char in ',\n\r"-')
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_ZEROS, _TO_HIGH = np.uint64(0x3030303030303030), np.uint64(0x7676767676767676)
_PAIRS, _FOURS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_EIGHTS = np.uint64(0xFFFFFFFF)
_COMMAS, _CONTROLS, _QUOTES = _ONES * _COMMA, _ONES * np.uint8(0x20), _ONES * _QUOTE
_MINUSES, _POINTS = _ONES * _MINUS, _ONES * np.uint8(ord(".") ^ ord("0"))


@intrinsic
def _load(typing, data, at):
    """Return the eight bytes from ``at`` as one integer, the first byte lowest."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        first = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(first, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, at), generate


@intrinsic
def _byte(typing, data, at):
    """Return the byte at a place that is known not to be negative, which indexing would ask."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load(builder.gep(array.data, [arguments[1]]))

    return types.uint8(data, at), generate


@intrinsic
def _leading(typing, mask):
    """Return the number of bytes before the first one of which the mask has the high bit."""

    def generate(context, builder, signature, arguments):
        zeros = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.lshr(zeros, ir.Constant(ir.IntType(64), 3))

    return types.int64(mask), generate


def compile_parser():
    """Compile `parse_fields` and keep it beside this module: seconds that no command then waits."""
    slots = np.zeros(0, np.int64)
    parse_fields(np.zeros(PADDING, np.uint8), 0, 0, slots, np.empty((0, 0)), slots)


def count_lines(data, start, end):
    """Return the number of line breaks in ``data[start:end]``, and of a last line without one."""
    lines = np.count_nonzero(data[start:end] == _NEWLINE)
    return lines + (end > start and data[end - 1] != _NEWLINE)


@compiled
def parse_fields(data, start, end, slots, values, times):  # noqa: C901 (one loop, compiled)
    """Read the lines of ``data[start:end]`` into arrays; return their number, -1 if not read.

    Parameters
    ----------
    data
        The file and ``PADDING`` bytes of zero after it, as uint8.
    start, end
        Where the line after the header begins, and where the file ends.
    slots
        For each field of a line, as int64: the row of ``values`` it goes to, `TIME`, `SKIP`, or
        `SAME` for a text that must be that of the first line.
    values
        Receives the numbers, float64 of shape (columns, lines); NaN where a field is empty.
    times
        Receives the times, int64 milliseconds since 1970, of shape (lines,).
    """
    at, count, fields = start, 0, len(slots)
    first, length = np.zeros(fields, np.int64), np.full(fields, -1)  # of the texts
    while at < end:
        if count == len(times):
            return -1
        for field in range(fields):
            slot = slots[field]
            if slot >= 0:
                at, values[slot, count] = _number(data, at)
            elif slot == SKIP:
                at = _skip(data, at)
            elif slot == SAME:
                begin, at = at, _skip(data, at)
                if length[field] < 0:
                    first[field], length[field] = begin, at - begin
                elif not _equal(data, first[field], begin, at - begin, length[field]):
                    return -1
            else:
                at, times[count] = _time(data, at, end)
            if at < 0 or (field < fields - 1 and _byte(data, at) != _COMMA):
                return -1
            at += field < fields - 1
        if _byte(data, at) == _RETURN:
            at += 1
        if at < end and _byte(data, at) != _NEWLINE:
            return -1
        at += 1
        count += 1
    return count


@inlined
def _ends(word):
    """Return a mask of the bytes that are a comma, a quote or a control character."""
    comma, quote = word ^ _COMMAS, word ^ _QUOTES
    comma = (comma - _ONES) & ~comma
    quote = (quote - _ONES) & ~quote
    return (comma | quote | ((word - _CONTROLS) & ~word)) & _HIGHS


@inlined
def _skip(data, at):
    """Return where the field from ``at`` ends, at a comma or a control; -1 at a quote."""
    found = _ends(_load(data, at))
    while found == 0:
        at += 8
        found = _ends(_load(data, at))
    at += _leading(found)
    return -1 if _byte(data, at) == _QUOTE else at


@inlined
def _equal(data, one, other, length, expected):
    """Return whether two texts are the same; beyond a text there is another field, or padding."""
    if length != expected:
        return False
    while length >= 8:
        if _load(data, one) != _load(data, other):
            return False
        one, other, length = one + 8, other + 8, length - 8
    difference = _load(data, one) ^ _load(data, other)
    return length <= 0 or difference << np.uint64(64 - 8 * length) == 0


@inlined
def _eight(digits):
    """Return the number that eight digits are, as bytes of 0 to 9, the first one lowest."""
    digits = (digits * np.uint64(10) + (digits >> np.uint64(8))) & _PAIRS
    digits = (digits * np.uint64(100) + (digits >> np.uint64(16))) & _FOURS
    return (digits * np.uint64(10_000) + (digits >> np.uint64(32))) & _EIGHTS


@inlined
def _align(data, at, length):
    """Return up to sixteen characters, less "0", as the end of two words filled up with zeros."""
    first = _load(data, at) ^ _ZEROS
    if length <= 8:
        return np.uint64(0), first << np.uint64(64 - 8 * length)
    by = np.uint64(8 * (16 - length))
    last = (_load(data, at + 8) ^ _ZEROS) << by
    return first << by, last | ((first >> np.uint64(1)) >> (np.uint64(63) - by))


@inlined
def _close(word, point):
    """Return a word without its byte ``point``, those before it moved up into the gap."""
    by = np.uint64(8 * point)
    above = (np.uint64(0xFFFFFFFFFFFFFF00)) << by
    below = (np.uint64(1) << by) - np.uint64(1)
    return (word & above) | ((word & below) << np.uint64(8))


@inlined
def _zero(word):
    """Return a mask of the bytes that are zero, exact for the first one of them."""
    return (word - _ONES) & ~word & _HIGHS


@inlined
def _number(data, at):
    # where the number ends is found first, apart from what it is: the next one need not wait
    word, end = _load(data, at), at
    found = (word - _MINUSES) & ~word & _HIGHS  # what comes before the minus ends a number
    while found == 0:
        end += 8
        word = _load(data, end)
        found = (word - _MINUSES) & ~word & _HIGHS
    end += _leading(found)
    negative = _byte(data, at) == _MINUS
    length = end - at - negative
    if length == 0 or length > 16:
        return (-1 if negative or length else end), _NAN
    first, last = _align(data, at + negative, length)
    in_first, in_last, decimals = _zero(first ^ _POINTS), _zero(last ^ _POINTS), 0
    if in_first != 0:
        decimals = 15 - _leading(in_first)
        first = _close(first, 15 - decimals)
    elif in_last != 0:
        decimals = 7 - _leading(in_last)
        last = _close(last, 7 - decimals) | (first >> np.uint64(56))
        first <<= np.uint64(8)
        if decimals == 0:
            return -1, _NAN
    if ((first + _TO_HIGH) | first | (last + _TO_HIGH) | last) & _HIGHS != 0:
        return -1, _NAN
    if (length == decimals + 1 and decimals > 0) or length - (decimals > 0) > 15:
        return -1, _NAN
    mantissa = _eight(first) * _TENS_8 + _eight(last)
    value = float(mantissa) / _POWERS[decimals]
    return end, -value if negative else value


@inlined
def _two(data, at):
    tens, ones = np.int64(_byte(data, at)) - 48, np.int64(_byte(data, at + 1)) - 48
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -1


@inlined
def _time(data, at, end):
    # 2016-01-01T06:15:00Z, the T possibly a space; the days from Hinnant's civil calendar
    if (
        at + 20 > end
        or _byte(data, at + 19) != 90
        or _byte(data, at + 4) != 45
        or _byte(data, at + 7) != 45
    ):
        return -1, 0
    if (
        _byte(data, at + 13) != 58
        or _byte(data, at + 16) != 58
        or (_byte(data, at + 10) != 84 and _byte(data, at + 10) != 32)
    ):
        return -1, 0
    century, year2 = _two(data, at), _two(data, at + 2)
    month, day = _two(data, at + 5), _two(data, at + 8)
    hour, minute, second = _two(data, at + 11), _two(data, at + 14), _two(data, at + 17)
    if min(century, year2, hour, minute, second) < 0 or not 1 <= month <= 12:
        return -1, 0
    year = 100 * century + year2
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    longest = 30 + (month + month // 8) % 2 if month != 2 else 28 + leap
    if not 1 <= day <= longest or hour > 23 or minute > 59 or second > 59 or century < 10:
        return -1, 0
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - 400 * era
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = 146097 * era + 365 * of_era + of_era // 4 - of_era // 100 + of_year - 719468
    return at + 20, 1000 * (86400 * days + 3600 * hour + 60 * minute + second)
