"""Aeroplanes and cars. Their noses point to -y."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import board, box, ellipsoid, join, lathe, mirrored, rod, smooth, tilted

_CARS = {
    "saloon": [(0, 0.5), (0.28, 0.58), (0.4, 1), (0.7, 1), (0.84, 0.62), (1, 0.58)],
    "hatchback": [(0, 0.5), (0.26, 0.6), (0.4, 1), (0.86, 1), (0.97, 0.6), (1, 0.5)],
    "van": [(0, 0.42), (0.14, 0.5), (0.28, 1), (0.98, 1), (1, 0.6)],
    "estate": [(0, 0.5), (0.25, 0.58), (0.37, 1), (0.92, 1), (1, 0.6)],
    "sports": [(0, 0.45), (0.35, 0.66), (0.5, 1), (0.62, 1), (0.9, 0.72), (1, 0.68)],
    "pickup": [(0, 0.5), (0.24, 0.58), (0.33, 1), (0.56, 1), (0.6, 0.58), (1, 0.58)],
    "bus": [(0, 0.6), (0.03, 1), (1, 1)],
}
"""Upper outlines from the nose to the tail: rows (share of the length, share of the height)."""


def car(draw: np.random.Generator) -> Trimesh:
    """A car of one of several bodies on four wheels, with mirrors, a spoiler or a roof rack at times."""
    kind = draw.choice(list(_CARS))
    long, wide = draw.uniform(3.4, 5.2), draw.uniform(1.55, 2)
    tall = draw.uniform(1.1, 1.3) if kind == "sports" else draw.uniform(1.3, 1.7)
    if kind in ("van", "bus"):
        long, tall = draw.uniform(4.2, 6.5), draw.uniform(1.7, 2.4)
    sill, wheel = draw.uniform(0.15, 0.35), draw.uniform(0.26, 0.42)
    outline = [((share - 0.5) * long, sill + level * (tall - sill)) for share, level in _CARS[kind]]
    outline = [(-long / 2, sill), *outline, (long / 2, sill)]
    belt = [(y, min(z, sill + 0.6 * (tall - sill))) for y, z in outline]
    parts = [board(outline, draw.uniform(0.74, 0.96) * wide, "x"), board(belt, wide, "x")]
    axles = (-long * draw.uniform(0.28, 0.36), long * draw.uniform(0.26, 0.34))
    parts += [_wheel(x, y, wheel, 0.2) for x in (-0.46 * wide, 0.46 * wide) for y in axles]
    if draw.random() < 0.5:
        parts += mirrored(box(0.18, 0.1, 0.14, (wide / 2 + 0.06, -0.16 * long, sill + 0.6 * (tall - sill))))
    if draw.random() < (0.6 if kind == "sports" else 0.1):
        parts += [box(0.9 * wide, 0.25, 0.05, (0, 0.46 * long, sill + 0.85 * (tall - sill)))]
    if kind != "sports" and draw.random() < 0.15:
        parts += [box(0.7 * wide, 0.3 * long, 0.1, (0, 0.08 * long, tall))]
    return join(parts)


def aeroplane(draw: np.random.Generator) -> Trimesh:
    """An airliner, a jet or a light propeller plane: straight, swept or delta wings, engines, several tails."""
    long = draw.uniform(8, 12)
    radius = long * draw.uniform(0.035, 0.075)
    parts = [_fuselage(draw, long, radius)]
    style = draw.choice(["swept", "swept", "straight", "delta"])
    span, root = long * draw.uniform(0.32, 0.56), long * draw.uniform(0.12, 0.24)
    sweep = {"swept": draw.uniform(0.4, 0.8) * span, "straight": 0.05 * span, "delta": 0}[style]
    if style == "delta":
        root, span = long * draw.uniform(0.35, 0.5), 0.7 * span
        sweep = 0.75 * root
    y, z = -long * draw.uniform(0, 0.15), radius * draw.uniform(-0.7, 0.9)
    tip = root * draw.uniform(0.15, 0.35) if style != "straight" else 0.8 * root
    wing = _wing(span, root, tip, sweep, (0, y, z))
    parts += mirrored(tilted(wing, -draw.uniform(0, 8), (0, y, z), (0, 1, 0)))
    if style == "straight" and draw.random() < 0.3:
        parts += mirrored(_wing(span, root, tip, sweep, (0, y, z + 2.5 * radius)))
        parts += mirrored(rod((0.7 * span, y + root / 2, z), (0.7 * span, y + root / 2, z + 2.5 * radius), 0.06))
    parts += _tail(draw, long, radius, style)
    parts += _engines(draw, style, long, radius, span, sweep, (y, z))
    return join(parts)


def _wheel(x: float, y: float, radius: float, wide: float) -> Trimesh:
    return rod((x - wide / 2, y, radius), (x + wide / 2, y, radius), radius, sides=18)


def _fuselage(draw: np.random.Generator, long: float, radius: float) -> Trimesh:
    """A turned body with a blunt nose and a pointed tail, laid down so that its nose points to -y."""
    knots = [(0.02, 0), (radius, long * draw.uniform(0.08, 0.2)), (radius, 0.6 * long), (0.15 * radius, long)]
    body = lathe([(0, 0), *smooth(knots), (0, long)], (0, 0, -long / 2), sides=16)
    return tilted(body, -90, (0, 0, 0))


def _wing(span: float, root: float, tip: float, sweep: float, at: tuple[float, float, float]) -> Trimesh:
    """The right wing: `root` and `tip` are its lengths along the body, `sweep` how far the tip's front lies back."""
    outline = [(0, 0), (span, sweep), (span, sweep + tip), (0, root)]
    return board(outline, 0.09 * root, at=at)


def _tail(draw: np.random.Generator, long: float, radius: float, style: str) -> list[Trimesh]:
    """A fin with a tailplane at its foot or on its top; a delta has the fin alone."""
    root, tall, y = long * draw.uniform(0.09, 0.16), long * draw.uniform(0.1, 0.2), long * draw.uniform(0.32, 0.37)
    lean = draw.uniform(0.3, 0.9) * tall
    fin = board([(0, 0), (lean, tall), (lean + 0.5 * root, tall), (root, 0)], 0.08 * root, "x", (0, y, 0.3 * radius))
    if style == "delta":
        return [fin]
    high = draw.random() < 0.3
    z, back = (tall + 0.3 * radius, lean) if high else (0.3 * radius, 0)
    span = long * draw.uniform(0.12, 0.2)
    return [fin, *mirrored(_wing(span, 0.8 * root, 0.45 * root, 0.4 * span, (0, y + back, z)))]


def _engines(
    draw: np.random.Generator,
    style: str,
    long: float,
    radius: float,
    span: float,
    sweep: float,
    at: tuple[float, float],
) -> list[Trimesh]:
    """Jets under the wings or beside the tail of a swept plane, a propeller on a straight one."""
    y, z = at
    if style == "straight":
        blades = draw.uniform(0.08, 0.14) * long
        hub = ellipsoid(0.8 * radius, radius, 0.8 * radius, (0, -long / 2, -0.4 * radius))
        return [hub, box(2 * blades, 0.08, 0.16, (0, -long / 2 - 0.05, -0.08))]
    if style == "delta":
        return []
    size = radius * draw.uniform(0.35, 0.6)
    if draw.random() < 0.25:
        return mirrored(_jet(1.4 * radius, 0.26 * long, 0.4 * radius, size))
    shares = [draw.uniform(0.28, 0.4)] if draw.random() < 0.65 else [0.3, 0.58]
    jets = [_jet(share * span, y + share * sweep, z - 1.1 * size, size) for share in shares]
    return [side for jet in jets for side in mirrored(jet)]


def _jet(x: float, y: float, z: float, size: float) -> Trimesh:
    return rod((x, y - 1.5 * size, z), (x, y + 2.5 * size, z), size, sides=12)
