"""The model and its objective as a `LightningModule`: a thin wrapper, so that inference never imports Lightning.

Every random number of a step comes from one seed made of the run's seed, the step and the rank. Nothing random is kept
between steps, which is why a resumed run gives the numbers of an uninterrupted one, bit for bit.
"""

import functools
from collections.abc import Callable
from dataclasses import replace

import lightning
import numpy as np
import torch
from torch import Tensor

from crvae3d.core.consistency import Consistent
from crvae3d.core.model import VAE
from crvae3d.core.objectives import Terms
from crvae3d.errors import Diverged
from crvae3d.training.recorded import Recorded, can_record, recorded
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
        self.records = self.played = False  # whether steps may be played from a graph; whether the last one was
        self.recording: Recorded | None = None
        self.before: list[Tensor] = []  # the model's buffers before a step, for one that is left out
        self.means = {"train": RunningMeans(), "val": RunningMeans()}

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        seed, generator = self._seeded(False, self.global_step)
        x, progress = self.thin(batch, generator=generator), self.global_step / self.steps
        objective, found = self.objective, None
        if self.records:  # points and views are made before what is played, by whatever code makes them
            views = views_of(objective, x, generator)
            objective = given(objective, views)
            found = self._played(x, views, progress, seed)
        self.played = found is not None
        self.before = self.recording.before if self.played else [buffer.clone() for buffer in self.model.buffers()]
        loss, means = found or self._loss(objective, x, progress, generator)
        self.means["train"].add(means, len(batch))
        return loss

    def validation_step(self, batch: Tensor, batch_index: int) -> None:
        _, generator = self._seeded(True, batch_index)
        terms = self.objective(self.model, self.thin(batch, generator=generator), 1.0, generator)
        self.means["val"].add(means_of(terms), len(batch))

    def _seeded(self, validates: bool, index: int) -> tuple[int, torch.Generator]:
        """Seed torch for a step, and make the generator of its points and views."""
        parts = self.training_settings.seed, validates, index, self.global_rank
        seed = seed_of(*parts)
        _seed(self.device, seed)
        return seed, torch.Generator(self.device).manual_seed(seed_of(*parts, 1))  # codes are drawn apart from views

    def _loss(
        self, objective: Consistent, x: object, progress: float | Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, and the means that are shown of it."""
        terms = objective(self.model, x, progress, generator)
        weight = self.training_settings.penalty
        return terms.loss + weight * self.model.penalty() if weight else terms.loss, means_of(terms)

    def on_train_start(self) -> None:
        alone = self.trainer.world_size == 1 and self.training_settings.precision != "16-mixed"  # whose loss is scaled
        self.records = alone and isinstance(self.objective, Consistent) and can_record(self.device)

    def _played(self, x: object, views: list, progress: float, seed: int) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Loss and means of a step that a CUDA graph plays, gradient and all; None where none can."""
        inputs = x, views, torch.full((), progress, device=self.device)
        if self.recording is None:
            self.recording = recorded(self._loss_and_gradient, self.model, inputs)
            self.records = self.recording is not None
            _seed(self.device, seed)  # recording draws numbers
        if self.recording is None or not self.recording.suits(inputs):
            return None
        return self.recording(inputs)

    def _loss_and_gradient(self, x: object, views: list, progress: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, means = self._loss(given(self.objective, views), x, progress)
        with torch.autocast(self.device.type, enabled=False):  # only the way forward is in half precision
            loss.backward()
        return loss.detach(), means

    def backward(self, loss: Tensor, *arguments: object, **options: object) -> None:
        if not self.played:
            super().backward(loss, *arguments, **options)

    def optimizer_zero_grad(self, epoch: int, batch_index: int, optimizer: torch.optim.Optimizer) -> None:
        if not self.played:
            super().optimizer_zero_grad(epoch, batch_index, optimizer)

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
        for buffer, before in zip(self.model.buffers(), self.before, strict=True):  # else a norm would keep its mean
            buffer.copy_(before)
        if self.skipped_in_a_row >= self.training_settings.patience:
            raise Diverged(
                f"the loss or its gradient was not finite for {self.skipped_in_a_row} steps in a row, at step {self.global_step}: "
                "lower --learning-rate, or look for extreme coordinates with `crvae3d data check`"
            )

    def on_train_batch_end(self, *_: object) -> None:
        if self.trainer.is_last_batch:  # not at the epoch's end: the callbacks' turn comes before the module's there
            self._log("train")
            self.log("skipped_steps", float(self.skipped), on_step=False, on_epoch=True, sync_dist=True)

    def on_train_end(self) -> None:
        if 2 * self.skipped > self.steps:  # so few that patience has not run out
            raise Diverged(
                f"the loss or its gradient was not finite in {self.skipped} of the {self.steps} steps: "
                "lower --learning-rate or the weights"
            )

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def _log(self, part: str) -> None:
        several = self.trainer.world_size > 1
        summed = functools.partial(self.trainer.strategy.reduce, reduce_op="sum")
        means = self.means[part].take(summed) if several else self.means[part].take()
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
        checkpoint |= {"skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row}

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        self.skipped = int(checkpoint["skipped"])
        self.skipped_in_a_row = int(checkpoint.get("skipped_in_a_row", 0))  # which earlier versions did not keep


class RunningMeans:
    """Means over the shapes of an epoch, by name; a batch with a non-finite loss is left out."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.shapes: int | Tensor = 0

    def add(self, values: dict[str, Tensor], shapes: int) -> None:
        counted = values["loss"].detach().isfinite()  # a GPU is not asked which it is
        self.shapes = self.shapes + counted * shapes
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + torch.where(counted, value.detach().float(), 0) * shapes

    def take(self, summed: Callable[[Tensor], Tensor] = lambda total: total) -> dict[str, Tensor]:
        """The means so far, which then start anew; with `summed` a total over several devices, those of all."""
        sums = {name: summed(total) for name, total in self.sums.items()}
        shapes = summed(self.shapes) if sums else 0
        means = {name: total / shapes for name, total in sums.items()} if shapes else {}
        self.__init__()
        return means


def _seed(device: torch.device, seed: int) -> None:
    """`torch.manual_seed` for one device: that one takes a traceback for every kind there is none of, a third of a small step."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def views_of(objective: Consistent, x: object, generator: torch.Generator | None) -> list:
    """The views that an objective takes of a batch, in the order in which it asks for them."""
    families = [one for one in (objective.transform, objective.contrast_transform) if one is not None]
    return [transform(x, generator=generator) for _ in range(objective.views) for transform in families]


def given(objective: Consistent, views: list) -> Consistent:
    """The objective on views that `views_of` made already."""
    left = iter(views)

    def made(x: object, generator: torch.Generator | None) -> object:
        return next(left)

    return replace(objective, transform=made, contrast_transform=None if objective.contrast_transform is None else made)


def means_of(terms: Terms) -> dict[str, Tensor]:
    """The loss, and the mean over the batch of each of its terms."""
    return {"loss": terms.loss, **{name: term.mean() for name, term in terms.named.items()}}


def seed_of(*parts: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence([int(part) for part in parts]).generate_state(1, np.uint64)[0] >> 1)
