"""
Opens the database behind a journal's URL and brings it to the present schema.

SQLite in WAL mode: readers such as ``listener tasks list`` never wait for the daemon's writes.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, create_engine, event, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from listener.errors import JournalError
from listener.journal.faults import explained
from listener.journal.schema import REVISION, metadata

BUSY_S = 10.0  # how long a write waits for one of another process

# Alembic's own table, so that it finds where to go on from.
versions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def open_engine(path: Path) -> Engine:
    """
    Make the engine of a SQLite journal; nothing is opened yet.

    Every connection belongs to the thread that opened it and takes the write lock when its transaction begins, so that
    two writers wait for each other instead of failing half-way. One that only reads says so with the execution option
    ``reading``: a listing that stands still in somebody's pager must not keep the daemon from writing.
    """
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": BUSY_S})
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
            found = revision(connection)
            if found is None:
                _make(connection)
            elif found > REVISION:
                raise JournalError(
                    f"journal {engine.url.database}: its schema {found} is newer than this version's {REVISION}; "
                    "run the version that wrote it"
                )
            elif found < REVISION:
                _migrate(connection)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise explained(error, engine.url.database) from error


def require_present(connection: Connection) -> None:
    """Refuse to write to a journal whose schema is another one: bringing it up is the daemon's business."""
    found = revision(connection)
    if found != REVISION:
        what = "it is no journal" if found is None else f"its schema is {found}, this version's is {REVISION}"
        raise JournalError(f"journal {connection.engine.url.database}: {what}; `listener run` brings it up to date")


def sync_commits(connection: Connection) -> None:
    """Have every commit of a connection synced to disk before it returns."""
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().execute("PRAGMA synchronous=FULL")


def require(path: Path) -> None:
    """Refuse to read a journal that is not there: a listing must not make one."""
    if not path.exists():
        raise JournalError(f"journal {path}: no such file; `listener run` makes it")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are ours, see _begin
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def revision(connection: Connection) -> str | None:
    """Return the schema that a database has; None when it is no journal."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(select(versions.c.version_num)).scalar()


def _make(connection: Connection) -> None:
    """Make a new journal as it is today. Tests hold this equal to what all migrations together make."""
    metadata.create_all(connection)
    versions.create(connection)
    connection.execute(versions.insert().values(version_num=REVISION))


def _migrate(connection: Connection) -> None:
    # Imported here: only an old journal needs it, and it takes 7 MB.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
