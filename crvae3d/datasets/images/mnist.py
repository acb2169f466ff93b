"""MNIST (LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998).

Below the data folder, the first that is found, in `mnist/`, in `MNIST/raw/` or in the folder itself:

    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte
        the official files, each with or without .gz
    mnist.npz
        the same as arrays: x_train, y_train, x_test, y_test
"""

from pathlib import Path

import numpy as np

from crvae3d.datasets.fetch import Download, fetch
from crvae3d.datasets.images.arrays import read_npz
from crvae3d.datasets.images.idx import read_idx
from crvae3d.datasets.images.images import Images, numbered, without_last
from crvae3d.datasets.splits import Splits
from crvae3d.errors import InputError

DOWNLOAD = Download(
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "mnist.npz",
    "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    11_490_434,
)
_DIGITS = tuple("0123456789")


def load_mnist(root: Path, download: bool = True, progress: bool = True, validation: int = 10_000) -> Splits:
    """Grey digits of 28 x 28 pixels: 50,000 to learn from, 10,000 for validation, 10,000 to test on.

    Args:
        root: the data folder.
        download: False never touches the network.
        progress: show a bar while fetching.
        validation: how many of the last official training images are set apart.

    Raises:
        InputError: no form is there and none can be fetched, or what is there cannot be used.
    """
    for folder in (root / "mnist", root / "MNIST" / "raw", root):
        if (path := _idx_file(folder, "train-images-idx3-ubyte")) is not None:
            return _splits(*_from_idx(folder), path, validation)
        if (path := folder / DOWNLOAD.file).is_file():
            return _splits(*_from_npz(path), path, validation)
    if not download:
        raise InputError(f"mnist is not below {root}; fetch {DOWNLOAD.url} and put it at {root / DOWNLOAD.file}")
    path = fetch(DOWNLOAD, root, progress=progress)
    return _splits(*_from_npz(path), path, validation)


def _splits(train: Images, test: Images, source: Path, validation: int) -> Splits:
    train, held = without_last(train, validation)
    return Splits(train, test, "mnist", str(source), validation=held)


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _from_idx(folder: Path) -> tuple[Images, Images]:
    parts = []
    for split, stem in (("train", "train"), ("test", "t10k")):
        names = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
        paths = [_idx_file(folder, name) for name in names]
        if None in paths:
            raise InputError(
                f"{folder} lacks {names[paths.index(None)]}, with or without .gz; the four belong together"
            )
        parts.append(_part(read_idx(paths[0], axes=3), read_idx(paths[1], axes=1), split, paths[0]))
    return parts[0], parts[1]


def _from_npz(path: Path) -> tuple[Images, Images]:
    arrays = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    train, test = (_part(arrays[f"x_{split}"], arrays[f"y_{split}"], split, path) for split in ("train", "test"))
    return train, test


def _part(pixels: np.ndarray, labels: np.ndarray, split: str, path: Path) -> Images:
    if pixels.shape[1:] == (28, 28, 1):
        pixels = pixels[..., 0]
    if pixels.shape[1:] != (28, 28):
        raise InputError(f"{path}: MNIST has images (images, 28, 28), and this {pixels.shape}")
    if labels.dtype.kind not in "iuf" or not (labels == np.rint(labels)).all():
        raise InputError(f"{path}: the labels of MNIST are whole numbers")
    return numbered(pixels, labels.astype(np.int64), _DIGITS, split, path)
