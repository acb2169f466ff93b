"""Guitars, standing upright with their strings to the front, -y."""

import numpy as np
from shapely.geometry import Point, Polygon
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import board, box, join, rod, smooth


def guitar(draw: np.random.Generator) -> Trimesh:
    """A hollow, solid or V-shaped body, a neck, a head with pegs; from a ukulele to a bass by its proportions."""
    tall, wide = draw.uniform(0.38, 0.52), draw.uniform(0.15, 0.21)
    style = draw.choice(["hollow", "hollow", "solid", "vee"])
    outline = _vee(draw, tall, wide) if style == "vee" else _waisted(draw, tall, wide, cut=style == "solid")
    deep = draw.uniform(0.07, 0.12) if style == "hollow" else draw.uniform(0.035, 0.055)
    front, neck = -deep / 2, draw.uniform(0.28, 0.5)
    parts = [board(outline, deep, "y"), box(0.08, 0.02, 0.02, (0, front - 0.01, 0.22 * tall))]
    if style == "hollow":
        parts += [rod((0, front - 0.004, 0.6 * tall), (0, front, 0.6 * tall), 0.3 * wide, sides=20)]
    elif draw.random() < 0.7:
        parts += [box(0.09, 0.015, 0.03, (0, front - 0.008, level * tall)) for level in (0.4, 0.55)]
    low = 0.7 * tall
    nut = tall + neck
    parts += [box(0.05, 0.025, nut - low, (0, front, low)), *_head(draw, nut, front)]
    return join(parts)


def _waisted(draw: np.random.Generator, tall: float, wide: float, cut: bool) -> np.ndarray:
    """The outline of a body with a waist and, where `cut`, with one or two hollows beside the neck."""
    waist, upper = wide * draw.uniform(0.55, 0.8), wide * draw.uniform(0.65, 0.9)
    heights = np.array([0, 0.03, 0.25, 0.57, 0.8, 0.97, 1]) * tall
    half = smooth(
        list(zip([0.3 * wide, 0.6 * wide, wide, waist, upper, 0.55 * upper, 0.3 * upper], heights, strict=True))
    )
    body = Polygon(np.vstack([half, half[::-1] * (-1, 1)]))
    sides = [(), (1,), (-1, 1)][int(draw.integers(1, 3) if cut else draw.choice([0, 0, 1]))]
    for side in sides:
        body = body.difference(Point(0.75 * side * upper, 1.02 * tall).buffer(0.55 * upper, quad_segs=4))
    return np.asarray(body.exterior.coords[:-1])


def _vee(draw: np.random.Generator, tall: float, wide: float) -> np.ndarray:
    """The outline of a body with two wings that spread downwards."""
    notch, spread = draw.uniform(0.3, 0.55) * tall, wide * draw.uniform(0.9, 1.2)
    return np.array([(0, notch), (spread, 0), (1.05 * spread, 0.15 * tall), (0.04, tall), (-0.04, tall)]
                    + [(-1.05 * spread, 0.15 * tall), (-spread, 0)])  # fmt: skip


def _head(draw: np.random.Generator, nut: float, front: float) -> list[Trimesh]:
    """The head above the neck, pegs on both of its sides or on the left alone."""
    long, wide, flare = draw.uniform(0.12, 0.2), draw.uniform(0.03, 0.045), draw.uniform(-0.01, 0.02)
    outline = [(-0.025, 0), (0.025, 0), (wide + flare, long), (-wide - flare, long)]
    sides = (-1, 1) if draw.random() < 0.6 else (-1,)
    parts = [board(outline, 0.02, "y", (0, front + 0.01, nut))]
    for level in np.linspace(0.25, 0.85, int(draw.integers(2, 4)) * (1 if len(sides) == 2 else 2)):
        z = nut + level * long
        parts += [rod((0, front + 0.01, z), (side * (wide + 0.035), front + 0.01, z), 0.006, sides=6) for side in sides]
    return parts
