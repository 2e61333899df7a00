"""
Finds tasks that came to an end while no stage had them in hand, and tells of each: one line, one count.

The cause of one was sent already, the block of another is in the gap after a backup, a third was found in the hands of
processes that it had ended too often. What a stage ends it tells itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, Connection, or_, select

from listener import metrics, traces
from listener.journal.audit import Sweep
from listener.journal.schema import in_state, tasks
from listener.journal.work import Step, Written
from listener.model import State

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ending:
    """A task that ended, and why."""

    task: int
    rule: str
    chain: str
    block: int
    state: State
    reason: str | None


def find(connection: Connection, now: int, *states: State, where: Iterable[ColumnElement[bool]] = ()) -> list[Ending]:
    """Return the tasks that ended in this very transaction, which wrote ``now``, in one of these states."""
    columns = (tasks.c.id, tasks.c.rule, tasks.c.chain, tasks.c.block_number, tasks.c.state, tasks.c.error)
    # States as text: the index of dead letters applies then.
    wanted = or_(*(in_state(state) for state in states))
    rows = connection.execute(select(*columns).where(tasks.c.settled_at == now, wanted, *where).order_by(tasks.c.id))
    return [Ending(*row[:4], State(row[4]), row[5]) for row in rows]


def of_step(connection: Connection, step: Step, written: Written, now: int) -> list[Ending]:
    """Return the tasks that a step ended; it does so rarely, and is not searched otherwise."""
    if step.ancestor is None and not (written.revived or written.paired or written.expired):
        return []
    lowest = (step.ancestor or step.after).number
    where = (tasks.c.chain == step.chain, tasks.c.block_number > lowest)
    ended = find(connection, now, State.SKIPPED, State.EXPIRED, State.FAILED, where=where)
    if not written.given_way:
        return ended
    earlier = (tasks.c.id.in_(written.given_way), tasks.c.block_number <= lowest)
    return [*find(connection, now, State.EXPIRED, where=earlier), *ended]


def of_sweep(connection: Connection, sweep: Sweep, now: int) -> list[Ending]:
    """Return the tasks that the audit found and that ended at once."""
    if not sweep.occasions:
        return []
    where = (tasks.c.chain == sweep.chain, tasks.c.block_number.between(sweep.after + 1, sweep.through))
    return find(connection, now, State.SKIPPED, State.EXPIRED, where=where)


def of_asked(connection: Connection, expired: Sequence[int], now: int) -> list[Ending]:
    """Return the planned tasks that ended at once, by their ids."""
    return find(connection, now, State.EXPIRED, where=[tasks.c.id.in_(expired)]) if expired else []


def tell(endings: Iterable[Ending]) -> None:
    """Log and count each."""
    for each in endings:
        traces.end(each.task)
        metrics.of_rule(each.rule).ended(each.state)
        level = log.error if each.state == State.FAILED else log.info  # of those that expire, their number is a warning
        level(
            f"task.{each.state}",
            task=each.task,
            rule=each.rule,
            chain=each.chain,
            block=each.block,
            reason=each.reason,
        )
