"""Each verb hands on what it is given; its examples are understood; it ends with the code that it promises."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import crvae3d
from crvae3d.cli import main as command
from crvae3d.cli.main import main, parser
from crvae3d.cli.train import settings_of
from crvae3d.datasets.archives import write_archive
from crvae3d.datasets.shapes import clouds

GIVEN = {
    "evaluate a b --data D --seed 3 --split validation --json f.json --quiet": (
        "crvae3d.experiment.evaluate.evaluate_runs",
        ([Path("a"), Path("b")],),
        dict(
            train=None,
            test=None,
            split="validation",
            root="D",
            seed=3,
            page=Path("b/page.html"),
            figures_file=Path("f.json"),
        )
        | dict(progress=False),
    ),
    "evaluate a --train x.npz --test y.npz --page p.html": (
        "crvae3d.experiment.evaluate.evaluate_runs",
        ([Path("a")],),
        dict(
            train="x.npz",
            test="y.npz",
            split="test",
            root=None,
            seed=0,
            page=Path("p.html"),
            figures_file=None,
            progress=True,
        ),
    ),
    "compare d --grid quick --seeds 2 --split validation --cells A B --epochs 1 --jobs 1 --data D -o out --plugin p.py --quiet": (
        "crvae3d.experiment.compare.compare",
        ("d", "quick", Path("out")),
        dict(
            seeds=2,
            split="validation",
            root="D",
            cells=["A", "B"],
            jobs=1,
            plugin=Path("p.py"),
            progress=False,
            epochs=1,
        ),
    ),
    "demo --out d --epochs 3 --seed 4 --overwrite --quiet": (
        "crvae3d.experiment.demo.demo",
        (Path("d"), 3, 4, True, False),
        {},
    ),
    "embed r d -o c.npz --data D --quiet": (
        "crvae3d.experiment.embed.embed",
        (Path("r"), "d", Path("c.npz")),
        dict(root="D", progress=False),
    ),
    "reconstruct r d -o out --points 9 --mesh --data D --quiet": (
        "crvae3d.experiment.reconstruct.reconstruct",
        (Path("r"), "d", Path("out"), 9, True),
        dict(root="D", progress=False),
    ),
    "data pack d -o x.npz --points 7 --overwrite --data D --quiet": (
        "crvae3d.datasets.pack.pack",
        ("d", Path("x.npz"), 7, True),
        dict(root="D", progress=False),
    ),
    "data check d --data D --quiet": ("crvae3d.datasets.check.check", ("d",), dict(root="D", progress=False)),
}


@pytest.mark.parametrize("words", GIVEN)
def test_a_verb_hands_on_what_it_is_given(words, monkeypatch):
    function, arguments, options = GIVEN[words]
    called = []

    def listens(*given, **how):
        called.append((tuple(str(one) if isinstance(one, Path) else one for one in given), how))
        raise KeyboardInterrupt

    monkeypatch.setattr(function, listens)
    monkeypatch.setattr("crvae3d.experiment.plugin.load_plugin", lambda plugin: None)
    assert main(words.split()) == 130
    ((given, how),) = called
    assert given == tuple(str(one) if isinstance(one, Path) else one for one in arguments) and how == options


def test_a_stop_is_a_word_and_a_code_of_its_own(monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(command.VERBS, "demo", SimpleNamespace(run=stopped, __doc__="x", add_arguments=lambda _: None))
    assert main(["demo"]) == 130 and capsys.readouterr().err == "crvae3d demo: stopped\n"


def test_a_reader_that_has_read_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "crvae3d", "data", "list"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=300)
    os.close(writing)
    assert ended.returncode == 141 and ended.stderr == b""


EXAMPLES = sorted(
    {
        re.sub(r"\s{2,}.*", "", line.strip())
        for module in command.VERBS.values()
        for line in (module.__doc__ + command.EPILOG).splitlines()
        if line.startswith("  crvae3d ")
    }
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_help_are_understood(example):
    assert len(EXAMPLES) > 20
    parsed = parser().parse_args(example.split()[1:])
    if parsed.verb == "train" and parsed.dataset in ("shapes", "modelnet10", "modelnet40", "mnist", "digits"):
        settings_of(parsed)


def test_data_is_looked_for_where_it_is_said_to_lie_also_when_it_has_moved(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CRVAE3D_DATA", raising=False)
    place, moved, run = tmp_path / "here", tmp_path / "there", tmp_path / "run"
    place.mkdir()
    for split, count in (("train", 4), ("test", 2)):
        write_archive(place / f"modelnet10_{split}.npz", clouds(split, count, points=80, progress=False))
    train = f"train modelnet10 --preset tiny --epochs 1 --points 40 --batch-size 16 --data {place} --out {run} --quiet"
    assert main(train.split()) == 0
    embedded = crvae3d.embed(run, "modelnet10", root=place, progress=False)["codes"]
    assert main(f"embed {run} modelnet10 -o {tmp_path / 'codes.npz'} --data {place} --quiet".split()) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npz")["codes"], embedded)
    assert main(f"reconstruct {run} modelnet10 -o {tmp_path / 'made'} --data {place} --quiet".split()) == 0
    place.rename(moved)
    monkeypatch.setattr("crvae3d.datasets.modelnet.fetch", None)  # nothing is fetched in its place
    (run / "weights.safetensors").unlink()
    (run / "last.ckpt").unlink()
    assert main(f"train --resume {run} --data {moved} --quiet".split()) == 0
    evaluate = f"evaluate {run} --page {tmp_path / 'p.html'} --json {tmp_path / 'f.json'} --quiet"
    assert main(f"{evaluate} --data {moved}".split()) == 0


def test_the_package_runs_as_a_module_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["crvae3d", "data", "list"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("crvae3d", run_name="__main__")
    assert end.value.code == 0 and "modelnet40" in capsys.readouterr().out
