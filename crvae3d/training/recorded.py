"""Loss and gradient of a training step, recorded as a CUDA graph once and then played with one call.

A step of a small network launches hundreds of kernels of a few microseconds each, one by one from Python, and the GPU
waits for the next one most of the time. A graph launches them all at once. It plays the same kernels on the same memory:
every batch must have the shape of the first, and nothing in the step may ask the GPU for a number. What Python decides
anew in every step (a network that skips layers by chance, say) would be played as it was decided first: set
CRVAE3D_CUDA_GRAPH=0 for such a network.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Run = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""`run(*inputs)` adds the gradient of a loss to the weights, and returns the loss and its terms."""


class Recorded:
    """`run` of inputs like the first ones, played from a graph.

    Args:
        run: only the weights' gradients, the model's buffers and what it returns may depend on its inputs.
        model: whose weights get the gradients. Its buffers are left as they were before the recording.
        inputs: tensors on one GPU, and tuples and lists of them.
        record: `record(run)` runs it without keeping what comes of it, and returns what repeats it on the same memory.

    Attributes:
        before: the model's buffers as they were before the last call.
    """

    def __init__(self, run: Run, model: nn.Module, inputs: tuple, record: Callable[..., Callable[[], object]]) -> None:
        self.run, self.model, self.inputs = run, model, _mapped(torch.clone, inputs)
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        try:
            self.play = record(self.once)
        finally:
            torch.clear_autocast_cache()
            for buffer, before in buffers:
                buffer.copy_(before)
        self.gradients = [weight.grad for weight in self.weights]

    def __call__(self, inputs: tuple) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its terms, which the next call overwrites; the weights have their gradients."""
        for mine, given in zip(_flat(self.inputs), _flat(inputs), strict=True):
            mine.copy_(given)
        found = self.play()
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = gradient
        return found

    def suits(self, inputs: tuple) -> bool:
        """Whether these inputs have the shapes and types of the first ones."""
        mine, given = ([(part.shape, part.dtype) for part in _flat(one)] for one in (self.inputs, inputs))
        return mine == given

    def once(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the step as it is, into fresh gradients, with weights in half precision that it makes itself."""
        torch.clear_autocast_cache()
        self.before = [buffer.clone() for buffer in self.model.buffers()]
        for weight in self.weights:
            weight.grad = None
        return self.run(*self.inputs)


def recorded(run: Run, model: nn.Module, inputs: tuple) -> Recorded | None:
    """A recording on a GPU, or None, with a warning, where the step asks for what a graph cannot do."""
    try:
        return Recorded(run, model, inputs, on_cuda)
    except (RuntimeError, TypeError) as error:  # of CUDA, whatever its kind; of inputs that are no tensors
        warnings.warn(f"the steps are not recorded as a CUDA graph, which would be faster: {error}", stacklevel=2)
        for weight in model.parameters():
            weight.grad = None
        return None


def can_record(device: torch.device) -> bool:
    """Whether steps on a device are worth recording, and `CRVAE3D_CUDA_GRAPH` is not 0."""
    return device.type == "cuda" and os.environ.get("CRVAE3D_CUDA_GRAPH", "1") != "0"


def on_cuda(run: Callable[[], object]) -> Callable[[], object]:
    """Warm `run` up on a stream of its own, record it, and return what plays it."""
    before, stream = torch.cuda.current_stream(), torch.cuda.Stream()
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            run()  # compiles, and makes the libraries ready
            with _asking_nothing():
                run()
    finally:
        before.wait_stream(stream)  # also where it is refused: what was begun there may still write
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            found = run()
    finally:
        torch.cuda.set_stream(before)  # a recording that fails leaves its own

    def play() -> object:
        graph.replay()
        return found

    return play


@contextmanager
def _asking_nothing() -> Iterator[None]:
    """An error for what would wait for a number from the GPU: it is told before a recording, which it would spoil."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


def _flat(inputs: object) -> list[Tensor]:
    return [inputs] if isinstance(inputs, Tensor) else [part for one in inputs for part in _flat(one)]


def _mapped(function: Callable[[Tensor], Tensor], inputs: object) -> object:
    """The same tuples and lists of what `function` makes of the tensors."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    parts = [_mapped(function, part) for part in inputs]
    return type(inputs)(*parts) if hasattr(inputs, "_fields") else type(inputs)(parts)
