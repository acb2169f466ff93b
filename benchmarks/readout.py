"""What the read-out decides: how many clean, turned and thinned shapes a linear SVM names at each cost C, of runs side by side,
and how many the ten nearest neighbours name, which have no cost.

    python benchmarks/readout.py NAME=RUN [NAME=RUN ...] --data PATH       up to ten minutes a run on one core

C is chosen on clean shapes, where the accuracy hardly depends on it; on turned ones it does. So two encoders whose C differ
are compared by where each line passes, not by one point of each. Neighbours are those of largest cosine of standardised codes,
as `knn_probe` takes them, for k fixed.
Writes results/readout.json, where what other runs of the same names found is replaced and the rest kept, and readout.png.
"""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from crvae3d.datasets.load import load
from crvae3d.evaluation.codes import encode
from crvae3d.evaluation.linear import COSTS, fit_linear
from crvae3d.evaluation.robustness import robustness
from crvae3d.experiment.evaluate import TURNED_POINTS, turned_and_thinned
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import learn_from
from crvae3d.experiment.settings import Settings, provenance
from crvae3d.viewers.comparison_figures import MARKERS
from crvae3d.viewers.figures import MODEL_COLOURS, blank, save, titled

RESULTS = Path(__file__).parent / "results"
NEIGHBOURS = 10
SHOWN = {
    "turned about any axis, mean of five strengths": lambda at: np.mean(at["so3"]),
    "turned about any axis by any angle": lambda at: at["so3"][-1],
    "thinned to a sixteenth": lambda at: at["thin"][-1],
}


def read_out(run: Path, root: str | None) -> dict[str, object]:
    """A run's accuracies by each read-out: on what C is chosen by, on clean shapes of the validation part, and corrupted."""
    settings, model = Settings.read(run), VAE.from_pretrained(run)
    train, test = (part.first(TURNED_POINTS) for part in learn_from(load(settings.data, root or settings.root)))
    known, codes = encode(model, train).means, encode(model, test).means
    fitted = {f"{cost:g}": fit_linear(known, train.labels, (cost,)) for cost in COSTS}
    found = {name: {"cost": one.cost, "validation": one.validation_accuracy} for name, one in fitted.items()}
    near = make_pipeline(StandardScaler(), Normalizer(), KNeighborsClassifier(NEIGHBOURS)).fit(known, train.labels)
    fitted, found = fitted | {"neighbours": near}, found | {"neighbours": {"k": NEIGHBOURS}}
    for name, one in fitted.items():
        found[name]["clean"] = float(np.mean(one.predict(codes) == test.labels))

    @torch.inference_mode()
    def features(clouds: object) -> dict[str, np.ndarray]:
        return dict.fromkeys(fitted, model.embed(clouds).numpy())

    for part in turned_and_thinned(test, TURNED_POINTS):
        accuracies = robustness(features, fitted, part.shapes.points, part.shapes.labels, part.families)
        for name, by_family in accuracies.items():
            found[name] |= by_family
    told = json.loads((run / "settings.json").read_text()) | {"root": None}
    told["made_by"]["command"] = placeless(told["made_by"]["command"])
    neighbours = found.pop("neighbours")
    return {"settings": told, "path": list(found.values()), "neighbours": neighbours}


def placeless(command: str) -> str:
    """A command without this machine's folders."""
    return re.sub(r"(?<=[ =])/\S+", "PATH", command)


def figure(runs: Mapping[str, Mapping[str, object]], path: Path) -> Path:
    """Corrupted shapes against clean ones, a line a run from small C to large, a ring at the chosen C; a star: neighbours."""
    drawn = blank(4.2 * len(SHOWN), 4.0)
    for place, (title, of) in enumerate(SHOWN.items(), 1):
        axes = drawn.add_subplot(1, len(SHOWN), place)
        for number, (name, one) in enumerate(runs.items()):
            points = np.array([(100 * at["clean"], 100 * of(at)) for at in one["path"]])
            style = {"color": MODEL_COLOURS[number % len(MODEL_COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            axes.plot(*points.T, label=name, markersize=4, linewidth=1.4, **style)
            chosen = points[int(np.argmax([at["validation"] for at in one["path"]]))]
            axes.plot(*chosen, "o", markersize=12, fillstyle="none", color=style["color"])
            near = one["neighbours"]
            axes.plot(100 * near["clean"], 100 * of(near), "*", markersize=11, color=style["color"])
        titled(axes, title, "clean, %", "%", len(title))
    drawn.axes[0].legend(fontsize=7, frameon=False)
    return save(drawn, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="folders of runs, and how they are called")
    parser.add_argument("--data", help="where named datasets lie")
    asked = parser.parse_args()
    if unnamed := [one for one in asked.runs if "=" not in one]:
        parser.error(f"{unnamed[0]} has no name: write NAME=RUN, such as default={unnamed[0]}")
    target = RESULTS / "readout.json"
    runs = json.loads(target.read_text())["runs"] if target.exists() else {}
    what = "accuracies of a linear SVM at every C, and of nearest neighbours, on the validation part"
    for name, run in (one.split("=", 1) for one in asked.runs):
        made_by = provenance() | {"command": f"python benchmarks/readout.py '{name}=RUN' --data PATH"}
        runs[name] = read_out(Path(run), asked.data) | {"made_by": made_by}
        target.write_text(json.dumps({"what": what, "runs": runs}, indent=1) + "\n")
    print(figure(runs, RESULTS / "readout.png"))


if __name__ == "__main__":
    main()
