"""A figure over several seeds: its mean, how far it scatters, and where the mean lies with 95 % confidence.

Student's t interval of the mean, which takes the seeds as independent draws from a normal distribution. Between two
methods the interval of the *paired* difference is what counts: same seed, same weights at the start, same data, so that
what the seed does to both cancels.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

LEVEL = 0.95
AGREE = 1e-9
"""Of their size: so far seeds scatter whose figures are the same but for rounding."""


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds.

    Attributes:
        mean: over the seeds that have it.
        deviation: the sample standard deviation; None of a single seed.
        low, high: ends of the confidence interval of the mean; None of a single seed, and of seeds that agree to the digit:
            counts of few shapes do so by chance, which tells nothing of how far they scatter.
        values: the figure of each seed, in the order of the seeds.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @property
    def is_apart_from_nought(self) -> bool:
        """Whether the interval leaves 0 out: of a paired difference, that two methods do differ."""
        return self.low is not None and not self.low <= 0 <= self.high


def estimate(values: Mapping[int, float | None], level: float = LEVEL) -> Estimate | None:
    """The estimate of a figure by seed; seeds where it is missing are left out, and None is said where all are.

    >>> found = estimate({0: 1.0, 1: 2.0, 2: 3.0})
    >>> round(found.mean, 3), round(found.deviation, 3), round(found.low, 3), round(found.high, 3)
    (2.0, 1.0, -0.484, 4.484)
    """
    there = [values[seed] for seed in sorted(values) if values[seed] is not None]
    if not there:
        return None
    mean = statistics.fmean(there)
    if len(there) == 1:
        return Estimate(mean, None, None, None, tuple(there))
    from scipy.stats import t

    deviation = statistics.stdev(there)
    if deviation <= AGREE * max(map(abs, there)):
        return Estimate(mean, 0.0, None, None, tuple(there))
    half = float(t.ppf((1 + level) / 2, len(there) - 1)) * deviation / math.sqrt(len(there))
    return Estimate(mean, deviation, mean - half, mean + half, tuple(there))


def paired_difference(
    values: Mapping[int, float | None], others: Mapping[int, float | None], level: float = LEVEL
) -> Estimate | None:
    """The estimate of `values` less `others`, over the seeds that both have."""
    both = [seed for seed in values if values[seed] is not None and others.get(seed) is not None]
    return estimate({seed: values[seed] - others[seed] for seed in both}, level)
