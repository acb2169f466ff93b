"""Codes and reconstructions of any shapes by a trained model."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.load import load
from crvae3d.datasets.splits import Splits, write_failures
from crvae3d.errors import InputError
from crvae3d.evaluation.codes import encode
from crvae3d.experiment.pretrained import VAE, best_device

FORMATS = (".npz", ".parquet")


def embed(
    run: str | Path | VAE, data: str | Path, output: str | Path | None = None, progress: bool = True, **loading: object
) -> dict[str, np.ndarray]:
    """The codes of all shapes of a dataset, a folder, an archive or one file.

    Args:
        run: a run folder, or a model.
        data: what to embed, as for `crvae3d.load`.
        output: a `.npz` or `.parquet` file to write; `failures.csv` beside it names what could not be read.
        progress: whether to show it.
        loading: further arguments of `crvae3d.load`.

    Returns:
        `codes` (S, D) float32 posterior means, `deviations` (S, D), `ids` (S,); and where the shapes have labels
        `labels` (S,) class names, empty for those of a part without. Shapes come in the order train, test where there are both.
    """
    if output is not None and Path(output).suffix not in FORMATS:
        raise InputError(f"codes are written as {' or '.join(FORMATS)}, got {output}; name the file codes.npz")
    model = run if isinstance(run, VAE) else VAE.from_pretrained(run, best_device())
    splits = load(data, progress=progress, **loading)
    labelled = any(clouds.labels is not None for clouds in both(splits))
    parts = [_columns(model, clouds, labelled, progress) for clouds in both(splits)]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if output is not None:
        _write(Path(output), table)
        write_failures(Path(output).parent / "failures.csv", splits.failures)
    return table


def both(splits: Splits) -> list[Clouds]:
    """The train and, where there is one, the test part."""
    return [part for part in (splits.train, splits.test) if part is not None]


def _columns(model: VAE, clouds: Clouds, labelled: bool, progress: bool) -> dict[str, np.ndarray]:
    codes = encode(model, clouds, progress=progress)
    columns = {"codes": codes.means, "deviations": codes.stddevs, "ids": clouds.ids}
    if labelled:
        unknown = clouds.labels is None
        columns["labels"] = np.full(len(clouds), "") if unknown else np.asarray(clouds.class_names)[clouds.labels]
    return columns


def _write(output: Path, table: dict[str, np.ndarray]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == ".npz":
        np.savez(output, **table)
        return
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install 'crvae3d[parquet]', or write codes.npz") from None
    columns = {name: list(column) if column.ndim == 2 else column for name, column in table.items()}
    pyarrow.parquet.write_table(pyarrow.table(columns), output)


def reconstruct(
    run: str | Path | VAE,
    data: str | Path,
    output: str | Path,
    points: int | None = None,
    progress: bool = True,
    **loading: object,
) -> list[Path]:
    """Encode and decode shapes; write a cloud of each in its own units, and a picture of the first ones.

    Args:
        run: a run folder, or a model.
        data: what to reconstruct, as for `crvae3d.load`.
        output: a folder, for `<id>.ply`, `reconstructions.png`, and `chamfer.csv`.
        points: how many to decode a shape; None for as many as in the training.
        progress: whether to show it.
        loading: further arguments of `crvae3d.load`.

    Returns:
        The files of the clouds.
    """
    import trimesh

    from crvae3d.viewers.figures import clouds_figure

    model = run if isinstance(run, VAE) else VAE.from_pretrained(run, best_device())
    splits = load(data, progress=progress, **loading)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    files, rows, shown, taken = [], [], [], set()
    for name, original, decoded, own, distance in _reconstructed(model, splits, points):
        files.append(output / f"{_file_name(name, taken)}.ply")
        trimesh.PointCloud(own).export(files[-1])
        rows.append((name, distance))
        if len(shown) < 12:
            shown.append((name, original, decoded))
    with (output / "chamfer.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "chamfer"), *rows])
    pairs = [(original, decoded) for _, original, decoded in shown]
    clouds_figure(pairs, [name for name, _, _ in shown], output / "reconstructions.png")
    write_failures(output / "failures.csv", splits.failures)
    return files


@torch.inference_mode()
def _reconstructed(model: VAE, splits: Splits, points: int | None) -> Iterator[tuple]:
    """For each shape its name, itself, its reconstruction, that in its own units, and their chamfer distance."""
    from crvae3d.points.chamfer import chamfer_distance

    device = next(model.parameters()).device
    for clouds in both(splits):
        for start in range(0, len(clouds), 64):
            rows = range(start, min(start + 64, len(clouds)))
            batch = clouds.coordinates(list(rows)).to(device)
            decoded = model.decoder.decode(model.embed(batch), points)
            found = batch.cpu().numpy(), decoded.cpu().numpy(), chamfer_distance(batch, decoded).tolist()
            for row, original, made, distance in zip(rows, *found, strict=True):
                yield str(clouds.ids[row]), original, made, clouds.own_units(made, row), distance


def _file_name(name: str, taken: set[str]) -> str:
    """A file name of its own for each shape, whatever its id."""
    stem = re.sub(r"[^\w.-]+", "_", name)
    tries = (stem, *(f"{stem}_{count}" for count in range(2, len(taken) + 3)))
    found = next(candidate for candidate in tries if candidate not in taken)
    taken.add(found)
    return found
