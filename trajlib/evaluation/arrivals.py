"""Errors of arrival times, by prediction time and by minutes before landing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trajlib.evaluation.bootstrap import estimate_mean, estimate_percentile
from trajlib.evaluation.experiments import Experiment
from trajlib.features.feature_sets import prediction_minutes

_WITHIN = (5, 10, 15)  # min; shares of flights with errors up to these

_BEFORE_LANDING = np.array([10, 15, 20, 30, 45, 60, 90, 120, 150, 180, 240])  # min


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
        percentile ``p95`` with ``p95_low`` and ``p95_high``; and ``within_5``, ``within_10`` and
        ``within_15``, the share of flights with an error of at most so many minutes. For models
        also ``best``, the baseline with the smallest error, and the ``verdict`` against it, as
        `Experiment.compare` returns them; for baselines both are empty.
    """
    names = ["feature_set", "kind", "name"]
    parts, verdicts = {}, {}
    for experiment in experiments:
        for kind, name, errors in experiment.list_errors():
            parts[experiment.feature_set, kind, name] = errors
        table = experiment.compare()
        of_time = table[table.index.get_level_values("error") == "time"].droplevel("error")
        for model, row in of_time.iterrows():
            verdicts[experiment.feature_set, "model", model] = row
    scores = _score_minutes(parts, experiments, names)
    for name in ("best", "verdict"):
        scores[name] = [verdicts.get(key, {}).get(name, "") for key in scores.index]
    return scores


def score_before_landing(experiments: Sequence[Experiment], durations: pd.Series) -> pd.DataFrame:
    """Return the errors of arrival times from four hours to 10 minutes before landing, in minutes.

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
        scored = minutes["time"].dropna()
        within = [(scored <= limit).mean() for limit in _WITHIN]
        rows.append([mean["flights"], *mean[["mean", "low", "high"]], *p95, *within])
    columns = ["flights", "mae", "low", "high", "p95", "p95_low", "p95_high"]
    columns += [f"within_{limit}" for limit in _WITHIN]
    index = pd.MultiIndex.from_tuples(list(parts), names=names)
    return pd.DataFrame(rows, index, columns, dtype=float).astype({"flights": int})
