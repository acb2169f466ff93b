"""The ceiling: the encoder of preset `small` trained with labels, a linear classifier on its posterior means, cross-entropy.

    python benchmarks/supervised.py --data PATH            three seeds, two minutes each on one core; ModelNet10's official test

It learns from what the unsupervised encoders of the same size learn from; their frozen codes can be expected to come near
this figure, not to pass it by much.
Writes results/DATASET_supervised_SPLIT.json; what is there was made without neighbourhoods (`--neighbourhoods 0`).
"""

import argparse
import json
import statistics
from pathlib import Path

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
from crvae3d.training.supervised import fit_supervised

RESULTS = Path(__file__).parent / "results"


def trained(train: Clouds, training: Training, neighbourhoods: int) -> tuple[nn.Module, nn.Linear]:
    """An encoder of preset `small` and the classifier of its means; views are thinned, scaled and jittered."""
    model = PointModel(neighbourhoods=neighbourhoods).build(training.seed)
    views = Compose([Subset(training.points), Scale(), Jitter()])
    return model.encoder, fit_supervised(model, train, train.labels, views, training)


@torch.inference_mode()
def accuracy(encoder: nn.Module, scores: nn.Linear, test: Clouds) -> float:
    """The share of shapes that are named correctly."""
    parts = torch.arange(len(test)).split(64)
    found = [scores(encoder(test.coordinates(rows.tolist())).mean).argmax(1) for rows in parts]
    return float((torch.cat(found).numpy() == test.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="modelnet10")
    parser.add_argument("--data", help="where the dataset lies")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precision", default="bf16-mixed", help="default: bf16-mixed")
    parser.add_argument("--neighbourhoods", type=int, default=3, help="that the encoder reads (default: 3)")
    asked = parser.parse_args()
    splits = load(asked.dataset, asked.data)
    train, validation = learn_from(splits)
    test = validation if asked.split == "validation" else splits.test
    test = test.first(min(POINTS, test.points.shape[1]))
    trainings = [Training(seed=seed, precision=asked.precision) for seed in range(asked.seeds)]
    values = [accuracy(*trained(train, training, asked.neighbourhoods), test) for training in track(trainings, "seeds")]
    result = {
        "what": f"{asked.dataset}, {asked.split} split: PointNet of preset small, trained with labels",
        "neighbourhoods": asked.neighbourhoods,
        "made_by": provenance(),
        "accuracy": {
            "mean": statistics.fmean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
        },
    }
    (RESULTS / f"{asked.dataset}_supervised_{asked.split}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["accuracy"], indent=2))


if __name__ == "__main__":
    main()
