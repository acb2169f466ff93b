"""ModelNet10 (or 40), preset `small`: plain VAE, VAE+Aug and CR-VAE over several seeds, judged on the official test split.

    python benchmarks/modelnet.py --data PATH            train what is missing, evaluate, write results/modelnet10_test.json
    python benchmarks/modelnet.py --data PATH --split validation      for choices: the test split is not looked at

Every run is a folder that resumes; killed and started again, nothing is done twice.
"""

import argparse
import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from crvae3d.experiment.tables import PAPER

RESULTS = Path(__file__).parent / "results"
VARIANTS = {
    "CR-VAE": PAPER,
    "VAE": PAPER | {"consistency": 0.0, "views": 0},
    "VAE+Aug": PAPER | {"consistency": 0.0, "views": 1},
}


def trained(dataset: str, root: str, folder: Path, seed: int, options: dict, threads: int) -> Path:
    """Train a run, or go on with it."""
    from crvae3d.experiment.runs import is_finished, train
    from crvae3d.experiment.settings import Settings

    torch.set_num_threads(threads)
    settings = Settings.of(dataset, root, seed=seed, **options)
    if (folder / "settings.json").exists() and Settings.read(folder) != settings:
        raise SystemExit(f"{folder} was trained with other settings: choose another --runs")
    if not (folder.exists() and is_finished(folder)):
        train(settings, folder, resume=(folder / "last.ckpt").exists(), overwrite=True, progress=False)
    print(folder.name, "trained", flush=True)
    return folder


def judged(folders: list[Path], root: str, split: str, threads: int) -> dict[str, dict]:
    """Evaluate the runs of one seed, which share their controls."""
    from crvae3d.experiment.evaluate import evaluate_runs

    torch.set_num_threads(threads)
    figures = folders[0].parent / f"{'_'.join(folder.name for folder in folders)}_{split}.json"
    if not figures.exists():
        evaluate_runs(folders, split=split, root=root, figures_file=figures, progress=False)
    print(*(folder.name for folder in folders), "judged", flush=True)
    found = json.loads(figures.read_text())
    return found if len(folders) > 1 else {folders[0].name: found}


def summary(figures: list[dict]) -> dict:
    """Mean and deviation over seeds of every number, and the numbers themselves."""
    names = [
        name for name, value in figures[0].items() if isinstance(value, float | int) and not isinstance(value, bool)
    ]
    rows = {name: [one[name] for one in figures] for name in names}
    return {
        name: {
            "mean": statistics.fmean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
        }
        for name, values in rows.items()
    }


def run_made_by(folder: Path) -> dict[str, str]:
    """What a run says of the code that trained it."""
    return json.loads((folder / "settings.json").read_text())["made_by"]


def commits(made_by: list[dict[str, str]]) -> list[str]:
    """The commits of several results, each once."""
    return sorted({one["commit"] for one in made_by})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="modelnet10")
    parser.add_argument("--data", help="where the dataset lies")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--runs", type=Path, help="folder of the runs (default: runs/DATASET)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default: 2)")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of every variant")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    asked = parser.parse_args()
    runs = asked.runs or Path("runs") / asked.dataset
    shared = {name: json.loads(value) for name, value in (pair.split("=") for pair in asked.set)}
    seeds = range(asked.seeds)
    with ProcessPoolExecutor(asked.jobs) as pool:
        waiting = {
            (name, seed): pool.submit(
                trained, asked.dataset, asked.data, runs / f"{name}-{seed}", seed, shared | VARIANTS[name], 1
            )
            for seed in seeds
            for name in asked.variants
        }
        folders = {key: run.result() for key, run in waiting.items()}
        judging = [
            pool.submit(judged, [folders[name, seed] for name in asked.variants], asked.data, asked.split, 1)
            for seed in seeds
        ]
        found = [each.result() for each in judging]
    figures = {name: [found[seed][f"{name}-{seed}"] for seed in seeds] for name in asked.variants}
    from crvae3d.experiment.settings import provenance

    result = {
        "what": f"{asked.dataset}, {asked.split} split, preset {shared.get('preset', 'small')}, seeds 0 to {asked.seeds - 1}",
        "settings": {name: shared | VARIANTS[name] for name in asked.variants},
        "made_by": provenance(),
        "trained_at": commits([run_made_by(folder) for folder in folders.values()]),
        "judged_at": commits([one["made_by"] for each in found for one in each.values()]),
        "figures": {name: summary(each) for name, each in figures.items()},
    }
    target = RESULTS / f"{asked.dataset}_{asked.split}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    for name, found in result["figures"].items():
        print(
            f"{name:<9}",
            *(
                f"{key} {found[key]['mean']:.4f} ± {found[key]['deviation'] or 0:.4f}"
                for key in ("svm_accuracy", "svm_accuracy_pooled", "untrained_accuracy", "chamfer", "consistency_gap")
            ),
        )
    print(f"written: {target}")


if __name__ == "__main__":
    main()
