"""Any dataset by one word: a name, a folder, a zip, an archive or a single file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crvae3d.datasets.archives import read_archive
from crvae3d.datasets.clouds import same_classes
from crvae3d.datasets.images.folder import is_picture_folder, load_pictures
from crvae3d.datasets.images.load import IMAGE_DATASETS, load_images
from crvae3d.datasets.images.picture import SUFFIXES as PICTURES
from crvae3d.datasets.ingest import Ingest, ingest_folder, ingest_items, say
from crvae3d.datasets.layout import Item
from crvae3d.datasets.modelnet import is_sampled_modelnet, load_modelnet
from crvae3d.datasets.procedural import load_shapes
from crvae3d.datasets.readers import SUFFIXES
from crvae3d.datasets.sources import Source, expanded
from crvae3d.datasets.splits import Splits, write_failures
from crvae3d.datasets.store import FAILURES, data_folder, store_folder
from crvae3d.errors import InputError, unknown


def _modelnet(name: str, root: Path | None, settings: Ingest, download: bool) -> Splits:
    return load_modelnet(name, data_folder(root), settings, download)


def _shapes(name: str, root: Path | None, settings: Ingest, download: bool) -> Splits:
    return load_shapes(settings)


DATASETS: dict[str, Callable[[str, Path | None, Ingest, bool], Splits]] = {
    "shapes": _shapes,
    "modelnet10": _modelnet,
    "modelnet40": _modelnet,
}

KNOWN = (*DATASETS, *IMAGE_DATASETS)
"""The names of all datasets."""


def load(
    data: str | Path,
    root: str | Path | None = None,
    *,
    points: int = 4096,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    jobs: int | None = None,
    download: bool = True,
    progress: bool = True,
) -> Splits:
    """Load a dataset; meshes are sampled at the first call and kept in the cache.

    Args:
        data: one of `DATASETS` or `IMAGE_DATASETS`; or a folder or zip of meshes or clouds, or of pictures, whose
            sub-folders are labels and splits; or a `.npz` archive of clouds (`x.npz` also stands for `x_train.npz` with
            `x_test.npz`); or one mesh, cloud or picture.
        root: the folder of named datasets; None for the environment's CRVAE3D_DATA, else `data` in the cache.
        points: drawn from each mesh or cloud, once; an archive has its own number.
        seed: of those draws.
        size: (height, width) of the pictures of a folder; None for that of the first one.
        channels: 1 for grey images, 3 for RGB; None for as they are.
        jobs: processes that read; None for one a core.
        download: False never touches the network.
        progress: bars and notes on stderr.

    Returns:
        Train, test (None where the data has no split), and what had to be left out.

    Raises:
        InputError: there is no such data, or nothing in it can be used.
    """
    _tell_namesake(str(data), progress)
    if is_images(data):
        splits = _load_images(str(data), root, size, jobs, download, progress)
        if channels is not None:
            parts = {name: part.in_channels(channels) for name, part in splits.parts.items()}
            splits = replace(splits, **parts)
    else:
        splits = _load(data, root, Ingest(points=points, seed=seed, jobs=jobs, progress=progress), download)
    if splits.failures:
        _report(splits, progress)
    return splits


def _load_images(
    data: str,
    root: str | Path | None,
    size: int | tuple[int, int] | None,
    jobs: int | None,
    download: bool,
    progress: bool,
) -> Splits:
    if data in IMAGE_DATASETS:
        return load_images(data, root, download=download, progress=progress)
    return load_pictures(data, size, jobs=jobs, progress=progress)


def is_images(data: str | Path) -> bool:
    """Whether a word names images: a dataset of them, or a folder or zip of pictures."""
    path = expanded(data)
    return str(data) in IMAGE_DATASETS or (str(data) not in DATASETS and path.exists() and is_picture_folder(path))


def _load(data: str | Path, root: str | Path | None, settings: Ingest, download: bool) -> Splits:
    word, path = str(data), expanded(data)
    if word in DATASETS:
        return DATASETS[word](word, None if root is None else Path(root), settings, download)
    if path.suffix.lower() == ".npz":
        return _load_archive(path)
    if is_sampled_modelnet(path):
        place = path.parent if path.is_file() else path
        raise InputError(f"{path} is of a release of ModelNet: name the dataset, `modelnet40`, and give --data {place}")
    if path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file()):
        return ingest_folder(path, settings)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path} is not read; known are {', '.join((*SUFFIXES, *PICTURES))}, .npz archives, folders and zips"
            )
        return ingest_items([Item(Source(path, path.name), path.stem)], path.name, str(path.resolve()), settings)
    if path.suffix or "/" in word:
        raise InputError(f"{path} does not exist; give a folder, a file or one of {', '.join(KNOWN)}")
    unknown("dataset, folder or file", word, KNOWN)


def _tell_namesake(word: str, progress: bool) -> None:
    """Of a folder that is called as a known dataset: which of them is taken."""
    if progress and word in KNOWN and Path(word).is_dir():
        say(f"{word} is taken as the dataset of that name; for the folder here write ./{word}")


def _report(splits: Splits, progress: bool) -> None:
    """Count on screen what was left out; a report in the cache names it, which a store has already."""
    folder, (file, reason) = splits.store, splits.failures[0]
    told = ""
    try:
        if folder is None:
            folder = store_folder(splits.name, [splits.source])
            folder.mkdir(parents=True, exist_ok=True)
            write_failures(folder / FAILURES, splits.failures)
        told = f"; all reasons are in {folder / FAILURES}"
    except OSError:  # an archive can be read where no cache can be written
        pass
    if progress:
        found = len(splits.failures) + sum(len(part) for part in splits.parts.values())
        say(f"{splits.name}: {len(splits.failures):,} of {found:,} left out, the first is {file}: {reason}{told}")


def _load_archive(path: Path) -> Splits:
    if path.is_file():
        clouds, failures = read_archive(path)
        return Splits(clouds, None, path.stem, str(path.resolve()), failures)
    parts = [path.with_name(f"{path.stem}_{split}{path.suffix}") for split in ("train", "test")]
    if not parts[0].is_file():
        raise InputError(f"{path} does not exist, nor does {parts[0].name} beside it")
    train, failures = read_archive(parts[0])
    test, failed = read_archive(parts[1]) if parts[1].is_file() else (None, ())
    if test is not None and train.labels is not None and test.labels is not None:
        train, test = same_classes(train, test)
    return Splits(train, test, path.stem, str(path.resolve()), failures + failed)
