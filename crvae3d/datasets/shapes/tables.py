"""Tables and desks. A desk's front, where one sits, faces -y."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import board, box, join, post, rounded
from crvae3d.datasets.shapes.supports import corners, legs, panels, pedestal, ring, runners, stretchers, trestle


def table(draw: np.random.Generator) -> Trimesh:
    """A dining, coffee or side table with a round or straight top, a board or a drawer below it at times."""
    height = draw.choice([draw.uniform(0.3, 0.5), draw.uniform(0.65, 0.8), draw.uniform(0.65, 0.8)])
    width, thick = draw.uniform(0.5, 2), draw.uniform(0.02, 0.09)
    if draw.random() < 0.15:
        width, height = draw.uniform(0.35, 0.6), draw.uniform(0.45, 0.75)
    depth = min(width * draw.uniform(0.45, 1), 1.1)
    if draw.random() < 0.35:
        return _round_table(draw, min(width, 1.4), height, thick)
    outline = rounded(width, depth, draw.choice([0.005, draw.uniform(0.03, 0.25) * depth]))
    parts = [board(outline, thick, at=(0, 0, height - thick / 2)), *_table_legs(draw, width, depth, height - thick)]
    if draw.random() < 0.35:
        apron = draw.uniform(0.05, 0.12)
        parts += [box(0.85 * width, 0.85 * depth, apron, (0, 0, height - thick - apron))]
    if draw.random() < 0.2:
        parts += [box(0.8 * width, 0.8 * depth, 0.02, (0, 0, height * draw.uniform(0.15, 0.5)))]
    if draw.random() < 0.15:
        chest = height * draw.uniform(0.2, 0.6)
        parts += [box(0.7 * width, 0.7 * depth, chest, (0, 0, height - thick - chest))]
    return join(parts)


def desk(draw: np.random.Generator) -> Trimesh:
    """A writing desk: drawers on one side, both or none, a panel at the back, sometimes shelves on top."""
    width, depth = draw.uniform(0.9, 1.9), draw.uniform(0.5, 0.9)
    height, thick = draw.uniform(0.68, 0.8), draw.uniform(0.02, 0.06)
    under = height - thick
    parts = [box(width, depth, thick, (0, 0, under))]
    sides = {"none": [], "left": [-1], "right": [1], "both": [-1, 1]}[
        draw.choice(["none", "none", "left", "right", "both"])
    ]
    for side in sides:
        parts += _drawers(draw, side, width, depth, under)
    if len(sides) < 2:
        parts += _desk_legs(draw, sides, width, depth, under)
    if draw.random() < 0.5:
        panel = draw.uniform(0.3, 0.95) * under
        parts += [box(0.96 * width, 0.02, panel, (0, 0.44 * depth, under - panel))]
    if draw.random() < 0.25:
        parts += [box(0.9 * width, 0.9 * depth, 0.1, (0, 0, under - 0.1))]
    if draw.random() < 0.25:
        parts += _hutch(draw, width, depth, height)
    if draw.random() < 0.2:
        side, reach = draw.choice([-1, 1]), draw.uniform(0.4, 0.9)
        x, y = side * (width / 2 - 0.25), -(depth + reach) / 2
        parts += [box(0.5, reach, thick, (x, y, under)), box(0.5, 0.03, under, (x, y - reach / 2 + 0.02, 0))]
    return join(parts)


def _table_legs(draw: np.random.Generator, width: float, depth: float, height: float) -> list[Trimesh]:
    style = draw.choice(["four", "four", "four", "panels", "runners", "trestle", "pedestal"])
    thick, inset = draw.uniform(0.018, 0.055), draw.uniform(0.7, 0.92)
    if style == "panels":
        return panels(inset * width, inset * depth, height, thick)
    if style == "runners":
        return runners(inset * width, inset * depth, height, thick)
    if style == "trestle":
        return trestle(inset * width, inset * depth, height, thick)
    if style == "pedestal":
        return pedestal(draw, 0.4 * depth, height)
    spots = corners(inset * width, inset * depth)
    bars = stretchers(spots, height * draw.uniform(0.1, 0.5), 0.5 * thick) if draw.random() < 0.2 else []
    return legs(draw, spots, height, thick) + bars


def _round_table(draw: np.random.Generator, width: float, height: float, thick: float) -> Trimesh:
    top = post(width / 2, thick, (0, 0, height - thick), sides=32)
    if draw.random() < 0.5:
        return join([top, *pedestal(draw, width * draw.uniform(0.25, 0.42), height - thick)])
    spots = ring(int(draw.integers(3, 5)), width * draw.uniform(0.3, 0.45))
    return join([top, *legs(draw, spots, height - thick, draw.uniform(0.015, 0.04))])


def _drawers(draw: np.random.Generator, side: int, width: float, depth: float, under: float) -> list[Trimesh]:
    """A block of drawers under one side of a desk, each drawer a front with a knob."""
    wide, tall, count = draw.uniform(0.25, 0.45), under * draw.uniform(0.6, 1), int(draw.integers(2, 5))
    x, front = side * (width - wide) / 2, -0.46 * depth
    parts = [box(wide, 0.92 * depth, tall, (x, 0, under - tall))]
    for level in range(count):
        z, step = under - tall + (level + 0.08) * tall / count, tall / count
        parts += [box(0.9 * wide, 0.02, 0.84 * step, (x, front, z)), box(0.12, 0.03, 0.02, (x, front, z + 0.4 * step))]
    if tall < 0.95 * under:
        parts += [post(0.02, under - tall, (x + a, b, 0), sides=4) for a, b in corners(0.8 * wide, 0.8 * depth)]
    return parts


def _desk_legs(draw: np.random.Generator, sides: list[int], width: float, depth: float, height: float) -> list[Trimesh]:
    """Legs or panels on the sides of a desk that have no drawers."""
    free = [side for side in (-1, 1) if side not in sides]
    if draw.random() < 0.4:
        return [box(0.03, 0.92 * depth, height, (0.48 * side * width, 0, 0)) for side in free]
    spots = [spot for spot in corners(0.92 * width, 0.88 * depth) if np.sign(spot[0]) in free]
    return legs(draw, spots, height, draw.uniform(0.018, 0.04))


def _hutch(draw: np.random.Generator, width: float, depth: float, height: float) -> list[Trimesh]:
    """Shelves that stand on the rear half of a desk."""
    tall, deep = draw.uniform(0.25, 0.7), draw.uniform(0.2, 0.35)
    y = (depth - deep) / 2
    parts = [box(0.02, deep, tall, (x * width, y, height)) for x in (-0.48, 0, 0.48)]
    levels = [0.5, 1] if draw.random() < 0.5 else [1]
    return parts + [box(0.98 * width, deep, 0.02, (0, y, height + level * tall)) for level in levels]
