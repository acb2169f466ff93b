"""A run: a folder with the settings of a training, its metrics and its weights."""

import csv
import functools
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from crvae3d.datasets.clouds import Clouds, Resident, carve
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.ingest import say
from crvae3d.datasets.load import load
from crvae3d.datasets.splits import Splits
from crvae3d.device import best_device
from crvae3d.errors import Diverged, InputError
from crvae3d.experiment.modalities import modality_of
from crvae3d.experiment.pretrained import SETTINGS, VAE, WEIGHTS
from crvae3d.experiment.settings import Settings
from crvae3d.training.settings import Training

UNNAMED = re.compile(r"shape_\d{6}")
"""The names of shapes in an archive that names none."""
PROBED = 256
"""Shapes, at most, that are looked at to tell whether a dataset is the one that it was."""
RUN_FILES = (SETTINGS, WEIGHTS, "metrics.csv", "last.ckpt")
"""What a run folder consists of."""
VALIDATION_SHARE = 0.1
VALIDATION_SEED = 0


def train(
    settings: Settings, out: str | Path, resume: bool = False, overwrite: bool = False, progress: bool = True
) -> VAE:
    """Train a model on the training split, less the validation part that is carved from it.

    Args:
        settings: all of them. With `resume`, those of the folder are taken instead, but for a `root` that is given.
        out: the run folder: `settings.json`, `metrics.csv`, `weights.safetensors`, `tensorboard/`, `last.ckpt`.
        resume: go on where an interrupted run stopped.
        overwrite: delete what stands at `out`.
        progress: whether to show it.

    Raises:
        InputError: `out` exists and neither resume nor overwrite is asked for, or there is nothing to resume.
        crvae3d.errors.Diverged: the loss stayed non-finite.
    """
    out = Path(out)
    # Lightning starts the other processes of a training anew, with this variable set.
    first = int(os.environ.get("LOCAL_RANK", 0)) == 0
    if resume:
        settings = _kept(out, settings.root)
    training, model = settings.training, VAE.build(settings.model, settings.training.seed)
    modality = modality_of(settings.model)
    splits = load(settings.data, settings.root, progress=progress and first, **modality.loading(settings.model))
    rest, validation = learn_from(splits)
    if resume:
        check_learnt_from(out, rest)
    epoch = one_epoch(len(rest), training)
    points = modality.points(rest, training.points)
    if first and points < training.points:
        say(f"{splits.name} has {points} points a shape: all are taken, {training.points} were asked for")
    taken = training.precision_on(best_device())
    if first and taken != training.precision:
        _say_once(
            f"{best_device().type} has no kernels for {training.precision} here: {taken} is taken, which is far faster"
        )
    objective = settings.objective.build(lambda family: modality.view(family, settings.model, points))
    from crvae3d.training.fit import CHECKPOINT, check_devices, fit

    check_devices(training.devices)
    if first and not resume:  # only now: a mistake in the settings or the data costs no folder
        _make_room(out, overwrite)
        settings.write(out, source=splits.form, shapes=digest_of(rest), test_part=splits.test is not None)
    resume = resume and (out / CHECKPOINT).exists()  # a run that was stopped in its first epoch starts again
    save = functools.partial(model.save_pretrained, out)
    known, seen = on_the_gpu_if_it_fits(rest, validation, training)
    data = Subset(known, epoch), seen, modality.drawn(settings.model, points)
    with nullcontext() if decodes(settings) else _decoder_held(model):
        fit(model, objective, *data, training, out, save, out.name, resume, progress)
    if first and mostly_skipped(out):  # fit says so itself, but of a run that had gone through all of its epochs
        raise Diverged(f"most steps of {out} were not finite: train it anew with a lower learning-rate or weights")
    return model.eval()


def _kept(out: Path, root: str | None) -> Settings:
    """The settings that a run goes on with, its data at `root` where one is given."""
    kept = Settings.read(out)
    if control_of(out) is not None:
        raise InputError(f"{out} holds the control {control_of(out)!r} of a comparison, which cannot go on")
    if len(_epochs(out)) > kept.training.epochs:
        told = f"{len(_epochs(out))} epochs, and its settings now ask for {kept.training.epochs}"
        raise InputError(f"{out} has gone through {told}: put them back as they were, or train a new run")
    if (out / WEIGHTS).exists():
        VAE.from_pretrained(out)  # which refuses a model of other sizes than was trained
    return replace(kept, root=root or kept.root)


@functools.cache
def _say_once(line: str) -> None:
    """What is the same of every run of a grid, once a process."""
    say(line)


@contextmanager
def _decoder_held(model: VAE) -> Iterator[None]:
    """Leave the decoder out of the training: several devices refuse weights that no gradient reaches."""
    walk = _walk(model)
    reached = set() if walk is None else {*walk.parameters()} - {*walk.beyond_the_codes.parameters()}
    weights = [weight for weight in model.decoder.parameters() if weight.requires_grad and weight not in reached]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _walk(model: VAE) -> nn.Module | None:
    """What a hierarchy's posterior walks through: a part of the decoder, which the encoder does not register as its own."""
    return getattr(model.encoder, "topdown", None)


def on_the_gpu_if_it_fits(
    rest: Clouds | Images, validation: Clouds | Images, training: Training
) -> list[Clouds | Images | Resident]:
    """Both parts as they are, or on the one GPU that trains where a quarter of its free memory holds them."""
    device = best_device()
    if device.type != "cuda" or 1 not in (training.devices, torch.cuda.device_count()):
        return [rest, validation]
    size = sum(math.prod(part.stored.shape) * part.stored.dtype.itemsize for part in (rest, validation))
    fits = 4 * size < torch.cuda.mem_get_info(device)[0]
    return [Resident(part, device) if fits else part for part in (rest, validation)]


def learn_from(splits: Splits) -> tuple[Clouds | Images, Clouds | Images]:
    """What a training learns from, and the validation part: the dataset's own, or one that is carved, the same in every run."""
    if splits.validation is not None:
        return splits.train, splits.validation
    return carve(splits.train, VALIDATION_SHARE, VALIDATION_SEED)


def check_learnt_from(folder: Path, rest: Clouds | Images) -> None:
    """Refuse a run that has learnt from other shapes than `rest`, so that some of the validation part may be among them.

    Raises:
        InputError: it has; runs that do not say, of before they did, are taken.
    """
    kept = json.loads((folder / SETTINGS).read_text()).get("made_by", {}).get("shapes")
    if kept not in (None, digest_of(rest), digest_of_names(rest)):
        raise InputError(
            f"the training shapes of {Settings.read(folder).data} are others now than {folder} learnt from, and so is the "
            "validation part: train it anew, or `evaluate` it by a test part"
        )


def digest_of(shapes: Clouds | Images, labels: bool = False) -> str:
    """A digest of the names of shapes and of what is stored of some of them; with `labels` of those of all too."""
    found = hashlib.blake2b("\0".join(shapes.ids).encode("utf-8", "surrogateescape"), digest_size=16)
    some = np.unique(np.linspace(0, max(len(shapes) - 1, 0), PROBED).astype(int))[: len(shapes)]
    found.update(np.ascontiguousarray(shapes.stored[some]).tobytes())
    if labels and shapes.labels is not None:
        found.update(np.asarray(shapes.labels, np.int64).tobytes())
    return found.hexdigest()


def digest_of_names(shapes: Clouds | Images) -> str:
    """What stood in place of `digest_of` before: of names, and of an archive that names none of a point of each."""
    found = hashlib.blake2b("\0".join(shapes.ids).encode("utf-8", "surrogateescape"), digest_size=16)
    if isinstance(shapes, Clouds) and all(UNNAMED.fullmatch(name) for name in shapes.ids):
        found.update(shapes.first(1).coordinates(range(len(shapes))).numpy().tobytes())
    return found.hexdigest()


def one_epoch(shapes: int, training: Training) -> np.ndarray:
    """Which of so many shapes an epoch has: each once; or as many as are to be learnt from, over and over.

    Raises:
        InputError: there are not so many.
    """
    size = shapes if training.train_size is None else training.train_size
    if size > shapes:
        raise InputError(f"train-size {size} is more than the {shapes} that there are to learn from")
    chosen = np.arange(shapes) if size == shapes else np.random.default_rng(training.seed).permutation(shapes)[:size]
    return np.resize(chosen, shapes)


def decodes(settings: Settings) -> bool:
    """Whether the training reaches the decoder: without a bound it stays as it was drawn."""
    return settings.objective.objective != "none"


def without_decoder(model: VAE) -> nn.Module:
    """The encoder of a model and its prior alone, to be judged as such."""
    alone = nn.Module()
    alone.encoder, alone.prior = model.encoder, model.prior
    if (walk := _walk(model)) is not None:
        alone.walk = walk
    return alone


def has_decoder(folder: Path) -> bool:
    """Whether the decoder of a folder was trained: its run is neither a control nor of an encoder alone."""
    found = json.loads((folder / SETTINGS).read_text())
    return "control" not in found and found.get("objective", {}).get("objective") != "none"


def told_apart(runs: Sequence[str | Path]) -> dict[str, Path]:
    """Run folders by name: the folder's own, with as many of those above it as it takes to tell all of them apart.

    Raises:
        InputError: one is given twice.
    """
    folders = [Path(os.path.abspath(run)) for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise InputError(f"{folder} is given twice: name each run once")
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, map(Path, runs), strict=True))


def _make_room(out: Path, overwrite: bool) -> None:
    try:
        str(out.absolute()).encode()
    except UnicodeEncodeError:
        told = str(out).encode("utf-8", "backslashreplace").decode()
        raise InputError(f"{told} is no name in UTF-8, and logs need one: name the run by --out") from None
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(
            f"{out} exists: go on with it by --resume {out}, replace it with --overwrite, or choose another --out"
        )
    try:
        Settings.read(out)
    except InputError:
        raise InputError(
            f"{out} is not a run (it has no {SETTINGS} of one), so --overwrite leaves it alone: choose another --out"
        ) from None
    shutil.rmtree(out)


def control_of(folder: Path) -> str | None:
    """Which control of a comparison a folder holds; None for a training, and where there is nothing yet."""
    path = folder / SETTINGS
    return json.loads(path.read_text()).get("control") if path.exists() else None


def has_test_part(folder: Path) -> bool:
    """Whether the data of a run had a test part; where that is not noted it counts as such."""
    path = folder / SETTINGS
    return not path.exists() or json.loads(path.read_text()).get("made_by", {}).get("test_part", True)


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has gone through all of its epochs, and learnt in most of its steps."""
    if not (folder / WEIGHTS).exists() or mostly_skipped(folder):
        return False
    return len(_epochs(folder)) >= Settings.read(folder).training.epochs


def mostly_skipped(folder: Path) -> bool:
    """Whether more than half of the steps up to now were left out, because they were not finite."""
    last = (_epochs(folder) or [{}])[-1]
    return 2 * float(last.get("skipped_steps") or 0) > float(last.get("step") or 0)


def _epochs(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics, one an epoch."""
    if not (folder / "metrics.csv").exists():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
