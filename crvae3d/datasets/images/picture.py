"""One picture file as pixels: decoded, upright, grey or RGB, cropped about its centre and scaled to a size."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""What the names of pictures end in; a picture itself may be of any of these formats."""

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


class BadPicture(ValueError):
    """The picture cannot be used, for the reason that the message gives."""


def read_picture(content: bytes) -> Image.Image:
    """The picture in a file's bytes, of the mode `L` (grey) or `RGB`; of an animation the first frame.

    It is grey where all of its pixels are. It is turned upright as a camera noted, what is transparent lies on white, and
    16 bits a pixel become 8.

    Raises:
        BadPicture: empty, truncated, damaged, too large, or of another format.
    """
    if not content:
        raise BadPicture("it is empty")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            picture.load()
            return _plain(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise BadPicture(f"it is no picture in one of the formats {', '.join(_FORMATS)}") from None
    except Exception as error:  # Pillow lets errors of many kinds out of a damaged file
        raise BadPicture(f"it is damaged or too large: {error}") from None


def _plain(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # `convert` would clip 16 bits instead of scaling them
        values, clear = np.asarray(picture).clip(0, 65535), picture.info.get("transparency")
        return Image.fromarray((np.where(values == clear, 65535, values) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    channels = np.asarray(picture)  # formats without a grey mode, and palettes, hold greys as well
    return picture.convert("L") if (channels == channels[..., :1]).all() else picture


def as_pixels(picture: Image.Image) -> np.ndarray:
    """uint8 (C, H, W) of a picture of the mode `L` or `RGB`."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@dataclass(frozen=True)
class Fitted:
    """Any picture, cropped about its centre to the proportions of `size` and scaled to it.

    Attributes:
        size: (height, width) in pixels.
    """

    size: tuple[int, int]

    def __call__(self, content: bytes) -> np.ndarray:
        """uint8 (C, H, W) of a file's bytes, C 1 or 3.

        Raises:
            BadPicture: as `read_picture`.
        """
        height, width = self.size
        picture = read_picture(content)
        if picture.size == (width, height):
            return as_pixels(picture)
        return as_pixels(ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR))
