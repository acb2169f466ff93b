"""Corruptions by noise: on every point, on some of them, instead of some, and beside them.

Lengths are in units of the cloud. But for `Outliers` the constants are ModelNet40-C's (Sun, Zhang, Kailkhura, Yu, Xiao and
Mao, Benchmarking Robustness of 3D Point Cloud Recognition Against Common Corruptions, 2022), whose clouds fill the unit
sphere too. Its Gaussian noise is `Jitter` of `augment` without a clip; that it also clips coordinates at 1, which touches
the tips of a cloud alone, is left out.
"""

import torch
from torch import Tensor

from crvae3d.points.augment import Cloud, CloudTransform, normal, uniform
from crvae3d.points.density import part_of, present
from crvae3d.points.thinning import order


class UniformNoise(CloudTransform):
    """Every coordinate moves by a number drawn evenly from [-distance, distance]."""

    def __init__(self, distance: float) -> None:
        self.distance = distance

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        return points + uniform(points.shape, -self.distance, self.distance, points, generator), mask


class Impulse(CloudTransform):
    """One point in `one_in` moves by -0.1 or 0.1 along every axis."""

    def __init__(self, one_in: int) -> None:
        self.one_in = one_in

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        there = present(points, mask)
        hit = _drawn(points, there, there.sum(1, keepdim=True) // self.one_in, generator)
        move = torch.where(uniform(points.shape, -1, 1, points, generator) < 0, -0.1, 0.1).to(points)
        return torch.where(hit[..., None], points + move, points), mask


class Outliers(CloudTransform):
    """A share of every shape's points gives way to points drawn evenly from the unit ball.

    Args:
        replaced: the share.
        fewest: where given, each shape's own share is drawn evenly from [fewest, replaced].
    """

    def __init__(self, replaced: float, fewest: float | None = None) -> None:
        self.replaced = replaced
        self.fewest = fewest

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        there, share = present(points, mask), self.replaced
        if self.fewest is not None:
            share = uniform((len(points), 1), self.fewest, self.replaced, points, generator)
        hit = _drawn(points, there, part_of(there, share), generator)
        direction = torch.nn.functional.normalize(normal(points.shape, points, generator), dim=-1)
        radius = uniform((*points.shape[:2], 1), 0, 1, points, generator) ** (1 / 3)  # volume grows as its cube
        return torch.where(hit[..., None], radius * direction, points), mask


class Upsample(CloudTransform):
    """One point in `one_in` is doubled: its double stands beside it, up to 0.05 away along every axis."""

    def __init__(self, one_in: int) -> None:
        self.one_in = one_in

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        there = present(points, mask)
        count = there.sum(1, keepdim=True) // self.one_in
        rank = uniform(there.shape, 0, 1, points, generator).masked_fill(~there, torch.inf)
        index = rank.topk(int(count.max()), dim=1, largest=False).indices
        doubles = points.gather(1, index[..., None].expand(-1, -1, 3))
        return _beside(points, mask, doubles + uniform(doubles.shape, -0.05, 0.05, points, generator), count)


class Background(CloudTransform):
    """Points drawn evenly from the cube [-1, 1]^3 are added, one for every `per` that the shape has."""

    def __init__(self, per: int) -> None:
        self.per = per

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        count = present(points, mask).sum(1, keepdim=True) // self.per
        added = uniform((len(points), int(count.max()), 3), -1, 1, points, generator)
        return _beside(points, mask, added, count)


def _drawn(points: Tensor, there: Tensor, count: Tensor, generator: torch.Generator | None) -> Tensor:
    """Mark `count` (B, 1) points of each shape, drawn from those that exist (B, N)."""
    return order(uniform(there.shape, 0, 1, points, generator), there) < count


def _beside(points: Tensor, mask: Tensor | None, added: Tensor, count: Tensor) -> Cloud:
    """A cloud with the first `count` (B, 1) of the added points (B, K, 3)."""
    if mask is None:
        return torch.cat([points, added], dim=1), None
    new = torch.arange(added.shape[1], device=points.device) < count
    return torch.cat([points, torch.where(new[..., None], added, 0)], dim=1), torch.cat([mask, new], dim=1)
