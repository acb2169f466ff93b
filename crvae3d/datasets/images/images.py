"""A labelled set of images, in memory or memory-mapped: what every dataset of pictures becomes, as shapes do `Clouds`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from crvae3d.datasets.clouds import Rows
from crvae3d.errors import InputError


@dataclass(frozen=True, eq=False)
class Images(torch.utils.data.Dataset):
    """`S` images of `C` channels, all of one size.

    Attributes:
        pixels: uint8 (S, C, H, W); an intensity is `pixels / 255`. May be a memory map, or rows of one.
        ids: (S,) the images' own names, unique.
        labels: (S,) integers into `class_names`, or None where the images have no labels.
        class_names: (K,) in label order.

    Raises:
        InputError: the arrays have other types or lengths, a name stands twice, or a label has no class.
    """

    pixels: np.ndarray | Rows
    ids: np.ndarray
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8 or 0 in self.pixels.shape[1:]:
            came = f"{self.pixels.dtype} {self.pixels.shape}"
            raise InputError(f"pixels must be uint8 of the shape (images, channels, height, width), got {came}")
        for name in ("ids", "labels"):
            column = getattr(self, name)
            if column is not None and column.shape != (len(self.pixels),):
                raise InputError(
                    f"{name} must have one entry an image: {len(self.pixels)} images, {column.shape} {name}"
                )
        if len(set(self.ids.tolist())) < len(self.ids):
            names, counts = np.unique(self.ids, return_counts=True)
            raise InputError(f"ids must be unique, but {str(names[counts > 1][0])!r} stands more than once")
        if self.labels is not None and len(self.labels):
            self._check_labels()

    def _check_labels(self) -> None:
        low, high, classes = self.labels.min(), self.labels.max(), len(self.class_names)
        if self.labels.dtype.kind not in "iu" or low < 0 or high >= classes:
            raise InputError(f"labels must be integers into the {classes} class names, got {low}..{high}")

    scale = 1 / 255
    """What a stored integer is worth."""

    @property
    def stored(self) -> np.ndarray | Rows:
        """The numbers as they are kept: `pixels`."""
        return self.pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        """The intensities of one image, float32 (C, H, W) in [0, 1]."""
        return self.intensities([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        """The intensities of several images, read at once, each float32 (C, H, W): what a `DataLoader` asks for."""
        return list(self.intensities(indices))

    def intensities(self, indices: Sequence[int] | slice = slice(None)) -> Tensor:
        """The images at `indices`, float32 (B, C, H, W) in [0, 1]."""
        return torch.from_numpy(np.divide(self.pixels[indices], 255, dtype=np.float32))

    def select(self, indices: np.ndarray) -> "Images":
        """The images at `indices` (integers, each once, or a mask), as a set of their own; what is on disk stays there."""
        chosen = np.arange(len(self))[indices]
        if isinstance(self.pixels, Rows):
            pixels = Rows(self.pixels.array, self.pixels.chosen[chosen])
        else:
            pixels = Rows(self.pixels, chosen) if isinstance(self.pixels, np.memmap) else self.pixels[chosen]
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, pixels=pixels, ids=self.ids[chosen], labels=labels)

    def in_channels(self, channels: int) -> "Images":
        """The same images grey (1) or RGB (3): greys three times over, colours as their luminance (ITU-R BT.601).

        Raises:
            InputError: another number is asked for, or there is one.
        """
        known = self.pixels.shape[1]
        if channels == known:
            return self
        if {channels, known} != {1, 3}:
            raise InputError(f"images of {known} channels cannot be brought to {channels}: grey has 1 and RGB 3")
        pixels = np.asarray(self.pixels)
        if channels == 3:
            return replace(self, pixels=pixels.repeat(3, axis=1))
        weights = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
        return replace(self, pixels=np.rint((pixels * weights).sum(1, keepdims=True)).astype(np.uint8))

    def describe(self) -> str:
        """One line: how many images, their size, channels and classes."""
        channels, height, width = self.pixels.shape[1:]
        colour = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
        classes = f", {len(self.class_names)} classes" if self.labels is not None else ", no labels"
        return f"{len(self):,} images of {height} x {width} pixels, {colour}{classes}"


def numbered(
    pixels: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], prefix: str, source: object
) -> Images:
    """Images without names of their own, named by their place in the official file: `train-00000` and on.

    Args:
        pixels: uint8 (S, C, H, W), or (S, H, W) of grey ones.
        labels: (S,) integers.
        class_names: in label order.
        prefix: what stands before the place.
        source: the file that an error names.

    Raises:
        InputError: the arrays do not make a set of images.
    """
    pixels = pixels[:, None] if pixels.ndim == 3 else np.atleast_1d(pixels)
    ids = np.array([f"{prefix}-{place:05d}" for place in range(len(pixels))], dtype=np.str_)
    try:
        return Images(pixels, ids, labels, class_names)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def without_last(images: Images, count: int) -> tuple[Images, Images]:
    """(all but the last `count` images, those): the validation part that a dataset's users agree on.

    Raises:
        InputError: nothing would be left to learn from.
    """
    if not 0 < count < len(images):
        raise InputError(f"the last {count:,} images are for validation, but there are only {len(images):,}")
    places = np.arange(len(images))
    return images.select(places[:-count]), images.select(places[-count:])
