"""Print the errors of a city pair by feature set, and the gain of each group of features.

    python benchmarks/predictions.py data/raw/sfo SFO LAX

The first table has the errors of LightGBM and of every baseline in miles, feet and minutes, with
their 95 % confidence intervals over days. The second has the share of LightGBM's error that each
group of features saves, compared with a model without the group. The third has the interval scores.
Tables are Markdown.
"""

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd

from trajlib import open_study
from trajlib.estimate import Estimate
from trajlib.evaluation.bootstrap import estimate_skill
from trajlib.evaluation.coverage import measure_coverage
from trajlib.evaluation.experiments import run_experiment
from trajlib.evaluation.splits import choose_folds, local_days, split_by_day
from trajlib.evaluation.tables import format_errors, format_skills
from trajlib.features.feature_sets import build_predictors_by
from trajlib.features.targets import append_arrival, build_targets_by
from trajlib.models.estimators import build_model

GROUPS = {
    "plan": r"^plan_",
    "recent traffic": r"^recent_(?!departure_|landing_)|^callsign_",
    "runways in use": r"^recent_(departure|landing)_",
    "wind": r"^wind_",
    "state": r"_at_\d+$",
}
THREE = ["horizontal", "altitude", "time"]


def compare_groups(predictors: pd.DataFrame, run: Callable, days: pd.Series) -> pd.DataFrame:
    """Return the share of the error that each group of features saves, as text."""
    with_all = run(predictors).models["lightgbm"][THREE]
    gains = {}
    for name, pattern in GROUPS.items():
        group = predictors.filter(regex=pattern).columns
        if predictors[group].notna().any(axis=None):
            missing = predictors.assign(**dict.fromkeys(group, float("nan")))
            without = run(missing).models["lightgbm"][THREE]
            gains[name] = estimate_skill(with_all, without, days)
    rows = {}
    for name, table in gains.items():
        percent = 100 * table
        rows[name] = {
            error: str(Estimate(*percent.loc[error], unit="%", decimals=1, sign=True))
            for error in THREE
        }
    return pd.DataFrame(rows).T


def score_intervals(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    feature_set: str,
    trees: int,
) -> pd.DataFrame:
    """Return interval scores relative to the naive interval, and coverages, on random days."""
    model = build_model("lightgbm", trees=trees)
    bare = predictors.drop(columns=predictors.filter(regex=GROUPS["plan"]).columns)
    coverage = measure_coverage(
        model, bare, targets, days, feature_set=feature_set, seeds={"random": 0}
    )
    means = coverage.scores.groupby(level=["target", "interval"], sort=False).mean()
    score, covered = (means[name].unstack("interval") for name in ("score", "coverage"))  # noqa: PD010
    relative = score.div(score["naive"], axis=0).drop(columns="naive")
    return relative.join(covered["chosen"].rename("coverage"))


def print_table(table: pd.DataFrame, title: str = "") -> None:
    """Print a table as Markdown, with its index first."""
    names = [name or "" for name in table.index.names]
    rows = [[*names, *table.columns], ["---"] * (len(names) + table.shape[1])]
    rows += table.reset_index().astype(str).to_numpy().tolist()
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    print(title, *lines, "", sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archive")
    parser.add_argument("origin")
    parser.add_argument("destination")
    parser.add_argument("--data", default="data")
    parser.add_argument("--steps", type=int, default=3, help="fractions, from 5 to 95 %%")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--trees", type=int, default=60, help="rounds of boosting")
    parser.add_argument("--sets", nargs="+", default=["planned", "at_takeoff", "airborne_10"])
    parser.add_argument("--ablation", nargs="*", default=["at_takeoff", "airborne_10"])
    parser.add_argument("--intervals", nargs="*", default=[], help="feature sets scored")
    options = parser.parse_args()

    study = open_study(options.archive, options.origin, options.destination, data=options.data)
    predictors = build_predictors_by(
        study.flights, options.sets, traffic=study.index, plans=study.plans
    )
    flights = list(predictors[options.sets[0]].index)
    grids = {"route": ("route", np.arange(1, 100) / 100), "end": ("time", [1.0])}
    targets = {
        name: table.loc[flights] for name, table in build_targets_by(study.flights, grids).items()
    }
    days = local_days(study.flights)[flights]
    splits = split_by_day(days, choose_folds(days, options.folds))
    fractions = np.round(np.linspace(0.05, 0.95, options.steps), 2)
    print(f"{study.pair}: {len(flights):,} flights on {days.nunique():,} days\n")

    def run(table: pd.DataFrame, name: str):
        return run_experiment(
            table,
            targets["route"],
            fractions,
            splits,
            feature_set=name,
            by="route",
            routes=targets["route"],
            flights=study.flights,
            days=days,
            models=["lightgbm"],
            trees=options.trees,
        )

    for name in options.sets:
        experiment = run(predictors[name], name)
        print_table(format_errors(experiment.tabulate(), THREE).droplevel("kind"))
        print_table(format_skills(experiment.compare()), f"skill, {name}")
    for name in options.ablation:
        table = compare_groups(predictors[name], lambda table, name=name: run(table, name), days)
        print_table(table, f"gain of each group, {name}")
    for name in options.intervals:
        selected = (
            targets["route"].index.get_level_values("fraction").isin(np.arange(5, 100, 15) / 100)
        )
        scored = append_arrival(targets["route"][selected], targets["end"])
        table = score_intervals(predictors[name], scored, days, name, options.trees)
        print_table(table.round(2), f"interval score, {name}")


if __name__ == "__main__":
    main()
