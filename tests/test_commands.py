"""The commands as a person uses them: on a small labelled archive, a folder with broken files, and with mistakes."""

import csv
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import crvae3d
from crvae3d.cli import train as train_command
from crvae3d.cli.main import main
from crvae3d.core.consistency import TARGETS
from crvae3d.core.divergences import DIVERGENCES
from crvae3d.datasets.archives import write_archive
from crvae3d.datasets.clouds import carve
from crvae3d.datasets.shapes import clouds
from crvae3d.experiment import embed as embed_module
from crvae3d.experiment import image_tables, runs, tables
from crvae3d.experiment import reconstruct as reconstruct_module
from crvae3d.experiment.evaluate import judged_shapes
from crvae3d.experiment.modalities import CLOUDS
from crvae3d.experiment.runs import has_decoder, one_epoch, told_apart
from crvae3d.experiment.settings import Settings
from crvae3d.images.likelihoods import LIKELIHOODS
from crvae3d.points import models
from crvae3d.training.settings import PRECISIONS, Training
from crvae3d.viewers.terminal import print_table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An archive of procedural shapes, a folder of meshes of which some are broken, and a run trained on the archive."""
    place = tmp_path_factory.mktemp("commands")
    for split, per_class in (("train", 8), ("test", 3)):
        write_archive(place / f"some_{split}.npz", clouds(split, per_class, points=300, progress=False))
    meshes = place / "meshes"
    meshes.mkdir()
    for index in range(5):
        trimesh.creation.box((10, 10 + index, 20)).apply_translation([100, 0, 0]).export(meshes / f"box_{index}.off")
    (meshes / "empty.off").write_text("")
    (meshes / "cut.off").write_text("OFF\n8 12 0\n0 0 0\n")
    command = f"train {place / 'some.npz'} --preset tiny --epochs 2 --out {place / 'cr'} --quiet"
    assert main(command.split()) == 0
    assert main((command.replace("/cr ", "/vae ") + " --consistency 0 --seed 1").split()) == 0
    return place


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))


def test_a_run_says_what_made_it(place):
    settings = json.loads((place / "cr" / "settings.json").read_text())
    assert settings["training"]["epochs"] == 2 and settings["model"]["code_size"] == 64
    assert settings["objective"]["consistency"] > 0
    assert {"torch", "commit", "command", "machine"} <= set(settings["made_by"])
    assert settings["made_by"]["source"] == "some.npz"
    assert json.loads((place / "vae" / "settings.json").read_text())["objective"]["consistency"] == 0
    rows = list(csv.DictReader((place / "cr" / "metrics.csv").open()))
    assert len(rows) == 2 and "train_consistency" in rows[0] and "val_view_rate" in rows[0]
    assert "train_consistency" not in (place / "vae" / "metrics.csv").read_text()


def test_a_run_that_was_stopped_goes_on_to_the_weights_of_one_that_was_not(place, tmp_path, monkeypatch, capsys):
    save, saves = crvae3d.VAE.save_pretrained, []

    def stopped(model, folder):
        saves.append(folder)
        if len(saves) == 2:
            raise KeyboardInterrupt
        save(model, folder)

    with monkeypatch.context() as patch:
        patch.setattr(crvae3d.VAE, "save_pretrained", stopped)
        train = f"train {place / 'some.npz'} --preset tiny --epochs 2 --batch-size 16 --points 64 --quiet"
        assert main([*train.split(), "--out", str(tmp_path / "run")]) == 130
    assert main([*train.split(), "--out", str(tmp_path / "whole")]) == 0
    assert not runs.is_finished(tmp_path / "run") and main(f"train --resume {tmp_path / 'run'} --quiet".split()) == 0
    whole, gone_on = (crvae3d.VAE.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "run"))
    assert all(torch.equal(value, gone_on[name]) for name, value in whole.items())
    assert any(file.stat().st_size for file in (tmp_path / "run" / "tensorboard").rglob("events*"))


def test_evaluate_compares_runs_beside_their_controls(place, capsys):
    page, figures = place / "page.html", place / "figures.json"
    command = f"evaluate {place / 'vae'} {place / 'cr'} --page {page} --json {figures} --quiet"
    assert main(command.split()) == 0
    found = json.loads(figures.read_text())
    assert list(found) == ["vae", "cr"]
    for one in found.values():
        shares = [one[name] for name in tables_of_accuracy()]
        assert all(0 <= share <= 1 for share in shares) and one["svm_accuracy_pooled"] > 0.3
        assert one["chamfer"] > 0 and one["n_test"] == 48 and one["n_train"] == 128 and 0 <= one["active_units"] <= 64
        gaps = [one[f"consistency_gap_{name}"] for name in tables.GAPS]
        assert one["consistency_gap"] == pytest.approx(np.mean(gaps)) and min(gaps) > 0
        assert one["made_by"]["torch"] == torch.__version__ and one["source"] == "some.npz"
        for of in (one["robustness"], one["untrained_robustness"]):
            assert of.keys() == {"", "_pooled"} and of[""].keys() == {"azimuth", "so3", "thin"}
            assert all(0 <= accuracy <= 1 for accuracies in of[""].values() for accuracy in accuracies)
            assert [len(accuracies) for accuracies in of[""].values()] == [5, 5, 5]
    shown = capsys.readouterr().out
    assert "Untrained encoder" in shown and "Chamfer" in shown and "turned about any axis" in shown
    html = page.read_text()
    assert "turned about any axis" in html
    assert "untrained encoder" in html and "chair_500" in html


def test_runs_that_began_alike_share_their_controls(place, monkeypatch):
    from crvae3d.experiment import evaluate

    asked = []
    monkeypatch.setattr(
        evaluate, "evaluate_controls", lambda model, *_, **__: asked.append(model) or {"untrained_accuracy": len(asked)}
    )
    shutil.copytree(place / "cr", place / "twin" / "cr")
    figures = evaluate.evaluate_runs([place / name for name in ("cr", "vae", "twin/cr")], progress=False)
    assert list(figures) == [f"{place.name}/cr", f"{place.name}/vae", "twin/cr"]  # no shorter names are all different
    assert [one["untrained_accuracy"] for one in figures.values()] == [1, 2, 1]  # vae began with another seed


def test_names_are_shown_as_they_are(capsys):
    print_table({"cr[lambda=1]": {"svm_accuracy": 0.5, "alarms": ["[/b] collapsed"]}})
    shown = capsys.readouterr().out
    assert "cr[lambda=1]" in shown and "cr[lambda=1]: [/b] collapsed" in shown


def test_runs_are_told_apart_by_as_much_of_their_paths_as_it_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told_apart(["grid/VAE", "grid/KL"]) == {"VAE": Path("grid/VAE"), "KL": Path("grid/KL")}
    assert list(told_apart(["grid/VAE/seed-0", "grid/KL/seed-0"])) == ["VAE/seed-0", "KL/seed-0"]
    assert list(told_apart(["."])) == [tmp_path.name]
    with pytest.raises(crvae3d.errors.InputError, match="given twice"):
        told_apart(["runs/cr", "runs/../runs/cr"])


def test_a_result_names_its_command_without_the_paths_of_a_machine(monkeypatch):
    from crvae3d.experiment.settings import provenance

    words = (
        f"{Path('/opt/bin/crvae3d').resolve()} train modelnet10 --data {Path('/data/shapes').resolve()} --out runs/cr"
    )
    monkeypatch.setattr("sys.argv", words.split())
    assert provenance()["command"] == "crvae3d train modelnet10 --data shapes --out runs/cr"


def tables_of_accuracy():
    names = (
        "svm_accuracy svm_accuracy_pooled untrained_accuracy untrained_accuracy_pooled knn_accuracy occupancy_accuracy"
    )
    return names.split()


def test_a_scale_that_is_not_learnt_stays(place):
    settings = crvae3d.Settings.of(place / "some.npz", preset="tiny", epochs=1, learn_scale=False)
    crvae3d.train(settings, place / "scaled", progress=False)
    weights = dict(crvae3d.VAE.from_pretrained(place / "scaled").decoder.named_parameters())
    assert float(weights["log_scale"].detach().exp()) == pytest.approx(0.05)


def test_evaluate_takes_any_two_labelled_datasets_of_other_classes(place, tmp_path):
    data = clouds("train", 6, points=200, seed=5, progress=False)
    few = data.select(np.flatnonzero(np.isin(data.labels, [2, 7])))
    last = len(few.class_names) - 1  # the other archive numbers the same classes from the end
    write_archive(tmp_path / "a.npz", few)
    write_archive(tmp_path / "b.npz", replace(few, labels=last - few.labels, class_names=few.class_names[::-1]))
    command = (
        f"evaluate {place / 'cr'} --train {tmp_path / 'a.npz'} --test {tmp_path / 'b.npz'} --json {tmp_path / 'f.json'}"
    )
    assert main([*command.split(), "--page", str(tmp_path / "p.html"), "--quiet"]) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["svm_accuracy"] == 1.0 and found["n_test"] == 12


def test_the_test_split_has_no_say_in_a_validation(place, tmp_path):
    command = (
        f"evaluate {place / 'cr'} --split validation --json {tmp_path / 'f.json'} --page {tmp_path / 'p.html'} --quiet"
    )
    assert main(command.split()) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["n_train"], found["n_test"], found["split"]) == (112, 16, "validation")
    for split in ("train", "test"):  # of another test split all is the same
        shutil.copy(place / f"some_{split}.npz", tmp_path / f"some_{split}.npz")
    write_archive(tmp_path / "some_test.npz", clouds("test", 2, points=300, seed=9, progress=False))
    told = json.loads((place / "cr" / "settings.json").read_text())
    told["data"] = str(tmp_path / "some.npz")
    shutil.copytree(place / "cr", tmp_path / "cr")
    (tmp_path / "cr" / "settings.json").write_text(json.dumps(told))
    again = crvae3d.evaluate(tmp_path / "cr", split="validation", progress=False)
    assert {name: again[name] for name in found if name not in ("made_by", "run")} == {
        name: found[name] for name in again if name not in ("made_by", "run")
    }


def test_what_validates_a_training_is_what_is_judged_and_none_of_it_is_learnt_from(place, tmp_path, monkeypatch):
    from crvae3d.training import fit

    given = []
    monkeypatch.setattr(fit, "fit", lambda model, objective, train, validation, *_: given.append((train, validation)))
    train = f"train {place / 'some.npz'} --preset tiny --quiet --out {tmp_path / 'r'}"
    assert main(train.split()) == 0
    ((known, seen),) = given
    fitted_on, judged_by, _ = judged_shapes(str(place / "some.npz"), None, "validation", progress=False)
    assert seen.ids.tolist() == judged_by.ids.tolist()
    assert known.dataset.ids.tolist() == fitted_on.ids.tolist() and not set(fitted_on.ids) & set(judged_by.ids)
    assert sorted(known.indices) == list(range(112))


def test_the_page_lies_in_the_last_run_unless_it_is_told_where(place, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(place / "cr", tmp_path / name)
        (tmp_path / name / "page.html").unlink(missing_ok=True)
    assert main(f"evaluate {tmp_path / 'a'} {tmp_path / 'b'} --quiet".split()) == 0
    assert (tmp_path / "b" / "page.html").exists() and not (tmp_path / "a" / "page.html").exists()


def test_another_seed_of_an_evaluation_has_other_views_and_the_same_seed_the_same(place):
    gaps = [
        crvae3d.evaluate(place / "cr", split="validation", seed=seed, points=64, progress=False)[
            "consistency_gap_jitter"
        ]
        for seed in (1, 1, 2)
    ]
    assert gaps[0] == gaps[1] != gaps[2]


def test_embed_takes_a_test_part_without_labels(place, tmp_path):
    shapes = [clouds(split, 2, points=200, progress=False) for split in ("train", "test")]
    write_archive(tmp_path / "x_train.npz", shapes[0])
    write_archive(tmp_path / "x_test.npz", replace(shapes[1], labels=None, class_names=()))
    assert main(f"embed {place / 'cr'} {tmp_path / 'x.npz'} -o {tmp_path / 'codes.npz'} --quiet".split()) == 0
    with np.load(tmp_path / "codes.npz") as table:
        first = len(shapes[0])
        assert set(table["labels"][:first]) == set(shapes[0].class_names) and set(table["labels"][first:]) == {""}


def test_a_view_is_made_of_the_points_that_there_are(place, tmp_path, monkeypatch):
    from crvae3d.training import fit

    asked, turned = [], []

    def seen(model, objective, *_):
        asked.append(objective.transform.transforms[-1].points)
        if objective.contrast:
            made = objective.transform, objective.contrast_transform
            turned.append([(views.transforms[1].degrees, views.transforms[-1].points) for views in made])

    monkeypatch.setattr(fit, "fit", seen)
    train = f"train {place / 'some.npz'} --preset tiny --quiet --out {tmp_path / 'r'}"
    for form in ("--paper", ""):
        for points in (200, 2048):  # the archive has 300
            assert main([*train.split(), *form.split(), "--points", str(points), "--overwrite"]) == 0
    assert asked == [100, 150, 200, 300]  # by default as many at most, and any number down to an eighth
    assert turned == [[(45, 200), (90, 200)], [(45, 300), (90, 300)]]


def test_single_precision_instead_of_one_without_kernels_is_told_once(place, tmp_path, monkeypatch, capsys):
    from crvae3d.experiment import runs
    from crvae3d.training import settings

    monkeypatch.setattr(settings, "has_bf16", lambda device: False)
    runs._say_once.cache_clear()
    train = (
        f"train {place / 'some.npz'} --preset tiny --epochs 1 --quiet --overwrite --out {tmp_path / 'r'} --precision"
    )
    said = []
    for asked in ("32-true", "bf16-mixed", "bf16-mixed"):
        assert main([*train.split(), asked]) == 0
        said.append(capsys.readouterr().err.count("has no kernels for bf16-mixed here: 32-true is taken"))
    assert said == [0, 1, 0]


def test_codes_tell_which_part_they_are_of(place):
    table = crvae3d.embed(place / "cr", place / "some.npz", progress=False)
    assert table["split"].tolist() == ["train"] * 128 + ["test"] * 48
    assert "split" not in crvae3d.embed(place / "cr", place / "some_test.npz", progress=False)


def test_clouds_of_any_precision_are_taken_and_empty_ones_refused(place):
    model = crvae3d.VAE.from_pretrained(place / "cr")
    x = torch.rand(2, 50, 3)
    assert model.embed(x.double()).equal(model.embed(x)) and model.reconstruct(x.double()).dtype == torch.float32
    with pytest.raises(crvae3d.errors.InputError, match="at least one point"):
        model.embed(x[:, :0])


def test_embed_names_what_it_could_not_read(place, tmp_path):
    output = tmp_path / "codes.npz"
    assert main(f"embed {place / 'cr'} {place / 'meshes'} -o {output} --quiet".split()) == 0
    found = np.load(output)
    assert found["codes"].shape == (5, 64) and sorted(found["ids"])[0].startswith("box_0")
    shapes = crvae3d.load(place / "meshes", progress=False).train
    with torch.inference_mode():
        posterior = crvae3d.VAE.from_pretrained(place / "cr").encoder(shapes.coordinates())
    assert found["ids"].tolist() == shapes.ids.tolist()
    np.testing.assert_allclose(found["codes"], posterior.mean, atol=1e-5)
    np.testing.assert_allclose(found["deviations"], posterior.stddev, rtol=1e-4)
    failures = {row["file"]: row["reason"] for row in csv.DictReader((tmp_path / "codes.failures.csv").open())}
    assert {name.split("/")[-1] for name in failures} == {"empty.off", "cut.off"} and all(failures.values())
    assert main(f"embed {place / 'cr'} {place / 'meshes'} -o {tmp_path / 'codes.parquet'} --quiet".split()) == 0
    pyarrow = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.read_table(tmp_path / "codes.parquet").to_pydict()
    np.testing.assert_array_equal(np.array(table["codes"], np.float32), found["codes"])


def test_reconstruct_gives_clouds_in_the_users_own_units(place, tmp_path):
    assert main(f"reconstruct {place / 'cr'} {place / 'meshes'} -o {tmp_path} --points 99 --quiet".split()) == 0
    files = sorted(tmp_path.glob("*.ply"))
    assert len(files) == 5 and (tmp_path / "reconstructions.png").stat().st_size > 5000
    points = np.asarray(trimesh.load(files[0]).vertices)
    assert points.shape == (99, 3)
    np.testing.assert_allclose(points.mean(0), [100, 0, 0], atol=6)  # boxes of 10 x 10 x 20 around there
    told = {row["id"]: float(row["chamfer"]) for row in csv.DictReader((tmp_path / "chamfer.csv").open())}
    model, shapes = crvae3d.VAE.from_pretrained(place / "cr"), crvae3d.load(place / "meshes", progress=False).train
    with torch.inference_mode():
        made = model.decoder.decode(model.embed(shapes.coordinates()), 99)
        expected = crvae3d.chamfer_distance(shapes.coordinates(), made)
    assert told == pytest.approx(dict(zip(shapes.ids, expected.tolist(), strict=True)), rel=1e-4)
    for row, name in enumerate(shapes.ids):
        written = np.asarray(trimesh.load(tmp_path / f"{name}.ply").vertices)
        np.testing.assert_allclose(written, shapes.own_units(made[row].numpy(), row), rtol=1e-4, atol=1e-3)


def test_reconstruct_gives_meshes_whose_corners_are_the_folded_points(place, tmp_path, capsys):
    ask = f"reconstruct {place / 'cr'} {place / 'meshes'} --points 100 --quiet -o {tmp_path}"
    assert main(f"{ask}/clouds".split()) == 0 and main(f"{ask}/meshes --mesh".split()) == 0
    assert "5 meshes (.ply)" in capsys.readouterr().out
    for file in (tmp_path / "meshes").glob("*.ply"):
        mesh, cloud = (trimesh.load(tmp_path / kind / file.name, process=False) for kind in ("meshes", "clouds"))
        assert mesh.faces.shape == (2 * 9 * 9, 3) and mesh.body_count == 1 and mesh.area > 0
        np.testing.assert_array_equal(mesh.vertices, cloud.vertices)
    pictures = [(tmp_path / kind / "reconstructions.png").read_bytes() for kind in ("meshes", "clouds")]
    assert pictures[0] != pictures[1]
    codes = crvae3d.embed(place / "cr", tmp_path / "meshes", progress=False)["codes"]
    assert len(codes) == 5 and np.isfinite(codes).all()


def test_reconstructions_do_not_replace_what_they_are_made_from(place, tmp_path, monkeypatch):
    model = crvae3d.VAE.from_pretrained(place / "cr")
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "one.ply")
    for data, output in ((tmp_path / "one.ply", tmp_path), (tmp_path, tmp_path), (tmp_path, tmp_path / "among")):
        with pytest.raises(crvae3d.errors.InputError, match="among what they are made from"):
            crvae3d.reconstruct(model, data, output, progress=False)
    (made,) = crvae3d.reconstruct(model, tmp_path / "one.ply", tmp_path / "out", progress=False)
    assert made == tmp_path / "out" / "one.ply"
    (tmp_path / "others").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "others" / "scan.ply")
    for name in ("scan.ply", "failures.csv", "reconstructions.png", "chamfer.csv"):
        (tmp_path / "others" / "scan.ply").rename(tmp_path / "others" / "scan.txt")
        (tmp_path / "others" / name).write_bytes(b"of my own")
        with pytest.raises(crvae3d.errors.InputError, match=f"holds {name}, which is no reconstruction"):
            crvae3d.reconstruct(model, tmp_path / "one.ply", tmp_path / "others", progress=False)
        assert (tmp_path / "others" / name).read_bytes() == b"of my own"
        (tmp_path / "others" / name).unlink()
        (tmp_path / "others" / "scan.txt").rename(tmp_path / "others" / "scan.ply")
    with pytest.raises(crvae3d.errors.InputError, match="an empty name was given"):
        crvae3d.reconstruct(model, tmp_path / "one.ply", "", progress=False)
    crvae3d.reconstruct(model, tmp_path / "one.ply", tmp_path / "out", progress=False)  # which it may do again
    (tmp_path / "out" / "reconstructions.png").unlink()  # the last to be written
    crvae3d.reconstruct(model, tmp_path / "one.ply", tmp_path / "out", progress=False)  # also where it was cut off
    (other,) = crvae3d.reconstruct(model, place / "meshes" / "box_0.off", tmp_path / "out", progress=False)
    assert [*(tmp_path / "out").glob("*.ply")] == [other] and other.name == "box_0.ply"  # none of the earlier call
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(crvae3d.errors.InputError, match="among what they are made from"):
        crvae3d.reconstruct(model, "~/others", tmp_path / "others", progress=False)
    source = tmp_path / "some_train.npz"
    source.write_bytes((place / "some_train.npz").read_bytes())
    with pytest.raises(crvae3d.errors.InputError, match="would replace what they are made from"):
        crvae3d.embed(model, tmp_path / "some.npz", source, progress=False)
    with pytest.raises(crvae3d.errors.InputError, match="would replace what they are made from"):
        crvae3d.embed(model, "~/some.npz", source, progress=False)
    for _ in range(2):  # the codes of a folder may be called so
        crvae3d.embed(model, tmp_path / "out", tmp_path / "out_train.npz", progress=False)


def test_what_an_interrupted_call_has_written_is_replaced_too(place, tmp_path, monkeypatch):
    write, written = reconstruct_module._write_cloud, []

    def interrupted(path, *rest, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest, **options)

    monkeypatch.setattr(reconstruct_module, "_write_cloud", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crvae3d.reconstruct(place / "cr", place / "meshes", tmp_path / "out", progress=False)
    assert sorted((tmp_path / "out").glob("*.ply")) == sorted(written)
    monkeypatch.setattr(reconstruct_module, "_write_cloud", write)
    made = crvae3d.reconstruct(place / "cr", place / "meshes" / "box_4.off", tmp_path / "out", progress=False)
    assert [*(tmp_path / "out").glob("*.ply")] == made


def test_codes_do_not_hide_the_archives_they_are_made_from(place, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"some_{split}.npz").write_bytes((place / f"some_{split}.npz").read_bytes())
    with pytest.raises(crvae3d.errors.InputError, match="would replace what they are made from"):
        crvae3d.embed(place / "cr", tmp_path / "some.npz", tmp_path / "some.npz", progress=False)


def test_an_evaluation_replaces_neither_a_run_nor_its_own_page(place, tmp_path):
    both = {"page": tmp_path / "x.html", "figures_file": tmp_path / "x.html"}
    for files in ({"figures_file": place / "cr" / "settings.json"}, {"page": place / "cr" / "last.ckpt"}, both):
        with pytest.raises(crvae3d.errors.InputError, match="would replace a file of a run, or the page"):
            crvae3d.evaluate(place / "cr", **files, progress=False)


def test_after_a_training_without_a_test_part_the_next_command_is_one_that_works(place, tmp_path, capsys):
    out = tmp_path / "few"
    assert main(f"train {place / 'meshes'} --preset tiny --epochs 1 --out {out} --quiet".split()) == 0
    assert capsys.readouterr().out.strip().endswith(f"Next: crvae3d evaluate {out} --split validation")
    assert main(f"train {place / 'some.npz'} --preset tiny --epochs 1 --out {out} --quiet --overwrite".split()) == 0
    assert capsys.readouterr().out.strip().endswith(f"Next: crvae3d evaluate {out}")


def test_shapes_whose_names_differ_in_large_letters_alone_have_files_of_their_own_on_every_disk(place, tmp_path):
    clouds = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    np.savez(tmp_path / "two.npz", points=clouds, ids=["Chair", "chair"])
    made = crvae3d.reconstruct(place / "cr", tmp_path / "two.npz", tmp_path / "out", progress=False)
    assert [file.name for file in made] == ["Chair.ply", "chair_2.ply"]


def test_a_decoder_that_nothing_has_trained_reconstructs_nothing(place, tmp_path, monkeypatch):
    command = f"train {place / 'some.npz'} --preset tiny --epochs 1 --objective none --divergence nt-xent --quiet"
    assert main([*command.split(), "--out", str(tmp_path / "alone")]) == 0
    with pytest.raises(crvae3d.errors.InputError, match="alone has trained an encoder alone"):
        crvae3d.reconstruct(tmp_path / "alone", place / "some.npz", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    crvae3d.VAE.from_pretrained(place / "cr").save_pretrained(tmp_path / "saved")
    assert has_decoder(place / "cr") and has_decoder(tmp_path / "saved") and not has_decoder(tmp_path / "alone")
    monkeypatch.chdir(tmp_path / "alone")
    assert crvae3d.evaluate(".", points=64, progress=False)["chamfer"] is None


def test_long_names_are_shortened_and_stay_apart(place, tmp_path):
    for folder in ("é" * 60, "ö" * 60):
        for kind in ("a", "b"):
            deep = tmp_path / "long" / folder / folder / kind
            deep.mkdir(parents=True)
            trimesh.creation.box((1, 2, 3)).export(deep / "model.off")
    made = crvae3d.reconstruct(place / "cr", tmp_path / "long", tmp_path / "out", progress=False)
    assert len(set(made)) == len(list((tmp_path / "out").glob("*.ply"))) == 4
    assert all(path.stem.split("_")[-1] in ("model", "2") and len(os.fsencode(path.name)) < 220 for path in made)


def test_own_units_may_be_those_of_a_map(place, tmp_path):
    box = trimesh.creation.box((1, 2, 3))
    box.apply_translation((4_500_000.25, 500_000.5, 100))
    box.export(tmp_path / "house.obj", digits=8)
    (made,) = crvae3d.reconstruct(place / "cr", tmp_path / "house.obj", tmp_path / "out", progress=False)
    points = np.asarray(trimesh.load(made).vertices)
    assert len(np.unique(points[:, 0])) > 100
    np.testing.assert_allclose(points.mean(0), (4_500_000.25, 500_000.5, 100), atol=1)


def test_models_of_any_precision_reconstruct(place):
    for name in ("double", "bfloat16", "half"):
        model = getattr(crvae3d.VAE.from_pretrained(place / "cr"), name)()
        assert torch.isfinite(model.reconstruct(torch.rand(2, 50, 3))).all(), name


def test_names_that_are_no_text_do_not_stop_anything(place, tmp_path, capsys):
    name = os.fsdecode(b"stuhl_\xff.ply")
    (tmp_path / "in").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.ply")
    (tmp_path / "box.ply").rename(tmp_path / "in" / name)
    (tmp_path / "in" / os.fsdecode(b"leer_\xff.off")).write_bytes(b"")
    assert main(f"data check {tmp_path / 'in'} --quiet".split()) == 0
    for output in ("codes.npz", "codes.parquet") if importlib.util.find_spec("pyarrow") else ("codes.npz",):
        assert main(f"embed {place / 'cr'} {tmp_path / 'in'} -o {tmp_path / output} --quiet".split()) == 0
    assert main(f"reconstruct {place / 'cr'} {tmp_path / 'in'} -o {tmp_path / 'out'} --quiet".split()) == 0
    assert len(list((tmp_path / "out").glob("*.ply"))) == 1


def test_data_check_list_and_pack(place, tmp_path, capsys):
    assert main(["data", "list"]) == 0
    assert main(f"data check {place / 'meshes'} --quiet".split()) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("modelnet40", "shapes", "empty.off", "cut.off", "2 cannot be used"))
    assert main(f"data pack {place / 'meshes'} -o {tmp_path / 'packed.npz'} --points 64 --quiet".split()) == 0
    assert crvae3d.load(tmp_path / "packed.npz").train.points.shape == (5, 64, 3)


def test_an_existing_run_is_refused_and_a_finished_one_resumes_to_itself(place, capsys):
    command = f"train {place / 'some.npz'} --preset tiny --epochs 2 --out {place / 'cr'} --quiet"
    before = (place / "cr" / "weights.safetensors").read_bytes()
    assert main(command.split()) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(f"train --resume {place / 'cr'} --quiet".split()) == 0
    assert (place / "cr" / "weights.safetensors").read_bytes() == before


def test_a_mistake_costs_no_folder_and_no_run(place, tmp_path):
    assert main(f"train shapes --consistency 0.1 --views 0 --out {tmp_path / 'new'}".split()) == 2
    assert not (tmp_path / "new").exists()
    weights = (place / "vae" / "weights.safetensors").read_bytes()
    assert main(f"train {tmp_path / 'nowhere.npz'} --out {place / 'vae'} --overwrite".split()) == 2
    assert (place / "vae" / "weights.safetensors").read_bytes() == weights


def test_only_runs_are_overwritten(place, tmp_path, capsys):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "settings.json").write_text('{"editor.tabSize": 4}')
    command = f"train {place / 'some.npz'} --preset tiny --epochs 1 --out {tmp_path / 'project'} --overwrite --quiet"
    assert main(command.split()) == 2
    assert "is not a run" in capsys.readouterr().err and (tmp_path / "project" / "settings.json").exists()


def test_a_run_is_called_as_its_data(place, tmp_path, monkeypatch):
    shutil.copytree(place / "meshes", tmp_path / "boxes-1.2")
    monkeypatch.chdir(tmp_path / "boxes-1.2")
    monkeypatch.setattr(runs, "train", lambda settings, out, *_, **__: called.append(out))
    called = []
    for data in (".", "../boxes-1.2", str(place / "some.npz"), "shapes"):
        assert main(["train", data, "--preset", "tiny", "--quiet"]) == 0
    assert [str(out) for out in called] == ["runs/boxes-1.2", "runs/boxes-1.2", "runs/some", "runs/shapes"]


def test_numbers_of_numpy_are_settings(place, tmp_path):
    few = dict(preset="tiny", epochs=np.int64(1), seed=np.arange(3)[2], learning_rate=np.float64(0.001))
    settings = Settings.of(place / "some.npz", **few)
    settings.write(tmp_path)
    assert Settings.read(tmp_path) == settings and type(settings.training.seed) is int
    replace(settings, training=Training(seed=np.int64(1))).write(tmp_path)
    assert Settings.read(tmp_path).training.seed == 1


def test_weights_may_be_read_by_whoever_may_read_the_settings(place):
    modes = {(place / "cr" / name).stat().st_mode for name in ("settings.json", "weights.safetensors")}
    assert len(modes) == 1


def test_codes_and_where_they_go_are_looked_at(place, tmp_path, capsys, monkeypatch):
    model = crvae3d.VAE.from_pretrained(place / "cr")
    model.encoder.head.bias.data[0] = np.nan
    crvae3d.embed(model, place / "some.npz", progress=False)
    assert "codes are not finite" in capsys.readouterr().err
    (tmp_path / "folder.npz").mkdir()
    monkeypatch.setattr(embed_module, "encode", None)
    with pytest.raises(crvae3d.errors.InputError, match="cannot write"):
        crvae3d.embed(model, place / "some.npz", tmp_path / "folder.npz", progress=False)


def test_a_training_of_some_shapes_depends_on_no_others(place, tmp_path, capsys):
    data = crvae3d.load(place / "some.npz").train
    known, _ = carve(data)
    options = "--preset tiny --epochs 1 --consistency 0 --batch-size 8 --points 64 --train-size 5 --seed 3 --quiet"
    assert main(f"train {place / 'some.npz'} --out {tmp_path / 'all'} {options}".split()) == 0
    learnt = set(known.ids[one_epoch(len(known), Training(train_size=5, seed=3))])
    assert len(learnt) == 5
    others = np.array([shape not in learnt for shape in data.ids])
    points = np.array(data.points)
    points[others] = points[others][:, ::-1] // 2  # their labels stay, and with them the part that is carved
    write_archive(tmp_path / "changed_train.npz", replace(data, points=points))
    assert main(f"train {tmp_path / 'changed.npz'} --out {tmp_path / 'few'} {options}".split()) == 0
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("all", "few")]
    assert weights[0] == weights[1]
    assert main(f"train {place / 'some.npz'} --out {tmp_path / 'none'} --train-size 1000".split()) == 2
    assert "1000 is more than the" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_an_epoch_of_some_shapes_is_as_long_and_has_each_of_them_as_often():
    times = np.bincount(one_epoch(100, Training(train_size=30)), minlength=100)
    assert times.sum() == 100 and (times > 0).sum() == 30 and times.max() - times[times > 0].min() == 1
    assert (one_epoch(100, Training()) == np.arange(100)).all()
    assert not (one_epoch(100, Training(train_size=30, seed=1)) == one_epoch(100, Training(train_size=30))).all()


def test_a_run_stopped_in_its_first_epoch_starts_again(place, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.json").write_text((place / "cr" / "settings.json").read_text())
    assert main(f"train --resume {run} --quiet".split()) == 0
    assert (run / "weights.safetensors").read_bytes() == (place / "cr" / "weights.safetensors").read_bytes()


def test_a_pair_is_judged_on_its_test_part_with_its_classes_by_name(place, tmp_path):
    train, test = (crvae3d.load(place / "some.npz").train, crvae3d.load(place / "some.npz").test)
    write_archive(tmp_path / "pair_train.npz", train)
    order = np.argsort(np.array(test.class_names))[::-1]  # the same classes under other numbers
    names = tuple(np.array(test.class_names)[order])
    write_archive(tmp_path / "pair_test.npz", replace(test, labels=np.argsort(order)[test.labels], class_names=names))
    figures = []
    for data in (place / "some.npz", tmp_path / "pair.npz"):
        output = tmp_path / "f.json"
        command = (
            f"evaluate {place / 'cr'} --train {data} --test {data} --json {output} --page {tmp_path / 'p.html'} --quiet"
        )
        assert main(command.split()) == 0
        figures.append(json.loads(output.read_text()))
    assert figures[0]["n_test"] == 48 and figures[0]["svm_accuracy"] == figures[1]["svm_accuracy"]


def test_a_training_that_diverges_says_so(place, tmp_path, capsys):
    command = (
        f"train {place / 'some.npz'} --preset tiny --epochs 30 --learning-rate 1e30 --out {tmp_path / 'run'} --quiet"
    )
    assert main(command.split()) == 1
    said = capsys.readouterr().err.strip()
    assert "not finite" in said and "--learning-rate" in said and "\n" not in said


def test_what_broke_since_is_one_sentence(place, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(place / "cr", run)
    whole = (run / "last.ckpt").read_bytes()
    (run / "last.ckpt").write_bytes(whole[: len(whole) // 2])
    assert main(f"train --resume {run} --quiet".split()) == 2
    assert "is broken" in capsys.readouterr().err
    (run / "settings.json").write_text("{")
    assert main(f"embed {run} {place / 'meshes'} -o {tmp_path / 'codes.npz'} --quiet".split()) == 2
    assert "not the settings of a model" in capsys.readouterr().err
    plugin = tmp_path / "mine.py"
    plugin.write_text("import no_such_module")
    assert main(f"compare shapes --plugin {plugin} -o {tmp_path / 'out'} --quiet".split()) == 2
    assert "does not run: ModuleNotFoundError" in capsys.readouterr().err


def test_codes_never_replace_what_they_are_made_from(place, tmp_path, capsys):
    shapes = tmp_path / "shapes.npz"
    shutil.copy(place / "some_test.npz", shapes)
    before = shapes.read_bytes()
    assert main(f"embed {place / 'cr'} {shapes} -o {tmp_path / '.' / 'shapes.npz'} --quiet".split()) == 2
    assert "would replace" in capsys.readouterr().err and shapes.read_bytes() == before


def test_an_evaluation_says_what_is_not_as_it_seems(place, tmp_path, capsys):
    run = tmp_path / "cut"
    shutil.copytree(place / "cr", run)
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(lines[:-1]))
    train, test = (crvae3d.load(place / "some.npz").train, crvae3d.load(place / "some.npz").test)
    write_archive(tmp_path / "a.npz", train.select(np.flatnonzero(train.labels == 0)))
    write_archive(tmp_path / "b.npz", test.select(np.flatnonzero(test.labels == 1)))
    figures = crvae3d.evaluate(run, train=tmp_path / "a.npz", test=tmp_path / "b.npz")
    said = " ".join(capsys.readouterr().err.split())
    assert f"--resume {run} goes on" in said and "no class is in both parts" in said
    assert figures["svm_accuracy"] is None and figures["chamfer"] > 0


def test_a_run_asked_for_fewer_epochs_than_it_has_gone_through_says_so(place, tmp_path, capsys):
    shutil.copytree(place / "cr", tmp_path / "cr")
    settings = (tmp_path / "cr" / "settings.json").read_text()
    (tmp_path / "cr" / "settings.json").write_text(settings.replace('"epochs": 2', '"epochs": 1'))
    assert main(f"train --resume {tmp_path / 'cr'} --quiet".split()) == 2
    assert "has gone through 2 epochs, and its settings now ask for 1" in capsys.readouterr().err


def test_a_run_whose_settings_ask_for_another_size_of_model_does_not_go_on(place, tmp_path, capsys):
    shutil.copytree(place / "cr", tmp_path / "cr")
    settings = json.loads((tmp_path / "cr" / "settings.json").read_text())
    settings["model"]["code_size"] += 1
    (tmp_path / "cr" / "settings.json").write_text(json.dumps(settings))
    assert main(f"train --resume {tmp_path / 'cr'} --quiet".split()) == 2
    assert "do not fit its settings.json" in capsys.readouterr().err


def test_a_run_whose_data_has_grown_neither_goes_on_nor_is_judged_by_what_it_has_learnt_from(place, tmp_path, capsys):
    every = crvae3d.load(place / "some.npz")
    write_archive(tmp_path / "x_train.npz", every.train.select(np.arange(len(every.train)) % 8 > 0))
    write_archive(tmp_path / "x_test.npz", every.test)
    run = tmp_path / "run"
    assert main(f"train {tmp_path / 'x.npz'} --preset tiny --epochs 1 --out {run} --quiet".split()) == 0
    crvae3d.evaluate(run, split="validation", progress=False)
    write_archive(tmp_path / "x_train.npz", every.train)
    for command in (f"train --resume {run}", f"evaluate {run} --split validation"):
        assert main([*command.split(), "--quiet"]) == 2
        assert "are others now than" in capsys.readouterr().err
    assert crvae3d.evaluate(run, progress=False)["n_test"] == len(every.test)


def test_of_one_class_nothing_is_classified(place, tmp_path):
    for split, part in crvae3d.load(place / "some.npz").parts.items():
        write_archive(tmp_path / f"one_{split}.npz", part.select(part.labels == 0))
    found = crvae3d.evaluate(place / "cr", train=tmp_path / "one.npz", test=tmp_path / "one_test.npz", progress=False)
    names = ("svm_accuracy", "svm_literature", "knn_accuracy", "untrained_accuracy", "occupancy_accuracy")
    assert [found[name] for name in names] == 5 * [None] and found["chamfer"] > 0


def test_one_shape_has_no_active_units_and_what_has_no_labels_no_classifier(place, tmp_path):
    few = crvae3d.load(place / "some.npz").train.select(range(9))
    write_archive(tmp_path / "few.npz", replace(few, labels=None, class_names=()))
    settings = Settings.of(tmp_path / "few.npz", preset="tiny", epochs=1, batch_size=4)
    crvae3d.train(settings, tmp_path / "run", progress=False)
    page = tmp_path / "page.html"
    found = crvae3d.evaluate(tmp_path / "run", split="validation", page=page, progress=False)
    assert found["n_test"] == 1 and found["active_units"] is found["mutual_information"] is None and found["rate"] > 0
    text = page.read_text()
    assert "by no classifier" in text and "control to beat" not in text and "C of the linear SVM" not in text


def test_a_file_holds_the_table_of_many_runs(capsys):
    print_table({f"crvae-of-lambda-{place}": {"svm_accuracy": place / 100} for place in range(14)})
    told = capsys.readouterr().out
    assert all(f"crvae-of-lambda-{place} " in told and f"{place}.0" in told for place in range(14))


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_no_log_can_hold_is_explained(place, tmp_path, capsys):
    out = tmp_path / os.fsdecode(b"caf\xe9")
    assert (
        main(["train", str(place / "some.npz"), "--preset", "tiny", "--epochs", "1", "--out", str(out), "--quiet"]) == 2
    )
    assert "name the run by --out" in capsys.readouterr().err and not out.exists()


MISTAKES = [
    ("train shapes --height 8 --out {tmp}/x", "height is a setting of mlp, conv, nvae, and not of folding"),
    ("train shapes --warm-up 3 --out {tmp}/x", "warm_up is a part of the training"),
    ("train shapes --consistency 0 --temperature 0.5 --out {tmp}/x", "a temperature belongs to NT-Xent"),
    ("train shapes --contrast 1 --temperature 0 --out {tmp}/x", "temperature must be above 0"),
    ("train shapes --cool-down 2 --out {tmp}/x", "cool_down is a part of the training"),
    ("train digits --invariant --out {tmp}/x", "invariant turns shapes"),
    ("train shapes --invariant --contrast 0 --out {tmp}/x", "invariant is contrast over all of SO"),
    ("train shapes --invariant --contrast-transform far --out {tmp}/x", "invariant is contrast over all of SO"),
    (
        "train shapes --model folding-mixture --likelihood chamfer --out {tmp}/x",
        "folding-mixture has the likelihood mixture",
    ),
    ("evaluate {place}/cr --page {place}/some_test.npz/page.html", "cannot write"),
    ("evaluate {place}/cr --train shapes --test shapes --split validation", "leave it out beside"),
    ("embed {place}/cr {place}/cr/metrics.csv -o codes.npz", "metrics.csv"),
    ("train", "say what to train on"),
    ("train shapez --out {tmp}/x", "did you mean 'shapes'"),
    ("train {place}/nowhere.npz --out {tmp}/x", "does not exist"),
    ("train shapes --consistency 0.1 --views 0 --out {tmp}/x", "needs views"),
    ("train shapes --beta -1 --out {tmp}/x", "beta must be nought or more, and finite"),
    ("train shapes --consistency inf --out {tmp}/x", "consistency must be nought or more, and finite"),
    ("train shapes --seed 99999999999999999999 --out {tmp}/x", "seed must lie in"),
    ("train shapes --transform scal --out {tmp}/x", "did you mean 'scale'"),
    ("train digits --model nvae --stop-gradient --out {tmp}/x", "leave it out"),
    ("evaluate {place}/cr --seed -1", "seed must lie in"),
    ("evaluate {place}/cr --plugin {tmp}/none.py", "no plugin in"),
    ("compare {place}/some_train.npz --seeds 1 -o {tmp}/x --quiet", "has no test split"),
    ("train shapes --objective iwae --beta 0.1 --out {tmp}/x", "beta belongs to the objective elbo"),
    ("train shapes --gradient one --out {tmp}/x", "gradient belongs to the objective iwae"),
    ("train shapes --epochs 0 --out {tmp}/x", "epochs must be positive"),
    ("train shapes --learning-rate inf --out {tmp}/x", "learning-rate must be positive and finite"),
    ("train shapes --consistency 0 --transform so3 --target view --out {tmp}/x", "--transform, --target would change"),
    ("train shapes --contrast 0 --temperature 0.1 --out {tmp}/x", "--temperature would change nothing"),
    ("train shapes --contrast 0 --contrast-transform far --out {tmp}/x", "makes the views of a contrast"),
    ("train shapes --contrast 0 --contrast-transform mixed --out {tmp}/x", "--contrast-transform would change nothing"),
    ("train shapes --contrast-transform frr --out {tmp}/x", "unknown contrast_transform 'frr': did you mean 'far'"),
    ("train shapes --contrast-transform affine --out {tmp}/x", "unknown contrast_transform of shapes 'affine'"),
    (
        "train shapes --objective none --consistency 0 --contrast 5 --transform jitter --contrast-transform far --out {tmp}/x",
        "--transform would change nothing",
    ),
    (
        "train shapes --contrast-transform mixed --contrast-both --out {tmp}/x",
        "contrast_both adds the views of the bound",
    ),
    ("train shapes --gradient all --out {tmp}/x", "--gradient would change nothing"),
    ("train shapes --batch-size 1 --out {tmp}/x", "has no other: set batch-size to 2 or more, or contrast to 0"),
    ("train shapes --train-size 1 --batch-size 1 --out {tmp}/x", "set train-size to 2 or more, or contrast to 0"),
    ("train shapes --train-size 20 --out {tmp}/x", "has only 20 different ones: set batch-size to 20 or less"),
    ("train shapes --neighbourhoods 2000 --out {tmp}/x", "neighbourhoods are from 0, for none, to 8"),
    ("train {place}/some.npz --points 200 --devices 9999 --out {tmp}/x", "9999 were asked for"),
    ("train --resume {tmp}/nowhere", "no run in"),
    ("train --resume {place}/cr --epochs 5", "keeps its settings: leave out epochs"),
    ("train --resume {place}/cr --preset tiny --overwrite", "leave out preset, overwrite"),
    ("train {place}/some.npz --beta 1 --objective iwae --out {tmp}/r", "beta belongs to the objective elbo"),
    ("train shapes --seed -1 --out {tmp}/x", "nought or more"),
    ("evaluate {place}/cr --split validation --quiet --json {tmp}", "cannot write"),
    ("train {place}/some.npz --points 200 --overwrite --out {place}/meshes", "not a run"),
    ("evaluate {tmp}/nowhere", "no run in"),
    ("evaluate {place}/cr --train {place}/some_train.npz", "come together"),
    ("embed {place}/cr {place}/meshes -o codes.csv", ".npz or .parquet"),
    ("embed {tmp} {place}/meshes -o codes.npz", "no model in"),
    ("embed {place}/cr {tmp} -o codes.npz", "holds no mesh or cloud"),
    ("embed {place}/cr digits -o codes.npz", "digits has images, and the model is one of shapes"),
    ("reconstruct {place}/cr {place}/some_test.npz -o {tmp}/out --points 0", "points must be at least 1"),
    ("evaluate {place}/cr --train {place}/some_train.npz --test {place}/some_train.npz", "give --test other shapes"),
]


@pytest.mark.parametrize(("command", "says"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(command, says, place, tmp_path, capsys):
    assert main(command.format(place=place, tmp=tmp_path).split()) == 2
    said = capsys.readouterr().err.strip()
    assert says in said and "Traceback" not in said and said.count("\n") == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train shapes --consistancy 0", "did you mean --consistency"),
        ("train shapes --model foldng", "did you mean 'folding'"),
        ("evluate x", "did you mean 'evaluate'"),
        ("data chek x", "did you mean 'check'"),
        ("train shapes --epochs many", "invalid int value"),
    ],
)
def test_unknown_words_name_the_nearest(command, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2 and says in capsys.readouterr().err


def test_nothing_usable_is_exit_code_2(tmp_path, capsys):
    (tmp_path / "bad.off").write_text("not a mesh")
    assert main(f"train {tmp_path} --out {tmp_path / 'run'} --quiet".split()) == 2
    assert "bad.off" in capsys.readouterr().err


def test_the_options_of_the_command_line_are_those_of_the_tables():
    assert train_command.MODELS == (*tables.MODELS, *image_tables.IMAGE_MODELS)
    of_images = {name: None for presets in image_tables.IMAGE_PRESETS.values() for name in presets}
    assert train_command.PRESETS == tuple(dict.fromkeys((*tables.PRESETS, *of_images)))
    assert train_command.OBJECTIVES == tables.OBJECTIVES
    assert train_command.TRANSFORMS == (*tables.TRANSFORMS, *image_tables.IMAGE_TRANSFORMS)
    assert train_command.DIVERGENCES == tuple(DIVERGENCES)
    assert train_command.TARGETS == TARGETS
    assert train_command.LIKELIHOODS[:3] == tuple(LIKELIHOODS)
    assert train_command.PRECISIONS == PRECISIONS
    settings = crvae3d.Settings.of("digits", model="nvae", views=2)
    parts = (settings.model, settings.objective, settings.training, tables.MODELS["folding"])
    for name in train_command.OPTIONS:
        assert any(hasattr(part, name) for part in parts), name


def test_the_help_tells_the_defaults_that_settings_have(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = re.sub(r"\s+", " ", capsys.readouterr().out)
    of = {preset: crvae3d.Settings.of("shapes", preset=preset) for preset in tables.PRESETS}
    for name, key in (("epochs", "epochs"), ("points", "points")):
        values = [getattr(of[preset].training, key) for preset in tables.PRESETS]
        assert f"{values[0]}, {values[1]} or {values[2]}" in re.search(rf" --{name} N (.*?) --", told)[1]
    assert [of[preset].model.code_size for preset in tables.PRESETS] == [64, 512, 512]
    small = of["small"]
    for part, names in (
        (small.model, ["neighbourhoods"]),
        (small.training, ["learning_rate", "precision", "devices", "seed", "batch_size"]),
        (small.objective, ["objective", "divergence", "target", "transform"]),
    ):
        for name in names:
            said = re.search(rf" --{name.replace('_', '-')} .*?\(default: ([^ );]+)", told)[1]
            assert said == str(getattr(part, name)), name


def test_a_form_is_one_flag_and_each_divergence_has_a_weight_of_its_own(monkeypatch, capsys):
    made = []
    monkeypatch.setattr("crvae3d.experiment.runs.train", lambda settings, *_, **__: made.append(settings.objective))
    forms = "", "--paper", "--invariant", "--invariant --consistency 3", "--divergence wasserstein"
    for options in (*forms, "--contrast 1000 --temperature 0.2", "--consistency 0 --contrast 5"):
        assert main(f"train shapes --out x {options}".split()) == 0
    default, paper, invariant, changed, wasserstein, beside, alone = made
    assert (default.divergence, default.consistency, default.target, default.transform) == (
        "kl",
        1,
        "original",
        "mixed",
    )
    assert (paper.divergence, paper.consistency, paper.target, paper.transform) == ("kl", 1, "view", "scale")
    assert invariant == replace(default, contrast_transform="so3") and invariant != default
    assert changed == replace(invariant, consistency=3)
    assert (wasserstein.divergence, wasserstein.consistency, wasserstein.target) == ("wasserstein", 10, "original")
    assert (beside.divergence, beside.consistency, beside.contrast, beside.made_views) == ("kl", 1, 1000, 1)
    assert (default.contrast, default.temperature) == (beside.contrast, beside.temperature) == (1000, 0.2)
    assert all(form.contrast == 0 for form in (paper, wasserstein))
    assert (alone.consistency, alone.contrast, alone.made_views) == (0, 5, 1)
    assert tuple(tables.WEIGHTS) == tuple(DIVERGENCES)
    for options in ("", "--paper"):
        assert main(f"train digits --out x {options}".split()) == 0
    assert made[-2] == made[-1] and (made[-1].target, made[-1].transform, made[-1].contrast) == ("view", "affine", 0)
    with pytest.raises(SystemExit):
        main("train shapes --out x --paper --invariant".split())
    assert "not allowed with" in capsys.readouterr().err


def built(settings, points):
    """The objective of settings, as a training on so many points has it."""
    return settings.objective.build(lambda family: CLOUDS.view(family, settings.model, points))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_every_divergence_trains(divergence):
    settings = crvae3d.Settings.of("shapes", preset="tiny", divergence=divergence)
    vae = crvae3d.VAE.build(settings.model)
    terms = built(settings, 32)(vae, torch.rand(3, 32, 3) * 2 - 1)
    terms.loss.backward()
    assert terms.loss.isfinite() and terms.named["consistency"].abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


@pytest.mark.parametrize("model", tables.MODELS)
@pytest.mark.parametrize("objective", tables.OBJECTIVES)
def test_every_model_and_objective_and_transformation_takes_a_step(model, objective):
    for transform in tables.TRANSFORMS:
        options = {"objective": objective, "transform": transform, "consistency": 1.0}
        settings = crvae3d.Settings.of("shapes", model=model, preset="tiny", **options)
        vae = crvae3d.VAE.build(settings.model)
        terms = built(settings, 32)(vae, torch.rand(3, 32, 3) * 2 - 1)
        terms.loss.backward()
        assert terms.loss.isfinite() and all(p.grad.isfinite().all() for p in vae.parameters() if p.grad is not None)
        assert (terms.named["consistency"] > 0).all()


def test_the_public_names_are_there_and_cost_nothing():
    assert all(getattr(crvae3d, name) is not None for name in crvae3d.__all__)
    assert crvae3d.__version__ == importlib.metadata.version("crvae3d")
    with pytest.raises(AttributeError, match="it has Settings, train"):
        crvae3d.trian  # noqa: B018
    code = "import sys, crvae3d; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_runs_of_an_encoder_and_views_of_ones_own_are_trained_judged_and_gone_on_with(
    place, tmp_path, capsys, monkeypatch
):
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom beside_mine import name\n"
        "@dataclass\nclass Named:\n    name: str\n"
        "from crvae3d.experiment.tables import TRANSFORMS\nTRANSFORMS[Named(name).name] = TRANSFORMS['scale']\n"
        "from crvae3d.points.models import ENCODERS\nENCODERS['mine'] = ENCODERS['pointnet']\n"
    )

    (tmp_path / "beside_mine.py").write_text("name = 'mine'\n")
    monkeypatch.setattr(sys, "path", [*sys.path])

    def forget():
        tables.TRANSFORMS.pop("mine", None)
        models.ENCODERS.pop("mine", None)

    plugin, run = f"--plugin {tmp_path / 'mine.py'} --quiet", tmp_path / "run"
    try:
        train = (
            f"train {place / 'some.npz'} --preset tiny --epochs 1 --encoder mine --transform mine --out {run} {plugin}"
        )
        assert main(train.split()) == 0
        forget()
        assert main(f"evaluate {run} --quiet".split()) == 2
        assert "known are pointnet; your own come with --plugin FILE.py" in capsys.readouterr().err
        assert main(f"evaluate {run} {plugin}".split()) == 0
        forget()
        assert main(f"train --resume {run} {plugin}".split()) == 0
    finally:
        forget()


def test_forms_are_asked_for_by_name_from_python_too():
    of = crvae3d.Settings.of
    for form, options in (("paper", tables.PAPER), ("invariant", tables.INVARIANT)):
        assert of("shapes", **{form: True}) == of("shapes", **options) != of("shapes") == of("shapes", **{form: False})
    assert of("shapes", invariant=True, contrast=3).objective.contrast == 3
    assert of("digits", paper=True) == of("digits")


def test_settings_are_of_their_kind_and_data_may_be_a_path(place):
    of = crvae3d.Settings.of
    for options, says in (
        ({"invariant": 1}, "invariant must be true or false"),
        ({"invariant": True, "paper": True}, "take one"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"views": 1.5}, "views must be a whole number or left out"),
        ({"consistency": True}, "consistency must be a number or left out"),
        ({"stop_gradient": 1}, "stop_gradient must be true or false"),
        ({"encoder_widths": [8, 0.5]}, "encoder_widths must be a list of whole numbers"),
        ({"encoder_widths": []}, "encoder-widths are one number or more"),
    ):
        with pytest.raises(crvae3d.errors.InputError, match=says):
            of("shapes", **options)
    assert of(Path("digits")) == of("digits")
