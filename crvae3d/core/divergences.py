"""How a view's posterior is tied to its original's, by name: each maps q(z'|t(x)) and q(z|x) to a number per shape.

Three kinds, in the units that each says:

- divergences of two posteriors, nought where they are equal: the paper's KL, its reverse, their mean, 2-Wasserstein;
- priors over the *pair* of codes. Where a bound has KL to p(z) p(z'), they put p(z, z') in its place, which is a bound of
  a model whose pairs of codes are drawn together: E[ log p(z) p(z') - log p(z, z') ], weighted as the rate is;
- contrastive losses of the posterior means (`crvae3d.core.contrastive`).
"""

import math
from collections.abc import Callable

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from crvae3d.core.contrastive import nt_xent, triplet
from crvae3d.core.posteriors import wasserstein2

Divergence = Callable[[Distribution, Distribution], Tensor]


def correlated_prior(view: Distribution, original: Distribution, correlation: float = 0.9) -> Tensor:
    """The pair's codes are drawn with correlation rho: z' ~ N(rho z, 1 - rho^2), nats per shape.

    Cemgil and others, The Autoencoding Variational Autoencoder, 2020 (AVAE; there rho is 0.8 to 0.975). Independent codes,
    rho = 0, give nought. The sum with both rates holds the entropies of both posteriors, which resist collapse.

    Args:
        view, original: diagonal Gaussians over codes (B, D).
        correlation: rho, in [0, 1).
    """
    left = 1 - correlation**2
    apart = (view.mean - correlation * original.mean).square() + view.variance + correlation**2 * original.variance
    alone = view.mean.square() + view.variance
    return 0.5 * (apart / left - alone + math.log(left)).sum(-1)


def shared_mean_prior(view: Distribution, original: Distribution, variance: float = 0.15) -> Tensor:
    """The pair's codes lie around a mean of their own, which has the prior: nats per shape.

    -log p(z, z') = (|z - m|^2 + |z' - m|^2) / 2 s^2 - log p(m) + const, with m = (z + z') / 2: Bizeul, Schoelkopf and
    Allen, A Probabilistic Model Behind Self-Supervised Learning, 2024 (SimVAE), normalised, in closed form.

    Args:
        view, original: diagonal Gaussians over codes (B, D).
        variance: s^2 around the mean.
    """
    spread = view.variance + original.variance
    apart = (view.mean - original.mean).square() + spread
    mean = (view.mean + original.mean).square() / 4 + spread / 4
    alone = view.mean.square() + original.mean.square() + spread
    return 0.5 * (apart / (2 * variance) + mean - alone + math.log(2 * variance)).sum(-1)


DIVERGENCES: dict[str, Divergence] = {
    "kl": lambda view, original: kl_divergence(view, original),
    "reverse": lambda view, original: kl_divergence(original, view),
    "symmetric": lambda view, original: (kl_divergence(view, original) + kl_divergence(original, view)) / 2,
    "wasserstein": wasserstein2,
    "avae": correlated_prior,
    "simvae": shared_mean_prior,
    "triplet": lambda view, original: triplet(view.mean, original.mean),
    "nt-xent": lambda view, original, **options: nt_xent(view.mean, original.mean, **options),
}
"""Nats per shape; squared code units for `wasserstein`, squared distances of unit codes for `triplet`."""

PAIR_PRIORS = ("avae", "simvae")
"""Those that are weighted as the rate is, to stand in for it."""
