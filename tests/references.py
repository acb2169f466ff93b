"""Slow definitions, written straight from the formulas, in double precision: what the fast code must equal."""

import math

import torch
from torch import Tensor

from crvae3d.points.neighbourhoods import draw


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


def moments(cloud: Tensor, radii: list[float]) -> Tensor:
    """Mean and covariance around each point of one cloud (N, 3), point by point: (N, 9 R) in double precision."""
    cloud, rows = cloud.double(), []
    for point in cloud:
        found = []
        for radius in radii:
            weights = torch.softmax(-(cloud - point).square().sum(-1) / (2 * radius**2), 0)
            mean = weights @ cloud
            covariance = torch.cov(cloud.T, correction=0, aweights=weights)
            found += [(mean - point) / radius, covariance[tuple(torch.triu_indices(3, 3))] / radius**2]
        rows.append(torch.cat(found))
    return torch.stack(rows)


class PlainPointNet(torch.nn.Module):
    """PointNet as it is published, with the weights of one of ours: every point of every layer, then a dense maximum."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder, self.code_size = encoder, encoder.code_size

    def forward(self, points: Tensor) -> torch.distributions.Distribution:
        return self.encoder.posterior(self.pool(points))

    def pool(self, points: Tensor) -> Tensor:
        if self.encoder.neighbourhoods:
            points = torch.cat([points, self.moments(points)], -1)
        return (
            self.encoder.shared.last(self.encoder.shared.layers(points.flatten(0, 1)))
            .unflatten(0, points.shape[:2])
            .max(1)
            .values
        )

    def moments(self, points: Tensor) -> Tensor:
        """Of the neighbourhoods, from the whole matrix of distances, one softmax and two products a radius.

        A point is weighed against itself, first, and others: all of them, or of a large cloud those drawn.
        """
        others = draw(points)
        others = (
            torch.arange(points.shape[1], device=points.device).expand(points.shape[:2]) if others is None else others
        )
        there = points.take_along_dim(others[..., None], 1)
        squared = torch.cdist(points, there).square()
        squared = squared.scatter(1, others[:, None], torch.inf)
        squared = torch.cat([torch.zeros_like(squared[..., :1]), squared], -1)
        found, upper = [], torch.triu_indices(3, 3)
        for radius in (0.1 * 2**scale for scale in reversed(range(self.encoder.neighbourhoods))):
            weights = torch.softmax(-squared / (2 * radius**2), -1)
            own, weights = weights[..., :1], weights[..., 1:]
            mean = own * points + weights @ there
            square = own * products(points) + weights @ products(there)
            covariance = square - mean[..., upper[0]] * mean[..., upper[1]]
            found += [(mean - points) / radius, covariance / radius**2]
        return torch.cat(found, -1)


def products(of: Tensor) -> Tensor:
    """Of the coordinates with each other, (..., 3) to (..., 6)."""
    rows, columns = torch.triu_indices(3, 3)
    return of[..., rows] * of[..., columns]


class PlainFolding(torch.nn.Module):
    """FoldingNet's decoder as it is published, with the weights of one of ours, judged by the plain chamfer distance."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, codes: Tensor) -> "PlainChamfer":
        points = self.decoder.grid.expand(len(codes), -1, -1)
        for one in self.decoder.folds:
            points = fold(one, codes, points)
        return PlainChamfer(points.float(), self.decoder.log_scale.exp())


class PlainChamfer:
    """The chamfer likelihood with all distances in one matrix and gradients through it."""

    def __init__(self, centres: Tensor, scale: Tensor) -> None:
        self.centres, self.scale = centres, scale

    def log_prob(self, points: Tensor) -> Tensor:
        energy = points.shape[1] * chamfer_cdist(points, self.centres) / (4 * self.scale.square())
        return -energy - 3 * points.shape[1] * (self.scale * math.sqrt(2 * math.pi)).log()


def chamfer_cdist(a: Tensor, b: Tensor) -> Tensor:
    """The chamfer distance as it is mostly written."""
    squared = torch.cdist(a, b).square()
    return squared.amin(2).mean(1) + squared.amin(1).mean(1)


def plain(model: torch.nn.Module) -> torch.nn.Module:
    """The straightforward form of a `VAE` with a PointNet and a folding decoder: the same weights, every trick undone."""
    return type(model)(PlainPointNet(model.encoder), PlainFolding(model.decoder), model.prior)
