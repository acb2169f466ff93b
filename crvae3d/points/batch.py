"""Batches of clouds: dense where all clouds have as many points, padded with a mask where they have not.

Everything that takes a batch takes a dense tensor (B, N, 3), a `Ragged`, a list of clouds (N_i, 3), either of NumPy too, or
a `Data` or `Batch` of PyTorch Geometric. This is the one place where they become tensors.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crvae3d.errors import InputError

Cloud = tuple[Tensor, Tensor | None]
"""Points (B, N, 3) and a mask (B, N), or None where all are there."""


class Ragged(NamedTuple):
    """Clouds of different sizes, padded to the longest: `mask` is True where a point exists.

    Attributes:
        points: (B, N, 3), zero where padded.
        mask: (B, N) booleans, with at least one point a shape.
    """

    points: Tensor
    mask: Tensor

    def to(self, *args: object, **kwargs: object) -> "Ragged":
        """The same batch on another device, its points of another type; what `Tensor.to` takes."""
        points = self.points.to(*args, **kwargs)
        return Ragged(points, self.mask.to(points.device, non_blocking=kwargs.get("non_blocking", False)))


def ragged(clouds: Sequence[Tensor]) -> Ragged:
    """Pad clouds (N_i, 3) to the longest, in the type that holds the numbers of all.

    >>> ragged([torch.ones(2, 3), torch.ones(4, 3)]).mask.sum(1)
    tensor([2, 4])
    """
    if not clouds or any(cloud.ndim != 2 or cloud.shape[-1] != 3 or len(cloud) == 0 for cloud in clouds):
        raise InputError(
            "a ragged batch is a list of at least one cloud, each of the shape (points, 3) with a point or more"
        )
    sizes = torch.tensor([len(cloud) for cloud in clouds], device=clouds[0].device)
    kind = functools.reduce(torch.promote_types, (cloud.dtype for cloud in clouds))
    points = torch.nn.utils.rnn.pad_sequence([cloud.to(kind) for cloud in clouds], batch_first=True)
    return Ragged(points, torch.arange(points.shape[1], device=points.device) < sizes[:, None])


def dense(x: object) -> Cloud:
    """Any batch of clouds as points (B, N, 3) and a mask (B, N), or None for all of a tensor's points.

    Whole numbers become single precision, those of 32 and 64 bits double: it would round them.

    Raises:
        InputError: x is none of the forms above.
    """
    if isinstance(x, np.ndarray):
        x = _tensor(x)
    if isinstance(x, Tensor):
        if x.ndim != 3 or x.shape[-1] != 3:
            raise InputError(
                f"a batch of clouds has the shape (batch, points, 3), got {tuple(x.shape)}; use x[None] for one cloud"
            )
        if x.shape[1] == 0:
            raise InputError(f"a cloud has at least one point, got {tuple(x.shape)}")
        return _floating(x), None
    if isinstance(x, Ragged):
        return _floating(x.points), x.mask
    if isinstance(x, list | tuple):
        return dense(ragged([_tensor(cloud) for cloud in x]))
    if hasattr(x, "pos"):
        return _of_pyg(x)
    raise InputError(
        f"expected a tensor or array (batch, points, 3), a list of clouds or PyG data with `pos`, got {type(x).__name__}"
    )


def _floating(x: Tensor) -> Tensor:
    if x.is_floating_point():
        return x
    return x.double() if x.element_size() > 2 else x.float()


def _tensor(cloud: object) -> Tensor:
    """A tensor, also of an array that is reversed, cannot be written, or whose bytes are in another machine's order."""
    if isinstance(cloud, np.ndarray):
        as_it_is = cloud.flags.writeable and min(cloud.strides, default=0) >= 0
        cloud = cloud.astype(cloud.dtype.newbyteorder("="), order="K" if as_it_is else "C", copy=not as_it_is)
    return torch.as_tensor(cloud)


def _of_pyg(data: object) -> Cloud:
    from torch_geometric.utils import to_dense_batch

    pos = data.pos
    if pos is None or pos.ndim != 2 or pos.shape[-1] != 3:
        raise InputError(
            f"PyG data needs `pos` of the shape (points, 3), got {None if pos is None else tuple(pos.shape)}"
        )
    batch = getattr(data, "batch", None)
    if batch is not None and bool((batch.diff() < 0).any()):
        raise InputError("`batch` of PyG data must rise from point to point: sort the points by it first")
    points, mask = to_dense_batch(pos, batch, batch_size=getattr(data, "num_graphs", None))
    if not bool(mask.any(1).all()):
        raise InputError(f"every graph needs a point, and number {int(mask.any(1).int().argmin())} has none")
    return dense(points)[0], None if bool(mask.all()) else mask


def like(points: Tensor, mask: Tensor | None) -> Tensor | Ragged:
    """The batch that `dense` took apart."""
    return points if mask is None else Ragged(points, mask)


def to_pyg(data: object, points: Tensor, mask: Tensor | None) -> object:
    """PyG data with new positions; what belonged to single points goes where the number of points has changed."""
    clouds = list(points) if mask is None else [cloud[there] for cloud, there in zip(points, mask, strict=True)]
    sizes = torch.tensor([len(cloud) for cloud in clouds], device=points.device)
    whole = graphs_of(data)
    graphs = whole or [data.clone()]
    if whole is None:  # several graphs in one
        clouds = [torch.cat(clouds)]
    changed = any(len(cloud) != len(graph.pos) for graph, cloud in zip(graphs, clouds, strict=True))
    # Asked of the whole batch: a graph of one point has as many labels as points.
    gone = [name for name in data.keys() if name in ("face", "edge_index") or data.is_edge_attr(name)]
    gone += [name for name in data.keys() if name not in ("pos", "batch", "ptr") and data.is_node_attr(name)]
    for graph, cloud in zip(graphs, clouds, strict=True):
        if changed:
            for name in gone:
                graph.pop(name, None)
        graph.pos = cloud
    if whole is None:
        graphs[0].batch = torch.arange(len(sizes), device=points.device).repeat_interleave(sizes)
        if "ptr" in graphs[0]:
            graphs[0].ptr = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
    return again(graphs, data)


def graphs_of(data: object) -> list[object] | None:
    """The graphs of PyG data, each with all that it holds; None of what is no such data, or holds several by `batch` alone."""
    if hasattr(data, "_slice_dict"):
        return data.to_data_list()
    alone = hasattr(data, "pos") and getattr(data, "batch", None) is None
    return [data.clone()] if alone else None


def again(graphs: list[object], data: object) -> object:
    """Graphs in the form of the data that they were."""
    from torch_geometric.data import Batch

    if not hasattr(data, "_slice_dict"):
        return graphs[0]
    followed = [name for name in data.keys() if f"{name}_batch" in data]
    return Batch.from_data_list(graphs, follow_batch=followed)


NUMBERS_A_BLOCK = {"cpu": 2**20, "cuda": 2**26}
"""Of a layer's output, by the type of device: what the caches of a CPU hold, so that its next layer finds it there."""


def blocks(points: Tensor, width: int) -> Iterator[tuple[slice, slice]]:
    """Cut a batch (B, N, ...) into parts of which `width` numbers a point fill one block at most.

    Yields:
        A slice of shapes and a slice of points: several whole shapes, or a part of one.
    """
    rows = max(1, NUMBERS_A_BLOCK.get(points.device.type, 2**26) // width)
    batch, size = points.shape[:2]
    shapes, part = max(1, rows // size), min(rows, size)
    for start in range(0, max(batch, 1), shapes):
        for first in range(0, size, part):
            yield slice(start, min(start + shapes, batch)), slice(first, min(first + part, size))
