"""Memory that is freed stays while it is to be kept, and goes back afterwards."""

import resource
from pathlib import Path

import pytest
import torch

from crvae3d import allocator
from crvae3d.allocator import kept_memory

MEGABYTES = 300


def resident() -> float:
    """Megabytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


@pytest.mark.skipif(allocator._glibc() is None, reason="only glibc is told anything")
def test_freed_memory_stays_with_the_process_until_the_end():
    before = resident()
    with kept_memory():
        with kept_memory():  # the outer one counts
            torch.ones(MEGABYTES * 250_000)
        assert resident() - before > MEGABYTES * 0.9
        torch.ones(MEGABYTES * 250_000)
        assert resident() - before < MEGABYTES * 1.1
    assert resident() - before < MEGABYTES * 0.1


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with kept_memory():
        assert torch.ones(3).sum() == 3
