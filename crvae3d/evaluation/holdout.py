"""The part of train that every choice is made on, and the scaling that train alone decides."""

import numpy as np

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


def standardised(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Shift and scale features by the mean and the deviation of `train`; those constant there become 0 everywhere.

    Args:
        train: (S, F).
        others: each (T, F).

    Returns:
        All of them, float32.
    """
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    constant = deviation <= 1e-7 * np.maximum(np.abs(mean), 1e-30)  # as exact as float32 can say
    factor = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    return tuple(((part - mean) * factor).astype(np.float32) for part in (train, *others))


def check(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> None:
    """Refuse features that no classifier can use.

    Raises:
        InputError: features are no finite matrices of one width, or have not one label a row.
    """
    for name, features, labels in (("train", train, train_labels), ("test", test, test_labels)):
        if features.ndim != 2 or features.shape[1] != train.shape[1] or len(features) == 0:
            raise InputError(f"{name} features must be a matrix (shapes, {train.shape[-1]}), got {features.shape}")
        if np.shape(labels) != (len(features),):
            raise InputError(f"{name} needs one label a shape: {len(features)} shapes, labels {np.shape(labels)}")
        if not np.isfinite(features).all():
            raise InputError(f"{name} features must be finite, and some are not: the model's training has diverged")
