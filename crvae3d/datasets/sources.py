"""Where the bytes of a shape come from: a file of a folder, or a member of a zip that is never unpacked."""

import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

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
        return _open_zip(self.path, _state(self.path)).read(self.member) if self.member else self.path.read_bytes()

    def stamp(self) -> str:
        """Changes when the file does, or those that a glTF refers to; no other is read for it."""
        return "|".join((self.name, self.member, *(_state(path) for path in (self.path, *self._beside()))))

    def _beside(self) -> list[Path]:
        """The files that hold the numbers of a glTF."""
        if self.suffix != ".gltf" or self.member:
            return []
        try:
            uris = [buffer.get("uri", "data:") for buffer in json.loads(self.path.read_bytes()).get("buffers", [])]
            return [self.path.parent / unquote(uri) for uri in uris if not uri.startswith("data:")]
        except (OSError, ValueError, AttributeError, TypeError):  # it is broken, and reading it says how
            return []


def expanded(place: str | Path) -> Path:
    """The path with its `~` for a home folder, or as it is where no such user has one.

    Raises:
        InputError: nothing but blanks, as of a variable that is not set.
    """
    if not str(place).strip():
        raise InputError("an empty name was given where a dataset, folder or file belongs; `.` is this folder")
    return Path(os.path.expanduser(place))


def _state(path: Path) -> str:
    """The size of a file and when it was changed."""
    try:
        told = path.stat()
    except OSError as error:  # a link to nothing: reading it says so
        return error.strerror or "missing"
    return f"{told.st_size}|{told.st_mtime_ns}"


@lru_cache(maxsize=2)
def _open_zip(path: Path, state: str) -> zipfile.ZipFile:
    """The opened zip; one that has been replaced has another state, and is opened anew."""
    return zipfile.ZipFile(path)


def list_sources(place: Path, suffixes: Iterable[str]) -> list[Source]:
    """All files below the folder or inside the zip `place` that end in one of `suffixes`, in the order of their names.

    Hidden files, `__MACOSX` and readme or licence texts are no shapes.

    Raises:
        InputError: `place` is a broken zip, or a folder in it may not be looked into.
    """
    suffixes = frozenset(suffixes)
    found = _members(place, suffixes) if place.is_file() else _files(place, suffixes)
    return sorted(found, key=lambda source: source.name)


def _files(folder: Path, suffixes: frozenset[str]) -> list[Source]:
    """Links to folders are followed, since class folders may lie on another disk, but not back to one that holds them."""
    found, waiting = [], [(folder, frozenset())] if folder.is_dir() else []
    while waiting:
        place, above = waiting.pop()
        try:
            told = place.stat()
            entries = [] if (told.st_dev, told.st_ino) in above else list(os.scandir(place))
        except OSError as error:
            raise InputError(f"{place} cannot be looked into ({error.strerror}); open it, or move it away") from None
        above |= {(told.st_dev, told.st_ino)}
        for entry in entries:
            path = Path(entry.path)
            if _is_folder(entry):
                waiting.extend([] if _is_hidden(entry.name) else [(path, above)])
            elif _is_shape(name := path.relative_to(folder).as_posix(), suffixes):
                found.append(Source(path, name))
    return found


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into what may not be looked into
        return False


def _members(path: Path, suffixes: frozenset[str]) -> list[Source]:
    try:
        with zipfile.ZipFile(path) as opened:
            members = [info.filename for info in opened.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} is not a readable zip ({error}); fetch it again or unpack it by hand") from None
    names = {member.replace("\\", "/"): member for member in members}  # as some programs of Windows write them
    kept = [name for name in names if _is_shape(name, suffixes)]
    top = f"{path.stem}/"  # ModelNet10.zip holds ModelNet10/..., which is no label
    strip = len(top) if kept and all(name.lower().startswith(top.lower()) for name in kept) else 0
    return [Source(path, name[strip:], names[name]) for name in kept]


def _is_shape(name: str, suffixes: frozenset[str]) -> bool:
    parts = PurePosixPath(name)
    is_text = parts.stem.lower() in {"readme", "license", "licence", "copying"}
    return parts.suffix.lower() in suffixes and not is_text and not any(_is_hidden(part) for part in parts.parts)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
