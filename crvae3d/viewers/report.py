"""What a page shows, as plain data: the viewers know nothing of datasets, models or training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Figures = Mapping[str, float]
"""Figures by name (`crvae3d.viewers.explained.FIGURES` says what each means); one may be missing or not finite."""

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""(epochs, values) by "train/loss", "validation/loss", "train/rate" and so on: split, slash, quantity."""


@dataclass(frozen=True, eq=False)
class CodeMap:
    """Codes laid out in the plane.

    Attributes:
        positions: (S, 2), for example from `crvae3d.viewers.projection.project`.
        ids: (S,) the shapes' names; those that the gallery also holds can be opened there by a click.
        classes: (S,) class names, or empty where the shapes have none.
    """

    positions: np.ndarray
    ids: Sequence[str]
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.positions.ndim != 2 or self.positions.shape[1] != 2:
            raise ValueError(f"positions must have the shape (shapes, 2), got {self.positions.shape}")
        _same_length(len(self.positions), {"ids": self.ids, "classes": self.classes})


@dataclass(frozen=True, eq=False)
class ModelReport:
    """One model: a column of the table, a line in each plot of curves, a panel of the gallery and a map of codes."""

    name: str
    figures: Figures
    curves: Curves = field(default_factory=dict)
    codes: CodeMap | None = None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Judged shapes beside their reconstructions.

    Attributes:
        ids: (S,) the shapes' names.
        originals: (S, N, 3) in the unit sphere, z up.
        reconstructions: (S, M, 3) by model name; a point that is not finite is not drawn.
        classes: (S,) class names, or empty where the shapes have none.
        chamfers: (S,) by model name, printed under the panels: squared, both directions summed.
    """

    ids: Sequence[str]
    originals: np.ndarray
    reconstructions: Mapping[str, np.ndarray]
    classes: Sequence[str] = ()
    chamfers: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, clouds in {"originals": self.originals, **self.reconstructions}.items():
            if clouds.ndim != 3 or clouds.shape[2] != 3:
                raise ValueError(f"{name} must have the shape (shapes, points, 3), got {clouds.shape}")
        _same_length(len(self.originals), {"ids": self.ids, "classes": self.classes})
        _same_length(len(self.originals), self.reconstructions)
        _same_length(len(self.originals), self.chamfers)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with words.

    Attributes:
        title: a heading.
        text: what its rows are, plain text.
        png: the file's bytes.
    """

    title: str
    text: str
    png: bytes


@dataclass(frozen=True, eq=False)
class Report:
    """Everything on one page.

    Attributes:
        title: the page's heading.
        summary: plain text; a blank line starts a paragraph.
        noun: what the texts call one of the things that are judged.
        models: one to about six, each with a name of its own.
        controls: figures by control, such as "untrained encoder": columns of the table beside the models.
        gallery: the judged shapes that can be turned, or None.
        pictures: shown below the table: what stands in the gallery's place for images.
        alarms: what must be read before any figure, such as "the posterior has collapsed"; shown on top.
        notes: what a careful reader wants to know; shown under the table.
        settings: what ran, shown folded at the end.
    """

    title: str
    summary: str
    models: Sequence[ModelReport]
    controls: Mapping[str, Figures] = field(default_factory=dict)
    gallery: Gallery | None = None
    pictures: Sequence[Picture] = ()
    noun: str = "shape"
    alarms: Sequence[str] = ()
    notes: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"each model needs a name of its own, got {names}")
        strangers = set(self.gallery.reconstructions) - set(names) if self.gallery else set()
        if strangers:
            raise ValueError(f"the gallery has reconstructions by {sorted(strangers)}, the report has models {names}")


def _same_length(count: int, columns: Mapping[str, Sequence]) -> None:
    for name, column in columns.items():
        empty = name == "classes" and len(column) == 0
        if len(column) != count and not empty:
            raise ValueError(f"{name} must have one row a shape: {count} shapes, {len(column)} rows")
