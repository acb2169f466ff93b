"""All figures of a model's frozen codes, and those of the controls without which none of them means anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from crvae3d.evaluation.alarms import alarms
from crvae3d.evaluation.codes import Codes, encode
from crvae3d.evaluation.consistency import Transform, consistency_gaps
from crvae3d.evaluation.frozen import Shapes
from crvae3d.evaluation.information import active_units, mean_rate
from crvae3d.evaluation.knn import knn_probe
from crvae3d.evaluation.linear import linear_probe
from crvae3d.evaluation.occupancy import occupancy_codes
from crvae3d.evaluation.reconstruction import diversity, reconstruct, reconstruction_chamfer

Figures = dict[str, Any]
Pair = tuple[np.ndarray, np.ndarray]
"""Features of train and of test."""

LABELLED = (
    *("svm_accuracy", "svm_cost", "svm_accuracy_pooled", "svm_cost_pooled", "knn_accuracy", "knn_accuracy_pooled"),
)
"""The figures of a model that need labels, and are None without."""

CONTROLS = ("untrained_accuracy", "untrained_accuracy_pooled", "untrained_knn_accuracy", "occupancy_accuracy")
"""The figures of the controls, which are None without labels."""


@dataclass(frozen=True, eq=False)
class LabelledShapes:
    """Clouds and their classes.

    Attributes:
        points: (S, N, 3), a tensor or a dataset of clouds.
        labels: (S,) integers, or None.
    """

    points: Shapes
    labels: np.ndarray | None = None


def evaluate_model(
    model: nn.Module,
    train: LabelledShapes,
    test: LabelledShapes,
    transforms: Mapping[str, Transform],
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    title: str = "",
) -> Figures:
    """Judge a model by shapes that nothing was chosen on.

    Args:
        model: what is judged.
        train: what classifiers are fitted on, and choose their settings on.
        test: what is reported.
        transforms: those whose consistency gap is measured, by name.
        seed: of validation parts, views and pairs.
        batch_size: shapes encoded at once.
        progress: whether to show it.
        title: what the progress calls the model.

    Returns:
        Ready for JSON, None where a figure cannot be had. Accuracies are fractions; `chamfer` is squared, a mean over
        points, both directions summed; `rate` and each `consistency_gap` are nats a shape, `consistency_gap` being the
        mean of `consistency_gap_<name>`; `alarms` is a list of sentences.
    """
    name = f"{title}: " if title else ""
    codes = encode(model, test.points, batch_size, progress, f"{name}encoding test")
    figures = dict.fromkeys(LABELLED)
    if train.labels is not None and test.labels is not None:
        known = encode(model, train.points, batch_size, progress, f"{name}encoding train")
        figures |= _trained(known, codes, train.labels, test.labels, seed, progress, name)
    gaps = consistency_gaps(model, test.points, transforms, seed, batch_size, progress, f"{name}consistency gap")
    figures |= _of_gaps(gaps)
    figures |= _of_codes(model, codes, test.points, seed, batch_size, progress, name)
    figures |= {"n_train": len(train.points), "n_test": len(test.points)}
    return {key: _told(value) for key, value in figures.items()}


def _trained(
    train: Codes, test: Codes, labels: np.ndarray, test_labels: np.ndarray, seed: int, progress: bool, name: str
) -> Figures:
    """What classifiers make of the model's posterior means and pooled features."""
    figures: Figures = {}
    for suffix, pair in (("", (train.means, test.means)), ("_pooled", (train.pooled, test.pooled))):
        linear, knn = _probes(pair, labels, test_labels, seed, progress, name)
        figures |= {f"svm_accuracy{suffix}": linear[0], f"svm_cost{suffix}": linear[1], f"knn_accuracy{suffix}": knn}
    return figures


def evaluate_controls(
    untrained_model: nn.Module,
    train: LabelledShapes,
    test: LabelledShapes,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> Figures:
    """What the same classifiers make of an untrained encoder, and of no network at all: the figures `CONTROLS`.

    Args:
        untrained_model: the architecture of the models beside which the controls stand, before any training.
        train, test, seed, batch_size, progress: as for `evaluate_model`.
    """
    if train.labels is None or test.labels is None:
        return dict.fromkeys(CONTROLS)
    parts = train.points, test.points
    known, codes = (encode(untrained_model, part, batch_size, progress, "untrained encoder") for part in parts)
    ask = (train.labels, test.labels, seed, progress, "control: ")
    means, knn = _probes((known.means, codes.means), *ask)
    pooled, _ = _probes((known.pooled, codes.pooled), *ask)
    occupancy, _ = _probes(occupancy_codes(*parts, seed=seed, progress=progress), *ask)
    return dict(zip(CONTROLS, (means[0], pooled[0], knn, occupancy[0]), strict=True))


def _probes(
    pair: Pair, labels: np.ndarray, test_labels: np.ndarray, seed: int, progress: bool, name: str
) -> tuple[tuple[float | None, float | None], float | None]:
    """The linear classifier's accuracy and cost, and the accuracy of nearest neighbours; None for broken features."""
    if not all(np.isfinite(part).all() for part in pair):
        return (None, None), None
    data = pair[0], labels, pair[1], test_labels
    linear = linear_probe(*data, seed=seed, progress=progress, what=f"{name}linear classifier")
    return (linear.accuracy, linear.cost), knn_probe(*data, seed=seed).accuracy


def _of_codes(
    model: nn.Module, codes: Codes, clouds: Shapes, seed: int, batch_size: int, progress: bool, name: str
) -> Figures:
    """What needs no labels: reconstruction, information, and what is wrong."""
    made = reconstruct(model, clouds, batch_size, progress, f"{name}reconstructing")
    return {
        "chamfer": float(reconstruction_chamfer(made, clouds, batch_size, progress).mean()),
        "active_units": active_units(codes.means),
        "code_size": codes.means.shape[1],
        "rate": mean_rate(codes.means, codes.stddevs),
        "alarms": list(alarms(codes, diversity(made, clouds, seed=seed))),
    }


def _of_gaps(gaps: Mapping[str, float]) -> Figures:
    """Each transformation's gap by its name, and their mean."""
    mean = sum(gaps.values()) / len(gaps) if gaps else None
    return {f"consistency_gap_{name}": gap for name, gap in gaps.items()} | {"consistency_gap": mean}


def _told(value: Any) -> Any:
    """JSON has no word for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
