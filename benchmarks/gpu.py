"""Speed on a GPU: training steps, the chamfer distance, memory, and the epoch time of ModelNet40 by `train` itself.

    python benchmarks/gpu.py --data PATH      PATH holds modelnet40_train.npz; prints, and writes results/gpu.json; two minutes
    python benchmarks/gpu.py --parts nvae     that part anew, the others as they are

Steps and distances are medians of things that are run in turn, in one process. `share` is that of the card's own measured
matrix product: of the bf16 one for bf16 steps, of the single-precision one for the others.
"""

import argparse
import csv
import json
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "gpu.json"
STEPS = (("small", "VAE", 32), ("small", "CR-VAE", 32), ("full", "VAE", 16), ("full", "VAE", 128))
CLOUDS = ((32, 1024), (32, 2048), (4, 16384))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with modelnet40_train.npz, for the part `epochs`")
    parser.add_argument(
        "--parts", nargs="+", metavar="PART", help="epochs, rates, steps, nvae, memory, chamfer; all of them"
    )
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures go")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no GPU that torch can use: benchmarks/speed.py measures the CPU")
    sys.path.insert(0, str(ROOT))  # for tests/references.py, which holds the straightforward implementation
    from crvae3d.experiment.settings import provenance

    parts = {
        "epochs": lambda: epochs(asked.data),
        "rates": rates,
        "steps": steps,
        "nvae": hierarchy,
        "memory": memory,
        "chamfer": distances,
    }
    wanted = asked.parts or list(parts)
    if unknown := set(wanted) - set(parts):
        parser.error(f"no part is called {', '.join(unknown)}: there are {', '.join(parts)}")
    if "epochs" in wanted and asked.data is None:
        parser.error("the part epochs trains on ModelNet40: give --data, or other --parts")
    figures: dict[str, object] = json.loads(asked.out.read_text()) if asked.parts and asked.out.exists() else {}
    figures |= {"what": "speed on a GPU"} | ({} if asked.parts else {"made_by": provenance()})
    for name in wanted:
        figures[name] = parts[name]() | ({"made_by": provenance()} if asked.parts else {})
        print(name, json.dumps(figures[name], indent=1), flush=True)
        asked.out.write_text(json.dumps(figures, indent=2) + "\n")  # part by part: a lent machine may be gone


def rates(size: int = 8192) -> dict[str, float]:
    """TFLOP/s of a square matrix product, in single precision and in bf16."""
    from measure.timing import in_turn

    found = {}
    for name, kind in (("single", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2, size, size, device="cuda", dtype=kind)
        found[name] = 2 * size**3 / in_turn({name: lambda a=a, b=b: a @ b}, 2)[name] / 1e12
    return found


def steps() -> dict[str, dict[str, float]]:
    """Of each preset, objective and batch: milliseconds of ours and of the straightforward step, and shares of the rate."""
    from measure import training
    from measure.timing import in_turn

    training.clouds = training.ellipsoids
    rate = rates(4096)
    found = {}
    for preset, name, batch in STEPS:
        forms = {
            form: training.prepared(preset, name, batch, form) for form in ("ours", "mixed", "plain", "plain mixed")
        }
        seconds = in_turn(forms | {"recorded": _recorded(preset, name, batch)}, 1)
        flops = training.needed_flops(preset, name, batch)
        found[f"{preset}, {name}, batch {batch}"] = {
            "gflop": flops / 1e9,
            **{f"{form.replace(' ', '_')}_ms": 1e3 * value for form, value in seconds.items()},
            "ratio": seconds["plain"] / seconds["ours"],
            "bf16_ratio": seconds["plain mixed"] / seconds["mixed"],
            "recorded_ratio": seconds["plain mixed"] / seconds["recorded"],
            "share": flops / seconds["ours"] / 1e12 / rate["single"],
            "bf16_share": flops / seconds["mixed"] / 1e12 / rate["bf16"],
            "recorded_share": flops / seconds["recorded"] / 1e12 / rate["bf16"],
        }
    return found


def _recorded(preset: str, name: str, batch: int) -> Callable[[], None]:
    """A step in bf16 as `train` takes it: the views as they come, loss and gradient from a CUDA graph, the optimiser."""
    from measure import training

    from crvae3d.training.module import given, views_of
    from crvae3d.training.recorded import Recorded, on_cuda

    model, x, objective = training.setting(preset, name, batch)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def inputs() -> tuple:
        return x, views_of(objective, x, torch.Generator("cuda").manual_seed(0))

    def loss(x: torch.Tensor, views: list) -> tuple[torch.Tensor, dict]:
        with torch.autocast("cuda", torch.bfloat16):
            found = given(objective, views)(model, x).loss
        found.backward()
        return found.detach(), {}

    recording = Recorded(loss, model, inputs(), on_cuda)

    def run() -> None:
        recording(inputs())
        optimizer.step()

    return run


def hierarchy(batch: int = 100) -> dict[str, object]:
    """Milliseconds of loss and gradient of the NVAE in nvae.toml, recorded and step by step, and what takes most of it."""
    from measure.timing import in_turn
    from torch.profiler import ProfilerActivity, profile

    from crvae3d.core.objectives import ELBO
    from crvae3d.images.nvae import build_nvae
    from crvae3d.training.recorded import Recorded, on_cuda

    cell = tomllib.loads((Path(__file__).parent / "nvae.toml").read_text())["cells"]["NVAE"]
    sizes = {name: cell[name] for name in ("ladder", "base_channels", "latents", "expansion")}
    model, x = build_nvae(1, 28, 28, **sizes).cuda(), torch.rand(batch, 1, 28, 28, device="cuda").round()

    def run(x: torch.Tensor) -> tuple[torch.Tensor, dict]:
        with torch.autocast("cuda", torch.bfloat16):
            found = ELBO()(model, x).loss + 1e-2 * model.penalty()
        found.backward()
        return found.detach(), {}

    recording = Recorded(run, model, (x,), on_cuda)
    seconds = in_turn({"eager": lambda: run(x), "recorded": lambda: recording((x,))}, 1)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        run(x)
        torch.cuda.synchronize()
    kernels = sorted(profiled.key_averages(), key=lambda one: one.self_device_time_total, reverse=True)
    return {
        **{f"{name}_ms": 1e3 * value for name, value in seconds.items()},
        "kernels": sum(one.count for one in kernels),
        "longest_us": {one.key[:80]: one.self_device_time_total for one in kernels[:8]},
    }


def memory() -> dict[str, float]:
    """Peak megabytes of a step at the literature's size beyond what lies there before, ours and the straightforward one's."""
    from measure import training

    training.clouds = training.ellipsoids
    found = {}
    for form in ("ours", "plain"):
        run = training.prepared(*training.LITERATURE, form)
        run()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        found[f"{form}_mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6
    return found | {"ratio": found["ours_mb"] / found["plain_mb"]}


def distances() -> dict[str, dict[str, float]]:
    """The chamfer distance with its gradient: ours, compiled and not, beside the matrix form."""
    from measure.chamfer import _figures

    found = {}
    for batch, size in CLOUDS:
        a, b = (torch.rand(batch, size, 3, device="cuda") for _ in range(2))
        found[f"{batch} x {size}"] = _figures(a, b, repeats=1, others=False)
    return found


def epochs(data: Path) -> dict[str, dict[str, float]]:
    """Seconds of the second epoch of ModelNet40, by `train`, and the share of them spent waiting for data."""
    from crvae3d.datasets.load import load
    from crvae3d.experiment.runs import train
    from crvae3d.experiment.settings import Settings
    from crvae3d.experiment.tables import PAPER

    found = {}
    for preset, options in (("small", {}), ("small", {"consistency": 0}), ("full", {"consistency": 0})):
        settings = Settings.of(
            "modelnet40",
            str(data),
            preset=preset,
            precision="bf16-mixed",
            epochs=2,
            **(PAPER | options),
        )
        with tempfile.TemporaryDirectory() as folder:
            train(settings, Path(folder) / "run", progress=False)
            rows = list(csv.DictReader((Path(folder) / "run" / "metrics.csv").open()))
        points = min(settings.training.points, load("modelnet40", str(data), progress=False).train.points.shape[1])
        name = f"{preset}, {'VAE' if options else 'CR-VAE'}, {points} points"
        found[name] = {
            "seconds": float(rows[-1]["seconds"]) - float(rows[-2]["seconds"]),
            "wait_share": float(rows[-1]["wait_share"]),
        }
    return found


if __name__ == "__main__":
    main()
