"""The registries of images: literal tables, as those of clouds are in `tables`."""

from collections.abc import Callable
from dataclasses import replace

from crvae3d.images.augment import Affine, ColourJitter, Compose, HorizontalFlip
from crvae3d.images.models import AnyImageModel, ImageModel, NVAEModel
from crvae3d.images.nvae import NVAE_PRESETS
from crvae3d.training.settings import Training

IMAGE_MODELS: dict[str, AnyImageModel] = {
    "mlp": ImageModel(network="mlp"),
    "conv": ImageModel(network="conv"),
    "nvae": NVAEModel(),
}

Preset = tuple[dict[str, object], Training]
"""Sizes of a model, and training settings."""

FAST, LONG = Training(epochs=20, batch_size=100), Training(epochs=200, batch_size=100)
DEEP = Training(batch_size=100, weight_decay=3e-4, penalty=1e-2)

IMAGE_PRESETS: dict[str, dict[str, Preset]] = {
    "mlp": {
        "tiny": (dict(widths=(256, 256), code_size=16), replace(FAST, epochs=2)),
        "small": ({}, FAST),
        "full": ({}, LONG),
    },
    "conv": {
        "tiny": (dict(widths=(16, 32, 64), code_size=16), replace(FAST, epochs=2)),
        "small": (dict(widths=(32, 64, 128, 256)), FAST),
        "full": ({}, LONG),
    },
    "nvae": {
        "tiny": (dict(ladder="4x4:1 8x8:1", base_channels=4, latents=2, expansion=2), replace(DEEP, epochs=2)),
        "small": (dict(ladder="4x4:2 8x8:3", base_channels=8, latents=8, expansion=3), replace(DEEP, epochs=20)),
        "digits": (NVAE_PRESETS["digits"], replace(DEEP, epochs=60, batch_size=64)),
        "mnist": (NVAE_PRESETS["mnist"], replace(DEEP, epochs=400, batch_size=200)),
        "cifar10": (NVAE_PRESETS["cifar10"], replace(DEEP, epochs=400, batch_size=256)),
        "celeba64": (NVAE_PRESETS["celeba64"], replace(DEEP, epochs=90, batch_size=128)),
    },
}
"""By the network. `full`: the sizes of the paper's code, an MLP of three layers of 1,000 and convolutions of 128 to 1,024
channels. Of an NVAE those that are called as a dataset have its paper's sizes."""

IMAGE_FORMS: dict[str, dict[str, object]] = {
    "digits": dict(channels=1, height=8, width=8, likelihood="bernoulli"),
    "mnist": dict(channels=1, height=28, width=28, likelihood="bernoulli"),
    "omniglot": dict(channels=1, height=28, width=28, likelihood="bernoulli"),
    "omniglot-lake": dict(channels=1, height=28, width=28, likelihood="bernoulli"),
    "omniglot-iwae": dict(channels=1, height=28, width=28, likelihood="bernoulli"),
    "cifar10": dict(channels=3, height=32, width=32, likelihood="logistic"),
    "celeba64": dict(channels=3, height=64, width=64, likelihood="logistic"),
}
"""What the images of a named dataset are like, and the likelihood that suits them; `bernoulli` draws them black and white."""


def image_objective(network: str, objective: str) -> dict[str, object]:
    """What `Objective` takes for images where nothing else is asked for: the paper's form, with mild affine views.

    In a hierarchy the rate rises over the first third of the training, balanced between the groups meanwhile.
    """
    found: dict[str, object] = {"contrast": 0.0, "transform": "affine", "target": "view"}
    if objective == "elbo":
        found |= {"beta": 1.0} | ({"warm_up": 0.3, "balance_groups": True} if network == "nvae" else {})
    return found


SIMPLE = dict(degrees=15, shift=0.05, low=0.9, high=1.1)
LARGE = dict(degrees=30, shift=0.10, low=0.75, high=1.25)

IMAGE_TRANSFORMS: dict[str, Callable[[int], object]] = {
    "affine": lambda points: Affine(**SIMPLE),
    "affine-large": lambda points: Affine(**LARGE),
    "affine-flip": lambda points: Compose([HorizontalFlip(), Affine(**SIMPLE)]),
    "affine-colour": lambda points: Compose([HorizontalFlip(), Affine(**SIMPLE), ColourJitter(0.4, 0.4, 0.4, 0.1)]),
}
"""Families of t(x) for training; `affine` and `affine-large` are those of the paper's code. Images have no points."""

IMAGE_GAPS: dict[str, object] = {
    "rotation": Affine(degrees=15, shift=0, low=1, high=1),
    "shift": Affine(degrees=0, shift=0.05, low=1, high=1),
    "zoom": Affine(degrees=0, shift=0, low=0.9, high=1.1),
    "affine": Affine(**SIMPLE),
}
"""The single transformations under which the consistency gap of any model is measured."""
