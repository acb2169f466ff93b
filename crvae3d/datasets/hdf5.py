"""`modelnet40_ply_hdf5_2048`, the release of PointNet (Qi, Su, Mo and Guibas, 2017): 2,048 points a shape, y up.

    train_files.txt, test_files.txt         the .h5 files of a split, one a line, each with some folder before its name
    ply_data_train0.h5                      data float32 (n, 2048, 3), label (n, 1)
    ply_data_train_0_id2file.json           the files they were sampled from, "chair/chair_0001.ply"; optional
    shape_names.txt                         class names in label order

It lacks 3 of the 9,843 training shapes and is not aligned: shapes of one class look into different directions.
"""

import hashlib
import json
import re
from pathlib import Path, PurePosixPath

import numpy as np

from crvae3d.datasets.sampling import frame, quantise, to_z_up
from crvae3d.datasets.splits import Failure, Splits
from crvae3d.datasets.store import build_store, open_store, store_folder, write_store
from crvae3d.errors import InputError


def read_hdf5(folder: Path, name: str) -> Splits:
    """Read the release in `folder`, turned to z up, once; later calls open the store.

    Raises:
        InputError: h5py is not installed, a file of the release is missing or broken, or nothing can be used.
    """
    parts = {split: _listed(folder, split) for split in ("train", "test")}
    told = [path for path in (folder / "shape_names.txt", *sorted(folder.glob("*_id2file.json"))) if path.exists()]
    files = [*((split, path) for split, paths in parts.items() for path in paths), *(("", path) for path in told)]
    stamps = [f"{split}|{path.name}|{path.stat().st_size}|{path.stat().st_mtime_ns}" for split, path in files]
    store = store_folder(name, [str(folder.resolve()), *stamps])
    build_store(store, lambda part: _fill(part, folder, parts))
    return open_store(store, name, f"{folder.name}, turned to z up")


def _listed(folder: Path, split: str) -> list[Path]:
    """The .h5 files of a split; the lists name folders of the authors' own machine, so only the names count."""
    listing = folder / f"{split}_files.txt"
    if listing.exists():
        names = [PurePosixPath(line.strip()).name for line in listing.read_text().splitlines() if line.strip()]
    else:
        names = sorted(path.name for path in folder.glob(f"ply_data_{split}*.h5"))
    missing = [name for name in names if not (folder / name).exists()]
    if missing or (split == "train" and not names):
        raise InputError(f"{folder} lacks {missing[0] if missing else 'train_files.txt and ply_data_train*.h5'}")
    return [folder / name for name in names]


def _fill(part: Path, folder: Path, parts: dict[str, list[Path]]) -> None:
    names = _class_names(folder)
    points, rows, failures = [], [], []
    for split, paths in parts.items():
        for path in paths:
            data, labels = _read_file(path)
            if labels.min() < 0 or labels.max() >= len(names):
                raise InputError(f"{path} has a label outside the {len(names)} classes of shape_names.txt")
            ids = _ids(path, len(data))
            data = to_z_up(data.astype(np.float64))
            finite = np.isfinite(data).all(axis=(1, 2))
            center, scale = frame(np.where(finite[:, None, None], data, 0))
            usable = finite & (scale > 0) & np.isfinite(scale)
            failures += [Failure(ids[row], "its points coincide or are not finite") for row in np.flatnonzero(~usable)]
            for row in np.flatnonzero(usable):
                digest = hashlib.blake2b(data[row].tobytes(), digest_size=16).hexdigest()
                rows.append((ids[row], names[labels[row]], split, center[row], scale[row], digest))
                points.append(quantise((data[row] - center[row]) / scale[row]))
    if not any(split == "train" for _, _, split, *_ in rows):
        raise InputError(f"{folder} holds no usable training shape")
    if len({len(cloud) for cloud in points}) > 1:
        raise InputError(f"the files of {folder} have clouds of different numbers of points; fetch the release again")
    write_store(part, np.stack(points), rows, failures)


def _class_names(folder: Path) -> list[str]:
    listing = folder / "shape_names.txt"
    if not listing.exists():
        raise InputError(f"{folder} lacks shape_names.txt, the class names in label order")
    return [line.strip() for line in listing.read_text().splitlines() if line.strip()]


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path.parent.name} needs h5py; install it with: pip install 'crvae3d[hdf5]'") from None
    try:
        with h5py.File(path, "r") as opened:
            data, labels = opened["data"][:], opened["label"][:].reshape(-1)
    except (OSError, KeyError) as error:
        raise InputError(f"{path} is not a readable file of the release ({error}); fetch it again") from None
    shaped = data.ndim == 3 and data.shape[::2] == (len(labels), 3) and data.size
    if not shaped or data.dtype.kind != "f" or labels.dtype.kind not in "iu":
        told = f"{data.dtype} {data.shape} and {labels.dtype} {labels.shape}"
        raise InputError(f"{path} must hold data (n, 2048, 3) and label (n, 1) as the release does, and holds {told}")
    return data, labels


def _ids(path: Path, count: int) -> list[str]:
    """The names of the shapes in a file: of the meshes they were sampled from where that is told, else numbers."""
    told = path.with_name(re.sub(r"_?(\d+)$", r"_\1_id2file.json", path.stem))
    if told.exists():
        try:
            files = json.loads(told.read_text())
        except ValueError as error:
            raise InputError(f"{told} is not a readable file of the release ({error}); fetch it again") from None
        names = [PurePosixPath(file).stem for file in files] if isinstance(files, list) else []
        if len(set(names)) == count:
            return names
    return [f"{path.stem}_{index:05d}" for index in range(count)]
