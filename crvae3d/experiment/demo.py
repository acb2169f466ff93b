"""The demonstration: a plain VAE and the default CR-VAE on procedural shapes, side by side on one page."""

from pathlib import Path

from crvae3d.experiment.evaluate import evaluate_runs
from crvae3d.experiment.runs import is_finished, train
from crvae3d.experiment.settings import Settings

MODELS = {"VAE": {"consistency": 0.0}, "CR-VAE": {}}


def demo(out: str | Path, epochs: int = 10, seed: int = 0, progress: bool = True) -> dict[str, dict[str, object]]:
    """Train what is not trained yet in `out`, compare, and write `out/page.html`.

    Returns:
        The figures by model.
    """
    out = Path(out)
    for name, options in MODELS.items():
        settings = Settings.of("shapes", epochs=epochs, seed=seed, **options)
        if not is_finished(out / name) or Settings.read(out / name) != settings:
            train(settings, out / name, overwrite=True, progress=progress)
    runs = [out / name for name in MODELS]
    return evaluate_runs(
        runs, points=1024, page=out / "page.html", figures_file=out / "figures.json", progress=progress
    )
