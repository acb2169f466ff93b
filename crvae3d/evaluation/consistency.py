"""The consistency gap: how far a transformation that preserves the semantics moves the posterior of a shape.

    gap(t) = mean over shapes x of KL( q(z|t(x)) || q(z|x) )        nats

What Consistent (Sinha and Dieng, 2021) penalises in training, here on shapes that were not trained on.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from crvae3d.evaluation.frozen import Shapes, batches, frozen, shown, take
from crvae3d.points.batch import Ragged, dense, ragged

Transform = Callable[..., object]
"""`t(x, generator=g)` gives a transformed batch."""


def consistency_gap(
    model: nn.Module,
    clouds: Shapes,
    transform: Transform,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> float:
    """The gap of one transformation, in nats; see `consistency_gaps`."""
    return consistency_gaps(model, clouds, {"": transform}, seed, batch_size, progress)[""]


def consistency_gaps(
    model: nn.Module,
    clouds: Shapes,
    transforms: Mapping[str, Transform],
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    what: str = "consistency gap",
) -> dict[str, float]:
    """The gap of each of several transformations, in nats.

    One view of each shape and transformation; it depends on the seed and the shape's place alone, so that every model
    is asked about the same views, whatever the size of the batches.

    Args:
        model: with `encoder(x)`, a distribution whose KL divergence is known.
        clouds: (S, N, 3).
        transforms: by name.
        seed: of the views.
        batch_size: shapes at once.
        progress: whether to show it.
        what: how the progress is called.
    """
    totals = dict.fromkeys(transforms, 0.0)
    with frozen(model) as device:
        for places in shown(batches(clouds, batch_size), what, progress) if transforms else ():
            x = take(clouds, places)
            posterior = model.encoder(x.to(device))
            for name, transform in transforms.items():
                view = model.encoder(views(x, places, transform, seed).to(device))
                totals[name] += float(kl_divergence(view, posterior).double().sum())
    return {name: total / len(clouds) for name, total in totals.items()}


def views(x: Tensor, places: list[int], transform: Transform, seed: int) -> Tensor | Ragged:
    """One view of each cloud of a batch (B, N, 3), by a generator of its own; padded where their sizes differ."""
    clouds = []
    for cloud, place in zip(x, places, strict=True):
        state = int(np.random.SeedSequence((seed, place)).generate_state(1)[0])
        points, mask = dense(transform(cloud[None], generator=torch.Generator().manual_seed(state)))
        clouds.append(points[0] if mask is None else points[mask])
    return torch.stack(clouds) if len({len(cloud) for cloud in clouds}) == 1 else ragged(clouds)
