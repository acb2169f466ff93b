"""The arrays of a `.npz` or `.mat` file of images, read without running anything that stands in it."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crvae3d.errors import InputError


def read_npz(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays named `keys` of a `.npz` file.

    Raises:
        InputError: it cannot be read, holds pickled objects, or lacks one of the arrays.
    """
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise InputError(f"{path} is one bare array; {', '.join(keys)} were expected in an .npz file")
        with opened as archive:
            _require(path, keys, archive.files)
            return {key: archive[key] for key in keys}
    except InputError:
        raise
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        told = "it is none, or holds pickled objects, which are never loaded" if "pickle" in str(error) else error
        raise InputError(f"{path} is not a usable .npz file: {told}") from None


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The matrices named `keys` of a MATLAB file of version 7 or older.

    Raises:
        InputError: it cannot be read, or lacks one of the matrices.
    """
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=list(keys))
    except Exception as error:  # SciPy's reader fails in any way on a damaged file
        raise InputError(f"{path} is not a readable MATLAB file ({error}); fetch it again") from None
    _require(path, keys, [key for key in found if not key.startswith("__")])
    return {key: found[key] for key in keys}


def _require(path: Path, keys: Sequence[str], found: Sequence[str]) -> None:
    if missing := [key for key in keys if key not in found]:
        raise InputError(f"{path} has no array {missing[0]!r}, only {', '.join(found) or 'nothing'}")
