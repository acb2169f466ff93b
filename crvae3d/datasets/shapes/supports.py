"""What furniture stands on: four legs, three, a pedestal, runners, side panels."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import box, post, rod


def corners(width: float, depth: float) -> list[tuple[float, float]]:
    """The four corners (x, y) of a rectangle about the origin, around it."""
    return [(x * width / 2, y * depth / 2) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def ring(count: int, radius: float) -> list[tuple[float, float]]:
    """`count` points (x, y) evenly on a circle, the first at the front."""
    angles = 2 * np.pi * np.arange(count) / count - np.pi / 2
    return [(radius * np.cos(angle), radius * np.sin(angle)) for angle in angles]


def legs(draw: np.random.Generator, spots: list[tuple[float, float]], height: float, thick: float) -> list[Trimesh]:
    """Legs under `spots` (x, y), all of one style: square or round, straight, tapered or splayed outwards."""
    splay = draw.choice([0, 0, draw.uniform(0.05, 0.25)])
    sides = int(draw.choice([4, 12]))
    foot = thick * draw.choice([1, draw.uniform(0.5, 0.9)])
    if splay == 0:
        return [post(foot, height, (x, y, 0), top=thick, sides=sides) for x, y in spots]
    reach = 1 + splay * height / max(np.hypot(x, y) for x, y in spots)
    return [rod((reach * x, reach * y, 0), (x, y, height), thick, sides=sides) for x, y in spots]


def stretchers(spots: list[tuple[float, float]], height: float, radius: float) -> list[Trimesh]:
    """Bars at `height` between neighbouring `spots`."""
    return [
        rod((*start, height), (*end, height), radius, sides=6)
        for start, end in zip(spots, spots[1:] + spots[:1], strict=True)
    ]


def pedestal(draw: np.random.Generator, reach: float, height: float) -> list[Trimesh]:
    """One column in the middle, on a disc or on 3 to 5 feet that reach `reach` from it."""
    thick = draw.uniform(0.06, 0.16) * reach + 0.015
    column = post(thick, height, top=thick * draw.uniform(0.6, 1.2))
    if draw.random() < 0.5:
        return [column, post(reach, draw.uniform(0.02, 0.06), top=reach * draw.uniform(0.5, 1))]
    rise = draw.uniform(0.04, 0.15)
    spots = ring(int(draw.integers(3, 6)), reach)
    return [column, *(rod((0, 0, rise), (x, y, 0.02), 0.6 * thick, sides=6) for x, y in spots)]


def runners(width: float, depth: float, height: float, thick: float) -> list[Trimesh]:
    """Two frames, left and right: a bar along the floor and an upright at each of its ends."""
    uprights = [box(thick, thick, height, (x, y, 0)) for x, y in corners(width, depth)]
    return uprights + [box(thick, depth, thick, (x * width / 2, 0, 0)) for x in (-1, 1)]


def panels(width: float, depth: float, height: float, thick: float) -> list[Trimesh]:
    """Two closed sides, left and right."""
    return [box(thick, depth, height, (x * width / 2, 0, 0)) for x in (-1, 1)]


def trestle(width: float, depth: float, height: float, thick: float) -> list[Trimesh]:
    """Two T-shaped supports, left and right, with a beam between them."""
    parts = [box(width, thick, thick, (0, 0, 0.4 * height))]
    for x in (-width / 2, width / 2):
        parts += [box(2 * thick, 3 * thick, height, (x, 0, 0)), box(2 * thick, depth, thick, (x, 0, 0))]
    return parts
