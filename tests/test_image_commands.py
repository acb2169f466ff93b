"""The commands on images: the embedded digits, a folder of pictures, and what does not go together."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import crvae3d
from crvae3d.cli.main import main
from crvae3d.datasets.images.binarise import binarised
from crvae3d.experiment import evaluate
from crvae3d.experiment.compare import compare
from crvae3d.experiment.grid import Cell, Grid, Judging
from crvae3d.experiment.modalities import IMAGES

FAST = "--preset tiny --epochs 2 --quiet"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of coloured pictures of two kinds, one of them broken, and runs on them and on digits."""
    place = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for kind, colour in (("red", 0), ("blue", 2)):
        for number in range(12):
            pixels = draw.integers(0, 80, (20, 24, 3), dtype=np.uint8)
            pixels[4:16, 4:20, colour] = 250
            folder = place / "pictures" / ("train" if number < 8 else "test") / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (place / "pictures" / "train" / "red" / "broken.png").write_bytes(b"no picture")
    for model in ("mlp", "conv"):
        assert main(f"train digits --model {model} --out {place / model} {FAST}".split()) == 0
    assert main(f"train {place / 'pictures'} --model mlp --out {place / 'coloured'} {FAST}".split()) == 0
    return place


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))


def test_evaluate_compares_networks_beside_the_controls_of_images(place, monkeypatch):
    monkeypatch.setitem(vars(IMAGES), "sampled", 20)  # of a hundred, the likelihood is most of the time
    page, figures = place / "page.html", place / "figures.json"
    command = f"evaluate {place / 'mlp'} {place / 'conv'} --page {page} --json {figures} --quiet"
    assert main(command.split()) == 0
    found = json.loads(figures.read_text())
    for one in found.values():
        assert {one["pixels_accuracy"]} == {found["mlp"]["pixels_accuracy"]} and one["pixels_accuracy"] > 0.9
        assert one["n_sampled"] == 20 and 0 < one["nll_error"] < 3
        assert 0 <= one["svm_accuracy"] <= 1 and one["mean_squared_error"] > 0 and one["consistency_gap_affine"] > 0
        assert one["nll_1000"] <= one["nll_100"] <= one["nll_10"] < 64 * np.log(2) + 5
        assert one["bits_per_dimension"] == pytest.approx(one["nll_1000"] / 64 / np.log(2))
        assert "chamfer" not in one and "occupancy_accuracy" not in one
    text = page.read_text()
    assert text.count("data:image/png;base64,") >= 2 and "<h2>Samples</h2>" in text


@pytest.fixture
def few_sampled(monkeypatch):
    """The likelihood of few images, which takes most of an evaluation's time."""
    monkeypatch.setattr(evaluate, "some", lambda part, count: part.select(np.arange(4)))


def test_what_has_no_decoder_or_no_masses_is_judged_as_such(place, tmp_path, few_sampled):
    for name, options in {"bare": "--objective none --divergence nt-xent", "density": "--likelihood gaussian"}.items():
        assert main(f"train {place / 'pictures'} --model mlp {options} --out {tmp_path / name} {FAST}".split()) == 0
    assert main(f"evaluate {tmp_path / 'bare'} --page {tmp_path / 'page.html'} --quiet".split()) == 0
    assert "<h2>Samples</h2>" not in (tmp_path / "page.html").read_text()
    found = crvae3d.evaluate(tmp_path / "density", progress=False)
    assert found["nld_1000"] <= found["nld_10"] and found["nld_error"] > 0
    assert not [name for name in found if name.startswith("nll") or name == "bits_per_dimension"]


def test_an_encoder_alone_trains_the_walk_of_its_hierarchy_and_not_the_decoder(tmp_path):
    options = dict(preset="tiny", epochs=1, objective="none", divergence="nt-xent", train_size=200)
    settings = crvae3d.Settings.of("digits", model="nvae", **options)
    drawn = crvae3d.VAE.build(settings.model, settings.training.seed)
    before = {name: weight.clone() for name, weight in drawn.decoder.named_parameters()}
    trained = crvae3d.train(settings, tmp_path / "run", progress=False).decoder
    moved = {name for name, weight in trained.named_parameters() if not weight.equal(before[name])}
    assert moved and all(name.startswith("topdown.") for name in moved)
    assert len(moved) > 0.9 * sum(name.startswith("topdown.") for name in before)
    assert all(weight.requires_grad for weight in trained.parameters())


def test_a_model_in_training_mode_reconstructs_and_stays_as_it_was(tmp_path):
    model = crvae3d.VAE.build(crvae3d.Settings.of("digits", model="nvae", preset="tiny").model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(tmp_path / "one.png")
    crvae3d.reconstruct(model, tmp_path / "one.png", tmp_path / "out", progress=False)
    assert model.training and all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_a_comparison_reads_pictures_once_and_at_the_size_that_is_asked_for(place, tmp_path, capfd):
    cell = Cell("VAE", options={"consistency": 0.0})
    grid = Grid(
        "sized", {"preset": "tiny", "epochs": 1, "height": 8, "width": 8}, (cell,), "VAE", judging=Judging(episodes=2)
    )
    compare(place / "pictures", grid, tmp_path / "out", seeds=1, jobs=1, progress=False)
    stores = [np.load(file, mmap_mode="r").shape for file in (tmp_path / "cache").rglob("pixels.npy")]
    assert stores == [(24, 3, 8, 8)]
    assert "left out" not in capfd.readouterr().err


def test_a_deviation_that_nothing_trained_decides_no_likelihood(place, tmp_path, few_sampled):
    options = f"--model mlp --objective autoencoder --consistency 0 --out {tmp_path / 'ae'} {FAST}"
    assert main(f"train {place / 'pictures'} {options}".split()) == 0
    found = crvae3d.evaluate(tmp_path / "ae", progress=False)
    assert found["nll_1000"] is found["bits_per_dimension"] is found["rate"] is None and found["svm_accuracy"] > 0


def test_images_of_other_sizes_are_not_judged_side_by_side(place, tmp_path, capsys):
    assert (
        main(f"train {place / 'pictures'} --model mlp --preset tiny --epochs 1 --out {tmp_path / 'p'} --quiet".split())
        == 0
    )
    assert main(f"train digits --likelihood gaussian --out {tmp_path / 'd'} {FAST}".split()) == 0
    assert main(f"evaluate {tmp_path / 'p'} {tmp_path / 'd'}".split()) == 2
    assert "cannot be judged side by side" in capsys.readouterr().err


def test_embed_and_reconstruct_write_what_they_say(place):
    assert main(f"embed {place / 'mlp'} digits -o {place / 'codes.npz'} --quiet".split()) == 0
    with np.load(place / "codes.npz") as table:
        assert table["codes"].shape == (1797, 16) and set(table["labels"]) == set("0123456789")
        codes = dict(zip(table["ids"], table["codes"], strict=True))
    again = crvae3d.embed(place / "mlp", "digits", progress=False)
    assert all((codes[name] == row).all() for name, row in zip(again["ids"], again["codes"], strict=True))
    assert main(f"reconstruct {place / 'conv'} digits -o {place / 'made'} --quiet".split()) == 0
    rows = list(csv.DictReader((place / "made" / "mean_squared_error.csv").open()))
    assert len(rows) == 1797 == len(list((place / "made").glob("*.png"))) - 1
    part, model = binarised(crvae3d.load("digits").train), crvae3d.VAE.from_pretrained(place / "conv")
    with torch.inference_mode():
        x = part.intensities(range(20))
        made = model.reconstruct(x)
    told = {row["id"]: float(row["mean_squared_error"]) for row in rows}
    errors = (x - made).square().mean((1, 2, 3))
    for row, name in enumerate(part.ids[:20]):
        assert told[name] == pytest.approx(float(errors[row]), rel=1e-3)
        with Image.open(place / "made" / f"{name}.png") as picture:
            assert np.abs(np.asarray(picture) - 255 * made[row, 0].numpy()).max() < 0.6
    with Image.open(place / "made" / "reconstructions.png") as picture:
        assert picture.width > picture.height > 2 * 50


def test_handwriting_is_drawn_black_and_white_anew_in_steps_and_views_and_once_where_it_is_judged(place):
    model = crvae3d.Settings.of("digits").model
    grey = crvae3d.load("digits").test
    x = grey.intensities(range(64))
    assert 0.1 < ((x > 0) & (x < 1)).float().mean()
    for makes in (IMAGES.drawn(model, 0), IMAGES.view("affine", model, 0), *IMAGES.gaps(model).values()):
        first, again, other = (makes(x, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
        assert first.unique().tolist() == [0, 1] and first.equal(again) and not first.equal(other)
    judged = IMAGES.judged(grey, model, None)
    assert set(np.unique(judged.pixels)) == {0, 255}
    alone = IMAGES.judged(grey.select(np.array([7])), model, None)
    np.testing.assert_array_equal(alone.pixels[0], judged.pixels[7])
    coloured = crvae3d.VAE.from_pretrained(place / "coloured").settings
    assert IMAGES.judged(grey, coloured, None) is grey and IMAGES.drawn(coloured, 0)(x, generator=None).equal(x)


def test_a_folder_of_pictures_trains_and_names_the_broken_one(place, tmp_path, capsys, few_sampled):
    run = place / "coloured"
    assert (
        main(f"train {place / 'pictures'} --model mlp --preset tiny --epochs 1 --out {tmp_path / 'run'}".split()) == 0
    )
    assert "broken.png" in capsys.readouterr().err
    model = crvae3d.VAE.from_pretrained(run)
    assert model.settings.shape == (3, 20, 24) and model.settings.likelihood == "logistic"
    figures = crvae3d.evaluate(run, progress=False)
    assert figures["n_train"] == 16 and figures["n_test"] == 8 and 0 < figures["bits_per_dimension"] < 12
    assert len(crvae3d.embed(run, place / "pictures" / "test", progress=False)["codes"]) == 8


def test_other_pictures_are_brought_to_the_form_of_the_model(place, tmp_path, capsys):
    run, grey = place / "coloured", tmp_path / "grey"
    grey.mkdir()
    for name, size in (("wide", (90, 30)), ("small", (12, 10))):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, size[::-1], dtype=np.uint8)).save(
            grey / f"{name}.png"
        )
    assert crvae3d.embed(run, grey, progress=False)["codes"].shape[0] == 2
    alone = crvae3d.embed(run, grey / "wide.png", progress=False)
    assert alone["ids"].tolist() == ["wide"]
    assert main(f"reconstruct {run} {grey / 'small.png'} -o {tmp_path / 'out'} --quiet".split()) == 0
    assert "1 images (.png)" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "small.png") as picture:
        assert picture.size == (24, 20) and picture.mode == "RGB"
    assert (
        main(f"train {place / 'pictures'} --height 8 --preset tiny --epochs 1 --quiet --out {tmp_path / 'run'}".split())
        == 0
    )
    assert crvae3d.VAE.from_pretrained(tmp_path / "run").settings.shape == (3, 8, 8)


@pytest.mark.parametrize("objective", ["none", "iwae", "autoencoder"])
@pytest.mark.parametrize("model", ["mlp", "nvae"])
def test_every_objective_trains_and_is_judged(objective, model, tmp_path, monkeypatch):
    # A thousand samples of a hierarchy for each of a hundred images take a minute.
    monkeypatch.setitem(vars(IMAGES), "sampled", 2)
    options = {"divergence": "nt-xent"} if objective == "none" else {}
    settings = crvae3d.Settings.of("digits", model=model, preset="tiny", epochs=1, objective=objective, **options)
    crvae3d.train(settings, tmp_path / "run", progress=False)
    figures = crvae3d.evaluate(tmp_path / "run", split="validation", progress=False)
    assert 0 <= figures["svm_accuracy"] <= 1 and ("nll_1000" in figures) == (objective != "none")
    assert (figures["mutual_information"] is None) == (model == "nvae" or objective != "iwae")
    for name in ("rate", "consistency_gap", "consistency_gap_affine"):  # what nothing has trained tells nothing
        assert (figures[name] is None) == (objective != "iwae")


def test_a_run_can_be_made_again_from_its_settings(place, tmp_path):
    settings = crvae3d.experiment.settings.Settings.read(place / "mlp")
    assert settings.objective.beta == 1 and settings.objective.transform == "affine"
    whole = crvae3d.train(settings, tmp_path / "whole", progress=False)
    kept = crvae3d.VAE.from_pretrained(place / "mlp").state_dict()
    assert all((value == kept[name]).all() for name, value in whole.state_dict().items())


@pytest.mark.parametrize(
    "command, says",
    [
        ("train shapes --model mlp", "unknown model of shapes 'mlp'"),
        ("train digits --model folding", "unknown model of images 'folding'"),
        ("train digits --transform so3", "unknown transform of images 'so3'"),
        ("train shapes --transform affine", "unknown transform of shapes 'affine'"),
        ("train digits --model mlp --preset mnist", "unknown preset of mlp 'mnist'"),
        ("train digits --model nvae --divergence avae", "take kl, reverse or symmetric"),
        ("train digits --points 64", "images have no points"),
        ("train digits --height 16", "digits has images of 8 x 8 pixels"),
        ("train {place}/pictures --likelihood bernoulli", "bernoulli is of black and white images"),
        ("compare digits --grid quick", "take the grid paper-images or quick-images"),
        ("evaluate {place}/mlp --train shapes --test shapes", "shapes has no images, and the model is one of them"),
        ("embed {place}/mlp shapes -o {place}/x.npz", "shapes has no images, and the model is one of them"),
        ("reconstruct {place}/mlp digits -o {place}/x --points 5", "images have no points"),
        ("reconstruct {place}/mlp digits -o {place}/x --mesh", "images have no surface"),
        ("data pack digits -o {place}/x.npz", "archives hold clouds"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(command, says, place, capsys):
    assert main(command.format(place=place).split()) == 2
    assert says in capsys.readouterr().err


def test_data_check_finds_images_that_stand_twice(place, capsys):
    first = place / "pictures" / "test" / "blue" / "8.png"
    (first.parent / "twin.png").write_bytes(first.read_bytes())
    assert main(f"data check {place / 'pictures'} --quiet".split()) == 0
    told = capsys.readouterr().out
    assert "1 groups of identical shapes" in told and "broken.png" in told
    (first.parent / "twin.png").unlink()


def test_classes_that_are_judged_and_never_fitted_have_no_accuracy(place, tmp_path):
    for kind in ("red", "blue"):
        shutil.copytree(place / "pictures" / "test" / kind, tmp_path / kind / kind)
    figures = crvae3d.evaluate(place / "coloured", train=tmp_path / "red", test=tmp_path / "blue", progress=False)
    assert figures["svm_accuracy"] is None and figures["pixels_accuracy"] is None


def test_a_grid_of_images_is_compared(tmp_path):
    nvae = {"model": "nvae", "ladder": "4x4:1", "base_channels": 4, "latents": 1}
    cells = (
        Cell("VAE", "models", {"consistency": 0.0}),
        Cell("CR-VAE", "models", against="VAE"),
        Cell("supervised nvae", "controls", nvae, control="supervised"),
        *(Cell(name, "controls", control=name) for name in ("untrained", "pixels", "supervised")),
    )
    judging = Judging(likelihood_shapes=2, episodes=2)
    grid = Grid("digits", {"preset": "tiny", "epochs": 1}, cells, "VAE", sweep=("VAE", "CR-VAE"), judging=judging)
    found = compare("digits", grid, tmp_path, seeds=1, split="validation", jobs=1, progress=False)
    assert [row.name for row in found.rows] == [cell.name for cell in cells]
    assert found.row("CR-VAE").figures["nll_1000"].mean < 64
    pixels, supervised = (found.row(name).figures["svm_accuracy"].mean for name in ("pixels", "supervised"))
    assert pixels > 0.9 and supervised > 0.2
    assert "Mutual information" in (tmp_path / "validation" / "table.md").read_text()
    assert found.tradeoff == ("svm_accuracy", "nll_1000")
    assert (tmp_path / "validation" / "tradeoff.png").exists() and not (
        tmp_path / "validation" / "robustness.png"
    ).exists()
