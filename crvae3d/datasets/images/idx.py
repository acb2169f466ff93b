"""The idx format of MNIST (LeCun, Cortes and Burges, 1998), plain or gzipped.

00 00 08 axes           the magic number: 08 says unsigned bytes; 2049 for labels, 2051 for images
size ...                one big-endian 32-bit integer an axis
the bytes, last axis fastest
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from crvae3d.errors import InputError


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The array of an idx file of unsigned bytes, uint8 with so many `axes`.

    Raises:
        InputError: unreadable, another magic number, or not as long as its header says.
    """
    content = _content(path)
    magic, header = 0x0800 + axes, 4 + 4 * axes
    found = int.from_bytes(content[:4], "big")
    if found != magic:
        raise InputError(f"{path} must begin with the magic number {magic} of its kind of idx file, got {found}")
    shape = tuple(int.from_bytes(content[place : place + 4], "big") for place in range(4, header, 4))
    if len(content) != header + math.prod(shape):
        raise InputError(
            f"{path} must have {header + math.prod(shape):,} bytes for its shape {shape}, got {len(content):,}; "
            "fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); fetch it again") from None
