"""Picture files read once into the cache: a memory-mapped array of pixels and a small table beside it.

    <cache>/stores/<name>-<key>/pixels.npy      uint8 (S, C, H, W), train before validation before test
                                table.npz       ids, labels, class names, how many images each part has
                                failures.csv    file, reason

The pixels have one channel if all pictures are grey, else three. Where the cache lies, and that a store appears only
when it is complete: see `crvae3d.datasets.store`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from crvae3d.datasets.images.images import Images
from crvae3d.datasets.images.picture import BadPicture
from crvae3d.datasets.layout import Item
from crvae3d.datasets.sources import Source
from crvae3d.datasets.splits import Failure, Splits, read_failures, write_failures
from crvae3d.datasets.store import FAILURES, TABLE, allocate, build_store, store_folder, whole
from crvae3d.errors import InputError

PIXELS = "pixels.npy"
_PARTS = ("train", "validation", "test")


class Decode(Protocol):
    """Makes pixels, uint8 (C, H, W) with C 1 or 3, of the bytes of a file; its `repr` names all of its settings."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    def __call__(self, content: bytes) -> np.ndarray:
        """Pixels, or raise `BadPicture`."""


def ingest_pictures(
    items: Sequence[Item],
    name: str,
    source: str,
    decode: Decode,
    failures: Sequence[Failure] = (),
    jobs: int | None = None,
    progress: bool = True,
) -> Splits:
    """Read `items` once; later calls open the store, unless a file or `decode` has changed.

    Args:
        items: the files; their split is `train`, `validation` or `test`.
        name: of the dataset.
        source: the place or form that the items come from.
        decode: makes pixels of a file's bytes, or raises `BadPicture`.
        failures: files already known to be unusable.
        jobs: threads, None for one a core.
        progress: show a bar on stderr.

    Raises:
        InputError: no picture to train on is left, or the cache cannot be written.
    """
    if not items:
        raise InputError(f"{name}: {source} holds none of its pictures")
    items = sorted(items, key=lambda item: _PARTS.index(item.split))  # stable: each part in order
    stamps = [f"{item.source.stamp()}|{item.id}|{item.label}|{item.split}" for item in items]
    folder = store_folder(
        name, ["images 2", source, repr(decode), *stamps, *("|".join(failure) for failure in failures)]
    )

    def fill(part: Path) -> None:
        kept, failed = _write_pixels(part, items, name, decode, jobs, progress)
        failed = [*failures, *failed]
        if not any(item.split == "train" for item in kept):
            report = folder.with_name(f"{folder.name}.{FAILURES}")
            write_failures(report, failed)
            first = f"{failed[0].file}: {failed[0].reason}" if failed else "none is there to train on"
            raise InputError(
                f"{name}: none of {len(items)} pictures can be used ({first}); all reasons are in {report}"
            )
        _write_table(part, kept, failed)

    build_store(folder, fill)
    with whole(folder):
        return _open(folder, name, source)


def _write_pixels(
    part: Path, items: Sequence[Item], name: str, decode: Decode, jobs: int | None, progress: bool
) -> tuple[list[Item], list[Failure]]:
    shape = (len(items), 3, *decode.size)
    pixels = allocate(part / PIXELS, shape, np.uint8)
    kept, failed, channels = [], [], 1
    for item, image in zip(items, _read_all(items, name, decode, jobs, progress), strict=True):
        if isinstance(image, str):
            failed.append(Failure(item.source.name, image))
            continue
        pixels[len(kept)] = image
        channels = max(channels, len(image))
        kept.append(item)
    pixels.flush()
    if channels < 3 or len(kept) < len(items):
        np.save(part / "kept.npy", pixels[: len(kept), :channels])
        del pixels  # Windows replaces no file that is mapped
        (part / "kept.npy").replace(part / PIXELS)
    return kept, failed


def _read_all(
    items: Sequence[Item], name: str, decode: Decode, jobs: int | None, progress: bool
) -> Iterator[np.ndarray | str]:
    """The pixels in the order of `items`, or reasons. By threads: Pillow decodes and scales without Python's lock."""
    from joblib import Parallel, delayed
    from rich.console import Console
    from rich.progress import track

    images = Parallel(n_jobs=jobs or -1, backend="threading", return_as="generator")(
        delayed(_read)(item.source, decode) for item in items
    )
    bar = {"console": Console(stderr=True), "disable": not progress, "transient": True}
    return iter(track(images, f"reading {name}", total=len(items), **bar))


def _read(source: Source, decode: Decode) -> np.ndarray | str:
    try:
        return decode(source.read())
    except BadPicture as bad:
        return str(bad)
    except Exception as error:  # a broken disk or zip member: named in the report, as every bad file
        return f"it cannot be opened ({type(error).__name__}: {error})"


def _write_table(part: Path, kept: Sequence[Item], failures: Sequence[Failure]) -> None:
    classes = sorted({item.label for item in kept if item.label is not None})
    number = {label: index for index, label in enumerate(classes)}
    splits = [item.split for item in kept]
    table = {
        "ids": np.array([item.id for item in kept]),
        "class_names": np.array(classes, dtype=np.str_),
        "counts": np.array([splits.count(split) for split in _PARTS]),
    }
    if classes:
        table["labels"] = np.array([number[item.label] for item in kept], dtype=np.int64)
    write_failures(part / FAILURES, failures)
    np.savez(part / TABLE, **table)


def _open(folder: Path, name: str, source: str) -> Splits:
    pixels = np.load(folder / PIXELS, mmap_mode="r")
    with np.load(folder / TABLE, allow_pickle=False) as table:
        columns = {key: table[key] for key in ("ids", "labels") if key in table}
        class_names, counts = tuple(str(known) for known in table["class_names"]), table["counts"]

    def part(split: str) -> Images | None:
        place = _PARTS.index(split)
        rows = slice(counts[:place].sum(), counts[: place + 1].sum())
        own = {key: column[rows] for key, column in columns.items()}
        return Images(pixels[rows], class_names=class_names, **own) if counts[place] else None

    failures = read_failures(folder / FAILURES)
    return Splits(part("train"), part("test"), name, source, failures, folder, part("validation"))
