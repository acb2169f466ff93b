"""What the codes of a set of shapes carry: active units and the rate."""

import numpy as np

ACTIVE = 0.01


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
