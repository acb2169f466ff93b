"""Rows of images as one PNG: originals above what models make of them, and samples."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

GAP = 2
PAPER = 255
LEAST_SIDE = 56  # pixels of a drawn image: small ones are enlarged by a whole factor, so that no pixel blurs


def picture_rows(rows: Mapping[str, np.ndarray]) -> bytes:
    """Images in rows, as a PNG file's bytes; what the rows are called is for the text beside it.

    Args:
        rows: by name, (R, C, H, W) in [0, 1] with one or three channels; all rows of one form. Numbers outside are
            clipped, those that are not finite are black.

    Raises:
        ValueError: rows differ in form.
    """
    from PIL import Image

    forms = {images.shape for images in rows.values()}
    if len(forms) != 1:
        raise ValueError(f"all rows must have the same shape (images, channels, height, width), got {sorted(forms)}")
    height, width = next(iter(forms))[2:]
    factor = max(1, -(-LEAST_SIDE // max(height, width)))
    strips = [np.concatenate([_framed(image, factor) for image in images], axis=1) for images in rows.values()]
    out = BytesIO()
    Image.fromarray(np.concatenate(strips)).save(out, "PNG", optimize=True)
    return out.getvalue()


def write_picture(path: Path | str, rows: Mapping[str, np.ndarray]) -> Path:
    """Write `picture_rows(rows)`; missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture_rows(rows))
    return path


def _framed(image: np.ndarray, factor: int) -> np.ndarray:
    """One image (C, H, W) as bytes (H', W', 3), enlarged, with a margin to its right and below."""
    numbers = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    colours = np.broadcast_to(numbers, (3, *numbers.shape[1:])).transpose(1, 2, 0)
    large = colours.repeat(factor, 0).repeat(factor, 1)
    return np.pad(large, ((0, GAP), (0, GAP), (0, 0)), constant_values=PAPER)
