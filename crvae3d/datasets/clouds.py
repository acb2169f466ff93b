"""A labelled set of point clouds, in memory or memory-mapped: what every dataset of the package becomes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from crvae3d.errors import InputError
from crvae3d.evaluation.holdout import held_out


class Rows:
    """Rows of a memory-mapped array: a choice that is read when it is asked for, and copies nothing before.

    Args:
        array: (S, ...) on disk.
        chosen: (R,) integers.
    """

    def __init__(self, array: np.ndarray, chosen: np.ndarray) -> None:
        self.array, self.chosen = array, chosen
        self.shape, self.dtype, self.ndim = (len(chosen), *array.shape[1:]), array.dtype, array.ndim

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, key: object) -> "np.ndarray | Rows":
        if isinstance(key, tuple):
            first, columns = key
            if isinstance(first, slice) and first == slice(None) and isinstance(columns, slice):
                return Rows(self.array[:, columns], self.chosen)
            return self[first][..., columns, :] if self.ndim == 3 else self[first][..., columns]
        return np.asarray(self.array[self.chosen[key]])

    def __getstate__(self) -> dict[str, object]:
        """For other processes: the chosen rows alone."""
        return self.__dict__ | {"array": np.asarray(self), "chosen": np.arange(len(self))}

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array[self.chosen], dtype)


class Resident(torch.utils.data.Dataset):
    """Shapes whose stored numbers lie on a device, where batches are made of them: none waits for a transfer.

    Args:
        part: `Clouds` or `Images`.
        device: where to.
    """

    def __init__(self, part: "Clouds", device: torch.device | str) -> None:
        self.stored, self.scale = torch.from_numpy(np.array(part.stored)).to(device), part.scale

    def __len__(self) -> int:
        return len(self.stored)

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Float32 (B, ...), on the device."""
        return self.stored[torch.as_tensor(indices, device=self.stored.device)].float() * self.scale


@dataclass(frozen=True, eq=False)
class Clouds(torch.utils.data.Dataset):
    """`S` clouds of `N` points each, centred and scaled into the unit sphere, z up.

    Attributes:
        points: integers (S, N, 3) or floats; coordinates are `points * scale`. May be a memory map, or
            rows of one.
        scale: what a stored integer is worth; 1 for floats.
        ids: (S,) the shapes' own names, unique.
        labels: (S,) integers into `class_names`, or None where the shapes have no labels.
        class_names: (C,) in label order.
        mesh_center: (S, 3) and
        mesh_scale: (S,) take a shape back to its own units: `original = coordinates * mesh_scale + mesh_center`.
    """

    points: np.ndarray | Rows
    ids: np.ndarray
    scale: float = 1.0
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    mesh_center: np.ndarray | None = None
    mesh_scale: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 3 or self.points.shape[-1] != 3:
            raise InputError(f"points must have the shape (shapes, points, 3), got {self.points.shape}")
        for name in ("ids", "labels", "mesh_center", "mesh_scale"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.points):
                raise InputError(f"{name} must have one row a shape: {len(self.points)} shapes, {len(column)} rows")

    @property
    def stored(self) -> np.ndarray | Rows:
        """The numbers as they are kept: `points`."""
        return self.points

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Tensor:
        """The coordinates of one shape, float32 (N, 3)."""
        return self.coordinates([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        """The coordinates of several shapes, read at once, each float32 (N, 3): what a `DataLoader` asks for."""
        return list(self.coordinates(indices))

    def coordinates(self, indices: Sequence[int] | slice = slice(None)) -> Tensor:
        """The coordinates of the shapes at `indices`, float32 (B, N, 3)."""
        return torch.from_numpy(self.points[indices].astype(np.float32) * np.float32(self.scale))

    def select(self, indices: np.ndarray) -> "Clouds":
        """The shapes at `indices` (integers or a boolean mask), as a set of their own; what is on disk stays there."""
        chosen = np.arange(len(self))[indices]
        if isinstance(self.points, Rows):
            points = Rows(self.points.array, self.points.chosen[chosen])
        else:
            points = Rows(self.points, chosen) if isinstance(self.points, np.memmap) else self.points[chosen]
        columns = {name: getattr(self, name) for name in ("ids", "labels", "mesh_center", "mesh_scale")}
        return replace(
            self, points=points, **{name: rows[chosen] for name, rows in columns.items() if rows is not None}
        )

    def first(self, points: int) -> "Clouds":
        """A fixed choice of `points` points of each shape: the first, since stores are in random order.

        Floats are as their archive has them, perhaps a scan in order: of those the same random places of each shape.

        Raises:
            InputError: the shapes have fewer.
        """
        if not 0 < points <= self.points.shape[1]:
            raise InputError(f"points must lie in 1..{self.points.shape[1]}, which is what is stored, got {points}")
        if self.points.dtype.kind == "f" and points < self.points.shape[1]:
            return self.shuffled(points)
        return replace(self, points=self.points[:, :points])

    def shuffled(self, points: int | None = None) -> "Clouds":
        """So many points of each shape, or all, from the same random places of each, in the same order each time."""
        return replace(self, points=self.points[:, np.random.default_rng(0).permutation(self.points.shape[1])[:points]])

    def own_units(self, points: np.ndarray, index: int) -> np.ndarray:
        """`points` (M, 3) of the shape at `index`, taken back to the units of the file that it came from."""
        scale = 1.0 if self.mesh_scale is None else self.mesh_scale[index]
        center = 0.0 if self.mesh_center is None else self.mesh_center[index]
        return points * scale + center

    def describe(self) -> str:
        """One line: how many shapes, points and classes."""
        classes = f", {len(self.class_names)} classes" if self.labels is not None else ", no labels"
        return f"{len(self):,} shapes of {self.points.shape[1]:,} points{classes}"


def same_classes(train: Clouds, test: Clouds) -> tuple[Clouds, Clouds]:
    """The same shapes with labels that mean the same classes in both; classes of either are known to both.

    Raises:
        InputError: one of them has no labels.
    """
    if train.labels is None or test.labels is None:
        raise InputError(
            "shapes to fit and to judge need labels: sub-folders named by class, or an archive with labels"
        )
    if train.class_names == test.class_names:
        return train, test
    names = tuple(sorted({*train.class_names, *test.class_names}))
    place = {name: index for index, name in enumerate(names)}

    def relabelled(clouds: Clouds) -> Clouds:
        labels = np.array([place[clouds.class_names[label]] for label in clouds.labels])
        return replace(clouds, labels=labels, class_names=names)

    return relabelled(train), relabelled(test)


def carve(train: Clouds, fraction: float = 0.1, seed: int = 0) -> tuple[Clouds, Clouds]:
    """Split `train` into a part to learn from and a validation part for every choice that is made.

    Stratified by class where there are labels; the same seed always carves the same part.

    Returns:
        (rest, validation).
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie in (0, 1), got {fraction}; 0.1 carves a tenth")
    held = held_out(np.zeros(len(train)) if train.labels is None else train.labels, seed, fraction)
    return train.select(np.flatnonzero(~held)), train.select(np.flatnonzero(held))
