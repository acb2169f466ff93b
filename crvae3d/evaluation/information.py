"""What the codes of a set of shapes carry: active units, the rate, and the information about which shape it is.

    rate = I(x; z) + KL( q(z) || p(z) ),     q(z) = 1/N sum_n q(z|x_n)

Hoffman and Johnson, ELBO surgery, 2016: the rate pays for telling shapes apart, and for codes that all together are not
distributed as the prior.
"""

import math

import numpy as np
from scipy.special import logsumexp

from crvae3d.errors import InputError

ACTIVE = 0.01
NUMBERS_AT_ONCE = 2**21


def active_units(means: np.ndarray, threshold: float = ACTIVE) -> int:
    """The dimensions of the code whose posterior mean differs between shapes.

    A unit u is active where Var_x( E_q(u|x)[u] ) > 0.01 (Burda, Grosse and Salakhutdinov, Importance Weighted
    Autoencoders, 2016).

    Args:
        means: (S, D) posterior means.
        threshold: of the variance over shapes.

    >>> active_units(np.array([[0.0, 1.0, 5.0], [0.0, 3.0, 5.1]]))
    1
    """
    return int((means.var(axis=0, dtype=np.float64) > threshold).sum())


def rate_per_dimension(means: np.ndarray, stddevs: np.ndarray) -> np.ndarray:
    """KL( q(z|x) || N(0, 1) ) of each dimension of the code, the mean over shapes, in nats.

    Args:
        means: (S, D) of diagonal Gaussian posteriors.
        stddevs: (S, D).

    Returns:
        (D,).

    >>> rate_per_dimension(np.array([[0.0, 2.0]]), np.array([[1.0, 1.0]]))
    array([0., 2.])
    """
    means, stddevs = means.astype(np.float64), stddevs.astype(np.float64)
    with np.errstate(divide="ignore"):  # a deviation of 0 is an infinite rate
        per_shape = (stddevs**2 + means**2 - 1) / 2 - np.log(stddevs)
    return per_shape.mean(axis=0)


def mean_rate(means: np.ndarray, stddevs: np.ndarray) -> float:
    """The rate, nats per shape: the sum of `rate_per_dimension`."""
    return float(rate_per_dimension(means, stddevs).sum())


def information_cap(shapes: int) -> float:
    """The largest mutual information that N shapes can show, log N in nats: what it takes to name one of them."""
    return math.log(shapes)


def mutual_information(means: np.ndarray, stddevs: np.ndarray, samples: int = 1, seed: int = 0) -> float:
    """I(x; z) under q(z|x) and the empirical distribution of the N shapes given, in nats.

        I = 1/N sum_i E_q(z|x_i) [ log q(z|x_i) - log 1/N sum_n q(z|x_n) ]

    The index-code mutual information of Hoffman and Johnson, ELBO surgery, 2016. The expectation is estimated with samples,
    the sum over all N is exact. It never exceeds `information_cap(N)` = log N, which it nears as soon as no two posteriors
    overlap: a value at the cap says that the codes tell these N shapes apart, and no more than that.

    Args:
        means: (N, D) of diagonal Gaussian posteriors.
        stddevs: (N, D). A deviation of nought is the limit: that coordinate tells all shapes apart of which it differs.
            Others below a 100,000th of the means' spread cost digits where posteriors nearly coincide.
        samples: of each posterior.
        seed: of the samples.

    Returns:
        NaN where a number is not finite.

    Raises:
        InputError: there are no shapes, the arrays differ in shape, a deviation is negative, or samples is below 1.

    >>> posterior = np.array([[-50.0], [0.0], [50.0]]), np.ones((3, 1))
    >>> mutual_information(*posterior) == information_cap(3)
    True
    """
    means, stddevs = _checked(means, stddevs, samples)
    if not (np.isfinite(means).all() and np.isfinite(stddevs).all()):
        return math.nan
    means, stddevs, groups = _without_points(means, stddevs)
    means = means - means.mean(axis=0)  # far from the origin the products below would lose digits
    precision = stddevs**-2
    keys = np.concatenate([precision, -2 * means * precision], axis=1).T
    offset = (means**2 * precision).sum(axis=1) + 2 * np.log(stddevs).sum(axis=1)
    draw, total = np.random.default_rng((seed, 1)), 0.0  # not the numbers of a caller who drew codes with the same seed
    order = np.tile(np.arange(len(means)), samples)
    rows = max(1, NUMBERS_AT_ONCE // max(keys.shape))
    for mine in np.split(order, range(rows, len(order), rows)):
        noise = draw.standard_normal((len(mine), means.shape[1]))
        z = means[mine] + stddevs[mine] * noise
        own = -((noise**2).sum(axis=1) / 2 + np.log(stddevs[mine]).sum(axis=1))
        log_ratio = (np.concatenate([z**2, z], axis=1) @ keys + offset) / -2 - own[:, None]
        log_ratio[groups[mine, None] != groups] = -np.inf
        log_ratio[np.arange(len(mine)), mine] = 0  # exactly, so that the cap is never exceeded
        total += logsumexp(log_ratio, axis=1).sum()
    return float(information_cap(len(means)) - total / len(order))


def _checked(means: np.ndarray, stddevs: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The posteriors in double precision."""
    means, stddevs = np.asarray(means, np.float64), np.asarray(stddevs, np.float64)
    if means.ndim != 2 or means.shape != stddevs.shape or len(means) == 0:
        raise InputError(
            f"expected means and deviations of one shape (shapes, code), got {means.shape} and {stddevs.shape}"
        )
    if (stddevs < 0).any():
        raise InputError(
            f"deviations must be nought or more, got {stddevs.min()}; pass deviations, not their logarithms"
        )
    if samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}")
    return means, stddevs


def _without_points(means: np.ndarray, stddevs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posteriors that all have a density, and groups (N,): those of different groups have no code in common.

    A coordinate without a deviation is one point. Shapes with the same points make a group, in which those coordinates tell
    nothing: any Gaussian may take their place.
    """
    point = stddevs == 0
    if not point.any():
        return means, stddevs, np.zeros(len(means), int)
    where = np.where(point, means, np.inf)
    groups = np.unique(where, axis=0, return_inverse=True)[1].reshape(-1)
    return np.where(point, 0, means), np.where(point, 1, stddevs), groups
