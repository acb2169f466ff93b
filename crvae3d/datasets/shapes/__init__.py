"""`shapes`, the embedded default dataset: everyday things that the package builds itself, no two of them alike.

Sixteen categories, each a function of a random generator that draws proportions and parts: a chair has four legs, a
pedestal or runners, arms or none, bars or a board as its back. Some classes run into each other on purpose: a stool and
a side table; a desk and a table; a bottle, a vase and a cup; an armchair, a sofa and a day bed. z is up, the front
faces -y and the units are metres, so that all shapes stand in one pose, as in aligned ModelNet.

Shape number `index` of a class is the same whatever number of shapes is asked for; train and test are separate draws.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import track
from trimesh import Trimesh
from trimesh.sample import sample_surface

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.sampling import SCALE, frame, quantise
from crvae3d.datasets.shapes.guitars import guitar
from crvae3d.datasets.shapes.lamps import lamp
from crvae3d.datasets.shapes.seats import chair, stool
from crvae3d.datasets.shapes.storage import cabinet, shelf
from crvae3d.datasets.shapes.tables import desk, table
from crvae3d.datasets.shapes.upholstery import armchair, bed, sofa
from crvae3d.datasets.shapes.vehicles import aeroplane, car
from crvae3d.datasets.shapes.vessels import bottle, cup, vase
from crvae3d.errors import InputError, unknown

Split = Literal["train", "test"]

CATEGORIES: dict[str, Callable[[np.random.Generator], Trimesh]] = {
    "aeroplane": aeroplane,
    "armchair": armchair,
    "bed": bed,
    "bottle": bottle,
    "cabinet": cabinet,
    "car": car,
    "chair": chair,
    "cup": cup,
    "desk": desk,
    "guitar": guitar,
    "lamp": lamp,
    "shelf": shelf,
    "sofa": sofa,
    "stool": stool,
    "table": table,
    "vase": vase,
}
"""Name -> builder, in label order."""

PER_CLASS = {"train": 64, "test": 24}
"""How many shapes a class has in each split, unless told otherwise."""

FIRST = {"train": 0, "test": 5000}
"""The number in the id of a split's first shape, so that no two shapes of the dataset share an id."""


def build(category: str, seed: int | np.random.SeedSequence = 0) -> Trimesh:
    """Build one shape of `category`, in metres, standing on z = 0.

    Raises:
        InputError: `category` is not one of `CATEGORIES`.
    """
    if category not in CATEGORIES:
        unknown("category", category, CATEGORIES)
    mesh = CATEGORIES[category](np.random.default_rng(seed))
    return mesh.apply_translation((0, 0, -mesh.bounds[0, 2]))


def meshes(split: Split, per_class: int | None = None, seed: int = 0) -> Iterator[tuple[str, int, Trimesh]]:
    """Build the shapes of a split one by one, class after class.

    Args:
        split: "train" or "test".
        per_class: how many of each class; by default 64 to train on and 24 to test on.
        seed: another seed is another dataset.

    Returns:
        An iterator over (id, label, mesh); ids are like `chair_0007`, labels index the names in `CATEGORIES`.

    Raises:
        InputError: an unknown split, a negative seed, or a number of shapes that is not in 1 to 5000.
    """
    for name, label, stream in _plan(split, per_class, seed):
        yield name, label, build(list(CATEGORIES)[label], stream)


def clouds(
    split: Split, per_class: int | None = None, points: int = 2048, seed: int = 0, progress: bool = True
) -> Clouds:
    """Build the shapes of a split and draw `points` points from the surface of each, area-uniformly.

    Args:
        split: "train" or "test".
        per_class: how many of each class; by default 64 to train on and 24 to test on.
        points: how many from each shape, in random order: any prefix is itself an area-uniform sample.
        seed: another seed is another dataset.
        progress: show a bar on stderr.

    Returns:
        16 * per_class clouds (int16), each centred on the mean of its points and scaled into the unit sphere.

    Raises:
        InputError: an unknown split, a negative seed, or a number of shapes or points that cannot be.
    """
    if points < 2:
        raise InputError(f"points must be at least 2, got {points}; 2048 is usual")
    plan = _plan(split, per_class, seed)
    rows = track(plan, f"building shapes ({split})", console=Console(stderr=True), disable=not progress, transient=True)
    sampled = [_sample(list(CATEGORIES)[label], stream, points) for _, label, stream in rows]
    coordinates, centers, scales = (np.stack(column) for column in zip(*sampled, strict=True))
    return Clouds(
        points=coordinates,
        ids=np.array([name for name, _, _ in plan]),
        scale=SCALE,
        labels=np.array([label for _, label, _ in plan], dtype=np.int64),
        class_names=tuple(CATEGORIES),
        mesh_center=centers,
        mesh_scale=scales,
    )


def export(
    folder: str | Path, per_class_train: int = 64, per_class_test: int = 24, seed: int = 0, progress: bool = True
) -> Path:
    """Write both splits as OFF files in the layout of ModelNet, `folder/<class>/<split>/<id>.off`.

    Returns:
        `folder`.
    """
    names, folder = list(CATEGORIES), Path(folder)
    counts = {"train": per_class_train, "test": per_class_test}
    plan = [(split, row) for split in counts for row in _plan(split, counts[split], seed)]
    for split, (name, label, stream) in track(
        plan, "writing shapes", console=Console(stderr=True), disable=not progress, transient=True
    ):
        file = folder / names[label] / split / f"{name}.off"
        file.parent.mkdir(parents=True, exist_ok=True)
        build(names[label], stream).export(file)
    return folder


def _plan(split: str, per_class: int | None, seed: int) -> list[tuple[str, int, np.random.SeedSequence]]:
    """What a split consists of, before it is built: (id, label, the shape's own stream of random numbers)."""
    if split not in PER_CLASS:
        unknown("split", split, PER_CLASS)
    count = PER_CLASS[split] if per_class is None else per_class
    if not 1 <= count <= FIRST["test"]:
        raise InputError(f"per_class must lie in 1 to {FIRST['test']}, got {count}; {PER_CLASS[split]} is usual")
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}; take any whole number from 0")
    branch = list(PER_CLASS).index(split)
    return [
        (f"{name}_{FIRST[split] + index:04d}", label, np.random.SeedSequence(seed, spawn_key=(branch, label, index)))
        for label, name in enumerate(CATEGORIES)
        for index in range(count)
    ]


def _sample(category: str, stream: np.random.SeedSequence, points: int) -> tuple[np.ndarray, np.ndarray, np.float64]:
    """Points (N, 3) of one shape as the store keeps them, their centre (3,) and their scale."""
    draw = int(stream.generate_state(1)[0])  # a number of its own, so that the mesh does not depend on the points
    drawn = np.asarray(sample_surface(build(category, stream), points, seed=draw)[0])
    center, scale = frame(drawn)
    return quantise((drawn - center) / scale), center, scale
