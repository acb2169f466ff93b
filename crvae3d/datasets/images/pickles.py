"""A pickle of bytes, numbers and uint8 arrays, read without running anything that stands in it.

A pickle is a program that may call any function it names. Here the names that NumPy's arrays need give only records of
their arguments, from which the array is then built by hand; every other name is refused. So neither a foreign function
runs, nor does NumPy rebuild a type from numbers that it would have to trust.
"""

import io
import math
import pickle
from typing import NoReturn

import numpy as np

from crvae3d.errors import InputError

_ARRAY_NAMES = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


class _Record:
    """What a pickle would have given to NumPy."""

    def __init__(self, *arguments: object) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Records(pickle.Unpickler):
    """Of names only those of NumPy's arrays, and even these give records."""

    def __init__(self, content: bytes, source: object) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.source = source

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ARRAY_NAMES:
            raise InputError(
                f"{self.source} is a pickle that asks for {module}.{name}, which the official file does not; nothing "
                "was run, and it should be fetched again from a source you trust"
            )
        return lambda *arguments: _Record(*arguments)  # a new one each time: a pickle may write into what it is given


def read_pickle(content: bytes, source: object) -> dict[bytes, object]:
    """The dictionary of a Python 2 pickle, whose keys and texts are bytes and whose arrays are uint8.

    Args:
        content: the bytes of the pickle.
        source: the file that an error names.

    Raises:
        InputError: it is damaged, is no dictionary, has other arrays, or asks for a function.
    """
    try:
        found = _Records(content, source).load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle fails in any way
        raise InputError(f"{source} is not a readable pickle ({error or type(error).__name__})") from None
    if not isinstance(found, dict):
        raise InputError(f"{source} must hold a dictionary, got {type(found).__name__}")
    return {key: _array(value, source) if isinstance(value, _Record) else value for key, value in found.items()}


def _array(record: _Record, source: object) -> np.ndarray:
    """The uint8 array of (version, shape, type, column by column, bytes)."""
    match record.state:
        case (int(), tuple(shape), _Record(arguments=(b"u1", *_)), False, bytes(content)):
            if all(type(size) is int and size >= 0 for size in shape) and math.prod(shape) == len(content):
                return np.frombuffer(content, np.uint8).reshape(shape)
    _refuse(source)


def _refuse(source: object) -> NoReturn:
    raise InputError(f"{source} holds an array that is not made of unsigned bytes in rows, as the official file's are")
