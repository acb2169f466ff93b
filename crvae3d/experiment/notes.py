"""What a comparison says in words: above its table what was judged and what went wrong, below it how."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crvae3d.evaluation.evaluate import Figures
from crvae3d.experiment.cells import Task
from crvae3d.experiment.grid import Grid
from crvae3d.experiment.modalities import modality_of
from crvae3d.experiment.settings import NO_BF16

ByRun = Mapping[tuple[str, int], Figures]
"""The figures of what is done, by cell and seed."""

_CORRUPTED = (
    "Corrupted shapes are judged by the classifier that was fitted on clean ones, in {} kinds and five strengths: of turned "
    "and thinned ones {}, of the other kinds {}. Strength 0 is all clean shapes: a step from there may be of the choice alone."
)


def summary(grid: Grid, figures: ByRun, tasks: Sequence[Task], split: str) -> str:
    """Which shapes were judged, and how much of the grid is done."""
    settings = tasks[0].settings
    data = Path(settings.data).name if Path(settings.data).is_absolute() else settings.data
    judged = next((one for one in figures.values() if "n_test" in one), {})
    return (
        f"{data}, {split} split. Frozen codes of {judged.get('n_test', 0):,} {modality_of(settings.model).name}; "
        f"classifiers are fitted on {judged.get('n_train', 0):,}. "
        f"{len(figures)} of {len(tasks)} runs are done, {len({name for name, _ in figures})} variants. "
        f"Differences are paired by seed, from {grid.reference}."
    )


def alarms(figures: ByRun, tasks: Sequence[Task]) -> list[str]:
    """What must be read before any figure: trainings that failed, and what is wrong with those that did not.

    Untrained controls are as they are, so nothing is said of them. What several seeds have is said once, with the first
    one's numbers.
    """
    trained = {task.cell.name for task in tasks if task.cell.control in (None, "supervised")}
    seeds: dict[tuple[str, str], list[int]] = {}
    texts: dict[tuple[str, str], str] = {}
    for (name, seed), one in figures.items():
        found = [one["failed"]] if "failed" in one else one.get("alarms", ()) if name in trained else ()
        for text in found:
            key = name, text.split(":")[0]
            seeds.setdefault(key, []).append(seed)
            texts.setdefault(key, text)
    return [
        f"{name}, seed{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}: {texts[name, kind]}"
        for (name, kind), of in seeds.items()
    ]


def notes(figures: ByRun, tasks: Sequence[Task], families: int) -> list[str]:
    """How it was judged, in so many kinds of corruption."""
    judging = tasks[0].judging
    few = [f"{count} at most" if count else "all" for count in (judging.turned_shapes, judging.robust_shapes)]
    return [
        "Intervals are Student's, 95 %, of the mean over seeds; seeds that agree to the digit have none.",
        "C of the linear SVM is chosen on a part of the training set, the last epoch is the one that is judged.",
        *([_CORRUPTED.format(families, *few)] if families else []),
        *_in_single_precision(figures, tasks),
    ]


def _in_single_precision(figures: ByRun, tasks: Sequence[Task]) -> list[str]:
    """A note of the runs whose machine had no kernels for the precision that the grid asks for."""
    asked = {task.run for task in tasks if task.settings.training.precision != "32-true"}
    seeds: dict[str, list[str]] = {}
    for (name, seed), one in figures.items():
        if (name, seed) in asked and NO_BF16 in one.get("made_by", {}).get("machine", ""):
            seeds.setdefault(name, []).append(str(seed))
    told = "; ".join(f"{name}, seed {', '.join(of)}" for name, of in seeds.items())
    return [f"In single precision, where any others are in bf16: {told}."] if told else []
