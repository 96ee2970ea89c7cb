from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajlib.archive import flights as flights_module
from trajlib.archive.index import build_index
from trajlib.archive.reading import write_flight
from trajlib.plots.correlations import plot_correlations
from trajlib.schema import NUMERIC
from trajlib.trajectories.correlations import (
    choose_predictors,
    cluster_columns,
    correlate,
    correlate_without,
    correlation_of,
    flag_columns,
    measure_moments,
    merge_moments,
    redundant_groups,
    sample_flights,
)

NAMES = ["duration", "altitude", "distance", "temperature"]


def random_samples(seed, size=200):
    """Related variables far from zero, for which sums of squares lose precision."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(size, len(NAMES))) @ rng.normal(size=(len(NAMES), len(NAMES)))
    scale = 10.0 ** rng.integers(0, 4, len(NAMES))
    offset = scale * rng.choice([-1, 1], len(NAMES)) * 10.0 ** rng.integers(0, 4, len(NAMES))
    return pd.DataFrame(mixed * scale + offset, columns=NAMES)


def with_holes(df, seed):
    return df.mask(np.random.default_rng(seed).uniform(size=df.shape) < 0.3)


def split(df, cuts):
    return [part for part in np.split(df, sorted(cuts)) if len(part)]


def correlate_parts(parts):
    return correlation_of([*map(measure_moments, parts)])


seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(0, 200), max_size=12)


def test_unreadable_flights_are_left_out_of_a_correlation():
    df = random_samples(0)
    pd.testing.assert_frame_equal(
        correlation_of([None, measure_moments(df), None]), correlate_parts([df])
    )
    with pytest.raises(ValueError, match="no flight could be read"):
        correlation_of([None])


@given(seeds, cuts)
def test_correlation_is_numpys_however_the_samples_are_cut(seed, cuts):
    df = random_samples(seed)
    df = df - df.mean() + df.std() * 100  # numpy's error grows with the offset
    r = correlate_parts([df.iloc[list(part)] for part in split(np.arange(200), cuts)])
    assert list(r) == NAMES
    assert np.abs(r.to_numpy() - np.corrcoef(df.to_numpy().T)).max() < 1e-12


@given(seeds, cuts)
def test_a_large_offset_does_not_reduce_the_precision(seed, cuts):
    df = pd.DataFrame(np.random.default_rng(seed).integers(0, 999, (200, 3)), columns=NAMES[:3])
    far = df + 2.0**20  # sums of squares would lose half of the digits
    r = correlate_parts([far.iloc[list(part)] for part in split(np.arange(200), cuts)])
    assert np.abs(r.to_numpy() - np.corrcoef(df.to_numpy().T)).max() < 1e-12


@given(seeds, cuts)
def test_batches_of_any_size_give_the_same_moments(seed, cuts):
    df = with_holes(random_samples(seed), seed)
    whole = measure_moments(df)
    parts = [measure_moments(df.iloc[list(part)]) for part in split(np.arange(200), cuts)]
    merged = reduce(merge_moments, parts)
    scale = np.sqrt(np.outer(whole.square.diagonal(), whole.square.diagonal()))
    assert (merged.count == whole.count).all()
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-9)
    assert (np.abs(merged.product - whole.product) <= 1e-10 * scale).all()


@given(seeds)
def test_missing_values_are_left_out_pair_by_pair(seed):
    df = with_holes(random_samples(seed), seed)
    r = correlate_parts([df.iloc[:50], df.iloc[50:]])
    assert np.abs(r.to_numpy() - df.corr().to_numpy()).max() < 1e-9
    counts = pd.Series(measure_moments(df).count.diagonal(), NUMERIC)
    assert counts[list(df)].to_dict() == df.count().to_dict()


@given(seeds)
def test_a_column_that_some_flights_lack_is_correlated_over_the_others(seed):
    df = random_samples(seed)
    r = correlate_parts([df.iloc[:50].drop(columns="distance"), df.iloc[50:]])
    assert r.loc["distance", "altitude"] == pytest.approx(
        df.iloc[50:].corr().loc["distance", "altitude"]
    )
    assert r.loc["duration", "altitude"] == pytest.approx(df.corr().loc["duration", "altitude"])


@given(seeds, st.floats(1, 1e6))
def test_a_constant_column_has_no_correlation(seed, value):
    df = random_samples(seed).assign(altitude=value)
    r = correlate_parts([df.iloc[:7], df.iloc[7:]])
    assert r["altitude"].isna().all()
    assert r.drop(index="altitude", columns="altitude").notna().to_numpy().all()


def test_columns_constant_where_both_have_values_have_no_correlation():
    df = random_samples(5)[["altitude", "temperature"]]
    df["temperature"] = df["temperature"].where(df.index < 90)
    df["altitude"] = df["altitude"].where(df.index >= 90, 33_333.3)
    r = correlate_parts([df])
    assert np.isnan(r.loc["altitude", "temperature"])
    assert r.to_numpy().diagonal().tolist() == [1, 1]


def test_correlation_is_symmetric_one_on_the_diagonal_and_never_beyond():
    df = random_samples(3).assign(mach=lambda df: -2 * df["duration"] + 1)
    r = correlate_parts([df])
    assert (r.to_numpy() == r.to_numpy().T).all()
    assert (r.to_numpy().diagonal() == 1).all()
    assert r.loc["duration", "mach"] == pytest.approx(-1)
    assert r.abs().to_numpy().max() <= 1


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Flights that climb and descend, each on a warmer or colder day; pressure is exact."""
    folder = tmp_path_factory.mktemp("correlations") / "archive"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):
        time = np.arange(900.0)
        altitude = 30_000 * np.sin(np.pi * time / 900) ** rng.uniform(0.8, 1.2)
        df = pd.DataFrame(
            {"timestamp": pd.date_range("2016-01-01", periods=900, freq="s", tz="UTC")}
        )
        df = df.assign(
            latitude=40.0 + time / 1000, longitude=-3.0 + time / 500 * rng.uniform(0.8, 1.2),
            altitude=altitude, duration=time, gap=time % 60, mass=60_000.0,
            temperature=288 - 0.002 * altitude + rng.normal(0, 3),
            pressure=101_325 * (1 - 6.8756e-6 * altitude) ** 5.2559,
            thrust=np.where(time < 100, time, np.nan),
            origin="LEMD", destination="LEBL",
        )  # fmt: skip
        write_flight(df, folder / f"{number}.csv")
    return build_index(folder)


def test_correlations_do_not_depend_on_workers_and_hardly_on_blocks(index, monkeypatch, client):
    on_workers = correlate(index)
    with monkeypatch.context() as patch:
        patch.setattr("trajlib.cluster.current_client", lambda: None)
        pd.testing.assert_frame_equal(correlate(index), on_workers, check_exact=True)
    monkeypatch.setattr(flights_module, "BLOCK", 2)
    assert np.nanmax(np.abs(correlate(index) - on_workers)) < 1e-13


def test_held_out_flights_do_not_change_the_correlation(index):
    parts = [index["path"][:2], index["path"][2:5], index["path"][5:]]
    for part, r in zip(parts, correlate_without(index, parts), strict=True):
        others = correlate(index[~index["path"].isin(part)])
        assert list(r) == list(others)
        assert np.nanmax(np.abs(r - others)) < 1e-13
        assert np.nanmax(np.abs(r - correlate(index))) > 1e-6


def test_columns_unfit_for_redundancy_are_flagged_with_the_reason(index):
    r = correlate(index)
    flags = flag_columns(r, sample_flights(index), modelled={"temperature"})
    assert flags.to_dict() == {
        "thrust": "missing in 89 %",
        "mass": "constant",
        "temperature": "modelled",
        "gap": "about the surveillance",
        "latitude": "function of duration",
        "pressure": "function of altitude",
    }


def test_a_column_that_differs_by_day_is_no_function_of_another(index):
    r = correlate(index)
    assert abs(r.loc["temperature", "altitude"]) > 0.98
    assert "temperature" not in flag_columns(r, sample_flights(index))


def test_the_course_of_a_single_flight_makes_no_function():
    rows = pd.MultiIndex.from_product([["a", "b", "c"], range(500)], names=["path", "sample"])
    altitude = 5_000.0 * rows.codes[0] + 10 * rows.codes[1]  # each flight at a different altitude
    warmth = np.array([1.0, -1.0, 1.0])[rows.codes[0]]
    columns = {"altitude": altitude, "temperature": 288 - 0.002 * altitude + warmth}
    samples = pd.DataFrame(columns, rows)
    assert flag_columns(samples.corr(), samples).empty


def test_samples_are_evenly_spaced_in_every_flight(index):
    samples = sample_flights(index)
    assert samples.groupby("path").size().tolist() == [900] * 7  # fewer than 20,000 in all
    assert samples.index.names[0] == "path"


def correlation_matrix(seed, size=8):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(40, size)) @ rng.normal(size=(size, size)) ** 3
    return pd.DataFrame(data, columns=list("abcdefgh")[:size]).corr()


@given(seeds, st.floats(0.3, 0.99))
def test_any_two_of_a_group_are_correlated_by_the_threshold_and_one_is_kept(seed, threshold):
    r = correlation_matrix(seed)
    table = redundant_groups(r, threshold)
    assert sorted(table.index) == sorted(r)
    for _, group in table.groupby("group"):
        assert r.abs().loc[group.index, group.index].to_numpy().min() >= threshold - 1e-12
        assert group["keep"].sum() == 1
        assert (group["size"] == len(group)).all()


@given(seeds, st.permutations("abcdefgh"))
def test_groups_do_not_depend_on_the_order_of_columns(seed, order):
    r = correlation_matrix(seed)
    groups = [set(map(frozenset, redundant_groups(m).groupby("group").groups.values()))
              for m in (r, r.loc[list(order), list(order)])]  # fmt: skip
    assert groups[0] == groups[1]


def test_the_best_of_a_group_is_kept_and_the_first_of_equally_good_ones():
    names = ["altitude", "pressure", "density"]
    r = pd.DataFrame([[1, 0.95, 0.91], [0.95, 1, 0.99], [0.91, 0.99, 1]], names, names)
    table = redundant_groups(r)
    assert table.index[table["keep"]].tolist() == ["pressure"]
    assert table.loc["pressure", "mean_r"] == pytest.approx(0.97)
    r = pd.DataFrame([[1, 0.95, 0.95], [0.95, 1, 0.96], [0.95, 0.96, 1]], names, names)
    assert redundant_groups(r).query("keep").index.tolist() == ["altitude"]


def test_discarded_predictors_are_represented_by_a_kept_one():
    names = ["altitude", "pressure", "mach", "gap"]
    r = pd.DataFrame(np.eye(4), names, names)
    r.loc["altitude", "pressure"] = r.loc["pressure", "altitude"] = -0.99
    high, fast = np.random.default_rng(0).normal(size=(2, 30))
    aggregates = pd.DataFrame({"operator": "IBE", "altitude_max": high, "altitude_mean": high**3})
    aggregates = aggregates.assign(pressure_min=fast, mach_max=-fast, gap_mean=high, hour=fast)
    chosen = choose_predictors(aggregates, r, pd.Series({"gap": "about the surveillance"}))
    assert chosen == {
        "all": [name for name in aggregates if name != "gap_mean"],
        "kept variables": ["operator", "altitude_max", "altitude_mean", "mach_max", "hour"],
        "kept aggregates": ["operator", "altitude_max", "pressure_min", "hour"],
    }


def test_columns_that_are_never_present_together_are_not_grouped():
    r = pd.DataFrame([[1, np.nan], [np.nan, 1]], ["mach", "drag"], ["mach", "drag"])
    assert redundant_groups(r)["keep"].all()
    assert cluster_columns(r)[0, 2] == 1


def test_the_heat_map_has_correlated_columns_side_by_side():
    names = ["altitude", "mach", "pressure"]
    r = pd.DataFrame([[1, 0, -0.9], [0, 1, 0.1], [-0.9, 0.1, 1]], names, names)
    tree, heat, *_ = plot_correlations(r, cluster_columns(r)).axes
    shown = [text.get_text().split()[0] for text in heat.get_yticklabels()]
    assert abs(shown.index("altitude") - shown.index("pressure")) == 1
    assert tree.get_ylim()[0] > tree.get_ylim()[1]  # first on top, as in the heat map


def test_a_heat_map_of_many_columns_marks_negative_correlations():
    names = [f"column {number}" for number in range(30)]
    sign = np.where(np.arange(30) % 3 == 0, -1, 1)
    r = pd.DataFrame(0.5 * np.outer(sign, sign) + 0.5 * np.eye(30), names, names)
    heat = plot_correlations(r, cluster_columns(r)).axes[1]
    marked = {text.get_position() for text in heat.texts if text.get_text() == "\N{MINUS SIGN}"}
    shown = [names.index(text.get_text()) for text in heat.get_yticklabels()]
    negative = np.argwhere(r.to_numpy()[np.ix_(shown, shown)] < 0)
    assert marked == {(column + 0.5, row + 0.5) for row, column in negative}
