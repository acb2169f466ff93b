"""Processes of a comparison: they end together, and with the one that began them."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children

import pytest

from crvae3d.errors import InputError
from crvae3d.experiment.processes import run_in_processes


def work(task: tuple) -> None:
    """Leave a file of the task's name and the number of threads in `folder`; or do what the name says."""
    name, folder = task
    if name == "die":
        wait_for(folder / "train")
        os.abort()
    if name == "train":  # a training takes the wish that its process ended for a wish to stop in good order
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / name).write_text(os.environ["OMP_NUM_THREADS"])
    if name in ("train", "sleep"):
        time.sleep(300)
    if name == "fail":
        raise InputError("as it was told")


def wait_for(path) -> None:
    while not path.exists():
        time.sleep(0.05)


def run(folder, *names: str, jobs: int, advance=lambda task: None) -> None:
    run_in_processes(work, [(name, folder) for name in names], jobs, 1, None, advance)


def test_every_task_is_done_once_on_so_many_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names, done = ("a", "b", "c"), []
    run(tmp_path, *names, jobs=2, advance=lambda task: done.append(task[0]))
    assert sorted(done) == list(names) and [(tmp_path / name).read_text() for name in names] == ["1"] * 3
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_after_a_task_that_cannot_be_done_no_more_begin(tmp_path):
    with pytest.raises(InputError, match="as it was told"):
        run(tmp_path, "fail", "a", "b", jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["fail"]


def test_a_process_that_dies_is_told_and_takes_the_others_along(tmp_path):
    others, began = set(active_children()), time.monotonic()
    with pytest.raises(InputError, match="take fewer --jobs"):
        run(tmp_path, "train", "die", "a", jobs=3)  # a pool looks after a new process from the next task on
    assert time.monotonic() - began < 150 and not set(active_children()) - others


def test_a_stop_that_reaches_one_process_alone_ends_them_all(tmp_path):
    def stop(task):
        wait_for(tmp_path / "sleep")
        raise KeyboardInterrupt

    others, began = set(active_children()), time.monotonic()  # joblib keeps those of earlier tests
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "sleep", "a", jobs=2, advance=stop)
    assert time.monotonic() - began < 150 and not set(active_children()) - others


def test_a_process_ends_when_the_one_that_started_it_has():
    code = (
        "import os; from multiprocessing import get_context; from crvae3d.experiment.processes import _end_with_parent as end; "
        "get_context('spawn').Process(target=end).start(); os._exit(3)"
    )
    # The output is that of both, and ends when the last of them has.
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 3
