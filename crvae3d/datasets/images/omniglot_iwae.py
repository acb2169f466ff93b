"""OMNIGLOT as Burda, Grosse and Salakhutdinov cut it (Importance weighted autoencoders, 2016): `chardata.mat`.

Numbers in nats on OMNIGLOT are mostly of this version, whose split and filtering differ from Lake's release. Columns are
images, 784 intensities in [0, 1], column by column:

    data, testdata                  (784, S)
    target, testtarget              (50, S), 1 where the image is of the alphabet
    targetchar, testtargetchar      (1, S), which character of the alphabet
"""

from pathlib import Path

import numpy as np

from crvae3d.datasets.fetch import Download, fetch
from crvae3d.datasets.images.arrays import read_mat
from crvae3d.datasets.images.images import Images, numbered, without_last
from crvae3d.datasets.splits import Splits
from crvae3d.errors import InputError

# No checksum: we know of no independent record of one. The file is checked as it is read, which runs nothing in it.
DOWNLOAD = Download("https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat", "chardata.mat")
_KEYS = {"train": ("data", "target"), "test": ("testdata", "testtarget")}


def load_omniglot_iwae(root: Path, download: bool = True, progress: bool = True, validation: int = 1_345) -> Splits:
    """Grey characters of 28 x 28 pixels: 23,000 to learn from, 1,345 for validation, 8,070 to test on.

    Intensities are rounded to 255 steps. The file does not name its alphabets: the classes are `alphabet 1` and on.

    Args:
        root: the data folder.
        download: False never touches the network.
        progress: show a bar while fetching.
        validation: how many of the last training images are set apart.

    Raises:
        InputError: the file is not there and cannot be fetched, or cannot be used.
    """
    places = [folder / DOWNLOAD.file for folder in (root / "omniglot", root)]
    path = next((place for place in places if place.is_file()), None)
    if path is None and not download:
        raise InputError(f"omniglot-iwae is not below {root}; fetch {DOWNLOAD.url} and put it at {places[0]}")
    keys = [key for keys in _KEYS.values() for key in keys]
    arrays = read_mat(path, keys) if path else _fetched(root / "omniglot", keys, progress)
    train, test = (_part(arrays[pixels], arrays[target], split, path) for split, (pixels, target) in _KEYS.items())
    train, held = without_last(train, validation)
    return Splits(train, test, "omniglot-iwae", str(path), validation=held)


def _fetched(folder: Path, keys: list[str], progress: bool) -> dict[str, np.ndarray]:
    """What a download holds; one that cannot be read, such as the page of a network that asks for a login, is not kept."""
    path = fetch(DOWNLOAD, folder, progress=progress)
    try:
        return read_mat(path, keys)
    except InputError:
        path.unlink()
        raise


def _part(columns: np.ndarray, target: np.ndarray, split: str, path: Path) -> Images:
    if columns.dtype.kind != "f" or columns.ndim != 2 or len(columns) != 28 * 28:
        raise InputError(f"{path}: the images must be real numbers (784, images), got {columns.dtype} {columns.shape}")
    if not (columns.min() >= 0 and columns.max() <= 1):
        raise InputError(f"{path}: intensities must lie in [0, 1], got {columns.min()}..{columns.max()}")
    if target.ndim != 2 or target.shape[1] != columns.shape[1] or not ((target != 0).sum(axis=0) == 1).all():
        raise InputError(f"{path}: each image must have one alphabet in the target, got the shape {target.shape}")
    pixels = np.round(columns.T * 255).astype(np.uint8).reshape(-1, 28, 28).transpose(0, 2, 1)
    names = tuple(f"alphabet {place + 1}" for place in range(len(target)))
    return numbered(pixels, target.argmax(axis=0).astype(np.int64), names, split, path)
