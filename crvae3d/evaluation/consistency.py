"""The consistency gap: how far a transformation that preserves the semantics moves the posterior of a shape.

    gap(t)   = mean over shapes x of KL( q(z|t(x)) || q(z|x) )                                   nats
    shift(t) = mean over x of |m(t(x)) - m(x)|^2 / mean over pairs of shapes of |m(x) - m(y)|^2    m: posterior mean

The gap is what Consistent (Sinha and Dieng, 2021) penalises in training, here on shapes that were not trained on. It can
also be lowered by wider posteriors, which no classifier of the means sees; the shift can not: at 1 a view is as far from
its shape as any other shape is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from crvae3d.evaluation.frozen import Shapes, batches, frozen, seed_of, seeded, shown, take
from crvae3d.points.batch import Ragged, ragged

Transform = Callable[..., object]
"""`t(x, generator=g)` gives a transformed batch."""


@dataclass(frozen=True)
class Moved:
    """How far one transformation moves posteriors.

    Attributes:
        gap: nats.
        shift: of the means, as a share of the squared distance between two shapes; None where all shapes have one code.
    """

    gap: float
    shift: float | None


def consistency_gap(
    model: nn.Module,
    shapes: Shapes,
    transform: Transform,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> float:
    """The gap of one transformation, in nats; see `moved_by`."""
    return moved_by(model, shapes, {"": transform}, seed, batch_size, progress)[""].gap


def moved_by(
    model: nn.Module,
    shapes: Shapes,
    transforms: Mapping[str, Transform],
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    what: str = "consistency gap",
) -> dict[str, Moved]:
    """How far each of several transformations moves the posteriors of shapes.

    One view of each shape and transformation; it depends on the seed and the shape's place alone, so that every model
    is asked about the same views, whatever the size of the batches. The paths of hierarchies depend on the batches too.

    Args:
        model: with `encoder(x)`, a distribution with a mean, whose KL divergence is known.
        shapes: (S, ...).
        transforms: by name.
        seed: of the views.
        batch_size: shapes at once.
        progress: whether to show it.
        what: how the progress is called.
    """
    gaps, shifts, means = dict.fromkeys(transforms, 0.0), dict.fromkeys(transforms, 0.0), []
    with frozen(model) as device, torch.autocast(device.type, enabled=False):  # half precision hides small gaps
        for places in shown(batches(shapes, batch_size), what, progress) if transforms else ():
            x = take(shapes, places)
            posterior = model.encoder(x.to(device))
            means.append(posterior.mean.double())
            for name, transform in transforms.items():
                view = model.encoder(views(x, places, transform, seed).to(device))
                with seeded(device, seed, places[0]):  # where there are paths to draw
                    gaps[name] += float(kl_divergence(view, posterior).double().sum())
                shifts[name] += float((view.mean.double() - means[-1]).square().sum())
    size = len(shapes)
    between = 2 * size * float(torch.cat(means).var(0).sum()) if transforms and size > 1 else 0.0
    return {name: Moved(gaps[name] / size, shifts[name] / between if between > 0 else None) for name in transforms}


def views(x: Tensor, places: list[int], transform: Transform, seed: int) -> Tensor | Ragged:
    """One view of each shape of a batch (B, ...), by a generator of its own; clouds are padded where their sizes differ."""
    found = []
    for shape, place in zip(x, places, strict=True):
        view = transform(shape[None], generator=torch.Generator().manual_seed(seed_of(seed, place)))
        found.append(view.points[view.mask] if isinstance(view, Ragged) else view[0])
    return torch.stack(found) if len({len(view) for view in found}) == 1 else ragged(found)
