"""Codes for classes that no encoder was trained on: the runs of `modelnet.py`, judged on two halves of ModelNet40's train split.

    python benchmarks/transfer.py --data PATH          writes results/transfer.json

A linear SVM is fitted on one half (4,922 shapes, 40 classes) and judged on the other; C is chosen inside the first. The
encoders saw ModelNet10 only, without labels; ten of the forty classes are its own. No test split is touched.
"""

import argparse
import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"


def judge(run: Path, root: str, untrained: bool) -> dict[str, float]:
    """The accuracy of posterior means and pooled features of a run, or of the weights that it began with."""
    from crvae3d import VAE, Settings, load
    from crvae3d.evaluation.codes import encode
    from crvae3d.evaluation.linear import linear_probe

    torch.set_num_threads(1)
    shapes = load("modelnet40", root, progress=False).train.first(1024)
    order = np.random.default_rng(0).permutation(len(shapes))
    fitted, judged = np.array_split(order, 2)
    model = VAE.from_pretrained(run)
    if untrained:
        model = VAE.build(model.settings, Settings.read(run).training.seed)
    codes = encode(model, shapes, batch_size=8, progress=False)
    return {
        name: linear_probe(
            features[fitted],
            shapes.labels[fitted],
            features[judged],
            shapes.labels[judged],
            costs=(3e-3, 1e-2, 3e-2, 0.1),
        ).accuracy
        for name, features in (("svm_accuracy", codes.means), ("svm_accuracy_pooled", codes.pooled))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="where the dataset lies")
    parser.add_argument("--runs", type=Path, default=Path("runs/modelnet10"))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    names = ("CR-VAE", "VAE", "VAE+Aug", "untrained")
    with ProcessPoolExecutor(2) as pool:
        waiting = {
            name: [
                pool.submit(
                    judge,
                    asked.runs / f"{'VAE' if name == 'untrained' else name}-{seed}",
                    asked.data,
                    name == "untrained",
                )
                for seed in range(asked.seeds)
            ]
            for name in names
        }
        found = {name: [job.result() for job in jobs] for name, jobs in waiting.items()}
    from crvae3d.experiment.settings import provenance

    figures = {
        name: {
            key: {"mean": statistics.fmean(one[key] for one in each), "values": [one[key] for one in each]}
            for key in each[0]
        }
        for name, each in found.items()
    }
    result = {"what": "ModelNet10 encoders on halves of ModelNet40 train", "made_by": provenance(), "figures": figures}
    (RESULTS / "transfer.json").write_text(json.dumps(result, indent=2) + "\n")
    for name, one in figures.items():
        print(f"{name:<10}", *(f"{key} {value['mean']:.4f} {value['values']}" for key, value in one.items()))


if __name__ == "__main__":
    main()
