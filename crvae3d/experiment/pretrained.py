"""A VAE whose weights travel: safetensors beside a JSON of settings, never a pickle, so that loading runs no code."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import safetensors.torch
import torch

from crvae3d.core import model as core
from crvae3d.errors import InputError, unknown
from crvae3d.points.models import PointModel

WEIGHTS = "weights.safetensors"
SETTINGS = "settings.json"


class VAE(core.VAE):
    """A VAE that can be written to a folder and read from one, here or on the Hugging Face hub.

    Made by `VAE.build(settings)` or `VAE.from_pretrained(path)`; encoder, decoder and prior are those of `core.VAE`.

    Attributes:
        settings: what it was built from.
    """

    settings: PointModel

    @classmethod
    def build(cls, settings: PointModel, seed: int = 0) -> "VAE":
        """A model with fresh weights, which are a function of `seed` alone."""
        plain = settings.build(seed)
        model = cls(plain.encoder, plain.decoder, plain.prior)
        model.settings = settings
        return model

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> "VAE":
        """Read a model, in evaluation mode.

        Args:
            path: a run folder, a folder that `save_pretrained` wrote, or `owner/name` on the Hugging Face hub.
            device: where to put it.

        Raises:
            InputError: there is no model, or the weights do not fit the settings.
        """
        folder = Path(path)
        if not folder.exists() and str(path).count("/") == 1 and not str(path).startswith("."):
            folder = _download(str(path))
        for name in (SETTINGS, WEIGHTS):
            if not (folder / name).exists():
                raise InputError(
                    f"no model in {folder}: it has no {name}; pass a folder made by `crvae3d train --out FOLDER`"
                )
        described = json.loads((folder / SETTINGS).read_text())["model"]
        model = cls.build(point_model(described))
        try:
            model.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise InputError(f"the weights in {folder} do not fit its {SETTINGS}: {error}") from None
        return model.to(device).eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights and settings into `folder`; settings that stand there already are kept."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / SETTINGS).exists():
            (folder / SETTINGS).write_text(json.dumps({"model": asdict(self.settings)}, indent=2) + "\n")
        part = folder / f"{WEIGHTS}.part"
        safetensors.torch.save_file({name: value.contiguous() for name, value in self.state_dict().items()}, part)
        part.replace(folder / WEIGHTS)

    def push_to_hub(self, repository: str) -> None:
        """Upload weights and settings to `owner/name` on the Hugging Face hub, which is made where it is missing."""
        import tempfile

        from huggingface_hub import HfApi

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            HfApi().create_repo(repository, exist_ok=True)
            HfApi().upload_folder(repo_id=repository, folder_path=folder)


def point_model(described: dict[str, object]) -> PointModel:
    """The settings of a model from JSON, every name checked."""
    known = {field.name for field in fields(PointModel)}
    for name in described:
        if name not in known:
            unknown("model setting", name, known)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in described.items()}
    return PointModel(**values)


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=[WEIGHTS, SETTINGS]))
    except Exception as error:
        raise InputError(f"{repository} is neither a folder nor a model that the hub gives out: {error}") from None
