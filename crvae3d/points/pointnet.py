"""PointNet as an encoder: one small network shared by all points, a maximum over them, a Gaussian posterior.

Qi, Su, Mo and Guibas, PointNet, CVPR 2017. The maximum makes the code invariant to the order of the points; padding is
left out before the network, so that it reaches neither the maximum nor a batch norm's statistics.
"""

import torch
from torch import Tensor, nn

from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import unknown
from crvae3d.points.batch import dense

NORMS = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "none": lambda width: nn.Identity()}


class PointNet(nn.Module):
    """Encode a batch of clouds into Gaussian posteriors.

    Args:
        code_size: D.
        widths: of the shared network; the last is the number F of pooled features.
        norm: after each shared layer but the last, of the pooled features and after each layer of the head: a name in
            `NORMS`.
        input_transform: learn a 3 x 3 matrix that is applied to each cloud first (the paper's T-Net), identity at start.
        log_variance: of the posterior at the start of the training.
        head_widths: of the layers between the pooled features and the posterior; none for a linear posterior.
    """

    def __init__(
        self,
        code_size: int = 512,
        widths: tuple[int, ...] = (64, 128, 512),
        norm: str = "layer",
        input_transform: bool = False,
        log_variance: float = -4.0,
        head_widths: tuple[int, ...] = (512, 512),
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            unknown("norm", norm, NORMS)
        self.code_size = code_size
        self.align = InputTransform(norm) if input_transform else None
        self.shared = SharedNetwork(widths, norm)
        self.between = nn.Sequential()
        if head_widths:
            self.between = nn.Sequential(NORMS[norm](widths[-1]), layers(widths[-1], head_widths, norm))
        self.head = nn.Linear((widths[-1], *head_widths)[-1], 2 * code_size)
        with torch.no_grad():
            self.head.weight[code_size:] *= 0.1
            self.head.bias[code_size:] = log_variance

    def forward(self, x: object) -> DiagonalGaussian:
        """The posterior of each cloud: batch shape (B,), event shape (D,)."""
        return self.posterior(self.pool(x))

    def posterior(self, pooled: Tensor) -> DiagonalGaussian:
        """The posterior of each cloud from its pooled features (B, F)."""
        mean, log_variance = self.head(self.between(pooled)).float().chunk(2, dim=-1)
        return DiagonalGaussian(mean, log_variance)

    def pool(self, x: object) -> Tensor:
        """The features before the head, (B, F): the maximum over the points of each cloud."""
        points, mask = dense(x)
        if self.align is not None:
            points = points @ self.align(points, mask)
        return self.shared(points, mask)


def layers(size: int, widths: tuple[int, ...], norm: str) -> nn.Sequential:
    """Linear layers from `size` numbers to widths[-1], each with its norm and a ReLU; nothing where there are no widths."""
    found: list[nn.Module] = []
    for before, width in zip((size, *widths), widths, strict=False):
        found += [nn.Linear(before, width), NORMS[norm](width), nn.ReLU()]
    return nn.Sequential(*found)


class SharedNetwork(nn.Module):
    """The same layers for every point, then the maximum over each cloud: (B, N, 3) to (B, widths[-1])."""

    def __init__(self, widths: tuple[int, ...], norm: str) -> None:
        super().__init__()
        *hidden, last = widths
        self.layers = layers(3, tuple(hidden), norm)
        self.last = nn.Linear((3, *hidden)[-1], last)

    def forward(self, points: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            features = self.layers(points.flatten(0, 1)).unflatten(0, points.shape[:2])
            return _LinearMax.apply(features, self.last.weight, self.last.bias)
        packed = self.last(self.layers(points[mask]))
        padded = packed.new_full((*mask.shape, packed.shape[-1]), -torch.inf)
        return padded.masked_scatter(mask[..., None], packed).amax(1)


class _LinearMax(torch.autograd.Function):
    """`linear(x).max over points`. Its gradient reaches one point a feature, so the backward needs no dense product."""

    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        value, winner = nn.functional.linear(x, weight).max(dim=1)
        ctx.save_for_backward(x, weight, winner)
        return value + bias

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, winner = ctx.saved_tensors
        grad = grad.to(x.dtype)
        batch, size, width = x.shape
        rows = (winner + size * torch.arange(batch, device=x.device)[:, None]).flatten()
        winners = x.reshape(-1, width)[rows].view(*winner.shape, width)
        grad_weight = torch.einsum("bf,bfc->fc", grad, winners)
        grad_x = torch.zeros_like(x).view(-1, width)
        grad_x.index_add_(0, rows, (grad[..., None] * weight.to(x.dtype)).view(-1, width))
        return grad_x.view_as(x), grad_weight.to(weight.dtype), grad.sum(0)


class InputTransform(nn.Module):
    """The T-Net: a 3 x 3 matrix a cloud, (B, 3, 3), the identity until something is learnt."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.shared = SharedNetwork((32, 64, 128), norm)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 9))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, points: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.eye(3, device=points.device) + self.head(self.shared(points, mask)).view(-1, 3, 3)
