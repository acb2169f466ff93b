"""Comparisons: every cell is a run which is done once, and the results say of the figures what they should."""

import csv
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crvae3d.cli.main import main
from crvae3d.datasets.archives import write_archive
from crvae3d.datasets.load import load
from crvae3d.datasets.shapes import clouds
from crvae3d.errors import Diverged, InputError
from crvae3d.evaluation.codes import encode
from crvae3d.evaluation.information import active_units
from crvae3d.evaluation.robustness import families_of_all, flat
from crvae3d.experiment import cells, compare, tables
from crvae3d.experiment.comparison import described, gather
from crvae3d.experiment.evaluate import evaluate_runs
from crvae3d.experiment.grid import Cell, Grid, Judging
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import has_decoder, is_finished, learn_from, train
from crvae3d.experiment.settings import Settings
from crvae3d.points.corrupt import CORRUPTIONS
from crvae3d.points.models import ENCODERS

FAST = Judging(
    points=128,
    turned_shapes=20,
    robust_shapes=12,
    robust_points=128,
    likelihood_shapes=2,
    likelihood_points=64,
    episodes=2,
)
SHARED = {"preset": "tiny", "epochs": 2, "batch_size": 16, "points": 64, "code_size": 8, "encoder_widths": (8, 16)}


def small(**changes) -> Grid:
    """Three trainings and the three controls."""
    arguments = {
        "title": "small",
        "shared": SHARED,
        "cells": (
            Cell("VAE", "models", {"consistency": 0.0}),
            Cell("CR-VAE", "models", against="VAE"),
            Cell("NT-Xent", "contrastive", {"objective": "none", "divergence": "nt-xent"}, "VAE"),
            Cell("mixture", "models", {"model": "folding-mixture"}, "VAE"),
            *(Cell(name, "controls", control=name) for name in ("untrained", "occupancy", "supervised")),
        ),
        "reference": "VAE",
        "sweep": ("VAE", "CR-VAE"),
        "judging": FAST,
    }
    return Grid(**(arguments | changes))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    place = tmp_path_factory.mktemp("grid")
    for split, per_class in (("train", 12), ("test", 3)):
        write_archive(place / f"some_{split}.npz", clouds(split, per_class, points=160, progress=False))
    return place / "some.npz"


@pytest.fixture(scope="module")
def done(archive, tmp_path_factory):
    """A grid over two seeds, and where it lies."""
    out = tmp_path_factory.mktemp("done")
    return compare.compare(archive, small(), out, seeds=2, jobs=1, progress=False), out


@pytest.fixture(autouse=True)
def _without_pictures(done, monkeypatch):
    """Twenty plots are four seconds of a comparison; those of the grid `done`, which it makes before, are looked at."""
    monkeypatch.setattr("crvae3d.experiment.comparison.robustness_figure", lambda *_: None)


def figures(out, cell: str, seed: int = 0, split: str = "test") -> dict:
    return json.loads((out / cell / f"seed-{seed}" / f"figures_{split}.json").read_text())


def results(out) -> dict:
    return json.loads((out / "test" / "results.json").read_text())


def test_results_hold_every_cell_with_its_interval(done):
    comparison, out = done
    assert [row.name for row in comparison.rows] == [cell.name for cell in small().cells]
    row = comparison.row("CR-VAE")
    seeds = [figures(out, "CR-VAE", seed)["svm_accuracy"] for seed in (0, 1)]
    assert row.figures["svm_accuracy"].values == tuple(seeds)
    assert row.figures["svm_accuracy"].mean == pytest.approx(sum(seeds) / 2)
    plain = [figures(out, "VAE", seed)["svm_accuracy"] for seed in (0, 1)]
    apart = row.differences["svm_accuracy"]
    assert apart.values == pytest.approx([a - b for a, b in zip(seeds, plain, strict=True)])
    strongest = [figures(out, "CR-VAE", seed)["robustness"][""]["so3"][4] for seed in (0, 1)]
    assert row.robustness["so3"][4].values == tuple(strongest)
    for name in ("table.md", "table.csv", "results.json", "page.html", "tradeoff.png", "robustness.png"):
        assert (out / "test" / name).stat().st_size > 100, name
    assert "| CR-VAE | VAE |" in (out / "test" / "table.md").read_text()
    lines = list(csv.DictReader((out / "test" / "table.csv").open()))
    one = next(line for line in lines if line["cell"] == "CR-VAE" and line["figure"] == "svm_accuracy")
    assert float(one["difference_mean"]) == pytest.approx(apart.mean) and one["seeds"] == "2"
    told = results(out)["cells"]["CR-VAE"]["estimates"]["svm_accuracy"]
    assert told["mean"] == row.figures["svm_accuracy"].mean and told["deviation"] == float(one["deviation"])
    assert told["difference"]["low"] == apart.low and told["seeds"] == told["difference"]["seeds"] == [0, 1]
    runs = results(out)["cells"]["CR-VAE"]["runs"]
    assert [runs[seed]["figures"]["svm_accuracy"] for seed in ("0", "1")] == seeds


def test_what_was_recorded_before_is_told_without_what_no_gradient_has_reached(archive, done, tmp_path):
    told = results(done[1])
    told["cells"]["untrained"]["runs"]["0"]["figures"]["consistency_gap"] = 7.0  # as earlier versions had it
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "results.json").write_text(json.dumps(told))
    tasks = compare.tasks_of(small(), archive, tmp_path, 1, "test", None, {}, progress=False)
    found = gather(tasks, tmp_path, "test")
    assert found["untrained", 0]["consistency_gap"] is None and found["VAE", 0]["consistency_gap"] > 0


def test_what_is_set_against_others_is_a_control_also_where_it_is_trained(done):
    assert not done[0].row("NT-Xent").control and done[0].row("untrained").control
    assert Cell("auto-encoder", "controls").is_control and not Cell("auto-encoder", "models").is_control


def test_what_a_cell_cannot_have_is_missing(done):
    _, out = done
    assert figures(out, "NT-Xent")["chamfer"] is None and figures(out, "supervised")["chamfer"] is None
    assert figures(out, "occupancy")["mutual_information"] is None
    assert figures(out, "VAE")["chamfer"] > 0
    assert "log_likelihood_10" in figures(out, "mixture") and "log_likelihood_10" not in figures(out, "VAE")


def test_an_encoder_with_labels_learns_from_what_the_others_do(archive, tmp_path, monkeypatch):
    given = []

    def listens(model, known, labels, views, training):
        given.append((known, labels))

    monkeypatch.setattr(cells, "fit_supervised", listens)
    grid = Grid("one", SHARED, (Cell("labels", control="supervised"),), "labels", judging=FAST)
    compare.compare(archive, grid, tmp_path, 1, "validation", jobs=1, progress=False)
    ((known, labels),) = given
    rest, validation = learn_from(load(archive, progress=False))
    assert known.dataset.ids.tolist() == rest.ids.tolist() and not set(validation.ids) & set(known.dataset.ids)
    assert labels.tolist() == rest.labels.tolist() and list(known.indices) == list(range(len(rest)))


def test_every_kind_of_corruption_is_judged_and_the_untrained_encoder_begins_with_the_cells_seed(done):
    comparison, out = done
    for name in ("CR-VAE", "untrained"):
        robustness = figures(out, name)["robustness"][""]
        assert robustness.keys() == CORRUPTIONS.keys() and all(len(values) == 5 for values in robustness.values())
    assert len(CORRUPTIONS) == 21 and all(
        len(row.robustness) == 21 for row in comparison.rows if row.name != "occupancy"
    )
    settings = Settings.of(archive_of(out), **SHARED)
    for seed in (0, 1):
        found = figures(out, "untrained", seed)
        assert found["seed"] == seed
        model = VAE.build(settings.model, seed)
        means = encode(model, load(archive_of(out), progress=False).test.first(128), progress=False).means
        assert found["active_units"] == active_units(means)
    assert figures(out, "untrained", 0)["svm_accuracy_pooled"] != figures(out, "untrained", 1)["svm_accuracy_pooled"]


def test_so_many_shapes_are_corrupted_as_the_grid_asks_for(done):
    comparison, out = done
    for family, accuracies in figures(out, "VAE")["robustness"][""].items():
        named = [accuracy * (20 if family in ("azimuth", "so3", "thin") else 12) for accuracy in accuracies]
        assert named == pytest.approx([round(count) for count in named], abs=1e-6), family
    assert any(
        "of turned and thinned ones 20 at most, of the other kinds 12 at most" in note for note in comparison.notes
    )


def test_what_was_judged_before_there_was_a_choice_of_turned_shapes_was_judged_on_all(archive, tmp_path):
    every = replace(FAST, turned_shapes=0)
    grid = Grid("one", SHARED, (Cell("untrained", control="untrained"),), "untrained", judging=every)
    task = compare.tasks_of(grid, archive, tmp_path / "runs", 1, "test", None, {}, progress=False)[0]
    before = described(task)
    del before["judging"]["turned_shapes"]
    kept = tmp_path / "results" / "test" / "results.json"
    for path in (kept, task.figures_file):
        path.parent.mkdir(parents=True)
    told = {"settings": before, "figures": {"svm_accuracy": 0.5}}
    kept.write_text(json.dumps({"cells": {"untrained": {"runs": {"0": told}}}}))
    for asked, found in ((task, {task.run: {"svm_accuracy": 0.5}}), (replace(task, judging=FAST), {})):
        assert gather([asked], tmp_path / "results", "test") == found
    task.figures_file.write_text(
        json.dumps({"svm_accuracy": 0.5, "judging": before["judging"] | {"control": "untrained"}})
    )
    assert task.figures()["svm_accuracy"] == 0.5 and replace(task, judging=FAST).figures() is None


def archive_of(out) -> str:
    """The data of a comparison."""
    return json.loads((out / "VAE" / "seed-0" / "settings.json").read_text())["data"]


def test_what_is_done_is_not_done_again(archive, done, monkeypatch):
    _, out = done
    monkeypatch.setattr(compare, "run", lambda task: pytest.fail(f"{task.cell.name} was done already"))
    again = compare.compare(archive, small(), out, seeds=2, progress=False)
    assert again.row("CR-VAE").figures["svm_accuracy"] == done[0].row("CR-VAE").figures["svm_accuracy"]


def test_runs_of_a_machine_without_bf16_are_told(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("crvae3d.experiment.settings.has_bf16", lambda device: False)
    grid = Grid("one", SHARED, (Cell("untrained", control="untrained"),), "untrained", judging=FAST)
    for precision, told in (("bf16-mixed", True), ("32-true", False)):
        found = compare.compare(archive, grid, tmp_path / precision, 1, jobs=1, progress=False, precision=precision)
        note = "In single precision, where any others are in bf16: untrained, seed 0."
        assert (note in found.notes) == told == (note in (tmp_path / precision / "test" / "table.md").read_text())


def test_the_results_file_alone_is_enough_to_go_on(archive, done, tmp_path, monkeypatch):
    """Run folders may be gone, and of another machine; what was made with other settings does not count."""
    told = results(done[1])
    told["cells"]["mixture"]["runs"]["1"]["settings"]["training"]["epochs"] = 3
    told["cells"]["mixture"]["runs"]["0"]["settings"]["objective"]["transform"] = "of a plugin that is gone"
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "results.json").write_text(json.dumps(told))
    missing = []
    monkeypatch.setattr(compare, "run", lambda task: missing.append(task.run))
    found = compare.compare(archive, small(), tmp_path, seeds=2, progress=False, jobs=1)
    assert missing == [("mixture", 0), ("mixture", 1)]
    assert found.row("CR-VAE").figures == done[0].row("CR-VAE").figures
    assert [row.name for row in found.rows] == [cell.name for cell in small().cells if cell.name != "mixture"]
    assert str(archive.parent) not in json.dumps(told)
    compare.compare(archive, small(), tmp_path, seeds=1, cells=["VAE"], progress=False, jobs=1)  # asks for less
    assert results(tmp_path)["cells"]["CR-VAE"]["runs"].keys() == {"0", "1"}


def test_one_cell_can_be_asked_for(archive, tmp_path):
    found = compare.compare(archive, small(), tmp_path, seeds=1, cells=["untrained"], progress=False, jobs=1)
    assert [row.name for row in found.rows] == ["untrained"] and not (tmp_path / "VAE").exists()


def test_a_grid_that_was_cut_off_goes_on_and_gives_the_same_numbers(archive, tmp_path, monkeypatch):
    grid = small(cells=small().cells[:2])
    whole = compare.compare(archive, grid, tmp_path / "whole", seeds=1, progress=False, jobs=1)

    calls = []

    def stop(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate_model(*arguments, **options)

    evaluate_model = cells.evaluate_model
    monkeypatch.setattr(cells, "evaluate_model", stop)
    with pytest.raises(KeyboardInterrupt):
        compare.compare(archive, grid, tmp_path / "cut", seeds=1, progress=False, jobs=1)
    assert (tmp_path / "cut" / "test" / "table.md").exists()  # of the one that was done
    monkeypatch.setattr(cells, "train", lambda *_, **__: pytest.fail("a finished training was started again"))
    found = compare.compare(archive, grid, tmp_path / "cut", seeds=1, progress=False, jobs=1)
    for name in ("VAE", "CR-VAE"):
        assert found.row(name).figures["svm_accuracy"] == whole.row(name).figures["svm_accuracy"]
        assert found.row(name).figures["chamfer"] == whole.row(name).figures["chamfer"]


def test_the_time_left_is_what_the_cells_done_so_far_say(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    kinds = [Cell("VAE", "models", {"consistency": 0.0}), Cell("CR-VAE", "models", {"views": 1})]
    asked = [
        compare.Task(kind, Settings.of("shapes", **SHARED, **kind.options), FAST, "test", Path()) for kind in kinds * 2
    ]
    costs = [task.cost for task in asked]
    assert costs[0] < costs[1]
    now = [0.0]
    with compare._bar(asked[1:], asked, True, lambda: now[0]) as advance:  # one is done since another day
        now[0] = 6000.0  # longer than an hour, after which rich's own column has forgotten all
        advance(asked[1])
        now[0] += 60
    shown = capsys.readouterr().err
    assert "2 of 4 cells, last CR-VAE seed 0" in shown
    left = 6000 * (costs[2] + costs[3]) / costs[1] - 60
    assert f"left {timedelta(seconds=round(left))}" in shown


def test_a_folder_of_other_settings_is_refused(archive, done):
    for split in ("test", "validation"):
        with pytest.raises(InputError, match="made with other settings"):
            compare.compare(archive, small(), done[1], seeds=2, split=split, epochs=3, progress=False, jobs=1)


def test_another_way_of_judging_judges_again_and_trains_nothing(archive, done, tmp_path, monkeypatch):
    shutil.copytree(done[1] / "VAE", tmp_path / "VAE")
    monkeypatch.setattr(cells, "train", lambda *_, **__: pytest.fail("it was trained already"))
    grid = small(judging=Judging(points=32, robust_shapes=4, robust_points=32, likelihood_shapes=1, episodes=1))
    found = compare.compare(archive, grid, tmp_path, seeds=1, cells=["VAE"], progress=False, jobs=1)
    assert found.row("VAE").figures["chamfer"].values != done[0].row("VAE").figures["chamfer"].values[:1]


def test_another_split_has_results_of_its_own(archive, done, tmp_path):
    shutil.copytree(done[1] / "untrained", tmp_path / "untrained")
    grid = small()
    for split in ("test", "validation"):
        compare.compare(archive, grid, tmp_path, seeds=1, split=split, cells=["untrained"], progress=False, jobs=1)
    told = [json.loads((tmp_path / split / "results.json").read_text()) for split in ("test", "validation")]
    shapes = [one["cells"]["untrained"]["runs"]["0"]["figures"]["n_test"] for one in told]
    assert shapes[0] == figures(done[1], "untrained")["n_test"] != shapes[1]


def test_what_no_gradient_has_reached_is_no_figure(done):
    """The spread of a posterior whose mean alone was trained: gap, rate and information would be luck."""
    found = results(done[1])["cells"]
    for name in ("NT-Xent", "supervised", "untrained"):
        one = found[name]["runs"]["0"]["figures"]
        assert one["rate"] is one["consistency_gap"] is one["consistency_gap_so3"] is one["mutual_information"] is None
        assert one["consistency_shift"] > 0 and one["svm_accuracy"] > 0
    assert found["VAE"]["runs"]["0"]["figures"]["rate"] > 0


def test_a_supervised_control_is_kept_apart_from_trainings(archive, done, tmp_path, capsys):
    folder = done[1] / "supervised" / "seed-0"
    with pytest.raises(InputError, match="control 'supervised' of a comparison, which cannot go on"):
        train(Settings.read(folder), folder, resume=True)
    found = evaluate_runs([folder], page=tmp_path / "page.html", points=128, progress=False)["seed-0"]
    assert found.get("chamfer") is None and found["rate"] is None and "--resume" not in capsys.readouterr().err
    assert not has_decoder(folder)
    for name, control in (("VAE", "supervised"), ("supervised", None)):
        shutil.copytree(done[1] / name / "seed-0", tmp_path / name / "seed-0")
        options = {"consistency": 0.0} if name == "VAE" else {}
        grid = Grid("one", SHARED, (Cell(name, options=options, control=control),), name, judging=FAST)
        with pytest.raises(InputError, match="choose another output folder"):
            compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)


def test_a_run_is_left_to_the_process_that_is_at_work_in_it(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "WAIT", 0.1)
    grid = Grid("one", SHARED, (Cell("VAE", options={"consistency": 0.0}),), "VAE", judging=FAST)
    folder = tmp_path / "VAE" / "seed-0"
    with cells._at_work_in(folder), pytest.raises(InputError, match="another process is at work in"):
        compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    assert not folder.exists()
    compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    assert is_finished(folder)


def test_a_broken_checkpoint_has_a_training_start_again(archive, tmp_path):
    grid = Grid("one", SHARED, (Cell("VAE", options={"consistency": 0.0}),), "VAE", judging=FAST)
    folder = tmp_path / "VAE" / "seed-0"
    train(Settings.of(str(archive), **SHARED | {"consistency": 0.0, "epochs": 1}), folder, progress=False)
    settings = Settings.of(str(archive), **SHARED | {"consistency": 0.0})
    settings.write(folder)
    (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:500])
    compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    assert is_finished(folder)


def test_data_without_labels_is_refused_before_anything_is_trained(tmp_path):
    write_archive(tmp_path / "bare_train.npz", replace(clouds("train", 2, points=64, progress=False), labels=None))
    with pytest.raises(InputError, match="has no labels"):
        compare.compare(tmp_path / "bare.npz", small(), tmp_path / "out", seeds=1, progress=False, jobs=1)
    assert not list((tmp_path / "out").glob("*/*"))


def test_a_test_part_without_labels_is_refused_before_anything_is_trained(archive, tmp_path):
    shutil.copy(archive.with_name("some_train.npz"), tmp_path / "half_train.npz")
    write_archive(tmp_path / "half_test.npz", replace(clouds("test", 2, points=64, progress=False), labels=None))
    with pytest.raises(InputError, match="has no labels"):
        compare.compare(tmp_path / "half.npz", small(), tmp_path / "out", seeds=1, progress=False, jobs=1)
    assert not list((tmp_path / "out").glob("*/*"))


def test_runs_that_were_judged_on_other_shapes_are_not_set_beside_each_other(archive, tmp_path):
    grid = Grid("one", SHARED, (Cell("untrained", "controls", control="untrained"),), "untrained", judging=FAST)
    for split in ("train", "test"):
        shutil.copy(archive.with_name(f"some_{split}.npz"), tmp_path / f"some_{split}.npz")
    compare.compare(tmp_path / "some.npz", grid, tmp_path / "out", 1, jobs=1, progress=False)
    write_archive(tmp_path / "some_test.npz", clouds("test", 4, points=160, progress=False))
    with pytest.raises(InputError, match="untrained of seed 0 was judged on 48 shapes.* there are 64"):
        compare.compare(tmp_path / "some.npz", grid, tmp_path / "out", 2, jobs=1, progress=False)


def test_a_training_that_diverges_is_a_result(archive, tmp_path, monkeypatch):
    def diverge(*_, **__):
        raise Diverged("the loss was not finite")

    monkeypatch.setattr(cells, "train", diverge)
    both = Cell("VAE", "models"), Cell("untrained", "controls", control="untrained")
    grid = Grid("two", SHARED, both, "untrained", judging=FAST)
    grid = compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    assert grid.alarms == ["VAE, seed 0: the loss was not finite"]
    assert "⚠ VAE, seed 0: the loss was not finite" in (tmp_path / "test" / "table.md").read_text()
    assert [row.name for row in grid.rows] == ["VAE", "untrained"] and not any(grid.row("VAE").figures.values())


def test_what_is_wrong_with_a_training_stands_above_its_figures(archive, tmp_path, monkeypatch):
    both = Cell("a|b", "models", {"beta": 1e6}), Cell("untrained", "controls", control="untrained")
    grid = Grid("*two*", SHARED | {"beta": 1.0}, both, "untrained", judging=FAST)
    found = compare.compare(archive, grid, tmp_path, 2, jobs=1, progress=False)
    assert all(figures(tmp_path, name, seed)["alarms"] for name in ("a_b", "untrained") for seed in (0, 1))
    assert all(alarm.startswith("a|b, seed") for alarm in found.alarms)  # the untrained one is as it is
    assert any("seeds 0, 1: all reconstructions are one shape: they differ" in alarm for alarm in found.alarms)
    assert any("collapsed" in alarm for alarm in found.alarms)
    text = (tmp_path / "test" / "table.md").read_text()
    assert (
        text.startswith("# \\*two\\*")
        and r"⚠ a\|b, seeds 0, 1: all reconstructions are one shape" in text
        and str(archive.parent) not in text
    )
    assert "collapsed" in (tmp_path / "test" / "page.html").read_text().split("<noscript>")[0]


def test_pictures_of_an_earlier_grid_go_and_broken_results_are_named(archive, tmp_path):
    cell = Cell("untrained", "controls", control="untrained")
    grid = Grid("one", SHARED, (cell,), "untrained", judging=FAST)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "tradeoff.png").write_bytes(b"of before")
    compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    assert not (tmp_path / "test" / "tradeoff.png").exists()
    for broken in ("<<<<<<< HEAD\n", '{"cells": 3}', '{"cells": {"untrained": {"runs": []}}}'):
        (tmp_path / "test" / "results.json").write_text(broken)
        with pytest.raises(InputError, match="results.json is not the results of a comparison .*restore it, or remove"):
            compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)


def test_a_name_in_brackets_is_shown_and_broken_figures_are_made_again(archive, tmp_path, capsys):
    grid = Grid("one", SHARED, (Cell("KL [/so3]", control="untrained"),), "KL [/so3]", judging=FAST)
    found = []
    for _ in range(2):
        assert compare.compare(archive, grid, tmp_path, 1, jobs=1).rows
        (file,) = tmp_path.rglob("figures_test.json")
        found.append(json.loads(file.read_text())["svm_accuracy"])
        file.write_text("")
        (tmp_path / "test" / "results.json").unlink()
    assert found[0] == found[1] and "last KL [/so3] seed 0" in capsys.readouterr().err


def test_results_do_not_lie_among_what_they_are_made_from(archive, tmp_path):
    (tmp_path / "meshes").mkdir()
    grid = Grid("one", SHARED, (Cell("untrained", control="untrained"),), "untrained", judging=FAST)
    for out in (tmp_path / "meshes", tmp_path / "meshes" / "out"):
        with pytest.raises(InputError, match="would lie among what they are made from"):
            compare.compare(tmp_path / "meshes", grid, out, 1, jobs=1, progress=False)


@pytest.mark.parametrize(("part", "told"), [("train", "learnt from"), ("test", "was judged on")])
@pytest.mark.parametrize("changed", ["points", "labels"])
def test_others_of_the_same_names_are_refused_also_where_nothing_is_left_to_run(tmp_path, changed, part, told):
    grid = Grid("one", SHARED, (Cell("untrained", control="untrained"),), "untrained", judging=FAST)
    made = clouds("train", 4, points=160, progress=False)
    write_archive(tmp_path / "some_train.npz", made)
    write_archive(tmp_path / "some_test.npz", made)
    compare.compare(tmp_path / "some.npz", grid, tmp_path / "out", 1, jobs=1, progress=False)
    with np.load(tmp_path / f"some_{part}.npz") as arrays:
        kept = dict(arrays)
    kept[changed] = kept[changed][::-1].copy()
    np.savez(tmp_path / f"some_{part}.npz", **kept)
    for seeds in (1, 2):
        with pytest.raises(InputError, match=f"{told} other shapes than there are now"):
            compare.compare(tmp_path / "some.npz", grid, tmp_path / "out", seeds, jobs=1, progress=False)


def test_an_encoder_with_labels_is_not_judged_by_what_it_has_learnt_from(archive, tmp_path):
    shutil.copy(archive.with_name("some_train.npz"), tmp_path / "x.npz")
    grid = Grid("one", SHARED | {"epochs": 1}, (Cell("labels", control="supervised"),), "labels", judging=FAST)
    compare.compare(tmp_path / "x.npz", grid, tmp_path / "out", 1, "validation", jobs=1, progress=False)
    with np.load(tmp_path / "x.npz") as arrays:
        mixed = {
            name: array[::-1].copy() if array.ndim and len(array) > 30 else array for name, array in arrays.items()
        }
    np.savez(tmp_path / "x.npz", **mixed)
    for file in (tmp_path / "out").rglob("figures_*.json"):
        file.unlink()
    shutil.rmtree(tmp_path / "out" / "validation")
    with pytest.raises(InputError, match="are others now than .* learnt from"):
        compare.compare(tmp_path / "x.npz", grid, tmp_path / "out", 1, "validation", jobs=1, progress=False)


def test_shapes_are_read_anew_and_others_in_place_of_those_judged_are_refused(archive, tmp_path):
    grid = Grid("one", SHARED, (Cell("untrained", control="untrained"),), "untrained", judging=FAST)
    found = []
    for seed in (0, 1):
        for split, size in (("train", 4), ("test", 2)):
            made = clouds(split, size, points=160, seed=seed, progress=False)
            write_archive(tmp_path / f"some_{split}.npz", made)
            with np.load(tmp_path / f"some_{split}.npz") as arrays:  # an archive of one's own, which names no shapes
                kept = {name: array for name, array in arrays.items() if name != "ids"}
            np.savez(tmp_path / f"some_{split}.npz", **kept)
        out = tmp_path / f"out-{seed}"
        compare.compare(tmp_path / "some.npz", grid, out, 1, jobs=1, progress=False)
        found.append(figures(out, "untrained"))
    assert found[0]["consistency_shift"] != found[1]["consistency_shift"]
    with pytest.raises(InputError, match="untrained of seed 0 was judged on other shapes than there are now"):
        compare.compare(tmp_path / "some.npz", grid, tmp_path / "out-0", 2, jobs=1, progress=False)


def test_a_training_that_left_out_most_steps_is_not_finished_on_another_split_either(archive, tmp_path, monkeypatch):
    def mostly_nan(points):
        calls = iter(range(1000))
        return lambda x, generator=None: x * (1.0 if next(calls) % 3 == 0 else float("nan"))

    monkeypatch.setitem(tables.TRANSFORMS, "mostly_nan", mostly_nan)
    cell = Cell("VAE+Aug", options={"views": 1, "consistency": 0, "transform": "mostly_nan"})
    grid = Grid("one", SHARED, (cell,), "VAE+Aug", judging=FAST)
    for split in ("test", "validation"):
        found = compare.compare(archive, grid, tmp_path, 1, split, jobs=1, progress=False)
        assert "not finite" in figures(tmp_path, "VAE+Aug", split=split)["failed"]
        assert not any(found.row("VAE+Aug").figures.values())
    assert not is_finished(tmp_path / "VAE+Aug" / "seed-0")
    with pytest.raises(Diverged, match="train it anew"):
        train(
            Settings.read(tmp_path / "VAE+Aug" / "seed-0"), tmp_path / "VAE+Aug" / "seed-0", resume=True, progress=False
        )


def test_a_cell_that_has_become_a_control_wants_a_folder_of_its_own(archive, tmp_path):
    for control in (None, "untrained"):
        grid = Grid("one", SHARED, (Cell("x", control=control),), "x", judging=FAST)
        if control is None:
            compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    before = (tmp_path / "x" / "seed-0" / "settings.json").read_text()
    with pytest.raises(InputError, match="holds a training without labels"):
        compare.compare(archive, grid, tmp_path, 1, jobs=1, progress=False)
    assert (tmp_path / "x" / "seed-0" / "settings.json").read_text() == before


def test_a_supervised_control_of_an_older_grid_is_known(archive, done, tmp_path):
    shutil.copytree(done[1] / "supervised" / "seed-0", tmp_path / "supervised" / "seed-0")
    settings = tmp_path / "supervised" / "seed-0" / "settings.json"
    settings.write_text(json.dumps({k: v for k, v in json.loads(settings.read_text()).items() if k != "control"}))
    compare.compare(archive, small(), tmp_path, 1, cells=["supervised"], jobs=1, progress=False)
    assert figures(tmp_path, "supervised")["svm_accuracy"] == figures(done[1], "supervised")["svm_accuracy"]


PLUGIN = """
from crvae3d.experiment.tables import TRANSFORMS
from crvae3d.points.augment import Scale
from crvae3d.points.models import ENCODERS, PointModel
from crvae3d.points.pointnet import PointNet

TRANSFORMS["mine"] = lambda points: Scale(0.5, 2.0)
ENCODERS["wide"] = lambda settings: PointNet(settings.code_size, (8, 24), head_widths=())
"""

MINE = """
reference = "mine"
[shared]
preset = "tiny"
epochs = 1
batch_size = 16
points = 64
[judging]
points = 64
robust_shapes = 6
robust_points = 64
episodes = 1
[cells."mine"]
transform = "mine"
[cells."my encoder"]
encoder = "wide"
head_widths = [16, 8]
"""


def test_an_encoder_and_a_transformation_of_ones_own_join_by_name(archive, tmp_path, capsys):
    from crvae3d.experiment.tables import TRANSFORMS

    known = dict(ENCODERS), dict(TRANSFORMS)
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "mine.toml").write_text(MINE)
    out = tmp_path / "out"
    command = ["compare", str(archive), "--grid", str(tmp_path / "mine.toml"), "--plugin", str(tmp_path / "mine.py")]
    try:
        assert main([*command, "--seeds", "1", "-o", str(out), "--quiet", "--jobs", "2"]) == 0
    finally:
        for table, was in zip((ENCODERS, TRANSFORMS), known, strict=True):
            table.clear(), table.update(was)
    shown = capsys.readouterr().out
    assert "my encoder" in shown and "page.html" in shown
    assert figures(out, "my_encoder")["code_size"] == 64
    assert json.loads((out / "my_encoder" / "seed-0" / "settings.json").read_text())["model"]["encoder"] == "wide"


def test_other_mistakes_are_told_before_anything_is_made(tmp_path):
    for options, says in (
        ({"grid": "qick"}, "did you mean 'quick'"),
        ({"grid": "missing.toml"}, "no such file"),
        ({"seeds": 0}, "seeds must be 1"),
        ({"seed": 7}, "seed is no setting of the cells"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"cells": ["CR-beta-VEA"]}, "did you mean"),
        ({"plugin": tmp_path / "none.py"}, "no plugin"),
        ({"plugin": __file__.replace(".py", ".txt")}, "no plugin"),
        ({"jobs": 0}, "jobs must be 1"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ):
        with pytest.raises(InputError, match=says):
            compare.compare("shapes", out=tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="stands twice"):
        Grid("twice", {}, (Cell("a b"), Cell("a_b")), "a b")


def test_nested_robustness_becomes_figures():
    found = flat({"svm_accuracy": 0.5, "alarms": [], "robustness": {"": {"thin": [0.8, 0.6], "so3": [0.4, 0.2]}}})
    assert found["robust/thin"] == pytest.approx(0.7) and found["robust/so3/2"] == 0.2
    assert found["robust_mean"] == pytest.approx(0.5) and "alarms" not in found


def test_means_over_corruptions_are_of_those_that_all_runs_have():
    runs = [{"robustness": {"": {"thin": [0.8], "so3": [0.4]}}}, {"robustness": {"": {"so3": [0.2]}}}, {"chamfer": 1}]
    families = families_of_all(runs)
    assert families == {"so3"} and families_of_all(runs[2:]) == set()
    assert [flat(run, families).get("robust_mean") for run in runs] == [0.4, 0.2, None]
