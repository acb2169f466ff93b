"""What happens at the end of an epoch: a row of metrics, the weights, and one line of progress for the whole training."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import lightning
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class MetricsFile(lightning.Callback):
    """One row an epoch in a CSV file. A resumed run keeps the rows of the epochs that it does not repeat.

    Lightning's own `CSVLogger` deletes the file of an earlier run in the same folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, object]] = []
        self.started = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = time.monotonic()
        if self.path.exists() and trainer.current_epoch > 0:
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]
            self.started -= float(self.rows[-1]["seconds"]) if self.rows else 0

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row["seconds"] = round(time.monotonic() - self.started, 2)
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append(row)
        part = self.path.with_suffix(".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in self.rows for name in row)))
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self.path)


class WaitShare(lightning.Callback):
    """The share of an epoch's training that is spent between the steps, waiting for data: `wait_share` of the metrics."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = self.ended = time.perf_counter()
        self.waited = 0.0

    def on_train_batch_start(self, *_: object) -> None:
        self.waited += time.perf_counter() - self.ended

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: object) -> None:
        self.ended = time.perf_counter()
        if trainer.is_last_batch:
            module.log("wait_share", self.waited / (self.ended - self.started), on_step=False, on_epoch=True)


class SaveWeights(lightning.Callback):
    """Call `save` at the end of every epoch, so that a killed run leaves a model that can be used."""

    def __init__(self, save: Callable[[], None]) -> None:
        self.save = save

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            self.save()


class ProgressLine(lightning.Callback):
    """One line on standard error: epochs, loss, time used and time left of the whole training."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.progress: Progress | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn()
        self.progress = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True))
        steps = int(trainer.estimated_stepping_batches)
        self.task = self.progress.add_task(escape(self.title), total=steps, completed=trainer.global_step, note="")
        self.progress.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if self.progress is not None:
            self.progress.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self.progress is not None:
            loss = trainer.callback_metrics.get("train_loss")
            skipped = f", {module.skipped} steps skipped" if module.skipped else ""
            wait = trainer.callback_metrics.get("wait_share")
            waiting = f", {wait:.0%} waiting for data" if wait is not None and wait >= 0.02 else ""
            note = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.progress.update(self.task, note=note if loss is None else f"{note} loss {loss:.1f}{skipped}{waiting}")

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
