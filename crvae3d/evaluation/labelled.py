"""What labels say of frozen codes: every figure of a representation that needs classes."""

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

OF_EACH = (
    *("svm_accuracy", "svm_cost", "svm_literature", "knn_accuracy"),
    *(f"few_shot_{ways}_{shots}{what}" for ways, shots in EPISODES for what in ("", "_deviation")),
    *("retrieval_map", "recall_1", "recall_5", "recall_10", "nmi", "ari"),
)
LABELLED = tuple(name + suffix for suffix in FEATURES for name in OF_EACH)
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
        seed: of episodes and clusters; C and k are chosen on the same part of train whatever it is.
        episodes: of each few-shot setting.
        progress: whether to show it.
        name: before what the progress says.
    """
    figures: dict[str, float | None] = dict.fromkeys(LABELLED)
    classifiers = {}
    fitted = share_classes(codes.train_labels, codes.test_labels)
    for suffix, part in FEATURES.items():
        train, test = getattr(codes.train, part), getattr(codes.test, part)
        found = _unfitted(test, codes.test_labels, seed)
        if fitted and np.isfinite(train).all() and np.isfinite(test).all():
            asked = {"progress": progress, "what": f"{name}linear classifier"}
            classifiers[suffix] = linear = fit_linear(train, codes.train_labels, **asked)
            usual = fit_linear(train, codes.train_labels, literature=True, **asked)
            pair = train, codes.train_labels, test, codes.test_labels
            found |= {
                "svm_accuracy": linear.accuracy(test, codes.test_labels),
                "svm_cost": linear.cost,
                "svm_literature": usual.accuracy(test, codes.test_labels),
                "knn_accuracy": knn_probe(*pair).accuracy,
                **_few_shot(*pair, episodes, seed),
            }
        figures |= {figure + suffix: value for figure, value in found.items()}
    return figures, classifiers


def share_classes(train_labels: np.ndarray, test_labels: np.ndarray) -> bool:
    """Whether any class that is judged is among those that are fitted, and these are several; else nothing is classified."""
    return len(np.unique(train_labels)) > 1 and len(np.intersect1d(train_labels, test_labels)) > 0


def _few_shot(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, episodes: int, seed: int
) -> dict[str, float | None]:
    """The field's settings, for which there are classes enough: means over episodes and their deviations."""
    figures: dict[str, float | None] = {}
    for ways, shots in EPISODES:
        if len(drawable(train_labels, test_labels, shots)) >= ways:
            found = few_shot(train, train_labels, test, test_labels, ways, shots, episodes, seed=seed)
            name = f"few_shot_{ways}_{shots}"
            figures |= {name: found.accuracy, f"{name}_deviation": found.deviation}
    return figures


def _unfitted(features: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float | None]:
    """What the features of test alone show, where they are finite: retrieval and clusters."""
    if not np.isfinite(features).all() or len(np.unique(labels)) in (1, len(labels)):
        return {}
    ranked, clusters = retrieval(features, labels), clustering(features, labels, seed)
    recalls = {f"recall_{k}": value for k, value in ranked.recall.items()}
    return recalls | {"retrieval_map": ranked.mean_average_precision, "nmi": clusters.nmi, "ari": clusters.ari}
