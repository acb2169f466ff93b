"""Corruptions that move every point by one map of space: rotations, a shear, and free deformations

    x -> x + sum_j B_j(x) d_j      d_j the displacement of control point j of a 5 x 5 x 5 lattice over [-1, 1]^3

where B are products of Bernstein polynomials (free-form deformation; Sederberg and Parry, 1986) or the functions by which
radial basis functions and an affine part interpolate the displacements. The maps and their constants are ModelNet40-C's
(Sun, Zhang, Kailkhura, Yu, Xiao and Mao, Benchmarking Robustness of 3D Point Cloud Recognition Against Common Corruptions,
2022), written anew; `RotateWithin` is this package's own.
"""

import functools
import math

import torch
from torch import Tensor

from crvae3d.points.augment import Cloud, CloudTransform, normal, uniform

SIDE = 5  # control points along an edge of the lattice
RADIUS = 0.5  # of the radial basis functions


class RotateWithin(CloudTransform):
    """A rotation about an axis of any direction by an angle drawn evenly from [-degrees, degrees]."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        from roma import rotvec_to_rotmat

        axis = torch.nn.functional.normalize(normal((len(points), 3), points, generator), dim=-1)
        angle = uniform((len(points), 1), -1, 1, points, generator) * math.radians(self.degrees)
        return points @ rotvec_to_rotmat(angle * axis).mT, mask


class RotateThrice(CloudTransform):
    """Rotations about x, y and z, each by an angle of `degrees` give or take 2.5, either way round."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        from roma import euler_to_rotmat

        angles = _signed((len(points), 3), self.degrees, 2.5, points, generator)
        return points @ euler_to_rotmat("xyz", angles, degrees=True).mT, mask


class Shear(CloudTransform):
    """x and y each gain both other coordinates, times factors of `amount` give or take 0.05 and of either sign; z stays.

    The determinant is 1 less the product of the two factors between x and y.
    """

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        xy, xz, yx, yz = _signed((len(points), 4, 1), self.amount, 0.05, points, generator).unbind(1)
        x, y, z = points.unbind(-1)
        return torch.stack([x + xy * y + xz * z, y + yx * x + yz * z, z], dim=-1), mask


class FreeForm(CloudTransform):
    """Free-form deformation: each control point moves evenly by up to `amount` of the lattice's edge along every axis."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        edge = 2.0
        move = edge * uniform((len(points), SIDE, SIDE, SIDE, 3), -self.amount, self.amount, points, generator)
        x, y, z = _bernstein((points + 1) / edge).unbind(-2)
        planes = (x[..., :, None] * y[..., None, :]).flatten(2) @ move.flatten(3).flatten(1, 2)
        return points + (planes.unflatten(2, (SIDE, 3)) * z[..., None]).sum(2), mask


class RadialBasis(CloudTransform):
    """Every control point moves by `distance` in a direction drawn evenly, and space between them by interpolation.

    The benchmark's directions favour one axis slightly, by how it draws their angles.

    Args:
        distance: in units of the cloud.
        inverse: interpolate by 1 / sqrt(r^2 + 1/4), which acts more locally, instead of by sqrt(r^2 + 1/4).
    """

    def __init__(self, distance: float, inverse: bool = False) -> None:
        self.distance = distance
        self.inverse = inverse

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        direction = torch.nn.functional.normalize(normal((len(points), SIDE**3, 3), points, generator), dim=-1)
        weights = _interpolation(self.inverse).to(points) @ (self.distance * direction)
        radial, constant, linear = weights.split([SIDE**3, 1, 3], dim=1)
        return points + _radial(points, lattice().to(points), self.inverse) @ radial + constant + points @ linear, mask


def _signed(
    shape: tuple[int, ...], middle: float, spread: float, of: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Numbers of either sign whose sizes are drawn evenly from [middle - spread, middle + spread]."""
    drawn = uniform(shape, -1, 1, of, generator)
    return torch.where(drawn < 0, -1, 1) * (middle + spread * (2 * drawn.abs() - 1))


def lattice() -> Tensor:
    """The control points, (125, 3) float64; the last coordinate changes fastest."""
    line = torch.linspace(-1, 1, SIDE, dtype=torch.float64)
    return torch.cartesian_prod(line, line, line)


def _bernstein(t: Tensor) -> Tensor:
    """The Bernstein polynomials of degree 4 at t in [0, 1]: (...) to (..., 5)."""
    degree = SIDE - 1
    power = torch.arange(SIDE, device=t.device)
    choose = t.new_tensor([math.comb(degree, k) for k in range(SIDE)])
    return choose * t[..., None] ** power * (1 - t[..., None]) ** (degree - power)


def _radial(x: Tensor, centres: Tensor, inverse: bool) -> Tensor:
    """The radial basis functions of (K, 3) centres at (..., N, 3) points, (..., N, K)."""
    # One product gives the squared distances: |x|^2 - 2 x c + |c|^2 + RADIUS^2. It is never near nought.
    left = torch.cat([x, x.square().sum(-1, keepdim=True), torch.ones_like(x[..., :1])], dim=-1)
    square = centres.square().sum(-1, keepdim=True) + RADIUS**2
    squared = left @ torch.cat([-2 * centres, torch.ones_like(square), square], dim=-1).mT
    return squared.rsqrt_() if inverse else squared.sqrt_()


@functools.cache
def _interpolation(inverse: bool) -> Tensor:
    """The weights of radial functions, a constant and three linear ones by displacement: (129, 125) float64.

    Interpolating is linear in what is interpolated, so that one inverse serves every shape.
    """
    points = lattice()
    affine = torch.cat([torch.ones_like(points[:, :1]), points], dim=1)
    upper = torch.cat([_radial(points, points, inverse), affine], dim=1)
    lower = torch.cat([affine.mT, torch.zeros(4, 4, dtype=torch.float64)], dim=1)
    return torch.linalg.inv(torch.cat([upper, lower]))[:, : len(points)]
