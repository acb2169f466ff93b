"""The top-down network of NVAE: the walk from group to group, and the prior's conditionals.

    h_1 = a learned constant,  h_{l+1} = cells( combine(h_l, z_l) ),  p(z_1) = N(0, 1),  p(z_l|z_<l) = N( mu(h_l), sigma(h_l) )

Vahdat and Kautz, NVAE, 2020, figure 2. Posterior and prior walk along this one network, and the decoder goes on from its
last state.
"""

import torch
from torch import Tensor, nn

from crvae3d.core.hierarchy import Chain, Walk
from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.images.cells import soft_clamp, top_down_cell
from crvae3d.images.ladder import Ladder
from crvae3d.images.likelihoods import precise
from crvae3d.images.nvae_spectral import Conv


class TopDown(nn.Module, Walk):
    """The walk of an NVAE. Its state is a map (N, C, H, W) at the scale of the group that comes next.

    Args:
        ladder: the scales of the groups.
        widths: channels C of the state at each scale of the ladder.
        latents: channels of each group.
        cells: residual cells between two groups.
        expansion: of the channels within a cell.
    """

    def __init__(
        self, ladder: Ladder, widths: tuple[int, ...], latents: int, cells: int = 1, expansion: int = 6
    ) -> None:
        super().__init__()
        levels = ladder.levels
        scales = [ladder.scales[scale] for scale in levels]
        self.shapes = tuple((latents, scale.height, scale.width) for scale in scales)
        self.sizes = tuple(latents * scale.height * scale.width for scale in scales)
        self.constant = nn.Parameter(torch.randn(widths[0], scales[0].height, scales[0].width))
        self.combine = nn.ModuleList(Conv(widths[scale] + latents, widths[scale], 1) for scale in levels)
        self.between = nn.ModuleList(
            _cells(widths[before], widths[after], cells, expansion, before != after)
            for before, after in zip(levels, levels[1:], strict=False)
        )
        self.heads = nn.ModuleList(nn.Sequential(nn.ELU(), Conv(widths[scale], 2 * latents, 1)) for scale in levels[1:])

    def start(self, count: int) -> Tensor:
        return self.constant.expand(count, -1, -1, -1)

    def advance(self, level: int, state: Tensor, group: Tensor) -> Tensor:
        latents = group.to(state.dtype).unflatten(-1, self.shapes[level])
        combined = self.combine[level](torch.cat([state, latents], dim=1))
        return combined if level == len(self.between) else self.between[level](combined)

    def conditional(self, level: int, state: Tensor) -> DiagonalGaussian:
        """p(z_l|z_<l), (N, sizes[level])."""
        if level == 0:
            nought = precise(state.new_zeros(len(state), self.sizes[0]))
            return DiagonalGaussian(nought, nought)
        return gaussian(self.heads[level - 1](state))

    @property
    def beyond_the_codes(self) -> nn.Module:
        """What the last group alone goes through: codes do not depend on it, only what is decoded of them."""
        return self.combine[-1]

    def prior(self) -> Chain:
        """p(z), of batch shape ()."""
        return Chain(self, self.conditional)


def _cells(before: int, after: int, cells: int, expansion: int, double: bool) -> nn.Sequential:
    """What lies between two groups; where the scale changes, a cell that doubles it comes first."""
    first = [top_down_cell(before, after, expansion, double=True)] if double else []
    return nn.Sequential(*first, *(top_down_cell(after, after, expansion) for _ in range(cells)))


def gaussian(parameters: Tensor) -> DiagonalGaussian:
    """Maps (N, 2 C, H, W), soft-clamped means and log deviations, as a Gaussian over (N, C H W)."""
    mean, log_stddev = soft_clamp(precise(parameters)).chunk(2, dim=1)
    return DiagonalGaussian(mean.flatten(1), 2 * log_stddev.flatten(1))
