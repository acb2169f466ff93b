"""One training step beside the straightforward implementation, in time, memory, and share of the matrix product's rate."""

from dataclasses import replace

import torch

from crvae3d.allocator import kept_memory
from crvae3d.core.model import VAE
from crvae3d.datasets.load import load
from crvae3d.device import best_device, has_bf16
from crvae3d.experiment.modalities import sized
from crvae3d.experiment.tables import PAPER, TRANSFORMS, Objective
from crvae3d.points.models import PointModel
from crvae3d.points.neighbourhoods import SOURCES, draw
from crvae3d.points.pointnet import without_gradient
from crvae3d.training.module import views_of
from measure.timing import Run, in_turn, matrix_product, peak_megabytes
from tests.references import plain

OBJECTIVES = {"VAE": Objective(consistency=0), "CR-VAE": Objective(**PAPER)}
LITERATURE = ("full", "VAE", 16)


def _shapes(batch: int, points: int) -> torch.Tensor:
    return load("shapes", progress=False).train.first(points).coordinates(slice(batch))


def ellipsoids(batch: int, points: int) -> torch.Tensor:
    """Clouds (batch, points, 3) on random ellipsoids: for machines that cannot make `shapes`."""
    draw = torch.Generator().manual_seed(0)
    on_sphere = torch.nn.functional.normalize(torch.randn(batch, points, 3, generator=draw), dim=-1)
    return on_sphere * (0.2 + 0.8 * torch.rand(batch, 1, 3, generator=draw))


clouds = _shapes
"""What a step is timed on, called as `clouds(batch, points)`."""


def step_figures(short: bool) -> dict[str, dict[str, float]]:
    """For each preset and objective: milliseconds, the ratio to the straightforward step, the shares of the product's rate."""
    batches = {"tiny": 32, "small": 32, "full": 16}
    chosen = [("small", "CR-VAE"), ("full", "VAE")] if short else [(p, o) for p in batches for o in OBJECTIVES]
    return {f"{preset}, {name}": _figures(preset, name, batches[preset], 2 if short else 5) for preset, name in chosen}


def memory_figures() -> dict[str, float]:
    """Peak memory of a step at the literature's size, ours and the straightforward one's, each in a process of its own."""
    ours, theirs = (peak_megabytes(warm, *LITERATURE, form) for form in ("ours", "plain"))
    return {"ours_mb": ours, "plain_mb": theirs, "ratio": ours / theirs}


def _figures(preset: str, name: str, batch: int, repeats: int) -> dict[str, float]:
    product, flops_of_product = matrix_product()
    forms = ("ours", "mixed", "plain") if has_bf16(best_device()) else ("ours", "plain")
    runs = {form: prepared(preset, name, batch, form) for form in forms}
    seconds = in_turn(runs | {"product": product}, repeats, kept=("ours", "mixed"))
    rate = flops_of_product / seconds["product"]
    flops = needed_flops(preset, name, batch)
    return {
        "ms": 1e3 * seconds["ours"],
        "plain_ms": 1e3 * seconds["plain"],
        "ratio": seconds["plain"] / seconds["ours"],
        "gflop": flops / 1e9,
        "gemm_share": flops / seconds["ours"] / rate,
        "gemm_gflop_s": rate / 1e9,
    } | (
        {"bf16_ms": 1e3 * seconds["mixed"], "bf16_ratio": seconds["plain"] / seconds["mixed"]}
        if "mixed" in runs
        else {}
    )


def prepared(preset: str, name: str, batch: int, form: str) -> Run:
    """A whole step, of preset and objective, as a function: `ours`, `plain`, or either in bf16: `mixed`, `plain mixed`.

    The straightforward step takes the views' points as ours does, torch's default AdamW, and memory as it comes.
    """
    model, x, objective = setting(preset, name, batch)
    straightforward = form.startswith("plain")
    step = plain(model) if straightforward else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=None if straightforward else True)

    def run() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=form.endswith("mixed")):
            loss = objective(step, x, 1.0, torch.Generator(x.device).manual_seed(0)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def warm(preset: str, name: str, batch: int, form: str) -> Run:
    """The same step after its first, which compiles; what that frees goes back."""
    run = prepared(preset, name, batch, form)
    with kept_memory():
        run()
    return run


def setting(preset: str, name: str, batch: int) -> tuple[VAE, torch.Tensor, object]:
    """An untrained model of the preset, what it is timed on, and the objective of that name."""
    points = sized("folding", preset)[1].points
    torch.manual_seed(0)
    model = sized("folding", preset)[0].build().to(best_device())
    x = clouds(batch, points).to(best_device())
    return model, x, OBJECTIVES[name].build(lambda family: TRANSFORMS[family](points))


def needed_flops(preset: str, name: str, batch: int) -> float:
    """Floating-point operations that a step cannot do without, two a multiplication with its addition.

    The backward of what every point goes through forward is twice the forward; of PointNet's shared layers it is that
    of the points that win a feature; of its last layer that of the features; of the first fold none to the grid.
    """
    model, x, objective = setting(preset, name, batch)
    settings = sized("folding", preset)[0]
    return sum(_one(model, settings, cloud) for cloud in encoded(objective, x))


def encoded(objective: object, x: torch.Tensor) -> list[torch.Tensor]:
    """The clouds that a step of the objective encodes."""
    return [x, *views_of(objective, x, torch.Generator().manual_seed(0))]


def _one(model: VAE, settings: PointModel, x: torch.Tensor) -> float:
    batch, size = x.shape[:2]
    with without_gradient(x.device.type):
        read = model.encoder.read(x, None, draw(x))
        winner = model.encoder.shared._winners(read, None)[1]
    widths = (read.shape[-1], *settings.encoder_widths)
    hidden = sum(a * b for a, b in zip(widths[:-2], widths[1:-1], strict=True))
    last = widths[-2] * widths[-1]
    won = sum(len(row.unique()) for row in winner)
    pairs = batch * size * min(size, SOURCES)
    around = pairs * (4 + 10 * settings.neighbourhoods)  # distances, and ten sums of each neighbourhood
    encoder = around + batch * size * (hidden + last) + 2 * (won * hidden + batch * last)
    layers = (widths[-1], *settings.head_widths, 2 * settings.code_size)
    head = 3 * batch * sum(a * b for a, b in zip(layers, layers[1:], strict=False))
    width, template = settings.decoder_width, model.decoder.grid.shape[1]
    fold = 3 * (width * width + 6 * width) - width * (3 - template) * 3 - width * template
    folds = batch * settings.output_points * (fold + 3 * (width * width + 6 * width))
    code = 3 * batch * 2 * settings.code_size * width
    chamfer = batch * size * settings.output_points * 4  # three differences, three squares, two sums a pair
    return 2.0 * (encoder + head + folds + code + chamfer)


def step_of(points: int) -> Run:
    """A step of preset small's VAE on four clouds of so many points, decoded to as many."""
    settings = replace(sized("folding")[0], output_points=points)
    model, x, objective = (
        settings.build(),
        torch.randn(4, points, 3),
        OBJECTIVES["VAE"].build(lambda family: TRANSFORMS[family](points)),
    )
    return lambda: objective(model, x).loss.backward()
