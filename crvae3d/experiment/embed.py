"""Codes of any shapes or images by a trained model."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from crvae3d.datasets.clouds import Clouds
from crvae3d.datasets.images.images import Images
from crvae3d.datasets.ingest import say
from crvae3d.datasets.load import KNOWN, load
from crvae3d.datasets.sources import expanded
from crvae3d.datasets.splits import Splits, write_failures
from crvae3d.device import best_device
from crvae3d.errors import InputError
from crvae3d.evaluation.codes import encode
from crvae3d.experiment.modalities import check_kind, modality_of
from crvae3d.experiment.pretrained import VAE, read_model

FORMATS = (".npz", ".parquet")


def embed(
    run: str | Path | VAE, data: str | Path, output: str | Path | None = None, progress: bool = True, **loading: object
) -> dict[str, np.ndarray]:
    """The codes of all shapes or images of a dataset, a folder, an archive or one file.

    A model of black and white images is given such: each grey one is drawn once, by a generator that its id seeds.

    Args:
        run: a run folder, or a model.
        data: what to embed, as for `crvae3d.load`.
        output: a `.npz` or `.parquet` file to write; of `codes.npz`, `codes.failures.csv` names what could not be read.
        progress: whether to show it.
        loading: further arguments of `crvae3d.load`.

    Returns:
        `codes` (S, D) float32 posterior means, `deviations` (S, D), `ids` (S,); and where the shapes have labels
        `labels` (S,) class names, empty for those of a part without; and of a dataset with several parts `split` (S,)
        their names, in the order train, validation where the dataset has one of its own, test.
    """
    if output is not None and Path(output).suffix not in FORMATS:
        raise InputError(f"codes are written as {' or '.join(FORMATS)}, got {output}; name the file codes.npz")
    if output is not None and Path(output).resolve() in _sources(expanded(data)):
        raise InputError(f"the codes would replace what they are made from: name another file than {output}")
    if output is not None:
        check_writable(output)
        _check_parquet(Path(output))
    model = read_model(run, best_device())
    splits = load_for(model, data, progress=progress, **loading)
    labelled = any(part.labels is not None for part in splits.parts.values())
    parts = [_columns(model, part, labelled, progress) for part in splits.parts.values()]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if len(parts) > 1:
        table["split"] = np.concatenate([np.full(len(part), name) for name, part in splits.parts.items()])
    broken = int((~np.isfinite(table["codes"]).all(1)).sum())
    if broken:
        say(f"{broken:,} of {len(table['codes']):,} codes are not finite: `crvae3d evaluate` says what may be wrong")
    if output is not None:
        _write(Path(output), table)
        failures = Path(output).with_suffix(".failures.csv")
        write_failures(failures, splits.failures)
        if splits.failures:
            say(f"{len(splits.failures)} left out, with the reasons in {failures}")
    return table


def check_writable(file: str | Path) -> None:
    """Refuse a place where no file can be written, before anything is computed.

    Raises:
        InputError: it is a folder, or lies where nothing may be written.
    """
    folder = next(folder for folder in Path(file).absolute().parents if folder.exists())
    if Path(file).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {file}: name a file in a folder that you may write to")


def apart(data: str | Path, output: str | Path) -> Path:
    """The folder for results, unless its files could be the originals, or be taken for such the next time.

    Raises:
        InputError: it is that of the data, or lies in it.
    """
    output = expanded(output)
    if str(data) in KNOWN or not expanded(data).exists():
        return output
    base, place = expanded(data).resolve(), output.resolve()
    # An archive holds nothing of the names that are written beside it.
    alone = base.is_file() and base.suffix.lower() not in (".zip", ".npz")
    if (alone and place == base.parent) or (base.is_dir() and (base == place or base in place.parents)):
        raise InputError(f"the results would lie among what they are made from: name another folder than {output}")
    return output


def _check_parquet(output: Path) -> None:
    if output.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError("Parquet needs pyarrow: pip install 'crvae3d[parquet]', or write codes.npz")


def _sources(data: Path) -> list[Path]:
    """The files that a name stands for, as far as they can be of a kind with codes: itself, and the archives of its splits."""
    splits = (
        [data.with_name(f"{data.stem}_{split}.npz") for split in ("train", "test")] if data.suffix == ".npz" else []
    )
    return [path.resolve() for path in (data, *(() if data.exists() else splits))]


def load_for(model: VAE, data: str | Path, **loading: object) -> Splits:
    """A dataset in the form that a model takes.

    Raises:
        InputError: it has images and the model is of shapes, or the reverse.
    """
    check_kind(model.settings, data)
    return load(data, **(loading | modality_of(model.settings).loading(model.settings)))


def _columns(model: VAE, part: Clouds | Images, labelled: bool, progress: bool) -> dict[str, np.ndarray]:
    codes = encode(model, modality_of(model.settings).judged(part, model.settings, None), progress=progress)
    columns = {"codes": codes.means, "deviations": codes.stddevs, "ids": part.ids}
    if labelled:
        unknown = part.labels is None
        columns["labels"] = np.full(len(part), "") if unknown else np.asarray(part.class_names)[part.labels]
    return columns


def _write(output: Path, table: dict[str, np.ndarray]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix == ".npz":
        np.savez(output, **table)
        return
    import pyarrow
    import pyarrow.parquet

    columns = {name: list(column) if column.ndim == 2 else _unicode(column) for name, column in table.items()}
    pyarrow.parquet.write_table(pyarrow.table(columns), output)


def _unicode(names: np.ndarray) -> list[str]:
    """Names of files that are not UTF-8, which Parquet cannot hold, with marks in place of what is not."""
    return [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in names.tolist()]
