import os
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from machines import wait_until

from trajlib.archive import flights as flights_module
from trajlib.archive.flights import map_flights, read_flights, reduce_flights
from trajlib.archive.index import build_index, read_rejections
from trajlib.archive.reading import read_repaired, write_flight
from trajlib.archive.store import store_flights
from trajlib.schema import COLUMNS, NUMERIC


def random_flight(seed, samples=120):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame(
        {
            "timestamp": pd.date_range(
                f"2016-01-{1 + seed % 28:02}", periods=samples, freq="s", tz="UTC"
            )
        }
    )
    for name in NUMERIC:  # six digits, as many as flights have
        df[name] = 10.0 ** (6 - COLUMNS[name].decimals) * rng.uniform(0.1, 1, samples)
    df["latitude"] = 40 + 0.001 * np.arange(samples) + rng.uniform(0, 1e-4, samples)
    df["longitude"] = rng.uniform(-3.6, -3.5999, samples)
    df["altitude"] = 1000 + rng.uniform(0, 100, samples)
    df["groundspeed"] = rng.uniform(200, 230, samples)
    df["duration"] = np.arange(samples)
    return df.assign(origin="LEMD", destination="LEBL", operator="IBE")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flights") / "archive"
    (folder / "x").mkdir(parents=True)
    for seed in range(9):
        write_flight(random_flight(seed), folder / f"x/{seed}.csv")
    text = (folder / "x/4.csv").read_text().splitlines()
    text[50:60] = text[49:50] * 10  # only found by a full read
    (folder / "x/4.csv").write_text("\n".join(text) + "\n")
    return folder


@pytest.fixture
def index(archive, monkeypatch):
    monkeypatch.setattr(flights_module, "BLOCK", 4)
    return build_index(archive)


def summary(df):
    return {"rows": len(df), "top": df["altitude"].max(), "operator": df.attrs["operator"]}


def moments(df):
    return np.array([len(df), df["altitude"].sum()])


def test_one_row_a_flight_in_the_order_of_the_table(index):
    table = map_flights(index, summary)
    assert table.index.tolist() == [f"x/{seed}.csv" for seed in range(9) if seed != 4]
    assert table["operator"].eq("IBE").all()
    assert map_flights(index[::-1], summary).index.tolist() == table.index.tolist()[::-1]


def test_a_number_a_flight_is_a_column_of_the_functions_name(index):
    table = map_flights(index, len)
    assert table.columns.tolist() == ["len"]
    assert (table["len"] > 1).all()


values = st.one_of(st.integers(-9, 9), st.floats(), st.booleans(), st.none(), st.text(max_size=2))
rows_of_flights = st.lists(st.dictionaries(st.sampled_from("abc"), values), max_size=9)


@given(rows_of_flights, st.integers(1, 4))
@example([{"a": 1}, {"a": 0.5, "b": 2}, {"b": None}, {"a": "x"}], 1)
def test_rows_packed_by_block_make_the_table_that_all_rows_make(rows, size):
    results = [(str(number), row) for number, row in enumerate(rows)]
    blocks = [results[number : number + size] for number in range(0, len(results), size)]
    joined = flights_module._join([flights_module._pack(block) for block in blocks], "f")
    paths = pd.Index([path for path, _ in results], name="path")
    pd.testing.assert_frame_equal(joined, pd.DataFrame(rows, index=paths))


def test_a_bad_file_is_left_out_with_its_reason(index):
    table = map_flights(index, summary)
    rejections = read_rejections(index)["rejected"]
    assert [*index["path"].drop(4)] == [*table.index]
    assert list(rejections.index) == ["x/4.csv"]
    assert "repeat" in rejections["x/4.csv"]


def test_several_rows_a_flight_are_stacked_under_its_path(index):
    table = map_flights(index, lambda df: df.iloc[[0, -1]][["altitude"]])
    assert table.index.names[0] == "path"
    assert len(table) == 16


def test_functions_by_name_share_one_pass(index, monkeypatch):
    read = []
    real = read_repaired
    monkeypatch.setattr("trajlib.cluster.current_client", lambda: None)
    monkeypatch.setattr(
        flights_module, "read_repaired", lambda *a, **k: (read.append(a), real(*a, **k))[1]
    )
    tables = map_flights(index, {"a": summary, "b": lambda df: {"first": df["altitude"].iloc[0]}})
    assert len(read) == 9
    pd.testing.assert_frame_equal(tables["a"], map_flights(index, summary))


def test_the_store_keeps_every_decimal_of_the_schema(index, tmp_path):
    store = store_flights(index, tmp_path / "store")
    from_csv = map_flights(index, lambda df: df)
    from_store = map_flights(store, lambda df: df)
    for name, column in from_csv.items():
        if name == "timestamp" or name in ("latitude", "longitude"):
            pd.testing.assert_series_equal(column, from_store[name])
        else:
            restored = from_store[name].round(COLUMNS[name].decimals)
            np.testing.assert_allclose(restored, column, rtol=1e-15, err_msg=name)


def test_every_selected_file_is_accounted_for_in_the_store(index, tmp_path):
    store = store_flights(index, tmp_path)
    assert store["path"].tolist() == index["path"].tolist()
    assert store["rejected"].notna().sum() == 1
    assert store["rows"].sum() == 8 * 120


def test_flights_read_together_are_those_read_alone(index, tmp_path, monkeypatch):
    monkeypatch.setattr(flights_module, "_READ_AT_ONCE", 250)  # samples, of two flights
    store = store_flights(index, tmp_path)
    store.loc[5, "rejected"] = "marked by hand"
    mixed = store.sample(frac=1, random_state=0)
    together = list(read_flights(pd.concat([store, mixed, mixed.iloc[::-1]])))
    assert len(together) == 3 * len(store)
    for row, flight in together:
        alone = next(read_flights(store[store["path"] == row["path"]]))[1]
        if isinstance(flight, pd.DataFrame):
            pd.testing.assert_frame_equal(flight, alone, check_exact=True)
            assert flight.attrs == alone.attrs
        else:
            assert str(flight) == str(alone)
            assert row["rejected"]


def test_the_store_is_read_again_only_where_files_changed(archive, index, tmp_path, monkeypatch):
    first = store_flights(index, tmp_path)
    before = {part.name: part.stat().st_mtime_ns for part in tmp_path.glob("part-*")}
    pd.testing.assert_frame_equal(store_flights(index, tmp_path), first)
    os.utime(archive / "x/8.csv", (1, 1))
    store_flights(build_index(archive), tmp_path)
    after = {part.name: part.stat().st_mtime_ns for part in tmp_path.glob("part-*")}
    assert len(after) == 3
    assert sum(before.get(name) == time for name, time in after.items()) == 2


def test_a_column_that_some_flights_lack_is_absent_there(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    write_flight(random_flight(1), folder / "a.csv")
    write_flight(random_flight(2).drop(columns="mass"), folder / "b.csv")
    store = store_flights(build_index(folder), tmp_path / "store")
    has = map_flights(store, lambda df: {"mass": "mass" in df})["mass"]
    assert has.tolist() == [True, False]


def test_a_failing_function_names_the_flight(index, in_this_process):
    with pytest.raises(RuntimeError, match=r"x/0\.csv.*no such thing"):
        map_flights(index, lambda df: df["no such thing"])


def sometimes(df):
    return df.head(1) if df.attrs["path"] != "x/1.csv" else {"a": 1}


@pytest.mark.parametrize("function", [lambda df: None, lambda df: [1], sometimes])
def test_a_function_that_returns_no_rows_is_refused_by_the_flight(index, in_this_process, function):
    with pytest.raises(RuntimeError, match=r"returned .* x/[01]\.csv"):
        map_flights(index, function)


def test_an_error_cancels_the_other_tasks(index, client, tmp_path, monkeypatch):
    monkeypatch.setattr(flights_module, "BLOCK", 1)
    many = pd.concat([index.drop(4)] * 5, ignore_index=True)

    def leave_a_mark(df):
        time.sleep(0.2)
        (tmp_path / str(time.perf_counter())).touch()
        raise KeyError("alt")

    with pytest.raises(RuntimeError, match=r"leave_a_mark failed on x/[0-9]\.csv: KeyError"):
        map_flights(many, leave_a_mark)
    wait_until(lambda: not any(client.processing().values()), seconds=30)
    assert len(list(tmp_path.iterdir())) < len(many)


def test_an_unknown_column_is_refused_with_the_existing_ones(index):
    for run in (map_flights, partial(reduce_flights, merge=max)):
        with pytest.raises(ValueError, match="no such columns: alt; there are timestamp, duration"):
            run(index, len, columns=["altitude", "alt"])


def test_columns_that_are_one_text_are_refused(index):
    with pytest.raises(ValueError, match=r"expected a list of names, as \['altitude'\]"):
        map_flights(index, len, columns="altitude")


@pytest.mark.parametrize("shape", [lambda index: index.set_index("path"), lambda index: "flights"])
def test_what_holds_no_flights_is_refused(index, shape):
    with pytest.raises(TypeError, match="expected rows of an index or a store"):
        map_flights(shape(index), len)


def test_a_time_or_a_text_is_a_column(index, in_this_process):
    table = map_flights(index, {"first": lambda df: df["timestamp"].iloc[0], "b": lambda df: "c"})
    assert table["first"]["<lambda>"].dt.year.unique().tolist() == [2016]
    assert set(table["b"]["<lambda>"]) == {"c"}


def test_storing_no_flights_is_refused(index, tmp_path):
    with pytest.raises(ValueError, match="no flights to store"):
        store_flights(index.head(0), tmp_path / "store")


def test_a_reduction_holds_every_readable_flight(index):
    total = reduce_flights(index, moments, np.add)
    assert total[0] == 8 * 120
    assert "full read" in read_rejections(index)["seen_in"].tolist()  # other findings are recorded


def test_a_result_may_be_of_a_class_that_a_notebook_defines(index, client):
    notebook = {"__name__": "__main__"}
    exec("class Row(dict): pass\ndef count(df): return Row(rows=len(df))", notebook)
    first = reduce_flights(index, notebook["count"], lambda left, right: left)
    assert first == {"rows": 120}
    assert (map_flights(index, notebook["count"])["rows"] == 120).all()


def test_results_are_the_same_bytes_with_workers_and_without(index, tmp_path, client, monkeypatch):
    def run(folder):
        store = store_flights(index, folder)
        contents = {part: (folder / part).read_bytes() for part in store["part"].dropna()}
        return map_flights(index, summary), reduce_flights(index, moments, np.add), contents

    table, total, parts = run(tmp_path / "workers")
    monkeypatch.setattr("trajlib.cluster.current_client", lambda: None)
    expected = run(tmp_path / "alone")
    pd.testing.assert_frame_equal(table, expected[0], check_exact=True)
    assert total.tobytes() == expected[1].tobytes()
    assert parts == expected[2]
