"""The frozen codes of shapes: what is classified, compared and counted."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from crvae3d.evaluation.frozen import Shapes, batches, frozen, shown, take


@dataclass(frozen=True, eq=False)
class Codes:
    """What an encoder says of `S` shapes, float32.

    Attributes:
        means: (S, D) posterior means, the codes.
        stddevs: (S, D) posterior standard deviations.
        pooled: (S, F) the encoder's features before the posterior.
    """

    means: np.ndarray
    stddevs: np.ndarray
    pooled: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    @property
    def finite(self) -> np.ndarray:
        """(S,) whether all numbers of a shape are finite."""
        return np.all([np.isfinite(part).all(axis=1) for part in (self.means, self.stddevs, self.pooled)], axis=0)


def encode(
    model: nn.Module, clouds: Shapes, batch_size: int = 64, progress: bool = True, what: str = "encoding"
) -> Codes:
    """Encode clouds with a model held still. The model's mode is what it was afterwards.

    Args:
        model: with `encoder.pool(x)` (B, F) and `encoder.posterior(pooled)`, a distribution with `mean` and `stddev` (B, D).
        clouds: (S, N, 3) in the unit sphere.
        batch_size: shapes encoded at once.
        progress: whether to show it.
        what: how the progress is called.

    Raises:
        InputError: there are no clouds.
    """
    columns: list[np.ndarray] = []
    with frozen(model) as device:
        for places in shown(batches(clouds, batch_size), what, progress):
            x = take(clouds, places).to(device)
            pooled = model.encoder.pool(x)
            posterior = model.encoder.posterior(pooled)
            found = posterior.mean, posterior.stddev, pooled
            columns = columns or [np.empty((len(clouds), tensor.shape[1]), np.float32) for tensor in found]
            for column, tensor in zip(columns, found, strict=True):
                column[places[0] : places[-1] + 1] = tensor.float().cpu()
    return Codes(*columns)
