"""
Writes what the runner does: takes pending tasks in hand, and stores what came of them, in the caller's transaction.

A claim of the one process that owns the journal needs no token of its own: the row's ``claim`` number is read with it
and raised whenever the claimant must lose it (a reorg, an operator). Where several processes share the journal, the row
also says whose it is and until when (``lease.py``). ``running`` is written before a handler starts, with the attempt
counted, so that a task which kills the process is not tried for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Update, and_, bindparam, func, select, true, update

from listener.journal import lease as shared
from listener.journal.digests import conflicts_of
from listener.journal.lease import ALONE, Lease
from listener.journal.pairs import unpacked
from listener.journal.schema import chains, in_state, tasks
from listener.journal.statement import Statement
from listener.journal.work import Claimed, Due, Ended, Signed, as_text
from listener.model import State

UNCLEAN = "the process ended while its handler ran"
_due = and_(
    in_state(State.PENDING),
    tasks.c.rule == bindparam("for_rule"),
    tasks.c.not_before <= bindparam("now"),
    tasks.c.block_number <= bindparam("released"),
)
_suspect = func.coalesce(tasks.c.error, "") == UNCLEAN


# Confirmations were counted from a cursor that another process may have taken back since.
_counted = select(chains.c.name).where(chains.c.name == tasks.c.chain, chains.c.number >= bindparam("cursor")).exists()
_COLUMNS = (
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
    tasks.c.due,
    tasks.c.body,
    tasks.c.task_definition_id,
    tasks.c.attempts,
)


def _claiming(which: ColumnElement[bool]) -> Statement:
    def make(due: ColumnElement[bool], **claim: Any) -> Any:
        oldest = select(tasks.c.id).where(due, which).order_by(tasks.c.id).limit(bindparam("slots")).scalar_subquery()
        taken = update(tasks).where(tasks.c.id.in_(oldest))
        return taken.values(state=State.RUNNING, attempts=tasks.c.attempts + 1, **claim).returning(*_COLUMNS)

    return Statement(make(_due), postgresql=lambda: make(and_(_due, _counted), **shared.held))


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
# After a crash the server may have forgotten a row and given its id to another.
_ours = and_(_mine, tasks.c.key == bindparam("named"), shared.mine)
_other = tasks.alias("other")
_is_held = (
    select(_other.c.id)
    .where(_other.c.digest == bindparam("hash"), _other.c.state != State.CANCELLED, _other.c.id != tasks.c.id)
    .exists()
)


def _signing(*which: ColumnElement[bool], **claim: Any) -> Update:
    return (
        update(tasks)
        .where(*which, tasks.c.signature.is_(None))
        .values(
            state=State.READY,
            error=None,
            proof_of_task=bindparam("proof"),
            data=bindparam("bytes"),
            performer=bindparam("who"),
            digest=bindparam("hash"),
            signature=bindparam("sealed"),
            **claim,
        )
    )


# Written once: a row that has a signature gets no other. One whose digest another row holds is passed over as well; who
# counts the changed rows finds out.
_SIGN = Statement(
    _signing(_mine).prefix_with("OR IGNORE", dialect="sqlite"),
    postgresql=lambda: _signing(_ours, ~_is_held, **shared.freed),
)


def _ending(which: ColumnElement[bool], **claim: Any) -> Update:
    return (
        update(tasks)
        .where(which)
        .values(
            state=bindparam("to"),
            error=bindparam("why"),
            not_before=bindparam("later"),
            settled_at=bindparam("ended"),
            attempts=tasks.c.attempts - bindparam("uncounted", type_=Integer),
            claim=tasks.c.claim + 1,
            **claim,
        )
    )


_END = Statement(_ending(_mine), postgresql=lambda: _ending(_ours, **shared.freed))
_ANY_BLOCK = 2**62


def recover(connection: Connection, max_attempts: Mapping[str, int], now: int, lease: Lease = ALONE) -> int:
    """
    Take back what a process had in hand that is gone; return how many rows that were.

    Their attempts were counted when they were taken, so a row that has used them up is a dead letter now. Each of the
    others is a suspect: it may be what ended the process, and says so until it is executed again. In a shared journal
    whoever did not renew its claims is taken for gone.
    """
    gone = shared.lapsed if lease.is_shared else true()
    rows = connection.execute(
        select(tasks.c.id, tasks.c.rule, tasks.c.attempts).where(in_state(State.RUNNING), gone)
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
                **shared.freed,
            )
        )
    return len(rows)


def renew(connection: Connection, lease: Lease) -> None:
    """Keep what we have in hand, to execute or to send, for another while."""
    for state in (State.RUNNING, State.READY):
        held = update(tasks).where(in_state(state), shared.mine).values(claimed_until=shared.ends)
        connection.execute(held, lease.bound)


def expire(connection: Connection, due: Due, now: int) -> list[int]:
    """End the due tasks of a rule that are too old; return their ids."""
    if due.oldest is None:
        return []
    return [row[0] for row in _EXPIRE.fetch(connection, {**_wanted_of(due, now, ALONE), "oldest": due.oldest})]


def claim(connection: Connection, due: Due, now: int, lease: Lease = ALONE) -> list[Claimed]:
    """Take the oldest due tasks of a rule in hand, at most ``due.slots``; no suspects."""
    rows = _CLAIM.fetch(connection, {**_wanted_of(due, now, lease), "slots": due.slots})
    return sorted((_claimed(row) for row in rows), key=lambda task: task.id)


def claim_suspect(connection: Connection, due: Due, now: int, lease: Lease = ALONE) -> list[Claimed]:
    """Take the oldest due suspect of a rule in hand, if there is one."""
    return [_claimed(row) for row in _CLAIM_SUSPECT.fetch(connection, {**_wanted_of(due, now, lease), "slots": 1})]


def _wanted_of(due: Due, now: int, lease: Lease) -> dict[str, Any]:
    return {
        "for_rule": due.rule,
        "now": now,
        "released": _ANY_BLOCK if due.released is None else due.released,
        "cursor": -1 if due.cursor is None else due.cursor,
        **lease.bound,
    }


def sign(connection: Connection, signed: Sequence[Signed], now: int, lease: Lease = ALONE) -> dict[int, State]:
    """
    Store payloads, once and for all; return for each task id the state it has now.

    A task that is not in the answer was lost to its claimant meanwhile: its result is discarded.
    """
    if _SIGN.run(connection, [_signed_row(item, lease) for item in signed]) == len(signed):
        return dict.fromkeys((item.task.id for item in signed), State.READY)
    # Seldom: rows that are somebody else's by now are lost; those that are still ours lost their digest to another row.
    tried = [item.task for item in signed]
    ours = _held(connection, tried, State.RUNNING, lease.claimant)
    ready = _held(connection, tried, State.READY, None)
    conflicts = conflicts_of(connection, [_Row(item) for item in signed if item.task.id in ours])
    ends = [
        Ended(item.task, conflicts[item.task.id].state, conflicts[item.task.id].reason)
        for item in signed
        if item.task.id in conflicts
    ]
    end(connection, ends, now, lease)
    for task_id, conflict in conflicts.items():
        connection.execute(update(tasks).where(tasks.c.id == task_id).values(conflict.values))
    return dict.fromkeys(ready, State.READY) | {item.task.id: State(item.state) for item in ends}


def end(connection: Connection, ended: Sequence[Ended], now: int, lease: Lease = ALONE) -> set[int]:
    """Store ends without a payload, and returns to ``pending``; return the ids of the tasks that were still held."""
    held = _held(connection, [item.task for item in ended], State.RUNNING, lease.claimant)
    _END.run(
        connection,
        [
            {
                "row": item.task.id,
                "held": item.task.claim,
                "named": item.task.key,
                "to": item.state,
                "why": as_text(item.reason),
                "later": item.not_before,
                "uncounted": int(item.uncounted),
                "ended": None if item.state == State.PENDING else now,
                **lease.bound,
            }
            for item in ended
            if item.task.id in held
        ],
    )
    return held


def release(connection: Connection, lease: Lease = ALONE) -> None:
    """
    Put back what was taken and not finished because we stop: these attempts do not count.

    That is every running row of ours, also one whose claimant was gone before it heard of it.
    """
    ours = shared.mine if lease.is_shared else true()
    back = {"state": State.PENDING, "attempts": tasks.c.attempts - 1, "claim": tasks.c.claim + 1, **shared.freed}
    connection.execute(update(tasks).where(in_state(State.RUNNING), ours).values(back), lease.me)


def _claimed(row: Sequence[Any]) -> Claimed:
    task_id, held, key, rule, trigger, chain, number, block, timestamp, *found, definition, attempts = row
    epoch, transaction, index, log, due, body = found
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
        due=due,
        body=body,
        task_definition_id=definition,
        attempt=attempts,
    )


def _held(connection: Connection, claimed: Sequence[Claimed], state: State, who: str | None) -> set[int]:
    """Return which of these rows are in this state and still bear their claim."""
    rows = connection.execute(
        select(tasks.c.id, tasks.c.claim, tasks.c.key, tasks.c.claimant).where(
            tasks.c.id.in_([task.id for task in claimed]), tasks.c.state == state
        )
    )
    current = {row.id: (row.claim, row.key) for row in rows if row.claimant == who}
    return {task.id for task in claimed if current.get(task.id) == (task.claim, task.key)}


class _Row:
    """A signed task as ``conflicts_of`` sees rows."""

    __slots__ = ("digest", "id", "rule")

    def __init__(self, signed: Signed) -> None:
        self.id = signed.task.id
        self.rule = signed.task.rule
        self.digest = signed.payload.digest


def _signed_row(item: Signed, lease: Lease) -> dict[str, Any]:
    payload = item.payload
    return {
        "row": item.task.id,
        "held": item.task.claim,
        "named": item.task.key,
        **lease.bound,
        "proof": payload.proof_of_task,
        "bytes": payload.data,
        "who": payload.performer,
        "hash": payload.digest,
        "sealed": payload.signature,
    }
