"""All figures of a model's frozen codes, and those of the controls without which none of them means anything."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from crvae3d.evaluation.alarms import alarms, not_finite
from crvae3d.evaluation.codes import Codes, encode
from crvae3d.evaluation.consistency import Moved, Transform, moved_by
from crvae3d.evaluation.frozen import Shapes, frozen, take
from crvae3d.evaluation.information import active_units, information_cap, mutual_information
from crvae3d.evaluation.knn import knn_probe
from crvae3d.evaluation.labelled import FEATURES, LABELLED, Labelled, LabelledShapes, labelled_figures, share_classes
from crvae3d.evaluation.likelihood import log_likelihood
from crvae3d.evaluation.linear import LinearClassifier, fit_linear
from crvae3d.evaluation.occupancy import OccupancyCodes
from crvae3d.evaluation.pixels import PixelCodes
from crvae3d.evaluation.reconstruction import distortion, diversity, reconstruct, reconstruction_error
from crvae3d.evaluation.robustness import Corrupted, robust_figures

Figures = dict[str, Any]
Pair = tuple[np.ndarray, np.ndarray]
"""Features of train and of test."""

PLAIN: dict[str, Callable[[Shapes, int, bool], nn.Module]] = {
    "occupancy": lambda train, seed, progress: OccupancyCodes(train, seed=seed, progress=progress),
    "pixels": lambda train, seed, progress: PixelCodes(),
}
"""Controls without any network, by name: made of what classifiers are fitted on."""

UNTRAINED = ("untrained_accuracy", "untrained_accuracy_pooled", "untrained_knn_accuracy")
"""The figures of an untrained encoder, which are None without labels, as is `<name>_accuracy` of a control in `PLAIN`."""


@dataclass(frozen=True, eq=False)
class Further:
    """What takes longer than all the rest, and is left out by default.

    Attributes:
        corrupted: for the figure `robustness`.
        sampled: shapes whose log-likelihood is sampled, where the model is a normalised density; None for none.
        episodes: of each few-shot setting.
    """

    corrupted: Sequence[Corrupted] = ()
    sampled: Shapes | None = None
    episodes: int = 10


def evaluate_model(
    model: nn.Module,
    train: LabelledShapes,
    test: LabelledShapes,
    transforms: Mapping[str, Transform],
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    title: str = "",
    further: Further | None = None,
    distance: str = "chamfer",
) -> Figures:
    """Judge a model by shapes that nothing was chosen on.

    Args:
        model: what is judged; one without a decoder has no figures of reconstruction.
        train: what classifiers are fitted on, and choose their settings on.
        test: what is reported.
        transforms: those whose consistency gap is measured, by name.
        seed: of views, episodes, clusters and pairs.
        batch_size: shapes encoded at once.
        progress: whether to show it.
        title: what the progress calls the model.
        further: what else to measure.
        distance: of a reconstruction from its original, a name in `DISTANCES` and that of its figure.

    Returns:
        Ready for JSON, None where a figure cannot be had. Accuracies are fractions; `chamfer` is squared, a mean over
        points, both directions summed; `distortion`, `rate` and each `consistency_gap` are nats a shape,
        `consistency_gap` being the mean of `consistency_gap_<name>`, and `consistency_shift` likewise a share;
        `robustness` has for each read-out and family the accuracy at each strength; `log_likelihood_<samples>` is nats
        a point; of images `nll_<samples>` is nats an image, a mean over `n_sampled` of them with the standard error
        `nll_error`, or `nld_<samples>` where the likelihood is a density; `alarms` is a list of sentences.
    """
    name, further = f"{title}: " if title else "", further or Further()
    codes = encode(model, test.points, batch_size, progress, f"{name}encoding test")
    figures: Figures = dict.fromkeys(LABELLED)
    if train.labels is not None and test.labels is not None:
        known = encode(model, train.points, batch_size, progress, f"{name}encoding train")
        labelled = Labelled(known, codes, train.labels, test.labels)
        found, classifiers = labelled_figures(labelled, seed, further.episodes, progress, name)
        figures |= found | robust_figures(model, classifiers, further.corrupted, seed, progress, name)
    moved = moved_by(model, test.points, transforms, seed, batch_size, progress, f"{name}consistency gap")
    figures |= _of_moves(moved) | _of_codes(codes, seed)
    if hasattr(model, "decoder"):
        figures |= _of_decoder(model, codes, test.points, distance, seed, batch_size, progress, name)
        figures |= _of_density(model, further.sampled, seed, progress, name)
    else:
        figures |= {distance: None, "distortion": None, "alarms": list(not_finite(codes))}
    figures |= {"n_train": len(train.points), "n_test": len(test.points)}
    return _told(figures)


def evaluate_controls(
    untrained_model: nn.Module,
    train: LabelledShapes,
    test: LabelledShapes,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    plain: str = "occupancy",
    plain_sees: tuple[Shapes, Shapes] | None = None,
    corrupted: Sequence[Corrupted] = (),
) -> Figures:
    """What the same classifiers make of an untrained encoder, `UNTRAINED`, and of no network at all, `<plain>_accuracy`.

    Args:
        untrained_model: the architecture of the models beside which the controls stand, before any training.
        train, test, seed, batch_size, progress: as for `evaluate_model`.
        plain: a name in `PLAIN`.
        plain_sees: train and test as that control is given them, where encoders see something else, such as images that
            were drawn black and white.
        corrupted: for the figure `untrained_robustness`.
    """
    names = (*UNTRAINED, f"{plain}_accuracy")
    if train.labels is None or test.labels is None or not share_classes(train.labels, test.labels):
        return dict.fromkeys(names)
    parts = train.points, test.points
    known, codes = (encode(untrained_model, part, batch_size, progress, "untrained encoder") for part in parts)
    ask = (train.labels, test.labels, progress)
    means = known.means, codes.means
    of_means, accuracy = _fitted(means, *ask)
    of_pooled, accuracy_pooled = _fitted((known.pooled, codes.pooled), *ask)
    knn = None if of_means is None else knn_probe(means[0], ask[0], means[1], ask[1]).accuracy
    seen = plain_sees or parts
    made = PLAIN[plain](seen[0], seed, progress)
    _, simple = _fitted(tuple(encode(made, part, progress=False).means for part in seen), *ask)
    fitted = {suffix: one for suffix, one in zip(FEATURES, (of_means, of_pooled), strict=True) if one is not None}
    robust = robust_figures(untrained_model, fitted, corrupted, seed, progress, "untrained encoder: ")
    figures = dict(zip(names, (accuracy, accuracy_pooled, knn, simple), strict=True))
    return figures | {f"untrained_{name}": found for name, found in robust.items()}


def _fitted(
    pair: Pair, labels: np.ndarray, test_labels: np.ndarray, progress: bool
) -> tuple[LinearClassifier | None, float | None]:
    """A control's linear classifier and its accuracy; None for broken features."""
    if not all(np.isfinite(part).all() for part in pair):
        return None, None
    classifier = fit_linear(pair[0], labels, progress=progress, what="control: linear classifier")
    return classifier, classifier.accuracy(pair[1], test_labels)


def _of_codes(codes: Codes, seed: int) -> Figures:
    """What the posteriors alone carry, in nats; of one shape, which differs from no other, nothing but its rate."""
    several, sharp = len(codes) > 1, bool(codes.finite.all() and (codes.stddevs > 0).all())
    flat = codes.rates is None  # else q(z|x) at another shape's code would need a walk for each pair of shapes
    told = several and sharp and flat
    return {
        "active_units": active_units(codes.means) if several else None,
        "code_size": codes.means.shape[1],
        "rate": codes.rate,
        "mutual_information": mutual_information(codes.means, codes.stddevs, seed=seed) if told else None,
        "mutual_information_cap": information_cap(len(codes)),
    }


def _of_decoder(
    model: nn.Module,
    codes: Codes,
    shapes: Shapes,
    distance: str,
    seed: int,
    batch_size: int,
    progress: bool,
    name: str,
) -> Figures:
    """Reconstruction, and what is wrong."""
    made = reconstruct(model, shapes, batch_size, progress, f"{name}reconstructing")
    return {
        "distortion": distortion(model, shapes, seed, batch_size, progress, f"{name}distortion"),
        distance: float(reconstruction_error(made, shapes, distance, batch_size, progress).mean()),
        "alarms": list(alarms(codes, diversity(made, shapes, distance, seed=seed))),
    }


def _of_density(model: nn.Module, sampled: Shapes | None, seed: int, progress: bool, name: str) -> Figures:
    """The log-likelihood by importance sampling, of a model that has one: nats a point of clouds, and of images NLL."""
    if sampled is None:
        return {}
    with frozen(model) as device:
        likelihood = model.decoder(model.encoder(take(sampled, [0]).to(device)).mean)
    if not likelihood.normalised:
        return {}
    found = log_likelihood(model, sampled, seed=seed, progress=progress, what=f"{name}log-likelihood")
    figures = {"effective_samples": found.effective_samples, "n_sampled": len(sampled)}
    if not hasattr(likelihood, "dimensions"):
        return figures | {f"log_likelihood_{count}": value for count, value in found.per_point.items()}
    losses = {count: -value for count, value in found.per_shape.items()}
    kind = "nll" if likelihood.discrete else "nld"  # a density has another unit than a mass, and no bound
    figures |= {f"{kind}_{count}": value for count, value in losses.items()}
    bits = losses[max(losses)] / (likelihood.dimensions * math.log(2))
    figures |= (
        {f"{kind}_error": float(found.bounds[max(losses)].std(ddof=1) / math.sqrt(len(sampled)))}
        if len(sampled) > 1
        else {}
    )
    return figures | ({"bits_per_dimension": bits} if likelihood.discrete else {})


def _of_moves(moved: Mapping[str, Moved]) -> Figures:
    """Each transformation's gap and shift by its name, and their means."""
    figures: Figures = {}
    for kind in ("gap", "shift"):
        values = {name: getattr(one, kind) for name, one in moved.items()}
        whole = bool(values) and None not in values.values()
        figures |= {f"consistency_{kind}_{name}": value for name, value in values.items()}
        figures[f"consistency_{kind}"] = sum(values.values()) / len(values) if whole else None
    return figures


def _told(value: Any) -> Any:
    """JSON has no word for a number that is not finite."""
    if isinstance(value, dict):
        return {key: _told(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_told(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
