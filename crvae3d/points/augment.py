"""Semantics-preserving transformations t(x) of clouds: PyG transforms which also take dense batches.

Called with a dense batch (B, N, 3), a `Ragged` or a PyG `Data`, a transformation draws anew for every shape, in the
precision of its input also under autocast. It keeps no state: the same generator gives the same views. Which of them
preserve the semantics depends on the dataset: on an aligned one the pose tells classes apart, and a rotation about the up
axis does cost accuracy.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from crvae3d.errors import InputError
from crvae3d.points.batch import Cloud, again, dense, graphs_of, like, to_pyg
from crvae3d.points.thinning import drop_highest, keep_lowest, padded_to


class CloudTransform(BaseTransform):
    """A transformation that warps a dense batch at once. Subclasses write `warp`."""

    def __call__(self, x: object, generator: torch.Generator | None = None) -> object:
        """Transform a batch.

        Args:
            x: a dense batch (B, N, 3), a `Ragged`, a list of clouds, or PyG data with `pos`.
            generator: where the randomness comes from, on any device; None for torch's global one.

        Returns:
            The same form (a list comes back as a `Ragged`); `pos` alone of PyG data is changed or thinned.
        """
        points, mask = dense(x)
        with torch.autocast(points.device.type, enabled=False):  # a rotation in half precision is not one
            points, mask = self.warp(points, mask, generator)
        return to_pyg(x, points, mask) if hasattr(x, "pos") else like(points, mask)

    def forward(self, data: object) -> object:
        return self(data)

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        """Transform points (B, N, 3) with a mask (B, N) or None, each shape by a draw of its own."""
        raise TypeError(f"{type(self).__name__} does not say how it warps: write `warp`")

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in shown.items())})"


def uniform(shape: Sequence[int], low: float, high: float, of: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers of [low, high), made where the generator is and moved to where `of` is."""
    device = of.device if generator is None else generator.device
    drawn = torch.rand(tuple(shape), generator=generator, device=device)
    return (low + (high - low) * drawn).to(of)


def normal(shape: Sequence[int], of: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers, likewise."""
    device = of.device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, device=device).to(of)


class Compose(CloudTransform):
    """Several transformations, one after the other: ours, any of PyG, and functions t(x, generator=...) of a batch."""

    def __init__(self, transforms: Sequence[Callable[..., object]]) -> None:
        self.transforms = [_ours(transform) for transform in transforms]

    def __call__(self, x: object, generator: torch.Generator | None = None) -> object:
        if not hasattr(x, "pos"):
            return super().__call__(x, generator)
        for transform in self.transforms:  # each knows what becomes of that which belongs to points
            x = transform(x, generator)
        return x

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        for transform in self.transforms:
            points, mask = transform.warp(points, mask, generator)
        return points, mask

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class Identity(CloudTransform):
    """Nothing."""

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        return points, mask


class Rotate(CloudTransform):
    """A rotation about one axis by an angle drawn evenly from [-degrees, degrees].

    Args:
        degrees: 180 for any angle.
        axis: a vector of three numbers, or "x", "y", "z"; up is z.
    """

    def __init__(self, degrees: float = 180.0, axis: str | Sequence[float] = "z") -> None:
        named = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
        direction = named.get(axis) if isinstance(axis, str) else tuple(float(part) for part in axis)
        if direction is None or len(direction) != 3 or not any(direction):
            raise InputError(f"axis must be x, y, z or three numbers that are not all nought, got {axis!r}")
        self.degrees = degrees
        self.axis = axis
        self._direction = direction

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        from roma import rotvec_to_rotmat

        axis = torch.nn.functional.normalize(torch.tensor(self._direction), dim=0).to(points)
        angle = uniform((len(points), 1), -1, 1, points, generator) * math.radians(self.degrees)
        return points @ rotvec_to_rotmat(angle * axis).mT, mask


class RotateSO3(CloudTransform):
    """A rotation drawn evenly from all of SO(3)."""

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        from roma import unitquat_to_rotmat

        # A normal vector's direction is uniform on the sphere, and unit quaternions cover SO(3) evenly.
        quaternion = torch.nn.functional.normalize(normal((len(points), 4), points, generator), dim=-1)
        return points @ unitquat_to_rotmat(quaternion).mT, mask


class Jitter(CloudTransform):
    """Gaussian noise on every coordinate, clipped at `clip`, both in units of the cloud (Qi and others, 2017)."""

    def __init__(self, sigma: float = 0.01, clip: float = 0.05) -> None:
        if sigma < 0 or clip < 0:
            raise InputError(f"sigma and clip must be nought or more, got {sigma} and {clip}")
        self.sigma = sigma
        self.clip = clip

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        noise = (self.sigma * normal(points.shape, points, generator)).clamp(-self.clip, self.clip)
        return points + noise, mask


class Scale(CloudTransform):
    """Scaling by a factor drawn evenly, on a logarithmic scale, from [low, high].

    Args:
        anisotropic: a factor of its own for each axis.
    """

    def __init__(self, low: float = 0.8, high: float = 1.25, anisotropic: bool = False) -> None:
        if not 0 < low <= high:
            raise InputError(f"scale factors must satisfy 0 < low <= high, got {low} and {high}")
        self.low = low
        self.high = high
        self.anisotropic = anisotropic

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        shape = (len(points), 1, 3 if self.anisotropic else 1)
        return points * uniform(shape, math.log(self.low), math.log(self.high), points, generator).exp(), mask


class Translate(CloudTransform):
    """A shift drawn evenly from [-distance, distance] for each axis, in units of the cloud."""

    def __init__(self, distance: float = 0.1) -> None:
        if distance < 0:
            raise InputError(f"distance must be nought or more, got {distance}")
        self.distance = distance

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        return points + uniform((len(points), 1, 3), -self.distance, self.distance, points, generator), mask


class Subset(CloudTransform):
    """A random subset of `points` points of every shape; shapes that have fewer keep all of theirs.

    Args:
        fewest: where given, how many points a whole batch keeps is drawn anew for it, evenly on a logarithmic scale from
            [fewest, points]. On a GPU the others become padding, and a `Ragged` comes back.
    """

    def __init__(self, points: int, fewest: int | None = None) -> None:
        if points < 1:
            raise InputError(f"points must be at least 1, got {points}")
        if fewest is not None and not 1 <= fewest <= points:
            raise InputError(f"fewest must lie in [1, points], got {fewest} of {points} points")
        self.points = points
        self.fewest = fewest

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        size = self.points
        if self.fewest is not None:
            drawn = uniform((), math.log(self.fewest), math.log(size), points, generator).exp().round()
            if points.is_cuda:
                return padded_to(drawn, points, mask, uniform(points.shape[:2], 0, 1, points, generator))
            size = int(drawn)
        if points.shape[1] <= size:
            return points, mask
        rank = uniform(points.shape[:2], 0, 1, points, generator)
        return keep_lowest(points, mask, rank, size)


class DropPoints(CloudTransform):
    """Every shape loses a share of its points, drawn evenly from [0, share]; the result is padded."""

    def __init__(self, share: float = 0.5) -> None:
        if not 0 <= share < 1:
            raise InputError(f"share must lie in [0, 1), got {share}; 0.5 drops up to half of the points")
        self.share = share

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        rank = uniform(points.shape[:2], 0, 1, points, generator)
        return drop_highest(points, mask, rank, uniform((len(points), 1), 0, self.share, points, generator))


class Crop(CloudTransform):
    """Every shape loses the points farthest along a random direction: a share drawn evenly from [0, share], padded."""

    def __init__(self, share: float = 0.3) -> None:
        if not 0 <= share < 1:
            raise InputError(f"share must lie in [0, 1), got {share}; 0.3 crops up to three tenths of the points")
        self.share = share

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        along = (points @ normal((len(points), 3, 1), points, generator))[..., 0]
        return drop_highest(points, mask, along, uniform((len(points), 1), 0, self.share, points, generator))


class FromPyG(CloudTransform):
    """Any PyG transform of `pos` as a t(x) of batches: shape by shape, seeded from the generator.

    `Compose` wraps those that it is given; alone, one is written `FromPyG(RandomFlip(0))`.
    """

    def __init__(self, transform: BaseTransform) -> None:
        self.transform = transform

    def __call__(self, x: object, generator: torch.Generator | None = None) -> object:
        """As of any transformation; whole graphs of PyG go through the transform as they are, with all that they hold."""
        graphs = graphs_of(x)
        if graphs is None:
            return super().__call__(x, generator)
        with _lent(generator):
            return again([self.transform(graph) for graph in graphs], x)

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        clouds = list(points) if mask is None else [cloud[there] for cloud, there in zip(points, mask, strict=True)]
        with _lent(generator):
            out = [self.transform(Data(pos=cloud)).pos for cloud in clouds]
        if len({len(cloud) for cloud in out}) == 1:
            return torch.stack(out), None
        return dense(out)

    def __repr__(self) -> str:
        return f"FromPyG({self.transform})"


class _Function(CloudTransform):
    """A function t(x, generator=...) of a batch among other transformations."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def warp(self, points: Tensor, mask: Tensor | None, generator: torch.Generator | None) -> Cloud:
        return dense(self.function(like(points, mask), generator=generator))


def _ours(transform: Callable[..., object]) -> CloudTransform:
    if isinstance(transform, CloudTransform):
        return transform
    return FromPyG(transform) if isinstance(transform, BaseTransform) else _Function(transform)


@contextmanager
def _lent(generator: torch.Generator | None) -> Iterator[None]:
    """Lend the global generators of Python, NumPy and torch, from which PyG draws, a seed; then put theirs back."""
    device = None if generator is None else generator.device
    seed = int(torch.randint(2**31, (), generator=generator, device=device))
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
            yield
    finally:
        random.setstate(states[0]), np.random.set_state(states[1])
