"""The surface between folded points: triangles of the template, which bend with it."""

import math

import numpy as np
import torch
from torch import Tensor

from crvae3d.errors import InputError


def triangles(template: str, grid: Tensor) -> Tensor:
    """Triangles between the points of a template, int64 (F, 3), all turned the same way.

    Args:
        template: `plane`, an open sheet, or `sphere`, a closed surface whose triangles are anticlockwise from outside.
        grid: its points (M, 2) or (M, 3), as `folding.TEMPLATES` makes them.

    Raises:
        InputError: the template has no surface, or too few points for one.
    """
    if template not in ("plane", "sphere"):
        raise InputError(f"a {template} template has no surface: train --model folding or folding-sphere for meshes")
    if len(grid) < 4:
        raise InputError(f"a surface needs at least 4 points, got {len(grid)}")
    side = math.isqrt(len(grid))
    if template == "plane" and side * side == len(grid):
        return _of_a_grid(side)
    from scipy.spatial import ConvexHull, Delaunay

    points = grid.double().cpu().numpy()
    found = (Delaunay if template == "plane" else ConvexHull)(points).simplices.astype(np.int64)
    first, second, third = points[found].transpose(1, 0, 2)
    if template == "plane":  # less slivers of the border, whose corners rounding alone keeps off one line
        (a, b), (c, d) = (second - first).T, (third - first).T
        return torch.from_numpy(found[np.abs(a * d - b * c) > 1e-6])
    inward = (np.cross(second - first, third - first) * (first + second + third)).sum(1) < 0
    found[inward] = found[inward, ::-1]
    return torch.from_numpy(found)


def _of_a_grid(side: int) -> Tensor:
    """Two triangles for each cell of a grid whose points come row by row, anticlockwise in its plane."""
    place = torch.arange(side * side).view(side, side)
    here, below, beside, across = place[:-1, :-1], place[1:, :-1], place[:-1, 1:], place[1:, 1:]
    halves = torch.stack([here, below, beside], -1), torch.stack([below, across, beside], -1)
    return torch.cat([half.reshape(-1, 3) for half in halves])
