"""
Writes what an operator decides of one task: try it again, or put it away, in the caller's transaction.

Run by a command beside a daemon that owns the journal. The daemon sees it when it polls; what it had in hand meanwhile
must not undo it: the result of a handler counts on a ``running`` row alone, and executing a task anew raises its
``claim``, so that what belongs to before, a late result or the answer to a send of the old payload, changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from listener.errors import NotPossible
from listener.journal import gone, held
from listener.journal.schema import replaced, tasks
from listener.journal.work import Sent
from listener.model import State

_pair = tasks.alias("pair")
_PAYLOAD = ("proof_of_task", "data", "performer", "digest", "signature")
_COLUMNS = (
    *(tasks.c.id, tasks.c.rule, tasks.c.chain, tasks.c.state, tasks.c.canonical, tasks.c.paired_id, tasks.c.error),
    *(tasks.c.sends, tasks.c.sent_at, *(tasks.c[name] for name in _PAYLOAD)),
    select(_pair.c.id).where(_pair.c.paired_id == tasks.c.id, _pair.c.canonical).exists().label("is_paired"),
)
_TAKEN = (State.ACCEPTED, State.APPROVED, State.REJECTED, State.UNKNOWN)
_PUT_AWAY = (State.PENDING, State.RUNNING, State.READY, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of a task: its state before and now, and what an operator ought to know of it."""

    task: int
    rule: str
    before: State
    now: State
    has_payload: bool  # before
    has_new_payload: bool = False  # the old one is in ``replaced``
    may_be_sent: bool = False  # a send of the payload that it had may have begun


def retry(
    connection: Connection, task_id: int, now: int, *, re_execute: bool = False, homes: gone.Homes | None = None
) -> Decided:
    """
    Let a task that ended be tried again: executed where it has no payload, else sent with the same bytes.

    Args:
        connection: inside a transaction.
        task_id: the task's id.
        now: microseconds since the epoch.
        re_execute: set a payload aside, in ``replaced``, and execute the task for a new one.
        homes: of the rules in the configuration; None where it is not known.

    Raises:
        NotPossible: there is no such task, or its state forbids it; nothing is written.

    """
    if (since := held.reason(connection)) is not None:
        raise NotPossible(f"the journal is held, {since}; start it with `listener run --resume-at …` first")
    row = _find(connection, task_id)
    _check_retry(row, re_execute=re_execute)
    execute = row.signature is None or re_execute
    nobody = None if homes is None or not execute else gone.reason(homes, row.rule, row.chain)
    if nobody is not None:
        raise NotPossible(f"task {row.id} would never be executed: {nobody}; put it back, and retry the task then")
    values: dict[str, Any] = {"not_before": 0, "error": None, "settled_at": None, "late": False}
    if execute:
        # Asked for today: max_age counts from here, and so do the attempts.
        values |= {"state": State.PENDING, "attempts": 0, "ages_from": now // 1_000_000, "claim": tasks.c.claim + 1}
    else:
        values |= {"state": State.READY, "retried_at": now}
    if execute and row.signature is not None:
        _set_payload_aside(connection, row, now)
        values |= dict.fromkeys((*_PAYLOAD, "sent_at", "accepted_at", "retried_at", "task_number"))
        values |= {"outcome_transaction_hash": None, "sends": 0, "already_known": False}
    _write(connection, row, values)
    return Decided(
        task=row.id,
        rule=row.rule,
        before=State(row.state),
        now=State(values["state"]),
        has_payload=row.signature is not None,
        has_new_payload=execute and row.signature is not None,
        may_be_sent=_may_be_sent(row),
    )


def discard(connection: Connection, task_id: int, now: int) -> Decided:
    """
    Put a task away: it is neither executed nor sent, until it is retried.

    Raises:
        NotPossible: there is no such task, or it ended otherwise; nothing is written.

    """
    row = _find(connection, task_id)
    if row.state not in _PUT_AWAY:
        what = "the aggregator took it" if row.state in _TAKEN else "it has ended"
        raise NotPossible(f"task {row.id} is {row.state}: {what}, there is nothing to put away")
    reason = "by an operator" if row.error is None else f"by an operator; before: {row.error}"
    values: dict[str, Any] = {"state": State.DISCARDED, "error": reason, "settled_at": now}
    _write(connection, row, values)
    return Decided(
        task=row.id,
        rule=row.rule,
        before=State(row.state),
        now=State.DISCARDED,
        has_payload=row.signature is not None,
        may_be_sent=_may_be_sent(row),
    )


def settle_discarded(connection: Connection, sent: Sequence[Sent], claims: dict[int, int]) -> None:
    """
    Store what became of sends that were under way when their task was discarded: what was taken is ``accepted``.

    Args:
        connection: the submitter's writer.
        sent: sends that have ended, also of tasks that nobody discarded.
        claims: by task id, what the row's claim was when it was handed out.
    """
    for item in sent:
        values: dict[str, Any] = {
            "sends": tasks.c.sends + 1,
            "sent_at": func.coalesce(tasks.c.sent_at, item.sent_at),
        }
        if item.state == State.ACCEPTED:
            reason = "discarded by an operator while it was being sent; the aggregator took it"
            values |= {"state": State.ACCEPTED, "accepted_at": item.ended_at, "settled_at": None, "error": reason}
            values["already_known"] = item.already_known
        discarded = (tasks.c.id == item.id, tasks.c.claim == claims[item.id], tasks.c.state == State.DISCARDED)
        connection.execute(update(tasks).where(*discarded).values(values))


def _find(connection: Connection, task_id: int) -> Row[Any]:
    row = connection.execute(select(*_COLUMNS).where(tasks.c.id == task_id).with_for_update(of=tasks)).first()
    if row is None:
        raise NotPossible(f"task {task_id}: there is none of this id; `listener tasks list` shows them")
    return row


def _check_retry(row: Row[Any], *, re_execute: bool) -> None:
    task, has_payload = f"task {row.id} is {row.state}", row.signature is not None
    if row.state == State.PENDING:
        raise NotPossible(f"{task}: it runs by itself when its turn comes; its last error: {row.error or 'none'}")
    if row.state == State.RUNNING:
        raise NotPossible(f"{task}: a handler works on it; wait for it, or discard the task first")
    if row.paired_id is not None:
        raise NotPossible(f"{task}: its effect is that of task {row.paired_id}; retry that one, if it failed")
    if not row.canonical and not (row.is_paired and has_payload and not re_execute):
        raise NotPossible(
            f"{task}, and its block is not on the chain: nothing is executed or sent for it; "
            "should the block return, what was not sent goes on by itself"
        )
    if row.state == State.READY:
        raise NotPossible(f"{task}: it is being sent until it is taken or given up; to stop that, discard it first")
    if row.state in _TAKEN and not re_execute:
        raise NotPossible(
            f"{task}: the aggregator took it, there is nothing to try again; `listener tasks retry {row.id} "
            "--re-execute` makes a new payload, which is a second one for the same trigger"
        )


def _may_be_sent(row: Row[Any]) -> bool:
    """Tell whether a send may have begun; a running daemon may know better of a ready row, and does not tell."""
    return row.signature is not None and (row.sent_at is not None or row.state != State.FAILED)


def _set_payload_aside(connection: Connection, row: Row[Any], now: int) -> None:
    payload = {name: getattr(row, name) for name in _PAYLOAD}
    connection.execute(insert(replaced).values(task_id=row.id, replaced_at=now, **payload))


def _write(connection: Connection, row: Row[Any], values: dict[str, Any]) -> None:
    connection.execute(update(tasks).where(tasks.c.id == row.id).values(values))
