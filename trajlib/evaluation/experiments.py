"""Experiments: models and baselines with the same feature set, scored on the same held-out flights.

Targets are positions at fractions of the route, at minutes since the first sample, or at the end of
the flight. Targets that a flight had passed at the prediction time are not scored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from trajlib.evaluation.baselines import predict_baseline, predict_baselines, reckon_reference
from trajlib.evaluation.bootstrap import estimate_mean, estimate_skill
from trajlib.evaluation.groups import split_rows
from trajlib.evaluation.metrics import flown_courses, measure_errors, skill
from trajlib.evaluation.plan_deviations import predict_plan_baselines
from trajlib.evaluation.tables import format_errors
from trajlib.features.feature_sets import prediction_minutes
from trajlib.features.plan_features import add_reference, has_plan, locate_plan, subtract_reference
from trajlib.features.targets import SHARE_AHEAD, keep_unflown, match_flights
from trajlib.labels import QUANTITIES
from trajlib.models.estimators import build_model
from trajlib.models.training import Split, cancelled_on_error, submit_held_out

_SCORED = ["latitude", "longitude", "duration", "altitude"]
_ROUNDING = 1e-6  # rounding errors of skill


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
            for group, rows in split_rows(errors.index, groups):
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
    Models of an airborne flight by the ``clock`` predict deviations from its course and speed, see
    `trajlib.evaluation.baselines.reckon_reference`.
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
    reference = None
    if planned and deviations:
        reference = locate_plan(predictors, unflown.index, *pair)
    elif by == "clock" and prediction_minutes(feature_set):
        reference = reckon_reference(predictors, unflown, feature_set, *pair)
    learned = unflown if reference is None else subtract_reference(unflown, reference)
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
