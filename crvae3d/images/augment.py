"""Semantics-preserving transformations t(x) of images: batches (B, C, H, W) in [0, 1] to batches of the same form.

Every image is transformed by a draw of its own. A transformation keeps no state: the same generator gives the same views.
Images are warped and coloured by Kornia's operations, which take a batch at once, on any device; the draws are made here,
because Kornia's own augmentations draw from torch's global generator. Kornia is imported where it is first needed, so
that whatever else images are used for does without it.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType

import torch
from torch import Tensor

from crvae3d.errors import InputError


class ImageTransform:
    """A transformation of a batch. Subclasses write `warp`."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Transform a batch.

        Args:
            x: (B, C, H, W) in [0, 1].
            generator: where the randomness comes from, on any device; None for torch's global one.

        Returns:
            (B, C, H, W) in [0, 1], of the same type; x stays as it is.

        Raises:
            InputError: x is no batch of images, or Kornia is needed and absent.
        """
        if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
            came = f"{x.dtype} of the shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"a batch of images is floats of the shape (batch, channels, height, width), got {came}")
        with torch.autocast(x.device.type, enabled=False):  # half of the digits are too few to say where a pixel goes
            return self.warp(x, generator)

    def warp(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Transform images (B, C, H, W), each by a draw of its own."""
        raise TypeError(f"{type(self).__name__} does not say how it warps: write `warp`")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


def uniform(shape: Sequence[int], low: float, high: float, of: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers of [low, high) in single precision, made where the generator is and moved to where `of` is."""
    device = of.device if generator is None else generator.device
    return low + (high - low) * torch.rand(tuple(shape), generator=generator, device=device).to(of.device)


def kornia() -> ModuleType:
    """The module, or an `InputError` that says how to get it."""
    try:
        import kornia
    except ImportError as error:
        raise InputError("this transformation of images needs Kornia: pip install 'crvae3d[images]'") from error
    return kornia


class Compose(ImageTransform):
    """Several transformations, one after the other."""

    def __init__(self, transforms: Sequence[Callable[..., Tensor]]) -> None:
        self.transforms = list(transforms)

    def warp(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        for transform in self.transforms:
            x = transform(x, generator=generator)
        return x

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class Affine(ImageTransform):
    """A rotation and a scaling about the centre, then a shift; bilinear, with black outside. All are drawn evenly.

    The defaults are the milder views of the released code of CR-VAE (Sinha and Dieng, 2021).

    Args:
        degrees: the angle is one of [-degrees, degrees].
        shift: a share of the image's width, and of its height; each is one of [-shift, shift].
        low, high: between these lies the factor, the same for both axes; above 1 magnifies.
    """

    def __init__(self, degrees: float = 15.0, shift: float = 0.05, low: float = 0.9, high: float = 1.1) -> None:
        if not 0 < low <= high:
            raise InputError(f"scale factors must satisfy 0 < low <= high, got {low} and {high}")
        if degrees < 0 or shift < 0:
            raise InputError(f"degrees and shift are half-widths of a range, 0 or more, got {degrees} and {shift}")
        self.degrees = degrees
        self.shift = shift
        self.low = low
        self.high = high

    def warp(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        geometry = kornia().geometry.transform
        drawn = uniform((len(x), 4), -1, 1, x, generator)
        size = drawn.new_tensor([x.shape[-1], x.shape[-2]])
        factor = (self.low + self.high + (self.high - self.low) * drawn[:, 3:]) / 2
        centre = ((size - 1) / 2).expand(len(x), 2)
        matrix = geometry.get_rotation_matrix2d(centre, self.degrees * drawn[:, 0], factor.expand(-1, 2))
        shift = self.shift * size * drawn[:, 1:3]
        matrix = torch.cat([matrix[..., :2], matrix[..., 2:] + shift[..., None]], dim=-1)
        precision = torch.promote_types(x.dtype, torch.float32)  # a half has too few digits for a place
        warped = geometry.warp_affine(x.to(precision), matrix.to(precision), x.shape[-2:])
        return warped.clamp(0, 1).to(x)


class HorizontalFlip(ImageTransform):
    """Left and right change places, with the given probability."""

    def __init__(self, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"probability must lie in [0, 1], got {probability}; 0.5 flips every other image")
        self.probability = probability

    def warp(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        flipped = uniform((len(x), 1, 1, 1), 0, 1, x, generator) < self.probability
        return torch.where(flipped, x.flip(-1), x)


class ColourJitter(ImageTransform):
    """Brightness, contrast, saturation and hue change, in this order. The first three are factors of [1 - a, 1 + a].

    A factor blends the image with black (brightness), with its mean grey (contrast) or with itself in grey (saturation).
    The defaults are those of SimCLR at strength 0.5 (Chen and others, A Simple Framework for Contrastive Learning of Visual
    Representations, 2020). In grey images only brightness and contrast change.

    Args:
        brightness, contrast, saturation: a, in [0, 1]; 0 leaves it as it is.
        hue: the hue turns by a share of the colour circle of [-hue, hue]; at most 0.5.
    """

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.1
    ) -> None:
        if not all(0 <= amount <= 1 for amount in (brightness, contrast, saturation)):
            raise InputError(
                f"brightness, contrast and saturation must lie in [0, 1], got {brightness}, {contrast} and {saturation}"
            )
        if not 0 <= hue <= 0.5:
            raise InputError(f"hue must lie in [0, 0.5], got {hue}; 0.5 draws from the whole circle")
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def warp(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if x.shape[1] not in (1, 3):
            raise InputError(f"colours are known of images with 1 or 3 channels, got {x.shape[1]}")
        enhance = kornia().enhance
        drawn, coloured = uniform((len(x), 4), -1, 1, x, generator).to(x), x.shape[1] == 3
        if self.brightness:
            x = enhance.adjust_brightness_accumulative(x, 1 + self.brightness * drawn[:, 0])
        if self.contrast:
            x = enhance.adjust_contrast_with_mean_subtraction(x, 1 + self.contrast * drawn[:, 1])
        if self.saturation and coloured:
            x = enhance.adjust_saturation_with_gray_subtraction(x, 1 + self.saturation * drawn[:, 2])
        if self.hue and coloured:
            x = enhance.adjust_hue(x, 2 * math.pi * self.hue * drawn[:, 3]).clamp(0, 1)
        return x


class Binarise(ImageTransform):
    """Every grey value becomes 1 with itself as the probability, else 0: dynamic binarisation.

    Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016, binarise so anew in every epoch.
    """

    def warp(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return (uniform(x.shape, 0, 1, x, generator) < x).to(x)
