"""Weights that change while a model is trained, as functions of progress: 0 at the first step, and just below 1 at the last."""

import math
from dataclasses import dataclass

from torch import Tensor

from crvae3d.errors import InputError


@dataclass(frozen=True)
class WarmUp:
    """From nought to `value`, linearly over the first part `over` of the training, then constant.

    >>> value_at(WarmUp(2.0, over=0.5), 0.25), value_at(WarmUp(2.0, over=0.5), 0.9), value_at(3.0, 0.1)
    (1.0, 2.0, 3.0)
    """

    value: float
    over: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.over <= 1:
            raise InputError(f"over must lie in (0, 1], got {self.over}; 0.2 warms up over the first fifth")

    def __call__(self, progress: float | Tensor) -> float | Tensor:
        part = progress / self.over
        return self.value * (part.clamp(max=1) if isinstance(part, Tensor) else min(1.0, part))


@dataclass(frozen=True)
class CoolDown:
    """`schedule`, and over the last part `over` of the training linearly down to nought.

    >>> value_at(CoolDown(2.0, over=0.5), 0.25), value_at(CoolDown(WarmUp(2.0), over=0.5), 0.75), final(CoolDown(2.0))
    (2.0, 1.0, 0.0)
    """

    schedule: float | WarmUp
    over: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.over <= 1:
            raise InputError(f"over must lie in (0, 1], got {self.over}; 0.5 cools down over the second half")

    def __call__(self, progress: float | Tensor) -> float | Tensor:
        left = (1 - progress) / self.over
        return value_at(self.schedule, progress) * (left.clamp(max=1) if isinstance(left, Tensor) else min(1.0, left))


Schedule = float | WarmUp | CoolDown


def value_at(schedule: Schedule, progress: float | Tensor) -> float | Tensor:
    """The weight at `progress` in [0, 1]; a plain number is constant. Progress on a GPU stays there."""
    return schedule(progress) if callable(schedule) else float(schedule)


def final(schedule: Schedule) -> float:
    """The weight at the end of the training."""
    return value_at(schedule, 1.0)


def peak(schedule: Schedule) -> float:
    """The weight that a schedule is made of: no other is farther from nought at any time."""
    if isinstance(schedule, CoolDown):
        return peak(schedule.schedule)
    return schedule.value if isinstance(schedule, WarmUp) else schedule


def ever(schedule: Schedule) -> bool:
    """Whether the weight is anything but nought at any time."""
    return peak(schedule) != 0


def check(name: str, schedule: Schedule) -> None:
    """Refuse weights that are negative or not finite; of a function of one's own nothing is known before it is called.

    Raises:
        InputError: it is one.
    """
    highest = peak(schedule)
    if not callable(highest) and not 0 <= highest < math.inf:
        raise InputError(f"{name} must be nought or more, and finite, got {schedule}")
