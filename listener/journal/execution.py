"""
Writes what the runner does: takes pending tasks in hand, and stores what came of them, in the caller's transaction.

A claim of the one process that owns the journal needs no token of its own: the row's ``claim`` number is read with it
and raised whenever the claimant must lose it (a reorg, an operator). ``running`` is written before a handler starts,
with the attempt counted, so that a task which kills the process is not tried for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select, update

from listener.journal.digests import conflicts_of
from listener.journal.pairs import unpacked
from listener.journal.schema import in_state, tasks
from listener.journal.statement import Statement
from listener.journal.work import Claimed, Due, Ended, Signed
from listener.model import State

UNCLEAN = "the process ended while its handler ran"
_due = and_(
    in_state(State.PENDING),
    tasks.c.rule == bindparam("for_rule"),
    tasks.c.not_before <= bindparam("now"),
    tasks.c.block_number <= bindparam("released"),
)
_suspect = func.coalesce(tasks.c.error, "") == UNCLEAN


def _claiming(which: ColumnElement[bool]) -> Statement:
    oldest = select(tasks.c.id).where(_due, which).order_by(tasks.c.id).limit(bindparam("slots")).scalar_subquery()
    return Statement(
        update(tasks)
        .where(tasks.c.id.in_(oldest))
        .values(state=State.RUNNING, attempts=tasks.c.attempts + 1)
        .returning(
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
    )


_CLAIM = _claiming(~_suspect)
_CLAIM_SUSPECT = _claiming(_suspect)
_EXPIRE = Statement(
    update(tasks)
    .where(_due, tasks.c.ages_from < bindparam("oldest"))
    .values(
        state=State.EXPIRED,
        error="older than the rule's max_age when its turn came",
        settled_at=bindparam("now"),
        claim=tasks.c.claim + 1,
    )
    .returning(tasks.c.id)
)
_mine = and_(tasks.c.id == bindparam("row"), tasks.c.claim == bindparam("held"), in_state(State.RUNNING))
# A row whose digest another one holds is passed over; who counts the changed rows finds out.
_SIGN = Statement(
    update(tasks)
    .prefix_with("OR IGNORE", dialect="sqlite")
    .where(_mine)
    .values(
        state=State.READY,
        error=None,
        proof_of_task=bindparam("proof"),
        data=bindparam("bytes"),
        performer=bindparam("who"),
        digest=bindparam("hash"),
        signature=bindparam("sealed"),
    )
)
_END = Statement(
    update(tasks)
    .where(_mine)
    .values(
        state=bindparam("to"),
        error=bindparam("why"),
        not_before=bindparam("later"),
        settled_at=bindparam("ended"),
        claim=tasks.c.claim + 1,
    )
)
_ANY_BLOCK = 2**62


def recover(connection: Connection, max_attempts: Mapping[str, int], now: int) -> int:
    """
    Take back what an earlier process had in hand when it ended; return how many rows that were.

    Their attempts were counted when they were taken, so a row that has used them up is a dead letter now. Each of the
    others is a suspect: it may be what ended the process, and says so until it is executed again.
    """
    rows = connection.execute(
        select(tasks.c.id, tasks.c.rule, tasks.c.attempts).where(tasks.c.state == State.RUNNING)
    ).all()
    for row in rows:
        spent = row.attempts >= max_attempts.get(row.rule, row.attempts + 1)
        reason = f"{UNCLEAN}, {row.attempts} times" if spent else UNCLEAN
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


def expire(connection: Connection, due: Due, now: int) -> list[int]:
    """End the due tasks of a rule that are too old; return their ids."""
    if due.oldest is None:
        return []
    return [row[0] for row in _EXPIRE.fetch(connection, {**_wanted_of(due, now), "oldest": due.oldest})]


def claim(connection: Connection, due: Due, now: int) -> list[Claimed]:
    """Take the oldest due tasks of a rule in hand, at most ``due.slots``; no suspects."""
    rows = _CLAIM.fetch(connection, {**_wanted_of(due, now), "slots": due.slots})
    return sorted((_claimed(row) for row in rows), key=lambda task: task.id)


def claim_suspect(connection: Connection, due: Due, now: int) -> list[Claimed]:
    """Take the oldest due suspect of a rule in hand, if there is one."""
    return [_claimed(row) for row in _CLAIM_SUSPECT.fetch(connection, {**_wanted_of(due, now), "slots": 1})]


def _wanted_of(due: Due, now: int) -> dict[str, Any]:
    return {"for_rule": due.rule, "now": now, "released": _ANY_BLOCK if due.released is None else due.released}


def sign(connection: Connection, signed: Sequence[Signed], now: int) -> dict[int, State]:
    """
    Store payloads, once and for all; return for each task id the state it has now.

    A task that is not in the answer was lost to its claimant meanwhile: its result is discarded.
    """
    if _SIGN.run(connection, [_signed_row(item) for item in signed]) == len(signed):
        return dict.fromkeys((item.task.id for item in signed), State.READY)
    # Seldom: rows that are somebody else's by now are lost; those that are still ours lost their digest to another row.
    ready = _held(connection, [item.task for item in signed], State.READY)
    ours = _held(connection, [item.task for item in signed], State.RUNNING)
    conflicts = conflicts_of(connection, [_Row(item) for item in signed if item.task.id in ours])
    ends = [
        Ended(item.task, conflicts[item.task.id].state, conflicts[item.task.id].reason)
        for item in signed
        if item.task.id in conflicts
    ]
    end(connection, ends, now)
    for task_id, conflict in conflicts.items():
        connection.execute(update(tasks).where(tasks.c.id == task_id).values(conflict.values))
    return dict.fromkeys(ready, State.READY) | {item.task.id: State(item.state) for item in ends}


def end(connection: Connection, ended: Sequence[Ended], now: int) -> set[int]:
    """Store ends without a payload, and returns to ``pending``; return the ids of the tasks that were still held."""
    held = _held(connection, [item.task for item in ended], State.RUNNING)
    _END.run(
        connection,
        [
            {
                "row": item.task.id,
                "held": item.task.claim,
                "to": item.state,
                "why": item.reason.encode(errors="replace").decode(),  # a handler's error may hold what no text can
                "later": item.not_before,
                "ended": None if item.state == State.PENDING else now,
            }
            for item in ended
            if item.task.id in held
        ],
    )
    return held


def release(connection: Connection) -> None:
    """
    Put back what was taken and not finished because we stop: these attempts do not count.

    That is every running row, also one whose claimant was gone before it heard of it: no other process has any.
    """
    connection.execute(
        update(tasks)
        .where(in_state(State.RUNNING))
        .values(state=State.PENDING, attempts=tasks.c.attempts - 1, claim=tasks.c.claim + 1)
    )


def _claimed(row: Sequence[Any]) -> Claimed:
    (task_id, held, key, rule, trigger, chain, number, block, timestamp, epoch, transaction, index, log, attempts) = row
    return Claimed(
        id=task_id,
        claim=held,
        key=key,
        rule=rule,
        trigger=trigger,
        chain=chain,
        block_number=number,
        block_hash=block,
        block_timestamp=timestamp,
        epoch=epoch,
        log=None if log is None else unpacked(log, number, block, transaction, index),
        attempt=attempts,
    )


def _held(connection: Connection, claimed: Sequence[Claimed], state: State) -> set[int]:
    """Return which of these rows are in this state and still bear their claim."""
    rows = connection.execute(
        select(tasks.c.id, tasks.c.claim).where(tasks.c.id.in_([task.id for task in claimed]), tasks.c.state == state)
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


def _signed_row(item: Signed) -> dict[str, Any]:
    payload = item.payload
    return {
        "row": item.task.id,
        "held": item.task.claim,
        "proof": payload.proof_of_task,
        "bytes": payload.data,
        "who": payload.performer,
        "hash": payload.digest,
        "sealed": payload.signature,
    }
