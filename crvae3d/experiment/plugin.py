"""Encoders and transformations of the user's own: a Python file that adds lines to the tables."""

import importlib.util
import sys
from pathlib import Path

from crvae3d.errors import InputError


def load_plugin(plugin: str | Path | None) -> None:
    """Run a Python file of the user's, which adds lines to tables such as `ENCODERS` and `TRANSFORMS`.

    It may import the files beside it.

    Raises:
        InputError: it is no Python file, or does not run.
    """
    if plugin is None:
        return
    path = Path(plugin)
    if not path.is_file() or path.suffix != ".py":
        raise InputError(f"no plugin in {path}: name a Python file that adds to crvae3d's tables, such as TRANSFORMS")
    spec = importlib.util.spec_from_file_location(f"crvae3d_plugin_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for what its fields name
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.append(beside)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"the plugin {path} does not run: {type(error).__name__}: {error}") from error
