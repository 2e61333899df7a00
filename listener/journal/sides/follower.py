"""The follower's side: a chain's cursor, the steps of its walk, its audit, and what became of its lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from listener import metrics
from listener.errors import Overtaken
from listener.journal import audit, chain_rows, endings, held, incidents
from listener.journal.appender import known_keys
from listener.journal.clock import now_us
from listener.journal.endings import Ending
from listener.journal.held import Past
from listener.journal.sides.ground import Ground
from listener.journal.work import Claimed, Frontier, Step, Written
from listener.model import Cursor

log = structlog.get_logger()


class FollowerSide(Ground):
    """What a follower does; several do, each with its chain."""

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
        """
        Say that the cursor was compared with its chain.

        What is pending may run, as far as nothing else holds it, and what is ready may be sent.
        """
        if chain not in self.looked:
            self.looked.add(chain)
            self._outbox.unseen -= {chain}
            self.on_pending(None)
            self.on_ready()

    async def halt(self, chain: str, reason: str | None) -> None:
        """Write why a chain is not followed, or that it is again."""
        if reason is None:
            self.halted.pop(chain, None)
        else:
            self.halted[chain] = reason
            self.looked.discard(chain)  # how many blocks left it is not known: a first look anew
            self._outbox.unseen |= {chain}
        await self._writer.run(partial(chain_rows.halt, chain=chain, reason=reason, now=now_us()))
        metrics.of_chain(chain).halted.set(reason is not None)

    async def lose(self, chain: str, reason: str) -> None:
        """Write that a chain is cut off, from now until ``regain``."""
        kind = incidents.Kind.RECONNECT
        await self._writer.run(partial(incidents.record, kind=kind, chain=chain, now=now_us(), detail=reason))

    async def regain(self, chain: str) -> None:
        """Write that a chain can be read again."""
        await self._writer.run(partial(incidents.end, kind=incidents.Kind.RECONNECT, chain=chain, now=now_us()))


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
