"""Speed: training, the chamfer distance, ingest, embedding and evaluation beside the straightforward ways, and how they grow.

    python benchmarks/speed.py --data PATH --meshes PATH      all of it: a table, results/speed.json, results/growth.png; 13 minutes
    python benchmarks/speed.py --short                        what `make bench` runs: two minutes, a table alone

PATH of the data holds `modelnet40_train.npz`, that of the meshes OFF files; without them their parts are left out. Ratios of
steps and distances are of medians, taken in turn in one process; ingest and the classifier are timed once. pynanoflann and
pykeops are measured where they are installed, memory and growth on Linux, bf16 where the processor has it.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
CAN_TELL_MEMORY = Path("/proc/self/clear_refs").exists()  # Linux's
LABELS = {
    "step_ms": "training step, ms",
    "step_mb": "memory of a step, MB",
    "chamfer_ms": "chamfer with gradient, ms",
    "epoch_s": "batches of an epoch, s",
    "embed_s": "embedding, s",
    "mb": "memory, codes included, MB",
    "svm_s": "fit with the choice of C, s",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="two minutes, nothing written")
    parser.add_argument("--data", type=Path, help="folder with modelnet40_train.npz")
    parser.add_argument("--meshes", type=Path, help="folder of OFF files")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # for tests/references.py, which holds the straightforward implementation
    figures = measured(asked.short, asked.data, asked.meshes)
    headline = summary(figures)
    for name, value in headline.items():
        print(f"{name:36} {value:10.3g}")
    if not asked.short:
        from crvae3d.experiment.settings import provenance

        result = {"what": "speed", "made_by": provenance(), **headline, "figures": figures}
        (RESULTS / "speed.json").write_text(json.dumps(result, indent=2) + "\n")
        if CAN_TELL_MEMORY:
            draw(figures, RESULTS / "growth.png")


def measured(short: bool, data: Path | None, meshes: Path | None) -> dict[str, object]:
    """All figures, part by part, each told on standard error."""
    from measure import ceiling, chamfer, growth, pipeline, training

    parts = {
        "step": lambda: training.step_figures(short),
        "ceiling": lambda: ceiling.ceiling_figures(short),
        "chamfer": lambda: chamfer.chamfer_figures(short),
        "wait_share": lambda: pipeline.wait_figures(short),
        "embed": lambda: pipeline.embed_figures(short),
    }
    if CAN_TELL_MEMORY:
        parts |= {"memory": training.memory_figures, "chamfer_mb": chamfer.memory_figures}
    if meshes is not None:
        parts["ingest"] = lambda: pipeline.ingest_figures(meshes, short)
    if data is not None:
        parts["svm"] = lambda: pipeline.svm_figures(data / "modelnet40_train.npz")
    if not short and CAN_TELL_MEMORY:
        names = ("with_points", "with_shapes", "with_codes")
        parts |= {f"growth_{name}": getattr(growth, name) for name in names}
    found = {}
    for place, (name, part) in enumerate(parts.items(), 1):
        print(f"{place}/{len(parts)} {name}", file=sys.stderr, flush=True)
        found[name] = part()
        print(json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def summary(figures: dict[str, object]) -> dict[str, float]:
    """The figures that a reader asks for first."""
    step, chamfer = figures["step"], figures["chamfer"]
    found = {
        "step_ratio": step["full, VAE"]["ratio"],
        "gemm_share": step["full, VAE"]["gemm_share"],
        **{f"step_ratio {name}": one["ratio"] for name, one in step.items()},
        **{f"gemm_share {name}": one["gemm_share"] for name, one in step.items()},
        **{f"gemm_share at most {name}": one["gemm_share"] for name, one in figures["ceiling"].items()},
        "chamfer_ratio": chamfer["32 x 1024"]["ratio"],
        "chamfer_ratio_uncompiled": chamfer["32 x 1024"]["ratio_uncompiled"],
        "wait_share": figures["wait_share"],
        "embed_share": figures["embed"]["share"],
    }
    if CAN_TELL_MEMORY:
        found |= {"memory_ratio": figures["memory"]["ratio"], "chamfer_mb": figures["chamfer_mb"]}
    if "ingest" in figures:
        found["ingest_ratio"] = figures["ingest"]["ratio"]
    if "svm" in figures:
        found["svm_seconds"] = figures["svm"]["seconds"]
    return found


def draw(figures: dict[str, object], path: Path) -> None:
    """Time and memory against points, shapes and code size, on logarithmic axes, a line of slope one beside them."""
    from matplotlib.figure import Figure

    titles = {
        "with_points": "points a cloud: four clouds, preset small",
        "with_shapes": "shapes of 64 points: preset tiny",
        "with_codes": "numbers a code: linear SVM, 2,000 codes, 10 classes",
    }
    figure = Figure(figsize=(13, 5), layout="constrained")
    for axes, (part, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        (across, x), *lines = figures[f"growth_{part}"].items()
        for name, y in lines:
            axes.plot(x, y, "o-", label=LABELS[name])
        axes.set_title(title, fontsize=10)
        first = lines[0][1]
        axes.plot(x, [first[0] * value / x[0] for value in x], ":", color="grey", label="linear")
        axes.set(xscale="log", yscale="log", xlabel=across.replace("_", " "))
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
