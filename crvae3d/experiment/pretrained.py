"""A VAE whose weights travel: safetensors beside a JSON of settings, never a pickle, so that loading runs no code."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import safetensors.torch
import torch

from crvae3d.core import model as core
from crvae3d.errors import InputError, unknown
from crvae3d.images.models import AnyImageModel, image_model
from crvae3d.points.models import PointModel

WEIGHTS = "weights.safetensors"
SETTINGS = "settings.json"
NO_SETTINGS = (
    "a VAE that is put together of its parts has no settings to be found again by: make it with `VAE.build(settings)`, its "
    "encoder in a table (`--plugin`), or call `embed`, `reconstruct` and torch.save on the module itself"
)


class VAE(core.VAE):
    """A VAE that can be written to a folder and read from one.

    Made by `VAE.build(settings)` or `VAE.from_pretrained(path)`; encoder, decoder and prior are those of `core.VAE`.

    Attributes:
        settings: what it was built from; None of one that was put together of parts, which cannot be written.
    """

    settings: PointModel | AnyImageModel | None = None

    @classmethod
    def build(cls, settings: PointModel | AnyImageModel, seed: int = 0) -> "VAE":
        """A model with fresh weights, which are a function of `seed` alone."""
        plain = settings.build(seed)
        model = cls(plain.encoder, plain.decoder, plain.prior)
        model.settings = settings
        return model

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> "VAE":
        """Read a model, in evaluation mode.

        Args:
            path: a run folder, or a folder that `save_pretrained` wrote.
            device: where to put it.

        Raises:
            InputError: there is no model, or the weights do not fit the settings.
        """
        folder = Path(path)
        for name in (SETTINGS, WEIGHTS):
            if not (folder / name).exists():
                raise InputError(
                    f"no model in {folder}: it has no {name}; pass a folder made by `crvae3d train --out FOLDER`"
                )
        try:
            described = json.loads((folder / SETTINGS).read_text())["model"]
            model = cls.build(model_of(described))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{folder / SETTINGS} is not the settings of a model ({error}); train it anew") from None
        try:
            model.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise InputError(f"the weights in {folder} do not fit its {SETTINGS}: {error}") from None
        return model.to(device).eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights and settings into `folder`; those of a run of the same model are kept.

        Raises:
            InputError: the folder holds another model, or this one has no settings.
        """
        if self.settings is None:
            raise InputError(NO_SETTINGS)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SETTINGS).exists():
            if model_of(json.loads((folder / SETTINGS).read_text())["model"]) != self.settings:
                raise InputError(f"{folder} holds a model of another kind: choose an empty folder")
        else:
            (folder / SETTINGS).write_text(json.dumps({"model": asdict(self.settings)}, indent=2) + "\n")
        part = folder / f"{WEIGHTS}.part"
        weights = {name: value.clone().contiguous() for name, value in self.state_dict().items()}  # tied ones too
        part.write_bytes(safetensors.torch.save(weights))  # its own way to a file lets nobody else read it
        part.replace(folder / WEIGHTS)


def read_model(run: str | Path | core.VAE, device: str | torch.device = "cpu") -> VAE:
    """A model as it is, or that of a folder.

    Raises:
        InputError: as `VAE.from_pretrained`, or the model has no settings.
    """
    if not isinstance(run, core.VAE):
        return VAE.from_pretrained(run, device)
    if getattr(run, "settings", None) is None:
        raise InputError(NO_SETTINGS)
    return run


def model_of(described: dict[str, object]) -> PointModel | AnyImageModel:
    """The settings of a model from JSON, every name checked: those with a network are of images."""
    kind = image_model(described) if "network" in described else PointModel
    if kind is PointModel:
        described = {"neighbourhoods": 0} | described  # those of before there were any do not name them
    known = {field.name for field in fields(kind)}
    for name in described:
        if name not in known:
            unknown("model setting", name, known)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}
    return kind(**values)
