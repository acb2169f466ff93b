"""The named datasets of images, each by one word."""

from collections.abc import Callable
from pathlib import Path

from crvae3d.datasets.images.celeba import load_celeba
from crvae3d.datasets.images.cifar import load_cifar10
from crvae3d.datasets.images.digits import load_digits
from crvae3d.datasets.images.mnist import load_mnist
from crvae3d.datasets.images.omniglot import load_omniglot, load_omniglot_lake
from crvae3d.datasets.images.omniglot_iwae import load_omniglot_iwae
from crvae3d.datasets.splits import Splits
from crvae3d.datasets.store import data_folder
from crvae3d.errors import unknown

Load = Callable[[str, Path | None, bool, bool], Splits]
"""(name, data folder or None for the usual one, may download, show progress) to a dataset."""


def _below(load: Callable[[Path, bool, bool], Splits]) -> Load:
    """`load` with the usual data folder where none is named."""

    def found(name: str, root: Path | None, download: bool, progress: bool) -> Splits:
        return load(data_folder(root), download, progress)

    return found


def _digits(name: str, root: Path | None, download: bool, progress: bool) -> Splits:
    return load_digits()


IMAGE_DATASETS: dict[str, Load] = {
    "digits": _digits,
    "mnist": _below(load_mnist),
    "omniglot": _below(load_omniglot),
    "omniglot-lake": _below(load_omniglot_lake),
    "omniglot-iwae": _below(load_omniglot_iwae),
    "cifar10": _below(load_cifar10),
    "celeba64": _below(load_celeba),
}


def load_images(name: str, root: str | Path | None = None, *, download: bool = True, progress: bool = True) -> Splits:
    """Load a named dataset of images.

    Args:
        name: one of `IMAGE_DATASETS`.
        root: the folder of named datasets; None for the environment's CRVAE3D_DATA, else `data` in the cache.
        download: False never touches the network.
        progress: bars on stderr.

    Returns:
        Train, test, the validation part where the dataset has one of its own, and what had to be left out.

    Raises:
        InputError: there is no such dataset, it is not there and cannot be fetched, or it cannot be used.
    """
    if name not in IMAGE_DATASETS:
        unknown("dataset of images", name, IMAGE_DATASETS)
    return IMAGE_DATASETS[name](name, None if root is None else Path(root), download, progress)
