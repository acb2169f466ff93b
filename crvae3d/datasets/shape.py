"""One shape as a file holds it, and the reasons for which it cannot be used."""

import hashlib
from dataclasses import dataclass

import numpy as np

from crvae3d.errors import InputError


class BadShape(InputError):
    """One file cannot be used. The message is the reason in plain words, without the file's name."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh, or a cloud where `faces` is None, in the user's own units.

    Attributes:
        points: float64 (V, 3), the vertices of a mesh or the points of a cloud.
        faces: int64 (F, 3) into `points`, or None.
    """

    points: np.ndarray
    faces: np.ndarray | None = None

    def areas(self) -> np.ndarray:
        """The area of each triangle, float64 (F,)."""
        corners = self.points[self.faces]
        with np.errstate(over="ignore", invalid="ignore"):
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            return np.linalg.norm(normals, axis=1) / 2

    def digest(self) -> str:
        """The same for two shapes with the same numbers, whatever files they came from."""
        content = hashlib.blake2b(np.ascontiguousarray(self.points).tobytes(), digest_size=16)
        if self.faces is not None:
            content.update(np.ascontiguousarray(self.faces).tobytes())
        return content.hexdigest()


def validate(shape: Shape) -> Shape:
    """Return `shape` unchanged if points can be drawn from it.

    Raises:
        BadShape: no points, wrong columns, non-finite numbers, faces that point nowhere, or nothing to sample.
    """
    points = shape.points
    noun = "points" if shape.faces is None else "vertices"
    if points.ndim != 2 or points.shape[1] != 3:
        raise BadShape(f"{noun} must be rows of 3 numbers, got an array of shape {points.shape}")
    if len(points) == 0:
        raise BadShape(f"it holds no {noun}")
    broken = int((~np.isfinite(points)).any(axis=1).sum())
    if broken:
        raise BadShape(f"{broken} of its {len(points)} {noun} are not finite (NaN or infinite)")
    if shape.faces is None:
        if (points == points[0]).all():
            raise BadShape(f"all of its {len(points)} points coincide")
    else:
        _validate_faces(shape)
    return shape


def _validate_faces(shape: Shape) -> None:
    faces, vertices = shape.faces, len(shape.points)
    if len(faces) == 0:
        raise BadShape("it holds no faces")
    if faces.min() < 0 or faces.max() >= vertices:
        raise BadShape(f"a face names vertex {faces.max() if faces.min() >= 0 else faces.min()}, of {vertices}")
    area = shape.areas().sum()
    if not np.isfinite(area):
        raise BadShape("its surface area is too large for a number")
    extent = np.linalg.norm(
        np.ptp(shape.points[np.unique(faces)], axis=0)
    )  # of vertices that no face has nothing is drawn
    # A sliver that only rounding keeps from being flat has no surface to draw points from.
    if area <= 1e-12 * extent**2:
        raise BadShape("its surface area is zero")
