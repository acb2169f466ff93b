"""The page of a comparison: what the viewers need, gathered from runs and figures."""

import copy
import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.images.images import Images
from crvae3d.evaluation.codes import encode
from crvae3d.evaluation.reconstruction import reconstruct, reconstruction_error
from crvae3d.evaluation.robustness import flat
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import has_decoder
from crvae3d.experiment.settings import Settings
from crvae3d.images.sampling import readjust_statistics, sample
from crvae3d.viewers.page import write_page
from crvae3d.viewers.pictures import picture_rows
from crvae3d.viewers.projection import choose, project
from crvae3d.viewers.report import CodeMap, Gallery, ModelReport, Picture, Report

GALLERY = 400
GALLERY_POINTS = 512
PICTURES = 16
READJUSTED = 10
CONTROLS = {
    "untrained encoder": {
        "svm_accuracy": "untrained_accuracy",
        "svm_accuracy_pooled": "untrained_accuracy_pooled",
        "knn_accuracy": "untrained_knn_accuracy",
        "robust/azimuth": "untrained_robust/azimuth",
        "robust/so3": "untrained_robust/so3",
        "robust/thin": "untrained_robust/thin",
    },
    "occupancy histogram": {"svm_accuracy": "occupancy_accuracy"},
    "pixels": {"svm_accuracy": "pixels_accuracy"},
}
"""Columns of controls, and which of an evaluation's figures stand in them."""

FIGURES = (
    "svm_accuracy svm_accuracy_pooled robust/azimuth robust/so3 robust/thin svm_literature "
    "knn_accuracy knn_accuracy_pooled few_shot_5_10 few_shot_10_10 few_shot_10_10_pooled "
    "retrieval_map retrieval_map_pooled recall_1 nmi ari chamfer mean_squared_error "
    "log_likelihood_10 log_likelihood_100 log_likelihood_1000 "
    "nll_10 nll_100 nll_1000 nll_error nld_10 nld_100 nld_1000 nld_error n_sampled effective_samples bits_per_dimension "
    "consistency_gap consistency_shift active_units mutual_information rate distortion"
).split()


def write_report(
    path: str | Path,
    runs: Mapping[str, Path],
    models: Mapping[str, VAE],
    figures: Mapping[str, Mapping[str, object]],
    test: Clouds | Images,
    seed: int,
) -> Path:
    """Write the page that compares `runs` on the shapes of `test`."""
    first = next(iter(figures.values()))
    decoding = {name: models[name] for name, run in runs.items() if has_decoder(run)}
    images = isinstance(test, Images)
    noun = "image" if images else "shape"
    reports = [_model_report(name, run, models[name], figures[name], test, seed) for name, run in runs.items()]
    labelled = any(one.get("svm_accuracy") is not None for one in figures.values())
    fitted = f", and {first['n_train']:,} {noun}s to fit classifiers on. The untrained encoder is the control to beat"
    chosen = ["C of the linear SVM and k of the nearest neighbours are chosen on a part of the training set."]
    report = Report(
        title="crvae3d: " + ", ".join(models),
        summary=(
            f"Frozen codes of {test.describe()} ({first['split']}){fitted if labelled else ', by no classifier'}."
        ),
        noun=noun,
        models=reports,
        controls=_controls(figures),
        gallery=None if images else _gallery(decoding, test, seed),
        pictures=pictures(decoding, test, seed) if images else (),
        alarms=[f"{name}: {alarm.replace('shape', noun)}" for name, one in figures.items() for alarm in one["alarms"]],
        notes=(
            *([] if images else [_held(test)]),
            *(chosen if labelled else []),
            "The last epoch is reported, not the best one.",
        ),
        settings={name: _settled(run) for name, run in runs.items()},
    )
    return write_page(path, report)


def _held(test: Clouds) -> str:
    return f"The gallery holds {min(GALLERY, len(test))} of {len(test):,} shapes, of all classes alike where it is not all."


def _controls(figures: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """A column for each control; one a run where the runs began with different weights."""
    columns = {}
    for control, rows in CONTROLS.items():
        of_runs = {
            run: {shown: one[key] for shown, key in rows.items() if one.get(key) is not None}
            for run, one in ((run, flat(each)) for run, each in figures.items())
        }
        alike = len({tuple(column.items()) for column in of_runs.values()}) == 1
        names = {run: control if alike else f"{control} of {run}" for run in of_runs}
        columns |= {names[run]: column for run, column in of_runs.items() if column}
    return columns


def _model_report(
    name: str, run: Path, model: VAE, figures: Mapping[str, object], test: Clouds | Images, seed: int
) -> ModelReport:
    figures = flat(figures)
    gaps = {key: key.replace("consistency_gap_", "consistency_gap/") for key in figures if "consistency_gap_" in key}
    shown = {key: figures[key] for key in FIGURES if figures.get(key) is not None}
    shown |= {title: figures[key] for key, title in gaps.items()}
    chosen = choose(len(test), seed)
    part = test.select(chosen)
    means = encode(model, part, progress=False).means
    finite = np.isfinite(means).all(1)
    classes = _classes(part.select(finite))
    codes = CodeMap(project(means[finite], seed), [str(name) for name in part.ids[finite]], classes)
    return ModelReport(name, shown, _curves(run), codes)


def _classes(part: Clouds | Images) -> list[str]:
    return [] if part.labels is None else [part.class_names[label] for label in part.labels]


def _curves(run: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The metrics of a run, named as the page names them; none where there are weights alone."""
    if not (run / "metrics.csv").exists():
        return {}
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [float(row["epoch"]) for row in rows]
    parts = {"train_": "train/", "val_": "validation/"}
    return {
        shown + name.removeprefix(prefix): (epochs, [float(row[name] or "nan") for row in rows])
        for name in (rows[0] if rows else ())
        for prefix, shown in parts.items()
        if name.startswith(prefix)
    }


def _turns(part: Clouds | Images, seed: int) -> np.ndarray:
    """Places in a random order in which one of each class comes in turn, so that few still show them all."""
    order = np.random.default_rng(seed).permutation(len(part))
    if part.labels is None:
        return order
    turn = np.zeros(len(part), dtype=int)
    for label in np.unique(part.labels):
        members = order[part.labels[order] == label]
        turn[members] = np.arange(len(members))
    return order[np.lexsort((part.labels[order], turn[order]))]


def _gallery(models: Mapping[str, VAE], test: Clouds, seed: int) -> Gallery:
    """Test shapes, of all classes alike where there are more than `GALLERY`, beside their reconstructions."""
    part = test.select(_turns(test, seed)[:GALLERY])
    decoded = {name: reconstruct(model, part, progress=False) for name, model in models.items()}
    return Gallery(
        [str(name) for name in part.ids],
        part.coordinates()[:, :GALLERY_POINTS].numpy(),
        {name: clouds.numpy() for name, clouds in decoded.items()},
        _classes(part),
        {name: reconstruction_error(clouds, part, progress=False).tolist() for name, clouds in decoded.items()},
    )


def pictures(models: Mapping[str, VAE], test: Images, seed: int = 0) -> list[Picture]:
    """Test images above what models make of them, and what models draw from their priors."""
    part = test.select(_turns(test, seed)[:PICTURES])
    made = {name: reconstruct(model, part, progress=False).numpy() for name, model in models.items()}
    drawn = {name: _samples(model, seed) for name, model in models.items()}
    rows = {"test images": part.intensities().numpy(), **made}
    from_above = "From above: {}."
    shown = [Picture("Reconstructions", from_above.format(", ".join(rows)), picture_rows(rows))]
    if drawn:  # by models with a decoder
        text = from_above.format(", ".join(drawn)) + " Means of p(x|z), z from the prior."
        shown.append(Picture("Samples", text, picture_rows(drawn)))
    return shown


def _samples(model: VAE, seed: int) -> np.ndarray:
    """Images of a model's prior, (PICTURES, C, H, W); batch norms on the way see what they saw of such samples."""
    own = copy.deepcopy(model)
    readjust_statistics(own, batches=READJUSTED, seed=seed + PICTURES)
    return sample(own, PICTURES, seed=seed).cpu().numpy()


def _settled(run: Path) -> dict[str, object]:
    settings = Settings.read(run)
    return {"data": settings.data, **asdict(settings.model), **asdict(settings.objective), **asdict(settings.training)}
