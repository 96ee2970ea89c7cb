"""models.estimators."""

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

__all__ = ["MODELS", "build_encoder", "build_model", "encoded_predictors", "text_columns"]

MODELS = (
    "forest",
    "forest per target",
    "extra trees",
    "boosting",
    "lightgbm",
    "ridge",
    "neighbours",
)


def build_model(
    name: str = "forest",
    *,
    trees: int = 100,
    max_features: float = 1 / 3,
    min_samples_leaf: int = 5,
    seed: int = 0,
) -> Pipeline:
    """Return an untrained model that takes predictors as they are, categories as text.

    Targets are brought to mean 0 and spread 1 of the training flights: a forest of several
    targets splits by the sum of their squared errors, and feet would outweigh degrees. A number
    that is missing, and a category that was never seen, are taken by every model.

    Parameters
    ----------
    name
        ``forest``: one forest for all targets. ``forest per target``: one for each, about as
        many times the work. ``extra trees``: as a forest, at random thresholds. ``boosting`` and
        ``lightgbm``: histogram gradient boosting of the absolute error, a model for each target;
        scikit-learn's is the slower. Their trees of 12 leaves at a rate of 0.1 were chosen at
        take-off on real flights, within training days. ``ridge``: linear. ``neighbours``: the
        mean of those alike.
    trees
        Of a forest, or boosting's rounds.
    max_features, min_samples_leaf
        As of scikit-learn's ``RandomForestRegressor``; the latter also the least flights in a
        leaf of boosting, times four, and the neighbours, times three.

    >>> build_model("forest", trees=10)[-1].regressor.n_estimators
    10
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r}, expected one of {', '.join(MODELS)}")
    grown = {"max_features": max_features, "min_samples_leaf": min_samples_leaf}
    several = {"n_estimators": trees, "random_state": seed, "n_jobs": 1}
    few, rate, leaves = 4 * min_samples_leaf, 0.1, 12
    regressor = {
        "forest": RandomForestRegressor(**several, **grown),
        "forest per target": MultiOutputRegressor(RandomForestRegressor(**several, **grown)),
        "extra trees": ExtraTreesRegressor(**several, **grown),
        "boosting": MultiOutputRegressor(
            HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=trees, learning_rate=rate, max_leaf_nodes=leaves,
                max_features=max_features, min_samples_leaf=few, random_state=seed,
            )
        ),
        "lightgbm": MultiOutputRegressor(
            LGBMRegressor(
                **several, objective="l1", learning_rate=rate, num_leaves=leaves,
                colsample_bytree=max_features, min_child_samples=few, verbose=-1,
                deterministic=True, force_col_wise=True,  # or each fit would time both ways
            )
        ),
        "ridge": Ridge(alpha=10.0),
        "neighbours": KNeighborsRegressor(3 * min_samples_leaf),
    }[name]  # fmt: skip
    scaled = name in ("ridge", "neighbours")
    steps = [SimpleImputer(keep_empty_features=True), StandardScaler()] if scaled else []
    target = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return make_pipeline(build_encoder(), *steps, target)


def build_encoder() -> BaseEstimator:
    """Return what makes one-hot columns of categories; one that it never saw is none of them."""
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
