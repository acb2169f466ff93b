"""Turned vessels: bottles, cups and vases. A handle points to the right, +x."""

import numpy as np
from trimesh import Trimesh

from crvae3d.datasets.shapes.parts import board, join, lathe, mirrored, post, rounded, smooth, tube


def bottle(draw: np.random.Generator) -> Trimesh:
    """A body with a shoulder and a narrow neck, round or square, often with a cap, sometimes with a handle."""
    height, radius = draw.uniform(0.18, 0.34), draw.uniform(0.028, 0.06)
    neck = radius * draw.choice([draw.uniform(0.22, 0.5), draw.uniform(0.5, 0.85)])
    rise = draw.uniform(0.4, 0.75) * height
    slope = draw.uniform(0.05, 0.25) * height
    if draw.random() < 0.15:
        side = smooth([(0.7 * radius, rise), (neck, rise + slope), (neck, height)], 12)
        parts = [board(rounded(2 * radius, 1.4 * radius, 0.3 * radius), rise, at=(0, 0, rise / 2))]
        parts += [lathe([(0, rise), *side, (0, height)])]
    else:
        waist = radius * draw.choice([1, 1, draw.uniform(0.75, 1.15)])
        foot = [(0.9 * radius, 0), (radius, 0.06 * height), (waist, rise / 2), (radius, rise)]
        side = smooth([*foot, (neck, rise + slope), (neck, height)], 32)
        parts = [lathe([(0, 0), *side, (0, height)])]
    if draw.random() < 0.6:
        tall = draw.uniform(0.04, 0.12) * height
        parts += [post(neck * draw.uniform(1.05, 1.6), tall, (0, 0, height - tall / 2))]
    if draw.random() < 0.12:
        parts += [_handle(side, 0.7 * rise, 0.95 * rise + slope, draw.uniform(0.3, 0.7) * radius, 0.1 * radius)]
    return join(parts)


def cup(draw: np.random.Generator) -> Trimesh:
    """A mug, tea cup, beaker or goblet, open at the top, with a handle or none, sometimes on a saucer."""
    style = draw.choice(["mug", "mug", "tea", "beaker", "goblet"])
    height = {"mug": (0.08, 0.12), "tea": (0.05, 0.08), "beaker": (0.1, 0.18), "goblet": (0.12, 0.22)}[style]
    height, rim = draw.uniform(*height), draw.uniform(0.034, 0.052)
    parts = []
    if style == "goblet":
        stem = height * draw.uniform(0.25, 0.5)
        foot = rim * draw.uniform(0.6, 0.95)
        parts += [lathe([(0, 0), (foot, 0), (0.15 * foot, 0.1 * stem), (0.1 * foot, stem), (0, stem)])]
        bowl = [(0.2 * rim, stem), (rim * draw.uniform(0.8, 1.15), stem + 0.5 * (height - stem)), (rim, height)]
    else:
        base = rim * (draw.uniform(0.45, 0.7) if style == "tea" else draw.uniform(0.7, 1))
        bowl = [(base, 0), (rim * draw.uniform(0.8, 1.1), 0.5 * height), (rim, height)]
    bowl = smooth(bowl)
    parts += [_hollow(bowl, 0.003)]
    if draw.random() < {"mug": 0.9, "tea": 0.8, "beaker": 0.15, "goblet": 0.05}[style]:
        reach = draw.uniform(0.4, 0.8) * rim
        parts += [_handle(bowl, 0.2 * height, 0.85 * height, reach, draw.uniform(0.08, 0.16) * rim)]
    if style == "tea" and draw.random() < 0.5:
        plate = rim * draw.uniform(1.4, 1.9)
        parts += [lathe([(0, -0.003), (0.5 * plate, -0.003), (plate, 0.012), (0.5 * plate, 0.001), (0, 0.001)])]
    return join(parts)


def vase(draw: np.random.Generator) -> Trimesh:
    """A turned body of many outlines, open at the top, sometimes on a foot, sometimes with one handle or two."""
    height, wide = draw.uniform(0.18, 0.4), draw.uniform(0.05, 0.12)
    style = draw.choice(["belly", "belly", "flask", "flared", "straight"])
    base, mouth = wide * draw.uniform(0.4, 0.8), wide * draw.uniform(0.3, 0.9)
    level = height * draw.uniform(0.25, 0.65)
    if style == "flask":
        neck = wide * draw.uniform(0.2, 0.4)
        knots = [(base, 0), (wide, level), (neck, height * draw.uniform(0.75, 0.85)), (1.3 * neck, height)]
    elif style == "flared":
        knots = [(base, 0), (0.6 * wide, level), (wide, height)]
    elif style == "straight":
        knots = [(0.6 * wide, 0), (0.65 * wide, level), (0.6 * wide * draw.uniform(0.8, 1.3), height)]
    else:
        knots = [(base, 0), (wide, level), (mouth, 0.9 * height), (mouth * draw.uniform(1, 1.4), height)]
    side = smooth(knots)
    parts = [_hollow(side, 0.004)]
    if draw.random() < 0.3:
        foot = draw.uniform(0.02, 0.05)
        parts += [post(0.9 * base, foot, (0, 0, -foot), top=0.4 * base)]
    if draw.random() < 0.3 and style in ("belly", "flask"):
        pair = mirrored(_handle(side, level, 0.85 * height, draw.uniform(0.2, 0.5) * wide, 0.06 * wide))
        parts += pair[: draw.integers(1, 3)]
    return join(parts)


def _hollow(outer: np.ndarray, wall: float) -> Trimesh:
    """An open vessel: `outer` (K, 2) upwards and, a wall's thickness further in, down again."""
    inner = outer[::-1] - (wall, 0)
    inner = np.column_stack([np.maximum(inner[:, 0], 0.001), np.maximum(inner[:, 1], outer[0, 1] + wall)])
    return lathe([(0, outer[0, 1]), *outer, *inner[:-1], (0, outer[0, 1] + wall)])


def _handle(profile: np.ndarray, low: float, high: float, reach: float, thick: float) -> Trimesh:
    """A bow on the right of a body turned from `profile` (K, 2), from the height `low` to `high`, out by `reach`."""
    bow = np.linspace(0, 1, 12)
    levels = np.linspace(low, high, 12)
    ends = np.interp([low, high], profile[:, 1], profile[:, 0]) - thick / 2
    return tube(np.column_stack([np.interp(bow, [0, 1], ends) + reach * np.sin(np.pi * bow) ** 0.6, levels]), thick)
