"""Freed memory kept for the next step, where the C library would give it back and fetch it anew, page by page.

glibc takes every large array from the system and returns it at once. A training step asks for the same arrays as the one
before; without this 7 to 35 % of its time went into pages that the kernel fills with noughts.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_inside: list[bool] = []
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of <malloc.h>


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory while this lasts, in the whole process; afterwards it goes back. Nothing happens without glibc.

    One may stand inside another: the outermost counts. It leaves glibc's thresholds fixed at the highest of those that
    it sets itself, 32 and 64 MB.
    """
    library = _glibc()
    if library is None or _inside:
        yield
        return
    _inside.append(True)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        _inside.clear()
        library.mallopt(_MMAP_MAX, 2**16)  # the default
        library.mallopt(_MMAP_THRESHOLD, 2**25)
        library.mallopt(_TRIM_THRESHOLD, 2**26)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "malloc_trim") else None
