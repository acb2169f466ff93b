"""Meshes of folded points: what topology says of them, and files that trimesh reads."""

import numpy as np
import pytest
import torch
import trimesh

from crvae3d.errors import InputError
from crvae3d.points.folding import Folding, plane, sphere
from crvae3d.points.surface import triangles


def edges(faces: torch.Tensor) -> torch.Tensor:
    """Directed edges (3 F, 2)."""
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


@pytest.mark.parametrize("points", (4, 49, 50, 484, 500))
def test_a_plane_is_one_sheet_that_lies_flat_and_covers_the_square(points):
    grid, faces = plane(points), triangles("plane", plane(points))
    assert faces.unique().tolist() == list(range(points))
    directed = edges(faces)
    assert len(directed.unique(dim=0)) == len(directed)  # neighbours are turned the same way
    undirected = directed.sort(1).values.unique(dim=0)
    assert points - len(undirected) + len(faces) == 1  # Euler's number of a disc
    first, second, third = grid[faces].unbind(1)
    (a, b), (c, d) = (second - first).T, (third - first).T
    areas = (a * d - b * c) / 2
    assert areas.min() > 1e-6 and areas.sum() <= 4 + 1e-5
    assert areas.sum() > (4 - 1e-5 if points in (4, 49, 484) else 3.2)


@pytest.mark.parametrize("points", (4, 100, 484))
def test_a_sphere_is_closed_and_turned_outwards(points):
    grid = sphere(points)
    mesh = trimesh.Trimesh(grid, triangles("sphere", grid), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    assert 0 < mesh.volume < 4 / 3 * np.pi and len(mesh.faces) == 2 * points - 4
    assert points < 484 or mesh.volume > 0.98 * 4 / 3 * np.pi


def test_a_decoder_has_the_faces_of_its_template_at_any_number_of_points():
    for template, points in (("plane", None), ("plane", 50), ("sphere", 30)):
        decoder = Folding(4, points=25, width=8, template=template)
        cloud, faces = decoder.decode(torch.randn(4), points), decoder.faces(points)
        assert faces.dtype == torch.int64 and faces.max() == len(cloud) - 1
    with pytest.raises(InputError, match="gaussian template has no surface"):
        Folding(4, points=25, width=8, template="gaussian").faces()
    with pytest.raises(InputError, match="at least 4 points, got 3"):
        Folding(4, points=25, width=8).faces(3)
    with pytest.raises(InputError, match="points must be at least 1, got -5"):
        Folding(4, points=25, width=8).faces(-5)
