"""One-versus-rest linear classifiers of least squared hinge loss, all classes and a path of costs at once.

    minimise over w, b    (|w|^2 + b^2) / 2 + C sum_i max(0, 1 - s_i (w . x_i + b))^2    s_i = 1 in the class, else -1

for each class: what liblinear, hence scikit-learn's `LinearSVC`, minimises (Fan and others, LIBLINEAR, 2008). That
takes one class at a time from zero; here L-BFGS takes all of them in one product of matrices, starts each C at the
solution of the one before, and works in the eigenbasis of the features' second moments, scaled so that the Hessian is
close to the identity there. Without the scaling correlated features, as pooled ones are, take ten times as many steps.
Where there are fewer shapes than features, the solution lies in the span of the shapes, and the basis is that of the span;
where there are more than `WIDEST` of both, a basis would cost more than it saves, and the features are scaled alone.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crvae3d.evaluation.holdout import on_fastest, unrounded

LIMITS = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-7, "gtol": 0}
"""Of L-BFGS: it has converged where a step lowers the objective by less than one part in ten million."""


WIDEST = 4096
"""So many features, or else shapes, have a basis made: its time grows with their cube."""


@dataclass(frozen=True, eq=False)
class OneVersusRest:
    """Linear classifiers of `K` classes.

    Attributes:
        weights: (F + 1, K), float64; the last row is the intercept.
        objective: the minimum that was found, summed over the classes.
        cost: C.
    """

    weights: np.ndarray
    objective: float
    cost: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The class of the largest score, (S,)."""
        return (features @ self.weights[:-1] + self.weights[-1]).argmax(axis=1)


def solutions(features: np.ndarray, classes: np.ndarray, costs: Iterable[float]) -> Iterator[OneVersusRest]:
    """The best classifiers for each cost, in the order given; ascending costs are the fast way.

    Args:
        features: (S, F).
        classes: (S,) integers 0..K-1.
        costs: values of C.
    """
    x = on_fastest(np.hstack([features, np.ones((len(features), 1))]).astype(np.float32))
    with unrounded(x):
        moments, basis = _moments(x)
        x = x if basis is None else x @ torch.from_numpy(basis).to(x)
    signs = np.where(classes[:, None] == np.arange(classes.max() + 1), 1, -1).astype(np.float32)
    weights = np.zeros((x.shape[1], signs.shape[1]))
    for cost in costs:
        with unrounded(x):
            weights, objective = _minimum(x, signs, cost, weights, np.maximum(moments, 0))
        yield OneVersusRest(weights if basis is None else basis @ weights, objective, cost)


def _moments(x: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Second moments (M,) along orthonormal axes (F, M) that make them diagonal, or of the features themselves and None."""
    shapes, features = x.shape
    if min(shapes, features) > WIDEST:
        return x.square().sum(0, dtype=torch.float64).cpu().numpy(), None
    if features <= shapes:
        return np.linalg.eigh((x.T @ x).double().cpu().numpy())
    x = x.double().cpu().numpy()  # rounded, the small ones of correlated shapes would have no axes
    moments, axes = np.linalg.eigh(x @ x.T)
    kept = moments > 1e-10 * moments[-1]
    return moments[kept], x.T @ (axes[:, kept] / np.sqrt(moments[kept]))


def _minimum(
    x: Tensor, signs: np.ndarray, cost: float, start: np.ndarray, moments: np.ndarray
) -> tuple[np.ndarray, float]:
    """The best weights (F, K) for features (S, F) whose second moments are diagonal, and their objective."""
    from scipy.optimize import minimize

    active = (signs * _product(x, start) < 1).mean()
    scale = 1 / np.sqrt(1 + 2 * cost * active * moments)[:, None]
    flat = (start / scale).ravel()
    scaled = x * torch.from_numpy(scale.T).to(x)
    for precision in (torch.float32, torch.float64):  # the second only where rounding has stopped the first
        objective = _objective(scaled.to(precision), signs, cost, scale)
        found = minimize(objective, flat, jac=True, method="L-BFGS-B", options=LIMITS)
        flat = found.x
        if found.success:
            break
    else:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(f"the linear classifier at C={cost} did not converge: {found.message}", ConvergenceWarning, 2)
    return flat.reshape(start.shape) * scale, float(found.fun)


def _objective(
    x: Tensor, signs: np.ndarray, cost: float, scale: np.ndarray
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Value and gradient in scaled weights: x (S, F) carries the scale (F, 1) already."""

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(x.shape[1], signs.shape[1])
        slack = np.maximum(1 - signs * _product(x, weights), 0)
        value = ((scale * weights) ** 2).sum() / 2 + cost * (slack * slack).sum(dtype=np.float64)
        gradient = scale**2 * weights - 2 * cost * _product(x.T, signs * slack)
        return value, gradient.ravel()

    return evaluate


def _product(x: Tensor, y: np.ndarray) -> np.ndarray:
    """x @ y in the precision of x, where x lies; on a CPU by NumPy, which is faster where y has few columns."""
    if x.is_cuda:
        return (x @ torch.from_numpy(y).to(x)).cpu().numpy()
    x = x.numpy()
    return x @ y.astype(x.dtype, copy=False)
