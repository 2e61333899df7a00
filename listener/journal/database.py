"""
Opens the database behind a journal's URL and brings it to the present schema.

SQLite in WAL mode: readers such as ``listener tasks list`` never wait for the daemon's writes. What is PostgreSQL's own
is in ``postgresql.py``.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, create_engine, event, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from listener.config import Url
from listener.errors import JournalError
from listener.journal import postgresql
from listener.journal.faults import explained
from listener.journal.schema import REVISION, metadata

BUSY_S = 10.0  # how long a write waits for one of another process

# Alembic's own table, so that it finds where to go on from.
versions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


def open_engine(place: Path | Url) -> Engine:
    """
    Make the engine of a journal; nothing is opened yet.

    On SQLite every connection belongs to the thread that opened it. A transaction takes the write lock when it begins,
    so that two writers wait for each other instead of failing half-way. One that only reads says so with the execution
    option ``reading``: a listing that stands still in somebody's pager must not keep the daemon from writing.
    """
    if isinstance(place, Url):
        return postgresql.open_engine(place)
    engine = create_engine(f"sqlite:///{place}", poolclass=NullPool, connect_args={"timeout": BUSY_S})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def upgrade(engine: Engine) -> None:
    """
    Bring the journal to the present schema.

    Raises:
        JournalError: it cannot be opened, or a newer version of this program wrote it.

    """
    with opened(engine, postgresql.WAIT_S) as connection:
        if engine.dialect.name == "postgresql":
            with postgresql.reading(connection):
                postgresql.examine(connection)
        with connection.begin():
            found = revision(connection)
            if found is None:
                _make(connection)
            elif found > REVISION:
                raise JournalError(
                    f"journal {_name_of(engine)}: its schema {found} is newer than this version's {REVISION}; "
                    "run the version that wrote it"
                )
            elif found < REVISION:
                _migrate(connection)


@contextmanager
def listing(place: Path | Url) -> Iterator[Connection]:
    """
    Open a journal to read it, which makes none where there is none.

    Raises:
        JournalError: it is not there, not set up yet, or no journal at all.

    """
    if isinstance(place, Path):
        require(place)
        if place.stat().st_size == 0:  # opening it would already write to it
            raise JournalError(f"journal {place}: it is empty; `listener run` sets it up")
    with opened(open_engine(place)) as connection:
        if isinstance(place, Url):
            with postgresql.reading(connection):
                if not inspect(connection).has_table("tasks"):
                    raise JournalError(f"journal {place.redacted}: it has no tables; `listener run` makes them")
        yield connection


@contextmanager
def deciding(place: Path | Url) -> Iterator[Connection]:
    """
    Open a journal for one transaction beside a daemon that may own it, synced to disk when this ends.

    Raises:
        JournalError: as for ``listing``; it is of another version; or somebody holds its write lock.

    """
    with listing(place) as connection:
        if isinstance(place, Path):
            connection.connection.cursor().execute("PRAGMA synchronous=FULL")
        else:
            connection.execution_options(durable=True, mark=None)
        with connection.begin():
            found = revision(connection)
            if found != REVISION:
                what = "it is no journal" if found is None else f"its schema is {found}, this version's is {REVISION}"
                raise JournalError(
                    f"journal {_name_of(connection.engine)}: {what}; `listener run` brings it up to date"
                )
            yield connection


def require(path: Path) -> None:
    """Refuse to read a journal that is not there: a listing must not make one."""
    if not path.exists():
        raise JournalError(f"journal {path}: no such file; `listener run` makes it")


@contextmanager
def opened(engine: Engine, wait_s: float = 0.0) -> Iterator[Connection]:
    """Give a connection; whatever the database says against us is a ``JournalError``."""
    if engine.dialect.name == "postgresql":
        with postgresql.connected(engine, wait_s) as connection:
            yield connection
        return
    try:
        with engine.connect() as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise explained(error, _name_of(engine)) from error


def _name_of(engine: Engine) -> str:
    return postgresql.name_of(engine) if engine.dialect.name == "postgresql" else str(engine.url.database)


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
