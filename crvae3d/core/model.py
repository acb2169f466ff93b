"""A variational auto-encoder: an encoder x -> q(z|x), a decoder z -> p(x|z), a prior p(z). Nothing else is assumed.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014. What x is (a cloud, a mesh, an image) only the two networks
know: x goes to `encoder(x)` and comes back in `decoder(z).log_prob(x)`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from crvae3d.core.posteriors import DiagonalGaussian


class VAE(nn.Module):
    """Encoder, decoder and prior, held together.

    Args:
        encoder: a module that maps x to a distribution over codes of batch shape (B,) and event shape (D,), with an
            attribute `code_size`.
        decoder: a module that maps codes (..., D) to a distribution over x of batch shape (...,).
        prior: a distribution over codes, of event shape (D,).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: Distribution) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "VAE":
        """What `to` and its like call: a prior of fixed numbers goes where the weights go."""
        super()._apply(fn, recurse)
        if type(self.prior) is DiagonalGaussian and not self.prior.mean.requires_grad:
            self.prior = DiagonalGaussian(fn(self.prior.loc), fn(self.prior.log_variance))
        return self

    def forward(self, x: object) -> tuple[Distribution, Distribution]:
        """The posterior of x and the likelihood at one sample of it."""
        posterior = self.encoder(x)
        return posterior, self.decoder(posterior.rsample())

    def embed(self, x: object) -> Tensor:
        """The codes of x, (B, D): the posterior means."""
        return self.encoder(x).mean

    def reconstruct(self, x: object) -> Tensor:
        """What the decoder makes of the codes of x: the mean of p(x|z) at the posterior mean."""
        return self.decoder(self.embed(x)).mean

    def penalty(self) -> Tensor:
        """What encoder and decoder ask for their own weights, by their methods `penalty`; a number, nought without one."""
        asked = [part.penalty() for part in (self.encoder, self.decoder) if hasattr(part, "penalty")]
        return sum(asked, torch.zeros(()))
