"""
The journal as the stages see it: one awaitable method per thing that they write, and a wake-up for who waits.

Every write goes through the one writer thread; what must survive a power cut before the outside relies on it is
``durable``. Claims live in memory, since one process owns a SQLite journal.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine

from listener.journal import audit, chain_rows, execution
from listener.journal.claims import Claims
from listener.journal.database import open_engine, upgrade
from listener.journal.lock import OwnerLock
from listener.journal.sending import Outbox
from listener.journal.walk import RuleFacts, Walk, known_keys
from listener.journal.work import Claimed, Due, Ended, Frontier, Parcel, Sent, Signed, Step, Written
from listener.journal.writer import Writer
from listener.model import Cursor, State


def now_us() -> int:
    """Return the time as the journal keeps it: microseconds since the epoch."""
    return time.time_ns() // 1000


class Journal:
    """
    An open journal.

    The stages leave calls here, all made on the loop: ``on_pending`` after each step, with the rules that have new
    tasks (None: any may have); ``on_claimed`` with tasks that a standing claim took; ``on_expired`` with those that
    ended as too old; ``on_ready`` after each write that made rows ready; ``on_handed_out`` with parcels for which the
    submitter had left room.
    """

    def __init__(self, engine: Engine, lock: OwnerLock, rules: Mapping[str, RuleFacts]) -> None:
        self._engine = engine
        self._lock = lock
        self._writer = Writer(engine)
        self._touched: set[int] = set()
        self._walk = Walk(dict(rules), self._touched)
        self._outbox = Outbox(self._touched)
        self._claims = Claims()
        self.frontiers: dict[str, Frontier] = {}  # by chain: what is released to the runner follows from it
        self.cursors: dict[str, Cursor] = {}
        self.looked: set[str] = set()  # chains whose cursor was compared since we started
        self.on_pending: Callable[[Iterable[str] | None], None] = lambda _rules: None
        self.on_claimed: Callable[[Sequence[Claimed]], None] = lambda _tasks: None
        self.on_expired: Callable[[str, Sequence[int]], None] = lambda _rule, _tasks: None
        self.on_ready: Callable[[], None] = lambda: None
        self.on_handed_out: Callable[[Sequence[Parcel]], None] = lambda _parcels: None

    @classmethod
    async def open(cls, path: Path, rules: Mapping[str, RuleFacts]) -> Self:
        """
        Own the journal at ``path``, making it when it is missing.

        Raises:
            JournalError: another process owns it, or it cannot be opened.

        """
        lock = OwnerLock(path)
        engine = open_engine(path)
        try:
            await asyncio.to_thread(upgrade, engine)
        except BaseException:
            lock.release()
            raise
        return cls(engine, lock, rules)

    async def close(self) -> None:
        """Finish what is being written and let go of the file."""
        await self._writer.close()
        self._engine.dispose()
        self._lock.release()

    # What the app does at start

    async def recover(self, max_attempts: Mapping[str, int]) -> tuple[int, int]:
        """Take back what an earlier process left; return how many tasks were running and how many ready."""

        def work(connection: Connection) -> tuple[int, int]:
            running = execution.recover(connection, max_attempts, now_us())
            return running, self._outbox.find(connection)

        return await self._writer.run(work)

    # What the follower does

    async def chain(self, chain: str) -> chain_rows.ChainRow | None:
        """Return what is written of a chain, or None before its first run."""
        return await self._writer.run(partial(chain_rows.find, chain=chain))

    async def begin_chain(self, row: chain_rows.ChainRow) -> None:
        """Write a chain's first cursor."""
        await self._writer.run(partial(chain_rows.begin, row=row, now=now_us()), durable=True)

    async def move_chain(self, row: chain_rows.ChainRow, gone: Sequence[bytes]) -> tuple[int, int]:
        """Put a chain's cursor elsewhere; return how many tasks were cancelled and how many had been sent."""
        return await self._writer.run(lambda connection: self._walk.move(connection, row, gone, now_us()), durable=True)

    async def open_blocks(self, chain: str) -> dict[bytes, int]:
        """Return hash and number of every block that was not final, or whose tasks may still be executed or sent."""
        return await self._writer.run(partial(chain_rows.open_blocks, chain=chain))

    async def adopt_rules(self, chain: str, fingerprints: Mapping[str, str], start: int | str) -> dict[str, int]:
        """
        Return for each rule from which block its trigger applies.

        On a chain's first run that is ``start`` (a number, or "latest"), else the block after the cursor at first load.
        """
        work = partial(chain_rows.adopt_rules, chain=chain, fingerprints=fingerprints, start=start)
        return await self._writer.run(work, durable=True)

    async def history(self, chain: str, lowest: int, highest: int) -> dict[int, bytes]:
        """Return the hashes of walked blocks that are still remembered, by number."""
        return await self._writer.run(partial(chain_rows.history, chain=chain, lowest=lowest, highest=highest))

    async def write(self, step: Step, chain_id: int) -> Written:
        """Write one step of a walk: rewind, cancel, revive, append and cursor, whole or not at all."""
        rules = {occasion.rule for occasion in step.occasions}

        def work(connection: Connection) -> tuple[Written, list[Claimed]]:
            now = now_us()
            written = self._walk.write(connection, step, chain_id, now)
            return written, self._claims.serve(connection, rules, now)

        written, claimed = await self._writer.run(work)
        self.stand(step.chain, step.cursor, step.frontier)
        self.look(step.chain)  # a step begins at the cursor, or takes it back to an ancestor first
        if claimed:
            self.on_claimed(claimed)
        found = Counter(occasion.rule for occasion in step.occasions)
        found.subtract(task.rule for task in claimed)
        self.on_pending(None if written.revived else {rule for rule in rules if found[rule] > 0})
        if written.revived or written.paired:
            self.on_ready()
        return written

    async def audit_row(self, chain: str) -> audit.AuditRow:
        """Return where a chain's audit stands."""
        return await self._writer.run(partial(audit.find, chain=chain))

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that have a task."""
        return await self._writer.run(partial(known_keys, keys=keys))

    async def write_audit(self, sweep: audit.Sweep, chain_id: int) -> int | None:
        """Append what an audit found, with its cursor; return how many tasks, None where its blocks are not ours."""

        def work(connection: Connection) -> tuple[int, int] | None:
            return audit.write(connection, walk=self._walk, sweep=sweep, chain_id=chain_id, now=now_us())

        written = await self._writer.run(work)
        if written is None:
            return None
        appended, paired = written
        if appended:
            self.on_pending({occasion.rule for occasion in sweep.occasions})
        if paired:
            self.on_ready()
        return appended

    def stand(self, chain: str, cursor: Cursor, frontier: Frontier) -> None:
        """Remember where a chain stands, for those who wait for confirmations."""
        self.cursors[chain] = cursor
        self.frontiers[chain] = frontier

    def look(self, chain: str) -> None:
        """Say that the cursor was compared with its chain: what is pending may run, as far as nothing else holds it."""
        if chain not in self.looked:
            self.looked.add(chain)
            self.on_pending(None)

    async def halt(self, chain: str, reason: str | None) -> None:
        """Write why a chain is not followed, or that it is again."""
        await self._writer.run(partial(chain_rows.halt, chain=chain, reason=reason, now=now_us()))

    # What the runner does

    async def claim(self, due: Sequence[Due]) -> list[list[Claimed]]:
        """Take tasks in hand, a list for each of ``due``; those that are too old end as expired instead."""

        def work(connection: Connection) -> tuple[list[list[int]], list[list[Claimed]]]:
            now = now_us()
            expired = [execution.expire(connection, item, now) for item in due]
            return expired, [self._claims.take(connection, item, now) for item in due]

        expired, claimed = await self._writer.run(work)
        for item, tasks in zip(due, expired, strict=True):
            if tasks:
                self.on_expired(item.rule, tasks)
        return claimed

    async def claim_suspect(self, due: Sequence[Due]) -> Claimed | None:
        """Take in hand one task that was in hand when an earlier process ended uncleanly."""
        return await self._writer.run(lambda connection: self._claims.take_suspect(connection, due, now_us()))

    async def claim_nothing(self) -> None:
        """Let no claim stand."""
        await self._writer.run(lambda _connection: self._claims.revoke())

    async def sign(self, signed: Sequence[Signed]) -> dict[int, State]:
        """Store payloads durably, once and for all; tasks missing from the answer were lost to their claimant."""

        def work(connection: Connection) -> tuple[dict[int, State], list[Parcel]]:
            now = now_us()
            states = execution.sign(connection, signed, now)
            return states, self._outbox.serve(connection, now)

        states, parcels = await self._writer.run(work, durable=True)
        if parcels:
            self.on_handed_out(parcels)
        if len(parcels) < len(signed):
            self.on_ready()
        return states

    async def end(self, ended: Sequence[Ended]) -> set[int]:
        """Store ends without a payload, and returns to pending; return the ids that were still held."""
        return await self._writer.run(lambda connection: execution.end(connection, ended, now_us()))

    async def release(self) -> None:
        """Put back what was taken and not finished because we stop; nothing is claimed any longer."""

        def work(connection: Connection) -> None:
            self._claims.revoke()
            execution.release(connection)

        await self._writer.run(work)

    # What the submitter does

    async def hand_out(self, slots: int, received: int | None = None) -> list[Parcel]:
        """
        Hand out ready tasks; from now on they count as sent.

        With ``received``, the number handed out so far as the submitter knows it, room that is left stands.
        """
        return await self._writer.run(lambda connection: self._outbox.hand_out(connection, slots, now_us(), received))

    async def take_back(self, sent: Sequence[Sent]) -> None:
        """Store what became of sends."""
        await self._writer.run(lambda connection: self._outbox.take_back(connection, sent))
