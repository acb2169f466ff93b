"""How near a model's reconstructions come to the shapes, and whether they differ as the shapes do."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from crvae3d.evaluation.frozen import Shapes, batches, frozen, shown, take
from crvae3d.points.chamfer import chamfer_distance


def reconstruct(
    model: nn.Module, clouds: Shapes, batch_size: int = 64, progress: bool = True, what: str = "reconstructing"
) -> Tensor:
    """What the decoder makes of the codes of clouds: the mean of p(x|z) at the posterior mean.

    Args:
        model: with `encoder(x)` and `decoder(codes)`.
        clouds: (S, N, 3).
        batch_size: shapes at once.
        progress: whether to show it.
        what: how the progress is called.

    Returns:
        (S, M, 3), float32 on the CPU.
    """
    with frozen(model) as device:
        found = [
            model.decoder(model.encoder(take(clouds, places).to(device)).mean).mean.float().cpu()
            for places in shown(batches(clouds, batch_size), what, progress)
        ]
    return torch.cat(found)


def reconstruction_chamfer(
    reconstructions: Tensor, clouds: Shapes, batch_size: int = 64, progress: bool = True
) -> np.ndarray:
    """The chamfer distance between each shape and its reconstruction.

    Args:
        reconstructions: (S, M, 3).
        clouds: (S, N, 3).
        batch_size: shapes at once.
        progress: whether to show it.

    Returns:
        (S,) squared, a mean over points, both directions summed.
    """
    with torch.inference_mode():
        found = [
            chamfer_distance(reconstructions[places], take(clouds, places))
            for places in shown(batches(clouds, batch_size), "chamfer distance", progress)
        ]
    return torch.cat(found).numpy()


@dataclass(frozen=True)
class Diversity:
    """The mean chamfer distance between different shapes, and between the reconstructions of the same pairs.

    Attributes:
        shapes: squared, both directions summed.
        reconstructions: likewise; nought where all shapes are reconstructed as one.
    """

    shapes: float
    reconstructions: float

    @property
    def ratio(self) -> float:
        """Reconstructions over shapes: about 1 for a model that tells shapes apart."""
        return self.reconstructions / self.shapes if self.shapes > 0 else float("nan")


def diversity(reconstructions: Tensor, clouds: Shapes, pairs: int = 256, seed: int = 0) -> Diversity | None:
    """How much reconstructions differ from each other, beside how much the shapes do.

    Args:
        reconstructions: (S, M, 3).
        clouds: (S, N, 3).
        pairs: at most so many pairs of different shapes are compared.
        seed: of the pairs.

    Returns:
        None where there are fewer than two shapes.
    """
    if len(clouds) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(clouds))[:pairs].tolist()
    others = order[1:] + order[:1]
    with torch.inference_mode():
        between = [
            chamfer_distance(take(cloud, order), take(cloud, others)).mean() for cloud in (clouds, reconstructions)
        ]
    return Diversity(*(float(mean) for mean in between))
