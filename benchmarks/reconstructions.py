"""The README's picture: test shapes of the built-in dataset beside what a CR-VAE in the paper's form makes of them.

python benchmarks/reconstructions.py            a few minutes on two cores; writes results/reconstructions.png
"""

import argparse
from pathlib import Path

import numpy as np

from crvae3d.datasets.load import load
from crvae3d.evaluation.reconstruction import reconstruct
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import is_finished, train
from crvae3d.experiment.settings import Settings
from crvae3d.experiment.tables import PAPER
from crvae3d.viewers.figures import clouds_figure

CLASSES = ("aeroplane", "armchair", "bottle", "chair", "guitar", "lamp", "sofa", "table", "cup")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--run", type=Path, default=Path("runs/reconstructions"))
    asked = parser.parse_args()
    if not is_finished(asked.run):
        train(Settings.of("shapes", epochs=asked.epochs, **PAPER), asked.run, overwrite=True)
    test = load("shapes").test
    names = np.asarray(test.class_names)[test.labels]
    shown = test.select(np.array([np.flatnonzero(names == name)[0] for name in CLASSES]))
    decoded = reconstruct(VAE.from_pretrained(asked.run), shown, progress=False).numpy()
    originals = shown.coordinates().numpy()[:, : decoded.shape[1]]
    target = Path(__file__).parent / "results" / "reconstructions.png"
    print(clouds_figure(list(zip(originals, decoded, strict=True)), CLASSES, target))


if __name__ == "__main__":
    main()
