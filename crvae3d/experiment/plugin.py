"""Encoders and transformations of the user's own: a Python file that adds lines to the tables."""

import importlib.util
from pathlib import Path

from crvae3d.errors import InputError


def load_plugin(plugin: str | Path | None) -> None:
    """Run a Python file of the user's, which adds lines to tables such as `ENCODERS` and `TRANSFORMS`.

    Raises:
        InputError: it is no Python file, or does not run.
    """
    if plugin is None:
        return
    path = Path(plugin)
    if not path.is_file() or path.suffix != ".py":
        raise InputError(f"no plugin in {path}: name a Python file that adds to crvae3d's tables, such as TRANSFORMS")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"the plugin {path} does not run: {type(error).__name__}: {error}") from error
