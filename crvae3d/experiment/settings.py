"""The settings of a run: all of them, and what they ran on."""

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import NoReturn, get_args, get_origin

import numpy as np
import torch

from crvae3d.datasets.load import KNOWN, is_images, load
from crvae3d.datasets.sources import expanded
from crvae3d.device import best_device, has_bf16
from crvae3d.errors import InputError, unknown
from crvae3d.experiment.image_tables import IMAGE_FORMS, image_objective
from crvae3d.experiment.modalities import CLOUDS, IMAGES, Model, modality_of, sized
from crvae3d.experiment.pretrained import SETTINGS, model_of
from crvae3d.experiment.tables import FORMS, MODELS, OF_FLAT_CODES, Objective
from crvae3d.images.models import NVAEModel
from crvae3d.points.models import PointModel
from crvae3d.training.settings import Training

NO_BF16 = "no bf16"
"""What the record says of a machine that trains and judges in single precision where a setting asks for bf16."""


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
    model: Model = PointModel()
    objective: Objective = Objective()
    training: Training = Training()

    def __post_init__(self) -> None:
        modality = modality_of(self.model)
        for name, family in self.objective.families.items():
            if family not in modality.transforms:
                unknown(f"{name} of {modality.name}", family, modality.transforms, own=True)
        divergence = self.objective.divergence
        if isinstance(self.model, NVAEModel) and self.objective.consistency and divergence in OF_FLAT_CODES:
            raise InputError(
                f"{divergence} compares Gaussians, and a hierarchy's groups depend on each other: take kl, reverse or symmetric"
            )
        if isinstance(self.model, NVAEModel) and self.objective.stop_gradient:
            raise InputError(
                "stop-gradient cannot hold a hierarchy's posterior still, whose groups follow from the view's: leave it out"
            )
        batch, size = self.training.batch_size, self.training.train_size
        if self.objective.contrasts and size == 1:
            raise InputError("a contrast tells shapes from each other: set train-size to 2 or more, or contrast to 0")
        if self.objective.contrasts and (batch == 1 or (size or batch) < batch):
            has, ask = ("no other", "2 or more") if batch == 1 else (f"only {size} different ones", f"{size} or less")
            raise InputError(
                f"a contrast tells the shapes of a batch from each other, and a batch of {batch} has {has}: "
                f"set batch-size to {ask}, or contrast to 0"
            )

    @classmethod
    def of(
        cls,
        data: str | Path,
        root: str | Path | None = None,
        model: str | None = None,
        preset: str | None = None,
        progress: bool = True,
        **options: object,
    ) -> "Settings":
        """Settings by names, as on the command line.

        Args:
            data: name, folder or archive.
            root: where named datasets lie.
            model: a name in `tables.MODELS`, or of images in `IMAGE_MODELS`; None for the first there.
            preset: a name of the model's presets; None for `small`.
            progress: whether to show that of reading a folder of pictures, which says how large they are.
            options: fields of the model, `Objective` and `Training` that are to differ; `paper` or `invariant`, True for that
                form of the objective.

        Raises:
            InputError: a name is unknown, or a value impossible.
        """
        data = str(data)
        images = is_images(data)
        modality = IMAGES if images else CLOUDS
        options = _formed({name: _plain(value) for name, value in options.items()}, data, images)
        if model in MODELS:
            _check_named(model, options)
        model = next(iter(modality.models)) if model is None else model
        if model not in modality.models and model in CLOUDS.models | IMAGES.models:
            unknown(f"model of {modality.name}", model, modality.models)
        model_part, training = sized(model, preset or "small")
        kinds = [{field.name: field.type for field in fields(part)} for part in (model_part, Objective, training)]
        known = kinds[0] | kinds[1] | kinds[2]
        for name, value in options.items():
            if name not in known:
                _refuse(name, modality.name, model, set(known) | set(FORMS))
            if not _is_a(value, known[name]):
                raise InputError(f"{name} must be {_told(known[name])}, got {value!r}")
        of_model, of_objective, of_training = (
            {name: options[name] for name in options if name in part} for part in kinds
        )
        if images:
            if "points" in options:
                raise InputError(f"images have no points, and {options['points']} were asked for: leave them out")
            of_model = _form_of(data, root, of_model.get("height"), of_model.get("width"), progress) | of_model
            of_objective = image_objective(model, of_objective.get("objective", "elbo")) | of_objective
        if data not in KNOWN and (Path(data).exists() or len(Path(data).parts) > 1 or Path(data).suffix):
            data = str(expanded(data).resolve())  # so that the run can be evaluated from any folder
        root = None if root is None else str(expanded(root).resolve())
        objective = Objective(**of_objective)  # not replaced: its weight depends on its divergence
        return cls(data, root, replace(model_part, **of_model), objective, replace(training, **of_training))

    @classmethod
    def read(cls, folder: Path) -> "Settings":
        """The settings of a run folder.

        Raises:
            InputError: it is none.
        """
        if not (folder / SETTINGS).exists():
            raise InputError(
                f"no run in {folder}: it has no {SETTINGS}; make one with `crvae3d train DATA --out {folder}`"
            )
        try:
            found = json.loads((folder / SETTINGS).read_text())
            model, objective = model_of(found["model"]), Objective.recorded(found["objective"])
            return cls(found["data"], found["root"], model, objective, Training(**found["training"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{folder / SETTINGS} is not the settings of a run ({error}); train it anew") from None

    def write(
        self,
        folder: Path,
        source: str = "",
        shapes: str | None = None,
        test_part: bool | None = None,
        control: str | None = None,
    ) -> None:
        """Write them with the form of the data, the versions, the commit and the machine that they ran on.

        Args:
            source: the form of the data.
            shapes: a digest of those that are learnt from.
            test_part: whether the data has one.
            control: which one the folder holds, where it is no training of a model.
        """
        folder.mkdir(parents=True, exist_ok=True)
        noted = {"source": source, "shapes": shapes, "test_part": test_part}
        made_by = {name: value for name, value in noted.items() if value is not None} | provenance()
        told = asdict(self) | {"made_by": made_by} | ({"control": control} if control else {})
        part = folder / f"{SETTINGS}.part"
        part.write_text(json.dumps(told, indent=2, default=_plain) + "\n")
        part.replace(folder / SETTINGS)


def _plain(value: object) -> object:
    """A setting as a file and JSON have it: NumPy's numbers are Python's."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def _is_a(value: object, kind: object) -> bool:
    """Whether a value is of a setting's annotated type; whole numbers are numbers too, but truth values are not."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(each, get_args(kind)[0]) for each in value)
    numbers = {int: Integral, float: Real}
    return isinstance(value, numbers.get(kind, kind)) and (kind is bool or not isinstance(value, bool))


def _told(kind: object) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(_told(each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of whole numbers"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "left out"}[kind]


def _refuse(name: str, kind: str, model: str, known: set[str]) -> NoReturn:
    """Say that a setting is another model's, or that none has it."""
    others = [each for each, settings in (CLOUDS.models | IMAGES.models).items() if hasattr(settings, name)]
    if others:
        raise InputError(
            f"{name} is a setting of {', '.join(others)}, and not of {model}, a model of {kind}: leave it out"
        )
    unknown("setting", name, sorted(known))


def _form_of(data: str, root: str | None, height: int | None, width: int | None, progress: bool) -> dict[str, object]:
    """What the images of a dataset are like, as settings of their model; pictures of a folder may be brought to a size."""
    if data in IMAGE_FORMS:
        form = IMAGE_FORMS[data]
        if (height or form["height"], width or form["width"]) != (form["height"], form["width"]):
            raise InputError(f"{data} has images of {form['height']} x {form['width']} pixels: leave their size out")
        return form
    size = (height or width, width or height) if height or width else None
    channels, height, width = load(data, root, size=size, progress=progress).train.pixels.shape[1:]
    return {"channels": channels, "height": height, "width": width, "likelihood": "logistic"}


def _formed(options: dict[str, object], data: str, images: bool) -> dict[str, object]:
    """The options with what a form says in place of its name; what is given beside it is taken first."""
    asked = {name: options[name] for name in FORMS if name in options}
    for name, value in asked.items():
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false, got {value!r}")
    named = [name for name, value in asked.items() if value]
    if len(named) > 1:
        raise InputError("paper and invariant are two forms of the objective: take one")
    if named == ["invariant"]:
        if images:
            raise InputError(f"invariant turns shapes, and {data} has images: leave it out")
        if options.get("contrast") == 0 or options.get("contrast_transform", "so3") != "so3":
            raise InputError(
                "invariant is contrast over all of SO(3): leave it out, or contrast and contrast-transform"
            )
    form = FORMS[named[0]] if named and not images else {}  # the paper's is the default of images
    return form | {name: value for name, value in options.items() if name not in asked}


def _check_named(model: str, options: dict[str, object]) -> None:
    """Refuse an option that undoes what a model is named by."""
    plain = PointModel()
    for name in ("template", "likelihood"):
        own = getattr(MODELS[model], name)
        if own != getattr(plain, name) and options.get(name, own) != own:
            raise InputError(f"{model} has the {name} {own}, and {options[name]} was asked for: leave one of them out")


def provenance() -> dict[str, str]:
    """Versions, commit, command and machine: what a number must carry."""
    packages = ("crvae3d", "torch", "torch-geometric", "lightning", "scikit-learn", "numpy")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    if not has_bf16(best_device()):
        machine += f", {NO_BF16}"
    return {
        **{name: version(name) for name in packages},
        "python": platform.python_version(),
        "commit": _commit(),
        "command": " ".join(Path(word).name if Path(word).is_absolute() else word for word in sys.argv),
        "machine": machine,
    }


def _commit() -> str:
    """The commit of the source tree that runs, `+` behind it where code has changed; empty for an installed package."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        ask = {"capture_output": True, "text": True, "check": True, "cwd": root}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--", "crvae3d", "benchmarks/*.py"], **ask).stdout
        return commit + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return ""
