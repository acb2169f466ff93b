"""Two likelihoods of a cloud, given the points that the decoder folded.

    Chamfer   log p(x|z) = -N chamfer(x, c) / (4 s^2) - 3 N log( s sqrt(2 pi) )
    Mixture   log p(x|z) = sum_n log 1/M sum_m Normal(x_n; c_m, s^2 I)

`Mixture` is a normalised density of the N observed points, so that its ELBO and its test log-likelihood are true
numbers. `Chamfer` is the field's usual energy (FoldingNet, Yang and others, 2018) on the same scale: the mean over both
directions of what the mixture becomes when each point takes its nearest centre for sure. It is not normalised over x.
The scale s is learnt with the decoder, as in sigma-VAE (Rybkin and others, 2021), or fixed.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.checkpoint import checkpoint

from crvae3d.points.batch import blocks, dense
from crvae3d.points.chamfer import chamfer_distance

PAIRS_AT_ONCE = 2**22
LEAST_POWER = -100.0  # of two, beside the largest kernel of a point: 1e-30 of it, which no sum sees


class FoldedPoints(Distribution):
    """What both likelihoods share: folded points (..., M, 3) and a scale, both of any batch shape.

    Args:
        centres: (..., M, 3).
        scale: standard deviation around a centre, in units of the cloud; a number or a scalar tensor.

    Attributes:
        normalised: whether `log_prob` is the logarithm of a density of the observed points, which integrates to one.
    """

    arg_constraints: dict = {}
    normalised: bool = False

    def __init__(self, centres: Tensor, scale: Tensor | float) -> None:
        self.centres = centres
        self.scale = torch.as_tensor(scale, dtype=centres.dtype, device=centres.device)
        super().__init__(centres.shape[:-2], centres.shape[-2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The folded points, (..., M, 3): the reconstruction."""
        return self.centres

    def log_prob(self, value: object) -> Tensor:
        """The log-likelihood of clouds, in nats per shape, of this distribution's batch shape.

        Args:
            value: a batch of clouds (B, N, 3) or `Ragged`, where the batch shape is (B,) or (K, B).
        """
        points, mask = dense(value)
        points = points.expand(*self.batch_shape, *points.shape[-2:]).flatten(0, -3)
        mask = None if mask is None else mask.expand(*self.batch_shape, mask.shape[-1]).flatten(0, -2)
        return self._log_prob(points, mask, self.centres.flatten(0, -3)).reshape(self.batch_shape)

    def _log_prob(self, points: Tensor, mask: Tensor | None, centres: Tensor) -> Tensor:
        raise TypeError("FoldedPoints is abstract: use Chamfer or Mixture")

    def _log_normaliser(self, size: Tensor | int) -> Tensor:
        """The logarithm of what a Gaussian of this scale is divided by, over `size` points in three dimensions."""
        return 3 * size * (self.scale.log() + math.log(2 * math.pi) / 2)


class Chamfer(FoldedPoints):
    """The chamfer energy with a scale; `log_prob` is comparable between models of one number of points only."""

    def _log_prob(self, points: Tensor, mask: Tensor | None, centres: Tensor) -> Tensor:
        size = points.shape[1] if mask is None else mask.sum(-1)
        energy = size * chamfer_distance(points, centres, mask_a=mask) / (4 * self.scale.square())
        return -energy - self._log_normaliser(size)


class Mixture(FoldedPoints):
    """Every observed point is drawn from an equal mixture of Gaussians around the folded points."""

    normalised = True

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """One point for each centre on average, (..., M, 3): draw a centre, then around it."""
        shape = self._extended_shape(sample_shape)
        centres = self.centres.expand(shape)
        chosen = torch.randint(shape[-2], shape[:-1], device=centres.device)[..., None].expand(shape)
        return centres.gather(-2, chosen) + self.scale * torch.randn(shape, device=centres.device)

    def _log_prob(self, points: Tensor, mask: Tensor | None, centres: Tensor) -> Tensor:
        log_kernel = _log_mean_kernels(points, centres, self.scale)
        if mask is not None:
            log_kernel = torch.where(mask, log_kernel, 0)
        size = points.shape[1] if mask is None else mask.sum(-1)
        return log_kernel.sum(-1) - self._log_normaliser(size)


def _log_mean_kernels(points: Tensor, centres: Tensor, scale: Tensor) -> Tensor:
    """`_log_mean_kernel` with a bounded number of pairs in memory at once, whether or not it is differentiated."""
    if not (torch.is_grad_enabled() and any(part.requires_grad for part in (points, centres, scale))):
        return _log_mean_kernels_in_place(points, centres, scale)
    rows = max(1, PAIRS_AT_ONCE // max(1, len(points) * centres.shape[1]))
    parts = [
        checkpoint(_log_mean_kernel, part, centres, scale, use_reentrant=False, preserve_rng_state=False)
        for part in points.split(rows, dim=1)
    ]
    return torch.cat(parts, dim=1)


def _log_mean_kernel(points: Tensor, centres: Tensor, scale: Tensor) -> Tensor:
    """log 1/M sum_m exp( -|x_n - c_m|^2 / 2 s^2 ), (B, N)."""
    squared = sum((points[..., axis, None] - centres[:, None, :, axis]).square() for axis in range(3))
    return torch.logsumexp(-squared / (2 * scale.square()), dim=-1) - math.log(centres.shape[1])


@torch.no_grad()
def _log_mean_kernels_in_place(points: Tensor, centres: Tensor, scale: Tensor) -> Tensor:
    """The same without a gradient, 4 to 15 times as fast: in two arrays that stay in the cache, and in powers of two.

    Most centres are so far from a point that their kernel is too small for a normal number, and such exponentials take
    a CPU ten times as long as others; here they are replaced by a number that is as little seen in the sum.
    """
    power = 1 / (2 * math.log(2) * scale.square())  # the kernel is 2 to the minus `power` times squared distance
    centres = centres.mT.contiguous()[:, :, None]
    found = torch.empty(points.shape[:2], dtype=torch.result_type(points, centres), device=points.device)
    for block in blocks(points, 8 * centres.shape[-1]):
        part, coordinates = points[block], centres[block[0]]
        squared = (part[..., 0, None] - coordinates[:, 0]).square_()
        difference = torch.empty_like(squared)
        for axis in (1, 2):
            torch.sub(part[..., axis, None], coordinates[:, axis], out=difference)
            squared.addcmul_(difference, difference)
        least = squared.amin(-1, keepdim=True)
        kernel = torch.sub(least, squared, out=difference).mul_(power).clamp_(min=LEAST_POWER).exp2_()
        found[block] = kernel.sum(-1).log2_() - power * least[..., 0]
    return math.log(2) * found - math.log(centres.shape[-1])


LIKELIHOODS = {"chamfer": Chamfer, "mixture": Mixture}
