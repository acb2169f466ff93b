"""The OFF format: all-triangle files at the speed of one numpy parse, every other variant line by line.

Own code because of what libraries do with real files: trimesh takes five times as long (on the ModelNet10 release) and
does not notice missing faces; PyG's `read_off` loses the last face of a file without a final newline and
drops polygons. ModelNet40 has headers that are glued to the counts, `OFF490 518 0`.
"""

import re

import numpy as np

from crvae3d.datasets.numerals import parse_numbers, strip_comments
from crvae3d.datasets.shape import BadShape, Shape

_KEYWORD = re.compile(rb"\s*(?:ST)?C?N?OFF(?![A-Za-z])")


def read_off(text: bytes) -> Shape:
    """Read an OFF file: polygons become fans of triangles, colours and normals are left out.

    Raises:
        BadShape: no OFF header, or fewer vertices or faces than the header announces.
    """
    text = strip_comments(text if b"\n" in text else text.replace(b"\r", b"\n"))
    keyword = _KEYWORD.match(text)
    if keyword is None:
        raise BadShape("it does not begin with OFF")
    body = text[keyword.end() :].lstrip()
    if body.startswith(b"BINARY"):
        raise BadShape("binary OFF is not read; save it as text OFF or as PLY")
    counts, _, rest = body.partition(b"\n")
    try:
        vertices, faces = (int(word) for word in counts.split()[:2])
    except ValueError:
        raise BadShape("the line of counts after OFF is missing or malformed") from None
    return _read_triangles(rest, vertices, faces) or _read_lines(rest, vertices, faces)


def _read_triangles(body: bytes, vertices: int, faces: int) -> Shape | None:
    """The plain case: a line of 3 numbers a vertex, `3 a b c` a face. None if the file is anything else."""
    ends = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == ord("\n"))
    if not 0 < vertices <= len(ends):
        return None
    try:
        # Apart, because integers are parsed several times faster than floats, and most of the text is integers.
        points = parse_numbers(body[: ends[vertices - 1]])
        corners = parse_numbers(body[ends[vertices - 1] :], np.int64)
    except BadShape:
        return None
    if faces == 0 or len(points) != 3 * vertices or len(corners) != 4 * faces or (corners[::4] != 3).any():
        return None
    return Shape(points.reshape(vertices, 3), corners.reshape(faces, 4)[:, 1:].copy())


def _read_lines(body: bytes, vertices: int, faces: int) -> Shape:
    lines = [words for line in body.splitlines() if (words := line.split())]
    if len(lines) < vertices:
        raise BadShape(f"it is truncated: {len(lines)} vertices of the {vertices} that its header announces")
    if len(lines) < vertices + faces:
        raise BadShape(f"it is truncated: {len(lines) - vertices} faces of the {faces} that its header announces")
    try:
        points = np.array([words[:3] for words in lines[:vertices]], dtype=np.float64).reshape(vertices, 3)
        polygons = [[int(word) for word in words] for words in _corners(lines[vertices : vertices + faces])]
    except ValueError:
        raise BadShape("a vertex or a face of it is not made of numbers, or is cut short") from None
    fans = [(face[0], b, c) for face in polygons for b, c in zip(face[1:-1], face[2:], strict=True)]
    return Shape(points, np.array(fans, dtype=np.int64).reshape(-1, 3) if faces else None)


def _corners(lines: list[list[bytes]]) -> list[list[bytes]]:
    polygons = [words[1 : int(words[0]) + 1] for words in lines]
    if any(len(polygon) < int(words[0]) for polygon, words in zip(polygons, lines, strict=True)):
        raise BadShape("it is truncated: a face names fewer vertices than it announces")
    return polygons
