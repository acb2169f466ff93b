"""From files to codes to an accuracy: ingest, waiting for data, embedding, the linear classifier."""

import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from sklearn.svm import LinearSVC

from crvae3d.allocator import kept_memory
from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.load import load
from crvae3d.evaluation.codes import encode
from crvae3d.evaluation.holdout import held_out, standardised
from crvae3d.evaluation.linear import COSTS, linear_probe
from crvae3d.experiment.embed import embed
from crvae3d.experiment.modalities import sized
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.runs import train
from crvae3d.experiment.settings import Settings
from crvae3d.experiment.tables import PAPER
from measure.timing import in_turn, once

POINTS = 4096


def ingest_figures(meshes: Path, short: bool) -> dict[str, float]:
    """Meshes a second from OFF files to the store and to codes, on all cores; by `trimesh.load` and `sample` in a loop, on one."""
    files = sorted(meshes.rglob("*.off"))
    chosen = files[:: max(1, len(files) // 40)] if short else files
    with tempfile.TemporaryDirectory() as place, _cache(Path(place) / "cache"):
        folder = Path(place) / "meshes"
        for file in chosen:
            link = folder / file.relative_to(meshes)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
            file.read_bytes()  # so that neither is the first to fetch it from the disk
        model = VAE.build(sized("folding")[0])
        seconds = {
            "trimesh": once(lambda: [trimesh.load(file, force="mesh").sample(POINTS) for file in chosen]),
            "ours": once(lambda: load(folder, points=POINTS)),
        }
        with _cache(Path(place) / "other"):
            seconds["embed"] = once(lambda: embed(model, folder, Path(place) / "codes.npz", points=POINTS))
    rates = {f"{name}_per_second": len(chosen) / value for name, value in seconds.items()}
    return {"meshes": len(chosen), **rates, "ratio": seconds["trimesh"] / seconds["ours"]}


def wait_figures(short: bool) -> float:
    """The share of an epoch that a training of preset small waits for data, on the built-in shapes."""
    with tempfile.TemporaryDirectory() as place:
        train(Settings.of("shapes", preset="tiny" if short else "small", epochs=2, **PAPER), place)
        with (Path(place) / "metrics.csv").open() as file:
            return float(list(csv.DictReader(file))[-1]["wait_share"])


def embed_figures(short: bool) -> dict[str, float]:
    """Clouds a second from the store to a file, and through the bare encoder from memory."""
    splits = load("shapes")
    shapes = 256 if short else len(splits.train)
    clouds = splits.train.select(np.arange(shapes))
    model = VAE.build(sized("folding")[0]).eval()
    batch = clouds.coordinates(range(64))

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(shapes // 64):
                model.encoder(batch)

    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "clouds.npz"
        np.savez(store, points=np.asarray(clouds.points), scale=clouds.scale, ids=clouds.ids)
        runs = {"bare": bare, "embed": lambda: embed(model, store, Path(place) / "codes.npz", progress=False)}
        seconds = in_turn(runs, 1 if short else 3, kept=("bare",))
    bare_rate, rate = shapes // 64 * 64 / seconds["bare"], shapes / seconds["embed"]
    return {"clouds_per_second": rate, "bare_clouds_per_second": bare_rate, "share": rate / bare_rate}


def svm_figures(archive: Path) -> dict[str, float]:
    """The choice of C and the fit on the codes of an archive, and scikit-learn's `LinearSVC` at the C that was chosen.

    The codes are posterior means of an untrained encoder. Both are judged on a fifth of the shapes; the choice is timed on all.
    """
    clouds = load(archive).train
    model = VAE.build(sized("folding")[0])
    codes, labels = encode(model, clouds).means, clouds.labels
    held = held_out(labels, 0, 0.2)
    parts = codes[~held], labels[~held], codes[held], labels[held]
    seconds = once(lambda: linear_probe(codes, labels, codes[:10], labels[:10]))
    mine = linear_probe(*parts)
    train_codes, test_codes = standardised(parts[0], parts[2])
    theirs = LinearSVC(C=mine.cost, max_iter=10_000)
    their_seconds = once(lambda: theirs.fit(train_codes, parts[1]))
    accuracy = float((theirs.predict(test_codes) == parts[3]).mean())
    return {
        "seconds": seconds,
        "linear_svc_one_cost_seconds": their_seconds,
        "costs": len(COSTS),
        "shapes": len(codes),
        "classes": len(clouds.class_names),
        "cost": mine.cost,
        "accuracy": mine.accuracy,
        "linear_svc_accuracy": accuracy,
    }


def growth_of_shapes(shapes: int, folder: Path) -> tuple[float, float]:
    """Seconds of an epoch's batches out of a store of so many small clouds, and of embedding them (preset tiny)."""
    points = np.lib.format.open_memmap(folder / "points.npy", mode="w+", dtype=np.int16, shape=(shapes, 64, 3))
    draw = np.random.default_rng(0)
    for start in range(0, shapes, 10_000):
        points[start : start + 10_000] = draw.integers(-20_000, 20_000, points[start : start + 10_000].shape)
    points = np.load(folder / "points.npy", mmap_mode="r")
    clouds = Clouds(points, np.arange(shapes).astype(str), 1 / 32767)
    rest = clouds.select(draw.permutation(shapes))
    model = VAE.build(replace(sized("folding", "tiny")[0], code_size=32))

    def epoch() -> None:
        for start in range(0, shapes, 32):
            rest.__getitems__(range(start, min(start + 32, shapes)))

    with kept_memory():
        return once(epoch), once(lambda: encode(model, rest, batch_size=1024))


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """An empty cache for as long as this lasts."""
    before = os.environ.get("CRVAE3D_CACHE")
    os.environ["CRVAE3D_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("CRVAE3D_CACHE") if before is None else os.environ.update(CRVAE3D_CACHE=before)
