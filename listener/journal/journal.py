"""
The journal as the stages see it: one awaitable method per thing that they write, and a wake-up for who waits.

Every write goes through the one writer thread; what must survive a power cut before the outside relies on it is
``durable``. One process owns a SQLite journal, so claims live in memory. Several may share one on PostgreSQL: there
claims are rows with an end, renewed while they are held, and chains are walked on by whoever is first.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import structlog
from sqlalchemy import Connection, Engine

from listener import metrics
from listener.config import Url
from listener.errors import JournalError, Overtaken
from listener.journal import asked as asking
from listener.journal import (
    audit,
    chain_rows,
    endings,
    execution,
    gone,
    held,
    incidents,
    lease,
    measure,
    plans,
    removal,
)
from listener.journal.appender import RuleFacts, known_keys
from listener.journal.asked import Asked, Taken
from listener.journal.claims import Claims
from listener.journal.database import open_engine, upgrade
from listener.journal.endings import Ending
from listener.journal.gone import Gone
from listener.journal.held import Past
from listener.journal.lease import ALONE, Lease
from listener.journal.lock import OwnerLock
from listener.journal.plans import Plan
from listener.journal.removal import Removed
from listener.journal.sending import Outbox
from listener.journal.session import Session, SharedSession
from listener.journal.walk import Walk
from listener.journal.work import Claimed, Due, Ended, Frontier, Parcel, Sent, Signed, Step, Written
from listener.journal.writer import Writer
from listener.model import Cursor, State

log = structlog.get_logger()

_Answer = tuple[list[Taken], list[Ending], list[Claimed]]  # to who asked


def now_us() -> int:
    """Return the time as the journal keeps it: microseconds since the epoch."""
    return time.time_ns() // 1000


class Journal:
    """
    An open journal.

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

    # What the app does at start

    async def recover(self, max_attempts: Mapping[str, int]) -> tuple[int, int]:
        """Take back what an earlier process left; return how many tasks were running and how many ready."""
        self._max_attempts = max_attempts

        def work(connection: Connection) -> tuple[int, list[Ending], int]:
            running, dead = self._recover(connection)
            return running, dead, self._outbox.find(connection)

        running, dead, ready = await self._writer.run(work)
        endings.tell(dead)
        if self._lease.is_shared:
            self._renew_later()
        return running, ready

    def _recover(self, connection: Connection) -> tuple[int, list[Ending]]:
        """Take back what processes left that are gone; return how many tasks, and which of them ended so."""
        now = now_us()
        running = execution.recover(connection, self._max_attempts, now, self._lease)
        return running, endings.find(connection, now, State.FAILED) if running else []

    # What is looked at from outside

    async def measure(self) -> None:
        """
        Set the gauges of what waits; not in the writer's way.

        Raises:
            JournalError: it could not be read.

        """
        measure.show(await asyncio.to_thread(measure.count, self._engine, now_us()), self._walk.rules)

    async def end_gone(self) -> list[Gone]:
        """End the pending tasks that no rule of the configuration would execute; after what ran was taken back."""

        def work(connection: Connection) -> tuple[list[Gone], list[Ending]]:
            now = now_us()
            found = gone.end(connection, self._walk.homes, now)
            return found, endings.find(connection, now, State.EXPIRED) if found else []

        found, ended = await self._writer.run(work, durable=True)
        endings.tell(ended)
        return found

    # What keeps our claims, and takes those that nobody keeps

    def _renew_later(self) -> None:
        # Not in the writer's thread: a loop that hangs must lose its claims.
        self._renewal = asyncio.get_running_loop().call_later(lease.RENEW_S, self._renew)

    def _renew(self) -> None:
        def work(connection: Connection) -> tuple[int, list[Ending]]:
            execution.renew(connection, self._lease)
            return self._recover(connection)

        self._writer.submit(work).add_done_callback(self._on_renewed)

    def _on_renewed(self, done: asyncio.Future[tuple[int, list[Ending]]]) -> None:
        if done.cancelled():
            return
        if done.exception() is not None:
            log.warning("claims.not_renewed", reason=str(done.exception()))
        elif done.result()[0]:
            running, dead = done.result()
            log.warning("claims.taken_over", tasks=running, reason="their process did not renew them in time")
            metrics.taken_over.inc(running)
            endings.tell(dead)
            self.on_pending(None)
        self._renew_later()

    def _save(self) -> Callable[[], None]:
        """Remember what the writer's thread keeps in memory, and return what brings it back."""
        saved = [each.save() for each in (self._walk, self._outbox, self._claims)]

        def restore() -> None:
            for each in saved:
                each()

        return restore

    async def resume(self, resume_at: str | None) -> int:
        """
        Go on with a journal that was restored, as the operator chose; return how many open tasks have expired.

        Raises:
            NotPossible: it is held, and nothing was chosen.
            ConfigError: something was chosen, and it is not held.

        """

        def work(connection: Connection) -> tuple[int, list[Ending]]:
            now = now_us()
            count = held.release(connection, resume_at, now)
            return count, endings.find(connection, now, State.EXPIRED) if count else []

        count, expired = await self._writer.run(work, durable=resume_at is not None)
        endings.tell(expired)
        return count

    # What the keeper does

    async def remove_tasks(self, after: int, oldest: int) -> Removed:
        """Remove what may go of the next tasks after an id: those that ended before ``oldest``."""

        def work(connection: Connection) -> Removed:
            removed = removal.remove_tasks(connection, after, oldest)
            for chain in removed.chains:
                self._walk.appender.past[chain] = held.past(connection, chain)
            return removed

        return await self._writer.run(work)

    async def remove_incidents(self, oldest: int) -> int:
        """Remove some incidents that ended before ``oldest``; return how many."""
        return await self._writer.run(lambda connection: removal.remove_incidents(connection, oldest))

    # What the follower does

    async def chain(self, chain: str) -> chain_rows.ChainRow | None:
        """Return what is written of a chain, or None before its first run."""
        return await self._writer.run(partial(chain_rows.find, chain=chain))

    async def past(self, chain: str) -> Past:
        """Learn up to which block no new trigger of a chain is executed, and return it."""

        def work(connection: Connection) -> Past:
            self._walk.appender.past[chain] = past = held.past(connection, chain)
            return past

        return await self._writer.run(work)

    async def end_gap(self, chain: str, number: int) -> None:
        """Say up to which block the gap after a backup goes."""
        await self._writer.run(lambda connection: held.end_gap(connection, chain, number), durable=True)
        await self.past(chain)

    async def begin_chain(
        self, row: chain_rows.ChainRow, fingerprints: Mapping[str, str], start: int | str
    ) -> chain_rows.ChainRow:
        """
        Write a chain's first cursor, unless another process was faster; return what is written.

        Its first rules apply from ``start`` (a number, or "latest": the block after the cursor).
        """
        work = partial(chain_rows.begin_unless, row=row, fingerprints=fingerprints, start=start, now=now_us())
        return await self._writer.run(work, durable=True)

    async def move_chain(self, row: chain_rows.ChainRow, gone: Sequence[bytes]) -> tuple[int, int]:
        """Put a chain's cursor elsewhere; return how many tasks were cancelled and how many had been sent."""
        return await self._writer.run(lambda connection: self._walk.move(connection, row, gone, now_us()), durable=True)

    async def open_blocks(self, chain: str) -> dict[bytes, int]:
        """Return hash and number of every block that was not final, or whose tasks may still be executed or sent."""
        return await self._writer.run(partial(chain_rows.open_blocks, chain=chain))

    async def adopt_rules(self, chain: str, fingerprints: Mapping[str, str]) -> dict[str, int]:
        """Return for each rule from which block its trigger applies: for a new one, the block after the cursor."""
        work = partial(chain_rows.adopt_rules, chain=chain, fingerprints=fingerprints)
        return await self._writer.run(work, durable=True)

    async def history(self, chain: str, lowest: int, highest: int) -> dict[int, bytes]:
        """Return the hashes of walked blocks that are still remembered, by number."""
        return await self._writer.run(partial(chain_rows.history, chain=chain, lowest=lowest, highest=highest))

    async def write(self, step: Step, chain_id: int) -> Written:
        """
        Write one step of a walk: rewind, cancel, revive, append and cursor, whole or not at all.

        Raises:
            Overtaken: the cursor is elsewhere, and so is ours now.

        """
        rules = {occasion.rule for occasion in step.occasions}

        def work(connection: Connection) -> tuple[Written, list[Ending], list[Claimed]] | str:
            now = now_us()
            try:
                written = self._walk.write(connection, step, chain_id, now)
            except Overtaken as error:  # before anything was written: the others in this transaction go on
                return str(error)
            ended = endings.of_step(connection, step, written, now)
            return written, ended, self._claims.serve(connection, rules, now)

        done = await self._writer.run(work)
        if isinstance(done, str):
            await self._stand_anew(step.chain)
            raise Overtaken(done)
        written, ended, claimed = done
        _count(step, written)
        endings.tell(ended)
        self.stand(step.chain, step.cursor, step.frontier)
        if step.blocks:
            self.walked_to[step.chain] = step.blocks[-1].timestamp
        self.look(step.chain)  # a step begins at the cursor, or takes it back to an ancestor first
        if claimed:
            self.on_claimed(claimed)
        found = Counter(occasion.rule for occasion in step.occasions)
        found.subtract(task.rule for task in claimed)
        everything = written.revived or written.released
        self.on_pending(None if everything else {rule for rule in rules if found[rule] > 0})
        if written.revived or written.paired:
            self.on_ready()
        return written

    async def release_late(self, chain: str) -> None:
        """Let late tasks run that were held back: the walk stands on the chain's head."""
        if not self._walk.late.may_hold(chain):
            return
        if await self._writer.run(lambda connection: self._walk.late.release(connection, chain)):
            self.on_pending(None)

    async def audit_row(self, chain: str) -> audit.AuditRow:
        """Return where a chain's audit stands."""
        return await self._writer.run(partial(audit.find, chain=chain))

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that have a task."""
        return await self._writer.run(partial(known_keys, keys=keys))

    async def write_audit(self, sweep: audit.Sweep, chain_id: int) -> int | None:
        """Append what an audit found, with its cursor; return how many tasks, None where its blocks are not ours."""

        def work(connection: Connection) -> tuple[int, int, list[Ending]] | None:
            now = now_us()
            written = audit.write(connection, walk=self._walk, sweep=sweep, chain_id=chain_id, now=now)
            if written is None:
                return None
            return *written, endings.of_sweep(connection, sweep, now)

        written = await self._writer.run(work)
        if written is None:
            return None
        appended, paired, ended = written
        metrics.of_chain(sweep.chain).journaled(appended)
        endings.tell(ended)
        if appended:
            self.on_pending({occasion.rule for occasion in sweep.occasions})
        if paired:
            self.on_ready()
        return appended

    def stand(self, chain: str, cursor: Cursor, frontier: Frontier) -> None:
        """Remember where a chain stands, for those who wait for confirmations."""
        self.cursors[chain] = cursor
        self.frontiers[chain] = frontier
        metrics.of_chain(chain).stand(cursor.number, frontier.head)
        if (waiting := self._walked.pop(chain, None)) is not None:
            waiting.set()

    async def refresh(self, chain: str) -> None:
        """Stand where another process has taken a chain's cursor meanwhile; not while the chain is being walked."""
        if self._lease.is_shared:
            await self._stand_anew(chain)

    async def _stand_anew(self, chain: str) -> None:
        row = await self.chain(chain)
        if row is not None and row.cursor != self.cursors.get(chain):
            known = self.frontiers[chain]
            number = row.cursor.number
            safe = min(max(known.safe, row.final), number)
            self.stand(chain, row.cursor, Frontier(head=max(known.head, number), safe=safe, final=row.final))
            self.on_pending(None)

    def look(self, chain: str) -> None:
        """Say that the cursor was compared with its chain: what is pending may run, as far as nothing else holds it."""
        if chain not in self.looked:
            self.looked.add(chain)
            self.on_pending(None)

    async def halt(self, chain: str, reason: str | None) -> None:
        """Write why a chain is not followed, or that it is again."""
        if reason is None:
            self.halted.pop(chain, None)
        else:
            self.halted[chain] = reason
        await self._writer.run(partial(chain_rows.halt, chain=chain, reason=reason, now=now_us()))
        metrics.of_chain(chain).halted.set(reason is not None)

    async def lose(self, chain: str, reason: str) -> None:
        """Write that a chain is cut off, from now until ``regain``."""
        kind = incidents.Kind.RECONNECT
        await self._writer.run(partial(incidents.record, kind=kind, chain=chain, now=now_us(), detail=reason))

    async def regain(self, chain: str) -> None:
        """Write that a chain can be read again."""
        await self._writer.run(partial(incidents.end, kind=incidents.Kind.RECONNECT, chain=chain, now=now_us()))

    # What a schedule or a request does

    async def ask(self, asked: Asked) -> Taken:
        """
        Append a task that no block makes, unless there is one of its cause; what HTTP asks for is synced to disk.

        Waits until the chain has a cursor, for ever where the chain cannot be read: who cannot wait sets a timeout.
        """
        (taken,) = await self._ask([asked], None, durable=asked.trigger == "http")
        return taken

    async def adopt_schedules(self, fingerprints: Mapping[str, str], now: int) -> dict[str, Plan]:
        """Return by rule where each schedule stands; one that is new or was changed begins ``now``, in Unix seconds."""
        return await self._writer.run(partial(plans.adopt, fingerprints=fingerprints, now=now), durable=True)

    async def plan(self, rule: str, asked: Sequence[Asked], plan: Plan) -> list[Taken]:
        """Append the tasks of planned times, and how far the rule is planned with them; waits as ``ask`` does."""
        return await self._ask(asked, (rule, plan), durable=False)

    async def _ask(self, asked: Sequence[Asked], plan: tuple[str, Plan] | None, *, durable: bool) -> list[Taken]:
        def work(connection: Connection) -> _Answer | None:
            now = now_us()
            made: list[Taken] = []
            for each in asked:
                taken = asking.append(connection, each, self._walk.rules[each.rule].task_definition_id, now)
                if taken is None:  # the first of them already: they are of one chain
                    return None
                made.append(taken)
            if plan is not None:
                plans.put(connection, *plan)
            dead = [to.task for each, to in zip(asked, made, strict=True) if to.is_new and each.expired is not None]
            ended = endings.of_asked(connection, dead, now)
            return made, ended, self._claims.serve(connection, rules, now)

        rules = {each.rule for each in asked}
        chain = asked[0].chain
        while True:
            walked = self._walked.setdefault(chain, asyncio.Event())
            done = self._writer.submit(work, durable=durable)
            done.add_done_callback(partial(self._on_asked, rules, chain))
            # Shielded: a caller that goes away must not take along what a standing claim brought.
            answer = await asyncio.shield(done)
            if answer is not None:
                return answer[0]
            await walked.wait()

    def _on_asked(self, rules: set[str], chain: str, done: asyncio.Future["_Answer | None"]) -> None:
        if done.cancelled() or done.exception() is not None or (answer := done.result()) is None:
            return
        made, ended, claimed = answer
        new = sum(taken.is_new for taken in made)
        metrics.of_chain(chain).journaled(new)
        endings.tell(ended)
        if claimed:
            self.on_claimed(claimed)
        if new - len(ended) > len(claimed):
            self.on_pending(rules)

    # What the runner does

    async def claim(self, due: Sequence[Due]) -> list[list[Claimed]]:
        """Take tasks in hand, a list for each of ``due``; those that are too old end as expired instead."""

        def work(connection: Connection) -> tuple[list[list[int]], list[list[Claimed]]]:
            now = now_us()
            expired = [execution.expire(connection, item, now) for item in due]
            return expired, [self._claims.take(connection, item, now) for item in due]

        expired, claimed = await self._writer.run(work)
        for item, old in zip(due, expired, strict=True):
            if old:
                self.on_expired(item.rule, old)
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
            states = execution.sign(connection, signed, now, self._lease)
            return states, self._outbox.serve(connection, now)

        states, parcels = await self._writer.run(work, durable=True)
        if parcels:
            self.on_handed_out(parcels)
        if len(parcels) < len(signed):
            self.on_ready()
        return states

    async def end(self, ended: Sequence[Ended]) -> set[int]:
        """Store ends without a payload, and returns to pending; return the ids that were still held."""
        held = await self._writer.run(lambda connection: execution.end(connection, ended, now_us(), self._lease))
        self.on_ended(held)
        return held

    async def release(self) -> None:
        """Put back what was taken and not finished because we stop; nothing is claimed any longer."""

        def work(connection: Connection) -> None:
            self._claims.revoke()
            execution.release(connection, self._lease)

        await self._writer.run(work)

    # What the submitter does

    async def hand_out(self, slots: int, received: int | None = None) -> list[Parcel]:
        """
        Hand out ready tasks; from now on they count as sent.

        With ``received``, the number handed out so far as the submitter knows it, room that is left stands.
        """
        return await self._writer.run(
            lambda connection: self._outbox.hand_out(connection, slots, now_us(), received),
            durable=self._lease.is_shared,  # there it writes that a send may have begun
        )

    async def take_back(self, sent: Sequence[Sent]) -> None:
        """Store what became of sends."""
        await self._writer.run(lambda connection: self._outbox.take_back(connection, sent))
        self.on_ended(each.id for each in sent)


def _count(step: Step, written: Written) -> None:
    """Count what a step did; a gap is told here too, for no stage learns of it."""
    chain = metrics.of_chain(step.chain)
    chain.walked(step.cursor.number - (step.ancestor or step.after).number)
    if written.appended:
        chain.journaled(written.appended)
    if step.untold is not None:
        first, last = step.untold
        chain.gap_blocks.inc(last - first + 1)
        log.info("chain.gap_found", chain=step.chain, from_block=first, to_block=last)
    if step.ancestor is not None:
        chain.reorganised(step.after.number - step.ancestor.number)
    if step.ancestor is not None or written.revived:
        chain.moved(written.cancelled, written.orphaned, written.revived)
