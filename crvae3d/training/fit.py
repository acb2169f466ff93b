"""Fit a model: Lightning's trainer over a dataset of clouds, resumable at every epoch."""

import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning
import torch
import torch.utils.deterministic as deterministic
from joblib import cpu_count
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from crvae3d.allocator import kept_memory
from crvae3d.core.consistency import Consistent
from crvae3d.core.model import VAE
from crvae3d.device import best_device
from crvae3d.errors import InputError
from crvae3d.training.callbacks import MetricsFile, ProgressLine, SaveWeights, WaitShare
from crvae3d.training.module import Fitted, seed_of
from crvae3d.training.settings import Training

CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"


class Passes(DistributedSampler):
    """The order of an epoch that goes through `size` different shapes over and over: each pass is shuffled by itself.

    So a shape is in a batch twice at most where two passes meet; a contrast would push a shape from itself. The last pass,
    which may be a part of one, has other shapes in every epoch.
    """

    def __init__(self, dataset: Dataset, size: int, **options: object) -> None:
        super().__init__(dataset, **options)
        self.size = size

    def __iter__(self) -> Iterator[int]:
        shapes, generator = len(self.dataset), torch.Generator()
        generator.manual_seed(seed_of(self.seed, self.epoch))  # by a sum seeds would share their orders
        passes = [torch.randperm(self.size, generator=generator) for _ in range(0, shapes, self.size)]
        order = torch.cat(passes)[:shapes].tolist()
        return iter([*order, *order[: self.total_size - shapes]][self.rank :: self.num_replicas])


class Batches(lightning.LightningDataModule):
    """Dense batches of a dataset whose `__getitems__` gives several shapes; the order is a function of seed and epoch."""

    def __init__(self, train: Dataset, validation: Dataset | None, training: Training) -> None:
        super().__init__()
        self.train, self.validation, self.training = train, validation, training

    def train_dataloader(self) -> DataLoader:
        ranks = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
        sampler = Passes(self.train, self.training.train_size or len(self.train), **ranks, seed=self.training.seed)
        whole = len(sampler) >= self.training.batch_size
        return DataLoader(self.train, self.training.batch_size, sampler=sampler, collate_fn=_dense, drop_last=whole)

    def val_dataloader(self) -> DataLoader | list:
        if self.validation is None or len(self.validation) == 0:
            return []
        return DataLoader(self.validation, self.training.batch_size, collate_fn=_dense)


def _dense(batch: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    return batch if isinstance(batch, torch.Tensor) else torch.stack(batch)


def fit(
    model: VAE,
    objective: Consistent,
    train: Dataset,
    validation: Dataset | None,
    thin: Callable[..., object],
    training: Training,
    folder: Path,
    save: Callable[[], None] = lambda: None,
    title: str = "training",
    resume: bool = False,
    progress: bool = True,
) -> Fitted:
    """Train `model` in place.

    Args:
        model: the model, its weights as they are to begin with.
        objective: bound and consistency.
        train: dataset whose `__getitems__` gives several shapes: a list of tensors of one shape, or one with them as rows.
        validation: likewise; only looked at, never learnt from. None for none.
        thin: draws the training points of a batch, called as `thin(batch, generator=generator)`.
        training: settings.
        folder: receives `metrics.csv`, `tensorboard/` and `last.ckpt`.
        save: called at the end of every epoch, when the weights are to be written.
        title: before the progress bar.
        resume: go on from `last.ckpt`.
        progress: whether to show it.

    Raises:
        Diverged: the gradient stayed non-finite.
        InputError: there is nothing to resume, or a batch norm has one shape a batch.
    """
    checkpoint = folder / CHECKPOINT
    if resume:
        _check(checkpoint)
    mode, filled = torch.get_deterministic_debug_mode(), deterministic.fill_uninitialized_memory
    trainer = _trainer(training, folder, save, title, progress)
    fitted = Fitted(model, objective, thin, training)
    with warnings.catch_warnings(), torch.random.fork_rng(), kept_memory():
        warnings.filterwarnings("ignore", module="lightning|torch.utils.data|torch.optim")
        batches = Batches(train, validation, training)
        deterministic.fill_uninitialized_memory = False  # else determinism costs one kernel more for every new tensor
        try:
            trainer.fit(fitted, datamodule=batches, ckpt_path=str(checkpoint) if resume else None, weights_only=True)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
        except ValueError as error:
            if "more than 1 value per channel" in str(error):  # torch's words
                raise InputError(
                    "a batch norm needs two shapes a batch, and there is one: set batch-size to 2 or more, or another norm"
                ) from None
            raise
        finally:
            fitted.recording = None  # and its memory
            torch.set_deterministic_debug_mode(mode)  # Lightning sets it for the whole process
            deterministic.fill_uninitialized_memory = filled
    return fitted


def _check(checkpoint: Path) -> None:
    """Refuse a checkpoint that is not there, or was not written whole."""
    if not checkpoint.exists():
        raise InputError(
            f"nothing to resume in {checkpoint.parent}: it has no {CHECKPOINT}; train it anew with --overwrite"
        )
    if not zipfile.is_zipfile(checkpoint):
        raise InputError(f"{checkpoint} is broken, perhaps by a full disk: train it anew with --overwrite")


def check_devices(devices: int) -> None:
    """Refuse more GPUs than there are, or without one more processes than cores.

    Raises:
        InputError: there are fewer than `devices`.
    """
    if torch.cuda.is_available():
        there, what, advice = torch.cuda.device_count(), "GPUs", "--devices 0 takes all"
    else:
        there, what, advice = cpu_count(), "cores", "--devices 1 computes with all of them"
    if devices > there:
        raise InputError(f"there are {there} {what}, {devices} were asked for; {advice}")


def _trainer(
    training: Training, folder: Path, save: Callable[[], None], title: str, progress: bool
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    last = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks = [WaitShare(), SaveWeights(save), MetricsFile(folder / METRICS), last]
    return lightning.Trainer(
        max_epochs=training.epochs,
        accelerator=best_device().type,
        devices=training.devices or "auto",
        precision=training.precision_on(best_device()),
        gradient_clip_val=training.clip,
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        callbacks=[*callbacks, ProgressLine(title)] if progress else callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        # On a GPU gathering and adding back would else depend on which thread comes first.
        deterministic="warn"
        if torch.cuda.is_available() and 1 in (training.devices, torch.cuda.device_count())
        else None,
    )
