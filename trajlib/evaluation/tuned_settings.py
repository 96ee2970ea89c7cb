"""The gain of settings found by a search, on flights that the search has not used."""

import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from trajlib.evaluation.bootstrap import estimate_skill
from trajlib.evaluation.metrics import measure_errors
from trajlib.models.training import Split, predict_held_out
from trajlib.models.tuning import REGRESSOR


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
