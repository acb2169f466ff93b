"""FoldingNet as a decoder: a code bends a fixed template into a cloud, twice.

Yang, Feng, Shen and Tian, FoldingNet, CVPR 2018. The first layer of a fold reads the code z beside each template point
g. Split as W [z; g] = W_z z + W_g g, the code's part is computed once a shape, never once a point.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from crvae3d.errors import InputError, unknown
from crvae3d.points.likelihoods import LIKELIHOODS, FoldedPoints


def plane(points: int) -> Tensor:
    """(M, 2) points of the square [-1, 1]^2: a grid where M is a square number, else the R2 sequence (Roberts, 2018)."""
    side = math.isqrt(points)
    if side * side == points:
        axis = torch.linspace(-1, 1, side)
        return torch.cartesian_prod(axis, axis)
    plastic = 1.32471795724474602596
    steps = torch.tensor([1 / plastic, 1 / plastic**2], dtype=torch.float64)
    return (2 * ((0.5 + torch.arange(points)[:, None] * steps) % 1) - 1).float()


def sphere(points: int) -> Tensor:
    """(M, 3) points of the unit sphere, evenly spread: the Fibonacci lattice."""
    index = torch.arange(points, dtype=torch.float64) + 0.5
    height = 1 - 2 * index / points
    angle = math.pi * (1 + math.sqrt(5)) * index
    radius = (1 - height.square()).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], dim=-1).float()


def gaussian(points: int) -> Tensor:
    """(M, 3) points of a standard normal, the same ones for every call."""
    return torch.randn(points, 3, generator=torch.Generator().manual_seed(0))


TEMPLATES: dict[str, Callable[[int], Tensor]] = {"plane": plane, "sphere": sphere, "gaussian": gaussian}


class Folding(nn.Module):
    """Decode codes into a likelihood over clouds.

    Args:
        code_size: D.
        points: M, folded points a shape; any other number can be asked for at `decode`.
        width: of the two hidden layers of each fold.
        template: what is folded: a name in `TEMPLATES`.
        likelihood: a name in `LIKELIHOODS`.
        scale: of the likelihood at the start, in units of the cloud.
        learn_scale: whether the training changes it.
    """

    def __init__(
        self,
        code_size: int = 512,
        points: int = 2025,
        width: int = 512,
        template: str = "plane",
        likelihood: str = "chamfer",
        scale: float = 0.05,
        learn_scale: bool = True,
    ) -> None:
        super().__init__()
        if template not in TEMPLATES:
            unknown("template", template, TEMPLATES)
        if likelihood not in LIKELIHOODS:
            unknown("likelihood", likelihood, LIKELIHOODS)
        self.code_size, self.template, self.likelihood = code_size, template, LIKELIHOODS[likelihood]
        self.register_buffer("grid", TEMPLATES[template](points), persistent=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)
        self.folds = nn.ModuleList([Fold(code_size, self.grid.shape[1], width), Fold(code_size, 3, width)])

    def forward(self, codes: Tensor) -> FoldedPoints:
        """The likelihood at codes (..., D), of batch shape (...,)."""
        return self.likelihood(self.decode(codes), self.log_scale.exp())

    def decode(self, codes: Tensor, points: int | None = None) -> Tensor:
        """Fold the template at codes (..., D): (..., M, 3), with `points` for M where given."""
        if points is not None and points < 1:
            raise InputError(f"points must be at least 1, got {points}")
        grid = self.grid if points is None else TEMPLATES[self.template](points).to(self.grid)
        flat = codes.reshape(-1, self.code_size)
        folded = grid.expand(len(flat), -1, -1)
        for fold in self.folds:
            folded = fold(flat, folded)
        return folded.float().view(*codes.shape[:-1], -1, 3)


class Fold(nn.Module):
    """One fold: codes (B, D) and points (B, M, in) to points (B, M, 3)."""

    def __init__(self, code_size: int, size: int, width: int) -> None:
        super().__init__()
        self.of_code = nn.Linear(code_size, width)
        self.of_point = nn.Linear(size, width, bias=False)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, codes: Tensor, points: Tensor) -> Tensor:
        return self.rest(self.of_point(points) + self.of_code(codes)[:, None])
