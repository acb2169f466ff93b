"""How time and memory grow: with the points of a cloud, with the shapes of a set, with the numbers of a code."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from crvae3d.allocator import kept_memory
from crvae3d.evaluation.linear import linear_probe
from crvae3d.points.chamfer import chamfer_distance
from measure.pipeline import growth_of_shapes
from measure.timing import Run, in_turn, once, peak_megabytes
from measure.training import step_of

POINTS = (512, 1024, 2048, 4096, 8192, 16384)
SHAPES = (1_000, 10_000, 100_000, 1_000_000)
CODES = (32, 64, 128, 256, 512, 1024, 2048)

Table = dict[str, list[float]]


def with_points() -> Table:
    """Milliseconds and megabytes of a step of preset small on four clouds, and milliseconds of their chamfer distance."""
    found: Table = {"points": list(POINTS), "step_ms": [], "step_mb": [], "chamfer_ms": []}
    for points in POINTS:
        runs = {"step": step_of(points), "chamfer": _chamfer(points)}
        seconds = in_turn(runs, 2, kept=("step", "chamfer"))
        found["step_ms"].append(1e3 * seconds["step"])
        found["chamfer_ms"].append(1e3 * seconds["chamfer"])
        found["step_mb"].append(peak_megabytes(_warm, points))
    return found


def with_shapes() -> Table:
    """Seconds of an epoch's batches and of embedding, for sets of 64 points a shape.

    The megabytes are those of both and of writing the store, whose mapped pages count while they are in memory.
    """
    found: Table = {"shapes": list(SHAPES), "epoch_s": [], "embed_s": [], "mb": []}
    for shapes in SHAPES:
        with tempfile.TemporaryDirectory() as place:
            epoch, embedding = growth_of_shapes(shapes, Path(place))
            found["epoch_s"].append(epoch)
            found["embed_s"].append(embedding)
        found["mb"].append(peak_megabytes(_of_shapes, shapes))
    return found


def with_codes() -> Table:
    """Seconds of the linear classifier, with its choice of C, on 2,000 codes of 10 classes."""
    found: Table = {"code_size": list(CODES), "svm_s": []}
    draw = np.random.default_rng(0)
    labels = np.arange(2000) % 10
    for size in CODES:
        codes = (draw.normal(size=(2000, size)) + 2 * np.eye(10, size)[labels]).astype(np.float32)
        found["svm_s"].append(once(lambda codes=codes: linear_probe(codes, labels, codes[:10], labels[:10])))
    return found


def _chamfer(points: int) -> Run:
    a, b = torch.rand(4, points, 3, requires_grad=True), torch.rand(4, points, 3)
    return lambda: chamfer_distance(a, b).sum().backward()


def _warm(points: int) -> Run:
    run = step_of(points)
    with kept_memory():
        run()  # what compiling takes is no part of it, and what the step frees goes back
    return run


def _of_shapes(shapes: int) -> Run:
    def run(count: int = shapes) -> None:
        with tempfile.TemporaryDirectory() as place:
            growth_of_shapes(count, Path(place))

    run(64)  # imports and first products
    return run
