"""Estimators with a common interface, including encoding and scaling."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from lightgbm import Dataset, train
from sklearn.base import BaseEstimator, RegressorMixin
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
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

MODELS = (
    "forest",
    "forest per target",
    "extra trees",
    "boosting",
    "lightgbm",
    "ridge",
    "neighbours",
)
_RATE, _LEAVES = 0.1, 8  # of boosting; 12 leaves take up to a half longer, with equal errors
_BINS = 63  # of a predictor; 255, the default, take twice as long and are no more accurate
_FARTHEST = 10.0  # standard deviations from the mean of a scaled predictor


class BoostedTrees(RegressorMixin, BaseEstimator):
    """LightGBM with one model per target, with bins of the predictors computed only once.

    The models equal those of scikit-learn's ``MultiOutputRegressor`` with ``LGBMRegressor``, which
    computes the bins again for each target. For a thousand flights this takes two fifths of the
    time.

    Parameters
    ----------
    objective
        ``l1``, or ``quantile``.
    alphas
        For ``quantile``, the quantile of each target.
    trees, max_features, min_samples_leaf, seed
        LightGBM's ``num_iterations``, ``feature_fraction``, ``min_data_in_leaf`` and ``seed``.
    """

    def __init__(
        self,
        *,
        objective: str = "l1",
        alphas: Sequence[float] | None = None,
        trees: int = 100,
        max_features: float = 1 / 3,
        min_samples_leaf: int = 20,
        seed: int = 0,
    ) -> None:
        self.objective = objective
        self.alphas = alphas
        self.trees = trees
        self.max_features = max_features
        self.min_samples_leaf = min_samples_leaf
        self.seed = seed

    def fit(self, predictors: np.ndarray, targets: np.ndarray) -> "BoostedTrees":
        """Train on arrays, with one column of ``targets`` for each model."""
        targets = np.asarray(targets, float).reshape(len(targets), -1)
        options = {
            "objective": self.objective,
            "learning_rate": _RATE,
            "num_leaves": _LEAVES,
            "max_bin": _BINS,
            "feature_fraction": self.max_features,
            "min_data_in_leaf": self.min_samples_leaf,
            "seed": self.seed,
            "num_threads": 1,
            "verbose": -1,
            "deterministic": True,
            "force_col_wise": True,  # otherwise each fit tests both ways
        }
        table = Dataset(np.asarray(predictors, float), params=options, free_raw_data=False)
        alphas = self.alphas or [0.9] * targets.shape[1]
        self.boosters_ = []
        for column, alpha in zip(targets.T, alphas, strict=True):
            table.set_label(column)
            booster = train(options | {"alpha": alpha}, table, num_boost_round=self.trees)
            self.boosters_.append(booster.free_dataset())
        return self

    def predict(self, predictors: np.ndarray) -> np.ndarray:
        """Return one column per target; a single one as a one-dimensional array."""
        values = np.asarray(predictors, float)
        columns = [booster.predict(values, num_threads=1) for booster in self.boosters_]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)


def build_model(
    name: str = "forest",
    *,
    trees: int = 100,
    max_features: float = 1 / 3,
    min_samples_leaf: int = 5,
    seed: int = 0,
) -> Pipeline:
    """Return an untrained model that takes predictors with categories as text.

    Targets are standardised on the training flights, since a forest of several targets minimises
    the sum of their squared errors, in which feet would outweigh degrees. Every model accepts
    missing numbers and unseen categories.

    Parameters
    ----------
    name
        ``forest``: one forest for all targets. ``forest per target``: one for each.
        ``extra trees``: as a forest, with random thresholds. ``boosting`` and ``lightgbm``:
        histogram gradient boosting of the absolute error, a model for each target, by
        scikit-learn and by LightGBM, which is faster. Their trees of 8 leaves at a rate of 0.1
        were chosen on real flights of five city pairs. ``ridge``: linear.
        ``neighbours``: the mean of the nearest flights.
    trees
        Number of trees of a forest, or rounds of boosting.
    max_features, min_samples_leaf
        As in scikit-learn's ``RandomForestRegressor``. Boosting uses four times
        ``min_samples_leaf`` per leaf, and ``neighbours`` three times as many neighbours.

    >>> build_model("forest", trees=10)[-1].regressor.n_estimators
    10
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r}, expected one of {', '.join(MODELS)}")
    if trees < 1:
        raise ValueError(f"trees is {trees}, expected 1 or more")
    leaf = {"max_features": max_features, "min_samples_leaf": min_samples_leaf}
    ensemble = {"n_estimators": trees, "random_state": seed, "n_jobs": 1}
    boosting_leaf = 4 * min_samples_leaf
    regressor = {
        "forest": RandomForestRegressor(**ensemble, **leaf),
        "forest per target": MultiOutputRegressor(RandomForestRegressor(**ensemble, **leaf)),
        "extra trees": ExtraTreesRegressor(**ensemble, **leaf),
        "boosting": MultiOutputRegressor(
            HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=trees, learning_rate=_RATE,
                max_leaf_nodes=_LEAVES, max_features=max_features,
                min_samples_leaf=boosting_leaf, random_state=seed,
            )
        ),
        "lightgbm": BoostedTrees(
            trees=trees, max_features=max_features, min_samples_leaf=boosting_leaf, seed=seed
        ),
        "ridge": Ridge(alpha=10.0),
        "neighbours": KNeighborsRegressor(3 * min_samples_leaf),
    }[name]  # fmt: skip
    steps = []
    if name in ("ridge", "neighbours"):
        # clipped, as a predictor that hardly varied in training would outweigh all others
        clip = FunctionTransformer(np.clip, kw_args={"a_min": -_FARTHEST, "a_max": _FARTHEST})
        steps = [SimpleImputer(keep_empty_features=True), StandardScaler(), clip]
    target = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return make_pipeline(build_encoder(), *steps, target)


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
    """Return the predictor of each column that the regressor of a trained model gets."""
    encoder = trained[0]
    _, onehot, text = encoder.transformers_[0]
    sizes = [len(categories) for categories in onehot.categories_] if text else []
    numbers = [name for name in encoder.feature_names_in_ if name not in text]
    return [*np.repeat(text, sizes).tolist(), *numbers]
