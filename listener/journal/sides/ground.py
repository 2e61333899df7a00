"""What all sides of an open journal stand on: the writer, what it keeps in memory, and the calls to who waits."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import Engine

from listener.config import Url
from listener.errors import JournalError
from listener.journal.appender import RuleFacts
from listener.journal.claims import Claims
from listener.journal.database import open_engine, upgrade
from listener.journal.lease import ALONE, Lease
from listener.journal.lock import OwnerLock
from listener.journal.sending import Outbox
from listener.journal.session import Session, SharedSession
from listener.journal.walk import Walk
from listener.journal.writer import Writer

if TYPE_CHECKING:
    from listener.journal.work import Claimed, Frontier, Parcel
    from listener.model import Cursor


class Ground:
    """
    An open journal, before anything is done with it.

    The stages leave calls here, all made on the loop: ``on_pending`` after each step, with the rules that have new
    tasks (None: any may have); ``on_claimed`` with tasks that a standing claim took; ``on_expired`` with those that
    ended as too old; ``on_ready`` after each write that made rows ready; ``on_handed_out`` with parcels for which the
    submitter had left room; ``on_ended`` with the ids of tasks that may have come to an end.
    """

    def __init__(
        self, engine: Engine, lock: OwnerLock | None, rules: Mapping[str, RuleFacts], *, alone: bool = False
    ) -> None:
        self._engine = engine
        self._lock = lock
        self._lease = ALONE if lock is not None else Lease.new()
        self._writer = Writer(Session(engine) if lock is not None else SharedSession(engine, self._save, alone=alone))
        self._touched: set[int] = set()
        self._walk = Walk(dict(rules), self._touched, self._lease.is_shared)
        self._outbox = Outbox(self._touched, self._lease)
        self._claims = Claims(self._lease)
        self._max_attempts: Mapping[str, int] = {}
        self._renewal: asyncio.TimerHandle | None = None
        self.frontiers: dict[str, Frontier] = {}  # by chain: what is released to the runner follows from it
        self.cursors: dict[str, Cursor] = {}
        self._walked: dict[str, asyncio.Event] = {}  # by chain: who waits until it has a cursor
        self.looked: set[str] = set()  # chains whose cursor was compared since we started
        self.walked_to: dict[str, int] = {}  # by chain: Unix seconds of the block that was walked last
        self.halted: dict[str, str] = {}  # by chain: why it is not followed at present
        self.on_pending: Callable[[Iterable[str] | None], None] = lambda _rules: None
        self.on_claimed: Callable[[Sequence[Claimed]], None] = lambda _tasks: None
        self.on_expired: Callable[[str, Sequence[int]], None] = lambda _rule, _tasks: None
        self.on_ready: Callable[[], None] = lambda: None
        self.on_ended: Callable[[Iterable[int]], None] = lambda _tasks: None
        self.on_handed_out: Callable[[Sequence[Parcel]], None] = lambda _parcels: None

    @classmethod
    async def open(cls, place: Path | Url, rules: Mapping[str, RuleFacts], *, alone: bool = False) -> Self:
        """
        Open the journal at ``place``, making it when it is missing; a file is owned by the process that opens it.

        Args:
            place: a SQLite file, or the URL of a PostgreSQL database.
            rules: what the walk needs to know of them.
            alone: no other process may have it open, also where it could be shared.

        Raises:
            JournalError: another process owns it, or it cannot be opened.

        """
        lock = OwnerLock(place) if isinstance(place, Path) else None
        engine = open_engine(place)
        try:
            await asyncio.to_thread(upgrade, engine)
        except BaseException:
            engine.dispose()
            if lock is not None:
                lock.release()
            raise
        journal = cls(engine, lock, rules, alone=alone)
        if lock is None:
            try:
                await journal._writer.run(lambda _connection: None)  # what is in its way shows now
            except BaseException:
                await journal.close()
                raise
        return journal

    async def close(self) -> None:
        """Finish what is being written, leave to others what we hold, and let go of the file."""
        if self._renewal is not None:
            self._renewal.cancel()
        if self._lease.is_shared:
            with suppress(JournalError):  # what is not let go now will lapse
                await self._writer.run(self._outbox.let_go)
        await self._writer.close()
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def _save(self) -> Callable[[], None]:
        """Remember what the writer's thread keeps in memory, and return what brings it back."""
        saved = [each.save() for each in (self._walk, self._outbox, self._claims)]

        def restore() -> None:
            for each in saved:
                each()

        return restore
