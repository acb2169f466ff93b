"""A model held still, and the clouds of a dataset in batches for it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crvae3d.allocator import kept_memory
from crvae3d.errors import InputError

Shapes = Tensor | np.ndarray | torch.utils.data.Dataset
"""(S, N, 3), or a dataset with a length which gives a cloud (N, 3) by its index or, by `__getitems__`, several."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[torch.device]:
    """Hold a model in evaluation mode, without gradients; afterwards each module is in the mode that it was in.

    Yields:
        The device that the model is on.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(), kept_memory():
            yield next((tensor.device for tensor in model.state_dict().values()), torch.device("cpu"))
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def seeded(device: torch.device, *parts: int) -> Iterator[None]:
    """Draw from torch's global generator with a state made of several numbers; afterwards it is as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed_of(*parts))
        yield


def seed_of(*parts: int) -> int:
    """The seed that several numbers make together."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def take(clouds: Shapes, indices: Sequence[int]) -> Tensor:
    """The clouds at `indices`, float32 (B, N, 3)."""
    if isinstance(clouds, Tensor | np.ndarray):
        found = torch.as_tensor(clouds[indices])
    elif hasattr(clouds, "__getitems__"):
        found = clouds.__getitems__(indices)
    else:
        found = [clouds[index] for index in indices]
    return (found if isinstance(found, Tensor) else torch.stack(list(found))).float()


def batches(clouds: Shapes, batch_size: int = 64) -> list[list[int]]:
    """The places of all clouds, in their order and in parts of `batch_size`: what `take` reads one at a time."""
    if len(clouds) == 0:
        raise InputError(
            "nothing to evaluate: expected at least one shape, got an empty set; check the dataset's split"
        )
    places = list(range(len(clouds)))
    return [places[start : start + batch_size] for start in places[::batch_size]]


def shown(items: Sequence[Any], what: str, progress: bool) -> Iterable[Any]:
    """The items, with a bar and the time left on standard error while they are worked through."""
    if not progress:
        return items
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, what, console=console, transient=console.is_terminal)
