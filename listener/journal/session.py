"""
The writing connection of a journal: transactions one after another, synced to disk where it is asked for.

On SQLite a transaction that fails has failed. On PostgreSQL the connection may be lost as well, which says nothing of
the transaction: the journal is asked whether it holds it, and what it does not hold is done again.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from listener import metrics
from listener.errors import JournalError
from listener.journal import postgresql
from listener.journal.faults import explained

log = structlog.get_logger()

Run = Callable[[Connection], Any]
_SO = "nothing of this step was written"
REDO_S = 60.0  # for a server that went away, from the first fault to the commit
_TRY_AGAIN = frozenset({"40001", "40P01"})  # serialization failure, deadlock: the server undid it by itself


class Session:
    """That of a SQLite journal. Lives in the writer's thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._durable: bool | None = None  # as the connection is set now

    def transact(self, works: Sequence[Run], *, durable: bool) -> list[Any]:
        """Run all of them in one transaction and return their results after the commit."""
        connection = self._connection = self._connection or self._engine.connect()
        if connection.dialect.name == "sqlite" and durable is not self._durable:  # told only when it changes
            connection.connection.cursor().execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        with connection.begin():
            return [run(connection) for run in works]

    def as_journal_error(self, error: Exception) -> Exception:
        """Turn what the database said into our own error; the driver's come bare from the statements run on it."""
        if not isinstance(error, (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error)):
            return error
        failure = self._explained(error)
        failure.__cause__ = error
        return failure

    def _explained(self, error: Exception) -> JournalError:
        return explained(error, self._engine.url.database, _SO)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class SharedSession(Session):
    """
    That of a journal on PostgreSQL.

    Args:
        save: remembers what the works keep in memory, and returns what brings it back.
        alone: no other process may be at work.
    """

    def __init__(self, engine: Engine, save: Callable[[], Callable[[], None]], *, alone: bool = False) -> None:
        super().__init__(engine)
        self._save = save
        self._alone = alone
        self._has_given_up = False
        self._turn: postgresql.Turn | None = None
        self._name = secrets.token_hex(8)

    def transact(self, works: Sequence[Run], *, durable: bool) -> list[Any]:
        """
        Run all of them in one transaction, again where the server did not keep it.

        Raises:
            JournalError: the server stays away.

        """
        restore = self._save()
        deadline = 0.0 if self._has_given_up else None
        while True:
            results: list[Any] | None = None
            mark = postgresql.new_mark(self._name)
            try:
                connection = self._connected(deadline)
                connection.execution_options(durable=durable, mark=mark)
                with connection.begin():
                    results = [run(connection) for run in works]
            except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
                if not self._is_passing(error):
                    raise
                deadline = time.monotonic() + REDO_S if deadline is None else deadline
                if self._was_kept(mark, deadline) and results is not None:
                    return results
                if time.monotonic() >= deadline:
                    raise
                restore()
            else:
                return results

    def _explained(self, error: Exception) -> JournalError:
        return JournalError(f"journal: {self._said(error)}; {_SO}")

    def _said(self, error: Exception) -> str:
        return postgresql.said(self._engine, error)

    def _connected(self, deadline: float | None) -> Connection:
        if self._connection is None:
            until = time.monotonic() + postgresql.WAIT_S if deadline is None else deadline
            self._has_given_up = True  # unless this succeeds: whoever still writes while we end must not wait again
            connection = postgresql.connect(self._engine, until)
            try:
                with postgresql.reading(connection):
                    postgresql.own(connection, alone=self._alone)
                with connection.begin():
                    postgresql.forget_marks(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._turn = connection, postgresql.turn_of(connection)
            self._has_given_up = False
            if deadline is not None:
                log.warning("journal.reconnected", url=postgresql.name_of(self._engine))
                metrics.journal_reconnects.inc()
        return self._connection

    def _is_passing(self, error: Exception) -> bool:
        """Tell whether the same may succeed later: the connection is gone, or the server undid it itself."""
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        return state in _TRY_AGAIN or self._turn is None or self._turn.is_lost

    def _was_kept(self, mark: tuple[str, str], deadline: float) -> bool:
        """Find out whether the server committed what it was given when the connection was lost."""
        while self._turn is None or self._turn.is_lost:
            self._drop()
            try:
                connection = self._connected(deadline)
                connection.execution_options(durable=True, mark=None)
                with connection.begin():  # which has to wait until the server gave up the old one
                    return postgresql.is_kept(connection, mark)
            except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
                if not self._is_passing(error) or time.monotonic() >= deadline:
                    raise
                log.debug("journal.lost_again", reason=self._said(error))
        return False

    def _drop(self) -> None:
        connection, self._connection, self._turn = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it is gone already
                connection.invalidate()
            with suppress(Exception):
                connection.close()
