"""
Writes one step of a chain's walk: rewind, cancel, revive, append and cursor, in the caller's transaction.

This is where "never missed" and "never doubled" meet a reorg. Rows are never deleted; ``canonical`` says whether a
row's block is on the chain as walked, and everything follows from it:

- a block leaves: what was not sent is ``cancelled``, what may have been sent is marked ``orphaned`` and rests;
- a block returns: cancelled rows come back, marks are lifted;
- a block replaces another and the rule says ``once``: a new trigger with an orphan's cause is ``skipped`` as its pair.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, select, update

from listener.errors import JournalError
from listener.journal.chain_rows import ChainRow
from listener.journal.chain_rows import replace as replace_chain
from listener.journal.digests import conflicts_of
from listener.journal.schema import blocks, chains, tasks
from listener.journal.statement import Statement
from listener.journal.work import Step, Written
from listener.model import Log, Occasion, State

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
# A key that is there already leaves its row as it is: the same cause found again is not news.
_APPEND = Statement(
    insert(tasks).prefix_with("OR IGNORE", dialect="sqlite").values({name: bindparam(name) for name in _APPENDED})
)
_CAUSE = (tasks.c.id, tasks.c.rule, tasks.c.block_number, tasks.c.transaction_hash, tasks.c.log)


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
    """

    rules: dict[str, RuleFacts]
    touched: set[int] = field(default_factory=set)
    _whole: set[str] = field(default_factory=set)  # chains without rows of blocks that left them

    def write(self, connection: Connection, step: Step, chain_id: int, now: int) -> Written:
        """
        Write a step.

        Raises:
            JournalError: the chain's cursor is not where the step begins; nothing is written.

        """
        self._move_cursor(connection, step, now)
        cancelled = orphaned = 0
        if step.ancestor is not None:
            cancelled, orphaned = self.rewind(connection, step.chain, step.ancestor.number, now)
        # Only a block that left the chain before can return, and only then can a cause have been sent already.
        again = self._has_off_chain(connection, step.chain)
        revived, resent = self._revive(connection, step, now) if again else (0, 0)
        appended, paired = self.append(connection, step.chain, step.occasions, chain_id, now, again=again)
        self._remember(connection, step)
        return Written(
            appended=appended, cancelled=cancelled, orphaned=orphaned, revived=revived, paired=paired + resent
        )

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
        replace_chain(connection, row, now)
        return cancelled, orphaned

    def _take_off(self, connection: Connection, these: ColumnElement[bool], now: int) -> tuple[int, int]:
        on_chain = and_(these, tasks.c.canonical)
        rows = connection.execute(select(tasks.c.id, tasks.c.state, tasks.c.sent_at).where(on_chain)).all()
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
            return row.sent_at is not None or row.id in self.touched
        return row.state == State.ACCEPTED or row.sent_at is not None

    def _has_off_chain(self, connection: Connection, chain: str) -> bool:
        """Tell whether the chain has rows of blocks that left it; asked of the database once, then known."""
        if chain in self._whole:
            return False
        off_chain = select(tasks.c.id).where(tasks.c.chain == chain, ~tasks.c.canonical).limit(1)
        if connection.execute(off_chain).first() is not None:
            return True
        self._whole.add(chain)
        return False

    def _revive(self, connection: Connection, step: Step, now: int) -> tuple[int, int]:
        """Bring back the rows of blocks that are on the chain again; return how many go on, and how many are paired."""
        off_chain = (
            select(*_CAUSE, tasks.c.state, tasks.c.digest, tasks.c.block_hash)
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
        orphans = self._pairs(connection, step.chain, [_Cause.of_row(row) for row in cancelled])
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
    ) -> tuple[int, int]:
        """
        Append the tasks that are not there yet; return how many, and how many are paired with an orphan.

        With ``again``, a cause may have been sent already, from a block that left the chain. ``ages_from`` is what
        max_age counts from, in Unix seconds; None stands for each block's own time.
        """
        if not occasions:
            return 0, 0
        fresh = {occasion.key(chain_id): occasion for occasion in occasions}  # a dict: a log may come twice
        orphans: dict[Any, int] = {}
        if again:
            known = known_keys(connection, list(fresh))
            fresh = {key: occasion for key, occasion in fresh.items() if key not in known}
            orphans = self._pairs(connection, chain, [_Cause.of(key, each) for key, each in fresh.items()])
        made = (self._row(key, each, chain, now, orphans.get(key)) for key, each in fresh.items())
        if ages_from is not None:
            made = (row | {"ages_from": ages_from} for row in made)
        return _APPEND.run(connection, made) if fresh else 0, len(orphans)

    def _row(self, key: str, occasion: Occasion, chain: str, now: int, orphan_id: int | None) -> dict[str, Any]:
        """Return a new task's row; one that was already sent as an orphan is skipped."""
        log = occasion.log
        return {
            "key": key,
            "rule": occasion.rule,
            "state": State.PENDING if orphan_id is None else State.SKIPPED,
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
            "error": None if orphan_id is None else f"already sent as task {orphan_id}",
            "settled_at": None if orphan_id is None else now,
        }

    def _pairs(self, connection: Connection, chain: str, causes: Sequence["_Cause"]) -> dict[Any, int]:
        """Find, for triggers of ``once`` rules, the orphans that were sent for the same cause: id → the orphan's id."""
        wanted = [cause for cause in causes if cause.rule in self.rules and self.rules[cause.rule].once]
        if not wanted:
            return {}
        pair = tasks.alias("pair")
        taken = select(pair.c.paired_id).where(pair.c.paired_id == tasks.c.id, pair.c.canonical).exists()
        resting = connection.execute(
            select(*_CAUSE)
            .where(tasks.c.chain == chain, ~tasks.c.canonical, tasks.c.orphaned, ~taken)
            .order_by(tasks.c.id)
        )
        waiting: dict[tuple[str, Any], list[_Cause]] = {}
        for row in resting:
            orphan = _Cause.of_row(row)
            waiting.setdefault(orphan.same, []).append(orphan)
        pairs: dict[Any, int] = {}
        # Equal logs first: what is left is paired in log order, for arguments such as block.number do change.
        for same_log in (True, False):
            for cause in wanted:
                orphans = waiting.get(cause.same, [])
                match = next((orphan for orphan in orphans if not same_log or orphan.log == cause.log), None)
                if match is not None and cause.id not in pairs:
                    pairs[cause.id] = match.id
                    orphans.remove(match)
        return pairs

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
            raise JournalError(
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


def packed(log: Log) -> bytes:
    """Store a log's content so that equal logs are equal bytes."""
    return orjson.dumps([log.address, [topic.hex() for topic in log.topics], log.data.hex()])


def unpacked(stored: bytes, block_number: int, block_hash: bytes, transaction_hash: bytes, index: int) -> Log:
    """Read back what ``packed`` stored, with its place in the chain."""
    address, topics, data = orjson.loads(stored)
    return Log(
        address=address,
        topics=tuple(bytes.fromhex(topic) for topic in topics),
        data=bytes.fromhex(data),
        block_number=block_number,
        block_hash=block_hash,
        transaction_hash=transaction_hash,
        index=index,
    )


def _paired(orphan_id: int, now: int) -> dict[str, Any]:
    error = f"already sent as task {orphan_id}"
    return {"state": State.SKIPPED, "paired_id": orphan_id, "error": error, "settled_at": now}


@dataclass(frozen=True, slots=True)
class _Cause:
    """What made a task, as far as it can be recognised in another block; ``id`` says whose it is."""

    id: Any
    rule: str
    place: Any  # the transaction's hash, or the block's number where no log was the cause
    log: bytes | None  # packed

    @property
    def same(self) -> tuple[str, Any]:
        return self.rule, self.place

    @classmethod
    def of(cls, key: str, occasion: Occasion) -> "_Cause":
        log = occasion.log
        if log is None:
            return cls(key, occasion.rule, occasion.block.number, None)
        return cls(key, occasion.rule, log.transaction_hash, packed(log))

    @classmethod
    def of_row(cls, row: Any) -> "_Cause":
        place = row.block_number if row.transaction_hash is None else row.transaction_hash
        return cls(row.id, row.rule, place, row.log)


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
