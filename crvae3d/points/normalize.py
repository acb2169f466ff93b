"""Clouds in the frame that models expect: centred, in the unit sphere."""

import torch
from torch import Tensor

from crvae3d.errors import InputError
from crvae3d.points.augment import Cloud, CloudTransform

ROUNDING = 64 * torch.finfo(torch.float64).eps
"""What a mean of equal numbers is off by, at most, in parts of the number."""


class NormalizeSphere(CloudTransform):
    """Centre each cloud on the mean of its points and scale it until the farthest lies on the unit sphere.

    What `crvae3d.load` does to the shapes that it reads, for clouds that are in memory, in any units; up must be z.
    A PyG transform that draws nothing. `NormalizeScale` of PyTorch Geometric fills a cube instead, which is another size.
    A cloud whose points coincide becomes the origin.

    Raises:
        InputError: a point is not finite, as where a scanner had no return.
    """

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        there = points.new_ones(points.shape[:2], dtype=torch.bool) if mask is None else mask
        held = points.double().masked_fill(~there[..., None], 0)  # double: a site far from the origin keeps its digits
        center = held.sum(1, keepdim=True) / there.sum(1)[:, None, None]
        moved = (held - center).masked_fill(~there[..., None], 0)
        broken = ~held.isfinite().all((1, 2))
        if broken.any():
            raise InputError(
                f"cloud {int(broken.int().argmax())} of the batch has points that are not finite: leave them out, "
                "as cloud[numpy.isfinite(cloud).all(1)] does"
            )
        radius = moved.norm(dim=-1).amax(1)[:, None, None]
        apart = radius > ROUNDING * held.abs().amax((1, 2), keepdim=True)
        return torch.where(apart, moved / radius, 0).to(points), mask
