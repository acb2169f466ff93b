"""Posteriors q(z|x): distribution objects, so that a bound, a sample and a divergence are one call each.

A network returns the mean and the logarithm of the *variance*; the standard deviation is exp(log_variance / 2). The
released code of CR-VAE takes exp(log_variance) for the deviation, which is what this file exists to never do again.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl


class DiagonalGaussian(Distribution):
    """A Gaussian over codes with independent coordinates.

    Args:
        mean: (..., D).
        log_variance: (..., D), natural logarithm.

    >>> q = DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    >>> q.batch_shape, q.event_shape
    (torch.Size([2]), torch.Size([3]))
    >>> torch.distributions.kl_divergence(q, DiagonalGaussian(torch.ones(2, 3), torch.zeros(2, 3)))
    tensor([1.5000, 1.5000])
    """

    arg_constraints = {"mean": constraints.real_vector, "log_variance": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, mean: Tensor, log_variance: Tensor) -> None:
        self.loc, self.log_variance = torch.broadcast_tensors(mean, log_variance)
        # Unchecked: a non-finite value must reach the loss, where the training skips the step and counts it.
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return (self.log_variance / 2).exp()

    @property
    def variance(self) -> Tensor:
        return self.log_variance.exp()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.stddev * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density in nats, summed over the coordinates."""
        log_variance = self.log_variance.to(value)
        squared = (value - self.loc.to(value)).square() * (-log_variance).exp()
        return -0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        return 0.5 * (self.log_variance + 1 + math.log(2 * math.pi)).sum(-1)

    def expand(self, batch_shape: torch.Size, _instance: None = None) -> "DiagonalGaussian":
        shape = torch.Size(batch_shape) + self.event_shape
        return DiagonalGaussian(self.loc.expand(shape), self.log_variance.expand(shape))

    def detach(self) -> "DiagonalGaussian":
        """The same distribution, cut from the graph."""
        return DiagonalGaussian(self.loc.detach(), self.log_variance.detach())


def held(posterior: Distribution) -> Distribution:
    """The same distribution, cut from the graph: its own `detach()` where it has one."""
    if hasattr(posterior, "detach"):
        return posterior.detach()
    found = object.__new__(type(posterior))
    for name, value in vars(posterior).items():
        of_base = held(value) if isinstance(value, Distribution) else value
        vars(found)[name] = value.detach() if isinstance(value, Tensor) else of_base
    return found


def standard_normal(size: int) -> DiagonalGaussian:
    """The prior N(0, I) over codes of the given size."""
    return DiagonalGaussian(torch.zeros(size), torch.zeros(size))


@register_kl(DiagonalGaussian, DiagonalGaussian)
def _kl_between_diagonal_gaussians(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    return kl_per_coordinate(p, q).sum(-1)


def kl_per_coordinate(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    """KL(p || q) of every coordinate in nats, (..., D)."""
    log_variance = q.log_variance.to(p.loc)  # a prior may still lie on another device
    log_ratio = p.log_variance - log_variance
    squared = (p.loc - q.loc.to(p.loc)).square() * (-log_variance).exp()
    return 0.5 * (log_ratio.expm1() - log_ratio + squared)  # which keeps the digits of nearly equal deviations


def wasserstein2(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    """The squared 2-Wasserstein distance between two Gaussians, (...,), in squared units of the code."""
    return ((p.mean - q.mean).square() + (p.stddev - q.stddev).square()).sum(-1)
