"""
Writes what the runner does: takes pending tasks in hand, and stores what came of them, in the caller's transaction.

A claim of the one process that owns the journal needs no token of its own: the row's ``claim`` number is read with it and
raised whenever the claimant must lose it (a reorg, an operator). ``running`` is written before a handler starts, with the
attempt counted, so that a task which kills the process is not tried for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, update

from listener.journal.digests import conflicts_of
from listener.journal.schema import tasks
from listener.journal.walk import unpacked
from listener.journal.work import Claimed, Due, Ended, Signed
from listener.model import State

_CLAIMED = (
    tasks.c.id,
    tasks.c.claim,
    tasks.c.key,
    tasks.c.rule,
    tasks.c.trigger,
    tasks.c.chain,
    tasks.c.block_number,
    tasks.c.block_hash,
    tasks.c.block_timestamp,
    tasks.c.epoch,
    tasks.c.transaction_hash,
    tasks.c.log_index,
    tasks.c.log,
    tasks.c.attempts,
)
_SIGN = (
    update(tasks)
    .where(tasks.c.id == bindparam("row"), tasks.c.claim == bindparam("held"), tasks.c.state == State.RUNNING)
    .values(
        state=bindparam("to"),
        proof_of_task=bindparam("proof"),
        data=bindparam("bytes"),
        performer=bindparam("who"),
        digest=bindparam("hash"),
        signature=bindparam("sealed"),
        error=bindparam("why"),
        settled_at=bindparam("ended"),
    )
)
_END = (
    update(tasks)
    .where(tasks.c.id == bindparam("row"), tasks.c.claim == bindparam("held"), tasks.c.state == State.RUNNING)
    .values(
        state=bindparam("to"),
        error=bindparam("why"),
        not_before=bindparam("later"),
        settled_at=bindparam("ended"),
        claim=tasks.c.claim + 1,
    )
)


def recover(connection: Connection, max_attempts: Mapping[str, int], now: int) -> int:
    """
    Take back what an earlier process had in hand when it ended; return how many rows that were.

    Their attempts were counted when they were taken, so a row that has used them up is a dead letter now.
    """
    rows = connection.execute(
        select(tasks.c.id, tasks.c.rule, tasks.c.attempts).where(tasks.c.state == State.RUNNING)
    ).all()
    for row in rows:
        spent = row.attempts >= max_attempts.get(row.rule, row.attempts + 1)
        reason = f"the process ended while its handler ran, {row.attempts} times" if spent else None
        connection.execute(
            update(tasks)
            .where(tasks.c.id == row.id)
            .values(
                state=State.FAILED if spent else State.PENDING,
                claim=tasks.c.claim + 1,
                error=reason,
                settled_at=now if spent else None,
            )
        )
    return len(rows)


def claim(connection: Connection, due: Due, now: int) -> list[Claimed]:
    """Take the oldest due tasks of a rule in hand, at most ``due.slots``; too old ones end as ``expired``."""
    while True:
        rows = connection.execute(_due(due, now)).all()
        expired = [row.id for row in rows if due.oldest is not None and row.block_timestamp < due.oldest]
        if not expired:
            break
        reason = "older than the rule's max_age when its turn came"
        connection.execute(
            update(tasks)
            .where(tasks.c.id.in_(expired))
            .values(state=State.EXPIRED, error=reason, settled_at=now, claim=tasks.c.claim + 1)
        )
    if rows:
        taken = tasks.c.id.in_([row.id for row in rows])
        connection.execute(update(tasks).where(taken).values(state=State.RUNNING, attempts=tasks.c.attempts + 1))
    return [_claimed(row) for row in rows]


def sign(connection: Connection, signed: Sequence[Signed], now: int) -> dict[int, State]:
    """
    Store payloads, once and for all; return for each task id the state it has now.

    A task that is not in the answer was lost to its claimant meanwhile: its result is discarded.
    """
    held = _still_held(connection, [item.task for item in signed])
    mine = [item for item in signed if item.task.id in held]
    conflicts = conflicts_of(connection, [_Row(item) for item in mine])
    rows = [_signed_row(item, now, conflicts.get(item.task.id)) for item in mine]
    if rows:
        connection.execute(_SIGN, rows)
    return {item.task.id: conflicts[item.task.id][0] if item.task.id in conflicts else State.READY for item in mine}


def end(connection: Connection, ended: Sequence[Ended], now: int) -> set[int]:
    """Store ends without a payload, and returns to ``pending``; return the ids of the tasks that were still held."""
    held = _still_held(connection, [item.task for item in ended])
    rows = [
        {
            "row": item.task.id,
            "held": item.task.claim,
            "to": item.state,
            "why": item.reason,
            "later": item.not_before,
            "ended": None if item.state == State.PENDING else now,
        }
        for item in ended
        if item.task.id in held
    ]
    if rows:
        connection.execute(_END, rows)
    return held


def release(connection: Connection, claimed: Sequence[Claimed]) -> None:
    """Put tasks back that were taken but not finished because we stop: the attempt does not count."""
    for task in claimed:
        mine = and_(tasks.c.id == task.id, tasks.c.claim == task.claim, tasks.c.state == State.RUNNING)
        connection.execute(
            update(tasks)
            .where(mine)
            .values(state=State.PENDING, attempts=tasks.c.attempts - 1, claim=tasks.c.claim + 1)
        )


def _due(due: Due, now: int) -> Any:
    query = select(*_CLAIMED).where(tasks.c.state == State.PENDING, tasks.c.rule == due.rule, tasks.c.not_before <= now)
    if due.released is not None:
        query = query.where(tasks.c.block_number <= due.released)
    return query.order_by(tasks.c.id).limit(due.slots)


def _claimed(row: Any) -> Claimed:
    log = None
    if row.log is not None:
        log = unpacked(row.log, row.block_number, row.block_hash, row.transaction_hash, row.log_index)
    return Claimed(
        id=row.id,
        claim=row.claim,
        key=row.key,
        rule=row.rule,
        trigger=row.trigger,
        chain=row.chain,
        block_number=row.block_number,
        block_hash=row.block_hash,
        block_timestamp=row.block_timestamp,
        epoch=row.epoch,
        log=log,
        attempt=row.attempts + 1,
    )


def _still_held(connection: Connection, claimed: Sequence[Claimed]) -> set[int]:
    rows = connection.execute(
        select(tasks.c.id, tasks.c.claim)
        .where(tasks.c.id.in_([task.id for task in claimed]), tasks.c.state == State.RUNNING)
        .with_for_update()
    )
    current = {row.id: row.claim for row in rows}
    return {task.id for task in claimed if current.get(task.id) == task.claim}


class _Row:
    """A signed task as ``conflicts_of`` sees rows."""

    __slots__ = ("digest", "id", "rule")

    def __init__(self, signed: Signed) -> None:
        self.id = signed.task.id
        self.rule = signed.task.rule
        self.digest = signed.payload.digest


def _signed_row(item: Signed, now: int, conflict: tuple[State, str] | None) -> dict[str, Any]:
    state, reason = conflict or (State.READY, None)
    payload = item.payload
    return {
        "row": item.task.id,
        "held": item.task.claim,
        "to": state,
        "why": reason,
        "ended": None if conflict is None else now,
        "proof": payload.proof_of_task,
        "bytes": payload.data,
        "who": payload.performer,
        # A row that will never be sent holds no digest and no signature.
        "hash": payload.digest if conflict is None else None,
        "sealed": payload.signature if conflict is None else None,
    }
