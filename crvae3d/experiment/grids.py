"""The grids that are known by name: literal tables."""

from pathlib import Path

from crvae3d.errors import unknown
from crvae3d.experiment.grid import Cell, Grid, Judging, from_toml
from crvae3d.experiment.tables import CONTRAST, PAPER, TEMPERATURE
from crvae3d.points.models import PointModel


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
ROTATED_CELL = "beta-VAE + NT-Xent, so3, original"
TRIPLET = {"divergence": "triplet"}
NT_XENT = {"divergence": "nt-xent"}
WASSERSTEIN = {"divergence": "wasserstein"}
ROTATED = {"transform": "so3", "target": "original"}
WIDE = "views that go farther and rebuild the original"
KL_CELL = "CR-beta-VAE, mixed, original"
BESIDE_CELL = "CR-beta-VAE + NT-Xent, mixed, original"
MIXED = {"transform": "mixed", "target": "original"}
READS = "an encoder that reads neighbourhoods"
DEFAULT_CELL = "the default"
NEIGHBOURHOODS = PointModel().neighbourhoods
DEFAULT = {
    **MIXED,
    "neighbourhoods": NEIGHBOURHOODS,
    "contrast": CONTRAST,
    "contrast_transform": "far",
    "temperature": TEMPERATURE,
}
"""What `train` does where nothing is asked for, beside the settings that a grid shares."""

PAPER3D = Grid(
    title="CR-VAE on shapes: base models, regularisers, transformations, contrastive losses, controls",
    shared={
        **PAPER,
        "preset": "small",
        "neighbourhoods": 0,
        "code_size": 128,
        "encoder_widths": (64, 128, 256),
        "head_widths": (256,),
        "output_points": 256,
        "decoder_width": 64,
        "points": 256,
        "epochs": 20,
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
                "2-Wasserstein": WASSERSTEIN,
                "stop-gradient": {"stop_gradient": True},
                "view rebuilds original": {"target": "original"},
                "view rebuilds original, lambda 0": {"target": "original", "consistency": 0.0, "views": 1},
                "two views": {"views": 2},
                "four views": {"views": 4},
                "AVAE coupling": {"divergence": "avae"},
                "SimVAE shared mean": {"divergence": "simvae"},
            },
        ),
        *_against(
            AUG,
            "2-Wasserstein by weight",
            **{
                f"2-Wasserstein, lambda {weight:g}": {**WASSERSTEIN, "consistency": weight}
                for weight in (1e2, 1e3, 1e4)
            },
        ),
        *_against(
            "VAE+Aug",
            "priors of a pair, which weigh as much as the rate, at beta 1",
            **{
                "VAE, AVAE coupling": {"beta": 1.0, "divergence": "avae"},
                "VAE, SimVAE shared mean": {"beta": 1.0, "divergence": "simvae"},
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
                ROTATED_CELL: {**ROTATED, **NT_XENT},
            },
        ),
        Cell(f"{AUG}, mixed, original", WIDE, {**MIXED, "consistency": 0.0, "views": 1}, "beta-VAE"),
        Cell(KL_CELL, WIDE, MIXED, f"{AUG}, mixed, original"),
        Cell(
            BESIDE_CELL,
            WIDE,
            {**MIXED, "contrast": 1000.0, "contrast_transform": "mixed", "temperature": 0.5},
            KL_CELL,
        ),
        Cell("beta-VAE, neighbourhoods", READS, {"neighbourhoods": NEIGHBOURHOODS, "consistency": 0.0}, "beta-VAE"),
        Cell(
            f"{AUG}, neighbourhoods",
            READS,
            {**MIXED, "neighbourhoods": NEIGHBOURHOODS, "consistency": 0.0, "views": 1},
            "beta-VAE, neighbourhoods",
        ),
        Cell(DEFAULT_CELL, READS, DEFAULT, f"{AUG}, neighbourhoods"),
        Cell("untrained encoder, neighbourhoods", "controls", {"neighbourhoods": NEIGHBOURHOODS}, control="untrained"),
        *_three("mixture", "a density of points, whose log-likelihood is sampled", model="folding-mixture", beta=1.0),
        *CONTROL_CELLS,
        *_three("IWAE 50", "base models", objective="iwae", samples=50, gradient="one"),
    ),
    reference=AUG,
    chosen=(DEFAULT_CELL,),
    shown=("beta-VAE", DEFAULT_CELL, "NT-Xent, so3", ROTATED_CELL, "untrained encoder"),
    sweep=(AUG, "lambda 0.1", "CR-beta-VAE", "lambda 10", "lambda 100"),
)

QUICK = Grid(
    title="A small comparison: VAE, +Aug, CR, NT-Xent and the controls",
    shared={**PAPER, "preset": "tiny", "neighbourhoods": 0, "epochs": 4},
    cells=(
        *_three("beta-VAE", "base models"),
        Cell("NT-Xent", "contrastive", {"objective": "none", **NT_XENT}, AUG),
        *(cell for cell in CONTROL_CELLS if cell.name != "auto-encoder"),
    ),
    reference=AUG,
    chosen=("CR-beta-VAE",),
    shown=("CR-beta-VAE", "NT-Xent", "untrained encoder", "supervised"),
    sweep=(AUG, "CR-beta-VAE"),
    judging=Judging(points=256, turned_shapes=96, robust_shapes=48, robust_points=256, episodes=5),
)

PAPER_IMAGES = Grid(
    title="CR-VAE on images: the paper's base models, each as itself, with views, and with the regulariser",
    shared={**PAPER, "model": "mlp", "preset": "small", "transform": "affine", "precision": "bf16-mixed"},
    cells=(
        *_three("VAE", "base models"),
        *_three("beta-VAE", "base models", beta=4.0),
        *_three("IWAE 5", "base models", objective="iwae"),
        *_against(
            "VAE+Aug",
            "weight of the regulariser, on the VAE",
            **{f"lambda {weight:g}": {"consistency": weight} for weight in (0.01, 0.1, 10.0)},
            **{f"lambda {weight:g}, cooled": {"consistency": weight, "cool_down": 0.5} for weight in (1.0, 10.0)},
        ),
        *_against(
            "VAE+Aug",
            "form of the regulariser, on the VAE",
            **{
                "reverse KL": {"divergence": "reverse"},
                "view rebuilds original": {"target": "original"},
                "view rebuilds original, lambda 0": {"target": "original", "consistency": 0.0, "views": 1},
                "large views": {"transform": "affine-large"},
            },
        ),
        *_against("VAE+Aug", "contrastive", **{"NT-Xent": {"objective": "none", **NT_XENT}}),
        Cell("untrained encoder", "controls", control="untrained"),
        Cell("pixels", "controls", control="pixels"),
        Cell("supervised", "controls", control="supervised"),
        *_three("IWAE 50", "base models", objective="iwae", samples=50, gradient="one"),
    ),
    reference="VAE+Aug",
    chosen=("CR-VAE",),
    sweep=("VAE+Aug", "lambda 0.01", "lambda 0.1", "CR-VAE", "lambda 10"),
    judging=Judging(likelihood_shapes=500),
)

HIERARCHY = Grid(
    title="CR-NVAE on images: the hierarchy as itself, with views, and with the regulariser, beside flat VAEs of as many epochs",
    shared={**PAPER, "transform": "affine", "epochs": 20},
    cells=(
        *_three("NVAE", "hierarchy", model="nvae"),
        *_against(
            "NVAE+Aug",
            "weight of the regulariser, on the hierarchy",
            **{f"lambda {weight:g}": {"model": "nvae", "consistency": weight} for weight in (0.01, 0.1)},
            **{"lambda 0.1, cooled": {"model": "nvae", "consistency": 0.1, "cool_down": 0.5}},
        ),
        Cell(
            "NVAE+Aug, groups not balanced",
            "hierarchy",
            {"model": "nvae", "consistency": 0.0, "views": 1, "balance_groups": False},
            against="NVAE+Aug",
        ),
        *_three("VAE", "flat", model="mlp"),
        Cell("pixels", "controls", control="pixels"),
    ),
    reference="NVAE+Aug",
    chosen=("CR-NVAE",),
    sweep=("NVAE+Aug", "lambda 0.01", "lambda 0.1", "CR-NVAE"),
    judging=Judging(likelihood_shapes=200),
)

QUICK_IMAGES = Grid(
    title="A small comparison on images: VAE, +Aug, CR, NT-Xent and the controls",
    shared={**PAPER, "model": "mlp", "preset": "tiny", "transform": "affine", "epochs": 10},
    cells=(
        *_three("VAE", "base models"),
        Cell("NT-Xent", "contrastive", {"objective": "none", **NT_XENT}, "VAE+Aug"),
        *(Cell(name, "controls", control=name) for name in ("untrained", "pixels", "supervised")),
    ),
    reference="VAE+Aug",
    chosen=("CR-VAE",),
    sweep=("VAE+Aug", "CR-VAE"),
    judging=Judging(likelihood_shapes=20, episodes=5),
)

GRIDS = {
    "paper3d": PAPER3D,
    "paper-images": PAPER_IMAGES,
    "nvae": HIERARCHY,
    "quick": QUICK,
    "quick-images": QUICK_IMAGES,
}


def read_grid(name: str | Path) -> Grid:
    """A grid by its name, or from a TOML file.

    Raises:
        InputError: there is none, or the file is not one.
    """
    if str(name) in GRIDS:
        return GRIDS[str(name)]
    if Path(name).suffix != ".toml":
        unknown("grid", str(name), GRIDS)
    return from_toml(Path(name))
