"""Memory that is freed stays while it is to be kept, and goes back afterwards."""

import subprocess
import sys

import pytest

from crvae3d import allocator
from crvae3d.allocator import kept_memory

FRESH_PROCESS = """
import resource
from pathlib import Path
import numpy as np
from crvae3d.allocator import kept_memory

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

before = megabytes()
with kept_memory():
    with kept_memory():  # the outer one counts
        np.ones(300 * 125_000)
    once = megabytes() - before
    np.ones(300 * 125_000)
    twice = megabytes() - before
print(once, twice, megabytes() - before)
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="only glibc is told anything")
def test_freed_memory_stays_with_the_process_until_the_end():
    told = subprocess.run([sys.executable, "-c", FRESH_PROCESS], capture_output=True, text=True, check=True).stdout
    once, twice, afterwards = map(float, told.split())
    assert 290 < once < 330 and abs(twice - once) < 10 and afterwards < 20


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with kept_memory():
        assert not allocator._inside
