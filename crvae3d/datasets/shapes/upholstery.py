"""Soft furniture: armchairs, sofas and beds. They face -y, so that a bed has its head at +y and a day bed its back."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import board, box, join, post, rounded, tilted
from crvae3d.datasets.shapes.supports import corners, legs, panels


def armchair(draw: np.random.Generator) -> Trimesh:
    """A wide soft seat for one, with arms; sometimes with the high back and wings of a wing chair."""
    width, depth = draw.uniform(0.65, 1.25), draw.uniform(0.65, 0.95)
    if draw.random() < 0.3:
        return _easy_chair(draw, draw.uniform(0.6, 0.8), depth)
    return join(_soft_seat(draw, width, depth, tall=draw.uniform(0.35, 0.75), seats=1, arms=True))


def sofa(draw: np.random.Generator) -> Trimesh:
    """A soft seat for two to four, with or without arms, sometimes with a chaise longue at one end."""
    seats, depth = int(draw.choice([2, 2, 3, 4])), draw.uniform(0.7, 1)
    width = seats * draw.uniform(0.42, 0.7) + draw.uniform(0.1, 0.4)
    parts = _soft_seat(draw, width, depth, tall=draw.uniform(0.25, 0.5), seats=seats, arms=draw.random() < 0.8)
    if draw.random() < 0.2:
        side, reach, share = draw.choice([-1, 1]), draw.uniform(0.4, 0.9), width / seats
        parts += [box(share, reach, 0.4, (side * (width - share) / 2, -(depth + reach) / 2, 0.05))]
    return join(parts)


def bed(draw: np.random.Generator) -> Trimesh:
    """A bed for one or two: a frame, a mattress, a headboard, a footboard or posts; or a day bed with a back."""
    width, long = draw.uniform(0.8, 2), draw.uniform(1.85, 2.2)
    base, mattress = draw.uniform(0.2, 0.45), draw.uniform(0.12, 0.32)
    top = base + mattress
    parts = [box(0.97 * width, 0.97 * long, mattress, (0, 0, base)), *_bed_frame(draw, width, long, base)]
    if draw.random() < 0.85:
        parts += [_bed_end(draw, width, top + draw.uniform(0.1, 0.8), long / 2)]
    if draw.random() < 0.35:
        parts += [_bed_end(draw, width, base + draw.uniform(0.1, 0.5), -long / 2)]
    if draw.random() < 0.7:
        places = [0] if width < 1.2 else [-width / 4, width / 4]
        parts += [box(0.4 * width + 0.1, 0.4, 0.12, (x, long / 2 - 0.35, top)) for x in places]
    kind = draw.random()
    if kind < 0.1:
        parts += [post(0.04, draw.uniform(1.1, 2), (x, y, 0), sides=4) for x, y in corners(width, long)]
    elif kind < 0.25:
        parts += [box(0.08, long, top + draw.uniform(0.2, 0.4), (width / 2, 0, 0))]
        return tilted(join(parts), 90, (0, 0, 0), axis=(0, 0, 1))
    return join(parts)


def _soft_seat(
    draw: np.random.Generator, width: float, depth: float, tall: float, seats: int, arms: bool
) -> list[Trimesh]:
    """A padded bench with cushions, a back `tall` above the seat, and arms."""
    feet, base, cushion = draw.uniform(0.02, 0.2), draw.uniform(0.12, 0.3), draw.uniform(0.08, 0.18)
    top, deep = feet + base + cushion, draw.uniform(0.12, 0.28)
    arm = min(draw.uniform(0.08, 0.26), 0.22 * width) if arms else 0
    inner, share = width - 2 * arm, (width - 2 * arm) / seats
    parts = legs(draw, corners(0.85 * width, 0.8 * depth), feet, draw.uniform(0.02, 0.04))
    parts += [box(width, depth, base, (0, 0, feet))]
    for x in (np.arange(seats) - (seats - 1) / 2) * share:
        parts += [box(0.97 * share, depth - deep, cushion, (x, -deep / 2, feet + base))]
    corner = draw.choice([0.01, draw.uniform(0.05, 0.3)])
    back = board(rounded(inner, tall + cushion, corner), deep, "y", (0, (depth - deep) / 2, top + (tall - cushion) / 2))
    parts += [tilted(back, -draw.uniform(0, 12), (0, depth / 2, top))]
    if arms:
        rise = base + cushion + draw.uniform(0.05, 0.3)
        parts += [_soft_arm(draw, x, arm, depth, rise, feet) for x in ((arm - width) / 2, (width - arm) / 2)]
    if arms and seats == 1 and draw.random() < 0.25:
        parts += [box(0.06, 0.3, tall, (x * inner, depth / 2 - 0.2, top)) for x in (-0.5, 0.5)]
    return parts


def _soft_arm(draw: np.random.Generator, x: float, wide: float, depth: float, rise: float, feet: float) -> Trimesh:
    outline = rounded(wide, rise, draw.choice([0.01, 0.5]) * wide)
    return board(outline, 0.95 * depth, "y", (x, -0.02 * depth, feet + rise / 2))


def _easy_chair(draw: np.random.Generator, width: float, depth: float) -> Trimesh:
    """Two cushions in an open frame, leaning back."""
    height, rise = draw.uniform(0.25, 0.4), draw.uniform(0.2, 0.3)
    thick, tall = draw.uniform(0.08, 0.16), draw.uniform(0.45, 0.75)
    seat = tilted(box(0.9 * width, depth, thick, (0, 0, height)), -draw.uniform(2, 10), (0, depth / 2, height))
    back = box(0.9 * width, thick, tall, (0, depth / 2 - thick, height + thick / 2))
    parts = [seat, tilted(back, -draw.uniform(5, 25), (0, depth / 2, height))]
    parts += [box(0.07, 0.9 * depth, 0.03, (x * width, 0, height + rise)) for x in (-0.5, 0.5)]
    parts += legs(draw, corners(width, 0.8 * depth), height + rise, 0.022)
    return join(parts)


def _bed_frame(draw: np.random.Generator, width: float, long: float, base: float) -> list[Trimesh]:
    """A closed base, side panels, or rails on legs."""
    style = draw.choice(["closed", "panels", "legs", "legs"])
    if style == "closed":
        return [box(width, long, base)]
    if style == "panels":
        return [box(width, long, 0.05, (0, 0, base - 0.05)), *panels(width, long, base, 0.04)]
    rail = draw.uniform(0.3, 0.8) * base
    feet = legs(draw, corners(0.94 * width, 0.94 * long), base, draw.uniform(0.03, 0.06))
    return [box(width, long, rail, (0, 0, base - rail)), *feet]


def _bed_end(draw: np.random.Generator, width: float, height: float, y: float) -> Trimesh:
    """A board at the head or at the foot, straight or with round upper corners."""
    outline = rounded(width, height, draw.choice([0.01, draw.uniform(0.1, 0.4)]))
    return board(outline, draw.uniform(0.03, 0.12), "y", (0, y, height / 2))
