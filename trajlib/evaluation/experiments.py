"""Trials: models and baselines with the same feature_set, asked about the same held-out flights.

A question is where flights are at fractions of their route, at minutes since the first sample, or
at their end; what a flight had flown at the moment of feature_set is not asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.estimate import format_number
from trajlib.evaluation import baselines
from trajlib.evaluation.baselines import predict_baseline
from trajlib.evaluation.bootstrap import interval_by_day
from trajlib.evaluation.metrics import flown_courses, measure_errors, skill
from trajlib.evaluation.splits import Split
from trajlib.features.airborne import STATE
from trajlib.features.feature_sets import prediction_minutes
from trajlib.features.targets import HALF, keep_unflown, match_flights
from trajlib.geodesy import distance, find_airport
from trajlib.models.estimators import build_model
from trajlib.models.training import predict_held_out, submit_held_out
from trajlib.models.tuning import _PREFIX

__all__ = [
    "Experiment",
    "compare_models",
    "evaluate_settings",
    "format_groups",
    "format_skills",
    "name_directions",
    "name_phases",
    "predict_baselines",
    "run_descent_experiment",
    "run_experiment",
    "score_groups",
]

_ASKED = ["latitude", "longitude", "duration", "altitude"]
_ON_RUNWAY = 2.0  # NM at most from the airport to a record's end, for a direction to be told


class Experiment(NamedTuple):
    """Errors of models and of baselines by name, of the same rows."""

    models: dict[str, pd.DataFrame]
    baselines: dict[str, pd.DataFrame]

    @property
    def asked(self) -> bool:
        """Whether anything was still ahead of any flight."""
        return any(table.notna().any(axis=None) for table in self.baselines.values())

    def compare(self, days: pd.Series) -> pd.DataFrame:
        """Return what `trajlib.evaluation.experiments.compare_models` says of them."""
        return compare_models(self.models, self.baselines, days)


def run_experiment(
    known: pd.DataFrame,
    targets: pd.DataFrame,
    fractions: Sequence[float],
    splits: Sequence[Split],
    *,
    feature_set: str,
    by: str,
    routes: pd.DataFrame,
    flights: pd.DataFrame,
    models: Sequence[str],
    trees: int = 100,
    seed: int = 0,
) -> Experiment:
    """Train models for each fraction, and return their errors and those of the baselines.

    Parameters
    ----------
    known
        Predictors, as of `predictors` for the ``feature_set``.
    targets
        As of `targets`, ``by`` ``route``, ``clock`` or ``time``, at many
        fractions, from which courses and delays are told.
    fractions
        Those asked, as far as they are not yet flown.
    splits
        Paths to train on and paths held out.
    routes
        Targets by ``route``, at many fractions.
    flights
        Rows of the pair, for callsigns and times.
    models, trees, seed
        As of `trajlib.models.estimators.build_model`.
    """
    targets = targets.loc[match_flights(targets.index, known.index), _ASKED]
    asked = keep_unflown(targets, fractions, prediction_minutes(feature_set))
    course = flown_courses(targets)
    training = _submit_training(known, asked, splits, feature_set, models, trees=trees, seed=seed)
    simple = predict_baselines(  # in this process, while the workers train
        known,
        targets,
        asked,
        splits,
        feature_set=feature_set,
        by=by,
        routes=routes,
        flights=flights,
    )
    predicted = {name: wait() for name, wait in training.items()}
    errors = [
        {name: measure_errors(table, asked, course=course) for name, table in tables.items()}
        for tables in (predicted, simple)
    ]
    return Experiment(*errors)


def run_descent_experiment(
    known: pd.DataFrame,
    tops: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    models: Sequence[str],
    trees: int = 100,
    seed: int = 0,
) -> Experiment:
    """Train models for when and where flights leave their cruise, and return their errors.

    Parameters
    ----------
    tops
        ``top_of_descent_time`` [s] and ``top_of_descent_distance`` [NM] still to be flown from
        there, by path, as of `measure_features`; flights that had begun to descend
        at the moment of feature_set are not asked, and none where half of them had.
    """
    names = ["top_of_descent_time", "top_of_descent_distance"]
    asked = tops.loc[tops.index.isin(known.index), names]
    ahead = asked["top_of_descent_time"] > 60 * prediction_minutes(feature_set)
    asked = asked.where(ahead & (ahead.mean() > HALF))
    asked = pd.concat({1.0: asked}, names=["fraction"]).swaplevel().sort_index()
    training = _submit_training(known, asked, splits, feature_set, models, trees=trees, seed=seed)
    simple = {name: predict_baseline(asked, splits, name) for name in ("mean", "median")}
    predicted = {name: wait() for name, wait in training.items()}
    errors = [
        {name: (table - asked.loc[table.index]).abs() for name, table in tables.items()}
        for tables in (predicted, simple)
    ]
    return Experiment(*errors)


def predict_baselines(
    known: pd.DataFrame,
    targets: pd.DataFrame,
    asked: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    by: str,
    routes: pd.DataFrame,
    flights: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Return what each baseline predicts for the rows asked of held-out flights, by its name.

    Parameters are those of `run_experiment`; ``asked`` as of `keep_unflown`.
    """
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    median = predict_baseline(asked, splits, "median")
    kind = known["operator"].astype("str") + " " + known["aircraft_type"].astype("str")
    found = {
        "mean": predict_baseline(asked, splits),
        "median": median,
        "great circle": baselines.follow_great_circle(asked, splits, *pair),
        "operator and type": baselines.average_by(asked, splits, kind),
        "same flight number": baselines.repeat_callsign(targets, flights, median),
    }
    minutes = prediction_minutes(feature_set)
    if minutes:
        state = known[[f"{name}_at_{minutes:.0f}" for name in STATE]].set_axis(list(STATE), axis=1)
        reckon = baselines.dead_reckon_ahead if by == "clock" else baselines.dead_reckon_home
        found["dead reckoning"] = reckon(state, minutes, median, *pair)
        delay = baselines.measure_delay(routes, splits, state, minutes)
        shifted = targets if by == "clock" else asked
        late = baselines.shift_median(shifted, splits, delay, by=by)
        found["median, shifted"] = late.reindex(median.index)
    return found


def format_skills(
    table: pd.DataFrame, errors: Sequence[str] = ("horizontal", "altitude", "time")
) -> pd.DataFrame:
    """Return skills with their intervals as text, a column an error, to be read side by side.

    Parameters
    ----------
    table
        As `compare_models` returns it, whatever levels stand before ``error``.

    Returns
    -------
    DataFrame
        As ``0.26 (0.22 to 0.30)``; with `` *`` where the model does not beat the best baseline.
    """
    mark = np.where(table["verdict"] == "beats it", "", " *")
    told = [
        f"{skill:z.2f} ({low:z.2f} to {high:z.2f}){star}"
        for skill, low, high, star in zip(
            table["skill"], table["low"], table["high"], mark, strict=True
        )
    ]
    wide = pd.Series(told, table.index).unstack("error").reindex(columns=list(errors))  # noqa: PD010
    rows = table.index.droplevel("error").unique()
    return wide.reindex(rows).fillna("")


def format_groups(table: pd.DataFrame, errors: Sequence[str]) -> pd.DataFrame:
    """Return mean errors and skills of groups as text, the errors wanted side by side.

    Parameters
    ----------
    table
        As `score_groups` returns it, whatever levels stand before ``error``.

    Returns
    -------
    DataFrame
        By the groups and ``flights``, those of which some error is known: for each error ``mean``
        and ``skill``, as ``0.26 ± 0.04``, which reaches to the farther end of its interval; of a
        single day there is none.
    """
    groups = [name for name in table.index.names if name != "error"]
    reach = np.maximum(table["skill"] - table["low"], table["high"] - table["skill"])
    told = pd.DataFrame(
        {
            "flights": table["flights"].groupby(level=groups).transform("max"),
            "mean": table["mean"].map(format_number),
            "skill": table["skill"].map("{:z.2f}".format) + reach.map(" ± {:.2f}".format),
        }
    ).replace(r"( ± )?nan.*", "", regex=True)
    wide = told.set_index("flights", append=True).unstack("error", sort=False)  # noqa: PD010
    columns = pd.MultiIndex.from_product([errors, ["mean", "skill"]], names=["error", None])
    return wide.swaplevel(axis=1).fillna("").reindex(columns=columns, fill_value="")


def name_phases(targets: pd.DataFrame, tops: pd.DataFrame) -> pd.Series:
    """Return the phase that each flight is in at each fraction: climb, cruise or descent.

    Parameters
    ----------
    tops
        ``top_of_climb_time`` and ``top_of_descent_time`` [s] by path; flights that lack one have
        no phase.
    """
    top = tops.reindex(targets.index.get_level_values("path"))
    climb, descent = (top[f"top_of_{name}_time"].to_numpy() for name in ("climb", "descent"))
    time = targets["duration"].to_numpy()
    phase = np.select([time < climb, time < descent], ["climb", "cruise"], "descent")
    known = np.isfinite(climb + descent + time)
    return pd.Series(phase, targets.index, name="phase").where(known)


def name_directions(targets: pd.DataFrame, airport: str) -> pd.Series:
    """Return the quarter of the compass in which each flight uses its runway, by path.

    Missing where the record begins or ends too far from the airport to tell.

    Parameters
    ----------
    targets
        At two fractions or more, the first or the last of them at the airport.
    airport
        ICAO or IATA code.
    """
    place = find_airport(airport)
    away = distance(targets["latitude"], targets["longitude"], place.latitude, place.longitude)
    near = pd.Series(away, targets.index).groupby(level="path").min() <= _ON_RUNWAY
    course = flown_courses(targets).groupby(level="path").last()
    quarter = ((course / 90).round() % 4).where(near)
    return quarter.map(dict(enumerate("NESW"))).rename("direction")


def _submit_training(
    known: pd.DataFrame,
    asked: pd.DataFrame,
    splits: Sequence[Split],
    feature_set: str,
    models: Sequence[str],
    **options: int,
) -> dict[str, Callable[[], pd.DataFrame]]:
    return {
        name: submit_held_out(
            build_model(name, **options), known, asked, splits, feature_set=feature_set
        )
        for name in models
    }


def evaluate_settings(
    model: Pipeline,
    searched: pd.DataFrame,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    split: tuple[pd.Index, pd.Index],
    days: pd.Series,
    *,
    feature_set: str,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what the best settings gain on the model's own, on days that no search has seen.

    Parameters
    ----------
    model, predictors, targets, days, feature_set
        As of `search_settings`.
    searched
        What it returned of the flights to train on.
    split
        Paths to train on, and those held out from the search, too.

    Returns
    -------
    DataFrame
        A row for each error: ``gain``, the share of the mean error that is gone, ``low`` and
        ``high``, its 95 % interval over held-out days.
    """
    (best,) = searched.head(1).drop(columns=["r2", "spread", "seconds"]).to_dict("records")
    tuned = clone(model).set_params(**{f"{_PREFIX}{name}": value for name, value in best.items()})
    errors = [
        measure_errors(
            predict_held_out(
                each, predictors, targets, [split], feature_set=feature_set, joint=True
            ),
            targets,
        )
        for each in (tuned, model)
    ]
    return interval_by_day(*errors, days, seed=seed).rename(columns={"skill": "gain"})


def compare_models(
    errors: Mapping[str, pd.DataFrame],
    baselines: Mapping[str, pd.DataFrame],
    days: pd.Series,
) -> pd.DataFrame:
    """Return the skill of each model against each baseline, and whether it beats the best.

    Parameters
    ----------
    errors, baselines
        By name, as of `measure_errors`, all of the same rows; ``mean`` and ``median`` trajectory
        are among the baselines.
    days
        Of each flight, by path.

    Returns
    -------
    DataFrame
        Indexed by ``model`` and ``error``. ``skill``, ``low``, ``high``: against the mean
        trajectory, pooled over absolute errors, with the 95 % interval by day; ``median``: against
        the median trajectory, with ``median_low`` and ``median_high``; ``squared``: against the
        mean, of squared errors, the norm in which forests, ridge and neighbours are trained;
        ``best``: the baseline of least error, and ``best_skill``, ``best_low`` and ``best_high``
        against it; ``verdict``: whether the model beats it, ``no better`` where the interval
        leaves that open, ``worse`` where it is surely not so good.
    """
    sums = pd.DataFrame({name: table.mean() for name, table in baselines.items()}).dropna()
    best = sums.idxmin(axis=1)
    against = pd.DataFrame({name: baselines[best[name]][name] for name in best.index})
    tables = {}
    for name, table in errors.items():
        own = table[list(best.index)]
        parts = [interval_by_day(own, baselines["mean"][own.columns], days)]
        for kind, base in {"median": baselines["median"], "best": against}.items():
            found = interval_by_day(own, base[own.columns], days)
            parts.append(found.set_axis([f"{kind}_skill", f"{kind}_low", f"{kind}_high"], axis=1))
        squared = skill(own**2, baselines["mean"][own.columns] ** 2)
        tables[name] = pd.concat(parts, axis=1).assign(squared=squared, best=best)
    result = pd.concat(tables, names=["model", "error"])
    sure = [result["best_low"] > 1e-6, result["best_high"] < -1e-6]  # more than rounding
    return result.assign(verdict=np.select(sure, ["beats it", "worse"], "no better"))


def score_groups(
    errors: pd.DataFrame, baseline: pd.DataFrame, groups: pd.Series, days: pd.Series
) -> pd.DataFrame:
    """Return mean error and skill in each group, with the 95 % interval by day.

    Parameters
    ----------
    errors, baseline
        Of the same rows.
    groups
        A name for each path, or for each path and fraction; rows without one are left out.

    Returns
    -------
    DataFrame
        Indexed by ``group`` and ``error``: ``flights`` of which the error is known, ``mean``,
        ``skill``, ``low``, ``high``. Empty where no row has a group.
    """
    path = errors.index.get_level_values("path")
    whole = groups.index.nlevels > 1
    names = groups.reindex(errors.index if whole else path).to_numpy()
    rows = pd.MultiIndex.from_product([[], errors.columns], names=["group", "error"])
    empty = pd.DataFrame(columns=["mean", "skill", "low", "high"], index=rows, dtype=float)
    empty.insert(0, "flights", 0)
    tables = {}
    for name in pd.unique(pd.Series(names).dropna().sort_values(kind="stable")):
        own, base = errors[names == name], baseline[names == name]
        table = interval_by_day(own, base, days)
        table.insert(0, "mean", own.mean())
        table.insert(0, "flights", own.notna().groupby(level="path").any().sum())
        tables[name] = table
    return pd.concat(tables, names=rows.names) if tables else empty
