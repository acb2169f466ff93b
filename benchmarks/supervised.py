"""The ceiling: the encoder of preset `small` trained with labels, a linear classifier on its posterior means, cross-entropy.

    python benchmarks/supervised.py --data PATH            three seeds, two minutes each on one core; ModelNet10's official test

Frozen codes of an unsupervised encoder of the same size can be expected to come near this figure, not to pass it by much.
Writes results/DATASET_supervised.json.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import nn

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.load import load
from crvae3d.experiment.evaluate import POINTS
from crvae3d.experiment.runs import learn_from
from crvae3d.experiment.settings import provenance
from crvae3d.points.augment import Compose, Jitter, Scale, Subset
from crvae3d.points.models import PointModel
from crvae3d.training.settings import Training

RESULTS = Path(__file__).parent / "results"


class Classifier(nn.Module):
    """Clouds (B, N, 3) to scores (B, classes), by the posterior means of an encoder."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        model = PointModel().build(seed)
        self.encoder, self.scores = model.encoder, nn.Linear(model.encoder.code_size, classes)

    def forward(self, clouds: torch.Tensor) -> torch.Tensor:
        return self.scores(self.encoder(clouds).mean)


def trained(train: Clouds, training: Training) -> Classifier:
    """A classifier of the classes of `train`; views are thinned, scaled and jittered, labels smoothed by a tenth."""
    torch.manual_seed(training.seed)
    generator = torch.Generator().manual_seed(training.seed)
    model = Classifier(len(train.class_names), training.seed)
    optimizer = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    steps = training.epochs * (len(train) // training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    views = Compose([Subset(training.points), Scale(), Jitter()])
    labels = torch.as_tensor(train.labels.astype(np.int64))
    for _ in track(range(training.epochs), f"seed {training.seed}"):
        order = torch.randperm(len(train), generator=generator).split(training.batch_size)
        for rows in order[: len(train) // training.batch_size]:
            with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bf16-mixed"):
                scores = model(views(train.coordinates(rows.tolist()), generator=generator))
            nn.functional.cross_entropy(scores.float(), labels[rows], label_smoothing=0.1).backward()
            nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            optimizer.step(), optimizer.zero_grad(), schedule.step()
    return model.eval()


@torch.inference_mode()
def accuracy(model: Classifier, test: Clouds) -> float:
    """The share of shapes that are named correctly."""
    found = [model(test.coordinates(rows.tolist())).argmax(1) for rows in torch.arange(len(test)).split(64)]
    return float((torch.cat(found).numpy() == test.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="modelnet10")
    parser.add_argument("--data", help="where the dataset lies")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", default="bf16-mixed", help="default: bf16-mixed")
    asked = parser.parse_args()
    splits = load(asked.dataset, asked.data)
    train, test = learn_from(splits.train) if asked.split == "validation" else (splits.train, splits.test)
    test = test.first(min(POINTS, test.points.shape[1]))
    trainings = [Training(seed=seed, precision=asked.precision) for seed in range(asked.seeds)]
    values = [accuracy(trained(train, training), test) for training in trainings]
    result = {
        "what": f"{asked.dataset}, {asked.split} split: PointNet of preset small, trained with labels",
        "made_by": provenance(),
        "accuracy": {
            "mean": statistics.fmean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
        },
    }
    (RESULTS / f"{asked.dataset}_supervised.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["accuracy"], indent=2))


if __name__ == "__main__":
    main()
