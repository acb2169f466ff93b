"""The control without any network on images: the pixels themselves."""

import torch
from torch import Tensor, nn

from crvae3d.core.posteriors import DiagonalGaussian


class PixelCodes(nn.Module):
    """Every pixel of an image as its code: judged as an encoder is, by `encode`.

    Its posterior is a point, and the features before it are the same numbers.
    """

    @property
    def encoder(self) -> "PixelCodes":
        """Itself."""
        return self

    def pool(self, x: Tensor) -> Tensor:
        """The pixels of a batch (B, C, H, W) in one row an image."""
        return x.flatten(1)

    def posterior(self, pooled: Tensor) -> DiagonalGaussian:
        """The codes without any spread."""
        return DiagonalGaussian(pooled, torch.full_like(pooled, -torch.inf))

    def forward(self, x: Tensor) -> DiagonalGaussian:
        return self.posterior(self.pool(x))
