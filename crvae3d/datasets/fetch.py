"""A download that can be trusted: resumed where it broke off, checked, and in place only when it is whole.

Own code rather than pooch, which checks as well but begins anew after every cut: ModelNet40 is 2 GB from a slow host.
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from crvae3d.datasets.ingest import say
from crvae3d.errors import InputError

_CHUNK = 1 << 18


@dataclass(frozen=True)
class Download:
    """A file on the net and how to know that it is the right one.

    Attributes:
        url: where it is fetched.
        file: its name on disk.
        sha256: None where no trustworthy one is known.
        size: bytes, None where unknown.
    """

    url: str
    file: str
    sha256: str | None = None
    size: int | None = None


class _Cut(Exception):
    """The connection ended before the file did."""


def fetch(download: Download, folder: Path, attempts: int = 2, timeout: float = 30, progress: bool = True) -> Path:
    """Fetch `download` into `folder`, unless it is there.

    What has arrived stays in `<file>.part` and is gone on with, at once after a cut connection and at the next call.

    Args:
        download: what to fetch.
        folder: where to; made if need be.
        attempts: connections in a row that may bring nothing before this gives up.
        timeout: seconds of silence after which a connection counts as broken.
        progress: show a bar on stderr.

    Returns:
        The path of the file.

    Raises:
        InputError: no network, or not the file that was expected; says what to fetch by hand and where to put it.
    """
    target = folder / download.file
    if target.exists():
        return target
    part = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{download.file}.lock", download.file, progress):
            if not target.exists():
                _whole(download, part, attempts, timeout, progress)
                part.replace(target)
    except (OSError, http.client.HTTPException, _Cut) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{download.url} could not be fetched ({reason}); fetch it by hand and put it at {target}"
        ) from error
    return target


@contextmanager
def _alone(place: Path, file: str, progress: bool) -> Iterator[None]:
    """Hold a lock, for which another process that fetches the same file waits."""
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            say(f"another process fetches {file}: waiting for it")
        lock.acquire()
    try:
        yield
        with suppress(OSError):  # of another process that waits for it, on Windows
            place.unlink(missing_ok=True)  # by its holder alone, and where the file is in place
    finally:
        lock.release()


def _whole(download: Download, part: Path, attempts: int, timeout: float, progress: bool) -> None:
    """Receive all of a file into `part`, and hold it against what is known of it."""
    resumed = part.exists()
    _receive(download, part, attempts, timeout, progress)
    problem = _problem(download, part)
    if problem and resumed:  # what an earlier call left may be of another file
        part.unlink()
        _receive(download, part, attempts, timeout, progress)
        problem = _problem(download, part)
    if problem:
        part.unlink()
        raise _Cut(problem)


def _receive(download: Download, part: Path, attempts: int, timeout: float, progress: bool) -> None:
    """Connect again and again, as long as each connection brings something."""
    fruitless = 0
    while True:
        before = _size(part)
        try:
            return _continue(download, part, timeout, progress)
        except (OSError, http.client.HTTPException, _Cut) as error:
            fruitless = 0 if _size(part) > before else fruitless + 1
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or fruitless >= attempts:
                raise


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _continue(download: Download, part: Path, timeout: float, progress: bool) -> None:
    """One connection: append to `part` what it lacks."""
    begun = _size(part)
    request = urllib.request.Request(download.url, headers={"User-Agent": "crvae3d"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not begun:  # 416: nothing behind what we have, so it is whole, or of another file
            raise
        if str(begun) != (error.headers.get("Content-Range") or "").rpartition("/")[2]:
            part.unlink()
            raise _Cut("the server's file is shorter than what was kept of it") from None
        return
    with answer:
        length = answer.headers.get("Content-Length")
        if answer.status != 206:  # the server sends all of it again, or something else, for which nothing is given up
            if begun and length and download.size not in (None, int(length)):
                raise _Cut(f"the server offers {int(length):,} bytes in place of {download.size:,}")
            begun = 0
        total = begun + int(length) if length else download.size
        _copy(answer, part, begun, total, download.file, progress)
    if total is not None and part.stat().st_size < total:
        raise _Cut(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")


def _copy(answer, part: Path, begun: int, total: int | None, name: str, progress: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not progress, transient=True)
    with bar, part.open("ab" if begun else "wb") as out:
        task = bar.add_task(f"fetching {name}", total=total, completed=begun)
        while chunk := answer.read1(_CHUNK):
            out.write(chunk)
            bar.advance(task, len(chunk))


def _problem(download: Download, part: Path) -> str:
    """What is wrong with the whole file; empty if nothing is."""
    size = part.stat().st_size
    if download.size is not None and size != download.size:
        return f"expected {download.size:,} bytes, got {size:,}"
    if download.sha256 is not None:
        with part.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != download.sha256:
            return f"expected the sha256 {download.sha256}, got {found}"
    return ""
