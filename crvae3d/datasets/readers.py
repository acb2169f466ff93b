"""One file of a mesh or a cloud, read and validated. Which formats: `SUFFIXES`."""

import io
import json
import re
from pathlib import Path

import numpy as np

from crvae3d.datasets.numerals import read_rows
from crvae3d.datasets.off import read_off
from crvae3d.datasets.shape import BadShape, Shape, validate


def parse_shape(content: bytes, suffix: str, path: Path | None = None) -> Shape:
    """Read and validate the `content` of a file whose name ends in `suffix`.

    Args:
        content: the bytes of the file.
        suffix: `.off`, `.stl` ..., in upper or lower case.
        path: where the file stands, for the formats that refer to files beside them (glTF).

    Raises:
        BadShape: empty, truncated, non-finite, without area, or unreadable; the message says which.
    """
    suffix = suffix.lower()
    if suffix not in SUFFIXES:
        raise BadShape(f"{suffix or 'a file without suffix'} is not read; known are {', '.join(SUFFIXES)}")
    content = content.removeprefix(b"\xef\xbb\xbf")  # which some editors put before text
    if not content.strip():
        raise BadShape("the file is empty")
    try:
        own = _OWN.get(suffix)
        return validate(own(content) if own else _LIBRARY[suffix](content, suffix[1:], path))
    except BadShape:
        raise
    except Exception as error:  # a stranger's file must never take a run down, whatever a parser raises
        told = " ".join(str(error).split())[:200]
        raise BadShape(f"it cannot be read as {suffix[1:].upper()} ({type(error).__name__}: {told})") from error


def _read_array(content: bytes) -> Shape:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise BadShape(f"it must be an array of numbers (points, 3), got {array.dtype} {array.shape}")
    if len(array) == 3 and array.shape[1] > 9:
        raise BadShape(f"it has 3 rows of {array.shape[1]} numbers: transpose it to (points, 3)")
    return Shape(array[:, :3].astype(np.float64))


def _read_scene(content: bytes, kind: str, path: Path | None) -> Shape:
    import trimesh

    beside = trimesh.resolvers.FilePathResolver(str(path)) if path is not None else None
    # process=False: otherwise trimesh drops vertices that are not finite without a word.
    options = {"skip_materials": True} if kind == "obj" else {}
    scene = trimesh.load_scene(io.BytesIO(content), file_type=kind, resolver=beside, process=False, **options)
    parts = scene.dump()
    meshes = [part for part in parts if isinstance(part, trimesh.Trimesh)]
    if not meshes:
        clouds = [np.asarray(part.vertices) for part in parts if isinstance(part, trimesh.PointCloud)]
        if not clouds:
            raise BadShape("it holds neither a mesh nor points")
        return Shape(np.concatenate(clouds).astype(np.float64))
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Shape(
        np.concatenate([np.asarray(mesh.vertices, dtype=np.float64) for mesh in meshes]),
        np.concatenate([np.asarray(mesh.faces) + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def _read_obj(content: bytes, kind: str, path: Path | None) -> Shape:
    """OBJ, with what trimesh does not know or takes for something else: see `_as_written_plainly`."""
    content = _as_written_plainly(content)
    if re.search(rb"(?m)^f [^\n]*-", content):
        content = _counted_from_one(content)
    if re.search(rb"(?m)^f [^\n]*?(?<![\d/])0+(?!\d)", content):  # which would be the last vertex
        raise BadShape("a face names vertex 0, and OBJ counts from 1")
    if re.search(rb"(?:^|\n)f(?: +[^\s]+){0,2} *$", content.rstrip()):
        raise BadShape("it is truncated: its last face has fewer than three corners")
    return _read_scene(content, kind, path)


def _as_written_plainly(text: bytes) -> bytes:
    """An OBJ without comments, tabs, indentation and continued lines, each line ended by a line feed."""
    text = re.sub(rb"\r\n?", b"\n", text)
    text = re.sub(rb"#[^\n]*", b"", text).replace(b"\\\n", b" ")
    return re.sub(rb"(?m)^ +", b"", text.replace(b"\t", b" "))


def _counted_from_one(text: bytes) -> bytes:
    """The text of an OBJ whose faces name each corner by its place in the file, be it `1`, `1/2/3` or `1//3`."""
    read = {b"v": 0, b"vt": 0, b"vn": 0}
    lines = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in read:
            read[words[0]] += 1
        elif words and words[0] == b"f":
            corners = [[*zip(corner.split(b"/"), read.values(), strict=False)] for corner in words[1:]]
            if beyond := [n.decode() for one in corners for n, count in one[:1] if n[:1] == b"-" and -int(n) > count]:
                raise BadShape(f"a face counts {beyond[0]} from the {read[b'v']} vertices before it")
            places = [[str(count + 1 + int(n)).encode() if n[:1] == b"-" else n for n, count in one] for one in corners]
            line = b" ".join([b"f", *map(b"/".join, places)])
        lines.append(line)
    return b"\n".join(lines)


def _read_stl(content: bytes, kind: str, path: Path | None) -> Shape:
    """STL, with the check that trimesh lacks: it gives an empty scene for a truncated file."""
    if content.lstrip()[:5].lower() == b"solid" and b"facet" in content[:2000].lower():
        content = content.lower()  # as trimesh wants it
        begun, ended = len(re.findall(rb"\bfacet\s+normal", content)), content.count(b"endfacet")
        if ended < begun or b"endsolid" not in content:
            raise BadShape(f"it is truncated: {ended} complete facets and no end")
    elif len(content) < 84:
        raise BadShape(f"it is truncated: {len(content)} bytes, a binary STL has a header of 84")
    else:
        announced, held = int.from_bytes(content[80:84], "little"), (len(content) - 84) // 50
        if held < announced:
            raise BadShape(f"it is truncated: {held} faces of the {announced} that its header announces")
        content = content[: 84 + 50 * announced]
    return _read_scene(content, kind, path)


def _read_ply(content: bytes, kind: str, path: Path | None) -> Shape:
    """PLY, with the check that trimesh lacks: it does not count the rows of a text file."""
    header, ended, body = content.partition(b"end_header")
    if not ended:
        raise BadShape("it is truncated within its header")
    if re.search(rb"(?m)^\s*element\s+tristrips\b", header):
        raise BadShape("its triangles are strips, which are not read: save it with faces, or as OBJ")
    if b"format ascii" in header:
        announced = sum(int(count) for count in re.findall(rb"^\s*element\s+\w+\s+(\d+)", header, re.MULTILINE))
        held = sum(1 for line in body.splitlines() if line.strip())
        if held < announced:
            raise BadShape(f"it is truncated: {held} rows of the {announced} that its header announces")
    try:
        return _read_scene(content, kind, path)
    except ValueError as error:
        if "unexpected length" in str(error):
            faces = ", or its faces differ in their number of corners: save it as text PLY or as OBJ"
            told = "it is truncated: shorter than its header announces"
            raise BadShape(told + faces * (b"element face" in header)) from None
        if re.search(rb"(?i)(?<![a-z])[-+]?(nan|inf)", body):
            raise BadShape("some of its numbers are not finite (NaN or infinite)") from None
        raise


def _read_gltf(content: bytes, kind: str, path: Path | None) -> Shape:
    """glTF, whose numbers may lie in files beside it."""
    buffers = json.loads(content).get("buffers", []) if path is None else []
    if not all(buffer.get("uri", "").startswith("data:") for buffer in buffers):
        raise BadShape("it refers to files beside it, which are not read from a zip: unpack the zip")
    return _read_scene(content, kind, path)


def _read_glb(content: bytes, kind: str, path: Path | None) -> Shape:
    announced = int.from_bytes(content[8:12], "little")
    if content[:4] != b"glTF":
        raise BadShape("it does not begin with glTF")
    if len(content) < announced:
        raise BadShape(f"it is truncated: {len(content)} bytes of the {announced} that its header announces")
    return _read_scene(content, kind, path)


_OWN = {".off": read_off, ".npy": _read_array, ".xyz": read_rows, ".txt": read_rows, ".pts": read_rows}
_LIBRARY = {".obj": _read_obj, ".stl": _read_stl, ".ply": _read_ply, ".glb": _read_glb, ".gltf": _read_gltf}
SUFFIXES = (*_OWN, *_LIBRARY)
