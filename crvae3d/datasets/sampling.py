"""From one file to the row that the store keeps of it: points drawn, centred, scaled, rounded.

Imports numpy only, so that a worker process starts in a fraction of a second.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from crvae3d.datasets.readers import parse_shape
from crvae3d.datasets.shape import BadShape, Shape
from crvae3d.datasets.sources import Source

ROUNDING = 64 * np.finfo(np.float64).eps
"""What a mean of equal numbers is off by, at most, in parts of the number."""

SCALE = 1 / 32767
"""What a stored int16 is worth: coordinates in [-1, 1] to 1.5e-5."""


@dataclass(frozen=True, eq=False)
class Row:
    """What the store keeps of one shape: `original = points * SCALE * scale + center`.

    Attributes:
        points: int16 (N, 3), in random order: any prefix is itself an area-uniform sample.
        center: float64 (3,).
        scale: the largest distance from the centre, in the user's units.
        digest: the content of the file, to find duplicates.
        own: so many of the points were drawn; of a smaller cloud they are repeated.
    """

    points: np.ndarray
    center: np.ndarray
    scale: float
    digest: str
    own: int


def sample_source(source: Source, count: int, seed: int, y_up: bool = False) -> Row | str:
    """Read one file and draw `count` points from it, or return the reason why that cannot be done.

    The draw depends on the file's own name and `seed` only, so neither on the order of files nor on processes.
    """
    try:
        shape = parse_shape(source.read(), source.suffix, None if source.member else source.path)
    except BadShape as bad:
        return str(bad)
    except Exception as error:  # a broken disk or zip member: named in the report, as every bad file
        return f"it cannot be opened ({type(error).__name__}: {error})"
    if y_up:
        shape = Shape(to_z_up(shape.points), shape.faces)
    distinct = draw_points(shape, count, generator_of(source.name, seed))
    center, scale = frame(distinct)
    if not 0 < scale < np.inf:
        return "its points coincide up to rounding, or are too far apart for numbers"
    coordinates = np.resize(distinct, (count, 3))
    return Row(quantise((coordinates - center) / scale), center, float(scale), shape.digest(), len(distinct))


def generator_of(name: str, seed: int) -> np.random.Generator:
    """The generator of the shape called `name`."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def draw_points(shape: Shape, count: int, generator: np.random.Generator) -> np.ndarray:
    """Points of `shape`, float64 (n, 3): n = `count` from a mesh, at most `count` of a cloud's own, in random order."""
    if shape.faces is None:
        return shape.points[generator.permutation(len(shape.points))[:count]]
    edges = np.cumsum(shape.areas())
    faces = np.searchsorted(edges, generator.random(count) * edges[-1], side="right")
    corners = shape.points[shape.faces[np.minimum(faces, len(edges) - 1)]]
    along = generator.random((count, 2, 1))
    outside = along.sum(axis=1) > 1  # the other half of the parallelogram, folded back into the triangle
    along[outside[:, 0]] = 1 - along[outside[:, 0]]
    origin = corners[:, 0]
    return origin + along[:, 0] * (corners[:, 1] - origin) + along[:, 1] * (corners[:, 2] - origin)


def frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centroid (..., 3) of `points` (..., N, 3) and the largest distance (...) from it, 0 where that is rounding."""
    center = points.mean(axis=-2)
    with np.errstate(over="ignore"):  # what is too far apart for numbers has an infinite one
        radius = np.linalg.norm(points - center[..., None, :], axis=-1).max(axis=-1)
    return center, np.where(radius > ROUNDING * np.abs(points).max(axis=(-2, -1)), radius, 0.0)


def quantise(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates in [-1, 1] as int16 multiples of `SCALE`."""
    return np.rint(np.clip(coordinates, -1, 1) / SCALE).astype(np.int16)


def to_z_up(points: np.ndarray) -> np.ndarray:
    """Turn points (..., 3) whose y is up a quarter about x: (x, y, z) becomes (x, -z, y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)
