"""What a comparison over seeds shows, as plain data: rows that hold estimates, and the sweep of one weight."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from crvae3d.errors import unknown
from crvae3d.evaluation.estimates import Estimate
from crvae3d.viewers.explained import Explanation, explain

PRICES = ("chamfer", "nll_1000", "nld_1000", "mean_squared_error")
"""What accuracy may cost: the first that was measured is drawn beside it against the weight of a sweep."""

Verdict = Literal["better", "worse", "differs", ""]


def printed(figure: str, estimate: Estimate | None) -> list[str]:
    """The mean as printed, and half the width of its interval where there is one, to as many decimals."""
    meaning = explain(figure)
    if estimate is None:
        return [meaning.show(None)]
    shown = (estimate.mean,) if estimate.low is None else (estimate.mean, (estimate.high - estimate.low) / 2)
    return [meaning.show(value, meaning.decimals(*shown)) for value in shown]


Estimates = Mapping[str, Estimate | None]
"""By figure (`crvae3d.viewers.explained.FIGURES` says what each means); one that is missing is None, or not there."""


@dataclass(frozen=True, eq=False)
class Row:
    """One of the things that are compared.

    Attributes:
        name: its own.
        group: the heading under which it stands.
        figures: what was measured.
        differences: from the reference row, seed by seed.
        robustness: by corruption, one estimate a strength; strength 0 is the figure "svm_accuracy".
        control: it is there to be beaten.
        reference: the row that others are compared with.
        chosen: a reader should look at this one first.
    """

    name: str
    group: str
    figures: Estimates
    differences: Estimates = field(default_factory=dict)
    robustness: Mapping[str, Sequence[Estimate | None]] = field(default_factory=dict)
    control: bool = False
    reference: bool = False
    chosen: bool = False

    def curve(self, family: str) -> list[Estimate | None]:
        """The accuracy of clean shapes, then of shapes corrupted ever more strongly; empty where none were."""
        estimates = self.robustness.get(family, ())
        return [self.figures.get("svm_accuracy"), *estimates] if any(estimates) else []

    def verdict(self, figure: str) -> Verdict:
        """Whether zero lies outside the interval of the difference, and on which side of it the figure's better lies."""
        difference = self.differences.get(figure)
        if difference is None or difference.low is None or not (difference.low > 0 or difference.high < 0):
            return ""
        better = explain(figure).better
        if better is None:
            return "differs"
        return "better" if (difference.low > 0) == (better == "higher") else "worse"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Rows that differ in one weight alone.

    Attributes:
        title: what is weighed, such as "CR-VAE, weight of the consistency term".
        weights: one a row, from small to large; 0 may be the first.
        rows: their names.
    """

    title: str
    weights: Sequence[float]
    rows: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.rows):
            raise ValueError(f"a sweep needs one weight a row: {len(self.weights)} weights, {len(self.rows)} rows")
        if not all(math.isfinite(weight) and weight >= 0 for weight in self.weights):
            raise ValueError(f"weights must be finite and not below 0, got {list(self.weights)}")
        if list(self.weights) != sorted(set(self.weights)):
            raise ValueError(f"weights must rise, got {list(self.weights)}")

    @property
    def places(self) -> list[float]:
        """Where the weights stand on a logarithmic axis (powers of ten); 0 stands left of the others, off the scale."""
        first = math.log10(next((weight for weight in self.weights if weight > 0), 1.0))
        return [math.log10(weight) if weight > 0 else first - 0.75 for weight in self.weights]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything on one page.

    Attributes:
        title: the page's heading.
        summary: plain text; a blank line starts a paragraph.
        rows: each with a name of its own; at most one is the reference, which differences need.
        columns: the figures of the table, in its order; the first is what the page opens with.
        sweep: the rows of the trade-off plot, or None.
        alarms: what must be read before any figure, such as that a training has failed; shown on top.
        notes: what a careful reader wants to know.
        strengths: of the corruptions, from small to large.
        settings: what ran, shown folded at the end.
        noun: what the texts call one of the things that are judged.
    """

    title: str
    summary: str
    rows: Sequence[Row]
    columns: Sequence[str]
    sweep: Sweep | None = None
    alarms: Sequence[str] = ()
    notes: Sequence[str] = ()
    strengths: Sequence[int] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    noun: str = "shape"

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        references = [row.name for row in self.rows if row.reference]
        if len(set(names)) < len(names):
            raise ValueError(f"each row needs a name of its own, got {names}")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"each column needs a figure of its own, got {list(self.columns)}")
        if len(references) > 1:
            raise ValueError(f"one row can be the reference, got {references}")
        if not references and any(row.differences for row in self.rows):
            raise ValueError("differences need the row that they are from: mark it as the reference")
        strangers = set(self.sweep.rows) - set(names) if self.sweep else set()
        if strangers:
            raise ValueError(f"the sweep has rows {sorted(strangers)}, the comparison has {names}")
        for row in self.rows:
            for family, estimates in row.robustness.items():
                if len(estimates) != len(self.strengths):
                    raise ValueError(
                        f"{row.name}, {family}: one estimate a strength is needed, "
                        f"{len(self.strengths)} strengths, {len(estimates)} estimates"
                    )

    @property
    def reference(self) -> Row | None:
        """The row that others are compared with."""
        return next((row for row in self.rows if row.reference), None)

    @property
    def groups(self) -> dict[str, list[Row]]:
        """The rows by group, both in the order in which they came."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.group, []).append(row)
        return found

    def meaning(self, figure: str) -> Explanation:
        """What a figure means, its title in the words for what is judged."""
        known = explain(figure)
        return replace(known, title=known.title.replace("shape", self.noun))

    @property
    def tradeoff(self) -> tuple[str, ...]:
        """The figures that are drawn against the weight of the sweep: accuracy and what it may cost, where measured of its rows."""
        swept = [self.row(name) for name in self.sweep.rows] if self.sweep else []
        known = {name for row in swept for name, one in row.figures.items() if one is not None}
        price = next((name for name in PRICES if name in known), "")
        return tuple(name for name in ("svm_accuracy", price) if name in known)

    @property
    def families(self) -> list[str]:
        """The corruptions of any row, in the order in which they came."""
        return list(dict.fromkeys(family for row in self.rows for family in row.robustness))

    @property
    def seeds(self) -> int:
        """The seeds of the figure that has most."""
        return max(self._seeds, default=0)

    @property
    def fewest_seeds(self) -> int:
        """The seeds of the figure that has fewest."""
        return min(self._seeds, default=0)

    @property
    def _seeds(self) -> list[int]:
        """Behind each cell of the table."""
        return [len(one.values) for row in self.rows for name in self.columns if (one := row.figures.get(name))]

    def row(self, name: str) -> Row:
        """The row of that name."""
        named = {row.name: row for row in self.rows}
        if name not in named:
            unknown("row", name, list(named))
        return named[name]
