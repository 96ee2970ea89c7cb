"""Experiments: models and baselines with the same feature set, scored on the same held-out flights.

Targets are positions at fractions of the route, at minutes since the first sample, or at the end of
the flight. Targets that a flight had passed at the prediction time are not scored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.estimate import Estimate, format_number
from trajlib.evaluation import baselines
from trajlib.evaluation.baselines import predict_baseline
from trajlib.evaluation.bootstrap import estimate_mean, estimate_percentile, estimate_skill
from trajlib.evaluation.metrics import flown_courses, measure_errors, skill
from trajlib.evaluation.plans import predict_plan_baselines
from trajlib.evaluation.quantities import QUANTITIES
from trajlib.features.airborne import STATE
from trajlib.features.feature_sets import prediction_minutes
from trajlib.features.plans import add_reference, has_plan, locate_plan, measure_deviations
from trajlib.features.targets import SHARE_AHEAD, keep_unflown, match_flights
from trajlib.geodesy import distance, find_airport
from trajlib.models.estimators import build_model
from trajlib.models.training import (
    Split,
    cancelled_on_error,
    predict_held_out,
    submit_held_out,
)
from trajlib.models.tuning import REGRESSOR

__all__ = [
    "Experiment",
    "evaluate_settings",
    "format_arrivals",
    "format_errors",
    "format_groups",
    "format_skills",
    "group_look_ahead",
    "name_directions",
    "name_phases",
    "predict_baselines",
    "run_descent_experiment",
    "run_experiment",
    "score_arrivals",
    "score_before_landing",
    "score_groups",
    "submit_experiment",
    "to_display_units",
]

_SCORED = ["latitude", "longitude", "duration", "altitude"]
_ON_RUNWAY = 2.0  # NM from the airport, within which a record must end to have a direction
_ROUNDING = 1e-6  # rounding errors of skill
_BEFORE_LANDING = np.array([10, 15, 20, 30, 45, 60, 90])  # min


def to_display_units(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of errors or targets with their display names and units, times in minutes.

    >>> to_display_units(pd.DataFrame({"horizontal": [2.5], "time": [90.0]})).iloc[0].to_dict()
    {'position [NM]': 2.5, 'time [min]': 1.5}
    """
    scaled = {name: table[name] / QUANTITIES[name].divisor for name in table if name in QUANTITIES}
    return table.assign(**scaled).rename(
        columns={name: QUANTITIES[name].heading for name in scaled}
    )


@dataclass(frozen=True)
class Experiment:
    """Errors of models and baselines on the same rows of held-out flights.

    Attributes
    ----------
    feature_set
        Feature set of the models.
    models, baselines
        Absolute errors by name, as returned by `trajlib.evaluation.metrics.measure_errors`; missing
        where a flight had passed the row at the prediction time.
    days
        The local day of each flight, by path.
    """

    feature_set: str
    models: dict[str, pd.DataFrame]
    baselines: dict[str, pd.DataFrame]
    days: pd.Series

    @property
    def empty(self) -> bool:
        """Whether no target was ahead of any flight at the prediction time."""
        return not any(table.notna().any(axis=None) for table in self.baselines.values())

    def list_errors(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Yield the kind (model or baseline), name and errors of each model and baseline."""
        for kind, tables in {"model": self.models, "baseline": self.baselines}.items():
            for name, errors in tables.items():
                yield kind, name, errors

    def select(self, rows: pd.MultiIndex) -> "Experiment":
        """Return the experiment with the errors of these rows alone."""
        models = {name: errors.loc[rows] for name, errors in self.models.items()}
        baselines = {name: errors.loc[rows] for name, errors in self.baselines.items()}
        return replace(self, models=models, baselines=baselines)

    def compare(self) -> pd.DataFrame:
        """Return the skill of each model against baselines, and whether it beats the best one.

        Indexed by ``model`` and ``error``, for errors with values. ``skill``, ``low``, ``high``:
        against the mean trajectory, pooled over absolute errors, with the 95 % interval by day;
        ``median_skill``, ``median_low`` and ``median_high``: against the median trajectory;
        ``best_skill``, ``best_low`` and ``best_high``: against ``best``, the baseline with the
        smallest error; ``squared``: against the mean, of squared errors, which forests, ridge and
        neighbours minimise; ``verdict``: ``beats it`` or ``worse`` if the interval against the
        best baseline excludes 0, else ``no better``.
        """
        baselines = self.baselines
        means = pd.DataFrame({name: table.mean() for name, table in baselines.items()}).dropna()
        names = list(means.index)
        best = means.idxmin(axis=1)
        of_best = pd.DataFrame({name: baselines[best[name]][name] for name in names})
        against = {"": baselines["mean"], "median_": baselines["median"], "best_": of_best}
        tables = {}
        for model, table in self.models.items():
            errors = table[names]
            parts = []
            for prefix, base in against.items():
                base_errors = base.reindex(errors.index)[names]
                parts.append(estimate_skill(errors, base_errors, self.days).add_prefix(prefix))
            squared = skill(errors**2, baselines["mean"][names] ** 2)
            tables[model] = pd.concat(parts, axis=1).assign(squared=squared, best=best)
        result = pd.concat(tables, names=["model", "error"])
        excludes_0 = [result["best_low"] > _ROUNDING, result["best_high"] < -_ROUNDING]
        return result.assign(verdict=np.select(excludes_0, ["beats it", "worse"], "no better"))

    def tabulate(self, groups: pd.Series | None = None) -> pd.DataFrame:
        """Return the error and skill of every model and baseline, with intervals.

        Parameters
        ----------
        groups
            A group for each row of the errors, or for each path, as `group_look_ahead` returns.

        Returns
        -------
        DataFrame
            One row per model or baseline, quantity and group: ``feature_set``, ``kind`` (model or
            baseline), ``name``, the group under the name of ``groups``, ``quantity`` (see
            ``QUANTITIES``), ``unit``, ``flights``; the mean absolute ``error`` with ``low`` and
            ``high``, the 95 % bootstrap interval over days, and ``p95``, its 95th percentile, in
            that unit; ``skill`` against the mean trajectory with ``skill_low`` and
            ``skill_high``. Quantities without a value are absent.
        """
        parts = []
        for kind, name, errors in self.list_errors():
            base = self.baselines["mean"].reindex(errors.index)
            labels = {"feature_set": self.feature_set, "kind": kind, "name": name}
            for group, rows in _split_rows(errors.index, groups):
                keys = labels if groups is None else labels | {groups.name or "group": group}
                part = _tabulate(errors[rows], base[rows], self.days)
                parts.append(part.assign(**keys)[[*keys, *part]])
        return pd.concat(parts, ignore_index=True)

    def _repr_html_(self) -> str:
        return format_errors(self.tabulate()).to_html(escape=True)


def run_experiment(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    fractions: Sequence[float],
    splits: Sequence[Split],
    **options: Any,
) -> Experiment:
    """Return the experiment that `submit_experiment` submits, once all models are trained."""
    return submit_experiment(predictors, targets, fractions, splits, **options)()


def submit_experiment(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    fractions: Sequence[float],
    splits: Sequence[Split],
    *,
    feature_set: str,
    by: str,
    routes: pd.DataFrame,
    flights: pd.DataFrame,
    days: pd.Series,
    models: Sequence[str],
    trees: int = 100,
    seed: int = 0,
    deviations: bool = True,
) -> Callable[[], Experiment]:
    """Submit the training of models for each fraction, and return a function that waits for it.

    The function returns the errors of the models and of the baselines; it can be called once.
    Several submitted experiments keep all workers busy.

    Parameters
    ----------
    predictors
        Predictors of the ``feature_set``, as returned by
        `trajlib.features.feature_sets.build_predictors`.
    targets
        As returned by `trajlib.features.targets.build_targets`, ``by`` ``route``, ``clock`` or
        ``time``, at many fractions, from which courses and delays are computed.
    fractions
        Scored fractions (minutes for ``clock``), as far as not passed at the prediction time.
    splits
        Paths to train on and paths held out.
    routes
        Targets by ``route``, at many fractions.
    flights
        Rows of the city pair, for callsigns and times.
    days
        The local day of each flight, by path.
    models, trees, seed
        As returned by `trajlib.models.estimators.build_model`.
    deviations
        With predictors of filed plans, and targets by ``route``: train models to predict
        deviations from the plans (True), or positions (False).
    """
    scored = match_flights(targets.index, predictors.index)
    unflown = keep_unflown(targets.loc[scored, _SCORED], fractions, prediction_minutes(feature_set))
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    planned = by == "route" and has_plan(predictors).any()
    reference = locate_plan(predictors, unflown.index, *pair) if planned and deviations else None
    learned = unflown if reference is None else measure_deviations(unflown, reference)
    wait_for_models = _submit_training(
        predictors, learned, splits, feature_set, models, trees=trees, seed=seed
    )

    @cancelled_on_error()
    def wait() -> Experiment:
        # made here, since many experiments may be waiting
        positions = targets.loc[scored, _SCORED]
        course = flown_courses(positions)
        simple = predict_baselines(  # in this process, while the workers train
            predictors,
            positions,
            unflown,
            splits,
            feature_set=feature_set,
            by=by,
            routes=routes,
            flights=flights,
        )
        if planned:
            simple |= predict_plan_baselines(predictors, unflown, splits, *pair)
        predicted = wait_for_models()
        if reference is not None:
            predicted = {name: add_reference(table, reference) for name, table in predicted.items()}
        model_errors, baseline_errors = (
            {name: measure_errors(table, unflown, course=course) for name, table in tables.items()}
            for tables in (predicted, simple)
        )
        return Experiment(feature_set, model_errors, baseline_errors, days)

    return wait


def run_descent_experiment(
    predictors: pd.DataFrame,
    tops: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    days: pd.Series,
    models: Sequence[str],
    trees: int = 100,
    seed: int = 0,
) -> Experiment:
    """Train models for the top of descent, and return their errors.

    Parameters
    ----------
    tops
        ``top_of_descent_time`` [s] and ``top_of_descent_distance`` [NM] still to be flown from
        there, by path, as returned by `measure_features`. Flights that had begun to descend at the
        prediction time are not scored, and none where no more than half of the flights have a
        top of descent ahead.
    """
    names = ["top_of_descent_time", "top_of_descent_distance"]
    targets = tops.reindex(index=predictors.index, columns=names).astype(float)
    ahead = targets["top_of_descent_time"] > 60 * prediction_minutes(feature_set)
    targets = targets.where(ahead & (ahead.mean() > SHARE_AHEAD))
    targets = pd.concat({1.0: targets}, names=["fraction"]).swaplevel().sort_index()
    wait_for_models = _submit_training(
        predictors, targets, splits, feature_set, models, trees=trees, seed=seed
    )
    simple = {name: predict_baseline(targets, splits, name) for name in ("mean", "median")}
    predicted = wait_for_models()
    model_errors, baseline_errors = (
        {name: (table - targets.loc[table.index]).abs() for name, table in tables.items()}
        for tables in (predicted, simple)
    )
    return Experiment(feature_set, model_errors, baseline_errors, days)


def predict_baselines(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    unflown: pd.DataFrame,
    splits: Sequence[Split],
    *,
    feature_set: str,
    by: str,
    routes: pd.DataFrame,
    flights: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Return the predictions of each baseline for unflown rows of held-out flights, by name.

    Baselines that need an operator, a type or a callsign are left out where no flight has one.
    Parameters are those of `submit_experiment`; ``unflown`` as returned by `keep_unflown`.
    """
    pair = flights[["origin", "destination"]].iloc[0].tolist()
    median = predict_baseline(unflown, splits, "median")
    tables = {
        "mean": predict_baseline(unflown, splits),
        "median": median,
        "great circle": baselines.follow_great_circle(unflown, splits, *pair),
    }
    operators, types = predictors["operator"], predictors["aircraft_type"]
    if operators.notna().any() and types.notna().any():
        group = operators.astype("str") + " " + types.astype("str")
        tables["operator and type"] = baselines.average_by_group(unflown, splits, group)
    if flights["callsign"].notna().any():
        repeated = baselines.repeat_callsign(targets, flights, median)
        tables["last flight of the callsign"] = repeated
    minutes = prediction_minutes(feature_set)
    if minutes:
        names = [f"{name}_at_{minutes:.0f}" for name in STATE]
        state = predictors[names].set_axis(list(STATE), axis=1)
        reckon = baselines.dead_reckon_ahead if by == "clock" else baselines.dead_reckon_home
        tables["dead reckoning"] = reckon(state, minutes, median, *pair)
        delay = baselines.measure_delay(routes, splits, state, minutes)
        shifted = baselines.shift_median(
            targets if by == "clock" else unflown, splits, delay, by=by
        )
        tables["delay-shifted median"] = shifted.reindex(median.index)
    return tables


def format_errors(table: pd.DataFrame, quantities: Sequence[str] | None = None) -> pd.DataFrame:
    """Return errors with their intervals as text, one column per quantity.

    Parameters
    ----------
    table
        As returned by `Experiment.tabulate`.
    quantities
        Quantities to show; by default all that have values.

    Returns
    -------
    DataFrame
        Texts such as ``12.3 (11.0 to 13.6)``; the unit is in the column's name.
    """
    keys = list(table.columns[: table.columns.get_loc("quantity")])
    if quantities is None:
        quantities = list(table["quantity"].unique())
    columns = {}
    for quantity in quantities:
        display = QUANTITIES[quantity]
        rows = table[table["quantity"] == quantity].set_index(keys)
        texts = [
            _format_interval(row, display.decimals)
            for row in rows[["error", "low", "high"]].itertuples(index=False)
        ]
        columns[display.heading] = pd.Series(texts, rows.index, dtype=object)
    order = table.set_index(keys).index.unique()
    return pd.DataFrame(columns).reindex(order).fillna("")


def group_look_ahead(
    rows: pd.MultiIndex, feature_set: str, edges: Sequence[float] = (5, 10, 20, 30, 60)
) -> pd.Series:
    """Return the look-ahead time of each row, as the upper edge [min] of its interval.

    Parameters
    ----------
    rows
        Path and minute.
    feature_set
        Look-ahead times are measured from its prediction time.
    """
    ahead = rows.get_level_values("minute") - prediction_minutes(feature_set)
    edge = pd.cut(ahead, [0, *edges], labels=list(edges)).astype(float)
    return pd.Series(edge, rows, name="minutes ahead, to")


def score_arrivals(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return the errors of arrival times at each prediction time, in minutes.

    Parameters
    ----------
    experiments
        Experiments on the end of flights, one per feature set.

    Returns
    -------
    DataFrame
        Indexed by ``feature_set``, ``kind`` and ``name``: ``flights``, mean absolute error
        ``mae`` with ``low`` and ``high``, its 95 % bootstrap interval over days, and the 95th
        percentile ``p95`` with ``p95_low`` and ``p95_high``.
    """
    names = ["feature_set", "kind", "name"]
    parts = {}
    for experiment in experiments:
        for kind, name, errors in experiment.list_errors():
            parts[experiment.feature_set, kind, name] = errors
    return _score_minutes(parts, experiments, names)


def score_before_landing(experiments: Sequence[Experiment], durations: pd.Series) -> pd.DataFrame:
    """Return the errors of arrival times from 90 to 10 minutes before landing, in minutes.

    Each prediction, from any feature set, counts at the nearest of these times.

    Parameters
    ----------
    experiments
        Experiments on the end of flights, one per feature set.
    durations
        Duration of each flight [s], by path.

    Returns
    -------
    DataFrame
        As `score_arrivals`, indexed by ``minutes before landing``, ``kind`` and ``name``.
    """
    times = _BEFORE_LANDING
    # predictions more than half a step outside of all times are not counted
    middle = (times[1:] + times[:-1]) / 2
    edges = [2 * times[0] - middle[0], *middle, 2 * times[-1] - middle[-1]]
    parts = []
    for experiment in experiments:
        now = prediction_minutes(experiment.feature_set)
        for kind, name, errors in experiment.list_errors():
            to_landing = durations.reindex(errors.index.get_level_values("path")) / 60 - now
            nearest = pd.cut(to_landing.to_numpy(), edges, labels=times, right=False).astype(float)
            part = errors[["time"]].assign(minutes=nearest, kind=kind, name=name)
            parts.append(part.dropna().astype({"minutes": int}))
    table = pd.concat(parts).sort_values("minutes", ascending=False, kind="stable")
    by_time = table.groupby(["minutes", "kind", "name"], sort=False)
    names = ["minutes before landing", "kind", "name"]
    return _score_minutes(dict(list(by_time)), experiments, names)


def format_arrivals(table: pd.DataFrame) -> pd.DataFrame:
    """Return arrival errors with their intervals as text, as in ``2.43 (2.31 to 2.55)``.

    Parameters
    ----------
    table
        As `score_arrivals` or `score_before_landing` returns it.
    """
    parts = {
        "mean absolute error [min]": ["mae", "low", "high"],
        "95th percentile [min]": ["p95", "p95_low", "p95_high"],
    }
    columns = {"flights": table["flights"]}
    for name, part in parts.items():
        columns[name] = [_format_interval(row, 2) for row in table[part].itertuples(index=False)]
    return pd.DataFrame(columns, table.index)


def format_skills(
    table: pd.DataFrame, errors: Sequence[str] = ("horizontal", "altitude", "time")
) -> pd.DataFrame:
    """Return skills with their intervals as text, one column per error.

    Parameters
    ----------
    table
        As returned by `Experiment.compare`, with any levels before ``error``.

    Returns
    -------
    DataFrame
        Texts such as ``0.26 (0.22 to 0.30)``, with `` *`` if the model does not beat the best
        baseline. Empty if the table is.
    """
    star = np.where(table["verdict"] == "beats it", "", " *")
    rows = zip(table["skill"], table["low"], table["high"], star, strict=True)
    texts = [f"{skill:z.2f} ({low:z.2f} to {high:z.2f}){star}" for skill, low, high, star in rows]
    texts = pd.Series(texts, table.index, dtype=object)
    wide = texts.unstack("error").reindex(columns=list(errors))  # noqa: PD010
    wide = wide.reindex(table.index.droplevel("error").unique()).fillna("")
    return wide.rename(columns={name: QUANTITIES[name].label for name in errors})


def format_groups(table: pd.DataFrame, errors: Sequence[str]) -> pd.DataFrame:
    """Return mean errors and skills of groups as text, the errors side by side.

    Parameters
    ----------
    table
        As returned by `score_groups`, with any levels before ``error``.

    Returns
    -------
    DataFrame
        By the groups and ``flights`` (number with an error): for each error ``mean``, in the unit
        of ``QUANTITIES``, and ``skill``, such as ``0.26 ± 0.04``, where ± is the distance to the
        farther end of the interval. It is omitted for a single day.
    """
    groups = [name for name in table.index.names if name != "error"]
    reach = np.maximum(table["skill"] - table["low"], table["high"] - table["skill"])
    scale = [QUANTITIES[name].divisor for name in table.index.get_level_values("error")]
    texts = pd.DataFrame(
        {
            "flights": table["flights"].groupby(level=groups).transform("max"),
            "mean": (table["mean"] / scale).map(format_number),
            "skill": table["skill"].map("{:z.2f}".format) + reach.map(" ± {:.2f}".format),
        }
    ).replace(r"( ± )?nan.*", "", regex=True)
    wide = texts.set_index("flights", append=True).unstack("error", sort=False)  # noqa: PD010
    columns = pd.MultiIndex.from_product([errors, ["mean", "skill"]], names=["error", None])
    wide = wide.swaplevel(axis=1).fillna("").reindex(columns=columns, fill_value="")
    return wide.rename(columns={name: QUANTITIES[name].heading for name in errors}, level="error")


def score_groups(
    errors: pd.DataFrame, baseline: pd.DataFrame, groups: pd.Series, days: pd.Series
) -> pd.DataFrame:
    """Return mean error and skill in each group, with the 95 % interval by day.

    Parameters
    ----------
    errors, baseline
        Of the same rows.
    groups
        The group of each path, or of each path and fraction; rows without one are omitted.

    Returns
    -------
    DataFrame
        Indexed by ``group`` and ``error``: ``flights`` that have the error, ``mean``, ``skill``,
        ``low``, ``high``. Empty if no row has a group.
    """
    rows = pd.MultiIndex.from_product([[], errors.columns], names=["group", "error"])
    empty = pd.DataFrame(columns=["mean", "skill", "low", "high"], index=rows, dtype=float)
    empty.insert(0, "flights", 0)
    tables = {}
    for name, part in _split_rows(errors.index, groups):
        group_errors = errors[part]
        table = estimate_skill(group_errors, baseline[part], days)
        table.insert(0, "mean", group_errors.mean())
        table.insert(0, "flights", group_errors.notna().groupby(level="path").any().sum())
        tables[name] = table
    return pd.concat(tables, names=rows.names) if tables else empty


def name_phases(targets: pd.DataFrame, tops: pd.DataFrame) -> pd.Series:
    """Return the phase of each flight at each fraction: climb, cruise or descent.

    Parameters
    ----------
    tops
        ``top_of_climb_time`` and ``top_of_descent_time`` [s] by path; without one of them a
        flight has no phase.
    """
    names = ["top_of_climb_time", "top_of_descent_time"]
    top = tops.reindex(index=targets.index.get_level_values("path"), columns=names)
    climb, descent = top.to_numpy(float).T
    time = targets["duration"].to_numpy()
    phase = np.select([time < climb, time < descent], ["climb", "cruise"], "descent")
    complete = np.isfinite(climb + descent + time)
    return pd.Series(phase, targets.index, name="phase").where(complete)


def name_directions(targets: pd.DataFrame, airport: str) -> pd.Series:
    """Return the runway direction of each flight as a quarter of the compass, by path.

    Missing if the record begins or ends too far from the airport.

    Parameters
    ----------
    targets
        Targets at two fractions or more, the first or last of them at the airport.
    airport
        ICAO or IATA code.
    """
    miles = distance(targets["latitude"], targets["longitude"], *find_airport(airport).position)
    near = pd.Series(miles, targets.index).groupby(level="path").min() <= _ON_RUNWAY
    course = flown_courses(targets).groupby(level="path").last()
    quarter = ((course / 90).round() % 4).where(near)
    return quarter.map(dict(enumerate("NESW"))).rename("direction")


def evaluate_settings(
    model: Pipeline,
    searched: pd.DataFrame,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    split: Split,
    days: pd.Series,
    *,
    feature_set: str,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the gain of the best settings over the model's own, on days not used in the search.

    Parameters
    ----------
    model, predictors, targets, days, feature_set
        As for `search_settings`.
    searched
        Result of `search_settings` on the training flights.
    split
        Training paths, and paths held out from training and search.

    Returns
    -------
    DataFrame
        A row for each error: ``gain``, 1 - Σ error / Σ error of the model's own settings, ``low``
        and ``high``, its 95 % interval over held-out days.
    """
    best = searched.head(1).drop(columns=["r2", "spread", "seconds"]).to_dict("records")[0]
    tuned = clone(model).set_params(**{f"{REGRESSOR}{name}": best[name] for name in best})
    errors, baseline = (
        measure_errors(
            predict_held_out(
                candidate, predictors, targets, [split], feature_set=feature_set, joint=True
            ),
            targets,
        )
        for candidate in (tuned, model)
    )
    return estimate_skill(errors, baseline, days, seed=seed).rename(columns={"skill": "gain"})


def _submit_training(
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    splits: Sequence[Split],
    feature_set: str,
    models: Sequence[str],
    **options: int,
) -> Callable[[], dict[str, pd.DataFrame]]:
    """Submit the training of models, and return a function that waits for their predictions."""
    tables = (predictors, targets, splits)
    training = {}
    for name in models:
        model = build_model(name, **options)
        training[name] = submit_held_out(model, *tables, feature_set=feature_set)
    return lambda: {name: wait().predictions for name, wait in training.items()}


def _format_interval(row: tuple[float, float, float], decimals: int) -> str:
    return str(Estimate(*row, decimals=decimals)).replace(" (nan to nan)", "")


def _split_rows(rows: pd.MultiIndex, groups: pd.Series | None) -> list[tuple[object, np.ndarray]]:
    """Return each group, in order, with a mask of its rows; all rows without groups."""
    if groups is None:
        return [(None, np.ones(len(rows), bool))]
    by_row = groups.index.nlevels > 1
    names = groups.reindex(rows if by_row else rows.get_level_values("path")).to_numpy()
    order = pd.unique(pd.Series(names).dropna().sort_values(kind="stable"))
    return [(name, names == name) for name in order]


def _tabulate(errors: pd.DataFrame, baseline: pd.DataFrame, days: pd.Series) -> pd.DataFrame:
    names = [name for name in errors if name in QUANTITIES and errors[name].notna().any()]
    errors, baseline = errors[names], baseline[names]
    divisors = pd.Series({name: QUANTITIES[name].divisor for name in names}, dtype=float)
    table = estimate_mean(errors, days).rename(columns={"mean": "error"})
    table["p95"] = errors.quantile(0.95)
    numbers = ["error", "low", "high", "p95"]
    skills = ["skill", "skill_low", "skill_high"]
    table[numbers] = table[numbers].div(divisors, axis=0)
    table[skills] = estimate_skill(errors, baseline, days)
    table["quantity"] = names
    table["unit"] = [QUANTITIES[name].unit for name in names]
    return table[["quantity", "unit", "flights", *numbers, *skills]].reset_index(drop=True)


def _score_minutes(
    parts: dict[tuple, pd.DataFrame], experiments: Sequence[Experiment], names: list[str]
) -> pd.DataFrame:
    """Return the errors of time of each part, which has rows of some of the experiments."""
    days = pd.concat([experiment.days for experiment in experiments])
    days = days[~days.index.duplicated()]
    rows = []
    for errors in parts.values():
        minutes = errors[["time"]] / 60
        mean = estimate_mean(minutes, days).loc["time"]
        p95 = estimate_percentile(minutes, days).loc["time"]
        rows.append([mean["flights"], *mean[["mean", "low", "high"]], *p95])
    columns = ["flights", "mae", "low", "high", "p95", "p95_low", "p95_high"]
    index = pd.MultiIndex.from_tuples(list(parts), names=names)
    return pd.DataFrame(rows, index, columns, dtype=float).astype({"flights": int})
