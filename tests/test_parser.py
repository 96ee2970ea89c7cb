import io
from datetime import datetime

import numba
import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv

from trajlib import build_index
from trajlib.archive.flights import read_flights
from trajlib.archive.parser import (
    PADDING,
    SAME,
    SKIP,
    TIME,
    find_ends,
    parse_fields,
)
from trajlib.compiled import compiled
from trajlib.importers.compile_loops import compile_loops

digits = st.text("0123456789", min_size=1, max_size=9)
plain = st.builds(
    lambda sign, whole, part: sign + whole + (f".{part}" if part else ""),
    st.sampled_from(["", "-"]),
    digits,
    st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=6)),
)
strange = st.sampled_from(
    [
        "1e5",
        "+3",
        ".5",
        "7.",
        "-",
        "inf",
        "nan",
        "null",
        '"8"',
        " 4",
        "1" * 16,
        "0x1",
        "1,5",
        "\0",
        "-0",
    ]
)


HEADER = b"some, longer header\n"


def parse(text: str, slots: list[int]):
    data = np.frombuffer(bytearray(HEADER + text.encode() + bytes(PADDING)), np.uint8)
    ends = np.zeros(len(data), np.int32)
    count, lines = find_ends(data, len(HEADER), len(data) - PADDING, ends)
    values = np.full((max(max(slots), 0) + 1, max(lines, 1)), -1.0)
    times = np.zeros(max(lines, 0), np.int64)
    if count != len(slots) * lines or not parse_fields(data, ends, np.array(slots), values, times):
        return -1, values, times
    return lines, values, times


def by_pyarrow(text: str, columns: int) -> list[np.ndarray]:
    names = [f"c{number}" for number in range(columns)]
    table = csv.read_csv(
        io.BytesIO(text.encode()),
        csv.ReadOptions(column_names=names),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64())),
    )
    return [table[name].to_numpy() for name in names]


@given(st.lists(st.tuples(plain, plain), min_size=1, max_size=20), st.sampled_from(["\n", "\r\n"]))
@example([("-0.0", "0.1"), ("123456789012345", "0.000001")], "\n")
def test_plain_numbers_equal_those_of_pyarrow_bit_for_bit(rows, newline):
    text = "".join(f"{a},{b}{newline}" for a, b in rows)
    count, values, _ = parse(text, [0, 1])
    if count < 0:  # more than 15 digits
        assert any(len(number.strip("-").replace(".", "")) > 15 for row in rows for number in row)
        return
    for parsed, expected in zip(values, by_pyarrow(text, 2), strict=True):
        assert parsed[:count].tobytes() == expected.tobytes()


@given(st.lists(plain, max_size=3), strange, st.lists(plain, max_size=3))
def test_an_unusual_number_is_read_as_pyarrow_does_or_left_to_it(before, number, after):
    text = "".join(f"{value},1\n" for value in [*before, number, *after])
    count, values, _ = parse(text, [0, 1])
    if count >= 0:
        assert values[0, :count].tobytes() == by_pyarrow(text, 2)[0].tobytes()


@given(st.datetimes(min_value=datetime(1000, 1, 1)))
def test_a_time_is_read_to_the_second(time):
    time = time.replace(microsecond=0)
    count, _, times = parse(f"{time:%Y-%m-%dT%H:%M:%SZ}\n", [TIME])
    assert count == 1
    assert times[0] == np.datetime64(time, "ms").astype(int)


def test_a_date_that_does_not_exist_is_not_understood():
    for text in ("2016-02-30T00:00:00Z", "2015-02-29T00:00:00Z", "2016-13-01T00:00:00Z"):
        assert parse(text + "\n", [TIME])[0] == -1
    assert parse("2016-02-29T00:00:00Z\n", [TIME])[0] == 1


def test_a_line_of_too_few_or_too_many_fields_is_not_understood():
    assert parse("1,2\n3\n", [0, 1])[0] == -1
    assert parse("1,2\n3,4,5\n", [0, 1])[0] == -1
    assert parse("1,2\n3,4\n", [0, 1])[0] == 2


def test_a_quote_in_a_skipped_field_is_not_understood():
    assert parse('1,"a,b"\n', [0, SKIP])[0] == -1
    assert parse("1,ab\n", [0, SKIP])[0] == 1


@given(st.lists(st.text("abcé 0.:", max_size=40), min_size=1, max_size=9), st.integers(0, 9))
def test_a_skipped_field_of_any_length_ends_at_its_comma(texts, position):
    position = min(position, len(texts))
    fields = [*texts[:position], "42", *texts[position:]]
    slots = [SKIP] * position + [0] + [SKIP] * (len(texts) - position)
    count, values, _ = parse(",".join(fields) + "\n" + ",".join(fields), slots)
    assert count == 2
    assert values[0].tolist() == [42, 42]


@given(st.lists(st.text("abé ", max_size=20), min_size=2, max_size=5))
@example(["abcdefgh", "abcdefgi"])
@example(["abcdefghi", "abcdefghj"])
def test_a_text_that_changes_is_not_understood_where_it_must_not(texts):
    count, _, _ = parse("".join(f"{text},1\n" for text in texts), [SAME, 0])
    assert (count == len(texts)) == (len(set(texts)) == 1)


def test_an_empty_field_is_missing():
    count, values, _ = parse(",1\n2,\n", [0, 1])
    assert count == 2
    assert np.isnan(values[0, 0])
    assert np.isnan(values[1, 1])


def test_reading_a_file_compiles_nothing_beyond_the_installation(tmp_path):
    lines = "\n".join(f"2016-01-01T06:0{m}:00Z,40,{m / 10},0,LEMD,LEBL" for m in range(3))
    header = "timestamp,latitude,longitude,altitude,origin,destination"
    (tmp_path / "a.csv").write_text(f"{header}\n{lines}\n")
    compile_loops()
    compiled_before = list(parse_fields.signatures)
    rows = build_index(tmp_path, tmp_path / "index.parquet")
    assert [len(flight) for _, flight in read_flights(rows)] == [3]
    assert parse_fields.signatures == compiled_before


def test_functions_are_compiled_without_a_writable_cache(monkeypatch):
    compile_now = numba.njit

    def refuse_to_keep(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("no locator available for file")
        return compile_now(*arguments, **options)

    monkeypatch.setattr(numba, "njit", refuse_to_keep)
    assert compiled(lambda value: value + 1)(1) == 2
