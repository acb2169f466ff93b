"""Flows that widen the family of a group's posterior: inverse autoregressive, and preserving volumes.

    z = u + shift(u; h),    u ~ N(mu, sigma),    shift_i a function of u_<i alone

so that log q(z) = log N(u). Kingma and others, Improved Variational Inference with Inverse Autoregressive Flow, 2016; in
NVAE: Vahdat and Kautz, 2020, section 3.2. The shift is made of masked convolutions (van den Oord and others, Pixel
Recurrent Neural Networks, 2016). It looks at the state h, which two posteriors that are compared share, and never at x:
so both have the same flow, under which KL does not change, and consistency stays the KL of two Gaussians.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Transform, TransformedDistribution, constraints
from torch.nn.functional import conv2d, elu

from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.images.nvae_spectral import Conv

WIDENING = 6


class MaskedConv(nn.Conv2d):
    """A 3 x 3 convolution that looks back only: at rows above, at what is left, and at lower channels of its own place.

    Args:
        before, after: channels, each a multiple of `latents`; channel c belongs to latent c // (channels / latents).
        latents: how many are in order at one place.
        strict: do not look at the own latent either.
    """

    def __init__(self, before: int, after: int, latents: int, strict: bool) -> None:
        super().__init__(before, after, 3, padding=1)
        mask = torch.zeros_like(self.weight)
        mask[:, :, 0] = 1
        mask[:, :, 1, 0] = 1
        of_input = torch.arange(before) // (before // latents)
        of_output = torch.arange(after)[:, None] // (after // latents)
        mask[:, :, 1, 1] = (of_input < of_output if strict else of_input <= of_output).float()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight * self.mask, self.bias, padding=1)


class Shift(nn.Module):
    """shift(u; h): maps (N, latents, H, W), each number a function of those before it and of the state (N, C, H, W).

    Args:
        latents: channels of the group.
        state: channels C of the state.
        backwards: the order of the numbers is reversed, as every second flow's should be.
    """

    def __init__(self, latents: int, state: int, backwards: bool) -> None:
        super().__init__()
        hidden = WIDENING * latents
        self.backwards = backwards
        self.first = MaskedConv(latents, hidden, latents, strict=True)
        self.context = Conv(state, hidden, 1)
        self.second = MaskedConv(hidden, latents, latents, strict=False)

    def forward(self, latents: Tensor, state: Tensor) -> Tensor:
        turned = latents.flip(1, 2, 3) if self.backwards else latents
        context = self.context(state)
        hidden = self.first(turned) + (context.flip(2, 3) if self.backwards else context)
        shift = self.second(elu(hidden))
        return shift.flip(1, 2, 3) if self.backwards else shift


class Flow(Transform):
    """u to u + shift(u; state) over flat groups (N, d), and back. The last pair is kept, so that a sample costs no way back.

    Args:
        shift: a network, autoregressive.
        state: what it is told.
        shape: (C, H, W) of a group.
    """

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, shift: nn.Module, state: Tensor, shape: tuple[int, int, int]) -> None:
        super().__init__(cache_size=1)
        self.shift, self.state, self.shape = shift, state, shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self.shift is other.shift and self.state is other.state

    def _shift(self, u: Tensor) -> Tensor:
        latents = u.to(self.state.dtype).unflatten(-1, self.shape)
        return self.shift(latents, self.state).flatten(1).to(u.dtype)

    def _call(self, u: Tensor) -> Tensor:
        return u + self._shift(u)

    def _inverse(self, z: Tensor) -> Tensor:
        """Number by number in their order: each step makes at least one more exact, and it ends when nothing changes."""
        u = z
        for _ in range(z.shape[-1]):
            before, u = u, z - self._shift(u)
            if torch.equal(before, u):
                break
        return u

    def log_abs_det_jacobian(self, u: Tensor, z: Tensor) -> Tensor:
        return torch.zeros_like(u[..., 0])


class Flowed(TransformedDistribution):
    """A Gaussian moved by flows. KL to another under the same flows is that of the Gaussians; torch knows no other.

    Args:
        gaussian: (N, d).
        flows: in the order in which they are applied.
    """

    def __init__(self, gaussian: DiagonalGaussian, flows: list[Flow]) -> None:
        super().__init__(gaussian, flows, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Where the Gaussian's mean goes: the mode, for volumes are preserved. The mean itself has no closed form."""
        found = self.base_dist.mean
        for flow in self.transforms:
            found = flow(found)
        return found

    @property
    def stddev(self) -> Tensor:
        """That of the Gaussian."""
        return self.base_dist.stddev
