"""Image models as settings: what it takes to build one, and to build it again from a file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from crvae3d.core.model import VAE
from crvae3d.core.posteriors import standard_normal
from crvae3d.errors import InputError, unknown
from crvae3d.images import conv, mlp
from crvae3d.images.likelihoods import LIKELIHOODS
from crvae3d.images.nvae import build_nvae


@dataclass(frozen=True)
class ImageModel:
    """An encoder with its decoder and one group of codes, for images of one size.

    Args:
        network: a name in `NETWORKS`.
        channels: C, 1 for grey images and 3 for RGB.
        height: H, in pixels.
        width: W, in pixels.
        code_size: D.
        widths: of the encoder's layers, the decoder's in reverse; none for the network's own: 1000 1000 1000 for `mlp`,
            128 256 512 1024 for `conv`.
        likelihood: a name in `LIKELIHOODS`: bernoulli for binarised images, gaussian or logistic for others.
        norm: after the layers of `conv`: group, batch or none.
    """

    network: str = "mlp"
    channels: int = 1
    height: int = 28
    width: int = 28
    code_size: int = 50
    widths: tuple[int, ...] = ()
    likelihood: str = "bernoulli"
    norm: str = "group"

    def __post_init__(self) -> None:
        for kind, known in (("network", NETWORKS), ("norm", conv.NORMS)):
            if getattr(self, kind) not in known:
                unknown(kind, getattr(self, kind), known)
        _check_likelihood(self.likelihood, self.channels)
        for name in ("channels", "height", "width", "code_size"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name.replace('_', '-')} must be positive, got {getattr(self, name)}")
        if not all(width > 0 for width in self.widths):
            raise InputError(f"widths must be positive, got {tuple(self.widths)}; leave them out for the network's own")

    @property
    def shape(self) -> mlp.Shape:
        """(C, H, W) of the images."""
        return self.channels, self.height, self.width

    def build(self, seed: int = 0) -> VAE:
        """The model with fresh weights, which are a function of `seed` alone."""
        encoder_of, decoder_of = NETWORKS[self.network]
        with torch.random.fork_rng([]):  # weights are drawn on the CPU
            torch.manual_seed(seed)
            encoder, decoder = encoder_of(self), decoder_of(self)
        return VAE(encoder, decoder, standard_normal(self.code_size))


def _check_likelihood(likelihood: str, channels: int) -> None:
    if likelihood not in LIKELIHOODS:
        unknown("likelihood", likelihood, LIKELIHOODS)
    if likelihood == "bernoulli" and channels > 1:
        raise InputError(
            f"bernoulli is of black and white images of 1 channel, got {channels}: take logistic or gaussian"
        )


def _head(settings: ImageModel) -> nn.Module:
    return LIKELIHOODS[settings.likelihood](settings.channels)


def _mlp_encoder(settings: ImageModel) -> nn.Module:
    return mlp.MLPEncoder(settings.shape, settings.code_size, settings.widths or mlp.WIDTHS)


def _mlp_decoder(settings: ImageModel) -> nn.Module:
    return mlp.MLPDecoder(settings.shape, _head(settings), settings.code_size, settings.widths or mlp.WIDTHS)


def _conv_encoder(settings: ImageModel) -> nn.Module:
    return conv.ConvEncoder(settings.shape, settings.code_size, settings.widths or conv.WIDTHS, settings.norm)


def _conv_decoder(settings: ImageModel) -> nn.Module:
    widths = settings.widths or conv.WIDTHS
    return conv.ConvDecoder(settings.shape, _head(settings), settings.code_size, widths, settings.norm)


Factory = Callable[[ImageModel], nn.Module]

NETWORKS: dict[str, tuple[Factory, Factory]] = {
    "mlp": (_mlp_encoder, _mlp_decoder),
    "conv": (_conv_encoder, _conv_decoder),
}
"""Encoders and decoders by name, made of the settings. The encoder has `code_size`, `pool(x)` (B, F) of a batch (B, C, H, W),
`posterior(pooled)` and `forward(x)`, which give a `DiagonalGaussian` over (B, D); the decoder maps codes (..., D) to a
likelihood of batch shape (...,)."""


@dataclass(frozen=True)
class NVAEModel:
    """A hierarchy for images of one size; the fields are those of `build_nvae`.

    Args:
        network: nvae.
        channels: C, 1 for grey images and 3 for RGB.
        height: H, in pixels.
        width: W, in pixels.
        likelihood: a name in `LIKELIHOODS`.
        ladder: scales of latents from coarse to fine, such as `4x4:5 8x8:10`.
        base_channels: at the image's own scale; each halving doubles them.
        latents: channels of each group.
        cells: residual cells of each group.
        expansion: of the channels within a cell of the top-down network.
        flows: normalising flows of each group's posterior.
    """

    network: str = "nvae"
    channels: int = 1
    height: int = 28
    width: int = 28
    likelihood: str = "bernoulli"
    ladder: str = "4x4:5 8x8:10"
    base_channels: int = 32
    latents: int = 20
    cells: int = 1
    expansion: int = 6
    flows: int = 0

    def __post_init__(self) -> None:
        if self.network != "nvae":
            unknown("network of a hierarchy", self.network, ("nvae",))
        _check_likelihood(self.likelihood, self.channels)

    @property
    def shape(self) -> mlp.Shape:
        """(C, H, W) of the images."""
        return self.channels, self.height, self.width

    def build(self, seed: int = 0) -> VAE:
        """The model with fresh weights, which are a function of `seed` alone.

        Raises:
            InputError: the ladder does not fit the images, or a number is too small.
        """
        fields = {name: value for name, value in asdict(self).items() if name != "network"}
        return build_nvae(**fields, seed=seed)


AnyImageModel = ImageModel | NVAEModel


def image_model(described: dict[str, object]) -> type[ImageModel] | type[NVAEModel]:
    """Which settings a description with a `network` is one of."""
    return NVAEModel if described["network"] == "nvae" else ImageModel
