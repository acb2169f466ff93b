"""NVAE: a deep hierarchical variational auto-encoder of images, with residual posteriors.

    q(z_l|z_<l, x) = N( mu + dmu, sigma dsigma )    where the prior is  p(z_l|z_<l) = N( mu, sigma )

dmu and dsigma are functions of x and of the state h_l; where they say nothing the posterior is the prior, exactly. Vahdat and
Kautz, NVAE: A Deep Hierarchical Variational Autoencoder, 2020, written from the paper. A bottom-up encoder reads x from
fine to coarse; the top-down network, `TopDown`, is the walk that posterior and prior share.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import pad

from crvae3d.core.hierarchy import Chain, Path, follow
from crvae3d.core.model import VAE
from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import InputError, unknown
from crvae3d.images.cells import bottom_up_cell, top_down_cell
from crvae3d.images.flows import Flow, Flowed, Shift
from crvae3d.images.ladder import Ladder
from crvae3d.images.likelihoods import LIKELIHOODS
from crvae3d.images.mlp import Shape, checked
from crvae3d.images.nvae_spectral import Conv, spectral_penalty
from crvae3d.images.nvae_topdown import TopDown, gaussian


class NVAEEncoder(nn.Module):
    """Encode a batch of images into hierarchical posteriors.

    The top-down network belongs to the decoder. The encoder refers to it without registering it, so that its weights are
    in the model, and in a file of its weights, once; move and copy the model as a whole.

    Args:
        shape: (C, H, W) of the images.
        topdown: the walk.
        ladder: its scales.
        widths: channels of the maps after the stem and after each halving, the coarsest last.
        cells: residual cells of each group.
        flows: normalising flows of each group's posterior.
    """

    def __init__(
        self, shape: Shape, topdown: TopDown, ladder: Ladder, widths: tuple[int, ...], cells: int = 1, flows: int = 0
    ) -> None:
        super().__init__()
        self.__dict__["topdown"] = topdown  # past nn.Module, which would register it a second time
        self.shape, self.code_size = tuple(shape), sum(topdown.sizes)
        self.margins = margins(shape, ladder)
        finest = len(widths) - len(ladder.scales)
        self.stem = nn.Sequential(Conv(shape[0], widths[0]), *_halvings(widths[: finest + 1], cells))
        of_level = [widths[-1 - scale] for scale in ladder.levels]
        finer = [*of_level[1:], of_level[-1]]  # what comes up to a level from the one below it
        pairs = list(zip(finer, of_level, strict=True))
        self.tower = nn.ModuleList(_group(before, after, cells) for before, after in pairs)
        self.states = nn.ModuleList(Conv(width, width, 1) for width in of_level)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.ELU(), Conv(width, 2 * latents))
            for width, (latents, *_) in zip(of_level, topdown.shapes, strict=True)
        )
        self.flows = nn.ModuleList(
            nn.ModuleList(Shift(latents, width, backwards=bool(index % 2)) for index in range(flows))
            for width, (latents, *_) in zip(of_level, topdown.shapes, strict=True)
        )

    def forward(self, x: Tensor) -> Chain:
        """The posterior of each image (B, C, H, W): batch shape (B,), event shape (D,)."""
        return self.posterior(self.features(x))

    def features(self, x: Tensor) -> list[Tensor]:
        """What the bottom-up network says to each level of the ladder, (B, width, height, width of the scale) each.

        Raises:
            InputError: x is no batch of floats of the encoder's shape.
        """
        x = checked(x, self.shape).to(next(self.stem.parameters()).dtype)
        found = [self.stem(2 * pad(x, self.margins) - 1)]
        for cells in reversed(self.tower):
            found.append(cells(found[-1]))
        return found[:0:-1]

    def posterior(self, features: list[Tensor]) -> Chain:
        """The posterior of each image from its features."""
        return Chain(self.topdown, partial(self.conditional, features), (len(features[0]),))

    def conditional(self, features: list[Tensor], level: int, state: Tensor) -> Distribution:
        """q(z_l|z_<l, x) for the features of B images and a state of (K B,), K outermost."""
        prior, own = self.topdown.conditional(level, state), features[level]
        told = self.states[level](state).unflatten(0, (len(state) // max(1, len(own)), len(own)))
        change = gaussian(self.heads[level]((told + own).flatten(0, 1)))
        posterior = DiagonalGaussian(prior.mean + change.mean, prior.log_variance + change.log_variance)
        flows = [Flow(shift, state, self.topdown.shapes[level]) for shift in self.flows[level]]
        return Flowed(posterior, flows) if flows else posterior

    def pool(self, x: Tensor) -> Tensor:
        """The pooled features of images, (B, F)."""
        return self.pooled(self.features(x))

    def pooled(self, features: list[Tensor]) -> Tensor:
        """The mean over places of the coarsest features, (B, F)."""
        return features[0].mean((2, 3))

    def penalty(self) -> Tensor:
        """Spectral norms and scales of the bottom-up network, (): see `nvae_spectral`."""
        return spectral_penalty(self)


class NVAEDecoder(nn.Module):
    """Decode a path, or codes that are walked first, into a likelihood of images.

    Args:
        shape: (C, H, W) of the images.
        head: maps output (..., head.outputs, H, W) to a distribution: made by an entry of `likelihoods.LIKELIHOODS`.
        topdown: the walk, whose weights live here.
        ladder: its scales.
        widths: channels from the image's scale to the ladder's finest.
        cells: residual cells of each scale above the ladder's.
        expansion: of the channels within a cell.
    """

    def __init__(
        self,
        shape: Shape,
        head: nn.Module,
        topdown: TopDown,
        ladder: Ladder,
        widths: tuple[int, ...],
        cells: int = 1,
        expansion: int = 6,
    ) -> None:
        super().__init__()
        self.topdown, self.head = topdown, head
        self.margins = margins(shape, ladder)
        rising: list[nn.Module] = []
        for after, before in reversed(list(zip(widths, widths[1:], strict=False))):
            rising += [top_down_cell(before, after, expansion, double=True)]
            rising += [top_down_cell(after, after, expansion) for _ in range(cells)]
        self.rise = nn.Sequential(*rising, nn.ELU(), Conv(widths[0], head.outputs))

    def forward(self, codes: Path | Tensor) -> Distribution:
        """The likelihood at a path, or at codes (..., D), of batch shape (...,)."""
        path = codes if isinstance(codes, Path) else follow(self.topdown, codes)
        output = pad(self.rise(path.states[-1]), [-margin for margin in self.margins])
        return self.head(output.reshape(*path.batch_shape, *output.shape[1:]))

    def penalty(self) -> Tensor:
        """Spectral norms and scales of the top-down network and of the decoder, (): see `nvae_spectral`."""
        return spectral_penalty(self)


def margins(shape: Shape, ladder: Ladder) -> tuple[int, int, int, int]:
    """What an image is padded by, on the left, the right, above and below: as the paper's 28 x 28 to 32 x 32.

    >>> margins((1, 28, 28), Ladder.parse("4x4:5 8x8:10"))
    (2, 2, 2, 2)
    """
    _, height, width = shape
    factor, finest = 2 ** ladder.halvings(height, width), ladder.scales[-1]
    across, down = finest.width * factor - width, finest.height * factor - height
    return across // 2, across - across // 2, down // 2, down - down // 2


def _halvings(widths: tuple[int, ...], cells: int) -> list[nn.Module]:
    """Bottom-up cells from the first width to the last, and a halving between two."""
    found: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        found += [bottom_up_cell(before, before) for _ in range(cells)]
        found += [bottom_up_cell(before, after, halve=True)]
    return found


def _group(before: int, after: int, cells: int) -> nn.Sequential:
    """The cells of a group; where it is the first of a coarser scale, a halving comes first."""
    first = [bottom_up_cell(before, after, halve=True)] if before != after else []
    return nn.Sequential(*first, *(bottom_up_cell(after, after) for _ in range(cells)))


def build_nvae(
    channels: int,
    height: int,
    width: int,
    ladder: str,
    base_channels: int = 32,
    latents: int = 20,
    likelihood: str = "bernoulli",
    cells: int = 1,
    expansion: int = 6,
    flows: int = 0,
    seed: int = 0,
) -> VAE:
    """An NVAE with fresh weights, which are a function of `seed` alone.

    Args:
        channels: C of the images.
        height: H of the images, in pixels.
        width: W of the images, in pixels.
        ladder: scales of latents from coarse to fine, such as `4x4:5 8x8:10`; see `Ladder`.
        base_channels: at the image's own scale; each halving doubles them.
        latents: channels of each group.
        likelihood: a name in `LIKELIHOODS`.
        cells: residual cells of each group.
        expansion: of the channels within a cell of the top-down network.
        flows: normalising flows of each group's posterior; with any, the rate is estimated from samples.
        seed: of the weights.

    Raises:
        InputError: a number is too small, a name unknown, or the ladder does not fit the images.
    """
    if likelihood not in LIKELIHOODS:
        unknown("likelihood", likelihood, LIKELIHOODS)
    numbers = dict(channels=channels, height=height, width=width, base_channels=base_channels, latents=latents)
    for name, number in (numbers | dict(cells=cells, expansion=expansion)).items():
        if number < 1:
            raise InputError(f"{name.replace('_', '-')} must be 1 or more, got {number}")
    if flows < 0:
        raise InputError(f"flows must be 0 or more, got {flows}; 0 leaves the posteriors Gaussian")
    rungs = Ladder.parse(ladder)
    halvings, scales = rungs.halvings(height, width), len(rungs.scales)
    widths = tuple(base_channels * 2**step for step in range(halvings + scales))
    shape = channels, height, width
    with torch.random.fork_rng([]):  # weights are drawn on the CPU
        torch.manual_seed(seed)
        topdown = TopDown(rungs, widths[::-1][:scales], latents, cells, expansion)
        encoder = NVAEEncoder(shape, topdown, rungs, widths, cells, flows)
        head = LIKELIHOODS[likelihood](channels)
        decoder = NVAEDecoder(shape, head, topdown, rungs, widths[: halvings + 1], cells, expansion)
    # Channels last in memory: a step of a small ladder takes about two thirds of the time on a CPU.
    parts = (part.to(memory_format=torch.channels_last) for part in (encoder, decoder))
    return VAE(*parts, topdown.prior())


NVAE_PRESETS: dict[str, dict[str, object]] = {
    "digits": dict(ladder="2x2:1 4x4:2", base_channels=12, latents=4, expansion=3),
    "mnist": dict(ladder="4x4:5 8x8:10", base_channels=32, latents=20),
    "cifar10": dict(ladder="16x16:30", base_channels=128, latents=20, cells=2, likelihood="logistic"),
    "celeba64": dict(ladder="8x8:5 16x16:10 32x32:20", base_channels=64, latents=20, cells=2, likelihood="logistic"),
}
"""Settings of `build_nvae` by dataset: `digits` for images of 8 x 8 in minutes on two cores; the others, for images of
28 x 28, 32 x 32 and 64 x 64, have the depth and width that the paper reports, without the flows that it adds to the last two."""
