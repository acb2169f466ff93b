"""How a model is trained: everything that changes the numbers, and nothing else."""

import math
from dataclasses import dataclass

import torch

from crvae3d.device import has_bf16
from crvae3d.errors import InputError, unknown

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class Training:
    """Settings of one training.

    Args:
        epochs: passes over the training shapes.
        batch_size: shapes a step on each device.
        points: a fresh random subset of this many points of each shape is drawn in every epoch.
        learning_rate: of AdamW after its warm-up; it falls to nought along a cosine.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        precision: a name in `PRECISIONS`; `bf16-mixed` is fast on GPUs and on processors with AVX-512 BF16,
            and single precision on those that have no kernels for it.
        seed: of the weights, the order of the shapes, the subsets, the views and the posterior's samples.
        devices: how many GPUs to train on, 0 for all; without one, how many processes, of which 0 is one.
        penalty: weight of what a model asks for its own weights, such as the spectral norms of an NVAE; others ask nothing.
        train_size: learn from so many shapes alone, which the seed draws; None for all. An epoch has as many steps as with
            all: each of them comes the oftener.
        patience: that many non-finite steps in a row stop the training.
    """

    epochs: int = 20
    batch_size: int = 32
    points: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 10.0
    precision: str = "32-true"
    seed: int = 0
    devices: int = 1
    patience: int = 20
    penalty: float = 0.0
    train_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "points", "learning_rate", "clip", "patience"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name.replace('_', '-')} must be positive and finite, got {getattr(self, name)}")
        if self.train_size is not None and self.train_size < 1:
            raise InputError(f"train-size must be at least 1, got {self.train_size}")
        if self.points < 2:
            raise InputError(f"points must be at least 2, got {self.points}: a view is half of them")
        for name in ("seed", "devices", "penalty", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name.replace('_', '-')} must be nought or more, got {getattr(self, name)}")
        if self.seed >= 2**32:
            raise InputError(f"seed must lie in [0, 2^32), got {self.seed}")
        if self.precision not in PRECISIONS:
            unknown("precision", self.precision, PRECISIONS)

    def precision_on(self, device: torch.device) -> str:
        """What is trained in on a device: `precision`, or single instead of a `bf16-mixed` that it would emulate."""
        # Of halves a CPU knows bfloat16 alone: Lightning takes it for 16-mixed there.
        asked = "bf16-mixed" if device.type == "cpu" and self.precision == "16-mixed" else self.precision
        return "32-true" if asked == "bf16-mixed" and not has_bf16(device) else asked
