"""Point-cloud models as settings: what it takes to build one, and to build it again from a file."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from crvae3d.core.model import VAE
from crvae3d.core.posteriors import standard_normal
from crvae3d.errors import InputError, unknown
from crvae3d.points.folding import Folding
from crvae3d.points.pointnet import PointNet

WIDEST = 8
"""Neighbourhoods, at most: the radius of the last is twelve times the unit sphere's."""


@dataclass(frozen=True)
class PointModel:
    """An encoder with a folding decoder; the fields are those of `PointNet` and `Folding`.

    Args:
        encoder: a name in `ENCODERS`.
        code_size: D.
        encoder_widths: of PointNet's shared network; the last is the number of pooled features.
        head_widths: of PointNet's layers between the pooled features and the posterior.
        norm: after PointNet's layers: layer, batch or none.
        input_transform: learn a 3 x 3 matrix applied to each cloud first.
        neighbourhoods: at how many radii, each twice the one before, PointNet reads what lies around a point.
        output_points: folded points a shape.
        decoder_width: of the hidden layers of each fold.
        template: what is folded: plane, sphere or gaussian.
        likelihood: chamfer or mixture.
        scale: of the likelihood at the start, in units of the cloud.
        learn_scale: whether the training changes it.
    """

    code_size: int = 512
    encoder_widths: tuple[int, ...] = (64, 128, 512)
    head_widths: tuple[int, ...] = (512, 512)
    norm: str = "layer"
    input_transform: bool = False
    output_points: int = 484
    decoder_width: int = 128
    template: str = "plane"
    likelihood: str = "chamfer"
    scale: float = 0.05
    learn_scale: bool = True
    encoder: str = "pointnet"
    neighbourhoods: int = 3

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            unknown("encoder", self.encoder, ENCODERS, own=True)
        for name in ("code_size", "output_points", "decoder_width", "scale"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name.replace('_', '-')} must be positive, got {getattr(self, name)}")
        if not 0 <= self.neighbourhoods <= WIDEST:
            raise InputError(f"neighbourhoods are from 0, for none, to {WIDEST}, got {self.neighbourhoods}")
        if not self.encoder_widths or not all(width > 0 for width in (*self.encoder_widths, *self.head_widths)):
            told = f"{self.encoder_widths} and {self.head_widths}"
            raise InputError(f"encoder-widths are one number or more, and all widths positive, got {told}")

    def build(self, seed: int = 0) -> VAE:
        """The model with fresh weights, which are a function of `seed` alone."""
        with torch.random.fork_rng([]):  # weights are drawn on the CPU
            torch.manual_seed(seed)
            encoder = ENCODERS[self.encoder](self)
            decoder = Folding(
                self.code_size,
                self.output_points,
                self.decoder_width,
                self.template,
                self.likelihood,
                self.scale,
                self.learn_scale,
            )
        return VAE(encoder, decoder, standard_normal(self.code_size))


def _pointnet(settings: PointModel) -> nn.Module:
    return PointNet(
        settings.code_size,
        settings.encoder_widths,
        settings.norm,
        settings.input_transform,
        head_widths=settings.head_widths,
        neighbourhoods=settings.neighbourhoods,
    )


ENCODERS: dict[str, Callable[[PointModel], nn.Module]] = {"pointnet": _pointnet}
"""Encoders by name. One of your own is a line here: made of the settings, it has `code_size`, `pool(x)` (B, F) of a dense
batch (B, N, 3) or a `Ragged`, and `posterior(pooled)` and `forward(x)`, which give a `DiagonalGaussian` over (B, D)."""
