"""The parts that shapes are put together from: boxes, posts, lathed bodies, tubes and cut-out boards.

Metres; z is up, x to the right, and the front of a thing faces -y. A part stands on the point `at`, the middle of its
base, unless its docstring says otherwise. Every part is a closed surface.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import trimesh
from scipy.interpolate import PchipInterpolator
from shapely.geometry import Point, Polygon
from trimesh import Trimesh, creation
from trimesh.transformations import rotation_matrix

Vector = Sequence[float]

# Turn the plane of an outline, whose own axes are (first, second, thickness), so that the thickness lies along a named
# axis: along x it was drawn in (y, z), along y in (x, z), along z in (x, y).
_STAND = {
    "x": [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    "y": [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    "z": np.eye(4),
}


def join(parts: Iterable[Trimesh]) -> Trimesh:
    """One mesh of all `parts`; where they overlap, their surfaces are kept as they are, as in most models by hand."""
    return trimesh.util.concatenate(list(parts))


def box(width: float, depth: float, height: float, at: Vector = (0, 0, 0)) -> Trimesh:
    """A box of `width` (x), `depth` (y) and `height` (z)."""
    x, y, z = at
    return creation.box(bounds=[[x - width / 2, y - depth / 2, z], [x + width / 2, y + depth / 2, z + height]])


def post(radius: float, height: float, at: Vector = (0, 0, 0), top: float | None = None, sides: int = 16) -> Trimesh:
    """An upright column that narrows or widens from `radius` to `top`; with 4 `sides` a square one, along x and y."""
    top = radius if top is None else top
    column = creation.revolve([(0, 0), (radius, 0), (top, height), (0, height)], sections=sides)
    if sides == 4:
        column.apply_transform(rotation_matrix(np.pi / 4, (0, 0, 1)))
    return column.apply_translation(at)


def rod(start: Vector, end: Vector, radius: float, sides: int = 8) -> Trimesh:
    """A straight round bar from `start` to `end`."""
    return creation.cylinder(radius, segment=[start, end], sections=sides)


def tube(path: Sequence[Vector], radius: float, along: str = "y", at: Vector = (0, 0, 0)) -> Trimesh:
    """A round bar along the bends of `path` (K, 2), drawn in the plane across `along` as a `board`'s outline is."""
    # Swept lying down: upright, trimesh's sweep turns over where a path passes through the vertical.
    flat = creation.sweep_polygon(Point(0, 0).buffer(radius, quad_segs=2), np.pad(path, ((0, 0), (0, 1))))
    return flat.apply_transform(_STAND[along]).apply_translation(at)


def lathe(profile: Sequence[Vector], at: Vector = (0, 0, 0), sides: int = 32) -> Trimesh:
    """A body turned about z from `profile` (K, 2): rows (radius, height), from the axis at the foot to the axis."""
    return creation.revolve(profile, sections=sides).apply_translation(at)


def ellipsoid(width: float, depth: float, height: float, at: Vector = (0, 0, 0)) -> Trimesh:
    """A ball stretched to `width` (x), `depth` (y) and `height` (z)."""
    ball = creation.uv_sphere(0.5, count=(12, 16))
    return ball.apply_scale((width, depth, height)).apply_translation(np.add(at, (0, 0, height / 2)))


def board(outline: Sequence[Vector], thickness: float, along: str = "z", at: Vector = (0, 0, 0)) -> Trimesh:
    """A flat piece cut out along `outline` (K, 2), its thickness centred on `at` along the axis `along`.

    The outline is drawn in the two other axes, in the order of the alphabet, relative to `at`.
    """
    flat = creation.extrude_polygon(Polygon(outline), thickness, mid_plane=True)
    return flat.apply_transform(_STAND[along]).apply_translation(at)


def rounded(width: float, height: float, corner: float) -> np.ndarray:
    """The outline (K, 2) of a rectangle about the origin with corners of radius `corner`; the largest gives an oval."""
    corner = min(corner, 0.499 * min(width, height))
    inner = Point(0, 0).buffer(corner, quad_segs=5).exterior.coords[:-1]
    push = np.sign(np.round(inner, 9)) * (width / 2 - corner, height / 2 - corner)
    return np.asarray(Polygon(inner + push).convex_hull.exterior.coords[:-1])


def tilted(mesh: Trimesh, degrees: float, about: Vector, axis: Vector = (1, 0, 0)) -> Trimesh:
    """Turn `mesh` in place by `degrees` about the line through `about` along `axis`; about x, tops move towards -y."""
    return mesh.apply_transform(rotation_matrix(np.radians(degrees), axis, about))


def smooth(knots: Sequence[Vector], count: int = 24) -> np.ndarray:
    """The profile (count, 2) of rows (radius, height) that runs through `knots`, rising, without overshooting them."""
    radii, heights = np.transpose(knots)
    levels = np.linspace(heights[0], heights[-1], count)
    return np.column_stack([PchipInterpolator(heights, radii)(levels), levels])


def mirrored(mesh: Trimesh) -> list[Trimesh]:
    """`mesh` and its mirror image on the other side of x = 0."""
    return [mesh, mesh.copy().apply_transform(np.diag([-1.0, 1, 1, 1]))]
