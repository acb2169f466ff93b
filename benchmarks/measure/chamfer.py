"""The chamfer distance with its gradient: ours, compiled and not, beside the matrix form, k-d trees and KeOps."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree

from crvae3d.allocator import kept_memory
from crvae3d.device import best_device
from crvae3d.points import chamfer
from crvae3d.points.models import PointModel
from measure.timing import Run, in_turn, peak_megabytes
from tests.references import chamfer_cdist

Search = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SIZES = ((32, 512), (1, 1024), (32, 1024), (64, 1024), (1, 2048), (32, 2048), (8, 4096), (1, 16384), (4, 16384))
SHORT = ((32, 1024),)
MATRIX = 2**28
"""Pairs from which the matrix form, some copies of 4 bytes a pair, is left out."""


def chamfer_figures(short: bool) -> dict[str, dict[str, float]]:
    """Milliseconds and ratios to the matrix form, by batch and points; clouds of random points, and of untrained decoders."""
    found = {}
    for batch, size in SHORT if short else SIZES:
        clouds = [torch.rand(batch, size, 3, device=best_device()) for _ in range(2)]
        found[f"{batch} x {size}"] = _figures(*clouds, repeats=1 if short else 3, others=not short)
    if not short:
        x = torch.nn.functional.normalize(torch.randn(32, 2048, 3), dim=-1)
        decoder = PointModel(decoder_width=512, output_points=2048).build().decoder
        with torch.no_grad():
            folded = decoder.decode(torch.randn(32, 512))
        found["32 x 2048, untrained decoder"] = _figures(x, folded, repeats=3, others=True)
    return found


def memory_figures() -> float:
    """Megabytes beyond the inputs, forward and backward, at batch 32 of 2,048 points."""
    return peak_megabytes(_prepared, 32, 2048)


def _figures(a: torch.Tensor, b: torch.Tensor, repeats: int, others: bool) -> dict[str, float]:
    forms: dict[str, Run] = {"ours": _with_gradient(chamfer.chamfer_distance, a, b)}
    forms["uncompiled"] = _searched(chamfer._search_in_chunks, a, b)
    if len(a) * a.shape[1] * b.shape[1] <= MATRIX:
        forms["matrix"] = _with_gradient(chamfer_cdist, a, b)
    if others:
        forms |= {name: _searched(search, a, b) for name, search in _libraries().items()}
    seconds = in_turn(forms, repeats)
    figures = {f"{name}_ms": 1e3 * value for name, value in seconds.items()}
    if "matrix" in seconds:
        figures["ratio"] = seconds["matrix"] / seconds["ours"]
        figures["ratio_uncompiled"] = seconds["matrix"] / seconds["uncompiled"]
    return figures


def _with_gradient(distance: Callable[..., torch.Tensor], a: torch.Tensor, b: torch.Tensor) -> Run:
    a, b = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()

    def run() -> None:
        a.grad = b.grad = None
        distance(a, b).sum().backward()

    return run


def _searched(search: Search, a: torch.Tensor, b: torch.Tensor) -> Run:
    """Our distance, its neighbours found by another search."""

    def run() -> None:
        kept, chamfer.nearest = chamfer.nearest, lambda query, points, mask: search(query.detach(), points.detach())
        try:
            inner()
        finally:
            chamfer.nearest = kept

    inner = _with_gradient(chamfer.chamfer_distance, a, b)
    return run


def _libraries() -> dict[str, Search]:
    """Other exact searches: SciPy's tree, and pynanoflann and KeOps where they are installed."""

    def by_tree(query: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        pairs = zip(query.cpu().numpy(), points.cpu().numpy(), strict=True)
        return torch.from_numpy(np.stack([cKDTree(p).query(q, workers=-1)[1] for q, p in pairs])).to(query.device)

    found: dict[str, Search] = {"scipy": by_tree}
    try:
        import pynanoflann

        def by_nanoflann(query: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
            rows = []
            for q, p in zip(query.numpy(), points.numpy(), strict=True):
                tree = pynanoflann.KDTree(n_neighbors=1)
                tree.fit(p)
                rows.append(tree.kneighbors(q, n_jobs=2)[1][:, 0].astype(np.int64))
            return torch.from_numpy(np.stack(rows))

        found["pynanoflann"] = by_nanoflann
    except ImportError:
        pass
    try:
        from pykeops.torch import LazyTensor

        def by_keops(query: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
            squared = ((LazyTensor(query[:, :, None]) - LazyTensor(points[:, None])) ** 2).sum(-1)
            return squared.argmin(dim=2)[..., 0]

        found["keops"] = by_keops
    except ImportError:
        pass
    return found


def _prepared(batch: int, size: int) -> Run:
    run = _with_gradient(chamfer.chamfer_distance, *(torch.rand(batch, size, 3) for _ in range(2)))
    with kept_memory():
        run()  # the compiler's own memory is no part of it, and what it frees goes back
    return run
