"""The README's Python runs as it stands, and what it names exists."""

import re
from pathlib import Path

import pytest
import torch

from crvae3d.cli.main import parser
from crvae3d.cli.train import settings_of
from crvae3d.datasets import shapes
from crvae3d.datasets.load import KNOWN
from crvae3d.experiment import tables
from crvae3d.experiment.settings import Settings
from crvae3d.points import models

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_its_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shapes, "PER_CLASS", {"train": 6, "test": 2})  # fewer, to be done sooner
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names: dict = {}
    monkeypatch.setattr(tables, "TRANSFORMS", dict(tables.TRANSFORMS))
    monkeypatch.setattr(models, "ENCODERS", dict(models.ENCODERS))
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["codes"].shape == (4, 64) and (names["error"] > 0).all()
    assert names["again"].embed(names["clouds"]).equal(names["codes"])
    assert names["others"].shape == (2, 64) and names["mesh"].area > 0
    assert 0 <= names["figures"]["svm_accuracy"] <= 1 and names["terms"].named["consistency"].shape == (4,)
    mirrored, moved = tables.TRANSFORMS["mirror"](256)(names["clouds"]), names["clouds"] * torch.tensor([-1.0, 1, 1])
    assert all(
        torch.equal(one, before) or torch.equal(one, after)
        for one, before, after in zip(mirrored, names["clouds"], moved, strict=True)
    )
    assert Settings.of("shapes", preset="tiny", encoder="wide").model.build().embed(names["clouds"]).shape == (4, 64)
    assert len(blocks) == 3


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^    crvae3d (.*?)(?: +#.*)?$", TEXT, re.M))))
def test_its_commands_are_understood(command):
    parsed = parser().parse_args(command.split())
    assert parsed.verb == command.split()[0]
    if parsed.verb == "train" and parsed.dataset in KNOWN:
        settings_of(parsed)  # which refuses what would change nothing


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", TEXT))))
def test_its_links_lead_somewhere(path):
    assert (ROOT / path).exists()
