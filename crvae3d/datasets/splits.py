"""A dataset as the rest of the package takes it: train, perhaps test, and what had to be left out."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.images.images import Images


class Failure(NamedTuple):
    """A file (or a shape of an archive) that was left out, and the reason in plain words."""

    file: str
    reason: str


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset of clouds or of images.

    Attributes:
        train: what may be learnt from; all shapes or images where the data has no split.
        test: None where the data has no split.
        name: what the user called it.
        source: which form on disk it came from, for the record beside a number.
        failures: what was left out.
        store: the folder of the cache that holds it, None for an archive.
        validation: a validation part that belongs to the dataset, such as MNIST's last 10,000 of train; None where it
            is to be carved.
    """

    train: Clouds | Images
    test: Clouds | Images | None
    name: str
    source: str = ""
    failures: tuple[Failure, ...] = ()
    store: Path | None = None
    validation: Clouds | Images | None = None

    @property
    def parts(self) -> dict[str, Clouds | Images]:
        """What there is of train, validation and test, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def form(self) -> str:
        """`source` without the folders that it lies in: which release a number belongs to, on any machine."""
        return Path(self.source).name


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Write `failures` as CSV with the columns `file` and `reason`."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
        writer = csv.writer(out)
        writer.writerow(Failure._fields)
        writer.writerows(failures)


def read_failures(path: Path) -> tuple[Failure, ...]:
    """What `write_failures` wrote; empty if there is no such file."""
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as text:
        return tuple(Failure(row["file"], row["reason"]) for row in csv.DictReader(text))
