"""Parse plain numbers and times in a CSV's bytes, several times as fast as a general reader.

It reads the form of almost every line of an archive: unquoted fields, decimal numbers of up to 15
digits, times as ``2016-01-01T06:15:00Z``. For anything else it returns a failure, and the caller
uses pyarrow. The numbers are exactly those of pyarrow: a mantissa below 2**53 over a power of ten
up to 10**15 is one correctly rounded division.

First the ends of all fields are found, 64 characters at a time, each compared in one instruction
(Langdale and Lemire 2019, Parsing gigabytes of JSON per second). Then the numbers of a column are
read line after line without a branch, so that the compiler computes several at once: the last 16
characters of a field are two integers of eight bytes (Lemire 2021, Number parsing at a gigabyte
per second).
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from trajlib.compiled import compiled, inlined

PADDING = 64  # bytes that must follow the end of a file, since 64 are read at once
SKIP, TIME, SAME = -1, -2, -3
_LINES = 64  # read together: their text, ends and numbers fit in a processor's first cache
_NEWLINE, _RETURN, _MINUS = (np.uint8(ord(char)) for char in "\n\r-")
_0, _1, _7, _8, _56, _63 = (np.uint64(number) for number in (0, 1, 7, 8, 56, 63))
_16, _64, _128, _ALL = (np.uint64(number) for number in (16, 64, 128, 2**64 - 1))
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_ZEROS, _TO_HIGH = np.uint64(0x3030303030303030), np.uint64(0x7676767676767676)
_POINTS = _ONES * np.uint64(ord(".") ^ ord("0"))
_PAIRS, _FOURS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_EIGHTS, _TENS_8 = np.uint64(0xFFFFFFFF), np.uint64(10**8)
_10, _32, _100, _10000 = (np.uint64(number) for number in (10, 32, 100, 10_000))
_BYTE_NUMBERS = np.uint64(0x0706050403020100)
_MOST_DIGITS = np.uint64(15)


def _pointer(context, builder, array_type, array, position):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [position])


@intrinsic
def _load(typing, data, position):
    """Return the eight bytes from ``position`` as one integer, the first byte lowest."""

    def generate(context, builder, signature, arguments):
        first = _pointer(context, builder, signature.args[0], *arguments)
        word = builder.load(builder.bitcast(first, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, position), generate


@intrinsic
def _item(typing, array, position):
    """Return the item at an index that is not negative, without the test that indexing does."""

    def generate(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature.args[0], *arguments))

    return array.dtype(array, position), generate


@intrinsic
def _masks(typing, data, position):
    """Return masks of 64 bytes: separators, line feeds, carriage returns, and unreadable ones."""

    def generate(context, builder, signature, arguments):
        vector, bits = ir.VectorType(ir.IntType(8), 64), ir.IntType(64)
        first = _pointer(context, builder, signature.args[0], *arguments)
        block = builder.load(builder.bitcast(first, vector.as_pointer()))
        block.align = 1

        def compare(operator, code):
            mask = builder.icmp_unsigned(operator, block, ir.Constant(vector, [code] * 64))
            return builder.bitcast(mask, bits)

        newline, carriage = compare("==", 10), compare("==", 13)
        separator = builder.or_(compare("==", 44), newline)
        line_end = builder.or_(newline, carriage)
        control = builder.and_(compare("<", 32), builder.not_(line_end))
        masks = [separator, newline, carriage, builder.or_(control, compare("==", 34))]
        return cgutils.pack_array(builder, masks)

    return types.UniTuple(types.uint64, 4)(data, position), generate


@intrinsic
def _first_bit(typing, mask):
    """Return the number of the lowest bit that is set; 64 where none is."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(mask), generate


@intrinsic
def _count_bits(typing, mask):
    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(mask), generate


@intrinsic
def _select(typing, condition, one, other):
    """Return one of two values, both computed, without a branch."""

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    return one(types.boolean, one, one), generate


@compiled
def find_ends(data, start, end, ends):  # noqa: C901 (one loop, compiled)
    """Find where the fields of ``data[start:end]`` end; return the numbers of fields and of lines.

    Both are -1 if there is a quote, or a control character other than a line end, or if fewer than
    16 bytes come before the first line.

    Parameters
    ----------
    data
        The file followed by ``PADDING`` zero bytes, as uint8.
    start, end
        Index where the line after the header begins, and where the file ends.
    ends
        Output, int32: the index before the first field and the one after each field. Its length
        must be the number of fields plus ``PADDING``.
    """
    if start < 16:  # the 16 bytes before the end of a number are loaded
        return -1, -1
    count, lines, after_return = 0, 0, False
    ends[0] = start - 1
    for position in range(start, end, 64):
        separators, newlines, returns, strange = _masks(data, position)
        if end - position < 64:
            inside = (_1 << np.uint64(end - position)) - _1
            separators, newlines = separators & inside, newlines & inside
            returns, strange = returns & inside, strange & inside
        if (strange | returns | np.uint64(after_return)) != _0:
            alone = returns & ~(newlines >> _1) & (_ALL >> _1)
            if position + _first_bit(alone) == end - 1:
                alone = _0
            if strange | alone != _0 or (after_return and newlines & _1 == _0):
                return -1, -1
            after_return = returns >> _63 != _0 and position + 64 < end
        number = _count_bits(separators)
        index = count + 1
        for _ in range(8):  # usually enough: a loop of fixed length has no branch
            ends[index] = position + _first_bit(separators)
            separators &= separators - _1
            index += 1
        while separators != _0:
            ends[index] = position + _first_bit(separators)
            separators &= separators - _1
            index += 1
        count += number
        lines += _count_bits(newlines)
    if end > start and data[end - 1] != _NEWLINE:
        count, lines = count + 1, lines + 1
        ends[count] = end
    return count, lines


@compiled
def parse_fields(data, ends, slots, values, times):  # noqa: C901 (one loop, compiled)
    """Read lines into arrays; return whether all of them could be read.

    Parameters
    ----------
    data, ends
        As for `find_ends`.
    slots
        For each field of a line, as int64: its row in ``values``, `TIME`, `SKIP`, or `SAME` for a
        text that must equal that of the first line.
    values
        Output: the numbers, float64 of shape (columns, lines); NaN where a field is empty.
    times
        Output: the times, int64 milliseconds since 1970, of shape (lines,).
    """
    fields, lines = len(slots), len(times)
    for line in range(1, lines):
        if _item(data, ends[line * fields]) != _NEWLINE:
            return False
    first_text, first_length = np.zeros(fields, np.int64), np.zeros(fields, np.int64)
    begin, stop = np.empty(_LINES, np.int64), np.empty(_LINES, np.int64)
    high, low = np.zeros(_LINES, np.uint64), np.zeros(_LINES, np.uint64)
    length, minus = np.zeros(_LINES, np.uint64), np.zeros(_LINES, np.uint64)
    numbers = np.empty(_LINES)
    day, minute, since_1970 = _0, _0, np.int64(-1)
    for line in range(0, lines, _LINES):
        count = min(_LINES, lines - line)
        for field in range(fields):
            slot = slots[field]
            if slot == SKIP:
                continue
            for i in range(count):
                number = (line + i) * fields + field
                begin[i], stop[i] = _item(ends, number) + 1, _item(ends, number + 1)
                if field == fields - 1 and _item(data, stop[i] - 1) == _RETURN:
                    stop[i] -= 1
            if slot >= 0:
                for i in range(count):
                    negative = _item(data, begin[i]) == _MINUS
                    minus[i] = np.uint64(negative)
                    length[i] = np.uint64(stop[i] - begin[i] - negative)
                    high[i], low[i] = _load(data, stop[i] - 16), _load(data, stop[i] - 8)
                if _numbers(high, low, length, minus, numbers) != _0:
                    return False
                for i in range(count):
                    values[slot, line + i] = numbers[i]
            elif slot == SAME:
                if line == 0:
                    first_text[field], first_length[field] = begin[0], stop[0] - begin[0]
                for i in range(count):
                    size = stop[i] - begin[i]
                    if not _equal(data, first_text[field], begin[i], size, first_length[field]):
                        return False
            else:
                for i in range(count):
                    position = begin[i]
                    if stop[i] - position != 20:
                        return False
                    # within a minute only the seconds change
                    if _load(data, position) != day or _load(data, position + 8) != minute:
                        day, minute = _load(data, position), _load(data, position + 8)
                        since_1970 = _minute(data, position)
                    second = _two(data, position + 17)
                    if since_1970 == -1 or not 0 <= second <= 59:
                        return False
                    if _item(data, position + 16) != 58 or _item(data, position + 19) != 90:
                        return False
                    times[line + i] = since_1970 + 1000 * second
    return True


@inlined
def _equal(data, one, other, length, expected):
    """Return whether two texts are equal; bytes loaded beyond a text are ignored."""
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
    """Return the number of eight digits, given as bytes of 0 to 9, the first one lowest."""
    digits = (digits * _10 + (digits >> _8)) & _PAIRS
    digits = (digits * _100 + (digits >> _16)) & _FOURS
    return (digits & _EIGHTS) * _10000 + (digits >> _32)


@inlined
def _first_point(digits):
    """Return the high bit of the first byte that is a point, 0 without one."""
    points = digits ^ _POINTS
    matches = (points - _ONES) & ~points & _HIGHS
    return matches & (_0 - matches)


@inlined
def _number(high, low, length, minus):
    """Return the number at the end of 16 characters, and a mask that is not zero if it is none.

    All cases are computed and one is selected without a branch, so that loops are vectorised.
    """
    keep_high = _select(length > _8, _ALL << ((_128 - _8 * length) & _63), _0)
    keep_low = _select(length > _7, _ALL, _ALL << ((_64 - _8 * length) & _63))
    high = (high ^ _ZEROS) & keep_high
    low = (low ^ _ZEROS) & _select(length == _0, _0, keep_low)
    in_high = _first_point(high)
    in_low = _select(in_high == _0, _first_point(low), _0)
    point = in_high | in_low
    # shift the characters before the point by one byte, over the point
    word = _select(in_high != _0, high, low)
    moved = (word & ~((point << _1) - _1)) | ((word & ((point >> _7) - _1)) << _8)
    digits_low = _select(in_low != _0, moved | (high >> _56), low)
    digits_high = _select(in_high != _0, moved, _select(in_low != _0, high << _8, high))
    # the index of the point's byte, in the top byte of a product
    decimals = ((point >> _7) * _BYTE_NUMBERS) >> _56
    decimals = _select(in_high != _0, decimals + _8, decimals)
    count = length - _select(point != _0, _1, _0)

    strange = (digits_high + _TO_HIGH) | digits_high | (digits_low + _TO_HIGH) | digits_low
    strange = (strange & _HIGHS) | _select(count > _MOST_DIGITS, _1, _0)
    strange |= _select(count == _0, length | minus, _0)
    power = _select(decimals & _1 != _0, 10.0, 1.0)  # products of powers of ten, each exact
    power *= _select(decimals & np.uint64(2) != _0, 100.0, 1.0)
    power *= _select(decimals & np.uint64(4) != _0, 1e4, 1.0)
    power *= _select(decimals & _8 != _0, 1e8, 1.0)
    value = float(np.int64(_eight(digits_high) * _TENS_8 + _eight(digits_low))) / power
    value = _select(minus != _0, -value, value)
    return _select(length != _0, value, np.nan), strange


@compiled
def _numbers(high, low, length, minus, numbers):
    strange = _0
    for i in range(_LINES):
        numbers[i], unreadable = _number(high[i], low[i], length[i], minus[i])
        strange |= unreadable
    return strange


@inlined
def _two(data, position):
    tens, ones = np.int64(_item(data, position)) - 48, np.int64(_item(data, position + 1)) - 48
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -1


@inlined
def _minute(data, position):
    # 2016-01-01T06:15, the T possibly a space; the days from Hinnant's civil calendar
    if (
        _item(data, position + 4) != 45
        or _item(data, position + 7) != 45
        or _item(data, position + 13) != 58
        or (_item(data, position + 10) != 84 and _item(data, position + 10) != 32)
    ):
        return -1
    century, year2 = _two(data, position), _two(data, position + 2)
    month, day = _two(data, position + 5), _two(data, position + 8)
    hour, minute = _two(data, position + 11), _two(data, position + 14)
    if min(century, year2, hour, minute) < 0 or not 1 <= month <= 12:
        return -1
    year = 100 * century + year2
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    longest = 30 + (month + month // 8) % 2 if month != 2 else 28 + leap
    if not 1 <= day <= longest or hour > 23 or minute > 59 or century < 10:
        return -1
    shifted = year - (month <= 2)
    era = shifted // 400
    era_year = shifted - 400 * era
    year_day = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = 146097 * era + 365 * era_year + era_year // 4 - era_year // 100 + year_day - 719468
    return 60_000 * (1440 * days + 60 * hour + minute)
