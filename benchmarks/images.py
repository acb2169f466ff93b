"""Image VAEs beside pythae's, and the README's pictures of them.

    python benchmarks/images.py peers --data PATH         needs `pip install pythae==0.1.2`; the committed form took 16 minutes
    python benchmarks/images.py refit RUN [RUN ...]       the encoder anew for a frozen decoder; five minutes a run
    python benchmarks/images.py pictures RUN [RUN ...]    reconstructions and samples of image runs, a minute

`peers` writes results/image_peers.json: VAE, beta-VAE and IWAE on the same binarised MNIST images, with the same networks,
first weights, epochs, optimiser, schedule and clipping (pythae's trainer has no clipping: without it 300 steps of an IWAE
end over ten nats behind, ours too), in turn in one process: seconds an epoch, and the negative log-likelihood of test images by
one and the same importance sampler.

`refit` writes results/image_refit.json: the negative log-likelihood of runs of `compare mnist --grid paper-images`, and with
the encoder trained on for four epochs by the ELBO alone beside the frozen decoder. What that wins, the encoder had lost.

The tables of accuracy, information and log-likelihood are made by `crvae3d compare mnist --grid paper-images`.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from crvae3d.core.consistency import Consistent
from crvae3d.core.model import VAE
from crvae3d.core.objectives import ELBO, IWAE
from crvae3d.core.posteriors import standard_normal
from crvae3d.datasets.images.binarise import binarised
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.load import load
from crvae3d.evaluation.likelihood import log_likelihood
from crvae3d.experiment import report
from crvae3d.experiment.evaluate import some
from crvae3d.experiment.modalities import IMAGES
from crvae3d.experiment.pretrained import VAE as Pretrained
from crvae3d.experiment.settings import Settings, provenance
from crvae3d.images.models import ImageModel
from crvae3d.training.fit import METRICS, fit
from crvae3d.training.schedule import warm_up_and_cosine
from crvae3d.training.settings import Training

RESULTS = Path(__file__).parent / "results"
OBJECTIVES = {"VAE": ELBO(), "beta-VAE": ELBO(beta=4.0), "IWAE": IWAE(5)}
SAMPLES = 1000


def as_stored(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The images of a batch as they are learnt from."""
    return batch


def ours(
    model: VAE, objective: object, train: Images, training: Training, drawn: Callable[..., torch.Tensor] = as_stored
) -> list[float]:
    """Train in place with this package; seconds of each epoch."""
    with tempfile.TemporaryDirectory() as folder:
        fit(model, Consistent(objective, views=0), train, None, drawn, training, Path(folder), progress=False)
        rows = (Path(folder) / METRICS).read_text().splitlines()
    column = rows[0].split(",").index("seconds")
    ends = [0.0, *(float(row.split(",")[column]) for row in rows[1:])]
    return [after - before for before, after in zip(ends, ends[1:], strict=False)]


def theirs(model: VAE, name: str, train: Images, training: Training) -> list[float]:
    """Train in place with pythae's trainer; seconds of each epoch."""
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.wrapped = model.encoder

        def forward(self, x: torch.Tensor) -> ModelOutput:
            posterior = self.wrapped(x)
            return ModelOutput(embedding=posterior.mean, log_covariance=posterior.log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.wrapped = model.decoder

        def forward(self, codes: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.wrapped(codes).mean)

    class Trainer(BaseTrainer):
        def set_scheduler(self) -> None:
            self.scheduler = None  # which steps once an epoch
            steps = training.epochs * (len(train) // training.batch_size)
            self.each_step = LambdaLR(self.optimizer, warm_up_and_cosine(steps))
            self.optimizer.register_step_pre_hook(self.clip)

        def clip(self, *_: object) -> None:
            clip_grad_norm_(self.model.parameters(), training.clip)

        def _optimizers_step(self, model_output: object = None) -> None:
            super()._optimizers_step(model_output)
            self.each_step.step()

    class Clock(TrainingCallback):
        ends = [time.perf_counter()]

        def on_epoch_end(self, *_: object, **__: object) -> None:
            self.ends.append(time.perf_counter())

        def on_train_begin(self, *_: object, **__: object) -> None:
            self.ends[:] = [time.perf_counter()]

    size = {"input_dim": model.encoder.shape, "latent_dim": model.encoder.code_size, "reconstruction_loss": "bce"}
    kinds = {
        "VAE": (models.VAE, models.VAEConfig, {}),
        "beta-VAE": (models.BetaVAE, models.BetaVAEConfig, {"beta": 4.0}),
        "IWAE": (models.IWAE, models.IWAEConfig, {"number_samples": 5}),
    }
    kind, config, options = kinds[name]
    with tempfile.TemporaryDirectory() as folder:
        asked = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            optimizer_cls="AdamW",
            optimizer_params={"weight_decay": training.weight_decay},
            no_cuda=True,
        )
        data = BaseDataset(train.intensities(), torch.zeros(len(train)))
        trained = kind(config(**size, **options), encoder=Encoder(), decoder=Decoder())
        clock = Clock()
        Trainer(trained, data, training_config=asked, callbacks=[clock]).train()
    return [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]


def peers(root: str, images: int, epochs: int, seeds: int) -> dict[str, object]:
    """Both trainers on each objective and seed, in turn; which one is first changes from seed to seed."""
    splits = load("mnist", root)
    train, test = binarised(some(splits.train, images)), binarised(some(splits.test, 500))
    settings = ImageModel(network="mlp", code_size=50)
    training = Training(epochs=epochs, batch_size=100)
    rows: dict[str, dict[str, list[float]]] = {name: {} for name in OBJECTIVES}
    for seed in range(seeds):
        for name, objective in OBJECTIVES.items():
            made = settings.build(seed)
            for who, learn in (("ours", ours), ("pythae", theirs))[:: -1 if seed % 2 else 1]:
                model = copy.deepcopy(made)
                what = objective if who == "ours" else name
                seconds = learn(model, what, train, replace(training, seed=seed))
                plain = VAE(model.encoder, model.decoder, standard_normal(settings.code_size))
                found = log_likelihood(plain, test, samples=(SAMPLES,), progress=False)
                rows[name].setdefault(f"{who}_seconds", []).append(statistics.median(seconds))
                rows[name].setdefault(f"{who}_nll", []).append(-found.per_shape[SAMPLES])
                print(f"{name}, seed {seed}, {who}: {rows[name][f'{who}_seconds'][-1]:.1f} s an epoch", flush=True)
    for row in rows.values():
        pairs = zip(row["ours_seconds"], row["pythae_seconds"], strict=True)
        row["seconds_ratio"] = statistics.median(mine / other for mine, other in pairs)
    return {"what": f"{images} images of MNIST, {epochs} epochs, {seeds} seeds", "rows": rows}


def refit(runs: list[Path], root: str | None) -> dict[str, dict[str, float]]:
    """Of each run of MNIST: nats an image as it was judged, and after its encoder was trained on without the regulariser."""
    splits, found = load("mnist", root), {}
    for run in runs:
        settings, model = Settings.read(run), Pretrained.from_pretrained(run)
        test = IMAGES.judged(some(splits.test, 500), settings.model, None)
        nats = [-log_likelihood(model, test, samples=(SAMPLES,), progress=False).per_shape[SAMPLES]]
        model.decoder.requires_grad_(False)
        training = replace(settings.training, epochs=4, learning_rate=5e-4, precision="32-true")
        ours(model, ELBO(), splits.train, training, IMAGES.drawn(settings.model, training.points))
        nats.append(-log_likelihood(model, test, samples=(SAMPLES,), progress=False).per_shape[SAMPLES])
        found[f"{run.parent.name}/{run.name}"] = {"nll": nats[0], "refitted_nll": nats[1]}
        print(run, *(f"{value:.2f}" for value in nats), flush=True)
    return found


def pictures(runs: list[Path]) -> None:
    """Reconstructions and samples of runs on one dataset, as PNG files."""
    settings = Settings.read(runs[0])
    test = IMAGES.judged(some(load(settings.data, settings.root).test, 500), settings.model, None)
    # A run of `compare` is called by its cell, one of `train` by its folder.
    names = {run.parent.name if run.name.startswith("seed-") else run.name: run for run in runs}
    for picture in report.pictures({name: Pretrained.from_pretrained(run) for name, run in names.items()}, test):
        path = RESULTS / f"{settings.data}_{picture.title.lower()}.png"
        path.write_bytes(picture.png)
        print(f"{path}: {picture.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    beside = parts.add_parser("peers")
    beside.add_argument("--data", help="where MNIST lies")
    beside.add_argument("--images", type=int, default=10_000)
    beside.add_argument("--epochs", type=int, default=10)
    beside.add_argument("--seeds", type=int, default=3)
    parts.add_parser("pictures").add_argument("runs", type=Path, nargs="+")
    again = parts.add_parser("refit")
    again.add_argument("runs", type=Path, nargs="+")
    again.add_argument("--data", help="where MNIST lies")
    asked = parser.parse_args()
    if asked.part == "pictures":
        return pictures(asked.runs)
    if asked.part == "refit":
        return write("image_refit.json", {"runs": refit(asked.runs, asked.data)})
    found = peers(asked.data, asked.images, asked.epochs, asked.seeds)
    write("image_peers.json", found)
    for name, row in found["rows"].items():
        print(
            f"{name:<9}",
            *(f"{key} {statistics.fmean(value):.2f}" for key, value in row.items() if isinstance(value, list)),
        )


def write(name: str, found: dict[str, object]) -> None:
    """A file of results, with what made it."""
    target = RESULTS / name
    target.write_text(json.dumps(found | {"made_by": provenance()}, indent=2) + "\n")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
