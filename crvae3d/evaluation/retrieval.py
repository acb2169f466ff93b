"""How well a shape's code finds the other shapes of its class: every shape asks all others, nothing is fitted.

    AP(query) = mean over the relevant shapes of  (relevant shapes ranked as high or higher) / (shapes ranked so)

and the mean average precision is its mean over queries (Manning, Raghavan and Schuetze, Introduction to Information
Retrieval, 2008, chapter 8).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crvae3d.errors import InputError
from crvae3d.evaluation.holdout import check_labelled, standardised
from crvae3d.evaluation.knn import directions

AT_ONCE = 256  # queries whose whole rankings are held in memory


@dataclass(frozen=True)
class Retrieval:
    """What was found of each shape's class.

    Attributes:
        mean_average_precision: over the whole ranking, in [0, 1]; about the share of a class where codes say nothing.
        recall: by k, the share of queries with at least one shape of their class among the k first.
    """

    mean_average_precision: float
    recall: dict[int, float]


def retrieval(codes: np.ndarray, labels: np.ndarray, at: Sequence[int] = (1, 5, 10)) -> Retrieval:
    """Let every shape rank all others, never itself, by cosine similarity.

    Features are standardised over the set itself, as for the nearest neighbours. Recall at k is what metric learning
    calls so (Oh Song and others, Deep Metric Learning via Lifted Structured Feature Embedding, 2016): a query counts as
    soon as one of the k first is right; it is not the share of the class that was found. A shape whose class has no
    other member asks nothing, but is in the way of others.

    Equally similar shapes stand in an order that is drawn once, always the same: in the order of a set that is sorted
    by class, codes that say nothing would rank better than chance.

    Args:
        codes: (S, F).
        labels: (S,).
        at: values of k; those above S - 1 look at the whole ranking.

    Raises:
        InputError: the features are not finite or do not fit the labels, k is no positive number, or no class has two
            shapes.
    """
    labels = np.asarray(labels)
    check_labelled(codes, labels, "retrieval")
    if min(at, default=1) < 1:
        raise InputError(f"recall at k needs k of at least 1, got {', '.join(map(str, at))}")
    mixed = np.random.default_rng(0).permutation(len(labels))
    _, classes, sizes = np.unique(labels[mixed], return_inverse=True, return_counts=True)
    queries = np.flatnonzero(sizes[classes] > 1)
    if len(queries) == 0:
        raise InputError(f"retrieval needs a class of two shapes or more: all {len(labels)} labels differ")
    features = directions(*standardised(codes[mixed]))
    precision, hits = 0.0, dict.fromkeys(at, 0)
    for start in range(0, len(queries), AT_ONCE):
        asking = queries[start : start + AT_ONCE]
        relevant = classes[_ranking(features, asking)] == classes[asking, None]
        precision += average_precision(relevant).sum()
        for k in hits:
            hits[k] += int(relevant[:, :k].any(axis=1).sum())
    return Retrieval(float(precision / len(queries)), {k: count / len(queries) for k, count in hits.items()})


def average_precision(relevant: np.ndarray) -> np.ndarray:
    """The average precision (Q,) of whole rankings (Q, R): True where a relevant shape stands, once at least in a row.

    >>> average_precision(np.array([[True, False, True, False]]))  # (1/1 + 2/3) / 2
    array([0.83333333])
    """
    precision = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    return (precision * relevant).sum(axis=1) / relevant.sum(axis=1)


def _ranking(features: np.ndarray, asking: np.ndarray) -> np.ndarray:
    """All other rows of features (S, F), nearest first, for each of the rows `asking` (Q,): (Q, S - 1)."""
    similarity = features[asking] @ features.T
    similarity[np.arange(len(asking)), asking] = -np.inf  # itself comes last, and is cut off
    return np.argsort(-similarity, axis=1, kind="stable")[:, :-1]
