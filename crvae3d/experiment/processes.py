"""Tasks on several processes, which end with the one that began them."""

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TypeVar

import torch

from crvae3d.errors import InputError
from crvae3d.experiment.plugin import load_plugin

MOST = 61 if sys.platform == "win32" else sys.maxsize
"""So many processes a pool may have."""

Of = TypeVar("Of")


def run_in_processes(
    run: Callable[[Of], None],
    tasks: Sequence[Of],
    jobs: int,
    threads: int,
    plugin: str | Path | None,
    advance: Callable[[Of], None],
) -> None:
    """Run every task once, in any order; after the first that cannot be done those under way end, and no more begin.

    Args:
        run: what is done with a task, known by its name to other processes.
        tasks: what other processes can be sent.
        jobs: processes, at most `MOST`.
        threads: of each for linear algebra.
        plugin: a Python file that each process begins with, or None.
        advance: called here with each task that is done.

    Raises:
        InputError: a process died, as where memory ran out.
        KeyboardInterrupt: it was stopped; the processes end.
    """
    others = set(active_children())
    start = get_context("spawn"), _start, (threads, plugin)
    try:
        with _threads_of_children(threads), ProcessPoolExecutor(jobs, *start) as pool:
            try:
                _collect(pool, run, jobs, tasks, advance)
            except KeyboardInterrupt:  # which may have come to this process alone, from an editor or a script
                for process in set(active_children()) - others:
                    process.terminate()
                raise
            except BrokenProcessPool:  # a training takes a mere wish that it ended for a wish to stop in good order
                for process in set(active_children()) - others:
                    process.kill()
                raise
    except BrokenProcessPool:
        raise InputError(
            "a process of the comparison died without a word. Perhaps memory ran out: take fewer --jobs, and it goes on. "
            'Or a script calls compare() without `if __name__ == "__main__":` before it'
        ) from None


@contextmanager
def _threads_of_children(threads: int) -> Iterator[None]:
    """Processes that begin meanwhile do linear algebra on so many threads: with all cores each they wait for one another."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ |= dict.fromkeys(names, str(threads))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _collect(
    pool: ProcessPoolExecutor, run: Callable[[Of], None], jobs: int, tasks: Sequence[Of], advance: Callable[[Of], None]
) -> None:
    """Hand out one task a process, and the next one to each that has done its own."""
    left = iter(tasks)
    running: dict[Future, Of] = {pool.submit(run, task): task for task in islice(left, jobs)}
    while running:
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            task = running.pop(future)
            future.result()
            advance(task)
            running |= {pool.submit(run, following): following for following in islice(left, 1)}


def _start(threads: int, plugin: str | Path | None) -> None:
    """What a process begins with. One that dies of a fault in a library says where."""
    faulthandler.enable()
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    load_plugin(plugin)


def _end_with_parent() -> None:
    """End this process when its parent is gone: a grid that was killed trains nothing more."""
    parent_process().join()
    os._exit(1)
