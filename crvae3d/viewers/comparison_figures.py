"""Pictures of a comparison as PNG files: the trade-off along a weight, and how accuracy falls with corruption."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crvae3d.evaluation.estimates import Estimate
from crvae3d.viewers.compared import Comparison, Sweep
from crvae3d.viewers.explained import explain
from crvae3d.viewers.figures import INK, LONGEST, MODEL_COLOURS, blank, plain, save, titled


def tradeoff_figure(comparison: Comparison, path: Path | str) -> Path:
    """Accuracy and what it costs against the weight of the sweep, with 95 % confidence intervals; 0 stands on the left.

    Args:
        comparison: with a sweep.
        path: the PNG file.

    Returns:
        The path.

    Raises:
        ValueError: there is no sweep.
    """
    if comparison.sweep is None:
        raise ValueError("a trade-off is drawn along a sweep, and the comparison has none")
    sweep, figure = comparison.sweep, blank(4.6 * len(comparison.tradeoff), 3.6)
    for place, name in enumerate(comparison.tradeoff):
        axes, meaning = figure.add_subplot(1, len(comparison.tradeoff), place + 1), explain(name)
        estimates = [comparison.row(row).figures.get(name) for row in sweep.rows]
        _draw_sweep(axes, sweep, _scaled(estimates, meaning.factor), MODEL_COLOURS[place])
        titled(axes, meaning.title, "weight", meaning.unit, 3 * LONGEST // 2)
    figure.suptitle(plain(sweep.title, 3 * LONGEST), fontsize=10, color=INK)
    return save(figure, path)


def robustness_figure(comparison: Comparison, rows: Sequence[str], path: Path | str, columns: int = 5) -> Path:
    """Accuracy against the strength of each corruption, with 95 % confidence intervals; strength 0 is clean.

    Args:
        comparison: where the rows are; controls are dotted.
        rows: names, at most about six.
        path: the PNG file.
        columns: plots in a row.

    Returns:
        The path.
    """
    families, shown = comparison.families, [comparison.row(name) for name in rows]
    columns = max(1, min(columns, len(families)))
    figure, first = blank(2.9 * columns, 2.5 * max(1, -(-len(families) // columns)) + 0.5), None
    for place, family in enumerate(families):
        axes = figure.add_subplot(-(-len(families) // columns), columns, place + 1, sharex=first, sharey=first)
        first = first or axes
        for number, row in enumerate(shown):
            style = {"color": MODEL_COLOURS[number % len(MODEL_COLOURS)], "linestyle": ":" if row.control else "-"}
            strengths = np.array([0, *comparison.strengths]) + 0.06 * (number - (len(shown) - 1) / 2)
            if row.curve(family):
                _draw_estimates(axes, strengths, _scaled(row.curve(family), 100), label=plain(row.name), **style)
        below, left = place + columns < len(families), place % columns > 0
        axes.tick_params(labelbottom=not below, labelleft=not left)
        titled(axes, family.replace("_", " "), "" if below else "strength", "" if left else "%")
    lines = {text: line for axes in figure.axes for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines, fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return save(figure, path)


def _scaled(estimates: Sequence[Estimate | None], factor: float) -> np.ndarray:
    """(E, 3): low, mean and high as printed; not a number where one is missing."""
    missing = float("nan")
    rows = [(one.low, one.mean, one.high) if one else (missing,) * 3 for one in estimates]
    return factor * np.array([[missing if value is None else value for value in row] for row in rows], dtype=np.float64)


def _draw_estimates(
    axes, places: np.ndarray, scaled: np.ndarray, color: str, linestyle: str = "-", label: str = ""
) -> None:
    """A line through the means with a dot at each, and a thin line over each interval."""
    low, mean, high = scaled.T
    axes.plot(places, mean, linestyle, color=color, label=label, linewidth=1.5, marker="o", markersize=3.5)
    axes.vlines(places, low, high, color=color, linewidth=1)


def _draw_sweep(axes, sweep: Sweep, scaled: np.ndarray, colour: str) -> None:
    """On a logarithmic axis, with a dotted line to 0, which is not on it."""
    places, start = np.array(sweep.places), int(len(sweep.weights) > 1 and sweep.weights[0] == 0)
    axes.plot(places[: start + 1], scaled[: start + 1, 1], ":", color=colour, linewidth=1.5)
    _draw_estimates(axes, places[:start], scaled[:start], colour, linestyle="")
    _draw_estimates(axes, places[start:], scaled[start:], colour)
    axes.set_xticks(places, [f"{weight:g}" for weight in sweep.weights])
