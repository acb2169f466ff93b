"""Seats for one without upholstery: chairs and stools. Their front faces -y."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import board, box, join, post, rod, rounded, tilted
from crvae3d.datasets.shapes.supports import corners, legs, pedestal, ring, runners, stretchers


def chair(draw: np.random.Generator) -> Trimesh:
    """A kitchen, garden, bar, office or club chair: a seat with a back, sometimes with arms."""
    width, depth = draw.uniform(0.38, 0.58), draw.uniform(0.38, 0.56)
    height, thick = draw.uniform(0.36, 0.52), draw.uniform(0.02, 0.09)
    kind = draw.random()
    if kind < 0.12:
        height = draw.uniform(0.6, 0.78)
    elif kind < 0.27:
        width, depth, thick = draw.uniform(0.52, 0.72), draw.uniform(0.52, 0.7), draw.uniform(0.1, 0.2)
        height = draw.uniform(0.2, 0.34)
    top = height + thick
    parts = [_seat(draw, width, depth, thick, height), *_chair_legs(draw, width, depth, height)]
    parts += _back(draw, width, depth, top)
    if draw.random() < 0.3:
        parts += _arms(draw, width, depth, top)
    return join(parts)


def stool(draw: np.random.Generator) -> Trimesh:
    """A seat without a back, or with a very low one, from a footstool to a bar stool."""
    width, height, thick = draw.uniform(0.28, 0.5), draw.uniform(0.25, 0.8), draw.uniform(0.025, 0.1)
    depth = width * draw.choice([1, 1, draw.uniform(0.6, 1)])
    round_seat = draw.random() < 0.5
    if round_seat:
        parts = [post(width / 2, thick, (0, 0, height), top=width / 2 * draw.uniform(0.85, 1), sides=24)]
    else:
        parts = [_seat(draw, width, depth, thick, height)]
    if draw.random() < 0.25:
        return join(parts + pedestal(draw, width * draw.uniform(0.35, 0.55), height))
    count = int(draw.choice([3, 4, 4])) if round_seat else 4
    spots = ring(count, 0.38 * width) if round_seat else corners(0.8 * width, 0.8 * depth)
    parts += legs(draw, spots, height, draw.uniform(0.012, 0.032))
    if draw.random() < 0.6:
        parts += stretchers(spots, height * draw.uniform(0.2, 0.6), 0.012)
    if draw.random() < 0.2:
        parts += [box(width, 0.03, draw.uniform(0.08, 0.25), (0, 0.48 * depth, height + thick))]
    return join(parts)


def _seat(draw: np.random.Generator, width: float, depth: float, thick: float, height: float) -> Trimesh:
    if draw.random() < 0.5:
        return box(width, depth, thick, (0, 0, height))
    outline = rounded(width, depth, draw.uniform(0.1, 0.33) * min(width, depth))
    return board(outline, thick, at=(0, 0, height + thick / 2))


def _chair_legs(draw: np.random.Generator, width: float, depth: float, height: float) -> list[Trimesh]:
    style, thick = draw.choice(["four", "four", "four", "pedestal", "runners"]), draw.uniform(0.012, 0.032)
    if style == "pedestal":
        return pedestal(draw, width * draw.uniform(0.45, 0.65), height)
    if style == "runners":
        return runners(0.78 * width, 0.8 * depth, height, 1.6 * thick)
    spots = corners(0.8 * width, 0.8 * depth)
    bars = stretchers(spots, height * draw.uniform(0.2, 0.6), 0.6 * thick) if draw.random() < 0.4 else []
    return legs(draw, spots, height, thick) + bars


def _back(draw: np.random.Generator, width: float, depth: float, top: float) -> list[Trimesh]:
    """A back above the rear edge of the seat: a board, upright bars, rungs, or a cushion on a post."""
    tall, thick, y = draw.uniform(0.28, 0.65), draw.uniform(0.015, 0.06), depth / 2 - 0.03
    style = draw.choice(["board", "board", "bars", "rungs", "cushion"])
    if style == "board":
        gap = draw.choice([0, draw.uniform(0, 0.2)])
        outline = rounded(width, tall - gap, draw.uniform(0.01, 0.5) * width)
        parts = [board(outline, thick, "y", (0, y, top + gap + (tall - gap) / 2))]
        parts += [rod((x * 0.8 * width, y, top), (x * 0.8 * width, y, top + tall / 2), 0.015) for x in (-0.5, 0.5)]
    elif style == "bars":
        places = np.linspace(-0.46, 0.46, int(draw.integers(3, 8))) * width
        parts = [rod((x, y, top), (x, y, top + tall), draw.uniform(0.007, 0.014), sides=6) for x in places]
        parts += [box(width, 0.035, 0.2 * tall, (0, y, top + 0.8 * tall))]
    elif style == "rungs":
        parts = [box(0.04, 0.035, tall, (x * width, y, top)) for x in (-0.46, 0.46)]
        levels = np.linspace(0.25, 0.85, int(draw.integers(2, 5)))
        parts += [box(width, 0.02, 0.12 * tall, (0, y, top + level * tall)) for level in levels]
    else:
        outline = rounded(draw.uniform(0.7, 1) * width, 0.6 * tall, 0.1)
        parts = [board(outline, 1.5 * thick, "y", (0, y, top + 0.7 * tall)), box(0.06, 0.03, 0.7 * tall, (0, y, top))]
    lean = draw.uniform(0, 14)
    return [tilted(part, -lean, (0, y, top)) for part in parts]


def _arms(draw: np.random.Generator, width: float, depth: float, top: float) -> list[Trimesh]:
    rise, long, wide = draw.uniform(0.15, 0.26), draw.uniform(0.6, 0.95) * depth, draw.uniform(0.03, 0.07)
    parts = []
    for x in (-width / 2, width / 2):
        parts += [box(wide, long, 0.03, (x, (depth - long) / 2, top + rise))]
        parts += [box(0.03, 0.03, rise + 0.02, (x, depth / 2 - 0.9 * long, top - 0.02))]
    return parts
