"""Shelves and cabinets. Their fronts face -y."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import box, join, post
from crvae3d.datasets.shapes.supports import corners, legs


def shelf(draw: np.random.Generator) -> Trimesh:
    """Boards between sides or posts, with or without a back, upright dividers, books, and doors below."""
    width, depth, height = draw.uniform(0.4, 1.8), draw.uniform(0.2, 0.5), draw.uniform(0.5, 2.2)
    thick, foot = draw.uniform(0.015, 0.05), draw.choice([0, draw.uniform(0.03, 0.2)])
    levels = np.linspace(foot, height - thick, int(draw.integers(3, 7)))
    parts = [box(width, depth, thick, (0, 0, level)) for level in levels]
    if draw.random() < 0.65:
        parts += [box(thick, depth, height, (x * width, 0, 0)) for x in (-0.5, 0.5)]
    else:
        parts += [post(0.8 * thick, height, (x, y, 0), sides=4) for x, y in corners(0.97 * width, 0.92 * depth)]
    if draw.random() < 0.5:
        parts += [box(width, 0.015, height - foot, (0, depth / 2, foot))]
    for x in np.linspace(-0.5, 0.5, int(draw.integers(1, 4)) + 1)[1:-1]:
        parts += [box(thick, 0.96 * depth, levels[-1] - foot, (x * width, 0, foot))]
    if draw.random() < 0.5:
        parts += _books(draw, levels, width, depth, thick)
    if draw.random() < 0.35:
        rise = draw.choice(levels[1:-1]) - foot
        parts += _fronts(draw, int(draw.integers(1, 4)), 1, width, -depth / 2, foot, rise)
    return join(parts)


def cabinet(draw: np.random.Generator) -> Trimesh:
    """A box with drawers or doors, from a bedside table to a wardrobe, closed or with an open row on top."""
    width, depth = draw.uniform(0.4, 1.6), draw.uniform(0.35, 0.65)
    height, foot = draw.uniform(0.45, 1.3), draw.uniform(0.02, 0.25)
    if draw.random() < 0.2:
        height, width = draw.uniform(1.6, 2.1), draw.uniform(0.6, 1.3)
    columns, rows = int(draw.integers(1, 4)), int(draw.integers(1, 5))
    tall = (height - foot) * draw.choice([1, 1, draw.uniform(0.35, 0.8)])
    parts = [box(width, depth, tall, (0, 0, foot))]
    parts += legs(draw, corners(0.88 * width, 0.84 * depth), foot, draw.uniform(0.02, 0.04))
    parts += _fronts(draw, columns, rows, width, -depth / 2, foot, tall)
    if tall < height - foot:
        parts += [box(0.03, depth, height - foot - tall, (x * width, 0, foot + tall)) for x in (-0.49, 0, 0.49)]
        parts += [box(width, 0.02, height - foot - tall, (0, 0.49 * depth, foot + tall))]
        parts += [box(width, depth, 0.03, (0, 0, height))]
    if draw.random() < 0.5:
        over = draw.uniform(1.02, 1.1)
        parts += [box(over * width, over * depth, draw.uniform(0.02, 0.05), (0, 0, height))]
    if draw.random() < 0.2:
        parts += [box(0.9 * width, 0.03, draw.uniform(0.15, 0.5), (0, depth / 2 - 0.03, height))]
    return join(parts)


def _books(draw: np.random.Generator, levels: np.ndarray, width: float, depth: float, thick: float) -> list[Trimesh]:
    """A stack on most boards, pushed to one side, from a few books to a full row."""
    parts, room = [], levels[1] - levels[0]
    for level in levels[:-1]:
        if draw.random() < 0.7:
            long, tall = draw.uniform(0.2, 0.9) * width, draw.uniform(0.4, 0.85) * room
            x = draw.choice([-1, 1]) * (width - long) / 2
            parts += [box(long, 0.6 * depth, tall, (x, 0.1 * depth, level + thick))]
    return parts


def _fronts(
    draw: np.random.Generator, columns: int, rows: int, width: float, y: float, foot: float, tall: float
) -> list[Trimesh]:
    """A grid of drawer fronts or doors that stand out from the body a little, each with a knob or a bar."""
    wide, high, thick = width / columns, tall / rows, draw.uniform(0.01, 0.04)
    bar = draw.choice([0.03, draw.uniform(0.1, 0.5) * wide])
    parts = []
    for x in (np.arange(columns) - (columns - 1) / 2) * wide:
        for z in foot + np.arange(rows) * high:
            parts += [box(0.94 * wide, thick, 0.92 * high, (x, y - thick / 2, z + 0.04 * high))]
            parts += [box(bar, 0.03, 0.03, (x, y - thick - 0.015, z + 0.5 * high))]
    return parts
