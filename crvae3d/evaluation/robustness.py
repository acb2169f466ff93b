"""How the accuracy of a fitted classifier falls as test clouds are corrupted more and more.

    accuracy(family, strength) = share of test shapes x whose view t(x) is named correctly      t = family(strength)

Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, 2019; encoder and
classifier stay as they were fitted on clean shapes. Every encoder is asked about the same views: they depend on the seed,
the family's name and the test set alone, and are drawn for `SHAPES_A_DRAW` shapes at once, in less than half the time
of a draw for each shape. The strengths of a family share their draw, so that the strength is what differs between them.
"""

import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from crvae3d.allocator import kept_memory
from crvae3d.errors import InputError, unknown
from crvae3d.evaluation.consistency import Transform
from crvae3d.evaluation.frozen import Shapes, batches, frozen, seed_of, shown, take
from crvae3d.evaluation.labelled import FEATURES, LabelledShapes
from crvae3d.evaluation.linear import LinearClassifier
from crvae3d.points.batch import Ragged, dense, like

SHAPES_A_DRAW = 64

Encode = Callable[[Tensor | Ragged], Mapping[str, np.ndarray]]
"""A batch of B clouds to features (B, F), by name: of one encoder, or of many at once."""

Families = Mapping[str, Callable[[int], Transform]]
"""Transformations by the family's name and the strength."""


@dataclass(frozen=True, eq=False)
class Corrupted:
    """Shapes that are corrupted.

    Attributes:
        families: called with a strength from 1 to 5, by name.
        shapes: labelled.
    """

    families: Families
    shapes: LabelledShapes


def robust_figures(
    model: nn.Module,
    classifiers: Mapping[str, LinearClassifier],
    corrupted: Sequence[Corrupted],
    seed: int = 0,
    progress: bool = True,
    name: str = "",
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The figure `robustness`: by read-out and family, accuracies in the order of the strengths.

    Args:
        model: whose features the classifiers were fitted on.
        classifiers: by the suffix of their read-out in `FEATURES`.
        corrupted: what is corrupted, and how.
        seed: of the views.
        progress: whether to show it.
        name: before what the progress says.

    Returns:
        Empty where nothing is corrupted, or nothing was fitted.
    """
    if not (corrupted and classifiers):
        return {}
    named = {FEATURES[suffix]: classifier for suffix, classifier in classifiers.items()}
    asked = {"seed": seed, "progress": progress, "what": f"{name}corrupted shapes"}
    found = [
        robustness(features_of(model), named, part.shapes.points, part.shapes.labels, part.families, **asked)
        for part in corrupted
    ]
    by_suffix = {
        suffix: {family: accuracies for one in found for family, accuracies in one[FEATURES[suffix]].items()}
        for suffix in classifiers
    }
    return {"robustness": by_suffix}


def flat(figures: Mapping[str, object], families: Collection[str] | None = None) -> dict[str, float | None]:
    """The numbers of an evaluation by name: `robust/<family>/<strength>`, `robust/<family>` and `robust_mean` too.

    Those of the pooled features begin with `robust_pooled`, and the control's with `untrained_robust`.

    Args:
        figures: of an evaluation.
        families: those that are told of and averaged; None for all.
    """
    found = {name: value for name, value in figures.items() if _is_figure(value)}
    for stem in ("robust", "untrained_robust"):
        for suffix, by_family in figures.get(f"{stem}ness", {}).items():
            told = {name: one for name, one in by_family.items() if families is None or name in families}
            found |= _flat(stem + suffix, told)
    return found


def families_of_all(figures: Iterable[Mapping[str, object]]) -> set[str]:
    """The families of corruptions that every evaluation has which has any, so that their means are of the same ones."""
    known = [set(one["robustness"][""]) for one in figures if "" in one.get("robustness", {})]
    return set.intersection(*known) if known else set()


def _flat(stem: str, families: Mapping[str, Sequence[float]]) -> dict[str, float]:
    found = {
        f"{stem}/{family}/{strength}": value
        for family, accuracies in families.items()
        for strength, value in enumerate(accuracies, 1)
    }
    means = {f"{stem}/{family}": statistics.fmean(accuracies) for family, accuracies in families.items()}
    return found | means | ({f"{stem}_mean": statistics.fmean(means.values())} if means else {})


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


@kept_memory()  # over all views, not for each anew
def robustness(
    encode: Encode,
    classifiers: Mapping[str, LinearClassifier],
    clouds: Shapes,
    labels: np.ndarray,
    families: Families,
    strengths: Sequence[int] = (1, 2, 3, 4, 5),
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    what: str = "robustness",
    device: torch.device | str = "cpu",
) -> dict[str, dict[str, list[float]]]:
    """The accuracy of each classifier on each family of corruptions at each strength.

    A view is made and encoded once and judged by all classifiers; to spare many models the making, let `encode` give the
    features of all of them.

    Args:
        encode: features by name; `features_of(model)` for a model's.
        classifiers: fitted on clean features, by the same names; features without a classifier are passed over.
        clouds: (S, N, 3) in the unit sphere, z up.
        labels: (S,).
        families: by name, such as `CORRUPTIONS`.
        strengths: what each is called with.
        seed: of the views.
        batch_size: views encoded at once, at most `SHAPES_A_DRAW`; the views do not depend on it.
        progress: whether to show it.
        what: how the progress is called.
        device: where views are made; the random numbers are the same everywhere.

    Returns:
        By the classifier's name and the family's, accuracies in the order of the strengths.

    Raises:
        InputError: labels are not one a shape, a classifier's features are missing, not finite or of another width, or
            a family has not that strength.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(clouds),):
        raise InputError(f"expected one label a shape: {len(clouds)} shapes, labels {labels.shape}")
    transforms = {family: [at(strength) for strength in strengths] for family, at in families.items()}
    correct = {name: {family: np.zeros(len(strengths)) for family in families} for name in classifiers}
    for places in shown(batches(clouds, SHAPES_A_DRAW), what, progress):
        x = take(clouds, places).to(device)
        for family, ladder in transforms.items():
            for step, transform in enumerate(ladder):
                view = transform(x, generator=draw_of(seed, family, places[0]))
                for part, found in _encoded(encode, view, batch_size):
                    for name, named in _named(classifiers, found).items():
                        correct[name][family][step] += (named == labels[places[part]]).sum()
    return {
        name: {family: (hits / len(clouds)).tolist() for family, hits in by_family.items()}
        for name, by_family in correct.items()
    }


def features_of(model: nn.Module) -> Encode:
    """A model's features as `encode` has them: posterior `means`, and `pooled` ones before the posterior."""

    def encode(x: Tensor | Ragged) -> dict[str, np.ndarray]:
        with frozen(model) as device:
            pooled = model.encoder.pool(x.to(device))
            found = {"means": model.encoder.posterior(pooled).mean, "pooled": pooled}
            return {name: features.float().cpu().numpy() for name, features in found.items()}

    return encode


def draw_of(seed: int, family: str, first: int) -> torch.Generator:
    """The generator of the views of a family, for the shapes from place `first` on."""
    return torch.Generator().manual_seed(seed_of(seed, first, *family.encode()))


def _encoded(encode: Encode, view: object, batch_size: int) -> Iterator[tuple[slice, Mapping[str, np.ndarray]]]:
    """The features of the views, in parts."""
    points, mask = _packed(*dense(view))
    for start in range(0, len(points), batch_size):
        part = slice(start, start + batch_size)
        yield part, encode(like(points[part], None if mask is None else mask[part]))


def _packed(points: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The same clouds without the padding that none of them needs: what is padded costs as much as what is there."""
    if mask is None:
        return points, None
    size = int(mask.sum(1).max())
    index = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :size]
    points, mask = points.gather(1, index[..., None].expand(-1, -1, 3)), mask.gather(1, index)
    return points, None if mask.all() else mask


def _named(classifiers: Mapping[str, LinearClassifier], found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What each classifier makes of the features of its name."""
    for name in classifiers:
        if name not in found:
            unknown("features", name, found)
    return {name: classifier.predict(found[name]) for name, classifier in classifiers.items()}
