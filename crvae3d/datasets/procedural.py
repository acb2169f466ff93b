"""The embedded dataset `shapes`, made once and kept in the cache like any other."""

import hashlib
from pathlib import Path

import numpy as np

from crvae3d.datasets import shapes
from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.ingest import Ingest
from crvae3d.datasets.sampling import quantise
from crvae3d.datasets.splits import Splits
from crvae3d.datasets.store import build_store, open_store, store_folder, write_store

PER_CLASS = {"train": 100, "test": 25}


def load_shapes(settings: Ingest) -> Splits:
    """The procedural shapes, train and test, `settings.points` points each."""
    # The generator's own source is part of the key: another version makes other shapes.
    sources = sorted(Path(shapes.__file__).parent.rglob("*.py"))
    code = [hashlib.blake2b(path.read_bytes()).hexdigest() for path in sources]
    key = [f"{settings.points}|{settings.seed}|{PER_CLASS}", *code]
    folder = store_folder("shapes", key)
    build_store(folder, lambda part: _fill(part, settings))
    return open_store(folder, "shapes", "procedural, made by this package")


def _fill(part: Path, settings: Ingest) -> None:
    points, rows = [], []
    for split, per_class in PER_CLASS.items():
        made = shapes.clouds(split, per_class, settings.points, settings.seed, settings.progress)
        stored = quantise(made.coordinates().numpy())
        points.append(stored)
        centers, scales = _frames(made)
        for row, (id, label) in enumerate(zip(made.ids, made.labels, strict=True)):
            digest = hashlib.blake2b(stored[row].tobytes(), digest_size=16).hexdigest()
            rows.append((str(id), made.class_names[label], split, centers[row], scales[row], digest))
    write_store(part, np.concatenate(points), rows)


def _frames(made: Clouds) -> tuple[np.ndarray, np.ndarray]:
    if made.mesh_center is None or made.mesh_scale is None:
        return np.zeros((len(made), 3)), np.ones(len(made))
    return made.mesh_center, made.mesh_scale
