"""Lamps: on a table, on the floor, on an arc or on jointed arms. Arms reach towards -y."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import ellipsoid, join, lathe, post, rod, smooth, tilted, tube
from crvae3d.datasets.shapes.supports import ring


def lamp(draw: np.random.Generator) -> Trimesh:
    """A shade on a stem and a foot: straight, as an arc, or on jointed arms."""
    style = draw.choice(["straight", "straight", "straight", "arc", "jointed"])
    if style == "arc":
        return _arc(draw)
    if style == "jointed":
        return _jointed(draw)
    height = draw.choice([draw.uniform(0.3, 0.7), draw.uniform(1.2, 1.8)])
    size = 0.2 + 0.3 * height
    wide, tall = draw.uniform(0.25, 0.5) * size, draw.uniform(0.35, 0.75) * size
    return join([*_foot(draw, height - 0.6 * tall, wide), _shade(draw, wide, tall, height - tall)])


def _foot(draw: np.random.Generator, height: float, wide: float) -> list[Trimesh]:
    """What holds a straight lamp: a stem on a disc, a turned body, or three legs."""
    style, reach = draw.choice(["disc", "disc", "body", "tripod"]), wide * draw.uniform(0.5, 1)
    if style == "body":
        belly = draw.uniform(0.25, 0.7) * wide
        knots = [(0.6 * belly, 0), (belly, height * draw.uniform(0.2, 0.6)), (0.02, height)]
        return [lathe([(0, 0), *smooth(knots), (0, height)])]
    if style == "tripod":
        hub = 0.7 * height
        return [
            *(rod((x, y, 0), (0, 0, hub), 0.014, sides=6) for x, y in ring(3, 1.1 * reach)),
            post(0.014, height - hub, (0, 0, hub)),
        ]
    return [post(reach, 0.03, top=reach * draw.uniform(0.7, 1)), post(draw.uniform(0.008, 0.025), height)]


def _shade(draw: np.random.Generator, wide: float, tall: float, z: float) -> Trimesh:
    """An open cone or drum, a closed ball, or a bowl that opens upwards; `z` is its lower rim."""
    style, thick = draw.choice(["cone", "cone", "drum", "ball", "bowl"]), 0.006
    if style == "ball":
        return ellipsoid(1.6 * wide, 1.6 * wide, draw.uniform(0.8, 1.6) * wide, (0, 0, z))
    low, high = {"cone": (1, draw.uniform(0.3, 0.75)), "drum": (0.85, 0.85), "bowl": (0.3, 1)}[style]
    outer = [(low * wide, 0), (high * wide, tall)]
    return lathe([*outer, *((r - thick, h) for r, h in reversed(outer)), outer[0]], (0, 0, z))


def _arc(draw: np.random.Generator) -> Trimesh:
    """A floor lamp whose stem bends forward over half a circle, with the shade hanging from its end."""
    height, reach, wide = draw.uniform(1.3, 1.9), draw.uniform(0.35, 0.9), draw.uniform(0.12, 0.22)
    bend = draw.uniform(0.3, 0.6)
    turn = np.linspace(0, np.pi * draw.uniform(0.8, 0.95), 14)
    path = [(0, 0), *zip(reach / 2 * (np.cos(turn) - 1), height * (1 - bend + bend * np.sin(turn)), strict=True)]
    drop = draw.uniform(0.1, 0.2)
    y, z = path[-1]
    shade = _shade(draw, wide, drop, 0).apply_translation((0, y, z - drop))
    foot = post(draw.uniform(0.12, 0.2), 0.04, sides=24)
    return join([foot, tube(path, 0.014, "x"), shade]).apply_translation((0, reach / 2, 0))


def _jointed(draw: np.random.Generator) -> Trimesh:
    """A desk lamp: two arms with a joint between them and a shade that looks down and forward."""
    lower, upper = draw.uniform(0.2, 0.4), draw.uniform(0.2, 0.4)
    lean, nod = np.radians(draw.uniform(5, 35)), np.radians(draw.uniform(25, 75))
    knee = np.array([0, lower * np.sin(lean), 0.03 + lower * np.cos(lean)])
    tip = knee + [0, -upper * np.sin(nod), upper * np.cos(nod)]
    wide, tall = draw.uniform(0.06, 0.11), draw.uniform(0.1, 0.18)
    shade = lathe([(wide, 0), (0.35 * wide, tall), (0, tall), (0.35 * wide - 0.004, tall - 0.005), (wide, 0)])
    shade = tilted(shade.apply_translation((0, 0, -tall)), -draw.uniform(0, 45), (0, 0, 0)).apply_translation(tip)
    foot = post(draw.uniform(0.07, 0.12), 0.03, sides=24)
    return join([foot, rod((0, 0, 0.02), knee, 0.01), rod(knee, tip, 0.01), shade])
