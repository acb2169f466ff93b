"""The residual cells that NVAE is made of: maps (B, C, H, W) to maps, at the same scale, half of it or twice.

Vahdat and Kautz, NVAE, 2020, figure 3: the encoder's cell convolves in full, the generator's widens the channels and
convolves each with a large kernel of its own (as Sandler and others, MobileNetV2, 2018). Both end in squeeze and
excitation (Hu and others, 2018).
"""

from torch import Tensor, nn

from crvae3d.images.nvae_spectral import Conv

SQUEEZE = 16


class Excitation(nn.Module):
    """Squeeze and excitation: each channel is weighed by a gate in (0, 1), made of the means of all channels.

    The few units between are swish, not the ReLU of Hu and others: all of them can be dead at once.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // SQUEEZE, 4)
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3)))[..., None, None]


def bottom_up_cell(before: int, after: int, halve: bool = False) -> nn.Module:
    """Two convolutions of an encoder, each after batch norm and swish; with `halve` the height and width are halved."""
    stride = 2 if halve else 1
    inner = nn.Sequential(
        *(nn.BatchNorm2d(before), nn.SiLU(), Conv(before, after, stride=stride, bias=False)),
        *(nn.BatchNorm2d(after), nn.SiLU(), Conv(after, after)),
        Excitation(after),
    )
    same = before == after and not halve
    return Residual(inner, nn.Identity() if same else Conv(before, after, 1, stride))


def top_down_cell(before: int, after: int, expansion: int = 6, double: bool = False) -> nn.Module:
    """A generator's cell: widen by `expansion`, convolve depthwise 5 x 5, narrow; with `double` at twice the scale.

    The first batch norm has no scale and shift: through the linear layer they would be those of the second.
    """
    wide = expansion * before
    larger = [nn.Upsample(scale_factor=2)] if double else []
    inner = nn.Sequential(
        *(*larger, nn.BatchNorm2d(before, affine=False), Conv(before, wide, 1, bias=False)),
        *(nn.BatchNorm2d(wide), nn.SiLU(), Conv(wide, wide, 5, depthwise=True, bias=False)),
        *(nn.BatchNorm2d(wide), nn.SiLU(), Conv(wide, after, 1, bias=False)),
        *(nn.BatchNorm2d(after), Excitation(after)),
    )
    same = before == after and not double
    return Residual(inner, nn.Identity() if same else nn.Sequential(Conv(before, after, 1), *larger))


class Residual(nn.Module):
    """inner(x) + skip(x)."""

    def __init__(self, inner: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.inner, self.skip = inner, skip

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.skip(x)


def soft_clamp(x: Tensor, bound: float = 5.0) -> Tensor:
    """Smoothly into (-bound, bound), the identity near nought: for means and log deviations, which may not run away.

    >>> soft_clamp(Tensor([0.0, 0.1, 1e9]))
    tensor([0.0000, 0.1000, 5.0000])
    """
    return bound * (x / bound).tanh()
