"""One process owns a SQLite journal: an OS lock on a file beside it, held until the process ends, however it ends."""

import fcntl
import os
from pathlib import Path

from listener.errors import JournalError


class OwnerLock:
    """The lock; taken when made."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_name(journal.name + ".lock")
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(
                f"journal {journal}: {error.strerror}; make its folder writable for this user"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise JournalError(
                f"journal {journal}: process {holder} owns it; stop that one, or give this one its own journal.url"
            ) from error
        try:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(self._fd)
            raise JournalError(f"journal {journal}: {error.strerror}; make room, and start again") from error

    def release(self) -> None:
        """Let another process own the journal. The file stays: removing it would let two owners lock two files."""
        os.close(self._fd)
