"""OMNIGLOT (Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through probabilistic program induction, 2015).

1,623 characters of 50 alphabets, each drawn by 20 people. Below the data folder, the first that is found:

    omniglot.npz                                        images28 uint8 (S, 28, 28) with ink 255, alphabet, alphabet_names,
                                                        character, character_names, drawer, background
    images_background and images_evaluation             the official folders or zips, in `omniglot/` or here

Both give the same images, names and order: each of 28 x 28 pixels is the mean of those of the release's 105 x 105 whose
centres lie in it. The label of an image is its alphabet, since a character has 20 images only: a classifier tells alphabets apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from crvae3d.datasets.clouds import same_classes
from crvae3d.datasets.fetch import Download, fetch
from crvae3d.datasets.images.arrays import read_npz
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.images.picture import BadPicture, as_pixels, read_picture
from crvae3d.datasets.images.store import ingest_pictures
from crvae3d.datasets.layout import Item
from crvae3d.datasets.sources import Source, list_sources
from crvae3d.datasets.splits import Failure, Splits
from crvae3d.errors import InputError

_RELEASE = "https://github.com/brendenlake/omniglot/raw/master/python"
DOWNLOADS = {
    "background": Download(
        f"{_RELEASE}/images_background.zip",
        "images_background.zip",
        "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        9_464_212,
    ),
    "evaluation": Download(
        f"{_RELEASE}/images_evaluation.zip",
        "images_evaluation.zip",
        "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        6_462_886,
    ),
}
_KEYS = ("images28", "alphabet", "alphabet_names", "character", "character_names", "drawer", "background")


@dataclass(frozen=True)
class Character:
    """A drawing, ink 255 on 0, averaged down to `size`, (height, width) in pixels."""

    size: tuple[int, int] = (28, 28)

    def __call__(self, content: bytes) -> np.ndarray:
        """uint8 (1, H, W).

        Raises:
            BadPicture: unreadable, or not of the size that drawings have.
        """
        picture = read_picture(content).convert("L")
        if picture.size != (105, 105):
            raise BadPicture(f"a drawing has 105 x 105 pixels, this one {picture.size}")
        return as_pixels(ImageOps.invert(picture).resize(self.size[::-1], Image.Resampling.BOX))


def load_omniglot(
    root: Path, download: bool = True, progress: bool = True, held: tuple[int, int] = (1_000, 2_000)
) -> Splits:
    """The background set, 19,280 images of 30 alphabets: 16,280 to learn from, 1,000 for validation, 2,000 to test on.

    The sizes are those of Sinha and Dieng (Consistency regularization for variational auto-encoders, 2021), whose draw is
    not published; this one is a function of the fixed seed 0 and the number of images.

    Args:
        root: the data folder.
        download: False never touches the network.
        progress: show a bar while fetching and reading.
        held: how many images are for validation and for the test.

    Raises:
        InputError: no form is there and none can be fetched, or what is there cannot be used.
    """
    images, source, failures = _set("background", root, download, progress)
    if not 0 < sum(held) < len(images):
        raise InputError(f"{source}: {sum(held):,} images are to be held out, but there are only {len(images):,}")
    places = np.random.default_rng(0).permutation(len(images))
    ends = len(images) - sum(held), len(images) - held[1]
    train, validation, test = (images.select(np.sort(part)) for part in np.split(places, ends))
    return Splits(train, test, "omniglot", source, failures, validation=validation)


def load_omniglot_lake(root: Path, download: bool = True, progress: bool = True) -> Splits:
    """The background set's 19,280 images of 30 alphabets to learn from, the evaluation set's 13,180 of 20 to test on.

    The two have no alphabet in common, so that a classifier of alphabets can be fitted and judged within one of them only.

    Args:
        root: the data folder.
        download: False never touches the network.
        progress: show a bar while fetching and reading.

    Raises:
        InputError: no form is there and none can be fetched, or what is there cannot be used.
    """
    train, source, failures = _set("background", root, download, progress)
    test, _, failed = _set("evaluation", root, download, progress)
    return Splits(*same_classes(train, test), "omniglot-lake", source, failures + failed)


def _set(part: str, root: Path, download: bool, progress: bool) -> tuple[Images, str, Sequence[Failure]]:
    """(the images of `background` or `evaluation` in the order of their names, the form, what was left out)."""
    if (root / "omniglot.npz").is_file():
        images, source, failures = _from_npz(root / "omniglot.npz", part), str(root / "omniglot.npz"), ()
    else:
        place = _found(root, part) or _fetched(part, root, download, progress)
        items, beside = _items(list_sources(place, (".png",)))
        splits = ingest_pictures(items, place.stem, str(place), Character(), beside, progress=progress)
        images, source, failures = splits.train, str(place), splits.failures
    images = images.select(np.argsort(images.ids))
    alphabets, labels = np.unique(np.array(images.class_names)[images.labels], return_inverse=True)
    return replace(images, labels=labels, class_names=tuple(map(str, alphabets))), source, failures


def _from_npz(path: Path, part: str) -> Images:
    arrays = read_npz(path, _KEYS)
    rows = np.flatnonzero(arrays["background"].astype(bool) == (part == "background"))
    try:
        characters, drawers = arrays["character_names"][arrays["character"][rows]], arrays["drawer"][rows]
        ids = [f"{character}/{drawer:02d}" for character, drawer in zip(characters, drawers, strict=True)]
        names = tuple(map(str, arrays["alphabet_names"]))
        return Images(arrays["images28"][rows, None], np.array(ids), arrays["alphabet"][rows].astype(np.int64), names)
    except (InputError, IndexError, ValueError) as error:
        raise InputError(f"{path}: its arrays do not belong together ({error})") from None


def _found(root: Path, part: str) -> Path | None:
    stem = f"images_{part}"
    places = [folder / name for folder in (root / "omniglot", root) for name in (stem, f"{stem}.zip")]
    return next((place for place in places if place.exists()), None)


def _fetched(part: str, root: Path, download: bool, progress: bool) -> Path:
    wanted, folder = DOWNLOADS[part], root / "omniglot"
    if not download:
        raise InputError(f"omniglot is not below {root}; fetch {wanted.url} and put it at {folder / wanted.file}")
    return fetch(wanted, folder, progress=progress)


def _items(sources: Sequence[Source]) -> tuple[list[Item], list[Failure]]:
    """`<alphabet>/<character>/<number>_<drawer>.png`, named as in the archive: `<alphabet>/<character>/<drawer>`."""
    items, beside = [], []
    for source in sources:
        path = PurePosixPath(source.name)
        if len(path.parts) == 3:
            alphabet, character, _ = path.parts
            items.append(Item(source, f"{alphabet}/{character}/{path.stem.rpartition('_')[2]}", alphabet))
        else:
            beside.append(Failure(source.name, "it does not lie in the folder of a character of an alphabet"))
    return items, beside
