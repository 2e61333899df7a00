"""
Proofs as files: one for each, named by its CID, whole or not there at all.

A file is written under another name, synced, and moved: whatever stops the process, no half file goes by a CID. Nothing
here removes a proof; what a write left behind that was cut off is removed after an hour.
"""

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from listener.errors import ProofNotFound, ProofUnavailable
from listener.loops import begin_thread
from listener.proofs.cid import Cid
from listener.proofs.unixfs import matches

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

UNFINISHED = ".new-"  # how names begin of what is being written
UNFINISHED_S = 3600.0  # what has been so for so long was cut off


class Folder:
    """The local store: a folder of files, ``ab/bafkrei…ab?``; the two letters keep its folders small."""

    near = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._swept = False

    def __str__(self) -> str:
        return "the local store"

    async def keep(self, cid: Cid, content: bytes) -> None:
        """Write a file, and sync it and its name to disk."""
        try:
            await _in_thread(self._write, cid, content)
        except OSError as error:
            raise ProofUnavailable(f"{self.path}: proof {cid} cannot be written: {error.strerror or error}") from error

    async def find(self, cid: Cid, limit_bytes: int) -> bytes:
        """Read a file, and make sure that it is what its name says: a disk may change it."""
        try:
            content = await _in_thread(self._read, cid, limit_bytes)
        except FileNotFoundError:
            raise ProofNotFound("the local store has it not") from None
        except OSError as error:
            raise ProofUnavailable(f"{self.path}: proof {cid} cannot be read: {error.strerror or error}") from error
        if content is None:
            log.error("proof.damaged", file=str(self.place(cid)))
            raise ProofNotFound("the file in the local store is damaged")
        return content

    def place(self, cid: Cid) -> Path:
        """Say where a proof's file is; nothing of how the CID was written gets into it."""
        return self.path / cid.name[-3:-1] / cid.name  # the last letter holds few bits

    def _write(self, cid: Cid, content: bytes) -> None:
        file = self.place(cid)
        _make(file.parent)
        self._sweep()
        with contextlib.suppress(OSError):
            if self._read(cid, len(content)) == content:
                _sync(file.parent)  # another may have moved it there a moment ago
                return
        new = file.parent / f"{UNFINISHED}{secrets.token_hex(8)}"
        try:
            with new.open("xb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            new.replace(file)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        _sync(file.parent)

    def _read(self, cid: Cid, limit_bytes: int) -> bytes | None:
        """Return the content; None where it is not what the name says."""
        number = os.open(self.place(cid), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(number, "rb") as file:  # noqa: PTH123 - it is open
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return None
            content = file.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise ProofNotFound(f"the local store has it, but it is larger than proofs.max_bytes = {limit_bytes}")
        return content if matches(content, cid) else None

    def _sweep(self) -> None:
        if self._swept:
            return
        self._swept = True
        for left in self.path.glob(f"*/{UNFINISHED}*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > UNFINISHED_S:
                    left.unlink()


def problem(folder: Path) -> str | None:
    """Say why no proof could be written into a folder, whether it is there or still to be made; None where one can."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        return f"{folder}: {there} is no folder; name another in [proofs] folder"
    try:
        probe = there / f"{UNFINISHED}{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"{folder}: no proof can be written: {error.strerror}; give the daemon's user the right to write"
    return None


def _make(folder: Path) -> None:
    """Make a folder and those above it, each with its name on disk."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what waits for a disk; one that hangs for ever keeps neither the loop nor the end of the process."""
    _, ended = begin_thread(lambda: function(*args, **kwargs), name="proofs")
    result, error = await ended
    if error is not None:
        raise error
    found: T = result
    return found
