"""The model and its objective as a `LightningModule`: a thin wrapper, so that inference never imports Lightning.

Every random number of a step comes from one seed made of the run's seed, the step and the rank. Nothing random is kept
between steps, which is why a resumed run gives the numbers of an uninterrupted one, bit for bit.
"""

from collections.abc import Callable

import lightning
import numpy as np
import torch
from torch import Tensor

from crvae3d.core.consistency import Consistent
from crvae3d.core.model import VAE
from crvae3d.core.objectives import Terms
from crvae3d.errors import Diverged
from crvae3d.training.schedule import warm_up_and_cosine
from crvae3d.training.settings import Training


class Fitted(lightning.LightningModule):
    """Train `model` with `objective`.

    Args:
        model: what is trained.
        objective: a `Consistent`, called as `objective(model, x, progress, generator)`.
        thin: draws the training points of a batch, called as `thin(batch, generator=generator)`.
        training: settings.
    """

    def __init__(self, model: VAE, objective: Consistent, thin: Callable[..., object], training: Training) -> None:
        super().__init__()
        self.model, self.objective, self.thin, self.training_settings = model, objective, thin, training
        self.skipped = self.skipped_in_a_row = 0
        self.means = {"train": RunningMeans(), "val": RunningMeans()}

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        terms = self._terms(batch, "train", self.global_step, self.global_step / self.steps)
        weight = self.training_settings.penalty
        return terms.loss + weight * self.model.penalty() if weight else terms.loss

    def validation_step(self, batch: Tensor, batch_index: int) -> None:
        self._terms(batch, "val", batch_index, 1.0)

    def _terms(self, batch: Tensor, part: str, index: int, progress: float) -> Terms:
        seed = seed_of(self.training_settings.seed, part == "val", index, self.global_rank)
        torch.manual_seed(seed)
        generator = torch.Generator(self.device).manual_seed(seed)
        terms = self.objective(self.model, self.thin(batch, generator=generator), progress, generator)
        self.means[part].add(
            {"loss": terms.loss, **{name: term.mean() for name, term in terms.named.items()}}, len(batch)
        )
        return terms

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradient; leave a step out whose gradient is not finite: without one the optimiser changes nothing."""
        weights = [p for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in weights])
        if norm.isfinite():
            self.skipped_in_a_row = 0
            torch.nn.utils.clip_grads_with_norm_(weights, gradient_clip_val, norm)
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        optimizer.zero_grad(set_to_none=True)
        if self.skipped_in_a_row >= self.training_settings.patience:
            raise Diverged(
                f"the loss or its gradient was not finite for {self.skipped_in_a_row} steps in a row, at step {self.global_step}: "
                "lower --learning-rate, or look for extreme coordinates with `crvae3d data check`"
            )

    def on_train_batch_end(self, *_: object) -> None:
        if self.trainer.is_last_batch:  # not at the epoch's end: the callbacks' turn comes before the module's there
            self._log("train")
            self.log("skipped_steps", float(self.skipped), on_step=False, on_epoch=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def _log(self, part: str) -> None:
        means = self.means[part].take()
        self.log_dict(
            {f"{part}_{name}": mean for name, mean in means.items()}, on_step=False, on_epoch=True, sync_dist=True
        )

    @property
    def steps(self) -> int:
        """How many optimiser steps the whole training has."""
        return int(self.trainer.estimated_stepping_batches)

    def configure_optimizers(self) -> dict[str, object]:
        settings = self.training_settings
        # With half precision a fused optimiser unscales the gradients itself, after they were clipped.
        options = {"weight_decay": settings.weight_decay, "fused": settings.precision != "16-mixed" or None}
        optimizer = torch.optim.AdamW(self.parameters(), settings.learning_rate, **options)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_cosine(self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        self.skipped = int(checkpoint["skipped"])


class RunningMeans:
    """Means over the shapes of an epoch, by name; a batch with a non-finite loss is left out."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.shapes = 0

    def add(self, values: dict[str, Tensor], shapes: int) -> None:
        if not values["loss"].isfinite():
            return
        self.shapes += shapes
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float() * shapes

    def take(self) -> dict[str, Tensor]:
        """The means so far, which then start anew."""
        means = {name: total / self.shapes for name, total in self.sums.items()}
        self.__init__()
        return means


def seed_of(*parts: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence([int(part) for part in parts]).generate_state(1, np.uint64)[0] >> 1)
