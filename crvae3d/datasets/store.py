"""The cache: a dataset read once, kept as a memory-mapped array of points and a small table beside it.

    <cache>/stores/<name>-<key>/points.npy      int16 (S, N, 3), train before test
                                table.npz       ids, labels, class names, centre and scale, digests
                                failures.csv    file, reason

`<cache>` is the environment's CRVAE3D_CACHE, else `~/.cache/crvae3d`; it may be deleted at any time. A store appears
under its name only when it is complete, so a killed process leaves nothing that is taken for one.
"""

import errno
import glob
import hashlib
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.sampling import SCALE
from crvae3d.datasets.sources import expanded
from crvae3d.datasets.splits import Failure, Splits, read_failures, write_failures
from crvae3d.errors import InputError

POINTS, TABLE, FAILURES = "points.npy", "table.npz", "failures.csv"
_FORMAT = "1"
_DAY = 24 * 3600


def cache_folder() -> Path:
    """Where stores and downloads are kept.

    Raises:
        InputError: nothing says so, and there is no home folder.
    """
    try:
        return expanded(os.environ.get("CRVAE3D_CACHE") or Path.home() / ".cache" / "crvae3d")
    except RuntimeError:
        raise InputError("there is no home folder to keep stores in: set CRVAE3D_CACHE to a folder with room") from None


def store_folder(name: str, key: Iterable[str]) -> Path:
    """The folder of the store of what `key` names completely: the files, their stamps, the settings."""
    digest = hashlib.blake2b(digest_size=10)
    for part in (_FORMAT, *key):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return cache_folder() / "stores" / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:60]}-{digest.hexdigest()}"


def source_digests(paths: Iterable[Path]) -> list[str]:
    """What the code in `paths` is, for the key of what it makes."""
    return [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in sorted(paths)]


def allocate(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A new memory-mapped array with room on the disk: where there is none, writing to it would kill the process.

    Raises:
        OSError: there is no room.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:  # some disks cannot promise room
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
    return array


def build_store(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` write the files of a store, unless it is there; `folder` appears at once or not at all.

    Raises:
        InputError: the cache cannot be written.
    """
    if (folder / TABLE).exists():
        return
    part = folder.with_name(f"{folder.name}.{uuid4().hex[:8]}.part")
    for left in folder.parent.glob(f"{glob.escape(folder.name)}.*.part"):  # by a process that was killed
        with suppress(OSError):  # which may end its own part at any time
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        fill(part)
        try:
            part.rename(folder)
        except OSError:
            if (folder / TABLE).exists():  # another process was first, with the same content
                return
            shutil.rmtree(folder)  # a part of it was deleted
            part.rename(folder)
    except OSError as error:
        raise InputError(
            f"the cache {cache_folder()} cannot be written ({error}); set CRVAE3D_CACHE to a folder with room"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_store(
    folder: Path,
    points: np.ndarray | None,
    rows: Sequence[tuple[str, str | None, str, np.ndarray, float, str]],
    failures: Iterable[Failure] = (),
) -> None:
    """Write the files of a store.

    Args:
        folder: where to.
        points: int16 (S, N, 3), or None where the caller has written them.
        rows: (id, label, split, center, scale, digest) of each shape, train before test.
        failures: what was left out.
    """
    if points is not None:
        np.save(folder / POINTS, points)
    ids, labels, splits, centers, scales, digests = zip(*rows, strict=True)
    classes = sorted({label for label in labels if label is not None})
    number = {label: index for index, label in enumerate(classes)}
    table = {
        "ids": np.array(ids),
        "class_names": np.array(classes, dtype=np.str_),
        "mesh_center": np.array(centers, dtype=np.float64),
        "mesh_scale": np.array(scales, dtype=np.float64),
        "digests": np.array(digests),
        "train_count": np.array(splits.count("train")),
    }
    if classes:
        table["labels"] = np.array([number[label] for label in labels], dtype=np.int64)
    write_failures(folder / FAILURES, failures)
    np.savez(folder / TABLE, **table)


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Say of a store that cannot be read what to do about it.

    Raises:
        InputError: a file of it is missing or cut off, as by a crash or a full disk.
    """
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"the store {folder} is damaged ({error}): delete it, and it is made again") from None


def open_store(folder: Path, name: str, source: str = "") -> Splits:
    """The dataset of a store, its points memory-mapped.

    Raises:
        InputError: the store is damaged.
    """
    with whole(folder):
        return _opened(folder, name, source)


def _opened(folder: Path, name: str, source: str) -> Splits:
    points = np.load(folder / POINTS, mmap_mode="r")
    with np.load(folder / TABLE, allow_pickle=False) as table:
        columns = {key: table[key] for key in ("ids", "labels", "mesh_center", "mesh_scale") if key in table}
        class_names, count = tuple(str(known) for known in table["class_names"]), int(table["train_count"])

    def part(rows: slice) -> Clouds:
        own = {key: column[rows] for key, column in columns.items()}
        return Clouds(points=points[rows], scale=SCALE, class_names=class_names, **own)

    test = part(slice(count, None)) if count < len(points) else None
    return Splits(part(slice(0, count)), test, name, source, read_failures(folder / FAILURES), folder)


def read_digests(folder: Path) -> np.ndarray:
    """The digest of the content of each file, train before test: equal for byte-identical shapes.

    Raises:
        InputError: the store is damaged.
    """
    with whole(folder), np.load(folder / TABLE, allow_pickle=False) as table:
        return table["digests"]


def data_folder(root: str | Path | None = None) -> Path:
    """Where named datasets are looked for and downloads land.

    Raises:
        InputError: `root` or CRVAE3D_DATA is given and does not exist.
    """
    given = root or os.environ.get("CRVAE3D_DATA")
    if not given:
        return cache_folder() / "data"
    folder = expanded(given)
    if folder.is_file():
        raise InputError(f"the data folder {folder} is a file: name the folder that it lies in, or give it as DATA")
    if not folder.is_dir():
        raise InputError(f"the data folder {folder} does not exist; make it, or name another")
    return folder
