"""The share of the matrix product's rate that a step could have at most, were there nothing in it but what it must do.

A product of narrow layers does not reach the rate of a large square one. Here each product and each exponential of a step,
as they occur, and the searches for nearest points are run over and over by themselves, their data in the cache: together
they take less than any step that is made of them.
"""

import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from crvae3d.allocator import kept_memory
from crvae3d.points.chamfer import nearest
from measure.timing import Run, in_turn, matrix_product, once
from measure.training import OBJECTIVES, encoded, needed_flops, prepared, setting

aten = torch.ops.aten
NEEDED = {aten.mm, aten.addmm, aten.bmm, aten.exp}


def ceiling_figures(short: bool) -> dict[str, dict[str, float]]:
    """For the narrow presets and each objective: milliseconds of what a step must do, and the share if it did no more."""
    chosen = [("small", "CR-VAE")] if short else [(p, o) for p in ("tiny", "small") for o in OBJECTIVES]
    found = {}
    for preset, name in chosen:  # in processes of their own: what is called under `Alone` first is never compiled
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found[f"{preset}, {name}"] = pool.submit(_figures, preset, name, 32).result()
    return found


def _figures(preset: str, name: str, batch: int) -> dict[str, float]:
    product, flops_of_product = matrix_product()
    with kept_memory():
        search = _search(preset, name, batch)
        run = prepared(preset, name, batch, "ours")
        with Alone() as alone:
            run()
        rate = flops_of_product / in_turn({"product": product})["product"]
    seconds = alone.seconds + search
    share = needed_flops(preset, name, batch) / seconds / rate
    return {"ms": 1e3 * seconds, "search_ms": 1e3 * search, "gemm_share": share}


def _search(preset: str, name: str, batch: int) -> float:
    """The seconds of the searches for nearest points, both ways, of a step's clouds and folded ones."""
    model, x, objective = setting(preset, name, batch)
    with torch.no_grad():
        folded = model.decoder.decode(model.encoder(x).mean)
        views = [(view, folded) for view in encoded(objective, x)]
    return sum(_alone(partial(nearest, *pair)) + _alone(partial(nearest, *pair[::-1])) for pair in views)


class Alone(TorchDispatchMode):
    """Runs each needed operation by itself as well; `seconds` is the sum of their medians."""

    seconds = 0.0

    def __torch_dispatch__(
        self, operation: object, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        if operation.overloadpacket in NEEDED:
            self.seconds += _alone(lambda: operation(*args, **kwargs))
        return operation(*args, **kwargs)


def _alone(run: Run) -> float:
    run()
    return statistics.median(once(run) for _ in range(9))
