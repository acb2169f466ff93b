"""One page, and one Markdown table, of many rows that were measured over the same seeds."""

import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from crvae3d.evaluation.estimates import Estimate
from crvae3d.viewers.compared import Comparison, Row, Sweep, printed
from crvae3d.viewers.comparison_data import drawn
from crvae3d.viewers.explained import Explanation, about, explain
from crvae3d.viewers.markup import bullets, document, fill, folded, paragraphs, write

__all__ = ["Comparison", "Estimate", "Row", "Sweep", "comparison_page", "markdown_table", "write_comparison"]

_STYLES = ("page.css", "comparison.css")
_SCRIPTS = ("charts.js", "differences.js", "sorting.js", "curves.js", "comparison.js")
_READING = (
    "An interval that crosses zero tells no difference; where there is none, one row in twenty is marked all the same."
)
_HALF = "± half the width of their 95 % confidence intervals"


def write_comparison(path: Path | str, comparison: Comparison) -> Path:
    """Write `comparison` as one HTML file that asks nothing of the network.

    Args:
        path: where the page goes; missing folders are made.
        comparison: what it shows. Names may hold any text.

    Returns:
        The path of the file.

    Raises:
        InputError: if the file cannot be written.
    """
    return write(path, comparison_page(comparison))


def comparison_page(comparison: Comparison) -> str:
    """The page as text."""
    parts = {
        "title": escape(comparison.title),
        "alarms": bullets("alarms", comparison.alarms),
        "summary": paragraphs(comparison.summary),
        "reference": escape(comparison.reference.name) if comparison.reference else "",
        "interval": _seeds(comparison).replace(" %", "&nbsp;%"),
        "reading": _READING if _marked(comparison) else "",
        "legend": escape(_legend(comparison)),
        "table": _table(comparison),
        "notes": bullets("notes", comparison.notes),
        "meanings": folded("What the figures mean", _meanings(comparison)),
        "sweep": escape(_sweep(comparison)),
        "settings": folded("Settings", comparison.settings),
    }
    return document(comparison.title, fill("comparison.html", parts), drawn(comparison), _STYLES, _SCRIPTS)


def markdown_table(comparison: Comparison, columns: Sequence[str]) -> str:
    """The rows as a table for GitHub, with what its marks mean below.

    Args:
        comparison: the rows.
        columns: figures, by name.
    """
    grouped = len(comparison.groups) > 1
    heads = ["", *([""] if grouped else []), *(_markdown_head(comparison.meaning(name)) for name in columns)]
    lines = [_line(heads), _line(["---"] * (len(heads) - len(columns)) + ["---:"] * len(columns))]
    for group, rows in comparison.groups.items():
        for place, row in enumerate(rows):
            start = [in_markdown(group) if place == 0 else ""] if grouped else []
            tags = f" ({', '.join(_tags(row))})" if _tags(row) else ""
            lines.append(
                _line([*start, in_markdown(row.name) + tags, *(_markdown_cell(row, name) for name in columns)])
            )
    told = _seeds(comparison, _HALF)
    if _marked(comparison):
        told += (
            f" **Bold** is better than {in_markdown(comparison.reference.name)} and *italics* are worse: zero lies outside the "
            "95 % confidence interval of the difference, seed by seed. What is neither cannot be told apart from it, or "
            "belongs to a figure of which neither direction is better."
        )
    return "\n".join(lines) + f"\n\n{told}\n"


def _seeds(comparison: Comparison, interval: str = "with their 95 % confidence intervals") -> str:
    """What stands behind each mean."""
    if comparison.seeds < 2:
        return "One seed: there are no intervals, and no difference can be told from luck."
    few, most = comparison.fewest_seeds, comparison.seeds
    return f"Means over {most if few == most else f'{few} to {most}'} seeds {interval}."


def _legend(comparison: Comparison) -> str:
    marks = ""
    if _marked(comparison):
        marks = (
            f" ▲ better and ▼ worse than {comparison.reference.name}: zero lies outside the 95 % confidence interval of the "
            "difference, seed by seed."
        )
    best = " Bold is the best of a column; controls are bold where none of the others is better."
    return f"{_seeds(comparison, _HALF)}{marks}{best}"


def _sweep(comparison: Comparison) -> str:
    """What the trade-off plot shows, in words."""
    if comparison.sweep is None:
        return ""
    zero = " Weight 0 stands left of the logarithmic axis." if 0 in comparison.sweep.weights else ""
    compared = comparison.reference is not None and comparison.reference.name in comparison.sweep.rows
    large = " The larger point is the reference." if compared else ""
    return f"{comparison.sweep.title}. {_seeds(comparison)}{zero}{large}"


def _headed(meaning: Explanation) -> str:
    return f"{meaning.title}, {meaning.unit}" if meaning.unit else meaning.title


def _tags(row: Row) -> list[str]:
    return [name for name in ("reference", "control", "chosen") if getattr(row, name)]


def _marked(comparison: Comparison) -> bool:
    """Whether any row could be told from the reference."""
    return any(one and one.low is not None for row in comparison.rows for one in row.differences.values())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def in_markdown(text: str) -> str:
    """Text that GitHub shows as it is: no markup, no end of a cell, no mention of anybody."""
    text = re.sub(r"([\\`*_\[\]|~$@]|:(?=\S))", r"\\\1", " ".join(str(text).split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _markdown_head(meaning: Explanation) -> str:
    return in_markdown(_headed(meaning)) + {"higher": " ↑", "lower": " ↓", None: ""}[meaning.better]


def _markdown_cell(row: Row, figure: str) -> str:
    around = {"better": "**", "worse": "*"}.get(row.verdict(figure), "")
    text = " ± ".join(printed(figure, row.figures.get(figure)))
    return f"{around}{text}{around}"


def _table(comparison: Comparison) -> str:
    meanings = [comparison.meaning(name) for name in comparison.columns]
    best = [_best(comparison, name) for name in comparison.columns]
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(meaning.title)}'
        f"<span>{escape(meaning.unit)}</span></button></th>"
        for meaning in meanings
    )
    places = {row.name: place for place, row in enumerate(comparison.rows)}
    bodies = "".join(
        f'<tbody><tr class="group"><th scope="rowgroup" colspan="{1 + len(meanings)}"><span>{escape(group)}</span></th></tr>'
        + "".join(_row(row, places[row.name], comparison.columns, best) for row in rows)
        + "</tbody>"
        for group, rows in comparison.groups.items()
    )
    return f'<table class="cells"><thead><tr><th class="what"></th>{heads}</tr></thead>{bodies}</table>'


def _best(comparison: Comparison, figure: str) -> float | None:
    """The best mean among rows that are no controls, or None where no direction is better or all print alike."""
    meaning = explain(figure)
    found = [(row, one.mean) for row in comparison.rows if (one := row.figures.get(figure)) and math.isfinite(one.mean)]
    if meaning.best(mean for _, mean in found) is None:
        return None
    means = [mean for row, mean in found if not row.control] or [mean for _, mean in found]
    return max(means) if meaning.better == "higher" else min(means)


def _as_good(meaning: Explanation, mean: float, best: float) -> bool:
    """Whether a mean prints like the best or is better."""
    return meaning.show(mean) == meaning.show(best) or (mean > best if meaning.better == "higher" else mean < best)


def _row(row: Row, place: int, columns: Sequence[str], best: Sequence[float | None]) -> str:
    tags = _tags(row)
    shown = "".join(f"<small>{tag}</small>" for tag in tags)
    name = f'<th scope="row" class="what">{escape(row.name)}{shown}<span>{escape(row.group)}</span></th>'
    cells = "".join(_cell(row, figure, top) for figure, top in zip(columns, best, strict=True))
    return f'<tr data-row="{place}" class="{" ".join(tags)}">{name}{cells}</tr>'


def _cell(row: Row, figure: str, best: float | None) -> str:
    estimate = row.figures.get(figure)
    mean, *half = printed(figure, estimate)
    kinds = [row.verdict(figure)] if row.verdict(figure) in ("better", "worse") else []
    if estimate and best is not None and _as_good(explain(figure), estimate.mean, best):
        kinds.append("best")
    spread = f"<small> ± {half[0]}</small>" if half else ""
    return f'<td class="{" ".join(kinds)}">{mean}{spread}</td>'


def _meanings(comparison: Comparison) -> dict[str, str]:
    texts = {name: about(name, comparison.noun) for name in comparison.columns}
    return {_headed(comparison.meaning(name)): text for name, text in texts.items() if text}
