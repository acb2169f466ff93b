"""Text to numbers: numpy's parser, made strict."""

import re
import warnings

import numpy as np

from crvae3d.datasets.shape import BadShape, Shape


def parse_numbers(text: bytes, dtype: type = np.float64) -> np.ndarray:
    """The numbers of whitespace-separated `text`, of the given type, (n,).

    Raises:
        BadShape: something in the text is not a number.
    """
    if not text.strip():
        return np.empty(0, dtype=dtype)
    with warnings.catch_warnings():
        # Before NumPy 2.3 unreadable text ends the array with a warning, later it raises.
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            raise BadShape("its text holds something that is not a number") from None


def strip_comments(text: bytes, marks: tuple[bytes, ...] = (b"#",)) -> bytes:
    """`text` without what stands behind a comment mark on each line."""
    for mark in marks:
        if mark in text:
            text = b"\n".join(line.split(mark, 1)[0] for line in text.splitlines())
    return text


def read_rows(text: bytes) -> Shape:
    """A cloud of rows `x y z ...` separated by blanks, commas or semicolons; further columns are left out.

    A first line that is one integer is the number of points (`.pts`), one of words is a header, which may say where x, y and z are.

    Raises:
        BadShape: rows of different lengths, fewer than announced, or fewer than 3 columns; or commas that may be decimal ones.
    """
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = strip_comments(text, (b"#", b"//")).strip()
    first, _, rest = text.partition(b"\n")
    words = _columns(first).split()
    announced = int(words[0]) if len(words) == 1 and words[0].isdigit() else None
    if announced is not None or (words and not _is_number(words[0])):
        text = rest
    if _has_decimal_commas(text):
        raise BadShape("its commas may be decimal ones: write numbers with a decimal point")
    text = _columns(text)
    numbers = parse_numbers(text)
    if len(numbers) == 0:
        raise BadShape("it holds no points")
    lengths = [length for length in map(len, map(bytes.split, text.splitlines())) if length]
    columns, lines = lengths[0], len(lengths)
    if columns < 3:
        raise BadShape(f"its rows have {columns} columns, at least 3 (x y z) are needed")
    if min(lengths) < max(lengths):
        raise BadShape(f"its rows differ in length: from {min(lengths)} to {max(lengths)} numbers")
    if announced is not None and lines < announced:
        raise BadShape(f"it is truncated: {lines} points of the {announced} that its first line announces")
    named = [word.strip(b"\"'").lower() for word in words]
    axes = [named.index(axis) for axis in (b"x", b"y", b"z") if len(named) == columns and axis in named]
    return Shape(numbers.reshape(lines, columns)[:, axes if len(axes) == 3 else [0, 1, 2]])


def _has_decimal_commas(text: bytes) -> bool:
    """Whether commas stand inside numbers, as far as that can be told: something else parts the columns."""
    semicolons = re.search(rb"\d,\d", text) and re.search(rb";[ \t]*[^\s;]", text)
    blanks = re.search(rb"(?m)[ \t][-+]?\d+,\d+([eE][-+]?\d+)?[ \t]*$", text) and b"." not in text
    return bool(semicolons or blanks)


def _columns(text: bytes) -> bytes:
    """Text in which blanks alone part the columns."""
    return text.replace(b",", b" ").replace(b";", b" ")


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
