"""The chamfer distance, exact and differentiable, without an extension to build and without an N x M matrix in memory.

    chamfer(a, b) = mean_i min_j |a_i - b_j|^2 + mean_j min_i |a_i - b_j|^2

Squared distances, a mean over points, both directions summed. The pairs are found without gradient and differentiated
by gathering, since the minimum's gradient touches its one winner only. Distances are differences squared: the expanded
form |a|^2 - 2ab + |b|^2 loses digits and picks wrong neighbours.
"""

import functools
import os
import shutil

import torch
from torch import Tensor

from crvae3d.errors import InputError
from crvae3d.points.batch import blocks
from crvae3d.typing import Indices, Mask, PerShape, Points

BLOCK = 64  # points a block: the compiled search finds the winning block first, then the winner in it
COMPILE_FROM = 2**20  # pairs in a batch from which compiling, some seconds once, is worth its time
GROUP = 16  # points a group of the uncompiled search
_failed_on: set[str] = set()  # types of devices where compiling was tried in vain


def chamfer_distance(a: Points, b: Points, mask_a: Mask | None = None, mask_b: Mask | None = None) -> PerShape:
    """The chamfer distance of every pair of clouds in two batches, in squared units of the clouds.

    Args:
        a: (B, N, 3).
        b: (B, M, 3).
        mask_a: (B, N), True where a point exists; None where all do.
        mask_b: (B, M), likewise.

    Raises:
        InputError: they are no two batches of as many clouds.

    >>> chamfer_distance(torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0, 0], [0, 0, 2]]]))
    tensor([2.])
    """
    _check(a, b)
    there = masked_mean(nearest_squared(a, b, mask_b), mask_a)
    back = masked_mean(nearest_squared(b, a, mask_a), mask_b)
    return there + back


def _check(a: Points, b: Points) -> None:
    for of in (a, b):
        if not isinstance(of, Tensor) or of.ndim != 3 or of.shape[-1] != 3 or of.shape[1] == 0:
            came = tuple(of.shape) if isinstance(of, Tensor) else type(of).__name__
            raise InputError(f"a batch of clouds is a tensor (batch, points, 3) with a point or more, got {came}")
    if len(a) != len(b):
        raise InputError(f"distances are of pairs of clouds, got {len(a)} and {len(b)}: use expand for one beside many")


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of (B, N) over the points that exist, (B,)."""
    if mask is None:
        return values.mean(-1)
    return torch.where(mask, values, 0).sum(-1) / mask.sum(-1)


def nearest_squared(query: Points, points: Points, mask: Mask | None = None) -> Tensor:
    """The squared distance from each query point to its nearest point, (B, N), differentiable in both."""
    index = nearest(query, points, mask)
    whole = torch.promote_types(torch.promote_types(query.dtype, points.dtype), torch.float32)  # squares may overflow
    matched = points.gather(1, index[..., None].expand(-1, -1, 3))
    return (query.to(whole) - matched.to(whole)).square().sum(-1)


@torch.no_grad()
def nearest(query: Points, points: Points, mask: Mask | None = None) -> Indices:
    """The index of the point nearest to each query point, (B, N)."""
    there = points.new_zeros(len(points), dtype=torch.long) if mask is None else mask.int().argmax(1)
    first = points.gather(1, there[:, None, None].expand(-1, 1, 3))  # one that exists stands in for those that do not
    if mask is not None:
        points = torch.where(mask[..., None], points, first)
    if (
        query.dtype == torch.float64
    ):  # the search is in single precision, which tells few points apart far from the origin
        query, points = query - first, points - first
    query, points = query.float(), points.float()
    found = None
    pairs = query.shape[0] * query.shape[1] * points.shape[1]
    if pairs >= COMPILE_FROM and query.device.type not in _failed_on and can_compile():
        found = _search_compiled(query, points)
    if found is None:
        found = _search_in_chunks(query, points)
    found = found.clamp(max=points.shape[1] - 1)  # what was added is the last point once more
    return found if mask is None else torch.where(mask.gather(1, found), found, there[:, None])


def _search_in_chunks(query: Tensor, points: Tensor) -> Tensor:
    """Plain search, with a bounded number of pairs in memory at once.

    The nearest of every `groups`-th point is found first: its minimum runs along the rows of memory, an arg-min does not.
    """
    groups = -(-points.shape[1] // GROUP)
    padded = _padded(points, groups * GROUP)[:, :, None]
    within = groups * torch.arange(GROUP, device=query.device)
    found = torch.empty(query.shape[:2], dtype=torch.long, device=query.device)
    for block in blocks(query, 4 * groups * GROUP):  # about four arrays of all pairs are there at once
        part, coordinates = query[block], padded[block[0]]
        difference = part[..., 0, None] - coordinates[:, 0]
        squared = difference.square()
        for axis in (1, 2):
            torch.sub(part[..., axis, None], coordinates[:, axis], out=difference)
            squared.addcmul_(difference, difference)
        winner = squared.unflatten(-1, (GROUP, groups)).amin(-2).argmin(-1)
        inside = squared.gather(-1, winner[..., None] + within).argmin(-1)
        found[block] = inside * groups + winner
    return found


def _padded(points: Tensor, size: int) -> Tensor:
    """Coordinates (B, 3, size) of points (B, M, 3), the added ones those of the last point."""
    added = points[:, -1:].expand(-1, size - points.shape[1], -1)
    return torch.cat([points, added], dim=1).mT.contiguous()


def _search_compiled(query: Tensor, points: Tensor) -> Tensor | None:
    """The search in blocks, fused by the compiler so that no distance is written to memory; None where it fails."""
    blocks = -(-points.shape[1] // BLOCK)
    padded = _padded(points, blocks * BLOCK).reshape(len(points), 3, blocks, BLOCK)
    arguments = (query.mT.contiguous(), padded)
    for argument in arguments:
        torch._dynamo.maybe_mark_dynamic(argument, 0)
    try:
        # Every mode (training, no gradient, autocast) and every pair of sizes is compiled for itself: allow for them all.
        with torch._dynamo.config.patch(recompile_limit=64):
            return _compiled()(*arguments)
    except Exception:  # whatever the compiler dislikes here, the plain search can do
        _failed_on.add(query.device.type)
        return None


@functools.cache
def _compiled() -> object:
    return torch.compile(_search_in_blocks, fullgraph=True)


def _search_in_blocks(query, points):  # unannotated: the shape checks of the tests would break the graph
    """Arg-min over blocks of each block's minimum, then arg-min inside the winner.

    query (B, 3, N); points (B, 3, blocks, BLOCK). Slow and large where it is not compiled.
    """
    squared = sum((query[:, axis, :, None, None] - points[:, None, axis]).square() for axis in range(3))
    winner = squared.amin(-1).argmin(-1)
    inside = winner[..., None].expand(-1, -1, BLOCK)
    squared = sum((query[:, axis, :, None] - points[:, axis].gather(1, inside)).square() for axis in range(3))
    return winner * BLOCK + squared.argmin(-1)


@functools.cache
def can_compile() -> bool:
    """Whether the fast search may be tried: a C++ compiler is there, and `CRVAE3D_COMPILE` is not 0."""
    return os.environ.get("CRVAE3D_COMPILE", "1") != "0" and (
        torch.cuda.is_available() or any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++"))
    )
