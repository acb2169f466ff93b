"""ModelNet10 and ModelNet40 (Wu, Song, Khosla and others, 2015), from each form that people have on disk.

Below the data folder, the first that is found:

    modelnet40_train.npz, modelnet40_test.npz       archives (see `archives`); the test part may be absent
    ModelNet40/<class>/<split>/<id>.off             the Princeton release, or its zip, which is not unpacked
    modelnet40_ply_hdf5_2048/                       PointNet's samples (ModelNet40 only): not aligned
    modelnet40_normal_resampled/                    PointNet++'s samples of 10,000 points

and the same for 10. All are returned with z up. The azimuth of a class differs between the releases, so that a model
trained on one is not to be evaluated on another.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from crvae3d.datasets.archives import read_archive
from crvae3d.datasets.fetch import Download, fetch
from crvae3d.datasets.hdf5 import read_hdf5
from crvae3d.datasets.ingest import Ingest, ingest_folder, ingest_items, say
from crvae3d.datasets.layout import Item
from crvae3d.datasets.readers import SUFFIXES
from crvae3d.datasets.sources import Source
from crvae3d.datasets.splits import Failure, Splits
from crvae3d.errors import InputError

DOWNLOADS = {
    "modelnet10": Download(
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        "ModelNet10.zip",
        "9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
        473_402_300,
    ),
    "modelnet40": Download(
        "http://modelnet.cs.princeton.edu/ModelNet40.zip",
        "ModelNet40.zip",
        "42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
        2_039_180_837,
    ),
}
SIZES = {"modelnet10": {"train": 3_991, "test": 908}, "modelnet40": {"train": 9_843, "test": 2_468}}


def load_modelnet(name: str, root: Path, settings: Ingest, download: bool = True) -> Splits:
    """Load `modelnet10` or `modelnet40` from below `root`, or fetch the Princeton release into it.

    Args:
        name: `modelnet10` or `modelnet40`.
        root: the data folder, or the folder of one of the forms itself.
        settings: how meshes are sampled.
        download: False never touches the network.

    Raises:
        InputError: no form is there and none can be fetched, or what is there cannot be used.
    """
    for read in FORMS:
        if (splits := read(name, root, settings)) is not None:
            _tell_missing(splits, settings.progress)
            return splits
    wanted = DOWNLOADS[name]
    if not download:
        raise InputError(f"{name} is not below {root}; fetch {wanted.url} and put it at {root / wanted.file}")
    return ingest_folder(fetch(wanted, root, progress=settings.progress), settings, name)


def is_sampled_modelnet(path: Path) -> bool:
    """Whether a path is a release of sampled clouds, which must be read as `modelnet40`, or a file of one."""
    return path.suffix.lower() == ".h5" or (
        path.is_dir() and ((path / "modelnet40_train.txt").exists() or any(path.glob("ply_data_*.h5")))
    )


def _tell_missing(splits: Splits, progress: bool) -> None:
    """Say so where far fewer shapes are there than the benchmark has, as in a folder that is half unpacked."""
    failed = len(splits.failures)
    for split, count in SIZES[splits.name].items():
        part = splits.parts.get(split)
        if progress and part is not None and len(part) + failed < 0.99 * count:
            say(
                f"{splits.name} has {count:,} {split} shapes, and {splits.source} holds {len(part):,}: no whole release"
            )


def _archives(name: str, root: Path, settings: Ingest) -> Splits | None:
    paths = {split: root / f"{name}_{split}.npz" for split in ("train", "test")}
    if not paths["train"].exists():
        return None
    train, failures = read_archive(paths["train"])
    if not paths["test"].exists():
        return Splits(train, None, name, str(paths["train"]), failures)
    test, failed = read_archive(paths["test"])
    if test.class_names != train.class_names:
        raise InputError(f"{paths['train']} and {paths['test']} differ in their class_names")
    return Splits(train, test, name, f"{paths['train']}, {paths['test'].name}", failures + failed)


def _meshes(name: str, root: Path, settings: Ingest) -> Splits | None:
    release = DOWNLOADS[name].file.removesuffix(".zip")
    folder, packed = _folder(root, release), root / f"{release}.zip"
    if folder is not None and _holds_a_mesh(folder):
        return ingest_folder(folder, settings, name)
    return ingest_folder(packed, settings, name) if packed.is_file() else None


def _holds_a_mesh(folder: Path) -> bool:
    """Whether a folder is more than what an interrupted unpacking has left; the first mesh tells."""
    names = (name for _, _, files in os.walk(folder, followlinks=True) for name in files)
    return any(name.lower().endswith(SUFFIXES) for name in names)


def _hdf5(name: str, root: Path, settings: Ingest) -> Splits | None:
    found = _folder(root, "modelnet40_ply_hdf5_2048") if name == "modelnet40" else None
    return found and read_hdf5(found, name)


def _resampled(name: str, root: Path, settings: Ingest) -> Splits | None:
    folder = _folder(root, "modelnet40_normal_resampled")
    if folder is None or not (folder / f"{name}_train.txt").exists():
        return None
    items, missing = [], []
    for split in ("train", "test"):
        listing = folder / f"{name}_{split}.txt"
        for id in listing.read_text().split() if listing.exists() else ():
            label = id.rpartition("_")[0]
            source = Source(folder / label / f"{id}.txt", f"{label}/{id}.txt")
            if source.path.exists():
                items.append(Item(source, id, label, split))
            else:
                missing.append(Failure(source.name, f"{listing.name} lists it, but it is not there"))
    source = f"{folder.resolve()}, turned to z up"
    return ingest_items(items, name, source, replace(settings, y_up=True), missing)


def _folder(root: Path, name: str) -> Path | None:
    """`root/name`, or `root` where that is its name."""
    if root.name == name and root.is_dir():
        return root
    return root / name if (root / name).is_dir() else None


FORMS: tuple[Callable[[str, Path, Ingest], Splits | None], ...] = (_archives, _meshes, _hdf5, _resampled)
