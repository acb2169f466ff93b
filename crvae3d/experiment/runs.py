"""A run: a folder with the settings of a training, its metrics and its weights."""

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from crvae3d.datasets.clouds import carve
from crvae3d.datasets.load import load
from crvae3d.errors import InputError
from crvae3d.experiment.pretrained import SETTINGS, VAE, WEIGHTS, point_model
from crvae3d.experiment.tables import Objective
from crvae3d.points.augment import Subset
from crvae3d.points.models import PointModel
from crvae3d.training.settings import Training

VALIDATION_SHARE = 0.1
VALIDATION_SEED = 0


@dataclass(frozen=True)
class Settings:
    """All that a run is made of.

    Args:
        data: name, folder or archive.
        root: where named datasets lie; None for the default.
        model, objective, training: see there.
    """

    data: str
    root: str | None = None
    model: PointModel = PointModel()
    objective: Objective = Objective()
    training: Training = Training()

    @classmethod
    def read(cls, folder: Path) -> "Settings":
        """The settings of a run folder.

        Raises:
            InputError: it is none.
        """
        if not (folder / SETTINGS).exists():
            raise InputError(f"no run in {folder}: it has no {SETTINGS}; make one with `crvae3d train DATA --out {folder}`")
        found = json.loads((folder / SETTINGS).read_text())
        return cls(
            found["data"],
            found["root"],
            point_model(found["model"]),
            Objective(**found["objective"]),
            Training(**found["training"]),
        )

    def write(self, folder: Path) -> None:
        """Write them with the versions, the commit and the machine that they ran on."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).write_text(json.dumps(asdict(self) | {"made_by": provenance()}, indent=2) + "\n")


def provenance() -> dict[str, str]:
    """Versions, commit, command and machine: what a number must carry."""
    packages = ("crvae3d", "torch", "torch-geometric", "lightning", "scikit-learn", "numpy")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    return {
        **{name: version(name) for name in packages},
        "python": platform.python_version(),
        "commit": _commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": machine,
    }


def _commit() -> str:
    """The commit of the source tree that runs, `+` behind it where files have changed; empty for an installed package."""
    here = Path(__file__).parent
    try:
        ask = {"capture_output": True, "text": True, "check": True, "cwd": here}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()
        return commit + ("+" if subprocess.run(["git", "diff", "HEAD", "--stat", "--", "."], **ask).stdout else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def train(
    settings: Settings, out: str | Path, resume: bool = False, overwrite: bool = False, progress: bool = True
) -> VAE:
    """Train a model on the training split, less the validation part that is carved from it.

    Args:
        settings: all of them. With `resume`, those of the folder are taken instead.
        out: the run folder: `settings.json`, `metrics.csv`, `weights.safetensors`, `tensorboard/`, `last.ckpt`.
        resume: go on where an interrupted run stopped.
        overwrite: delete what stands at `out`.
        progress: whether to show it.

    Raises:
        InputError: `out` exists and neither resume nor overwrite is asked for, or there is nothing to resume.
        crvae3d.training.module.Diverged: the loss stayed non-finite.
    """
    out = Path(out)
    if resume:
        settings = Settings.read(out)
    else:
        _make_room(out, overwrite)
    splits = load(settings.data, settings.root, progress=progress)
    rest, validation = carve(splits.train, VALIDATION_SHARE, VALIDATION_SEED)
    if not resume:
        settings.write(out)
    from crvae3d.training.fit import fit

    training, model = settings.training, VAE.build(settings.model, settings.training.seed)
    objective, thin = settings.objective.build(training.points), Subset(training.points)
    save = lambda: model.save_pretrained(out)  # noqa: E731
    fit(model, objective, rest, validation, thin, training, out, save, out.name, resume, progress)
    return model.eval()


def _make_room(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{out} exists: go on with it by --resume {out}, replace it with --overwrite, or choose another --out")
    if not (out / SETTINGS).exists():
        raise InputError(f"{out} is not a run (it has no {SETTINGS}), so --overwrite leaves it alone: choose another --out")
    shutil.rmtree(out)


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has gone through all of its epochs."""
    metrics = folder / "metrics.csv"
    if not metrics.exists() or not (folder / WEIGHTS).exists():
        return False
    return sum(1 for _ in metrics.open()) - 1 >= Settings.read(folder).training.epochs
