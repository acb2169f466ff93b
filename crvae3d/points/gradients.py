"""What the gradients that are written by hand here share."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from crvae3d.errors import InputError


def first_derivative(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., tuple[Tensor | None, ...]]:
    """A `backward` in the types that it is given, also under autocast, which says so where it is to be differentiated again.

    `torch.autograd.function.once_differentiable` says so only of gradients that ask for one themselves, and else gives
    second derivatives that lack terms.

    Raises:
        InputError: with `create_graph`.
    """

    @functools.wraps(backward)
    def taken(ctx: object, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise InputError("encoder and decoder have no second derivative: leave create_graph out")
        with torch.autocast(grad.device.type, enabled=False):
            return backward(ctx, grad)

    return taken
