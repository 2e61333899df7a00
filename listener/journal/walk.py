"""
Writes one step of a chain's walk: rewind, cancel, revive, append and cursor, in the caller's transaction.

This is where "never missed" and "never doubled" meet a reorg. Rows are never deleted; ``canonical`` says whether a
row's block is on the chain as walked, and everything follows from it:

- a block leaves: what was not sent is ``cancelled``, what may have been sent is marked ``orphaned`` and rests;
- a block returns: cancelled rows come back, marks are lifted;
- a block replaces another and the rule says ``once``: a new trigger with an orphan's cause is ``skipped`` as its pair.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, select, update

from listener.errors import Overtaken
from listener.journal import gone, incidents
from listener.journal.appender import Appender, RuleFacts, paired
from listener.journal.chain_rows import ChainRow, forget_rules
from listener.journal.chain_rows import find as find_chain
from listener.journal.chain_rows import replace as replace_chain
from listener.journal.digests import conflicts_of
from listener.journal.held import IN_GAP, forget
from listener.journal.incidents import Kind
from listener.journal.late import Late
from listener.journal.pairs import CAUSE, Cause, first_indexes
from listener.journal.schema import HELD_BACK, blocks, chains, chunks, of_a_block, tasks
from listener.journal.statement import Statement
from listener.journal.work import Step, Written
from listener.model import State

_PRUNE = 64  # blocks between two removals of old hashes

_MOVE = Statement(
    update(chains)
    .where(
        chains.c.name == bindparam("chain_name"),
        chains.c.number == bindparam("after_number"),
        chains.c.hash == bindparam("after_hash"),
    )
    .values(
        {name: bindparam(name) for name in ("number", "hash", "timestamp", "head", "final", "updated_at")}
        | {"halted": None}
    )
)
_LINK = Statement(insert(blocks).values({name: bindparam(name) for name in ("chain", "number", "hash")}))


@dataclass(slots=True)
class Walk:
    """
    Writes steps. Lives in the writer's thread.

    ``touched`` holds the ``ready`` rows whose send may have begun: the submitter's, and all that were found at start.
    ``shared`` says that other processes write steps as well.
    """

    rules: dict[str, RuleFacts]
    touched: set[int] = field(default_factory=set)
    shared: bool = False
    late: Late = field(init=False)
    appender: Appender = field(init=False)
    homes: gone.Homes = field(init=False)
    _whole: set[str] = field(default_factory=set)  # chains without rows of blocks that left them
    _going: set[str] = field(default_factory=set)  # chains on which no halt of an earlier process is open

    def __post_init__(self) -> None:
        catching_up = {name: rule.catch_up for name, rule in self.rules.items() if rule.catch_up is not None}
        self.late = Late(catching_up, shared=self.shared)
        self.appender = Appender(self.rules, self.late)
        self.homes = {name: rule.chain for name, rule in self.rules.items()}

    def write(self, connection: Connection, step: Step, chain_id: int, now: int) -> Written:
        """
        Write a step.

        Raises:
            Overtaken: the chain's cursor is not where the step begins; nothing is written.

        """
        self._move_cursor(connection, step, now)
        cancelled = orphaned = 0
        if step.ancestor is not None:
            cancelled, orphaned = self.rewind(connection, step.chain, step.ancestor.number, now)
        self._record(connection, step, now, f"{cancelled} unsent tasks cancelled, {orphaned} sent ones orphaned")
        # Only a block that left the chain before can return, and only then can a cause have been sent already.
        again = self._has_off_chain(connection, step.chain)
        revived, resent = self._revive(connection, step, now) if again else (0, 0)
        appended = self.appender.append(
            connection, step.chain, step.occasions, chain_id, now, again=again, newest=step.newest
        )
        changed = step.ancestor is not None or revived > 0
        late = self.late.settle(connection, step, appended.newest_late, now, changed=changed)
        self._remember(connection, step)
        return Written(
            appended=appended.count,
            cancelled=cancelled,
            orphaned=orphaned,
            revived=revived,
            paired=appended.paired + resent,
            expired=appended.expired + len(late.expired),
            given_way=late.expired,
            released=late.released,
        )

    def save(self) -> Callable[[], None]:
        """Remember how it is now, and return what brings that back: the transaction may be lost."""
        whole, restore_late = self._whole.copy(), self.late.save()

        def restore() -> None:
            self._whole = whole.copy()
            restore_late()

        return restore

    def rewind(self, connection: Connection, chain: str, ancestor: int, now: int) -> tuple[int, int]:
        """Take everything above block ``ancestor`` off the chain; return how many tasks were cancelled and orphaned."""
        connection.execute(delete(blocks).where(blocks.c.chain == chain, blocks.c.number > ancestor))
        return self._take_off(connection, and_(tasks.c.chain == chain, tasks.c.block_number > ancestor), now)

    def move(self, connection: Connection, row: ChainRow, left: Sequence[bytes], now: int) -> tuple[int, int]:
        """
        Put a chain's cursor where an operator wants it: rewind to it, and take the blocks in ``left`` off the chain.

        Nothing that was remembered of the way is kept: it may lie on a branch that is no more.
        """
        cancelled, orphaned = self.rewind(connection, row.name, row.cursor.number, now)
        for part in chunks(left):
            more = self._take_off(connection, and_(tasks.c.chain == row.name, tasks.c.block_hash.in_(part)), now)
            cancelled, orphaned = cancelled + more[0], orphaned + more[1]
        before = find_chain(connection, chain=row.name)
        if before is not None and before.genesis != row.genesis:
            forget(connection, row.name)
            forget_rules(connection, row.name)
            self.appender.past.pop(row.name, None)
        replace_chain(connection, row, now)
        incidents.end(connection, kind=Kind.HALT, chain=row.name, now=now)
        return cancelled, orphaned

    def _record(self, connection: Connection, step: Step, now: int, lost: str) -> None:
        """Write the incidents that a step makes or ends; nothing in ordinary running."""
        if step.chain not in self._going:
            incidents.end(connection, kind=Kind.HALT, chain=step.chain, now=now)
            self._going.add(step.chain)
        if step.ancestor is not None:
            incidents.record(
                connection,
                kind=Kind.REORG,
                chain=step.chain,
                now=now,
                from_block=step.ancestor.number + 1,
                to_block=step.after.number,
                depth=step.after.number - step.ancestor.number,
                detail=lost,
            )
        if step.untold is not None:
            first, last = step.untold
            detail = f"{last - first + 1} blocks of which no line told were read afterwards"
            incidents.record(
                connection, kind=Kind.GAP, chain=step.chain, now=now, from_block=first, to_block=last, detail=detail
            )

    def _take_off(self, connection: Connection, these: ColumnElement[bool], now: int) -> tuple[int, int]:
        on_chain = and_(these, tasks.c.canonical, of_a_block)
        columns = (tasks.c.id, tasks.c.state, tasks.c.digest, tasks.c.sent_at, tasks.c.retried_at)
        rows = connection.execute(select(*columns).where(on_chain)).all()
        sent = [row.id for row in rows if self._may_be_sent(row)]
        open_states = (State.PENDING, State.RUNNING, State.READY)
        unsent = [row.id for row in rows if row.state in open_states and not self._may_be_sent(row)]
        connection.execute(update(tasks).where(on_chain).values(canonical=False))
        self._whole.clear()
        _set(connection, sent, orphaned=True)
        reason = "its block left the chain before it was sent"
        _set(connection, unsent, state=State.CANCELLED, claim=tasks.c.claim + 1, error=reason, settled_at=now)
        return len(unsent), len(sent)

    def _may_be_sent(self, row: Any) -> bool:
        if row.state == State.READY:
            return row.sent_at is not None or row.retried_at is not None or row.id in self.touched
        # What was put away with its payload may have been on its way at that moment.
        put_away = row.state in (State.DISCARDED, State.EXPIRED) and row.digest is not None
        return row.state == State.ACCEPTED or row.sent_at is not None or put_away

    def _has_off_chain(self, connection: Connection, chain: str) -> bool:
        """Tell whether the chain has rows of blocks that left it; asked once, then known, unless others write too."""
        if chain in self._whole:
            return False
        off_chain = select(tasks.c.id).where(tasks.c.chain == chain, ~tasks.c.canonical).limit(1)
        if connection.execute(off_chain).first() is not None:
            return True
        if not self.shared:
            self._whole.add(chain)
        return False

    def _revive(self, connection: Connection, step: Step, now: int) -> tuple[int, int]:
        """Bring back the rows of blocks that are on the chain again; return how many go on, and how many are paired."""
        off_chain = (
            select(*CAUSE, tasks.c.state, tasks.c.digest, tasks.c.late)
            .where(
                tasks.c.chain == step.chain,
                tasks.c.block_number > (step.ancestor or step.after).number,
                tasks.c.block_number <= step.cursor.number,
                ~tasks.c.canonical,
            )
            .order_by(tasks.c.id)
        )
        walked = {block.hash for block in step.blocks}
        walked.update(occasion.block.hash for occasion in step.occasions)
        rows = [row for row in connection.execute(off_chain) if row.block_hash in walked]
        _set(connection, [row.id for row in rows], canonical=True, orphaned=False)
        cancelled = [row for row in rows if row.state == State.CANCELLED]
        first = first_indexes(rows)
        orphans = self.appender.pairs(connection, step.chain, [Cause.of_row(row, first) for row in cancelled])
        for row_id, orphan_id in orphans.items():
            # What was cancelled here was sent from the block in between: it is done, or those bytes go out again.
            _set(connection, [row_id], digest=None, signature=None, **paired(orphan_id, now))
        back = [row for row in cancelled if row.id not in orphans]
        alive: dict[str, Any] = {"claim": tasks.c.claim + 1, "not_before": 0, "error": None, "settled_at": None}
        unsigned = [row for row in back if row.digest is None]
        _set(connection, [row.id for row in unsigned], state=State.PENDING, **alive)
        # Whether a late one is the newest again is found out once the whole step is written.
        _set(connection, [row.id for row in unsigned if row.late], not_before=HELD_BACK)
        signed = [row for row in back if row.digest is not None]
        conflicts = conflicts_of(connection, signed)
        _set(connection, [row.id for row in signed if row.id not in conflicts], state=State.READY, **alive)
        for row_id, conflict in conflicts.items():
            # Its effect was claimed by another row while it was cancelled: the digest stays theirs.
            _set(connection, [row_id], digest=None, signature=None, settled_at=now, **conflict.values)
        in_gap = [row.id for row in back if self.appender.excuse(step.chain, row.block_number) == IN_GAP]
        dead = [row_id for row_id in in_gap if row_id not in conflicts]
        _set(connection, dead, state=State.EXPIRED, error=IN_GAP, settled_at=now)
        for rule in {row.rule for row in unsigned}:
            if (reason := gone.reason(self.homes, rule, step.chain)) is not None:
                orphaned = [row.id for row in unsigned if row.rule == rule and row.id not in dead]
                _set(connection, orphaned, state=State.EXPIRED, error=reason, settled_at=now)
        return len(rows) - len(cancelled) + len(back), len(orphans)

    @staticmethod
    def _move_cursor(connection: Connection, step: Step, now: int) -> None:
        place = {"chain_name": step.chain, "after_number": step.after.number, "after_hash": step.after.hash}
        values = {
            "number": step.cursor.number,
            "hash": step.cursor.hash,
            "timestamp": step.cursor.timestamp,
            "head": step.frontier.head,
            "final": step.frontier.final,
            "updated_at": now,
        }
        if _MOVE.run(connection, [place | values]) != 1:
            raise Overtaken(
                f"chain {step.chain}: the cursor is not at block {step.after.number}; another process moved it"
            )

    @staticmethod
    def _remember(connection: Connection, step: Step) -> None:
        links = [{"chain": step.chain, "number": block.number, "hash": block.hash} for block in step.blocks]
        if links:
            _LINK.run(connection, links)
        if step.cursor.number // _PRUNE != step.after.number // _PRUNE:  # seldom: what is final needs no way back
            old = and_(blocks.c.chain == step.chain, blocks.c.number < step.frontier.final)
            connection.execute(delete(blocks).where(old))


def _set(connection: Connection, ids: Sequence[int], **values: Any) -> None:
    for part in chunks(ids):
        connection.execute(update(tasks).where(tasks.c.id.in_(part)).values(**values))
