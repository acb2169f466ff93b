"""PointNet as an encoder: one small network shared by all points, a maximum over them, a Gaussian posterior.

Qi, Su, Mo and Guibas, PointNet, CVPR 2017. The maximum makes the code invariant to the order of the points; padding
reaches neither the maximum nor a batch norm's statistics.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.errors import unknown
from crvae3d.points.batch import blocks, dense
from crvae3d.points.gradients import first_derivative
from crvae3d.points.neighbourhoods import MOMENTS, draw, moments

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
        neighbourhoods: S, how many neighbourhoods of each point stand beside its coordinates; 0 for the plain PointNet.
    """

    def __init__(
        self,
        code_size: int = 512,
        widths: tuple[int, ...] = (64, 128, 512),
        norm: str = "layer",
        input_transform: bool = False,
        log_variance: float = -4.0,
        head_widths: tuple[int, ...] = (512, 512),
        neighbourhoods: int = 0,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            unknown("norm", norm, NORMS)
        self.code_size, self.neighbourhoods = code_size, neighbourhoods
        self.align = InputTransform(norm) if input_transform else None
        self.shared = SharedNetwork(widths, norm, 3 + MOMENTS * neighbourhoods)
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
        found = self.head(self.between(pooled))
        mean, log_variance = found.to(torch.promote_types(found.dtype, torch.float32)).chunk(2, dim=-1)
        return DiagonalGaussian(mean, log_variance)

    def pool(self, x: object) -> Tensor:
        """The features before the head, (B, F): the maximum over the points of each cloud."""
        points, mask = dense(x)
        points = points.to(next(self.parameters()).dtype)
        drawn = draw(points, mask) if self.neighbourhoods else None
        if self.align is not None:
            turn = self.align(points, mask)
            with torch.autocast(points.device.type, enabled=False):  # as exact as coordinates that are not turned
                points = points @ turn
        return self.shared(self.read(points, mask, drawn), mask)

    def read(self, points: Tensor, mask: Tensor | None = None, drawn: Tensor | None = None) -> Tensor:
        """What the shared network reads of each point (B, N, 3 + 9 S): where it is, and what lies around it.

        `drawn` are places of the points that stand for all of a large cloud, None for all.
        """
        if not self.neighbourhoods:
            return points
        return torch.cat([points, moments(points, self.neighbourhoods, mask, drawn)], -1)


def layers(size: int, widths: tuple[int, ...], norm: str) -> nn.Sequential:
    """Linear layers from `size` numbers to widths[-1], each with its norm and a ReLU; nothing where there are no widths."""
    found: list[nn.Module] = []
    for before, width in zip((size, *widths), widths, strict=False):
        found += [nn.Linear(before, width), NORMS[norm](width), nn.ReLU()]
    return nn.Sequential(*found)


class SharedNetwork(nn.Module):
    """The same layers for every point, then the maximum over each cloud: (B, N, size) to (B, widths[-1])."""

    def __init__(self, widths: tuple[int, ...], norm: str, size: int = 3) -> None:
        super().__init__()
        *hidden, last = widths
        self.layers = layers(size, tuple(hidden), norm)
        self.last = nn.Linear((size, *hidden)[-1], last)

    def forward(self, points: Tensor, mask: Tensor | None = None) -> Tensor:
        """`last(layers(points)).amax(1)`, of the points that exist.

        Which point wins a feature is found without gradient. Winners, a few points of each cloud, go through the layers
        once more, and they alone are differentiated: the gradient reaches no other point, but through a batch norm
        in training, which therefore takes the plain way. So does a GPU, where products cost less than finding their way
        around them.
        """
        if self.training and any(isinstance(layer, nn.BatchNorm1d) for layer in self.layers):
            return self._of_all(points, mask)  # its statistics are those of all points, and so is its gradient
        if points.is_cuda and torch.is_grad_enabled():
            return self._plain(points, mask)
        with without_gradient(points.device.type):
            value, winner = self._winners(points, mask)
        if not torch.is_grad_enabled():
            return value + self.last.bias
        first = points.shape[1] * torch.arange(len(points), device=points.device)[:, None]
        rows, place = distinct(winner + first, size=len(points) * points.shape[1])
        won = self.layers(points.flatten(0, 1).index_select(0, rows))
        return _LinearAtWinners.apply(won, place, value, self.last.weight, self.last.bias)

    def _plain(self, points: Tensor, mask: Tensor | None) -> Tensor:
        """As it is written, padded points and all."""
        features = self.last(self.layers(points.flatten(0, 1))).unflatten(0, points.shape[:2])
        if mask is not None:
            features = features.masked_fill(~mask[..., None], -torch.inf)
        return features.max(1).values  # unlike `amax` it gives all of the gradient to one of several equal points

    def _of_all(self, points: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return self._plain(points, mask)
        packed = self.last(self.layers(points[mask]))
        padded = packed.new_full((*mask.shape, packed.shape[-1]), -torch.inf)
        return padded.masked_scatter(mask[..., None], packed).amax(1)

    def _winners(self, points: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each cloud's largest features before the bias (B, F), and the points (B, F) that have them."""
        found: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for shapes, part in blocks(points, self.last.out_features):
            block = points[shapes, part]
            features = nn.functional.linear(self.layers(block.flatten(0, 1)), self.last.weight)
            features = features.unflatten(0, block.shape[:2])
            if mask is not None:
                features = features.masked_fill(~mask[shapes, part, None], -torch.inf)
            value, winner = largest(features)
            found.setdefault(shapes.start, []).append((value, winner + part.start))
        best = [_best(*map(torch.stack, zip(*parts, strict=True))) for parts in found.values()]
        return tuple(map(torch.cat, zip(*best, strict=True)))


@contextmanager
def without_gradient(device: str) -> Iterator[None]:
    """No gradients, nor the weights that autocast would keep in its cache without theirs for whoever comes next."""
    mixed = {"enabled": torch.is_autocast_enabled(device), "dtype": torch.get_autocast_dtype(device)}
    with torch.no_grad(), torch.autocast(device, **mixed, cache_enabled=False):
        yield


def distinct(rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """`rows.unique(return_inverse=True)` of numbers below `size`, without sorting them."""
    named = torch.zeros(size, dtype=torch.bool, device=rows.device)
    named[rows.flatten()] = True
    return named.nonzero()[:, 0], (named.cumsum(0) - 1)[rows]


def largest(features: Tensor, group: int = 32) -> tuple[Tensor, Tensor]:
    """`features.max(1)` of (B, N, F), values and indices: first of groups of points, which is what a CPU does fast."""
    groups, rest = divmod(features.shape[1], group)
    if groups < 2 or rest:
        return features.max(1)
    value, winner = features.unflatten(1, (groups, group)).amax(2).max(1)
    inside = torch.arange(group, device=features.device)[:, None]
    same = features.gather(1, inside + group * winner[:, None]) == value[:, None]
    first = torch.where(same, inside.to(value), group - 1).amin(1)  # in the features' type: a fast minimum
    return value, first.long() + group * winner


def _best(values: Tensor, winners: Tensor) -> tuple[Tensor, Tensor]:
    """Of the parts (P, B, F) of the same clouds the largest values, and their winners."""
    if len(values) == 1:
        return values[0], winners[0]
    value, part = values.max(0)
    return value, winners.gather(0, part[None])[0]


class _LinearAtWinners(torch.autograd.Function):
    """`linear(features)[place]` of one row a shape and feature, whose value is known already.

    Args:
        features: (R, C) of the rows that win something.
        place: (B, F) the row that wins feature f of shape b.
        value: (B, F) what it has there, before the bias.
    """

    @staticmethod
    def forward(ctx: object, features: Tensor, place: Tensor, value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(features, place, weight)
        return value + bias

    @staticmethod
    @first_derivative
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, place, weight = ctx.saved_tensors
        column = torch.arange(len(weight), device=grad.device).expand_as(place)
        where = torch.stack([place.flatten(), column.flatten()])
        size = len(features), len(weight)
        kind = torch.promote_types(weight.dtype, torch.float32)
        sparse = torch.sparse_coo_tensor(where, grad.flatten().to(kind), size, check_invariants=False)
        return sparse @ weight.to(kind), None, None, sparse.t() @ features.to(kind), grad.sum(0)


class InputTransform(nn.Module):
    """The T-Net: a 3 x 3 matrix a cloud, (B, 3, 3), the identity until something is learnt."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.shared = SharedNetwork((32, 64, 128), norm)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 9))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, points: Tensor, mask: Tensor | None = None) -> Tensor:
        same = torch.eye(3, dtype=points.dtype, device=points.device)
        return same + self.head(self.shared(points, mask)).view(-1, 3, 3)
