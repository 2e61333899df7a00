"""
Opens the database behind a journal's URL and brings it to the present schema.

SQLite in WAL mode: readers such as ``listener tasks list`` never wait for the daemon's writes.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from listener.errors import JournalError
from listener.journal.schema import REVISION


def open_engine(path: Path) -> Engine:
    """
    Make the engine of a SQLite journal; nothing is opened yet.

    Every connection belongs to the thread that opened it and takes the write lock when its transaction begins, so that
    two writers wait for each other instead of failing half-way.
    """
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": 10.0})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def upgrade(engine: Engine) -> None:
    """
    Bring the journal to the present schema.

    Raises:
        JournalError: it cannot be opened, or a newer version of this program wrote it.

    """
    try:
        with engine.begin() as connection:
            found = _revision(connection)
            if found == REVISION:
                return
            if found is not None and found > REVISION:
                raise JournalError(
                    f"journal {engine.url.database}: its schema {found} is newer than this version's {REVISION}; "
                    "run the version that wrote it"
                )
            _migrate(connection)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise JournalError(f"journal {engine.url.database}: {getattr(error, 'orig', None) or error}") from error


def require(path: Path) -> None:
    """Refuse to read a journal that is not there: a listing must not make one."""
    if not path.exists():
        raise JournalError(f"journal {path}: no such file; `listener run` makes it")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are ours, see _begin
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection) -> None:
    # Imported here: a journal that is up to date, which is nearly every start, needs none of it in memory.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
