"""The demonstration: a plain VAE and the default CR-VAE on procedural shapes, side by side on one page."""

from pathlib import Path

from crvae3d.errors import InputError
from crvae3d.experiment.evaluate import evaluate_runs
from crvae3d.experiment.pretrained import SETTINGS
from crvae3d.experiment.runs import is_finished, train
from crvae3d.experiment.settings import Settings

MODELS = {"VAE": {"consistency": 0.0}, "CR-VAE": {}}


def demo(
    out: str | Path, epochs: int = 10, seed: int = 0, overwrite: bool = False, progress: bool = True
) -> dict[str, dict[str, object]]:
    """Train what is not trained yet in `out`, compare, and write `out/page.html`.

    Args:
        out: the folder.
        epochs: of each training.
        seed: of each training.
        overwrite: replace runs of other settings.
        progress: whether to show it.

    Returns:
        The figures by model.

    Raises:
        InputError: `out` holds runs of other settings.
    """
    out = Path(out)
    made = {name: Settings.of("shapes", epochs=epochs, seed=seed, **options) for name, options in MODELS.items()}
    there = {name for name in made if (out / name / SETTINGS).exists()}
    for name in there:
        if not overwrite and Settings.read(out / name) != made[name]:
            raise InputError(f"{out / name} has other settings: replace it with --overwrite, or choose another --out")
    for name, settings in made.items():
        same = name in there and Settings.read(out / name) == settings
        if not (same and is_finished(out / name)):
            train(settings, out / name, resume=same, overwrite=overwrite, progress=progress)
    runs = [out / name for name in MODELS]
    return evaluate_runs(
        runs, points=1024, page=out / "page.html", figures_file=out / "figures.json", progress=progress
    )
