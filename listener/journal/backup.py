"""
Copies a SQLite journal to a file of its own, while a daemon writes to it, and puts such a copy in a journal's place.

A copy is one consistent moment. It is *held* from the start, see ``held.py``: whichever way it gets back into place, no
daemon goes on from it unasked.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, select

from listener.errors import JournalError, NotPossible
from listener.journal import held
from listener.journal.database import BUSY_S, open_engine, revision
from listener.journal.faults import explained
from listener.journal.health import damage
from listener.journal.lock import OwnerLock
from listener.journal.schema import REVISION, chains

_BESIDE = ("-wal", "-shm")  # what SQLite keeps beside a database that is open, or was not closed


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place: why it is held, each chain's cursor, and where the journal went that stood there."""

    held: str
    cursors: dict[str, int]
    moved_to: Path | None


def back_up(journal: Path, target: Path, *, overwrite: bool = False) -> int:
    """
    Copy a journal to ``target``, which is there whole or not at all; return its size in bytes.

    Raises:
        NotPossible: there is a file of that name.
        JournalError: the journal cannot be read, or the copy not be written.

    """
    _check_target(journal, target, overwrite=overwrite)
    with _new_file(target) as copy:
        _copy(journal, copy)
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        _finish(copy, journal, f"from the backup that was taken at {now}")
        return copy.stat().st_size


def restore(backup: Path, journal: Path) -> Restored:
    """
    Put a copy in the journal's place; what stood there is kept beside it, under another name.

    Raises:
        JournalError: a daemon owns the journal, or the copy is damaged, no journal, or of a newer version.

    """
    if not backup.is_file():
        raise JournalError(f"backup {backup}: no such file")
    if journal.exists() and journal.samefile(backup):
        raise NotPossible(f"backup {backup}: it is the journal itself; name a copy of it")
    lock = OwnerLock(journal)
    try:
        with _new_file(journal, keep_owner=True) as copy:
            _copy(backup, copy)
            since, cursors = _finish(copy, backup, f"from {backup}, a copy of unknown age")
            moved_to = _move_aside(journal)
        return Restored(since, cursors, moved_to)
    finally:
        lock.release()


def _check_target(journal: Path, target: Path, *, overwrite: bool) -> None:
    if target.exists() and target.samefile(journal):
        raise NotPossible(f"backup {target}: it is the journal itself; name another file")
    if target.is_dir():
        raise NotPossible(f"backup {target}: it is a folder; name a file in it")
    if target.exists() and not overwrite:
        raise NotPossible(f"backup {target}: it is there already; name another file, or add --overwrite")
    needed = sum(path.stat().st_size for path in (journal, Path(f"{journal}-wal")) if path.exists())
    if target.parent.is_dir() and (free := shutil.disk_usage(target.parent).free) < needed:
        # Were the disk filled up, a daemon on it would stop.
        raise JournalError(f"backup {target}: it may need {needed} bytes, and its disk has {free}")


@contextmanager
def _new_file(target: Path, *, keep_owner: bool = False) -> Iterator[Path]:
    """Give a new file that takes the target's name when all went well, and goes away when not."""
    copy = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            if keep_owner and os.geteuid() == 0:  # what root restores must be the service's own
                owner = (target if target.exists() else target.parent).stat()
                os.chown(copy, owner.st_uid, owner.st_gid)
            yield copy
            _sync(copy)
            copy.replace(target)
            _sync(target.parent)
        finally:
            for path in (copy, Path(f"{copy}-journal"), *(Path(f"{copy}{end}") for end in _BESIDE)):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"backup {target}: {error.strerror or error}") from error


def _copy(source: Path, copy: Path) -> None:
    """Copy a database as it stands now, in one go: a daemon's writes go on, and are not in it."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as reader,
            closing(sqlite3.connect(copy, isolation_level=None)) as writer,
        ):
            reader.backup(writer)
            writer.execute("PRAGMA journal_mode=DELETE")  # one file, whatever the source kept beside it
    except sqlite3.Error as error:
        raise explained(error, source) from error


def _finish(copy: Path, source: Path, since: str) -> tuple[str, dict[str, int]]:
    """Check that a copy is a whole journal, and hold it; one that is held stays as it is. Return why, and cursors."""
    problem = damage(copy, "integrity_check")
    if problem is not None:
        raise JournalError(f"journal {source}: it is damaged: {problem}; use another backup")
    engine = open_engine(copy)
    try:
        with engine.begin() as connection:
            _check_revision(connection, source)
            since = held.reason(connection) or since
            held.hold(connection, since)
            cursors = {row.name: row.number for row in connection.execute(select(chains.c.name, chains.c.number))}
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    finally:
        engine.dispose()
    return since, cursors


def _check_revision(connection: Connection, source: Path) -> None:
    found = revision(connection)
    if found is None:
        raise JournalError(f"journal {source}: it is no journal")
    if found > REVISION:
        raise JournalError(f"journal {source}: its schema {found} is newer than this version's {REVISION}")


def _move_aside(journal: Path) -> Path | None:
    """Keep the journal that stands where a copy is to stand, under a name that says when it was replaced."""
    if not journal.exists():
        for end in _BESIDE:  # of a journal that somebody removed: they would spoil the one that takes its name
            Path(f"{journal}{end}").unlink(missing_ok=True)
        return None
    aside = journal.with_name(f"{journal.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    wal, aside_wal = Path(f"{journal}-wal"), Path(f"{aside}-wal")
    if wal.exists():
        shutil.copyfile(wal, aside_wal)  # a copy: SQLite throws it away where it cannot read the rest
    if _is_one_file(journal):
        aside_wal.unlink(missing_ok=True)
    for end in _BESIDE:
        Path(f"{journal}{end}").unlink(missing_ok=True)
    try:
        os.link(journal, aside)  # so that at no moment there is no journal, which a daemon would begin anew
    except OSError:
        journal.replace(aside)  # a file system without links
    return aside


def _is_one_file(journal: Path) -> bool:
    """Bring what stands in the log beside a database into its file; say whether that could be done."""
    try:
        with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    return not is_busy


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
