"""The embedded dataset `shapes`, made once and kept in the cache like any other."""

import hashlib
from pathlib import Path

import numpy as np

from crvae3d.datasets.ingest import Ingest
from crvae3d.datasets.splits import Splits
from crvae3d.datasets.store import build_store, open_store, source_digests, store_folder, write_store


def load_shapes(settings: Ingest) -> Splits:
    """The procedural shapes, train and test, `settings.points` points each."""
    # The generator's own source is part of the key: another version makes other shapes.
    sources = Path(__file__).with_name("shapes").rglob("*.py")
    folder = store_folder("shapes", [f"{settings.points}|{settings.seed}", *source_digests(sources)])
    build_store(folder, lambda part: _fill(part, settings))
    return open_store(folder, "shapes", "procedural, made by this package")


def _fill(part: Path, settings: Ingest) -> None:
    from crvae3d.datasets import shapes

    points, rows = [], []
    for split in ("train", "test"):
        made = shapes.clouds(split, points=settings.points, seed=settings.seed, progress=settings.progress)
        points.append(made.points)
        labels = [made.class_names[label] for label in made.labels]
        digests = [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in made.points]
        columns = zip(made.ids, labels, made.mesh_center, made.mesh_scale, digests, strict=True)
        rows += [(str(id), label, split, center, scale, digest) for id, label, center, scale, digest in columns]
    write_store(part, np.concatenate(points), rows)
