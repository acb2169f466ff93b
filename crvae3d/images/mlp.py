"""Flat networks: pixels as one long vector, a few wide layers, a Gaussian posterior; and the way back.

Three layers of 1,000, as in the released code of Sinha and Dieng, Consistency Regularization for Variational
Auto-Encoders, 2021. The layers' ReLU is a leaky one (Maas and others, Rectifier Nonlinearities Improve Neural Network
Acoustic Models, 2013): as cheap, and no unit is ever without a gradient, where no norm would bring a dead one to life.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import InputError

SLOPE = 0.2  # of the leaky ReLU below nought
WIDTHS = (1000, 1000, 1000)

Shape = tuple[int, int, int]
"""(C, H, W)."""


class FlatEncoder(nn.Module):
    """A network of images, then a linear layer to Gaussian posteriors: what all encoders with one group of codes share.

    Args:
        shape: (C, H, W) of the images.
        network: maps images (B, C, H, W) to features (B, F).
        features: F.
        code_size: D.
    """

    def __init__(self, shape: Shape, network: nn.Module, features: int, code_size: int) -> None:
        super().__init__()
        self.shape, self.code_size = tuple(shape), code_size
        self.network = network
        self.head = nn.Linear(features, 2 * code_size)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """The posterior of each image (B, C, H, W): batch shape (B,), event shape (D,)."""
        return self.posterior(self.pool(x))

    def posterior(self, pooled: Tensor) -> DiagonalGaussian:
        """The posterior of each image from its features (B, F)."""
        found = self.head(pooled)
        mean, log_variance = found.to(torch.promote_types(found.dtype, torch.float32)).chunk(2, dim=-1)
        return DiagonalGaussian(mean, log_variance)

    def pool(self, x: Tensor) -> Tensor:
        """The features before the head, (B, F).

        Raises:
            InputError: x is no batch of floats of the encoder's shape.
        """
        return self.network(checked(x, self.shape).to(self.head.weight.dtype))


class FlatDecoder(nn.Module):
    """A network of codes, then a likelihood of images.

    Args:
        network: maps codes (N, D) to output (N, head.outputs, H, W).
        head: maps output (..., head.outputs, H, W) to a distribution: made by an entry of `likelihoods.LIKELIHOODS`.
    """

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, codes: Tensor) -> Distribution:
        """The likelihood at codes (..., D), of batch shape (...,)."""
        weight = next(self.network.parameters())
        output = self.network(codes.reshape(-1, codes.shape[-1]).to(weight.dtype))
        return self.head(output.view(*codes.shape[:-1], *output.shape[1:]))


def checked(x: object, shape: Shape) -> Tensor:
    """A batch of images as it is.

    Raises:
        InputError: x is no batch (B, C, H, W) of floats with the shape (C, H, W).
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or tuple(x.shape[1:]) != shape:
        came, advice = type(x).__name__, "; make a tensor of it with torch.as_tensor"
        if isinstance(x, Tensor):
            came, advice = tuple(x.shape), "; use x[None] for one image" if x.ndim == 3 else ""
        raise InputError(f"a batch of images has the shape (batch, {', '.join(map(str, shape))}), got {came}{advice}")
    if not x.is_floating_point():
        raise InputError(f"images are floats in [0, 1], got {x.dtype}; divide 8-bit ones by 255")
    return x


class MLPEncoder(FlatEncoder):
    """Encode a batch of images into Gaussian posteriors.

    Args:
        shape: (C, H, W).
        code_size: D.
        widths: of the hidden layers; the last is the number F of pooled features.
    """

    def __init__(self, shape: Shape, code_size: int = 50, widths: tuple[int, ...] = WIDTHS) -> None:
        network = nn.Sequential(nn.Flatten(), *hidden(math.prod(shape), widths))
        super().__init__(shape, network, widths[-1], code_size)


class MLPDecoder(FlatDecoder):
    """Decode codes into a likelihood of images.

    Args:
        shape: (C, H, W).
        head: what reads the last layer's output.
        code_size: D.
        widths: the encoder's, which are taken in reverse.
    """

    def __init__(self, shape: Shape, head: nn.Module, code_size: int = 50, widths: tuple[int, ...] = WIDTHS) -> None:
        size = head.outputs, *shape[1:]
        layers = [*hidden(code_size, tuple(reversed(widths))), nn.Linear(widths[0], math.prod(size))]
        super().__init__(nn.Sequential(*layers, nn.Unflatten(1, size)), head)


def hidden(size: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers from `size` numbers to widths[-1], each with its leaky ReLU."""
    found: list[nn.Module] = []
    for before, width in zip((size, *widths), widths, strict=False):
        found += [nn.Linear(before, width), nn.LeakyReLU(SLOPE)]
    return found
