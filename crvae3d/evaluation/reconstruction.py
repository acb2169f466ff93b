"""How near a model's reconstructions come to the shapes, and whether they differ as the shapes do."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from crvae3d.evaluation.frozen import Shapes, batches, frozen, seeded, shown, take
from crvae3d.points.chamfer import chamfer_distance


def mean_squared_error(a: Tensor, b: Tensor) -> Tensor:
    """The mean over all numbers of a pair of their squared difference: two of (B, ...) to (B,)."""
    return (a - b).square().flatten(1).mean(1)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "chamfer": chamfer_distance,
    "mean_squared_error": mean_squared_error,
}
"""From a reconstruction to its original, by the name of the figure: of clouds chamfer, of images the squared error."""


def reconstruct(
    model: nn.Module, shapes: Shapes, batch_size: int = 64, progress: bool = True, what: str = "reconstructing"
) -> Tensor:
    """What the decoder makes of the codes of shapes: the mean of p(x|z) at the posterior mean.

    Args:
        model: with `encoder(x)` and `decoder(codes)`.
        shapes: (S, ...).
        batch_size: shapes at once.
        progress: whether to show it.
        what: how the progress is called.

    Returns:
        (S, ...), float32 on the CPU; of clouds (S, M, 3).
    """
    with frozen(model) as device:
        found = [
            model.decoder(model.encoder(take(shapes, places).to(device)).mean).mean.float().cpu()
            for places in shown(batches(shapes, batch_size), what, progress)
        ]
    return torch.cat(found)


def distortion(
    model: nn.Module,
    shapes: Shapes,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
    what: str = "distortion",
) -> float:
    """The mean over shapes of -log p(x|z) at one z ~ q(z|x) each, nats a shape: what the ELBO pays beside the rate.

    Comparable between models of one likelihood, on shapes of one number of points; where that is no density it is an energy.

    Args:
        model: with `encoder(x)` and `decoder(codes)`.
        shapes: (S, ...).
        seed: of the codes.
        batch_size: shapes at once.
        progress: whether to show it.
        what: how the progress is called.
    """
    total = 0.0
    with frozen(model) as device:
        for places in shown(batches(shapes, batch_size), what, progress):
            x = take(shapes, places).to(device)
            with seeded(device, seed, places[0]):
                codes = model.encoder(x).rsample()
            total -= float(model.decoder(codes).log_prob(x).double().sum())
    return total / len(shapes)


def reconstruction_error(
    reconstructions: Tensor,
    shapes: Shapes,
    distance: str = "chamfer",
    batch_size: int = 64,
    progress: bool = True,
) -> np.ndarray:
    """The distance between each shape and its reconstruction.

    Args:
        reconstructions: (S, ...); of clouds (S, M, 3).
        shapes: (S, ...).
        distance: a name in `DISTANCES`. Chamfer is squared, a mean over points, both directions summed.
        batch_size: shapes at once.
        progress: whether to show it.

    Returns:
        (S,).
    """
    what = f"{distance.replace('_', ' ')} of reconstructions"
    with torch.inference_mode():
        found = [
            DISTANCES[distance](reconstructions[places], take(shapes, places).to(reconstructions.device))
            for places in shown(batches(shapes, batch_size), what, progress)
        ]
    return torch.cat(found).cpu().numpy()


@dataclass(frozen=True)
class Diversity:
    """The mean distance between different shapes, and between the reconstructions of the same pairs.

    Attributes:
        shapes: in the unit of its distance.
        reconstructions: likewise; nought where all shapes are reconstructed as one.
    """

    shapes: float
    reconstructions: float

    @property
    def ratio(self) -> float:
        """Reconstructions over shapes: about 1 for a model that tells shapes apart."""
        return self.reconstructions / self.shapes if self.shapes > 0 else float("nan")


def diversity(
    reconstructions: Tensor, shapes: Shapes, distance: str = "chamfer", pairs: int = 256, seed: int = 0
) -> Diversity | None:
    """How much reconstructions differ from each other, beside how much the shapes do.

    Args:
        reconstructions: (S, ...); of clouds (S, M, 3).
        shapes: (S, ...).
        distance: a name in `DISTANCES`.
        pairs: at most so many pairs of different shapes are compared.
        seed: of the pairs.

    Returns:
        None where there are fewer than two shapes.
    """
    if len(shapes) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(shapes))[:pairs].tolist()
    others = order[1:] + order[:1]
    with torch.inference_mode():
        between = [
            DISTANCES[distance](take(part, order), take(part, others)).mean() for part in (shapes, reconstructions)
        ]
    return Diversity(*(float(mean) for mean in between))
