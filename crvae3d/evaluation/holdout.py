"""The part of train that every choice is made on, and the scaling that train alone decides."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crvae3d.errors import InputError


def held_out(labels: np.ndarray, seed: int = 0, share: float = 0.1) -> np.ndarray:
    """Mark a validation part, stratified by class: the same labels and seed always mark the same shapes.

    A class of two shapes or more gives one at least; a class of one gives none.

    Returns:
        (S,) booleans, True for validation.
    """
    draw = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        group = draw.permutation(np.flatnonzero(labels == label))
        held[group[: max(round(share * len(group)), int(len(group) > 1))]] = True
    return held


WORTH_A_GPU = 2**20
"""Matrices of no more numbers stay on the CPU; not tuned."""


def on_fastest(matrix: np.ndarray) -> Tensor:
    """A matrix as a tensor; on the GPU where there is one and the matrix is large."""
    return torch.from_numpy(matrix).to("cuda" if torch.cuda.is_available() and matrix.size > WORTH_A_GPU else "cpu")


def unrounded(x: Tensor) -> torch.autocast:
    """While it is entered, products on the device of `x` are not rounded, whatever precision models are judged in."""
    return torch.autocast(x.device.type, enabled=False)


@dataclass(frozen=True, eq=False)
class Scaling:
    """A shift and a scale for each feature.

    Attributes:
        mean: (F,), which goes to 0.
        factor: (F,), 1 / deviation; 0 for what was constant.
    """

    mean: np.ndarray
    factor: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features (S, F), scaled, float32."""
        return ((features - self.mean) * self.factor).astype(np.float32)


def scaling(train: np.ndarray) -> Scaling:
    """By the mean and the deviation of `train` (S, F); features that are constant there become 0 everywhere."""
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    constant = deviation <= 1e-7 * np.maximum(np.abs(mean), 1e-30)  # as exact as float32 can say
    return Scaling(mean, np.where(constant, 0, 1 / np.where(constant, 1, deviation)))


def standardised(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """All of them, float32, by the `scaling` of `train`.

    Args:
        train: (S, F).
        others: each (T, F).
    """
    by_train = scaling(train)
    return tuple(by_train(part) for part in (train, *others))


def check(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> None:
    """Refuse features that no classifier can use.

    Raises:
        InputError: features are no finite matrices of one width, or have not one label a row.
    """
    check_labelled(train, train_labels, "train")
    check_labelled(test, test_labels, "test", train.shape[1])


def check_labelled(features: np.ndarray, labels: np.ndarray, name: str, width: int | None = None) -> None:
    """Refuse one set of features that cannot be judged by its labels.

    Args:
        features: (S, F).
        labels: (S,).
        name: what the message calls the set.
        width: F where it is known; None for any.

    Raises:
        InputError: the features are no finite matrix of that width, or have not one label a row.
    """
    check_features(features, name, width)
    if np.shape(labels) != (len(features),):
        raise InputError(f"{name} needs one label a shape: {len(features)} shapes, labels {np.shape(labels)}")


def check_features(features: np.ndarray, name: str, width: int | None = None) -> None:
    """Refuse features that are no finite matrix; arguments and error as for `check_labelled`."""
    if features.ndim != 2 or len(features) == 0 or width not in (None, features.shape[1]):
        wanted = "features" if width is None else width
        raise InputError(f"{name} features must be a matrix (shapes, {wanted}), got {features.shape}")
    if not np.isfinite(features).all():
        raise InputError(f"{name} features must be finite, and some are not: the model's training has diverged")
