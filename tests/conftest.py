"""Shapes in annotations are checked in the tests; real data is read from `CRVAE3D_DATA`, where it is set."""

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

# Compiling, once a process, took a fifth of the time of a cell of the quick grid; `test_chamfer` compiles all the same.
os.environ.setdefault("CRVAE3D_COMPILE", "0")

# `chamfer` stays out: its search is compiled, and a checker inside would break the graph.
CHECKED = [
    "core.posteriors",
    "core.objectives",
    "core.consistency",
    "points.batch",
    "points.pointnet",
    "points.folding",
]
_hook = install_import_hook([f"crvae3d.{name}" for name in CHECKED], "beartype.beartype")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets; tests that need it are skipped where there is none."""
    folder = os.environ.get("CRVAE3D_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data is absent: set CRVAE3D_DATA to the folder of the archives")
    return Path(folder)
