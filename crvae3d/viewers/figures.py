"""Pictures as PNG files, drawn without matplotlib's global state: no pyplot, no backend chosen, no settings changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

MODEL_COLOURS = ("#2f6fd0", "#e07b1a", "#1f9a72", "#bf3f8d", "#1c2430", "#46a8e0")
"""One a model, in the order of the report, apart to red-green-blind eyes too; the page uses the same."""

_ORIGINAL = "#5d6877"
INK, QUIET, LINE = "#1c2430", "#5d6877", "#dfe3e8"
_YAW, _PITCH = -0.65, 0.35
LONGEST = 36


def clouds_figure(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    titles: Sequence[str],
    path: Path | str,
    columns: int = 3,
    faces: np.ndarray | None = None,
) -> Path:
    """A grid of clouds, each original (grey) with its reconstruction (blue) on its right, z up, both at one scale.

    Args:
        pairs: (original (N, 3), reconstruction (M, 3)) a shape, in any unit; points that are not finite are left out.
        titles: one a pair.
        path: the PNG file.
        columns: pairs in a row.
        faces: triangles (F, 3) between the points of every reconstruction, which is then drawn as a surface.

    Returns:
        The path.
    """
    columns = max(1, min(columns, len(pairs)))
    rows = max(1, -(-len(pairs) // columns))
    figure = blank(2 * 2.1 * columns, 2.35 * rows)
    for place, ((original, reconstruction), title) in enumerate(zip(pairs, titles, strict=True)):
        centre, reach = _extent(original)
        for side, (cloud, colour) in enumerate(((original, _ORIGINAL), (reconstruction, MODEL_COLOURS[0]))):
            axes = figure.add_subplot(rows, 2 * columns, 2 * place + side + 1)
            placed = (np.asarray(cloud, dtype=np.float64) - centre) / reach
            if faces is None or side == 0:
                _draw_cloud(axes, placed, colour)
            else:
                _draw_surface(axes, placed, faces, colour)
            axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
            axes.set_axis_off()
            axes.set_title(plain(title if side == 0 else "reconstruction"), fontsize=8, color=QUIET)
    return save(figure, path)


def blank(width: float, height: float):
    """An empty figure of that size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def save(figure, path: Path | str) -> Path:
    """Write a figure as PNG; missing folders are made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        FigureCanvasAgg(figure).print_figure(file, format="png", dpi=130, facecolor="white")
    return path


def plain(text: str, longest: int = LONGEST) -> str:
    """Text that matplotlib can draw and does not read as mathematics, cut where it would run into its neighbour."""
    text = str(text).encode("utf-8", "replace").decode()  # names of files need not be text
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


def _extent(cloud: np.ndarray) -> tuple[np.ndarray, float]:
    """The centre of a cloud and the largest distance from it; (0, 1) of a cloud without finite points."""
    finite = np.asarray(cloud, dtype=np.float64)[np.isfinite(cloud).all(axis=1)]
    if len(finite) == 0:
        return np.zeros(3), 1.0
    centre = finite.mean(axis=0)
    return centre, float(np.linalg.norm(finite - centre, axis=1).max()) or 1.0


def _draw_cloud(axes, cloud: np.ndarray, colour: str) -> None:
    """Points as they are seen; far ones pale and behind."""
    from matplotlib.colors import to_rgb

    right, up, depth = _seen(cloud[np.isfinite(cloud).all(axis=1)]).T
    order = np.argsort(-depth)
    fade = (0.35 + 0.35 * np.clip(depth[order], -1, 1))[:, None]
    axes.scatter(right[order], up[order], s=3, c=(1 - fade) * np.array(to_rgb(colour)) + fade, linewidths=0)


def _draw_surface(axes, points: np.ndarray, faces: np.ndarray, colour: str) -> None:
    """Triangles as they are seen, far ones behind; the paler, the more their plane is seen from the side."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    corners = _seen(points)[faces]
    corners = corners[np.isfinite(corners).all(axis=(1, 2))]
    corners = corners[np.argsort(-corners[..., 2].mean(axis=1))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.abs(normals[:, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    fade = (0.6 * (1 - facing))[:, None]
    colours = (1 - fade) * np.array(to_rgb(colour)) + fade
    axes.add_collection(PolyCollection(corners[..., :2], facecolors=colours, edgecolors=colours, linewidths=0.2))


def _seen(points: np.ndarray) -> np.ndarray:
    """Points (N, 3) from the front left and a little from above: to the right, up, and away from who looks."""
    x, y, z = points.T
    right, away = np.cos(_YAW) * x - np.sin(_YAW) * y, np.sin(_YAW) * x + np.cos(_YAW) * y
    up, depth = np.cos(_PITCH) * z + np.sin(_PITCH) * away, np.cos(_PITCH) * away - np.sin(_PITCH) * z
    return np.stack([right, up, depth], axis=1)


def titled(axes, title: str, x: str, y: str, longest: int = LONGEST) -> None:
    """Give axes their words and the quiet look of all plots here."""
    axes.set_title(plain(title, longest), fontsize=10, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=8, color=QUIET)
    axes.set_ylabel(y, fontsize=8, color=QUIET)
    axes.tick_params(labelsize=7, colors=QUIET)
    axes.grid(color=LINE, linewidth=0.6)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(LINE)
