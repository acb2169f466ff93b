"""How well a linear classifier of frozen features names the classes: the field's measure of a representation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crvae3d.evaluation.frozen import shown
from crvae3d.evaluation.holdout import check, held_out, standardised
from crvae3d.evaluation.squared_hinge import OneVersusRest, solutions

COSTS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier's result.

    Attributes:
        accuracy: the share of test shapes that are named correctly, in [0, 1].
        cost: C, as chosen.
        validation_accuracy: at that C on the validation part; None where no choice was made.
    """

    accuracy: float
    cost: float
    validation_accuracy: float | None


def linear_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    costs: Sequence[float] = COSTS,
    seed: int = 0,
    literature: bool = False,
    progress: bool = False,
    what: str = "linear classifier",
) -> LinearProbe:
    """Fit linear support vector machines (squared hinge, one versus rest) on train and judge the best by test.

    Features are standardised by train; C is chosen on a tenth of train that is held out, stratified, and the classifier
    is then fitted on all of train. Of equally good ones the smallest C is taken. Test has no say in any of it.

    Args:
        train: (S, F).
        train_labels: (S,).
        test: (T, F).
        test_labels: (T,); a label that train has not counts as a miss.
        costs: values of C to choose from.
        seed: of the validation part.
        literature: what most papers do instead, C = 1 and features as they come.
        progress: whether to show it.
        what: how the progress is called.

    Raises:
        InputError: the features are not finite, or do not fit the labels.
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    check(train, train_labels, test, test_labels)
    if literature:
        cost, validation, (train, test) = 1.0, None, (train, test)
    else:
        cost, validation = _choose(train, train_labels, sorted(costs), seed, progress, what)
        train, test = standardised(train, test)
    path = [*(other for other in sorted(costs) if other < cost), cost]  # warm starts on the way to the chosen one
    classifiers, names = _fit(train, train_labels, path, progress, what)
    return LinearProbe(_accuracy(names[classifiers[-1].predict(test)], test_labels), cost, validation)


def _choose(
    train: np.ndarray, labels: np.ndarray, costs: list[float], seed: int, progress: bool, what: str
) -> tuple[float, float | None]:
    """The cost that is best on the validation part of train, and the accuracy there."""
    held = held_out(labels, seed)
    if not held.any():  # one shape a class: nothing to choose on
        return costs[0], None
    rest, validation = standardised(train[~held], train[held])
    classifiers, names = _fit(rest, labels[~held], costs, progress, what)
    found = [_accuracy(names[classifier.predict(validation)], labels[held]) for classifier in classifiers]
    best = int(np.argmax(found))
    return costs[best], found[best]


def _fit(
    features: np.ndarray, labels: np.ndarray, costs: Sequence[float], progress: bool = False, what: str = ""
) -> tuple[list[OneVersusRest], np.ndarray]:
    """A classifier for each cost, and the labels that its classes stand for."""
    names, classes = np.unique(labels, return_inverse=True)
    path = solutions(features, classes, costs)
    return [next(path) for _ in shown(costs, what, progress)], names


def _accuracy(named: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(named == labels))
