"""A grid of variants over several seeds: train and judge what is missing, then write tables, pictures and a page.

Every cell with every seed is a run folder. Stopped and started again, finished ones are left alone and a training that
was cut off goes on at its last epoch. `results.json` alone tells what is done, where the folders are gone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from joblib import cpu_count

from crvae3d.datasets.load import KNOWN, is_images, load
from crvae3d.datasets.splits import Splits
from crvae3d.errors import InputError, unknown
from crvae3d.evaluation.evaluate import PLAIN
from crvae3d.experiment.cells import Task, read_anew, run
from crvae3d.experiment.comparison import gather, write_results
from crvae3d.experiment.embed import apart
from crvae3d.experiment.evaluate import SPLITS
from crvae3d.experiment.grid import Cell, Grid
from crvae3d.experiment.grids import read_grid
from crvae3d.experiment.modalities import CLOUDS, IMAGES, Modality, modality_of
from crvae3d.experiment.plugin import load_plugin
from crvae3d.experiment.processes import MOST, run_in_processes
from crvae3d.experiment.runs import digest_of, digest_of_names, learn_from
from crvae3d.experiment.settings import Settings
from crvae3d.viewers.compared import Comparison


def compare(
    data: str | Path,
    grid: str | Path | Grid = "quick",
    out: str | Path = "comparison",
    seeds: int = 3,
    split: str = "test",
    root: str | Path | None = None,
    cells: Sequence[str] = (),
    jobs: int | None = None,
    plugin: str | Path | None = None,
    progress: bool = True,
    **options: object,
) -> Comparison:
    """Train and judge every cell of a grid with every seed.

    A script that calls this with more than one job needs `if __name__ == "__main__":` before, as all that start processes.

    Args:
        data: a dataset's name, a folder or an archive; with labels.
        grid: a name in `GRIDS`, a TOML file, or a `Grid`.
        out: the folder of the runs (`<cell>/seed-<n>`) and of the results, `<split>/`: `table.md`, `table.csv`,
            `results.json`, `tradeoff.png`, `robustness.png`, `page.html`.
        seeds: how many, from 0.
        split: `test`; or `validation`, for choices.
        root: where named datasets lie.
        cells: names of those to train, as far as they are not; none for all. Results hold whatever is done.
        jobs: cells at a time, each on its share of the cores; None for one a core, or one on a GPU.
        plugin: a Python file that adds to the tables, such as `ENCODERS` and `TRANSFORMS`, before anything is built.
        progress: whether to show it.
        options: settings of every cell that are to differ from the grid's, such as `epochs=5`.

    Returns:
        What the page shows.

    Raises:
        InputError: something is unknown, a folder was made with other settings, the data has no labels, or a process died.
    """
    _check(split, seeds, jobs, options)
    out = apart(data, out)
    load_plugin(plugin)
    grid = grid if isinstance(grid, Grid) else read_grid(grid)
    for name in cells:
        if name not in [cell.name for cell in grid.cells]:
            unknown("cell", name, [cell.name for cell in grid.cells])
    _check_controls(grid, IMAGES if is_images(str(data)) else CLOUDS)
    tasks = tasks_of(grid, data, out, seeds, split, root, options, progress)
    _check_sweep(grid, tasks)
    read_anew()
    done = gather(tasks, out, split)
    asked = [task for task in tasks if not cells or task.cell.name in cells]
    waiting = [task for task in asked if task.run not in done]
    # Files of one's own may be others than those that what is done was judged on.
    for splits in _read_once(waiting if str(data) in KNOWN else asked, progress):
        _check_data(splits, str(data), split)
        _check_sizes(splits, split, done)
    try:
        _run_all(waiting, asked, jobs, plugin, progress)
    finally:  # what is done is worth a table, also after Ctrl-C
        found = write_results(grid, tasks, out, split)
    return found


def _check(split: str, seeds: int, jobs: int | None, options: dict[str, object]) -> None:
    """Refuse what cannot be, before anything is read."""
    if split not in SPLITS:
        unknown("split", split, SPLITS)
    if seeds < 1:
        raise InputError(f"seeds must be 1 or more, got {seeds}; 3 give an interval")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be 1 or more, got {jobs}; leave it out for one a core")
    for name in ("data", "root", "seed"):
        if name in options:
            raise InputError(
                f"{name} is no setting of the cells but an argument of the comparison, or `seeds`: leave it out"
            )


def tasks_of(
    grid: Grid,
    data: str | Path,
    out: Path,
    seeds: int,
    split: str,
    root: str | Path | None,
    options: dict[str, object],
    progress: bool = True,
) -> list[Task]:
    """Every cell with every seed, all cells of a seed before the next one. Settings that cannot be are refused here."""
    return [
        Task(
            cell,
            _settings(str(data), root, cell, grid.shared | cell.options | options | {"seed": seed}, progress),
            grid.judging,
            split,
            out / cell.folder / f"seed-{seed}",
        )
        for seed in range(seeds)
        for cell in grid.cells
    ]


def _settings(data: str, root: str | Path | None, cell: Cell, options: dict[str, object], progress: bool) -> Settings:
    try:
        return Settings.of(data, root, progress=progress, **options)
    except TypeError as error:  # a text where a number belongs
        raise InputError(f"cell {cell.name}: a setting has a value of the wrong kind ({error})") from None


def _read_once(tasks: list[Task], progress: bool) -> Iterator[Splits]:
    """The data in every form that tasks take it in, before several processes read it."""
    settings = {tuple(modality_of(of.model).loading(of.model).items()): of for of in (task.settings for task in tasks)}
    for form, of in settings.items():
        yield load(of.data, of.root, progress=progress, **dict(form))


def _check_data(splits: Splits, data: str, split: str) -> None:
    judged = splits.test if split == "test" and splits.test is not None else splits.train
    if splits.train.labels is None or judged.labels is None:
        raise InputError(f"{data} has no labels, and a comparison judges by them: name a labelled dataset")
    if split == "test" and splits.test is None:
        raise InputError(
            f"{data} has no test split: judge by a part that is carved from train, with --split validation"
        )


def _check_sizes(splits: Splits, split: str, done: Mapping[tuple[str, int], Mapping[str, object]]) -> None:
    """Refuse to set runs beside each other that were not judged on the same shapes, their classifiers fitted on the same.

    Raises:
        InputError: a part has grown or shrunk since, or has others; of runs that do not say, of before they did, only the former.
    """
    known, judged = (splits.train, splits.test) if split == "test" else learn_from(splits)
    sizes, digests = (len(known), len(judged)), (None, digest_of(judged, labels=True), digest_of_names(judged))
    fitted = None, digest_of(known, labels=True)
    for (cell, seed), figures in done.items():
        then = figures.get("n_train", sizes[0]), figures.get("n_test", sizes[1])
        if then != sizes:
            raise InputError(
                f"{cell} of seed {seed} was judged on {then[1]:,} shapes, its classifiers fitted on {then[0]:,}, and there are "
                f"{sizes[1]:,} and {sizes[0]:,} now: choose another output folder"
            )
        made_by = figures.get("made_by", {})
        if made_by.get("shapes") not in digests or made_by.get("fitted_on") not in fitted:
            part = "learnt from" if made_by.get("shapes") in digests else "was judged on"
            raise InputError(
                f"{cell} of seed {seed} {part} other shapes than there are now: choose another output folder"
            )


def _check_sweep(grid: Grid, tasks: list[Task]) -> None:
    weights = [next(t.settings.objective.consistency for t in tasks if t.cell.name == name) for name in grid.sweep]
    if weights != sorted(set(weights)):
        raise InputError(f"the cells of a sweep differ in their consistency weight, from small to large, got {weights}")


def _check_controls(grid: Grid, modality: Modality) -> None:
    for cell in grid.cells:
        if cell.control in PLAIN and cell.control != modality.plain:
            known = "paper-images or quick-images" if modality.name == "images" else "paper3d or quick"
            raise InputError(
                f"the control {cell.control} is not known of {modality.name}, whose own is {modality.plain}: take the grid "
                f"{known}, or leave the cell out"
            )


def _run_all(tasks: list[Task], asked: list[Task], jobs: int | None, plugin: str | Path | None, progress: bool) -> None:
    """Run `tasks`, what is missing of what was asked for."""
    if not tasks:
        return
    cores = cpu_count()
    jobs = min(len(tasks), (1 if torch.cuda.is_available() else cores) if jobs is None else jobs, MOST)
    with _bar(tasks, asked, progress) as advance:
        if jobs == 1:
            for task in tasks:
                run(task)
                advance(task)
            return
        run_in_processes(run, tasks, jobs, max(1, cores // jobs), plugin, advance)


@contextmanager
def _bar(
    tasks: list[Task], asked: list[Task], progress: bool, clock: Callable[[], float] | None = None
) -> Iterator[Callable[[Task], None]]:
    """Progress and time left over the whole grid, where a cell counts as much as it costs."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), _left_column()
    columns += (TextColumn("{task.fields[note]}", markup=False),)
    with Progress(*columns, console=Console(stderr=True), disable=not progress, get_time=clock) as bar:
        everything, before = sum(task.cost for task in asked), len(asked) - len(tasks)
        begun = everything - sum(task.cost for task in tasks)
        note = f"{before} of {len(asked)} cells"
        line = bar.add_task("comparing", total=everything, completed=begun, note=note, ends=None)
        done: list[Task] = []

        def advance(task: Task) -> None:
            done.append(task)
            spent, left = sum(one.cost for one in done), sum(one.cost for one in tasks) - sum(one.cost for one in done)
            elapsed = bar.tasks[line].elapsed or 0.0
            last = f"last {task.cell.name} seed {task.settings.training.seed}"
            note = f"{before + len(done)} of {len(asked)} cells, {last}"
            bar.update(line, advance=task.cost, note=note, ends=elapsed * (1 + left / spent))

        yield advance


def _left_column() -> object:
    """The time left by what the cells done so far took; rich's own looks at the last few alone, and ends after an hour."""
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class Left(ProgressColumn):
        def render(self, task: object) -> Text:
            ends = task.fields["ends"]
            if ends is None:
                return Text("left -:--:--")
            return Text(f"left {timedelta(seconds=round(max(0.0, ends - (task.elapsed or 0.0))))}")

    return Left(table_column=Column(no_wrap=True))
