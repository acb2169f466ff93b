"""CelebA, aligned (Liu, Luo, Wang and Tang, Deep learning face attributes in the wild, 2015), at 64 x 64 pixels.

Below the data folder, in `celeba/`, in `CelebA/` or in the folder itself (or there in `Img/` and `Eval/`, as published):
the folder or zip `img_align_celeba` and the official `list_eval_partition.txt`. It cannot be fetched without asking its
authors' page, so that nothing is fetched here.

The middle 148 x 148 of 178 x 218 pixels are scaled to 64 x 64. Others take the crop some pixels lower, or larger: a number
belongs to the crop that it was measured on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from crvae3d.datasets.images.picture import BadPicture, as_pixels, read_picture
from crvae3d.datasets.images.store import ingest_pictures
from crvae3d.datasets.layout import Item
from crvae3d.datasets.sources import list_sources
from crvae3d.datasets.splits import Failure, Splits
from crvae3d.errors import InputError

_PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_PICTURES, _LISTING = "img_align_celeba", "list_eval_partition.txt"
_SPLITS = {"0": "train", "1": "validation", "2": "test"}
_WIDTH, _HEIGHT, _CROP = 178, 218, 148


@dataclass(frozen=True)
class Face:
    """An aligned picture, its middle scaled to `size`, (height, width) in pixels."""

    size: tuple[int, int] = (64, 64)

    def __call__(self, content: bytes) -> np.ndarray:
        """uint8 (3, H, W).

        Raises:
            BadPicture: unreadable, or not of the size that aligned pictures have.
        """
        picture = read_picture(content).convert("RGB")
        if picture.size != (_WIDTH, _HEIGHT):
            raise BadPicture(f"an aligned picture has {_WIDTH} x {_HEIGHT} pixels, this one {picture.size}")
        left, top = (_WIDTH - _CROP) // 2, (_HEIGHT - _CROP) // 2
        middle = picture.crop((left, top, left + _CROP, top + _CROP))
        return as_pixels(middle.resize(self.size[::-1], Image.Resampling.BILINEAR))


def load_celeba(root: Path, download: bool = True, progress: bool = True, jobs: int | None = None) -> Splits:
    """Faces without labels: 162,770 to learn from, 19,867 for validation, 19,962 to test on.

    Read once into the cache, 2.5 GB there, and memory-mapped from then on.

    Args:
        root: the data folder.
        download: taken as for other datasets, and nothing is fetched.
        progress: show a bar while reading.
        jobs: threads that read; None for one a core.

    Raises:
        InputError: pictures or partition are not there, or cannot be used.
    """
    pictures, listing = _found(root, _PICTURES, f"{_PICTURES}.zip"), _found(root, _LISTING)
    if pictures is None or listing is None:
        lacking = f"{_PICTURES}.zip" if pictures is None else _LISTING
        raise InputError(f"celeba64 is not below {root}; fetch {lacking} from {_PAGE} and put it at {root / lacking}")
    sources = {PurePosixPath(source.name).name: source for source in list_sources(pictures, (".jpg",))}
    items, missing = [], []
    for file, split in _partition(listing):
        if file in sources:
            items.append(Item(sources[file], PurePosixPath(file).stem, split=split))
        else:
            missing.append(Failure(file, f"{listing.name} lists it, but it is not there"))
    return ingest_pictures(items, "celeba64", str(pictures), Face(), missing, jobs, progress)


def _found(root: Path, *names: str) -> Path | None:
    tops = (root / "celeba", root / "CelebA", root)
    places = [top / inner / name for top in tops for inner in ("", "Img", "Eval") for name in names]
    return next((place for place in places if place.exists()), None)


def _partition(listing: Path) -> Iterator[tuple[str, str]]:
    """(file, split) of each line."""
    for number, line in enumerate(listing.read_text(errors="replace").splitlines(), 1):
        words = line.split()
        if words and (len(words) != 2 or words[1] not in _SPLITS):
            raise InputError(f"{listing}, line {number}: a file and 0, 1 or 2 were expected, got {line[:60]!r}")
        if words:
            yield words[0], _SPLITS[words[1]]
