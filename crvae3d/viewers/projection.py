"""Codes laid out in the plane: principal components, then t-SNE."""

import numpy as np

LIMIT = 2000
"""Shapes on a map at most: t-SNE of so many takes some seconds of one core."""

_COMPONENTS = 30
_FEWEST = 10
_ITERATIONS = 500


def choose(count: int, seed: int = 0) -> np.ndarray:
    """Ascending indices of the shapes to put on a map: all of `count`, or `LIMIT` of them drawn with `seed`."""
    if count <= LIMIT:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, LIMIT, replace=False))


def project(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Lay codes out in the plane so that neighbours stay neighbours; far distances on the map mean nothing.

    At most 30 principal components, then t-SNE ("Visualizing Data using t-SNE", van der Maaten and Hinton, 2008).
    Fewer than 10 shapes, and codes that are all alike, keep their first two principal components.

    Args:
        codes: (S, D) finite, S at most `LIMIT` (see `choose`).
        seed: the same seed gives the same map, on any number of threads.

    Returns:
        float32 (S, 2).

    Raises:
        ValueError: if the codes are not such an array.
    """
    if codes.ndim != 2 or len(codes) > LIMIT:
        raise ValueError(f"codes must have the shape (at most {LIMIT} shapes, dimensions), got {codes.shape}")
    if not np.isfinite(codes).all():
        broken = (~np.isfinite(codes).all(axis=1)).sum()
        raise ValueError(f"codes must be finite, {broken} of {len(codes)} rows are not; leave those shapes out")
    from threadpoolctl import threadpool_limits

    # sums over threads differ in the last digit, which t-SNE blows up; on a busy machine it is also the fastest
    with threadpool_limits(limits=1):
        components = _principal_components(codes.astype(np.float64))
        alike = len(codes) == 0 or components[:, 0].std() < 1e-9
        if len(codes) < _FEWEST or alike:
            return components[:, :2].astype(np.float32)
        return _neighbours_kept(components, seed)


def _principal_components(codes: np.ndarray) -> np.ndarray:
    """(S, max(2, ...)) scores, padded with zeros to two columns; signs fixed so that the map is not mirrored."""
    if len(codes) == 0:
        return np.zeros((0, 2))
    left, values, axes = np.linalg.svd(codes - codes.mean(axis=0), full_matrices=False)
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    scores = (left * values * signs)[:, :_COMPONENTS]
    return np.pad(scores, ((0, 0), (0, max(0, 2 - scores.shape[1]))))


def _neighbours_kept(components: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(components) - 1) / 3)
    map_ = TSNE(perplexity=perplexity, init="pca", max_iter=_ITERATIONS, random_state=seed, n_jobs=1)
    return map_.fit_transform(components).astype(np.float32)
