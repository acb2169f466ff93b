"""Spectral regularisation: keep the Lipschitz constants of deep stacks of convolutions small, so that KL stays bounded.

    penalty = sum_i s_i + sum_j max |gamma_j|,    s_i the largest singular value of convolution i, gamma_j the scales of
                                                  batch norm j

Vahdat and Kautz, NVAE, 2020, section 3.2; the largest singular value by power iteration, as Yoshida and Miyato, Spectral
Norm Regularization, 2017, and Miyato and others, Spectral Normalization, 2018. The weight of the penalty is the caller's.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

ITERATIONS_AT_START = 10


class Conv(nn.Conv2d):
    """A convolution that keeps the height and the width, or halves them with stride 2, and knows its spectral norm.

    Args:
        before, after: channels.
        size: of the square kernel, odd.
        stride: 1 or 2.
        depthwise: each channel has a kernel of its own.
        bias: leave it out before a batch norm, whose own shift would make it one too many.
    """

    def __init__(
        self, before: int, after: int, size: int = 3, stride: int = 1, depthwise: bool = False, bias: bool = True
    ) -> None:
        super().__init__(before, after, size, stride, size // 2, groups=before if depthwise else 1, bias=bias)
        self.depthwise = depthwise
        if not depthwise:
            self.register_buffer("right", normalize(torch.randn(self.weight[0].numel()), dim=0))
            _iterate([self], _matrices([self]), ITERATIONS_AT_START)

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`. A kernel of one pixel with a stride is given the pixels that it sees: channels last, the
        backward step of torch 2.13 crashes there (batches of 3, two threads)."""
        if self.kernel_size == (1, 1) and self.stride != (1, 1):
            x = x[..., :: self.stride[0], :: self.stride[1]]
            return nn.functional.conv2d(x, self.weight, self.bias, groups=self.groups)
        return super().forward(x)

    def spectral_norm(self) -> Tensor:
        """The largest singular value of the kernel as a matrix (after, before size^2), differentiable.

        Each call refines it by one power iteration, which is enough while the weights change slowly. The matrix of
        depthwise kernels has one block a channel, so that its value is known at once.
        """
        return _norms([self])[0]


def spectral_penalty(module: nn.Module) -> Tensor:
    """The sum of the spectral norms of all `Conv` in a module, and of the largest scale of each batch norm: ().

    Layers of one shape are taken together: one by one they would be half of what a GPU is asked for in a step. The masked
    kernels of flows are not counted.
    """
    layers = list(module.modules())
    parts = [_norms(alike) for alike in _alike(layer for layer in layers if isinstance(layer, Conv))]
    norms = _alike(layer for layer in layers if isinstance(layer, nn.BatchNorm2d) and layer.affine)
    parts += [torch.stack([norm.weight for norm in alike]).abs().amax(1) for alike in norms]
    return torch.cat(parts).sum()


def _alike(layers: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """The layers whose weights have one shape, and are of one kind, together."""
    found: dict[tuple, list[nn.Module]] = {}
    for layer in layers:
        found.setdefault((layer.weight.shape, getattr(layer, "depthwise", False)), []).append(layer)
    return list(found.values())


def _matrices(alike: Sequence[Conv]) -> Tensor:
    """The kernels of N convolutions as matrices, (N, after, before size^2)."""
    return torch.stack([convolution.weight for convolution in alike]).flatten(2)


def _norms(alike: Sequence[Conv]) -> Tensor:
    """The spectral norms of N convolutions of one shape, (N,)."""
    matrices = _matrices(alike)
    if alike[0].depthwise:
        return matrices.norm(dim=2).amax(1)
    left, right = _iterate(alike, matrices, 1)
    return (left.mT @ matrices @ right).flatten()


@torch.no_grad()
def _iterate(alike: Sequence[Conv], matrices: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Power iterations of N matrices, kept in the layers: left and right vectors, (N, after, 1) and (N, before size^2, 1)."""
    right = torch.stack([convolution.right for convolution in alike])[..., None]
    for _ in range(times):
        left = normalize(matrices @ right, dim=1)
        right = normalize(matrices.mT @ left, dim=1)
    for convolution, own in zip(alike, right, strict=True):
        convolution.right.copy_(own[:, 0])
    return left, right
