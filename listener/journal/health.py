"""
Looks whether a SQLite journal is whole. It takes seconds for each gigabyte, so that the daemon leaves it to
``listener check``, ``journal backup`` and ``journal restore``: what is damaged ends it when it is read.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from listener.errors import JournalError
from listener.journal import held
from listener.journal.database import BUSY_S, open_engine, revision
from listener.journal.faults import explained
from listener.journal.schema import REVISION


@dataclass(frozen=True, slots=True)
class Health:
    """What a whole journal says of itself: its schema, None where it is still to be made, and why it is held."""

    revision: str | None
    held: str | None


def damage(path: Path, pragma: Literal["quick_check", "integrity_check"]) -> str | None:
    """
    Return what is wrong with a database file; None when it is whole.

    Args:
        path: the file.
        pragma: the first compares every page with its neighbours, the second rows with indexes as well.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}(1)")]
    except sqlite3.Error as error:
        return str(error)
    return None if found == ["ok"] else f"malformed: {found[0].splitlines()[-1]}"


def look(path: Path) -> Health:
    """
    Look a journal through; a daemon may own it meanwhile.

    Raises:
        JournalError: it is damaged, no journal, or of a newer version.
    """
    found = damage(path, "quick_check")
    if found is not None:
        raise explained(sqlite3.DatabaseError(found), path)
    if path.stat().st_size == 0:
        return Health(None, None)
    engine = open_engine(path)
    with engine.connect().execution_options(reading=True) as connection:
        schema = revision(connection)
        if schema is not None and schema > REVISION:
            raise JournalError(f"journal {path}: its schema {schema} is newer than this version's {REVISION}")
        return Health(schema, None if schema is None else held.reason(connection))
