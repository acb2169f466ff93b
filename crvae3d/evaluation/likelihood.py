"""The log-likelihood of shapes that were not trained on, by importance sampling.

    log p(x) ~ log 1/K sum_k w_k,     w_k = p(x|z_k) p(z_k) / q(z_k|x),     z_k ~ q(z|x)

Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016. In expectation it is a lower bound for every K:
the ELBO for K = 1, and the evidence itself in the limit, from below. How far it is from the limit the weights tell: their
effective sample size (sum_k w_k)^2 / sum_k w_k^2 is K where q(z|x) is the exact posterior, and about 1 where one sample
outweighs the rest, so that the bound is a loose one. Many dimensions of the code make the latter likely.

It is the logarithm of a density: it may be positive, and it depends on the unit of length.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from crvae3d.core.hierarchy import Chain, Path
from crvae3d.errors import InputError
from crvae3d.evaluation.frozen import Shapes, batches, frozen, seed_of, shown, take


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """What importance sampling says of `S` shapes.

    Attributes:
        bounds: by K, (S,) lower bounds on log p(x) with K samples, nats per shape. They are means over disjoint groups of K
            of the same weights, so that each is an unbiased estimate of its bound; where each K divides the next, none
            exceeds a larger K's.
        effective: (S,) the effective sample size of all weights, from 1 to the largest K.
        points: (S,) the number of points of each shape.
    """

    bounds: dict[int, np.ndarray]
    effective: np.ndarray
    points: np.ndarray

    @property
    def per_shape(self) -> dict[int, float]:
        """By K, the mean over shapes in nats per shape."""
        return {samples: float(bound.mean()) for samples, bound in self.bounds.items()}

    @property
    def per_point(self) -> dict[int, float]:
        """By K, the mean over shapes in nats per point."""
        return {samples: float((bound / self.points).mean()) for samples, bound in self.bounds.items()}

    @property
    def effective_samples(self) -> float:
        """The mean over shapes of the effective sample size: near 1, the bounds say little about the evidence."""
        return float(self.effective.mean())


def log_likelihood(
    model: nn.Module,
    clouds: Shapes,
    samples: Sequence[int] = (10, 100, 1000),
    seed: int = 0,
    batch_size: int = 128,
    progress: bool = True,
    what: str = "log-likelihood",
) -> LogLikelihood:
    """Bound log p(x) of clouds by importance sampling, with a model held still.

    The largest K is sampled once, and the smaller ones are made of the same weights. The samples of a shape depend on the
    seed and the shape's place alone, so that the other shapes do not change them, nor, but for hierarchical posteriors, the
    size of the batches.

    Args:
        model: with `encoder(x)`, `decoder(codes)` and `prior`, as a `VAE` has them.
        clouds: (S, N, 3).
        samples: the numbers K.
        seed: of the samples.
        batch_size: samples of a shape decoded at once, which bounds the memory.
        progress: whether to show it.
        what: how the progress is called.

    Raises:
        InputError: there are no clouds, a number is below 1, or p(x|z) is no normalised density.
    """
    if not samples or min(samples) < 1 or batch_size < 1:
        raise InputError(
            f"samples and batch_size must be 1 or more, got {tuple(samples)} and {batch_size}; the paper takes 5000 samples"
        )
    largest, weights, points = max(samples), [], []
    with frozen(model) as device:
        each = batches(clouds, 1)
        _refuse_energies(model.decoder(model.encoder(take(clouds, each[0]).to(device)).mean))
        for places in shown(each, what, progress):
            x = take(clouds, places).to(device)
            weights.append(_log_weights(model, x, largest, seed_of(seed, places[0]), batch_size).cpu())
            points.append(x.shape[1])
    log_weights = torch.stack(weights)
    bounds = {count: _bound(log_weights, count).numpy() for count in sorted(set(samples))}
    return LogLikelihood(bounds, effective_sample_size(log_weights).numpy(), np.array(points))


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """(sum_k w_k)^2 / sum_k w_k^2 of the logarithms of weights (..., K): from 1 to K, (...,).

    >>> effective_sample_size(torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, -99.0, -99.0, -99.0]]))
    tensor([4., 1.])
    """
    return (2 * log_weights.logsumexp(-1) - (2 * log_weights).logsumexp(-1)).exp()


def _bound(log_weights: Tensor, count: int) -> Tensor:
    """The mean over disjoint groups of `count` weights of the logarithm of their mean: (S, K) to (S,)."""
    groups = log_weights.shape[1] // count
    grouped = log_weights[:, : groups * count].unflatten(1, (groups, count))
    return grouped.logsumexp(-1).mean(-1) - math.log(count)


def _log_weights(model: nn.Module, x: Tensor, count: int, state: int, at_once: int) -> Tensor:
    """The logarithms of w_k of one shape (1, ...), (K,) in double precision."""
    posterior, found = model.encoder(x), []
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        torch.manual_seed(state)
        for codes in _drawn(posterior, count, at_once):
            precise = codes.double() if isinstance(codes, Tensor) else codes
            log_ratio = model.prior.log_prob(precise) - posterior.log_prob(precise)
            found.append((model.decoder(codes).log_prob(x).double() + log_ratio.double())[:, 0])
    return torch.cat(found)


def _drawn(posterior: Distribution, count: int, at_once: int) -> Iterator[Tensor | Path]:
    """Samples of the posterior of one shape, in parts. Plain codes are drawn together, so that the parts change no number."""
    if isinstance(posterior, Chain):
        for start in range(0, count, at_once):
            yield posterior.rsample(torch.Size([min(at_once, count - start)]))
    else:
        yield from posterior.rsample(torch.Size([count])).split(at_once)


def _refuse_energies(likelihood: Distribution) -> None:
    """A likelihood that says it is no density has no log-likelihood; torch's own distributions are densities."""
    if not getattr(likelihood, "normalised", True):
        raise InputError(
            f"a log-likelihood needs a normalised density p(x|z), and {type(likelihood).__name__} is an energy: train the "
            "mixture model instead (crvae3d train --model folding-mixture)"
        )
