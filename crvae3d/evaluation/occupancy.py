"""The control without any network: where in the cube a shape's points lie, in few numbers."""

import numpy as np

from crvae3d.evaluation.frozen import Shapes, batches, shown, take


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
        points = take(clouds, places).cpu().numpy()
        grid = np.clip(np.floor((points + 1) * (cells / 2)), 0, cells - 1).astype(np.int64)
        cell = (grid[..., 0] * cells + grid[..., 1]) * cells + grid[..., 2]
        rows += [np.bincount(one, minlength=cells**3) / len(one) for one in cell]
    return np.asarray(rows, dtype=np.float32)


def occupancy_codes(
    train: Shapes, test: Shapes, cells: int = 16, components: int = 256, seed: int = 0, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The principal components of the occupancy, found on train alone.

    Args:
        train: (S, N, 3).
        test: (T, N, 3).
        cells: along each side of the grid.
        components: numbers a shape, at most as many as train has shapes or the grid cells.
        seed: of the randomised decomposition.
        progress: whether to show it.

    Returns:
        Codes (S, components) and (T, components), float32.
    """
    from sklearn.decomposition import PCA

    histograms = [occupancy(part, cells, progress) for part in (train, test)]
    size = min(components, *histograms[0].shape)
    axes = PCA(size, svd_solver="randomized", random_state=seed).fit(histograms[0])
    return tuple(axes.transform(part).astype(np.float32) for part in histograms)
