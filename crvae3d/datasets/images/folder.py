"""A folder or a zip of pictures; its sub-folders are labels and splits, as for shapes (see `crvae3d.datasets.layout`)."""

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

from crvae3d.datasets.images.picture import SUFFIXES, Fitted, read_picture
from crvae3d.datasets.images.store import ingest_pictures
from crvae3d.datasets.layout import Item, lay_out
from crvae3d.datasets.sources import Source, expanded, list_sources
from crvae3d.datasets.splits import Splits
from crvae3d.errors import InputError

_SHAPES = frozenset((".off", ".obj", ".stl", ".ply", ".glb", ".gltf", ".xyz"))


def is_picture_folder(place: str | Path) -> bool:
    """Whether the folder or zip `place` holds pictures and no shape, since shapes have textures and previews; or is one.

    Nor as many arrays `.npy` as pictures: those are clouds with their previews.

    Names alone are looked at. Lists of points such as `.txt` and `.pts` tell nothing: pictures come with them too.

    Raises:
        InputError: `place` is a broken zip.
    """
    place = expanded(place)
    if place.is_file() and place.suffix.lower() != ".zip":
        return place.suffix.lower() in SUFFIXES
    found = Counter(source.suffix for source in list_sources(place, (*SUFFIXES, *_SHAPES, ".npy")))
    return found.total() > 2 * found[".npy"] and not found.keys() & _SHAPES


def load_pictures(
    place: str | Path,
    size: int | tuple[int, int] | None = None,
    *,
    name: str | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Splits:
    """All pictures below the folder or inside the zip `place`, or the one that it is, of one size.

    They are read at the first call and kept in the cache.

    One channel if all pictures are grey, else three. A picture of other proportions is cropped about its centre, then
    scaled bilinearly, by a filter that widens as it shrinks.

    Args:
        place: `cat/1.png`, `train/cat/1.png` and `cat/train/1.png` are understood, and a folder without sub-folders.
        size: (height, width) in pixels, or one number for squares; None for that of the first picture.
        name: of the dataset; None for that of the folder.
        jobs: threads that read; None for one a core.
        progress: show a bar on stderr.

    Returns:
        Train, test (None where the folders name no split), and which files had to be left out and why.

    Raises:
        InputError: there is no such place, or no picture in it can be used.
    """
    place = expanded(place)
    if not place.exists():
        raise InputError(f"{place} does not exist; give a folder or a zip of pictures")
    alone = place.is_file() and place.suffix.lower() in SUFFIXES
    sources = [Source(place, place.name)] if alone else list_sources(place, SUFFIXES)
    if not sources:
        raise InputError(f"{place} holds no picture; files ending in {', '.join(SUFFIXES)} are read")
    items, beside = lay_out(sources)
    decode = Fitted(_size(size, items, place))
    return ingest_pictures(items, name or place.resolve().name, str(place.resolve()), decode, beside, jobs, progress)


def _size(size: int | tuple[int, int] | None, items: Sequence[Item], place: Path) -> tuple[int, int]:
    if size is None:
        return _first_size(items, place)
    height_width = (size, size) if isinstance(size, Integral) else size
    if not isinstance(height_width, Sequence) or [isinstance(part, Integral) for part in height_width] != [True, True]:
        raise InputError(f"size is a whole number of pixels or (height, width), got {size!r}; 64 is usual")
    height, width = map(int, height_width)
    if min(height, width) < 1:
        raise InputError(f"size must be at least 1 pixel high and wide, got {size}; 64 is usual")
    return height, width


def _first_size(items: Sequence[Item], place: Path) -> tuple[int, int]:
    """(height, width) of the first picture that can be read."""
    reasons = []
    for item in items:
        try:
            return read_picture(item.source.read()).size[::-1]
        except Exception as bad:  # a stranger's file, or zip, must never take a run down
            reasons.append(f"{item.source.name}: {bad}")
    raise InputError(f"{place}: none of its {len(items)} pictures can be read ({reasons[0]})")
