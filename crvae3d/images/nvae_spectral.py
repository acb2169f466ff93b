"""Spectral regularisation: keep the Lipschitz constants of deep stacks of convolutions small, so that KL stays bounded.

    penalty = sum_i s_i + sum_j max |gamma_j|,    s_i the largest singular value of convolution i, gamma_j the scales of
                                                  batch norm j

Vahdat and Kautz, NVAE, 2020, section 3.2; the largest singular value by power iteration, as Yoshida and Miyato, Spectral
Norm Regularization, 2017, and Miyato and others, Spectral Normalization, 2018. The weight of the penalty is the caller's.
"""

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
        if not depthwise:
            self.register_buffer("right", normalize(torch.randn(self.weight[0].numel()), dim=0))
            self._iterate(ITERATIONS_AT_START)

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
        if self.groups > 1:
            return self.weight.flatten(1).norm(dim=1).max()
        left = self._iterate(1)
        return left @ self.weight.flatten(1) @ self.right.clone()

    @torch.no_grad()
    def _iterate(self, times: int) -> Tensor:
        matrix = self.weight.flatten(1)
        for _ in range(times):
            left = normalize(matrix @ self.right, dim=0)
            self.right.copy_(normalize(matrix.mT @ left, dim=0))
        return left


def spectral_penalty(module: nn.Module) -> Tensor:
    """The sum of the spectral norms of all `Conv` in a module, and of the largest scale of each batch norm: ().

    The masked kernels of flows are not counted.
    """
    parts = [inner.spectral_norm() for inner in module.modules() if isinstance(inner, Conv)]
    norms = [inner for inner in module.modules() if isinstance(inner, nn.BatchNorm2d) and inner.affine]
    parts += [norm.weight.abs().max() for norm in norms]
    return torch.stack(parts).sum()
