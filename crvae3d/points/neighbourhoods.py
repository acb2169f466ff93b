"""What lies around each point of a cloud: the mean and the covariance of its Gaussian neighbourhoods.

FoldingNet's encoder reads, beside each point, the covariance of its 16 nearest neighbours (Yang, Feng, Shen and Tian,
FoldingNet, CVPR 2018). Those lie the closer the more points a cloud has. A neighbourhood that is weighted by distance
in place of rank tends to the same moments however densely the surface was sampled, and is a product of matrices.
"""

import torch
from torch import Tensor

from crvae3d.points.batch import blocks
from crvae3d.typing import Mask, Points

SMALLEST = 0.1
"""Radius of the smallest neighbourhood, the standard deviation of its weights, in units of the cloud; others double it."""
MOMENTS = 9
"""Of each neighbourhood: three of the mean and six of the covariance."""


def moments(points: Points, scales: int, mask: Mask | None = None) -> Tensor:
    """The moments around each point, at `scales` radii of which each is half of the one before, down to `SMALLEST`.

    Every point is weighed for every other: time grows with the square of the points, memory does not.

    Args:
        points: (B, N, 3) in the unit sphere.
        scales: S, at least 1.
        mask: (B, N), True where a point exists; what is said of others means nothing, but is finite.

    Returns:
        (B, N, 9 S): for each radius the way to the mean, in radii (3), and the covariance about it, in squared radii, its
        upper triangle row by row (6).
    """
    with torch.autocast(points.device.type, enabled=False):  # a covariance is a small difference of large numbers
        exact = points.to(torch.promote_types(points.dtype, torch.float32))
        return _moments(exact, scales, mask).to(points.dtype)


def _moments(points: Tensor, scales: int, mask: Tensor | None) -> Tensor:
    powers = torch.cat([torch.ones_like(points[..., :1]), points, _products(points)], -1)
    if mask is not None:
        powers = powers * mask[..., None]
    sums = _weighted_sums(points, powers, scales)
    _, mean, square = (sums / sums[..., :1].clamp_min(0.5)).split([1, 3, 6], -1)  # a point weighs 1 on itself
    way, covariance = mean - points[..., None, :], square - _products(mean)
    radii = SMALLEST * 2.0 ** torch.arange(scales - 1, -1, -1, dtype=points.dtype, device=points.device)[:, None]
    return torch.cat([way / radii, covariance / radii.square()], -1).flatten(2)


def _products(of: Tensor) -> Tensor:
    """Of the three coordinates with each other, (..., 3) to (..., 6): an upper triangle, row by row."""
    return torch.cat([of[..., row : row + 1] * of[..., row:] for row in range(3)], -1)


def _weighted_sums(points: Tensor, values: Tensor, scales: int) -> Tensor:
    """Sums of `values` (B, N, V) about each point, weighted by exp(-distance^2 / (2 radius^2)): (B, N, S, V).

    The exponent x.y - x^2 / 2 - y^2 / 2 of points in radii is one product of matrices; half the radius is the fourth power.
    """
    points = points / (SMALLEST * 2 ** (scales - 1))
    half = points.square().sum(-1, keepdim=True) / -2
    left = torch.cat([points, half, torch.ones_like(half)], -1)
    right = torch.cat([points, torch.ones_like(half), half], -1).mT.contiguous()
    rows = values.mT.contiguous()
    found = points.new_empty(len(points), scales, rows.shape[1], points.shape[1])
    for shapes, part in blocks(points, 2 * points.shape[1]):
        exponent = (left[shapes] @ right[shapes, :, part]).clamp(max=0)  # rounded above it far from the unit sphere
        weight = exponent.exp()
        for scale in range(scales):
            if scale:
                weight = weight.square().square()
            found[shapes, scale, :, part] = rows[shapes] @ weight
    return found.permute(0, 3, 1, 2)
