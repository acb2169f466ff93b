"""Bounds on the log evidence of a shape, as functions of distributions. All terms are nats per shape.

    ELBO       log p(x) >= E_q[ log p(x|z) ] - KL( q(z|x) || p(z) )                        Kingma and Welling, 2014
    beta-ELBO  the same with the KL weighted by beta                                       Higgins and others, 2017
    IWAE       log p(x) >= E[ log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) ]                   Burda and others, 2016

Beside them stand two that are no bounds: an auto-encoder, and none at all.

The distortion is -E_q[ log p(x|z) ], the rate is KL( q(z|x) || p(z) ). Both are summed over the event by the distributions
themselves and averaged over the batch in one place, `Terms.loss`: reducing them differently changes beta unseen.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from crvae3d.core.hierarchy import balanced, kl_groups, sample_of
from crvae3d.core.model import VAE
from crvae3d.core.schedules import Schedule, check, final, value_at
from crvae3d.errors import InputError, unknown


@dataclass(frozen=True, eq=False)
class Terms:
    """What an objective says of a batch.

    Attributes:
        per_shape: (B,) what is minimised, nats per shape.
        named: the terms it is made of, each (B,), in nats unless the name's objective says otherwise.
        posterior: q(z|x), so that nothing is encoded twice.
    """

    per_shape: Tensor
    named: dict[str, Tensor]
    posterior: Distribution = field(repr=False)

    @property
    def loss(self) -> Tensor:
        """The mean over the batch of what is minimised: the only reduction over shapes."""
        return self.per_shape.mean()


@dataclass(frozen=True)
class ELBO:
    """The negative (beta-)ELBO, with one sample of the posterior.

    Args:
        beta: weight of the rate, a number or a schedule; 1 for the ELBO.
        balance: while beta is below its final value, what is weighted is the rate as `balanced` between the groups of the
            code; a code of one group has nothing to balance.
    """

    beta: Schedule = 1.0
    balance: bool = False

    def __post_init__(self) -> None:
        check("beta", self.beta)

    def __call__(self, model: VAE, x: object, target: object = None, progress: float | Tensor = 1.0) -> Terms:
        """Encode `x`, decode it, and judge the decoder by `target` (`x` itself where None)."""
        posterior = model.encoder(x)
        distortion = -model.decoder(posterior.rsample()).log_prob(x if target is None else target)
        groups, beta = kl_groups(posterior, model.prior), value_at(self.beta, progress)
        rate = weighted = groups.sum(0)
        if self.balance and len(groups) > 1:
            warming = beta < final(self.beta)
            if isinstance(warming, Tensor):  # on a GPU, which is not asked
                weighted = torch.where(warming, balanced(groups, posterior.sizes), rate)
            elif warming:
                weighted = balanced(groups, posterior.sizes)
        return Terms(distortion + beta * weighted, {"distortion": distortion, "rate": rate}, posterior)


GRADIENTS = ("all", "one")


@dataclass(frozen=True)
class IWAE:
    """The negative importance-weighted bound with `samples` samples of the posterior; 1 sample is the ELBO.

    Args:
        samples: K, at least 1. The decoder is run K times a shape.
        gradient: through all K samples; or through one, drawn by its weight, which has the same expectation, costs about
            two thirds of the time at K = 50, and varies more (Burda and others, section 3).
    """

    samples: int = 5
    gradient: str = "all"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples must be at least 1, got {self.samples}; the paper takes 5 and 50")
        if self.gradient not in GRADIENTS:
            unknown("gradient", self.gradient, GRADIENTS)

    def __call__(self, model: VAE, x: object, target: object = None, progress: float | Tensor = 1.0) -> Terms:
        """Encode `x`, decode it K times, and judge the decoder by `target` (`x` itself where None)."""
        posterior, target = model.encoder(x), x if target is None else target
        codes = posterior.rsample(torch.Size([self.samples]))
        with torch.set_grad_enabled(self.gradient == "all" and torch.is_grad_enabled()):
            log_likelihood, log_ratio = _log_weights(model, posterior, codes, target)
            bound = torch.logsumexp(log_likelihood + log_ratio, dim=0) - math.log(self.samples)
        named = {"distortion": -log_likelihood.mean(0), "rate": -log_ratio.mean(0), "bound": bound}
        if self.gradient == "one":
            one = _drawn(log_likelihood + log_ratio)
            weight = sum(_log_weights(model, posterior, sample_of(codes, one), target))
            bound = bound + (weight - weight.detach())
        return Terms(-bound, named, posterior)


def _log_weights(model: VAE, posterior: Distribution, codes: object, target: object) -> tuple[Tensor, Tensor]:
    """log p(x|z) and log p(z) / q(z|x) of codes, each of the codes' batch shape, nats."""
    return model.decoder(codes).log_prob(target), model.prior.log_prob(codes) - posterior.log_prob(codes)


def _drawn(log_weights: Tensor) -> Tensor:
    """Which of K samples, (K, B) to (B,), drawn by their weights; by Gumbel's maximum, which bears what is not finite."""
    return (log_weights - torch.empty_like(log_weights).exponential_().log()).argmax(0)


@dataclass(frozen=True)
class Autoencoder:
    """The distortion at the posterior mean, and no rate: a deterministic auto-encoder, the control without a prior."""

    def __call__(self, model: VAE, x: object, target: object = None, progress: float | Tensor = 1.0) -> Terms:
        """Encode `x`, decode its mean, and judge the decoder by `target` (`x` itself where None)."""
        posterior = model.encoder(x)
        distortion = -model.decoder(posterior.mean).log_prob(x if target is None else target)
        return Terms(distortion, {"distortion": distortion}, posterior)


@dataclass(frozen=True)
class EncoderOnly:
    """No bound: the decoder stays as it is, and what trains the encoder is the regulariser that wraps this."""

    def __call__(self, model: VAE, x: object, target: object = None, progress: float | Tensor = 1.0) -> Terms:
        """Encode `x`; nothing is decoded."""
        posterior = model.encoder(x)
        return Terms(torch.zeros(posterior.batch_shape, device=posterior.mean.device), {}, posterior)


Objective = ELBO | IWAE | Autoencoder | EncoderOnly
