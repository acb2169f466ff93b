"""How much of what seeds scatter is the choice of the linear SVM's cost C: the committed grids, nothing trained or judged anew.

    python benchmarks/cost_share.py       seconds

The runs of a cell differ in the seed alone, and C is chosen anew for each. One line a grid is fitted to how far each run's accuracy
is from the mean of its cell, against how far its log10 C is from the cell's. Told are the slope, in points a tenfold C with a
95 % interval, and the share of the variance within cells that the line takes away. It is an association: what makes C large may
move the accuracy as well.
Writes results/cost_share.json.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

from crvae3d.evaluation.robustness import flat
from crvae3d.experiment.settings import provenance

RESULTS = Path(__file__).parent / "results"
GRIDS = ("neighbourhoods40", "neighbourhoods40_30", "neighbourhoods10")
FIGURES = ("svm_accuracy", "robust/so3", "robust/so3/5", "robust/thin/5")


def line(grid: str, figure: str) -> dict[str, object]:
    """The line of one figure over the cells of one grid that have two runs or more and are no controls."""
    cells = json.loads((RESULTS / grid / "validation" / "results.json").read_text())["cells"]
    costs, values = [], []
    for cell in cells.values():
        runs = [run for run in cell["runs"].values() if run["settings"]["control"] is None]
        if len(runs) > 1:
            cost = np.log10([run["figures"]["svm_cost"] for run in runs])
            value = np.array([100 * flat(run["figures"])[figure] for run in runs])
            costs, values = [*costs, cost - cost.mean()], [*values, value - value.mean()]
    x, y = np.concatenate(costs), np.concatenate(values)
    slope, free = x @ y / (x @ x), len(x) - len(costs) - 1  # a mean a cell, and the slope
    left = ((y - slope * x) ** 2).sum()
    half = stats.t.ppf(0.975, free) * np.sqrt(left / free / (x @ x))
    told = {"cells": len(costs), "runs": len(x), "points a tenfold C": slope, "low": slope - half, "high": slope + half}
    return told | {"share of variance within cells": 1 - left / (y @ y)}


def main() -> None:
    found = {grid: {figure: line(grid, figure) for figure in FIGURES} for grid in GRIDS}
    for grid, figures in found.items():
        for name, one in figures.items():
            slope = "{points a tenfold C:+.1f} ({low:.1f} to {high:.1f})".format_map(one)
            print(f"{grid:20} {name:13} {slope:22} {100 * one['share of variance within cells']:.0f} %")
    told = {"what": "accuracy, % of shapes, against log10 C within cells", "grids": found, "made_by": provenance()}
    (RESULTS / "cost_share.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
