"""A grid: which variants a comparison trains, as a `Grid` or a TOML file of the same form.

reference = "VAE"                  the cell that others are set against, unless they name another
[shared]                           settings of every cell, by the names of `crvae3d train`
preset = "tiny"
[judging]                          fields of `Judging`
points = 512
[cells."VAE"]
consistency = 0
[cells."CR-VAE, mirrored"]
group = "mine"                     a heading of the table; "controls" are never told to be the best
against = "VAE"
transform = "mirror"               of your own: see --plugin
"""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from crvae3d.errors import InputError, unknown

CONTROLS = ("untrained", "occupancy", "pixels", "supervised")


@dataclass(frozen=True)
class Cell:
    """One variant.

    Attributes:
        name: unique in its grid.
        group: a heading of the table.
        options: settings that differ from the shared ones, by the names of `crvae3d train`.
        against: the cell that it is set against, over the same seeds; None for none.
        control: a name in `CONTROLS` where it is no training of a model without labels.
    """

    name: str
    group: str = ""
    options: dict[str, object] = field(default_factory=dict)
    against: str | None = None
    control: str | None = None

    @property
    def is_control(self) -> bool:
        """Whether it is there for others to be set against, and is not itself a form of the method."""
        return self.control is not None or self.group == "controls"

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        return "".join(letter if letter.isalnum() or letter in "-+." else "_" for letter in self.name)


@dataclass(frozen=True)
class Judging:
    """How the frozen codes of a grid are judged.

    Attributes:
        points: of each shape.
        turned_shapes: so many test shapes are rotated and thinned; 0 for all.
        robust_shapes: so many are corrupted in every other way; 0 for all.
        robust_points: points of each of them; clouds are thinned from all that they have.
        likelihood_shapes: so many test shapes, 0 for all, have their log-likelihood sampled, where a model has a density.
        likelihood_points: points of each of them.
        episodes: of each few-shot setting.
    """

    points: int = 1024
    turned_shapes: int = 0
    robust_shapes: int = 300
    robust_points: int = 1024
    likelihood_shapes: int = 32
    likelihood_points: int = 256
    episodes: int = 10

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), 0 if each.name.endswith("shapes") else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"judging: {each.name} must be a whole number of at least {least}, got {value!r}")


@dataclass(frozen=True)
class Grid:
    """A comparison.

    Attributes:
        title: what it is, in one line.
        shared: settings of every cell, by the names of `crvae3d train`.
        cells: the variants.
        reference: the cell that differences on the page are from.
        chosen: cells that a reader should look at first.
        shown: cells whose curves the picture has, beside the reference's.
        sweep: cells that differ in lambda alone, from small to large.
        judging: how codes are judged.
    """

    title: str
    shared: dict[str, object]
    cells: tuple[Cell, ...]
    reference: str
    chosen: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()
    judging: Judging = Judging()

    def __post_init__(self) -> None:
        names = [cell.name for cell in self.cells]
        for what, folders in (("name", names), ("folder", [cell.folder for cell in self.cells])):
            if len(set(folders)) < len(folders):
                twice = next(name for name in folders if folders.count(name) > 1)
                raise InputError(f"each cell of a grid needs a {what} of its own, and {twice!r} stands twice")
        named = {"reference": [self.reference], "chosen": self.chosen, "shown": self.shown, "sweep": self.sweep}
        named["against"] = [cell.against for cell in self.cells if cell.against is not None]
        for cell in self.cells:
            if not any(letter.isalnum() for letter in cell.name):
                raise InputError(f"a cell's name is its folder's, and needs a letter or a digit, got {cell.name!r}")
        for kind, name in [(kind, name) for kind, each in named.items() for name in each]:
            if name not in names:
                unknown(f"cell as {kind}", name, names)
        for options in (self.shared, *(cell.options for cell in self.cells)):
            for name in ("data", "root", "seed", "progress"):
                if name in options:
                    raise InputError(
                        f"{name} is not a grid's to set: it is an argument of the comparison, leave it out"
                    )
        for cell in self.cells:
            if cell.control is not None and cell.control not in CONTROLS:
                unknown("control", cell.control, CONTROLS)

    def __getitem__(self, name: str) -> Cell:
        return next(cell for cell in self.cells if cell.name == name)


OWN = ("group", "against", "control")
"""What a cell says beside the settings of its training."""


def from_toml(path: Path) -> Grid:
    """The grid in a TOML file.

    Raises:
        InputError: it is none.
    """
    try:
        return _parsed(tomllib.loads(path.read_text(encoding="utf-8-sig")), path.stem)
    except FileNotFoundError:
        raise InputError(
            f"no grid in {path}: there is no such file; `crvae3d compare --help` names those known"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no TOML ({error}); `crvae3d compare --help` shows what a grid looks like"
        ) from None


def _parsed(found: dict[str, object], title: str) -> Grid:
    lists = ("chosen", "shown", "sweep")
    names = ("title", "reference", *lists, "shared", "judging", "cells")
    for name in found:
        if name not in names:
            unknown("part of a grid", name, names)
    cells = found.get("cells")
    if not cells or not isinstance(cells, dict) or not all(isinstance(options, dict) for options in cells.values()):
        raise InputError('a grid needs cells: write [cells."CR-VAE"] and below it the settings that differ')
    for name, kind in (("shared", dict), ("judging", dict), *((name, list) for name in lists)):
        if not isinstance(found.get(name, kind()), kind):
            told = "a table: write [{}]" if kind is dict else "a list of cells: write {} = [...]"
            raise InputError(f"{name} of a grid is {told.format(name)}, got {found[name]!r}")
    words = [(name, found[name]) for name in ("title", "reference") if name in found]
    words += [(f"an entry of {name}", each) for name in lists for each in found.get(name, ())]
    words += [(f"{key} of {name}", options[key]) for name, options in cells.items() for key in OWN if key in options]
    for name, word in words:
        if not isinstance(word, str):
            raise InputError(f"{name} in a grid is a word in quotes, got {word!r}")
    known = {each.name for each in fields(Judging)}
    for name in found.get("judging", {}):
        if name not in known:
            unknown("judging setting", name, known)
    reference = found.get("reference", next(iter(cells)))
    return Grid(
        found.get("title", title),
        _underscored(found.get("shared", {})),
        tuple(_cell(name, options, reference) for name, options in cells.items()),
        reference,
        *(tuple(found.get(name, ())) for name in lists),
        Judging(**found.get("judging", {})),
    )


def _cell(name: str, options: dict[str, object], reference: str) -> Cell:
    own = {key: options[key] for key in OWN if key in options}
    rest = {key: value for key, value in options.items() if key not in own}
    return Cell(name, **({"against": None if name == reference else reference} | own), options=_underscored(rest))


def _underscored(options: dict[str, object]) -> dict[str, object]:
    """Settings by their names in Python; in a file they may also be written as on the command line, `batch-size`."""
    return {name.replace("-", "_"): value for name, value in options.items()}
