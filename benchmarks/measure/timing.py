"""Times, rates and memory: medians of things that are run in turn, in one process, on one device."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import torch

from crvae3d.allocator import kept_memory
from crvae3d.device import best_device

Run = Callable[[], object]


def in_turn(runs: Mapping[str, Run], repeats: int = 5, kept: Collection[str] = ()) -> dict[str, float]:
    """The median seconds of each run; every round warms each of them up, then times it, both for a while.

    Args:
        runs: what is timed, by name.
        repeats: rounds.
        kept: names of those that run with memory kept, as our training does.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            with kept_memory() if name in kept else nullcontext():
                _for_a_while(run)
                found[name] += _for_a_while(run)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def once(run: Run) -> float:
    """The seconds of one run, for what takes long enough to be timed once."""
    started = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - started


def _for_a_while(run: Run, seconds: float = 0.5, most: int = 8) -> list[float]:
    """The seconds of each of several runs: one at least, no more once the time is over."""
    found: list[float] = []
    while sum(found) < seconds and len(found) < most:
        found.append(once(run))
    return found


def matrix_product(size: int = 1024) -> tuple[Run, float]:
    """A single-precision matrix product to be timed beside other things, and how many FLOPs it has."""
    a, b = torch.randn(2, size, size, device=best_device())
    return (lambda: a @ b), 2 * size**3


def peak_megabytes(run: Callable[..., object], *arguments: object) -> float:
    """What `run(*arguments)` adds to the resident memory of a process of its own, at most.

    Args:
        run: a function of a module, which returns the function whose memory counts: what it does before is not counted.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, run, arguments).result()


def _peak(run: Callable[..., Run], arguments: tuple) -> float:
    measured = run(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the most that was resident is from here on what is resident now
    before = _most_resident()
    measured()
    return _most_resident() - before


def _most_resident() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
