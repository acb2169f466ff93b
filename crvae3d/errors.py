"""What a user hears when an input cannot be used: one sentence that says what came and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn


class InputError(ValueError):
    """The user's input cannot be used. The command line prints the message and exits with code 2."""


class Diverged(RuntimeError):
    """The loss or its gradient stayed non-finite. The command line prints the message and exits with code 1."""


def unknown(kind: str, name: str, known: Iterable[str], own: bool = False) -> NoReturn:
    """Raise an `InputError` that names the valid choice nearest to `name`, and all of them; `own`: and how one adds to them."""
    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    added = "; your own come with --plugin FILE.py" if own else ""
    raise InputError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known)}{added}")
