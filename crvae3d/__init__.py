"""Consistent representations of 3D shapes without labels.

The names below are the public ones; each is imported when it is first used, so that `import crvae3d` costs nothing.
"""

from importlib import import_module

_HOME = {
    "Settings": "crvae3d.experiment.settings",
    "train": "crvae3d.experiment.runs",
    "evaluate": "crvae3d.experiment.evaluate",
    "compare": "crvae3d.experiment.compare",
    "embed": "crvae3d.experiment.embed",
    "reconstruct": "crvae3d.experiment.reconstruct",
    "VAE": "crvae3d.experiment.pretrained",
    "load": "crvae3d.datasets.load",
    "Clouds": "crvae3d.datasets.clouds",
    "Images": "crvae3d.datasets.images.images",
    "ELBO": "crvae3d.core.objectives",
    "IWAE": "crvae3d.core.objectives",
    "Consistent": "crvae3d.core.consistency",
    "chamfer_distance": "crvae3d.points.chamfer",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("crvae3d")
    if name not in _HOME:
        raise AttributeError(f"module 'crvae3d' has no attribute {name!r}; it has {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
