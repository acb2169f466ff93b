"""The README's picture: test shapes of the built-in dataset beside the surfaces that the default CR-VAE folds to them.

python benchmarks/reconstructions.py            a few minutes on two cores; writes results/reconstructions.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from crvae3d.datasets.load import load
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import is_finished, train
from crvae3d.experiment.settings import Settings
from crvae3d.viewers.figures import clouds_figure

CLASSES = ("aeroplane", "armchair", "bottle", "chair", "guitar", "lamp", "sofa", "table", "cup")
POINTS = 45**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--run", type=Path, default=Path("runs/reconstructions"))
    asked = parser.parse_args()
    settings = Settings.of("shapes", epochs=asked.epochs)
    if not is_finished(asked.run) or Settings.read(asked.run) != settings:
        train(settings, asked.run, overwrite=True)
    test = load("shapes").test
    names = np.asarray(test.class_names)[test.labels]
    shown = test.select(np.array([np.flatnonzero(names == name)[0] for name in CLASSES]))
    model, originals = VAE.from_pretrained(asked.run), shown.coordinates()
    with torch.inference_mode():
        decoded = model.decoder.decode(model.embed(originals), POINTS)
    target = Path(__file__).parent / "results" / "reconstructions.png"
    pairs = list(zip(originals.numpy()[:, :POINTS], decoded.numpy(), strict=True))
    print(clouds_figure(pairs, CLASSES, target, faces=model.decoder.faces(POINTS).numpy()))


if __name__ == "__main__":
    main()
