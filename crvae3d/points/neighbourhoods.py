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
SOURCES = 1024
"""So many points of a larger cloud stand for all of them: its moments are those of all, but for chance."""


def draw(points: Points, mask: Mask | None = None) -> Tensor | None:
    """Places (B, `SOURCES`) of the points that stand for all of a large cloud; None where it has no more.

    They are those with the largest hash of their coordinates: the same ones in any order, and beside any padding. Of points
    that lie on each other, as where a small cloud is repeated to the size of others, each place is taken once before any
    is taken again. Coordinates are hashed in turn: joined by exclusive or, hashes of points that mirror each other agree.
    """
    if points.shape[1] <= SOURCES:
        return None
    rank = 0
    for bits in (points.detach().float() + 0.0).view(torch.int32).unbind(-1):  # of -0 as of 0
        rank = _mixed(rank + (bits.long() & 0xFFFFFFFF) & 0xFFFFFFFF)
    rank, place = (rank if mask is None else rank.masked_fill(~mask, -1)).sort(dim=1)
    index = torch.arange(rank.shape[1], device=rank.device).expand_as(rank)
    first = torch.where(rank.diff(dim=1, prepend=rank[:, :1] - 1) != 0, index, 0).cummax(1).values
    again = torch.where(rank < 0, SOURCES, 0) + index - first  # how often it was there before; padding comes last
    return place.take_along_dim((rank - (again << 32)).topk(SOURCES, dim=1).indices, 1)


def _mixed(bits: Tensor) -> Tensor:
    """A hash of 32 bits, of which each depends on all (Wellons, hash-prospector); no two have the same."""
    bits = (bits ^ bits >> 16) * 0x21F0AAAD & 0xFFFFFFFF
    bits = (bits ^ bits >> 15) * 0x735A2D97 & 0xFFFFFFFF
    return bits ^ bits >> 15


def moments(points: Points, scales: int, mask: Mask | None = None, drawn: Tensor | None = None) -> Tensor:
    """The moments around each point, at `scales` radii of which each is half of the one before, down to `SMALLEST`.

    Args:
        points: (B, N, 3) in the unit sphere.
        scales: S, at least 1.
        mask: (B, N), True where a point exists; what is said of others means nothing, but is finite.
        drawn: places (B, M) of the points that each is weighed against, beside itself; None for all.

    Returns:
        (B, N, 9 S): for each radius the way to the mean, in radii (3), and the covariance about it, in squared radii, its
        upper triangle row by row (6).
    """
    with torch.autocast(points.device.type, enabled=False):  # a covariance is a small difference of large numbers
        exact = points.to(torch.promote_types(points.dtype, torch.float32))
        return _moments(exact, scales, mask, drawn).to(points.dtype)


def _moments(points: Tensor, scales: int, mask: Tensor | None, drawn: Tensor | None) -> Tensor:
    sums = _sums(points, scales, mask, drawn)
    _, mean, square = (sums / sums[..., :1].clamp_min(0.5)).split([1, 3, 6], -1)  # a point weighs 1 on itself
    way, covariance = mean - points[..., None, :], square - _products(mean)
    radii = SMALLEST * 2.0 ** torch.arange(scales - 1, -1, -1, dtype=points.dtype, device=points.device)[:, None]
    return torch.cat([way / radii, covariance / radii.square()], -1).flatten(2)


def _sums(points: Tensor, scales: int, mask: Tensor | None, drawn: Tensor | None) -> Tensor:
    """The weights about each point, and of the points times them and of their products: (B, N, S, 10)."""
    powers = torch.cat([torch.ones_like(points[..., :1]), points, _products(points)], -1)
    if mask is not None:
        powers = powers * mask[..., None]
    if drawn is None:
        return _weighted(points, points, powers, scales)
    drawn = drawn[..., None]
    of_drawn = _weighted(points, points.take_along_dim(drawn, 1), powers.take_along_dim(drawn, 1), scales)
    own = powers.scatter(1, drawn.expand(-1, -1, powers.shape[-1]), 0)  # of points that were not drawn
    return of_drawn + own[:, :, None]


def _products(of: Tensor) -> Tensor:
    """Of the three coordinates with each other, (..., 3) to (..., 6): an upper triangle, row by row."""
    return torch.cat([of[..., row : row + 1] * of[..., row:] for row in range(3)], -1)


def _weighted(points: Tensor, sources: Tensor, values: Tensor, scales: int) -> Tensor:
    """Sums of the sources' `values` (B, M, V) about each point, weighted by exp(-distance^2 / (2 radius^2)): (B, N, S, V).

    The exponent x.y - x^2 / 2 - y^2 / 2 of points in radii is one product of matrices; half the radius is the fourth power.
    """
    (point, half), (source, half_source) = (_in_radii(of, SMALLEST * 2 ** (scales - 1)) for of in (points, sources))
    left = torch.cat([source, half_source, torch.ones_like(half_source)], -1)
    right = torch.cat([point, torch.ones_like(half), half], -1).mT.contiguous()
    rows = values.mT.contiguous()
    found = points.new_empty(len(points), scales, rows.shape[1], points.shape[1])
    for shapes, part in blocks(points, 2 * sources.shape[1]):
        exponent = (left[shapes] @ right[shapes, :, part]).clamp_(max=0)  # rounded above it far from the unit sphere
        weight = exponent.exp_()
        for scale in range(scales):
            if scale:
                weight = _fourth_power(weight)
            found[shapes, scale, :, part] = rows[shapes] @ weight
    return found.permute(0, 3, 1, 2)


def _fourth_power(of: Tensor) -> Tensor:
    """In place, while it is in the cache, unless a gradient asks for what it was."""
    return of.square().square() if of.requires_grad else of.square_().square_()


def _in_radii(points: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The points in radii, and what each takes from an exponent."""
    points = points / radius
    return points, points.square().sum(-1, keepdim=True) / -2
