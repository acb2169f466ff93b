"""Grids: which variants a comparison trains. A literal table, and files of the same form in TOML.

reference = "VAE"                  the cell that others are set against, unless they name another
[shared]                           settings of every cell, by the names of `crvae3d train`
preset = "tiny"
[judging]                          fields of `Judging`
points = 512
[cells."VAE"]
consistency = 0
[cells."CR-VAE, mirrored"]
group = "mine"                     a heading of the table
against = "VAE"
transform = "mirror"               of your own: see --plugin
"""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from crvae3d.errors import InputError, unknown
from crvae3d.experiment.tables import PAPER

CONTROLS = ("untrained", "occupancy", "supervised")


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
    def folder(self) -> str:
        """Its name as a folder's."""
        return "".join(letter if letter.isalnum() or letter in "-+." else "_" for letter in self.name)


@dataclass(frozen=True)
class Judging:
    """How the frozen codes of a grid are judged.

    Attributes:
        points: of each shape.
        robust_shapes: so many test shapes are corrupted in every way; 0 for all. All are rotated and thinned.
        robust_points: points of each of them; clouds are thinned from all that they have.
        likelihood_shapes: so many test shapes have their log-likelihood sampled, where the model has a normalised density.
        likelihood_points: points of each of them.
        episodes: of each few-shot setting.
    """

    points: int = 1024
    robust_shapes: int = 300
    robust_points: int = 1024
    likelihood_shapes: int = 32
    likelihood_points: int = 256
    episodes: int = 10


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
        for kind, name in [(kind, name) for kind, each in named.items() for name in each]:
            if name not in names:
                unknown(f"cell as {kind}", name, names)
        for cell in self.cells:
            if cell.control is not None and cell.control not in CONTROLS:
                unknown("control", cell.control, CONTROLS)

    def __getitem__(self, name: str) -> Cell:
        return next(cell for cell in self.cells if cell.name == name)


def _three(name: str, group: str, **options: object) -> tuple[Cell, ...]:
    """A model as itself, with views, and with views and the regulariser: what each adds to the one before."""
    return (
        Cell(name, group, {**options, "consistency": 0.0}),
        Cell(f"{name}+Aug", group, {**options, "consistency": 0.0, "views": 1}, against=name),
        Cell(f"CR-{name}", group, {**options}, against=f"{name}+Aug"),
    )


def _against(reference: str, group: str, **cells: dict[str, object]) -> tuple[Cell, ...]:
    return tuple(Cell(name, group, options, against=reference) for name, options in cells.items())


CONTROL_CELLS = (
    Cell("untrained encoder", "controls", control="untrained"),
    Cell("occupancy PCA", "controls", control="occupancy"),
    Cell("auto-encoder", "controls", {"objective": "autoencoder", "consistency": 0.0}),
    Cell("supervised", "controls", control="supervised"),
)

AUG = "beta-VAE+Aug"
DEFAULT = "beta-VAE + NT-Xent, so3, original"
TRIPLET = {"divergence": "triplet"}
NT_XENT = {"divergence": "nt-xent"}
ROTATED = {"transform": "so3", "target": "original"}

PAPER3D = Grid(
    title="CR-VAE on shapes: base models, regularisers, transformations, contrastive losses, controls",
    shared={
        **PAPER,
        "preset": "small",
        "code_size": 128,
        "encoder_widths": (64, 128, 256),
        "head_widths": (256,),
        "output_points": 256,
        "decoder_width": 64,
        "points": 256,
        "epochs": 10,
        "precision": "bf16-mixed",
    },
    cells=(
        *_three("VAE", "base models", beta=1.0),
        *_three("beta-VAE", "base models"),
        *_three("IWAE 5", "base models", objective="iwae"),
        *_against(
            AUG,
            "weight of the regulariser, on the beta-VAE",
            **{f"lambda {weight:g}": {"consistency": weight} for weight in (0.1, 10.0, 100.0)},
        ),
        *_against(
            AUG,
            "form of the regulariser, on the beta-VAE",
            **{
                "reverse KL": {"divergence": "reverse"},
                "symmetric KL": {"divergence": "symmetric"},
                "2-Wasserstein": {"divergence": "wasserstein"},
                "stop-gradient": {"stop_gradient": True},
                "view rebuilds original": {"target": "original"},
                "view rebuilds original, lambda 0": {"target": "original", "consistency": 0.0, "views": 1},
                "two views": {"views": 2},
                "four views": {"views": 4},
                "AVAE coupling": {"divergence": "avae"},
                "SimVAE shared mean": {"divergence": "simvae"},
            },
        ),
        *(
            cell
            for name in ("jitter", "tilt", "azimuth", "so3", "crop")
            for cell in (
                Cell(
                    f"{AUG}, {name}", "transformation", {"transform": name, "consistency": 0.0, "views": 1}, "beta-VAE"
                ),
                Cell(f"CR-beta-VAE, {name}", "transformation", {"transform": name}, f"{AUG}, {name}"),
            )
        ),
        *_against(
            AUG,
            "contrastive",
            **{
                "triplet": {"objective": "none", **TRIPLET},
                "NT-Xent": {"objective": "none", **NT_XENT},
                "beta-VAE + triplet": TRIPLET,
                "beta-VAE + NT-Xent": NT_XENT,
            },
        ),
        *_against(
            f"{AUG}, so3",
            "invariance to rotation",
            **{
                f"{AUG}, so3, original": {**ROTATED, "consistency": 0.0, "views": 1},
                "CR-beta-VAE, so3, original": ROTATED,
                "CR-beta-VAE, so3, original, lambda 10": {**ROTATED, "consistency": 10.0},
                "triplet, so3": {"objective": "none", **TRIPLET, "transform": "so3"},
                "NT-Xent, so3": {"objective": "none", **NT_XENT, "transform": "so3"},
                "beta-VAE + triplet, so3, original": {**ROTATED, **TRIPLET},
                DEFAULT: {**ROTATED, **NT_XENT},
            },
        ),
        *CONTROL_CELLS,
        *_three("IWAE 50", "base models", objective="iwae", samples=50),
    ),
    reference=AUG,
    chosen=(DEFAULT,),
    shown=("beta-VAE", "CR-beta-VAE", "NT-Xent, so3", DEFAULT, "untrained encoder"),
    sweep=(AUG, "lambda 0.1", "CR-beta-VAE", "lambda 10", "lambda 100"),
)

QUICK = Grid(
    title="A small comparison: VAE, +Aug, CR, NT-Xent and the controls",
    shared={**PAPER, "preset": "tiny", "epochs": 4},
    cells=(
        *_three("beta-VAE", "base models"),
        Cell("NT-Xent", "contrastive", {"objective": "none", **NT_XENT}, AUG),
        *(cell for cell in CONTROL_CELLS if cell.name != "auto-encoder"),
    ),
    reference=AUG,
    chosen=("CR-beta-VAE",),
    shown=("CR-beta-VAE", "NT-Xent", "untrained encoder", "supervised"),
    sweep=(AUG, "CR-beta-VAE"),
    judging=Judging(points=512, robust_shapes=48, robust_points=512, episodes=5),
)

GRIDS = {"paper3d": PAPER3D, "quick": QUICK}


def read_grid(name: str | Path) -> Grid:
    """A grid by its name, or from a TOML file.

    Raises:
        InputError: there is none, or the file is not one.
    """
    if name in GRIDS:
        return GRIDS[name]
    path = Path(name)
    if path.suffix != ".toml":
        unknown("grid", str(name), GRIDS)
    try:
        return _parsed(tomllib.loads(path.read_text(encoding="utf-8")), path.stem)
    except FileNotFoundError:
        raise InputError(f"no grid in {path}: there is no such file; known by name are {', '.join(GRIDS)}") from None
    except tomllib.TOMLDecodeError as error:
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
    if not cells:
        raise InputError('a grid needs cells: write [cells."CR-VAE"] and below it the settings that differ')
    known = {each.name for each in fields(Judging)}
    for name in found.get("judging", {}):
        if name not in known:
            unknown("judging setting", name, known)
    reference = found.get("reference", next(iter(cells)))
    return Grid(
        found.get("title", title),
        found.get("shared", {}),
        tuple(_cell(name, options, reference) for name, options in cells.items()),
        reference,
        *(tuple(found.get(name, ())) for name in lists),
        Judging(**found.get("judging", {})),
    )


def _cell(name: str, options: dict[str, object], reference: str) -> Cell:
    own = {key: options[key] for key in ("group", "against", "control") if key in options}
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items() if key not in own}
    return Cell(name, **({"against": None if name == reference else reference} | own), options=rest)
