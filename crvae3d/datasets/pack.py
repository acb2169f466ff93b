"""Any dataset as one archive a split, for exchange."""

from pathlib import Path

from crvae3d.datasets.archives import write_archive
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.load import load
from crvae3d.errors import InputError

USUAL = 2048
"""Points a shape, where nothing is asked for."""


def pack(
    data: str, output: str | Path, points: int | None = None, overwrite: bool = False, **options
) -> tuple[Path, ...]:
    """Write `data` as `output`, or with a test part as `x_train.npz` and `x_test.npz` for the output `x.npz`.

    Args:
        data: what `load` takes.
        output: the archive, ending in `.npz`; `load` takes the same name again.
        points: kept of each shape, 2 at least; None for 2,048, or all where there are fewer.
        overwrite: replace archives that are there.
        options: of `load`.

    Returns:
        The paths that were written.

    Raises:
        InputError: as `load`; or an output exists, or the data has fewer points than asked for.
    """
    output = Path(output)
    if output.suffix != ".npz":
        raise InputError(f"an archive ends in .npz, got {output}")
    if points is not None and points < 2:
        raise InputError(f"points must be at least 2, got {points}; 2048 is usual")
    splits = load(data, **{"points": max(points or 0, 4096), **options})
    if isinstance(splits.train, Images):
        raise InputError(f"{data} has images, and archives hold clouds: exchange the pictures themselves")
    parts = {output: splits.train}
    if splits.test is not None:
        names = {split: output.with_name(f"{output.stem}_{split}.npz") for split in ("train", "test")}
        parts = {names["train"]: splits.train, names["test"]: splits.test}
    for path in (output, *parts):  # `output` itself too: it would be read in place of the two
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists; name another output, or replace it with --overwrite")
    output.parent.mkdir(parents=True, exist_ok=True)
    for path, clouds in parts.items():
        stored = clouds.points.shape[1]
        kept = min(USUAL, stored) if points is None else points
        chosen = clouds.first(kept)
        scan = kept == stored and clouds.points.dtype.kind == "f"  # else it is in random order already
        write_archive(path, chosen.shuffled() if scan else chosen)
    if output not in parts:
        output.unlink(missing_ok=True)
    return tuple(parts)
