"""What of a cloud is seen from one place: self-occlusion, and the scan lines of a LiDAR.

ModelNet40-C (Sun, Zhang, Kailkhura, Yu, Xiao and Mao, Benchmarking Robustness of 3D Point Cloud Recognition Against Common
Corruptions, 2022) renders the mesh from such a place, and draws a full number of points anew from what it sees. These are
point-based forms: they have the cloud alone, and leave of it the points that are seen. Theirs are not the numbers of the
benchmark's own files.
"""

import math

import torch
from torch import Tensor

from crvae3d.points.augment import Cloud, CloudTransform, uniform
from crvae3d.points.density import present
from crvae3d.points.thinning import keep_only

FIFTH = 72.0  # degrees: each strength looks from a fifth of the circle of its own
LINE = math.radians(1)  # between two scan lines
CELLS = 1.5  # an edge of the depth buffer, by the square root of the number of points
STEEP = 2.5  # depth by distance across; surfaces steeper than that hide themselves


class Occlude(CloudTransform):
    """The points seen from three units away, 30 to 60 degrees above the horizon.

    Args:
        azimuth: the middle of the fifth of the circle from where it is looked, degrees anticlockwise from y.
    """

    def __init__(self, azimuth: float) -> None:
        self.azimuth = azimuth

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        elevation = uniform((len(points),), 30, 60, points, generator)
        eye = 3 * _towards(_azimuth(self.azimuth, points, generator), elevation)
        return keep_only(points, visible(points, mask, eye))


class Lidar(CloudTransform):
    """The points seen from five units away, 22.5 degrees above the horizon, as far as they lie near a scan line.

    The lines are a degree of the polar angle apart. Points within a quarter of a degree are moved onto theirs; those
    between the lines, half of them, go.

    Args:
        azimuth: as for `Occlude`.
    """

    def __init__(self, azimuth: float) -> None:
        self.azimuth = azimuth

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        azimuth = _azimuth(self.azimuth, points, generator)
        eye = 5 * _towards(azimuth, torch.full_like(azimuth, 22.5))
        ray = points - eye[:, None]
        distance, level = ray.norm(dim=-1), ray[..., :2].norm(dim=-1)
        polar = torch.atan2(level, ray[..., 2])
        line = ((polar / LINE).floor() + 0.5) * LINE
        seen = visible(points, mask, eye)
        kept = seen & ((polar - line).abs() <= LINE / 4)
        kept |= seen & ~kept.any(1, keepdim=True)  # a cloud of a few points may have none near a line
        flat = ray[..., :2] * (distance * line.sin() / level)[..., None]
        onto = torch.cat([flat, (distance * line.cos())[..., None]], dim=-1)
        return keep_only(eye[:, None] + onto, kept)


def _azimuth(middle: float, points: Tensor, generator: torch.Generator | None) -> Tensor:
    return uniform((len(points),), middle - FIFTH / 2, middle + FIFTH / 2, points, generator)


def _towards(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Unit vectors (B, 3) by degrees anticlockwise from y, and above the horizon."""
    turn, rise = azimuth.deg2rad(), elevation.deg2rad()
    return torch.stack([-turn.sin() * rise.cos(), turn.cos() * rise.cos(), rise.sin()], dim=-1)


def visible(points: Tensor, mask: Tensor | None, eye: Tensor) -> Tensor:
    """Which points (B, N) of clouds in the unit sphere are seen from `eye` (B, 3), outside of it and not above its pole.

    A point is hidden where another, up to three and a half cells aside, stands before it by more than `STEEP` times as
    much: a narrow cone towards the eye must be empty. Cells are 0.04 wide for 1,024 points, as wide as a surface as
    large as the sphere's disc needs; what is thinner than a few of them is seen through.
    """
    there = present(points, mask)
    cells = (CELLS * there.sum(1, keepdim=True).sqrt()).ceil()
    index, depth, side = _projected(points, eye, cells)
    buffer = depth.new_full((len(points), side * side), torch.inf)
    buffer = -buffer.scatter_reduce(1, index, depth.masked_fill(~there, torch.inf), "amin").view(-1, 1, side, side)
    seen = there
    for aside in (1, 2, 3):
        nearest = -torch.nn.functional.max_pool2d(buffer, 2 * aside + 1, stride=1, padding=aside)
        behind = depth - nearest.flatten(1).gather(1, index)
        seen = seen & (behind <= STEEP * (aside + 0.5) * 2 / cells)
    return seen


def _projected(points: Tensor, eye: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, int]:
    """Where points (B, N, 3) stand in the square that is seen from the eye (B, 3) with `cells` (B, 1) cells an edge.

    Returns:
        Their cells and their depths, (B, N), and the number of cells that a row is counted with.
    """
    distance = eye.norm(dim=-1, keepdim=True)
    ahead = -eye / distance
    right = torch.linalg.cross(ahead, eye.new_tensor([0.0, 0, 1]).expand_as(ahead))
    right = right / right.norm(dim=-1, keepdim=True)
    ray = points - eye[:, None]
    depth = (ray @ ahead[..., None])[..., 0]
    across = ray @ torch.stack([right, torch.linalg.cross(right, ahead)], dim=-1) * (distance / depth)[..., None]
    place = ((across + 1) / 2 * cells[..., None]).clamp(min=0).minimum(cells[..., None] - 1).long()
    side = int(cells.max())
    return place[..., 0] * side + place[..., 1], depth, side
