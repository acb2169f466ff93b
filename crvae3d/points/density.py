"""Corruptions that change where a cloud has its points, and how many; each point left is one of the shape's own.

Counts are shares of the shape's own number of points. Those of patches are ModelNet40-C's, in 1,024ths (Sun, Zhang,
Kailkhura, Yu, Xiao and Mao, Benchmarking Robustness of 3D Point Cloud Recognition Against Common Corruptions, 2022).
"""

import torch
from torch import Tensor

from crvae3d.points.augment import Cloud, CloudTransform, normal, uniform
from crvae3d.points.thinning import keep_lowest, keep_only, order


class Thin(CloudTransform):
    """A random subset that is the share `kept` of every shape's points."""

    def __init__(self, kept: float) -> None:
        self.kept = kept

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        return _keep_share(points, mask, uniform(points.shape[:2], 0, 1, points, generator), self.kept)


class Cut(CloudTransform):
    """Every shape loses the share `lost` of its points, those farthest along a random direction."""

    def __init__(self, lost: float) -> None:
        self.lost = lost

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        along = (points @ normal((len(points), 3, 1), points, generator))[..., 0]
        return _keep_share(points, mask, along, 1 - self.lost)


class Cutout(CloudTransform):
    """Holes: `patches` times, a point that is left and its nearest go, 30 of every 1,024."""

    def __init__(self, patches: int) -> None:
        self.patches = patches

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        left = present(points, mask)
        count = part_of(left, 30 / 1024)
        for _ in range(self.patches):
            index, taken = _patch(points, left, count, generator)
            left = _unmarked(left, index, taken)
        return keep_only(points, left)


class LocallySparser(CloudTransform):
    """`patches` times, the nearest points of one that is left, 100 of every 1,024, lose three quarters of their number."""

    def __init__(self, patches: int) -> None:
        self.patches = patches

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        left = present(points, mask)
        count = part_of(left, 100 / 1024)
        for _ in range(self.patches):
            index, taken = _patch(points, left, count, generator)
            place = order(uniform(index.shape, 0, 1, points, generator), taken)
            left = _unmarked(left, index, taken & (place < 3 * count // 4))
        return keep_only(points, left)


class LocallyDenser(CloudTransform):
    """Half of the points are left: all of `patches` patches, each 100 of every 2,048, and the rest from anywhere else.

    A patch ends up at the density that the shape had, and everything else at less than half of it. The benchmark draws
    its 1,024 points from 2,048 in this way; what the smaller number alone costs is what `Thin(1 / 2)` shows.
    """

    def __init__(self, patches: int) -> None:
        self.patches = patches

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        there = others = present(points, mask)
        count = part_of(there, 100 / 2048)
        for _ in range(self.patches):
            others = _unmarked(others, *_patch(points, others, count, generator))
        rank = uniform(points.shape[:2], 0, 1, points, generator)
        return _keep_share(points, mask, torch.where(others, rank, -1), 0.5)


def present(points: Tensor, mask: Tensor | None) -> Tensor:
    """Which points exist, (B, N)."""
    return torch.ones_like(points[..., 0], dtype=torch.bool) if mask is None else mask


def part_of(there: Tensor, share: float | Tensor) -> Tensor:
    """How many points a share of each shape's points is, to the nearest, (B, 1)."""
    return (share * there.sum(1, keepdim=True)).round().long()


def _keep_share(points: Tensor, mask: Tensor | None, rank: Tensor, share: float) -> Cloud:
    """The given share of every shape's points, those of lowest rank; at least one."""
    if share >= 1:
        return points, mask
    if mask is None:
        return keep_lowest(points, None, rank, max(1, round(share * points.shape[1])))
    return keep_only(points, mask & (order(rank, mask) < part_of(mask, share).clamp(min=1)))


def _patch(points: Tensor, left: Tensor, count: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """The `count` (B, 1) points nearest to one drawn from those that are left (B, N), itself among them.

    Returns:
        The indices of the largest count (B, K) in order of distance, and which of them belong to the patch.
    """
    drawn = uniform(left.shape, 0, 1, points, generator).masked_fill(~left, -1).argmax(1)
    centre = points.gather(1, drawn[:, None, None].expand(-1, -1, 3))
    squared = (points - centre).square().sum(-1).masked_fill(~left, torch.inf)
    index = squared.topk(int(count.max()), dim=1, largest=False).indices
    return index, torch.arange(index.shape[1], device=points.device) < count


def _unmarked(left: Tensor, index: Tensor, gone: Tensor) -> Tensor:
    """Without the points at `index` (B, K) of which `gone` says so."""
    return left.scatter(1, index, left.gather(1, index) & ~gone)
