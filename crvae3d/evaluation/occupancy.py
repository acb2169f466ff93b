"""The control without any network: where in the cube a shape's points lie, in few numbers."""

import numpy as np
import torch
from torch import Tensor, nn

from crvae3d.core.posteriors import DiagonalGaussian
from crvae3d.evaluation.frozen import Shapes, batches, shown, take
from crvae3d.points.batch import dense


def occupancy(clouds: Shapes, cells: int = 16, progress: bool = False) -> np.ndarray:
    """The share of each shape's points in each cell of a grid over [-1, 1]^3.

    Args:
        clouds: (S, N, 3); a point outside the cube counts in the nearest cell.
        cells: along each side.
        progress: whether to show it.

    Returns:
        (S, cells^3), float32; each row sums to 1.
    """
    rows = []
    for places in shown(batches(clouds), "occupancy", progress):
        rows += [_histogram(cloud, cells) for cloud in take(clouds, places).cpu().numpy()]
    return np.stack(rows)


def _histogram(points: np.ndarray, cells: int) -> np.ndarray:
    """The share of one shape's points (N, 3) in each cell."""
    grid = np.clip(np.floor((points + 1) * (cells / 2)), 0, cells - 1).astype(np.int64)
    cell = (grid[:, 0] * cells + grid[:, 1]) * cells + grid[:, 2]
    return (np.bincount(cell, minlength=cells**3) / len(points)).astype(np.float32)


class OccupancyCodes(nn.Module):
    """The principal components of the occupancy, found on train alone: judged as an encoder is, by `encode`.

    Its posterior is a point, and the features before it are the same numbers.

    Args:
        train: (S, N, 3).
        cells: along each side of the grid.
        components: numbers a shape, at most as many as train has shapes or the grid cells.
        seed: of the randomised decomposition.
        progress: whether to show it.
    """

    def __init__(
        self, train: Shapes, cells: int = 16, components: int = 256, seed: int = 0, progress: bool = False
    ) -> None:
        super().__init__()
        from sklearn.decomposition import PCA

        histograms = occupancy(train, cells, progress)
        size = min(components, *histograms.shape)
        self.axes = PCA(size, svd_solver="randomized", random_state=seed).fit(histograms)
        self.cells = cells

    @property
    def encoder(self) -> "OccupancyCodes":
        """Itself."""
        return self

    def pool(self, x: object) -> Tensor:
        """The components of a batch, (B, components)."""
        points, mask = dense(x)
        clouds = points if mask is None else [cloud[there] for cloud, there in zip(points, mask, strict=True)]
        histograms = np.stack([_histogram(cloud.cpu().numpy(), self.cells) for cloud in clouds])
        return torch.from_numpy(self.axes.transform(histograms).astype(np.float32))

    def posterior(self, pooled: Tensor) -> DiagonalGaussian:
        """The codes without any spread."""
        return DiagonalGaussian(pooled, torch.full_like(pooled, -torch.inf))

    def forward(self, x: object) -> DiagonalGaussian:
        return self.posterior(self.pool(x))
