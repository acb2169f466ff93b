"""What the page of a comparison draws and tells, as JSON types, in the units that are printed."""

from itertools import zip_longest

from crvae3d.evaluation.estimates import Estimate
from crvae3d.viewers.compared import Comparison, Row, printed
from crvae3d.viewers.explained import about, called, explain
from crvae3d.viewers.markup import number

SHOWN = 6
"""Curves that can be told apart by colour."""


def drawn(comparison: Comparison) -> dict:
    """All that the scripts sort, show and draw, as JSON types, in the units that are printed."""
    reference = comparison.reference
    return {
        "reference": reference.name if reference else None,
        "columns": [
            {
                "title": meaning.title,
                "unit": meaning.unit,
                "better": meaning.better,
                "text": about(name, comparison.noun),
            }
            for name, meaning in ((name, comparison.meaning(name)) for name in comparison.columns)
        ],
        "rows": [_row_data(row, comparison) for row in comparison.rows],
        "strengths": [0, *comparison.strengths],
        "families": list(map(called, comparison.families)),
        "selected": _selected(comparison),
        "sweep": _sweep(comparison),
    }


def _row_data(row: Row, comparison: Comparison) -> dict:
    return {
        "name": row.name,
        "group": row.group,
        "control": row.control,
        "chosen": row.chosen,
        "means": [number(one.mean) if (one := row.figures.get(name)) else None for name in comparison.columns],
        "details": [_details(row, name, comparison) for name in comparison.columns],
        "differences": [_difference(row, name) for name in comparison.columns],
        "curves": [[_point(one, "svm_accuracy") for one in row.curve(family)] for family in comparison.families],
    }


def _details(row: Row, figure: str, comparison: Comparison) -> list[str]:
    """What hovering over a cell tells, line by line."""
    meaning, estimate = explain(figure), row.figures.get(figure)
    if estimate is None:
        return ["not measured"]
    decimals = meaning.decimals(*estimate.values)
    lines = ["seeds: " + ", ".join(meaning.show(value, decimals) for value in estimate.values)]
    if estimate.low is not None:
        low, high = (meaning.show(value, decimals) for value in (estimate.low, estimate.high))
        deviation = "" if estimate.deviation is None else f", deviation {meaning.show(estimate.deviation, decimals)}"
        lines.append(f"95 % interval: {low} to {high}{deviation}")
    difference = _difference(row, figure)
    if difference and comparison.reference:
        told = {"differs": "different", "": "not told apart"}.get(difference["verdict"], difference["verdict"])
        lines.append(f"from {comparison.reference.name}: {difference['text']}, {told}")
    return lines


def _difference(row: Row, figure: str) -> dict | None:
    estimate, meaning = row.differences.get(figure), explain(figure)
    if estimate is None:
        return None
    shown = (estimate.mean, estimate.low, estimate.high)
    decimals = meaning.decimals(*shown) + (
        meaning.digits is not None
    )  # an interval that just misses zero should show it
    mean, low, high = (meaning.show(value, decimals) for value in shown)
    sign = "+" if estimate.mean > 0 and mean.strip("0.,") else ""
    text = f"{sign}{mean} ({low} to {high})" if estimate.low is not None else f"{sign}{mean}"
    seeds = [number(value) and meaning.factor * value for value in estimate.values]
    return {**(_point(estimate, figure) or {}), "seeds": seeds, "text": text, "verdict": row.verdict(figure)}


def _point(estimate: Estimate | None, figure: str) -> dict | None:
    """An estimate as it is drawn: the mean, its interval and what is printed, or None where there is nothing to draw."""
    if estimate is None or number(estimate.mean) is None:
        return None
    meaning = explain(figure)
    mean, low, high = (
        None if number(value) is None else round(meaning.factor * value, 6)
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return {"mean": mean, "low": low, "high": high, "text": " ± ".join(printed(figure, estimate))}


def _selected(comparison: Comparison) -> list[int]:
    """The rows whose curves are drawn at first: the reference, chosen and controls in turn, or else the first few."""
    rows = [(place, row) for place, row in enumerate(comparison.rows) if any(map(row.curve, comparison.families))]
    chosen, controls = ([place for place, row in rows if getattr(row, kind)] for kind in ("chosen", "control"))
    wanted = [place for place, row in rows if row.reference]
    wanted += [place for pair in zip_longest(chosen, controls) for place in pair if place is not None]
    return list(dict.fromkeys(wanted or [place for place, _ in rows[:3]]))[:SHOWN]


def _sweep(comparison: Comparison) -> dict | None:
    sweep = comparison.sweep
    if sweep is None:
        return None
    rows = [comparison.row(name) for name in sweep.rows]
    plots = [
        {"title": meaning.title, "unit": meaning.unit, "points": [_point(row.figures.get(name), name) for row in rows]}
        for name, meaning in ((name, comparison.meaning(name)) for name in comparison.tradeoff)
    ]
    plots = [plot for plot in plots if any(plot["points"])]
    labels = [f"{weight:g}" for weight in sweep.weights]
    return {"places": sweep.places, "labels": labels, "rows": list(sweep.rows), "plots": plots} if plots else None
