"""Estimators behind one interface, with their encoding and scaling."""

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

__all__ = [
    "MODELS",
    "build_encoder",
    "build_model",
    "build_quantile_regressor",
    "encoded_predictors",
    "text_columns",
]

MODELS = (
    "forest",
    "forest per target",
    "extra trees",
    "boosting",
    "lightgbm",
    "ridge",
    "neighbours",
)
_LIGHTGBM = {
    "learning_rate": 0.1,
    "num_leaves": 12,
    "colsample_bytree": 1 / 3,
    "min_child_samples": 20,
    "n_jobs": 1,
    "verbose": -1,
    "deterministic": True,
    "force_col_wise": True,  # else each fit measures both ways
}


def build_model(
    name: str = "forest",
    *,
    trees: int = 100,
    max_features: float = 1 / 3,
    min_samples_leaf: int = 5,
    seed: int = 0,
) -> Pipeline:
    """Return an untrained model that takes predictors with categories as text.

    Targets are standardised on the training flights: a forest of several targets splits by the
    sum of their squared errors, and feet would outweigh degrees. Every model accepts missing
    numbers and categories that were not in the training.

    Parameters
    ----------
    name
        ``forest``: one forest for all targets. ``forest per target``: one for each.
        ``extra trees``: as a forest, with random thresholds. ``boosting`` and ``lightgbm``:
        histogram gradient boosting of the absolute error, a model for each target, by
        scikit-learn and by LightGBM, which is faster. Their trees of 12 leaves at a rate of 0.1
        were chosen at take-off on real flights, within training days. ``ridge``: linear.
        ``neighbours``: the mean of the nearest flights.
    trees
        Of a forest, or rounds of boosting.
    max_features, min_samples_leaf
        As of scikit-learn's ``RandomForestRegressor``. The latter times four is also the least
        number of flights in a leaf of boosting, and times three the number of neighbours.

    >>> build_model("forest", trees=10)[-1].regressor.n_estimators
    10
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r}, expected one of {', '.join(MODELS)}")
    leaf = {"max_features": max_features, "min_samples_leaf": min_samples_leaf}
    ensemble = {"n_estimators": trees, "random_state": seed, "n_jobs": 1}
    few = 4 * min_samples_leaf
    regressor = {
        "forest": RandomForestRegressor(**ensemble, **leaf),
        "forest per target": MultiOutputRegressor(RandomForestRegressor(**ensemble, **leaf)),
        "extra trees": ExtraTreesRegressor(**ensemble, **leaf),
        "boosting": MultiOutputRegressor(
            HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=trees, learning_rate=_LIGHTGBM["learning_rate"],
                max_leaf_nodes=_LIGHTGBM["num_leaves"], max_features=max_features,
                min_samples_leaf=few, random_state=seed,
            )
        ),
        "lightgbm": MultiOutputRegressor(
            LGBMRegressor(
                **_LIGHTGBM | {"colsample_bytree": max_features, "min_child_samples": few},
                objective="l1", n_estimators=trees, random_state=seed,
            )
        ),
        "ridge": Ridge(alpha=10.0),
        "neighbours": KNeighborsRegressor(3 * min_samples_leaf),
    }[name]  # fmt: skip
    scaled = name in ("ridge", "neighbours")
    steps = [SimpleImputer(keep_empty_features=True), StandardScaler()] if scaled else []
    target = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return make_pipeline(build_encoder(), *steps, target)


def build_quantile_regressor(alpha: float, *, trees: int = 60, seed: int = 0) -> LGBMRegressor:
    """Return an untrained model of one quantile, gradient boosting by LightGBM.

    Parameters
    ----------
    alpha
        Of the quantile, between 0 and 1.
    """
    return LGBMRegressor(
        objective="quantile", alpha=alpha, n_estimators=trees, random_state=seed, **_LIGHTGBM
    )


def build_encoder() -> BaseEstimator:
    """Return a one-hot encoder of categories; an unseen category has 0 in every column."""
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), text_columns),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )


def text_columns(df: pd.DataFrame) -> list[str]:
    """Return the names of the columns that are not numbers."""
    return [name for name in df if not pd.api.types.is_numeric_dtype(df[name])]


def encoded_predictors(trained: Pipeline) -> list[str]:
    """Return the predictor behind each column that the regressor of a trained model sees."""
    encoder = trained[0]
    _, onehot, text = encoder.transformers_[0]
    sizes = [len(categories) for categories in onehot.categories_] if text else []
    numbers = [name for name in encoder.feature_names_in_ if name not in text]
    return [*np.repeat(text, sizes).tolist(), *numbers]
