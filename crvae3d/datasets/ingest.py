"""A folder, a zip or a list of mesh and cloud files, sampled once in parallel into a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from crvae3d.datasets.images.picture import SUFFIXES as PICTURES
from crvae3d.datasets.layout import Item, lay_out
from crvae3d.datasets.readers import SUFFIXES
from crvae3d.datasets.sampling import Row, sample_source
from crvae3d.datasets.sources import list_sources
from crvae3d.datasets.splits import Failure, Splits, write_failures
from crvae3d.datasets.store import (
    FAILURES,
    POINTS,
    allocate,
    build_store,
    open_store,
    source_digests,
    store_folder,
    write_store,
)
from crvae3d.errors import InputError

_READING = ("numerals.py", "off.py", "readers.py", "sampling.py", "shape.py")
"""The files whose code makes a row of a file: another version makes other rows."""

_SERIAL = 24
"""Up to so many files are read in this process: starting others costs about as much."""


@dataclass(frozen=True)
class Ingest:
    """How files become rows of a store.

    Attributes:
        points: how many are drawn from each shape, once; denser than any training size, so that each epoch can draw
            a subset of its own. Clouds that are all smaller keep as many as the largest of them has, and smaller ones
            beside that are repeated.
        seed: of the draws; each file's generator also depends on its own name, and on nothing else.
        y_up: the files have y up and are turned to z up; `mesh_center` then holds for the turned shapes.
        jobs: processes, None for one a core.
        progress: show a bar and the number of failures on stderr.
    """

    points: int = 4096
    seed: int = 0
    y_up: bool = False
    jobs: int | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.points < 2:
            raise InputError(f"points must be at least 2, got {self.points}; 4096 is usual")
        if self.seed < 0:
            raise InputError(f"seed must be nought or more, got {self.seed}")


def ingest_folder(place: Path, settings: Ingest, name: str | None = None) -> Splits:
    """All shapes below the folder or inside the zip `place`; its sub-folders are labels and splits (see `layout`).

    Raises:
        InputError: nothing in it can be used.
    """
    sources = list_sources(place, SUFFIXES)
    if not sources:
        pictures = f"and of pictures those in {', '.join(PICTURES)}"
        raise InputError(f"{place} holds no mesh or cloud; files ending in {', '.join(SUFFIXES)} are read, {pictures}")
    items, beside = lay_out(sources)
    return ingest_items(items, name or place.resolve().name, str(place.resolve()), settings, beside)


def ingest_items(
    items: Sequence[Item], name: str, source: str, settings: Ingest, failures: Sequence[Failure] = ()
) -> Splits:
    """Read `items` once; later calls open the store, unless a file or a setting has changed.

    Args:
        items: the files.
        name: of the dataset.
        source: the place or form that the items come from.
        settings: how to read.
        failures: files already known to be unusable.

    Raises:
        InputError: no shape to train on is left.
    """
    items = sorted(items, key=lambda item: item.split == "test")  # stable: train before test, each in order
    stamps = [f"{item.source.stamp()}|{item.id}|{item.label}|{item.split}" for item in items]
    drawn = f"{settings.points}|{settings.seed}|{settings.y_up}"
    made_by = [version("trimesh"), *source_digests(Path(__file__).with_name(file) for file in _READING)]
    folder = store_folder(name, [source, drawn, *made_by, *stamps, *("|".join(failure) for failure in failures)])
    build_store(folder, lambda part: _fill(part, folder, items, name, settings, failures))
    return open_store(folder, name, source)


def _fill(
    part: Path, folder: Path, items: Sequence[Item], name: str, settings: Ingest, failures: Sequence[Failure]
) -> None:
    shape = (len(items), settings.points, 3)
    points = allocate(part / POINTS, shape, np.int16)
    rows, failed, most = [], list(failures), 0
    for item, row in zip(items, _read_all(items, name, settings), strict=True):
        if isinstance(row, str):
            failed.append(Failure(item.source.name, row))
            continue
        points[len(rows)] = row.points
        most = max(most, row.own)
        rows.append((item.id, item.label, item.split, row.center, row.scale, row.digest))
    if not any(split == "train" for _, _, split, *_ in rows):
        report = folder.with_name(f"{folder.name}.{FAILURES}")
        write_failures(report, failed)
        first = f"{failed[0].file}: {failed[0].reason}" if failed else "there are no files"
        known = sum(item.split == "train" for item in items)
        told = f"{known} files" if known == len(items) else f"{known} training files"
        raise InputError(f"{name}: none of {told} can be used ({first}); all reasons are in {report}")
    points.flush()
    if len(rows) < len(items) or most < settings.points:
        np.save(part / "kept.npy", points[: len(rows), :most])
        del points  # Windows replaces no file that is mapped
        (part / "kept.npy").replace(part / POINTS)
    write_store(part, None, rows, failed)


def _read_all(items: Sequence[Item], name: str, settings: Ingest) -> Iterator[Row | str]:
    """The rows in the order of `items`, read by several processes."""
    from joblib import Parallel, delayed
    from rich.console import Console
    from rich.progress import track

    jobs = 1 if len(items) <= _SERIAL else settings.jobs or -1
    # joblib's processes, unlike the standard library's, start from scripts without a __main__ guard and from notebooks.
    rows = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(sample_source)(item.source, settings.points, settings.seed, settings.y_up) for item in items
    )
    return iter(
        track(
            rows,
            f"reading {name}",
            total=len(items),
            console=Console(stderr=True),
            disable=not settings.progress,
            transient=True,
        )
    )


def say(line: str) -> None:
    """One line on standard error."""
    from rich.console import Console

    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
