"""Search for a model's settings on the cluster, with whole days held out.

Dask-ML and scikit-learn draw the same settings and the same days. Dask-ML fits steps shared by
candidates, such as the encoding, only once, and each fit is a task. scikit-learn is always
installed, and runs batches of fits on the same cluster through joblib.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import joblib
import numpy as np
import pandas as pd
from sklearn import model_selection
from sklearn.metrics import make_scorer, r2_score
from sklearn.pipeline import Pipeline

from trajlib.cluster import current_client
from trajlib.features.feature_sets import check_no_leakage
from trajlib.models.training import widen_targets

ENGINES = ("dask-ml", "scikit-learn")
REGRESSOR = "transformedtargetregressor__regressor__"


def search_settings(
    model: Pipeline,
    predictors: pd.DataFrame,
    targets: pd.DataFrame,
    days: pd.Series,
    settings: Mapping[str, Sequence],
    *,
    feature_set: str,
    draws: int = 10,
    folds: int = 3,
    engine: str = "scikit-learn",
    seed: int = 0,
) -> pd.DataFrame:
    """Return randomly drawn settings of a joint model, the best on held-out days first.

    The score of the best settings is optimistic, because they were chosen on these days. Measure
    it on other flights, see `trajlib.evaluation.tuned_settings.evaluate_settings`.

    Parameters
    ----------
    model
        Untrained, as returned by `trajlib.models.estimators.build_model`.
    predictors, targets
        Tables from `trajlib.features`; flights that do not reach every fraction are omitted.
    days
        The local day of each flight, by path.
    settings
        Values to try, by the name of a parameter of the regressor (``max_features``).
    draws
        Number of combinations to try, at most all of them.
    folds
        Number of parts of the days, each held out once.
    engine
        ``dask-ml``, which needs the extra ``search``, or ``scikit-learn``.

    Returns
    -------
    DataFrame
        One row per combination: the settings, ``r2``, the median over targets and fractions,
        averaged over folds, ``spread`` (its standard deviation over folds) and ``seconds`` of all
        its fits.

    Raises
    ------
    ValueError
        When a predictor is not in the feature set, or the engine is unknown.
    """
    check_no_leakage(predictors, feature_set)
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r}, expected one of {', '.join(ENGINES)}")
    wide = widen_targets(targets)
    wide = wide.loc[wide.index.intersection(predictors.index, sort=False)]
    grid = {f"{REGRESSOR}{name}": list(values) for name, values in settings.items()}
    parts = model_selection.GroupKFold(folds, shuffle=True, random_state=seed)
    options = {
        "n_iter": min(draws, len(model_selection.ParameterGrid(grid))),
        "cv": list(parts.split(wide, groups=days[wide.index])),
        "scoring": make_scorer(_median_r2),
        "refit": False,
        "random_state": seed,
    }
    search = model_selection.RandomizedSearchCV
    backend = nullcontext()
    if engine == "dask-ml":
        import dask_ml.model_selection  # an extra

        search = dask_ml.model_selection.RandomizedSearchCV
        options["iid"] = False  # equal weight of all folds, as in scikit-learn
    elif current_client() is not None:
        options["n_jobs"] = -1
        backend = joblib.parallel_backend("dask")
    with backend:
        fitted = search(model, grid, **options).fit(predictors.loc[wide.index], wide.to_numpy())
    results = fitted.cv_results_
    table = pd.DataFrame(results["params"])
    table.columns = table.columns.str.removeprefix(REGRESSOR)
    table["r2"], table["spread"] = results["mean_test_score"], results["std_test_score"]
    table["seconds"] = folds * results["mean_fit_time"]
    return table.sort_values("r2", ascending=False, kind="stable", ignore_index=True)


def _median_r2(targets: np.ndarray, predictions: np.ndarray) -> float:
    """Return the median R² of the columns: one with hardly any variance would decide the mean."""
    return float(np.median(r2_score(targets, predictions, multioutput="raw_values")))


def find_engine() -> str:
    """Return ``dask-ml`` if it is installed, else ``scikit-learn``."""
    return "dask-ml" if importlib.util.find_spec("dask_ml") else "scikit-learn"
