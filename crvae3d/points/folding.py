"""FoldingNet as a decoder: a code bends a fixed template into a cloud, twice.

Yang, Feng, Shen and Tian, FoldingNet, CVPR 2018. The first layer of a fold reads the code z beside each template point
g. Split as W [z; g] = W_z z + W_g g, the code's part is computed once a shape, never once a point.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from crvae3d.errors import InputError, unknown
from crvae3d.points.batch import blocks
from crvae3d.points.gradients import first_derivative
from crvae3d.points.likelihoods import LIKELIHOODS, FoldedPoints
from crvae3d.points.surface import triangles


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
        grid = self._grid(points)
        flat = codes.reshape(-1, self.code_size).to(self.folds[0].of_code.weight.dtype)
        folded = grid.expand(len(flat), -1, -1)
        for fold in self.folds:
            folded = fold(flat, folded)
        whole = torch.promote_types(folded.dtype, torch.float32)
        return folded.to(whole).view(*codes.shape[:-1], len(grid), 3)

    def faces(self, points: int | None = None) -> Tensor:
        """Triangles (F, 3) between the M points of `decode`, the same for every code: with them a cloud is a mesh.

        The sheet is whole: where a shape has a gap, as between the legs of a table, it spans it.

        Raises:
            InputError: the template has no surface, or points is below 1.
        """
        return triangles(self.template, self._grid(points))

    def _grid(self, points: int | None) -> Tensor:
        """The template of so many points."""
        if points is not None and points < 1:
            raise InputError(f"points must be at least 1, got {points}")
        return self.grid if points is None else TEMPLATES[self.template](points).to(self.grid)


class Fold(nn.Module):
    """One fold: codes (B, D) and points (B, M, in) to points (B, M, 3)."""

    def __init__(self, code_size: int, size: int, width: int) -> None:
        super().__init__()
        self.of_code = nn.Linear(code_size, width)
        self.of_point = nn.Linear(size, width, bias=False)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, codes: Tensor, points: Tensor) -> Tensor:
        """`rest(of_point(points) + of_code(codes)[:, None])`, block by block."""
        second, last = self.rest[1], self.rest[3]
        code = self.of_code(codes)
        layers = self.of_point.weight, second.weight, second.bias, last.weight, last.bias
        return _Fold.apply(torch.is_grad_enabled(), code, points.to(code), *layers)


def back_through_relu(grad: Tensor, out: Tensor) -> Tensor:
    """The gradient before a ReLU of which `out` came out, in the place of the gradient after it."""
    return torch.ops.aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad)


def first_layer(code: Tensor, points: Tensor, weight: Tensor) -> Tensor:
    """relu(points W + code), as rows: (B, W), (B, M, in) and (in, W) to (B M, W)."""
    hidden = (points.flatten(0, 1) @ weight).unflatten(0, points.shape[:2])
    return hidden.add_(code[:, None]).relu_().flatten(0, 1)


class _Fold(torch.autograd.Function):
    """A fold after the code's part. All of its layers work on one block while it is in the cache.

    The second hidden layer is kept for the backward; the first, two or three products a number, is made again.
    """

    @staticmethod
    def forward(ctx: object, keep: bool, code: Tensor, points: Tensor, *layers: Tensor) -> Tensor:
        """code (B, W), points (B, M, in), and weight, weight, bias, weight, bias: to (B, M, 3); `keep` for a backward."""
        of_point, second, second_bias, last, last_bias = (layer.to(code.dtype) for layer in layers)
        hidden = code.new_empty(*points.shape[:2], len(second)) if keep else None
        folded = code.new_empty(*points.shape[:2], 3)
        for block in blocks(points, len(second)):
            rows = first_layer(code[block[0]], points[block], of_point.T)
            kept = None if hidden is None else hidden[block].flatten(0, 1)
            rows = torch.mm(rows, second.T, out=kept).add_(second_bias).relu_()
            torch.addmm(last_bias, rows, last.T, out=folded[block].flatten(0, 1))
        ctx.save_for_backward(code, points, of_point, second, last, hidden)
        return folded

    @staticmethod
    @first_derivative
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor | None, ...]:
        code, points, of_point, second, last, hidden = ctx.saved_tensors
        kind = torch.promote_types(code.dtype, torch.float32)  # half precision would lose what it adds up
        of_code, of_points = torch.zeros_like(code, dtype=kind), None
        if ctx.needs_input_grad[2]:
            of_points, by_point = (
                points.new_empty(points.shape),
                of_point.T.contiguous().T,
            )  # a layout with a fast product
        layers = of_point, second, second[:, 0], last, last[:, 0]
        of_layers = [torch.zeros_like(layer, dtype=kind) for layer in layers]
        grad = grad.contiguous()
        for block in blocks(points, len(second)):
            rows, before = points[block].flatten(0, 1), first_layer(code[block[0]], points[block], of_point.T)
            after, above = hidden[block].flatten(0, 1), grad[block].flatten(0, 1)
            middle = back_through_relu(above @ last, after)
            below = back_through_relu(middle @ second, before)
            parts = (rows.T @ below).T, middle.T @ before, middle.sum(0), above.T @ after, above.sum(0)
            for total, part in zip(of_layers, parts, strict=True):
                total += part
            of_code[block[0]] += below.unflatten(0, points[block].shape[:2]).sum(1)
            if of_points is not None:
                torch.mm(below, by_point, out=of_points[block].flatten(0, 1))
        return None, of_code, of_points, *of_layers
