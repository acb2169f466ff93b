"""How often the nearest training codes name the class: a measure of a representation without anything fitted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crvae3d.evaluation.holdout import check, held_out, on_fastest, standardised, unrounded

AT_ONCE = 1024  # queries whose similarities to all of train are held in memory


@dataclass(frozen=True)
class NeighbourProbe:
    """A nearest-neighbour classifier's result.

    Attributes:
        accuracy: the share of test shapes that are named correctly, in [0, 1].
        neighbours: k, as chosen.
        validation_accuracy: at that k on the validation part; None where no choice was made.
    """

    accuracy: float
    neighbours: int
    validation_accuracy: float | None


def knn_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    neighbours: Sequence[int] = (1, 5, 10, 20),
    seed: int = 0,
) -> NeighbourProbe:
    """Let the k training shapes of largest cosine similarity vote, and judge the best k by test.

    Features are standardised by train first, as for the linear classifier: on an untrained encoder's pooled features
    of ModelNet40 that is one point better than raw or centred ones, on its posterior means it is even; the Euclidean
    distance is no better. k is chosen on a tenth of train that is held out, stratified; of equally good ones the
    smallest is taken. A tied vote goes to the class of larger summed similarity.

    Args:
        train: (S, F).
        train_labels: (S,).
        test: (T, F).
        test_labels: (T,).
        neighbours: values of k to choose from; those above the number of training shapes use all of them.
        seed: of the validation part.

    Raises:
        InputError: the features are not finite, or do not fit the labels.
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    check(train, train_labels, test, test_labels)
    neighbours, held = sorted(neighbours), held_out(train_labels, seed)
    best, validation = neighbours[0], None
    if held.any():
        found = _accuracies(train[~held], train_labels[~held], train[held], train_labels[held], neighbours)
        best, validation = neighbours[int(np.argmax(found))], max(found)
    return NeighbourProbe(_accuracies(train, train_labels, test, test_labels, [best])[0], best, validation)


def _accuracies(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, neighbours: Sequence[int]
) -> list[float]:
    """The share of test shapes named correctly, for each number of neighbours."""
    train, test = (directions(part) for part in standardised(train, test))
    names, classes = np.unique(labels, return_inverse=True)
    correct, known, count = np.zeros(len(neighbours)), on_fastest(train), min(max(neighbours), len(train))
    for start in range(0, len(test), AT_ONCE):
        asked = torch.from_numpy(test[start : start + AT_ONCE]).to(known)
        with unrounded(known):
            similarity, nearest = (part.cpu().numpy() for part in (asked @ known.T).topk(count))
        for place, k in enumerate(neighbours):
            named = names[_vote(classes[nearest[:, :k]], similarity[:, :k], len(names))]
            correct[place] += np.sum(named == test_labels[start : start + AT_ONCE])
    return (correct / len(test)).tolist()


def directions(features: np.ndarray) -> np.ndarray:
    """Each row (S, F) at length 1, so that a product of rows is their cosine; a row of zeros stays."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _vote(classes: np.ndarray, similarity: np.ndarray, n_classes: int) -> np.ndarray:
    """The class of most votes (Q,) among neighbours (Q, k); similarity is too light to do more than break a tie."""
    votes = np.zeros((len(classes), n_classes))
    np.add.at(votes, (np.arange(len(classes))[:, None], classes), 1 + similarity / (4 * classes.shape[1]))
    return votes.argmax(axis=1)
