"""Read all of a dataset and say what is in it and what is wrong with it."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.load import load
from crvae3d.datasets.splits import Failure, Splits
from crvae3d.datasets.store import read_digests


@dataclass(frozen=True)
class Twins:
    """Shapes with exactly the same content.

    Attributes:
        ids: their names.
        labels: their labels, as many as `ids`; empty strings where there are none.
        splits: the parts they are in, as many.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def contradict(self) -> bool:
        """One shape under two labels; parts without labels say nothing."""
        return len({label for label in self.labels if label}) > 1

    @property
    def leak(self) -> bool:
        """One shape in several parts."""
        return len(set(self.splits)) > 1


@dataclass(frozen=True)
class Report:
    """What `check` found; `str(report)` is the text for the screen.

    Attributes:
        name: of the dataset.
        parts: one line a split, as `Clouds.describe` has it.
        counts: (label, shapes in each of `parts`) of each class.
        failures: what cannot be used.
        twins: groups of identical shapes.
    """

    name: str
    parts: dict[str, str]
    counts: tuple[tuple[str | int, ...], ...]
    failures: tuple[Failure, ...]
    twins: tuple[Twins, ...]

    def __str__(self) -> str:
        lines = [f"{self.name}: " + "; ".join(f"{split} {told}" for split, told in self.parts.items())]
        width = max((len(label) for label, *_ in self.counts), default=0)
        lines += [f"  {label:<{width}} " + " ".join(f"{size:>7,}" for size in sizes) for label, *sizes in self.counts]
        lines.append(f"{len(self.failures):,} cannot be used")
        lines += [f"  {file}: {reason}" for file, reason in self.failures]
        contradicting, leaking = sum(t.contradict for t in self.twins), sum(t.leak for t in self.twins)
        lines.append(
            f"{len(self.twins):,} groups of identical shapes, {contradicting:,} under several labels, "
            f"{leaking:,} in several parts"
        )
        lines += [
            "  " + " = ".join(f"{id} ({split})" for id, split in zip(group.ids, group.splits, strict=True))
            for group in sorted(self.twins, key=lambda group: not (group.contradict or group.leak))
        ]
        return "\n".join(lines)


def check(data: str, **options) -> Report:
    """Load `data`, with the options of `load`, and report counts, failures and duplicates.

    Duplicates are found by the content of the files; in an archive, which has lost it, by the points, and images by their pixels.

    Raises:
        InputError: as `load`.
    """
    splits = load(data, **options)
    parts = splits.parts
    names = splits.train.class_names
    sizes = [[_size(part, index) for part in parts.values()] for index in range(len(names))]
    return Report(
        splits.name,
        {name: part.describe() for name, part in parts.items()},
        tuple((label, *size) for label, size in zip(names, sizes, strict=True)),
        splits.failures,
        _twins(parts, _digests(splits, parts)),
    )


def _size(part: Clouds | Images, label: int) -> int:
    return 0 if part.labels is None else int((part.labels == label).sum())


def _digests(splits: Splits, parts: dict[str, Clouds | Images]) -> list[str]:
    if splits.store is not None and isinstance(splits.train, Clouds):
        return read_digests(splits.store).tolist()
    rows = (np.ascontiguousarray(row) for part in parts.values() for row in part.stored)
    return [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in rows]


def _twins(parts: dict[str, Clouds | Images], digests: list[str]) -> tuple[Twins, ...]:
    shapes = [
        (str(part.ids[row]), "" if part.labels is None else part.class_names[part.labels[row]], split)
        for split, part in parts.items()
        for row in range(len(part))
    ]
    groups = defaultdict(list)
    for digest, shape in zip(digests, shapes, strict=True):
        groups[digest].append(shape)
    return tuple(Twins(*zip(*group, strict=True)) for group in groups.values() if len(group) > 1)
