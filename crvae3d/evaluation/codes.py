"""The frozen codes of shapes: what is classified, compared and counted."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from crvae3d.core.hierarchy import Chain
from crvae3d.evaluation.frozen import Shapes, batches, frozen, seeded, shown, take
from crvae3d.evaluation.information import mean_rate


@dataclass(frozen=True, eq=False)
class Codes:
    """What an encoder says of `S` shapes, float32.

    Attributes:
        means: (S, D) posterior means, the codes.
        stddevs: (S, D) posterior standard deviations.
        pooled: (S, F) the encoder's features before the posterior.
        rates: (S,) KL( q(z|x) || p(z) ) in nats of a hierarchical posterior, by one path a shape; None of a Gaussian one, whose
            means and deviations tell it.
    """

    means: np.ndarray
    stddevs: np.ndarray
    pooled: np.ndarray
    rates: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.means)

    @property
    def rate(self) -> float:
        """The mean over shapes of KL( q(z|x) || p(z) ), nats; where q is Gaussian p is N(0, I)."""
        return mean_rate(self.means, self.stddevs) if self.rates is None else float(self.rates.mean())

    @property
    def finite(self) -> np.ndarray:
        """(S,) whether all numbers of a shape are finite."""
        return np.all([np.isfinite(part).all(axis=1) for part in (self.means, self.stddevs, self.pooled)], axis=0)


def encode(
    model: nn.Module, clouds: Shapes, batch_size: int = 64, progress: bool = True, what: str = "encoding"
) -> Codes:
    """Encode clouds with a model held still. The model's mode is what it was afterwards.

    Args:
        model: with `encoder.pool(x)` (B, F) and `encoder.posterior(pooled)`, a distribution with `mean` and `stddev` (B, D);
            or, where its posterior is a hierarchy, `encoder.features(x)`, `posterior(features)`, `pooled(features)` and `prior`.
        clouds: (S, N, 3) in the unit sphere, or images (S, C, H, W).
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
            posterior, pooled = _encoded(model.encoder, x)
            found = [posterior.mean, posterior.stddev, pooled]
            if isinstance(posterior, Chain):
                with seeded(device, places[0]):  # the path of each batch; Gaussian posteriors draw nothing
                    found.append(kl_divergence(posterior, model.prior))
            columns = columns or [np.empty((len(clouds), *tensor.shape[1:]), np.float32) for tensor in found]
            for column, tensor in zip(columns, found, strict=True):
                column[places[0] : places[-1] + 1] = tensor.float().cpu()
    return Codes(*columns)


def _encoded(encoder: nn.Module, x: Tensor) -> tuple[Distribution, Tensor]:
    """The posterior of a batch, and the features before it: what is pooled does not tell the posterior of a hierarchy."""
    if hasattr(encoder, "features"):
        features = encoder.features(x)
        return encoder.posterior(features), encoder.pooled(features)
    pooled = encoder.pool(x)
    return encoder.posterior(pooled), pooled
