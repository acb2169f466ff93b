"""What labels say of frozen codes: every figure of a representation that needs classes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crvae3d.evaluation.clustering import clustering
from crvae3d.evaluation.codes import Codes
from crvae3d.evaluation.fewshot import EPISODES, drawable, few_shot
from crvae3d.evaluation.frozen import Shapes
from crvae3d.evaluation.knn import knn_probe
from crvae3d.evaluation.linear import LinearClassifier, fit_linear
from crvae3d.evaluation.retrieval import retrieval

FEATURES = {"": "means", "_pooled": "pooled"}
"""The two read-outs of an encoder: what a figure's name ends in, and which part of its codes is judged."""

OF_EACH = ("svm_accuracy", "svm_cost", "svm_literature", "knn_accuracy")
OF_MEANS = (
    *(f"few_shot_{ways}_{shots}" for ways, shots in EPISODES),
    *("retrieval_map", "recall_1", "recall_5", "recall_10", "nmi", "ari"),
)
LABELLED = (*(name + suffix for suffix in FEATURES for name in OF_EACH), *OF_MEANS)
"""The figures that need labels, and are None without; those of the pooled features end in `_pooled`."""


@dataclass(frozen=True, eq=False)
class LabelledShapes:
    """Shapes and their classes.

    Attributes:
        points: (S, N, 3) or, of images, (S, C, H, W): a tensor, or a dataset of either.
        labels: (S,) integers, or None.
    """

    points: Shapes
    labels: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Labelled:
    """Codes of train and test, and their classes.

    Attributes:
        train, test: codes.
        train_labels, test_labels: integers, one a shape.
    """

    train: Codes
    test: Codes
    train_labels: np.ndarray
    test_labels: np.ndarray


def labelled_figures(
    codes: Labelled, seed: int = 0, episodes: int = 10, progress: bool = True, name: str = ""
) -> tuple[dict[str, float | None], dict[str, LinearClassifier]]:
    """The figures `LABELLED`, and the linear classifier of each read-out, by its suffix, where its features are finite.

    Args:
        codes: of train and test.
        seed: of validation parts, episodes and clusters.
        episodes: of each few-shot setting.
        progress: whether to show it.
        name: before what the progress says.
    """
    figures: dict[str, float | None] = dict.fromkeys(LABELLED)
    classifiers = {}
    if not share_classes(codes.train_labels, codes.test_labels):
        return figures | _unfitted(codes, seed), classifiers
    for suffix, part in FEATURES.items():
        train, test = getattr(codes.train, part), getattr(codes.test, part)
        if not (np.isfinite(train).all() and np.isfinite(test).all()):
            continue
        asked = {"seed": seed, "progress": progress, "what": f"{name}linear classifier"}
        classifiers[suffix] = linear = fit_linear(train, codes.train_labels, **asked)
        usual = fit_linear(train, codes.train_labels, literature=True, **asked)
        found = {
            "svm_accuracy": linear.accuracy(test, codes.test_labels),
            "svm_cost": linear.cost,
            "svm_literature": usual.accuracy(test, codes.test_labels),
            "knn_accuracy": knn_probe(train, codes.train_labels, test, codes.test_labels, seed=seed).accuracy,
        }
        figures |= {figure + suffix: value for figure, value in found.items()}
    if "" in classifiers:
        figures |= _few_shot(codes, seed, episodes) | _unfitted(codes, seed)
    return figures, classifiers


def share_classes(train_labels: np.ndarray, test_labels: np.ndarray) -> bool:
    """Whether any class that is judged is among those that are fitted; else no classifier can name one."""
    return len(np.intersect1d(train_labels, test_labels)) > 0


def _few_shot(codes: Labelled, seed: int, episodes: int) -> Mapping[str, float | None]:
    """The field's settings, for which there are classes enough."""
    pair = codes.train.means, codes.train_labels, codes.test.means, codes.test_labels
    figures = {}
    for ways, shots in EPISODES:
        enough = len(drawable(codes.train_labels, codes.test_labels, shots)) >= ways
        found = few_shot(*pair, ways, shots, episodes, seed=seed).accuracy if enough else None
        figures[f"few_shot_{ways}_{shots}"] = found
    return figures


def _unfitted(codes: Labelled, seed: int) -> Mapping[str, float | None]:
    """What the test codes alone show, where they are finite: retrieval and clusters."""
    if not np.isfinite(codes.test.means).all() or len(np.unique(codes.test_labels)) in (1, len(codes.test_labels)):
        return {}
    ranked, clusters = (
        retrieval(codes.test.means, codes.test_labels),
        clustering(codes.test.means, codes.test_labels, seed),
    )
    recalls = {f"recall_{k}": value for k, value in ranked.recall.items()}
    return recalls | {"retrieval_map": ranked.mean_average_precision, "nmi": clusters.nmi, "ari": clusters.ari}
