"""What the sub-folders of a folder of shapes mean: splits, labels, names.

chair/chair_1.off                     labels, no split
chair/train/chair_1.off               ModelNet: label, then split
train/chair/chair_1.off               split, then label
mine/train/chair/chair_1.off          either, inside one folder more
chair_1.off                           neither
03001627/1a6f615e/models/model.obj    ShapeNet: the first folder is the label
"""

from dataclasses import dataclass
from itertools import compress
from pathlib import PurePosixPath

from crvae3d.datasets.sources import Source
from crvae3d.datasets.splits import Failure

TRAIN = frozenset(("train", "training"))
SPLITS = dict.fromkeys((*TRAIN, "val", "valid", "validation"), "train") | dict.fromkeys(("test", "testing"), "test")
"""Folder names that mean a split. A validation part joins train: one is carved from there, with a fixed seed."""


BESIDE = "it lies beside the class folders, so it has no label"
NO_SPLIT = "it lies in no folder of a split, where others lie in train and in another"


@dataclass(frozen=True)
class Item:
    """One file and what its place says: a name unique in the set, a label or None, `train` or `test`."""

    source: Source
    id: str
    label: str | None = None
    split: str = "train"


def lay_out(sources: list[Source]) -> tuple[list[Item], list[Failure]]:
    """The items of a folder, and the files that lie beside its class folders or its splits and so are left out."""
    inside = [source for source in sources if "/" in source.name]
    beside = [Failure(source.name, BESIDE) for source in sources]
    beside = [failure for failure in beside if "/" not in failure.file] if inside else []
    sources = inside or sources
    folders = [PurePosixPath(source.name).parts[:-1] for source in sources]
    depth = _split_depth(folders)
    if depth is not None:
        known = [_at(parts, depth) in SPLITS for parts in folders]
        beside += [
            Failure(source.name, NO_SPLIT) for source, is_known in zip(sources, known, strict=True) if not is_known
        ]
        sources, folders = list(compress(sources, known)), list(compress(folders, known))
    labels = _labels(folders, depth, [PurePosixPath(source.name).stem for source in sources])
    names = _unique_names([source.name for source in sources])
    splits = ["train" if depth is None else SPLITS[_at(parts, depth)] for parts in folders]
    items = [Item(*of_file) for of_file in zip(sources, names, labels, splits, strict=True)]
    if any(item.label is not None for item in items):  # or inside a split's folder, beside those of its classes
        beside += [Failure(item.source.name, BESIDE) for item in items if item.label is None]
        items = [item for item in items if item.label is not None]
    return items, beside


def _split_depth(folders: list[tuple[str, ...]]) -> int | None:
    """Which folder of each path is its split: the first, the last or the second; None for no such.

    It is one in every path, because `train` alone may well be a class beside `car`; where there are several splits, such
    as train and test, in most paths, because lists and notes lie beside them.
    """
    found = {depth: [_at(parts, depth) for parts in folders] for depth in (0, -1, 1)}
    for depth, names in found.items():
        if TRAIN & set(names) and set(names) <= SPLITS.keys():
            return depth
    for depth, names in found.items():
        known = [name for name in names if name in SPLITS]
        if TRAIN & set(known) and len(set(known)) > 1 and 2 * len(known) > len(names):
            return depth
    return None


def _at(folders: tuple[str, ...], depth: int) -> str:
    """The name of one folder of a path in small letters; empty where the path has no such."""
    return folders[depth].lower() if -len(folders) <= depth < len(folders) else ""


def _labels(folders: list[tuple[str, ...]], depth: int | None, stems: list[str]) -> list[str | None]:
    """The folder of each path that names its class: the first that is no split.

    Where all paths lie in one folder it is the first below that, if its names recur: else they are names of shapes. Where no
    split says that the one folder is no class, the files must have names of their own: a shape's are often called alike.
    """
    named = folders if depth is None else [parts[:depth] + parts[depth:][1:] for parts in folders]
    first = [parts[0] if parts else None for parts in named]
    if not all(named) or len(set(first)) > 1 or depth == 0 or (depth is None and len(set(stems)) < len(stems)):
        return first
    last = min(map(len, named)) - 1
    differs = next((place for place in range(last) if len({parts[place] for parts in named}) > 1), last)
    below = [parts[differs] for parts in named]
    return below if 2 * len(set(below)) <= len(below) else first


def _unique_names(names: list[str]) -> list[str]:
    """The shortest form that tells the files apart: stem, path without suffix, path."""
    paths = [PurePosixPath(name) for name in names]
    for form in ([path.stem for path in paths], [path.with_suffix("").as_posix() for path in paths]):
        if len(set(form)) == len(form):
            return form
    return names
