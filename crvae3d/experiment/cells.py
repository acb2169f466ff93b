"""One cell of a grid with one seed: a run folder that is trained, or resumed, and judged, or left as it is.

A folder is done when it holds `figures_<split>.json`, of a training and a judging with the settings that are asked for.
"""

import functools
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn
from torch.utils.data import Subset

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.load import load
from crvae3d.device import best_device
from crvae3d.errors import Diverged, InputError
from crvae3d.evaluation.evaluate import PLAIN, Figures, Further, evaluate_model
from crvae3d.evaluation.labelled import LabelledShapes
from crvae3d.evaluation.robustness import Corrupted
from crvae3d.experiment.evaluate import IN_FULL, POINTS, judged_shapes, some, turned_and_thinned, without_deviation
from crvae3d.experiment.grid import Cell, Judging
from crvae3d.experiment.modalities import CLOUDS, modality_of
from crvae3d.experiment.pretrained import SETTINGS, VAE, WEIGHTS
from crvae3d.experiment.runs import (
    check_learnt_from,
    control_of,
    decodes,
    digest_of,
    is_finished,
    learn_from,
    one_epoch,
    train,
    without_decoder,
)
from crvae3d.experiment.settings import Settings, provenance
from crvae3d.points.corrupt import CORRUPTIONS
from crvae3d.training.supervised import fit_supervised

WAIT = 30
"""So many seconds a run waits for another process to leave its folder."""


@dataclass(frozen=True)
class Task:
    """A cell with a seed.

    Attributes:
        cell: of the grid.
        settings: of its training.
        judging: of its codes.
        split: test or validation.
        folder: of the run.
    """

    cell: Cell
    settings: Settings
    judging: Judging
    split: str
    folder: Path

    @property
    def figures_file(self) -> Path:
        return self.folder / f"figures_{self.split}.json"

    @property
    def run(self) -> tuple[str, int]:
        """What tells it from the others: the cell's name and the seed."""
        return self.cell.name, self.settings.training.seed

    def figures(self) -> Figures | None:
        """What was found, or None where it has not been judged as it is to be; figures that mean nothing are None.

        Raises:
            InputError: the folder is another run's.
        """
        self.check_folder()
        try:
            found = json.loads(self.figures_file.read_text())
        except (FileNotFoundError, ValueError):  # none yet, or broken, as by a crash
            return None
        known = asdict(Judging()) | {"control": self.cell.control}  # what an earlier version did not know yet
        if known | found["judging"] != self.judged_as:
            return None
        return self.meaningful(found)

    def meaningful(self, figures: Figures) -> Figures:
        """The figures, but None for those that the deviation decides where nothing has trained it."""
        trained = self.cell.control is None and self.settings.objective.trains_deviation
        return figures if trained else figures | without_deviation(figures)

    @property
    def judged_as(self) -> dict[str, object]:
        """What its figures must have been made with, beside its settings."""
        return asdict(self.judging) | {"control": self.cell.control}

    def check_folder(self) -> None:
        """Refuse a folder that was made with other settings."""
        if (self.folder / SETTINGS).exists() and _but_root(Settings.read(self.folder)) != _but_root(self.settings):
            raise InputError(f"{self.folder} was made with other settings: choose another output folder, or remove it")
        held = control_of(self.folder)
        # A control that was made before they were marked is known by what it lacks.
        unmarked = held is None and not (self.folder / "metrics.csv").exists()
        if (self.folder / WEIGHTS).exists() and held != self.cell.control and not unmarked:
            told = "a training without labels" if held is None else f"the control {held!r}"
            raise InputError(f"{self.folder} holds {told}: choose another output folder, or remove it")

    @property
    def cost(self) -> float:
        """About how long it takes beside others: encodings and decodings of a shape, and the judging."""
        if self.cell.control in ("untrained", *PLAIN):
            return 20.0
        objective = self.settings.objective
        samples = (objective.samples or 5) if objective.objective == "iwae" else 1
        encoded = objective.made_views if objective.contrasts_others else 0
        steps = (1 + objective.made_views) * (1 + samples) + encoded
        return self.settings.training.epochs * steps / 2 + 20.0


def run(task: Task) -> None:
    """Train and judge what is missing of a cell, and write its figures; those of a training that diverged say `failed`.

    Raises:
        InputError: the folder is another run's, or another process is at work in it.
    """
    with _at_work_in(task.folder):
        if task.figures() is not None:
            return
        try:
            figures = _judged(task, _MAKERS[task.cell.control](task))
        except Diverged as error:
            figures = {"failed": str(error)}
        fitted, shapes = (digest_of(part.points, labels=True) for part in _shapes(task))
        made_by = provenance() | {"fitted_on": fitted, "shapes": shapes}
        figures |= {"judging": task.judged_as, "seed": task.settings.training.seed, "made_by": made_by}
        task.folder.mkdir(parents=True, exist_ok=True)
        part = task.figures_file.with_suffix(".part")
        part.write_text(json.dumps(figures) + "\n")
        part.replace(task.figures_file)


@contextmanager
def _at_work_in(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run folder; those of a grid that was killed are given time to end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))  # beside it: a training may replace the folder
    try:
        lock.acquire(timeout=WAIT)
    except Timeout:
        raise InputError(
            f"another process is at work in {folder}: wait for it, or choose another output folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _but_root(settings: Settings) -> Settings:
    """The settings, wherever the data lies."""
    return replace(settings, root=None)


def _trained(task: Task) -> nn.Module:
    if not is_finished(task.folder):  # of a broken checkpoint nothing can go on
        whole = zipfile.is_zipfile(task.folder / "last.ckpt")
        train(task.settings, task.folder, whole, overwrite=True, progress=False)
    else:
        check_learnt_from(task.folder, _learnt_from(task))
    model = VAE.from_pretrained(task.folder, best_device())
    return model if decodes(task.settings) else without_decoder(model)


def _untrained(task: Task) -> nn.Module:
    task.settings.write(task.folder, control="untrained")
    return VAE.build(task.settings.model, task.settings.training.seed).to(best_device())


def _supervised(task: Task) -> nn.Module:
    """An encoder of the same size, trained with the labels of what the others learn from."""
    if not (task.folder / WEIGHTS).exists():
        known = _learnt_from(task)
        epoch = one_epoch(len(known), task.settings.training)
        if known.labels is None:
            raise InputError(f"{task.settings.data} has no labels to train with: leave the control `supervised` out")
        task.settings.write(task.folder, control="supervised", shapes=digest_of(known))
        model = VAE.build(task.settings.model, task.settings.training.seed).to(best_device())
        training, modality = task.settings.training, modality_of(task.settings.model)
        views = modality.augmented(task.settings.model, modality.points(known, training.points))
        fit_supervised(model, Subset(known, epoch), known.labels[epoch], views, training)
        model.save_pretrained(task.folder)
    else:
        check_learnt_from(task.folder, _learnt_from(task))
    return without_decoder(VAE.from_pretrained(task.folder, best_device()))


def _learnt_from(task: Task) -> Clouds | Images:
    """What the trainings of a comparison learn from."""
    settings = task.settings
    loading = modality_of(settings.model).loading(settings.model)
    return learn_from(load(settings.data, settings.root, progress=False, **loading))[0]


def _plain(task: Task) -> nn.Module:
    task.settings.write(task.folder, control=task.cell.control)
    train, _ = _shapes(task)
    return PLAIN[task.cell.control](_judged_part(task, train.points), task.settings.training.seed, False)


_MAKERS = {None: _trained, "untrained": _untrained, "supervised": _supervised, **dict.fromkeys(PLAIN, _plain)}


def _judged(task: Task, model: nn.Module) -> Figures:
    train, test = _shapes(task)
    judging, modality = task.judging, modality_of(task.settings.model)
    further = Further(
        _corrupted(test, judging) if test.labels is not None and modality is CLOUDS else (),
        _for_likelihood(task, test.points),
        judging.episodes,
    )
    seen = (lambda part: part) if task.cell.control == "pixels" else functools.partial(_judged_part, task)
    fewer = [LabelledShapes(seen(part.points), part.labels) for part in (train, test)]
    device = best_device()
    # Judged as it was trained, for corrupted shapes are many; the log-likelihood of images is wanted to a tenth of a nat.
    half = task.settings.training.precision_on(device) == "bf16-mixed" and modality is CLOUDS
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        # Views of images that are black and white are such; what sees grey ones would be told by how those differ.
        gaps = {} if task.cell.control == "pixels" else modality.gaps(task.settings.model)
        return evaluate_model(model, *fewer, gaps, progress=False, further=further, distance=modality.distance)


def _judged_part(task: Task, part: Clouds | Images) -> Clouds | Images:
    """A part of the dataset as the codes of a cell are judged on it."""
    return modality_of(task.settings.model).judged(part, task.settings.model, task.judging.points)


def _for_likelihood(task: Task, test: Clouds | Images) -> Clouds | Images:
    """Those shapes, and points of them, whose log-likelihood is sampled."""
    model, judging = task.settings.model, task.judging
    return modality_of(model).judged(some(test, judging.likelihood_shapes), model, judging.likelihood_points)


def _corrupted(test: LabelledShapes, judging: Judging) -> tuple[Corrupted, ...]:
    """Which clouds undergo which corruptions."""
    dense = test.points.first(min(POINTS, test.points.points.shape[1]))
    fewer = some(dense.first(min(judging.robust_points, dense.points.shape[1])), judging.robust_shapes)
    kinds = {family: at for family, at in CORRUPTIONS.items() if family not in IN_FULL}
    turned = turned_and_thinned(some(dense, judging.turned_shapes), judging.robust_points)
    return *turned, Corrupted(kinds, LabelledShapes(fewer, fewer.labels))


def _shapes(task: Task) -> tuple[LabelledShapes, LabelledShapes]:
    """What classifiers are fitted on, and what they are judged by."""
    loading = tuple(modality_of(task.settings.model).loading(task.settings.model).items())
    found = _loaded(task.settings.data, task.settings.root, task.split, loading)
    return tuple(LabelledShapes(part, part.labels) for part in found)


def read_anew() -> None:
    """Forget the shapes that were read: they may be others now."""
    _loaded.cache_clear()


@functools.cache
def _loaded(
    data: str, root: str | None, split: str, loading: tuple[tuple[str, object], ...]
) -> tuple[Clouds | Images, Clouds | Images]:
    """Read once in a process."""
    train, test, _ = judged_shapes(data, root, split, progress=False, **dict(loading))
    return train, test
