"""The `.npz` archive of clouds: one compressed file without pickles, for exchange.

    points          int16 (S, N, 3), coordinates = points * scale, each shape's in random order; or floats in any order,
                    which are centred and scaled when read
    scale           (), needed beside integers
    ids             (S,) the shapes' own names            optional
    labels          (S,) integers into class_names        optional
    class_names     (C,)                                  optional
    mesh_center     (S, 3) and
    mesh_scale      (S,) original = coordinates * mesh_scale + mesh_center      optional, together

Other arrays are left alone.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.sampling import SCALE, frame, quantise
from crvae3d.datasets.splits import Failure
from crvae3d.errors import InputError

COINCIDE = "all of its points coincide"
_KEYS = ("points", "scale", "ids", "labels", "class_names", "mesh_center", "mesh_scale")


def read_archive(path: str | Path) -> tuple[Clouds, tuple[Failure, ...]]:
    """Read an archive.

    Returns:
        (the clouds, the shapes that were left out because their points are not finite or coincide).

    Raises:
        InputError: not an archive, pickled objects in it, wrong keys or shapes, or no usable shape.
    """
    path = Path(path)
    arrays = _load(path)
    points = _checked_points(path, arrays)
    count = len(points)
    ids = _text(arrays["ids"]) if "ids" in arrays else np.array([f"shape_{i:06d}" for i in range(count)])
    if len(np.unique(ids)) < len(ids):
        raise InputError(f"{path}: ids must be unique, but {_repeated(ids)!r} stands more than once")
    labels, class_names = _labels(path, arrays)
    columns = {"ids": ids, "labels": labels, **{key: arrays.get(key) for key in ("mesh_center", "mesh_scale")}}
    if points.dtype.kind == "f":
        return _framed(path, points, columns, class_names)
    scale = float(arrays["scale"])
    if not 0 < scale < np.inf:
        raise InputError(f"{path}: scale must be a positive number, got {scale}; coordinates = points * scale")
    if _farthest(points) * scale > 1.01:
        raise InputError(f"{path}: points * scale leave the unit sphere; store raw coordinates as floats instead")
    clouds = Clouds(points=points, scale=scale, class_names=class_names, **columns)
    usable = (points != points[:, :1]).any(axis=(1, 2))
    if usable.all():  # and the rows need not be copied
        return clouds, ()
    failures = _failures(path, ids, usable, np.full(count, COINCIDE))
    return clouds.select(np.flatnonzero(usable)), failures


def write_archive(path: str | Path, clouds: Clouds) -> None:
    """Write `clouds` to `path`, whole or not at all. Float coordinates are rounded to 1.5e-5."""
    path = Path(path)
    integers = clouds.points.dtype == np.int16
    arrays = {
        "points": clouds.points if integers else quantise(np.asarray(clouds.points) * clouds.scale),
        "scale": np.float64(clouds.scale if integers else SCALE),
        "ids": np.asarray(clouds.ids, dtype=np.str_),
        "class_names": np.array(clouds.class_names, dtype=np.str_),
    }
    arrays |= {
        key: getattr(clouds, key) for key in ("labels", "mesh_center", "mesh_scale") if getattr(clouds, key) is not None
    }
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as out:
            np.savez_compressed(out, **arrays)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise InputError(f"{path} is one bare array; an archive is made by np.savez(path, points=...)")
        with opened as archive:
            if "points" not in archive.files:
                raise InputError(f"{path} has no array 'points', only {', '.join(archive.files) or 'nothing'}")
            return {key: archive[key] for key in _KEYS if key in archive.files}
    except InputError:
        raise
    except ValueError as error:
        told = (
            "it is no .npz file, or holds pickled objects, which are never loaded" if "pickle" in str(error) else error
        )
        raise InputError(f"{path} is not a usable archive: {told}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not a readable .npz archive ({error})") from None


def _checked_points(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    points = arrays["points"]
    if points.ndim != 3 or points.shape[-1] != 3 or points.dtype.kind not in "fiu" or 0 in points.shape:
        raise InputError(f"{path}: points must be numbers (shapes, points, 3), got {points.dtype} {points.shape}")
    scale = arrays.get("scale", np.empty(0))
    if points.dtype.kind != "f" and (scale.shape != () or scale.dtype.kind not in "fiu"):
        raise InputError(f"{path}: integer points need one number 'scale', with coordinates = points * scale")
    if ("mesh_center" in arrays) != ("mesh_scale" in arrays):
        raise InputError(f"{path}: mesh_center and mesh_scale come together or not at all")
    shapes = {"ids": (), "labels": (), "mesh_center": (3,), "mesh_scale": ()}
    for key, tail in shapes.items():
        if key in arrays and (column := arrays[key]).size and column.shape == (len(points), 1) and tail == ():
            arrays[key] = column[:, 0]
        if key in arrays and arrays[key].shape != (len(points), *tail):
            raise InputError(f"{path}: {key} must have the shape {(len(points), *tail)}, got {arrays[key].shape}")
        if key in arrays and key.startswith("mesh") and arrays[key].dtype.kind not in "fiu":
            raise InputError(f"{path}: {key} must be numbers, got {arrays[key].dtype}")
    if not all(np.isfinite(arrays[key]).all() for key in ("mesh_center", "mesh_scale") if key in arrays):
        raise InputError(f"{path}: mesh_center and mesh_scale must be finite")
    if "mesh_scale" in arrays and not (arrays["mesh_scale"] > 0).all():
        raise InputError(f"{path}: mesh_scale must be positive, got {arrays['mesh_scale'].min()}")
    return points


def _farthest(points: np.ndarray) -> float:
    """The largest distance of an integer point from the origin."""
    parts = np.array_split(points, -(-len(points) // 256))  # not all of them at once in floats
    return max(float(np.linalg.norm(part.astype(np.float32), axis=-1).max()) for part in parts)


def _text(column: np.ndarray) -> np.ndarray:
    """An array of names; bytes are taken for UTF-8."""
    return np.char.decode(column, "utf-8", "replace") if column.dtype.kind == "S" else column.astype(np.str_)


def _labels(path: Path, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    class_names = arrays.get("class_names", np.empty(0))
    if class_names.ndim > 1:
        raise InputError(f"{path}: class_names must be names (classes,), got {class_names.shape}")
    class_names = tuple(_text(np.atleast_1d(class_names)).tolist())
    labels = arrays.get("labels")
    if labels is None:
        return None, ()
    if labels.dtype.kind == "f":
        whole = (np.abs(labels) < 2**31) & (labels == np.rint(labels))
        if not whole.all():
            raise InputError(f"{path}: labels must be integers or names, got {labels[~whole][0]}")
        labels = labels.astype(np.int64)
    if class_names and labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if class_names and labels.dtype.kind not in "iu":
        labels = _places(path, _text(labels), class_names)
    if labels.dtype.kind not in "iu" or not class_names:
        known, labels = np.unique(labels if labels.dtype.kind in "iu" else _text(labels), return_inverse=True)
        return labels.astype(np.int64), tuple(str(name) for name in known)
    twice = {name for name in class_names if class_names.count(name) > 1}
    if twice:
        raise InputError(f"{path}: several classes are called {min(twice)!r}; class_names must differ")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise InputError(f"{path}: labels must lie in 0..{len(class_names) - 1}, got {labels.min()}..{labels.max()}")
    return labels.astype(np.int64), class_names


def _places(path: Path, labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """Where each name stands among the class names."""
    if unknown := sorted(set(labels.tolist()) - set(class_names)):
        raise InputError(f"{path}: the label {unknown[0]!r} is not among its class_names, {', '.join(class_names)}")
    return np.array([class_names.index(label) for label in labels.tolist()], dtype=np.int64)


def _framed(
    path: Path, points: np.ndarray, columns: dict[str, np.ndarray | None], class_names: tuple[str, ...]
) -> tuple[Clouds, tuple[Failure, ...]]:
    """Clouds in any units, brought into the unit sphere; the way back joins the one that they came with."""
    finite = np.isfinite(points).all(axis=(1, 2))
    center, scale = frame(np.where(finite[:, None, None], points, 0).astype(np.float64))
    usable = finite & (scale > 0) & np.isfinite(scale)
    reasons = np.where(finite & (scale == 0), COINCIDE, "its points are not all finite, or too far apart for numbers")
    failures = _failures(path, columns["ids"], usable, reasons)
    kept = {key: None if column is None else column[usable] for key, column in columns.items()}
    points, center, scale = points[usable], center[usable], scale[usable]
    coordinates = ((points - center[:, None]) / scale[:, None, None]).astype(np.float32)
    if kept["mesh_scale"] is not None:
        center = center * kept["mesh_scale"][:, None] + kept["mesh_center"]
        scale = scale * kept["mesh_scale"]
    kept |= {"mesh_center": center, "mesh_scale": scale}
    return Clouds(points=coordinates, class_names=class_names, **kept), failures


def _failures(path: Path, ids: np.ndarray, usable: np.ndarray, reasons: np.ndarray) -> tuple[Failure, ...]:
    """The shapes that are left out, unless all are."""
    failures = tuple(Failure(str(ids[row]), str(reasons[row])) for row in np.flatnonzero(~usable))
    if not usable.any():
        raise InputError(f"{path}: none of its {len(ids)} shapes can be used ({failures[0].reason})")
    return failures


def _repeated(ids: np.ndarray) -> str:
    names, counts = np.unique(ids, return_counts=True)
    return str(names[counts > 1][0])
