"""CIFAR-10 (Krizhevsky, Learning multiple layers of features from tiny images, 2009), in its Python form.

Below the data folder, in `cifar10/` or in the folder itself: the archive `cifar-10-python.tar.gz`, which is not
unpacked, or its folder `cifar-10-batches-py`. Its files are pickles, which are read without running them (see `pickles`).
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from crvae3d.datasets.fetch import Download, fetch
from crvae3d.datasets.images.images import Images, numbered, without_last
from crvae3d.datasets.images.pickles import read_pickle
from crvae3d.datasets.splits import Splits
from crvae3d.errors import InputError

DOWNLOAD = Download(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    170_498_071,
)
_FOLDER = "cifar-10-batches-py"
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_FILES = (*_TRAIN, "test_batch", "batches.meta")


def load_cifar10(root: Path, download: bool = True, progress: bool = True, validation: int = 5_000) -> Splits:
    """Coloured pictures of 32 x 32 pixels: 45,000 to learn from, 5,000 for validation, 10,000 to test on.

    Args:
        root: the data folder, or the unpacked folder itself.
        download: False never touches the network.
        progress: show a bar while fetching.
        validation: how many of the last official training images are set apart.

    Raises:
        InputError: no form is there and none can be fetched, or what is there cannot be used.
    """
    place = _found(root)
    if place is None and not download:
        raise InputError(f"cifar10 is not below {root}; fetch {DOWNLOAD.url} and put it at {root / DOWNLOAD.file}")
    place = place or fetch(DOWNLOAD, root, progress=progress)
    batches = {name: read_pickle(content, f"{place}, {name}") for name, content in _contents(place)}
    if missing := [name for name in _FILES if name not in batches]:
        raise InputError(f"{place} lacks {missing[0]}; unpack or fetch it again")
    class_names = _class_names(batches["batches.meta"], place)
    train, held = without_last(_part([batches[name] for name in _TRAIN], class_names, "train", place), validation)
    test = _part([batches["test_batch"]], class_names, "test", place)
    return Splits(train, test, "cifar10", str(place), validation=held)


def _found(root: Path) -> Path | None:
    if root.name == _FOLDER and root.is_dir():
        return root
    places = [folder / name for folder in (root / "cifar10", root) for name in (_FOLDER, DOWNLOAD.file)]
    return next((place for place in places if place.exists()), None)


def _contents(place: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each official file that is there."""
    try:
        if place.is_dir():
            yield from ((name, (place / name).read_bytes()) for name in _FILES if (place / name).is_file())
            return
        with tarfile.open(place) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in _FILES and member.isfile():
                    yield name, archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{place} cannot be read ({error}); fetch it again") from None


def _class_names(meta: dict[bytes, object], place: Path) -> tuple[str, ...]:
    names = meta.get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise InputError(f"{place}: batches.meta must list its label_names")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _part(batches: list[dict[bytes, object]], class_names: tuple[str, ...], prefix: str, place: Path) -> Images:
    pixels, labels = [], []
    for batch in batches:
        data, own = batch.get(b"data"), batch.get(b"labels")
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
            raise InputError(f"{place}: the data of a batch must be bytes (images, 3072)")
        if not isinstance(own, list) or not all(type(label) is int for label in own):
            raise InputError(f"{place}: the labels of a batch must be a list of whole numbers")
        pixels.append(data.reshape(-1, 3, 32, 32))
        labels += own
    return numbered(np.concatenate(pixels), np.array(labels, np.int64), class_names, prefix, place)
