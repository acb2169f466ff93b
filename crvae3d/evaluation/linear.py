"""How well a linear classifier of frozen features names the classes: the field's measure of a representation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crvae3d.evaluation.frozen import shown
from crvae3d.evaluation.holdout import Scaling, check, check_features, check_labelled, held_out, scaling, standardised
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


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """A fitted linear classifier, for any number of test sets.

    Attributes:
        cost: C, as chosen.
        validation_accuracy: at that C on the validation part; None where no choice was made.
        names: (K,) the labels that it knows, those of train.
        separator: what tells the classes apart, by their places in `names`.
        scaling: of features, by train; None where they are taken as they come.
    """

    cost: float
    validation_accuracy: float | None
    names: np.ndarray
    separator: OneVersusRest
    scaling: Scaling | None

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Name shapes by their features (T, F), unscaled as in train: labels (T,).

        Raises:
            InputError: the features are no finite matrix as wide as that of train.
        """
        check_features(features, "test", len(self.separator.weights) - 1)
        return self.names[self.separator.predict(features if self.scaling is None else self.scaling(features))]

    def accuracy(self, features: np.ndarray, labels: np.ndarray) -> float:
        """The share of shapes, features (T, F), that are named as `labels` (T,) do; labels not in train are misses.

        Raises:
            InputError: the features are no finite matrix as wide as that of train, or have not one label a row.
        """
        check_labelled(features, labels, "test", len(self.separator.weights) - 1)
        return _accuracy(self.predict(features), np.asarray(labels))


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
    """Fit a linear classifier on train, as `fit_linear` does, and judge it by test, which has no say in it.

    Args:
        train: (S, F).
        train_labels: (S,).
        test: (T, F).
        test_labels: (T,); a label that train has not counts as a miss.
        costs, seed, literature, progress, what: as for `fit_linear`.

    Raises:
        InputError: the features are not finite, or do not fit the labels.
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    check(train, train_labels, test, test_labels)
    found = fit_linear(train, train_labels, costs, seed, literature, progress, what)
    return LinearProbe(found.accuracy(test, test_labels), found.cost, found.validation_accuracy)


def fit_linear(
    train: np.ndarray,
    train_labels: np.ndarray,
    costs: Sequence[float] = COSTS,
    seed: int = 0,
    literature: bool = False,
    progress: bool = False,
    what: str = "linear classifier",
) -> LinearClassifier:
    """Fit linear support vector machines (squared hinge, one versus rest) on train and take the best.

    Features are standardised by train; C is chosen on a tenth of train that is held out, stratified, and the classifier
    is then fitted on all of train. Of equally good ones the smallest C is taken.

    Args:
        train: (S, F).
        train_labels: (S,).
        costs: values of C to choose from.
        seed: of the validation part.
        literature: what most papers do instead, C = 1 and features as they come.
        progress: whether to show it.
        what: how the progress is called.

    Raises:
        InputError: the features are not finite, or do not fit the labels.
    """
    train_labels = np.asarray(train_labels)
    check_labelled(train, train_labels, "train")
    if literature:
        cost, validation, scale = 1.0, None, None
    else:
        cost, validation = _choose(train, train_labels, sorted(costs), seed, progress, what)
        scale = scaling(train)
        train = scale(train)
    path = [*(other for other in sorted(costs) if other < cost), cost]  # warm starts on the way to the chosen one
    classifiers, names = _fit(train, train_labels, path, progress, what)
    return LinearClassifier(cost, validation, names, classifiers[-1], scale)


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
