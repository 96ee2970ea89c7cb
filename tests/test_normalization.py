import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from trajlib import cluster
from trajlib.archive import flights as flights_module
from trajlib.archive.flights import map_flights
from trajlib.archive.index import build_index
from trajlib.archive.reading import write_flight
from trajlib.evaluation.bootstrap import (
    bootstrap_dispersion,
    compare_dispersion,
    evaluate_dispersion,
    interval_dispersion,
)
from trajlib.geodesy import distance, find_airport
from trajlib.plots.maps import plot_routes
from trajlib.plots.normalization import plot_dispersion, plot_normalized, plot_progress
from trajlib.trajectories.dispersion import dispersion, mean_trajectory
from trajlib.trajectories.normalization import PERCENTS, normalize_flights, resample_flight
from trajlib.trajectories.progress import align_to, distance_to_go, measure_progress

MADRID, BARCELONA = find_airport("LEMD"), find_airport("LEBL")
GEOD = Geod(ellps="WGS84")
BY = ["time", "distance", "route"]


def straight_flight(*, speed=420.0, offset=0.0, day=1, samples=None):
    """A flight at one speed [kt] beside the geodesic from Madrid to Barcelona [NM to its right]."""
    azimuth, _, length = GEOD.inv(*MADRID[3:1:-1], *BARCELONA[3:1:-1])
    run = np.arange(0, length, speed * 1852 / 3600)[:samples]
    lon, lat, back = GEOD.fwd(*np.full((len(run), 3), [*MADRID[3:1:-1], azimuth]).T, run)
    lon, lat, _ = GEOD.fwd(lon, lat, back + 180 + 90, np.full(len(run), offset * 1852))
    start = pd.Timestamp(f"2016-01-{day:02}T08:00", tz="UTC")
    df = pd.DataFrame({"timestamp": pd.date_range(start, periods=len(run), freq="s")})
    return df.assign(
        latitude=lat, longitude=lon, altitude=29_000.0, groundspeed=speed,
        origin="LEMD", destination="LEBL", operator="IBE",
    )  # fmt: skip


def write_archive(folder, *flights):
    folder.mkdir()
    for number, df in enumerate(flights):
        write_flight(df, folder / f"{number}.csv")
    return build_index(folder)


def trajectories(lat, lon):
    """Trajectories of these positions (path, fraction)."""
    dims = ("path", "fraction")
    fractions = np.linspace(0, 1, np.shape(lat)[1])
    return xr.Dataset({"latitude": (dims, lat), "longitude": (dims, lon)}, {"fraction": fractions})


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    """Flights at the same speed, 1 NM to the left and to the right of each other."""
    flights = [straight_flight(offset=offset) for offset in (-1, 1)]
    return write_archive(tmp_path_factory.mktemp("beside") / "archive", *flights)


@pytest.fixture(scope="module")
def one_slower(tmp_path_factory):
    """Flights along the same line, one a tenth slower."""
    flights = [straight_flight(speed=speed) for speed in (400, 360)]
    return write_archive(tmp_path_factory.mktemp("behind") / "archive", *flights)


rising = st.lists(st.floats(0, 1), min_size=2, max_size=30, unique=True).map(sorted).map(np.array)
values = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(rising, values)
def test_resampling_at_the_progress_of_the_samples_returns_the_flight(progress, rng):
    df = pd.DataFrame({"altitude": rng.uniform(0, 4e4, len(progress))})
    again = resample_flight(df, progress, progress)
    assert again["altitude"].to_numpy() == pytest.approx(df["altitude"].to_numpy(), abs=1e-6)


@given(rising, st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=20).map(sorted), values)
def test_nothing_is_extrapolated(progress, fractions, rng):
    df = pd.DataFrame({"altitude": rng.uniform(0, 4e4, len(progress))})
    result = resample_flight(df, progress, fractions)["altitude"].to_numpy()
    inside = (np.array(fractions) >= progress[0]) & (np.array(fractions) <= progress[-1])
    assert (np.isfinite(result) == inside).all()
    assert (result[inside] >= df["altitude"].min() - 1e-6).all()
    assert (result[inside] <= df["altitude"].max() + 1e-6).all()


def test_a_fraction_is_resampled_where_it_is_first_reached():
    df = pd.DataFrame({"duration": [0.0, 1.0, 2.0, 3.0, 4.0]})
    progress = np.array([0, 0.5, 0.5, 0.5, 1])
    duration = resample_flight(df, progress, [0.25, 0.5, 0.5 + 1e-9, 0.75, 1])["duration"]
    assert duration.to_numpy() == pytest.approx([0.5, 1, 3, 3.5, 4], abs=1e-6)


def test_a_column_that_a_flight_does_not_have_is_absent():
    df = pd.DataFrame({"altitude": [0.0, 10.0], "callsign": ["IBE1", "IBE1"]})
    arguments = df, np.array([0.0, 1.0]), [0.5]
    resampled = resample_flight(*arguments, columns=["mass", "altitude"])
    assert resampled.to_dict("list") == {"altitude": [5.0]}
    assert resample_flight(*arguments, columns=["mass"]).shape == (1, 0)


def test_angles_go_the_shorter_way_around():
    df = pd.DataFrame(
        {"longitude": [179.0, -179.5], "track": [350.0, 20.0], "altitude": [350.0, 20]}
    )
    middle = resample_flight(df, np.array([0.0, 1.0]), [0.5]).iloc[0]
    assert middle["longitude"] == pytest.approx(179.75)
    assert middle["track"] == pytest.approx(5)
    assert middle["altitude"] == pytest.approx(185)


def test_trajectories_are_labelled_with_their_flights_and_units(side_by_side):
    ds = normalize_flights(side_by_side)
    assert ds["altitude"].dims == ("path", "fraction")
    assert ds["altitude"].attrs["units"] == "ft"
    assert ds["path"].to_numpy().tolist() == ["0.csv", "1.csv"]
    assert ds["operator"].to_numpy().tolist() == ["IBE", "IBE"]
    assert ds["start"].to_numpy()[0] == np.datetime64("2016-01-01T08:00")
    assert ds.indexes["fraction"].to_numpy() == pytest.approx(PERCENTS)


def test_several_kinds_of_progress_at_once_equal_each_alone(side_by_side):
    together = normalize_flights(side_by_side, BY)
    for by in BY:
        xr.testing.assert_identical(
            together.sel(by=by, drop=True), normalize_flights(side_by_side, by)
        )
        spread = dispersion(together).loc[by]
        pd.testing.assert_frame_equal(spread, dispersion(normalize_flights(side_by_side, by)))


def test_an_unknown_progress_is_refused_with_the_existing_ones(side_by_side):
    with pytest.raises(ValueError, match="no progress 'fuel', expected one of time, distance"):
        normalize_flights(side_by_side, "fuel")


@pytest.mark.parametrize("by", BY)
def test_flights_side_by_side_spread_across_the_track_alone(side_by_side, by):
    spread = dispersion(normalize_flights(side_by_side, by)).iloc[5:-5]
    assert spread["cross"].to_numpy() == pytest.approx(np.sqrt(2), abs=0.01)
    assert spread["along"].to_numpy() == pytest.approx(0, abs=0.02)
    assert spread["horizontal"].to_numpy() == pytest.approx(np.sqrt(2), abs=0.01)
    assert spread[["altitude", "groundspeed"]].to_numpy() == pytest.approx(0, abs=1e-6)
    assert (spread["flights"] == 2).all()


@pytest.mark.parametrize("by", BY)
def test_a_slower_flight_along_the_same_line_spreads_in_time_alone(one_slower, by):
    spread = dispersion(normalize_flights(one_slower, by)).iloc[1:-2]
    seconds = distance(*MADRID[2:4], *BARCELONA[2:4]) * 3600 * (1 / 360 - 1 / 400) / np.sqrt(2)
    assert spread["time"].to_numpy() == pytest.approx(spread.index * seconds, abs=1)
    assert spread[["along", "cross"]].to_numpy() == pytest.approx(0, abs=0.1)


def test_a_truncated_flight_counts_only_at_fractions_it_reaches(tmp_path):
    index = write_archive(
        tmp_path / "archive",
        straight_flight(),
        straight_flight(samples=1000),
        straight_flight(speed=410),
    )
    flights = dispersion(normalize_flights(index, "route"))["flights"]
    assert flights.loc[0.1] == 3
    assert flights.loc[0.9] == 2


def test_a_fraction_that_no_flight_reaches_has_no_mean(side_by_side):
    ds = normalize_flights(side_by_side, "route")
    assert dispersion(ds)["flights"].iloc[-1] == 0
    assert np.isnan(mean_trajectory(ds)["latitude"].to_numpy()[-1])
    assert mean_trajectory(ds)["track"].count() == 101


def test_the_mean_of_positions_is_between_them_also_across_the_antimeridian():
    ds = trajectories([[10.0, 11.0], [10.0, 11.0]], [[179.0, 179.0], [182.0, 182.0]])
    mean = mean_trajectory(ds)
    assert mean["longitude"].to_numpy() == pytest.approx([180.5, 180.5])
    assert mean["latitude"].to_numpy() == pytest.approx([10, 11], abs=0.01)
    assert np.cos(np.radians(mean["track"])).to_numpy() == pytest.approx([1, 1])


def test_the_course_of_the_mean_is_from_the_point_before_to_the_point_after():
    ds = trajectories([[0.0, 0.0, 0.001]], [[0.0, 0.001, 0.001]])
    assert mean_trajectory(ds)["track"].to_numpy() == pytest.approx([90, 45, 0], abs=0.3)


def test_a_mean_that_stands_still_keeps_its_course():
    ds = trajectories([[0.0] * 6], [[0.0, 1.0, 2.0, 2.0, 2.0, 2.0]])
    assert mean_trajectory(ds)["track"].to_numpy() == pytest.approx([90] * 6)


@settings(max_examples=20)
@given(st.permutations(range(6)), st.integers(0, 100))
def test_dispersion_does_not_depend_on_the_order_of_flights(order, seed):
    rng = np.random.default_rng(seed)
    lat, lon = np.arange(4) + rng.normal(0, 0.1, (2, 6, 4))
    ds = trajectories(40 + lat, lon)
    spread, again = dispersion(ds), dispersion(ds.isel(path=order))
    assert again.to_numpy() == pytest.approx(spread.to_numpy())
    assert spread["horizontal"].to_numpy() == pytest.approx(
        np.hypot(spread["along"], spread["cross"]).to_numpy()
    )


def test_the_last_miles_are_scored_by_distance_to_go(one_slower):
    ds = normalize_flights(one_slower, distance_to_go, np.arange(-20, 0))
    to_go = distance(ds["latitude"], ds["longitude"], BARCELONA.latitude, BARCELONA.longitude)
    assert to_go == pytest.approx(np.tile(np.arange(20, 0, -1), (2, 1)), abs=0.01)


def test_trajectories_do_not_depend_on_blocks_or_workers(one_slower, monkeypatch, client):
    on_workers = normalize_flights(one_slower, BY)
    monkeypatch.setattr(flights_module, "BLOCK", 1)
    xr.testing.assert_identical(normalize_flights(one_slower, BY), on_workers)
    monkeypatch.setattr(cluster, "current_client", lambda: None)
    xr.testing.assert_identical(normalize_flights(one_slower, BY), on_workers)


def random_trajectories(flights, seed, *, fractions=5, scale=1.0):
    rng = np.random.default_rng(seed)
    lat, lon = np.arange(fractions) + scale * rng.normal(0, 0.1, (2, flights, fractions))
    return trajectories(40 + lat, lon)


def test_days_drawn_again_scatter_around_the_dispersion():
    ds = random_trajectories(400, seed=1)
    drawn = bootstrap_dispersion(ds, np.arange(400) % 50, draws=200)
    spread = dispersion(ds).drop(columns="flights").mean()
    assert set(drawn) == set(spread.index)
    assert drawn.mean().loc[spread.index].to_numpy() == pytest.approx(spread.to_numpy(), rel=0.01)
    assert drawn.std().to_numpy() == pytest.approx(
        spread[list(drawn)] / np.sqrt(2 * 400 * 5), rel=0.5
    )


def test_a_drawn_day_has_all_its_flights_and_dispersion_uses_their_mean():
    ds = trajectories(np.outer([0.01, 0.01, -0.01, -0.01], [1, 1, 1]), [[0.0, 1.0, 2.0]] * 4)
    drawn = bootstrap_dispersion(ds, ["Sat", "Sat", "Sun", "Sun"], draws=40)
    both = dispersion(ds)["horizontal"].mean()
    assert drawn["horizontal"].round(6).unique() == pytest.approx([both, 0], abs=1e-6)


def test_an_offset_shared_by_the_flights_of_a_day_widens_the_interval():
    days = np.repeat(np.arange(20), 20)
    independent = random_trajectories(400, seed=1)
    together = random_trajectories(400, seed=1, scale=0.1)
    offset = np.random.default_rng(2).normal(0, 0.1, 20)[days, None]
    together = together.assign(latitude=together["latitude"] + offset)
    certain, uncertain = (
        bootstrap_dispersion(ds, days)["horizontal"] for ds in (independent, together)
    )
    assert uncertain.std() / uncertain.mean() > 2 * certain.std() / certain.mean()


def test_the_interval_at_a_fraction_holds_its_dispersion_and_narrows_with_more_days():
    few, many = (random_trajectories(count, seed=1) for count in (100, 1600))
    widths = []
    for ds in (few, many):
        spread = dispersion(ds).drop(columns="flights")
        ends = interval_dispersion(ds, range(ds.sizes["path"]), draws=200)
        low, high = (ends.loc[q, list(spread)] for q in (0.025, 0.975))
        assert ((low < spread) & (spread < high)).to_numpy().all()
        widths.append((high - low).to_numpy().mean())
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)


def test_all_kinds_of_progress_are_drawn_with_the_same_days(side_by_side):
    ds = normalize_flights(side_by_side, BY)
    drawn = bootstrap_dispersion(ds, ["a", "b"], draws=50)
    assert drawn.index.names == ["by", "draw"]
    pd.testing.assert_frame_equal(
        drawn.loc["route"], bootstrap_dispersion(ds.sel(by="route"), ["a", "b"], draws=50)
    )


def test_altitude_cross_track_and_time_are_compared_as_one_ratio():
    columns = ["horizontal", "cross", "altitude", "time"]
    values = {"time": [[8.0, 2, 1000, 100]] * 3, "route": [[2.0, 1, 1000, 200]] * 3}
    frames = {by: pd.DataFrame(v, columns=columns).rename_axis("draw") for by, v in values.items()}
    intervals = compare_dispersion(pd.concat(frames, names=["by"]))
    assert intervals.index.tolist() == [("route", 0.025), ("route", 0.5), ("route", 0.975)]
    assert intervals["horizontal"].tolist() == [0.25] * 3
    assert intervals["rest"].to_numpy() == pytest.approx(1)  # half, the same and twice


def test_less_dispersion_holds_unless_an_interval_lies_above_1():
    def rows(horizontal, rest):
        middle = {"horizontal": np.mean(horizontal), "rest": np.mean(rest)}
        ends = [
            dict(zip(("horizontal", "rest"), pair, strict=True))
            for pair in zip(horizontal, rest, strict=True)
        ]
        return pd.DataFrame([ends[0], middle, ends[1]], [0.025, 0.5, 0.975])

    cases = {
        "less": rows((0.5, 0.7), (0.9, 1.1)),
        "moved": rows((0.5, 0.7), (1.1, 1.2)),
        "more": rows((1.1, 1.7), (0.5, 0.6)),
        "unsure": rows((0.5, 1.7), (0.5, 0.6)),
    }
    verdicts = evaluate_dispersion(pd.concat(cases, names=["by", "quantile"]))
    assert verdicts["less"] == "holds"
    assert (verdicts[["moved", "more"]] == "does not hold").all()
    assert verdicts["unsure"] == "cannot be said"


def test_figures_have_a_line_for_each_progress(one_slower):
    ds = normalize_flights(one_slower, BY)
    ends = interval_dispersion(ds, ["a", "b"], draws=10)
    figure = plot_dispersion(dispersion(ds), interval=ends, noise=0.1)
    assert [len(ax.lines) for ax in figure.axes] == [4, *[3] * 5]  # the first with the noise
    assert [len(ax.collections) for ax in figure.axes] == [3] * 6
    assert len(plot_dispersion(dispersion(ds.sel(by="time", drop=True))).axes[0].lines) == 1
    titles = [ax.get_title(loc="left") for ax in plot_normalized(ds, mean_trajectory(ds)).axes]
    assert titles == BY
    figure = plot_progress(map_flights(one_slower, measure_progress))
    assert [len(ax.lines) for ax in figure.axes] == [2] * 3


# Across the antimeridian


@pytest.fixture(scope="module")
def auckland_honolulu(tmp_path_factory):
    """Flights from Auckland to Honolulu on three tracks, which cross 180° on the way."""
    start, end = find_airport("NZAA"), find_airport("PHNL")
    azimuth, _, length = GEOD.inv(start.longitude, start.latitude, end.longitude, end.latitude)
    flown = np.linspace(0, length, 600)
    flights = []
    for number, side in enumerate((-20, 0, 20)):
        along = np.full((len(flown), 3), [start.longitude, start.latitude, azimuth])
        lon, lat, back = GEOD.fwd(*along.T, flown)
        bulge = side * 1852 * np.sin(np.pi * flown / length)
        lon, lat, _ = GEOD.fwd(lon, lat, back + 180 + 90, bulge)
        times = pd.date_range(
            f"2016-01-0{number + 1}T08:00", periods=len(flown), freq="50s", tz="UTC"
        )
        df = pd.DataFrame({"timestamp": times, "latitude": lat, "longitude": lon})
        flights.append(df.assign(altitude=29_000.0, origin="NZAA", destination="PHNL"))
    return write_archive(tmp_path_factory.mktemp("pacific") / "archive", *flights)


def test_trajectories_and_their_mean_are_continuous_across_the_antimeridian(auckland_honolulu):
    ds = normalize_flights(auckland_honolulu, BY)
    mean = mean_trajectory(ds)
    for longitude in (ds["longitude"].sel(by="distance"), mean["longitude"].sel(by="distance")):
        values = longitude.transpose("fraction", ...).to_numpy()
        assert values.max() > 200
        assert np.abs(np.diff(values, axis=0)).max() < 1


def test_dispersion_is_that_of_the_tracks_across_the_antimeridian(auckland_honolulu):
    spread = dispersion(normalize_flights(auckland_honolulu, "route"))
    assert spread["horizontal"].max() == pytest.approx(20, abs=0.5)
    assert spread["horizontal"].iloc[[1, -2]].max() < 1


def test_an_alignment_across_the_antimeridian_is_that_of_the_distance(auckland_honolulu):
    ds = normalize_flights(auckland_honolulu, "distance")
    median = ds[["latitude", "longitude"]].median("path").to_dataframe()
    aligned = normalize_flights(auckland_honolulu, align_to(median))
    np.testing.assert_allclose(aligned["longitude"], ds["longitude"], atol=0.3)


def test_a_map_across_the_antimeridian_is_as_wide_as_the_flights(auckland_honolulu):
    ds = normalize_flights(auckland_honolulu, "distance")
    figure = plot_routes(ds, mean=mean_trajectory(ds), airports=("NZAA", "PHNL"))
    west, east = figure.axes[0].get_xlim()
    assert 160 < west < 175
    assert 202 < east < 215


def test_a_position_out_of_reach_does_not_change_the_dispersion(tmp_path):
    flights = [straight_flight(offset=offset) for offset in (-1, 0, 1)]
    sound = write_archive(tmp_path / "sound", *flights)
    flights[1].loc[900, ["latitude", "longitude"]] = 0.0
    faulty = write_archive(tmp_path / "faulty", *flights)
    expected = dispersion(normalize_flights(sound, BY))
    measured = dispersion(normalize_flights(faulty, BY))
    np.testing.assert_allclose(measured, expected, atol=0.05)
