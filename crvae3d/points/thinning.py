"""Which points of a batch stay: by a rank, a share or a mask."""

import torch
from torch import Tensor

from crvae3d.points.batch import Cloud


def padded_to(size: Tensor, points: Tensor, mask: Tensor | None, rank: Tensor) -> Cloud:
    """The `size` points of lowest rank of each shape, the others padding: a GPU need not say how many they are."""
    kept = order(rank, mask) < size
    return keep_only(points, kept if mask is None else kept & mask)


def keep_lowest(points: Tensor, mask: Tensor | None, rank: Tensor, size: int) -> Cloud:
    """The `size` points of lowest rank of each shape; padded points come last."""
    if mask is not None:
        rank = rank.masked_fill(~mask, torch.inf)
    index = rank.topk(size, dim=1, largest=False, sorted=False).indices
    kept = points.gather(1, index[..., None].expand(-1, -1, 3))
    return kept, None if mask is None else mask.gather(1, index)


def drop_highest(points: Tensor, mask: Tensor | None, rank: Tensor, share: Tensor) -> Cloud:
    """Without the given share (B, 1) of the points, those of highest rank; at least one point is left."""
    mask = torch.ones_like(rank, dtype=torch.bool) if mask is None else mask
    size = mask.sum(1, keepdim=True)
    keep = (size - (share * size).floor()).clamp(min=1)
    return keep_only(points, mask & (order(rank, mask) < keep))


def order(rank: Tensor, mask: Tensor | None) -> Tensor:
    """The place of each point in its shape by ascending rank, (B, N) from 0 on; padded points come last."""
    rank = rank if mask is None else rank.masked_fill(~mask, torch.inf)
    return rank.argsort(1).argsort(1)


def keep_only(points: Tensor, kept: Tensor) -> Cloud:
    """The points that `kept` (B, N) marks; the others become padding."""
    return torch.where(kept[..., None], points, 0), kept
