"""Slow definitions, written straight from the formulas, in double precision: what the fast code must equal."""

import torch
from torch import Tensor


def chamfer(a: Tensor, b: Tensor) -> Tensor:
    """mean_i min_j |a_i - b_j|^2 + mean_j min_i |a_i - b_j|^2 of two clouds (N, 3) and (M, 3)."""
    squared = torch.tensor([[float(((p - q) ** 2).sum()) for q in b] for p in a], dtype=torch.float64)
    return squared.min(1).values.mean() + squared.min(0).values.mean()


def chamfer_matrix(a: Tensor, b: Tensor) -> Tensor:
    """The same of batches with the whole matrix of differences, in double precision and with gradients through it."""
    squared = (a.double()[:, :, None] - b.double()[:, None]).square().sum(-1)
    return squared.amin(2).mean(1) + squared.amin(1).mean(1)


def gaussian_log_density(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Of every coordinate, from torch's own Normal."""
    return torch.distributions.Normal(mean.double(), deviation.double()).log_prob(x.double())


def fold(fold: torch.nn.Module, codes: Tensor, points: Tensor) -> Tensor:
    """A fold as it is published: the code is copied to every point and concatenated, then one linear layer reads both."""
    weight = torch.cat([fold.of_code.weight, fold.of_point.weight], dim=1)
    both = torch.cat([codes[:, None].expand(-1, points.shape[1], -1), points], dim=-1)
    return fold.rest(torch.nn.functional.linear(both, weight, fold.of_code.bias))
