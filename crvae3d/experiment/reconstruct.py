"""Reconstructions of any shapes or images by a trained model."""

import csv
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from crvae3d.datasets.splits import Splits, write_failures
from crvae3d.datasets.store import FAILURES
from crvae3d.device import best_device
from crvae3d.errors import InputError
from crvae3d.evaluation.frozen import frozen
from crvae3d.evaluation.reconstruction import mean_squared_error
from crvae3d.experiment.embed import apart, load_for
from crvae3d.experiment.modalities import IMAGES, modality_of
from crvae3d.experiment.pretrained import VAE, read_model
from crvae3d.experiment.runs import has_decoder
from crvae3d.points.chamfer import chamfer_distance
from crvae3d.viewers.figures import clouds_figure
from crvae3d.viewers.pictures import write_picture

PICTURE = "reconstructions.png"
SHOWN = 12
AT_ONCE = 64
LONGEST = 200
"""Bytes of a file name; most file systems take 255, with the suffix."""

Made = tuple[str, np.ndarray, np.ndarray, object, float]
"""A name, the original, its reconstruction, what is written of it, and their distance."""


def reconstruct(
    run: str | Path | VAE,
    data: str | Path,
    output: str | Path,
    points: int | None = None,
    mesh: bool = False,
    progress: bool = True,
    **loading: object,
) -> list[Path]:
    """Encode and decode; write each result, and a picture of the first ones beside their originals.

    The originals of a model of black and white images are such: each grey one is drawn once, by a generator that its id seeds.

    Args:
        run: a run folder, or a model.
        data: what to reconstruct, as for `crvae3d.load`.
        output: a folder, for `reconstructions.png` and of shapes `<id>.ply` in their own units and `chamfer.csv`, of images
            `<id>.png` and `mean_squared_error.csv`. Those of an earlier call are replaced.
        points: how many to decode a shape; None for as many as in the training. Images have none.
        mesh: write the folded surface, with triangles between its points, in place of a cloud.
        progress: whether to show it.
        loading: further arguments of `crvae3d.load`.

    Returns:
        The files of the single results.

    Raises:
        InputError: as `crvae3d.load`; or the run has trained an encoder alone; or its template has no surface; or `output`
            is where `data` lies, or holds such files of others.
    """
    output = apart(data, output)
    model = _with_decoder(run)
    modality = modality_of(model.settings)
    if modality is IMAGES and (points is not None or mesh):
        told = "surface, and a mesh was" if mesh else f"points, and {points} were"
        raise InputError(f"images have no {told} asked for: leave that out")
    faces = model.decoder.faces(points).cpu().numpy() if mesh else None
    splits = load_for(model, data, progress=progress, **loading)
    if modality is IMAGES:
        made, write, suffix = _images(model, splits), _write_image, "png"
    else:
        made, write, suffix = _clouds(model, splits, points), functools.partial(_write_cloud, faces=faces), "ply"
    table, heading = output / f"{modality.distance}.csv", ("id", modality.distance)
    _refuse_others(output, suffix, table)
    output.mkdir(parents=True, exist_ok=True)
    _remove_earlier(output, suffix, table)
    ids = [str(name) for part in splits.parts.values() for name in part.ids]
    _write_table(table, [heading, *((name, "") for name in ids)])  # by which all is known again, should this be cut off
    files, rows, shown, taken = [], [], [], {Path(PICTURE).stem}
    with frozen(model):
        for name, original, decoded, written, distance in made:
            files.append(output / f"{_file_name(name, taken)}.{suffix}")
            write(files[-1], written)
            rows.append((name, distance))
            if len(shown) < SHOWN:
                shown.append((name, original, decoded))
    _write_table(table, [heading, *rows])
    _picture(output / PICTURE, shown, faces)
    write_failures(output / FAILURES, splits.failures)
    return files


def _with_decoder(run: str | Path | VAE) -> VAE:
    """The model of a run, or one that is given, with a decoder that was trained."""
    model = read_model(run, best_device())
    if not isinstance(run, VAE) and not has_decoder(Path(run)):
        raise InputError(f"{run} has trained an encoder alone, and no decoder: reconstruct with a run that has a bound")
    return model


def _refuse_others(output: Path, suffix: str, table: Path) -> None:
    """Refuse a folder with files that are no reconstructions and might be replaced."""
    known = table.exists() and table.read_bytes().startswith(f"id,{table.stem}".encode())
    others = [*output.glob(f"*.{suffix}"), *(output / name for name in (PICTURE, FAILURES, table.name))]
    if not known and (found := [file.name for file in others if file.exists()]):
        raise InputError(
            f"{output} holds {found[0]}, which is no reconstruction of ours: name an empty folder, or a new one"
        )


def _remove_earlier(output: Path, suffix: str, table: Path) -> None:
    """Delete the single results of an earlier call, which its table names, so that none stands among those of this one."""
    if table.exists():
        taken = {Path(PICTURE).stem}
        with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            names = [row["id"] for row in csv.DictReader(file) if row.get("id")]
        for name in names:
            (output / f"{_file_name(name, taken)}.{suffix}").unlink(missing_ok=True)


def _write_table(path: Path, rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(rows)


def _picture(path: Path, shown: Sequence[tuple[str, np.ndarray, np.ndarray]], faces: np.ndarray | None) -> None:
    """Originals and their reconstructions: clouds or surfaces side by side, images one above the other."""
    names, originals, decoded = zip(*shown, strict=True)
    if originals[0].ndim == 2:
        clouds_figure(list(zip(originals, decoded, strict=True)), names, path, faces=faces)
    else:
        write_picture(path, {"originals": np.stack(originals), "reconstructions": np.stack(decoded)})


def _clouds(model: VAE, splits: Splits, points: int | None) -> Iterator[Made]:
    """What is written of a cloud is its reconstruction in its own units."""
    device = next(model.parameters()).device
    for clouds in splits.parts.values():
        for start in range(0, len(clouds), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(clouds)))
            batch = clouds.coordinates(list(rows)).to(device)
            decoded = model.decoder.decode(model.embed(batch), points)
            found = batch.cpu().numpy(), decoded.cpu().numpy(), chamfer_distance(batch, decoded).tolist()
            for row, original, made, distance in zip(rows, *found, strict=True):
                yield str(clouds.ids[row]), original, made, clouds.own_units(made, row), distance


def _images(model: VAE, splits: Splits) -> Iterator[Made]:
    """What is written of an image is its reconstruction."""
    device = next(model.parameters()).device
    for part in splits.parts.values():
        images = modality_of(model.settings).judged(part, model.settings, None)
        for start in range(0, len(images), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(images)))
            batch = images.intensities(list(rows)).to(device)
            decoded = model.reconstruct(batch).float()
            found = batch.cpu().numpy(), decoded.cpu().numpy(), mean_squared_error(batch, decoded).tolist()
            for row, original, made, distance in zip(rows, *found, strict=True):
                yield str(images.ids[row]), original, made, made, distance


def _write_cloud(path: Path, points: np.ndarray, faces: np.ndarray | None) -> None:
    """Binary PLY of doubles, with triangles if given: in the units of a map a float is off by half a metre."""
    properties = "".join(f"property double {axis}\n" for axis in "xyz")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}"
    body = points.astype("<f8").tobytes()
    if faces is not None:
        header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
        rows = np.zeros(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
        rows["count"], rows["corners"] = 3, faces
        body += rows.tobytes()
    path.write_bytes(f"{header}end_header\n".encode() + body)


def _write_image(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(path)


def _file_name(name: str, taken: set[str]) -> str:
    """A file name of its own for each shape, whatever its id, also where a disk does not tell small letters from large."""
    stem = re.sub(r"[^\w.-]+", "_", name)
    stem = stem.encode("utf-8", "surrogateescape")[-LONGEST:].decode("utf-8", "ignore")
    tries = (stem if count == 1 else f"{stem}_{count}" for count in itertools.count(1))
    found = next(candidate for candidate in tries if candidate.casefold() not in taken)
    taken.add(found.casefold())
    return found
