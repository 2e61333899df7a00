"""
One thread that owns the journal's writing connection and commits whatever waits as one transaction.

A disk that stalls must not stall the loop, and one fsync can serve many tasks: hence a thread of its own and group
commit. Work runs in the order it was given. A transaction that fails fails for all whose work was in it: what cannot be
remembered stops the daemon, and the next start goes on from what was committed.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from listener.journal.faults import explained

T = TypeVar("T")
GROUP = 64  # pieces of work in one commit at the most: more would only delay the first of them


@dataclass(frozen=True, slots=True)
class _Work:
    run: Callable[[Connection], Any]
    durable: bool
    done: asyncio.Future[Any]


class Writer:
    """The writing side of the journal. Start it on the loop that awaits it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._durable: bool | None = None  # as the connection is set now
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """
        Run ``work`` in the next transaction and return its result after the commit.

        Args:
            work: called once, in the writer's thread.
            durable: the commit is synced to disk before this returns, else it only survives the process.

        Raises:
            JournalError: the journal could not be written.

        """
        done: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Work(work, durable, done))
        return await done

    async def close(self) -> None:
        """Finish the work at hand and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        connection: Connection | None = None
        while group := self._next_group():
            try:
                connection = connection or self._engine.connect()
                self._settle(group, self._transact(connection, group))
            except Exception as error:  # noqa: BLE001 - whatever it was belongs to those who asked
                self._settle(group, [self._as_journal_error(error)] * len(group))
        if connection is not None:
            connection.close()

    def _next_group(self) -> list[_Work]:
        """Wait for one piece of work and take what stands behind it; empty at the end."""
        work = self._queue.get()
        if work is None:
            return []
        group = [work]
        while len(group) < GROUP:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                break
            if work is None:
                self._queue.put(None)
                break
            group.append(work)
        return group

    def _transact(self, connection: Connection, group: list[_Work]) -> list[Any]:
        self._set_durable(connection, any(work.durable for work in group))
        with connection.begin():
            return [work.run(connection) for work in group]

    def _set_durable(self, connection: Connection, durable: bool) -> None:  # noqa: FBT001 - the one thing it sets
        """Say whether the next commit is synced to the disk; told to SQLite only when it changes."""
        if connection.dialect.name == "sqlite" and durable is not self._durable:
            connection.connection.cursor().execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _as_journal_error(self, error: Exception) -> Exception:
        """Turn what the database said into our own error; the driver's come bare from the statements run on it."""
        if not isinstance(error, (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error)):
            return error
        failure = explained(error, self._engine.url.database, "nothing of this step was written")
        failure.__cause__ = error
        return failure

    def _settle(self, group: list[_Work], results: list[Any]) -> None:
        self._loop.call_soon_threadsafe(_deliver, group, results)


def _deliver(group: list[_Work], results: list[Any]) -> None:
    for work, result in zip(group, results, strict=True):
        if work.done.cancelled():
            continue
        if isinstance(result, BaseException):
            work.done.set_exception(result)
        else:
            work.done.set_result(result)
