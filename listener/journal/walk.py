"""
Writes one step of a chain's walk: rewind, cancel, revive, append and cursor, in the caller's transaction.

This is where "never missed" and "never doubled" meet a reorg. Rows are never deleted; ``canonical`` says whether a
row's block is on the chain as walked, and everything follows from it:

- a block leaves: what was not sent is ``cancelled``, what may have been sent is marked ``orphaned`` and rests;
- a block returns: cancelled rows come back, marks are lifted;
- a block replaces another and the rule says ``once``: a new trigger with an orphan's cause is ``skipped`` as its pair.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, and_, bindparam, delete, insert, select, update

from listener.errors import Overtaken
from listener.journal import incidents
from listener.journal.chain_rows import ChainRow
from listener.journal.chain_rows import find as find_chain
from listener.journal.chain_rows import replace as replace_chain
from listener.journal.digests import conflicts_of
from listener.journal.held import IN_GAP, Past, forget
from listener.journal.incidents import Kind
from listener.journal.pairs import CAUSE, Cause, Place, first_indexes, packed, pairs_of
from listener.journal.schema import blocks, chains, tasks
from listener.journal.statement import Statement
from listener.journal.work import Step, Written
from listener.model import Occasion, State

_PRUNE = 64  # blocks between two removals of old hashes
_CHUNK = 500  # values in one IN list: SQLite takes 32766, and a plan is cheap

_MOVE = Statement(
    update(chains)
    .where(
        chains.c.name == bindparam("chain_name"),
        chains.c.number == bindparam("after_number"),
        chains.c.hash == bindparam("after_hash"),
    )
    .values({name: bindparam(name) for name in ("number", "hash", "head", "final", "updated_at")} | {"halted": None})
)
_LINK = Statement(insert(blocks).values({name: bindparam(name) for name in ("chain", "number", "hash")}))
_APPENDED = (
    "key",
    "rule",
    "state",
    "trigger",
    "chain",
    "block_number",
    "block_hash",
    "block_timestamp",
    "epoch",
    "transaction_hash",
    "log_index",
    "log",
    "task_definition_id",
    "ages_from",
    "created_at",
    "paired_id",
    "error",
    "settled_at",
)
_row: dict[str, Any] = {name: bindparam(name) for name in _APPENDED}


def _append_on_postgresql() -> Executable:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MB that a journal in a file does not need

    return postgresql.insert(tasks).values(_row).on_conflict_do_nothing(index_elements=["key"]).inline()


# A key that is there already leaves its row as it is: the same cause found again is not news.
_APPEND = Statement(
    insert(tasks).prefix_with("OR IGNORE", dialect="sqlite").values(_row), postgresql=_append_on_postgresql
)


Appended = tuple[int, int, int]  # rows in all, those that are paired, those that are expired


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """What the walk needs to know of a rule: the id its tasks carry and whether a cause counts once."""

    task_definition_id: int
    once: bool


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
    past: dict[str, Past] = field(default_factory=dict)  # chains with blocks whose new triggers are not executed
    _whole: set[str] = field(default_factory=set)  # chains without rows of blocks that left them
    _going: set[str] = field(default_factory=set)  # chains on which no halt of an earlier process is open

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
        appended, paired, expired = self.append(connection, step.chain, step.occasions, chain_id, now, again=again)
        self._remember(connection, step)
        return Written(
            appended=appended,
            cancelled=cancelled,
            orphaned=orphaned,
            revived=revived,
            paired=paired + resent,
            expired=expired,
        )

    def save(self) -> Callable[[], None]:
        """Remember how it is now, and return what brings that back: the transaction may be lost."""
        whole = self._whole.copy()

        def restore() -> None:
            self._whole = whole.copy()

        return restore

    def excuse(self, chain: str, number: int) -> str | None:
        """Return why a trigger that is new to the journal is not executed; None when it is."""
        past = self.past.get(chain)
        return None if past is None else past.excuse(number)

    def rewind(self, connection: Connection, chain: str, ancestor: int, now: int) -> tuple[int, int]:
        """Take everything above block ``ancestor`` off the chain; return how many tasks were cancelled and orphaned."""
        connection.execute(delete(blocks).where(blocks.c.chain == chain, blocks.c.number > ancestor))
        return self._take_off(connection, and_(tasks.c.chain == chain, tasks.c.block_number > ancestor), now)

    def move(self, connection: Connection, row: ChainRow, gone: Sequence[bytes], now: int) -> tuple[int, int]:
        """
        Put a chain's cursor where an operator wants it: rewind to it, and take the blocks in ``gone`` off the chain.

        Nothing that was remembered of the way is kept: it may lie on a branch that is no more.
        """
        cancelled, orphaned = self.rewind(connection, row.name, row.cursor.number, now)
        for part in _chunks(gone):
            more = self._take_off(connection, and_(tasks.c.chain == row.name, tasks.c.block_hash.in_(part)), now)
            cancelled, orphaned = cancelled + more[0], orphaned + more[1]
        before = find_chain(connection, chain=row.name)
        if before is not None and before.genesis != row.genesis:
            forget(connection, row.name)
            self.past.pop(row.name, None)
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
        on_chain = and_(these, tasks.c.canonical)
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
            select(*CAUSE, tasks.c.state, tasks.c.digest)
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
        orphans = self._pairs(connection, step.chain, [Cause.of_row(row, first) for row in cancelled])
        for row_id, orphan_id in orphans.items():
            # What was cancelled here was sent from the block in between: it is done, or those bytes go out again.
            _set(connection, [row_id], digest=None, signature=None, **_paired(orphan_id, now))
        back = [row for row in cancelled if row.id not in orphans]
        alive: dict[str, Any] = {"claim": tasks.c.claim + 1, "not_before": 0, "error": None, "settled_at": None}
        _set(connection, [row.id for row in back if row.digest is None], state=State.PENDING, **alive)
        signed = [row for row in back if row.digest is not None]
        conflicts = conflicts_of(connection, signed)
        _set(connection, [row.id for row in signed if row.id not in conflicts], state=State.READY, **alive)
        for row_id, conflict in conflicts.items():
            # Its effect was claimed by another row while it was cancelled: the digest stays theirs.
            _set(connection, [row_id], digest=None, signature=None, settled_at=now, **conflict.values)
        in_gap = [row.id for row in back if self.excuse(step.chain, row.block_number) == IN_GAP]
        dead = [row_id for row_id in in_gap if row_id not in conflicts]
        _set(connection, dead, state=State.EXPIRED, error=IN_GAP, settled_at=now)
        return len(rows) - len(cancelled) + len(back), len(orphans)

    def append(  # noqa: PLR0913 - the walk's and the sweep's
        self,
        connection: Connection,
        chain: str,
        occasions: Sequence[Occasion],
        chain_id: int,
        now: int,
        *,
        again: bool,
        ages_from: int | None = None,
    ) -> Appended:
        """
        Append the tasks that are not there yet, in chain order.

        With ``again``, a cause may have been sent already, from a block that left the chain. ``ages_from`` is what
        max_age counts from, in Unix seconds; None stands for each block's own time.
        """
        if not occasions:
            return 0, 0, 0
        fresh = {occasion.key(chain_id): occasion for occasion in occasions}  # a dict: a log may come twice
        orphans: dict[Any, int] = {}
        in_past = self.excuse(chain, occasions[0].block.number) is not None  # the lowest block
        if again or in_past:
            known = known_keys(connection, list(fresh))
            first = first_indexes(Place.of(occasion) for occasion in fresh.values())
            fresh = {key: occasion for key, occasion in fresh.items() if key not in known}
        if again:
            causes = [Cause.of(key, each, first) for key, each in fresh.items()]
            orphans = self._pairs(connection, chain, causes)
        made = (self._row(key, occasion, chain, now, orphans.get(key)) for key, occasion in fresh.items())
        if ages_from is not None:
            made = (row | {"ages_from": ages_from} for row in made)
        dead = [key for key, each in fresh.items() if self.excuse(chain, each.block.number)] if in_past else []
        return _APPEND.run(connection, made) if fresh else 0, len(orphans), len(set(dead) - orphans.keys())

    def _row(self, key: str, occasion: Occasion, chain: str, now: int, orphan_id: int | None) -> dict[str, Any]:
        """Return a new task's row; one that was already sent as an orphan is skipped."""
        log = occasion.log
        excuse = self.excuse(chain, occasion.block.number)
        ended = {"state": State.PENDING} if excuse is None else {"state": State.EXPIRED, "error": excuse}
        if orphan_id is not None:
            ended = _paired(orphan_id, now)
        return {
            "key": key,
            "rule": occasion.rule,
            "state": ended["state"],
            "trigger": occasion.trigger,
            "chain": chain,
            "block_number": occasion.block.number,
            "block_hash": occasion.block.hash,
            "block_timestamp": occasion.block.timestamp,
            "epoch": occasion.epoch,
            "transaction_hash": None if log is None else log.transaction_hash,
            "log_index": None if log is None else log.index,
            "log": None if log is None else packed(log),
            "task_definition_id": self.rules[occasion.rule].task_definition_id,
            "ages_from": occasion.block.timestamp,
            "created_at": now,
            "paired_id": orphan_id,
            "error": ended.get("error"),
            "settled_at": None if ended["state"] == State.PENDING else now,
        }

    def _pairs(self, connection: Connection, chain: str, causes: Sequence[Cause]) -> dict[Any, int]:
        """Find, for triggers of ``once`` rules, the orphans that were sent for the same cause: id → the orphan's id."""
        wanted = [cause for cause in causes if cause.rule in self.rules and self.rules[cause.rule].once]
        return pairs_of(connection, chain, wanted) if wanted else {}

    @staticmethod
    def _move_cursor(connection: Connection, step: Step, now: int) -> None:
        place = {"chain_name": step.chain, "after_number": step.after.number, "after_hash": step.after.hash}
        values = {
            "number": step.cursor.number,
            "hash": step.cursor.hash,
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


def _paired(orphan_id: int, now: int) -> dict[str, Any]:
    error = f"already sent as task {orphan_id}"
    return {"state": State.SKIPPED, "paired_id": orphan_id, "error": error, "settled_at": now}


def known_keys(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that have a task, whatever became of it."""
    known: set[str] = set()
    for part in _chunks(keys):
        known.update(connection.execute(select(tasks.c.key).where(tasks.c.key.in_(part))).scalars())
    return known


def _set(connection: Connection, ids: Sequence[int], **values: Any) -> None:
    for part in _chunks(ids):
        connection.execute(update(tasks).where(tasks.c.id.in_(part)).values(**values))


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
