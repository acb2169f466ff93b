"""How the learning rate goes: a short linear warm-up, then a cosine down to nought."""

import math
from collections.abc import Callable


def warm_up_and_cosine(steps: int) -> Callable[[int], float]:
    """The factor on the learning rate at each of `steps` steps; the warm-up is a tenth of them, 100 at most.

    >>> factor = warm_up_and_cosine(100)
    >>> factor(0), factor(50), factor(100)
    (0.1, 0.5, 0.0)
    """
    warm_up = min(100, max(1, steps // 10))
    return lambda step: min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
