"""The results of a grid: what its finished folders hold, over seeds, as a comparison and as files."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from crvae3d.errors import InputError
from crvae3d.evaluation.estimates import Estimate, estimate, paired_difference
from crvae3d.evaluation.evaluate import Figures
from crvae3d.evaluation.robustness import families_of_all, flat
from crvae3d.experiment.cells import Task
from crvae3d.experiment.grid import Grid, Judging
from crvae3d.experiment.modalities import modality_of
from crvae3d.experiment.notes import alarms, notes, summary
from crvae3d.experiment.pretrained import model_of
from crvae3d.experiment.settings import provenance
from crvae3d.experiment.tables import Objective
from crvae3d.points.corrupt import STRENGTHS
from crvae3d.training.settings import Training
from crvae3d.viewers.compared import Comparison, Row, Sweep
from crvae3d.viewers.comparison import in_markdown, markdown_table, write_comparison
from crvae3d.viewers.comparison_figures import robustness_figure, tradeoff_figure
from crvae3d.viewers.explained import explain

COLUMNS = (
    *("svm_accuracy", "svm_accuracy_pooled", "robust/so3/5", "robust/thin/5", "robust_mean", "robust_pooled_mean"),
    *("svm_literature", "svm_literature_pooled", "knn_accuracy", "few_shot_5_10", "few_shot_10_10"),
    *("few_shot_10_10_pooled", "retrieval_map", "retrieval_map_pooled", "nmi", "nmi_pooled"),
    *("chamfer", "log_likelihood_10", "log_likelihood_1000", "effective_samples"),
    *("nll_1000", "nld_1000", "bits_per_dimension", "mean_squared_error"),
    *("consistency_gap", "consistency_shift", "active_units", "mutual_information", "rate", "distortion"),
)
SHORT = (
    *COLUMNS[:7],
    *("knn_accuracy", "few_shot_10_10", "retrieval_map", "chamfer", "log_likelihood_1000"),
    *("consistency_gap", "consistency_shift"),
)
SHORT_OF_IMAGES = (
    *("svm_accuracy", "svm_accuracy_pooled", "knn_accuracy", "nll_1000", "nld_1000"),
    *("mutual_information", "active_units", "rate", "mean_squared_error", "consistency_gap", "consistency_shift"),
)

RESULTS = "results.json"

Run = tuple[str, int]
"""A cell's name and a seed."""
BySeed = Mapping[int, float | None]
Found = Mapping[str, Mapping[str, BySeed]]
"""Of each cell each figure by seed."""


def gather(tasks: Sequence[Task], out: Path, split: str) -> dict[Run, Figures]:
    """The figures of what is done: from run folders, and for those that are gone from `results.json`.

    There a run counts where it was made with the same settings, so that one file is enough to go on with a grid.
    """
    kept = _kept(out / split / RESULTS)
    found = {}
    for task in tasks:
        name, seed = task.run
        run = kept.get(name, {}).get("runs", {}).get(str(seed))
        same = run is not None and _same(run["settings"], task)
        figures = task.figures() or (task.meaningful(run["figures"]) if same else None)
        if figures is not None:
            found[task.run] = figures
    return found


def described(task: Task) -> dict[str, object]:
    """All settings of a run that decide its numbers, as JSON has them."""
    settings = asdict(task.settings) | {"root": None, "control": task.cell.control, "judging": asdict(task.judging)}
    if Path(task.settings.data).is_absolute():  # wherever it lies
        settings["data"] = Path(task.settings.data).name
    return json.loads(json.dumps(settings))


def _same(settings: dict[str, object], task: Task) -> bool:
    """Whether recorded settings are those of a task; names that nobody knows now are others."""
    try:
        return _complete(settings) == described(task)
    except (InputError, KeyError, TypeError):
        return False


def _complete(settings: dict[str, object]) -> dict[str, object]:
    """Settings as an earlier version wrote them: what it did not know yet has its default."""
    made = {"model": model_of(settings["model"]), "objective": Objective.recorded(settings["objective"])}
    made |= {"training": Training(**settings["training"]), "judging": Judging(**settings["judging"])}
    return settings | json.loads(json.dumps({name: asdict(part) for name, part in made.items()}))


def _kept(path: Path) -> dict[str, dict[str, object]]:
    """The cells of an earlier results file, by name."""
    if not path.exists():
        return {}
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return {
            name: cell | {"runs": {seed: dict(run) for seed, run in cell["runs"].items()}}
            for name, cell in cells.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not the results of a comparison ({error}): restore it, or remove it") from None


def write_results(grid: Grid, tasks: Sequence[Task], out: Path, split: str) -> Comparison | None:
    """Gather what is done and write it into `out/<split>`; None where nothing is."""
    figures = gather(tasks, out, split)
    if not figures:
        return None
    out = out / split
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, dict[int, float | None]]] = {}
    families = families_of_all(figures.values())
    for (name, seed), one in figures.items():
        mine = found.setdefault(name, {})
        for figure, value in flat(one, families).items():
            if figure != "seed":
                mine.setdefault(figure, {})[seed] = value
    comparison = _comparison(grid, found, figures, tasks, split)
    _write_json(out / RESULTS, grid, tasks, figures, found, split)
    (out / "table.md").write_text(_markdown(grid, comparison, found), encoding="utf-8", errors="replace")
    _write_csv(out / "table.csv", grid, found)
    named = {grid.reference, *grid.shown}
    shown = [row.name for row in comparison.rows if row.name in named and row.robustness]
    for name in ("tradeoff.png", "robustness.png"):  # those of an earlier grid
        (out / name).unlink(missing_ok=True)
    if comparison.sweep and comparison.tradeoff:
        tradeoff_figure(comparison, out / "tradeoff.png")
    if shown:
        robustness_figure(comparison, shown, out / "robustness.png")
    write_comparison(out / "page.html", comparison)
    return comparison


def _comparison(
    grid: Grid, found: Found, figures: Mapping[Run, Figures], tasks: Sequence[Task], split: str
) -> Comparison:
    rows = [_row(grid, name, found) for name in (cell.name for cell in grid.cells) if name in found]
    swept = [cell for cell in (grid[name] for name in grid.sweep) if cell.name in found]
    weights = [next(t for t in tasks if t.cell == cell).settings.objective.consistency for cell in swept]
    families = next((list(row.robustness) for row in rows if row.robustness), [])
    return Comparison(
        title=grid.title,
        summary=summary(grid, figures, tasks, split),
        rows=rows,
        columns=[name for name in COLUMNS if any(row.figures.get(name) for row in rows)],
        sweep=Sweep("weight of the regulariser", weights, [cell.name for cell in swept]) if len(swept) > 1 else None,
        alarms=alarms(figures, tasks),
        notes=notes(figures, tasks, len(families)),
        strengths=STRENGTHS,
        noun=modality_of(tasks[0].settings.model).name.removesuffix("s"),
        settings={"shared": grid.shared} | {cell.name: cell.options or cell.control for cell in grid.cells},
    )


def _row(grid: Grid, name: str, found: Found) -> Row:
    mine, reference = found[name], found.get(grid.reference, {})
    cell = grid[name]
    figures = {figure: estimate(values) for figure, values in mine.items()}
    families = dict.fromkeys(
        part[1] for part in (figure.split("/") for figure in mine) if part[0] == "robust" and len(part) == 3
    )
    others = {} if name == grid.reference else reference
    return Row(
        name,
        cell.group,
        figures,
        {figure: paired_difference(values, others[figure]) for figure, values in mine.items() if figure in others},
        {family: [figures.get(f"robust/{family}/{strength}") for strength in STRENGTHS] for family in families},
        control=cell.is_control,
        reference=name == grid.reference,
        chosen=name in grid.chosen,
    )


def _markdown(grid: Grid, comparison: Comparison, found: Found) -> str:
    """The table, and below it what each cell adds to the one that it names as its own control."""
    short = SHORT if "chamfer" in comparison.columns else SHORT_OF_IMAGES
    columns = [name for name in short if name in comparison.columns]
    parts = [f"# {in_markdown(comparison.title)}", in_markdown(comparison.summary)]
    if comparison.alarms:
        parts.append("\n".join(f"- ⚠ {in_markdown(alarm)}" for alarm in comparison.alarms))
    parts.append(markdown_table(comparison, columns))
    pairs = [cell for cell in grid.cells if cell.against and cell.name in found and cell.against in found]
    if pairs:
        heads = [explain(name) for name in columns]
        lines = [
            "| | against | "
            + " | ".join(f"{head.title}{f' ({head.unit})' if head.unit else ''}" for head in heads)
            + " |",
            "|---|---|" + "---:|" * len(heads),
            *(_pair(cell.name, cell.against, columns, found) for cell in pairs),
        ]
        told = "Differences from the variant named beside, paired by seed, with 95 % intervals; bold where nought lies outside."
        parts += ["## What each step adds", told, "\n".join(lines)]
    return "\n\n".join([*parts, "\n".join(f"- {in_markdown(note)}" for note in comparison.notes)]) + "\n"


def _pair(name: str, against: str, columns: Sequence[str], found: Found) -> str:
    cells = []
    for figure in columns:
        difference = paired_difference(found[name].get(figure, {}), found[against].get(figure, {}))
        cells.append(_difference(figure, difference))
    return f"| {in_markdown(name)} | {in_markdown(against)} | " + " | ".join(cells) + " |"


def _difference(figure: str, difference: Estimate | None) -> str:
    if difference is None:
        return "–"
    told = explain(figure)
    text = ("+" if difference.mean > 0 else "") + told.show(difference.mean)
    if difference.low is not None:
        text += f" ± {told.show((difference.high - difference.low) / 2)}"
    return f"**{text}**" if difference.is_apart_from_nought else text


ESTIMATES = ("mean", "deviation", "low", "high")


def _write_csv(path: Path, grid: Grid, found: Found) -> None:
    """One line a cell and figure, with the estimate and the paired difference from the cell's own control."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["cell", "group", "figure", "seeds", *ESTIMATES, "against", *(f"difference_{e}" for e in ESTIMATES)]
        )
        for name, figures in found.items():
            cell = grid[name]
            others = found.get(cell.against, {})
            for figure, values in figures.items():
                mine, apart = estimate(values), paired_difference(values, others.get(figure, {}))
                writer.writerow(
                    [name, cell.group, figure, len(mine.values) if mine else 0, *_columns(mine)]
                    + [cell.against or "", *_columns(apart)]
                )


def _columns(one: Estimate | None) -> list[float | str]:
    return ["" if one is None or getattr(one, name) is None else getattr(one, name) for name in ESTIMATES]


def _estimates(figures: Mapping[str, BySeed], others: Mapping[str, BySeed]) -> dict[str, dict[str, object]]:
    """Of the figures of the tables what the CSV says of all: over seeds, and of the difference from the cell's own control."""
    told = {}
    for figure in COLUMNS:
        values, against = figures.get(figure, {}), others.get(figure, {})
        mine, apart = estimate(values), paired_difference(values, against)
        if mine is not None:
            told[figure] = _over_seeds(mine, values)
        if apart is not None:
            told[figure]["difference"] = _over_seeds(apart, values, against)
    return told


def _over_seeds(one: Estimate, *by_seed: BySeed) -> dict[str, object]:
    """An estimate, and the seeds that all of these have."""
    seeds = set.intersection(*({seed for seed, value in values.items() if value is not None} for values in by_seed))
    return {name: getattr(one, name) for name in ESTIMATES} | {"seeds": sorted(seeds)}


def _write_json(
    path: Path, grid: Grid, tasks: Sequence[Task], figures: Mapping[Run, Figures], found: Found, split: str
) -> None:
    """Everything that the tables are made of, and enough to go on where the run folders are gone.

    Runs that this call did not ask for stay in it.
    """
    cells = _kept(path)
    for task in tasks:
        if task.run in figures:
            cell = cells.setdefault(task.cell.name, {"runs": {}})
            cell |= {"group": task.cell.group, "against": task.cell.against}
            cell["runs"][str(task.run[1])] = {"settings": described(task), "figures": figures[task.run]}
    for name, mine in found.items():
        cells[name]["estimates"] = _estimates(mine, found.get(grid[name].against, {}))
    made = sorted({one["made_by"]["commit"] for one in figures.values()})
    result = {"what": grid.title, "split": split, "made_by": provenance(), "runs_made_at": made, "cells": cells}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result) + "\n", encoding="utf-8")
    part.replace(path)
