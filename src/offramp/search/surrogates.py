"""Surrogates: models that predict a metric from features, however few or odd the points they are fitted to."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_log = logging.getLogger(__name__)
_FOLDS = 10
_FAR = 1e6  # beyond any feature; keeps squares finite
Array = NDArray[np.float64]


class Surrogate:
    """A fitted model. Targets are standardised inside; a constant target, or a model that fails, gives their mean.

    Attributes:
        name: which model it is.
        ranks: model -> mean and std of Kendall's tau in cross-validation, where it was chosen by them; else empty.
    """

    def __init__(self, name: str, x: Array, y: Array, seed: int = 0) -> None:
        """Fit the model `name` to features `x` (N, F) and targets `y` (N,); rows with a target not finite are left out.

        Raises:
            ValueError: unknown name.
        """
        if name not in MODELS:
            raise ValueError(f"surrogate is {name!r}; known are {', '.join(SURROGATES)}")
        usable = np.isfinite(y)
        x, y = _clean(x[usable]), y[usable]
        self.name = name
        self.ranks: dict[str, tuple[float, float]] = {}
        self._mean = float(y.mean()) if len(y) else 0.0
        self._scale = float(y.std()) if len(y) else 0.0
        self._low, self._high = (float(y.min()), float(y.max())) if len(y) else (0.0, 0.0)
        self._model: Any = None
        if len(y) > 1 and self._scale > 1e-12 * max(1.0, abs(self._mean)):
            self._model = _fitted(name, x, (y - self._mean) / self._scale, seed)

    def predict(self, x: Array) -> Array:
        """(N,), the targets predicted for features (N, F), held within one range of those that were seen."""
        if self._model is None:
            return np.full(len(x), self._mean)
        found = self._mean + self._scale * np.asarray(self._model.predict(_clean(x)), dtype=float)
        margin = self._high - self._low
        found = np.where(np.isfinite(found), found, self._mean)
        return np.clip(found, self._low - margin, self._high + margin)


def gp(x: Array, seed: int) -> Any:
    """Gaussian process: ranks best at the 50 to 300 points of such searches."""
    # The typical distance is where the length scale starts, so that its search is short and safe.
    distance = _typical_distance(x)
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(distance, (distance / 30, distance * 100), nu=2.5)
    kernel = kernel + WhiteKernel(0.05, (1e-5, 1.0))
    return GaussianProcessRegressor(kernel, n_restarts_optimizer=0, random_state=seed)


def rbf(x: Array, seed: int) -> Any:
    """Radial basis functions, by ridge regression so that equal points do no harm."""
    return KernelRidge(kernel="rbf", gamma=0.5 / _typical_distance(x) ** 2, alpha=0.03)


def trees(x: Array, seed: int) -> Any:
    """An ensemble of regression trees (CART)."""
    return ExtraTreesRegressor(50, min_samples_leaf=2, random_state=seed)


def mlp(x: Array, seed: int) -> Any:
    """A small multilayer perceptron."""
    network = MLPRegressor(hidden_layer_sizes=(64, 64), alpha=0.01, solver="lbfgs", max_iter=50, random_state=seed)
    return make_pipeline(StandardScaler(), network)


MODELS: dict[str, Callable[[Array, int], Any]] = {"gp": gp, "rbf": rbf, "trees": trees, "mlp": mlp}
SURROGATES = (*MODELS, "auto")


def fit(name: str, x: Array, y: Array, seed: int = 0) -> Surrogate:
    """The surrogate `name` fitted to `x` (N, F) and `y` (N,); "auto" takes the one that ranks best.

    Raises:
        ValueError: unknown name.
    """
    if name != "auto":
        return Surrogate(name, x, y, seed)
    compared = ranks(x, y, seed)
    found = Surrogate(best_ranking(compared), x, y, seed)
    found.ranks = compared
    return found


def ranks(x: Array, y: Array, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Every model's `rank_correlation`."""
    return {name: rank_correlation(name, x, y, seed) for name in MODELS}


def best_ranking(ranks: Mapping[str, tuple[float, float]]) -> str:
    """The model with the highest mean - std of Kendall's tau over the folds of a cross-validation (NACHOS)."""
    return max(ranks, key=lambda name: ranks[name][0] - ranks[name][1])


def rank_correlation(name: str, x: Array, y: Array, seed: int = 0) -> tuple[float, float]:
    """Mean and std, over folds, of Kendall's tau between predicted and true targets; (0, 0) with too few points."""
    usable = np.isfinite(y)
    x, y = x[usable], y[usable]
    folds = min(_FOLDS, len(y) // 3)  # tau of fewer than three points says nothing
    if folds < 2:
        return 0.0, 0.0
    parts = np.array_split(np.random.default_rng(seed).permutation(len(y)), folds)
    found = [_fold(name, x, y, part, seed) for part in parts]
    return float(np.mean(found)), float(np.std(found))


def _fold(name: str, x: Array, y: Array, held_out: NDArray[np.int64], seed: int) -> float:
    rest = np.setdiff1d(np.arange(len(y)), held_out)
    return tau(Surrogate(name, x[rest], y[rest], seed).predict(x[held_out]), y[held_out])


def tau(predicted: Array, true: Array) -> float:
    """Kendall's tau between two rankings (N,); 0 where either has all points equal."""
    if len(true) < 2 or np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(np.nan_to_num(kendalltau(predicted, true).statistic))


def _fitted(name: str, x: Array, y: Array, seed: int) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about convergence and bounds: a rough fit is a fit
            return MODELS[name](x, seed).fit(x, y)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        _log.warning("surrogate %s could not be fitted to %d points (%s); the mean is used", name, len(y), error)
        return None


def _typical_distance(x: Array) -> float:
    """Median distance between points, 1 where all are equal."""
    some = x[:200]
    distances = np.sqrt(np.maximum(((some[:, None] - some[None]) ** 2).sum(axis=2), 0))
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def _clean(x: Array) -> Array:
    return np.clip(np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0), -_FAR, _FAR)
