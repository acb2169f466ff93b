"""Where the bytes of a shape come from: a file of a folder, or a member of a zip that is never unpacked."""

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from crvae3d.errors import InputError


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        path: the file itself, or the zip that holds it.
        name: the path relative to the folder or zip, with `/`; the shape's seed comes from it.
        member: the full name inside the zip; empty for a plain file.
    """

    path: Path
    name: str
    member: str = ""

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    def read(self) -> bytes:
        """The bytes of the file."""
        return _open_zip(self.path).read(self.member) if self.member else self.path.read_bytes()

    def stamp(self) -> str:
        """Changes when the file does, without reading it."""
        told = self.path.stat()
        return f"{self.name}|{self.member}|{told.st_size}|{told.st_mtime_ns}"


@lru_cache(maxsize=2)
def _open_zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def list_sources(place: Path, suffixes: Iterable[str]) -> list[Source]:
    """All files below the folder or inside the zip `place` that end in one of `suffixes`, in the order of their names.

    Hidden files, `__MACOSX` and readme or licence texts are no shapes.

    Raises:
        InputError: `place` is a broken zip.
    """
    found = _members(place) if place.is_file() else _files(place)
    suffixes = frozenset(suffixes)
    return sorted((source for source in found if _is_shape(source, suffixes)), key=lambda source: source.name)


def _files(folder: Path) -> list[Source]:
    # os.walk: rglob leaves out class folders that are links to another disk.
    walked = os.walk(folder, followlinks=True)
    paths = (Path(place, name) for place, _, names in walked for name in names)
    return [Source(path, path.relative_to(folder).as_posix()) for path in paths]


def _members(path: Path) -> list[Source]:
    try:
        with zipfile.ZipFile(path) as opened:
            members = [info.filename for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} is not a readable zip ({error}); fetch it again or unpack it by hand") from None
    top = f"{path.stem}/"  # ModelNet10.zip holds ModelNet10/..., which is no label
    kept = [name for name in members if not name.startswith("__MACOSX/")]
    strip = len(top) if kept and all(name.lower().startswith(top.lower()) for name in kept) else 0
    return [Source(path, name[strip:], name) for name in kept]


def _is_shape(source: Source, suffixes: frozenset[str]) -> bool:
    parts = PurePosixPath(source.name)
    if any(part.startswith(".") or part == "__MACOSX" for part in parts.parts):
        return False
    is_text = parts.stem.lower() in {"readme", "license", "licence", "copying"}
    return source.suffix in suffixes and not is_text
