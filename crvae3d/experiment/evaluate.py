"""Runs judged side by side on the same shapes: figures, a table, a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from crvae3d.datasets.clouds import Clouds, same_classes
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.ingest import say
from crvae3d.datasets.load import load
from crvae3d.datasets.sources import expanded
from crvae3d.device import best_device
from crvae3d.errors import InputError, unknown
from crvae3d.evaluation.evaluate import Figures, Further, evaluate_controls, evaluate_model
from crvae3d.evaluation.labelled import LabelledShapes, share_classes
from crvae3d.evaluation.robustness import Corrupted
from crvae3d.experiment.embed import check_writable
from crvae3d.experiment.modalities import CLOUDS, IMAGES, Model, check_kind, modality_of
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import (
    RUN_FILES,
    check_learnt_from,
    control_of,
    has_decoder,
    is_finished,
    learn_from,
    mostly_skipped,
    told_apart,
    without_decoder,
)
from crvae3d.experiment.settings import Settings, provenance
from crvae3d.points.corrupt import CORRUPTIONS

SPLITS = ("test", "validation")
POINTS = 2048
"""Points a shape in an evaluation, at most: the first of those stored, the same for every model."""
OF_DEVIATION = (
    *("rate", "distortion", "mutual_information", "consistency_gap"),
    *("log_likelihood", "nll", "nld", "bits_per_dimension", "effective_samples"),
)
"""How the figures that the posterior's deviation decides begin; importance samples are drawn by it."""
TURNED_POINTS = 1024
"""Points a shape, at most, where it is turned for the figure `robustness`."""
IN_FULL = ("azimuth", "so3", "thin")
"""The corruptions that every evaluation has, of all test shapes; clouds are thinned from all of their points."""


def evaluate(run: str | Path, **options: object) -> dict[str, object]:
    """The figures of one run; the arguments are those of `evaluate_runs`.

    Returns:
        `svm_accuracy`, `svm_accuracy_pooled`, `untrained_accuracy`, `knn_accuracy`, `chamfer`, `consistency_gap`,
        `active_units` and more, by name; accuracies are fractions.
    """
    return next(iter(evaluate_runs([run], **options).values()))


def evaluate_runs(
    runs: Sequence[str | Path],
    train: str | Path | None = None,
    test: str | Path | None = None,
    split: str = "test",
    root: str | Path | None = None,
    seed: int = 0,
    points: int = POINTS,
    page: str | Path | None = None,
    figures_file: str | Path | None = None,
    progress: bool = True,
) -> dict[str, dict[str, object]]:
    """Judge the frozen codes of several runs.

    Args:
        runs: run folders.
        train: labelled shapes to fit classifiers on; None for those of the first run's dataset.
        test: labelled shapes to judge them by, their test part where they have one; None likewise.
        split: `test`; or `validation`, the part of train that no training has learnt from.
        root: where named datasets lie.
        seed: of views, episodes and clusters.
        points: of each shape, at most.
        page: an HTML file to write, or None.
        figures_file: a JSON file to write, or None: the figures of one run, or of several by name.
        progress: whether to show it.

    Returns:
        The figures of each run by its name: its folder's, with those above it where two folders are called alike.

    Raises:
        InputError: a run or a dataset cannot be used.
    """
    named = told_apart(runs)
    runs = list(named.values())
    first = _first(runs)
    _check(train, test, split, seed, [Path(file) for file in (page, figures_file) if file is not None], runs)
    _remark(runs, first.data if train is None else None)
    modality = modality_of(first.model)
    loading = {"progress": progress} | modality.loading(first.model)
    if train is None:
        *found, source = judged_shapes(first.data, root or first.root, split, **loading)
        if split == "validation":
            _check_unseen(runs, first.data, found[0])
    else:
        *found, source = _two_datasets(first.model, train, test, root, **loading)
    shapes = _labelled([modality.judged(part, first.model, points) for part in found])
    models = {name: VAE.from_pretrained(run, best_device()) for name, run in named.items()}
    raw = tuple(found) if modality is IMAGES else None
    figures = _judged(named, models, shapes, raw, seed, progress)
    for name, one in figures.items():
        one |= {"split": split if test is None else str(test), "source": source, "run": name, "made_by": provenance()}
    if figures_file is not None:
        Path(figures_file).parent.mkdir(parents=True, exist_ok=True)
        told = next(iter(figures.values())) if len(runs) == 1 else figures
        Path(figures_file).write_text(json.dumps(told, indent=2) + "\n")
    if page is not None:
        from crvae3d.experiment.report import write_report

        write_report(page, named, models, figures, shapes[1].points, seed)
    return figures


def _check(
    train: str | Path | None,
    test: str | Path | None,
    split: str,
    seed: int,
    files: Sequence[Path],
    runs: Sequence[Path],
) -> None:
    """Refuse what does not go together, and files that cannot be written, before anything is computed."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must lie in [0, 2^32), got {seed}")
    if (train is None) != (test is None):
        raise InputError("--train and --test come together: shapes to fit classifiers on, and shapes to judge them by")
    if train is not None and split != "test":
        raise InputError("--split chooses a part of the run's own dataset: leave it out beside --train and --test")
    for file in files:
        check_writable(file)
    taken = [(run / name).resolve() for run in runs for name in RUN_FILES]
    for place, file in enumerate(files):
        if file.resolve() in (*taken, *(other.resolve() for other in files[:place])):
            raise InputError(f"{file} would replace a file of a run, or the page: name another file")


def _remark(runs: Sequence[Path], data: str | None) -> None:
    """Say what a reader of the figures would take for granted, where it is not so."""
    for run in runs:
        if mostly_skipped(run):
            say(f"most steps of {run} were not finite: train it anew with a lower learning-rate or weights")
        elif not is_finished(run) and control_of(run) is None:
            say(f"{run} is not trained to its end: crvae3d train --resume {run} goes on")
    others = [str(run) for run in runs if data not in (None, Settings.read(run).data)]
    if others:
        say(f"all runs are judged on {data}; {', '.join(others)} learnt from other data")


def _check_unseen(runs: Sequence[Path], data: str, rest: Clouds | Images) -> None:
    """Refuse to judge by a validation part runs that have learnt from other shapes of that data than the rest of it."""
    for run in runs:
        if Settings.read(run).data == data:
            check_learnt_from(run, rest)


def _labelled(parts: Sequence[Clouds | Images]) -> list[LabelledShapes]:
    """What is fitted on and what is judged, with a word where labels are no use."""
    shapes = [LabelledShapes(part, part.labels) for part in parts]
    if all(one.labels is not None for one in shapes) and not share_classes(*(one.labels for one in shapes)):
        say("no class is in both parts, or there is one alone: no classifier can be judged, only what needs none")
    return shapes


def _first(runs: Sequence[Path]) -> Settings:
    """The settings of the first of runs that can stand side by side."""
    models = [Settings.read(run).model for run in runs]
    if len({(modality_of(model).name, modality_of(model).finished(model) is None) for model in models}) > 1:
        raise InputError(
            "shapes, images and black and white images cannot be judged side by side: evaluate runs of one kind"
        )
    sizes = {(model.channels, model.height, model.width) for model in models if modality_of(model) is IMAGES}
    if len(sizes) > 1:
        told = " and ".join(" x ".join(map(str, size)) for size in sorted(sizes))
        raise InputError(
            f"images of {told} (channels, height, width) cannot be judged side by side: evaluate them apart"
        )
    return Settings.read(runs[0])


def _judged(
    runs: Mapping[str, Path],
    models: Mapping[str, VAE],
    shapes: Sequence[LabelledShapes],
    raw: tuple[Images, Images] | None,
    seed: int,
    progress: bool,
) -> dict[str, Figures]:
    """The figures of each run beside its controls, which runs that began with the same weights share.

    What is `raw` the control without a network is given, instead of what encoders see.
    """
    controls: dict[tuple[object, int], Figures] = {}
    figures = {}
    for name, run in runs.items():
        model = models[name]
        began_as = model.settings, Settings.read(run).training.seed
        modality, asked = modality_of(model.settings), {"seed": seed, "progress": progress}
        labelled = shapes[1].labels is not None
        corrupted = turned_and_thinned(shapes[1].points, TURNED_POINTS) if modality is CLOUDS and labelled else ()
        if began_as not in controls:
            untrained = VAE.build(*began_as).to(best_device())
            others = {"plain": modality.plain, "plain_sees": raw, "corrupted": corrupted}
            controls[began_as] = evaluate_controls(untrained, *shapes, **asked, **others)
        judged = model if has_decoder(run) else without_decoder(model)
        further = Further(corrupted, some(shapes[1].points, modality.sampled))
        asked |= {"distance": modality.distance, "title": name, "further": further}
        found = evaluate_model(judged, *shapes, modality.gaps(model.settings), **asked)
        if control_of(run) is not None or not Settings.read(run).objective.trains_deviation:
            found |= without_deviation(found)
        figures[name] = found | controls[began_as]
    return figures


def judged_shapes(
    data: str, root: str | Path | None, split: str, **loading: object
) -> tuple[Clouds | Images, Clouds | Images, str]:
    """What classifiers are fitted on, what they are judged by, and which form of the data both come from."""
    if split not in SPLITS:
        unknown("split", split, SPLITS)
    splits = load(data, root, **loading)
    if split == "validation":
        return *learn_from(splits), splits.form
    if splits.test is None:
        raise InputError(f"{data} has no test split: use --split validation, or `evaluate` with --train and --test")
    return splits.train, splits.test, splits.form


def _two_datasets(
    model: Model, train: str | Path, test: str | Path, root: str | Path | None, **loading: object
) -> tuple[Clouds | Images, Clouds | Images, str]:
    """The same of two datasets of any classes; of the second its test part where it has one."""
    for data in (train, test):
        check_kind(model, data)
    known, asked = (load(data, root, **loading) for data in (train, test))
    if asked.test is None and expanded(train).resolve() == expanded(test).resolve():
        raise InputError(f"{test} has no test part, and classifiers are fitted on all of it: give --test other shapes")
    parts = same_classes(known.train, asked.train if asked.test is None else asked.test)
    return *parts, f"{known.form}; {asked.form}"


def some(part: Clouds | Images, count: int) -> Clouds | Images:
    """So many of its shapes, drawn once for every run; all of them for 0."""
    if count == 0 or count >= len(part):
        return part
    return part.select(np.sort(np.random.default_rng(0).permutation(len(part))[:count]))


def without_deviation(figures: Figures) -> Figures:
    """None for each figure that the posterior's deviation decides: where nothing trains it, chance has made it."""
    return {name: None for name in figures if name.startswith(OF_DEVIATION)}


def turned_and_thinned(test: Clouds, points: int) -> tuple[Corrupted, ...]:
    """The test shapes, which have labels, turned with so many points at most, and thinned from all that they have."""
    fewer = test.first(min(points, test.points.shape[1]))
    turned = {family: CORRUPTIONS[family] for family in IN_FULL if family != "thin"}
    return (
        Corrupted(turned, LabelledShapes(fewer, test.labels)),
        Corrupted({"thin": CORRUPTIONS["thin"]}, LabelledShapes(test, test.labels)),
    )
