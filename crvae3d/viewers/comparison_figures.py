"""Pictures of a comparison as PNG files: the trade-off along a weight, and how accuracy falls with corruption."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crvae3d.evaluation.estimates import Estimate
from crvae3d.viewers.compared import Comparison, Sweep
from crvae3d.viewers.explained import Explanation, called, explain
from crvae3d.viewers.figures import INK, LONGEST, MODEL_COLOURS, blank, plain, save, titled

MARKERS = "os^vDPX"
SHOWN_AS_IT_IS = "\u200b"
"""No space at all: matplotlib leaves words that begin with an underscore out of a legend."""


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
        _draw_sweep(axes, sweep, _scaled(estimates, meaning), MODEL_COLOURS[int(name != "svm_accuracy")])
        titled(axes, meaning.title, "weight", meaning.unit, 3 * LONGEST // 2)
    figure.suptitle(plain(sweep.title, 3 * LONGEST), fontsize=10, color=INK)
    return save(figure, path)


def robustness_figure(comparison: Comparison, rows: Sequence[str], path: Path | str, columns: int = 4) -> Path:
    """Accuracy against the strength of each corruption, with 95 % confidence intervals; strength 0 is clean.

    Args:
        comparison: where the rows are; controls are dotted.
        rows: names; from the seventh on they have the colours of the first. Each has a mark of its own, the first seven at least.
        path: the PNG file.
        columns: plots in a row.

    Returns:
        The path.
    """
    families, shown = comparison.families, [comparison.row(name) for name in rows]
    columns = max(1, min(columns, len(families)))
    figure, first, lines = blank(2.4 * columns, 2.1 * max(1, -(-len(families) // columns)) + 0.5), None, {}
    for place, family in enumerate(families):
        axes = figure.add_subplot(-(-len(families) // columns), columns, place + 1, sharex=first, sharey=first)
        first = first or axes
        for number, row in enumerate(shown):
            style = {"color": MODEL_COLOURS[number % len(MODEL_COLOURS)], "linestyle": ":" if row.control else "-"}
            style["marker"] = MARKERS[number % len(MARKERS)]
            strengths = np.array([0, *comparison.strengths]) + 0.06 * (number - (len(shown) - 1) / 2)
            if row.curve(family):
                scaled = _scaled(row.curve(family), explain("svm_accuracy"))
                lines[number] = _draw_estimates(axes, strengths, scaled, **style)
        below, left = place + columns < len(families), place % columns > 0
        axes.tick_params(labelbottom=not below, labelleft=not left)
        titled(axes, called(family), "" if below else "strength", "" if left else "%")
    texts = [SHOWN_AS_IT_IS + plain(shown[number].name, 3 * LONGEST // 2) for number in lines]
    figure.legend(lines.values(), texts, fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    return save(figure, path)


def _scaled(estimates: Sequence[Estimate | None], meaning: Explanation) -> np.ndarray:
    """(E, 3): low, mean and high as printed, an interval of shares from 0 to 100 %; not a number where one is missing."""
    missing = float("nan")
    rows = [(one.low, one.mean, one.high) if one else (missing,) * 3 for one in estimates]
    found = np.array([[missing if value is None else value for value in row] for row in rows], dtype=np.float64)
    return meaning.factor * (found.clip(0, 1) if meaning.factor == 100 else found)


def _draw_estimates(
    axes, places: np.ndarray, scaled: np.ndarray, color: str, linestyle: str = "-", marker: str = "o"
) -> object:
    """A line through the means with a mark at each, and a thin line over each interval."""
    low, mean, high = scaled.T
    (line,) = axes.plot(places, mean, linestyle, color=color, linewidth=1.5, marker=marker, markersize=3.5)
    axes.vlines(places, low, high, color=color, linewidth=1)
    return line


def _draw_sweep(axes, sweep: Sweep, scaled: np.ndarray, colour: str) -> None:
    """On a logarithmic axis, with a dotted line to 0, which is not on it."""
    places, start = np.array(sweep.places), int(len(sweep.weights) > 1 and sweep.weights[0] == 0)
    axes.plot(places[: start + 1], scaled[: start + 1, 1], ":", color=colour, linewidth=1.5)
    _draw_estimates(axes, places[:start], scaled[:start], colour, linestyle="")
    _draw_estimates(axes, places[start:], scaled[start:], colour)
    axes.set_xticks(places, [f"{weight:g}" for weight in sweep.weights])
