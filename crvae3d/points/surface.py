"""The surface between folded points: triangles of the template, which bend with it."""

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
    points = grid.double().cpu().numpy()
    if template == "sphere":
        from trimesh.convex import convex_hull

        return torch.from_numpy(np.array(convex_hull(points).faces, dtype=np.int64))
    from scipy.spatial import Delaunay

    found = Delaunay(points).simplices.astype(np.int64)
    first, second, third = points[found].transpose(1, 0, 2)
    (a, b), (c, d) = (second - first).T, (third - first).T
    return torch.from_numpy(found[np.abs(a * d - b * c) > 1e-6])  # less slivers of a border that rounding bends
