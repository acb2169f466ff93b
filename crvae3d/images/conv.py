"""Convolutional networks: every layer halves an image's sides, or doubles them on the way back.

4 x 4 convolutions of stride 2 without pooling, as in DCGAN (Radford, Metz and Chintala, Unsupervised Representation
Learning with Deep Convolutional Generative Adversarial Networks, 2016), with the 128, 256, 512 and 1,024 channels of the
released code of CR-VAE (Sinha and Dieng, 2021). Odd sides are padded by one before they are halved, and what that added is
cropped on the way back, so that images of any size come back as they were: 28, 14, 7, 4, 2 and 2, 4, 7, 14, 28.

The norm is a group norm (Wu and He, 2018) unless said otherwise. A batch norm, too, gives an image the posterior that it
has alone once the training is over; but during it an image and its view are encoded in two batches, and a divergence
between the two posteriors would also measure how the statistics of these batches differ.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import pad

from crvae3d.errors import unknown
from crvae3d.images.mlp import SLOPE, FlatDecoder, FlatEncoder, Shape

WIDTHS = (128, 256, 512, 1024)
GROUP = 16  # channels: of the two settings that Wu and He recommend the one that suits few channels


def group_norm(width: int) -> nn.GroupNorm:
    """Groups of `GROUP` channels, or of as few more as divide the width."""
    return nn.GroupNorm(math.gcd(width, max(1, width // GROUP)), width)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": group_norm,
    "batch": nn.BatchNorm2d,
    "none": lambda width: nn.Identity(),
}


class ConvEncoder(FlatEncoder):
    """Encode a batch of images into Gaussian posteriors.

    Args:
        shape: (C, H, W).
        code_size: D.
        widths: channels after each halving. The pooled features are all that is left after the last, widths[-1] times
            the number of places: 4 for sides of 28 and four widths, 16 for sides of 64.
        norm: after each layer but that of the posterior: a name in `NORMS`.
    """

    def __init__(
        self, shape: Shape, code_size: int = 50, widths: tuple[int, ...] = WIDTHS, norm: str = "group"
    ) -> None:
        if norm not in NORMS:
            unknown("norm", norm, NORMS)
        layers: list[nn.Module] = []
        for before, width in zip((shape[0], *widths), widths, strict=False):
            layers += [Halve(before, width, bias=norm == "none"), NORMS[norm](width), nn.LeakyReLU(SLOPE)]
        features = widths[-1] * math.prod(sizes(shape, len(widths))[-1])
        super().__init__(shape, nn.Sequential(*layers, nn.Flatten()), features, code_size)


class ConvDecoder(FlatDecoder):
    """Decode codes into a likelihood of images: the encoder's layers in reverse.

    Args:
        shape: (C, H, W).
        head: what reads the last layer's output.
        code_size: D.
        widths: the encoder's: channels from the finest to the coarsest.
        norm: a name in `NORMS`.
    """

    def __init__(
        self,
        shape: Shape,
        head: nn.Module,
        code_size: int = 50,
        widths: tuple[int, ...] = WIDTHS,
        norm: str = "group",
    ) -> None:
        if norm not in NORMS:
            unknown("norm", norm, NORMS)
        *finer, coarsest = sizes(shape, len(widths))
        first = widths[-1], *coarsest
        layers: list[nn.Module] = [nn.Linear(code_size, math.prod(first)), nn.Unflatten(1, first)]
        for level, after in reversed(list(enumerate((head.outputs, *widths[:-1])))):
            bias = norm == "none" or level == 0  # before a norm, which shifts as well, it would be one too many
            double = Double(widths[level], after, finer[level], bias)
            layers += [NORMS[norm](widths[level]), nn.LeakyReLU(SLOPE), double]
        super().__init__(nn.Sequential(*layers), head)


class Halve(nn.Module):
    """A convolution that maps (B, before, H, W) to (B, width, H / 2, W / 2), rounded up."""

    def __init__(self, before: int, width: int, bias: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, width, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)))


class Double(nn.Module):
    """A transposed convolution that maps (B, before, H, W) to (B, width, 2 H, 2 W), cropped to `size`."""

    def __init__(self, before: int, width: int, size: tuple[int, int], bias: bool) -> None:
        super().__init__()
        self.convolution, self.size = nn.ConvTranspose2d(before, width, 4, stride=2, padding=1, bias=bias), size

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x)[..., : self.size[0], : self.size[1]]


def sizes(shape: Shape, halvings: int) -> list[tuple[int, int]]:
    """(H, W), and what is left of it after each halving.

    >>> sizes((1, 28, 20), 3)
    [(28, 20), (14, 10), (7, 5), (4, 3)]
    """
    found = [(shape[1], shape[2])]
    for _ in range(halvings):
        height, width = found[-1]
        found.append(((height + 1) // 2, (width + 1) // 2))
    return found
