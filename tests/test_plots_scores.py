import numpy as np
import pandas as pd
import pytest

from trajlib.features.targets import FRACTIONS, TARGETS
from trajlib.labels import display_name
from trajlib.plots.importance import plot_importance, plot_ranking
from trajlib.plots.prediction import plot_coverage, plot_coverage_by_month, plot_trajectory
from trajlib.plots.scores import plot_errors, plot_scores, plot_skills

MODELS = ["whole flight", "at take-off"]


def table(columns, names=MODELS, level="model"):
    rows = pd.MultiIndex.from_product([names, FRACTIONS], names=[level, "fraction"])
    values = np.random.default_rng(0).uniform(0, 1, (len(rows), len(columns)))
    return pd.DataFrame(values, rows, list(columns))


@pytest.fixture
def importance():
    names = [f"predictor_{number}" for number in range(12)]
    rows = pd.MultiIndex.from_product([FRACTIONS, names], names=["fraction", "predictor"])
    values = np.tile(np.arange(12) / 10, len(FRACTIONS))
    return pd.DataFrame({"impurity": values, "permutation": 1 - values}, rows)


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_every_target_has_a_panel_and_every_model_a_line():
    figure = plot_scores(table(TARGETS))
    assert titles(figure)[-1] == "altitude $H_p$"
    assert [len(ax.lines) for ax in figure.axes] == [3] * 5  # two models and zero


def test_a_degenerate_target_is_named_where_it_is_one():
    figure = plot_scores(table(TARGETS), degenerate={MODELS[0]: ["duration"]})
    assert ["degenerate" in title for title in titles(figure)] == [False, False, True, False, False]


def test_errors_carry_their_units():
    figure = plot_errors(table(["horizontal", "along", "cross", "altitude", "time", "distance"]))
    assert titles(figure) == [
        "position error [NM]", "along track error [NM]", "cross track error [NM]",
        "altitude error [ft]", "time error [min]", "distance flown error [NM]",
    ]  # fmt: skip


def test_skills_are_drawn_with_their_intervals_for_each_feature_set():
    levels = {"feature_set": ["planned", "airborne_5"], "model": MODELS, "error": ["altitude"]}
    rows = pd.MultiIndex.from_product(levels.values(), names=list(levels))
    skills = pd.DataFrame({"skill": [0.1, 0.2, 0.3, 0.4], "low": 0.05, "high": 0.5}, rows)
    (ax,) = plot_skills(skills, ["altitude"]).axes
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["before", "5"]
    assert [bar.lines[0].get_ydata().tolist() for bar in ax.containers] == [[0.1, 0.3], [0.2, 0.4]]
    assert len(ax.get_lines()) == 3  # two models and the zero


@pytest.mark.filterwarnings("error::UserWarning")  # a layout without room
def test_a_skill_below_the_axis_is_marked_at_its_edge():
    levels = {"feature_set": ["planned"], "model": MODELS, "error": ["altitude"]}
    rows = pd.MultiIndex.from_product(levels.values(), names=list(levels))
    for skill, marks in ((-0.1, 0), (-0.7, 1)):
        skills = pd.DataFrame({"skill": [0.1, skill], "low": skill, "high": 0.5}, rows)
        figure = plot_skills(skills, ["altitude"])
        triangles = [line for line in figure.axes[0].get_lines() if line.get_marker() == "v"]
        assert [line.get_ydata().tolist() for line in triangles] == marks * [[-0.5]]


@pytest.mark.parametrize("measures", [["impurity", "permutation"], ["permutation", "shap"]])
def test_each_importance_measure_has_a_heat_map_of_the_ten_most_important(importance, measures):
    table = importance.assign(shap=importance["impurity"])[measures]
    maps = [ax for ax in plot_importance(table).axes if ax.get_label() != "<colorbar>"]
    assert len(maps) == 2
    labels = [label.get_text() for label in maps[0].get_yticklabels()]
    assert len(labels) == 10
    assert labels[0] == display_name("predictor_0")


def test_the_ranking_has_both_measures(importance):
    left, right = plot_ranking(importance.groupby(level="predictor").mean()).axes
    assert [len(left.patches), len(right.patches)] == [10, 10]
    assert left.get_yticklabels()[0].get_text() == display_name("predictor_11")
    assert right.get_yticklabels()[0].get_text() == display_name("predictor_0")


@pytest.fixture
def predicted():
    fractions = pd.Index(FRACTIONS, name="fraction")
    line = pd.DataFrame(
        {"latitude": 40.5 + fractions, "longitude": -3.5 + 5 * fractions, "course": 70.0}, fractions
    )
    line = line.assign(altitude=3e4, duration=3600 * fractions)
    for name in ("along", "cross", "altitude", "duration"):
        centre = line.get(name, 0.0)
        for end, width in {"": 5.0, "_band": 9.0}.items():
            line[f"{name}{end}_low"] = centre - width
            line[f"{name}{end}_high"] = centre + width
    return line


@pytest.mark.parametrize(("first", "lines"), [(0, 2), (4, 3)])
def test_the_flown_part_of_an_airborne_flight_is_a_separate_line(predicted, first, lines):
    ahead = predicted.iloc[first:]
    figure = plot_trajectory(ahead, flown=predicted, airports=["LEMD", "LEBL"])
    altitude = next(ax for ax in figure.axes if ax.get_ylabel() == "altitude $H_p$ [ft]")
    assert len(altitude.lines) == lines
    assert sum(len(line.get_xdata()) for line in altitude.lines[1:]) == len(predicted)


def test_coverage_has_a_panel_for_each_target_and_a_line_for_each_feature_set():
    sets = ["planned", "at_takeoff"]
    scores = pd.concat({name: table(["coverage"], ["along", "cross"], "target") for name in sets},
                       names=["feature_set"])  # fmt: skip
    axes = plot_coverage(scores, 0.9).axes
    assert [len(ax.lines) for ax in axes] == [3, 3]  # and the level


@pytest.mark.parametrize(("days", "first"), [(100, "2016-03"), (30, "29 Feb 2016")])
def test_coverage_is_drawn_by_month_or_by_week_where_there_are_few_months(days, first):
    paths = pd.Index([f"{number}.csv" for number in range(days)], name="path")
    dates = pd.Series(pd.date_range("2016-03-01", periods=days), paths)
    rows = pd.MultiIndex.from_product([paths, ["cross"]], names=["path", "column"])
    held = pd.DataFrame({"fixed": 0.9, "adaptive": np.arange(days) % 2}, rows)
    figure = plot_coverage_by_month(held, dates, 0.9, columns=["cross"])
    (ax,) = figure.axes
    assert ax.get_xticklabels()[0].get_text() == first
    adaptive = ax.lines[1].get_ydata()
    assert len(adaptive) == len(ax.get_xticks())
    assert adaptive.mean() == pytest.approx(0.5, abs=0.1)
